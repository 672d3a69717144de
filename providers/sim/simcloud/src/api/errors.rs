//! What is answered when something goes wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// How long to wait before the next try. `Retry-After` says the same in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Everything that can go wrong; the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 401: no token, an unknown one, or a revoked one.
    Unauthenticated,
    /// 403: the token is good, and not for this.
    PermissionDenied,
    /// 404: the path is right, and there is no such thing.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 400: the message names the field. Also 413 for a body that is too large, and 404 for a path
    /// that does not exist: that is the caller's mistake and says nothing about any instance.
    InvalidArgument,
    /// 400: more IDs, names, instances or targets than one call may carry.
    BatchTooLarge,
    /// 409: the thing, or what it refers to, is in a state that does not allow this.
    Conflict,
    /// 403: the cloud gives no more of these.
    QuotaExceeded,
    /// 429: too many calls, come back later.
    Throttled,
    /// 503 or 504: the cloud cannot serve just now.
    Unavailable,
    /// Any other 5xx: the cloud is at fault.
    Internal,
}

impl ErrorCode {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidArgument => "invalid_argument",
            Self::BatchTooLarge => "batch_too_large",
            Self::Conflict => "conflict",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
