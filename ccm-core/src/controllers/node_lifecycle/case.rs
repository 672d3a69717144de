//! What is known of the machine of one Node, from the answers of the cloud. Pure: time is handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{Ask, Evidence, Observation, Retry, RunState, Uid};
use crate::cluster::node::Version;
use crate::controllers::known::{Known, is_end};
use crate::fleet::Sighting;

/// The longest pause between two looks at a node about which the cloud does not tell.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// After a contradiction the next direct question has to wait, doubled with each further one.
const FIRST_CONTRADICTION: Duration = Duration::from_secs(15);

/// The longest wait after contradictions.
const LONGEST_CONTRADICTION: Duration = Duration::from_mins(5);

/// What the cloud has said of the machine, as far as it was a clear word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing yet.
    Unasked,
    /// It is there.
    Lives {
        /// It will not run by itself.
        stopped: bool,
    },
    /// A look did not find it.
    Suspected {
        /// When it was first not found.
        first: Instant,
        /// When it was last not found.
        last: Instant,
    },
    /// A look and then a direct question did not find it.
    Confirmed {
        /// When it was first not found.
        first: Instant,
        /// When the direct answer came.
        at: Instant,
        /// What that answer rests on.
        evidence: Evidence,
    },
}

/// The cloud does not tell at the moment.
#[derive(Clone, Debug)]
pub(super) struct Doubt {
    /// Why, in the words of the condition.
    pub(super) known: Known,
    /// Since when.
    pub(super) since: Instant,
}

/// What allows a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Permit {
    /// The machine was seen on its way down or terminated, or an autoscaler removes the node.
    Announced,
    /// The node's owner has said so by the annotation.
    Released,
    /// The budget.
    Budget,
}

impl Permit {
    /// For the metric and the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Released => "released",
            Self::Budget => "budget",
        }
    }
}

/// A token of the budget, on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// There is none.
    None,
    /// It was taken, and goes back if it is not used.
    Held,
    /// A deletion with it is under way: whatever becomes of the Node, it is used.
    Used,
}

/// What is known of one node that is watched over.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Which node of this name.
    pub(super) uid: Uid,
    /// Its age counts from here.
    born: Instant,
    /// The cloud's last clear word.
    pub(super) fate: Fate,
    /// The newest answer was none.
    pub(super) doubt: Option<Doubt>,
    /// The machine was seen on its way down, or its record says that it was terminated.
    pub(super) announced: bool,
    /// Whether the budget allows its deletion.
    pub(super) token: Token,
    /// Since when the budget has no token for it.
    pub(super) held: Option<Instant>,
    /// Since when direct answers contradict looks.
    pub(super) contradicted: Option<Instant>,
    contradictions: u32,
    newest: Option<Instant>,
    doubts: u32,
    failures: u32,
    /// No look before.
    pub(super) look_at: Instant,
    /// No direct question before.
    pub(super) confirm_at: Instant,
    /// No write before.
    pub(super) write_at: Instant,
    /// A question or a write is under way.
    pub(super) busy: bool,
    /// The version that our last write made. Until the cache shows it nothing is decided.
    pub(super) written: Option<Version>,
    /// Which value of the annotation its owner was told not to understand.
    pub(super) misread: Option<Box<str>>,
}

impl Case {
    pub(super) fn new(uid: Uid, born: Instant, now: Instant) -> Self {
        Self {
            uid,
            born,
            fate: Fate::Unasked,
            doubt: None,
            announced: false,
            token: Token::None,
            held: None,
            contradicted: None,
            contradictions: 0,
            newest: None,
            doubts: 0,
            failures: 0,
            look_at: now,
            confirm_at: now,
            write_at: now,
            busy: false,
            written: None,
            misread: None,
        }
    }

    /// How old the Node is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// Takes an answer of the cloud. Gives when to look next, counted from now, if the answer says
    /// something about it.
    pub(super) fn saw(&mut self, ask: Ask, sighting: &Sighting, now: Instant) -> Option<Duration> {
        // Answers may overtake each other; the newer question counts.
        if self.newest.is_some_and(|newest| sighting.asked < newest) {
            return None;
        }
        self.newest = Some(sighting.asked);
        match &*sighting.observation {
            Observation::Unknown(err) => {
                if is_end(err) {
                    return None;
                }
                let since = self.doubt.as_ref().map_or(now, |doubt| doubt.since);
                self.doubt = Some(Doubt { known: Known::unknown(err), since });
                let growing = Duration::from_secs(5) * 2_u32.saturating_pow(self.doubts);
                self.doubts = self.doubts.saturating_add(1).min(8);
                let growing = growing.min(LONGEST_PAUSE);
                Some(match err.kind().retry() {
                    Retry::After(pause) => pause.max(growing),
                    Retry::Backoff | Retry::OnChange | Retry::Never => growing,
                })
            }
            Observation::Present(instance) => {
                self.clear_doubt();
                self.announced = instance.state == RunState::Stopping;
                let contradicts = matches!(self.fate, Fate::Suspected { .. });
                if ask == Ask::Confirm && contradicts {
                    let wait = FIRST_CONTRADICTION * 2_u32.saturating_pow(self.contradictions);
                    self.contradictions = self.contradictions.saturating_add(1).min(8);
                    self.contradicted.get_or_insert(now);
                    self.confirm_at = now + wait.min(LONGEST_CONTRADICTION);
                } else {
                    self.contradictions = 0;
                    self.contradicted = None;
                }
                self.fate = Fate::Lives { stopped: instance.state == RunState::Stopped };
                self.held = None;
                None
            }
            Observation::Gone(evidence) => {
                self.clear_doubt();
                self.announced |= *evidence == Evidence::Terminated
                    || sighting.before == Some(RunState::Stopping);
                self.fate = match (ask, self.fate) {
                    (
                        Ask::Confirm,
                        Fate::Suspected { first, .. } | Fate::Confirmed { first, .. },
                    ) => Fate::Confirmed { first, at: now, evidence: *evidence },
                    (_, Fate::Suspected { first, .. } | Fate::Confirmed { first, .. }) => {
                        Fate::Suspected { first, last: now }
                    }
                    (_, Fate::Unasked | Fate::Lives { .. }) => {
                        Fate::Suspected { first: now, last: now }
                    }
                };
                None
            }
        }
    }

    fn clear_doubt(&mut self) {
        self.doubt = None;
        self.doubts = 0;
    }

    /// A write was done; it made this version, where it made one.
    pub(super) fn wrote(&mut self, version: Option<Version>) {
        self.written = version;
        self.failures = 0;
    }

    /// A write failed: no other before a growing pause. Says how often in a row.
    pub(super) fn not_written(&mut self, now: Instant) -> u32 {
        let pause = Duration::from_secs(1) * 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1).min(8);
        self.write_at = now + pause.min(LONGEST_PAUSE);
        self.failures
    }

    /// Whether it waits for something that its owner may want to know.
    #[cfg(test)]
    pub(super) fn waits(&self) -> bool {
        self.doubt.is_some() || self.held.is_some() || self.contradicted.is_some()
    }
}
