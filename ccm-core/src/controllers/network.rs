//! The condition `NetworkUnavailable` of a Node, in which the controllers of routes and of pod ranges
//! say why its pods cannot be reached, and that they can.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::write::seconds;
use crate::cluster::keys;
use crate::cluster::node::{ConditionStatus, Node};

/// A strategic merge with just this condition: conditions merge by type, so other writers' stay. The
/// UID is a precondition: a Node that was made anew answers 422.
pub(super) fn patch(
    node: &Node,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Value {
    let mut entry = json!({
        "type": keys::NETWORK_UNAVAILABLE,
        "status": status.as_str(),
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": seconds(now),
    });
    // The time of the last transition stays where only the words change.
    if node.network_unavailable.as_ref().is_none_or(|before| before.status != status) {
        entry["lastTransitionTime"] = json!(seconds(now));
    }
    json!({"metadata": {"uid": node.uid.as_str()}, "status": {"conditions": [entry]}})
}
