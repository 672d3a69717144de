//! What others may know about the election: metrics and the health check.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

/// How long after the lease has run out the check gives the process to notice by itself; as upstream.
const TOLERANCE: Duration = Duration::from_secs(20);

/// The state of one election. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lease_duration: Duration,
    /// `None` unless we lead.
    renewed: Mutex<Option<Instant>>,
    slow_paths: Counter,
}

/// We lead, and the lease has not been renewed for much longer than it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the leader election lease was last renewed {} ago", humantime::format_duration(*.0))]
pub struct Stale(pub Duration);

impl Health {
    pub(super) fn new(lease_duration: Duration, slow_paths: Counter) -> Self {
        Self(Arc::new(Shared { lease_duration, renewed: Mutex::new(None), slow_paths }))
    }

    /// The check `leaderElection`: fails only if we lead and have not renewed for the lease's
    /// duration and 20 s, which means that whatever ends a lost leadership is stuck.
    pub fn check(&self) -> Result<(), Stale> {
        stale(self.last_renewed(), self.0.lease_duration, Instant::now()).map_or(Ok(()), Err)
    }

    /// Whether we lead, for `leader_election_master_status`.
    pub fn is_leader(&self) -> bool {
        self.last_renewed().is_some()
    }

    /// When the last renewal that succeeded was sent, if we lead.
    pub fn last_renewed(&self) -> Option<Instant> {
        *self.0.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a renewal had to read the lease first, for `leader_election_slowpath_total`.
    pub fn slow_paths(&self) -> u64 {
        self.0.slow_paths.get()
    }

    pub(super) fn set(&self, renewed: Option<Instant>) {
        *self.0.renewed.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }

    pub(super) fn count_slow_path(&self) {
        self.0.slow_paths.inc();
    }
}

fn stale(renewed: Option<Instant>, lease_duration: Duration, now: Instant) -> Option<Stale> {
    let age = now.saturating_duration_since(renewed?);
    // Whole seconds: it is read by people.
    (age > lease_duration + TOLERANCE).then(|| Stale(Duration::from_secs(age.as_secs())))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_candidate(None, "")]
    #[case::fresh(Some(2), "")]
    #[case::run_out_but_not_for_long(Some(35), "")]
    #[case::stuck(Some(36), "the leader election lease was last renewed 36s ago")]
    fn is_stale_only_long_after_the_lease(#[case] age: Option<u64>, #[case] want: &str) {
        let start = Instant::now();
        let now = start + Duration::from_secs(age.unwrap_or(99));
        let said = stale(age.map(|_| start), Duration::from_secs(15), now);
        assert_eq!(said.map(|stale| stale.to_string()).unwrap_or_default(), want);
    }
}
