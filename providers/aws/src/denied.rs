//! Rights that the Go program's published policy lacks, and without which there is a longer way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::cloud::{CloudError, Kind};
use tokio::time::Instant;
use tracing::warn;

/// For how long it is believed that a right is lacking, which somebody may give at any time.
const DENIED_FOR: Duration = Duration::from_hours(1);

/// Whether a right is lacking, as far as this process was told.
#[derive(Debug)]
pub(crate) struct Denied {
    /// What is done instead, for the log.
    instead: &'static str,
    until: Mutex<Option<Instant>>,
}

impl Denied {
    pub(crate) fn or(instead: &'static str) -> Self {
        Self { instead, until: Mutex::default() }
    }

    /// Whether the longer way is to be planned.
    pub(crate) fn is_so(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// What becomes of a failure of the shorter way: where the right is lacking, the change is planned anew.
    /// `code` is AWS' word for it: credentials that have just expired say nothing about rights.
    pub(crate) fn note(&self, err: CloudError, code: Option<&str>) -> CloudError {
        if !matches!(code, Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation"))
        {
            return err;
        }
        let until = Instant::now() + DENIED_FOR;
        let before = self.until.lock().unwrap_or_else(PoisonError::into_inner).replace(until);
        if before.is_none() {
            warn!(error = %err, "{}", self.instead);
        }
        CloudError::new(Kind::Conflict, err.message().to_owned()).with_source(err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_lacking_is_tried_again_after_a_while() {
        let denied = Denied::or("the longer way");
        let fails = |code| denied.note(CloudError::new(Kind::PermissionDenied, "no"), code).kind();
        for code in [None, Some("ExpiredToken"), Some("RequestExpired")] {
            assert_eq!(fails(code), Kind::PermissionDenied, "{code:?}");
        }
        assert!(!denied.is_so());
        assert_eq!(fails(Some("AccessDenied")), Kind::Conflict);
        assert!(denied.is_so());
        tokio::time::advance(DENIED_FOR).await;
        assert!(!denied.is_so());
    }
}
