//! Carries a decision out: one patch of the status, no read. Decides nothing.

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use super::decide::Told;
use crate::cluster::node::{Node, Version};
use crate::controllers::{network, write};

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

pub(super) fn status_patch(node: &Node, told: &Told, now: Timestamp) -> Value {
    network::patch(node, told.status, told.reason, &told.message, now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
