//! Whether somebody else gives nodes their ranges too. Pure: time is handed in.
//!
//! Two programs that do so take the same range for two nodes sooner or later, and nobody can take it
//! back. The kube-controller-manager is one of them wherever its `--allocate-node-cidrs` is on; and a
//! Go cloud-controller-manager takes the flag of that name and ignores it, so that it may be switched
//! on here without anybody having meant it.

use std::time::Duration;

use tokio::time::Instant;

/// Nothing is given before nobody else has given anything for so long.
const QUIET: Duration = Duration::from_mins(1);

/// Where somebody else has given ranges before, a node is left to it for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// It is worth a word so often.
const REPEAT: Duration = Duration::from_hours(1);

/// What is known of others.
#[derive(Debug)]
pub(super) struct Others {
    /// How long the first node is left to others: they are quick where they are there.
    settling: Duration,
    /// When the first list was in, and what a predecessor had sent was seen.
    calm: Option<Instant>,
    /// What we gave stands on a node, and nobody was quicker.
    is_alone: bool,
    /// When somebody else last gave a node its ranges.
    seen: Option<Instant>,
    /// When that was last told.
    told: Option<Instant>,
    /// Whether anything is made of it.
    is_heeded: bool,
}

impl Others {
    pub(super) fn new(settling: Duration) -> Self {
        Self { settling, calm: None, is_alone: false, seen: None, told: None, is_heeded: true }
    }

    /// Others are not heeded once they have had their moment.
    #[cfg(test)]
    pub(super) fn unheeded(settling: Duration) -> Self {
        Self { is_alone: true, is_heeded: false, ..Self::new(settling) }
    }

    /// Everything is listed, and what a predecessor had sent has been seen by then.
    pub(super) fn calm(&mut self, now: Instant) {
        self.calm = Some(now);
    }

    /// A node has what we gave it.
    pub(super) fn ours(&mut self) {
        self.is_alone = self.seen.is_none();
    }

    /// A node has been given ranges by somebody else. Says whether that is worth a word.
    pub(super) fn theirs(&mut self, now: Instant) -> bool {
        // Until then it may be a predecessor's.
        if !self.is_heeded || self.calm.is_none_or(|calm| now < calm + self.settling) {
            return false;
        }
        self.is_alone = false;
        self.seen = Some(now);
        let is_news = self.told.is_none_or(|told| now >= told + REPEAT);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }

    /// How long a node is still to be left to others that has had no ranges `since`. Zero: it may be
    /// given some.
    pub(super) fn pause(&self, since: Instant, now: Instant) -> Duration {
        let by = match self.seen {
            Some(seen) => (seen + QUIET).max(since + PATIENCE),
            None if self.is_alone => now,
            None => since + self.settling,
        };
        by.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLING: Duration = Duration::from_secs(1);

    fn calm(now: Instant) -> Others {
        let mut others = Others::new(SETTLING);
        others.calm(now);
        others
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_node_is_left_to_others_for_a_moment_and_the_next_is_not() {
        let now = Instant::now();
        let mut others = calm(now);
        assert_eq!(others.pause(now, now), SETTLING);
        assert_eq!(others.pause(now, now + SETTLING), Duration::ZERO);
        others.ours();
        assert_eq!(others.pause(now, now), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn while_others_give_nothing_is_given_and_afterwards_they_have_the_first_try() {
        let start = Instant::now();
        let mut others = calm(start);
        others.ours();
        let seen = start + Duration::from_mins(5);
        assert!(others.theirs(seen));
        assert!(!others.theirs(seen + SETTLING), "it was told just now");
        let seen = seen + SETTLING;
        assert_eq!(others.pause(seen, seen), QUIET);
        // One that waits goes first when they are gone.
        assert_eq!(others.pause(seen, seen + QUIET), Duration::ZERO);
        let later = seen + Duration::from_hours(2);
        others.ours();
        assert_eq!(others.pause(later, later), PATIENCE, "they may come back");
        assert!(others.theirs(later));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_predecessor_sent_is_not_somebody_elses() {
        let start = Instant::now();
        let mut others = Others::new(SETTLING);
        assert!(!others.theirs(start));
        others.calm(start);
        assert!(!others.theirs(start + SETTLING / 2));
        assert_eq!(others.pause(start, start + SETTLING), Duration::ZERO);
    }
}
