//! Waiting for states, never for a while.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// Bound for what takes well below a second on an idle machine: two cores that also compile may be
/// ten times slower.
pub const SOON: Duration = Duration::from_secs(20);

/// Bound for what many objects, or a cloud that lags behind, take on such a machine. It costs nothing
/// where all goes well.
pub const LONG: Duration = Duration::from_mins(3);

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Looks until there is a result; fails after `bound`, with what was seen last.
pub async fn wait_until<T, E: Debug>(
    what: &str,
    bound: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + bound;
    let mut last = "nothing".to_owned();
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(result)) => return result,
            Ok(Err(seen)) => last = format!("{seen:?}"),
            // Looked too late, or not answered: what was seen before says more.
            Err(_) => {}
        }
        assert!(Instant::now() < deadline, "waited {bound:?} for {what}; seen last: {last}");
        sleep(POLL).await;
    }
}
