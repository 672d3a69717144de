//! What a Service asks of a Network Load Balancer. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{CloudError, Kind, Note, Protocol as Transport};

use super::super::annotations::{PREFIX, PRESERVE_CLIENT_IP, ServiceAnnotations};
use super::super::groups::WantedGroup;
use super::super::names::{self, TargetGroupTraits};
use super::super::ranges;
use super::super::site::Site;
use super::super::wish::{Port, Wish};
use super::attributes;
use super::found::{Claim, Found, Group};
use super::health::HealthWish;
use crate::client::elbv2::{Attributes, ListenerSettings, Protocol};
use crate::client::groups::{Peer, Rule, Traffic};

/// What one Service asks for.
#[derive(Debug)]
pub(super) struct NetworkWish<'a> {
    pub(super) base: &'a Wish<'a>,
    /// By port.
    pub(super) fronts: BTreeMap<u16, Front>,
    pub(super) health: HealthWish,
    /// Of the load balancer.
    pub(super) attributes: Attributes,
    /// Of target groups, as far as they are named.
    pub(super) group_attributes: BTreeMap<&'static str, bool>,
    pub(super) notes: Vec<Note>,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Front {
    pub(super) port: u16,
    pub(super) node_port: u16,
    pub(super) settings: ListenerSettings,
    /// What targets are spoken to.
    pub(super) protocol: Protocol,
    /// What a target group for it is called that is made now.
    pub(super) group: String,
    /// And where another load balancer has one of that name.
    pub(super) spare: String,
}

impl Front {
    /// Whether a group can serve it. The rest of a group can be changed.
    pub(super) fn fits(&self, vpc: &str, group: &Group) -> bool {
        let it = &group.it;
        group.claim != Claim::Elsewhere
            && it.target_type == "instance"
            && it.vpc == vpc
            && it.protocol == self.protocol
            && it.port == self.node_port
    }
}

/// What a Service asks for at a port, whatever its other annotations say.
pub(super) fn fronts(wish: &Wish<'_>, cluster: &str, health: &HealthWish) -> BTreeMap<u16, Front> {
    let front = |port: &Port| {
        let said = &*wish.said;
        let (spoken, protocol) = protocols(port, said);
        let is_tls = spoken == Protocol::Tls;
        let filled = |text: &Option<String>| text.clone().filter(|text| is_tls && !text.is_empty());
        let traits = TargetGroupTraits {
            cluster,
            port: port.port,
            node_port: port.node_port,
            protocol: protocol.as_str(),
            health_protocol: health.protocol.as_str(),
            health_interval: health.interval,
        };
        let group = names::target_group(wish.id, &traits);
        let spare = names::spare_target_group(wish.id, &traits);
        let settings = ListenerSettings {
            protocol: spoken,
            certificate: filled(&said.certificate),
            policy: filled(&said.tls_policy),
        };
        let Port { port, node_port, .. } = *port;
        (port, Front { port, node_port, settings, protocol, group, spare })
    };
    wish.ports.iter().map(front).collect()
}

/// What is spoken by the listener, and to targets.
fn protocols(port: &Port, said: &ServiceAnnotations) -> (Protocol, Protocol) {
    match (port.protocol, port.is_tls) {
        (Transport::Udp, _) => (Protocol::Udp, Protocol::Udp),
        (_, false) => (Protocol::Tcp, Protocol::Tcp),
        (_, true) if said.backend_protocol.as_deref() == Some("ssl") => {
            (Protocol::Tls, Protocol::Tls)
        }
        (_, true) => (Protocol::Tls, Protocol::Tcp),
    }
}

impl<'a> NetworkWish<'a> {
    /// Reads it, or says all that is wrong with it.
    pub(super) fn read(base: &'a Wish<'a>, site: &Site<'_>) -> Result<Self, CloudError> {
        let said = &*base.said;
        let mut wrong = Vec::new();
        if let Some(ids) = said.extra_security_groups.as_deref().filter(|ids| !ids.is_empty()) {
            wrong.push(format!(
                "annotation {PREFIX}extra-security-groups={:?}: a Network Load Balancer takes none; \
                 {PREFIX}security-groups names all of its groups",
                ids.join(",")
            ));
        }
        let group_attributes = said.target_group_attributes.clone().unwrap_or_default().0;
        let has_udp = base.ports.iter().any(|port| port.protocol == Transport::Udp);
        if has_udp && group_attributes.get(PRESERVE_CLIENT_IP) == Some(&false) {
            wrong.push(format!(
                "annotation {PREFIX}target-group-attributes={PRESERVE_CLIENT_IP}=false: targets of UDP \
                 ports always see the client's address"
            ));
        }
        let mut notes = Vec::new();
        ranges::check(base, "Network", &mut wrong, &mut notes);
        let health = HealthWish::read(base.spec, said, &site.config.health_probe, &mut wrong);
        let attributes = attributes::of_balancer(said, &mut wrong);
        if !wrong.is_empty() {
            return Err(CloudError::new(Kind::InvalidConfiguration, wrong.join("; ")));
        }
        let fronts = fronts(base, &site.home.cluster.id, &health);
        Ok(Self { base, fronts, health, attributes, group_attributes, notes })
    }

    /// Leaves what the listeners speak of a load balancer that was taken over: the Go program fails to change
    /// that, so they may have served so for years, and clients speak it. An error where what is asked for
    /// comes by another transport, which is let through to the nodes by other rules.
    pub(super) fn taken_over(mut self, found: &Found) -> Result<Self, CloudError> {
        let Some(balancer) = found.balancer.as_ref().filter(|_| self.base.is_as_found) else {
            return Ok(self);
        };
        let (mut left, mut wrong) = (Vec::new(), Vec::new());
        for (port, front) in &mut self.fronts {
            let Some(ear) = balancer.listeners.get(port) else { continue };
            let (have, want) = (&ear.it.settings.protocol, &front.settings.protocol);
            if have == want {
                continue;
            }
            let line = format!("port {port} serves {}, and {}", have.as_str(), want.as_str());
            if let (Protocol::Udp, Protocol::Tcp | Protocol::Tls)
            | (Protocol::Tcp | Protocol::Tls, Protocol::Udp) = (have, want)
            {
                wrong.push(format!("{line} is asked for"));
                continue;
            }
            left.push(format!("{line} with the next change of the Service"));
            front.settings = ear.it.settings.clone();
            // With the group that it has, whatever the node port is by now: the Go program makes none.
            if let Some(group) = found.groups_of(&ear.it).next() {
                front.protocol = group.it.protocol.clone();
                front.node_port = group.it.port;
            }
        }
        if !wrong.is_empty() {
            let message = format!(
                "spec.ports: taken over as it is, and left so, because clients would be cut off: {}. Put \
                 the protocol back to keep it. To have it changed, put it back, and then change it once \
                 more",
                wrong.join("; ")
            );
            return Err(CloudError::new(Kind::InvalidConfiguration, message));
        }
        if !left.is_empty() {
            let message = format!("taken over as it is: {}", left.join("; "));
            self.notes.push(Note { reason: "LeftAsFound", message });
        }
        Ok(self)
    }

    /// The security groups that the annotation names. `None`: it names none, or does not count.
    pub(super) fn named_groups(&self, manages: bool) -> Option<BTreeSet<String>> {
        let named = self.base.said.security_groups.as_ref().filter(|_| manages)?;
        (!named.is_empty()).then(|| named.iter().cloned().collect())
    }

    /// The security group that is made for the load balancer.
    pub(super) fn own_group(&self, site: &Site<'_>) -> WantedGroup {
        let mut rules = BTreeSet::new();
        for range in self.base.v4_ranges() {
            let mut allow = |what| {
                rules.insert(Rule { what, peer: Peer::V4(range), description: None });
            };
            for front in self.fronts.values() {
                // A listener of TLS is reached by TCP.
                let protocol = if front.settings.protocol == Protocol::Udp { "udp" } else { "tcp" };
                allow(Traffic::port(protocol, front.port));
            }
            allow(Traffic::path_mtu());
        }
        WantedGroup {
            service: self.base.id.clone(),
            name: names::network_group(site.cluster_name, site.id),
            description: format!(
                "Security group for Kubernetes NLB {} ({})",
                self.base.name, self.base.id
            ),
            tags: self.base.group_tags.clone(),
            rules,
        }
    }
}
