//! What must hold at each step, whatever the cloud, the cluster and the process do. The text of a
//! failure begins with the law's name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cloud::Effect;
use super::cluster::is_foreign;
use super::provider::Seen;
use super::routes::{Form, Line, Route};
use super::setup::is_inside;
use super::state::{Ms, State};
use crate::cloud::{Uid, UnitName};
use crate::cluster::node::{ConditionStatus, Node};

/// The name of a broken law and how it was broken.
pub(super) type Verdict = Result<(), String>;

/// Writes of one Node in a minute that nothing but a loop exceeds.
const MOST_WRITES: usize = 20;

/// Passes over a unit in a minute, beside those for changes, that nothing but a loop exceeds.
const MORE_PASSES: usize = 30;

/// How far what the controller goes by may be behind: the watch, and writes that it waits for.
fn slack(state: &State) -> Ms {
    let writes = if state.setup.api_faults > 0 { 90_000 } else { 0 };
    state.setup.watch + 6000 + writes
}

/// What the engine is handed for a unit had to be wanted when the pass began, or shortly before; and
/// nobody is forgotten who has something in a table.
pub(super) fn what_is_handed_over_is_wanted(
    state: &State,
    handed: &BTreeMap<Uid, Form>,
    began: Ms,
) -> Verdict {
    let since = began.saturating_sub(slack(state));
    for (uid, form) in handed {
        // Whoever was refused is kept until his turn comes again.
        if *form != Form::Kept && !state.forms_since(uid, since).any(|was| was == form) {
            return Err(format!("what_is_handed_over_is_wanted: {uid} as {form:?}"));
        }
    }
    if state.setup.style == super::setup::Style::Own {
        return Ok(());
    }
    let is_known = |uid: &Uid| {
        handed.contains_key(uid) || state.forms_since(uid, since).any(|was| *was == Form::None)
    };
    match state.forms.keys().find(|uid| !is_known(uid)) {
        None => Ok(()),
        Some(uid) => Err(format!("nobody_is_forgotten: {uid}")),
    }
}

/// Changes are collected: from a pass that left nothing open to the next one it takes `spacing`. What a
/// process that began just now, at `born`, has seen may be from before its predecessor's last changes.
pub(super) fn passes_are_kept_apart(
    state: &State,
    unit: &UnitName,
    (life, born): (u32, Ms),
    began: Ms,
) -> Verdict {
    let Some(last) = state.passes.get(unit).filter(|last| last.life == life) else { return Ok(()) };
    let apart = began - last.began;
    // Who waits for a route of his own is not held up.
    let is_own = matches!(unit, UnitName::Own(_));
    let longest = Duration::from_secs(if is_own { 1 } else { 10 });
    let spacing = state.setup.spacing.min(longest).as_millis();
    let spacing = u64::try_from(spacing).expect("seconds");
    let certain = born + state.setup.lag;
    let is_open = last.is_open || last.began < certain && certain <= began;
    if !is_open && apart < spacing {
        return Err(format!("passes_are_kept_apart: {unit} after {apart} ms"));
    }
    let spaced = usize::try_from(60_000 / spacing).expect("a few");
    let lately = last.lately.iter().filter(|at| **at + 60_000 > began).count();
    if lately > spaced + MORE_PASSES {
        return Err(format!("no_hot_loop: {unit} {lately} times in a minute"));
    }
    Ok(())
}

/// A change takes effect: as what was handed over in its pass has it, and only on what is ours.
pub(super) fn a_change_is_wanted(state: &State, effect: &Effect, seen: &Seen) -> Verdict {
    let (before, after) = match effect {
        Effect::Make(line) => (None, Some(line)),
        Effect::Turn(id, line) => (state.routes.get(id), Some(line)),
        Effect::Drop(id) => (state.routes.get(id), None),
    };
    if let Some(line) = after {
        what_is_made_is_wanted(line, seen)?;
        let doubles = |route: &&Route| route.to == line.to && route.owner().is_some();
        if before.is_none() && seen.routes.values().any(|route| doubles(&route)) {
            return Err(format!("no_two_routes_to_one_destination: {line}"));
        }
    }
    before.map_or(Ok(()), |before| what_is_changed_may_go(before, after, seen))
}

fn what_is_made_is_wanted(line: &Line, seen: &Seen) -> Verdict {
    if !is_inside(line.to) {
        return Err(format!("what_is_outside_is_left_alone: {line}"));
    }
    let form = seen.handed.get(&line.owner).unwrap_or(&Form::None);
    if form.lines(&line.owner).contains(line) {
        Ok(())
    } else {
        Err(format!("what_is_made_is_wanted: {line}, wanted is {form:?}"))
    }
}

fn what_is_changed_may_go(before: &Route, after: Option<&Line>, seen: &Seen) -> Verdict {
    let Some(owner) = before.owner() else {
        return Err(format!("what_others_made_is_left_alone: {before}"));
    };
    if !is_inside(before.to) {
        return Err(format!("what_is_outside_is_left_alone: {before}"));
    }
    let is_asked_for = |uid: &Uid, form: &Form| {
        form.lines(uid).iter().any(|line| line.to == before.to) && uid != owner
    };
    let is_taken_over = seen.handed.iter().any(|(uid, form)| is_asked_for(uid, form));
    let may_go = match seen.handed.get(owner) {
        _ if is_taken_over => true,
        Some(Form::None) => true,
        Some(Form::Kept) => false,
        Some(form) => {
            let lines = form.lines(owner);
            let is_right = lines.iter().any(|line| before.is(line));
            let is_to_be = lines.iter().any(|line| line.to == before.to);
            !is_right && (after.is_some() || !is_to_be)
        }
        // In a table, of nobody who is known; otherwise another's own.
        None => matches!(seen.unit, UnitName::Shared(_)),
    };
    if may_go {
        Ok(())
    } else {
        Err(format!("what_is_needed_is_left_alone: {before}, wanted {:?}", seen.handed))
    }
}

/// The condition is written.
pub(super) fn what_is_told_is_true(
    state: &State,
    node: &Node,
    status: ConditionStatus,
    reason: &str,
) -> Verdict {
    let uid = &node.uid;
    if is_foreign(node) || node.pod_cidrs.is_empty() {
        return Err(format!("only_ours_are_written: {uid}"));
    }
    let since = state.now().saturating_sub(state.setup.lag + slack(state) + 15_000);
    match (status, reason) {
        (ConditionStatus::False, "RouteCreated") => {
            // Others may have changed it behind our back, long ago.
            let is_harmed = super::cluster::ranges(node).iter().any(|it| state.harmed.contains(it));
            let was_right = state.last_right.get(uid).is_some_and(|last| *last >= since);
            let is_dead = node.provider_id.as_ref().is_some_and(|id| state.dead.contains(id));
            if was_right || is_harmed || is_dead || state.was_asked_otherwise(node, since) {
                Ok(())
            } else {
                Err(format!("who_is_called_reachable_is_so: {uid}"))
            }
        }
        (ConditionStatus::True, "NoRouteCreated") => {
            let is_reached = state.right_since.get(uid).is_some_and(|right| *right < since);
            let says = node.network_unavailable.as_ref();
            let says_so = says.is_some_and(|it| it.status == ConditionStatus::False);
            let is_whole = state.good(node).len() == node.pod_cidrs.len();
            if is_reached && says_so && is_whole && !state.was_asked_otherwise(node, since) {
                Err(format!("who_is_reached_is_not_doubted: {uid}"))
            } else {
                Ok(())
            }
        }
        other => Err(format!("told_in_upstreams_words: {other:?}")),
    }
}

/// Nobody is written all the time.
pub(super) fn writes_are_few(state: &State, uid: &Uid) -> Verdict {
    let now = state.now();
    let times = state.written.get(uid).map(Vec::as_slice).unwrap_or_default();
    let lately = times.iter().filter(|at| **at + 60_000 > now).count();
    if lately <= MOST_WRITES {
        Ok(())
    } else {
        Err(format!("writes_are_few: {uid} {lately} times in a minute"))
    }
}

impl State {
    /// Whether something else had to be wanted for the Node since then.
    fn was_asked_otherwise(&self, node: &Node, since: Ms) -> bool {
        self.forms_since(&node.uid, since).count() > 1
    }
}
