//! Nodes as the API server has them, and what has to be wanted for them: reckoned anew, and in the
//! simplest way, so that the controller is not judged by itself.

use ipnet::IpNet;

use super::routes::Form;
use super::setup::is_inside;
use super::state::{Ms, Sim, State, Told};
use crate::cloud::{NodeName, ProviderId, Uid};
use crate::cluster::node::{Node, Version};

/// What there has to be in the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Reachable,
    /// And why, in a word of the message.
    NotReachable(&'static str),
    /// It is not for us to say.
    Anything,
}

/// Ours begin with `toy`.
pub(super) fn is_foreign(node: &Node) -> bool {
    node.provider_id.as_ref().is_some_and(|id| id.scheme() != Some("toy"))
}

/// Its ranges, as far as they can be read.
pub(super) fn ranges(node: &Node) -> Vec<IpNet> {
    let read = node.pod_cidrs.iter().filter_map(|text| text.parse::<IpNet>().ok());
    read.map(|range| range.trunc()).collect()
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

impl State {
    /// Whether an older Node claims some of the range.
    fn is_taken(&self, node: &Node, range: &IpNet) -> bool {
        self.nodes.values().any(|other| {
            (other.created, &other.uid) < (node.created, &node.uid)
                && ranges(other).iter().any(|theirs| overlap(range, theirs))
        })
    }

    /// Whether all that is wrong with the Node's ranges is that some are not the cluster's.
    pub(super) fn is_only_outside(&self, node: &Node) -> bool {
        let ranges = ranges(node);
        ranges.len() == node.pod_cidrs.len()
            && ranges.iter().all(|range| !is_inside(*range) || !self.is_taken(node, range))
    }

    /// The ranges of a Node to which there are to be routes.
    pub(super) fn good(&self, node: &Node) -> Vec<IpNet> {
        let mut good = ranges(node);
        good.retain(|range| is_inside(*range) && !self.is_taken(node, range));
        good
    }

    fn form_of(&self, node: &Node) -> Form {
        if is_foreign(node) || node.pod_cidrs.is_empty() {
            return Form::None;
        }
        match (&node.provider_id, self.good(node)) {
            (Some(via), to) if !to.is_empty() => Form::Routes { via: via.clone(), to },
            _ => Form::Kept,
        }
    }

    /// What the condition has to say in the end.
    pub(super) fn says(&self, node: &Node) -> Says {
        if is_foreign(node) || node.pod_cidrs.is_empty() {
            return Says::Anything;
        }
        let good = self.good(node);
        if good.len() < node.pod_cidrs.len() {
            return Says::NotReachable("podCIDR");
        }
        let Some(via) = &node.provider_id else { return Says::Anything };
        if self.dead.contains(via) {
            return Says::NotReachable("machine");
        }
        let is_in_the_way = |to: &IpNet| self.routes_to(*to).any(|it| it.owner().is_none());
        if good.iter().any(is_in_the_way) {
            return Says::NotReachable("others");
        }
        Says::Reachable
    }

    /// Reckons anew what has to be wanted for each Node.
    fn reckon(&mut self) {
        let now = self.now();
        let gone = self.forms.keys().map(|uid| (uid.clone(), Form::None));
        let mut forms: std::collections::BTreeMap<Uid, Form> = gone.collect();
        for node in self.nodes.values() {
            forms.insert(node.uid.clone(), self.form_of(node));
        }
        for (uid, form) in forms {
            let known = self.forms.entry(uid).or_default();
            if known.last().is_none_or(|(_, last)| *last != form) {
                known.push((now, form));
            }
        }
        self.see_who_is_right();
    }

    /// What had to be wanted for a Node at some time since then.
    pub(super) fn forms_since(&self, uid: &Uid, since: Ms) -> impl Iterator<Item = &Form> {
        let forms = self.forms.get(uid).map(Vec::as_slice).unwrap_or_default();
        let first = forms.iter().rposition(|(at, _)| *at <= since);
        // Before the first there was no such Node.
        let before = first.is_none().then_some(&Form::None);
        before.into_iter().chain(forms[first.unwrap_or_default()..].iter().map(|(_, form)| form))
    }

    /// A Node is made or changed. Gives its version.
    pub(super) fn store(&mut self, sim: &Sim, mut node: Node) -> Version {
        self.version += 1;
        node.version = Version::new(&self.version.to_string());
        let (at, version) = (self.now(), node.version.clone());
        self.log.push(Told { at, name: node.name.clone(), node: Some(node.clone()) });
        let asks =
            |node: &Node| (node.uid.clone(), node.pod_cidrs.clone(), node.provider_id.clone());
        let asked = asks(&node);
        let before = self.nodes.insert(node.name.clone(), node);
        if before.is_none_or(|before| asks(&before) != asked) {
            self.reckon();
        }
        sim.bell.notify_one();
        version
    }

    /// A Node is gone.
    pub(super) fn remove(&mut self, sim: &Sim, name: &NodeName) {
        if self.nodes.remove(name).is_some() {
            self.version += 1;
            self.log.push(Told { at: self.now(), name: name.clone(), node: None });
            self.reckon();
            sim.bell.notify_one();
        }
    }

    /// A machine is gone.
    pub(super) fn terminate(&mut self, machine: ProviderId) {
        self.before_a_change();
        self.dead.insert(machine);
        self.see_who_is_right();
    }
}
