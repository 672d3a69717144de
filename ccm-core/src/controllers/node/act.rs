//! Carries a decision out: at most two patches, no read. Decides nothing.

use json_patch::PatchOperation;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::decide::{MainChange, StatusChange};
use crate::cluster::keys;
use crate::cluster::node::{Node, Version};
use crate::controllers::route::decide::{JUST_INITIALISED, NO_ROUTE_CREATED};
use crate::controllers::write::{self, add, seconds, test};

/// Writes addresses and the condition. Gives the Node's new version.
pub(in crate::controllers) async fn write_status(
    client: &Client,
    node: &Node,
    change: &StatusChange,
    now: Timestamp,
) -> kube::Result<Version> {
    let patch = status_patch(node, change, now);
    write::patch_status(client, write::NODES, node.name.as_str(), patch).await
}

/// Writes labels and provider ID and takes the taint away. Gives the Node's new version.
pub(in crate::controllers) async fn write_main(
    client: &Client,
    node: &Node,
    latest: &Version,
    change: &MainChange,
) -> kube::Result<Version> {
    write::patch_main(client, node, main_patch(node, latest, change)).await
}

/// A strategic merge: conditions merge by type, so other writers' stay; the addresses are replaced
/// as a whole, because the API merges them by type and a node may have two of one type. The UID is a
/// precondition: a Node that was made anew answers 422.
pub(in crate::controllers) fn status_patch(
    node: &Node,
    change: &StatusChange,
    now: Timestamp,
) -> Value {
    let mut metadata = json!({"uid": node.uid.as_str()});
    if node.labels.is_empty() {
        // The main patch that follows adds a whole map of labels, on what we saw: nobody may have
        // written in between.
        metadata["resourceVersion"] = node.version.as_str().into();
    }
    let mut status = serde_json::Map::new();
    if let Some(addresses) = &change.addresses {
        let entries = addresses
            .iter()
            .map(|entry| json!({"type": entry.kind.as_str(), "address": &*entry.address}));
        let list: Vec<_> = std::iter::once(json!({"$patch": "replace"})).chain(entries).collect();
        status.insert("addresses".to_owned(), list.into());
    }
    let mut conditions: Vec<_> = change.known.iter().map(|known| known.entry(node, now)).collect();
    if change.unreachable {
        conditions.push(unreachable(now));
    }
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), conditions.into());
    }
    json!({"metadata": metadata, "status": status})
}

/// In the words of the route controller, which takes it back.
fn unreachable(now: Timestamp) -> Value {
    json!({
        "type": keys::NETWORK_UNAVAILABLE,
        "status": "True",
        "reason": NO_ROUTE_CREATED,
        "message": JUST_INITIALISED,
        "lastHeartbeatTime": seconds(now),
        "lastTransitionTime": seconds(now),
    })
}

/// A JSON Patch that tests what was decided on: the UID, and the place of each taint that goes. A
/// list of taints that moved meanwhile answers 422, and it is decided again; no other writer's taint
/// is ever rewritten.
pub(in crate::controllers) fn main_patch(
    node: &Node,
    latest: &Version,
    change: &MainChange,
) -> Vec<PatchOperation> {
    let mut operations = vec![test(&["metadata", "uid"], node.uid.as_str())];
    operations.extend(write::remove_taints(&change.remove_taints, keys::TAINT_UNINITIALIZED));
    if let Some(id) = &change.provider_id {
        operations.push(add(&["spec", "providerID"], id.as_str().into()));
    }
    if node.labels.is_empty() && !change.labels.is_empty() {
        // There is no map to add to. Adding one would drop what another writer adds meanwhile,
        // unless nobody has written since we looked.
        operations.push(test(&["metadata", "resourceVersion"], latest.as_str()));
        operations.push(add(&["metadata", "labels"], json!(change.labels)));
    } else {
        for (key, value) in &change.labels {
            operations.push(add(&["metadata", "labels", key], value.as_str().into()));
        }
    }
    operations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{AddressKind, NodeAddress, ProviderId};
    use crate::cluster::node::{Condition, ConditionStatus};
    use crate::cluster::pairs::Pairs;
    use crate::controllers::known::Known;
    use crate::controllers::node::decide::tests::new_node;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    #[test]
    fn the_status_patch_replaces_addresses_and_merges_conditions() {
        let change = StatusChange {
            addresses: Some(vec![NodeAddress::new(AddressKind::InternalIp, "10.0.0.1")]),
            known: Some(Known {
                status: ConditionStatus::True,
                reason: "InstanceFound",
                message: "m".to_owned(),
            }),
            unreachable: true,
        };
        let patch = status_patch(&new_node(), &change, now());
        assert_eq!(
            patch,
            json!({
                "metadata": {"uid": "u1"},
                "status": {
                    "addresses": [{"$patch": "replace"}, {"type": "InternalIP", "address": "10.0.0.1"}],
                    "conditions": [{
                        "type": "InstanceKnown", "status": "True", "reason": "InstanceFound",
                        "message": "m", "lastHeartbeatTime": "2026-01-02T03:04:05Z",
                        "lastTransitionTime": "2026-01-02T03:04:05Z",
                    }, {
                        "type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated",
                        "message": "no route yet: the node has just been initialised",
                        "lastHeartbeatTime": "2026-01-02T03:04:05Z",
                        "lastTransitionTime": "2026-01-02T03:04:05Z",
                    }],
                },
            })
        );
        let known = Condition { status: ConditionStatus::True, reason: "x".into() };
        let same = Node { instance_known: Some(known), ..new_node() };
        let patch = status_patch(&same, &change, now());
        assert_eq!(patch["status"]["conditions"][0].get("lastTransitionTime"), None);

        let bare = Node { labels: Pairs::default(), ..new_node() };
        let patch = status_patch(&bare, &change, now());
        assert_eq!(patch["metadata"], json!({"uid": "u1", "resourceVersion": "1"}));
    }

    #[test]
    fn the_main_patch_tests_what_it_was_decided_on() {
        let change = MainChange {
            labels: [("topology.kubernetes.io/zone".to_owned(), "z".to_owned())].into(),
            provider_id: ProviderId::try_from("test://i-1").ok(),
            remove_taints: vec![1, 3],
        };
        let version = Version::new("9");
        let patch = serde_json::to_value(main_patch(&new_node(), &version, &change)).unwrap();
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/spec/taints/1/key", "value": keys::TAINT_UNINITIALIZED},
                {"op": "test", "path": "/spec/taints/3/key", "value": keys::TAINT_UNINITIALIZED},
                {"op": "remove", "path": "/spec/taints/3"},
                {"op": "remove", "path": "/spec/taints/1"},
                {"op": "add", "path": "/spec/providerID", "value": "test://i-1"},
                {"op": "add", "path": "/metadata/labels/topology.kubernetes.io~1zone", "value": "z"},
            ])
        );

        let bare = Node { labels: Pairs::default(), ..new_node() };
        let change = MainChange { labels: change.labels, ..MainChange::default() };
        let patch = serde_json::to_value(main_patch(&bare, &version, &change)).unwrap();
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/metadata/resourceVersion", "value": "9"},
                {"op": "add", "path": "/metadata/labels", "value": {"topology.kubernetes.io/zone": "z"}},
            ])
        );
    }
}
