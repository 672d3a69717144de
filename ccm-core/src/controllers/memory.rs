//! What is remembered of one object between looks: what it waits for, what was said, what was
//! written.
//!
//! Only what needs it is remembered, so an idle cluster costs nothing.

use std::time::Duration;

use super::waiting::{Awaited, Waiting, growing};
use crate::cloud::Uid;
use crate::cluster::node::Version;

/// After a write that failed, doubled with each further failure up to half a minute.
const FIRST_PAUSE_AFTER_WRITE: Duration = Duration::from_millis(250);

/// Something that an object's owner should hear. It stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The event's reason, one word.
    pub(super) reason: &'static str,
    /// A sentence.
    pub(super) message: String,
}

impl Note {
    pub(super) fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// What is remembered of one object.
#[derive(Debug)]
pub(super) struct Memory<W> {
    /// Which object of this name.
    pub(super) uid: Uid,
    /// Why it waits.
    pub(super) waits: Option<Waiting<W>>,
    /// The version that our last write made. Until the cache shows it nothing is decided.
    pub(super) written: Option<Version>,
    /// What its owner heard. Said again only after it was not true for a while.
    pub(super) said: Vec<Note>,
    /// Writes that failed in a row.
    pub(super) failures: u32,
}

impl<W: Awaited> Memory<W> {
    pub(super) fn new(uid: Uid) -> Self {
        Self { uid, waits: None, written: None, said: Vec::new(), failures: 0 }
    }

    /// Whether there is nothing left to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_none() && self.written.is_none() && self.said.is_empty() && self.failures == 0
    }

    /// Takes the notes that were not said yet, and forgets those that are not true any more.
    pub(super) fn news(&mut self, notes: Vec<Note>) -> Vec<Note> {
        let news = notes.iter().filter(|note| !self.said.contains(note)).cloned().collect();
        self.said = notes;
        news
    }

    /// The pause after a write that failed.
    pub(super) fn pause_after_failure(&mut self) -> Duration {
        let pause = growing(FIRST_PAUSE_AFTER_WRITE, self.failures);
        self.failures += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::node::decide::Wait;

    #[test]
    fn notes_are_said_once_until_they_stop_being_true() {
        let note = |text: &str| Note { reason: "R", message: text.to_owned() };
        let mut memory = Memory::<Wait>::new("u".into());
        assert_eq!(memory.news(vec![note("a"), note("b")]).len(), 2);
        assert_eq!(memory.news(vec![note("a"), note("c")]), [note("c")]);
        assert!(memory.news(vec![]).is_empty() && memory.is_empty());
        assert_eq!(memory.news(vec![note("a")]), [note("a")]);
    }
}
