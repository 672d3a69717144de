//! Listeners.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{ListenerId, LoadBalancerId, PieceState, Protocol, TargetGroupId, Timestamp};

/// How a listener treats connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerSettings {
    /// Whether targets are told the client by the PROXY protocol; only for TCP.
    pub proxy_protocol: bool,
    /// For how long a connection may be silent: from 1 to 4000 s.
    pub idle_timeout_s: u32,
    /// For how long a client stays with its target: from 1 to 86400 s. Absent: it need not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_affinity_s: Option<u32>,
}

impl Default for ListenerSettings {
    /// No PROXY protocol, a minute of silence, no affinity.
    fn default() -> Self {
        Self { proxy_protocol: false, idle_timeout_s: 60, client_affinity_s: None }
    }
}

/// A port of a load balancer, and the target group behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The cloud's ID.
    pub id: ListenerId,
    /// The name it was given; not unique.
    pub name: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// Whose port it is; fixed.
    pub load_balancer: LoadBalancerId,
    /// What clients speak; fixed.
    pub protocol: Protocol,
    /// The port; fixed. A load balancer has one listener for a port and protocol.
    pub port: NonZeroU16,
    /// Where connections go.
    pub target_group: TargetGroupId,
    /// How they are treated.
    pub settings: ListenerSettings,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A listener to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateListener {
    /// The name; another listener may have it.
    pub name: String,
    /// Whose port it is.
    pub load_balancer: LoadBalancerId,
    /// What clients speak; the target group's protocol.
    pub protocol: Protocol,
    /// The port; no other listener of the load balancer may have it for this protocol.
    pub port: NonZeroU16,
    /// Where connections go.
    pub target_group: TargetGroupId,
    /// How they are treated.
    #[serde(default)]
    pub settings: ListenerSettings,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// What to change of a listener; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateListener {
    /// Where connections go; of the same protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_group: Option<TargetGroupId>,
    /// All settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<ListenerSettings>,
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

piece!(Listener, ListenerId, CreateListener, UpdateListener);
