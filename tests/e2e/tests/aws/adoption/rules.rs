//! Rules of the nodes' security groups.

use ccm_e2e::{Aws, Go, World, run};
use serde_json::{Value, json};

use super::{Case, Takeover, adopt};

/// A rule in the nodes' security group.
async fn allow(world: &World<Aws>, port: i32, range: &str, description: &str) {
    let range = json!({"CidrIp": range, "Description": description});
    let rule = json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [range]});
    let args = json!({"GroupId": world.cloud.network.node_group, "IpPermissions": [rule]});
    world.cloud.boto("ec2", "authorize_security_group_ingress", args).await;
}

/// A rule for its health checks from each of the public subnets.
async fn allow_health(world: &World<Aws>, case: &Case, port: i32) {
    let service = world.service(case.name()).await;
    let description = format!("kubernetes.io/rule/nlb/health={}", service.balancer());
    for range in ["10.0.0.0/20", "10.0.16.0/20"] {
        allow(world, port, range, &description).await;
    }
}

/// The peers and descriptions of what the nodes' security group lets in.
pub(super) async fn of_nodes(world: &World<Aws>) -> Value {
    let args = json!({"GroupIds": [world.cloud.network.node_group]});
    let seen = world.cloud.boto("ec2", "describe_security_groups", args).await;
    seen["SecurityGroups"][0]["IpPermissions"].clone()
}

/// After a change from `Local` to `Cluster` the rules for the health check of before stay.
#[test]
fn of_a_health_check_of_before() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let cases = [Case::network("changed", &[]), Case::network("deleted", &[])];
        takeover.lay_out(&cases).await;
        // Which the API server gives to nobody by itself.
        allow_health(&world, &cases[0], 29_700).await;
        allow_health(&world, &cases[1], 29_701).await;
        let _ccm = takeover.take_over().await;
        takeover.changed(&cases[..1]).await;
        assert_eq!(world.cloud.lines_with("tcp 29700-29700").await, [""; 0]);
        takeover.comes_back(&cases).await;
    });
}

/// Anybody may connect again, so that nodes let health checks through anyhow: the rules of their own stay,
/// for the very port that is in use.
#[test]
fn of_source_ranges_of_before() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let cases = [Case::network("changed", &[]), Case::network("deleted", &[])];
        takeover.lay_out(&cases).await;
        for case in &cases {
            let (_, node_port) = world.service(case.name()).await.ports[0];
            allow_health(&world, case, node_port).await;
        }
        let _ccm = takeover.take_over().await;
        takeover.changed(&cases[..1]).await;
        let changed = world.service("changed").await.balancer();
        let rules = world.cloud.lines_with(&format!("nlb/health={changed}")).await;
        assert_eq!(rules, [""; 0]);
        takeover.comes_back(&cases).await;
    });
}

/// The rule for kube-proxy's health check bears the first one's name, and the second one needs it.
#[test]
fn of_the_first_of_two_that_share_a_probe() {
    run(async {
        let world = World::aws(&["ClusterServiceLoadBalancerHealthProbeMode = Shared"]).await;
        world.go_nodes(2, &[]).await;
        let go = Go { shares_probe: true, ..Go::default() };
        let takeover = Takeover::of(&world, &go).await;
        let cases = [Case::network("first", &[]), Case::network("second", &[])];
        takeover.lay_out(&cases).await;
        let probes = world.cloud.lines_with("tcp 10256-10256 ").await;
        let first = world.service("first").await.balancer();
        assert!(probes.len() == 2 && probes.iter().all(|line| line.contains(&first)), "{probes:?}");
        let _ccm = takeover.take_over().await;
        world.remove_service("first").await;
        world.cloud.quiet().await;
        let second = world.service("second").await.balancer();
        let probes = world.cloud.lines_with("tcp 10256-10256 ").await;
        assert!(
            probes.len() == 2 && probes.iter().all(|line| line.contains(&second)),
            "{probes:?}"
        );
        takeover.comes_back(&cases[1..]).await;
    });
}

#[test]
fn that_are_nobodys_business() {
    run(async {
        let world = World::aws(&["DisableSecurityGroupIngress = true"]).await;
        world.go_nodes(2, &[]).await;
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        adopt(&world, &Go { leaves_nodes: true, ..Go::default() }, &cases).await;
    });
}

/// The nodes' only group bears no mark. The Go program opens it, and does not find its rules again.
#[test]
fn in_a_group_without_the_mark() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let marks = json!([{"Key": "kubernetes.io/cluster/e2e"}]);
        let args = json!({"Resources": [world.cloud.network.node_group], "Tags": marks});
        world.cloud.boto("ec2", "delete_tags", args).await;
        let before = of_nodes(&world).await;
        let cases = [
            Case::named("classic", &[]),
            Case::network("network", &[]).spec("loadBalancerSourceRanges", json!(["10.0.0.0/8"])),
            Case::network("local", &[]).spec("externalTrafficPolicy", json!("Local")),
        ];
        let takeover = Takeover::of(&world, &Go::default()).await;
        takeover.lay_out(&cases).await;
        let laid = of_nodes(&world).await;
        let _ccm = takeover.take_over().await;
        assert_eq!(of_nodes(&world).await, laid);
        takeover.changed(&cases).await;
        takeover.comes_back(&cases).await;
        assert_eq!(of_nodes(&world).await, before);
    });
}

/// Of the security groups of a machine the one with the cluster's mark is the nodes' one.
#[test]
fn of_nodes_in_several_groups() {
    run(async {
        let world = World::aws(&[]).await;
        let more = world.cloud.security_group("more", false).await;
        for instance in world.go_nodes(2, &[]).await {
            let groups = json!([more, world.cloud.network.node_group]);
            let args = json!({"InstanceId": instance.id, "Groups": groups});
            world.cloud.boto("ec2", "modify_instance_attribute", args).await;
        }
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        adopt(&world, &Go::default(), &cases).await;
    });
}
