//! Fault scripts.

use serde::{Deserialize, Serialize};

use super::{Operation, OperationFilter, OperationShape, Timestamp};

/// A fault script: what goes wrong, for whom and for how long.
///
/// A call is struck by the first fault, in the order of their making, that fits and fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSpec {
    /// Operations that it strikes.
    pub operation: OperationFilter,
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it strikes.
    #[serde(rename = "for")]
    pub extent: FaultExtent,
    /// Strikes only this caller, as the call log names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Strikes only calls about the instance of this name or ID.
    ///
    /// A list is about every instance, a change of targets about those in it, and a route to be made or changed about its target. `cut_page` then leaves out only this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Strikes only calls about the piece that has this ID, this name, or this value of any tag, or
    /// the route with this destination; likewise calls about rules of this owner.
    ///
    /// A list that is not narrowed down to others is about every piece. `cut_page` then leaves out
    /// only this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl FaultSpec {
    /// Strikes every caller's calls of these operations until it is removed.
    pub fn always(operation: OperationFilter, kind: FaultKind) -> Self {
        let extent = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
        Self { operation, kind, extent, caller: None, instance: None, resource: None }
    }

    /// Strikes the next so many calls of these operations.
    pub fn next_calls(operation: OperationFilter, kind: FaultKind, calls: u64) -> Self {
        let extent = FaultExtent { calls: Some(calls), ..FaultExtent::default() };
        Self { operation, kind, extent, caller: None, instance: None, resource: None }
    }
}

/// When a fault strikes: all that is given must hold, and something other than `skip` must be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultExtent {
    /// Not the first so many of the calls that it fits; the caller, the operation and the thing
    /// decide which those are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<u64>,
    /// At most this many calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// This share of the calls, above 0 and up to 1, drawn with the cloud's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Only this long after its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_ms: Option<u64>,
}

/// What goes wrong. Written `"reset"`, or `{"slow": {"delay_ms": 500}}` where there is more to say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// 401, as if the token were revoked. Nothing is done.
    Unauthenticated,
    /// 403. Nothing is done.
    PermissionDenied,
    /// 404 to a direct question, as if there were nothing of this ID: an API that lies, because
    /// it is that of another region or project. Nothing is done.
    NotFound,
    /// 429. Nothing is done.
    Throttle {
        /// Said in `Retry-After`, in seconds rounded up; absent: no such header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A 5xx. Nothing is done.
    ServerError {
        /// 500 to 599.
        status: u16,
    },
    /// No answer while the fault stands. Removing it lets the call go on; at the end of the wait
    /// the connection is closed. Until then nothing is done.
    Hang {
        /// How long at most; 10 minutes when absent, and never more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_ms: Option<u64>,
    },
    /// The call is done and answered as ever, later.
    Slow {
        /// How much later; at most 10 minutes.
        delay_ms: u64,
        /// Only the answer is late: the call is done when it arrives, so that what a read answers
        /// may no longer be so, and a later call may be answered earlier.
        #[serde(default)]
        stale: bool,
    },
    /// A list or describe answer lacks things and looks complete.
    CutPage {
        /// Share of the answer that is left out, above 0 and up to 1, at least one thing.
        missing_share: f64,
    },
    /// A page of the list does not say that more follow.
    DropPageToken,
    /// A list or describe answer has nothing in it and looks complete.
    EmptyPage,
    /// The call is done, then the connection is closed without an answer.
    LoseResponse,
    /// The connection is closed. Nothing is done.
    Reset,
    /// The call is done and answered as ever, and what it makes ends as
    /// [`Failed`](super::PieceState::Failed) instead of ready.
    FailProvisioning,
}

impl FaultKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Throttle { .. } => "throttle",
            Self::ServerError { .. } => "server_error",
            Self::Hang { .. } => "hang",
            Self::Slow { .. } => "slow",
            Self::CutPage { .. } => "cut_page",
            Self::DropPageToken => "drop_page_token",
            Self::EmptyPage => "empty_page",
            Self::LoseResponse => "lose_response",
            Self::Reset => "reset",
            Self::FailProvisioning => "fail_provisioning",
        }
    }

    /// Whether the kind can strike this operation: pages are cut only where there are some, only a
    /// question about one thing can be told that there is none, and only load balancers and routes
    /// are made behind the caller's back, where it can fail.
    pub const fn applies_to(self, operation: Operation) -> bool {
        match self {
            Self::CutPage { .. } | Self::EmptyPage => {
                matches!(operation.shape(), OperationShape::Page | OperationShape::Many)
            }
            Self::DropPageToken => matches!(operation.shape(), OperationShape::Page),
            Self::NotFound => matches!(operation.shape(), OperationShape::One),
            Self::FailProvisioning => matches!(
                operation,
                Operation::CreateLoadBalancer | Operation::CreateRoute | Operation::CreateRoutes
            ),
            Self::Unauthenticated
            | Self::PermissionDenied
            | Self::Throttle { .. }
            | Self::ServerError { .. }
            | Self::Hang { .. }
            | Self::Slow { .. }
            | Self::LoseResponse
            | Self::Reset => true,
        }
    }
}

/// A fault script that the cloud has taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Its ID, for example `f-1`.
    pub id: String,
    /// The script.
    pub spec: FaultSpec,
    /// When it was taken.
    pub created_at: Timestamp,
    /// Calls that it has let pass because it skips them.
    #[serde(default)]
    pub skipped: u64,
    /// Calls that it has struck.
    pub uses: u64,
    /// Whether it can strike no more: its calls are used up or its period is over.
    pub spent: bool,
}

/// All faults, in the order of their making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// The faults, spent ones included.
    pub faults: Vec<Fault>,
}
