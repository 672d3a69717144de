//! What can go wrong in a cloud, as far as anybody here acts on it.

use std::fmt;
use std::time::Duration;

/// An error of whatever kind, kept as the cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure, sorted by what is to be done about it.
///
/// The kind alone decides retry, event and condition; nobody compares texts or identities. A
/// provider folds its SDK's errors into this type in one place (`error.rs` of its crate), so that
/// one table test covers them.
///
/// The message is written for the person who reads it in an event: a sentence without a full
/// stop, without request IDs, never with a secret. The source is for the log.
#[derive(Debug)]
pub struct CloudError {
    kind: Kind,
    message: String,
    source: Option<BoxError>,
}

/// Who has to act, and when to try again. Closed: a new kind is a change of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The cloud says, on good authority, that there is no such thing. Never used for "the answer
    /// was empty and that is odd", and never leaves `describe`: there it is an observation.
    NotFound,
    /// What was asked for cannot be had as it is written: a bad annotation, a combination that
    /// the cloud refuses. The user acts.
    InvalidConfiguration,
    /// Our credentials are missing, expired or lack a right. The operator acts.
    PermissionDenied,
    /// The account's limit on some resource is reached. The operator acts, or something goes away.
    QuotaExceeded,
    /// The cloud asked us to slow down.
    RateLimited {
        /// How long it asked us to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// What we looked at has changed meanwhile: observe live and decide again.
    Conflict,
    /// The cloud did not answer, or answered that it cannot at the moment. The same request may
    /// have taken effect.
    Unavailable,
    /// This cloud, or this plan of it, does not do that.
    Unsupported,
    /// A mistake of ours, or an answer that makes no sense.
    Internal,
    /// We may not write any more: the lease is lost, the process ends, or this is a dry run. Only
    /// the framework makes it; nothing was sent.
    Stopped,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Later, and later still each time.
    Backoff,
    /// Not before this much time has gone by.
    After(Duration),
    /// When the object changes, or at the slow tick that looks at everything.
    OnChange,
    /// Not by this process.
    Never,
}

impl Kind {
    /// Spelled out kind by kind, so that a new one cannot inherit an answer by accident.
    pub fn retry(self) -> Retry {
        match self {
            Self::RateLimited { retry_after: Some(wait) } => Retry::After(wait),
            Self::RateLimited { retry_after: None }
            | Self::NotFound
            | Self::PermissionDenied
            | Self::QuotaExceeded
            | Self::Conflict
            | Self::Unavailable
            | Self::Internal => Retry::Backoff,
            Self::InvalidConfiguration | Self::Unsupported => Retry::OnChange,
            Self::Stopped => Retry::Never,
        }
    }

    /// Whether it passes without anybody's doing, so that it is worth a word only when it lasts.
    pub fn passes(self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Conflict | Self::Unavailable | Self::Stopped => true,
            Self::NotFound
            | Self::InvalidConfiguration
            | Self::PermissionDenied
            | Self::QuotaExceeded
            | Self::Unsupported
            | Self::Internal => false,
        }
    }

    /// The word for it in conditions, events and metric labels.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::InvalidConfiguration => "InvalidConfiguration",
            Self::PermissionDenied => "PermissionDenied",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::RateLimited { .. } => "RateLimited",
            Self::Conflict => "Conflict",
            Self::Unavailable => "CloudUnavailable",
            Self::Unsupported => "Unsupported",
            Self::Internal => "InternalError",
            Self::Stopped => "Stopped",
        }
    }
}

impl CloudError {
    /// A failure of the given kind; see [`CloudError`] for how the message is written.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Keeps the cause, for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same failure for another of the objects that one call was about. The cause stays with
    /// the original: it is logged once.
    #[must_use]
    pub fn repeat(&self) -> Self {
        Self::new(self.kind, self.message.clone())
    }
}

/// What people are told; the cause is for the log.
impl PartialEq for CloudError {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.message) == (other.kind, &other.message)
    }
}

impl Eq for CloudError {}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CloudError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
