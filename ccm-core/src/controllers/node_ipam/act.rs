//! Carries a decision out: one request. Decides nothing.

use ipnet::IpNet;
use json_patch::PatchOperation;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::json;

use super::decide::{Cleared, NOT_AVAILABLE, Wait};
use crate::cluster::node::{ConditionStatus, Node, Version};
use crate::controllers::network;
use crate::controllers::write::{self, add, test};

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
    let patch = network::patch(node, ConditionStatus::True, NOT_AVAILABLE, &wait.message, now);
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
    let patch = network::patch(node, ConditionStatus::False, reason, message, now);
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

#[cfg(test)]
mod tests {
    use super::*;
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
}
