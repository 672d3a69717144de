//! The declaration of API actions, from which the policies in the book follow, against a whole run.

use std::collections::BTreeSet;

use ccm_awscloud::Instance;
use ccm_e2e::{Aws, LONG, Setup, Wanted, WantedVolume, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use ccm_provider_aws::actions::{ALL, Api};
use serde_json::json;

/// Actions that the run does not call, and why.
const NOT_CALLED: [(Api, &str, &str); 1] =
    [(Api::Sts, "AssumeRole", "with `RoleARN`: tests of the connection")];

/// The ranges that pods have addresses of.
const PODS: &str = "10.244.0.0/16";

/// As calls are named here.
fn action(api: &str, name: &str) -> String {
    format!("{api}:{name}")
}

fn declared(api: Api, name: &str) -> String {
    let api = match api {
        Api::Ec2 => "ec2",
        Api::Elb => "elb",
        Api::ElbV2 => "elbv2",
        Api::Sts => "sts",
    };
    action(api, name)
}

/// What was called since the mark.
async fn called(world: &World<Aws>, mark: u64) -> BTreeSet<String> {
    let calls = world.cloud.calls(mark).await;
    calls.iter().map(|call| action(&call.service, &call.action)).collect()
}

/// Does something, and waits until these actions were called for it and all is over.
async fn causes(world: &World<Aws>, what: impl Future<Output = ()>, actions: &[&str]) {
    let mark = world.cloud.mark().await.unwrap();
    what.await;
    wait_until("what it causes", LONG, async || {
        let called = called(world, mark).await;
        let missing: Vec<_> = actions.iter().filter(|it| !called.contains(**it)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} is not called")) }
    })
    .await;
    world.cloud.quiet().await;
    world.all_ready(LONG).await;
}

#[test]
fn what_is_called_is_what_is_declared() {
    run(async {
        let world = World::aws(&["NLBSecurityGroupMode = Managed"]).await;
        let begun = world.cloud.mark().await.unwrap();
        let setup = Setup::new().routes(PODS).flag("--allocate-node-cidrs=true");
        let nodes = world.join_instances(2).await;
        let ccm = world.ccm(&setup);
        world.all_initialized(LONG).await;
        volume(&world).await;
        world.served(&Wanted::named("classic").ports(&[80, 443])).await;
        world.served(&Wanted::named("network").nlb().ports(&[80, 443])).await;
        world.cloud.quiet().await;

        classic(&world).await;
        network(&world).await;
        let second = join_and_leave(&world, &nodes).await;
        drop(ccm);
        let range = spoil(&world, &nodes[1], &second).await;
        let heals = ["ec2:ReplaceRoute", "ec2:CreateTags"];
        let mut ccm = None;
        causes(&world, async { ccm = Some(world.ccm(&setup)) }, &heals).await;
        let lines = world.cloud.lines_with(&format!(": {range} to ")).await;
        assert!(lines.iter().all(|line| line.contains(" to node-2,")), "{lines:?}");
        for name in ["classic", "network"] {
            world.remove_service(name).await;
        }
        world.cloud.quiet().await;

        let called = called(&world, begun).await;
        let all: BTreeSet<_> = ALL.iter().map(|it| declared(it.api, it.name)).collect();
        let excused: BTreeSet<_> =
            NOT_CALLED.iter().map(|(api, name, _)| declared(*api, name)).collect();
        let undeclared: Vec<_> = called.difference(&all).collect();
        assert!(undeclared.is_empty(), "called and not declared: {undeclared:?}");
        let idle: BTreeSet<_> = all.difference(&called).cloned().collect();
        assert_eq!(idle, excused, "declared and not called, and what is excused");
    });
}

/// A volume of an in-tree source, whose zone is asked for.
async fn volume(world: &World<Aws>) {
    let zone = format!("{}a", world.cloud.network.region);
    let made = json!({"AvailabilityZone": zone, "Size": 1});
    let made = world.cloud.boto("ec2", "create_volume", made).await;
    let source = json!({"volumeID": made["VolumeId"]});
    world.make_volume(&WantedVolume::from_source("disk", "awsElasticBlockStore", source)).await;
}

/// All that changes a Classic Load Balancer.
async fn classic(world: &World<Aws>) {
    let annotate = async |pairs: &[(&str, Option<&str>)]| world.annotate("classic", pairs).await;
    let subnet = world.cloud.network.public_a.clone();
    let pairs = [
        ("additional-resource-tags", Some("team=red")),
        ("proxy-protocol", Some("*")),
        ("connection-idle-timeout", Some("90")),
        ("healthcheck-interval", Some("20")),
        ("subnets", Some(subnet.as_str())),
    ];
    let actions = [
        "elb:AddTags",
        "elb:CreateLoadBalancerPolicy",
        "elb:SetLoadBalancerPoliciesForBackendServer",
        "elb:ModifyLoadBalancerAttributes",
        "elb:ConfigureHealthCheck",
        "elb:DetachLoadBalancerFromSubnets",
    ];
    causes(world, annotate(&pairs), &actions).await;

    let (certificate, extra) =
        (world.cloud.certificate().await, world.cloud.security_group("extra", false).await);
    let pairs = [
        ("subnets", None),
        ("extra-security-groups", Some(extra.as_str())),
        ("ssl-cert", Some(certificate.as_str())),
        ("ssl-ports", Some("443")),
        ("ssl-negotiation-policy", Some("ELBSecurityPolicy-TLS-1-2-2017-01")),
    ];
    let actions = [
        "elb:AttachLoadBalancerToSubnets",
        "elb:ApplySecurityGroupsToLoadBalancer",
        "elb:DeleteLoadBalancerListeners",
        "elb:CreateLoadBalancerListeners",
        "elb:SetLoadBalancerPoliciesOfListener",
    ];
    causes(world, annotate(&pairs), &actions).await;

    let renewed = world.cloud.certificate().await;
    let pairs = [("ssl-cert", Some(renewed.as_str()))];
    causes(world, annotate(&pairs), &["elb:SetLoadBalancerListenerSSLCertificate"]).await;
}

/// All that changes a Network Load Balancer.
async fn network(world: &World<Aws>) {
    let annotate = async |pairs: &[(&str, Option<&str>)]| world.annotate("network", pairs).await;
    let (certificate, group) =
        (world.cloud.certificate().await, world.cloud.security_group("own", false).await);
    let pairs = [
        ("additional-resource-tags", Some("team=red")),
        ("cross-zone-load-balancing-enabled", Some("true")),
        ("target-group-attributes", Some("proxy_protocol_v2.enabled=true")),
        ("healthcheck-interval", Some("20")),
        ("ssl-cert", Some(certificate.as_str())),
        ("ssl-ports", Some("443")),
        ("security-groups", Some(group.as_str())),
    ];
    let actions = [
        "elbv2:AddTags",
        "elbv2:ModifyLoadBalancerAttributes",
        "elbv2:ModifyTargetGroupAttributes",
        "elbv2:ModifyTargetGroup",
        "elbv2:ModifyListener",
        "elbv2:SetSecurityGroups",
        "ec2:DeleteSecurityGroup",
    ];
    causes(world, annotate(&pairs), &actions).await;

    let ports = async { drop(world.change_ports("network", &[80, 8080]).await) };
    let actions = [
        "elbv2:CreateTargetGroup",
        "elbv2:CreateListener",
        "elbv2:DeleteListener",
        "elbv2:DeleteTargetGroup",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupIngress",
    ];
    causes(world, ports, &actions).await;
}

/// A node joins whose machine has two interfaces, one that runs on Fargate, and another node leaves.
/// Gives the first one's machine.
async fn join_and_leave(world: &World<Aws>, nodes: &[Instance]) -> Instance {
    let [machine, pod] = world.cloud.instances(2).await.try_into().unwrap();
    let args = json!({"SubnetId": world.cloud.network.private_a});
    let made = world.cloud.boto("ec2", "create_network_interface", args).await;
    let card = &made["NetworkInterface"]["NetworkInterfaceId"];
    let args = json!({"NetworkInterfaceId": card, "InstanceId": machine.id, "DeviceIndex": 1});
    world.cloud.boto("ec2", "attach_network_interface", args).await;
    let actions = [
        "elb:RegisterInstancesWithLoadBalancer",
        "elbv2:RegisterTargets",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:CreateRoute",
    ];
    causes(world, world.register_instances(std::slice::from_ref(&machine)), &actions).await;

    let Instance { zone, private_ip, private_dns, .. } = &pod;
    let fargate = Kubelet::new(format!("fargate-{private_dns}"))
        .provider_id(format!("aws:///{zone}/1abc-2def/fargate-{private_ip}"));
    let joins = async { drop(world.register(fargate).await) };
    causes(world, joins, &["ec2:DescribeNetworkInterfaces"]).await;

    let actions =
        ["elb:DeregisterInstancesFromLoadBalancer", "elbv2:DeregisterTargets", "ec2:DeleteRoute"];
    causes(world, world.remove(&nodes[0].private_dns), &actions).await;
    machine
}

/// The route to a node's pods leads to another machine, and a security group has lost its mark. Gives
/// the range of those pods.
async fn spoil(world: &World<Aws>, node: &Instance, other: &Instance) -> String {
    let node = world.nodes().get(&node.private_dns).await.unwrap();
    let range = node.spec.unwrap().pod_cidr.unwrap();
    let args = json!({
        "RouteTableId": world.cloud.network.public_table,
        "DestinationCidrBlock": range,
        "InstanceId": other.id,
    });
    world.cloud.boto("ec2", "replace_route", args).await;
    let name = format!("k8s-elb-{}", world.service("classic").await.balancer());
    let args = json!({"Filters": [{"Name": "group-name", "Values": [name]}]});
    let seen = world.cloud.boto("ec2", "describe_security_groups", args).await;
    let mark = json!([{"Key": "kubernetes.io/cluster/e2e"}]);
    let args = json!({"Resources": [seen["SecurityGroups"][0]["GroupId"]], "Tags": mark});
    world.cloud.boto("ec2", "delete_tags", args).await;
    range
}
