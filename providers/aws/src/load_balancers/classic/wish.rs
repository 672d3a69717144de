//! What a Service asks of a Classic Load Balancer, checked and in the cloud's words. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ccm_core::cloud::{CloudError, Kind, Note, Protocol};

use super::attributes::WantedAttributes;
use super::health;
use crate::client::elb::{HealthCheck, Listener};
use crate::client::groups::{Peer, Rule, SecurityGroup, Traffic};
use crate::load_balancers::annotations::{NETWORK_ALONE, PREFIX};
use crate::load_balancers::groups::{self, WantedGroup};
use crate::load_balancers::site::Site;
use crate::load_balancers::wish::{Port, Wish};
use crate::load_balancers::{names, ranges, subnets};

/// Backend protocols, and what a TLS listener speaks to clients with each of them.
const BACKENDS: [(&str, &str); 4] =
    [("https", "https"), ("http", "https"), ("ssl", "ssl"), ("tcp", "ssl")];

/// What one Service asks of a Classic Load Balancer.
#[derive(Debug)]
pub(crate) struct ClassicWish {
    /// By the port that clients connect to.
    pub(crate) listeners: BTreeMap<u16, Listener>,
    pub(crate) groups: BTreeSet<GroupRef>,
    /// The group that is made for it. `None`: others are named.
    pub(crate) own_group: Option<WantedGroup>,
    /// `None`: they stay as they are, because its scheme is another than the one that is asked for.
    pub(crate) subnets: Option<BTreeSet<String>>,
    pub(crate) health: HealthCheck,
    pub(crate) attributes: WantedAttributes,
    /// Whether nodes are told the client by the PROXY protocol.
    pub(crate) proxy: bool,
    /// AWS' name of the security policy of listeners that speak TLS. `None`: nothing was said.
    pub(crate) tls_policy: Option<String>,
    pub(crate) notes: Vec<Note>,
}

/// A security group, as it is found after a crash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum GroupRef {
    /// `sg-…`: somebody else's.
    Id(String),
    /// The one of this name that is made for the load balancer.
    Own(String),
}

impl fmt::Display for GroupRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(name) | Self::Own(name) => f.write_str(name),
        }
    }
}

/// The IDs of these groups. `None` where one of them is not there.
pub(crate) fn group_ids(
    refs: &BTreeSet<GroupRef>,
    groups: &[SecurityGroup],
) -> Option<BTreeSet<String>> {
    let id = |one: &GroupRef| match one {
        GroupRef::Id(id) => Some(id.clone()),
        GroupRef::Own(name) => groups::find(groups, name).map(|group| group.id.clone()),
    };
    refs.iter().map(id).collect()
}

impl ClassicWish {
    /// Reads what a Service asks for, or says all that is wrong with it.
    ///
    /// `internal` is the scheme of the load balancer that is there, which AWS cannot change.
    pub(crate) fn read(
        site: &Site<'_>,
        wish: &Wish<'_>,
        internal: Option<bool>,
    ) -> Result<Self, CloudError> {
        let (mut wrong, mut notes) = (Vec::new(), Vec::new());
        foreign_annotations(wish, &mut wrong, &mut notes);
        let listeners = listeners(wish, &mut wrong, &mut notes);
        let (groups, own_group) = groups(site, wish, &mut wrong, &mut notes);
        let subnets = subnets(site, wish, internal, &mut wrong, &mut notes);
        let health = health::read(site.config, wish, &mut wrong);
        let attributes = WantedAttributes::read(&wish.said, &mut wrong);
        let tls_policy = wish.said.tls_policy.clone();
        if tls_policy.as_deref() == Some("") {
            wrong.push(format!(
                "annotation {PREFIX}ssl-negotiation-policy=\"\": must be the name of a security \
                 policy, like ELBSecurityPolicy-TLS-1-2-2017-01"
            ));
        }
        if !wrong.is_empty() {
            return Err(CloudError::new(Kind::InvalidConfiguration, wrong.join("; ")));
        }
        let proxy = wish.said.proxy_protocol.is_some();
        Ok(Self {
            listeners,
            groups,
            own_group,
            subnets,
            health,
            attributes,
            proxy,
            tls_policy,
            notes,
        })
    }

    /// The ports of the nodes that traffic is sent to.
    pub(crate) fn node_ports(&self) -> BTreeSet<u16> {
        self.listeners.values().map(|listener| listener.node_port).collect()
    }
}

fn ignored(message: String) -> Note {
    Note { reason: "AnnotationIgnored", message }
}

/// What only the other kind understands.
fn foreign_annotations(wish: &Wish<'_>, wrong: &mut Vec<String>, notes: &mut Vec<Note>) {
    let said = &wish.spec.identity.annotations;
    for key in NETWORK_ALONE {
        let Some(value) = said.get(&format!("{PREFIX}{key}")) else { continue };
        if key == "target-group-attributes" {
            wrong.push(format!(
                "annotation {PREFIX}{key}={value:?}: a Classic Load Balancer has no target groups; take it \
                 away, or set {PREFIX}type to nlb on a new Service"
            ));
        } else {
            notes.push(ignored(format!(
                "annotation {PREFIX}{key}={value:?}: AWS chooses the addresses of a Classic Load Balancer; \
                 only type nlb takes them"
            )));
        }
    }
}

/// One for each port.
///
/// | TLS | backend-protocol | to clients | to nodes |
/// |---|---|---|---|
/// | no | `http` | http | http |
/// | no | anything else | tcp | tcp |
/// | yes | none | ssl | tcp |
/// | yes | `https`, `http` | https | https, http |
/// | yes | `ssl`, `tcp` | ssl | ssl, tcp |
/// | yes | anything else | refused | |
fn listeners(
    wish: &Wish<'_>,
    wrong: &mut Vec<String>,
    notes: &mut Vec<Note>,
) -> BTreeMap<u16, Listener> {
    let said = wish.said.backend_protocol.as_deref().unwrap_or_default();
    let known = BACKENDS.iter().find(|(backend, _)| *backend == said);
    let accepted = "http, https, ssl or tcp";
    if known.is_none() && !said.is_empty() {
        let line = format!("annotation {PREFIX}backend-protocol={said:?}: must be {accepted}");
        if wish.ports.iter().any(|port| port.is_tls) {
            wrong.push(line);
        } else {
            notes.push(ignored(format!("{line}; tcp is taken")));
        }
    }
    if wish.ports.iter().any(|port| port.protocol != Protocol::Tcp) {
        wrong.push(format!(
            "spec.ports: a Classic Load Balancer takes TCP alone; for UDP set annotation {PREFIX}type \
             to nlb when the Service is made"
        ));
    }
    let listener = |port: &Port| {
        let (protocol, node_protocol) = match (port.is_tls, known) {
            (false, Some(("http", _))) => ("http", "http"),
            (false, _) => ("tcp", "tcp"),
            (true, Some((backend, front))) => (*front, *backend),
            (true, None) => ("ssl", "tcp"),
        };
        let certificate = port.is_tls.then(|| wish.said.certificate.clone()).flatten();
        Listener {
            port: port.port,
            protocol: protocol.to_owned(),
            node_port: port.node_port,
            node_protocol: node_protocol.to_owned(),
            certificate,
        }
    };
    wish.ports.iter().map(|port| (port.port, listener(port))).collect()
}

/// Those of the annotation, or else the one of the configuration, or else one that is made for it;
/// and the extra ones.
fn groups(
    site: &Site<'_>,
    wish: &Wish<'_>,
    wrong: &mut Vec<String>,
    notes: &mut Vec<Note>,
) -> (BTreeSet<GroupRef>, Option<WantedGroup>) {
    let said = &wish.said;
    let ids = |ids: &[String]| ids.iter().cloned().map(GroupRef::Id).collect::<BTreeSet<_>>();
    let mut groups = ids(said.security_groups.as_deref().unwrap_or_default());
    if groups.is_empty() {
        groups.extend(site.config.elb_security_group.clone().map(GroupRef::Id));
    }
    let own = groups.is_empty().then(|| own_group(wish, wrong, notes));
    groups.extend(own.as_ref().map(|own| GroupRef::Own(own.name.clone())));
    groups.append(&mut ids(said.extra_security_groups.as_deref().unwrap_or_default()));
    (groups, own)
}

/// One rule for each port and range, ports without a node port among them, as the Go program has it; and
/// one for each range that lets hosts learn that their packets are too large.
fn own_group(wish: &Wish<'_>, wrong: &mut Vec<String>, notes: &mut Vec<Note>) -> WantedGroup {
    let mut rules = BTreeSet::new();
    for range in wish.v4_ranges() {
        let rule = |what| Rule { what, peer: Peer::V4(range), description: None };
        let ports = wish.spec.ports.iter().map(|port| port.port.get());
        rules.extend(ports.map(|port| rule(Traffic::port("tcp", port))));
        rules.insert(rule(Traffic::path_mtu()));
    }
    ranges::check(wish, "Classic", wrong, notes);
    WantedGroup {
        service: wish.id.clone(),
        name: names::classic_group(&wish.name),
        description: format!("Classic Load Balancer {} of Service {}", wish.name, wish.id),
        tags: wish.group_tags.clone(),
        rules,
    }
}

/// The Go program moves a load balancer whose annotation was changed to subnets of the other
/// scheme, where nobody reaches it any more.
fn subnets(
    site: &Site<'_>,
    wish: &Wish<'_>,
    internal: Option<bool>,
    wrong: &mut Vec<String>,
    notes: &mut Vec<Note>,
) -> Option<BTreeSet<String>> {
    let asked = wish.said.is_internal();
    if let Some(internal) = internal.filter(|internal| *internal != asked) {
        let scheme = |internal| if internal { "internal" } else { "internet-facing" };
        notes.push(Note {
            reason: "SchemeKept",
            message: format!(
                "annotation {PREFIX}internal: the load balancer was made {} and stays so, in its subnets; \
                 AWS cannot make it {}: for that the Service has to be made anew",
                scheme(internal),
                scheme(asked)
            ),
        });
        return None;
    }
    let around = site.surroundings;
    let named = wish.said.subnets.as_deref();
    match subnets::choose(&around.network, &around.zones, site.home, named, asked) {
        Ok(subnets) => {
            wrong.extend(subnets::twins(&subnets));
            Some(subnets.into_iter().map(|subnet| subnet.id.clone()).collect())
        }
        Err(err) => {
            wrong.push(err.message().to_owned());
            None
        }
    }
}
