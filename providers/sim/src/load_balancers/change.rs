//! One change, as data.
//!
//! A change names things as they are found after a crash: an address by its family, a target group
//! by its protocol and node port. Only what goes, or gets other tags, is named by the cloud's ID as
//! well, because it may be one of two that are otherwise alike.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use ccm_core::cloud::{Change, Effect, ObjectId};
use simcloud::api::{
    Address, HealthCheck, InstanceId, IpFamily, Listener, ListenerSettings, LoadBalancer, Piece,
    PieceKind, Protocol, RuleSpec, TargetGroup,
};

use super::marks::Tags;

/// An address as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AddressWish {
    pub(crate) family: IpFamily,
    /// Just this one; any where it is absent.
    pub(crate) address: Option<IpAddr>,
}

/// What a target group is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    pub(crate) protocol: Protocol,
    pub(crate) node_port: NonZeroU16,
}

/// What a listener is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PortKey {
    pub(crate) protocol: Protocol,
    pub(crate) port: NonZeroU16,
}

/// A piece that is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Which {
    pub(crate) kind: PieceKind,
    /// The cloud's ID.
    pub(crate) id: String,
    /// What tells it from others, for people.
    pub(crate) what: String,
}

impl Which {
    pub(crate) fn of<P: Named>(piece: &P) -> Self {
        Self { kind: P::KIND, id: piece.id().to_string(), what: piece.what() }
    }
}

/// A piece of a Service, as it is named to people.
pub(crate) trait Named: Piece {
    /// What tells it from the Service's other pieces of its kind.
    fn what(&self) -> String;
}

impl Named for Address {
    fn what(&self) -> String {
        self.address.to_string()
    }
}

impl Named for LoadBalancer {
    fn what(&self) -> String {
        self.name.clone()
    }
}

impl Named for TargetGroup {
    fn what(&self) -> String {
        format!("{}/{}", self.protocol, self.node_port)
    }
}

impl Named for Listener {
    fn what(&self) -> String {
        format!("{}/{}", self.protocol, self.port)
    }
}

/// A change of one Service's own pieces, or of the firewall that all share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SimChange {
    /// Of the pieces of this Service.
    Own(ObjectId, OwnChange),
    /// Of the firewall.
    Firewall(FirewallChange),
}

/// A change of one Service's own pieces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OwnChange {
    CreateAddress {
        wish: AddressWish,
        tags: Tags,
    },
    CreateLoadBalancer {
        load_balancer: Balancer,
        addresses: Vec<AddressWish>,
        tags: Tags,
    },
    SetAddresses {
        load_balancer: Balancer,
        addresses: Vec<AddressWish>,
    },
    CreateGroup {
        key: GroupKey,
        health_check: HealthCheck,
        tags: Tags,
    },
    SetHealthCheck {
        key: GroupKey,
        health_check: HealthCheck,
    },
    /// At most one batch.
    ChangeTargets {
        key: GroupKey,
        add: Vec<InstanceId>,
        remove: Vec<InstanceId>,
    },
    CreateListener {
        load_balancer: Balancer,
        key: PortKey,
        group: GroupKey,
        settings: ListenerSettings,
        tags: Tags,
    },
    SetListener {
        load_balancer: Balancer,
        key: PortKey,
        group: GroupKey,
        settings: ListenerSettings,
    },
    /// Puts these tags in place of all.
    Mark {
        which: Which,
        tags: Tags,
    },
    /// Deletes what is not used any more.
    Delete(Which),
    /// Deletes what is used, because it cannot be changed into what is wanted.
    Replace(Which),
}

/// What a load balancer is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Balancer {
    pub(crate) name: String,
    pub(crate) internal: bool,
}

/// A change of the firewall.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FirewallChange {
    Create,
    Delete { id: String },
    Open { service: ObjectId, rule: RuleSpec },
    Close { service: ObjectId, rule: RuleSpec },
}

impl Change for SimChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Own(_, change) => match change {
                OwnChange::CreateAddress { .. }
                | OwnChange::CreateLoadBalancer { .. }
                | OwnChange::CreateGroup { .. }
                | OwnChange::CreateListener { .. } => Effect::Create,
                OwnChange::SetAddresses { .. }
                | OwnChange::SetHealthCheck { .. }
                | OwnChange::ChangeTargets { .. }
                | OwnChange::SetListener { .. }
                | OwnChange::Mark { .. } => Effect::Update,
                OwnChange::Delete(_) => Effect::Delete,
                OwnChange::Replace(_) => Effect::Interrupt,
            },
            Self::Firewall(change) => match change {
                FirewallChange::Create | FirewallChange::Open { .. } => Effect::Create,
                FirewallChange::Delete { .. } | FirewallChange::Close { .. } => Effect::Delete,
            },
        }
    }
}

impl fmt::Display for SimChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(id, change) => change.write(f, id),
            Self::Firewall(change) => fmt::Display::fmt(change, f),
        }
    }
}

impl OwnChange {
    fn write(&self, f: &mut fmt::Formatter<'_>, id: &ObjectId) -> fmt::Result {
        match self {
            Self::CreateAddress { wish, .. } => write!(f, "create {wish} of {id}"),
            Self::CreateLoadBalancer { load_balancer, addresses, .. } => {
                let reach = if load_balancer.internal { "internal" } else { "external" };
                write!(f, "create {reach} load balancer {} of {id} with ", load_balancer.name)?;
                write_list(f, addresses)
            }
            Self::SetAddresses { load_balancer, addresses } => {
                write!(f, "set addresses of load balancer {} of {id} to ", load_balancer.name)?;
                write_list(f, addresses)
            }
            Self::CreateGroup { key, health_check, .. } => {
                write!(f, "create target group {key} of {id} with health check ")?;
                write_check(f, health_check)
            }
            Self::SetHealthCheck { key, health_check } => {
                write!(f, "set health check of target group {key} of {id} to ")?;
                write_check(f, health_check)
            }
            Self::ChangeTargets { key, add, remove } => {
                write!(f, "change targets of target group {key} of {id}:")?;
                write_members(f, "add", add)?;
                write_members(f, "remove", remove)
            }
            Self::CreateListener { key, group, settings, .. } => {
                write!(f, "create listener {key} of {id} -> target group {group}")?;
                write_settings(f, settings)
            }
            Self::SetListener { key, group, settings, .. } => {
                write!(f, "set listener {key} of {id} -> target group {group}")?;
                write_settings(f, settings)
            }
            Self::Mark { which, tags } => {
                let tags: Vec<_> =
                    tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "tag {which} of {id} with {}", tags.join(","))
            }
            Self::Delete(which) => write!(f, "delete {which} of {id}"),
            Self::Replace(which) => write!(f, "delete {which} of {id} to make it anew"),
        }
    }
}

impl fmt::Display for FirewallChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rule = |verb: &str, service: &ObjectId, rule: &RuleSpec| {
            let RuleSpec { source, protocol, port, node_ports, .. } = rule;
            let node_ports: Vec<_> = node_ports.iter().map(ToString::to_string).collect();
            let node_ports = node_ports.join(",");
            write!(
                f,
                "{verb} {protocol}/{port} -> node port {node_ports} of {service} for {source}"
            )
        };
        match self {
            Self::Create => f.write_str("create firewall of the cluster"),
            Self::Delete { id } => write!(f, "delete firewall {id} of the cluster"),
            Self::Open { service, rule: spec } => rule("open", service, spec),
            Self::Close { service, rule: spec } => rule("close", service, spec),
        }
    }
}

impl fmt::Display for AddressWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} address", self.family)?;
        self.address.map_or(Ok(()), |address| write!(f, " {address}"))
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.node_port)
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind.words(), self.what, self.id)
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, all: &[AddressWish]) -> fmt::Result {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    f.write_str(&all.join(", "))
}

fn write_check(f: &mut fmt::Formatter<'_>, check: &HealthCheck) -> fmt::Result {
    let path = check.path.as_deref().unwrap_or_default();
    write!(f, "{} :{}{path}", check.protocol, check.port)
}

fn write_settings(f: &mut fmt::Formatter<'_>, settings: &ListenerSettings) -> fmt::Result {
    write!(f, " (idle timeout {} s", settings.idle_timeout_s)?;
    if settings.proxy_protocol {
        f.write_str(", PROXY protocol")?;
    }
    if let Some(time) = settings.client_affinity_s {
        write!(f, ", affinity {time} s")?;
    }
    f.write_str(")")
}

/// A few by name, of many the first and the last.
fn write_members(f: &mut fmt::Formatter<'_>, verb: &str, all: &[InstanceId]) -> fmt::Result {
    match all {
        [] => Ok(()),
        [one] => write!(f, " {verb} {one}"),
        [one, other] => write!(f, " {verb} {one}, {other}"),
        [first, .., last] => write!(f, " {verb} {} ({first} … {last})", all.len()),
    }
}
