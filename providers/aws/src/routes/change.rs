//! Changes of route tables, as data.

use std::fmt;

use ccm_core::cloud::{Change, Effect};
use ipnet::IpNet;

use crate::client::ec2::routes::Towards;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum RouteChange {
    /// A route that no node wants goes.
    Delete { table: String, destination: IpNet },
    /// An instance is to take packets that are not addressed to itself.
    SkipCheck(Towards),
    /// A route that leads elsewhere is led to a node's instance.
    Replace { table: String, destination: IpNet, instance: String, to: Towards },
    /// A route to a node's instance.
    Create { table: String, destination: IpNet, instance: String, to: Towards },
}

impl fmt::Display for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete { table, destination } => {
                write!(f, "delete route {destination} from {table}")
            }
            Self::SkipCheck(Towards::Instance(id) | Towards::Interface(id)) => {
                write!(f, "switch the source/destination check of {id} off")
            }
            Self::Replace { table, destination, instance, to } => {
                write!(f, "set route {destination} in {table} -> {instance}{}", Through(to))
            }
            Self::Create { table, destination, instance, to } => {
                write!(f, "create route {destination} in {table} -> {instance}{}", Through(to))
            }
        }
    }
}

/// The interface, where the way leads through a certain one.
struct Through<'a>(&'a Towards);

impl fmt::Display for Through<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Towards::Instance(_) => Ok(()),
            Towards::Interface(id) => write!(f, " ({id})"),
        }
    }
}

impl Change for RouteChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Delete { .. } => Effect::Delete,
            // A route is replaced in one request.
            Self::SkipCheck(_) | Self::Replace { .. } => Effect::Update,
            Self::Create { .. } => Effect::Create,
        }
    }
}
