//! How long a lease lasts and how often it is renewed.

use std::time::Duration;

/// A renewal may come late by this factor of the retry period before the lease is given up.
/// <https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go>
const JITTER_FACTOR: f64 = 1.2;

/// The three durations of an election, which fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// The durations do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimingError {
    /// The record in the cluster holds whole seconds, at least one.
    #[error("--leader-elect-lease-duration must be at least 1s, not {}", shown(*.0))]
    TooShort(Duration),

    /// A leader would still act when another one may.
    #[error(
        "--leader-elect-renew-deadline ({}) must be less than --leader-elect-lease-duration ({})",
        shown(*.renew_deadline), shown(*.lease_duration)
    )]
    DeadlineTooLong {
        /// What was given.
        renew_deadline: Duration,
        /// What was given.
        lease_duration: Duration,
    },

    /// There would be no time for a second try.
    #[error(
        "--leader-elect-retry-period ({}) must be more than 0s, and 1.2 times it must be less than \
         --leader-elect-renew-deadline ({})",
        shown(*.retry_period), shown(*.renew_deadline)
    )]
    RetryTooLong {
        /// What was given.
        retry_period: Duration,
        /// What was given.
        renew_deadline: Duration,
    },
}

fn shown(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

impl Timing {
    /// Checks that the durations fit each other.
    pub fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, TimingError> {
        if lease_duration < Duration::from_secs(1) {
            return Err(TimingError::TooShort(lease_duration));
        }
        if renew_deadline >= lease_duration {
            return Err(TimingError::DeadlineTooLong { renew_deadline, lease_duration });
        }
        if retry_period.is_zero()
            || retry_period.as_secs_f64() * JITTER_FACTOR >= renew_deadline.as_secs_f64()
        {
            return Err(TimingError::RetryTooLong { retry_period, renew_deadline });
        }
        Ok(Self { lease_duration, renew_deadline, retry_period })
    }

    /// How long others wait after they last saw the lease renewed.
    pub fn lease_duration(self) -> Duration {
        self.lease_duration
    }

    /// How long a leader leads after it last sent a renewal that succeeded.
    pub fn renew_deadline(self) -> Duration {
        self.renew_deadline
    }

    /// Pause between two attempts.
    pub fn retry_period(self) -> Duration {
        self.retry_period
    }

    /// How long one request may take, so that there is time for another; as client-go.
    pub fn request_timeout(self) -> Duration {
        self.renew_deadline / 2
    }

    /// `leaseDurationSeconds`, rounded up: rounded down, others might come before we are gone.
    pub(super) fn lease_seconds(self) -> i32 {
        let whole =
            self.lease_duration.as_secs() + u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(whole).unwrap_or(i32::MAX)
    }

    /// A candidate's pause without a watch: 1 to 2.2 retry periods, as client-go. `fraction` is
    /// between 0 and 1.
    pub(super) fn poll_pause(self, fraction: f64) -> Duration {
        self.retry_period.mul_f64(1.0 + JITTER_FACTOR * fraction)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::upstreams_defaults(15.0, 10.0, 2.0, "")]
    #[case::short_ones(3.0, 2.0, 0.5, "")]
    #[case::no_lease(0.5, 0.4, 0.1, "--leader-elect-lease-duration must be at least 1s, not 500ms")]
    #[case::deadline_at_the_end(
        15.0,
        15.0,
        2.0,
        "--leader-elect-renew-deadline (15s) must be less than --leader-elect-lease-duration (15s)"
    )]
    #[case::retry_too_long(
        15.0,
        2.4,
        2.0,
        "--leader-elect-retry-period (2s) must be more than 0s, and 1.2 times it must be less than \
         --leader-elect-renew-deadline (2s 400ms)"
    )]
    #[case::no_retry(
        15.0,
        10.0,
        0.0,
        "--leader-elect-retry-period (0s) must be more than 0s, and 1.2 times it must be less than \
         --leader-elect-renew-deadline (10s)"
    )]
    fn checks(#[case] lease: f64, #[case] renew: f64, #[case] retry: f64, #[case] want: &str) {
        let [lease, renew, retry] = [lease, renew, retry].map(Duration::from_secs_f64);
        let said = Timing::new(lease, renew, retry).err().map(|err| err.to_string());
        assert_eq!(said.unwrap_or_default(), want);
    }

    #[test]
    fn defaults_fit() {
        let Timing { lease_duration, renew_deadline, retry_period } = Timing::default();
        Timing::new(lease_duration, renew_deadline, retry_period).unwrap();
    }

    #[rstest]
    #[case(15.0, 15)]
    #[case(14.1, 15)]
    #[case(1e12, i32::MAX)]
    fn a_record_never_promises_less(#[case] lease: f64, #[case] want: i32) {
        let second = Duration::from_secs(1);
        let timing =
            Timing::new(Duration::from_secs_f64(lease), second, second / 10).unwrap_or_default();
        assert_eq!(timing.lease_seconds(), want);
    }

    #[test]
    fn candidates_poll_as_client_go_does() {
        let timing = Timing::default();
        assert_eq!(timing.poll_pause(0.0), Duration::from_secs(2));
        assert_eq!(timing.poll_pause(1.0), Duration::from_millis(4400));
    }
}
