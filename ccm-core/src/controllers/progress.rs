//! Whether the controller gets on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Nothing that a group waits for takes as long: every request has a deadline of seconds.
const TOO_LONG: Duration = Duration::from_mins(10);

/// When a group of objects was last begun or finished, while there is one under way.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<Instant>>);

impl Progress {
    /// A group was begun or finished; says whether any is under way now.
    pub(super) fn step(&self, under_way: bool) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = under_way.then(Instant::now);
    }

    /// Fails when groups are under way and none has begun or finished for long.
    pub(super) fn check(&self) -> Result<(), String> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match since.map(|since| since.elapsed()) {
            Some(stuck) if stuck > TOO_LONG => {
                Err(format!("no group of objects was finished for {} s", stuck.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_work_that_does_not_get_on_is_unhealthy() {
        let progress = Progress::default();
        tokio::time::advance(TOO_LONG * 2).await;
        assert_eq!(progress.check(), Ok(()));
        progress.step(true);
        tokio::time::advance(TOO_LONG).await;
        assert_eq!(progress.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(progress.check().is_err());
        progress.step(true);
        assert_eq!(progress.check(), Ok(()));
        tokio::time::advance(TOO_LONG * 2).await;
        progress.step(false);
        tokio::time::advance(TOO_LONG * 2).await;
        assert_eq!(progress.check(), Ok(()));
    }
}
