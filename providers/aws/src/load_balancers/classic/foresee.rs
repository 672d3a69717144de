//! What is there after a change, as far as its success says so. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Blueprint, ClassicChange, What};
use super::observe::{Balancer, Found};
use super::wish::group_ids;
use crate::client::elb::{Attributes, Front, Listener, LoadBalancer};
use crate::client::groups::SecurityGroup;
use crate::load_balancers::refusals::Refused;

/// A load balancer that has just been made. Its address comes with the answer.
pub(crate) fn made(name: &str, blueprint: &Blueprint, groups: &[SecurityGroup]) -> Balancer {
    let Blueprint { internal, listeners, subnets, groups: refs, tags } = blueprint;
    let it = LoadBalancer {
        name: name.to_owned(),
        dns_name: String::new(),
        internal: *internal,
        listeners: fronts(listeners),
        backends: BTreeMap::new(),
        policies: BTreeSet::new(),
        subnets: subnets.clone(),
        groups: group_ids(refs, groups).unwrap_or_default().into_iter().collect(),
        instances: BTreeSet::new(),
        // AWS gives it one of its own, which is never ours: it asks every 30 seconds.
        health: None,
    };
    let attributes = Some(Attributes::default());
    let (tags, refused) = (tags.iter().cloned().collect(), Refused::new());
    Balancer { it, tags, attributes, refused, ..Balancer::default() }
}

/// What is there after this change. `None`: that takes a look.
pub(crate) fn after(
    change: &ClassicChange,
    found: &Found,
    groups: &[SecurityGroup],
) -> Option<Found> {
    let ClassicChange { name, what } = change;
    if let What::Create(blueprint) = what {
        let made = made(name, blueprint, groups);
        return Some(Found { balancer: Some(Box::new(made)) });
    }
    let mut now = found.clone();
    let Balancer { it, tags, attributes, .. } = now.balancer.as_deref_mut()?;
    match what {
        What::Create(_) => return None,
        What::Delete => return Some(Found::default()),
        What::Tag(more) => tags.extend(more.iter().cloned()),
        What::Attach(subnets) => it.subnets.extend(subnets.iter().cloned()),
        What::Detach(subnets) => it.subnets.retain(|id| !subnets.contains(id)),
        What::SetGroups(refs) => it.groups = group_ids(refs, groups)?.into_iter().collect(),
        What::DeleteListeners { ports, .. } => {
            let gone = it.listeners.values().filter(|it| ports.contains(&it.listener.port));
            if gone.into_iter().any(|front| it.backends.contains_key(&front.listener.node_port)) {
                // Whether policies stay behind is AWS' business.
                return None;
            }
            it.listeners.retain(|port, _| !ports.contains(port));
        }
        What::CreateListeners(listeners) => it.listeners.append(&mut fronts(listeners)),
        What::CreatePolicy(policy) => _ = it.policies.insert(policy.name()),
        What::SetBackend { node_port, policies } if policies.is_empty() => {
            it.backends.remove(node_port);
        }
        What::SetBackend { node_port, policies } => {
            it.backends.insert(*node_port, policies.clone());
        }
        What::SetCertificate { port, certificate } => {
            it.listeners.get_mut(port)?.listener.certificate = Some(certificate.clone());
        }
        What::SetListener { port, policies } => {
            it.listeners.get_mut(port)?.policies.clone_from(policies);
        }
        What::SetAttributes(all) => *attributes = Some(all.clone()),
        What::SetHealthCheck(check) => it.health = Some(check.clone()),
        What::Register(ids) => it.instances.extend(ids.iter().cloned()),
        What::Deregister(ids) => it.instances.retain(|id| !ids.contains(id)),
    }
    Some(now)
}

/// Listeners as they are made: what speaks TLS gets a policy of AWS' choice, which never matters
/// in the same pass.
fn fronts(listeners: &BTreeSet<Listener>) -> BTreeMap<u16, Front> {
    let front = |it: &Listener| Front { listener: it.clone(), policies: BTreeSet::new() };
    listeners.iter().map(|it| (it.port, front(it))).collect()
}
