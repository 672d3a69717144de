//! What is slow for one Service is slow for nobody else.

use std::time::Duration;

use ccm_e2e::{Options, SOON, SeenService, Setup, Wanted, World, run, wait_until};
use simcloud::api::{FaultExtent, FaultKind, Operation, OperationFilter, PieceKind};
use tokio::time::Instant;

/// One request is given up after this time.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

const ALWAYS: FaultExtent =
    FaultExtent { skip: None, calls: None, share: Some(1.0), period_ms: None };

fn named(what: &str, count: u16) -> Vec<Wanted> {
    (0..count).map(|n| Wanted::named(&format!("{what}-{n}")).ports(&[1000 + n])).collect()
}

#[test]
fn calls_that_hang_for_some_delay_nobody_else_and_end_by_their_deadline() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        world.cloud.without_limits().await;
        world.join("n1").await;
        let hung = world.serve_all(&named("hung", 6)).await;
        // One hangs at its first look, the others while they are made.
        for (seen, operation) in hung.iter().zip([
            Operation::ListAddresses,
            Operation::CreateAddress,
            Operation::CreateLoadBalancer,
            Operation::CreateTargetGroup,
            Operation::ChangeTargets,
            Operation::CreateListener,
        ]) {
            let kind = FaultKind::Hang { max_ms: None };
            let operation = OperationFilter::One(operation);
            world.cloud.strike(operation, kind, ALWAYS, Some(&seen.uid)).await;
        }
        let _ccm = world.ccm(&Setup::new().flag("--concurrent-service-syncs=4"));
        wait_until("all of them hang", SOON, async || {
            let in_flight = world.cloud.calls_in_flight().await;
            if in_flight >= 6 { Ok(()) } else { Err(in_flight) }
        })
        .await;
        let since = Instant::now();
        let others = world.serve_all(&named("other", 30)).await;
        let is_other = |seen: &SeenService| others.iter().any(|other| other.uid == seen.uid);
        world
            .services_until("ready but for those that hang", SOON, |seen| {
                seen.is_ready() || !is_other(seen)
            })
            .await;
        let took = since.elapsed();
        println!("30 Services beside 6 that hang: {took:.1?}");
        assert!(took < REQUEST_LIMIT.mul_f64(0.8), "{took:.1?}");

        world
            .services_until("told", REQUEST_LIMIT + SOON, |seen| {
                is_other(seen) || seen.ready() == ("False", "CloudUnavailable")
            })
            .await;
        world.cloud.clear_faults().await.unwrap();
        world.all_ready(SOON * 2).await;
    });
}

#[test]
fn a_slow_cloud_holds_no_worker() {
    /// What one load balancer takes.
    const TAKES: Duration = Duration::from_secs(3);
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        world.cloud.without_limits().await;
        world.cloud.slow_creation(PieceKind::LoadBalancer, TAKES).await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new().flag("--concurrent-service-syncs=1"));
        world.initialized("n1").await;
        let since = Instant::now();
        world.serve_all(&named("slow", 20)).await;
        world.service_says("slow-7", "Provisioning").await;
        world.all_ready(SOON).await;
        let took = since.elapsed();
        println!("20 Services whose load balancers take {TAKES:?} each, one worker: {took:.1?}");
        assert!(took < TAKES * 4, "{took:.1?}");
    });
}

#[test]
fn a_load_balancer_that_fails_is_made_anew() {
    run(async {
        let world = World::start().await;
        world.cloud.slow_creation(PieceKind::LoadBalancer, Duration::from_secs(1)).await;
        let _ccm = world.ccm(&Setup::new());
        let once = FaultExtent { calls: Some(1), ..FaultExtent::default() };
        let creation = OperationFilter::One(Operation::CreateLoadBalancer);
        world.cloud.strike(creation, FaultKind::FailProvisioning, once, None).await;
        let seen = world.serve(&Wanted::named("web")).await;
        world.service_event("web", "LoadBalancerFailed").await;
        world.ready("web").await;
        let lines = world.cloud.lines_of(&seen.uid).await;
        assert_eq!(lines.len(), 5, "one of each: {lines:#?}");
    });
}
