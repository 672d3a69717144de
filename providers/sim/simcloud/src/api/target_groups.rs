//! Target groups: the instances behind a node port.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{InstanceId, PieceState, Protocol, TargetGroupId, Timestamp};

/// How the health of targets is found out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// How a target is asked.
    pub protocol: HealthProtocol,
    /// Where it is asked.
    pub port: NonZeroU16,
    /// What it is asked for; given for HTTP and HTTPS, and begins with a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The protocol of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthProtocol {
    /// The port is open.
    Tcp,
    /// The path answers 200.
    Http,
    /// The path answers 200; certificates are not checked.
    Https,
}

impl HealthProtocol {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for HealthProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Instances behind a node port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetGroup {
    /// The cloud's ID.
    pub id: TargetGroupId,
    /// The name it was given; not unique.
    pub name: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// What targets speak; fixed.
    pub protocol: Protocol,
    /// Where targets listen; fixed.
    pub node_port: NonZeroU16,
    /// How their health is found out.
    pub health_check: HealthCheck,
    /// How many targets there are, in whatever state.
    pub target_count: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A target group to be made, without targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTargetGroup {
    /// The name; another target group may have it.
    pub name: String,
    /// What targets speak.
    pub protocol: Protocol,
    /// Where targets listen.
    pub node_port: NonZeroU16,
    /// How their health is found out.
    pub health_check: HealthCheck,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl CreateTargetGroup {
    /// A target group whose targets are healthy when they listen at the node port.
    pub fn named(name: impl Into<String>, protocol: Protocol, node_port: NonZeroU16) -> Self {
        Self {
            name: name.into(),
            protocol,
            node_port,
            health_check: HealthCheck {
                protocol: HealthProtocol::Tcp,
                port: node_port,
                path: None,
            },
            tags: BTreeMap::new(),
            client_token: None,
        }
    }
}

/// What to change of a target group; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateTargetGroup {
    /// All of the health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

piece!(TargetGroup, TargetGroupId, CreateTargetGroup, UpdateTargetGroup);

/// An instance in a target group. It stays there when it is terminated, until it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The instance.
    pub instance: InstanceId,
    /// Where it is on its way in or out.
    pub state: TargetState,
}

/// Where a target is on its way in or out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Added, and without traffic yet.
    Registering,
    /// It takes traffic.
    Registered,
    /// Removed, and not gone yet. Adding it again brings it back.
    Draining,
}

impl TargetState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registering => "registering",
            Self::Registered => "registered",
            Self::Draining => "draining",
        }
    }
}

/// Targets to add and to remove in one call: all or none.
///
/// Together at most [`Settings::batch_limit`](super::Settings::batch_limit). Adding what is there
/// and removing what is not is no error, and no change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeTargets {
    /// Instances to add; they must exist and not be terminated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<InstanceId>,
    /// Instances to remove, whether they still exist or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<InstanceId>,
}

/// Which page of a target group's targets is wanted; goes into the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTargets {
    /// What the page before said; absent for the first page.
    pub page_token: Option<String>,
    /// Targets wanted on the page; more than
    /// [`Settings::member_page_limit`](super::Settings::member_page_limit) gives just the limit.
    pub page_size: Option<usize>,
}

impl ListTargets {
    /// Names and values for the query string, not yet escaped.
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let token = self.page_token.iter().map(|token| ("page_token", token.clone()));
        let size = self.page_size.iter().map(|size| ("page_size", size.to_string()));
        token.chain(size).collect()
    }
}

/// One page of the targets of a group, in the order of their IDs.
pub type TargetPage = super::Page<Target>;
