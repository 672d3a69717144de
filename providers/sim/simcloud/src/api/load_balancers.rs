//! Load balancers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{AddressId, LoadBalancerId, PieceState, Timestamp};

/// Where clients arrive: addresses, and the listeners that point here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// The cloud's ID.
    pub id: LoadBalancerId,
    /// The name it was given; no two load balancers have the same at one time.
    pub name: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether it is reached from inside only; fixed.
    #[serde(default)]
    pub internal: bool,
    /// Its addresses, at most one of a family; it may have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressId>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A load balancer to be made, without listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateLoadBalancer {
    /// The name; no other load balancer may have it, be it on its way out.
    pub name: String,
    /// Whether it is reached from inside only.
    #[serde(default)]
    pub internal: bool,
    /// Its addresses, at most one of a family, which nobody else uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressId>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl CreateLoadBalancer {
    /// A load balancer for the outside, without addresses.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// What to change of a load balancer; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateLoadBalancer {
    /// All addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<AddressId>>,
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

piece!(LoadBalancer, LoadBalancerId, CreateLoadBalancer, UpdateLoadBalancer);
