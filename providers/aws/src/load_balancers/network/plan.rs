//! What it takes that a Network Load Balancer is as asked for. Pure.

mod groups;
mod notes;
mod shield;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{CloudError, Kind, ObjectId};

use super::super::draft::Draft;
use super::super::members::Members;
use super::super::refusals;
use super::super::site::Site;
use super::super::wish::Wish;
use super::change::{NetworkChange, Piece};
use super::found::{Balancer, Claim, Found, Group};
use super::wish::NetworkWish;
use super::{attributes, places};
use crate::client::elbv2::{ListenerSettings, State, Target};
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};

/// Up to so many steps go one after the other, beyond that together.
///
/// The answer to a step that is alone says what the unit is now, so that no look is needed behind
/// it; after several the engine looks again, which is at least five calls here.
const MOST_IN_A_ROW: usize = 4;

/// The most targets of one request: that many the Go program sent, and AWS took.
const MOST_TARGETS: usize = 100;

/// Adds steps: a few of them one by one, many together.
fn row(steps: Vec<NetworkChange>) -> Vec<Vec<NetworkChange>> {
    if steps.len() > MOST_IN_A_ROW {
        vec![steps]
    } else {
        steps.into_iter().map(|step| vec![step]).collect()
    }
}

fn build_row(draft: &mut Draft, steps: Vec<NetworkChange>) {
    for stage in row(steps) {
        draft.build(stage);
    }
}

/// What it takes that it is as asked for. An error refuses the Service, and nothing is done.
pub(crate) fn build(
    site: &Site<'_>,
    wish: &Wish<'_>,
    members: &Members,
    found: &Found,
    draft: &mut Draft,
) -> Result<(), CloudError> {
    let wish = NetworkWish::read(wish, site)?.taken_over(found)?;
    if let Some(why) = &found.taken {
        return Err(CloudError::new(Kind::InvalidConfiguration, why.clone()));
    }
    if let Some(Balancer { it, .. }) = &found.balancer
        && let State::Failed(reason) = &it.state
    {
        let message = format!(
            "Network Load Balancer {} could not be made, says AWS: {reason}. Delete the Service and make \
             it again once that is put right",
            it.name
        );
        return Err(CloudError::new(Kind::InvalidConfiguration, message));
    }
    draft.notes.extend(wish.base.notes.iter().cloned());
    let seats = groups::assign(site, &wish, members, found, draft)?;
    draft.notes.extend(wish.notes.iter().cloned());
    notes::ignored(&wish, site.config.manages_nlb_groups, draft);
    match &found.balancer {
        None => create(site, &wish, draft)?,
        Some(balancer) => {
            shield::set(site, &wish, found, &balancer.it, draft)?;
            places::differences(site, wish.base, &balancer.it, draft);
        }
    }
    groups::build(&wish, members, &seats, draft);
    let served = seats.values().filter_map(|seat| seat.found);
    refusals::tell(&members.wanted, served.map(|group| &group.refused), draft);
    let used = groups::used(found, &seats);
    let is_leftover = |group: &&Group| !used.contains(&group.it.name);
    // Off the load balancer they would be nobody's, should the process end there.
    build_row(draft, marks(site, found.groups.values().filter(is_leftover)));
    listeners(&wish, found, &seats, draft);
    let none = BTreeMap::new();
    let have = found.balancer.as_ref().map_or(&none, |it| &it.attributes);
    let missing = attributes::missing(&wish.attributes, have);
    if !missing.is_empty() {
        let name = wish.base.name.clone();
        draft.build([NetworkChange::SetAttributes { name, attributes: missing }]);
    }
    tags::tidy(&wish, found, &seats, draft);
    clear_groups(found.groups.values().filter(is_leftover), draft);
    Ok(())
}

fn create(site: &Site<'_>, wish: &NetworkWish<'_>, draft: &mut Draft) -> Result<(), CloudError> {
    let security_groups = shield::first(site, wish, draft)?;
    draft.build([NetworkChange::Create {
        name: wish.base.name.clone(),
        is_internal: wish.base.said.is_internal(),
        subnets: places::choose(site, wish.base)?,
        security_groups,
        tags: wish.base.marked(),
    }]);
    Ok(())
}

/// Each port has a listener, which speaks what is asked for and forwards to its group; others go.
fn listeners(
    wish: &NetworkWish<'_>,
    found: &Found,
    seats: &BTreeMap<u16, groups::Seat<'_>>,
    draft: &mut Draft,
) {
    let balancer = &wish.base.name;
    let (mut makes, mut changes) = (Vec::new(), Vec::new());
    for (port, seat) in seats {
        let Some(front) = wish.fronts.get(port).filter(|_| !seat.waits) else { continue };
        let settings = front.settings.clone();
        let (balancer, port, group) = (balancer.clone(), *port, seat.group.clone());
        let ear = found.balancer.as_ref().and_then(|it| it.listeners.get(&port));
        let Some(ear) = ear else {
            let tags = wish.base.tags.clone();
            makes.push(NetworkChange::CreateListener { balancer, port, settings, group, tags });
            continue;
        };
        let forwards = found.groups_of(&ear.it).next().map(|it| &it.it.name) == Some(&group);
        if !forwards || !speaks(&settings, &ear.it.settings) {
            changes.push(NetworkChange::SetListener { balancer, port, settings, group });
        }
    }
    build_row(draft, makes);
    build_row(draft, changes);
    let surplus = found.listeners().map(|it| it.port).filter(|it| !wish.fronts.contains_key(it));
    let delete = |port| NetworkChange::DeleteListener { balancer: balancer.clone(), port };
    build_row(draft, surplus.map(delete).collect());
}

/// Where no policy is asked for, any will do.
fn speaks(want: &ListenerSettings, have: &ListenerSettings) -> bool {
    want.protocol == have.protocol
        && want.certificate == have.certificate
        && want.policy.as_ref().is_none_or(|policy| Some(policy) == have.policy.as_ref())
}

/// Tags those of the Service's own that are known by nothing but being on its load balancer: the oldest
/// have no tags.
fn marks<'g>(site: &Site<'_>, groups: impl Iterator<Item = &'g Group>) -> Vec<NetworkChange> {
    let mut tags = site.home.cluster.tags();
    tags.insert(SERVICE_KEY.to_owned(), site.id.to_string());
    tags.insert(MANAGED_KEY.to_owned(), site.id.uid.to_string());
    let is_bare =
        |group: &&Group| group.claim == Claim::Ours && !group.tags.contains_key(SERVICE_KEY);
    let mark = |group: &Group| {
        let piece = Piece::Group(group.it.name.clone());
        NetworkChange::Tag { piece, tags: tags.clone() }
    };
    groups.filter(is_bare).map(mark).collect()
}

/// Deletes those that are the Service's own.
fn clear_groups<'g>(groups: impl Iterator<Item = &'g Group>, draft: &mut Draft) {
    let own = groups.filter(|group| group.claim == Claim::Ours);
    let delete = |group: &Group| NetworkChange::DeleteGroup { name: group.it.name.clone() };
    for stage in row(own.map(delete).collect()) {
        draft.clear(stage);
    }
}

/// It keeps what it has, but nodes come and go.
pub(crate) fn keep(members: &Members, found: &Found, draft: &mut Draft) {
    let used: BTreeMap<_, _> = found
        .listeners()
        .filter_map(|it| found.groups_of(it).next())
        .filter(|group| group.claim == Claim::Ours)
        .map(|group| (&group.it.name, group))
        .collect();
    let changes = used.values().filter_map(|group| {
        let have = (group.targets.as_ref()?, &group.refused);
        Some(groups::targets(members, &group.it.name, group.it.port, have))
    });
    let (goes, comes): (Vec<_>, Vec<_>) = changes.unzip();
    build_row(draft, goes.into_iter().flatten().collect());
    build_row(draft, comes.into_iter().flatten().collect());
    refusals::tell(&members.wanted, used.values().map(|group| &group.refused), draft);
}

/// Takes it away, with its target groups and the security group that was made for it.
///
/// The load balancer goes first, and its listeners with it. What is left after a crash is found by its
/// tags, so what lacks them gets them before.
pub(crate) fn down(site: &Site<'_>, found: &Found, draft: &mut Draft) {
    let own = shield::own_groups(site, found);
    if let Some(balancer) = &found.balancer {
        for stage in row(marks(site, found.groups.values())) {
            draft.clear(stage);
        }
        for change in shield::marks(site, &own) {
            draft.clear([change]);
        }
        draft.clear([NetworkChange::Delete { name: balancer.it.name.clone() }]);
    }
    clear_groups(found.groups.values(), draft);
    shield::leave(site, &own, draft);
}

/// Whether a security group is there that was made for it.
pub(crate) fn has_security_group(site: &Site<'_>, found: &Found) -> bool {
    shield::own_groups(site, found).iter().any(|group| site.home.cluster.owns(&group.tags))
}

/// Marks the load balancer as [`MANAGED`](crate::marks::MANAGED_KEY). Its groups follow.
pub(crate) fn mark(id: &ObjectId, found: &Found) -> Option<NetworkChange> {
    let name = found.balancer.as_ref()?.it.name.clone();
    let tags = Tags::from([(MANAGED_KEY.to_owned(), id.uid.to_string())]);
    Some(NetworkChange::Tag { piece: Piece::Balancer(name), tags })
}

/// Targets in portions that one request takes.
fn portions(targets: &[Target]) -> impl Iterator<Item = BTreeSet<Target>> {
    targets.chunks(MOST_TARGETS).map(|some| some.iter().cloned().collect())
}
