//! A client whose mutations pass the gate.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;
use tower::{BoxError, Service};

use crate::cluster::gate::{Closed, Gate};

/// How long the API server has to answer a mutation, connecting and reading the answer included.
///
/// What was sent just before the lease was lost is over by then; the default lease leaves 5 s
/// between the gate's closing and another leader, and what arrives later is made harmless by its
/// preconditions. Ten seconds is a guess at what an API server under load still answers in.
pub const MUTATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A mutation had no answer in time. It may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no answer from the API server within {MUTATION_TIMEOUT:?}; the request may have taken effect"
)]
pub struct Unanswered;

/// Puts `gate` in front of everything `client` sends that is not a read.
pub(super) fn client(client: Client, gate: Gate) -> Client {
    let namespace = client.default_namespace().to_owned();
    Client::new(Gated { client, gate }, namespace)
}

#[derive(Clone)]
struct Gated {
    client: Client,
    gate: Gate,
}

impl Service<Request<Body>> for Gated {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, gate } = self.clone();
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            Box::pin(async move { Ok(client.send(request).await?) })
        } else {
            Box::pin(async move {
                timeout(MUTATION_TIMEOUT, mutate(&client, &gate, request))
                    .await
                    .unwrap_or_else(|_| Err(Unanswered.into()))
            })
        }
    }
}

/// Sends `request` and reads the answer to its end, so that the caller's time limit covers it all.
async fn mutate(
    client: &Client,
    gate: &Gate,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    // Looked at before each step towards sending, not once: between here and the wire the request
    // waits for a token, a connection or a stopped process to be woken, for any length of time.
    let mut sending = pin!(client.send(request));
    let answer = poll_fn(|ctx| match gate.check() {
        Ok(()) => sending.as_mut().poll(ctx).map_err(BoxError::from),
        Err(Closed) => Poll::Ready(Err(Closed.into())),
    })
    .await?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(head, Body::from(body.collect_bytes().await?)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use tokio::time::Instant;

    use super::*;
    use crate::cluster::client::{Reason, is_closed};

    /// An API server that answers at once, and then takes its time.
    #[derive(Clone, Copy)]
    enum Stuck {
        BeforeTheAnswer,
        InTheMiddleOfIt,
    }

    impl Service<Request<Body>> for Stuck {
        type Response = Response<axum::body::Body>;
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            match self {
                Self::BeforeTheAnswer => Box::pin(std::future::pending()),
                Self::InTheMiddleOfIt => Box::pin(async {
                    let body = stream::pending::<Result<&'static str, Infallible>>();
                    Ok(Response::new(axum::body::Body::from_stream(body)))
                }),
            }
        }
    }

    #[rstest::rstest]
    #[case(Stuck::BeforeTheAnswer)]
    #[case(Stuck::InTheMiddleOfIt)]
    #[tokio::test(start_paused = true)]
    async fn a_mutation_does_not_wait_for_ever(#[case] server: Stuck) {
        let client = client(Client::new(server, "default"), Gate::always_open());
        let start = Instant::now();
        let api = Api::<ConfigMap>::default_namespaced(client);
        let err = api.create(&PostParams::default(), &ConfigMap::default()).await.unwrap_err();
        assert_eq!(start.elapsed(), MUTATION_TIMEOUT);
        assert!(!is_closed(&err));
        assert!(Reason(&err).to_string().ends_with("the request may have taken effect"), "{err}");
    }
}
