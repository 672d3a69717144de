//! The process is killed at its writes, and the next one ends where it would have ended.

use std::collections::BTreeSet;
use std::time::Duration;

use ccm_core::cluster::keys;
use ccm_e2e::{SOON, Setup, Signal, WantedVolume, World, run, wait_until};
use serde_json::json;
use simcloud::api::Operation;

/// How a write meets the end of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It is on the wire, and arrives when the next process has done it too.
    OnTheWire,
    /// It is done, and nobody hears of it.
    After,
}

impl Cut {
    /// A volume that nothing is said of, and one of which half is said. While no answer comes there is
    /// one connection, and so one write.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::OnTheWire => &["bare", "half"],
            Self::After => &["bare"],
        }
    }

    async fn make(self, world: &World, id: &str) {
        world.make_volume(&WantedVolume::csi("bare", id)).await;
        if self == Self::OnTheWire {
            let half = WantedVolume::in_tree("half", id).label(keys::REGION, "sim-1");
            world.make_volume(&half).await;
        }
    }
}

async fn killed_at_a_write(cut: Cut) {
    let world = World::start().await;
    let proxy = world.proxy().await;
    let setup = Setup::new().without_election();
    let mut ccm = world.ccm_behind(&proxy, &setup);
    world.volume_barrier("barrier").await;

    world.cloud.slow_down_calls(Operation::DescribeVolumes, Duration::from_secs(1)).await;
    let id = world.cloud.volume_in(&["sim-1a", "sim-1b"]).await;
    cut.make(&world, &id).await;
    wait_until("a question to the cloud", SOON, async || {
        if world.cloud.calls_in_flight().await > 0 { Ok(()) } else { Err(()) }
    })
    .await;
    match cut {
        Cut::OnTheWire => {
            proxy.hold_questions();
            wait_until("a write that is held", SOON, async || {
                let held = proxy.held();
                if held > 0 { Ok(()) } else { Err(held) }
            })
            .await;
        }
        Cut::After => {
            proxy.hold_answers();
            world.placed("bare").await;
        }
    }
    ccm.expect_running();
    ccm.signal(Signal::KILL);
    ccm.end(SOON).await;
    world.cloud.slow_down_calls(Operation::DescribeVolumes, Duration::ZERO).await;

    let _next = world.ccm(&setup);
    for name in cut.names() {
        world.placed(name).await;
    }
    // Somebody else has his say before what was on the wire arrives.
    world.change_volume("bare", &json!({"metadata": {"labels": {"team": "a"}}})).await;
    proxy.let_go();
    world.volume_barrier("at-the-end").await;
    for name in cut.names() {
        let seen = world.volume(name).await;
        assert_eq!((seen.place(), seen.affinity.len()), (("sim-1a__sim-1b", "sim-1"), 2));
    }
    assert_eq!(world.volume("bare").await.label("team"), "a");
    let writes = world.traffic().await.volume_writes();
    println!("{cut:?}: {:?}", writes.lines());
    assert_eq!(writes.answered(200).len(), 2 + cut.names().len(), "{writes}");
    let late = usize::from(cut == Cut::OnTheWire);
    assert_eq!(writes.answered(409).len(), late, "{writes}");
}

#[test]
fn a_write_that_outlives_its_sender_changes_nothing() {
    run(killed_at_a_write(Cut::OnTheWire));
}

#[test]
fn a_write_of_which_nobody_heard_is_not_repeated() {
    run(killed_at_a_write(Cut::After));
}

/// Killed again and again, at whatever it is doing.
#[test]
fn kills_at_any_moment_end_in_the_same_state() {
    run(async {
        let world = World::start().await;
        let id = world.cloud.volume_in(&["sim-1a"]).await;
        let names: Vec<_> = (0..60).map(|n| format!("p{n}")).collect();
        world.make_volumes(names.iter().map(|name| WantedVolume::csi(name, &id))).await;
        let setup = Setup::new().without_election();
        let mut ccm = world.ccm(&setup);
        let mut kills = 0;
        for _ in 0..20 {
            let before = world.traffic().await.volume_writes().len();
            if before >= names.len() {
                break;
            }
            wait_until("another write", SOON, async || {
                let writes = world.traffic().await.volume_writes().len();
                if writes > before { Ok(()) } else { Err(writes) }
            })
            .await;
            ccm.signal(Signal::KILL);
            ccm.end(SOON).await;
            kills += 1;
            ccm = world.ccm(&setup);
        }
        for name in &names {
            let seen = world.placed(name).await;
            assert_eq!((seen.place(), seen.affinity.len()), (("sim-1a", "sim-1"), 2));
        }
        println!("{kills} kills");
        let writes = world.traffic().await.volume_writes().answered(200);
        let once: BTreeSet<_> = writes.iter().map(|write| &write.name).collect();
        assert_eq!(once.len(), writes.len(), "{writes}");
    });
}
