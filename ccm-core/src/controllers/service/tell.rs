//! The words of the condition `ccm.rs/LoadBalancerReady`. Pure.

use super::decide::Event;
use crate::cloud::{IngressAddress, IngressPoint, Kind};
use crate::cluster::events::EventType;
use crate::cluster::node::ConditionStatus;
use crate::converge::{Cause, Progress, Trouble};
use crate::report::cut;

/// The longest message, in bytes, less what is said behind it. The API takes 32 KiB; nobody reads that.
const MOST_SAID: usize = 2048;

/// A failure that passes by itself is told of a load balancer that works when it has come so often.
const PATIENCE: u32 = 3;

/// Every reason of ours, for the metric.
pub const REASONS: [&str; 12] = [
    "Ready",
    "Provisioning",
    "Deleting",
    "InvalidSpec",
    "Throttled",
    "PermissionDenied",
    "QuotaExceeded",
    "CloudUnavailable",
    "Unsupported",
    "Conflict",
    "NotFound",
    "InternalError",
];

/// What is said in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `status`.
    pub status: ConditionStatus,
    /// `reason`.
    pub reason: &'static str,
    /// `message`.
    pub message: String,
    /// Whether it is tried again by itself: then new words for the same reason are not worth a write
    /// each.
    pub passes: bool,
    /// What is said in an event too.
    pub event: Option<Event>,
}

/// Work has begun.
pub fn begun() -> Told {
    progressing("Provisioning", "the load balancer is being set up")
}

/// What a user got wrong.
pub fn unreadable(sentences: &[String]) -> Told {
    let message = cut(sentences.join("; "), MOST_SAID);
    let event = Event {
        kind: EventType::Warning,
        reason: "SyncLoadBalancerFailed",
        message: format!("Error syncing load balancer: {message}"),
    };
    let message =
        format!("{message}; what the load balancer has stays until the Service is changed");
    Told {
        status: ConditionStatus::False,
        reason: "InvalidSpec",
        message,
        passes: false,
        event: Some(event),
    }
}

/// How far a load balancer is that is kept up. `None`: what is said holds until more is known.
pub fn present(progress: &Progress, is_ready: bool) -> Option<Told> {
    if let Some(trouble) = &progress.trouble {
        let may_wait = trouble.error.kind().passes() && trouble.was_done && is_ready;
        if trouble.error.kind() == Kind::Stopped || may_wait && trouble.failures < PATIENCE {
            return None;
        }
        return Some(troubled(trouble));
    }
    if progress.is_done {
        let addresses: Vec<_> =
            progress.ingress().unwrap_or_default().iter().map(address).collect();
        let message = if addresses.is_empty() {
            "the load balancer is as the Service asks".to_owned()
        } else {
            let addresses = cut(addresses.join(", "), MOST_SAID);
            format!("the load balancer is as the Service asks, at {addresses}")
        };
        let (status, reason) = (ConditionStatus::True, "Ready");
        return Some(Told { status, reason, message, passes: false, event: None });
    }
    if progress.is_under_way {
        // It began with "being set up"; a change of nodes, or a repair, is not worth a word.
        return None;
    }
    let what = progress.waits_for()?;
    Some(progressing("Provisioning", &format!("not done yet: {what}")))
}

/// How far a load balancer is that is taken down.
pub fn absent(progress: &Progress) -> Told {
    match &progress.trouble {
        Some(trouble) if trouble.error.kind() != Kind::Stopped => troubled(trouble),
        _ => {
            let message = match progress.waits_for() {
                Some(what) if !progress.is_under_way => {
                    format!("the load balancer is being deleted: {what}")
                }
                _ => "the load balancer is being deleted".to_owned(),
            };
            progressing("Deleting", &message)
        }
    }
}

fn progressing(reason: &'static str, message: &str) -> Told {
    let (status, message) = (ConditionStatus::False, cut(message.to_owned(), MOST_SAID));
    Told { status, reason, message, passes: true, event: None }
}

fn troubled(trouble: &Trouble) -> Told {
    let kind = trouble.error.kind();
    let message = cut(trouble.error.message().to_owned(), MOST_SAID);
    let reason = if trouble.cause == Cause::Nodes && trouble.was_done {
        "UpdateLoadBalancerFailed"
    } else {
        "SyncLoadBalancerFailed"
    };
    let event = Event {
        kind: EventType::Warning,
        reason,
        message: format!("Error syncing load balancer: {message}"),
    };
    Told {
        status: ConditionStatus::False,
        reason: word(kind),
        message: format!("{message}; {}", who_acts(kind)),
        // What its owner got wrong is told in each new form; the rest is tried again all the time.
        passes: !matches!(kind, Kind::InvalidConfiguration | Kind::Unsupported),
        event: Some(event),
    }
}

/// The condition's reason for a failure.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidConfiguration => "InvalidSpec",
        Kind::RateLimited { .. } => "Throttled",
        _ => kind.reason(),
    }
}

fn who_acts(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidConfiguration | Kind::Unsupported => {
            "what the load balancer has stays; it is tried again when the Service is changed"
        }
        Kind::PermissionDenied => {
            "the cloud-controller-manager's credentials need this right; it is tried again"
        }
        Kind::QuotaExceeded => {
            "the account's quota has to be raised, or something be deleted; it is tried again"
        }
        Kind::RateLimited { .. } => "it is tried again when the cloud's rate limit allows",
        Kind::NotFound | Kind::Conflict | Kind::Unavailable | Kind::Internal | Kind::Stopped => {
            "it is tried again"
        }
    }
}

fn address(point: &IngressPoint) -> String {
    match &point.address {
        IngressAddress::Ip(ip) => ip.to_string(),
        IngressAddress::Hostname(name) => name.clone(),
    }
}
