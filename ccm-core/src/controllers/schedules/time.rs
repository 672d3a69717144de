//! Time that passes only when the schedule says so.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Milliseconds since the schedule began.
pub(super) type Ms = u64;

/// Seconds in those.
pub(super) const fn s(seconds: u64) -> Ms {
    seconds * 1000
}

/// The clocks.
#[derive(Debug)]
pub(super) struct Time {
    base: Instant,
    pub(super) now: Ms,
    /// What the wall clock of the process's machine is ahead, or behind, in milliseconds.
    pub(super) wrong_by: i64,
}

impl Time {
    pub(super) fn new() -> Self {
        // A machine that has been up for a month, so that ages never reach back before its start.
        Self { base: Instant::now() + Duration::from_hours(24 * 30), now: 0, wrong_by: 0 }
    }

    /// Now, as the process measures time.
    pub(super) fn instant(&self) -> Instant {
        self.at(self.now)
    }

    pub(super) fn at(&self, ms: Ms) -> Instant {
        self.base + Duration::from_millis(ms)
    }

    /// When an instant is; now, if it is past.
    pub(super) fn ms(&self, instant: Instant) -> Ms {
        let since = instant.saturating_duration_since(self.base);
        // Never before what was asked for.
        let whole = u64::try_from(since.as_nanos().div_ceil(1_000_000)).expect("an hour at most");
        whole.max(self.now)
    }

    /// When an instant was.
    pub(super) fn ms_exactly(&self, instant: Instant) -> Ms {
        let since = instant.saturating_duration_since(self.base);
        Ms::try_from(since.as_millis()).expect("an hour at most")
    }

    /// The wall clock of the API server, which is right.
    pub(super) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000) + Duration::from_millis(self.now)
    }

    /// The wall clock of the process's machine.
    pub(super) fn own_wall(&self) -> SystemTime {
        let by = Duration::from_millis(self.wrong_by.unsigned_abs());
        if self.wrong_by < 0 { self.wall() - by } else { self.wall() + by }
    }
}
