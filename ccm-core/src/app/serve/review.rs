//! The API server's word on whose a token is and what somebody may do.

use std::collections::BTreeMap;
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
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use super::authentication::Identity;
use crate::cluster::client::Reason;

/// How long the API server may take for an answer, as upstream.
pub const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Questions on their way at once. Upstream asks 200 a second at most; those who come with made-up
/// tokens must not keep the API server busy, nor fill our memory. A guess.
const AT_ONCE: usize = 32;

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
    tokens: Api<TokenReview>,
    accesses: Api<SubjectAccessReview>,
    turns: Semaphore,
}

impl ApiServer {
    /// Clients that neither retry nor wait for ever by themselves.
    pub(in crate::app) fn new(authentication: Client, authorization: Client) -> Self {
        Self {
            tokens: Api::all(authentication),
            accesses: Api::all(authorization),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    async fn ask<K>(&self, api: &Api<K>, question: &K) -> Result<K, NoAnswer>
    where
        K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    {
        let _turn = self.turns.acquire().await.map_err(|err| NoAnswer(err.to_string()))?;
        let once = || async {
            timeout(REVIEW_TIMEOUT, api.create(&PostParams::default(), question))
                .await
                .map_err(|_| Failed { text: "it takes too long".to_owned(), may_pass: true })?
                .map_err(|err| Failed { may_pass: may_pass(&err), text: Reason(&err).to_string() })
        };
        once.retry(RETRY)
            .when(|failed: &Failed| failed.may_pass)
            .notify(|failed, pause| debug!(error = failed.text, ?pause, "asking again"))
            .await
            .map_err(|failed| NoAnswer(failed.text))
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
        let Some(status) = self.ask(&self.tokens, &review).await?.status else {
            return Err(NoAnswer("its answer has no status".to_owned()));
        };
        if status.authenticated != Some(true) {
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
        let Some(status) = self.ask(&self.accesses, &review).await?.status else {
            return Err(NoAnswer("its answer has no status".to_owned()));
        };
        let is_denied = status.denied == Some(true);
        if status.allowed && is_denied {
            return Err(NoAnswer("it says both yes and no".to_owned()));
        }
        Ok(Verdict { allowed: status.allowed, reason: status.reason.unwrap_or_default() })
    }
}
