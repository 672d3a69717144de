//! The process is killed at every change that it makes in the cloud, and the next one ends where it
//! would have ended.

use std::fmt::Debug;

use ccm_e2e::{Ccm, SOON, SeenService, Setup, Signal, Wanted, World, run, wait_until};
use serde_json::json;
use simcloud::api::{FaultExtent, FaultKind, OperationClass, OperationFilter};
use tokio::time::Instant;

const NAME: &str = "web";

/// More changes than anything here needs.
const MOST: u64 = 40;

/// How a change meets the end of its sender.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// It never arrives, nor does any after it.
    Before,
    /// It is done, and nobody hears of it; nothing arrives after it.
    After,
    /// It is on the wire, and done once the next process is at work.
    OnTheWire,
}

/// What is done to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Creation,
    Change,
    Deletion,
}

impl Act {
    const ALL: [Self; 3] = [Self::Creation, Self::Change, Self::Deletion];

    async fn begin(self, world: &World) {
        match self {
            Self::Creation => {
                let service = Wanted::named(NAME).ports(&[80, 443]);
                world.serve(&service.annotation("sim.ccm.rs/idle-timeout-seconds", "30")).await;
            }
            Self::Change => {
                let ports = world.service(NAME).await.ports;
                let stays = ports.iter().find(|port| port.0 == 443).unwrap().1;
                // One port goes, one stays, one comes, and what holds for all of them changes.
                let change = json!({
                    "metadata": {"annotations": {
                        "sim.ccm.rs/idle-timeout-seconds": "90",
                        "sim.ccm.rs/health-check-path": "/well",
                        "sim.ccm.rs/extra-tags": "team=a",
                    }},
                    "spec": {"ports": [
                        {"name": "p443", "port": 443, "nodePort": stays},
                        {"name": "p22", "port": 22},
                    ], "loadBalancerSourceRanges": ["10.0.0.0/8"]},
                });
                world.change_service(NAME, &change).await;
            }
            Self::Deletion => world.end_service(NAME).await,
        }
    }

    /// Waits until it is done, and gives what the cloud has then.
    async fn end(self, world: &World, uid: &str, calm: Option<&[String]>) -> Vec<String> {
        if self == Self::Deletion {
            world.service_gone(NAME, uid, SOON).await;
            return world.cloud.lines().await;
        }
        wait_until(&format!("the end of the {self:?}"), SOON, async || {
            let seen = world.service(NAME).await;
            let lines = seen.anonymous(&world.cloud.lines().await);
            let is_end = match calm {
                Some(calm) => seen.is_ready() && lines == calm,
                // The rules come last.
                None => seen.is_ready() && is_whole(self, &lines),
            };
            if is_end { Ok(lines) } else { Err((seen, lines)) }
        })
        .await
    }
}

/// Whether nothing is missing and nothing too much, as far as that can be told without a calm run.
fn is_whole(act: Act, lines: &[String]) -> bool {
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    match act {
        Act::Creation => count("rule ") == 2 && count("idle_timeout=30s") == 2,
        Act::Change => {
            count("rule ") == 2
                && count("10.0.0.0/8") == 2
                && count("idle_timeout=90s") == 2
                && count("/well") == 2
                && count("team=a") == 6
                && lines.len() == 9
        }
        Act::Deletion => lines.is_empty(),
    }
}

/// The end of each act when nobody is killed.
async fn calm(world: &World, setup: &Setup) -> [(Vec<String>, u64); 3] {
    let _ccm = world.ccm(setup);
    let mut ends = Vec::new();
    let mut uid = String::new();
    for act in Act::ALL {
        let before = world.cloud.mutations().await;
        act.begin(world).await;
        if act == Act::Creation {
            uid = world.service(NAME).await.uid;
        }
        let end = act.end(world, &uid, None).await;
        ends.push((end, world.cloud.mutations().await - before));
    }
    ends.try_into().unwrap()
}

/// Waits for the fault, or for the act to be done without it. Says whether it has struck.
async fn strikes(world: &World, fault: &str, act: Act, uid: &str, calm: &[String]) -> bool {
    wait_until("a change that is struck, or the end", SOON, async || {
        if world.cloud.struck(fault).await > 0 {
            return Ok(true);
        }
        let seen = world.services().get_opt(NAME).await.map_err(|err| err.to_string())?;
        let seen = seen.as_ref().map(SeenService::from);
        let is_done = match (act, &seen) {
            (Act::Deletion, Some(seen)) => seen.uid != uid,
            (Act::Deletion, None) => true,
            (_, Some(seen)) => {
                seen.is_ready() && seen.anonymous(&world.cloud.lines().await) == calm
            }
            (_, None) => false,
        };
        // It may have struck at the very last change since.
        let struck = world.cloud.struck(fault).await > 0;
        if is_done || struck { Ok(struck) } else { Err(format!("{seen:?}")) }
    })
    .await
}

async fn kill(ccm: &mut Ccm) {
    ccm.expect_running();
    ccm.signal(Signal::KILL);
    ccm.end(SOON).await;
}

/// Does each act again and again, and kills the process at another change each time, until there are
/// no more changes. Then starts the next process, and fails if the end is another one than before.
async fn sweep(cut: Cut) {
    let world = World::start().await;
    world.cloud.without_limits().await;
    world.join_all(&["n1".to_owned(), "n2".to_owned()]).await;
    let setup = Setup::new().without_election();
    let calm = calm(&world, &setup).await;
    assert!(calm[2].0.is_empty(), "{calm:#?}");
    let since = Instant::now();
    let mut ccm = world.ccm(&setup);
    let (mut struck, mut kills) = ([0; 3], 0);
    for point in 0..MOST {
        let kills_before = kills;
        let mut uid = String::new();
        for (index, act) in Act::ALL.into_iter().enumerate() {
            let (end, _) = &calm[index];
            let fault = strike(&world, cut, point).await;
            act.begin(&world).await;
            if act == Act::Creation {
                uid = world.service(NAME).await.uid;
            }
            if strikes(&world, &fault, act, &uid, end).await {
                kill(&mut ccm).await;
                kills += 1;
                struck[index] += 1;
                // What is on the wire goes on with this, while the next one starts.
                ccm = world.ccm(&setup);
            }
            world.cloud.clear_faults().await.unwrap();
            let found = act.end(&world, &uid, Some(end)).await;
            assert_eq!(found, *end, "{cut:?} change {point} of the {act:?}");
        }
        if kills == kills_before {
            break;
        }
    }
    let points = calm.map(|(_, changes)| changes);
    println!(
        "{cut:?}: {kills} kills in {:.1?}; changes of creation, change and deletion: {points:?}, \
         killed at {struck:?}",
        since.elapsed()
    );
    for (points, struck) in points.into_iter().zip(struck) {
        assert!(struck >= points, "{struck} of {points} points");
    }
    let left = world.cloud.lines().await;
    assert!(left.is_empty(), "{left:#?}");
}

async fn strike(world: &World, cut: Cut, point: u64) -> String {
    match cut {
        Cut::Before => world.cloud.strike_writes_after(point, FaultKind::Reset).await,
        Cut::OnTheWire => {
            world.cloud.strike_writes_after(point, FaultKind::Hang { max_ms: None }).await
        }
        Cut::After => {
            let writes = OperationFilter::Class(OperationClass::Write);
            let extent =
                FaultExtent { skip: Some(point), calls: Some(1), ..FaultExtent::default() };
            let lost = world.cloud.strike(writes, FaultKind::LoseResponse, extent, None).await;
            world.cloud.strike_writes_after(point, FaultKind::Reset).await;
            lost
        }
    }
}

#[test]
fn killed_before_any_change_the_end_is_the_same() {
    run(sweep(Cut::Before));
}

#[test]
fn killed_after_any_change_with_the_answer_unheard_the_end_is_the_same() {
    run(sweep(Cut::After));
}

#[test]
fn killed_with_any_change_on_the_wire_the_end_is_the_same() {
    run(sweep(Cut::OnTheWire));
}
