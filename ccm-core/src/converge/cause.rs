//! Why a unit is looked at.

use crate::cloud::Urgency;

/// Why a unit is looked at. Of several causes the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// It is due, and nothing is known to be wrong.
    Drift,
    /// What it waited for may have come.
    Waited,
    /// It failed before.
    Retry,
    /// The nodes have changed.
    Nodes,
    /// What an object wants has changed, or it is its turn.
    Changed,
    /// An object is new to us.
    New,
}

impl Cause {
    /// Who goes first in the queue and at the cloud, where nobody waits for an address: at the start
    /// of a process all objects are new to it, and most have what they need.
    pub fn urgency(self) -> Urgency {
        match self {
            Self::New | Self::Changed | Self::Nodes | Self::Retry | Self::Waited => {
                Urgency::Refresh
            }
            Self::Drift => Urgency::Drift,
        }
    }

    /// In metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Waited => "waited",
            Self::Retry => "retry",
            Self::Nodes => "nodes",
            Self::Changed => "changed",
            Self::New => "new",
        }
    }
}
