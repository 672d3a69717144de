//! The leave to call a cloud.
//!
//! A provider is lent a [`Read`] or a [`Write`] with each question and cannot keep it; a `Write` is
//! made by the framework's engine alone. Every HTTP request goes through [`Read::call`] or
//! [`Write::call`], so quotas, deadlines, metrics and the mutation gate hold for all providers
//! without their help.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, debug_span};

use super::error::{CloudError, Kind};

/// How long one request may take, once it is sent. Every cloud we know answers a describe call in
/// a few seconds, or not at all.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// After how long a request that is not answered gives its place to others.
///
/// Hardly any cloud takes as long when it is well; those that hang must not hold up everybody.
const OVERDUE: Duration = Duration::from_secs(2);

/// An API operation in the cloud's own spelling, e.g. `DescribeInstances`. A metric label: there
/// are as many as the source names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation(pub &'static str);

/// A quota that several operations share in the cloud. Operations of one bucket wait together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(pub &'static str);

/// Who goes first where the quota is short. The smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A node or a Service that cannot work yet.
    Initialize,
    /// Something works and is looked at because it is due, or because it changed.
    Refresh,
    /// Nothing is known to be wrong.
    Drift,
}

/// Whether an answer that the provider kept will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// A kept answer will do, if it is not older than this.
    Within(Duration),
    /// Ask the cloud.
    Live,
}

/// One request, as the conductor sees it.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What is called.
    pub operation: Operation,
    /// Which quota it uses.
    pub bucket: Bucket,
    /// Who goes first.
    pub urgency: Urgency,
    /// Whether it changes anything.
    pub mutates: bool,
    /// When the caller gives up.
    pub deadline: Instant,
}

/// Lets requests pass and learns from their outcome. Implemented by the framework's governor.
#[async_trait]
pub trait Conduct: fmt::Debug + Send + Sync {
    /// Waits until the request may be sent. An error means that it must not be, and was not.
    async fn admit(&self, request: &Request) -> Result<Box<dyn Admitted>, CloudError>;
}

/// A request under way. Dropping it without [`done`](Admitted::done) gives its permit back and
/// teaches nothing.
pub trait Admitted: Send {
    /// The answer is overdue: others may go meanwhile.
    fn overdue(&mut self);

    /// Says how the request ended; the permit is given back.
    fn done(self: Box<Self>, outcome: Result<(), &CloudError>);
}

/// Leave to look. It is lent for one question and cannot be kept.
#[derive(Debug)]
pub struct Read {
    conduct: Arc<dyn Conduct>,
    urgency: Urgency,
    freshness: Freshness,
    deadline: Instant,
}

impl Read {
    /// Made by the framework: vendors receive one, and tests get theirs from the governor.
    pub(crate) fn new(
        conduct: Arc<dyn Conduct>,
        urgency: Urgency,
        freshness: Freshness,
        deadline: Instant,
    ) -> Self {
        Self { conduct, urgency, freshness, deadline }
    }

    /// Whether a kept answer will do.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// When the asker gives up. A provider need not watch it: [`Read::call`] does.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Sends one HTTP request that changes nothing.
    ///
    /// Waits for the bucket, gives up at the deadline or after [`REQUEST_LIMIT`]
    /// ([`Kind::Unavailable`]) and teaches the governor what the answer says about the quota. The future should be one request: paging
    /// and batching call once for each page. Retries are the governor's and the controllers'
    /// business; a client's own are switched off.
    pub async fn call<T>(
        &self,
        operation: Operation,
        bucket: Bucket,
        request: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        self.send(operation, bucket, false, request).await
    }

    async fn send<T>(
        &self,
        operation: Operation,
        bucket: Bucket,
        mutates: bool,
        request: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        let deadline = self.deadline;
        let about = Request { operation, bucket, urgency: self.urgency, mutates, deadline };
        let mut admitted = self.conduct.admit(&about).await?;
        let limit = deadline.min(Instant::now() + REQUEST_LIMIT);
        let span = debug_span!("cloud_call", operation = operation.0, bucket = bucket.0);
        let answer = timeout_at(limit, request.instrument(span));
        tokio::pin!(answer);
        let answer = if let Ok(answer) = timeout(OVERDUE, &mut answer).await {
            answer
        } else {
            admitted.overdue();
            answer.await
        };
        let answer = answer.unwrap_or_else(|_| {
            let message = format!("the cloud did not answer {} in time", operation.0);
            Err(CloudError::new(Kind::Unavailable, message))
        });
        admitted.done(answer.as_ref().map(|_| ()));
        answer
    }
}

/// Leave to change something, while the lease is ours. Everything that is allowed with a [`Read`]
/// is allowed with it too.
///
/// Mutating methods of a provider's client take `&Write`, so that no plan can call them.
#[derive(Debug)]
pub struct Write {
    read: Read,
}

impl Write {
    /// Made by the framework alone, and only by the engine.
    pub(crate) fn new(read: Read) -> Self {
        Self { read }
    }

    /// Sends one HTTP request that may change something.
    ///
    /// As [`Read::call`], and refused with [`Kind::Stopped`] once the mutation gate is closed;
    /// the gate is looked at after the wait for the quota, right before the request is sent.
    pub async fn call<T>(
        &self,
        operation: Operation,
        bucket: Bucket,
        request: impl Future<Output = Result<T, CloudError>> + Send,
    ) -> Result<T, CloudError> {
        self.read.send(operation, bucket, true, request).await
    }
}

impl Deref for Write {
    type Target = Read;

    fn deref(&self) -> &Read {
        &self.read
    }
}
