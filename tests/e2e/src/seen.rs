//! A Node as a test looks at it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeCondition};

use ccm_envtest::kubelet::UNINITIALIZED_TAINT;

/// What a test wants to know of a Node, short enough for the message of one that fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Which Node of this name it is.
    pub uid: String,
    /// `InternalIP 10.0.0.1`, in order.
    pub addresses: Vec<String>,
    /// `spec.providerID`.
    pub provider_id: Option<String>,
    /// Keys of the taints, in order.
    pub taints: Vec<String>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// The condition `InstanceKnown`: status, reason, message.
    pub known: Option<(String, String, String)>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<String>,
    /// The condition `NetworkUnavailable`: status, reason, message.
    pub network: Option<(String, String, String)>,
}

impl From<&Node> for Seen {
    fn from(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.clone().unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default();
        let said = |kind| {
            condition(node, kind).map(|said| {
                (
                    said.status.clone(),
                    said.reason.clone().unwrap_or_default(),
                    said.message.clone().unwrap_or_default(),
                )
            })
        };
        Self {
            uid: node.metadata.uid.clone().unwrap_or_default(),
            addresses: addresses.iter().map(|a| format!("{} {}", a.type_, a.address)).collect(),
            provider_id: spec.provider_id,
            taints: spec.taints.unwrap_or_default().into_iter().map(|taint| taint.key).collect(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            known: said("InstanceKnown"),
            pod_cidrs: spec.pod_cidrs.unwrap_or_default(),
            network: said("NetworkUnavailable"),
        }
    }
}

impl Seen {
    /// Whether the uninitialized taint is gone.
    pub fn is_initialized(&self) -> bool {
        !self.has_taint(UNINITIALIZED_TAINT)
    }

    /// Whether there is a taint of this key.
    pub fn has_taint(&self, key: &str) -> bool {
        self.taints.iter().any(|taint| taint == key)
    }

    /// A label's value; empty where there is none.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Status and reason of `InstanceKnown`; empty where it is not set.
    pub fn known(&self) -> (&str, &str) {
        self.known.as_ref().map_or(("", ""), |(status, reason, _)| (status, reason))
    }

    /// Status and reason of `NetworkUnavailable`; empty where it is not set.
    pub fn network(&self) -> (&str, &str) {
        self.network.as_ref().map_or(("", ""), |(status, reason, _)| (status, reason))
    }

    /// Whether the route controller says that pods on it can be reached.
    pub fn is_reachable(&self) -> bool {
        self.network() == ("False", "RouteCreated")
    }

    /// Why pods on it cannot be reached; empty where that is not said.
    pub fn unreachable(&self) -> &str {
        match &self.network {
            Some((status, _, message)) if status == "True" => message,
            _ => "",
        }
    }
}

/// The condition `InstanceKnown`.
pub fn instance_known(node: &Node) -> Option<&NodeCondition> {
    condition(node, "InstanceKnown")
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}
