//! One change, as data.
//!
//! A change names a route by its destination, as it is found after a crash. Only what goes is named by
//! the cloud's ID as well: another route may have taken its place.

use std::fmt;

use ccm_core::cloud::{Change, Effect, ObjectId, Uid};
use ipnet::IpNet;
use simcloud::api::{InstanceId, RouteId};

/// A change of a node's routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouteChange {
    /// Whose routes.
    pub(crate) node: ObjectId,
    /// Which of them.
    pub(crate) destination: IpNet,
    pub(crate) what: What,
}

/// What becomes of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    Create {
        target: InstanceId,
    },
    /// Packets go elsewhere.
    Retarget {
        target: InstanceId,
    },
    /// It becomes this node's and packets go there, in one request: nothing is lost in between.
    TakeOver {
        target: InstanceId,
        from: Option<Uid>,
    },
    /// It goes because nobody wants it, or because it has failed.
    Delete {
        id: RouteId,
    },
}

impl Change for RouteChange {
    fn effect(&self) -> Effect {
        match self.what {
            What::Create { .. } => Effect::Create,
            What::Retarget { .. } | What::TakeOver { .. } => Effect::Update,
            What::Delete { .. } => Effect::Delete,
        }
    }
}

impl fmt::Display for RouteChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, destination, what } = self;
        match what {
            What::Create { target } => {
                write!(f, "create route {destination} -> {target} of {node}")
            }
            What::Retarget { target } => write!(f, "set route {destination} of {node} -> {target}"),
            What::TakeOver { target, from } => {
                write!(f, "take route {destination}")?;
                match from {
                    Some(from) => write!(f, " of owner {from}")?,
                    None => f.write_str(" without an owner")?,
                }
                write!(f, " over for {node} -> {target}")
            }
            What::Delete { id } => write!(f, "delete route {destination} ({id}) of {node}"),
        }
    }
}
