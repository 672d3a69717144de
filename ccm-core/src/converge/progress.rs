//! How far an object is, over all its units: what its controller decides on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cause::Cause;
use crate::cloud::{
    CloudError, Holds, Ingress, IngressPoint, Kind, Note, Report, ReportedCondition, Verdict,
};

/// What is wanted for an object, without the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// It is to be as its spec says.
    Present,
    /// Nothing of it is to be left.
    Absent,
    /// What it has stays.
    Keep,
}

/// How far an object is.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says something of its own")]
pub struct Progress {
    /// What is wanted for it now.
    pub aim: Aim,
    /// Which form of its spec that is.
    pub digest: u64,
    /// Every unit has last been seen as it should be.
    pub is_done: bool,
    /// Every unit has said, since that is wanted, that nothing of it is left.
    pub is_gone: bool,
    /// One of its units is being worked on.
    pub is_under_way: bool,
    /// The last look at one of its units may have shown what was there before a change of ours, or of
    /// the process before us; it is looked at again when that is over, or when what has failed is tried
    /// again. What was said holds until then.
    pub is_unsure: bool,
    /// Why it does not get on.
    pub trouble: Option<Trouble>,
    /// What the units last said of it, in building order.
    pub reports: Vec<Arc<Report>>,
}

/// Why an object does not get on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong.
    pub error: Arc<CloudError>,
    /// How often in a row.
    pub failures: u32,
    /// Why the unit was looked at.
    pub cause: Cause,
    /// The unit was as it should be when it was last seen.
    pub was_done: bool,
}

impl Trouble {
    pub(super) fn weight(&self) -> u8 {
        match self.error.kind() {
            Kind::InvalidConfiguration | Kind::Unsupported => 4,
            Kind::PermissionDenied | Kind::QuotaExceeded => 3,
            Kind::Internal | Kind::NotFound => 2,
            Kind::RateLimited { .. } | Kind::Conflict | Kind::Unavailable => 1,
            Kind::Stopped => 0,
        }
    }
}

impl Progress {
    /// The addresses, where a unit sets them: the last one that does.
    pub fn ingress(&self) -> Option<&[IngressPoint]> {
        self.reports.iter().rev().find_map(|report| match &report.ingress {
            Ingress::Set(points) => Some(&points[..]),
            Ingress::Leave => None,
        })
    }

    /// Annotations to write, `None` to take one away; the last unit's word counts.
    pub fn annotations(&self) -> BTreeMap<&str, Option<&str>> {
        let all = self.reports.iter().flat_map(|report| &report.annotations);
        all.map(|(key, value)| (key.as_str(), value.as_deref())).collect()
    }

    /// Finalizers of the provider's own: there while any unit says that they stand for something.
    pub fn finalizers(&self) -> BTreeMap<&str, Holds> {
        let mut finalizers = BTreeMap::new();
        for (name, holds) in self.reports.iter().flat_map(|report| &report.finalizers) {
            let entry = finalizers.entry(name.as_str()).or_insert(*holds);
            if *holds == Holds::Something {
                *entry = Holds::Something;
            }
        }
        finalizers
    }

    /// Conditions of the provider's own.
    pub fn conditions(&self) -> impl Iterator<Item = &ReportedCondition> {
        self.reports.iter().flat_map(|report| &report.conditions)
    }

    /// Things that the object's owner should hear.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.reports.iter().flat_map(|report| &report.notes)
    }

    /// What is waited for, in the words of the first unit that waits.
    pub fn waits_for(&self) -> Option<&str> {
        self.reports.iter().find_map(|report| match &report.verdict {
            Verdict::Progressing(what) => Some(what.as_str()),
            Verdict::Done | Verdict::Refused(_) | Verdict::Elsewhere(_) => None,
        })
    }

    /// Which other program serves it, where one does.
    pub fn elsewhere(&self) -> Option<&str> {
        self.reports.iter().find_map(|report| match &report.verdict {
            Verdict::Elsewhere(who) => Some(who.as_str()),
            Verdict::Done | Verdict::Progressing(_) | Verdict::Refused(_) => None,
        })
    }
}
