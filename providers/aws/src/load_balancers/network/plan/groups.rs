//! Which target group serves which port, and what that takes.

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{CloudError, Kind};

use super::super::super::draft::Draft;
use super::super::super::members::Members;
use super::super::super::refusals::Refused;
use super::super::super::site::Site;
use super::super::attributes;
use super::super::change::NetworkChange;
use super::super::found::{Claim, Found, Group};
use super::super::health::Difference;
use super::super::wish::{Front, NetworkWish};
use super::{build_row, portions, row};
use crate::client::elbv2::{Attributes, Target};

/// What serves a port.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    /// The group's name.
    pub(super) group: String,
    /// The group, where it is there.
    pub(super) found: Option<&'a Group>,
    /// The group whose place it takes.
    replaces: Option<&'a Group>,
    /// Whether the port is left as it is for now.
    pub(super) waits: bool,
}

/// Finds a group for each port: the one that its listener has, if that fits, or the one that bears the
/// name that a new one gets, or a new one.
pub(super) fn assign<'a>(
    site: &Site<'_>,
    wish: &NetworkWish<'_>,
    members: &Members,
    found: &'a Found,
    draft: &mut Draft,
) -> Result<BTreeMap<u16, Seat<'a>>, CloudError> {
    let mut seats = BTreeMap::new();
    let vpc = &site.home.vpc;
    for (port, front) in &wish.fronts {
        let ear = found.balancer.as_ref().and_then(|it| it.listeners.get(port));
        let before = ear.and_then(|ear| found.groups_of(&ear.it).next());
        let seat = match before {
            // Its targets are that cluster's: the Go program would take them away.
            Some(group) if site.home.cluster.is_anothers(&group.tags) => {
                let name = group.it.name.clone();
                draft.note(
                    "TargetGroupLeft",
                    format!(
                        "port {port} forwards to target group {name}, which bears another cluster's tag: \
                         both are left as they are. Let the listener forward elsewhere, or take the tag \
                         away to hand it over"
                    ),
                );
                Seat { group: name, found: Some(group), replaces: None, waits: true }
            }
            Some(group) if front.fits(vpc, group) => {
                let name = group.it.name.clone();
                Seat { group: name, found: Some(group), replaces: None, waits: false }
            }
            // Whom to send traffic to is not known: the old group at least has targets.
            Some(group) if members.wanted.is_empty() && members.has_doubts => {
                draft.wait(
                    "its nodes to be known, before a new target group takes an old one's place",
                );
                let name = group.it.name.clone();
                Seat { group: name, found: Some(group), replaces: None, waits: true }
            }
            replaces => {
                let is_elsewhere = |name: &String| {
                    found.groups.get(name).is_some_and(|group| group.claim == Claim::Elsewhere)
                };
                let taken = is_elsewhere(&front.group);
                let name = if taken { &front.spare } else { &front.group };
                let there = found.groups.get(name);
                if let Some(there) = there {
                    judge(vpc, front, there)?;
                }
                Seat { group: name.clone(), found: there, replaces, waits: false }
            }
        };
        seats.insert(*port, seat);
    }
    Ok(seats)
}

/// Whether a group that bears the name of a new one can be used.
fn judge(vpc: &str, front: &Front, there: &Group) -> Result<(), CloudError> {
    let name = &there.it.name;
    match there.claim {
        Claim::Ours if front.fits(vpc, there) => Ok(()),
        // It passes when that one's load balancer goes, or lets go of it.
        Claim::Elsewhere => {
            let message = format!(
                "target group {name}, which port {} needs, is another Service's",
                front.port
            );
            Err(CloudError::new(Kind::Conflict, message))
        }
        Claim::Ours | Claim::Others => {
            let message = format!(
                "target group {} has the name {name}, which port {} needs, and is not this Service's, or \
                 not for instances of the cluster's VPC: delete it",
                there.it.arn, front.port
            );
            Err(CloudError::new(Kind::InvalidConfiguration, message))
        }
    }
}

/// The groups that are in use once all is built.
pub(super) fn used(found: &Found, seats: &BTreeMap<u16, Seat<'_>>) -> BTreeSet<String> {
    let mut used: BTreeSet<_> = seats.values().map(|seat| seat.group.clone()).collect();
    for listener in found.listeners() {
        let Some(seat) = seats.get(&listener.port) else { continue };
        // Somebody shares traffic out among several.
        if found.groups_of(listener).next().is_some_and(|first| first.it.name == seat.group) {
            used.extend(found.groups_of(listener).map(|group| group.it.name.clone()));
        }
    }
    used
}

/// The groups are there, ask nodes as asked for, and have the members as targets.
pub(super) fn build(
    wish: &NetworkWish<'_>,
    members: &Members,
    seats: &BTreeMap<u16, Seat<'_>>,
    draft: &mut Draft,
) {
    let mut steps = Steps::default();
    let mut seen = BTreeSet::new();
    for (port, seat) in seats {
        let Some(front) = wish.fronts.get(port).filter(|_| !seat.waits) else { continue };
        // Ports may share one.
        if seen.insert(&seat.group) {
            steps.group(wish, members, front, seat);
        }
    }
    let Steps { makes, checks, goes, comes, sets, small } = steps;
    for steps in [makes, checks, goes, comes, sets] {
        build_row(draft, steps);
    }
    for stage in row(small) {
        draft.tidy(stage);
    }
}

/// Steps of one kind may run together.
#[derive(Default)]
struct Steps {
    makes: Vec<NetworkChange>,
    checks: Vec<NetworkChange>,
    goes: Vec<NetworkChange>,
    comes: Vec<NetworkChange>,
    sets: Vec<NetworkChange>,
    small: Vec<NetworkChange>,
}

impl Steps {
    fn group(&mut self, wish: &NetworkWish<'_>, members: &Members, front: &Front, seat: &Seat<'_>) {
        let name = &seat.group;
        let none = BTreeSet::new();
        let nothing = Attributes::new();
        let nobody = Refused::new();
        let refused = seat.found.map_or(&nobody, |group| &group.refused);
        let (have, attributes) = match seat.found {
            None => {
                self.makes.push(NetworkChange::CreateGroup {
                    name: name.clone(),
                    protocol: front.protocol.clone(),
                    node_port: front.node_port,
                    health: wish.health.whole(),
                    tags: wish.base.marked(),
                });
                (Some(&none), &nothing)
            }
            Some(group) => {
                let group_name = name.clone();
                match wish.health.difference(&group.it.health) {
                    Difference::None => {}
                    Difference::Small(health) => {
                        self.small.push(NetworkChange::SetHealth { group: group_name, health });
                    }
                    Difference::Large(health) => {
                        self.checks.push(NetworkChange::SetHealth { group: group_name, health });
                    }
                }
                (group.targets.as_ref(), &group.attributes)
            }
        };
        // Nobody asked for the targets of a group that was in no use when it was looked at.
        if let Some(have) = have {
            let (goes, comes) = targets(members, name, front.node_port, (have, refused));
            self.goes.extend(goes);
            self.comes.extend(comes);
        }
        let replaced = seat.replaces.map(|group| &group.attributes);
        let named = &wish.group_attributes;
        let missing = attributes::missing_of_group(named, replaced, &front.protocol, attributes);
        if !missing.is_empty() {
            let group = name.clone();
            self.sets.push(NetworkChange::SetGroupAttributes { group, attributes: missing });
        }
    }
}

/// What has to go from the targets of a group, and what has to come: first goes what goes, for there may
/// be no room for more.
pub(super) fn targets(
    members: &Members,
    group: &str,
    port: u16,
    (have, refused): (&BTreeSet<Target>, &Refused),
) -> (Vec<NetworkChange>, Vec<NetworkChange>) {
    let at_port: BTreeSet<_> =
        have.iter().filter(|it| it.port == port).map(|it| it.id.clone()).collect();
    let (add, remove) = members.difference(&at_port);
    let target = |id: String| Target { id, port };
    let elsewhere = have.iter().filter(|it| it.port != port).cloned();
    let goes: Vec<_> = remove.into_iter().map(target).chain(elsewhere).collect();
    let add = add.into_iter().filter(|id| !refused.contains_key(id));
    let comes: Vec<_> = add.map(target).collect();
    let group = || group.to_owned();
    let goes = portions(&goes).map(|targets| NetworkChange::Deregister { group: group(), targets });
    let comes = portions(&comes).map(|targets| NetworkChange::Register { group: group(), targets });
    (goes.collect(), comes.collect())
}
