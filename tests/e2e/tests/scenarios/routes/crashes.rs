//! The process is killed at every change of routes, and the next one ends where it would have ended.

use ccm_e2e::{Ccm, Pods, SOON, Signal, World, run, wait_until};
use simcloud::api::{FaultExtent, FaultKind, OperationClass, OperationFilter};

use super::setup;

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

async fn kill(ccm: &mut Ccm) {
    ccm.expect_running();
    ccm.signal(Signal::KILL);
    ccm.end(SOON).await;
}

/// The names of the nodes of one round: first those that come, then their heirs.
fn names(point: u64) -> [[String; 2]; 2] {
    let of = |what: &str| [1, 2].map(|number| format!("{what}{number}-{point}"));
    [of("n"), of("heir")]
}

async fn all_reachable(world: &World, names: &[String]) -> bool {
    for name in names {
        if !world.node(name).await.is_reachable() {
            return false;
        }
    }
    true
}

/// Two nodes of two families come, their ranges go to two others, and those go too: four routes are
/// made, four are taken over, four are deleted. The process dies at each of these changes.
async fn sweep(cut: Cut) {
    let world = World::start().await;
    world.cloud.without_limits().await;
    let setup = setup().without_election();
    let mut ccm = world.ccm(&setup);
    let mut struck = [0; 3];
    for point in 0..5 {
        for (step, count) in struck.iter_mut().enumerate() {
            let fault = strike(&world, cut, point).await;
            let [first, heirs] = names(point);
            let remove = async |names: &[String]| {
                for name in names {
                    world.remove(name).await;
                }
            };
            let join = async |names: &[String]| {
                for (name, number) in names.iter().zip(1..) {
                    let [v4, v6] = Pods::of(number);
                    world.join_with(name, &[&v4, &v6]).await;
                }
            };
            match step {
                0 => join(&first).await,
                1 => {
                    remove(&first).await;
                    join(&heirs).await;
                }
                _ => remove(&heirs).await,
            }
            let is_done = async || match step {
                0 => all_reachable(&world, &first).await,
                1 => all_reachable(&world, &heirs).await,
                _ => world.cloud.all_routes().await.is_empty(),
            };
            let strikes = wait_until("a change that is struck, or the end", SOON, async || {
                if world.cloud.struck(&fault).await > 0 {
                    return Ok(true);
                }
                if is_done().await { Ok(world.cloud.struck(&fault).await > 0) } else { Err(()) }
            })
            .await;
            if strikes {
                kill(&mut ccm).await;
                ccm = world.ccm(&setup);
                *count += 1;
            }
            world.cloud.clear_faults().await.unwrap();
            wait_until(&format!("{cut:?} {point}: the end of step {step}"), SOON, async || {
                let lines = world.cloud.route_lines().await;
                let is_right = match step {
                    0 | 1 => {
                        let names = if step == 0 { &first } else { &heirs };
                        lines.len() == 4
                            && names.iter().zip(1..).all(|(name, number)| {
                                Pods::of(number).iter().all(|range| {
                                    let to = format!("{range} to {name:?}");
                                    lines.iter().any(|line| line.contains(&to))
                                })
                            })
                    }
                    _ => lines.is_empty(),
                };
                if is_right && is_done().await { Ok(()) } else { Err(lines) }
            })
            .await;
        }
    }
    println!("{cut:?}: killed at {struck:?} changes of making, taking over and deleting");
    assert!(struck.iter().all(|struck| *struck >= 4), "{struck:?}");
    assert_eq!(world.cloud.all_routes().await, []);
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
