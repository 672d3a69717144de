//! A thing over time: a row of versions, each with the time from which it holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::api::Timestamp;

/// Versions kept of one thing. More come only from a caller that writes in a loop.
pub(super) const MAX_VERSIONS: usize = 32;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row<T> {
    /// Oldest first; empty only before the first write.
    versions: Vec<Version<T>>,
    /// When it is no longer there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vanishes_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version<T> {
    from: Timestamp,
    #[serde(alias = "instance")]
    value: Arc<T>,
}

impl<T> Row<T> {
    /// A row that is about to be written.
    pub(super) const fn new() -> Self {
        Self { versions: Vec::new(), vanishes_at: None }
    }

    /// All versions, the oldest first.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Arc<T>> {
        self.versions.iter().map(|version| &version.value)
    }

    /// What holds at a time; nothing before it was made and after it vanished.
    pub(super) fn at(&self, time: Timestamp) -> Option<&Arc<T>> {
        if self.vanishes_at.is_some_and(|at| time >= at) {
            return None;
        }
        let version = self.versions.iter().rev().find(|version| version.from <= time)?;
        Some(&version.value)
    }

    /// What holds at a time, be it vanished.
    pub(super) fn current(&self, now: Timestamp) -> &Arc<T> {
        let version = self.versions.iter().rev().find(|version| version.from <= now);
        // Before the first version only if a state file comes from a clock that is ahead of ours.
        &version.unwrap_or(&self.versions[0]).value
    }

    /// What is to come after a time.
    pub(super) fn later(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, &Arc<T>)> {
        let later = self.versions.iter().filter(move |version| version.from > now);
        later.map(|version| (version.from, &version.value))
    }

    /// Replaces everything from now on, and drops what no reader looks back to.
    pub(super) fn write(
        &mut self,
        moment: Moment,
        future: impl IntoIterator<Item = (Timestamp, T)>,
    ) {
        self.versions.retain(|version| version.from <= moment.now);
        for (from, value) in future {
            // Without a transition, what is passed through is never seen.
            if self.versions.last().is_some_and(|last| last.from >= from) {
                self.versions.pop();
            }
            self.versions.push(Version { from, value: Arc::new(value) });
        }
        let unread = |versions: &[Version<T>]| {
            versions.len() > MAX_VERSIONS
                || versions.get(1).is_some_and(|second| second.from <= moment.seen())
        };
        while unread(&self.versions) {
            // The next one takes over its time: a thing must never look as if it had not been
            // there, even to readers that begin to look further back.
            let dropped = self.versions.remove(0);
            self.versions[0].from = dropped.from;
        }
    }

    #[cfg(test)]
    pub(super) fn clear(&mut self) {
        self.versions.clear();
    }
}
