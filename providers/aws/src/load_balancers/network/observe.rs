//! Looking at what AWS has for one Service.
//!
//! For P ports, and where all is as it should be: the lists of load balancers and of target groups
//! (which all who look at the same moment share), listeners, attributes and tags of the load
//! balancer, and the targets of P groups. Tags of listeners only where there are some to add,
//! attributes of groups only where the annotation names some, or one group takes another's place.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use ccm_core::cloud::{CloudError, Gather, Kind as Failure, ObjectId, Read};
use futures::future::try_join_all;

use super::super::annotations::Kind;
use super::super::names;
use super::super::wish::Wish;
use super::found::{Balancer, Claim, Ear, Found, Group};
use super::health::HealthWish;
use super::wish::{Front, fronts};
use crate::client::elbv2::{Attributes, LoadBalancer, Target, TargetGroup};
use crate::ground::{Cluster, Ground};
use crate::marks::{CLUSTER_PREFIX, LEGACY_KEY, Tags};

/// What is shared between looks.
#[derive(Debug)]
pub(crate) struct NetworkRoom {
    balancers: Gather<(), Vec<LoadBalancer>>,
    groups: Gather<(), Vec<TargetGroup>>,
}

impl Default for NetworkRoom {
    fn default() -> Self {
        Self { balancers: Gather::new(NonZeroUsize::MIN), groups: Gather::new(NonZeroUsize::MIN) }
    }
}

/// Looks. `wish` says what else is worth a look; without one, what a tear-down and targets need.
pub(crate) async fn observe(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Read,
    id: &ObjectId,
    wish: Option<&Wish<'_>>,
) -> Result<Found, CloudError> {
    let (home, client) = (ground.home()?, &ground.client);
    let (balancers, groups) = futures::try_join!(
        room.balancers.ask(cx, vec![()], async |_| client.load_balancers(cx).await),
        room.groups.ask(cx, vec![()], async |_| client.target_groups(cx).await),
    )?;
    let wish = wish.filter(|wish| wish.said.kind == Kind::Network);
    let fronts = wish.map(|wish| {
        // What is wrong with it is said when the plan is made.
        let probe = &ground.config.health_probe;
        let health = HealthWish::read(wish.spec, &wish.said, probe, &mut Vec::new());
        fronts(wish, &home.cluster.id, &health)
    });
    let asked = Asked {
        fronts: fronts.unwrap_or_default(),
        names_attributes: wish
            .and_then(|wish| wish.said.target_group_attributes.as_ref())
            .is_some_and(|named| !named.0.is_empty()),
        names_tags: wish.is_some_and(|wish| !wish.extra_tags.is_empty()),
        needs_attributes: wish.is_some(),
    };
    let look = Look { ground, cx, cluster: &home.cluster, vpc: &home.vpc, id, asked };
    look.all(&balancers, &groups).await
}

/// What the wish makes worth a look.
struct Asked {
    fronts: BTreeMap<u16, Front>,
    names_attributes: bool,
    names_tags: bool,
    needs_attributes: bool,
}

struct Look<'a> {
    ground: &'a Ground,
    cx: &'a Read,
    cluster: &'a Cluster,
    vpc: &'a str,
    id: &'a ObjectId,
    asked: Asked,
}

impl Look<'_> {
    async fn all(
        &self,
        balancers: &[LoadBalancer],
        groups: &[TargetGroup],
    ) -> Result<Found, CloudError> {
        let name = names::load_balancer(&self.id.uid);
        let own = balancers.iter().find(|it| it.name == name);
        let mut found = Found::default();
        let network = own.filter(|it| it.kind == "network");
        if let (Some(own), None) = (own, network) {
            found.taken = Some(format!(
                "{} load balancer {} has the name {name}: delete it, or rename what it is for",
                own.kind, own.arn
            ));
        }
        found.balancer = match network {
            Some(own) => self.balancer(own).await?,
            None => None,
        };
        let candidates = self.candidates(&found, balancers, groups);
        self.tags(&mut found, &candidates).await?;
        self.details(&mut found).await?;
        Ok(found)
    }

    /// `None` where it is gone meanwhile. Its tags come later.
    async fn balancer(&self, own: &LoadBalancer) -> Result<Option<Balancer>, CloudError> {
        let client = &self.ground.client;
        let attributes = async {
            if !self.asked.needs_attributes {
                return Ok(Attributes::new());
            }
            client.load_balancer_attributes(self.cx, &own.arn).await
        };
        let both = futures::try_join!(client.listeners(self.cx, &own.arn), attributes);
        let Some((listeners, attributes)) = unless_gone(both)? else { return Ok(None) };
        let ear = |it: crate::client::elbv2::Listener| (it.port, Ear { it, tags: None });
        Ok(Some(Balancer {
            it: own.clone(),
            tags: Tags::new(),
            attributes,
            listeners: listeners.into_iter().map(ear).collect(),
        }))
    }

    /// The groups that may be this Service's, each with whether it is on its load balancer, and those
    /// that others have with a name that this one's is to have.
    fn candidates<'g>(
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
        let names: BTreeSet<_> = self.asked.fronts.values().map(|it| it.group.as_str()).collect();
        let prefix = names::short_prefix(self.id);
        let place = |group: &TargetGroup| {
            let is_on_own = own.is_some_and(|own| group.load_balancers.contains(own));
            if is_on_own || heard.contains(&group.arn) {
                return Some(Place::Here);
            }
            if !group.name.starts_with(&prefix) {
                return None;
            }
            let is_elsewhere = group.load_balancers.iter().any(|arn| others.contains(arn.as_str()));
            match is_elsewhere {
                false => Some(Place::Loose),
                true if names.contains(group.name.as_str()) => Some(Place::Elsewhere),
                true => None,
            }
        };
        groups.iter().filter_map(|group| Some((group, place(group)?))).collect()
    }

    /// Asks who they are, the load balancer, its groups and what may be left, all at once.
    async fn tags(
        &self,
        found: &mut Found,
        candidates: &[(&TargetGroup, Place)],
    ) -> Result<(), CloudError> {
        let mut arns: Vec<_> = found.balancer.iter().map(|it| it.it.arn.clone()).collect();
        let unknown = candidates.iter().filter(|(_, place)| *place != Place::Elsewhere);
        arns.extend(unknown.map(|(group, _)| group.arn.clone()));
        if self.asked.names_tags {
            arns.extend(found.listeners().map(|it| it.arn.clone()));
        }
        let mut tags = self.ground.client.tags(self.cx, &arns).await?;
        if let Some(mut balancer) = found.balancer.take() {
            balancer.tags = tags.remove(&balancer.it.arn).unwrap_or_default();
            for ear in balancer.listeners.values_mut() {
                ear.tags = tags.remove(&ear.it.arn);
            }
            match other_cluster(self.cluster, &balancer.tags) {
                None => found.balancer = Some(balancer),
                Some(tag) => {
                    found.taken = Some(format!(
                        "Network Load Balancer {} has the name {} and bears another cluster's tag {tag}: \
                         delete it, or take the tag away to hand it over",
                        balancer.it.arn, balancer.it.name
                    ));
                    // Nothing on it is ours to touch.
                    return Ok(());
                }
            }
        }
        let wanted: BTreeSet<_> = self.asked.fronts.values().map(|it| &it.group).collect();
        for (group, place) in candidates {
            let tags = tags.remove(&group.arn).unwrap_or_default();
            let claim = match place {
                Place::Elsewhere => Claim::Elsewhere,
                Place::Here => Claim::of(self.cluster, self.id, &tags, Some(&group.name)),
                Place::Loose => Claim::of(self.cluster, self.id, &tags, None),
            };
            if claim == Claim::Ours || *place == Place::Here || wanted.contains(&group.name) {
                let it = (*group).clone();
                let one = Group { it, claim, tags, targets: None, attributes: Attributes::new() };
                found.groups.insert(group.name.clone(), one);
            }
        }
        Ok(())
    }

    /// Asks for the targets of groups that traffic goes to, or will, and their attributes.
    async fn details(&self, found: &mut Found) -> Result<(), CloudError> {
        let mut used: BTreeSet<String> = found
            .listeners()
            .flat_map(|listener| found.groups_of(listener).map(|it| it.it.name.clone()))
            .collect();
        let is_ours = |name: &&String| {
            found.groups.get(*name).is_some_and(|group| group.claim == Claim::Ours)
        };
        let wanted = self.asked.fronts.values().map(|front| &front.group).filter(is_ours);
        used.extend(wanted.cloned());
        let takes_a_place = self.asked.fronts.values().any(|front| {
            let ear = found.balancer.as_ref().and_then(|it| it.listeners.get(&front.port));
            let before = ear.and_then(|ear| found.groups_of(&ear.it).next());
            before.is_some_and(|group| !front.fits(self.vpc, group))
        });
        let needs_attributes = self.asked.names_attributes || takes_a_place;
        let used = used.into_iter().filter_map(|name| {
            let arn = found.groups.get(&name)?.it.arn.clone();
            Some((name, arn))
        });
        let details = used.map(|(name, arn)| async move {
            let details = self.details_of(&arn, needs_attributes).await?;
            Ok((name, details))
        });
        let details: Vec<_> = try_join_all(details).await?;
        for (name, details) in details {
            match (details, found.groups.get_mut(&name)) {
                (Some((targets, attributes)), Some(group)) => {
                    group.targets = Some(targets);
                    group.attributes = attributes;
                }
                // It is gone meanwhile.
                (None, _) => _ = found.groups.remove(&name),
                (Some(_), None) => {}
            }
        }
        Ok(())
    }

    async fn details_of(
        &self,
        arn: &str,
        needs_attributes: bool,
    ) -> Result<Option<(BTreeSet<Target>, Attributes)>, CloudError> {
        let client = &self.ground.client;
        let attributes = async {
            if !needs_attributes {
                return Ok(Attributes::new());
            }
            client.target_group_attributes(self.cx, arn).await
        };
        unless_gone(futures::try_join!(client.targets(self.cx, arn), attributes))
    }
}

/// Where a target group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the Service's load balancer.
    Here,
    /// On another one.
    Elsewhere,
    /// On none.
    Loose,
}

fn unless_gone<T>(answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(err) if err.kind() == Failure::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// The tag that says that a load balancer is another cluster's.
fn other_cluster(cluster: &Cluster, tags: &Tags) -> Option<String> {
    if cluster.has(tags) {
        return None;
    }
    let legacy = tags.get(LEGACY_KEY).map(|id| format!("{LEGACY_KEY}={id}"));
    legacy.or_else(|| tags.keys().find(|key| key.starts_with(CLUSTER_PREFIX)).cloned())
}
