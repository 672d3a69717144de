//! One change of a Classic Load Balancer, as data.

use std::collections::BTreeSet;
use std::fmt;

use ccm_core::cloud::Effect;

use super::wish::GroupRef;
use crate::client::elb::{Attributes, HealthCheck, Listener};
use crate::marks::MANAGED_KEY;

/// A change. Load balancers are known by their names, listeners by their ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClassicChange {
    /// The load balancer's name.
    pub(crate) name: String,
    pub(crate) what: What,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Create(Box<Blueprint>),
    /// Adds tags, or changes them.
    Tag(Vec<(String, String)>),
    /// `subnet-…`.
    Attach(BTreeSet<String>),
    Detach(BTreeSet<String>),
    SetGroups(BTreeSet<GroupRef>),
    DeleteListeners {
        ports: BTreeSet<u16>,
        /// Whether one of them comes back with other settings.
        is_replaced: bool,
    },
    CreateListeners(BTreeSet<Listener>),
    CreatePolicy(Policy),
    /// Sets the names of the policies for one port of the nodes; others go.
    SetBackend {
        node_port: u16,
        policies: BTreeSet<String>,
    },
    /// Gives a listener that speaks TLS another certificate, by ARN.
    SetCertificate {
        port: u16,
        certificate: String,
    },
    /// Sets the names of the policies of one listener; others go.
    SetListener {
        port: u16,
        policies: BTreeSet<String>,
    },
    SetAttributes(Attributes),
    SetHealthCheck(HealthCheck),
    /// `i-…`.
    Register(BTreeSet<String>),
    Deregister(BTreeSet<String>),
    Delete,
}

/// What a load balancer is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Blueprint {
    pub(crate) internal: bool,
    pub(crate) listeners: BTreeSet<Listener>,
    pub(crate) subnets: BTreeSet<String>,
    pub(crate) groups: BTreeSet<GroupRef>,
    pub(crate) tags: Vec<(String, String)>,
}

/// A policy, which works where it is set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Policy {
    /// Tells nodes the client by the PROXY protocol.
    Proxy,
    /// AWS' security policy of this name.
    Tls(String),
}

impl Policy {
    /// The Go program's name of it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Proxy => "k8s-proxyprotocol-enabled".to_owned(),
            Self::Tls(reference) => format!("{TLS_POLICY}{reference}"),
        }
    }
}

/// Before AWS' name in the name of a policy for TLS.
pub(crate) const TLS_POLICY: &str = "k8s-SSLNegotiationPolicy-";

impl ClassicChange {
    /// Whether it is about nothing but which nodes are targets.
    pub(crate) fn is_of_targets(&self) -> bool {
        matches!(self.what, What::Register(_) | What::Deregister(_))
    }

    /// Whether it does nothing but mark the load balancer as looked after.
    pub(crate) fn is_mark(&self) -> bool {
        matches!(&self.what, What::Tag(tags) if tags.iter().map(|(key, _)| key).eq([MANAGED_KEY]))
    }

    /// What it does to users.
    pub(crate) fn effect(&self) -> Effect {
        match &self.what {
            What::Create(_) | What::CreateListeners(_) | What::CreatePolicy(_) => Effect::Create,
            What::DeleteListeners { is_replaced: true, .. } => Effect::Interrupt,
            What::DeleteListeners { .. } | What::Delete => Effect::Delete,
            What::Tag(_)
            | What::Attach(_)
            | What::Detach(_)
            | What::SetGroups(_)
            | What::SetBackend { .. }
            | What::SetCertificate { .. }
            | What::SetListener { .. }
            | What::SetAttributes(_)
            | What::SetHealthCheck(_)
            | What::Register(_)
            | What::Deregister(_) => Effect::Update,
        }
    }
}

impl fmt::Display for ClassicChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.what {
            What::Create(blueprint) => {
                let scheme = if blueprint.internal { "internal" } else { "internet-facing" };
                let (listeners, groups) = (&blueprint.listeners, &blueprint.groups);
                let subnets = joined(&blueprint.subnets);
                write!(f, "create {scheme} Classic Load Balancer {name}: ")?;
                write!(f, "{} in {subnets} with {}", joined_listeners(listeners), joined(groups))
            }
            What::Tag(tags) => {
                let tags: Vec<_> =
                    tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "tag Classic Load Balancer {name}: {}", tags.join(", "))
            }
            What::Attach(subnets) => {
                write!(f, "attach Classic Load Balancer {name} to {}", joined(subnets))
            }
            What::Detach(subnets) => {
                write!(f, "detach Classic Load Balancer {name} from {}", joined(subnets))
            }
            What::SetGroups(groups) => {
                write!(f, "set security groups of Classic Load Balancer {name}: {}", joined(groups))
            }
            What::DeleteListeners { ports, is_replaced } => {
                let why = if *is_replaced { ", of which some come back" } else { "" };
                write!(
                    f,
                    "delete listeners of Classic Load Balancer {name}: {}{why}",
                    joined(ports)
                )
            }
            What::CreateListeners(listeners) => {
                let listeners = joined_listeners(listeners);
                write!(f, "create listeners of Classic Load Balancer {name}: {listeners}")
            }
            What::CreatePolicy(policy) => {
                write!(f, "create policy {} of Classic Load Balancer {name}", policy.name())
            }
            What::SetBackend { node_port, policies } => {
                write!(
                    f,
                    "set policies for node port {node_port} of Classic Load Balancer {name}: "
                )?;
                f.write_str(&joined(policies))
            }
            What::SetCertificate { port, certificate } => {
                write!(
                    f,
                    "set certificate of listener {port} of Classic Load Balancer {name}: {certificate}"
                )
            }
            What::SetListener { port, policies } => {
                write!(f, "set policies of listener {port} of Classic Load Balancer {name}: ")?;
                f.write_str(&joined(policies))
            }
            What::SetAttributes(attributes) => {
                write!(f, "set attributes of Classic Load Balancer {name}: ")?;
                write_attributes(f, attributes)
            }
            What::SetHealthCheck(check) => {
                let HealthCheck { target, interval, timeout, healthy, unhealthy } = check;
                write!(
                    f,
                    "set health check of Classic Load Balancer {name}: {target} every {interval} s \
                     within {timeout} s, {healthy} good or {unhealthy} bad"
                )
            }
            What::Register(instances) => {
                write!(f, "register with Classic Load Balancer {name}: {}", some(instances))
            }
            What::Deregister(instances) => {
                write!(f, "deregister from Classic Load Balancer {name}: {}", some(instances))
            }
            What::Delete => write!(f, "delete Classic Load Balancer {name}"),
        }
    }
}

fn write_attributes(f: &mut fmt::Formatter<'_>, attributes: &Attributes) -> fmt::Result {
    let Attributes { access_log, draining, idle, cross_zone } = attributes;
    let on = if *cross_zone { "on" } else { "off" };
    write!(f, "idle timeout {idle} s, cross-zone {on}, ")?;
    match draining {
        Some(timeout) => write!(f, "draining {timeout} s, ")?,
        None => f.write_str("draining off, ")?,
    }
    match access_log {
        Some(log) => {
            write!(f, "access logs in {}/{} every {} min", log.bucket, log.prefix, log.interval)
        }
        None => f.write_str("access logs off"),
    }
}

/// All of them, for people.
pub(crate) fn joined<T: fmt::Display>(all: &BTreeSet<T>) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    all.join(", ")
}

fn joined_listeners(listeners: &BTreeSet<Listener>) -> String {
    let line = |it: &Listener| {
        format!("{}/{} to {}/{}", it.protocol, it.port, it.node_protocol, it.node_port)
    };
    listeners.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// How many, and the first and the last of them where there are many.
fn some(instances: &BTreeSet<String>) -> String {
    match (instances.first(), instances.last()) {
        (Some(first), Some(last)) if instances.len() > 3 => {
            format!("{} instances ({first} … {last})", instances.len())
        }
        _ => joined(instances),
    }
}
