//! Carries a decision out: one request. Decides nothing.

use json_patch::PatchOperation;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::decide::{NO_SCHEDULE, Write};
use crate::cluster::keys;
use crate::cluster::node::{Node, Version};
use crate::controllers::known::Known;
use crate::controllers::write::{self, add, test};

/// Sends the write. Gives the Node's new version, unless it is gone.
pub(in crate::controllers) async fn carry_out(
    client: &Client,
    node: &Node,
    write: &Write,
    now: Timestamp,
) -> kube::Result<Option<Version>> {
    match write {
        Write::AddTaint => write::patch_main(client, node, add_taint(node)).await.map(Some),
        Write::RemoveTaint(places) => {
            write::patch_main(client, node, remove_taint(node, places)).await.map(Some)
        }
        Write::Tell(known) => {
            let patch = tell(node, known, now);
            write::patch_status(client, write::NODES, node.name.as_str(), patch).await.map(Some)
        }
        Write::Delete { .. } => write::delete(client, node).await.map(|()| None),
    }
}

/// Appends the taint. Somebody else may append the same one at the same time, another replica above
/// all, so it must still be the version on which it was decided.
pub(in crate::controllers) fn add_taint(node: &Node) -> Vec<PatchOperation> {
    let taint = json!({"key": keys::TAINT_SHUTDOWN, "effect": NO_SCHEDULE});
    let append = if node.taints.is_empty() {
        add(&["spec", "taints"], json!([taint]))
    } else {
        add(&["spec", "taints", "-"], taint)
    };
    vec![
        test(&["metadata", "uid"], node.uid.as_str()),
        test(&["metadata", "resourceVersion"], node.version.as_str()),
        append,
    ]
}

/// Takes the taint away, if it is still in its place. With another effect it is somebody else's.
pub(in crate::controllers) fn remove_taint(node: &Node, places: &[usize]) -> Vec<PatchOperation> {
    let mut operations = vec![test(&["metadata", "uid"], node.uid.as_str())];
    operations.extend(places.iter().map(|place| {
        let place = place.to_string();
        test(&["spec", "taints", &place, "effect"], NO_SCHEDULE)
    }));
    operations.extend(write::remove_taints(places, keys::TAINT_SHUTDOWN));
    operations
}

/// A strategic merge: conditions merge by type, so other writers' stay. The UID is a precondition.
pub(in crate::controllers) fn tell(node: &Node, known: &Known, now: Timestamp) -> Value {
    json!({
        "metadata": {"uid": node.uid.as_str()},
        "status": {"conditions": [known.entry(node, now)]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::ConditionStatus;
    use crate::controllers::node::decide::tests::new_node;

    #[test]
    fn the_taint_is_appended_to_what_was_seen() {
        let patch = serde_json::to_value(add_taint(&new_node())).unwrap();
        let taint =
            json!({"key": "node.cloudprovider.kubernetes.io/shutdown", "effect": "NoSchedule"});
        let tests = [
            json!({"op": "test", "path": "/metadata/uid", "value": "u1"}),
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": "1"}),
        ];
        let append = json!({"op": "add", "path": "/spec/taints/-", "value": taint});
        assert_eq!(patch, json!([tests[0], tests[1], append]));

        // There is no list to append to.
        let bare = Node { taints: [].into(), ..new_node() };
        let patch = serde_json::to_value(add_taint(&bare)).unwrap();
        let first = json!({"op": "add", "path": "/spec/taints", "value": [taint]});
        assert_eq!(patch, json!([tests[0], tests[1], first]));
    }

    #[test]
    fn the_taint_is_removed_only_from_where_it_was_seen() {
        let patch = serde_json::to_value(remove_taint(&new_node(), &[1])).unwrap();
        assert_eq!(
            patch,
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/spec/taints/1/effect", "value": "NoSchedule"},
                {"op": "test", "path": "/spec/taints/1/key", "value": keys::TAINT_SHUTDOWN},
                {"op": "remove", "path": "/spec/taints/1"},
            ])
        );
    }

    #[test]
    fn what_is_told_names_the_node_by_its_uid() {
        let known = Known {
            status: ConditionStatus::False,
            reason: "DeletionHeld",
            message: "m".to_owned(),
        };
        let now = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let patch = tell(&new_node(), &known, now);
        assert_eq!(patch["metadata"], json!({"uid": "u1"}));
        assert_eq!(patch["status"]["conditions"][0]["reason"], "DeletionHeld");
    }
}
