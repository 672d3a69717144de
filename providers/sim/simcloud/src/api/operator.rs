//! The operator's hand on load balancers, and the view of it all.

use std::num::NonZeroU16;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{PieceKind, Protocol};

/// What becomes of a load balancer, whatever it was; not one that is on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLoadBalancerState {
    /// What it becomes.
    pub state: ForcedState,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A state that the operator can put a load balancer into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForcedState {
    /// Ready.
    Active,
    /// Broken.
    Failed,
}

/// What to change of a rule where it stands, as only the operator can; its firewall's etag changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeRule {
    /// Whose rule it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where clients are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// What they speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// The port that they aim at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<NonZeroU16>,
    /// The nodes' ports that they reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_ports: Option<Vec<NonZeroU16>>,
}

/// All pieces with certain tags, as they are now, whatever readers see.
///
/// One line for each, rules and targets included, in words that do not depend on how things came to
/// be so: no IDs, no times, no addresses that the cloud chose. So two ends can be compared. Each
/// line begins with the kind, and they are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The lines.
    pub pieces: Vec<String>,
}

impl Snapshot {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The lines about pieces of a kind.
    pub fn of(&self, kind: PieceKind) -> impl Iterator<Item = &str> {
        let is_of = move |line: &&str| line.split(' ').next() == Some(kind.as_str());
        self.pieces.iter().map(String::as_str).filter(is_of)
    }
}
