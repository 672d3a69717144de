//! What has to change in a Classic Load Balancer. Pure.
//!
//! Stages have one step wherever the answer says what is then there, so that no look is needed
//! between them.

use std::collections::BTreeSet;

use ccm_core::cloud::{CloudError, Kind, ObjectId};

use super::attributes::Differs;
use super::change::{Blueprint, ClassicChange, Policy, TLS_POLICY, What, joined};
use super::foresee;
use super::moves::{Move, moves};
use super::observe::{Balancer, Found};
use super::wish::{ClassicWish, group_ids};
use crate::client::elb::Listener;
use crate::client::groups::SecurityGroup;
use crate::load_balancers::annotations::ServiceAnnotations;
use crate::load_balancers::draft::Draft;
use crate::load_balancers::groups;
use crate::load_balancers::members::Members;
use crate::load_balancers::names;
use crate::load_balancers::refusals;
use crate::load_balancers::site::Site;
use crate::load_balancers::wish::Wish;
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};

/// AWS' own security policy of a listener for which none was chosen.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-security-policy-table.html>
const DEFAULT_TLS_POLICY: &str = "ELBSecurityPolicy-2016-08";

/// What it takes that it is as asked for. An error refuses the Service, and nothing is done.
pub(crate) fn build(
    site: &Site<'_>,
    wish: &Wish<'_>,
    members: &Members,
    found: &Found,
    draft: &mut Draft,
) -> Result<(), CloudError> {
    if let Some(other) = found.balancer.as_deref().filter(|it| it.is_anothers) {
        return Err(anothers(other));
    }
    let have = found.own();
    let asked = ClassicWish::read(site, wish, have.map(|have| have.it.internal))?;
    draft.notes.extend(wish.notes.iter().chain(&asked.notes).cloned());
    let groups = &site.surroundings.groups;
    if let Some(own) = &asked.own_group {
        groups::want(&site.home.cluster, groups, own, draft)?;
    } else {
        leave_own_group(site, &wish.name, draft);
    }
    let made;
    let have = if let Some(have) = have {
        have
    } else {
        let blueprint = blueprint(wish, &asked);
        made = foresee::made(&wish.name, &blueprint, groups);
        let what = What::Create(Box::new(blueprint));
        draft.build([ClassicChange { name: wish.name.clone(), what }]);
        &made
    };
    let mut work = Work { site, wish, asked: &asked, have, draft };
    if found.own().is_some() {
        work.subnets();
        work.security_groups();
        work.backends_out_of_use();
        work.listeners();
        work.tags();
    }
    work.proxy_protocol();
    work.attributes();
    work.tls_policies();
    work.health_check();
    register(members, have, draft);
    Ok(())
}

/// It keeps what it has, but nodes come and go.
pub(crate) fn keep(members: &Members, found: &Found, draft: &mut Draft) {
    if let Some(have) = found.own() {
        register(members, have, draft);
    }
}

/// Takes it away, with its security group. Other groups that it had stay.
pub(crate) fn down(site: &Site<'_>, found: &Found, draft: &mut Draft) {
    let name = names::load_balancer(&site.id.uid);
    if let Some(other) = found.balancer.as_deref().filter(|it| it.is_anothers) {
        draft.note("LoadBalancerLeft", anothers(other).message());
    } else if found.own().is_some() {
        draft.clear([ClassicChange { name: name.clone(), what: What::Delete }]);
    }
    leave_own_group(site, &name, draft);
}

/// Lets the group go that was made for it, unless an annotation names that: then it is the owner's.
fn leave_own_group(site: &Site<'_>, balancer: &str, draft: &mut Draft) {
    let (cluster, groups) = (&site.home.cluster, &site.surroundings.groups);
    let name = names::classic_group(balancer);
    let is_named = |own: &SecurityGroup| ServiceAnnotations::name_group(site.annotations, &own.id);
    if !groups::find(groups, &name).is_some_and(is_named) {
        groups::unwant(cluster, groups, &name, draft);
    }
}

/// Marks what is there as [`MANAGED`](MANAGED_KEY).
pub(crate) fn mark(id: &ObjectId, found: &Found) -> Option<ClassicChange> {
    let name = found.own()?.it.name.clone();
    let tag = (MANAGED_KEY.to_owned(), id.uid.to_string());
    Some(ClassicChange { name, what: What::Tag(vec![tag]) })
}

fn anothers(other: &Balancer) -> CloudError {
    let name = &other.it.name;
    let message = format!(
        "Classic Load Balancer {name} has this Service's name and bears another cluster's tag: it is left \
         alone; delete it, or take the tag away to hand it over"
    );
    CloudError::new(Kind::InvalidConfiguration, message)
}

fn blueprint(wish: &Wish<'_>, asked: &ClassicWish) -> Blueprint {
    Blueprint {
        internal: wish.said.is_internal(),
        listeners: asked.listeners.values().cloned().collect(),
        subnets: asked.subnets.clone().unwrap_or_default(),
        groups: asked.groups.clone(),
        tags: groups::pairs(&wish.marked()),
    }
}

/// New instances first, so that there is never nobody to take traffic.
fn register(members: &Members, have: &Balancer, draft: &mut Draft) {
    let (mut add, remove) = members.difference(&have.it.instances);
    add.retain(|id| !have.refused.contains_key(id));
    let change = |what| ClassicChange { name: have.it.name.clone(), what };
    draft.build((!add.is_empty()).then(|| change(What::Register(add))));
    draft.build((!remove.is_empty()).then(|| change(What::Deregister(remove))));
    refusals::tell(&members.wanted, std::iter::once(&have.refused), draft);
}

/// What is there beside what is asked for.
struct Work<'a> {
    site: &'a Site<'a>,
    wish: &'a Wish<'a>,
    asked: &'a ClassicWish,
    have: &'a Balancer,
    draft: &'a mut Draft,
}

impl Work<'_> {
    fn change(&self, what: What) -> ClassicChange {
        ClassicChange { name: self.have.it.name.clone(), what }
    }

    /// A stage with one step.
    fn build(&mut self, what: What) {
        let change = self.change(what);
        self.draft.build([change]);
    }

    fn subnets(&mut self) {
        let Some(want) = &self.asked.subnets else { return };
        let known = &self.site.surroundings.network.subnets;
        let zone = |id: &str| known.get(id).map(|subnet| subnet.zone.as_str());
        let Some(moves) = moves(&self.have.it.subnets, want, zone) else {
            let (have, want) = (joined(&self.have.it.subnets), joined(want));
            self.draft.note(
                "SubnetsKept",
                format!(
                    "the load balancer stays in {have} instead of {want}: AWS takes one subnet in a zone and \
                     lets nobody detach the only one; for that it takes a subnet of another zone beside it"
                ),
            );
            return;
        };
        for step in moves {
            self.build(match step {
                Move::Attach(subnets) => What::Attach(subnets),
                Move::Detach(subnets) => What::Detach(subnets),
            });
        }
    }

    fn security_groups(&mut self) {
        let want = &self.asked.groups;
        let have = self.have.it.groups.iter().cloned().collect();
        if group_ids(want, &self.site.surroundings.groups) != Some(have) {
            self.build(What::SetGroups(want.clone()));
        }
    }

    /// What differs goes before it comes back: AWS has no way to change a listener, but for its certificate.
    fn listeners(&mut self) {
        let (want, have) = (&self.asked.listeners, &self.have.it.listeners);
        let renewed: Vec<_> =
            want.values().filter(|listener| self.is_renewed(listener)).cloned().collect();
        let stays = |port: &u16| renewed.iter().any(|listener| listener.port == *port);
        let stale = have.values().filter(|front| !self.is_wanted(&front.listener));
        let mut ports: BTreeSet<_> = stale.map(|front| front.listener.port).collect();
        ports.retain(|port| !stays(port));
        let mut missing: BTreeSet<_> =
            want.values().filter(|listener| !self.is_there(listener)).cloned().collect();
        missing.retain(|listener| !stays(&listener.port));
        if !ports.is_empty() {
            let is_replaced = ports.iter().any(|port| want.contains_key(port));
            self.build(What::DeleteListeners { ports, is_replaced });
        }
        if !missing.is_empty() {
            self.build(What::CreateListeners(missing));
        }
        for Listener { port, certificate, .. } in renewed {
            let Some(certificate) = certificate else { continue };
            self.build(What::SetCertificate { port, certificate });
        }
    }

    /// Whether a listener is as it should be but for its certificate, and can get another.
    fn is_renewed(&self, listener: &Listener) -> bool {
        let Some(front) = self.have.it.listeners.get(&listener.port) else { return false };
        let there = &front.listener;
        let renewed = Listener { certificate: listener.certificate.clone(), ..there.clone() };
        !self.have.keeps_certificates
            && there.certificate.is_some()
            && listener.certificate.is_some()
            && renewed.does_as(listener)
            && !there.does_as(listener)
    }

    fn is_wanted(&self, listener: &Listener) -> bool {
        self.asked.listeners.get(&listener.port).is_some_and(|want| want.does_as(listener))
    }

    fn is_there(&self, listener: &Listener) -> bool {
        let there = self.have.it.listeners.get(&listener.port);
        there.is_some_and(|front| front.listener.does_as(listener))
    }

    /// Tags are added and set right, and never taken away. The Go program writes those of the
    /// annotation at each sync, and the others only when it makes a load balancer.
    fn tags(&mut self) {
        let (have, cluster) = (&self.have.tags, &self.site.home.cluster);
        let (mut needed, mut left) = (Tags::new(), Tags::new());
        let fixed = cluster.tags();
        for (key, value) in &self.wish.tags {
            let is_fixed = fixed.contains_key(key);
            let is_right = match have.get(key) {
                // `shared` is as good.
                Some(_) if is_fixed && cluster.has(have) => true,
                Some(has) => has == value,
                None => false,
            };
            let goes_first = if is_fixed { !cluster.has(have) } else { key != SERVICE_KEY };
            match (is_right, goes_first) {
                (true, _) => {}
                (false, true) => _ = needed.insert(key.clone(), value.clone()),
                (false, false) => _ = left.insert(key.clone(), value.clone()),
            }
        }
        if !needed.is_empty() {
            self.build(What::Tag(groups::pairs(&needed)));
        }
        if !left.is_empty() {
            let change = self.change(What::Tag(groups::pairs(&left)));
            self.draft.tidy([change]);
        }
    }

    /// Policies of ports of nodes to which nothing is to be sent any more: they would be there again with
    /// the port. They go while a listener still uses the port, or else as the Go program does it.
    fn backends_out_of_use(&mut self) {
        let node_ports = self.asked.node_ports();
        let out_of_use = self.have.it.backends.iter().filter(|(node_port, policies)| {
            !node_ports.contains(node_port) && !policies.is_empty()
        });
        let clear = |node_port: &u16| {
            self.change(What::SetBackend { node_port: *node_port, policies: BTreeSet::new() })
        };
        let steps: Vec<_> = out_of_use.map(|(node_port, _)| clear(node_port)).collect();
        self.draft.build(steps);
    }

    /// Policies of others stay.
    fn proxy_protocol(&mut self) {
        let it = &self.have.it;
        let proxy = Policy::Proxy.name();
        let mut steps = Vec::new();
        for node_port in self.asked.node_ports() {
            let have = it.backends.get(&node_port).cloned().unwrap_or_default();
            let mut policies = have.clone();
            if self.asked.proxy {
                policies.insert(proxy.clone());
            } else {
                policies.remove(&proxy);
            }
            if policies != have {
                steps.push(self.change(What::SetBackend { node_port, policies }));
            }
        }
        if self.asked.proxy && !it.policies.contains(&proxy) {
            self.build(What::CreatePolicy(Policy::Proxy));
        }
        self.draft.build(steps);
    }

    /// The Go program leaves a policy that is not asked for any more.
    fn tls_policies(&mut self) {
        let it = &self.have.it;
        let policy = self.asked.tls_policy.clone().map(Policy::Tls);
        let wanted: BTreeSet<_> = match &policy {
            Some(policy) => BTreeSet::from([policy.name()]),
            None => match self.default_tls_policy() {
                Some(default) => BTreeSet::from([default]),
                None => return,
            },
        };
        let mut steps = Vec::new();
        for listener in self.asked.listeners.values().filter(|listener| listener.is_tls()) {
            let stays = self.is_there(listener) || self.is_renewed(listener);
            let front = it.listeners.get(&listener.port).filter(|_| stays);
            let is_right = match (&policy, front) {
                (Some(_), front) => front.is_some_and(|front| front.policies == wanted),
                (None, front) => !front.is_some_and(|front| {
                    front.policies.iter().any(|name| name.starts_with(TLS_POLICY))
                }),
            };
            if !is_right {
                let what = What::SetListener { port: listener.port, policies: wanted.clone() };
                steps.push(self.change(what));
            }
        }
        match policy {
            Some(_) if steps.is_empty() => {}
            Some(policy) => {
                if !it.policies.contains(&policy.name()) {
                    self.build(What::CreatePolicy(policy));
                }
                self.draft.build(steps);
            }
            None => self.draft.tidy(steps),
        }
    }

    /// AWS' own policy, as far as the load balancer has one: it gets it with the first listener that
    /// speaks TLS.
    fn default_tls_policy(&self) -> Option<String> {
        let mut own: Vec<_> = self.have.it.policies.iter().collect();
        own.retain(|name| name.starts_with("ELBSecurityPolicy-"));
        let known = own.iter().find(|name| **name == DEFAULT_TLS_POLICY);
        known.or(own.first()).map(|name| (*name).clone())
    }

    fn attributes(&mut self) {
        // Looked at wherever one is wished for.
        let Some(have) = &self.have.attributes else { return };
        let what = What::SetAttributes(self.asked.attributes.all.clone());
        match self.asked.attributes.compare(have) {
            Differs::No => {}
            Differs::Yes => self.build(what),
            Differs::InWhatGoLeaves => {
                let change = self.change(what);
                self.draft.tidy([change]);
            }
        }
    }

    fn health_check(&mut self) {
        if self.have.it.health.as_ref() != Some(&self.asked.health) {
            self.build(What::SetHealthCheck(self.asked.health.clone()));
        }
    }
}
