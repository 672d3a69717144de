//! Services whose annotation asks for another kind of load balancer than serves: the Go program has refused
//! to change it, maybe for years. It serves on until the Service's owner asks for the other kind anew.

use ccm_e2e::{Aws, Ccm, Go, SeenService, World, run, wait_until};
use serde_json::{Value, json};

use super::{Case, LONG, Takeover, annotate, changes};

/// The machine that joins.
const THIRD: &str = "instance node-3: running, source/dest check on";

/// Starts ours, which says this of all the Services, and changes nothing: neither at AWS nor their
/// addresses.
async fn taken_over(takeover: &Takeover<'_>, cases: &[Case], reason: &str) -> Ccm {
    let world = takeover.world;
    assert_eq!(takeover.planned().await, [""; 0]);
    let (lines, before) = (world.cloud.lines().await, services(world, cases).await);
    let ccm = world.ccm(&takeover.setup);
    for case in cases {
        wait_until(&format!("event {reason} of {}", case.name()), LONG, async || {
            let events = world.service_events(case.name()).await;
            if events.iter().any(|event| event.0 == reason) { Ok(()) } else { Err(events) }
        })
        .await;
    }
    world.cloud.quiet().await;
    assert_eq!(changes(world, 0).await, [""; 0]);
    assert_eq!(world.cloud.lines().await, lines);
    let after = services(world, cases).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&after.ingress, &after.finalizers), (&before.ingress, &before.finalizers));
    }
    ccm
}

async fn services(world: &World<Aws>, cases: &[Case]) -> Vec<SeenService> {
    let mut seen = Vec::new();
    for case in cases {
        seen.push(world.service(case.name()).await);
    }
    seen
}

/// Nodes come and go there, all the same.
async fn follows_nodes(world: &World<Aws>, cases: &[Case]) {
    let before = world.cloud.mark().await.unwrap();
    world.join_instance().await;
    for service in services(world, cases).await {
        let name = service.balancer();
        world
            .cloud
            .lines_until(&format!("a third target of {name}"), LONG, |lines| {
                let of = format!(": of {name}");
                let group = lines.iter().find_map(|line| line.strip_suffix(&of));
                let group = group.unwrap_or("no target group");
                let classic = format!("classic load balancer {name}: instance ");
                let network = format!("{group}: target ");
                let is_target =
                    |line: &&String| line.starts_with(&classic) || line.starts_with(&network);
                lines.iter().filter(is_target).count() == 3
            })
            .await;
    }
    world.cloud.quiet().await;
    let mut done = world.cloud.changed(before).await;
    done.sort();
    assert_eq!(done, ["RegisterInstancesWithLoadBalancer ", "RegisterTargets "]);
}

/// Another annotation, and put back, and the other one once more.
async fn change_kind(world: &World<Aws>, name: &str, back: Value, kind: Value) {
    annotate(world, name, "type", back).await;
    world.service_until(name, "served again", LONG, SeenService::is_ready).await;
    annotate(world, name, "type", kind).await;
}

#[test]
fn that_serve_although_the_other_is_asked_for() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await.leaves(THIRD);
        let cases = [
            Case::named("to-network", &[]).later("type", json!("nlb")),
            Case::network("to-classic", &[]).later("type", Value::Null),
        ];
        takeover.lay_out(&cases).await;
        let _ccm = taken_over(&takeover, &cases, "SyncLoadBalancerFailed").await;
        let before = services(&world, &cases).await;
        for service in &before {
            assert_eq!(service.ready(), ("False", "InvalidSpec"), "{service:?}");
        }
        follows_nodes(&world, &cases).await;
        // Another change is none of the kind.
        let mark = world.cloud.mark().await.unwrap();
        world.change_ports("to-network", &[80, 443]).await;
        world.cloud.quiet().await;
        assert_eq!(changes(&world, mark).await, [""; 0]);

        change_kind(&world, "to-network", Value::Null, json!("nlb")).await;
        change_kind(&world, "to-classic", json!("nlb"), Value::Null).await;
        for (case, before) in cases.iter().zip(&before) {
            let is_new = |it: &SeenService| it.is_ready() && it.ingress != before.ingress;
            world.service_until(case.name(), "served anew", LONG, is_new).await;
        }
        world.cloud.quiet().await;
        for (kind, before) in [("load balancer", &before[0]), ("classic load balancer", &before[1])]
        {
            let lines =
                world.cloud.lines_with(&format!("balancer {}: tags", before.balancer())).await;
            assert!(lines.len() == 1 && lines[0].starts_with(kind), "{lines:?}");
        }
        takeover.comes_back(&cases).await;
    });
}

/// They are deleted before anybody has put the annotation right, or it is put back for good.
#[test]
fn that_serve_until_the_end() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let cases = [
            Case::named("to-network", &[]).later("type", json!("nlb")),
            Case::network("to-classic", &[]).later("type", Value::Null),
            Case::named("put-back", &[]).later("type", json!("nlb")),
        ];
        takeover.lay_out(&cases).await;
        let _ccm = taken_over(&takeover, &cases, "SyncLoadBalancerFailed").await;
        let before = world.service("put-back").await;
        annotate(&world, "put-back", "type", Value::Null).await;
        world.service_until("put-back", "served again", LONG, SeenService::is_ready).await;
        world.change_ports("put-back", &[80, 443]).await;
        let name = before.balancer();
        let more = format!("load balancer {name}: listener 443 ");
        let is_more = |lines: &[String]| lines.iter().any(|line| line.contains(&more));
        world.cloud.lines_until("another port", LONG, is_more).await;
        assert_eq!(world.service("put-back").await.ingress, before.ingress);
        let lines = world.cloud.lines_with(&format!("balancer {name}: tags ")).await;
        assert!(lines.len() == 1 && lines[0].contains("ccm.rs/managed-for="), "{lines:?}");
        takeover.comes_back(&cases).await;
    });
}

/// The annotation hands the Service over to another controller. What the Go program has made for it stays.
#[test]
fn that_serve_beside_the_other_controller() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await.leaves(THIRD);
        let cases = [
            Case::named("classic", &[]).later("type", json!("external")),
            Case::network("network", &[]).later("type", json!("nlb-ip")),
        ];
        takeover.lay_out(&cases).await;
        let _ccm = taken_over(&takeover, &cases, "LeftAsFound").await;
        follows_nodes(&world, &cases).await;
        // Asked for anew, it goes, while the Service stays.
        change_kind(&world, "network", json!("nlb"), json!("nlb-ip")).await;
        let network = world.service("network").await.balancer();
        world
            .cloud
            .lines_until("the end of what was there", LONG, |lines| {
                !lines.iter().any(|line| line.contains(&network))
            })
            .await;
        takeover.comes_back(&cases).await;
    });
}
