//! Rate limits: a bucket of tokens that time refills.

use std::time::Duration;

use crate::api::RateLimit;

/// A bucket; every call takes one token out.
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: RateLimit,
    tokens: f64,
    /// Time since an arbitrary start, as in `take`.
    refilled: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(limit: RateLimit, now: Duration) -> Self {
        Self { limit, tokens: f64::from(limit.burst), refilled: now }
    }

    /// Takes a token, or says how long until there is one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        if self.limit.per_second <= 0.0 {
            return Ok(());
        }
        let passed = now.saturating_sub(self.refilled);
        self.refilled = self.refilled.max(now);
        let burst = f64::from(self.limit.burst);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.limit.per_second).min(burst);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.limit.per_second;
        Err(Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn bucket(per_second: f64, burst: u32) -> Bucket {
        Bucket::new(RateLimit { per_second, burst }, at(0))
    }

    #[test]
    fn a_burst_passes_and_the_next_call_waits() {
        let mut bucket = bucket(10.0, 3);
        for _ in 0..3 {
            bucket.take(at(0)).unwrap();
        }
        assert_eq!(bucket.take(at(0)), Err(at(100)));
        assert_eq!(bucket.take(at(40)), Err(at(60)));
        bucket.take(at(101)).unwrap();
        bucket.take(at(102)).unwrap_err();
    }

    #[test]
    fn a_pause_refills_no_more_than_the_burst() {
        let mut bucket = bucket(10.0, 2);
        let passed = |bucket: &mut Bucket, now| (0..9).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(passed(&mut bucket, at(0)), 2);
        assert_eq!(passed(&mut bucket, at(3_600_000)), 2);
    }

    #[test]
    fn a_rate_of_zero_limits_nothing() {
        let mut bucket = bucket(0.0, 1);
        assert!((0..1000).all(|_| bucket.take(at(0)).is_ok()));
    }
}
