//! What the controllers have in common that want things of the engine: each object is seen to by one
//! task at a time, writes that are refused wait, and what others had changed is told.

use std::fmt::Write;
use std::hash::Hash;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use crate::queue::WorkQueue;
use crate::report::propagate;

/// Objects seen to at once; most of the time they wait for a write.
const AT_ONCE: usize = 64;

/// The pause after a write that was refused, doubled with each further one up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after writes that were refused.
const LAST_PAUSE: Duration = Duration::from_mins(5);

/// Changes that an event names.
const NAMED: usize = 5;

/// Sees to whatever is queued until stopped; then lets what is under way end. Whoever is seen to says
/// in the end that it is [`done`](WorkQueue::done).
pub(super) async fn see_to_each<K, F>(
    queue: &WorkQueue<K>,
    health: &Progress,
    stop: &CancellationToken,
    see_to: impl Fn(K) -> F,
) where
    K: Clone + Eq + Ord + Hash,
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                propagate(ended);
                health.step(!tasks.is_empty());
            }
            keys = queue.take(1), if tasks.len() < AT_ONCE => {
                for key in keys {
                    tasks.spawn(see_to(key));
                    health.step(true);
                }
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        propagate(ended);
    }
}

/// The pause after so many writes in a row that were refused; one at least.
pub(super) fn pause_after(refused: u32) -> Duration {
    let factor = 2_u32.saturating_pow(refused.saturating_sub(1));
    FIRST_PAUSE.saturating_mul(factor).min(LAST_PAUSE)
}

/// What is said of changes to `what` that somebody else had made necessary.
pub(super) fn repaired(what: &str, lines: &[&str]) -> String {
    let named = lines[..lines.len().min(NAMED)].join("; ");
    let mut said = format!("somebody else had changed {what} in the cloud; repaired: {named}");
    if lines.len() > NAMED {
        // Writing to a text cannot fail.
        let _ = write!(said, "; and {} more", lines.len() - NAMED);
    }
    said
}
