//! Which security groups a Network Load Balancer has.

use std::collections::BTreeSet;

use ccm_core::cloud::CloudError;

use super::super::super::annotations::{PREFIX, ServiceAnnotations};
use super::super::super::draft::Draft;
use super::super::super::groups::{GroupChange, find, pairs, service_tags, unwant, want};
use super::super::super::names;
use super::super::super::site::Site;
use super::super::change::{NetworkChange, Shield};
use super::super::found::Found;
use super::super::wish::NetworkWish;
use crate::client::elbv2::LoadBalancer;
use crate::client::groups::SecurityGroup;
use crate::marks::MANAGED_KEY;

/// Those that one is made with: none unless they are managed.
pub(super) fn first(
    site: &Site<'_>,
    wish: &NetworkWish<'_>,
    draft: &mut Draft,
) -> Result<Shield, CloudError> {
    let manages = site.config.manages_nlb_groups;
    if !manages {
        return Ok(Shield::None);
    }
    if let Some(named) = wish.named_groups(manages) {
        return Ok(Shield::These(named));
    }
    let own = wish.own_group(site);
    want(&site.home.cluster, &site.surroundings.groups, &own, draft)?;
    Ok(Shield::Own(own.name))
}

/// The groups that were made for the Service's load balancer.
///
/// One has the name that is given now, or bears the Service's UID, or is on the load balancer: with another
/// `--cluster-name` it was given another name, and the Go program gives it no tag but the cluster's. One that
/// an annotation names is the owner's, whoever has made it.
pub(super) fn own_groups<'a>(site: &Site<'a>, found: &Found) -> Vec<&'a SecurityGroup> {
    let name = names::network_group(site.cluster_name, site.id);
    let prefix = names::short_prefix(site.id);
    let have = found.balancer.as_ref().map(|it| &it.it.security_groups);
    let is_had = |id: &String| have.is_some_and(|have| have.contains(id));
    let is_own = |group: &&SecurityGroup| {
        if ServiceAnnotations::name_group(site.annotations, &group.id) {
            return false;
        }
        if group.name == name {
            return true;
        }
        let is_ours = match group.tags.get(MANAGED_KEY) {
            Some(uid) => uid == site.id.uid.as_str(),
            None => is_had(&group.id),
        };
        is_ours && group.name.starts_with(&prefix) && site.home.cluster.owns(&group.tags)
    };
    site.surroundings.groups.iter().filter(is_own).collect()
}

/// Marks those that are not found again once they are off the load balancer.
pub(super) fn marks(site: &Site<'_>, own: &[&SecurityGroup]) -> Vec<GroupChange> {
    let name = names::network_group(site.cluster_name, site.id);
    let bare = own.iter().filter(|it| it.name != name && !it.tags.contains_key(MANAGED_KEY));
    let mark = |group: &&SecurityGroup| GroupChange::Mark {
        name: group.name.clone(),
        tags: pairs(&service_tags(site.id)),
    };
    bare.map(mark).collect()
}

/// Lets groups go that were made for it, once nothing uses them.
pub(super) fn leave(site: &Site<'_>, own: &[&SecurityGroup], draft: &mut Draft) {
    for group in own {
        unwant(&site.home.cluster, &site.surroundings.groups, &group.name, draft);
    }
}

/// Those of one that is there: as asked for where they are managed and it was made with some, and
/// left alone otherwise. Groups that were made for it go once it has them no more.
pub(super) fn set(
    site: &Site<'_>,
    wish: &NetworkWish<'_>,
    found: &Found,
    have: &LoadBalancer,
    draft: &mut Draft,
) -> Result<(), CloudError> {
    let manages = site.config.manages_nlb_groups;
    let named = wish.named_groups(manages);
    let name = wish.base.name.clone();
    let mut surplus = own_groups(site, found);
    if !manages || have.security_groups.is_empty() {
        if named.is_some() {
            draft.note(
                "NeedsNewLoadBalancer",
                format!(
                    "annotation {PREFIX}security-groups: Network Load Balancer {name} was made without \
                     security groups, and AWS takes none later: delete the Service and make it again"
                ),
            );
        }
        surplus.retain(|group| !have.security_groups.contains(&group.id));
        leave(site, &surplus, draft);
        return Ok(());
    }
    let (is_set, security_groups) = if let Some(named) = named {
        surplus.retain(|group| !named.contains(&group.id));
        (named == have.security_groups, Shield::These(named))
    } else {
        let own = wish.own_group(site);
        let groups = &site.surroundings.groups;
        want(&site.home.cluster, groups, &own, draft)?;
        surplus.retain(|group| group.name != own.name);
        let id = find(groups, &own.name).map(|group| group.id.clone());
        let is_set = id.is_some_and(|id| have.security_groups == BTreeSet::from([id]));
        (is_set, Shield::Own(own.name))
    };
    if !is_set {
        draft.build(marks(site, &surplus));
        draft.build([NetworkChange::Protect { name, security_groups }]);
    }
    leave(site, &surplus, draft);
    Ok(())
}
