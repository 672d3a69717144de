//! Answers that are not a success, and how the cloud's refusals become such.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::api::{ErrorBody, ErrorCode, ErrorDetail};
use crate::faults::BadFault;
use crate::state::Refusal;

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    code: ErrorCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Problem {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(crate) fn unauthenticated() -> Self {
        let message = "the call has no token, an unknown one or a revoked one";
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message)
    }

    pub(crate) fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorCode::PermissionDenied, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    /// Not `not_found`: a caller that mistypes a path must not take an instance for gone.
    pub(crate) fn unknown_path() -> Self {
        let message = "there is nothing at this path";
        Self::new(StatusCode::NOT_FOUND, ErrorCode::InvalidArgument, message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the path does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::MethodNotAllowed, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::InvalidArgument, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorCode::Conflict, message)
    }

    pub(crate) fn throttled(retry_after: Option<Duration>) -> Self {
        let message = "too many calls";
        let throttled = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::Throttled, message);
        Self { retry_after, ..throttled }
    }

    /// A 5xx; anything else becomes a 500.
    pub(crate) fn server_error(status: u16, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(StatusCode::is_server_error)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => ErrorCode::Unavailable,
            _ => ErrorCode::Internal,
        };
        Self::new(status, code, message)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::NotFound { .. } => Self::not_found(message),
            Refusal::Conflict(_) => Self::conflict(message),
            Refusal::Invalid { .. } => Self::invalid(message),
            Refusal::BatchTooLarge { .. } => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::BatchTooLarge, message)
            }
            Refusal::QuotaExceeded { .. } => {
                Self::new(StatusCode::FORBIDDEN, ErrorCode::QuotaExceeded, message)
            }
        }
    }
}

impl From<BadFault> for Problem {
    fn from(bad: BadFault) -> Self {
        Self::invalid(bad.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // Never sooner than asked, even where only whole seconds are understood.
        let retry_after_ms = self.retry_after.map(|wait| millis(wait + Duration::from_micros(999)));
        let error = ErrorDetail { code: self.code, message: self.message, retry_after_ms };
        let mut response = (self.status, Json(ErrorBody { error })).into_response();
        if let Some(wait) = retry_after_ms {
            let seconds = HeaderValue::from(wait.div_ceil(1_000));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Reads a JSON body, whatever its content type says. The message names the field at fault.
pub(crate) fn json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let body = body.map_err(|rejection| {
        let status = rejection.status();
        Problem::new(status, ErrorCode::InvalidArgument, rejection.body_text())
    })?;
    match Json::from_bytes(&body) {
        Ok(Json(value)) => Ok(value),
        Err(rejection) => Err(Problem::invalid(rejection.body_text())),
    }
}
