//! What should change on a Node, given what the cloud says about its machine. Pure.

use std::collections::BTreeMap;

use super::addresses;
use super::labels;
use crate::cloud::{Belongs, Instance, NodeAddress, Observation, ProviderId, Retry};
use crate::cluster::keys;
use crate::cluster::node::{ConditionStatus, Node};
use crate::controllers::known::{Known, is_end, is_settled, looked_up_by};
use crate::controllers::memory::Note;
use crate::controllers::waiting::Awaited;

/// `reason` when the annotation with the kubelet's address cannot be obeyed.
pub(in crate::controllers) const INVALID_PROVIDED_IP: &str = "InvalidProvidedNodeIP";

/// Reason of the event when another machine stands behind the node.
pub(in crate::controllers) const INSTANCE_REPLACED: &str = "InstanceReplaced";

/// What to do about a Node.
#[derive(Debug)]
pub(in crate::controllers) enum Decision {
    /// It is not ours, or there is nothing to be done.
    Leave,
    /// It cannot be initialised yet.
    Wait(Wait),
    /// These writes make it right.
    Write(Changes),
}

/// Why a Node waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controllers) struct Wait {
    /// What is said on it: its reason is also that of the event and the metric.
    pub known: Known,
    /// When to look again.
    pub retry: Retry,
}

impl Awaited for Wait {
    fn reason(&self) -> &'static str {
        self.known.reason
    }

    fn retry(&self) -> Retry {
        self.retry
    }
}

/// The writes that make a Node right, at most one of each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::controllers) struct Changes {
    /// What goes into `status`, written first.
    pub status: StatusChange,
    /// What goes into the main resource, written last: with the taint gone, pods come.
    pub main: MainChange,
    /// What the node's owner should hear, once.
    pub notes: Vec<Note>,
}

impl Changes {
    /// Whether nothing is to be written or said.
    pub(in crate::controllers) fn is_empty(&self) -> bool {
        self.status.is_empty() && self.main.is_empty() && self.notes.is_empty()
    }

    /// Whether these writes initialise the node.
    pub(in crate::controllers) fn initializes(&self) -> bool {
        !self.main.remove_taints.is_empty()
    }
}

/// A change of `status`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::controllers) struct StatusChange {
    /// The whole new list of addresses.
    pub addresses: Option<Vec<NodeAddress>>,
    /// The condition `InstanceKnown`.
    pub known: Option<Known>,
    /// The condition `NetworkUnavailable`: pods on the node cannot be reached before its routes are
    /// made. Without it the scheduler would send pods there as soon as the taint is gone.
    pub unreachable: bool,
}

impl StatusChange {
    /// Whether nothing is to be written.
    pub(in crate::controllers) fn is_empty(&self) -> bool {
        self.addresses.is_none() && self.known.is_none() && !self.unreachable
    }
}

/// A change of the main resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::controllers) struct MainChange {
    /// Labels to set.
    pub labels: BTreeMap<String, String>,
    /// `spec.providerID`, where there is none.
    pub provider_id: Option<ProviderId>,
    /// Places in `spec.taints` of the taints to remove.
    pub remove_taints: Vec<usize>,
}

impl MainChange {
    /// Whether nothing is to be written.
    pub(in crate::controllers) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.provider_id.is_none() && self.remove_taints.is_empty()
    }
}

/// What a decision rests on, besides the Node.
#[derive(Clone, Copy, Debug)]
pub(in crate::controllers) struct Knowledge<'a> {
    /// Whether the node is ours.
    pub belongs: &'a Belongs,
    /// What the cloud says.
    pub observation: &'a Observation,
    /// Prefixes of labels that are the provider's own.
    pub own_label_prefixes: &'a [&'static str],
    /// Whether the machine was replaced by another one while the Node stayed.
    pub replaced: bool,
    /// Whether we have said on the node that it waits; the cache may not show it yet.
    pub announced: bool,
    /// Whether the route controller will say when pods on the node can be reached.
    pub routed: bool,
}

/// Decides about one Node.
pub(in crate::controllers) fn decide(node: &Node, knowledge: Knowledge<'_>) -> Decision {
    if let Belongs::Foreign(_) = knowledge.belongs {
        return Decision::Leave;
    }
    if node.is_uninitialized() { initialize(node, knowledge) } else { follow(node, knowledge) }
}

/// A node that carries the taint.
fn initialize(node: &Node, knowledge: Knowledge<'_>) -> Decision {
    let instance = match knowledge.observation {
        Observation::Present(instance) => instance,
        Observation::Gone(_) => {
            return Decision::Wait(Wait { known: Known::not_found(node), retry: Retry::Backoff });
        }
        // The process ends: that is no news for the node's owner.
        Observation::Unknown(err) if is_end(err) => return Decision::Leave,
        Observation::Unknown(err) => {
            let (known, retry) = (Known::unknown(err), err.kind().retry());
            return Decision::Wait(Wait { known, retry });
        }
    };
    let wanted = match wanted_addresses(node, instance) {
        Ok(wanted) => wanted,
        Err(err) => {
            let known = Known {
                status: ConditionStatus::True,
                reason: INVALID_PROVIDED_IP,
                message: err.to_string(),
            };
            return Decision::Wait(Wait { known, retry: Retry::OnChange });
        }
    };
    let labels = labels::wanted(instance, &node.labels, true, knowledge.own_label_prefixes);
    let mut status = status(node, wanted, knowledge.announced);
    status.unreachable =
        knowledge.routed && node.network_unavailable.is_none() && !node.pod_cidrs.is_empty();
    Decision::Write(Changes {
        status,
        main: MainChange {
            labels: labels.set,
            provider_id: node.provider_id.is_none().then(|| instance.provider_id.clone()),
            remove_taints: node.taint_places(keys::TAINT_UNINITIALIZED).collect(),
        },
        notes: labels.notes,
    })
}

/// A node that is initialised, or joined without the taint: it follows the cloud. Doubt and absence
/// are the lifecycle controller's business.
fn follow(node: &Node, knowledge: Knowledge<'_>) -> Decision {
    let Observation::Present(instance) = knowledge.observation else { return Decision::Leave };
    let mut changes = Changes::default();
    let wanted = wanted_addresses(node, instance).unwrap_or_else(|err| {
        changes.notes.push(Note::new(
            INVALID_PROVIDED_IP,
            format!("{err}; the node's addresses stay as they are"),
        ));
        None
    });
    changes.status = status(node, wanted, knowledge.announced);
    if *knowledge.belongs == Belongs::Ours && !knowledge.announced {
        // What stands there is the lifecycle controller's word, which may know better by now.
        changes.status.known = None;
    }
    // A node that joined without the taint and has no provider ID was never ours to label.
    if *knowledge.belongs == Belongs::Ours {
        let labels = labels::wanted(
            instance,
            &node.labels,
            knowledge.replaced,
            knowledge.own_label_prefixes,
        );
        changes.main.labels = labels.set;
        changes.notes.extend(labels.notes);
    }
    if knowledge.replaced {
        changes.notes.push(Note::new(
            INSTANCE_REPLACED,
            format!("the machine with the {} was replaced by a new one", looked_up_by(node)),
        ));
    }
    if changes.is_empty() { Decision::Leave } else { Decision::Write(changes) }
}

fn wanted_addresses(
    node: &Node,
    instance: &Instance,
) -> Result<Option<Vec<NodeAddress>>, addresses::ProvidedIpError> {
    let provided = node.annotations.get(keys::PROVIDED_NODE_IP);
    addresses::wanted(&instance.addresses, &node.addresses, provided)
}

/// What has to be written into the status of a node whose machine is known.
fn status(node: &Node, wanted: Option<Vec<NodeAddress>>, announced: bool) -> StatusChange {
    let is_right = |wanted: &Vec<NodeAddress>| **wanted == *node.addresses && !node.odd_addresses;
    StatusChange {
        addresses: wanted.filter(|wanted| !is_right(wanted)),
        known: (!is_settled(node) || announced).then(Known::found),
        unreachable: false,
    }
}

#[cfg(test)]
pub(in crate::controllers) mod tests;
