//! One change of a Network Load Balancer, as data. Everything is called by its name, load balancers
//! and target groups, or by its port, listeners; ARNs come from what was observed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ccm_core::cloud::Effect;

use crate::client::elbv2::{Address, HealthSettings, ListenerSettings, Protocol, Target};
use crate::marks::MANAGED_KEY;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NetworkChange {
    /// Makes the load balancer.
    Create {
        name: String,
        is_internal: bool,
        /// `subnet-…`, each with the address to have there.
        subnets: Vec<(String, Option<Address>)>,
        security_groups: Shield,
        tags: BTreeMap<String, String>,
    },
    /// Sets its security groups.
    Protect { name: String, security_groups: Shield },
    /// Sets some of its attributes.
    SetAttributes { name: String, attributes: BTreeMap<String, String> },
    /// Adds tags to one piece, or changes their values.
    Tag { piece: Piece, tags: BTreeMap<String, String> },
    /// Makes a target group of instances.
    CreateGroup {
        name: String,
        protocol: Protocol,
        node_port: u16,
        health: HealthSettings,
        tags: BTreeMap<String, String>,
    },
    /// Changes a health check.
    SetHealth { group: String, health: HealthSettings },
    /// Sets some attributes of a target group.
    SetGroupAttributes { group: String, attributes: BTreeMap<String, String> },
    /// Adds targets, at most 100.
    Register { group: String, targets: BTreeSet<Target> },
    /// Lets targets go, at most 100.
    Deregister { group: String, targets: BTreeSet<Target> },
    /// Makes a listener.
    CreateListener {
        balancer: String,
        port: u16,
        settings: ListenerSettings,
        group: String,
        tags: BTreeMap<String, String>,
    },
    /// Changes what a listener speaks and where it forwards to.
    SetListener { balancer: String, port: u16, settings: ListenerSettings, group: String },
    /// Deletes a listener.
    DeleteListener { balancer: String, port: u16 },
    /// Deletes a target group.
    DeleteGroup { name: String },
    /// Deletes the load balancer, with its listeners.
    Delete { name: String },
}

/// Which security groups a load balancer has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shield {
    /// None, for good.
    None,
    /// These, by `sg-…`.
    These(BTreeSet<String>),
    /// The one of this name that is made for it.
    Own(String),
}

/// What bears tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Piece {
    Balancer(String),
    Group(String),
    /// Of the load balancer of this name, at this port.
    Listener(String, u16),
}

impl NetworkChange {
    /// Whether it is about nothing but which nodes are targets.
    pub(crate) fn is_of_targets(&self) -> bool {
        matches!(self, Self::Register { .. } | Self::Deregister { .. })
    }

    /// Whether it does nothing but mark the load balancer as looked after.
    pub(crate) fn is_mark(&self) -> bool {
        match self {
            Self::Tag { piece: Piece::Balancer(_), tags } => tags.keys().eq([MANAGED_KEY]),
            _ => false,
        }
    }

    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::Create { .. } | Self::CreateGroup { .. } | Self::CreateListener { .. } => {
                Effect::Create
            }
            Self::Protect { .. }
            | Self::SetAttributes { .. }
            | Self::Tag { .. }
            | Self::SetHealth { .. }
            | Self::SetGroupAttributes { .. }
            | Self::Register { .. }
            | Self::Deregister { .. }
            | Self::SetListener { .. } => Effect::Update,
            Self::DeleteListener { .. } | Self::DeleteGroup { .. } | Self::Delete { .. } => {
                Effect::Delete
            }
        }
    }
}

impl fmt::Display for NetworkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, is_internal, subnets, security_groups, .. } => {
                let scheme = if *is_internal { "internal" } else { "internet-facing" };
                let subnets: Vec<_> = subnets.iter().map(place).collect();
                write!(
                    f,
                    "create {scheme} Network Load Balancer {name} in {}",
                    subnets.join(", ")
                )?;
                match security_groups {
                    Shield::None => Ok(()),
                    some => write!(f, " with {some}"),
                }
            }
            Self::Protect { name, security_groups } => {
                write!(f, "set security groups of {name}: {security_groups}")
            }
            Self::SetAttributes { name, attributes } => {
                write!(f, "set attributes of {name}: {}", pairs(attributes))
            }
            Self::Tag { piece, tags } => write!(f, "tag {piece}: {}", pairs(tags)),
            Self::CreateGroup { name, protocol, node_port, health, .. } => {
                write!(f, "create target group {name} for {protocol} {node_port} ({health})")
            }
            Self::SetHealth { group, health } => {
                write!(f, "set health check of target group {group}: {health}")
            }
            Self::SetGroupAttributes { group, attributes } => {
                write!(f, "set attributes of target group {group}: {}", pairs(attributes))
            }
            Self::Register { group, targets } => {
                write!(f, "register in target group {group}: {}", some(targets))
            }
            Self::Deregister { group, targets } => {
                write!(f, "deregister from target group {group}: {}", some(targets))
            }
            Self::CreateListener { balancer, port, settings, group, .. } => {
                write!(f, "create listener {port} of {balancer} for {}", spoken(settings))?;
                write!(f, " to target group {group}")
            }
            Self::SetListener { balancer, port, settings, group } => {
                write!(f, "set listener {port} of {balancer}: {}", spoken(settings))?;
                write!(f, " to target group {group}")
            }
            Self::DeleteListener { balancer, port } => {
                write!(f, "delete listener {port} of {balancer}")
            }
            Self::DeleteGroup { name } => write!(f, "delete target group {name}"),
            Self::Delete { name } => write!(f, "delete Network Load Balancer {name}"),
        }
    }
}

impl fmt::Display for Shield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no security group"),
            Self::These(ids) => f.write_str(&ids.iter().cloned().collect::<Vec<_>>().join(", ")),
            Self::Own(name) => write!(f, "security group {name}"),
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancer(name) => write!(f, "Network Load Balancer {name}"),
            Self::Group(name) => write!(f, "target group {name}"),
            Self::Listener(balancer, port) => write!(f, "listener {port} of {balancer}"),
        }
    }
}

fn place((subnet, address): &(String, Option<Address>)) -> String {
    match address {
        None => subnet.clone(),
        Some(Address::Allocation(id)) => format!("{subnet} at {id}"),
        Some(Address::Private(ip)) => format!("{subnet} at {ip}"),
    }
}

fn pairs(pairs: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

/// The first and the last, where there are many.
fn some(targets: &BTreeSet<Target>) -> String {
    match (targets.first(), targets.last()) {
        (Some(one), Some(last)) if one != last => {
            format!("{} instances ({} … {})", targets.len(), one.id, last.id)
        }
        (Some(one), _) => one.id.clone(),
        (None, _) => "nothing".to_owned(),
    }
}

fn spoken(settings: &ListenerSettings) -> String {
    let ListenerSettings { protocol, certificate, policy } = settings;
    let extra = [("certificate", certificate), ("policy", policy)];
    let extra = extra.into_iter().filter_map(|(word, it)| Some(format!("{word} {}", it.as_ref()?)));
    match extra.collect::<Vec<_>>().as_slice() {
        [] => protocol.to_string(),
        extra => format!("{protocol} ({})", extra.join(", ")),
    }
}
