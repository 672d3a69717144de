//! Carries a decision out: one patch, no read. Decides nothing.

use kube::Client;
use serde_json::{Value, json};

use super::decide::Changes;
use crate::cluster::node::Version;
use crate::cluster::volume::PersistentVolume;
use crate::controllers::write;

/// Where `PersistentVolume`s are.
const VOLUMES: &str = "/api/v1/persistentvolumes";

/// Writes labels and affinity. Gives the volume's new version.
pub(super) async fn write(
    client: &Client,
    volume: &PersistentVolume,
    changes: &Changes,
) -> kube::Result<Version> {
    write::patch_merge(client, VOLUMES, &volume.name, patch(volume, changes)).await
}

/// A merge, of just the version that was decided on: a volume that somebody has written to since, or
/// that was made anew, answers 409, and it is decided again.
fn patch(volume: &PersistentVolume, changes: &Changes) -> Value {
    let mut patch = json!({"metadata": {
        "uid": volume.uid.as_str(),
        "resourceVersion": volume.version.as_str(),
    }});
    if !changes.labels.is_empty() {
        patch["metadata"]["labels"] = json!(changes.labels);
    }
    if !changes.affinity.is_empty() {
        let each = changes.affinity.iter();
        let each =
            each.map(|(key, values)| json!({"key": key, "operator": "In", "values": values}));
        let terms = json!([{"matchExpressions": each.collect::<Vec<_>>()}]);
        patch["spec"] = json!({"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}});
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::VolumeSource;
    use crate::cluster::keys;
    use crate::controllers::volume::decide::tests::volume;

    #[test]
    fn the_patch_holds_for_one_version_only() {
        let source = VolumeSource::InTree { field: "cinder", handle: "v".to_owned() };
        let changes = Changes {
            labels: [(keys::ZONE, "a__b".to_owned())].into(),
            affinity: vec![(keys::ZONE, vec!["a".to_owned(), "b".to_owned()])],
            notes: Vec::new(),
        };
        let needs = json!({"key": keys::ZONE, "operator": "In", "values": ["a", "b"]});
        assert_eq!(
            patch(&volume(source.clone()), &changes),
            json!({
                "metadata": {"uid": "u1", "resourceVersion": "1", "labels": {keys::ZONE: "a__b"}},
                "spec": {"nodeAffinity": {"required": {
                    "nodeSelectorTerms": [{"matchExpressions": [needs]}],
                }}},
            })
        );

        let changes = Changes { affinity: Vec::new(), ..changes };
        let patch = patch(&volume(source), &changes);
        // An affinity that is there cannot be changed, and is not mentioned.
        assert_eq!(patch.get("spec"), None);
    }
}
