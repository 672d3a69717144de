//! What is worth a look, and whose what is seen is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::ObjectId;

use super::super::annotations::Kind;
use super::super::names;
use super::super::refusals::Refused;
use super::super::wish::Wish;
use super::found::{Claim, Claimant, Found, Group};
use super::health::HealthWish;
use super::wish::{Front, fronts};
use crate::client::elbv2::{Attributes, LoadBalancer, TagsByArn, TargetGroup};
use crate::config::HealthProbe;
use crate::ground::Home;

/// For whom it is looked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looker<'a> {
    pub(crate) id: &'a ObjectId,
    /// What is asked for, which says what else is worth a look. Without one, what a tear-down and
    /// targets need.
    pub(crate) wish: Option<&'a Wish<'a>>,
    /// Whether it goes while another Service of its namespace and name is there.
    pub(crate) yields: bool,
}

/// One Service's view of the account.
pub(super) struct Sight<'a> {
    home: &'a Home,
    id: &'a ObjectId,
    claimant: Claimant<'a>,
    /// What is asked for. Empty where only a tear-down or targets are.
    fronts: BTreeMap<u16, Front>,
    /// Whether the load balancer's attributes count.
    pub(super) wants_attributes: bool,
    names_attributes: bool,
    names_tags: bool,
}

/// Where a target group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On the Service's load balancer.
    Here,
    /// On another one.
    Elsewhere,
    /// On none.
    Loose,
}

/// The target groups that have to be looked into.
pub(super) struct Used {
    /// Names and ARNs.
    pub(super) groups: Vec<(String, String)>,
    /// Whether their attributes count, beside their targets.
    pub(super) wants_attributes: bool,
}

impl<'a> Sight<'a> {
    /// What is wrong with the wish is said when the plan is made.
    pub(super) fn new(home: &'a Home, probe: &HealthProbe, looker: &Looker<'a>) -> Self {
        let Looker { id, wish, yields } = *looker;
        let wish = wish.filter(|wish| wish.said.kind == Kind::Network);
        let fronts = wish.map(|wish| {
            let health = HealthWish::read(wish.spec, &wish.said, probe, &mut Vec::new());
            fronts(wish, &home.cluster.id, &health)
        });
        let named = wish.and_then(|wish| wish.said.target_group_attributes.as_ref());
        Self {
            home,
            id,
            claimant: Claimant { cluster: &home.cluster, id, yields },
            fronts: fronts.unwrap_or_default(),
            wants_attributes: wish.is_some(),
            names_attributes: named.is_some_and(|named| !named.0.is_empty()),
            names_tags: wish.is_some_and(|wish| !wish.extra_tags.is_empty()),
        }
    }

    /// The load balancer of the Service's name, or why that is not its own.
    pub(super) fn own<'b>(
        &self,
        balancers: &'b [LoadBalancer],
    ) -> Result<Option<&'b LoadBalancer>, String> {
        let name = names::load_balancer(&self.id.uid);
        match balancers.iter().find(|it| it.name == name) {
            Some(own) if own.kind != "network" => Err(format!(
                "{} load balancer {} has the name {name}, which the Service's Network Load Balancer needs: \
                 delete it",
                own.kind, own.arn
            )),
            own => Ok(own),
        }
    }

    /// The groups that may be this Service's, and those that others have with a name that it needs.
    pub(super) fn candidates<'g>(
        &self,
        found: &Found,
        balancers: &[LoadBalancer],
        groups: &'g [TargetGroup],
    ) -> Vec<(&'g TargetGroup, Place)> {
        let own = found.balancer.as_ref().map(|it| it.it.arn.as_str());
        let heard: BTreeSet<_> = found.listeners().flat_map(|it| &it.target_groups).collect();
        // What a group says of its load balancer may be old.
        let others: BTreeSet<_> =
            balancers.iter().map(|it| it.arn.as_str()).filter(|arn| Some(*arn) != own).collect();
        let prefix = names::short_prefix(self.id);
        let place = |group: &TargetGroup| {
            let is_on_own = own.is_some_and(|own| group.load_balancers.contains(own));
            if is_on_own || heard.contains(&group.arn) {
                return Some(Place::Here);
            }
            if !group.name.starts_with(&prefix) {
                return None;
            }
            if group.load_balancers.iter().any(|arn| others.contains(arn.as_str())) {
                return self.needs(&group.name).then_some(Place::Elsewhere);
            }
            Some(Place::Loose)
        };
        groups.iter().filter_map(|group| Some((group, place(group)?))).collect()
    }

    fn needs(&self, group: &str) -> bool {
        self.fronts.values().any(|front| front.group == group || front.spare == group)
    }

    /// Whose tags have to be known: of the load balancer, its groups and what may be left, and of
    /// listeners where there are some to add.
    pub(super) fn tagged(
        &self,
        found: &Found,
        candidates: &[(&TargetGroup, Place)],
    ) -> Vec<String> {
        let mut arns: Vec<_> = found.balancer.iter().map(|it| it.it.arn.clone()).collect();
        let unknown = candidates.iter().filter(|(_, place)| *place != Place::Elsewhere);
        arns.extend(unknown.map(|(group, _)| group.arn.clone()));
        if self.names_tags {
            arns.extend(found.listeners().map(|it| it.arn.clone()));
        }
        arns
    }

    /// Says whose they all are.
    pub(super) fn sort(
        &self,
        found: &mut Found,
        candidates: &[(&TargetGroup, Place)],
        mut tags: TagsByArn,
    ) {
        if let Some(mut balancer) = found.balancer.take() {
            balancer.tags = tags.remove(&balancer.it.arn).unwrap_or_default();
            for ear in balancer.listeners.values_mut() {
                ear.tags = tags.remove(&ear.it.arn);
            }
            if let Some(tag) = self.claimant.cluster.foreign_mark(&balancer.tags) {
                found.taken = Some(format!(
                    "Network Load Balancer {} has the name {} and bears another cluster's tag {tag}: delete \
                     it, or take the tag away to hand it over",
                    balancer.it.arn, balancer.it.name
                ));
                // Nothing on it is ours to touch.
                return;
            }
            found.balancer = Some(balancer);
        }
        for (group, place) in candidates {
            let tags = tags.remove(&group.arn).unwrap_or_default();
            let claim = match place {
                Place::Elsewhere => Claim::Elsewhere,
                Place::Here => self.claimant.judge(&tags, Some(&group.name)),
                Place::Loose => self.claimant.judge(&tags, None),
            };
            if claim == Claim::Ours || *place == Place::Here || self.needs(&group.name) {
                let it = (*group).clone();
                let (targets, refused, attributes) = (None, Refused::new(), Attributes::new());
                let one = Group { it, claim, tags, targets, refused, attributes };
                found.groups.insert(group.name.clone(), one);
            }
        }
    }

    /// The groups that traffic goes to, or will.
    pub(super) fn used(&self, found: &Found) -> Used {
        let mut names: BTreeSet<_> = found
            .listeners()
            .flat_map(|listener| found.groups_of(listener))
            .map(|group| group.it.name.clone())
            .collect();
        let own = found.groups.values().filter(|group| group.claim == Claim::Ours);
        let own = own.map(|group| &group.it.name).filter(|name| self.needs(name));
        names.extend(own.cloned());
        // One that takes another's place gets its attributes.
        let takes_a_place = self.fronts.values().any(|front| {
            let ear = found.balancer.as_ref().and_then(|it| it.listeners.get(&front.port));
            let before = ear.and_then(|ear| found.groups_of(&ear.it).next());
            before.is_some_and(|group| !front.fits(&self.home.vpc, group))
        });
        let pair = |name: String| {
            let arn = found.groups.get(&name)?.it.arn.clone();
            Some((name, arn))
        };
        Used {
            groups: names.into_iter().filter_map(pair).collect(),
            wants_attributes: self.names_attributes || takes_a_place,
        }
    }
}
