//! What each Service claims of the nodes' security groups. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ccm_core::cloud::{Identity, LoadBalancerSpec, Member, ObjectId, Protocol, Want};
use ipnet::Ipv4Net;

use super::super::annotations::{Kind, PREFIX, ServiceAnnotations};
use super::super::members::{Members, Roll};
use super::super::wish::{Wish, annotations};
use super::super::{names, network};
use super::observe::Seen;
use super::{CLIENT, HEALTH};
use crate::client::groups::{Peer, Rule, SecurityGroup, Traffic};
use crate::config::{Config, HealthProbe};
use crate::ground::Cluster;

/// Rules by the ID of the group that they are to be in.
pub(crate) type Rules = BTreeMap<String, BTreeSet<Rule>>;

/// What one Service claims.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) id: &'a ObjectId,
    /// The load balancer's name.
    pub(crate) balancer: String,
    pub(crate) stance: Stance,
    /// Security groups from which the Service's traffic comes or came: rules that let all through
    /// that comes from one of them are this Service's.
    pub(crate) sources: BTreeSet<String>,
    /// The Classic Load Balancer's own group, by ID, where it is not used any more: it cannot go
    /// while a rule names it.
    pub(crate) leaving: Option<String>,
}

/// How a Service stands to the rules.
#[derive(Debug)]
pub(crate) enum Stance {
    /// These are to be there, and none of its own besides.
    Wants {
        rules: Rules,
        /// Whether there is nothing to ask for health checks beside the clients' rules. The Go
        /// program does not look at health rules then, and leaves those of before.
        skips_health: bool,
        kind: Kind,
    },
    /// What it has stays, and so do these, whoever made them.
    Keeps {
        rules: Rules,
        /// It wants more than that, and AWS does not show the load balancer yet, which was just made.
        is_unseen: bool,
    },
    /// Nothing is to be left.
    Goes,
    /// It has nothing here: what bears its name is another cluster's.
    Foreign,
}

/// What claims are made beside.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) config: &'a Config,
    pub(crate) roll: &'a Roll,
    pub(crate) nodes: &'a Arc<[Member]>,
}

impl Place<'_> {
    /// Whether a group is the one of the configuration, which is nobody's.
    pub(crate) fn is_operators(&self, group: &str) -> bool {
        self.config.elb_security_group.as_deref() == Some(group)
    }
}

impl<'a> Claim<'a> {
    pub(crate) fn of(place: &Place<'_>, want: &'a Want<LoadBalancerSpec>, seen: &Seen) -> Self {
        let Identity { id, annotations, .. } = &**want.identity();
        let balancer = names::load_balancer(&id.uid);
        let none = Vec::new();
        let attached = seen.classics.get(&balancer).unwrap_or(&none);
        let own_name = names::classic_group(&balancer);
        let own = seen.groups.iter().find(|it| it.name == own_name).map(|it| it.id.clone());
        // One that an annotation names stays.
        let is_named = |id: &String| ServiceAnnotations::name_group(annotations, id);
        let is_leaving = |id: &String| {
            !is_named(id) && (matches!(want, Want::Absent(_)) || !attached.contains(id))
        };
        let leaving = own.clone().filter(is_leaving);
        let source = || source(place.cluster, annotations, attached, &seen.groups);
        let mut sources: BTreeSet<String> = match want {
            // Which of them its traffic comes from depends on what it said before.
            Want::Keep(_) => attached.iter().cloned().collect(),
            Want::Present(_) => source().into_iter().collect(),
            // The operator's own group, which many may share, is nobody's.
            Want::Absent(_) => source().filter(|id| !place.is_operators(id)).into_iter().collect(),
        };
        sources.extend(own);
        let mut claim = Self { id, balancer, stance: Stance::Foreign, sources, leaving };
        claim.stance = match want {
            // Another cluster's are not ours to close.
            Want::Absent(_) if seen.foreign.contains(&claim.balancer) => Stance::Foreign,
            Want::Absent(_) => Stance::Goes,
            Want::Keep(_) => claim.kept(place, annotations, seen, false),
            Want::Present(spec) => {
                let wanted = claim.wants(place, spec, seen, source());
                let is_unseen = claim.is_unseen(spec, seen);
                wanted.unwrap_or_else(|| claim.kept(place, annotations, seen, is_unseen))
            }
        };
        claim
    }

    /// Whether AWS shows no load balancer of the kind that the Service asks for. It is there: whoever has
    /// none yet is not asked what he wants here.
    fn is_unseen(&self, spec: &LoadBalancerSpec, seen: &Seen) -> bool {
        match annotations(spec).kind {
            Kind::Elsewhere => false,
            Kind::Network => !seen.networks.contains_key(&self.balancer),
            Kind::Classic | Kind::Unheard => !seen.classics.contains_key(&self.balancer),
        }
    }

    /// What a Service wants. `None`: that cannot be said.
    fn wants(
        &self,
        place: &Place<'_>,
        spec: &LoadBalancerSpec,
        seen: &Seen,
        source: Option<String>,
    ) -> Option<Stance> {
        let wish = Wish::read(spec, place.cluster).ok()?;
        let labels = ServiceAnnotations::node_labels(&spec.identity.annotations);
        let members = place.roll.of(place.nodes, &labels);
        let kind = wish.said.kind;
        let (each, skips_health) = match kind {
            // One that the Go program has made may serve on.
            Kind::Elsewhere if seen.has(&self.balancer) => return None,
            Kind::Elsewhere => return Some(Stance::Goes),
            // It is refused.
            Kind::Network if wish.v4_ranges().next().is_none() => return None,
            Kind::Network => {
                let subnets = seen.networks.get(&self.balancer)?;
                let health = network::health_ports(place.config, &wish)?;
                network_rules(&wish, &self.balancer, subnets, &health)
            }
            Kind::Classic | Kind::Unheard => (BTreeSet::from([reference(source?)]), true),
        };
        let groups = groups_of(place, &members, &seen.groups);
        let mut rules: Rules = groups.into_iter().map(|group| (group, each.clone())).collect();
        if members.has_doubts {
            for group in &seen.groups {
                rules.entry(group.id.clone()).or_insert_with(|| self.in_doubt(group, &each));
            }
        }
        Some(Stance::Wants { rules, skips_health, kind })
    }

    /// What stays in a group that a node may be in of which nothing is known: what the Service has
    /// there, and what others have made and it would have.
    fn in_doubt(&self, group: &SecurityGroup, each: &BTreeSet<Rule>) -> BTreeSet<Rule> {
        let is_there = |rule: &&Rule| group.ingress.iter().any(|it| it.bare() == rule.bare());
        let own = group.ingress.iter().filter(|rule| self.has(rule));
        own.chain(each.iter().filter(is_there)).cloned().collect()
    }

    /// What a Service needs that keeps what it has, though others made it: whoever goes must not cut off
    /// somebody who cannot be read.
    fn kept(
        &self,
        place: &Place<'_>,
        annotations: &BTreeMap<String, String>,
        seen: &Seen,
        is_unseen: bool,
    ) -> Stance {
        let mut rules = self.needed_health(place, annotations, seen);
        for group in &seen.groups {
            let references: BTreeSet<_> =
                group.ingress.iter().filter(|rule| self.is_reference(rule)).cloned().collect();
            if !references.is_empty() {
                rules.entry(group.id.clone()).or_default().extend(references);
            }
        }
        Stance::Keeps { rules, is_unseen }
    }

    /// Where kube-proxy is asked for all Services, or several Services name one port, one load balancer's rule
    /// may be what lets another's health checks through.
    fn needed_health(
        &self,
        place: &Place<'_>,
        annotations: &BTreeMap<String, String>,
        seen: &Seen,
    ) -> Rules {
        let named = || annotations.get(&format!("{PREFIX}healthcheck-port"))?.parse().ok();
        let port = match &place.config.health_probe {
            HealthProbe::Shared { port, .. } => Some(port.get()),
            HealthProbe::ServiceNodePort => named(),
        };
        let Some((port, subnets)) = port.zip(seen.networks.get(&self.balancer)) else {
            return Rules::new();
        };
        let rules: BTreeSet<_> =
            health_rules(&self.balancer, subnets, &BTreeSet::from([port])).collect();
        // Not where they go to a port of its own, as with `externalTrafficPolicy: Local`.
        let has_own = |rule: &Rule| self.is_health(rule) && rule.what != Traffic::port("tcp", port);
        if seen.groups.iter().any(|group| group.ingress.iter().any(has_own)) {
            return Rules::new();
        }
        // Where its clients are let through, its health checks have to be.
        let has_clients =
            |group: &&SecurityGroup| group.ingress.iter().any(|rule| self.is_client(rule));
        let groups = seen.groups.iter().filter(has_clients);
        groups.map(|group| (group.id.clone(), rules.clone())).collect()
    }

    /// Whether a rule is this Service's.
    pub(crate) fn has(&self, rule: &Rule) -> bool {
        self.is_client(rule) || self.is_health(rule) || self.is_reference(rule)
    }

    pub(crate) fn is_client(&self, rule: &Rule) -> bool {
        bears(rule, CLIENT, &self.balancer)
    }

    pub(crate) fn is_health(&self, rule: &Rule) -> bool {
        bears(rule, HEALTH, &self.balancer)
    }

    /// Whether a rule lets one of its security groups through.
    pub(crate) fn is_reference(&self, rule: &Rule) -> bool {
        matches!(&rule.peer, Peer::Group(id) if self.sources.contains(id))
            && rule.what == Traffic::all()
            && rule.description.is_none()
    }
}

fn bears(rule: &Rule, prefix: &str, balancer: &str) -> bool {
    rule.description.as_deref().and_then(|text| text.strip_prefix(prefix)) == Some(balancer)
}

/// The groups that get rules: of each instance the one that bears the cluster's tag, or its only one.
///
/// Where several bear it, or several do not and none does, the Go program gives up; here the first by
/// its ID serves: one is enough to let traffic through. The operator's own group does where it is the
/// only one, and is left alone then.
fn groups_of(place: &Place<'_>, members: &Members, seen: &[SecurityGroup]) -> BTreeSet<String> {
    let is_marked =
        |id: &String| seen.iter().any(|group| group.id == *id && place.cluster.has(&group.tags));
    let rank = |id: &&String| (place.is_operators(id), !is_marked(id));
    let of_instance = |groups: &BTreeSet<String>| groups.iter().min_by_key(rank).cloned();
    members.security_groups.iter().filter_map(of_instance).collect()
}

/// The rules of a Network Load Balancer, and whether its health checks need none of their own.
fn network_rules(
    wish: &Wish<'_>,
    balancer: &str,
    subnets: &BTreeSet<Ipv4Net>,
    health: &BTreeSet<u16>,
) -> (BTreeSet<Rule>, bool) {
    let is_udp = wish.ports.iter().any(|port| port.protocol == Protocol::Udp);
    let protocol = if is_udp { "udp" } else { "tcp" };
    let ports: BTreeSet<u16> = wish.ports.iter().map(|port| port.node_port).collect();
    let client = Some(format!("{CLIENT}{balancer}"));
    let mut rules = BTreeSet::new();
    for port in &ports {
        rules.extend(wish.v4_ranges().map(|range| Rule {
            what: Traffic::port(protocol, *port),
            peer: Peer::V4(range),
            description: client.clone(),
        }));
    }
    let is_everybody = wish.v4_ranges().eq([Ipv4Net::default()]);
    let skips_health = is_everybody && !is_udp && *health == ports;
    if !skips_health {
        rules.extend(health_rules(balancer, subnets, health));
    }
    (rules, skips_health)
}

fn health_rules(
    balancer: &str,
    subnets: &BTreeSet<Ipv4Net>,
    ports: &BTreeSet<u16>,
) -> impl Iterator<Item = Rule> {
    let description = Some(format!("{HEALTH}{balancer}"));
    ports.iter().flat_map(move |port| {
        let description = description.clone();
        subnets.iter().map(move |subnet| Rule {
            what: Traffic::port("tcp", *port),
            peer: Peer::V4(*subnet),
            description: description.clone(),
        })
    })
}

/// What lets through whoever is in a security group.
fn reference(group: String) -> Rule {
    Rule { what: Traffic::all(), peer: Peer::Group(group), description: None }
}

/// The security group of a Classic Load Balancer that nodes let through: the first of those attached,
/// in the order of the annotation, then its own, then the extra ones; one that bears the cluster's
/// tag goes before others.
///
/// Where the two disagree, the Go program's choice follows the order of AWS' answer, and the one that is
/// let through is the one that it chose.
///
/// It looks at rules that name this one alone: those that name others are people's own.
fn source(
    cluster: &Cluster,
    annotations: &BTreeMap<String, String>,
    attached: &[String],
    seen: &[SecurityGroup],
) -> Option<String> {
    // As they stand: of what goes, the other annotations may not be readable.
    let said = |key: &str| annotations.get(&format!("{PREFIX}{key}")).map_or("", String::as_str);
    let (first, last) = (said("security-groups"), said("extra-security-groups"));
    let place_in = |list: &str, id: &str| list.split(',').position(|it| it.trim() == id);
    let is_marked = |id: &str| seen.iter().any(|it| it.id == id && cluster.has(&it.tags));
    let place = |id: &str| match (place_in(first, id), place_in(last, id)) {
        (Some(place), _) => (0, place),
        (None, None) => (1, 0),
        (None, Some(place)) => (2, place),
    };
    let marked = attached.iter().min_by_key(|id| (!is_marked(id), place(id)))?;
    let named = attached.iter().min_by_key(|id| place(id))?;
    let is_let_in = |id: &str| {
        let rule = reference(id.to_owned());
        seen.iter().any(|group| group.ingress.contains(&rule))
    };
    let is_named = named != marked && is_let_in(named) && !is_let_in(marked);
    Some(if is_named { named } else { marked }.clone())
}
