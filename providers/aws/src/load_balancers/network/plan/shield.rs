//! Which security groups a Network Load Balancer has.

use std::collections::BTreeSet;

use ccm_core::cloud::CloudError;

use super::super::super::annotations::PREFIX;
use super::super::super::draft::Draft;
use super::super::super::groups::{find, unwant, want};
use super::super::super::site::Site;
use super::super::change::{NetworkChange, Shield};
use super::super::wish::NetworkWish;
use crate::client::elbv2::LoadBalancer;

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

/// Those of one that is there: as asked for where they are managed and it was made with some, and
/// left alone otherwise. The group that was made for it goes once it has it no more.
pub(super) fn set(
    site: &Site<'_>,
    wish: &NetworkWish<'_>,
    have: &LoadBalancer,
    draft: &mut Draft,
) -> Result<(), CloudError> {
    let manages = site.config.manages_nlb_groups;
    let (cluster, groups) = (&site.home.cluster, &site.surroundings.groups);
    let own = wish.own_group(site);
    let own_id = find(groups, &own.name).map(|group| &group.id);
    let named = wish.named_groups(manages);
    let name = wish.base.name.clone();
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
        if own_id.is_some_and(|id| !have.security_groups.contains(id)) {
            unwant(cluster, groups, &own.name, draft);
        }
        return Ok(());
    }
    if let Some(named) = named {
        if named != have.security_groups {
            let security_groups = Shield::These(named.clone());
            draft.build([NetworkChange::Protect { name, security_groups }]);
        }
        if own_id.is_some_and(|id| !named.contains(id)) {
            unwant(cluster, groups, &own.name, draft);
        }
        return Ok(());
    }
    want(cluster, groups, &own, draft)?;
    let is_set = own_id.is_some_and(|id| have.security_groups == BTreeSet::from([id.clone()]));
    if !is_set {
        draft.build([NetworkChange::Protect { name, security_groups: Shield::Own(own.name) }]);
    }
    Ok(())
}
