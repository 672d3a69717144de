//! Firewalls: what lets clients through to the nodes, one for all load balancers of a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{FirewallId, PieceState, Protocol, RuleId, Timestamp};

/// The tag that says whose firewall it is. Each firewall has it, and no two have the same value.
pub const CLUSTER_TAG: &str = "cluster";

/// The tag that says whose a piece is. A rule counts as tagged with its owner wherever pieces are
/// told apart by tags.
pub const OWNER_TAG: &str = "owner";

/// Which form of a thing: another with every change of it. To be compared only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Etag(String);

impl Etag {
    /// Takes the etag as it was written.
    pub fn new(etag: impl Into<String>) -> Self {
        Self(etag.into())
    }

    /// The etag as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of rules that many owners share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// The cloud's ID.
    pub id: FirewallId,
    /// The name it was given; not unique.
    pub name: String,
    /// The user's tags, [`CLUSTER_TAG`] among them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// Which form of its rules this is.
    pub etag: Etag,
    /// How many rules it has.
    pub rule_count: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A firewall to be made, without rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateFirewall {
    /// The name; another firewall may have it.
    pub name: String,
    /// The user's tags. [`CLUSTER_TAG`] must be among them, with a value that no other firewall has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl CreateFirewall {
    /// The firewall of this cluster.
    pub fn named(name: impl Into<String>, cluster: impl Into<String>) -> Self {
        let tags = BTreeMap::from([(CLUSTER_TAG.to_owned(), cluster.into())]);
        Self { name: name.into(), tags, client_token: None }
    }
}

/// What to change of a firewall; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateFirewall {
    /// All tags; [`CLUSTER_TAG`] must be among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

piece!(Firewall, FirewallId, CreateFirewall, UpdateFirewall);

/// Who may reach which ports of the nodes, and for whom that is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Whose rule it is, for example a Service's UID.
    pub owner: String,
    /// Where clients are; without host bits.
    pub source: IpNet,
    /// What they speak.
    pub protocol: Protocol,
    /// The port that they aim at.
    pub port: NonZeroU16,
    /// The nodes' ports that they reach, at least one; the cloud keeps them sorted, each once.
    pub node_ports: Vec<NonZeroU16>,
}

/// A rule of a firewall. It is never changed, only added and removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The cloud's ID.
    pub id: RuleId,
    /// What it says.
    pub spec: RuleSpec,
}

/// A rule to be added. One that is there already is a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddRule {
    /// What it says.
    pub spec: RuleSpec,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// All rules of a firewall at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceRules {
    /// The form that they replace: the firewall must still have this etag.
    pub etag: Etag,
    /// What the rules say from now on. Those that the firewall has already keep their IDs.
    pub rules: Vec<RuleSpec>,
}

/// Which rules of a firewall are wanted; goes into the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRules {
    /// What the page before said; absent for the first page.
    pub page_token: Option<String>,
    /// Rules wanted on the page; more than
    /// [`Settings::member_page_limit`](super::Settings::member_page_limit) gives just the limit.
    pub page_size: Option<usize>,
    /// Whose rules.
    pub owner: Option<String>,
}

impl ListRules {
    /// Names and values for the query string, not yet escaped.
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let token = self.page_token.iter().map(|token| ("page_token", token.clone()));
        let size = self.page_size.iter().map(|size| ("page_size", size.to_string()));
        let owner = self.owner.iter().map(|owner| ("owner", owner.clone()));
        token.chain(size).chain(owner).collect()
    }
}

/// One page of a firewall's rules, in the order of their making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulePage {
    /// The rules of this page.
    pub items: Vec<Rule>,
    /// The form that the page is of: where it changes from page to page, so have the rules.
    pub etag: Etag,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
