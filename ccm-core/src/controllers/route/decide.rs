//! What shall become of a node's routes, and what is said of them on the node. Pure.

use std::time::Duration;

use super::ranges::Ranges;
use crate::cloud::{Belongs, Kind, Note};
use crate::cluster::events::EventType;
use crate::cluster::node::{ConditionStatus, Node};
use crate::converge::{Aim, Progress, Trouble};

/// Reason of `NetworkUnavailable` when pods can be reached; upstream's.
pub const ROUTE_CREATED: &str = "RouteCreated";

/// Its reason when they cannot; upstream's. The message says why.
pub const NO_ROUTE_CREATED: &str = "NoRouteCreated";

/// What the node controller says with it in the write that initialises a node.
pub const JUST_INITIALISED: &str = "no route yet: the node has just been initialised";

/// Reason of the event about a route that could not be made; upstream's.
pub const FAILED: &str = "FailedToCreateRoute";

/// Reason of the event about a range that gets no route, where the node is told reachable all the same.
pub const LEFT_OUT: &str = "PodCIDRWithoutRoute";

/// How long it takes until another sort of failure that passes by itself is worth a write, or what
/// somebody else has overwritten.
pub const REPEAT: Duration = Duration::from_mins(1);

/// How long it takes until other words for the same sort of failure are: they may name the seconds that
/// are left, and so be others each time.
const REWORD: Duration = Duration::from_mins(10);

/// Everything that is decided on.
#[derive(Debug)]
pub struct Case<'a> {
    /// The Node as it stands.
    pub node: &'a Node,
    /// Whether it is ours.
    pub belongs: &'a Belongs,
    /// What of its ranges can be had.
    pub ranges: &'a Ranges,
    /// Tells this form of what is wanted from another.
    pub digest: u64,
    /// How far it is. `None` where nothing is wanted for it yet.
    pub known: Option<&'a Progress>,
    /// What this process said last in the condition.
    pub told: Option<&'a Told>,
    /// How long ago this process said something, or began.
    pub since: Duration,
    /// Whether it came while this process led, and was not reachable yet.
    pub is_new: bool,
}

/// What shall become of a node's routes.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is wanted.
    pub want: Wanted,
    /// What is written in the condition `NetworkUnavailable`, if anything is.
    pub tell: Option<Told>,
    /// What its owner should hear beside that, once.
    pub note: Option<String>,
    /// What the provider has to say to its owner, once. `None` where it has not looked yet.
    pub notes: Option<Vec<Note>>,
    /// It is to be written, and not yet: somebody else had the last word just now.
    pub is_held: bool,
}

/// What is wanted for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What was wanted.
    Same,
    /// Routes to its good ranges.
    Routes,
    /// What it has stays.
    Kept,
    /// No routes.
    None,
    /// Nobody cares any more.
    Forgotten,
}

/// What is said in the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `status`: true where pods cannot be reached.
    pub status: ConditionStatus,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: String,
    /// Whether it is tried again by itself: then new words for it are not worth a write each.
    pub passes: bool,
    /// Under which word the node is counted: the sort of failure.
    pub state: &'static str,
    /// Whether an event says it too.
    pub is_news: bool,
}

impl Told {
    /// Of what kind the event is, and its reason.
    pub fn event(&self) -> Option<(EventType, &'static str)> {
        self.is_news.then_some((EventType::Warning, FAILED))
    }
}

/// What shall become of this node's routes.
pub fn decide(case: &Case<'_>) -> Decision {
    let want = wanted(case);
    let told = match want {
        Wanted::Routes | Wanted::Kept | Wanted::Same => state(case),
        Wanted::None | Wanted::Forgotten => None,
    };
    let told = told.filter(|told| is_worth_a_write(case, told));
    let is_held = told.as_ref().is_some_and(|told| is_a_last_word(case, told));
    let notes = notes(case, want);
    Decision { want, tell: told.filter(|_| !is_held), note: note(case), notes, is_held }
}

/// Whether pods on the node could be reached, as far as it says.
fn says_reachable(node: &Node) -> bool {
    let said = node.network_unavailable.as_ref();
    said.is_some_and(|said| said.status == ConditionStatus::False)
}

/// Of the ranges that get no route those that do not make the node unreachable.
fn note(case: &Case<'_>) -> Option<String> {
    if matches!(case.belongs, Belongs::Foreign(_)) {
        return None;
    }
    let hindering: Vec<_> = case.ranges.hindering(says_reachable(case.node)).collect();
    let rest = case.ranges.faults.iter().filter(|fault| !hindering.contains(fault));
    let rest: Vec<_> = rest.map(ToString::to_string).collect();
    (!rest.is_empty()).then(|| rest.join("; "))
}

/// What the provider says beside how far the routes are.
fn notes(case: &Case<'_>, want: Wanted) -> Option<Vec<Note>> {
    if !matches!(want, Wanted::Routes) {
        return Some(Vec::new());
    }
    let progress = case.known?;
    let is_current = progress.digest == case.digest && !progress.reports.is_empty();
    is_current.then(|| progress.notes().cloned().collect())
}

fn wanted(case: &Case<'_>) -> Wanted {
    let Case { node, ranges, known, .. } = case;
    if let Belongs::Foreign(_) = case.belongs {
        return if known.is_some() { Wanted::Forgotten } else { Wanted::Same };
    }
    if node.pod_cidrs.is_empty() {
        return match known {
            None => Wanted::Same,
            Some(known) if known.aim == Aim::Absent && known.is_gone => Wanted::Forgotten,
            // It never had any, or its routes were found to be of nobody.
            Some(_) => Wanted::None,
        };
    }
    // Without a provider ID nobody knows where packets are to go; it has one soon. And where nothing
    // of its ranges can be had, what others have of them is not to be judged by it.
    if node.provider_id.is_none() || ranges.good.is_empty() {
        return Wanted::Kept;
    }
    // What a route is made from is complete once it is initialised, and a change costs it its turn.
    let is_untouched = known.is_none_or(|known| known.aim == Aim::Keep);
    if node.is_uninitialized() && is_untouched {
        return Wanted::Kept;
    }
    Wanted::Routes
}

/// What is to be said of the node by what is known. `None`: what is said holds until more is known.
fn state(case: &Case<'_>) -> Option<Told> {
    let Case { node, ranges, known, .. } = case;
    if node.pod_cidrs.is_empty() || matches!(case.belongs, Belongs::Foreign(_)) {
        return None;
    }
    let is_reachable = says_reachable(node);
    let faults: Vec<_> = ranges.hindering(is_reachable).map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Some(unreachable(faults.join("; "), "InvalidPodCIDR", false, true));
    }
    let progress = (*known)?;
    if progress.aim != Aim::Present || progress.digest != case.digest {
        return None;
    }
    // What was seen to be there is, whatever else about it could not be done since: clearing away what
    // is left of an earlier form, or looking again.
    if progress.is_done {
        if node.is_uninitialized() {
            // Its initialisation says that it cannot be reached, and must not have the last word.
            return None;
        }
        return Some(Told {
            status: ConditionStatus::False,
            reason: ROUTE_CREATED,
            message: "RouteController created a route".to_owned(),
            passes: false,
            state: "Reachable",
            is_news: false,
        });
    }
    if let Some(trouble) = &progress.trouble {
        return troubled(case.node, progress, trouble);
    }
    if progress.is_under_way {
        // A repair that is over in a moment is not worth a taint. Of a node that was initialised before
        // it had ranges nothing was said, and pods must not come first.
        let is_unsaid = case.is_new && node.network_unavailable.is_none();
        let message = "no route yet: the node has just got its ranges".to_owned();
        return is_unsaid.then(|| unreachable(message, "Waiting", true, false));
    }
    let what = progress.waits_for()?;
    Some(unreachable(format!("no route yet: {what}"), "Waiting", true, false))
}

fn troubled(node: &Node, progress: &Progress, trouble: &Trouble) -> Option<Told> {
    let kind = trouble.error.kind();
    if kind == Kind::Stopped {
        return None;
    }
    // That nobody can look at the routes says nothing against them. Where the look has shown that
    // they are not there, or are not right, pods cannot be reached.
    let is_seen = !progress.reports.is_empty() && !trouble.was_done;
    if says_reachable(node) && !is_seen {
        return None;
    }
    let message = format!("{}; {}", trouble.error.message(), who_acts(kind));
    Some(unreachable(message, kind.reason(), kind.passes(), true))
}

fn unreachable(message: String, state: &'static str, passes: bool, is_news: bool) -> Told {
    let (status, reason) = (ConditionStatus::True, NO_ROUTE_CREATED);
    Told { status, reason, message, passes, state, is_news }
}

fn who_acts(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidConfiguration | Kind::Unsupported => {
            "it is tried again when the node changes, and now and then"
        }
        Kind::PermissionDenied => {
            "the cloud-controller-manager's credentials need this right; it is tried again"
        }
        Kind::QuotaExceeded => {
            "the quota has to be raised, or something be deleted; it is tried again"
        }
        Kind::RateLimited { .. } => "it is tried again when the cloud's rate limit allows",
        Kind::NotFound | Kind::Conflict | Kind::Unavailable | Kind::Internal | Kind::Stopped => {
            "it is tried again"
        }
    }
}

/// Whether the node does not say so already.
fn is_worth_a_write(case: &Case<'_>, now: &Told) -> bool {
    if !says(case.node, now) {
        return true;
    }
    let has_new_words =
        now.status == ConditionStatus::True && *case.node.unreachable_because != *now.message;
    // Until now nothing was known that could have been said.
    let is_first = *case.node.unreachable_because == *JUST_INITIALISED
        || case.told.is_some_and(|told| told.state == "Waiting");
    let is_same_sort = case.told.is_some_and(|told| told.state == now.state);
    let pause = if is_same_sort { REWORD } else { REPEAT };
    has_new_words && (!now.passes || is_first || case.since >= pause)
}

/// Whether this was written just now, and somebody else has written something else since. Where another
/// program of the cluster (a network's operator) wants the last word too, it is not to be a race.
fn is_a_last_word(case: &Case<'_>, now: &Told) -> bool {
    let was_told = case.told.is_some_and(|it| (it.status, it.reason) == (now.status, now.reason));
    was_told && !says(case.node, now) && case.since < REPEAT
}

fn says(node: &Node, told: &Told) -> bool {
    let said = node.network_unavailable.as_ref();
    said.is_some_and(|it| it.status == told.status && &*it.reason == told.reason)
}

#[cfg(test)]
mod tests;
