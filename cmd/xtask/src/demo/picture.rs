//! Nodes, Services and events as the API server shows them, and what changes, in words. Pure.

pub(super) mod service;

use std::collections::BTreeMap;
use std::fmt;

use ccm_core::cluster::keys;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::ResourceExt;

use self::service::ServiceView;
use crate::out::Tone;

/// What the story is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) nodes: BTreeMap<String, NodeView>,
    /// Those of type `LoadBalancer`.
    pub(super) services: BTreeMap<String, ServiceView>,
    pub(super) events: Vec<Said>,
}

/// A Node, as far as the cloud-controller-manager has a say in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeView {
    pub(super) version: String,
    pub(super) uninitialized: bool,
    /// Tainted because its machine is stopped.
    pub(super) shutdown: bool,
    /// The condition `Ready`.
    pub(super) ready: String,
    pub(super) provider_id: Option<String>,
    pub(super) addresses: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    /// The condition `InstanceKnown`.
    pub(super) known: Option<Condition>,
    /// `spec.podCIDRs`.
    pub(super) pod_cidrs: Vec<String>,
    /// The condition `NetworkUnavailable`.
    pub(super) network: Option<Condition>,
}

impl NodeView {
    /// Whether the cloud sends packets for its pods to it.
    pub(super) fn is_reachable(&self) -> bool {
        self.network.as_ref().is_some_and(|it| it.status == "False" && it.reason == "RouteCreated")
    }
}

/// A condition of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The object's kind and name.
    pub(super) about: (String, String),
    pub(super) warning: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

/// One line, or more where there is more to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) what: &'static str,
    pub(super) tone: Tone,
    pub(super) details: Vec<String>,
}

impl Change {
    fn new(what: &'static str, tone: Tone, details: Vec<String>) -> Self {
        Self { what, tone, details }
    }
}

impl From<&Node> for NodeView {
    fn from(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let taints = spec.and_then(|spec| spec.taints.as_ref());
        let is_tainted = |key| taints.into_iter().flatten().any(|taint| taint.key == key);
        let addresses = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let condition = |kind| conditions.into_iter().flatten().find(|it| it.type_ == kind);
        let ready = condition(keys::READY);
        let said = |kind: &'static str| {
            condition(kind).map(|condition| Condition {
                kind,
                status: condition.status.clone(),
                reason: condition.reason.clone().unwrap_or_default(),
                message: condition.message.clone().unwrap_or_default(),
            })
        };
        Self {
            version: node.resource_version().unwrap_or_default(),
            uninitialized: is_tainted(keys::TAINT_UNINITIALIZED),
            shutdown: is_tainted(keys::TAINT_SHUTDOWN),
            ready: ready.map(|it| it.status.clone()).unwrap_or_default(),
            provider_id: spec.and_then(|spec| spec.provider_id.clone()),
            addresses: addresses.map(|it| format!("{} {}", it.type_, it.address)).collect(),
            labels: node.labels().clone(),
            known: said(keys::INSTANCE_KNOWN),
            pod_cidrs: spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default(),
            network: said(keys::NETWORK_UNAVAILABLE),
        }
    }
}

impl From<&Event> for Said {
    fn from(event: &Event) -> Self {
        let about = &event.involved_object;
        Self {
            about: (about.kind.clone().unwrap_or_default(), about.name.clone().unwrap_or_default()),
            warning: event.type_.as_deref() == Some("Warning"),
            reason: event.reason.clone().unwrap_or_default(),
            message: event.message.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, status, reason, message } = self;
        write!(f, "{kind}={status}, reason {reason}: {message}")
    }
}

impl fmt::Display for NodeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.uninitialized { "uninitialized" } else { "initialised" })?;
        write!(f, "; {}", self.provider_id.as_deref().unwrap_or("no provider ID"))?;
        write!(f, "; addresses {}", listed(&self.addresses))?;
        for key in [keys::ZONE, keys::REGION, keys::INSTANCE_TYPE] {
            if let Some(value) = self.labels.get(key) {
                write!(f, "; {key}={value}")?;
            }
        }
        write!(f, "; pods in {}", listed(&self.pod_cidrs))?;
        for said in self.known.iter().chain(&self.network) {
            write!(f, "; {said}")?;
        }
        Ok(())
    }
}

fn listed(addresses: &[String]) -> String {
    if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") }
}

/// What there is to say about a node that was `before` and is `now`.
pub(super) fn changes(before: Option<&NodeView>, now: Option<&NodeView>) -> Vec<Change> {
    let Some(now) = now else {
        return vec![Change::new("deleted", Tone::Bad, vec!["the Node is gone".to_owned()])];
    };
    let Some(before) = before else {
        let taint = if now.uninitialized {
            format!("tainted {}", keys::TAINT_UNINITIALIZED)
        } else {
            "not tainted".to_owned()
        };
        let addresses = format!("its kubelet knows: {}", listed(&now.addresses));
        return vec![Change::new("joins", Tone::Plain, vec![taint, addresses])];
    };
    let mut changes = Vec::new();
    if before.ready != now.ready {
        let tone = if now.ready == "True" { Tone::Good } else { Tone::Waiting };
        changes.push(Change::new("kubelet", tone, vec![format!("Ready={}", now.ready)]));
    }
    if before.shutdown != now.shutdown {
        let (what, tone) =
            if now.shutdown { ("tainted", Tone::Waiting) } else { ("untainted", Tone::Good) };
        changes.push(Change::new(what, tone, vec![keys::TAINT_SHUTDOWN.to_owned()]));
    }
    if before.addresses != now.addresses {
        changes.push(Change::new("addresses", Tone::Plain, vec![listed(&now.addresses)]));
    }
    let labels = label_changes(&before.labels, &now.labels);
    if !labels.is_empty() {
        changes.push(Change::new("labels", Tone::Plain, labels));
    }
    if before.provider_id != now.provider_id {
        let id = now.provider_id.clone().unwrap_or_else(|| "none".to_owned());
        changes.push(Change::new("provider ID", Tone::Plain, vec![id]));
    }
    changes.extend(said(before.known.as_ref(), now.known.as_ref(), "True"));
    if before.pod_cidrs != now.pod_cidrs {
        changes.push(Change::new("pod ranges", Tone::Plain, vec![listed(&now.pod_cidrs)]));
    }
    changes.extend(said(before.network.as_ref(), now.network.as_ref(), "False"));
    match (before.uninitialized, now.uninitialized) {
        (true, false) => changes.push(Change::new(
            "INITIALISED",
            Tone::Good,
            vec!["the taint is gone".to_owned()],
        )),
        (false, true) => {
            let taint = format!("tainted {}", keys::TAINT_UNINITIALIZED);
            changes.push(Change::new("tainted", Tone::Waiting, vec![taint]));
        }
        (true, true) | (false, false) => {}
    }
    changes
}

/// A condition that changed. `good` is the status that is good news.
fn said(before: Option<&Condition>, now: Option<&Condition>, good: &str) -> Option<Change> {
    if before == now {
        return None;
    }
    let (tone, words) = match (before, now) {
        (_, Some(now)) if now.status == good => (Tone::Good, now.to_string()),
        (_, Some(now)) => (Tone::Waiting, now.to_string()),
        (Some(before), None) => (Tone::Plain, format!("{} removed", before.kind)),
        (None, None) => return None,
    };
    Some(Change::new("condition", tone, vec![words]))
}

/// The labels that changed. The old keys say the same as the new ones and are only counted.
fn label_changes(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let old = [keys::ZONE_BETA, keys::REGION_BETA, keys::INSTANCE_TYPE_BETA];
    let set = now.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let (aliases, set): (Vec<_>, Vec<_>) = set.partition(|(key, _)| old.contains(&key.as_str()));
    let removed = before.keys().filter(|key| !now.contains_key(*key));
    let mut lines: Vec<_> = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
    lines.extend(removed.map(|key| format!("{key} removed")));
    if !aliases.is_empty() {
        lines.push(format!("and {} under their old keys", aliases.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NodeView {
        NodeView {
            uninitialized: true,
            addresses: vec!["Hostname n".to_owned()],
            ..NodeView::default()
        }
    }

    fn words(before: Option<&NodeView>, now: Option<&NodeView>) -> Vec<&'static str> {
        changes(before, now).iter().map(|change| change.what).collect()
    }

    #[test]
    fn a_heartbeat_is_not_worth_a_line() {
        let later = NodeView { version: "2".to_owned(), ..new() };
        assert!(changes(Some(&new()), Some(&later)).is_empty());
    }

    #[test]
    fn the_taint_comes_last() {
        let labels = [(keys::ZONE, "a"), (keys::ZONE_BETA, "a")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let done = NodeView {
            uninitialized: false,
            provider_id: Some("sim://i-1".to_owned()),
            labels: labels.into(),
            ..new()
        };
        assert_eq!(words(None, Some(&new())), ["joins"]);
        assert_eq!(words(Some(&new()), Some(&done)), ["labels", "provider ID", "INITIALISED"]);
        let said = changes(Some(&new()), Some(&done));
        assert_eq!(
            said[0].details,
            ["topology.kubernetes.io/zone=a", "and 1 under their old keys"]
        );
    }

    #[test]
    fn a_waiting_node_is_not_shown_as_good() {
        let known = |status: &str| {
            let (reason, message) = ("R".to_owned(), "m".to_owned());
            let (kind, status) = (keys::INSTANCE_KNOWN, status.to_owned());
            NodeView { known: Some(Condition { kind, status, reason, message }), ..new() }
        };
        let tone = |status| changes(Some(&new()), Some(&known(status)))[0].tone;
        assert_eq!([tone("Unknown"), tone("True")], [Tone::Waiting, Tone::Good]);
    }
}
