//! The declaration of API actions, from which the policies in the book follow, against a whole run.

use std::collections::BTreeSet;
use std::time::Duration;

use ccm_e2e::{ANNOTATION, Aws, SOON, Setup, Wanted, WantedVolume, World, run};
use ccm_provider_aws::actions::{ALL, Api};
use serde_json::{Value, json};

/// Actions that no run here calls, and why.
const NOT_CALLED: [(Api, &str, &str); 7] = [
    (Api::Ec2, "ModifyNetworkInterfaceAttribute", "for instances with several interfaces"),
    (Api::Ec2, "ReplaceRoute", "where a route leads to the wrong machine: the conformance kit"),
    (Api::Ec2, "CreateTags", "for a security group that lost its tag"),
    (Api::Ec2, "DescribeNetworkInterfaces", "for nodes on Fargate: by table"),
    (
        Api::ElbV2,
        "ModifyTargetGroupAttributes",
        "for an attribute that differs: providers/aws/tests/network",
    ),
    (Api::ElbV2, "SetSecurityGroups", "for groups that change: providers/aws/tests/network"),
    (Api::Sts, "AssumeRole", "with `RoleARN`: tests of the connection"),
];

async fn annotate(world: &World<Aws>, name: &str, pairs: &[(&str, &str)]) {
    let pairs = pairs.iter().map(|(key, value)| (format!("{ANNOTATION}{key}"), json!(value)));
    let annotations: serde_json::Map<String, Value> = pairs.collect();
    world.change_service(name, &json!({"metadata": {"annotations": annotations}})).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.ready(name).await;
}

#[test]
fn what_is_called_is_what_is_declared() {
    run(async {
        let world = World::aws(&["NLBSecurityGroupMode = Managed"]).await;
        let begun = world.cloud.mark().await.unwrap();
        let nodes = world.join_instances(2).await;
        let _ccm =
            world.ccm(&Setup::new().routes("10.244.0.0/16").flag("--allocate-node-cidrs=true"));
        world.all_initialized(SOON).await;
        let zone = format!("{}a", world.cloud.network.region);
        let made = json!({"AvailabilityZone": zone, "Size": 1});
        let made = world.cloud.boto("ec2", "create_volume", made).await;
        let id = made["VolumeId"].as_str().unwrap();
        let source = json!({"volumeID": id});
        world.make_volume(&WantedVolume::from_source("disk", "awsElasticBlockStore", source)).await;

        let kind = format!("{ANNOTATION}type");
        world.served(&Wanted::named("classic").ports(&[80, 443])).await;
        world.served(&Wanted::named("network").annotation(&kind, "nlb").ports(&[80, 443])).await;
        annotate(
            &world,
            "classic",
            &[
                ("additional-resource-tags", "team=red"),
                ("proxy-protocol", "*"),
                ("connection-idle-timeout", "90"),
                ("subnets", &world.cloud.network.public_a),
            ],
        )
        .await;
        annotate(
            &world,
            "network",
            &[
                ("additional-resource-tags", "team=red"),
                ("cross-zone-load-balancing-enabled", "true"),
                ("target-group-attributes", "preserve_client_ip.enabled=true"),
                ("healthcheck-interval", "20"),
            ],
        )
        .await;
        let made = json!({"DomainName": "example.org"});
        let made = world.cloud.boto("acm", "request_certificate", made).await;
        let certificate = made["CertificateArn"].as_str().unwrap();
        let tls = [("ssl-cert", certificate), ("ssl-ports", "443")];
        annotate(&world, "network", &tls).await;
        let extra = [("extra-security-groups", world.cloud.network.node_group.as_str())];
        annotate(&world, "classic", &extra).await;
        let policy = [("ssl-negotiation-policy", "ELBSecurityPolicy-TLS-1-2-2017-01")];
        annotate(&world, "classic", &[&tls[..], &policy[..]].concat()).await;
        let subnets = json!({format!("{ANNOTATION}subnets"): null});
        world.change_service("classic", &json!({"metadata": {"annotations": subnets}})).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        for name in ["classic", "network"] {
            world.change_ports(name, &[80, 8080]).await;
            world.ready(name).await;
        }
        let node = world.join_instance().await;
        world.initialized(&node.private_dns).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.remove(&nodes[0].private_dns).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        for name in ["classic", "network"] {
            world.remove_service(name).await;
        }

        let calls = world.cloud.calls(begun).await;
        let called: BTreeSet<_> =
            calls.iter().map(|call| (call.service.as_str(), call.action.as_str())).collect();
        let service = |api: Api| match api {
            Api::Ec2 => "ec2",
            Api::Elb => "elb",
            Api::ElbV2 => "elbv2",
            Api::Sts => "sts",
        };
        let declared: BTreeSet<_> =
            ALL.iter().map(|action| (service(action.api), action.name)).collect();
        let undeclared: Vec<_> = called.difference(&declared).collect();
        assert!(undeclared.is_empty(), "called and not declared: {undeclared:?}");
        let excused: BTreeSet<_> =
            NOT_CALLED.iter().map(|(api, name, _)| (service(*api), *name)).collect();
        let idle: Vec<_> =
            declared.difference(&called).filter(|action| !excused.contains(*action)).collect();
        assert!(idle.is_empty(), "declared and not called: {idle:?}");
    });
}
