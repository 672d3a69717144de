//! What must hold at each step, whatever the cloud, the cluster and the process do. Each is a
//! function with a name; the text of its failure begins with that name.

use std::collections::BTreeMap;

use super::cloud::Place;
use super::cluster::Stored;
use super::process::Generation;
use super::setup::{BEFORE, Setup};
use super::time::{Ms, Time, s};
use super::wire::{Flight, of_others, shutdown_taints};
use crate::cloud::{Ask, Belongs, Evidence, Observation, RunState};
use crate::cluster::node::Node;
use crate::controllers::known::{INSTANCE_FOUND, is_end};
use crate::controllers::node_lifecycle::Limit;
use crate::controllers::node_lifecycle::case::Permit;
use crate::controllers::node_lifecycle::decide::{CONFIRM_AFTER, CONFIRMATION_LASTS};
use crate::fleet::Sighting;

/// The name of a broken law and how it was broken.
pub(super) type Verdict = Result<(), String>;

/// What is remembered across processes.
#[derive(Debug, Default)]
pub(super) struct Law {
    pub(super) starts: BTreeMap<Generation, Ms>,
    /// When the deletions were sent that took effect and that nobody had announced.
    pub(super) unannounced: BTreeMap<Generation, Vec<Ms>>,
    /// The most nodes that there ever were.
    pub(super) most: usize,
    /// When a write of ours was last taken.
    pub(super) wrote: Ms,
}

/// What one process has heard of one Node.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// When the cache first showed it as not initialised.
    new_since: Option<Ms>,
    /// Since when the cache shows it as not ready.
    down_since: Option<Ms>,
    newest: Ms,
    /// Since when the cloud says that its machine is gone, or says nothing.
    trouble: Option<Ms>,
    /// When a look first did not find its machine, since it was last found.
    missed: Option<Ms>,
    /// When a direct question did not find it: asked, and answered.
    missed_directly: Option<(Ms, Ms)>,
    /// What the last look, and the last direct answer, rested on that did not find it.
    evidence: (Option<Evidence>, Option<Evidence>),
    /// When a write to it last failed.
    pub(super) failed: Ms,
    /// When it last said why it waits.
    said: Ms,
    /// Questions and writes of the lifecycle controller that are under way.
    pub(super) under_way: u32,
    /// When the lifecycle controller asked about it.
    pub(super) questions: Vec<Ms>,
}

impl Record {
    /// The cache shows the node.
    pub(super) fn saw(&mut self, node: &Node, _listed: Ms, now: Ms) {
        let keep = |since: &mut Option<Ms>, holds: bool| {
            *since = if holds { since.or(Some(now)) } else { None };
        };
        keep(&mut self.new_since, node.is_uninitialized());
        keep(&mut self.down_since, !node.is_ready());
        if node.is_ready() || node.is_uninitialized() {
            self.trouble = None;
        }
    }

    /// The cloud has answered the lifecycle controller.
    pub(super) fn heard(&mut self, ask: Ask, asked: Ms, now: Ms, sighting: &Sighting, time: &Time) {
        let seen = time.ms_exactly(sighting.asked);
        if seen < self.newest {
            return;
        }
        self.newest = seen;
        match &*sighting.observation {
            Observation::Present(_) => {
                (self.trouble, self.missed, self.missed_directly) = (None, None, None);
                self.evidence = (None, None);
            }
            Observation::Unknown(err) if is_end(err) => {}
            Observation::Unknown(_) => drop(self.trouble.get_or_insert(now)),
            Observation::Gone(evidence) => {
                self.trouble.get_or_insert(now);
                match ask {
                    Ask::Look => {
                        self.missed.get_or_insert(now);
                        self.evidence.0 = Some(*evidence);
                    }
                    Ask::Confirm => {
                        self.missed_directly = Some((asked, now));
                        self.evidence.1 = Some(*evidence);
                    }
                }
            }
        }
    }

    /// Whether two records say that its machine was terminated.
    pub(super) fn is_certain(&self) -> bool {
        self.evidence == (Some(Evidence::Terminated), Some(Evidence::Terminated))
    }
}

/// A deletion that takes effect.
#[derive(Debug)]
pub(super) struct Deletion<'a> {
    /// As it was just before.
    pub(super) node: &'a Stored,
    pub(super) decided_on: &'a Node,
    /// Where its machine is, or was.
    pub(super) place: Option<&'a Place>,
    pub(super) permit: Permit,
    pub(super) sent: Ms,
    /// Two records said that its machine was terminated when it was sent.
    pub(super) is_certain: bool,
    pub(super) now: Ms,
    /// Direct answers may lie in this schedule.
    pub(super) direct_lies: bool,
}

impl Deletion<'_> {
    /// Whether its machine lives, and did so when the direct answer was given on which this rests.
    /// What was made after that is not known to anybody; a machine takes longer to boot.
    pub(super) fn is_live(&self) -> bool {
        let Some(place) = self.place else { return false };
        let Some(incarnation) = place.at(self.now).lives() else { return false };
        let since = place.since(incarnation);
        since + s(16) < self.sent || self.node.served_by == Some(incarnation)
    }

    /// How old the Node was. The API's times of creation are whole seconds.
    pub(super) fn age(&self) -> Ms {
        self.sent + BEFORE - self.node.created + s(1)
    }
}

/// A Node whose machine lives is never deleted, unless the cloud lies when it is asked about just
/// this machine; then the budget is what is left.
pub(super) fn no_live_node_is_deleted(deletion: &Deletion<'_>) -> Verdict {
    let excused = deletion.direct_lies && deletion.permit == Permit::Budget;
    let announced = deletion.direct_lies && a_permit_is_true(deletion).is_ok();
    if !deletion.is_live() || excused || announced {
        return Ok(());
    }
    let name = &deletion.node.node.name;
    Err(format!("no_live_node_is_deleted: {name} is deleted and its machine lives"))
}

/// What is deleted is just the Node on which it was decided, in just this version, and not ready.
pub(super) fn nothing_else_is_deleted(deletion: &Deletion<'_>) -> Verdict {
    let (is, was) = (&deletion.node.node, deletion.decided_on);
    if is.uid == was.uid && is.version == was.version && !is.is_ready() {
        return Ok(());
    }
    Err(format!(
        "nothing_else_is_deleted: {} is {} in version {}, ready: {}; decided on was {} in version {}",
        is.name,
        is.uid,
        is.version.as_str(),
        is.is_ready(),
        was.uid,
        was.version.as_str(),
    ))
}

/// What is said to be announced or released was announced or released.
pub(super) fn a_permit_is_true(deletion: &Deletion<'_>) -> Verdict {
    let is_true = match deletion.permit {
        Permit::Budget => true,
        Permit::Released => deletion.node.released,
        Permit::Announced => {
            let went = |place: &&Place| {
                place.ever(0, deletion.now, |truth| {
                    truth == super::cloud::Truth::Terminated || truth.is_state(RunState::Stopping)
                })
            };
            deletion.node.announced || deletion.place.is_some_and(|place| went(&place))
        }
    };
    if is_true {
        return Ok(());
    }
    let (name, permit) = (&deletion.node.node.name, deletion.permit.as_str());
    Err(format!("a_permit_is_true: {name} is deleted as {permit} and is not"))
}

/// A Node is not deleted before it has the age that the flag says, as long as clocks are right; unless
/// both answers were records that say "terminated", and the provider's policy says that those are final.
pub(super) fn only_old_nodes_are_deleted(deletion: &Deletion<'_>, setup: &Setup) -> Verdict {
    let age = deletion.age();
    let is_final = deletion.is_certain && setup.terminated_is_final;
    // A wrong clock at the start may add age.
    if age >= setup.min_age || is_final || setup.clock_jumps {
        return Ok(());
    }
    let name = &deletion.node.node.name;
    Err(format!("only_old_nodes_are_deleted: {name} is deleted at the age of {age} ms"))
}

/// A look, and at least 5 s later a direct question that was answered no more than 15 s ago.
pub(super) fn two_answers_before_a_deletion(record: &Record, now: Ms) -> Verdict {
    let (after, lasts) = (s(CONFIRM_AFTER.as_secs()), s(CONFIRMATION_LASTS.as_secs()));
    let holds = match (record.missed, record.missed_directly) {
        (Some(missed), Some((asked, answered))) => {
            missed + after <= asked && now <= answered + lasts + 1
        }
        _ => false,
    };
    if holds {
        return Ok(());
    }
    let (look, direct) = (record.missed, record.missed_directly);
    Err(format!("two_answers_before_a_deletion: look {look:?}, direct {direct:?}, now {now}"))
}

/// One at the start of the process, and then evenly; never more than a full budget at once.
pub(super) fn the_budget_is_kept(
    sent: &[Ms],
    started: Ms,
    limit: Option<Limit>,
    nodes: usize,
) -> Verdict {
    let Some(limit) = limit else { return Ok(()) };
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let float = |number: u64| number as f64;
    let full = float(limit.capacity(nodes));
    let window = limit.window.as_secs_f64() * 1000.0;
    let mut sent = sent.to_vec();
    sent.sort_unstable();
    let Some(last) = sent.last().copied() else { return Ok(()) };
    let all = float(sent.len() as u64);
    let allowed = 1.0 + full * float(last - started) / window;
    if all > allowed + 1e-3 {
        return Err(format!("the_budget_is_kept: {all} deletions, {allowed:.2} allowed"));
    }
    for (index, first) in sent.iter().enumerate() {
        let burst = float((sent.len() - index) as u64);
        let allowed = full + full * float(last - first) / window;
        if burst > allowed + 1e-3 {
            let passed = last - first;
            return Err(format!(
                "the_budget_is_kept: {burst} deletions in {passed} ms, a full budget is {full}"
            ));
        }
    }
    Ok(())
}

/// Foreign nodes are never written; those without a provider ID, or deleted already, not by the
/// lifecycle controller.
pub(super) fn no_stranger_is_written(before: &Stored, flight: &Flight) -> Verdict {
    let by_lifecycle = matches!(flight.job, super::process::Job::Lifecycle(_));
    let wrong = match super::process::belongs(&before.node) {
        Belongs::Foreign(_) => true,
        Belongs::Unsaid => by_lifecycle,
        Belongs::Ours => false,
    };
    if wrong {
        return Err(format!("no_stranger_is_written: {} is written", before.node.name));
    }
    Ok(())
}

/// Taints of others stay as they are, in their order, with their values; the shutdown taint is never
/// put on twice.
pub(super) fn taints_of_others_stay(before: &Stored, after: &Stored) -> Verdict {
    let name = &before.node.name;
    let (was, is) = (of_others(&before.taints), of_others(&after.taints));
    if was != is {
        return Err(format!("taints_of_others_stay: {name} had {was:?} and has {is:?}"));
    }
    let (was, is) = (shutdown_taints(&before.taints), shutdown_taints(&after.taints));
    if is > was.max(1) {
        return Err(format!("taints_of_others_stay: {name} has the shutdown taint {is} times"));
    }
    Ok(())
}

/// A Node that loses the uninitialized taint has a provider ID and the cloud's addresses.
pub(super) fn initialised_means_complete(before: &Stored, after: &Stored) -> Verdict {
    let (was, is) = (&before.node, &after.node);
    let done = was.is_uninitialized() && !is.is_uninitialized();
    if done && (is.provider_id.is_none() || is.addresses.len() < 2) {
        return Err(format!("initialised_means_complete: {} is not", was.name));
    }
    Ok(())
}

/// The lifecycle controller does one thing at a time about a Node: the end of one thing must not be
/// taken for that of another.
pub(super) fn one_thing_at_a_time(record: &Record, node: &Node) -> Verdict {
    if record.under_way <= 1 {
        return Ok(());
    }
    Err(format!("one_thing_at_a_time: {} things are done about {}", record.under_way, node.name))
}

/// No more than ten nodes are told something in a second.
pub(super) fn told_at_a_pace(told: &[Ms]) -> Verdict {
    let last = told.last().copied().unwrap_or_default();
    let lately = told.iter().rev().take_while(|at| **at + 999 > last).count();
    if lately <= 10 {
        return Ok(());
    }
    Err(format!("told_at_a_pace: {lately} nodes are told something within a second"))
}

/// No hot loop: the cloud is asked about one node no more than eight times in ten seconds, even if it
/// fails and recovers all the time.
pub(super) fn questions_at_a_pace(questions: &[Ms]) -> Verdict {
    let last = questions.last().copied().unwrap_or_default();
    let lately = questions.iter().rev().take_while(|at| **at + s(10) > last).count();
    if lately <= 8 {
        return Ok(());
    }
    Err(format!("questions_at_a_pace: {lately} questions about one node within ten seconds"))
}

/// A Node that has waited longer than its patience says why, where the API takes writes and the
/// watch has shown us the Node as it is.
pub(super) fn who_waits_says_why(
    stored: &Stored,
    record: &mut Record,
    works_since: Ms,
    setup: &Setup,
    now: Ms,
) -> Verdict {
    let node = &stored.node;
    let known = node.instance_known.as_ref();
    let says = known.is_some_and(|known| &*known.reason != INSTANCE_FOUND);
    if says {
        record.said = now;
    }
    if node.deleting || says || matches!(super::process::belongs(node), Belongs::Foreign(_)) {
        return Ok(());
    }
    // What a call may take, and one before it that was about an earlier Node of the same name; what a
    // write may take; and a plan that comes late.
    let slack = 2 * setup.longest_answer() + s(15);
    let (since, patience, what) = match (record.new_since, record.trouble, record.down_since) {
        (Some(since), _, _) => (since, s(10), "is not initialised"),
        (None, Some(trouble), Some(down)) if node.provider_id.is_some() => {
            (trouble.max(down), s(30), "is not ready and the cloud does not find it")
        }
        _ => return Ok(()),
    };
    // A write that failed is tried again half a minute later, at the latest.
    let tried = if record.failed > 0 { record.failed + s(30) } else { 0 };
    let since = since.max(works_since).max(tried).max(record.said);
    if now > since + patience + slack {
        let (name, waits) = (&node.name, now - since);
        return Err(format!("who_waits_says_why: {name} {what} for {waits} ms and says {known:?}"));
    }
    Ok(())
}
