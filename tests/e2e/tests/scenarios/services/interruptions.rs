//! The API server, the leader or the process goes in the middle of something; answers are lost.

use std::time::Duration;

use ccm_e2e::{
    Account, Ccm, Options, SOON, SeenService, Setup, Signal, Wanted, World, run, wait_until,
};
use simcloud::api::{FaultExtent, FaultKind, OperationClass, OperationFilter, SettingsPatch};
use tokio::time::Instant;

use crate::lease::replicas;

const HANG: FaultKind = FaultKind::Hang { max_ms: None };

/// What a Service with two ports has, and the firewall.
const PIECES: usize = 9;

/// Makes a Service, and waits until its creation hangs at this change. Gives its UID.
async fn half_made(world: &World, passed: u64) -> String {
    let fault = world.cloud.strike_writes_after(passed, HANG).await;
    let uid = world.serve(&Wanted::named("web").ports(&[80, 443])).await.uid;
    world.cloud.has_struck(&fault, SOON).await;
    uid
}

/// Waits until the Service is as it should be, with all that it has and no more.
async fn is_whole(world: &World, bound: Duration) {
    wait_until("one of each piece", bound, async || {
        let seen = world.services().get("web").await.map_err(|err| err.to_string())?;
        let seen = SeenService::from(&seen);
        let lines = world.cloud.lines().await;
        if seen.is_ready() && lines.len() == PIECES {
            Ok(())
        } else {
            Err(format!("{seen:?} {lines:#?}"))
        }
    })
    .await;
}

#[test]
fn an_api_server_that_restarts_in_the_middle_of_a_creation_hinders_nothing() {
    run(async {
        let mut world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().without_election());
        world.barrier("n1").await;
        for passed in [1, 4] {
            let uid = half_made(&world, passed).await;
            world.control_plane().kill_apiserver().unwrap();
            world.cloud.clear_faults().await.unwrap();
            world.control_plane().start_apiserver().await.unwrap();
            is_whole(&world, SOON * 2).await;
            assert_eq!(world.service("web").await.uid, uid);
            world.remove_service("web").await;
            assert_eq!(world.cloud.lines().await, [""; 0]);
        }
        ccm.expect_running();
    });
}

#[test]
fn a_leader_that_is_killed_in_the_middle_of_a_creation_is_followed_by_one_that_ends_it() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        let (mut first, mut second, leader) = replicas(&world, &Setup::new().short_lease()).await;
        world.barrier("n1").await;
        half_made(&world, 3).await;
        first.signal(Signal::KILL);
        first.end(SOON).await;
        let since = Instant::now();
        world.holder_other_than(&leader, SOON).await;
        world.cloud.clear_faults().await.unwrap();
        is_whole(&world, SOON).await;
        println!("kill -9 of the leader to the whole load balancer: {:.1?}", since.elapsed());
        second.expect_running();
        let writes = world.traffic_of(Account::Second).await.of_service("web");
        assert!(!writes.is_empty());
    });
}

#[test]
fn a_leader_that_is_frozen_in_the_middle_of_a_creation_changes_nothing_after_its_time() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        let (mut first, mut second, leader) = replicas(&world, &Setup::new().short_lease()).await;
        world.barrier("n1").await;
        half_made(&world, 3).await;
        first.signal(Signal::STOP);
        world.holder_other_than(&leader, SOON).await;
        world.cloud.clear_faults().await.unwrap();
        is_whole(&world, SOON).await;
        let before = (world.cloud.mutations().await, world.traffic().await.mutations().len());
        first.signal(Signal::CONT);
        let status = first.end(SOON).await;
        assert_eq!(status.code(), Some(1), "{status}");
        let after = (world.cloud.mutations().await, world.traffic().await.mutations().len());
        assert_eq!(after, before, "changes of the cloud and of the cluster");
        second.expect_running();
    });
}

#[test]
fn any_one_lost_answer_is_made_up_for() {
    /// What one Service with two ports needs in its own pieces and rules.
    const CHANGES: u64 = 10;
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let wanted: Vec<_> =
            (0..CHANGES).map(|n| Wanted::named(&format!("web-{n}")).ports(&[80, 443])).collect();
        let mut faults = Vec::new();
        for (skip, seen) in (0..).zip(world.serve_all(&wanted).await) {
            let writes = OperationFilter::Class(OperationClass::Write);
            let extent = FaultExtent { skip: Some(skip), calls: Some(1), ..FaultExtent::default() };
            let lost = FaultKind::LoseResponse;
            faults.push(world.cloud.strike(writes, lost, extent, Some(&seen.uid)).await);
        }
        let _ccm = world.ccm(&Setup::new());
        world.all_ready(SOON * 2).await;
        for fault in faults {
            assert_eq!(world.cloud.struck(&fault).await, 1, "each lost one answer");
        }
        let lines = world.cloud.lines().await;
        let each = PIECES - 1;
        assert_eq!(lines.len(), wanted.len() * each + 1, "{lines:#?}");

        // And on the way down.
        for seen in 0..CHANGES {
            let uid = world.service(&format!("web-{seen}")).await.uid;
            let writes = OperationFilter::Class(OperationClass::Write);
            let extent = FaultExtent { skip: Some(seen), calls: Some(1), ..FaultExtent::default() };
            world.cloud.strike(writes, FaultKind::LoseResponse, extent, Some(&uid)).await;
            world.end_service(&format!("web-{seen}")).await;
        }
        wait_until("nothing is left", SOON * 2, async || {
            let lines = world.cloud.lines().await;
            if lines.is_empty() { Ok(()) } else { Err(lines) }
        })
        .await;
        world.services_until("gone", SOON, |_| false).await;
    });
}

#[test]
fn a_process_that_is_stopped_in_the_middle_of_a_creation_ends_soon_and_the_next_one_goes_on() {
    run(async {
        let world = World::start().await;
        let setup = Setup::new();
        world.join("n1").await;
        for passed in [0, 7] {
            let mut ccm = world.ccm(&setup);
            world.initialized("n1").await;
            half_made(&world, passed).await;
            ccm.signal(Signal::TERM);
            let since = Instant::now();
            let status = ccm.end(SOON).await;
            println!("SIGTERM while a change hangs to the end: {:.1?}", since.elapsed());
            assert!(status.success(), "{status}");
            assert_eq!(world.holder().await, "", "given back");
            world.cloud.clear_faults().await.unwrap();
            let mut ccm = world.ccm(&setup);
            is_whole(&world, SOON).await;
            world.remove_service("web").await;
            assert_eq!(world.cloud.lines().await, [""; 0]);
            ccm.signal(Signal::TERM);
            assert!(ccm.end(SOON).await.success());
        }
    });
}

/// A cloud whose looks show everything 2 s late, and is known for it.
async fn with_late_looks() -> (World, Ccm) {
    let world = World::start_with(Options { lag: 3, ..Options::default() }).await;
    world.join("n1").await;
    let ccm = world.ccm(&Setup::new().without_election());
    world.initialized("n1").await;
    let patch = SettingsPatch { consistency_delay_ms: Some(2_000), ..SettingsPatch::default() };
    world.cloud.change_settings(&patch).await.unwrap();
    (world, ccm)
}

#[test]
fn a_cloud_that_shows_changes_late_is_not_taken_at_its_word() {
    run(async {
        let (world, mut ccm) = with_late_looks().await;
        world.serve(&Wanted::named("web").ports(&[80, 443])).await;
        is_whole(&world, SOON * 2).await;
        world.change_ports("web", &[443, 22]).await;
        wait_until("the other port in place of the one", SOON * 2, async || {
            let lines = world.cloud.lines().await;
            let has = |what: &str| lines.iter().any(|line| line.contains(what));
            if has("tcp/22 to") && has("tcp/22 of") && !has("tcp/80 ") {
                Ok(())
            } else {
                Err(lines)
            }
        })
        .await;
        is_whole(&world, SOON * 2).await;
        let uid = world.service("web").await.uid;
        world.end_service("web").await;
        // What is seen too late is tried once more, with the pauses after failures between.
        world.service_gone("web", &uid, SOON * 3).await;
        assert_eq!(world.cloud.lines().await, [""; 0]);

        ccm.expect_running();
    });
}

#[test]
fn a_service_that_ends_before_its_pieces_are_seen_leaves_nothing() {
    run(async {
        let (world, mut ccm) = with_late_looks().await;
        for pieces in [1, 2, 4, 6] {
            let uid = world.serve(&Wanted::named("web").ports(&[80, 443])).await.uid;
            wait_until("some pieces", SOON, async || {
                let lines = world.cloud.lines_of(&uid).await;
                if lines.len() >= pieces { Ok(()) } else { Err(lines) }
            })
            .await;
            world.remove_service("web").await;
            let left = world.cloud.lines().await;
            assert!(left.is_empty(), "after {pieces}: {left:#?}");
        }
        ccm.expect_running();
    });
}
