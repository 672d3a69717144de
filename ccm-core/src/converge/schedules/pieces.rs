//! What there is in the cloud, piece by piece, and what is wanted of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::state::Ms;
use crate::cloud::{Change, Effect, LoadBalancerSpec, NodeName, Uid, Want};
use crate::converge::wants::ports;

/// One thing in the cloud, by its name there. The first field is the owner's mark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Piece {
    /// The second of one owner is one too many.
    Address(Uid, u8),
    Balancer(Uid),
    Listener(Uid, u16),
    Target(Uid, NodeName),
    /// A rule of the one firewall.
    Rule(Uid, u16),
    /// The instance group, which is the cluster's.
    Group,
    Member(NodeName),
}

/// What is looked at together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Group,
    Own(Uid),
    Firewall,
}

impl Piece {
    pub(super) fn owner(&self) -> Option<&Uid> {
        match self {
            Self::Address(owner, _)
            | Self::Balancer(owner)
            | Self::Listener(owner, _)
            | Self::Target(owner, _)
            | Self::Rule(owner, _) => Some(owner),
            Self::Group | Self::Member(_) => None,
        }
    }

    pub(super) fn part(&self) -> Part {
        match self {
            Self::Group | Self::Member(_) => Part::Group,
            Self::Rule(..) => Part::Firewall,
            Self::Address(owner, _)
            | Self::Balancer(owner)
            | Self::Listener(owner, _)
            | Self::Target(owner, _) => Part::Own(owner.clone()),
        }
    }

    pub(super) fn is_of(&self, owner: &Uid) -> bool {
        self.owner() == Some(owner)
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(of, number) => write!(f, "address {number} of {of}"),
            Self::Balancer(of) => write!(f, "load balancer of {of}"),
            Self::Listener(of, port) => write!(f, "listener {port} of {of}"),
            Self::Target(of, node) => write!(f, "target {node} of {of}"),
            Self::Rule(of, port) => write!(f, "rule {port} of {of}"),
            Self::Group => write!(f, "the group"),
            Self::Member(node) => write!(f, "member {node}"),
        }
    }
}

/// How a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// When it has come up.
    pub(super) up: Ms,
    /// Somebody else has changed it.
    pub(super) is_wrong: bool,
}

pub(super) type Pieces = BTreeMap<Piece, Fact>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Create,
    Repair,
    Delete,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Act(pub(super) Verb, pub(super) Piece);

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.0 {
            Verb::Create => "create",
            Verb::Repair => "repair",
            Verb::Delete => "delete",
        };
        write!(f, "{verb} {}", self.1)
    }
}

impl Change for Act {
    fn effect(&self) -> Effect {
        match self.0 {
            Verb::Create => Effect::Create,
            Verb::Repair => Effect::Update,
            Verb::Delete => Effect::Delete,
        }
    }
}

/// What is wanted for a Service, without the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Present(BTreeSet<u16>),
    Absent,
    Keep,
}

impl Form {
    pub(super) fn of(want: &Want<LoadBalancerSpec>) -> Self {
        match want {
            Want::Present(_) => Self::Present(ports(want)),
            Want::Absent(_) => Self::Absent,
            Want::Keep(_) => Self::Keep,
        }
    }
}
