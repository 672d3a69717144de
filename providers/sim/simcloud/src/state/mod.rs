//! What the cloud has, and how it changes: a state machine that is told the time.
//!
//! Everything is a [row](row) of versions, each with the time from which it holds. Writers see the
//! version of now. Readers see the one of a while ago, which is all there is to eventual
//! consistency.

mod check;
mod ids;
mod instances;
mod pieces;
mod row;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::{Instance, Settings, Timestamp};

pub(crate) use instances::{Fleet, PageAsk};
pub(crate) use pieces::{Cx, ListAsk, Listed, Made, MemberAsk, Pieces, RouteAsk};
use row::Row;

/// Why the cloud does not do what it was asked.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("no {what} {id}")]
    NotFound { what: &'static str, id: String },
    #[error("{0}")]
    Conflict(String),
    #[error("{field}: {why}")]
    Invalid { field: String, why: String },
    #[error("{asked} in one call; at most {limit} are allowed")]
    BatchTooLarge { asked: usize, limit: usize },
    #[error("the quota {quota} is used up: {limit}")]
    QuotaExceeded { quota: &'static str, limit: u64 },
}

impl Refusal {
    pub(crate) fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { what, id: id.into() }
    }

    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), why: why.into() }
    }

    /// The same of a part of the request.
    pub(crate) fn within(self, part: &str) -> Self {
        match self {
            Self::Conflict(why) => Self::Conflict(format!("{part}.{why}")),
            Self::Invalid { field, why } => Self::Invalid { field: format!("{part}.{field}"), why },
            other @ (Self::NotFound { .. }
            | Self::BatchTooLarge { .. }
            | Self::QuotaExceeded { .. }) => other,
        }
    }
}

/// How time passes in the cloud, in milliseconds; from the settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// For how long reads do not show a change.
    pub(crate) consistency: u64,
    /// How long a transition of an instance takes.
    pub(crate) transition: u64,
    /// How long a terminated instance stays visible.
    pub(crate) retention: u64,
}

impl Pace {
    /// As the settings have it.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            consistency: settings.consistency_delay_ms,
            transition: settings.transition_delay_ms,
            retention: settings.terminated_retention_ms,
        }
    }
}

/// The moment of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) pace: Pace,
}

impl Moment {
    /// The time that readers see.
    fn seen(self) -> Timestamp {
        self.now.before(self.pace.consistency)
    }

    fn after_transition(self) -> Timestamp {
        self.now.after(self.pace.transition)
    }
}

/// Everything that the cloud has.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) fleet: Fleet,
    pub(crate) pieces: Pieces,
}

/// Everything that outlives the process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    /// Number of the newest instance.
    newest: u64,
    instances: BTreeMap<u64, Row<Instance>>,
    /// Absent in files from before there were load balancers.
    #[serde(default)]
    load_balancers: pieces::Snapshot,
}

impl Cloud {
    /// An empty cloud.
    pub(crate) fn new(seed: u64) -> Self {
        Self { fleet: Fleet::new(seed), pieces: Pieces::default() }
    }

    /// The cloud as it was. A snapshot that contradicts itself is refused with the reason.
    pub(crate) fn restore(seed: u64, snapshot: Snapshot) -> Result<Self, String> {
        Ok(Self {
            fleet: Fleet::restore(seed, snapshot.newest, snapshot.instances)?,
            pieces: Pieces::restore(snapshot.load_balancers)?,
        })
    }

    /// What must be kept to have the cloud again.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (newest, instances) = self.fleet.kept();
        Snapshot { newest, instances, load_balancers: self.pieces.snapshot() }
    }

    /// Forgets what vanished so long ago that no reader sees it any more.
    pub(crate) fn sweep(&mut self, moment: Moment) {
        self.fleet.sweep(moment);
        self.pieces.sweep(moment);
    }

    /// Counts up with every request that changes something: not with one that finds it so already.
    pub(crate) fn changes(&self) -> u64 {
        self.fleet.changes() + self.pieces.changes()
    }
}
