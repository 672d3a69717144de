//! What the cloud does not say, or not yet: new nodes wait and are told why, live nodes keep all.

use std::time::Duration;

use ccm_e2e::{SOON, Seen, Setup, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use kube::api::DeleteParams;
use simcloud::api::{FaultKind, Outcome, Timestamp};
use tokio::time::{Instant, sleep};

/// A node that waits this long is told why: a shorter wait is normal and no news.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest pause between two looks at a node that waits, with its spread.
const LONGEST_PAUSE: Duration = Duration::from_secs(45);

/// Waits until the node says why it waits, which must not be before its time.
async fn told(world: &World, name: &str, known: (&str, &str), since: Instant) -> Seen {
    let bound = PATIENCE + SOON;
    let node =
        world.node_until(name, &format!("{known:?}"), bound, |node| node.known() == known).await;
    // The API server's clock and ours are one, but the node was seen by the program after us.
    assert!(since.elapsed() >= PATIENCE, "told after {:?}", since.elapsed());
    assert!(!node.is_initialized());
    node
}

#[test]
fn a_machine_that_comes_later_is_waited_for() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        let since = Instant::now();
        world.register(Kubelet::new("n1")).await;
        told(&world, "n1", ("False", "InstanceNotFound"), since).await;
        let events = world.events_with("n1", "InstanceNotFound").await;

        world.cloud.instance_named("n1").await;
        let node = world.node_until("n1", "initialized", LONGEST_PAUSE, Seen::is_initialized).await;
        assert_eq!(node.known(), ("True", "InstanceFound"));
        assert_eq!(
            world.traffic().await.of_node("n1").lines(),
            ["patch nodes/status 200", "patch nodes/status 200", "patch nodes 200"],
            "the condition turns in the status write"
        );
        assert_eq!(world.events("n1").await, events);
        assert!(matches!(&events[..], [(_, _, 1)]), "{events:?}");
    });
}

#[test]
fn a_node_that_is_deleted_while_it_waits_is_forgotten() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving());
        world.barrier("live").await;
        world.register(Kubelet::new("n1")).await;
        let mut waiting = async |count: u32| {
            let line = format!("ccm_nodes_waiting{{reason=\"InstanceNotFound\"}} {count}");
            wait_until(&line, SOON, async || {
                let metrics = ccm.ask("/metrics").await.body;
                if metrics.lines().any(|found| found == line) { Ok(()) } else { Err(metrics) }
            })
            .await;
        };
        waiting(1).await;
        world.nodes().delete("n1", &DeleteParams::default()).await.unwrap();
        waiting(0).await;
    });
}

/// So many a second.
struct Rate(f64);

impl Rate {
    fn of(count: usize, since: Instant) -> Self {
        Self(f64::from(u32::try_from(count).unwrap()) / since.elapsed().as_secs_f64())
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

#[test]
fn revoked_credentials_hold_new_nodes_without_a_storm() {
    /// Nodes that join meanwhile.
    const MANY: usize = 300;

    run(async {
        let world = World::start().await;
        let names: Vec<_> = (0..MANY).map(|n| format!("n{n}")).collect();
        world.cloud.instances_named(names.clone()).await;
        let _ccm = world.ccm(&Setup::new().refresh(5));
        world.barrier("live").await;
        let live = world.node("live").await;
        let before = world.traffic().await.node_writes().len();

        world.cloud.revoke_token("default").await.unwrap();
        world.cloud.clear_calls().await.unwrap();
        let since = Instant::now();
        world.register_all(&names).await;
        let told_first = wait_until("the first condition", PATIENCE + SOON, async || {
            let writes = world.traffic().await.node_writes().len() - before;
            if writes > 0 { Ok(since.elapsed()) } else { Err(writes) }
        })
        .await;
        assert!(told_first >= PATIENCE, "told after {told_first:?}");

        // It is a rate that is measured, so time must pass.
        let (begun, window) = (Instant::now(), Timestamp::now());
        let first = world.traffic().await.mutations().len();
        sleep(PATIENCE).await;
        let traffic = world.traffic().await;
        let mutations = traffic.mutations().after(first);
        let calls = world.cloud.calls_of_ccm().await;
        let conditions = Rate::of(mutations.node_writes().len(), begun);
        let others = Rate::of(mutations.len() - mutations.node_writes().len(), begun);
        let late = calls.iter().filter(|call| call.received_at >= window).count();
        let late = Rate::of(late, begun);
        println!(
            "{MANY} nodes wait, first told after {told_first:.1?}; a second: {conditions} conditions, \
             {others} other writes, {late} cloud calls; {} calls in all {:.1?}",
            calls.len(),
            since.elapsed(),
        );
        assert!(conditions.0 <= 10.5, "{conditions} conditions a second");
        // An event for each condition, and the lease.
        assert!(others.0 <= 11.5, "{others} other writes a second");
        // By now a node waits 8 s or 16 s between two looks, and nodes share their calls.
        assert!(late.0 <= 5.0, "{late} cloud calls a second");
        assert!(calls.iter().all(|call| call.status == Some(401)), "{calls:?}");

        let told = wait_until("somebody told by an event", SOON, async || {
            for name in &names {
                let node = world.node(name).await;
                if node.known() == ("Unknown", "PermissionDenied") {
                    return Ok(name.clone());
                }
            }
            Err("nobody told")
        })
        .await;
        let events = world.events_with(&told, "PermissionDenied").await;
        assert!(matches!(&events[..], [(_, _, 1)]), "{events:?}");
        assert_eq!(world.node("live").await, live, "a live node loses nothing");

        world.cloud.restore_token("default").await.unwrap();
        let restored = Instant::now();
        world.all_initialized(LONGEST_PAUSE + SOON).await;
        println!("all initialized {:.1?} after the token was restored", restored.elapsed());
        assert!(restored.elapsed() < LONGEST_PAUSE, "{:?}", restored.elapsed());
        let node = world.node(&told).await;
        assert_eq!(node.known(), ("True", "InstanceFound"));
        assert_eq!(world.node("live").await, live);
        assert_eq!(world.events(&told).await, events);
    });
}

#[test]
fn a_throttling_cloud_is_left_alone_for_as_long_as_it_asks() {
    /// Longer than a node waits before it is told.
    const PAUSE_MS: u64 = 20_000;

    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new().refresh(5));
        world.barrier("live").await;
        let live = world.node("live").await;
        world.cloud.spoil(FaultKind::Throttle { retry_after_ms: Some(PAUSE_MS) }, 1).await;
        let since = Instant::now();
        world.join("n1").await;
        wait_until("the throttled call", SOON, async || {
            let calls = world.cloud.calls_of_ccm().await;
            if calls.iter().any(|call| call.outcome == Outcome::Throttled) {
                Ok(())
            } else {
                Err(calls)
            }
        })
        .await;
        // Its question waits in the pause as well.
        world.join("n2").await;
        told(&world, "n1", ("Unknown", "RateLimited"), since).await;
        for name in ["n1", "n2"] {
            world.initialized(name).await;
        }

        let calls = world.cloud.calls_of_ccm().await;
        let throttled = calls.iter().find(|call| call.outcome == Outcome::Throttled).unwrap();
        let ended = throttled.received_at.as_millis() + throttled.duration_ms;
        let next = calls.iter().map(|call| call.received_at.as_millis()).find(|at| *at > ended);
        let pause = next.unwrap() - ended;
        println!("asked to wait {PAUSE_MS} ms, waited {pause} ms");
        // Both clocks are the cloud's; it may have rounded.
        assert!(pause + 5 >= PAUSE_MS, "{pause} ms");
        assert_eq!(world.node("live").await, live);
    });
}

/// A node joins while looks fail like this, so many of them, and is initialized all the same. A live
/// one keeps all.
async fn heals(kind: FaultKind, calls: u64, refresh: u32) -> Duration {
    let world = World::start().await;
    let _ccm = world.ccm(&Setup::new().refresh(refresh));
    world.barrier("live").await;
    let live = world.node("live").await;
    world.cloud.spoil(kind, calls).await;
    let since = Instant::now();
    world.join("n1").await;
    let node = world.node_until("n1", "initialized", LONGEST_PAUSE, Seen::is_initialized).await;
    let took = since.elapsed();
    assert!(node.provider_id.is_some() && node.addresses.len() == 2, "{node:?}");
    assert_eq!(world.node("live").await, live, "a live node loses nothing");
    let faults = world.cloud.faults().await.unwrap();
    assert_eq!(faults[0].uses, calls, "the fault was met");
    println!("{}: initialized after {took:.1?}", kind.as_str());
    took
}

#[test]
fn server_errors_heal() {
    run(async {
        heals(FaultKind::ServerError { status: 503 }, 3, 2).await;
    });
}

#[test]
fn a_lost_answer_heals() {
    run(async {
        heals(FaultKind::LoseResponse, 2, 2).await;
    });
}

#[test]
fn a_broken_connection_heals() {
    run(async {
        heals(FaultKind::Reset, 2, 2).await;
    });
}

#[test]
fn an_empty_answer_heals() {
    run(async {
        heals(FaultKind::EmptyPage, 2, 2).await;
    });
}

#[test]
fn an_answer_cut_short_heals() {
    run(async {
        heals(FaultKind::CutPage { missing_share: 0.5 }, 2, 2).await;
    });
}

#[test]
fn a_cloud_that_hangs_is_given_up_after_ten_seconds() {
    run(async {
        // No look at the other node is to meet it.
        let took = heals(FaultKind::Hang { max_ms: None }, 1, 300).await;
        let (least, most) = (Duration::from_secs(9), Duration::from_secs(25));
        assert!(least < took && took < most, "{took:?}");
    });
}

#[test]
fn a_live_node_keeps_all_while_the_cloud_denies_that_it_exists() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new().refresh(1));
        world.barrier("n1").await;
        let node = world.node("n1").await;
        let writes = world.traffic().await.node_writes().len();
        for kind in [
            FaultKind::EmptyPage,
            FaultKind::PermissionDenied,
            FaultKind::ServerError { status: 500 },
        ] {
            world.cloud.break_down(kind).await;
            let before = world.cloud.calls_of_ccm().await.len();
            wait_until("three more looks", SOON, async || {
                let now = world.cloud.calls_of_ccm().await.len();
                if now >= before + 3 { Ok(()) } else { Err(now - before) }
            })
            .await;
            world.cloud.clear_faults().await.unwrap();
        }
        assert_eq!(world.node("n1").await, node);
        let traffic = world.traffic().await.node_writes().after(writes);
        assert!(traffic.is_empty(), "{traffic}");
    });
}
