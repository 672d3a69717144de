//! Carries a decision out: one patch of the status, no read. Decides nothing.

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::decide::Told;
use crate::cluster::keys;
use crate::cluster::node::{Node, Version};
use crate::controllers::write::{self, seconds};

/// Writes the condition. Gives the Node's new version.
pub(super) async fn write(
    client: &Client,
    node: &Node,
    told: &Told,
    now: Timestamp,
) -> kube::Result<Version> {
    let patch = status_patch(node, told, now);
    write::patch_status(client, write::NODES, node.name.as_str(), patch).await
}

/// A strategic merge: conditions merge by type, so other writers' stay. The UID is a precondition: a
/// Node that was made anew answers 422.
pub(super) fn status_patch(node: &Node, told: &Told, now: Timestamp) -> Value {
    let mut entry = json!({
        "type": keys::NETWORK_UNAVAILABLE,
        "status": told.status.as_str(),
        "reason": told.reason,
        "message": told.message,
        "lastHeartbeatTime": seconds(now),
    });
    // The time of the last transition stays where only the words change.
    if node.network_unavailable.as_ref().is_none_or(|before| before.status != told.status) {
        entry["lastTransitionTime"] = json!(seconds(now));
    }
    json!({"metadata": {"uid": node.uid.as_str()}, "status": {"conditions": [entry]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::{Condition, ConditionStatus};
    use crate::controllers::node::decide::tests::new_node;

    #[test]
    fn the_condition_alone_is_written_and_keeps_its_time_where_its_status_stays() {
        let told = Told {
            status: ConditionStatus::True,
            reason: "NoRouteCreated",
            message: "m".to_owned(),
            passes: false,
            state: "x",
            is_news: false,
        };
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let time = "2026-01-02T03:04:05Z";
        let entry = json!({"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated",
            "message": "m", "lastHeartbeatTime": time});
        let mut first = entry.clone();
        first["lastTransitionTime"] = json!(time);
        let patch = |entry| json!({"metadata": {"uid": "u1"}, "status": {"conditions": [entry]}});
        assert_eq!(status_patch(&new_node(), &told, now), patch(first));
        let before = Condition { status: ConditionStatus::True, reason: "Other".into() };
        let node = Node { network_unavailable: Some(before), ..new_node() };
        assert_eq!(status_patch(&node, &told, now), patch(entry));
    }
}
