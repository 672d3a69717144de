//! The pieces that load balancers are made of, routes and volumes, and the rules between them.

mod addresses;
mod firewalls;
mod lines;
mod listeners;
mod load_balancers;
mod operator;
mod pool;
mod routes;
mod table;
mod target_groups;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{check_name, check_tags};
use super::{Moment, Pace, Refusal};
use crate::api::{PieceKind, Quota, Settings, Timestamp};

use addresses::AddressBody;
use firewalls::FirewallBody;
use listeners::ListenerBody;
use load_balancers::LoadBalancerBody;
use pool::Pool;
use routes::RouteBody;
use table::Table;
use target_groups::TargetGroupBody;
use volumes::VolumeBody;

pub(crate) use routes::RouteAsk;

/// What a request about pieces depends on beside them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cx<'a> {
    pub(crate) moment: Moment,
    pub(crate) settings: &'a Settings,
    /// Whether what is made is to fail.
    pub(crate) fails: bool,
}

impl<'a> Cx<'a> {
    /// A request that comes now.
    pub(crate) fn new(now: Timestamp, settings: &'a Settings, fails: bool) -> Self {
        Self { moment: Moment { now, pace: Pace::of(settings) }, settings, fails }
    }

    fn now(&self) -> Timestamp {
        self.moment.now
    }

    /// Refuses that there be so many.
    fn check_quota(&self, quota: Quota, many: usize) -> Result<(), Refusal> {
        match self.settings.quotas.get(&quota) {
            Some(&limit) if many as u64 > limit => {
                Err(Refusal::QuotaExceeded { quota: quota.as_str(), limit })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// When a piece that is made now is ready.
    fn ready_at(&self, kind: PieceKind) -> Timestamp {
        self.now().after(self.settings.creation_delay_ms.get(&kind).copied().unwrap_or_default())
    }

    /// When a piece that is deleted now is gone.
    fn gone_at(&self, kind: PieceKind) -> Timestamp {
        self.now().after(self.settings.deletion_delay_ms.get(&kind).copied().unwrap_or_default())
    }
}

/// Which pieces are wanted.
#[derive(Debug)]
pub(crate) struct ListAsk<'a> {
    /// The number after which the page starts; 0 for the first.
    pub(crate) after: u64,
    /// Pieces on it at most; at least 1.
    pub(crate) size: usize,
    /// The name that a piece must have.
    pub(crate) name: Option<&'a str>,
    /// Tags that a piece must have.
    pub(crate) tags: &'a BTreeMap<String, String>,
}

/// Which targets or rules of a piece are wanted.
#[derive(Debug)]
pub(crate) struct MemberAsk {
    /// The number after which the page starts; 0 for the first.
    pub(crate) after: u64,
    /// How many at most; at least 1.
    pub(crate) size: usize,
}

/// A page of a list.
#[derive(Debug, PartialEq)]
pub(crate) struct Listed<T> {
    pub(crate) items: Vec<T>,
    /// The number after which the next page starts.
    pub(crate) next: Option<u64>,
}

/// What a creation gives.
#[derive(Debug, PartialEq)]
pub(crate) struct Made<T> {
    pub(crate) piece: T,
    /// Whether it was made now, and not by an earlier request with the same token.
    pub(crate) is_new: bool,
}

/// All pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    addresses: Table<AddressBody>,
    target_groups: Table<TargetGroupBody>,
    load_balancers: Table<LoadBalancerBody>,
    listeners: Table<ListenerBody>,
    firewalls: Table<FirewallBody>,
    routes: Table<RouteBody>,
    volumes: Table<VolumeBody>,
    pool: Pool,
    /// Number of the newest rule of any firewall.
    newest_rule: u64,
    changes: u64,
}

/// What outlives the process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    addresses: table::Snapshot<AddressBody>,
    target_groups: table::Snapshot<TargetGroupBody>,
    load_balancers: table::Snapshot<LoadBalancerBody>,
    listeners: table::Snapshot<ListenerBody>,
    firewalls: table::Snapshot<FirewallBody>,
    pool: Pool,
    newest_rule: u64,
    /// Absent in files from before there were routes.
    #[serde(default)]
    routes: table::Snapshot<RouteBody>,
    /// Absent in files from before there were volumes.
    #[serde(default)]
    volumes: table::Snapshot<VolumeBody>,
}

impl Pieces {
    pub(super) fn restore(snapshot: Snapshot) -> Result<Self, String> {
        Ok(Self {
            addresses: Table::restore(snapshot.addresses)?,
            target_groups: Table::restore(snapshot.target_groups)?,
            load_balancers: Table::restore(snapshot.load_balancers)?,
            listeners: Table::restore(snapshot.listeners)?,
            firewalls: Table::restore(snapshot.firewalls)?,
            routes: Table::restore(snapshot.routes)?,
            volumes: Table::restore(snapshot.volumes)?,
            pool: snapshot.pool,
            newest_rule: snapshot.newest_rule,
            changes: 0,
        })
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            addresses: self.addresses.snapshot(),
            target_groups: self.target_groups.snapshot(),
            load_balancers: self.load_balancers.snapshot(),
            listeners: self.listeners.snapshot(),
            firewalls: self.firewalls.snapshot(),
            pool: self.pool,
            newest_rule: self.newest_rule,
            routes: self.routes.snapshot(),
            volumes: self.volumes.snapshot(),
        }
    }

    pub(super) fn sweep(&mut self, moment: Moment) {
        self.addresses.sweep(moment);
        self.target_groups.sweep(moment);
        self.load_balancers.sweep(moment);
        self.listeners.sweep(moment);
        self.firewalls.sweep(moment);
        self.routes.sweep(moment);
        self.volumes.sweep(moment);
    }

    /// Counts up with every request that changes something; not with what the operator does.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Number of pieces of a kind, those that nobody sees yet or any more included.
    pub(crate) fn len(&self, kind: PieceKind) -> usize {
        match kind {
            PieceKind::Address => self.addresses.len(),
            PieceKind::TargetGroup => self.target_groups.len(),
            PieceKind::LoadBalancer => self.load_balancers.len(),
            PieceKind::Listener => self.listeners.len(),
            PieceKind::Firewall => self.firewalls.len(),
            PieceKind::Route => self.routes.len(),
            PieceKind::Volume => self.volumes.len(),
        }
    }

    /// Whether a piece has this name, this value of a tag or, being a route, this destination,
    /// whatever readers see of it.
    pub(crate) fn is_known_as(&self, cx: &Cx<'_>, kind: PieceKind, id: &str, word: &str) -> bool {
        match kind {
            PieceKind::Address => self.addresses.is_known_as(cx, id, word),
            PieceKind::TargetGroup => self.target_groups.is_known_as(cx, id, word),
            PieceKind::LoadBalancer => self.load_balancers.is_known_as(cx, id, word),
            PieceKind::Listener => self.listeners.is_known_as(cx, id, word),
            PieceKind::Firewall => self.firewalls.is_known_as(cx, id, word),
            PieceKind::Route => {
                self.routes.is_known_as(cx, id, word)
                    || self
                        .routes
                        .existing(cx, id)
                        .is_ok_and(|(_, piece)| piece.body.destination.to_string() == word)
            }
            PieceKind::Volume => self.volumes.is_known_as(cx, id, word),
        }
    }
}

/// Whether a thing has all these tags.
fn has_tags(tags: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| tags.get(key) == Some(value))
}

/// What every new piece must look like.
fn check_new(
    name: &str,
    tags: &BTreeMap<String, String>,
    client_token: Option<&String>,
) -> Result<(), Refusal> {
    checked(check_name("name", name))?;
    checked(check_tags("tags", tags))?;
    checked(client_token.map_or(Ok(()), |token| check_name("client_token", token)))
}

fn checked(check: super::check::Check) -> Result<(), Refusal> {
    check.map_err(|(field, why)| Refusal::invalid(field, why))
}

/// Tags that replace those of a piece.
fn check_new_tags(tags: Option<&BTreeMap<String, String>>) -> Result<(), Refusal> {
    tags.map_or(Ok(()), |tags| checked(check_tags("tags", tags)))
}
