//! The gate that every mutation passes, of the cloud and of the cluster alike, right before it is sent.
//!
//! It is open while we lead. It closes by itself: past its deadline nobody has to run for it to be
//! closed, so a process that was stopped for a minute finds it closed at the first look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// No deadline has been set, or it was taken back.
const NEVER: u64 = 0;
/// Open without a leader election.
const ALWAYS: u64 = u64::MAX;

/// Says whether a mutation may be sent now.
///
/// Cheap to clone and to ask: one look at the clock, one atomic load, no lock.
#[derive(Clone, Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    /// Another that has to be open too.
    behind: Option<Arc<Self>>,
}

/// Opens and closes a [`Gate`]; there is one for each election, held by whoever renews the lease.
///
/// Dropping it closes the gate.
#[derive(Debug)]
pub struct GateKeeper(Gate);

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    /// Nanoseconds after `epoch`.
    open_until: AtomicU64,
}

/// The mutation was held back: this process does not lead, or cannot be sure that it still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not sent, or its answer not waited for, because this process does not hold the leader election \
     lease (any more)"
)]
pub struct Closed;

impl Gate {
    /// A gate that is never closed, for `--leader-elect=false`.
    pub fn always_open() -> Self {
        Self::with(ALWAYS)
    }

    /// A gate that is open while both are, and closed as soon as one of them is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let behind = match self.behind {
            Some(behind) => behind.as_ref().clone().and(other),
            None => other,
        };
        Self { shared: self.shared, behind: Some(Arc::new(behind)) }
    }

    /// To be asked right before a mutation is sent: not before it is queued, not before it waits.
    pub fn check(&self) -> Result<(), Closed> {
        if self.is_open() { Ok(()) } else { Err(Closed) }
    }

    /// Whether a mutation may be sent now.
    pub fn is_open(&self) -> bool {
        self.is_open_at(Instant::now())
    }

    /// How long the gate stays open if nobody touches it; [`Duration::MAX`] where there is no election.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining_at(Instant::now())
    }

    fn with(open_until: u64) -> Self {
        let open_until = AtomicU64::new(open_until);
        Self { shared: Arc::new(Shared { epoch: Instant::now(), open_until }), behind: None }
    }

    fn is_open_at(&self, now: Instant) -> bool {
        self.nanos(now) < self.shared.open_until.load(Ordering::Acquire)
            && self.behind.as_ref().is_none_or(|behind| behind.is_open_at(now))
    }

    fn remaining_at(&self, now: Instant) -> Option<Duration> {
        let remaining = match self.shared.open_until.load(Ordering::Acquire) {
            ALWAYS => Some(Duration::MAX),
            until => until
                .checked_sub(self.nanos(now))
                .filter(|nanos| *nanos > 0)
                .map(Duration::from_nanos),
        };
        match &self.behind {
            Some(behind) => Some(remaining?.min(behind.remaining_at(now)?)),
            None => remaining,
        }
    }

    /// 584 years fit, and a time before the epoch is the epoch.
    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.shared.epoch).as_nanos())
            .unwrap_or(ALWAYS - 1)
    }
}

impl GateKeeper {
    /// The keeper of a new gate, which is closed.
    pub fn new() -> Self {
        Self(Gate::with(NEVER))
    }

    /// The gate, for those who have to pass it.
    pub fn gate(&self) -> Gate {
        self.0.clone()
    }

    /// Opens the gate until `deadline`, which replaces an earlier one.
    ///
    /// The deadline counts from when the renewal was *sent*, since the server may have counted from
    /// then; one that has passed leaves the gate closed.
    pub fn open_until(&self, deadline: Instant) {
        self.0.shared.open_until.store(self.0.nanos(deadline), Ordering::Release);
    }

    /// Closes the gate at once.
    pub fn close(&self) {
        self.0.shared.open_until.store(NEVER, Ordering::Release);
    }
}

impl Default for GateKeeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for GateKeeper {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What the keeper does.
    enum Act {
        /// Opens until so many seconds after the start.
        Open(u32),
        Close,
    }
    use Act::{Close, Open};

    /// What the keeper does, and what a look some seconds after the start then says.
    #[rstest]
    #[case::nobody_opened_it(&[], 0, None)]
    #[case::just_opened(&[Open(10)], 0, Some(10))]
    #[case::nearly_over(&[Open(10)], 9, Some(1))]
    #[case::the_deadline_itself_is_too_late(&[Open(10)], 10, None)]
    #[case::stopped_and_woken_long_after(&[Open(10)], 3600, None)]
    #[case::renewed(&[Open(10), Open(12)], 11, Some(1))]
    #[case::a_deadline_in_the_past_opens_nothing(&[Open(0)], 1, None)]
    #[case::closed_early(&[Open(10), Close], 1, None)]
    #[case::closed_and_opened_again(&[Open(10), Close, Open(20)], 12, Some(8))]
    fn opens_and_closes(
        #[case] acts: &[Act],
        #[case] seconds: u32,
        #[case] remaining: Option<u32>,
    ) {
        let keeper = GateKeeper::new();
        let gate = keeper.gate();
        let start = gate.shared.epoch;
        for act in acts {
            match act {
                Open(until) => keeper.open_until(start + SECOND * *until),
                Close => keeper.close(),
            }
        }

        let now = start + SECOND * seconds;
        assert_eq!(gate.remaining_at(now), remaining.map(|seconds| SECOND * seconds));
        assert_eq!(gate.is_open_at(now), remaining.is_some());
    }

    #[test]
    fn without_an_election_it_is_open_for_ever() {
        let gate = Gate::always_open();
        assert!(gate.is_open_at(gate.shared.epoch + Duration::from_secs(u64::from(u32::MAX))));
        assert_eq!(gate.remaining(), Some(Duration::MAX));
        assert_eq!(gate.check(), Ok(()));
    }

    #[test]
    fn a_lost_keeper_leaves_a_closed_gate() {
        let keeper = GateKeeper::new();
        let gate = keeper.gate();
        keeper.open_until(Instant::now() + SECOND * 60);
        assert_eq!(gate.check(), Ok(()));
        drop(keeper);
        assert_eq!(gate.check(), Err(Closed));
    }

    #[test]
    fn two_are_open_while_both_are() {
        let keepers = [GateKeeper::new(), GateKeeper::new(), GateKeeper::new()];
        let [one, other, third] = keepers.each_ref().map(GateKeeper::gate);
        let all = one.and(other).and(third);
        let start = Instant::now();
        for (keeper, until) in keepers.iter().zip([20, 10, 30]) {
            assert!(!all.is_open_at(start) && all.remaining_at(start).is_none());
            keeper.open_until(start + SECOND * until);
        }
        assert!(all.is_open_at(start + SECOND * 9));
        assert_eq!(
            all.remaining_at(start).map(|remaining| remaining.as_secs_f32().round()),
            Some(10.0)
        );
        assert!(!all.is_open_at(start + SECOND * 10));
        for keeper in &keepers {
            keeper.close();
            assert!(!all.is_open_at(start));
            keeper.open_until(start + SECOND * 20);
            assert!(all.is_open_at(start));
        }
    }

    /// The clock alone closes it: nothing runs between the two looks.
    #[tokio::test(start_paused = true)]
    async fn it_closes_by_itself() {
        let keeper = GateKeeper::new();
        let gate = keeper.gate();
        keeper.open_until(Instant::now() + SECOND * 10);
        assert_eq!(gate.check(), Ok(()));
        tokio::time::advance(SECOND * 11).await;
        assert_eq!(gate.check(), Err(Closed));
    }
}
