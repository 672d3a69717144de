//! A Node as we keep it: only what controllers read, so that memory grows with the number of
//! nodes and not with what others store on them.

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ClusterResourceScope;
use serde::Deserialize;

use super::events::Involved;
use super::keys;
use super::meta::{core_resource, metadata};
use super::pairs::Pairs;
use crate::cloud::{
    AddressKind, Labels, Needs, NodeAddress, NodeIdentity, NodeName, ProviderId, Uid,
};

/// A cached Node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `metadata.name`.
    pub name: NodeName,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub version: Version,
    /// `metadata.creationTimestamp`.
    pub created: SystemTime,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// All labels.
    pub labels: Pairs,
    /// The annotations that the core or the provider reads.
    pub annotations: Pairs,
    /// `spec.providerID`.
    pub provider_id: Option<ProviderId>,
    /// `spec.taints`, in their order.
    pub taints: Box<[Taint]>,
    /// `status.addresses`, in their order. Types of the future are left out.
    pub addresses: Box<[NodeAddress]>,
    /// Whether `status.addresses` holds something that `addresses` does not show.
    pub odd_addresses: bool,
    /// `status.nodeInfo.systemUUID`.
    pub system_uuid: Option<Arc<str>>,
    /// Condition `Ready`.
    pub ready: Option<ConditionStatus>,
    /// Condition `InstanceKnown`.
    pub instance_known: Option<Condition>,
    /// `spec.podCIDRs`, in their order and as they stand there.
    pub pod_cidrs: Box<[Box<str>]>,
    /// Condition `NetworkUnavailable`.
    pub network_unavailable: Option<Condition>,
    /// Its message, while its status is true.
    pub unreachable_because: Box<str>,
}

/// `metadata.resourceVersion`: compared as a number where both are numbers, as the API promises
/// for built-in kinds (KEP-5504); otherwise only equality counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

impl Version {
    /// The version with this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this one is known to be older. Unknown counts as not older, so that nobody waits
    /// for ever.
    pub fn is_older_than(&self, other: &Self) -> bool {
        matches!((self.0.parse::<u64>(), other.0.parse::<u64>()), (Ok(a), Ok(b)) if a < b)
    }
}

/// A taint, as far as we look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// `key`.
    pub key: Box<str>,
    /// `effect`.
    pub effect: Box<str>,
}

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// `True`.
    True,
    /// `False`.
    False,
    /// `Unknown`, or anything else.
    Unknown,
}

impl ConditionStatus {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// A condition of ours, as it stands on the Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `status`.
    pub status: ConditionStatus,
    /// `reason`.
    pub reason: Box<str>,
}

impl Node {
    /// The places in `spec.taints` of all taints with this key.
    pub fn taint_places<'a>(&'a self, key: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.taints.iter().enumerate().filter(move |(_, t)| &*t.key == key).map(|(place, _)| place)
    }

    /// Whether it still waits for its first initialisation.
    pub fn is_uninitialized(&self) -> bool {
        self.taint_places(keys::TAINT_UNINITIALIZED).next().is_some()
    }

    /// Whether its kubelet says that it works.
    pub fn is_ready(&self) -> bool {
        self.ready == Some(ConditionStatus::True)
    }

    /// For an event about it.
    pub fn involved(&self) -> Involved {
        Involved {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: String::new(),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
        }
    }

    /// Whether a provider is told the same about both, without telling it: this is asked at every
    /// heartbeat of every node.
    pub fn is_told_as(&self, other: &Self, needs: &Needs) -> bool {
        self.uid == other.uid
            && self.provider_id == other.provider_id
            && self.system_uuid == other.system_uuid
            && self.addresses == other.addresses
            && self.is_uninitialized() == other.is_uninitialized()
            && same_labels(&self.labels, &other.labels, needs.node_labels)
            && read(&self.annotations, needs.node_annotations)
                .eq(read(&other.annotations, needs.node_annotations))
    }

    /// What a provider is told about it.
    pub fn identity(&self, needs: &Needs) -> NodeIdentity {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = self.labels.iter().filter(|(key, _)| match needs.node_labels {
            Labels::These(keys) => keys.contains(key),
            Labels::All => true,
        });
        let annotations = self.annotations.iter();
        let annotations = annotations.filter(|(key, _)| needs.node_annotations.contains(key));
        NodeIdentity {
            name: self.name.clone(),
            uid: self.uid.clone(),
            created: self.created,
            provider_id: self.provider_id.clone(),
            system_uuid: self.system_uuid.clone(),
            addresses: self.addresses.to_vec(),
            labels: labels.map(owned).collect(),
            annotations: annotations.map(owned).collect(),
            is_initialized: !self.is_uninitialized(),
        }
    }
}

fn same_labels(old: &Pairs, new: &Pairs, labels: Labels) -> bool {
    match labels {
        Labels::These(keys) => read(old, keys).eq(read(new, keys)),
        Labels::All => old == new,
    }
}

fn read<'a>(pairs: &'a Pairs, keys: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    pairs.iter().filter(|(key, _)| keys.contains(key))
}

/// A Node as it comes over the wire: read field by field, so that images, managed fields and
/// whatever else is on it is skipped while parsing. Lives only until it is cached.
#[derive(Clone, Debug, Deserialize)]
pub struct WireNode {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    #[serde(rename = "providerID")]
    provider_id: String,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<Box<str>>,
    taints: Vec<WireTaint>,
}

#[derive(Clone, Debug, Deserialize)]
struct WireTaint {
    key: Box<str>,
    #[serde(default)]
    effect: Box<str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    addresses: Vec<WireAddress>,
    conditions: Vec<WireCondition>,
    node_info: WireNodeInfo,
}

#[derive(Clone, Debug, Deserialize)]
struct WireAddress {
    #[serde(rename = "type")]
    kind: Box<str>,
    address: Box<str>,
}

#[derive(Clone, Debug, Deserialize)]
struct WireCondition {
    #[serde(rename = "type")]
    kind: Box<str>,
    status: Box<str>,
    #[serde(default)]
    reason: Box<str>,
    #[serde(default)]
    message: Box<str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireNodeInfo {
    #[serde(rename = "systemUUID")]
    system_uuid: String,
}

core_resource!(WireNode, ClusterResourceScope, "Node", "nodes");

impl WireNode {
    /// `metadata.name`.
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What is kept of it. `keep_annotation` says which annotations somebody reads.
    pub fn trim(self, keep_annotation: impl Fn(&str) -> bool) -> Node {
        let Self { metadata, spec, status } = self;
        let known: Vec<_> = status.addresses.iter().filter_map(address).collect();
        let condition = |kind| status.conditions.iter().find(|condition| &*condition.kind == kind);
        let stated = |kind| {
            condition(kind).map(|said| Condition {
                status: ConditionStatus::parse(&said.status),
                reason: said.reason.clone(),
            })
        };
        let unreachable_because = condition(keys::NETWORK_UNAVAILABLE)
            .filter(|said| &*said.status == "True")
            .map(|said| said.message.clone());
        let created =
            metadata.creation_timestamp.map_or(SystemTime::UNIX_EPOCH, |time| time.0.into());
        Node {
            name: metadata.name.unwrap_or_default().into(),
            uid: metadata.uid.unwrap_or_default().into(),
            version: Version::new(&metadata.resource_version.unwrap_or_default()),
            created,
            deleting: metadata.deletion_timestamp.is_some(),
            labels: Pairs::keeping(&metadata.labels.unwrap_or_default(), |_| true),
            annotations: Pairs::keeping(&metadata.annotations.unwrap_or_default(), keep_annotation),
            provider_id: ProviderId::try_from(spec.provider_id.as_str()).ok(),
            taints: spec
                .taints
                .into_iter()
                .map(|taint| Taint { key: taint.key, effect: taint.effect })
                .collect(),
            odd_addresses: known.len() != status.addresses.len(),
            addresses: known.into(),
            system_uuid: (!status.node_info.system_uuid.is_empty())
                .then(|| status.node_info.system_uuid.as_str().into()),
            ready: condition(keys::READY).map(|ready| ConditionStatus::parse(&ready.status)),
            instance_known: stated(keys::INSTANCE_KNOWN),
            network_unavailable: stated(keys::NETWORK_UNAVAILABLE),
            unreachable_because: unreachable_because.unwrap_or_default(),
            pod_cidrs: spec.pod_cidrs.into(),
        }
    }
}

fn address(wire: &WireAddress) -> Option<NodeAddress> {
    Some(NodeAddress::new(AddressKind::parse(&wire.kind)?, &*wire.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_reads_is_skipped() {
        let json = serde_json::json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {
                "name": "n1", "uid": "u1", "resourceVersion": "12",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"a": "b"},
                "annotations": {"keep": "me", "drop": "me"},
                "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
            },
            "spec": {"providerID": "sim://i-1", "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24", "fd00::/64"],
                "taints": [{"key": "t", "effect": "NoSchedule", "value": "x"}]},
            "status": {
                "images": [{"names": ["x"], "sizeBytes": 5}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Odd", "address": "?"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                "nodeInfo": {"systemUUID": "uu", "machineID": "m"},
            },
        });
        let wire: WireNode = serde_json::from_value(json).unwrap();
        assert!(wire.metadata.managed_fields.is_none());
        let node = wire.trim(|key| key == "keep");
        assert_eq!(node.annotations, [("keep", "me")].into_iter().collect());
        assert_eq!(node.provider_id.unwrap().as_str(), "sim://i-1");
        assert_eq!(node.addresses.len(), 1);
        assert!(node.odd_addresses);
        assert_eq!(node.pod_cidrs, ["10.0.0.0/24".into(), "fd00::/64".into()].into());
        assert_eq!(node.ready, Some(ConditionStatus::True));
        assert_eq!(node.system_uuid.as_deref(), Some("uu"));
        assert_eq!(
            node.created.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
            1_767_323_045
        );
    }

    #[test]
    fn a_provider_is_told_when_a_node_is_initialized() {
        let node = |taints: serde_json::Value| {
            let metadata = serde_json::json!({"name": "n1", "uid": "u1"});
            let json = serde_json::json!({"metadata": metadata, "spec": {"taints": taints}});
            serde_json::from_value::<WireNode>(json).unwrap().trim(|_| true)
        };
        let taint = serde_json::json!([{"key": keys::TAINT_UNINITIALIZED, "effect": "NoSchedule"}]);
        let (before, after) = (node(taint), node(serde_json::json!([])));
        let needs = Needs::default();
        assert!(!before.identity(&needs).is_initialized && after.identity(&needs).is_initialized);
        assert!(!before.is_told_as(&after, &needs) && after.is_told_as(&after, &needs));
    }

    #[test]
    fn versions_compare_as_numbers() {
        let older = |a: &str, b: &str| Version::new(a).is_older_than(&Version::new(b));
        assert!(older("9", "10"));
        assert!(!older("10", "10") && !older("11", "10") && !older("x", "10") && !older("", "1"));
    }
}
