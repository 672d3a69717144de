//! What the Go program leaves behind when something went wrong or was changed.

use ccm_e2e::{ANNOTATION, Account, Aws, Go, SOON, Setup, World, run, wait_until};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::classic::group;
use super::{
    Before, Case, adopt, balancer, changed, everything, nothing_planned, quiet, untouched,
};

/// A rule in the nodes' security group.
async fn allow(world: &World<Aws>, port: u16, range: &str, description: &str) {
    let range = json!({"CidrIp": range, "Description": description});
    let rule = json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [range]});
    let args = json!({"GroupId": world.cloud.network.node_group, "IpPermissions": [rule]});
    world.cloud.boto("ec2", "authorize_security_group_ingress", args).await;
}

async fn annotate(world: &World<Aws>, name: &str, annotation: &str, value: Value) {
    let annotations = json!({format!("{ANNOTATION}{annotation}"): value});
    world.change_service(name, &json!({"metadata": {"annotations": annotations}})).await;
}

/// Lines about this in what bears the cluster's mark.
async fn lines_with(world: &World<Aws>, text: &str) -> Vec<String> {
    let mut lines = world.cloud.lines().await;
    lines.retain(|line| line.contains(text));
    lines
}

/// After a change from `Local` to `Cluster` the rules for the health check of before stay.
#[test]
fn rules_of_a_health_check_of_before() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let before = Before::of(&world).await;
        let cases = [Case::network("changed", &[]), Case::network("deleted", &[])];
        for case in &cases {
            let service = world.go_served(&Go::default(), &case.wanted).await;
            let description = format!("kubernetes.io/rule/nlb/health={}", balancer(&service));
            let port = if case.wanted.name() == "changed" { 32_700 } else { 32_701 };
            for range in ["10.0.0.0/20", "10.0.16.0/20"] {
                allow(&world, port, range, &description).await;
            }
        }
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        changed(&world, &cases[..1]).await;
        assert_eq!(lines_with(&world, "tcp 32700-32700").await, [""; 0]);
        before.comes_back(&world, &cases).await;
    });
}

/// The annotation came later, and the Go program has moved a public load balancer into private
/// subnets.
#[test]
fn a_public_load_balancer_in_private_subnets() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let before = Before::of(&world).await;
        let cases = [Case::named("moved", &[])];
        let service = world.go_served(&Go::default(), &cases[0].wanted).await;
        let (name, network) = (balancer(&service), world.cloud.network.clone());
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
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        let said = world.service_event("moved", "SchemeKept").await;
        assert!(said.contains("internet-facing"), "{said}");
        changed(&world, &cases).await;
        let lines = lines_with(&world, &format!("{name}: subnets private-a")).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        before.comes_back(&world, &cases).await;
    });
}

/// A deletion of a Service of the same name has failed half-way: its target groups and rules are
/// there.
#[test]
fn a_deletion_that_failed() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let before = Before::of(&world).await;
        let cases = [Case::network("changed", &[]), Case::network("deleted", &[])];
        let mut lost = Vec::new();
        for case in &cases {
            let service = world.go_served(&Go::default(), &case.wanted).await;
            let name = balancer(&service);
            let args = json!({"Names": [name]});
            let seen = world.cloud.boto("elbv2", "describe_load_balancers", args).await;
            let args = json!({"LoadBalancerArn": seen["LoadBalancers"][0]["LoadBalancerArn"]});
            world.cloud.boto("elbv2", "delete_load_balancer", args).await;
            world.go_loses(case.wanted.name()).await;
            lost.push(name);
        }
        for case in &cases {
            world.go_served(&Go::default(), &case.wanted).await;
        }
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        assert_eq!(lines_with(&world, "of no load balancer").await.len(), 2);
        changed(&world, &cases[..1]).await;
        assert_eq!(lines_with(&world, "of no load balancer").await.len(), 1);
        // Rules bear the names of load balancers, which are gone: nobody knows whose they were.
        for name in &lost {
            assert_eq!(lines_with(&world, name).await.len(), 1);
            let args = json!({"GroupIds": [world.cloud.network.node_group]});
            let seen = world.cloud.boto("ec2", "describe_security_groups", args).await;
            let rules = seen["SecurityGroups"][0]["IpPermissions"].as_array().unwrap();
            let is_lost = |rule: &&Value| rule["IpRanges"].to_string().contains(name.as_str());
            let rules: Vec<_> = rules.iter().filter(is_lost).collect();
            let args = json!({"GroupId": world.cloud.network.node_group, "IpPermissions": rules});
            world.cloud.boto("ec2", "revoke_security_group_ingress", args).await;
        }
        before.comes_back(&world, &cases).await;
    });
}

/// The type was changed before the Service had an address, and there are both kinds.
#[test]
fn both_kinds_of_one_name() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let (go, before) = (Go::default(), Before::of(&world).await);
        let cases = [
            Case::named("now-network", &[]),
            Case::network("now-classic", &[]),
            Case::named("deleted-network", &[]),
            Case::network("deleted-classic", &[]),
        ];
        for case in &cases {
            let name = case.wanted.name();
            world.go_served(&go, &case.wanted).await;
            let kind = if name.ends_with("-network") { json!("nlb") } else { Value::Null };
            annotate(&world, name, "type", kind).await;
            world.go_addresses(&go, name).await;
        }
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        changed(&world, &cases[..2]).await;
        let [network, classic] = [&cases[0], &cases[1]].map(|case| case.wanted.name());
        let network = balancer(&world.service(network).await);
        assert_eq!(lines_with(&world, &format!("classic load balancer {network}")).await, [""; 0]);
        let classic = balancer(&world.service(classic).await);
        let lines = lines_with(&world, &classic).await;
        assert!(!lines.iter().any(|line| line.starts_with("load balancer")), "{lines:?}");
        before.comes_back(&world, &cases).await;
    });
}

/// What belongs to Services that do not exist any more is named, and left.
#[test]
fn load_balancers_of_nobody() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let go = Go::default();
        for case in [Case::named("no-classic", &[]), Case::network("no-network", &[])] {
            world.go_served(&go, &case.wanted).await;
            world.go_loses(case.wanted.name()).await;
        }
        let (_, plan) = world.plan(&Setup::new().account(Account::Reading)).await;
        let orphans: Vec<_> =
            plan["orphans"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        for name in ["default/no-classic", "default/no-network"] {
            assert!(orphans.iter().any(|orphan| orphan.contains(name)), "{orphans:?}");
        }
        // Another Service comes and goes beside them.
        adopt(&world, &go, &[Case::named("classic", &[]), Case::network("network", &[])]).await;
        quiet(&world).await;
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
        let (go, before) = (Go { is_legacy: true, ..Go::default() }, Before::of(&world).await);
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        let [classic, network] = &cases;
        let (cloud, key) = (&world.cloud, "kubernetes.io/cluster/e2e");
        let name = balancer(&world.go_served(&go, &classic.wanted).await);
        let args = json!({"LoadBalancerNames": [name], "Tags": [{"Key": key}]});
        cloud.boto("elb", "remove_tags", args).await;
        let args =
            json!({"Filters": [{"Name": "group-name", "Values": [format!("k8s-elb-{name}")]}]});
        let seen = cloud.boto("ec2", "describe_security_groups", args).await;
        let id = &seen["SecurityGroups"][0]["GroupId"];
        cloud.boto("ec2", "delete_tags", json!({"Resources": [id], "Tags": [{"Key": key}]})).await;
        let name = balancer(&world.go_served(&go, &network.wanted).await);
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
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        changed(&world, &cases).await;
        before.comes_back(&world, &cases).await;
    });
}

#[test]
fn nodes_whose_groups_are_left_alone() {
    run(async {
        let world = World::aws(&["DisableSecurityGroupIngress = true"]).await;
        world.go_nodes(2, &[]).await;
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        adopt(&world, &Go { leaves_nodes: true, ..Go::default() }, &cases).await;
    });
}

/// Of the security groups of a machine the one with the cluster's mark is the nodes' one.
#[test]
fn nodes_in_several_groups() {
    run(async {
        let world = World::aws(&[]).await;
        let more = group(&world, "more", false).await;
        for instance in world.go_nodes(2, &[]).await {
            let groups = json!([more, world.cloud.network.node_group]);
            let args = json!({"InstanceId": instance.id, "Groups": groups});
            world.cloud.boto("ec2", "modify_instance_attribute", args).await;
        }
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        adopt(&world, &Go::default(), &cases).await;
    });
}

/// The rule for kube-proxy's health check bears the first one's name, and the second one needs it.
#[test]
fn the_first_of_two_that_share_a_probe_goes() {
    run(async {
        let world = World::aws(&["ClusterServiceLoadBalancerHealthProbeMode = Shared"]).await;
        world.go_nodes(2, &[]).await;
        let go = Go { shares_probe: true, ..Go::default() };
        let before = Before::of(&world).await;
        let cases = [Case::network("first", &[]), Case::network("second", &[])];
        for case in &cases {
            world.go_served(&go, &case.wanted).await;
        }
        let probes = lines_with(&world, "tcp 10256-10256 ").await;
        let first = balancer(&world.service("first").await);
        assert!(probes.len() == 2 && probes.iter().all(|line| line.contains(&first)), "{probes:?}");
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        world.remove_service("first").await;
        quiet(&world).await;
        let second = balancer(&world.service("second").await);
        let probes = lines_with(&world, "tcp 10256-10256 ").await;
        assert!(
            probes.len() == 2 && probes.iter().all(|line| line.contains(&second)),
            "{probes:?}"
        );
        before.comes_back(&world, &cases[1..]).await;
    });
}

/// A machine that was switched off stays a target: nobody takes it away.
#[test]
fn a_node_that_is_switched_off() {
    run(async {
        let world = World::aws(&[]).await;
        let instances = world.go_nodes(2, &[]).await;
        let before = Before::of(&world).await;
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        for case in &cases {
            world.go_served(&Go::default(), &case.wanted).await;
        }
        world.cloud.stop(&[&instances[0].id]).await.unwrap();
        world.silence(&instances[0].private_dns).await;
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        untouched(&world).await;
        // The group of a new port gets the one that runs.
        changed(&world, &cases).await;
        world.cloud.start_again(&[&instances[0].id]).await.unwrap();
        before.comes_back(&world, &cases).await;
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
        nothing_planned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        wait_until("that the Services are looked at", SOON, async || {
            let asked = world.cloud.asked(0).await;
            if asked.is_empty() { Err(asked) } else { Ok(()) }
        })
        .await;
        quiet(&world).await;
        let after = world.service("external").await;
        assert_eq!((after.ingress, after.finalizers), (before.ingress, before.finalizers));
        assert_eq!(after.ready, None, "it is not ours to judge");
        for kind in ["external", "nlb-ip"] {
            world.remove_service(kind).await;
        }
        quiet(&world).await;
        assert_eq!(world.cloud.changed(0).await, [""; 0]);
        assert_eq!(everything(&world).await, all);
    });
}
