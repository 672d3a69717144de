//! A `PersistentVolume` as we keep it: only what the volume controller reads.

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ClusterResourceScope;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::events::Involved;
use super::keys;
use super::meta::{core_resource, metadata};
use super::node::Version;
use super::pairs::Pairs;
use crate::cloud::{Uid, VolumeRef, VolumeSource};

/// A cached `PersistentVolume` of a kind that a cloud may have.
#[derive(Clone, Debug, PartialEq)]
pub struct PersistentVolume {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub version: Version,
    /// `metadata.creationTimestamp`.
    pub created: SystemTime,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The labels that say where it is, under their present and their old keys.
    pub labels: Pairs,
    /// Whether a provisioner made it, as the annotation `pv.kubernetes.io/provisioned-by` says.
    pub is_provisioned: bool,
    /// Where the volume is named. The API never lets it change.
    pub source: VolumeSource,
    /// Whether `spec.nodeAffinity` asks for anything. Once it does, the API never lets it change.
    pub has_affinity: bool,
}

impl PersistentVolume {
    /// For an event about it.
    pub fn involved(&self) -> Involved {
        Involved {
            api_version: "v1".to_owned(),
            kind: "PersistentVolume".to_owned(),
            namespace: String::new(),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
        }
    }

    /// What a provider is told about it.
    pub fn identity(&self) -> VolumeRef {
        VolumeRef {
            name: self.name.to_string(),
            uid: self.uid.clone(),
            source: self.source.clone(),
        }
    }
}

/// A `PersistentVolume` as it comes over the wire. Lives only until it is cached.
#[derive(Clone, Debug, Deserialize)]
pub struct WireVolume {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WireSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    csi: Option<WireCsi>,
    aws_elastic_block_store: Option<WireId>,
    gce_persistent_disk: Option<WireGce>,
    azure_disk: Option<WireAzure>,
    cinder: Option<WireId>,
    vsphere_volume: Option<WireVsphere>,
    node_affinity: Option<WireAffinity>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireCsi {
    driver: String,
    volume_handle: String,
}

#[derive(Clone, Debug, Deserialize)]
struct WireId {
    #[serde(rename = "volumeID")]
    id: String,
}

#[derive(Clone, Debug, Deserialize)]
struct WireGce {
    #[serde(rename = "pdName")]
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct WireAzure {
    #[serde(rename = "diskURI", default)]
    uri: String,
    #[serde(rename = "diskName", default)]
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct WireVsphere {
    #[serde(rename = "volumePath")]
    path: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireAffinity {
    required: Option<WireSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSelector {
    node_selector_terms: Vec<IgnoredAny>,
}

core_resource!(WireVolume, ClusterResourceScope, "PersistentVolume", "persistentvolumes");

impl WireVolume {
    /// `metadata.name`.
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What is kept of it. `None` where no cloud can have it: a directory of a node, a network file
    /// system.
    pub fn trim(self) -> Option<PersistentVolume> {
        let Self { metadata, spec } = self;
        let affinity = spec.node_affinity.as_ref().and_then(|it| it.required.as_ref());
        let has_affinity = affinity.is_some_and(|it| !it.node_selector_terms.is_empty());
        let annotations = metadata.annotations.unwrap_or_default();
        Some(PersistentVolume {
            source: source(spec)?,
            name: metadata.name.unwrap_or_default().into(),
            uid: metadata.uid.unwrap_or_default().into(),
            version: Version::new(&metadata.resource_version.unwrap_or_default()),
            created: metadata
                .creation_timestamp
                .map_or(SystemTime::UNIX_EPOCH, |time| time.0.into()),
            deleting: metadata.deletion_timestamp.is_some(),
            labels: Pairs::keeping(&metadata.labels.unwrap_or_default(), |key| {
                [keys::ZONE, keys::REGION, keys::ZONE_BETA, keys::REGION_BETA].contains(&key)
            }),
            is_provisioned: annotations.contains_key(keys::PROVISIONED_BY),
            has_affinity,
        })
    }
}

/// The API wants just one of these fields.
fn source(spec: WireSpec) -> Option<VolumeSource> {
    if let Some(WireCsi { driver, volume_handle: handle }) = spec.csi {
        return Some(VolumeSource::Csi { driver, handle });
    }
    let azure = spec.azure_disk.map(|it| if it.uri.is_empty() { it.name } else { it.uri });
    let in_tree = [
        ("awsElasticBlockStore", spec.aws_elastic_block_store.map(|it| it.id)),
        ("gcePersistentDisk", spec.gce_persistent_disk.map(|it| it.name)),
        ("azureDisk", azure),
        ("cinder", spec.cinder.map(|it| it.id)),
        ("vsphereVolume", spec.vsphere_volume.map(|it| it.path)),
    ];
    let named = in_tree.into_iter().find_map(|(field, handle)| Some((field, handle?)));
    named.map(|(field, handle)| VolumeSource::InTree { field, handle })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn trimmed(meta: &Value, spec: &Value) -> Option<PersistentVolume> {
        serde_json::from_value::<WireVolume>(json!({"metadata": meta, "spec": spec}))
            .unwrap()
            .trim()
    }

    #[rstest]
    #[case::csi(
        json!({"csi": {"driver": "csi.sim.ccm.rs", "volumeHandle": "vol-1", "fsType": "ext4"}}),
        Some("csi.sim.ccm.rs vol-1")
    )]
    #[case::aws(
        json!({"awsElasticBlockStore": {"volumeID": "aws://eu-west-1a/vol-1"}}),
        Some("awsElasticBlockStore aws://eu-west-1a/vol-1")
    )]
    #[case::gce(json!({"gcePersistentDisk": {"pdName": "d"}}), Some("gcePersistentDisk d"))]
    #[case::azure(
        json!({"azureDisk": {"diskName": "d", "diskURI": "/subscriptions/s/d"}}),
        Some("azureDisk /subscriptions/s/d")
    )]
    #[case::azure_by_name(
        json!({"azureDisk": {"diskName": "d", "diskURI": ""}}), Some("azureDisk d")
    )]
    #[case::openstack(json!({"cinder": {"volumeID": "0a-b"}}), Some("cinder 0a-b"))]
    #[case::vsphere(
        json!({"vsphereVolume": {"volumePath": "[ds] d.vmdk"}}), Some("vsphereVolume [ds] d.vmdk")
    )]
    #[case::no_cloud_has_it(json!({"nfs": {"server": "s", "path": "/"}}), None)]
    #[case::nothing(json!({}), None)]
    fn the_source_says_where_the_volume_is_named(#[case] spec: Value, #[case] want: Option<&str>) {
        let volume = trimmed(&json!({"name": "p"}), &spec);
        let said = volume.map(|volume| match volume.source {
            VolumeSource::Csi { driver, handle } => format!("{driver} {handle}"),
            VolumeSource::InTree { field, handle } => format!("{field} {handle}"),
        });
        assert_eq!(said.as_deref(), want);
    }

    #[rstest]
    #[case::none(json!(null), false)]
    #[case::empty(json!({}), false)]
    #[case::no_terms(json!({"required": {"nodeSelectorTerms": []}}), false)]
    #[case::a_term(json!({"required": {"nodeSelectorTerms": [{"matchExpressions": []}]}}), true)]
    fn affinity_is_what_asks_for_something(#[case] affinity: Value, #[case] want: bool) {
        let spec = json!({"cinder": {"volumeID": "v"}, "nodeAffinity": affinity});
        assert_eq!(trimmed(&json!({"name": "p"}), &spec).unwrap().has_affinity, want);
    }

    #[test]
    fn what_nobody_reads_is_skipped() {
        let meta = json!({
            "name": "p", "uid": "u", "resourceVersion": "7",
            "labels": {keys::ZONE: "a", keys::REGION_BETA: "r", "team": "x"},
            "annotations": {keys::PROVISIONED_BY: "kubernetes.io/cinder", "other": "y"},
        });
        let volume = trimmed(&meta, &json!({"cinder": {"volumeID": "v"}})).unwrap();
        let labels = [(keys::ZONE, "a"), (keys::REGION_BETA, "r")];
        assert_eq!(volume.labels, labels.into_iter().collect());
        assert!(volume.is_provisioned && !volume.deleting);
        assert_eq!((&*volume.name, volume.version.as_str()), ("p", "7"));
    }
}
