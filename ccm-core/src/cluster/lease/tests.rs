use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;
use tower::{BoxError, Service};

use super::*;

/// An API server whose network loses the answer to a creation, which it carries out.
#[derive(Clone, Default)]
struct Lossy {
    stored: Arc<Mutex<Option<Lease>>>,
}

impl Service<Request<Body>> for Lossy {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let stored = Arc::clone(&self.stored);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            if head.method != Method::GET {
                let mut lease: Lease = serde_json::from_slice(&body.collect_bytes().await?)?;
                lease.metadata.resource_version = Some("1".to_owned());
                *stored.lock().unwrap() = Some(lease);
            }
            if head.method == Method::POST {
                return std::future::pending().await;
            }
            let (code, answer) = match &*stored.lock().unwrap() {
                Some(lease) => (StatusCode::OK, serde_json::to_vec(lease)?),
                None => (
                    StatusCode::NOT_FOUND,
                    serde_json::to_vec(&json!({
                        "kind": "Status", "status": "Failure", "message": "not found",
                        "reason": "NotFound", "code": 404,
                    }))?,
                ),
            };
            Ok(Response::builder().status(code).body(Body::from(answer))?)
        })
    }
}

fn elector(server: &Lossy) -> Elector {
    let election = Election {
        namespace: "kube-system".to_owned(),
        name: "cloud-controller-manager".to_owned(),
        identity: "me".to_owned(),
        timing: Timing::default(),
    };
    Elector::new(Client::new(server.clone(), "default"), election, GateKeeper::new())
}

fn stored_holder(server: &Lossy) -> Option<String> {
    server.stored.lock().unwrap().as_ref()?.spec.as_ref()?.holder_identity.clone()
}

/// Otherwise the next leader would wait for a process that never led.
#[tokio::test(start_paused = true)]
async fn a_candidate_that_stops_gives_back_what_it_may_have_got() {
    let server = Lossy::default();
    let mut candidate = elector(&server);
    timeout(Duration::from_secs(1), candidate.acquire()).await.unwrap_err();
    assert_eq!(stored_holder(&server).as_deref(), Some("me"));
    assert!(!candidate.health().is_leader());

    candidate.release().await.unwrap();
    assert_eq!(stored_holder(&server).as_deref(), Some(""));
}

/// The answer was lost, so the gate must count from a renewal whose answer was not.
#[tokio::test(start_paused = true)]
async fn a_claim_without_an_answer_is_renewed_before_it_counts() {
    let server = Lossy::default();
    let mut candidate = elector(&server);
    let gate = candidate.keeper.gate();
    let start = Instant::now();
    candidate.acquire().await;
    let sent = candidate.health().last_renewed().unwrap() - start;
    assert!(sent >= Timing::default().request_timeout(), "{sent:?}");
    assert_eq!(gate.remaining(), Some(Timing::default().renew_deadline()));
}

#[tokio::test(start_paused = true)]
async fn one_who_never_asked_gives_nothing_back() {
    let server = Lossy::default();
    elector(&server).release().await.unwrap();
    assert_eq!(stored_holder(&server), None);
}
