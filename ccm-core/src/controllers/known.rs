//! The condition `InstanceKnown`, in which the node controllers say whether the cloud knows a
//! Node's machine, and why something waits.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::cloud::{CloudError, Kind};
use crate::cluster::keys;
use crate::cluster::node::{ConditionStatus, Node};
use crate::controllers::write::seconds;
use crate::report::cut;

/// The longest message, in bytes, and the longest provider ID in one.
const MOST_SAID: usize = 2048;
const MOST_SHOWN: usize = 256;

/// `reason` when nothing is waited for.
pub(super) const INSTANCE_FOUND: &str = "InstanceFound";

/// `reason` when the cloud has no such machine.
pub(super) const INSTANCE_NOT_FOUND: &str = "InstanceNotFound";

/// The condition, to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// `status`: whether the cloud knows the machine, as far as we can say.
    pub(super) status: ConditionStatus,
    /// `reason`.
    pub(super) reason: &'static str,
    /// `message`.
    pub(super) message: String,
}

impl Known {
    /// Nothing is waited for.
    pub(super) fn found() -> Self {
        Self {
            status: ConditionStatus::True,
            reason: INSTANCE_FOUND,
            message: "the cloud knows the instance".to_owned(),
        }
    }

    /// The cloud did not tell.
    pub(super) fn unknown(err: &CloudError) -> Self {
        Self {
            status: ConditionStatus::Unknown,
            reason: err.kind().reason(),
            message: cut(err.message().to_owned(), MOST_SAID),
        }
    }

    /// The cloud has no such machine.
    pub(super) fn not_found(node: &Node) -> Self {
        Self {
            status: ConditionStatus::False,
            reason: INSTANCE_NOT_FOUND,
            message: format!("the cloud has no instance with the {}", looked_up_by(node)),
        }
    }

    /// Whether the node says so already.
    pub(super) fn stands_on(&self, node: &Node) -> bool {
        let said = node.instance_known.as_ref();
        said.is_some_and(|said| said.status == self.status && &*said.reason == self.reason)
    }

    /// As an entry of `status.conditions`.
    pub(super) fn entry(&self, node: &Node, now: Timestamp) -> Value {
        let mut entry = json!({
            "type": keys::INSTANCE_KNOWN,
            "status": self.status.as_str(),
            "reason": self.reason,
            "message": self.message,
            "lastHeartbeatTime": seconds(now),
        });
        // The time of the last transition stays where only the reason changes.
        if node.instance_known.as_ref().is_none_or(|before| before.status != self.status) {
            entry["lastTransitionTime"] = json!(seconds(now));
        }
        entry
    }
}

/// Whether the condition on the node says that nothing is waited for, or nothing at all.
pub(super) fn is_settled(node: &Node) -> bool {
    node.instance_known.is_none() || Known::found().stands_on(node)
}

/// Whether the error says no more than that the process ends, which is no news for anybody.
pub(super) fn is_end(err: &CloudError) -> bool {
    err.kind() == Kind::Stopped
}

/// By what the cloud is asked about the node, in words.
pub(super) fn looked_up_by(node: &Node) -> String {
    match &node.provider_id {
        Some(id) => format!("provider ID {}", cut(id.to_string(), MOST_SHOWN)),
        None => format!("name {}", node.name),
    }
}
