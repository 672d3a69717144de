//! What goes wrong with one node's routes is said on it, tried again, and stops nobody else.

use std::time::Duration;

use ccm_e2e::{Pods, SOON, Seen, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use simcloud::api::{
    FaultExtent, FaultKind, Operation, OperationFilter, PieceKind, RateLimit, SettingsPatch,
};
use tokio::time::sleep;

use super::setup;

/// Back-off begins at 5 s.
const RETRIED: Duration = Duration::from_secs(45);

#[test]
fn a_route_that_cannot_be_made_is_told_and_tried_again() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&setup().flag("--route-drift-interval=1h").serving());
        world.join_numbered(1).await;
        world.reachable("n1").await;
        for (kind, said) in [
            (FaultKind::PermissionDenied, "need this right"),
            (FaultKind::ServerError { status: 503 }, "it is tried again"),
        ] {
            let create = OperationFilter::One(Operation::CreateRoute);
            let always = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
            let fault = world.cloud.strike(create, kind, always, None).await;
            let number = if said.contains("right") { 2 } else { 3 };
            let name = world.join_numbered(number).await;
            let seen = world.unreachable(&name, said).await;
            assert!(seen.is_initialized());
            let events = world.events_with(&name, "FailedToCreateRoute").await;
            println!("{}; {events:?}", seen.unreachable());
            world.cloud.remove_fault(&fault).await.unwrap();
            world.node_until(&name, "healed", RETRIED, Seen::is_reachable).await;
            assert!(world.node("n1").await.is_reachable());
        }
        ccm.metric_is("ccm_route_nodes{state=\"Reachable\"}", 3.0).await;
    });
}

#[test]
fn one_nodes_failure_is_no_others() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup());
        world.barrier("before").await;
        let instance = world.cloud.instance_named("n1").await;
        let [v4, v6] = Pods::of(1);
        let node = world.register(Kubelet::new("n1").pod_cidrs(&[&v4, &v6])).await;
        let uid = node.metadata.uid.unwrap();
        let always = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
        let hang = FaultKind::Hang { max_ms: None };
        world
            .cloud
            .strike(OperationFilter::One(Operation::CreateRoute), hang, always, Some(&uid))
            .await;
        world.join_all_numbered(2..32).await;
        let began = tokio::time::Instant::now();
        for number in 2..32 {
            world.reachable(&format!("n{number}")).await;
        }
        println!("30 nodes beside one whose calls hang: {:.1?}", began.elapsed());
        assert!(!world.node("n1").await.is_reachable());
        world.cloud.clear_faults().await.unwrap();
        world.node_until("n1", "healed", Duration::from_secs(90), Seen::is_reachable).await;
        drop(instance);
    });
}

#[test]
fn ranges_that_cannot_be_had_are_told_and_the_others_are_had() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup());
        world.join_numbered(1).await;
        world.reachable("n1").await;
        // Outside of the cluster's ranges, and one that is fine.
        world.join_with("outside", &["192.168.1.0/24", "fd00:244:0:77::/64"]).await;
        let seen = world.unreachable("outside", "not inside --cluster-cidr").await;
        wait_until("the route that can be had", SOON, async || {
            let routes = world.cloud.routes_of(&seen.uid).await;
            match &routes[..] {
                [one] if one.destination.to_string() == "fd00:244:0:77::/64" => Ok(()),
                _ => Err(routes),
            }
        })
        .await;
        // Somebody gave a range twice: the older node keeps it.
        let older = world.cloud.routes_of(&world.node("n1").await.uid).await;
        sleep(Duration::from_secs(1)).await;
        let [v4, _] = Pods::of(1);
        world.join_with("second", &[&v4]).await;
        world.unreachable("second", "older node n1").await;
        world.events_with("second", "FailedToCreateRoute").await;
        assert_eq!(world.cloud.routes_of(&world.node("n1").await.uid).await, older);
        assert!(world.node("n1").await.is_reachable());
        // And when it goes, the other one has it.
        world.remove("n1").await;
        world.reachable("second").await;
    });
}

#[test]
fn a_cloud_that_is_away_makes_no_node_unreachable() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup());
        for number in 1..=2 {
            world.join_numbered(number).await;
        }
        for name in ["n1", "n2"] {
            world.reachable(name).await;
        }
        let before = world.traffic().await.status_writes().len();
        world.cloud.break_down_all(FaultKind::ServerError { status: 503 }).await;
        // Three looks for drift would have come.
        sleep(Duration::from_secs(32)).await;
        for name in ["n1", "n2"] {
            assert!(world.node(name).await.is_reachable());
        }
        let writes = world.traffic().await.status_writes().after(before);
        assert!(writes.is_empty(), "{writes}");
        world.cloud.clear_faults().await.unwrap();
    });
}

#[test]
fn routes_that_take_their_time_are_waited_for() {
    run(async {
        let world = World::start().await;
        world.cloud.slow_creation(PieceKind::Route, Duration::from_secs(4)).await;
        let _ccm = world.ccm(&setup());
        world.join_numbered(1).await;
        let seen = world.unreachable("n1", "no route yet").await;
        assert_eq!(seen.network().1, "NoRouteCreated");
        world.reachable("n1").await;
        let events = world.events("n1").await;
        assert!(events.iter().all(|(reason, ..)| reason != "FailedToCreateRoute"), "{events:?}");
        assert_eq!(world.cloud.mutations().await, 2);
    });
}

#[test]
fn a_short_quota_is_kept_and_everybody_gets_there() {
    run(async {
        let world = World::start().await;
        let few = RateLimit { per_second: 10.0, burst: 5 };
        let patch = SettingsPatch { write_rate: Some(few), ..SettingsPatch::default() };
        world.cloud.change_settings(&patch).await.unwrap();
        world.join_all_numbered(0..40).await;
        let _ccm = world.ccm(&setup());
        wait_until("all are reachable", Duration::from_secs(90), async || {
            let mut missing = 0;
            for number in 0..40 {
                missing += usize::from(!world.node(&format!("n{number}")).await.is_reachable());
            }
            if missing == 0 { Ok(()) } else { Err(missing) }
        })
        .await;
        assert_eq!(world.cloud.mutations().await, 80);
    });
}
