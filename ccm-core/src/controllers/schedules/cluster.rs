//! The model of an API server: Nodes with versions, patches that are really applied, and a log of
//! changes that watches read.

use std::collections::BTreeMap;
use std::sync::Arc;

use json_patch::PatchOperation;
use serde_json::{Map, Value, json};

use super::mutants::Mutant;
use super::time::Ms;
use crate::cloud::{AddressKind, NodeAddress, NodeName, ProviderId};
use crate::cluster::keys;
use crate::cluster::node::{Condition, ConditionStatus, Node, Taint, Version};
use crate::cluster::pairs::Pairs;

/// A Node as it is stored: what the process sees of it, and what only others see.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) node: Arc<Node>,
    /// `spec.taints` with values.
    pub(super) taints: Vec<Value>,
    /// The cloud's place that its machine is in, whatever the Node says.
    pub(super) place: Option<usize>,
    /// Somebody's finalizer holds up its deletion.
    pub(super) finalizer: bool,
    pub(super) created: Ms,
    /// Since when it is not ready.
    pub(super) down_since: Option<Ms>,
    /// Incarnations whose kubelets have written to it.
    pub(super) served_by: Option<u32>,
    /// An autoscaler has said that it goes, at some time.
    pub(super) announced: bool,
    /// Its owner has released it, at some time.
    pub(super) released: bool,
}

/// A request to write.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// A JSON Patch of the main resource.
    Main(Vec<PatchOperation>),
    /// A strategic merge of the status.
    Status(Value),
    /// With the UID and the version as preconditions.
    Delete,
}

/// One change, for watches.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: NodeName,
    /// `None` where it is gone.
    pub(super) node: Option<Arc<Node>>,
}

/// The API server.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<NodeName, Stored>,
    pub(super) log: Vec<Change>,
    version: u64,
    uids: u64,
}

impl Cluster {
    /// Somebody, not us, makes a Node.
    pub(super) fn create(&mut self, mut node: Node, taints: Vec<Value>, more: Birth) {
        self.uids += 1;
        node.uid = format!("uid-{}", self.uids).into();
        let stored = Stored {
            node: Arc::new(node),
            taints,
            place: more.place,
            finalizer: more.finalizer,
            created: more.created,
            down_since: None,
            served_by: None,
            announced: false,
            released: false,
        };
        self.put(stored, more.now);
    }

    /// Somebody, not us, changes a Node.
    pub(super) fn change(&mut self, name: &NodeName, now: Ms, change: impl FnOnce(&mut Node)) {
        let Some(stored) = self.nodes.get(name) else { return };
        let mut stored = stored.clone();
        change(Arc::make_mut(&mut stored.node));
        self.put(stored, now);
    }

    /// Somebody, not us, changes a Node's taints.
    pub(super) fn taint(&mut self, name: &NodeName, now: Ms, change: impl FnOnce(&mut Vec<Value>)) {
        let Some(stored) = self.nodes.get(name) else { return };
        let mut stored = stored.clone();
        change(&mut stored.taints);
        self.put(stored, now);
    }

    fn put(&mut self, mut stored: Stored, now: Ms) -> Version {
        self.version += 1;
        let version = Version::new(&self.version.to_string());
        let node = Arc::make_mut(&mut stored.node);
        node.version = version.clone();
        node.taints = stored.taints.iter().map(taint).collect();
        stored.announced |= super::super::node_lifecycle::decide::ANNOUNCING_TAINTS
            .iter()
            .any(|key| node.taint_places(key).next().is_some());
        stored.released |= node.annotations.get(keys::ALLOW_DELETION) == Some(node.uid.as_str());
        stored.down_since = if node.is_ready() { None } else { stored.down_since.or(Some(now)) };
        self.log.push(Change { name: node.name.clone(), node: Some(Arc::clone(&stored.node)) });
        self.nodes.insert(stored.node.name.clone(), stored);
        version
    }

    pub(super) fn remove(&mut self, name: &NodeName) {
        if self.nodes.remove(name).is_some() {
            self.version += 1;
            self.log.push(Change { name: name.clone(), node: None });
        }
    }

    /// Takes a write, as the API does. Gives the Node's version, or the code of the refusal.
    pub(super) fn write(
        &mut self,
        decided_on: &Node,
        request: &Request,
        now: Ms,
        mutant: Option<Mutant>,
    ) -> Result<Option<Version>, u16> {
        let stored = self.nodes.get(&decided_on.name).ok_or(404_u16)?.clone();
        match request {
            Request::Main(operations) => self.patch(stored, operations, now, mutant).map(Some),
            Request::Status(patch) => self.patch_status(stored, patch, now).map(Some),
            Request::Delete => {
                let same =
                    stored.node.uid == decided_on.uid && stored.node.version == decided_on.version;
                if !same && mutant != Some(Mutant::PreconditionsIgnored) {
                    return Err(409);
                }
                if stored.finalizer {
                    self.change(&decided_on.name, now, |node| node.deleting = true);
                } else {
                    self.remove(&decided_on.name);
                }
                Ok(None)
            }
        }
    }

    fn patch(
        &mut self,
        mut stored: Stored,
        operations: &[PatchOperation],
        now: Ms,
        mutant: Option<Mutant>,
    ) -> Result<Version, u16> {
        let before = document(&stored);
        let mut document = before.clone();
        let operations: Vec<_> = operations
            .iter()
            .filter(|operation| {
                mutant != Some(Mutant::TaintByPlaceOnly)
                    || !matches!(operation, PatchOperation::Test(test) if test.path.as_str().starts_with("/spec"))
            })
            .filter(|operation| {
                mutant != Some(Mutant::AppendUntested)
                    || !matches!(operation, PatchOperation::Test(test) if test.path.as_str() == "/metadata/resourceVersion")
            })
            .cloned()
            .collect();
        json_patch::patch(&mut document, &operations).map_err(|_| 422_u16)?;
        if document == before {
            return Ok(stored.node.version.clone());
        }
        let node = Arc::make_mut(&mut stored.node);
        let id =
            document["spec"]["providerID"].as_str().and_then(|id| ProviderId::try_from(id).ok());
        if node.provider_id.is_some() && node.provider_id != id {
            return Err(422);
        }
        node.provider_id = id;
        node.labels = pairs(&document["metadata"]["labels"]);
        stored.taints = document["spec"]["taints"].as_array().cloned().unwrap_or_default();
        Ok(self.put(stored, now))
    }

    fn patch_status(&mut self, mut stored: Stored, patch: &Value, now: Ms) -> Result<Version, u16> {
        let asked = &patch["metadata"];
        let node = Arc::make_mut(&mut stored.node);
        let differs = |asked: &Value, is: &str| asked.as_str().is_some_and(|asked| asked != is);
        if differs(&asked["uid"], node.uid.as_str())
            || differs(&asked["resourceVersion"], node.version.as_str())
        {
            return Err(409);
        }
        if let Some(list) = patch["status"]["addresses"].as_array() {
            assert_eq!(list[0], json!({"$patch": "replace"}), "addresses are replaced");
            node.addresses = list[1..].iter().filter_map(node_address).collect();
        }
        for entry in patch["status"]["conditions"].as_array().into_iter().flatten() {
            assert_eq!(entry["type"], keys::INSTANCE_KNOWN, "only our own condition");
            node.instance_known = Some(Condition {
                status: match entry["status"].as_str() {
                    Some("True") => ConditionStatus::True,
                    Some("False") => ConditionStatus::False,
                    _ => ConditionStatus::Unknown,
                },
                reason: entry["reason"].as_str().unwrap_or_default().into(),
            });
        }
        Ok(self.put(stored, now))
    }
}

/// What else is known of a Node that is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) place: Option<usize>,
    pub(super) finalizer: bool,
    pub(super) created: Ms,
    pub(super) now: Ms,
}

/// As much of the stored object as a JSON Patch of ours may speak of.
fn document(stored: &Stored) -> Value {
    let node = &stored.node;
    let mut document = json!({
        "metadata": {"uid": node.uid.as_str(), "resourceVersion": node.version.as_str()},
        "spec": {},
    });
    if !node.labels.is_empty() {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), Value::from(value));
        let labels: Map<_, _> = node.labels.iter().map(owned).collect();
        document["metadata"]["labels"] = labels.into();
    }
    if !stored.taints.is_empty() {
        document["spec"]["taints"] = stored.taints.clone().into();
    }
    if let Some(id) = &node.provider_id {
        document["spec"]["providerID"] = id.as_str().into();
    }
    document
}

fn pairs(labels: &Value) -> Pairs {
    let labels = labels.as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

fn node_address(entry: &Value) -> Option<NodeAddress> {
    let kind = AddressKind::parse(entry["type"].as_str()?)?;
    Some(NodeAddress::new(kind, entry["address"].as_str()?))
}

fn taint(entry: &Value) -> Taint {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().into();
    Taint { key: text("key"), effect: text("effect") }
}

/// Whether a taint is not one of those that we put on or take off.
pub(super) fn is_of_others(taint: &Value) -> bool {
    taint["key"] != keys::TAINT_UNINITIALIZED && !is_shutdown(taint)
}

/// Whether it is the shutdown taint.
pub(super) fn is_shutdown(taint: &Value) -> bool {
    taint["key"] == keys::TAINT_SHUTDOWN && taint["effect"] == "NoSchedule"
}
