//! What is known of the machine of one Node, from the answers of the cloud. Pure: time is handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::{Ask, Evidence, Observation, Retry, RunState, Uid};
use crate::cluster::node::Version;
use crate::controllers::known::{Known, is_end};
use crate::fleet::Sighting;

/// The longest pause between two looks at a node about which the cloud does not tell.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause that a cloud can ask for here; the governor knows longer ones.
const LONGEST_OBEYED: Duration = Duration::from_mins(5);

/// After a contradiction the next direct question has to wait, doubled with each further one.
const FIRST_CONTRADICTION: Duration = Duration::from_secs(15);

/// The longest wait after contradictions.
const LONGEST_CONTRADICTION: Duration = Duration::from_mins(5);

/// What the cloud has said of the machine, as far as it was a clear word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Fate {
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
        /// When the question was asked to which it was last not found.
        last: Instant,
        /// That answer was a record that says that it was terminated.
        certain: bool,
    },
    /// A look and then a direct question did not find it.
    Confirmed {
        /// When it was first not found.
        first: Instant,
        /// When the direct question was asked.
        at: Instant,
        /// What that answer rests on.
        evidence: Evidence,
        /// Both answers were records that say that it was terminated.
        certain: bool,
    },
}

/// The cloud does not tell at the moment.
#[derive(Clone, Debug)]
pub(in crate::controllers) struct Doubt {
    /// Why, in the words of the condition.
    pub(in crate::controllers) known: Known,
    /// Since when.
    pub(in crate::controllers) since: Instant,
    /// A direct question was not answered.
    is_direct: bool,
}

/// What allows a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::controllers) enum Permit {
    /// The machine was seen on its way down or terminated, or an autoscaler removes the node.
    Announced,
    /// The node's owner has said so by the annotation.
    Released,
    /// The budget.
    Budget,
}

impl Permit {
    /// For the metric and the log.
    pub(in crate::controllers) fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Released => "released",
            Self::Budget => "budget",
        }
    }
}

/// A token of the budget, on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Token {
    /// There is none.
    None,
    /// It was taken, and goes back if it is not used.
    Held,
    /// A deletion with it is under way: whatever becomes of the Node, it is used.
    Used,
}

/// What is known of one node that is watched over.
#[derive(Clone, Debug)]
pub(in crate::controllers) struct Case {
    /// Which node of this name.
    pub(in crate::controllers) uid: Uid,
    /// Its age counts from here.
    born: Instant,
    /// The cloud's last clear word.
    pub(in crate::controllers) fate: Fate,
    /// Since when no answer has found it.
    pub(in crate::controllers) amiss: Option<Instant>,
    /// The newest answer was none.
    pub(in crate::controllers) doubt: Option<Doubt>,
    /// The machine was seen on its way down, or its record says that it was terminated.
    pub(in crate::controllers) announced: bool,
    /// Whether the budget allows its deletion.
    pub(in crate::controllers) token: Token,
    /// Since when the budget has no token for it.
    pub(in crate::controllers) held: Option<Instant>,
    /// Since when direct answers contradict looks.
    pub(in crate::controllers) contradicted: Option<Instant>,
    contradictions: u32,
    newest: Option<Instant>,
    doubts: u32,
    failures: u32,
    /// No look before.
    pub(in crate::controllers) look_at: Instant,
    /// No direct question before.
    pub(in crate::controllers) confirm_at: Instant,
    /// No write before, but for what is told.
    pub(in crate::controllers) write_at: Instant,
    /// Nothing is told before.
    pub(in crate::controllers) tell_at: Instant,
    /// Its deletion was accepted, or may have been: nothing is done before this time.
    pub(in crate::controllers) deleted_until: Instant,
    /// A direct question is under way.
    pub(in crate::controllers) confirming: bool,
    /// Whether its kubelet was heard of when the Node was last seen.
    pub(in crate::controllers) is_ready: bool,
    /// The version that our last write made. Until the cache shows it nothing is decided.
    pub(in crate::controllers) written: Option<Version>,
    /// Which value of the annotation its owner was told not to understand.
    pub(in crate::controllers) misread: Option<Box<str>>,
}

impl Case {
    pub(in crate::controllers) fn new(uid: Uid, born: Instant, now: Instant) -> Self {
        Self {
            uid,
            born,
            fate: Fate::Unasked,
            amiss: None,
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
            tell_at: now,
            deleted_until: now,
            confirming: false,
            is_ready: false,
            written: None,
            misread: None,
        }
    }

    /// Forgets what the cloud has said, and looks again. Gives the token that it had.
    pub(in crate::controllers) fn begin_anew(&mut self, look_at: Instant) -> Token {
        self.clear_doubt();
        self.fate = Fate::Unasked;
        self.amiss = None;
        self.announced = false;
        self.held = None;
        self.contradicted = None;
        self.look_at = look_at;
        // One that is used is the business of the write that uses it.
        if self.token == Token::Used {
            return Token::Used;
        }
        std::mem::replace(&mut self.token, Token::None)
    }

    /// How old the Node is.
    pub(in crate::controllers) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// Takes an answer of the cloud. Gives when to look next, counted from now, if the answer says
    /// something about it.
    pub(in crate::controllers) fn saw(
        &mut self,
        ask: Ask,
        sighting: &Sighting,
        now: Instant,
    ) -> Option<Duration> {
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
                self.amiss.get_or_insert(now);
                let before = self.doubt.as_ref();
                let since = before.map_or(now, |doubt| doubt.since);
                let is_direct = ask == Ask::Confirm || before.is_some_and(|doubt| doubt.is_direct);
                self.doubt = Some(Doubt { known: Known::unknown(err), since, is_direct });
                let growing = Duration::from_secs(5) * 2_u32.saturating_pow(self.doubts);
                self.doubts = self.doubts.saturating_add(1).min(8);
                let growing = growing.min(LONGEST_PAUSE);
                let pause = match err.kind().retry() {
                    // A longer wish is a mistake, and would be forgotten after it.
                    Retry::After(pause) => pause.min(LONGEST_OBEYED).max(growing),
                    Retry::Backoff | Retry::OnChange | Retry::Never => growing,
                };
                if ask == Ask::Confirm {
                    self.confirm_at = now + pause;
                }
                Some(pause)
            }
            Observation::Present(instance) => {
                self.amiss = None;
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
                self.amiss.get_or_insert(now);
                // That a list lacks it again is no answer to the direct question.
                if ask == Ask::Confirm || self.doubt.as_ref().is_some_and(|doubt| !doubt.is_direct)
                {
                    self.clear_doubt();
                }
                self.announced |= *evidence == Evidence::Terminated
                    || sighting.before == Some(RunState::Stopping);
                let (asked, terminated) = (sighting.asked, *evidence == Evidence::Terminated);
                self.fate = match (ask, self.fate) {
                    (
                        Ask::Confirm,
                        Fate::Suspected { first, certain, .. }
                        | Fate::Confirmed { first, certain, .. },
                    ) => {
                        self.contradicted = None;
                        let (evidence, certain) = (*evidence, certain && terminated);
                        Fate::Confirmed { first, at: asked, evidence, certain }
                    }
                    (_, Fate::Suspected { first, .. } | Fate::Confirmed { first, .. }) => {
                        Fate::Suspected { first, last: asked, certain: terminated }
                    }
                    (_, Fate::Unasked | Fate::Lives { .. }) => {
                        Fate::Suspected { first: now, last: asked, certain: terminated }
                    }
                };
                None
            }
        }
    }

    /// The budget has no token for it. It is not asked about directly until there is one, so what the
    /// last direct question came to is not what is waited for.
    pub(in crate::controllers) fn hold(&mut self, now: Instant) {
        self.held.get_or_insert(now);
        self.contradicted = None;
        if self.doubt.as_ref().is_some_and(|doubt| doubt.is_direct) {
            self.clear_doubt();
        }
    }

    fn clear_doubt(&mut self) {
        self.doubt = None;
        self.doubts = 0;
    }

    /// A write was done; it made this version, where it made one.
    pub(in crate::controllers) fn wrote(&mut self, version: Option<Version>) {
        self.written = version;
        self.failures = 0;
    }

    /// A write failed: no other before a growing pause. Says how often in a row.
    pub(in crate::controllers) fn not_written(&mut self, now: Instant) -> u32 {
        let pause = Duration::from_secs(1) * 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1).min(8);
        self.write_at = now + pause.min(LONGEST_PAUSE);
        self.failures
    }
}
