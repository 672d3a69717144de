//! Carries a decision out: one request. Decides nothing.

use ipnet::IpNet;
use json_patch::PatchOperation;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::decide::{Cleared, NOT_AVAILABLE, Wait};
use crate::cluster::keys;
use crate::cluster::node::{ConditionStatus, Node, Version};
use crate::controllers::write::{self, add, seconds, test};

/// Writes these ranges on the node, in this order.
pub(super) async fn give(client: &Client, node: &Node, ranges: &[IpNet]) -> kube::Result<Version> {
    write::patch_main(client, node, ranges_patch(node, ranges)).await
}

/// Says that the node has no ranges.
pub(super) async fn tell(
    client: &Client,
    node: &Node,
    wait: &Wait,
    now: Timestamp,
) -> kube::Result<Version> {
    let patch = condition(node, ConditionStatus::True, NOT_AVAILABLE, &wait.message, now);
    write::patch_status(client, write::NODES, node.name.as_str(), patch).await
}

/// Says that the node's network is there.
pub(super) async fn clear(
    client: &Client,
    node: &Node,
    cleared: Cleared,
    now: Timestamp,
) -> kube::Result<Version> {
    let Cleared { reason, message } = cleared;
    let patch = condition(node, ConditionStatus::False, reason, message, now);
    write::patch_status(client, write::NODES, node.name.as_str(), patch).await
}

/// Tests the UID. Ranges that somebody else has written meanwhile need no test: the API server lets
/// nobody change them, and answers 422.
pub(in crate::controllers) fn ranges_patch(node: &Node, ranges: &[IpNet]) -> Vec<PatchOperation> {
    let mut operations = vec![test(&["metadata", "uid"], node.uid.as_str())];
    let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    if let Some(first) = texts.first() {
        operations.push(add(&["spec", "podCIDR"], first.as_str().into()));
        operations.push(add(&["spec", "podCIDRs"], json!(texts)));
    }
    operations
}

/// A strategic merge: conditions merge by type, so other writers' stay.
fn condition(
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
    // The time of the last transition stays where only the reason changes.
    if node.network_unavailable.as_ref().is_none_or(|before| before.status != status) {
        entry["lastTransitionTime"] = json!(seconds(now));
    }
    json!({"metadata": {"uid": node.uid.as_str()}, "status": {"conditions": [entry]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::Condition;
    use crate::controllers::node_ipam::decide::tests::node;

    #[test]
    fn both_fields_are_written_for_just_this_node() {
        let ranges = ["fd00::/64", "10.0.0.0/24"].map(|text| text.parse().unwrap());
        let patch = serde_json::to_value(ranges_patch(&node("a", &[]), &ranges)).unwrap();
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "uid-a"},
                {"op": "add", "path": "/spec/podCIDR", "value": "fd00::/64"},
                {"op": "add", "path": "/spec/podCIDRs", "value": ["fd00::/64", "10.0.0.0/24"]},
            ])
        );
    }

    #[test]
    fn the_condition_merges_and_keeps_its_time_where_it_does_not_turn() {
        let now: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let patch = |node: &Node| condition(node, ConditionStatus::True, "R", "m", now);
        assert_eq!(
            patch(&node("a", &[])),
            json!({
                "metadata": {"uid": "uid-a"},
                "status": {"conditions": [{
                    "type": "NetworkUnavailable", "status": "True", "reason": "R", "message": "m",
                    "lastHeartbeatTime": "2026-01-02T03:04:05Z",
                    "lastTransitionTime": "2026-01-02T03:04:05Z",
                }]},
            })
        );
        let said = Condition { status: ConditionStatus::True, reason: "Other".into() };
        let same = Node { network_unavailable: Some(said), ..node("a", &[]) };
        let entry = &patch(&same)["status"]["conditions"][0];
        assert_eq!(entry.get("lastTransitionTime"), None);
    }
}
