//! Routes as the cloud has them, and changes of them.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use crate::cloud::{Change, Effect, ProviderId, RouteSpec, Uid, Want};

/// Whose a route is, by what is written on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Mark {
    /// This cluster's, for this Node.
    Ours(Uid),
    /// Another cluster's.
    Theirs(Uid),
    Nobodys,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: IpNet,
    pub(super) via: ProviderId,
    pub(super) mark: Mark,
    /// Changes whenever the route does.
    pub(super) etag: u64,
    /// It was made when nobody heard of it any more.
    pub(super) is_late: bool,
}

impl Route {
    pub(super) fn owner(&self) -> Option<&Uid> {
        match &self.mark {
            Mark::Ours(owner) => Some(owner),
            Mark::Theirs(_) | Mark::Nobodys => None,
        }
    }

    pub(super) fn is(&self, line: &Line) -> bool {
        self.to == line.to && self.via == line.via && self.owner() == Some(&line.owner)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {} ({:?})", self.to, self.via, self.mark)
    }
}

/// By their IDs.
pub(super) type Routes = BTreeMap<u64, Route>;

/// A route that there is to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Line {
    pub(super) to: IpNet,
    pub(super) via: ProviderId,
    pub(super) owner: Uid,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {} for {}", self.to, self.via, self.owner)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Act {
    /// Makes these, or makes what is there into them.
    Put(Vec<Line>),
    /// Takes these away.
    Delete(Vec<(IpNet, Uid)>),
    /// Writes all of ours.
    Whole(Vec<Line>),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let put = |lines: &[Line]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        match self {
            Self::Put(lines) => write!(f, "put {}", put(lines).join(", ")),
            Self::Whole(lines) => write!(f, "write table: {}", put(lines).join(", ")),
            Self::Delete(those) => {
                let those: Vec<_> =
                    those.iter().map(|(to, owner)| format!("{to} of {owner}")).collect();
                write!(f, "delete {}", those.join(", "))
            }
        }
    }
}

impl Change for Act {
    fn effect(&self) -> Effect {
        match self {
            Self::Put(_) => Effect::Create,
            Self::Whole(_) => Effect::Update,
            Self::Delete(_) => Effect::Delete,
        }
    }
}

/// What has to be wanted for a Node, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Routes {
        via: ProviderId,
        to: Vec<IpNet>,
    },
    Kept,
    /// It is not there, has no ranges, or is none of ours.
    None,
}

impl Form {
    pub(super) fn of(want: &Want<RouteSpec>) -> Self {
        match want {
            Want::Present(spec) => Self::Routes {
                via: spec.node.provider_id.clone().expect("it has one"),
                to: spec.destinations.clone(),
            },
            Want::Keep(_) => Self::Kept,
            Want::Absent(_) => Self::None,
        }
    }

    /// The routes that it asks for.
    pub(super) fn lines(&self, owner: &Uid) -> Vec<Line> {
        match self {
            Self::Routes { via, to } => {
                let line = |to: &IpNet| Line { to: *to, via: via.clone(), owner: owner.clone() };
                to.iter().map(line).collect()
            }
            Self::Kept | Self::None => Vec::new(),
        }
    }
}
