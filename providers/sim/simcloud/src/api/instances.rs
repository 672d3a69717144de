//! Instances.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{InstanceId, Timestamp};

/// Instances that one `batchCreate` may make.
///
/// A guess that covers the largest fleets in the tests with room to spare.
pub const BATCH_CREATE_LIMIT: usize = 20_000;

/// [`Instance::incarnation`] of an instance that was never replaced.
pub const FIRST_INCARNATION: u64 = 1;

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Made or started, and not up yet.
    Pending,
    /// Up.
    Running,
    /// On its way to `stopped`.
    Stopping,
    /// Down; it keeps its ID, addresses and tags, and may be started again.
    Stopped,
    /// On its way to `terminated`.
    Terminating,
    /// Gone for good; the record stays for a while and then vanishes.
    Terminated,
}

impl RunState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Terminating => "terminating",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A network interface; the first of an instance is its primary one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nic {
    /// Private addresses, the preferred one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private_ipv4s: Vec<Ipv4Addr>,
    /// Private addresses, the preferred one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub private_ipv6s: Vec<Ipv6Addr>,
    /// The address under which the outside reaches this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ipv4: Option<Ipv4Addr>,
    /// The address under which the outside reaches this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ipv6: Option<Ipv6Addr>,
    /// The name that resolves to the private addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_dns_name: Option<String>,
    /// The name that resolves to the public addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_dns_name: Option<String>,
}

/// An instance as the cloud shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The cloud's ID; a machine that replaces the one of before keeps it.
    pub id: InstanceId,
    /// Which machine it is behind this ID: [`FIRST_INCARNATION`], and one more with every
    /// replacement.
    #[serde(default = "first_incarnation")]
    pub incarnation: u64,
    /// The name it was given; not unique, least of all over time.
    pub name: String,
    /// Instance type.
    pub instance_type: String,
    /// Region.
    pub region: String,
    /// Zone.
    pub zone: String,
    /// Interfaces, the primary one first. A terminated instance has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<Nic>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Labels that the cloud wants its node to carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: RunState,
    /// What its firmware says it is: a UUID in lower case.
    pub system_uuid: String,
    /// Ranges for its pods; empty when the cloud does not give any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
    /// When this machine was made.
    pub created_at: Timestamp,
    /// When it was terminated; absent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminated_at: Option<Timestamp>,
}

/// For records from before there were replacements.
const fn first_incarnation() -> u64 {
    FIRST_INCARNATION
}

/// An instance to be made. Only the name must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateInstance {
    /// The name; another instance may have it.
    pub name: String,
    /// Instance type; `sim.small` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Region; `sim-1` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Zone; `<region>a` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Interfaces; when absent, one with an address from 10.0.0.0/8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<Nic>>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Labels that the cloud wants its node to carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Firmware UUID; made up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_uuid: Option<String>,
    /// Ranges for its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_cidrs: Vec<IpNet>,
}

impl CreateInstance {
    /// An instance of this name, all else left to the cloud.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Many instances to be made at once, at most [`BATCH_CREATE_LIMIT`]: all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchCreateInstances {
    /// The instances.
    pub instances: Vec<CreateInstance>,
}

/// What to change of an instance; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateInstance {
    /// Instance type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// All interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nics: Option<Vec<Nic>>,
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// All labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// All pod ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_cidrs: Option<Vec<IpNet>>,
}

/// Instances asked for by ID, by name or both.
///
/// IDs and names together may not exceed [`Settings::batch_limit`](super::Settings::batch_limit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribeInstances {
    /// IDs to look up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<InstanceId>,
    /// Names to look up; every instance of that name is found, terminated ones included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Instances that were found or made.
///
/// From `describe`: in the order asked, each once; what the cloud does not know is simply missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instances {
    /// The instances.
    pub instances: Vec<Instance>,
}

/// Which page of the list is wanted; goes into the query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListInstances {
    /// What the page before said; absent for the first page.
    pub page_token: Option<String>,
    /// Instances wanted on the page; more than
    /// [`Settings::page_limit`](super::Settings::page_limit) gives just the limit.
    pub page_size: Option<usize>,
    /// Tags that an instance must have, all of them.
    pub tags: BTreeMap<String, String>,
}

impl ListInstances {
    /// Names and values for the query string, not yet escaped.
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        let token = self.page_token.iter().map(|token| ("page_token", token.clone()));
        let size = self.page_size.iter().map(|size| ("page_size", size.to_string()));
        let tags = self.tags.iter().map(|(key, value)| ("tag", format!("{key}={value}")));
        token.chain(size).chain(tags).collect()
    }
}

/// One page of the list, in the order of creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePage {
    /// The instances of this page; may be few or none though more pages follow.
    pub instances: Vec<Instance>,
    /// Where the next page starts; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
