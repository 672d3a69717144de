//! What shall become of a Service: pure, from what was observed to what changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::act::{ConditionEntry, Patch};
use super::claims::Claims;
use super::spec::Read;
use super::tell::{self, Told};
use crate::cloud::{Holds, LoadBalancerSpec, Note, Want};
use crate::cluster::events::EventType;
use crate::cluster::keys;
use crate::cluster::node::ConditionStatus;
use crate::cluster::service::Service;
use crate::converge::{Aim, Progress};

/// Everything that is decided on.
#[derive(Debug)]
pub struct Case<'a> {
    /// The Service as it stands.
    pub service: &'a Service,
    /// Which form of its spec that is.
    pub digest: u64,
    /// Whose Services are ours.
    pub claims: &'a Claims,
    /// Whether it was seen to be of a class that others serve.
    pub is_stranger: bool,
    /// How far it is. `None` where this process wants nothing for it yet.
    pub known: Option<&'a Progress>,
    /// What has been said of it in this process.
    pub said: &'a Said,
    /// How many nodes may be members.
    pub members: usize,
    /// Whether it is long enough since something that passes by itself was last told.
    pub may_repeat: bool,
}

/// What has been said of a Service, so that nothing is said twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Notes, by reason and message.
    pub notes: BTreeSet<(&'static str, String)>,
    /// That it has no nodes.
    pub no_nodes: bool,
    /// That it is being taken down.
    pub deleting: bool,
}

/// What shall become of a Service.
#[derive(Debug, Default)]
pub struct Decision {
    /// What is wanted at once.
    pub now: Hand,
    /// What is written on the Service.
    pub patch: Patch,
    /// What is wanted once that is written.
    pub then: Hand,
    /// Events, once it is written.
    pub events: Vec<Event>,
    /// What has been said after that.
    pub said: Said,
}

/// What is handed to the engine.
#[derive(Debug, Default)]
pub enum Hand {
    /// Nothing.
    #[default]
    Nothing,
    /// A want, with what tells this form of the spec from another.
    Want(Want<LoadBalancerSpec>, u64),
    /// That nothing is wanted any more.
    Forget,
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How bad it is.
    pub kind: EventType,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What shall become of this Service. `read` is what it asks for, or what of it cannot be read.
pub fn decide(case: &Case<'_>, read: Result<Read, Vec<String>>) -> Decision {
    let service = case.service;
    let is_served = case.claims.serve(service.class.as_deref());
    let mut decision = Decision { said: case.said.clone(), ..Decision::default() };
    if service.wants_load_balancer() && !service.deleting && is_served {
        decision.said.deleting = false;
        keep_up(case, read, &mut decision);
    } else if is_to_be_cleared(case, is_served) {
        take_down(case, &mut decision);
    } else if !service.wants_load_balancer() && !case.is_stranger && service.ready().is_some() {
        // Left from when it was ours.
        decision.patch.remove_conditions.push(keys::LOAD_BALANCER_READY.to_owned());
    }
    decision
}

/// Whether something of it may be there that is ours to take down.
///
/// What this process has wanted for it is ours, whatever class it names by now. Otherwise the
/// finalizer alone says little, where another program may use the same one: for a Service of a class
/// that we do not serve it is not ours. A Service that is no load balancer any more has lost its
/// class; it is taken for ours, as upstream does, unless its class was seen before.
fn is_to_be_cleared(case: &Case<'_>, is_served: bool) -> bool {
    let service = case.service;
    let is_ours = if service.wants_load_balancer() { is_served } else { !case.is_stranger };
    case.known.is_some() || service.has_finalizer(keys::FINALIZER) && is_ours
}

fn keep_up(case: &Case<'_>, read: Result<Read, Vec<String>>, decision: &mut Decision) {
    let service = case.service;
    let current =
        case.known.filter(|known| known.aim == Aim::Present && known.digest == case.digest);
    let read = match read {
        Ok(read) => read,
        Err(sentences) => {
            // What it has stays, and it goes on counting as a user of everything shared. Where its
            // last readable form is known, that one is kept up: nodes go on coming and going.
            if case.known.is_none_or(|known| known.aim != Aim::Present) {
                decision.now = Hand::Want(Want::Keep(Arc::new(service.identity())), 0);
            }
            tell_on(service, &tell::unreadable(&sentences), case, decision);
            return;
        }
    };
    if let Some(progress) = current
        && progress.elsewhere().is_some()
    {
        // It stays wanted, so that we notice when it comes back to us.
        decision.now = Hand::Want(Want::Present(Arc::new(read.spec)), case.digest);
        // How it reads is the other program's business; what is left of it here is ours to say.
        notes(&[], Some(progress), decision);
        return leave_to_others(service, progress, decision);
    }
    let want = Want::Present(Arc::new(read.spec));
    notes(&read.notes, current, decision);
    if !service.has_finalizer(keys::FINALIZER) {
        // Nothing is made before the Service is held until it is gone again.
        decision.patch.add_finalizers.push(keys::FINALIZER.to_owned());
        decision.now = Hand::Want(Want::Keep(Arc::new(service.identity())), 0);
        decision.then = Hand::Want(want, case.digest);
        begin(service, decision);
        return;
    }
    decision.now = Hand::Want(want, case.digest);
    match current {
        Some(progress) => follow(case, progress, decision),
        // Changed while we ran: what the condition says is not so any more.
        None if case.known.is_some_and(|known| known.aim != Aim::Absent) => {
            begin(service, decision);
        }
        // As it was found: what the condition says is as good as ever, until we know.
        None => {}
    }
}

/// Work on a new form of the Service begins.
fn begin(service: &Service, decision: &mut Decision) {
    let told = tell::begun();
    if differs(service, &told) {
        decision.patch.conditions.push(entry(service, &told));
    }
    decision.events.push(Event {
        kind: EventType::Normal,
        reason: "EnsuringLoadBalancer",
        message: "Ensuring load balancer".to_owned(),
    });
}

/// Writes what is known of a Service that is being kept up.
fn follow(case: &Case<'_>, progress: &Progress, decision: &mut Decision) {
    let service = case.service;
    write_back(service, progress, decision);
    if let Some(points) = progress.ingress()
        // A first address is told once it can be used; one that is no longer true, at once.
        && (progress.is_done || !service.ingress.is_empty())
        && !service.shows(points)
    {
        decision.patch.ingress = Some(points.to_vec());
    }
    let is_ready = service.ready().is_some_and(|ready| ready.status == ConditionStatus::True);
    if let Some(told) = tell::present(progress, is_ready) {
        tell_on(service, &told, case, decision);
    }
    if progress.is_done && progress.trouble.is_none() {
        let has_none = case.members == 0;
        if has_none && !decision.said.no_nodes {
            decision.events.push(Event {
                kind: EventType::Warning,
                reason: "UnAvailableLoadBalancer",
                message: "There are no available nodes for LoadBalancer".to_owned(),
            });
        }
        decision.said.no_nodes = has_none;
    }
}

/// What the provider writes on the Service for itself.
fn write_back(service: &Service, progress: &Progress, decision: &mut Decision) {
    let patch = &mut decision.patch;
    // Nothing is found by an annotation alone, so while work goes on they wait for what is written
    // at its end.
    let rests = progress.is_done
        || progress.trouble.is_some()
        || !progress.is_under_way && progress.waits_for().is_some();
    for (key, value) in progress.annotations().into_iter().filter(|_| rests) {
        if service.annotations.get(key) != value {
            patch.annotations.insert(key.to_owned(), value.map(str::to_owned));
        }
    }
    for (finalizer, holds) in progress.finalizers() {
        match (holds, service.has_finalizer(finalizer)) {
            (Holds::Something, false) => patch.add_finalizers.push(finalizer.to_owned()),
            (Holds::Nothing, true) => patch.remove_finalizers.push(finalizer.to_owned()),
            (Holds::Something, true) | (Holds::Nothing, false) => {}
        }
    }
    for reported in progress.conditions() {
        let told = Told {
            status: match reported.status {
                Some(true) => ConditionStatus::True,
                Some(false) => ConditionStatus::False,
                None => ConditionStatus::Unknown,
            },
            reason: reported.reason,
            message: reported.message.clone(),
            passes: false,
            event: None,
        };
        if differs_at(service, reported.kind, &told) {
            patch.conditions.push(entry_of(service, reported.kind, &told));
        }
    }
}

/// Another program serves it: nothing of ours is to be on it.
fn leave_to_others(service: &Service, progress: &Progress, decision: &mut Decision) {
    let holds_nothing = progress.reports.iter().all(|report| report.holds == Holds::Nothing);
    if holds_nothing && service.has_finalizer(keys::FINALIZER) {
        decision.patch.remove_finalizers.push(keys::FINALIZER.to_owned());
    }
    if service.ready().is_some() {
        decision.patch.remove_conditions.push(keys::LOAD_BALANCER_READY.to_owned());
    }
}

/// Nothing of it is to be left.
fn take_down(case: &Case<'_>, decision: &mut Decision) {
    let service = case.service;
    decision.now = Hand::Want(Want::Absent(Arc::new(service.identity())), 0);
    if !decision.said.deleting {
        decision.said.deleting = true;
        decision.events.push(Event {
            kind: EventType::Normal,
            reason: "DeletingLoadBalancer",
            message: "Deleting load balancer".to_owned(),
        });
    }
    let Some(progress) = case.known.filter(|known| known.aim == Aim::Absent) else { return };
    if !progress.is_gone {
        write_back(service, progress, decision);
        if service.has_finalizer(keys::FINALIZER) {
            tell_on(service, &tell::absent(progress), case, decision);
        }
        return;
    }
    let patch = &mut decision.patch;
    let ours = std::iter::once(keys::FINALIZER).chain(progress.finalizers().into_keys());
    let ours = ours.filter(|finalizer| service.has_finalizer(finalizer));
    patch.remove_finalizers.extend(ours.map(str::to_owned));
    for (key, value) in progress.annotations() {
        if value.is_none() && service.annotations.get(key).is_some() {
            patch.annotations.insert(key.to_owned(), None);
        }
    }
    let conditions = progress.conditions().map(|reported| reported.kind);
    let conditions = std::iter::once(keys::LOAD_BALANCER_READY).chain(conditions);
    let conditions = conditions.filter(|kind| service.condition(kind).is_some());
    patch.remove_conditions.extend(conditions.map(str::to_owned));
    // The API server itself clears the addresses of what is no load balancer any more.
    if service.wants_load_balancer() && (!service.ingress.is_empty() || service.odd_ingress) {
        patch.ingress = Some(Vec::new());
    }
    decision.then = Hand::Forget;
    decision.events.push(Event {
        kind: EventType::Normal,
        reason: "DeletedLoadBalancer",
        message: "Deleted load balancer".to_owned(),
    });
}

/// Says something in the condition, and in an event where it is bad news or the end of bad news.
fn tell_on(service: &Service, told: &Told, case: &Case<'_>, decision: &mut Decision) {
    let before = service.ready();
    let is_same_reason =
        before.is_some_and(|ready| ready.status == told.status && &*ready.reason == told.reason);
    if !differs(service, told) || is_same_reason && told.passes && !case.may_repeat {
        return;
    }
    decision.patch.conditions.push(entry(service, told));
    let was_ready = before.is_some_and(|ready| ready.status == ConditionStatus::True);
    if told.status == ConditionStatus::True && before.is_some() && !was_ready {
        decision.events.push(Event {
            kind: EventType::Normal,
            reason: "EnsuredLoadBalancer",
            message: "Ensured load balancer".to_owned(),
        });
    }
    if let Some(event) = &told.event {
        decision.events.push(event.clone());
    }
}

/// Notes are told once, and again when they come back.
fn notes(read: &[Note], progress: Option<&Progress>, decision: &mut Decision) {
    let reported = progress.into_iter().flat_map(Progress::notes);
    let now: BTreeSet<_> =
        read.iter().chain(reported).map(|note| (note.reason, note.message.clone())).collect();
    // Before the first report nothing is known to be over.
    let keep = progress.is_none_or(|progress| progress.reports.is_empty());
    for (reason, message) in &now {
        if !decision.said.notes.contains(&(*reason, message.clone())) {
            let message = message.clone();
            decision.events.push(Event { kind: EventType::Warning, reason, message });
        }
    }
    if keep {
        decision.said.notes.extend(now);
    } else {
        decision.said.notes = now;
    }
}

fn differs(service: &Service, told: &Told) -> bool {
    differs_at(service, keys::LOAD_BALANCER_READY, told)
}

fn differs_at(service: &Service, kind: &str, told: &Told) -> bool {
    service.condition(kind).is_none_or(|condition| {
        condition.status != told.status
            || &*condition.reason != told.reason
            || *condition.message != told.message
    })
}

fn entry(service: &Service, told: &Told) -> ConditionEntry {
    entry_of(service, keys::LOAD_BALANCER_READY, told)
}

fn entry_of(service: &Service, kind: &str, told: &Told) -> ConditionEntry {
    let before = service.condition(kind);
    ConditionEntry {
        kind: kind.to_owned(),
        status: told.status,
        reason: told.reason.to_owned(),
        message: told.message.clone(),
        transition: before.is_none_or(|condition| condition.status != told.status),
    }
}

#[cfg(test)]
mod tests;
