//! An answer that is kept for a while, and asked for by one at a time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{CloudError, Freshness, Read};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// For how long AWS may go on showing what was there before a change. It promises nothing; what is
/// seen is a second or two.
pub(crate) const LAG: Duration = Duration::from_secs(5);

/// An answer of the cloud with its age: subnets, zones, route tables; what hardly ever changes.
///
/// Whoever needs a fresher one asks the cloud; those who come meanwhile wait for that answer and
/// share it. A failure is kept by nobody.
pub(crate) struct Kept<T>(Mutex<Inner<T>>);

struct Inner<T> {
    /// With when it was asked for.
    answer: Option<(Instant, Arc<T>)>,
    /// When we changed something of it.
    changed: Option<Instant>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner { answer: None, changed: None }))
    }
}

impl<T> Inner<T> {
    /// Whether what was asked for then may not show our last change.
    fn may_be_old(&self, asked: Instant) -> bool {
        self.changed.is_some_and(|changed| asked < changed + LAG)
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

impl<T> Kept<T> {
    /// The answer, if it is fresh enough for [`Read::freshness`], or what `ask` brings. A live answer
    /// is one that was asked for after this call began.
    pub(crate) async fn get<F>(
        &self,
        cx: &Read,
        ask: impl FnOnce() -> F,
    ) -> Result<Arc<T>, CloudError>
    where
        F: Future<Output = Result<T, CloudError>> + Send,
    {
        self.get_within(cx, Duration::MAX, ask).await
    }

    /// The same, but the answer is no older than this, whatever is fresh enough elsewhere.
    pub(crate) async fn get_within<F>(
        &self,
        cx: &Read,
        most: Duration,
        ask: impl FnOnce() -> F,
    ) -> Result<Arc<T>, CloudError>
    where
        F: Future<Output = Result<T, CloudError>> + Send,
    {
        let begun = Instant::now();
        let mut kept = self.0.lock().await;
        if let Some((asked, answer)) = &kept.answer {
            // Those who wait for it share it in any case.
            let age = match cx.freshness() {
                Freshness::Within(age) if !kept.may_be_old(*asked) => age.min(most),
                Freshness::Within(_) | Freshness::Live => Duration::ZERO,
            };
            if begun.saturating_duration_since(*asked) <= age {
                return Ok(Arc::clone(answer));
            }
        }
        let asked = Instant::now();
        let answer = Arc::new(ask().await?);
        kept.answer = Some((asked, Arc::clone(&answer)));
        Ok(answer)
    }

    /// Forgets the answer, whatever its age.
    pub(crate) async fn forget(&self) {
        self.0.lock().await.answer = None;
    }

    /// Forgets the answer, because we changed something of it. The next ones may not show that yet, and are
    /// not kept.
    pub(crate) async fn changed(&self) {
        *self.0.lock().await = Inner { answer: None, changed: Some(Instant::now()) };
    }
}
