//! One change, as data. A change names things as they are found after a crash: by their names.

use std::fmt;

use ccm_core::cloud::{Change, CloudError, Effect, Kind, ObjectId};

use super::groups::GroupChange;
use super::node_rules::RuleChange;
use super::{classic, network};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AwsChange {
    /// Of a Service's own pieces.
    Own { service: ObjectId, change: OwnChange },
    /// Of the rules of the nodes' security groups.
    Rules(RuleChange),
}

/// What was seen is not there any more: look again.
pub(crate) fn vanished<T>(answer: Result<T, CloudError>) -> Result<T, CloudError> {
    answer.map_err(|err| match err.kind() {
        Kind::NotFound => {
            let message =
                format!("what was to be changed is not there any more: {}", err.message());
            CloudError::new(Kind::Conflict, message).with_source(err)
        }
        _ => err,
    })
}

/// One change of a Service's own pieces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OwnChange {
    Classic(classic::ClassicChange),
    Network(network::NetworkChange),
    Group(GroupChange),
}

impl OwnChange {
    /// Whether it is about nothing but which nodes are targets.
    pub(crate) fn is_of_targets(&self) -> bool {
        match self {
            Self::Classic(change) => change.is_of_targets(),
            Self::Network(change) => change.is_of_targets(),
            Self::Group(_) => false,
        }
    }

    /// Whether it does nothing but say that a load balancer is looked after.
    pub(crate) fn is_mark(&self) -> bool {
        match self {
            Self::Classic(change) => change.is_mark(),
            Self::Network(change) => change.is_mark(),
            Self::Group(_) => false,
        }
    }
}

impl From<classic::ClassicChange> for OwnChange {
    fn from(change: classic::ClassicChange) -> Self {
        Self::Classic(change)
    }
}

impl From<network::NetworkChange> for OwnChange {
    fn from(change: network::NetworkChange) -> Self {
        Self::Network(change)
    }
}

impl From<GroupChange> for OwnChange {
    fn from(change: GroupChange) -> Self {
        Self::Group(change)
    }
}

impl fmt::Display for AwsChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own { change: OwnChange::Classic(change), .. } => write!(f, "{change}"),
            Self::Own { change: OwnChange::Network(change), .. } => write!(f, "{change}"),
            Self::Own { change: OwnChange::Group(change), .. } => write!(f, "{change}"),
            Self::Rules(change) => write!(f, "{change}"),
        }
    }
}

impl Change for AwsChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Own { change: OwnChange::Classic(change), .. } => change.effect(),
            Self::Own { change: OwnChange::Network(change), .. } => change.effect(),
            Self::Own { change: OwnChange::Group(change), .. } => change.effect(),
            Self::Rules(change) => change.effect(),
        }
    }
}
