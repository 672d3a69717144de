//! What is to be done next about a Node whose machine may be gone, given all that is known. Pure.
//!
//! A Node is deleted only if it is not ready, is ours, is old enough, and its machine was gone in two
//! answers of separate calls: a look, which is a suspicion, and later a direct answer about just this
//! machine. Where both were records that say that just this machine was terminated, its age does not
//! count. Beyond what was announced, only as many as the budget allows.

use std::time::Duration;

use tokio::time::Instant;

use super::case::{Case, Fate, Permit, Token};
use crate::cloud::Evidence;
use crate::cluster::keys;
use crate::cluster::node::{ConditionStatus, Node};
use crate::controllers::known::{Known, is_settled, looked_up_by};

/// `reason` of `InstanceKnown`, and of the event, when the budget is spent.
pub(in crate::controllers) const DELETION_HELD: &str = "DeletionHeld";

/// `reason` of `InstanceKnown` when two answers of the cloud contradict each other.
pub(in crate::controllers) const CONTRADICTORY_ANSWERS: &str = "ContradictoryAnswers";

/// From the first answer that says "gone" to the direct question: long enough for a cloud whose
/// answers lag behind each other, short enough that a dead node is gone within a minute.
pub(in crate::controllers) const CONFIRM_AFTER: Duration = Duration::from_secs(5);

/// A suspicion that is older than this is looked at again first.
pub(in crate::controllers) const SUSPICION_LASTS: Duration = Duration::from_mins(1);

/// A confirmation that is older than this is asked for again.
pub(in crate::controllers) const CONFIRMATION_LASTS: Duration = Duration::from_secs(15);

/// A node that waits this long for its fate is told why; one that is held is told at once.
pub(in crate::controllers) const PATIENCE: Duration = Duration::from_secs(30);

/// Taints by which an autoscaler says that it removes a node: those of the cluster autoscaler and of
/// Karpenter, present and past.
pub(in crate::controllers) const ANNOUNCING_TAINTS: [&str; 3] =
    ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption"];

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Next {
    /// There is nothing to be watched over.
    Leave,
    /// Ask the cloud what it knows.
    Look,
    /// Ask the cloud about just this machine; if the budget has to allow it, first see whether it
    /// does.
    Confirm {
        /// Whether a token of the budget is needed, and not taken yet.
        wants_token: bool,
    },
    /// Write.
    Write(Write),
}

/// A write to a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Write {
    /// Its machine is stopped.
    AddTaint,
    /// It is ready again: the taints at these places go.
    RemoveTaint(Vec<usize>),
    /// Its owner should know this.
    Tell(Known),
    /// Its machine is gone.
    Delete {
        /// What the cloud's last word rests on.
        evidence: Evidence,
        /// Why the budget was not asked, or that it was.
        permit: Permit,
    },
}

/// What holds for all nodes.
#[derive(Clone, Copy, Debug)]
pub(in crate::controllers) struct Rules {
    /// A Node is not deleted before it has this age.
    pub(in crate::controllers) min_age: Duration,
    /// Unless two records say that its machine was terminated: none is of another machine.
    pub(in crate::controllers) terminated_is_final: bool,
}

/// Whether the cloud may not know the Node's machine yet. A record of its end is no such doubt.
fn is_too_young(case: &Case, rules: &Rules, now: Instant) -> bool {
    let is_final = match case.fate {
        Fate::Suspected { certain, .. } | Fate::Confirmed { certain, .. } => {
            certain && rules.terminated_is_final
        }
        Fate::Unasked | Fate::Lives { .. } => false,
    };
    !is_final && case.age(now) < rules.min_age
}

/// Whether a node is to be watched over at all.
pub(in crate::controllers) fn is_open(node: &Node) -> bool {
    let told = !node.is_uninitialized() && !is_settled(node);
    !node.deleting && (!node.is_ready() || told || shutdown_taints(node).next().is_some())
}

/// Decides about one Node of ours.
pub(in crate::controllers) fn next(node: &Node, case: &Case, rules: &Rules, now: Instant) -> Next {
    if !is_open(node) {
        return Next::Leave;
    }
    if let Some(write) = taint(node, case) {
        return Next::Write(write);
    }
    if node.is_ready() {
        // Only what stands on it has to be put right.
        return Next::Look;
    }
    match case.fate {
        Fate::Unasked | Fate::Lives { .. } => Next::Look,
        Fate::Suspected { last, .. } if last + SUSPICION_LASTS < now => Next::Look,
        Fate::Suspected { first, .. } if now < first + CONFIRM_AFTER => Next::Look,
        Fate::Suspected { .. } | Fate::Confirmed { .. } if is_too_young(case, rules, now) => {
            Next::Look
        }
        Fate::Suspected { .. } => confirm(node, case),
        Fate::Confirmed { at, .. } if at + CONFIRMATION_LASTS < now => confirm(node, case),
        Fate::Confirmed { evidence, .. } => match permit(node, case) {
            Some(permit) => Next::Write(Write::Delete { evidence, permit }),
            None => Next::Confirm { wants_token: true },
        },
    }
}

fn confirm(node: &Node, case: &Case) -> Next {
    Next::Confirm { wants_token: permit(node, case).is_none() }
}

/// What allows the deletion.
fn permit(node: &Node, case: &Case) -> Option<Permit> {
    let is_tainted = || ANNOUNCING_TAINTS.iter().any(|key| node.taint_places(key).next().is_some());
    if case.announced || is_tainted() {
        Some(Permit::Announced)
    } else if node.annotations.get(keys::ALLOW_DELETION) == Some(node.uid.as_str()) {
        Some(Permit::Released)
    } else {
        (case.token != Token::None).then_some(Permit::Budget)
    }
}

/// The shutdown taint follows the machine, and goes when the kubelet is back, whatever the cloud says.
fn taint(node: &Node, case: &Case) -> Option<Write> {
    let places: Vec<_> = shutdown_taints(node).collect();
    if node.is_ready() {
        (!places.is_empty()).then_some(Write::RemoveTaint(places))
    } else {
        let stopped = matches!(case.fate, Fate::Lives { stopped: true });
        (stopped && places.is_empty() && case.doubt.is_none()).then_some(Write::AddTaint)
    }
}

/// Places of the taint in `spec.taints`. With another effect it is somebody else's.
fn shutdown_taints(node: &Node) -> impl Iterator<Item = usize> + '_ {
    let places = node.taint_places(keys::TAINT_SHUTDOWN);
    places.filter(|place| &*node.taints[*place].effect == NO_SCHEDULE)
}

/// Effect of the shutdown taint.
pub(in crate::controllers) const NO_SCHEDULE: &str = "NoSchedule";

/// What the node's owner should hear now and does not read on the node yet.
pub(in crate::controllers) fn news(
    node: &Node,
    case: &Case,
    rules: &Rules,
    now: Instant,
) -> Option<Known> {
    // A node that is not initialised waits for the node controller, which says why.
    if node.is_uninitialized() {
        return None;
    }
    let (known, since) = wanted(node, case, rules, now)?;
    let patience = match known.status {
        // Doubt often passes, also while something else stands on the node.
        ConditionStatus::Unknown => PATIENCE,
        _ if known.reason == DELETION_HELD || !is_settled(node) => Duration::ZERO,
        ConditionStatus::True | ConditionStatus::False => PATIENCE,
    };
    // Who was not told anything yet has waited since before the newest answer.
    let since = case.amiss.filter(|_| is_settled(node)).map_or(since, |amiss| amiss.min(since));
    let is_time = since + patience <= now;
    let is_news = match known.status {
        ConditionStatus::True => !is_settled(node),
        ConditionStatus::False | ConditionStatus::Unknown => !known.stands_on(node),
    };
    (is_time && is_news).then_some(known)
}

/// What should stand on the node, and since when it is so.
fn wanted(node: &Node, case: &Case, rules: &Rules, now: Instant) -> Option<(Known, Instant)> {
    let gone_since = match case.fate {
        Fate::Unasked => None,
        Fate::Lives { .. } => {
            return match (&case.doubt, case.contradicted) {
                (Some(doubt), _) => Some((doubt.known.clone(), doubt.since)),
                (None, Some(since)) => Some((contradictory(), since)),
                (None, None) => Some((Known::found(), now)),
            };
        }
        Fate::Suspected { first, .. } | Fate::Confirmed { first, .. } => Some(first),
    };
    if let Some(doubt) = &case.doubt {
        return Some((doubt.known.clone(), doubt.since));
    }
    let since = gone_since?;
    if node.is_ready() {
        return Some((Known::not_found(node), since));
    }
    if is_too_young(case, rules, now) {
        let mut known = Known::not_found(node);
        known.message = format!(
            "{}; the Node is deleted once it is {} old, if that is still so",
            known.message,
            humantime::format_duration(rules.min_age)
        );
        return Some((known, since));
    }
    if let Some(since) = case.contradicted {
        return Some((contradictory(), since));
    }
    if let Some(since) = case.held.filter(|_| permit(node, case).is_none()) {
        return Some((held(node), since));
    }
    // It is on its way to be deleted, and something is slow, or refuses.
    let mut known = Known::not_found(node);
    known.message = format!("{}; the Node is about to be deleted", known.message);
    is_settled(node).then_some((known, since))
}

fn contradictory() -> Known {
    Known {
        status: ConditionStatus::Unknown,
        reason: CONTRADICTORY_ANSWERS,
        message:
            "the cloud's list lacks the instance and a direct question finds it; the Node stays"
                .to_owned(),
    }
}

fn held(node: &Node) -> Known {
    Known {
        status: ConditionStatus::False,
        reason: DELETION_HELD,
        message: format!(
            "the cloud has no instance with the {}, and nobody announced that it goes; the Node is not \
             deleted while so many others are missing too. If it is really gone: kubectl annotate \
             node {} {}={}",
            looked_up_by(node),
            node.name,
            keys::ALLOW_DELETION,
            node.uid
        ),
    }
}

#[cfg(test)]
mod tests;
