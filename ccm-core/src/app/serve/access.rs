//! The door: no request gets past it that may not.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::authentication::{Authenticator, Identity, Unknown};
use super::authorization::Authorizer;
use super::connections::{Shown, Stranger};
use super::review::{NoAnswer, PATIENCE};
use crate::telemetry::AccessMetrics;

/// How long a request may take in all: longer than the API server is asked at most, which is about the
/// token and about the right.
const REQUEST_TIMEOUT: Duration =
    PATIENCE.saturating_mul(2).saturating_add(Duration::from_secs(10));

/// Who may come in.
pub(super) struct Door {
    pub(super) authenticator: Authenticator,
    pub(super) authorizer: Authorizer,
    pub(super) metrics: AccessMetrics,
}

/// Why somebody may not.
enum Refusal {
    Unauthorized(String),
    Forbidden { who: Identity, reason: String },
    NoAnswer(NoAnswer),
}

/// Lets a request in, or answers it.
pub(super) async fn admit(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.method().as_str().to_ascii_lowercase();
    let path = request.uri().path().to_owned();
    let answer = async {
        // Before anything else: health waits for nobody, whatever credentials come along.
        if !door.authorizer.is_open(&path) {
            let shown = request.extensions().get::<Shown>().cloned().unwrap_or_default();
            match door.look(&shown, request.headers(), &method, &path).await {
                Ok(()) => {}
                Err(refusal) => return refusal.answer(&method, &path),
            }
        }
        request.headers_mut().remove(AUTHORIZATION);
        next.run(request).await
    };
    match timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "the request takes too long\n").into_response(),
    }
}

impl Door {
    async fn look(
        &self,
        shown: &Shown,
        headers: &HeaderMap,
        verb: &str,
        path: &str,
    ) -> Result<(), Refusal> {
        let begun = Instant::now();
        let who = self.authenticator.who(&shown.0, headers).await;
        let user = who.as_ref().map(|who| who.user.as_str()).map_err(drop);
        self.metrics.authenticated(user.ok(), begun.elapsed());
        let who = who.map_err(|unknown| match unknown {
            Unknown::Refused(why) => Refusal::Unauthorized(why),
            Unknown::NoAnswer(why) => Refusal::NoAnswer(why),
        })?;

        let begun = Instant::now();
        let verdict = self.authorizer.may(&who, verb, path).await;
        let result = match &verdict {
            Ok(verdict) if verdict.allowed => "allowed",
            // As upstream counts a no that is no veto.
            Ok(_) => "no-opinion",
            Err(_) => "error",
        };
        self.metrics.authorized(result, begun.elapsed());
        match verdict {
            Ok(verdict) if verdict.allowed => Ok(()),
            Ok(verdict) => Err(Refusal::Forbidden { who, reason: verdict.reason }),
            Err(why) => Err(Refusal::NoAnswer(why)),
        }
    }
}

impl Refusal {
    fn answer(self, verb: &str, path: &str) -> Response {
        match self {
            Self::Unauthorized(why) => {
                debug!(path, why, "credentials refused");
                let mut answer = status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
                answer.extensions_mut().insert(Stranger);
                answer
            }
            Self::Forbidden { who, reason } => {
                debug!(path, user = who.user, reason, "forbidden");
                let mut message =
                    sanitized(&format!("User {:?} cannot {verb} path {path:?}", who.user));
                if !reason.is_empty() {
                    message = format!("{message}: {reason}");
                }
                let mut answer =
                    status(StatusCode::FORBIDDEN, "Forbidden", &format!("forbidden: {message}"));
                if who.is_anonymous() {
                    answer.extensions_mut().insert(Stranger);
                }
                answer
            }
            Self::NoAnswer(why) => {
                warn!(path, error = %why, "request refused: nobody knows who may");
                // Who asks has not shown that he may know why.
                let text = sanitized(&format!(
                    "Internal Server Error: {path:?}: the API server cannot be asked\n"
                ));
                let kind = "text/plain; charset=utf-8";
                let head = [(CONTENT_TYPE, kind), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
                (StatusCode::INTERNAL_SERVER_ERROR, head, text).into_response()
            }
        }
    }
}

/// Upstream's, so that no browser takes it for HTML.
fn sanitized(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The object with which API servers refuse.
fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code.as_u16(),
    });
    if code == StatusCode::FORBIDDEN {
        status["details"] = json!({});
    }
    let head = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, head, format!("{status}\n")).into_response()
}
