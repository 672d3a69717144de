//! How the cloud behaves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Operation, PieceKind};

/// Time that a call takes at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Every call takes this long.
    #[serde(default)]
    pub fixed_ms: u64,
    /// And up to this much longer, drawn with the cloud's seed.
    #[serde(default)]
    pub jitter_ms: u64,
}

/// A rate limit: a bucket of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls a second over the long run; 0 is no limit.
    pub per_second: f64,
    /// Calls at once after a pause; at least 1.
    pub burst: u32,
}

/// What there may be only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Addresses in the cloud.
    Addresses,
    /// Target groups in the cloud.
    TargetGroups,
    /// Load balancers in the cloud.
    LoadBalancers,
    /// Listeners in the cloud.
    Listeners,
    /// Firewalls in the cloud.
    Firewalls,
    /// Volumes in the cloud.
    Volumes,
    /// Routes in one table, those that are on their way out included.
    RoutesOfTable,
    /// Targets in one target group, those that are draining included.
    TargetsOfGroup,
    /// Rules in one firewall.
    RulesOfFirewall,
}

impl Quota {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::TargetGroups => "target_groups",
            Self::LoadBalancers => "load_balancers",
            Self::Listeners => "listeners",
            Self::Firewalls => "firewalls",
            Self::Volumes => "volumes",
            Self::RoutesOfTable => "routes_of_table",
            Self::TargetsOfGroup => "targets_of_group",
            Self::RulesOfFirewall => "rules_of_firewall",
        }
    }

    /// The one that pieces of this kind count against, wherever they are; routes count by table.
    pub const fn of(kind: PieceKind) -> Option<Self> {
        match kind {
            PieceKind::Address => Some(Self::Addresses),
            PieceKind::TargetGroup => Some(Self::TargetGroups),
            PieceKind::LoadBalancer => Some(Self::LoadBalancers),
            PieceKind::Listener => Some(Self::Listeners),
            PieceKind::Firewall => Some(Self::Firewalls),
            PieceKind::Route => None,
            PieceKind::Volume => Some(Self::Volumes),
        }
    }
}

/// How the cloud behaves; all of it may be changed while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// IDs, names and the like that one describe may carry, targets that one call may change, and
    /// routes that it may make.
    pub batch_limit: usize,
    /// Instances or pieces on one page of a list.
    pub page_limit: usize,
    /// Targets or rules on one page of their list.
    pub member_page_limit: usize,
    /// Time that every call takes.
    pub latency: Latency,
    /// Operations that take another time.
    pub operation_latency: BTreeMap<Operation, Latency>,
    /// Limit of the calls that look, all callers together.
    pub read_rate: RateLimit,
    /// Limit of the calls that change, all callers together.
    pub write_rate: RateLimit,
    /// For how long reads do not show a change.
    pub consistency_delay_ms: u64,
    /// How long an instance is `pending`, `stopping` or `terminating`.
    pub transition_delay_ms: u64,
    /// How long a terminated instance stays visible; 0: it vanishes at once.
    pub terminated_retention_ms: u64,
    /// How long pieces of a kind are `provisioning`; at once where nothing is said.
    pub creation_delay_ms: BTreeMap<PieceKind, u64>,
    /// How long pieces of a kind are `deleting`; at once where nothing is said.
    pub deletion_delay_ms: BTreeMap<PieceKind, u64>,
    /// How long a target is `registering` or `draining`.
    pub target_delay_ms: u64,
    /// How much there may be; without end where nothing is said.
    pub quotas: BTreeMap<Quota, u64>,
}

impl Default for Settings {
    /// 100 a batch and a page, 1000 targets or rules a page, no latency, 100 calls a second with
    /// bursts of 200, changes visible at once, terminated instances visible for an hour, all else
    /// ready and gone at once, no quotas.
    fn default() -> Self {
        let rate = RateLimit { per_second: 100.0, burst: 200 };
        Self {
            batch_limit: 100,
            page_limit: 100,
            member_page_limit: 1_000,
            latency: Latency::default(),
            operation_latency: BTreeMap::new(),
            read_rate: rate,
            write_rate: rate,
            consistency_delay_ms: 0,
            transition_delay_ms: 0,
            terminated_retention_ms: 3_600_000,
            creation_delay_ms: BTreeMap::new(),
            deletion_delay_ms: BTreeMap::new(),
            target_delay_ms: 0,
            quotas: BTreeMap::new(),
        }
    }
}

/// Settings to change; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SettingsPatch {
    /// See [`Settings::batch_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_limit: Option<usize>,
    /// See [`Settings::page_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_limit: Option<usize>,
    /// See [`Settings::member_page_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_page_limit: Option<usize>,
    /// See [`Settings::latency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// See [`Settings::operation_latency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_latency: Option<BTreeMap<Operation, Latency>>,
    /// See [`Settings::read_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_rate: Option<RateLimit>,
    /// See [`Settings::write_rate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_rate: Option<RateLimit>,
    /// See [`Settings::consistency_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency_delay_ms: Option<u64>,
    /// See [`Settings::transition_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transition_delay_ms: Option<u64>,
    /// See [`Settings::terminated_retention_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated_retention_ms: Option<u64>,
    /// See [`Settings::creation_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_delay_ms: Option<BTreeMap<PieceKind, u64>>,
    /// See [`Settings::deletion_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_delay_ms: Option<BTreeMap<PieceKind, u64>>,
    /// See [`Settings::target_delay_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_delay_ms: Option<u64>,
    /// See [`Settings::quotas`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quotas: Option<BTreeMap<Quota, u64>>,
}
