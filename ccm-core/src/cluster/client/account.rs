//! `--use-service-account-credentials`: each controller writes as a service account of its own,
//! whose tokens are asked for with the process's own credentials.
//!
//! Life and renewal of the tokens are upstream's:
//! <https://github.com/kubernetes/controller-manager/blob/master/pkg/clientbuilder/client_builder_dynamic.go>

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::{HeaderValue, Request, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{ObjectMeta, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::{BoxError, service_fn};
use tracing::{info, warn};

use super::Reason;
use crate::cluster::keys::controller;

/// Where the accounts are.
pub(super) const NAMESPACE: &str = "kube-system";

/// The account of a controller, by its canonical name: upstream's, where the API server has a role for
/// it, which two share.
pub fn of(name: &str) -> &'static str {
    match name {
        controller::SERVICE => "service-controller",
        controller::ROUTE => "route-controller",
        controller::VOLUME => "volume-controller",
        controller::NODE_IPAM => "node-ipam-controller",
        _ => "node-controller",
    }
}

/// How long a token is asked to live.
const LIFE: Duration = Duration::from_hours(1);

/// The share of its life after which a token is replaced.
const RENEWED_AFTER: f64 = 0.8;

/// After a renewal that failed, while the old token still holds.
const AGAIN: Duration = Duration::from_secs(30);

/// Pauses between tries while there is no token: 0.5 s, 1 s, 2 s.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default().with_min_delay(Duration::from_millis(500)).with_max_times(3)
}

/// Has what `client`, which has no credentials, sends bear the tokens of the service account `name`.
/// They are asked for by `asker`.
pub(super) fn client(client: Client, asker: Client, name: &str) -> Client {
    let namespace = client.default_namespace().to_owned();
    let account = Arc::new(Account::new(asker, name));
    let bearing = service_fn(move |mut request: Request<Body>| {
        let (client, account) = (client.clone(), Arc::clone(&account));
        async move {
            let header = account.header().await?;
            request.headers_mut().insert(header::AUTHORIZATION, header.clone());
            let answer = client.send(request).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                account.forget(&header).await;
            }
            Ok::<_, BoxError>(answer)
        }
    });
    Client::new(bearing, namespace)
}

struct Account {
    name: String,
    accounts: Api<ServiceAccount>,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew: Instant,
    end: Instant,
}

impl Account {
    fn new(asker: Client, name: &str) -> Self {
        let accounts = Api::namespaced(asker, NAMESPACE);
        Self { name: name.to_owned(), accounts, token: Mutex::new(None) }
    }

    /// The token, got anew where it is old. All who ask meanwhile wait for the one request.
    async fn header(&self) -> Result<HeaderValue, BoxError> {
        let mut token = self.token.lock().await;
        let now = Instant::now();
        let old = match &*token {
            Some(held) if now < held.renew => return Ok(held.header.clone()),
            held => held.clone().filter(|held| now < held.end),
        };
        let got = match &old {
            Some(_) => self.ask().await,
            None => (|| self.ask()).retry(pauses()).await,
        };
        match (got, old) {
            (Ok(got), _) => Ok(token.insert(got).header.clone()),
            (Err(err), Some(old)) => {
                let (account, error) = (&self.name, Reason(&err));
                warn!(account, %error, "its token cannot be renewed yet");
                let old = token.insert(Token { renew: now + AGAIN, ..old });
                Ok(old.header.clone())
            }
            (Err(err), None) => {
                let problem = format!(
                    "no token of service account {NAMESPACE}/{} (--use-service-account-credentials): {}",
                    self.name,
                    Reason(&err)
                );
                Err(problem.into())
            }
        }
    }

    /// Drops the token that the API server did not know (any more): its account was made anew, or the
    /// keys of the cluster were. One that another request got meanwhile stays.
    async fn forget(&self, refused: &HeaderValue) {
        let mut token = self.token.lock().await;
        if token.take_if(|held| held.header == *refused).is_some() {
            info!(account = self.name, "its token is refused, another is asked for");
        }
    }

    async fn ask(&self) -> Result<Token, kube::Error> {
        let expiration_seconds = Some(LIFE.as_secs().cast_signed());
        let spec = TokenRequestSpec { expiration_seconds, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let params = PostParams::default();
        let ask = || self.accounts.create_token_request(&self.name, &params, &request);
        let answer = match ask().await {
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND => {
                self.make().await?;
                ask().await?
            }
            answer => answer?,
        };
        let asked = Instant::now();
        let empty = || kube::Error::Service("the API server gave no token".into());
        let status = answer.status.ok_or_else(empty)?;
        let mut header =
            HeaderValue::try_from(format!("Bearer {}", status.token)).map_err(|err| {
                kube::Error::Service(format!("the API server's token is none: {err}").into())
            })?;
        header.set_sensitive(true);
        // The API server may give it another life than was asked for. Its clock may differ from ours,
        // so that only the length of the life counts, and that not for less than upstream accepts.
        let life =
            status.expiration_timestamp.0.duration_since(k8s_openapi::jiff::Timestamp::now());
        let life =
            Duration::try_from(life).unwrap_or_default().clamp(Duration::from_mins(10), LIFE * 24);
        Ok(Token { header, renew: asked + life.mul_f64(RENEWED_AFTER), end: asked + life })
    }

    async fn make(&self) -> Result<(), kube::Error> {
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            ..ServiceAccount::default()
        };
        match self.accounts.create(&PostParams::default(), &account).await {
            Ok(_) => info!(account = self.name, namespace = NAMESPACE, "service account made"),
            // Another replica was quicker.
            Err(kube::Error::Api(status)) if status.code == StatusCode::CONFLICT => {}
            Err(err) => return Err(err),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as Lock;

    use http::Response;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that gives out the tokens `t1`, `t2` and so on, knows the last alone, and writes
    /// down what it is asked.
    #[derive(Clone, Default)]
    struct Server(Arc<Lock<Asked>>);

    #[derive(Default)]
    struct Asked {
        tokens: u32,
        /// How many of them are not known any more.
        revoked: u32,
        answers: Vec<String>,
    }

    impl Server {
        fn client(&self) -> Client {
            let server = self.clone();
            let answer = move |request: Request<Body>| {
                let (status, body) = server.answer(&request);
                let answer = Response::builder().status(status);
                let body = axum::body::Body::from(body.to_string());
                async move { answer.body(body) }
            };
            Client::new(service_fn(answer), "default")
        }

        fn answer(&self, request: &Request<Body>) -> (StatusCode, Value) {
            let mut asked = self.0.lock().unwrap();
            if request.uri().path().ends_with("/token") {
                asked.tokens += 1;
                let status = json!({
                    "token": format!("t{}", asked.tokens),
                    "expirationTimestamp": "2999-01-01T00:00:00Z",
                });
                return (
                    StatusCode::CREATED,
                    json!({ "metadata": {}, "spec": { "audiences": [] }, "status": status }),
                );
            }
            let shown = request.headers()[header::AUTHORIZATION].to_str().unwrap().to_owned();
            let is_known = !(1..=asked.revoked).any(|old| shown == format!("Bearer t{old}"));
            asked.answers.push(format!("{shown}: {is_known}"));
            if is_known {
                (StatusCode::OK, json!({ "metadata": { "name": "a" } }))
            } else {
                let status = json!({ "status": "Failure", "message": "Unauthorized", "code": 401 });
                (StatusCode::UNAUTHORIZED, status)
            }
        }
    }

    #[tokio::test]
    async fn a_token_that_is_refused_is_asked_for_anew() {
        let server = Server::default();
        let api = Api::<ConfigMap>::default_namespaced(client(
            server.client(),
            server.client(),
            "node-controller",
        ));
        api.get("a").await.unwrap();
        server.0.lock().unwrap().revoked = 1;
        api.get("a").await.unwrap_err();
        api.get("a").await.unwrap();
        api.get("a").await.unwrap();
        let want = ["Bearer t1: true", "Bearer t1: false", "Bearer t2: true", "Bearer t2: true"];
        assert_eq!(server.0.lock().unwrap().answers, want);
    }

    #[tokio::test]
    async fn a_late_refusal_of_the_old_token_leaves_the_new_one() {
        let server = Server::default();
        let account = Account::new(server.client(), "node-controller");
        let old = account.header().await.unwrap();
        account.forget(&old).await;
        let new = account.header().await.unwrap();
        account.forget(&old).await;
        assert_eq!(account.header().await.unwrap(), new);
    }
}
