//! Addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{AddressId, LoadBalancerId, PieceState, Timestamp};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl IpFamily {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An address that load balancers may be reached at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The cloud's ID.
    pub id: AddressId,
    /// The name it was given; not unique.
    pub name: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// Its family.
    pub family: IpFamily,
    /// The address itself; it stays while this piece exists.
    pub address: IpAddr,
    /// Whether the caller asked for just this address.
    #[serde(default)]
    pub requested: bool,
    /// The one load balancer that uses it, until that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerId>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An address to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateAddress {
    /// The name; another address may have it.
    pub name: String,
    /// Its family.
    pub family: IpFamily,
    /// Just this address, out of the ranges that the cloud has; any that is free when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl CreateAddress {
    /// Any address of the family.
    pub fn named(name: impl Into<String>, family: IpFamily) -> Self {
        let name = name.into();
        Self { name, family, address: None, tags: BTreeMap::new(), client_token: None }
    }
}

/// What to change of an address; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateAddress {
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

piece!(Address, AddressId, CreateAddress, UpdateAddress);
