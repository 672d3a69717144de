//! What the pieces of load balancers, routes and volumes have in common.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LoadBalancerId;

/// The kinds of pieces: those that load balancers are made of, and what stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceKind {
    /// [`Address`](super::Address).
    Address,
    /// [`TargetGroup`](super::TargetGroup).
    TargetGroup,
    /// [`LoadBalancer`](super::LoadBalancer).
    LoadBalancer,
    /// [`Listener`](super::Listener).
    Listener,
    /// [`Firewall`](super::Firewall).
    Firewall,
    /// [`Route`](super::Route).
    Route,
    /// [`Volume`](super::Volume).
    Volume,
}

impl PieceKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Address,
        Self::TargetGroup,
        Self::LoadBalancer,
        Self::Listener,
        Self::Firewall,
        Self::Route,
        Self::Volume,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::TargetGroup => "target_group",
            Self::LoadBalancer => "load_balancer",
            Self::Listener => "listener",
            Self::Firewall => "firewall",
            Self::Route => "route",
            Self::Volume => "volume",
        }
    }

    /// The name for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::TargetGroup => "target group",
            Self::LoadBalancer => "load balancer",
            Self::Listener => "listener",
            Self::Firewall => "firewall",
            Self::Route => "route",
            Self::Volume => "volume",
        }
    }
}

impl fmt::Display for PieceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a piece is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PieceState {
    /// Made, and not ready yet.
    Provisioning,
    /// Ready.
    Active,
    /// It could not be made, or broke. It does nothing, may be looked at, and can only be deleted.
    Failed,
    /// On its way out. What it uses, it uses until it is gone; it cannot be changed.
    Deleting,
}

impl PieceState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }
}

impl fmt::Display for PieceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A piece as the cloud shows it.
pub trait Piece: DeserializeOwned + fmt::Debug + Send {
    /// Its kind, and with it its paths and operations.
    const KIND: PieceKind;
    /// Its ID.
    type Id: fmt::Display;
    /// What may be changed of it.
    type Update: Serialize;

    /// The cloud's ID.
    fn id(&self) -> &Self::Id;
    /// The name it was given.
    fn name(&self) -> &str;
    /// Its tags.
    fn tags(&self) -> &BTreeMap<String, String>;
    /// Where it is in its life.
    fn state(&self) -> PieceState;
}

/// A piece to be made.
///
/// Names do not make a repetition harmless: whoever is not sure whether a creation took effect looks
/// again, or repeats it with the same `client_token`, and then gets what was made the first time,
/// for as long as it exists. A token that comes with another request is a conflict.
pub trait NewPiece: Serialize {
    /// What is made of it.
    type Piece: Piece;
}

/// Implements [`Piece`] for a wire type with the usual fields, and [`NewPiece`] for its creation.
macro_rules! piece {
    ($kind:ident, $id:ident, $new:ident, $update:ident) => {
        impl super::Piece for $kind {
            const KIND: super::PieceKind = super::PieceKind::$kind;
            type Id = super::$id;
            type Update = $update;

            fn id(&self) -> &Self::Id {
                &self.id
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn tags(&self) -> &std::collections::BTreeMap<String, String> {
                &self.tags
            }

            fn state(&self) -> super::PieceState {
                self.state
            }
        }

        impl super::NewPiece for $new {
            type Piece = $kind;
        }
    };
}
pub(crate) use piece;

/// Which pieces are wanted; goes into the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPieces {
    /// What the page before said; absent for the first page.
    pub page_token: Option<String>,
    /// Pieces wanted on the page; more than [`Settings::page_limit`](super::Settings::page_limit)
    /// gives just the limit.
    pub page_size: Option<usize>,
    /// The name that a piece must have.
    pub name: Option<String>,
    /// Tags that a piece must have, all of them.
    pub tags: BTreeMap<String, String>,
    /// The load balancer that a listener must be of. Only lists of listeners know it.
    pub load_balancer: Option<LoadBalancerId>,
    /// The table that a route must be in. Only lists of routes know it.
    pub table: Option<String>,
    /// The destination that a route must have. Only lists of routes know it.
    pub destination: Option<IpNet>,
}

impl ListPieces {
    /// Those of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    /// Those that have these tags, all of them.
    pub fn tagged(tags: BTreeMap<String, String>) -> Self {
        Self { tags, ..Self::default() }
    }

    /// The listeners of this load balancer.
    pub fn of(load_balancer: LoadBalancerId) -> Self {
        Self { load_balancer: Some(load_balancer), ..Self::default() }
    }

    /// Names and values for the query string, not yet escaped.
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let token = self.page_token.iter().map(|token| ("page_token", token.clone()));
        let size = self.page_size.iter().map(|size| ("page_size", size.to_string()));
        let name = self.name.iter().map(|name| ("name", name.clone()));
        let tags = self.tags.iter().map(|(key, value)| ("tag", format!("{key}={value}")));
        let of = self.load_balancer.iter().map(|id| ("load_balancer", id.to_string()));
        let table = self.table.iter().map(|table| ("table", table.clone()));
        let to = self.destination.iter().map(|to| ("destination", to.to_string()));
        token.chain(size).chain(name).chain(tags).chain(of).chain(table).chain(to).collect()
    }
}

/// One page of a list, in the order of creation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The pieces of this page; may be few or none though more pages follow.
    pub items: Vec<T>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Pieces that were found or made by one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items<T> {
    /// The pieces.
    pub items: Vec<T>,
}
