//! Counts what is asked of the API server.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::telemetry::ApiMetrics;

/// Puts the counting outside of everything but pace and retries: each try is a request.
#[derive(Clone, Debug)]
pub(super) struct Counting {
    pub(super) metrics: ApiMetrics,
    /// Of the API server, with its port: requests do not say it yet.
    pub(super) host: Arc<str>,
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { counting: self.clone(), inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    counting: Counting,
    inner: S,
}

impl<S, In, Out> Service<Request<In>> for Counted<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Out>, S::Error>>;

    fn poll_ready(&mut self, ctx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(ctx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let counting = self.counting.clone();
        let method = request.method().clone();
        let mut sent = Sent { counting, method, begun: Instant::now(), status: None };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            sent.answered(answer.as_ref().ok().map(Response::status));
            answer
        })
    }
}

/// A request, which counts when it ends: also when nobody waits for its answer any more.
struct Sent {
    counting: Counting,
    method: Method,
    begun: Instant,
    status: Option<StatusCode>,
}

impl Sent {
    fn answered(&mut self, status: Option<StatusCode>) {
        self.status = status;
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Counting { metrics, host } = &self.counting;
        metrics.request(&self.method, host, self.status, self.begun.elapsed());
    }
}
