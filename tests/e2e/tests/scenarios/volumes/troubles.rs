//! What goes wrong is told on the volume, costs few questions, and stops nobody else.

use std::time::Duration;

use ccm_e2e::{Account, SOON, SeenVolume, Setup, Signal, WantedVolume, World, run, wait_until};
use serde_json::json;
use simcloud::api::FaultKind;
use tokio::time::{Instant, sleep, sleep_until};

#[test]
fn a_missing_volume_is_told_once_and_not_asked_for_in_a_loop() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving());
        world.volume_barrier("well").await;
        let before = world.cloud.looks_at_volumes().await;
        let id = world.cloud.volume_in(&["sim-1a"]).await;
        world.cloud.delete_volume(&id).await;
        let begun = Instant::now();
        world.make_volume(&WantedVolume::csi("missing", &id)).await;
        let events = world.volume_events_with("missing", "VolumeNotFound").await;
        println!("told after {:.1?}: {}", begun.elapsed(), events[0].1);
        assert!(events[0].1.contains(&id), "{events:?}");
        ccm.metric_is("ccm_volumes_waiting{reason=\"VolumeNotFound\"}", 1.0).await;
        // Once, and once more before it was told.
        sleep_until(begun + Duration::from_secs(25)).await;
        assert_eq!(world.cloud.looks_at_volumes().await - before, 2);
        let seen = world.volume("missing").await;
        assert!(seen.is_untouched(), "{seen:?}");

        // Its owner changes something: it is looked for once more.
        world.change_volume("missing", &json!({"metadata": {"annotations": {"again": "1"}}})).await;
        wait_until("another look", SOON, async || {
            let looks = world.cloud.looks_at_volumes().await - before;
            if looks == 3 { Ok(()) } else { Err(looks) }
        })
        .await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.cloud.looks_at_volumes().await - before, 3);
        let events = world.volume_events("missing").await;
        assert_eq!((events.len(), events[0].2), (1, 1), "{events:?}");
        assert_eq!(world.traffic().await.volume_writes().len(), 1, "the other one's");
    });
}

#[test]
fn a_handle_that_is_none_is_told_and_others_are_not_held_up() {
    run(async {
        let world = World::start().await;
        let id = world.cloud.volume_in(&["sim-1a"]).await;
        world
            .make_volumes([
                WantedVolume::csi("odd", "no such/handle"),
                WantedVolume::csi("well", &id),
            ])
            .await;
        let _ccm = world.ccm(&Setup::new());
        world.placed("well").await;
        let events = world.volume_events_with("odd", "InvalidConfiguration").await;
        assert!(events[0].1.contains("no such/handle"), "{events:?}");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.cloud.looks_at_volumes().await, 1);
    });
}

/// A fault of the cloud, and what is told of it.
async fn outage(kind: FaultKind, reason: &str) {
    let world = World::start().await;
    let mut ccm = world.ccm(&Setup::new().serving());
    world.volume_barrier("before").await;
    world.cloud.break_down_all(kind).await;
    let ids = [world.cloud.volume_in(&["sim-1a"]).await, world.cloud.volume_in(&["sim-1b"]).await];
    world.make_volume(&WantedVolume::csi("p0", &ids[0])).await;
    world.make_volume(&WantedVolume::in_tree("p1", &ids[1])).await;
    for name in ["p0", "p1"] {
        let events = world.volume_events_with(name, reason).await;
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(world.volume(name).await.is_untouched());
    }
    ccm.metric_is(&format!("ccm_volumes_waiting{{reason=\"{reason}\"}}"), 2.0).await;
    assert_eq!(ccm.ask("/healthz").await.status, 200);
    world.cloud.clear_faults().await.unwrap();
    let bound = Duration::from_secs(40);
    for name in ["p0", "p1"] {
        world.volume_until(name, "healed", bound, SeenVolume::is_placed).await;
        assert_eq!(world.volume_events(name).await.len(), 1);
    }
    ccm.metric_is(&format!("ccm_volumes_waiting{{reason=\"{reason}\"}}"), 0.0).await;
}

#[test]
fn a_cloud_that_denies_is_told_and_heals() {
    run(outage(FaultKind::PermissionDenied, "PermissionDenied"));
}

#[test]
fn a_cloud_that_is_away_is_told_and_heals() {
    run(outage(FaultKind::ServerError { status: 503 }, "CloudUnavailable"));
}

#[test]
fn a_cloud_that_throttles_is_told_and_heals() {
    run(outage(FaultKind::Throttle { retry_after_ms: Some(1_000) }, "RateLimited"));
}

/// A `ClusterRole` from before there was a volume controller.
#[test]
fn without_rights_to_volumes_all_others_go_on_and_the_log_says_so() {
    run(async {
        let world = World::start().await;
        let setup = Setup::new().account(Account::Unlabelling).serving();
        let mut ccm = world.ccm(&setup);
        let begun = Instant::now();
        let id = world.cloud.volume_in(&["sim-1a"]).await;
        world.make_volume(&WantedVolume::csi("p", &id)).await;
        world.barrier("n1").await;
        sleep_until(begun + Duration::from_secs(20)).await;
        world.barrier("n2").await;
        let said = "persistentvolumes cannot be watched";
        let lines = ccm.warnings(said);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let tries = world.traffic_of(Account::Unlabelling).await.volume_reads();
        println!("{} tries in {:.0?}", tries.len(), begun.elapsed());
        assert!((2..=12).contains(&tries.len()), "{tries}");
        assert_eq!(tries.answered(403).len(), tries.len(), "{tries}");
        assert_eq!(ccm.ask("/healthz").await.status, 200);
        assert!(world.volume("p").await.is_untouched());
        // It ends at once nevertheless.
        ccm.signal(Signal::TERM);
        let status = ccm.end(SOON).await;
        assert!(status.success(), "{status}");
    });
}

#[test]
fn an_api_server_that_is_away_costs_nothing_but_time() {
    run(async {
        let mut world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().without_election());
        world.volume_barrier("before").await;
        let seen = world.volume("before").await;
        let id = world.cloud.volume_in(&["sim-1c"]).await;
        world.cloud.slow_down_calls(simcloud::api::Operation::DescribeVolumes, SECOND).await;
        world.make_volume(&WantedVolume::csi("p", &id)).await;
        // While the cloud is asked.
        wait_until("a question to the cloud", SOON, async || {
            if world.cloud.calls_in_flight().await > 0 { Ok(()) } else { Err(()) }
        })
        .await;
        world.control_plane().kill_apiserver().unwrap();
        sleep(SECOND * 2).await;
        world.control_plane().start_apiserver().await.unwrap();
        world.volume_until("p", "labelled", Duration::from_mins(1), SeenVolume::is_placed).await;
        assert_eq!(world.volume("before").await, seen);
        ccm.expect_running();
    });
}

const SECOND: Duration = Duration::from_secs(1);
