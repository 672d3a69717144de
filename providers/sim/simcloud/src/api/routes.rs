//! Routes: where packets for a range of addresses go.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{Etag, InstanceId, PieceState, RouteId, Timestamp};

/// The table that a route is in when nothing is said.
pub const MAIN_TABLE: &str = "main";

/// A line of a routing table: packets for these addresses go to that instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The cloud's ID.
    pub id: RouteId,
    /// The name it was given; not unique; fixed.
    pub name: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The table that it is in; fixed.
    pub table: String,
    /// Which packets it is for; fixed. No two routes of a table have the same.
    pub destination: IpNet,
    /// Where they go. It stays so when the instance is terminated.
    pub target: InstanceId,
    /// Whether its target is terminated or forgotten, so that packets are lost. Seen when the route
    /// is read, and no change of it.
    #[serde(default)]
    pub blackhole: bool,
    /// Which form of the route this is: another with every change of its target or tags.
    pub etag: Etag,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A route to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRoute {
    /// The name; another route may have it.
    pub name: String,
    /// The table; [`MAIN_TABLE`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Which packets it is for, without host bits. No other route of the table may have it.
    pub destination: IpNet,
    /// Where they go: an instance that exists and is not terminated.
    pub target: InstanceId,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl CreateRoute {
    /// A route in the main table.
    pub fn named(name: impl Into<String>, destination: IpNet, target: InstanceId) -> Self {
        let (name, tags) = (name.into(), BTreeMap::new());
        Self { name, table: None, destination, target, tags, client_token: None }
    }
}

/// What to change of a route; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateRoute {
    /// Where packets go: an instance that exists and is not terminated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<InstanceId>,
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// The form that is to be changed: a conflict if the route has another by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

piece!(Route, RouteId, CreateRoute, UpdateRoute);

/// Routes asked for by whose they are, by where they lead, or both: each that fits either way, once,
/// in the order of their making. What the cloud does not know is simply missing.
///
/// Owners and destinations together may not exceed
/// [`Settings::batch_limit`](super::Settings::batch_limit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribeRoutes {
    /// The table that they are in; any table when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Values of [`OWNER_TAG`](super::OWNER_TAG).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Destinations, without host bits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<IpNet>,
}

/// Many routes to be made at once: all or none. At most
/// [`Settings::batch_limit`](super::Settings::batch_limit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRoutes {
    /// The routes.
    pub routes: Vec<CreateRoute>,
}

/// What to change of a route where it stands, as only the operator can; its etag changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeRoute {
    /// Where packets go from now on, be it that there is no such instance.
    pub target: InstanceId,
}
