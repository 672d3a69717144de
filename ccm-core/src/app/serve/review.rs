//! The API server's word on whose a token is and what somebody may do.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{AcquireError, Semaphore};
use tokio::time::timeout;
use tracing::debug;

use super::authentication::Identity;
use crate::cluster::client::Reason;

/// How long the API server may take for an answer, as upstream.
pub const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take in all, with the wait for its turn and all tries.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// Questions of one kind on their way at once. Upstream asks 200 a second at most; those who come with
/// made-up tokens must not keep the API server busy. A guess.
const AT_ONCE: usize = 16;

/// Questions of one kind that are not answered yet; whoever comes then hears so at once, and fills no
/// memory. A guess: by far more than there are scrapers.
const WAITING: usize = 256;

/// Upstream's back-off: five tries, after 0.5 s and then 1.5 times as long each time. The jitter
/// there is a fifth; here it is up to the pause itself, which helps no less.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_factor(1.5)
    .with_max_times(4)
    .with_jitter();

/// Somebody who knows whose a token is and what somebody may do.
#[async_trait]
pub trait Reviewer: Send + Sync + 'static {
    /// Whose this token is, if it is anybody's.
    async fn token(&self, token: &str) -> Result<Option<Identity>, NoAnswer>;

    /// Whether `who` may `verb` (an HTTP method in lower case) this path.
    async fn access(&self, who: &Identity, verb: &str, path: &str) -> Result<Verdict, NoAnswer>;
}

/// Whether somebody may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether he may.
    pub allowed: bool,
    /// Why, if that is said.
    pub reason: String,
}

/// Nobody could be asked, so nothing is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the API server has not answered: {0}")]
pub struct NoAnswer(pub String);

/// The API server.
pub(in crate::app) struct ApiServer {
    tokens: Desk<TokenReview>,
    accesses: Desk<SubjectAccessReview>,
}

/// Where questions of one kind are asked.
struct Desk<K> {
    api: Api<K>,
    turns: Semaphore,
    places: Semaphore,
}

impl ApiServer {
    /// Clients that neither retry nor wait for ever by themselves.
    pub(in crate::app) fn new(authentication: Client, authorization: Client) -> Self {
        Self {
            tokens: Desk::new(Api::all(authentication)),
            accesses: Desk::new(Api::all(authorization)),
        }
    }
}

impl<K: Clone + DeserializeOwned + Serialize + fmt::Debug> Desk<K> {
    fn new(api: Api<K>) -> Self {
        Self { api, turns: Semaphore::new(AT_ONCE), places: Semaphore::new(WAITING) }
    }

    async fn ask(&self, question: &K) -> Result<K, NoAnswer> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(NoAnswer("too many others wait for it".to_owned()));
        };
        let tries = (|| self.once(question))
            .retry(RETRY)
            .when(|failed: &Failed| failed.may_pass)
            .notify(|failed, pause| debug!(error = failed.text, ?pause, "asking again"));
        match timeout(PATIENCE, tries).await {
            Ok(answer) => answer.map_err(|failed| NoAnswer(failed.text)),
            Err(_) => Err(NoAnswer(format!("nor within {PATIENCE:?}"))),
        }
    }

    /// Has a turn for this one try: who pauses keeps nobody waiting.
    async fn once(&self, question: &K) -> Result<K, Failed> {
        let closed = |err: AcquireError| Failed { text: err.to_string(), may_pass: false };
        let _turn = self.turns.acquire().await.map_err(closed)?;
        timeout(REVIEW_TIMEOUT, self.api.create(&PostParams::default(), question))
            .await
            .map_err(|_| Failed { text: "it takes too long".to_owned(), may_pass: true })?
            .map_err(|err| Failed { may_pass: may_pass(&err), text: Reason(&err).to_string() })
    }
}

struct Failed {
    text: String,
    may_pass: bool,
}

/// Whether another try may help. A refusal stands.
fn may_pass(err: &kube::Error) -> bool {
    match err {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

#[async_trait]
impl Reviewer for ApiServer {
    async fn token(&self, token: &str) -> Result<Option<Identity>, NoAnswer> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let Some(status) = self.tokens.ask(&review).await?.status else {
            return Err(NoAnswer("its answer has no status".to_owned()));
        };
        if status.authenticated != Some(true) {
            debug!(why = status.error, "token refused");
            return Ok(None);
        }
        let user = status.user.unwrap_or_default();
        Ok(Some(Identity {
            user: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default().into_iter().collect(),
        }))
    }

    async fn access(&self, who: &Identity, verb: &str, path: &str) -> Result<Verdict, NoAnswer> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let extra: BTreeMap<_, _> = who.extra.clone().into_iter().collect();
        let spec = SubjectAccessReviewSpec {
            user: some(&who.user),
            uid: some(&who.uid),
            groups: Some(who.groups.clone()),
            extra: Some(extra),
            non_resource_attributes: Some(NonResourceAttributes {
                path: Some(path.to_owned()),
                verb: Some(verb.to_owned()),
            }),
            resource_attributes: None,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let Some(status) = self.accesses.ask(&review).await?.status else {
            return Err(NoAnswer("its answer has no status".to_owned()));
        };
        let is_denied = status.denied == Some(true);
        if status.allowed && is_denied {
            return Err(NoAnswer("it says both yes and no".to_owned()));
        }
        if let Some(error) = status.evaluation_error {
            debug!(user = who.user, path, error, "rights could not all be looked at");
        }
        Ok(Verdict { allowed: status.allowed, reason: status.reason.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response};
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::*;

    /// Answers, in this order, with these statuses and bodies; then not at all.
    fn api_server(answers: Vec<(u16, Value)>) -> (Arc<ApiServer>, Arc<Mutex<Vec<Value>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, answers) = (Arc::clone(&asked), Mutex::new(answers.into_iter()));
        let answers = Arc::new(answers);
        let client = tower::service_fn(move |request: Request<Body>| {
            let (heard, answers) = (Arc::clone(&heard), Arc::clone(&answers));
            async move {
                let body = axum::body::Body::new(request.into_body());
                let question = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                heard.lock().unwrap().push(serde_json::from_slice(&question).unwrap());
                let next = answers.lock().unwrap().next();
                let Some((code, body)) = next else { return std::future::pending().await };
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let client = Client::new(client, "default");
        (Arc::new(ApiServer::new(client.clone(), client)), asked)
    }

    fn refusal(code: u16) -> (u16, Value) {
        let body = json!({"kind": "Status", "status": "Failure", "message": "no", "code": code});
        (code, body)
    }

    fn verdict(status: &Value) -> (u16, Value) {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {},
            "status": status,
        });
        (201, body)
    }

    fn jane() -> Identity {
        Identity {
            user: "jane".to_owned(),
            uid: "u1".to_owned(),
            groups: vec!["g1".to_owned(), "g2".to_owned()],
            extra: [("e".to_owned(), vec!["v1".to_owned(), "v2".to_owned()])].into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_is_known_of_somebody_is_asked_about() {
        let (api, asked) = api_server(vec![verdict(&json!({"allowed": true, "reason": "so"}))]);
        let answer = api.access(&jane(), "get", "/metrics").await;
        assert_eq!(answer, Ok(Verdict { allowed: true, reason: "so".to_owned() }));
        let asked = asked.lock().unwrap().clone();
        let want = json!({
            "user": "jane",
            "uid": "u1",
            "groups": ["g1", "g2"],
            "extra": {"e": ["v1", "v2"]},
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        });
        assert_eq!(asked[0]["spec"], want);
    }

    #[rstest]
    #[case::a_server_that_is_overloaded(429, 5)]
    #[case::a_server_that_stops(503, 5)]
    #[case::a_right_that_is_missing(403, 1)]
    #[case::a_bad_question(400, 1)]
    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_asked_again(#[case] code: u16, #[case] tries: usize) {
        let (api, asked) = api_server(vec![refusal(code); 9]);
        api.token("t").await.unwrap_err();
        assert_eq!(asked.lock().unwrap().len(), tries);
    }

    #[rstest]
    #[case::both(json!({"allowed": true, "denied": true}), None)]
    #[case::neither(json!({"allowed": false}), Some(false))]
    #[case::none(Value::Null, None)]
    #[tokio::test(start_paused = true)]
    async fn what_is_no_clear_yes_is_none(#[case] status: Value, #[case] want: Option<bool>) {
        let (api, _) = api_server(vec![verdict(&status)]);
        let answer = api.access(&jane(), "get", "/metrics").await.ok();
        assert_eq!(answer.map(|verdict| verdict.allowed), want);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_and_not_too_many_do() {
        let (api, asked) = api_server(Vec::new());
        let start = Instant::now();
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..=WAITING {
            let api = Arc::clone(&api);
            waiting.spawn(async move {
                let answer = api.token(&number.to_string()).await;
                (answer, start.elapsed())
            });
        }
        let (answer, after) = waiting.join_next().await.unwrap().unwrap();
        answer.unwrap_err();
        assert_eq!(after, Duration::ZERO, "one too many");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(asked.lock().unwrap().len(), AT_ONCE);
        while let Some(ended) = waiting.join_next().await {
            let (answer, after) = ended.unwrap();
            answer.unwrap_err();
            assert!(after <= PATIENCE, "{after:?}");
        }
    }
}
