//! What the Go program leaves behind when something went wrong or was changed.

use ccm_e2e::{Go, LONG, World, run, wait_until};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Case, Takeover, adopt, annotate, everything};

/// The annotation came later, and the Go program has moved a public load balancer into private
/// subnets.
#[test]
fn a_public_load_balancer_in_private_subnets() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let cases = [Case::named("moved", &[])];
        takeover.lay_out(&cases).await;
        let service = world.service("moved").await;
        let (name, network) = (service.balancer(), world.cloud.network.clone());
        for (method, subnet) in [
            ("detach_load_balancer_from_subnets", network.public_a),
            ("attach_load_balancer_to_subnets", network.private_a),
            ("detach_load_balancer_from_subnets", network.public_b),
            ("attach_load_balancer_to_subnets", network.private_b),
        ] {
            let args = json!({"LoadBalancerName": name, "Subnets": [subnet]});
            world.cloud.boto("elb", method, args).await;
        }
        annotate(&world, "moved", "internal", json!("true")).await;
        let _ccm = takeover.take_over().await;
        let said = world.service_event("moved", "SchemeKept").await;
        assert!(said.contains("internet-facing"), "{said}");
        takeover.changed(&cases).await;
        let lines = world.cloud.lines_with(&format!("{name}: subnets private-a")).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        takeover.comes_back(&cases).await;
    });
}

/// The type was changed before the Service had an address, and there are both kinds.
#[test]
fn both_kinds_of_one_name() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let go = Go::default();
        let takeover = Takeover::of(&world, &go).await;
        let cases = [
            Case::named("now-network", &[]),
            Case::network("now-classic", &[]),
            Case::named("deleted-network", &[]),
            Case::network("deleted-classic", &[]),
        ];
        for case in &cases {
            let name = case.name();
            world.go_served(&go, &case.wanted).await;
            let kind = if name.ends_with("-network") { json!("nlb") } else { Value::Null };
            annotate(&world, name, "type", kind).await;
            world.go_addresses(&go, name).await;
        }
        let _ccm = takeover.take_over().await;
        takeover.changed(&cases[..2]).await;
        let [network, classic] = [&cases[0], &cases[1]].map(Case::name);
        let network = world.service(network).await.balancer();
        assert_eq!(
            world.cloud.lines_with(&format!("classic load balancer {network}")).await,
            [""; 0]
        );
        let classic = world.service(classic).await.balancer();
        let lines = world.cloud.lines_with(&classic).await;
        assert!(!lines.iter().any(|line| line.starts_with("load balancer")), "{lines:?}");
        takeover.comes_back(&cases).await;
    });
}

/// kops marks its own machines with the legacy tag, and the Go program then all that it makes.
#[test]
fn a_cluster_with_the_legacy_tag() {
    run(async {
        let world = World::aws(&["KubernetesClusterTag = e2e"]).await;
        world.go_nodes(2, &[]).await;
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        adopt(&world, &Go { is_legacy: true, ..Go::default() }, &cases).await;
    });
}

/// As it was made before there was another tag.
#[test]
fn pieces_with_the_legacy_tag_alone() {
    run(async {
        let world = World::aws(&["KubernetesClusterTag = e2e"]).await;
        world.go_nodes(2, &[]).await;
        let go = Go { is_legacy: true, ..Go::default() };
        let takeover = Takeover::of(&world, &go).await;
        // Nobody asks for the tags of a listener unless they are to be others.
        let (annotation, value) = ("cross-zone-load-balancing-enabled", "true");
        let cases = [
            Case::named("classic", &[]),
            Case::network("network", &[]).then(annotation, value, "cross_zone.enabled=true"),
        ];
        let [classic, network] = &cases;
        let (cloud, key) = (&world.cloud, "kubernetes.io/cluster/e2e");
        let name = world.go_served(&go, &classic.wanted).await.balancer();
        let args = json!({"LoadBalancerNames": [name], "Tags": [{"Key": key}]});
        cloud.boto("elb", "remove_tags", args).await;
        let args =
            json!({"Filters": [{"Name": "group-name", "Values": [format!("k8s-elb-{name}")]}]});
        let seen = cloud.boto("ec2", "describe_security_groups", args).await;
        let id = &seen["SecurityGroups"][0]["GroupId"];
        cloud.boto("ec2", "delete_tags", json!({"Resources": [id], "Tags": [{"Key": key}]})).await;
        let name = world.go_served(&go, &network.wanted).await.balancer();
        let seen = cloud.boto("elbv2", "describe_load_balancers", json!({"Names": [name]})).await;
        let args = json!({"LoadBalancerArn": seen["LoadBalancers"][0]["LoadBalancerArn"]});
        let groups = cloud.boto("elbv2", "describe_target_groups", args.clone()).await;
        let listeners = cloud.boto("elbv2", "describe_listeners", args.clone()).await;
        for arn in [
            &args["LoadBalancerArn"],
            &groups["TargetGroups"][0]["TargetGroupArn"],
            &listeners["Listeners"][0]["ListenerArn"],
        ] {
            let args = json!({"ResourceArns": [arn], "TagKeys": [key]});
            cloud.boto("elbv2", "remove_tags", args).await;
        }
        let _ccm = takeover.take_over().await;
        takeover.changed(&cases).await;
        takeover.comes_back(&cases).await;
    });
}

/// What the AWS Load Balancer Controller has made is nothing of ours, before and after.
#[test]
fn services_of_the_other_controller() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let made = world
            .cloud
            .boto(
                "elbv2",
                "create_load_balancer",
                json!({
                    "Name": "k8s-default-external-0123456789",
                    "Type": "network",
                    "Subnets": [world.cloud.network.public_a],
                    "Tags": [{"Key": "elbv2.k8s.aws/cluster", "Value": "e2e"}],
                }),
            )
            .await;
        let hostname = &made["LoadBalancers"][0]["DNSName"];
        let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": hostname}]}}});
        // What means something to it means nothing here, and nothing is said of it.
        let theirs = [
            ("target-group-attributes", "deregistration_delay.timeout_seconds=30"),
            ("healthcheck-port", "web"),
            ("healthcheck-timeout", "soon"),
        ];
        for kind in ["external", "nlb-ip"] {
            let said: Vec<_> = theirs.into_iter().chain([("type", kind)]).collect();
            world.serve(&Case::named(kind, &said).wanted).await;
            let (params, patch) = (PatchParams::default(), Patch::Merge(&status));
            world.services().patch_status(kind, &params, &patch).await.unwrap();
        }
        let (before, all) = (world.service("external").await, everything(&world).await);
        let takeover = Takeover::of(&world, &Go::default()).await;
        assert_eq!(takeover.planned().await, [""; 0]);
        let mark = world.cloud.mark().await.unwrap();
        let _ccm = world.ccm(&takeover.setup);
        wait_until("that the Services are looked at", LONG, async || {
            let asked = world.cloud.asked(mark).await;
            if asked.is_empty() { Err(asked) } else { Ok(()) }
        })
        .await;
        world.cloud.quiet().await;
        let after = world.service("external").await;
        assert_eq!((after.ingress, after.finalizers), (before.ingress, before.finalizers));
        assert_eq!(after.ready, None, "it is not ours to judge");
        for kind in ["external", "nlb-ip"] {
            world.remove_service(kind).await;
        }
        world.cloud.quiet().await;
        assert_eq!(world.cloud.changed(0).await, [""; 0]);
        assert_eq!(everything(&world).await, all);
    });
}
