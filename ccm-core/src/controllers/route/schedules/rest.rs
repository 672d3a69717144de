//! When nothing happens any more: everything comes to be as it is wanted, and stays so with nothing
//! done.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::sleep;

use super::cluster::{Says, ranges};
use super::laws::Verdict;
use super::process::Process;
use super::routes::Form;
use super::schedule::is_broken;
use super::setup::{Outage, Style, is_inside};
use super::state::{Sim, State};
use crate::cloud::Uid;
use crate::cluster::node::{ConditionStatus, Node};

/// Longer than from one retry to the next, with what it then takes.
const RETRIED: Duration = Duration::from_mins(12);

/// Longer than from one drift check to the next, with what it then takes.
const CHECKED: Duration = Duration::from_mins(72);

/// Passes over one unit in an hour in which everything fails. With the drift check or a change to begin
/// with, at 0, 5, 15, 35, 75, 155 and 315 seconds, and then every five minutes.
const PASSES_OF_AN_HOUR: u64 = 7 + 11;

pub(super) async fn rest(sim: &Sim, process: &Process) {
    sleep(RETRIED).await;
    sim.judge(|state| everybody_got_on(state, process));
    sleep(CHECKED).await;
    sim.judge(|state| everything_is_as_wanted(state, process));
    if is_broken(sim) {
        return;
    }
    sim.lock().say(|| "at rest".to_owned());
    let (effects, writes) = {
        let state = sim.lock();
        (state.effects, state.writes)
    };
    sleep(CHECKED).await;
    sim.judge(|state| everything_is_as_wanted(state, process));
    sim.judge(|state| {
        let (effects, writes) = (state.effects - effects, state.writes - writes);
        if effects > 0 || writes > 0 {
            return Err(format!("what_rests_is_left_alone: {effects} changes, {writes} writes"));
        }
        Ok(())
    });
    sim.judge(|_| process.controller.check().map_err(|err| format!("it_is_healthy: {err}")));
}

/// What the condition says is what there is.
fn its_condition_is_true(state: &State, node: &Node, process: &Process) -> Verdict {
    let says = node.network_unavailable.as_ref().map(|it| (it.status, &*it.reason));
    let message = &node.unreachable_because;
    let is_true = match state.says(node) {
        Says::Reachable => says == Some((ConditionStatus::False, "RouteCreated")),
        Says::NotReachable("podCIDR") if state.is_only_outside(node) => {
            // Who said that it works is not contradicted for that.
            says.is_some_and(|(status, _)| status == ConditionStatus::False)
                || says == Some((ConditionStatus::True, "NoRouteCreated"))
        }
        Says::NotReachable(why) => {
            says == Some((ConditionStatus::True, "NoRouteCreated")) && message.contains(why)
        }
        Says::Anything => says != Some((ConditionStatus::False, "RouteCreated")),
    };
    if is_true {
        return Ok(());
    }
    let progress = process.progress(node);
    let (name, should) = (&node.name, state.says(node));
    Err(format!(
        "its_condition_is_true: {name} says {says:?} ({message}) and is {should:?}: {progress:?}"
    ))
}

/// All its routes are there that can be.
fn its_routes_are_there(state: &State, node: &Node, process: &Process) -> Verdict {
    for line in state.form(&node.uid).lines(&node.uid) {
        let is_blocked = state.routes_to(line.to).any(|it| it.owner().is_none());
        let is_there = state.routes_to(line.to).any(|it| it.is(&line));
        if !is_there && !is_blocked && !state.dead.contains(&line.via) {
            let progress = process.progress(node);
            return Err(format!("its_routes_are_there: {line} is not: {progress:?}"));
        }
    }
    Ok(())
}

/// Soon after the last fault everybody has got on to whom nobody did anything in the cloud.
fn everybody_got_on(state: &State, process: &Process) -> Verdict {
    for node in state.nodes.values() {
        let is_harmed = |to: &ipnet::IpNet| {
            state.harmed.contains(to)
                || state.routes_to(*to).any(|route| route.is_late || !state.lives(route))
        };
        let is_dead = node.provider_id.as_ref().is_some_and(|id| state.dead.contains(id));
        if is_dead || ranges(node).iter().any(is_harmed) {
            continue;
        }
        its_routes_are_there(state, node, process)?;
        its_condition_is_true(state, node, process)?;
    }
    Ok(())
}

impl State {
    /// Whether the route is of a Node that there is.
    fn lives(&self, route: &super::routes::Route) -> bool {
        let lives = |uid: &Uid| self.nodes.values().any(|node| node.uid == *uid);
        route.owner().is_some_and(lives)
    }
}

/// Long after the last act everything is as it is wanted, or says why not.
fn everything_is_as_wanted(state: &State, process: &Process) -> Verdict {
    for node in state.nodes.values() {
        its_routes_are_there(state, node, process)?;
        its_condition_is_true(state, node, process)?;
    }
    let ours = state.routes.values().filter(|it| it.owner().is_some() && is_inside(it.to));
    let mut seen = BTreeSet::new();
    for route in ours {
        let owner = route.owner().expect("ours");
        let may_be = match state.form(owner) {
            Form::None => false,
            Form::Kept => true,
            form @ Form::Routes { .. } => {
                form.lines(owner).iter().any(|line| route.is(line)) || state.is_dead(route)
            }
        };
        if !may_be {
            return Err(format!("no_strays: {route}, of whom is wanted {:?}", state.form(owner)));
        }
        if !seen.insert(route.to) {
            return Err(format!("no_two_routes_to_one_destination: {route}"));
        }
    }
    Ok(())
}

impl State {
    fn is_dead(&self, route: &super::routes::Route) -> bool {
        let owner = self.nodes.values().find(|node| Some(&node.uid) == route.owner());
        let machine = owner.and_then(|node| node.provider_id.as_ref());
        machine.is_some_and(|machine| self.dead.contains(machine))
    }
}

/// Something fails for an hour: it is not tried all the time, and who needs none of it gets on.
pub(super) async fn an_hour_of_failures(sim: &Sim, process: &Process, outage: Outage) {
    let joins = crate::cloud::NodeName::from("newcomer");
    let (passes, writes, is_joined) = {
        let mut state = sim.lock();
        state.figures.count(match outage {
            Outage::Deletions => "nothing could be deleted for an hour",
            _ => "everything failed for an hour",
        });
        state.say(|| format!("it fails: {outage:?}"));
        // So that there is something to do.
        let leaves = state.nodes.values().next().cloned();
        if let Some(leaves) = leaves {
            state.leave(sim, &leaves);
        }
        let is_joined = state.join_well(sim, &joins);
        state.outage = Some(outage);
        (state.made, state.writes, is_joined)
    };
    sleep(Duration::from_hours(1)).await;
    sim.judge(|state| {
        let units = u64::try_from(state.passes.len()).expect("a few");
        let nodes = u64::try_from(state.nodes.len()).expect("a few");
        let made = state.made - passes;
        // Whose machine is gone is looked at every ten minutes.
        let waits = u64::try_from(state.dead.len()).expect("a few") * 7;
        // What the cloud's rate limit allows is tried as soon as it does: every minute at most.
        let each = if outage == Outage::Throttled { 62 } else { PASSES_OF_AN_HOUR };
        let most = (each + 4) * units + waits;
        if made > most {
            return Err(format!("no_hot_loop: {made} passes, {most} at most"));
        }
        let written = state.writes - writes;
        let most = 8 * nodes;
        if written > most {
            return Err(format!("no_hot_loop: {written} writes, {most} at most"));
        }
        Ok(())
    });
    let is_whole = sim.lock().setup.style == Style::Whole;
    if outage == Outage::Deletions && is_joined && !is_whole {
        sim.judge(|state| {
            let node = &state.nodes[&joins];
            its_routes_are_there(state, node, process)?;
            its_condition_is_true(state, node, process)
        });
    }
    sim.lock().outage = None;
}
