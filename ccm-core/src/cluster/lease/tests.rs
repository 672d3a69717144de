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
    candidate.acquire().await.unwrap();
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

/// An API server that knows nobody, but for the few requests that it is told to answer.
#[derive(Clone, Default)]
struct Stranger {
    answers: Arc<Mutex<u32>>,
}

impl Stranger {
    fn answer(&self, request: &Request<Body>) -> Result<Response<Body>, BoxError> {
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch"));
        let mut answers = self.answers.lock().unwrap();
        let (code, answer) = if *answers > 0 && !is_watch {
            *answers -= 1;
            let spec = json!({ "holderIdentity": "you", "leaseDurationSeconds": 3600 });
            (StatusCode::OK, json!({ "metadata": { "resourceVersion": "1" }, "spec": spec }))
        } else {
            let message = "Unauthorized";
            (
                StatusCode::UNAUTHORIZED,
                json!({ "status": "Failure", "message": message, "code": 401 }),
            )
        };
        let answer = serde_json::to_vec(&answer)?;
        Ok(Response::builder().status(code).body(Body::from(answer))?)
    }
}

/// As with a client certificate that has expired: no request of this process will ever be answered.
#[tokio::test(start_paused = true)]
async fn a_candidate_whom_nobody_knows_any_more_ends() {
    let server = Stranger::default();
    let election = elector(&Lossy::default()).election;
    let asked = server.clone();
    let answer = move |request| std::future::ready(asked.answer(&request));
    let client = Client::new(tower::service_fn(answer), "default");
    let mut candidate = Elector::new(client, election, GateKeeper::new());
    let start = Instant::now();
    let err = candidate.acquire().await.unwrap_err();
    assert!(start.elapsed() >= UNKNOWN_PATIENCE && start.elapsed() < UNKNOWN_PATIENCE * 2);
    assert!(err.to_string().contains("takes a restart"), "{err}");

    // An answer in between, and it counts from the beginning.
    candidate.unknown_since = Some(Instant::now());
    tokio::time::advance(UNKNOWN_PATIENCE / 2).await;
    *server.answers.lock().unwrap() = 1;
    let again = Instant::now();
    candidate.acquire().await.unwrap_err();
    assert!(again.elapsed() >= UNKNOWN_PATIENCE);
}

/// The lease is another's, who is dead.
#[tokio::test(start_paused = true)]
async fn what_was_observed_counts_when_the_lease_is_competed_for() {
    let server = Lossy::default();
    let dead = Election { identity: "dead".to_owned(), ..elector(&server).election };
    let mut lease = claimed(&dead, None, Timestamp::UNIX_EPOCH);
    lease.metadata.resource_version = Some("1".to_owned());
    *server.stored.lock().unwrap() = Some(lease);
    let mut candidate = elector(&server);
    let lease_duration = Timing::default().lease_duration();
    timeout(lease_duration, candidate.observe()).await.unwrap_err();
    assert_eq!(stored_holder(&server).as_deref(), Some("dead"), "observed, not claimed");
    let start = Instant::now();
    candidate.acquire().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
