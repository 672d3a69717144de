//! The words under which Services and writes are counted. Pure.

use super::act::Patch;
use super::tell;
use crate::cluster::keys;
use crate::cluster::node::ConditionStatus;
use crate::cluster::service::Service;

/// The word under which a Service is counted: its condition's reason.
pub(super) fn word(service: &Service, patch: &Patch) -> Option<&'static str> {
    if patch.remove_conditions.iter().any(|kind| kind == keys::LOAD_BALANCER_READY) {
        return None;
    }
    let mut written = patch.conditions.iter();
    let written = written.find(|entry| entry.kind == keys::LOAD_BALANCER_READY);
    let (status, reason) = match (written, service.ready()) {
        (Some(entry), _) => (entry.status, entry.reason.as_str()),
        (None, Some(ready)) => (ready.status, &*ready.reason),
        (None, None) => return None,
    };
    let known = tell::REASONS.iter().find(|known| **known == reason);
    match status {
        ConditionStatus::True => Some("Ready"),
        ConditionStatus::False | ConditionStatus::Unknown => known.copied().or(Some("Other")),
    }
}

/// What a write was for, in a word for the metric.
pub(super) fn what(patch: &Patch) -> &'static str {
    if !patch.remove_finalizers.is_empty() {
        "release"
    } else if !patch.add_finalizers.is_empty() {
        "finalizer"
    } else if patch.ingress.is_some() {
        "address"
    } else if !patch.annotations.is_empty() {
        "annotations"
    } else {
        "condition"
    }
}
