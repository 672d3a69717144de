//! An answer that is kept for a while, and asked for by one at a time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use ccm_core::cloud::{CloudError, Freshness, Read};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer of the cloud with its age: subnets, zones, route tables; what hardly ever changes.
///
/// Whoever needs a fresher one asks the cloud; those who come meanwhile wait for that answer and
/// share it. A failure is kept by nobody.
pub(crate) struct Kept<T>(Mutex<Option<(Instant, Arc<T>)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
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
        let begun = Instant::now();
        let mut kept = self.0.lock().await;
        if let Some((asked, answer)) = &*kept {
            let is_fresh = match cx.freshness() {
                Freshness::Within(age) => *asked + age >= begun,
                Freshness::Live => *asked >= begun,
            };
            if is_fresh {
                return Ok(Arc::clone(answer));
            }
        }
        let asked = Instant::now();
        let answer = Arc::new(ask().await?);
        *kept = Some((asked, Arc::clone(&answer)));
        Ok(answer)
    }

    /// Forgets the answer: something of it was changed.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}
