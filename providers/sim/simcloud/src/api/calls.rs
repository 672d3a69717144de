//! Counts of calls, and the calls one by one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Operation, OperationClass, Timestamp};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered 2xx.
    Ok,
    /// Answered 4xx, other than 429.
    ClientError,
    /// Answered 429.
    Throttled,
    /// Answered 5xx.
    ServerError,
    /// The cloud closed the connection.
    Cut,
    /// The caller went away before the answer.
    Abandoned,
}

/// Calls of one operation by one caller since the counts were last forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    /// The operation.
    pub operation: Operation,
    /// First product of `User-Agent`, without its version; the token's name where there is none.
    pub caller: String,
    /// Calls received, those in flight included.
    pub calls: u64,
    /// Instances that those calls asked about or for, targets that they changed included; a list
    /// asks for none in particular.
    pub instances: u64,
    /// Calls that changed something: not those that found it so already, nor those refused. Counted
    /// when the change takes effect, whatever becomes of the answer.
    #[serde(default)]
    pub mutations: u64,
    /// Calls not ended yet.
    pub in_flight: u64,
    /// Calls by how they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Calls that a fault struck, by its kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub faults: BTreeMap<String, u64>,
}

/// All counts, ordered by operation and caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Calls received by all operations from all callers.
    pub total: u64,
    /// The counts.
    pub counts: Vec<CallCount>,
}

impl Calls {
    /// Calls of one operation by all callers.
    pub fn of(&self, operation: Operation) -> u64 {
        let counts = self.counts.iter().filter(|count| count.operation == operation);
        counts.map(|count| count.calls).sum()
    }

    /// Calls by one caller of all operations.
    pub fn by(&self, caller: &str) -> u64 {
        let counts = self.counts.iter().filter(|count| count.caller == caller);
        counts.map(|count| count.calls).sum()
    }

    /// Changes by all operations and callers.
    pub fn mutations(&self) -> u64 {
        self.counts.iter().map(|count| count.mutations).sum()
    }

    /// Changes by one operation and all callers.
    pub fn mutations_of(&self, operation: Operation) -> u64 {
        let counts = self.counts.iter().filter(|count| count.operation == operation);
        counts.map(|count| count.mutations).sum()
    }

    /// Changes by one caller and all operations.
    pub fn mutations_by(&self, caller: &str) -> u64 {
        let counts = self.counts.iter().filter(|count| count.caller == caller);
        counts.map(|count| count.mutations).sum()
    }

    /// Calls of all operations and callers that ended like this.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.counts.iter().filter_map(|count| count.outcomes.get(&outcome)).sum()
    }

    /// Calls of a class by all callers.
    pub fn of_class(&self, class: OperationClass) -> u64 {
        let counts = self.counts.iter().filter(|count| count.operation.class() == class);
        counts.map(|count| count.calls).sum()
    }
}

/// One call, entered in the log when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEntry {
    /// Counts up by one from 1; not reset with the counts.
    pub sequence: u64,
    /// When the call was received.
    pub received_at: Timestamp,
    /// From there to its end.
    pub duration_ms: u64,
    /// The operation.
    pub operation: Operation,
    /// As in [`CallCount::caller`].
    pub caller: String,
    /// As in [`CallCount::instances`].
    pub instances: u64,
    /// The ID in its path, or the name of what it makes; absent for lists and for calls about many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether it changed something, as in [`CallCount::mutations`]. A write whose caller went away
    /// may do so after it is entered here.
    #[serde(default)]
    pub changed: bool,
    /// The status that was answered; absent where there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault that struck it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<StruckBy>,
}

/// The fault that struck a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StruckBy {
    /// The fault's ID.
    pub id: String,
    /// The fault's kind.
    pub kind: String,
}

/// A stretch of the call log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallLog {
    /// Calls after the `since` of the question, oldest first, at most `limit`.
    pub entries: Vec<CallEntry>,
    /// The `since` of the next question.
    pub next: u64,
    /// Calls after `since` that are no longer kept.
    pub lost: u64,
}
