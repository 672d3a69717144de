//! The governor: every request to the cloud passes here.
//!
//! It holds the quota buckets (who goes first, how many at once, pauses that the cloud asked for),
//! the mutation gate, and the metrics of the cloud's API. Shared by all controllers.

mod lane;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::debug;

use self::lane::{Lane, Ticket, Turn};
use crate::cloud::{
    Admitted, Bucket, CloudError, Conduct, Freshness, Kind, Operation, Read, Request, Urgency,
    Write,
};
use crate::cluster::gate::Gate;
use crate::report::Chain;
use crate::telemetry::CloudMetrics;

/// How long a request waits for a pause to end before it is sent back to its controller, which
/// then says on the object what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a request waits for its turn while the cloud complains, before it is sent back likewise.
const QUEUE_PATIENCE: Duration = Duration::from_secs(15);

/// Lets requests to the cloud pass, in order of urgency and within the cloud's quota.
#[derive(Clone)]
pub struct Governor(Arc<Shared>);

struct Shared {
    gate: Gate,
    metrics: CloudMetrics,
    buckets: Mutex<HashMap<Bucket, Arc<Slot>>>,
}

/// A bucket, and the bell that rings when somebody leaves it.
#[derive(Default)]
struct Slot {
    lane: Mutex<Lane>,
    left: Notify,
}

impl Slot {
    fn lane(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Governor {
    /// A governor whose mutating requests pass this gate.
    pub fn new(gate: Gate, metrics: CloudMetrics) -> Self {
        Self(Arc::new(Shared { gate, metrics, buckets: Mutex::default() }))
    }

    /// Leave to look, for as long as `patience` from now.
    pub fn read(&self, urgency: Urgency, freshness: Freshness, patience: Duration) -> Read {
        let conduct: Arc<dyn Conduct> = Arc::clone(&self.0) as _;
        Read::new(conduct, urgency, freshness, Instant::now() + patience)
    }

    /// Leave to change something, until `deadline` and while the gate is open. For the engine, and
    /// for tests of providers; a provider never makes its own.
    pub fn write(&self, urgency: Urgency, freshness: Freshness, deadline: Instant) -> Write {
        let conduct: Arc<dyn Conduct> = Arc::clone(&self.0) as _;
        Write::new(Read::new(conduct, urgency, freshness, deadline))
    }
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governor").finish_non_exhaustive()
    }
}

impl Shared {
    fn slot(&self, bucket: Bucket) -> Arc<Slot> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(buckets.entry(bucket).or_default())
    }
}

#[async_trait]
impl Conduct for Shared {
    async fn admit(&self, request: &Request) -> Result<Box<dyn Admitted>, CloudError> {
        let slot = self.slot(request.bucket);
        let place = Place::take(&slot, request, &self.metrics);
        let patience = Instant::now() + QUEUE_PATIENCE;
        loop {
            // Listen before looking, so that nobody leaves unheard in between.
            let left = slot.left.notified();
            let turn = slot.lane().turn(place.ticket, Instant::now());
            match turn {
                Turn::Go => break,
                Turn::HeldUntil(_) | Turn::Wait
                    if Instant::now() >= patience && slot.lane().is_short() =>
                {
                    self.metrics.not_sent(request.bucket, "crowded");
                    return Err(short(request.operation));
                }
                Turn::HeldUntil(until) => {
                    let pause = until.saturating_duration_since(Instant::now());
                    if pause > PATIENCE || until > request.deadline {
                        self.metrics.not_sent(request.bucket, "paused");
                        return Err(held(request.operation, pause));
                    }
                    sleep_until(until).await;
                }
                Turn::Wait => {
                    // Nobody need leave until then.
                    let is_short = slot.lane().is_short();
                    let until =
                        if is_short { patience.min(request.deadline) } else { request.deadline };
                    if timeout_at(until, left).await.is_err() && until == request.deadline {
                        self.metrics.not_sent(request.bucket, "crowded");
                        return Err(crowded(request.operation));
                    }
                }
            }
        }
        let under_way = UnderWay {
            slot: Arc::clone(&slot),
            metrics: self.metrics.clone(),
            operation: request.operation,
            bucket: request.bucket,
            sent: Instant::now(),
            outcome: None,
            is_aside: false,
        };
        // Others behind us may go too.
        slot.left.notify_waiters();
        // Last of all, because everything above may have taken its time.
        if request.mutates && self.gate.check().is_err() {
            self.metrics.not_sent(request.bucket, "stopped");
            let message = "not sent: this process may not write any more";
            return Err(CloudError::new(Kind::Stopped, message));
        }
        Ok(Box::new(under_way))
    }
}

fn held(operation: Operation, pause: Duration) -> CloudError {
    let message = format!(
        "{} waits for the cloud's rate limit, {} s more",
        operation.0,
        pause.as_secs_f64().ceil()
    );
    CloudError::new(Kind::RateLimited { retry_after: Some(pause) }, message)
}

fn short(operation: Operation) -> CloudError {
    let message = format!("{} waits for the cloud's rate limit behind many others", operation.0);
    CloudError::new(Kind::RateLimited { retry_after: None }, message)
}

fn crowded(operation: Operation) -> CloudError {
    let message =
        format!("{} was not sent: the requests before it were not answered in time", operation.0);
    CloudError::new(Kind::Unavailable, message)
}

/// A place in a bucket's queue, given up when its owner goes away.
struct Place<'a> {
    slot: &'a Slot,
    ticket: Ticket,
    bucket: Bucket,
    metrics: &'a CloudMetrics,
}

impl<'a> Place<'a> {
    fn take(slot: &'a Slot, request: &Request, metrics: &'a CloudMetrics) -> Self {
        let (ticket, waiting) = {
            let mut lane = slot.lane();
            (lane.queue(request.urgency), lane.waiting())
        };
        metrics.waiting(request.bucket, waiting);
        Self { slot, ticket, bucket: request.bucket, metrics }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut lane = self.slot.lane();
            lane.give_up(self.ticket);
            lane.waiting()
        };
        self.metrics.waiting(self.bucket, waiting);
        self.slot.left.notify_waiters();
    }
}

/// A request that may be sent; gives its permit back when it is dropped.
struct UnderWay {
    slot: Arc<Slot>,
    metrics: CloudMetrics,
    operation: Operation,
    bucket: Bucket,
    sent: Instant,
    outcome: Option<Result<(), Kind>>,
    /// Its answer is overdue, and it does not count any more.
    is_aside: bool,
}

impl Admitted for UnderWay {
    fn overdue(&mut self) {
        self.is_aside = self.is_aside || self.slot.lane().step_aside();
        self.slot.left.notify_waiters();
    }

    fn done(mut self: Box<Self>, outcome: Result<(), &CloudError>) {
        let took = self.sent.elapsed();
        match outcome {
            Ok(()) => debug!(operation = self.operation.0, ?took, "cloud answered"),
            Err(err) => {
                debug!(operation = self.operation.0, ?took, error = %Chain(err), "cloud call failed");
            }
        }
        let outcome = outcome.map_err(CloudError::kind);
        self.metrics.request(self.operation, took, outcome);
        self.outcome = Some(outcome);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = Instant::now();
        let (permits, paused) = {
            let mut lane = self.slot.lane();
            lane.leave(self.is_aside, self.outcome.take(), now);
            (lane.permits(), lane.paused(now))
        };
        self.metrics.bucket(self.bucket, permits, paused);
        self.slot.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const DESCRIBE: Operation = Operation("Describe");
    const READS: Bucket = Bucket("reads");

    fn governor() -> Governor {
        Governor::new(Gate::always_open(), CloudMetrics::unread())
    }

    fn look(governor: &Governor) -> Read {
        governor.read(Urgency::Refresh, Freshness::Live, Duration::from_secs(30))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_limit_are_under_way() {
        let governor = governor();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let calls = (0..50).map(|_| {
            let cx = look(&governor);
            let (now, most) = (&now, &most);
            async move {
                cx.call(DESCRIBE, READS, async {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                })
                .await
            }
        });
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(most.into_inner(), lane::MAX_IN_FLIGHT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_pause_is_said_and_not_waited_for() {
        let governor = governor();
        let limited = Kind::RateLimited { retry_after: Some(Duration::from_secs(20)) };
        let refused = async { Err::<(), _>(CloudError::new(limited, "slow down")) };
        look(&governor).call(DESCRIBE, READS, refused).await.unwrap_err();

        let sent = AtomicUsize::new(0);
        let request = async {
            sent.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let err = look(&governor).call(DESCRIBE, READS, request).await.unwrap_err();
        assert_eq!(err.kind(), Kind::RateLimited { retry_after: Some(Duration::from_secs(20)) });
        assert_eq!(sent.into_inner(), 0);

        tokio::time::sleep(Duration::from_secs(20)).await;
        look(&governor).call(DESCRIBE, READS, async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_behind_others_while_the_cloud_complains_is_said() {
        let governor = governor();
        let limited = Kind::RateLimited { retry_after: Some(Duration::from_millis(500)) };
        let complain = || async { Err::<(), _>(CloudError::new(limited, "slow down")) };
        for _ in 0..8 {
            look(&governor).call(DESCRIBE, READS, complain()).await.unwrap_err();
        }
        let busy = async {
            loop {
                let cx =
                    governor.read(Urgency::Initialize, Freshness::Live, Duration::from_secs(30));
                let _ = cx.call(DESCRIBE, READS, complain()).await;
            }
        };
        let cx = governor.read(Urgency::Drift, Freshness::Live, Duration::from_mins(5));
        let began = Instant::now();
        let err = tokio::select! {
            _ = busy => unreachable!("it never ends"),
            answer = cx.call(DESCRIBE, READS, async {
                Err::<(), _>(CloudError::new(limited, "slow down"))
            }) => answer.unwrap_err(),
        };
        assert!(matches!(err.kind(), Kind::RateLimited { .. }));
        assert!(began.elapsed() <= QUEUE_PATIENCE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_request_gives_its_permit_back() {
        let governor = governor();
        for _ in 0..lane::MAX_IN_FLIGHT * 2 {
            let hang = std::future::pending::<Result<(), CloudError>>();
            let (cx, patience) = (look(&governor), Duration::from_millis(1));
            let call = cx.call(DESCRIBE, READS, hang);
            tokio::time::timeout(patience, call).await.unwrap_err();
        }
        look(&governor).call(DESCRIBE, READS, async { Ok(()) }).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_cloud_is_unavailable_at_the_deadline() {
        let hang = std::future::pending::<Result<(), CloudError>>();
        let err = look(&governor()).call(DESCRIBE, READS, hang).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unavailable);
    }
}
