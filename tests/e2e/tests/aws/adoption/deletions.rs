//! Services that go when one program takes over from the other, and what deletions have left.

use ccm_awscloud::Settings;
use ccm_e2e::{Aws, Go, World, run, wait_until};
use serde_json::{Value, json};

use super::rules::of_nodes;
use super::{Case, LONG, Takeover, adopt, changes};

/// Deletes a load balancer, and nothing beside it.
async fn delete_alone(world: &World<Aws>, case: &Case) -> String {
    let name = world.service(case.name()).await.balancer();
    if case.is_network() {
        let args = json!({"Names": [name]});
        let seen = world.cloud.boto("elbv2", "describe_load_balancers", args).await;
        let args = json!({"LoadBalancerArn": seen["LoadBalancers"][0]["LoadBalancerArn"]});
        world.cloud.boto("elbv2", "delete_load_balancer", args).await;
    } else {
        let args = json!({"LoadBalancerName": name});
        world.cloud.boto("elb", "delete_load_balancer", args).await;
    }
    name
}

/// They are being deleted, and the Go program was stopped before it had begun, or half-way: our deletion
/// takes along what is there, and nothing of those beside them.
#[test]
fn under_way() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let stay = [Case::named("classic", &[]), Case::network("network", &[])];
        Takeover::of(&world, &Go::default()).await.lay_out(&stay).await;
        let (lines, names) = (
            world.cloud.lines().await,
            [world.service("classic").await.balancer(), world.service("network").await.balancer()],
        );
        let whole = Takeover::of(&world, &Go::default()).await;
        let go = [
            Case::named("whole-classic", &[]),
            Case::network("whole-network", &[]).spec("externalTrafficPolicy", json!("Local")),
            // Of which the load balancer went, but not its security group, or its target groups.
            Case::named("half-classic", &[]),
            Case::network("half-network", &[]).ports(&[80, 443]),
        ];
        whole.lay_out(&go).await;
        for case in &go[2..] {
            delete_alone(&world, case).await;
        }
        let mut ends = Vec::new();
        for case in &go {
            ends.push((case.name(), world.service(case.name()).await.uid));
            world.end_service(case.name()).await;
        }
        let planned = whole.planned().await;
        assert!(!planned.is_empty());
        for line in &planned {
            assert!(names.iter().all(|name| !line.contains(name)), "{line}");
        }
        let _ccm = world.ccm(&whole.setup);
        for (name, uid) in ends {
            world.service_gone(name, &uid, LONG).await;
        }
        world.all_ready(LONG).await;
        world.cloud.quiet().await;
        assert_eq!(world.cloud.lines().await, lines);
        for call in changes(&world, 0).await {
            assert!(names.iter().all(|name| !call.contains(name)), "{call}");
        }
        whole.comes_back(&[]).await;
    });
}

/// Interfaces of deleted load balancers go on using their security groups for a while.
#[test]
fn whose_security_groups_are_still_used() {
    run(async {
        let world = World::aws(&["NLBSecurityGroupMode = Managed"]).await;
        let lingering = |seconds| Settings { lingering_s: Some(seconds), ..Settings::default() };
        world.cloud.set(&lingering(3600.0)).await.unwrap();
        world.go_nodes(2, &[]).await;
        let go = Go { manages_groups: true, ..Go::default() };
        let cases = [Case::named("classic", &[]), Case::network("network", &[])];
        let used_for_a_while = async {
            wait_until("a group that is used", LONG * 2, async || {
                let calls = world.cloud.calls(0).await;
                let is_used = calls.iter().any(|call| call.code == "DependencyViolation");
                if is_used { Ok(()) } else { Err(calls.len()) }
            })
            .await;
            world.cloud.set(&lingering(0.0)).await.unwrap();
        };
        tokio::join!(adopt(&world, &go, &cases), used_for_a_while);
    });
}

/// A deletion of a Service of the same name has failed half-way: its target groups and rules are
/// there.
#[test]
fn that_failed_before_one_of_the_same_name() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let cases = [
            Case::network("changed", &[]).left("target group"),
            Case::network("deleted", &[]).left("target group"),
        ];
        // The name of a target group says its node port, and nothing of which Service of the name it
        // is: with the same port the next one would take it over. These are given to nobody by chance.
        let at = |name: &str, node_port: u16| {
            let port = json!([{"name": "p80", "port": 80, "nodePort": node_port}]);
            Case::network(name, &[]).spec("ports", port)
        };
        takeover.lay_out(&[at("changed", 30_001), at("deleted", 30_002)]).await;
        let mut lost = Vec::new();
        for case in &cases {
            lost.push(delete_alone(&world, case).await);
            world.go_loses(case.name()).await;
        }
        takeover.lay_out(&cases).await;
        let _ccm = takeover.take_over().await;
        takeover.said(&cases).await;
        assert_eq!(world.cloud.lines_with("of no load balancer").await.len(), 2);
        takeover.changed(&cases[..1]).await;
        assert_eq!(world.cloud.lines_with("of no load balancer").await.len(), 1);
        // Rules bear the names of load balancers, which are gone: nobody knows whose they were.
        for name in &lost {
            assert_eq!(world.cloud.lines_with(name).await.len(), 1);
            let rules = of_nodes(&world).await;
            let is_lost = |rule: &&Value| rule["IpRanges"].to_string().contains(name.as_str());
            let rules: Vec<_> = rules.as_array().unwrap().iter().filter(is_lost).collect();
            let args = json!({"GroupId": world.cloud.network.node_group, "IpPermissions": rules});
            world.cloud.boto("ec2", "revoke_security_group_ingress", args).await;
        }
        takeover.comes_back(&cases).await;
    });
}

/// What belongs to Services that do not exist any more is named, and left.
#[test]
fn that_were_never_made() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let go = Go::default();
        for case in [Case::named("no-classic", &[]), Case::network("no-network", &[])] {
            world.go_served(&go, &case.wanted).await;
            world.go_loses(case.name()).await;
        }
        let takeover = Takeover::of(&world, &go).await;
        let plan = takeover.plan().await;
        let orphans: Vec<_> =
            plan["orphans"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        for name in ["default/no-classic", "default/no-network"] {
            assert!(orphans.iter().any(|orphan| orphan.contains(name)), "{orphans:?}");
        }
        // Another Service comes and goes beside them.
        takeover.run(&[Case::named("classic", &[]), Case::network("network", &[])]).await;
        world.cloud.quiet().await;
    });
}
