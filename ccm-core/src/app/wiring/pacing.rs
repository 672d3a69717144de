//! When each controller begins, and that it is counted while it runs.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::telemetry::ProcessMetrics;

/// `--controller-start-interval`: each controller starts a pause after the one before it.
#[derive(Debug)]
pub(super) struct Pacing {
    interval: Duration,
    next: Duration,
}

impl Pacing {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Duration::ZERO }
    }

    /// How long the next controller waits, counted from the first one's start.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        // As upstream: between once and twice the interval.
        self.next += self.interval.mul_f64(1.0 + fastrand::f64());
        pause
    }
}

/// Runs controllers until the process stops.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) process: ProcessMetrics,
    pub(super) stop: CancellationToken,
}

impl Running {
    /// Runs a controller after `pause`, and counts it, by its short name, while it runs.
    pub(super) fn run<F>(
        &self,
        name: &'static str,
        pause: Duration,
        run: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> BoxFuture<'static, ()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { process, stop } = self.clone();
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
            process.runs(name, true);
            run(stop).await;
            process.runs(name, false);
        })
    }
}
