//! The security groups that rules are in, and the load balancers that they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ccm_core::cloud::{CloudError, LoadBalancerSpec, Member, Observation, Read, Want, World};
use ipnet::Ipv4Net;

use super::super::annotations::{Kind, ServiceAnnotations};
use super::super::wish::annotations;
use super::super::{AwsLoadBalancers, classic, names, network};
use super::claim::{Claim, Place};
use super::plan::left_to_others;
use crate::client::groups::SecurityGroup;
use crate::instances::InstanceDetail;
use crate::marks::MANAGED_KEY;

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Those that bear the cluster's tag, those of nodes, and those that name a group which is to go.
    pub(crate) groups: Vec<SecurityGroup>,
    /// The IPv4 ranges of the subnets of each Network Load Balancer, by its name.
    pub(crate) networks: BTreeMap<String, BTreeSet<Ipv4Net>>,
    /// The security groups of each Classic Load Balancer, by its name.
    pub(crate) classics: BTreeMap<String, Vec<String>>,
    /// Load balancers whose rules are put right even where the Go program would leave them.
    pub(crate) managed: BTreeSet<String>,
    /// Load balancers of another cluster, which bear the name of a Service that goes here.
    pub(crate) foreign: BTreeSet<String>,
}

impl Seen {
    /// Whether there is a load balancer of this name.
    pub(crate) fn has(&self, balancer: &str) -> bool {
        self.networks.contains_key(balancer) || self.classics.contains_key(balancer)
    }
}

/// Looks.
pub(crate) async fn observe(
    at: &AwsLoadBalancers,
    cx: &Read,
    world: &World<LoadBalancerSpec>,
) -> Result<Seen, CloudError> {
    let ground = &at.ground;
    let home = ground.home()?;
    if ground.config.keeps_off_node_groups {
        return Ok(Seen::default());
    }
    if world.wants.iter().any(|want| matches!(want, Want::Absent(_))) {
        // What is overlooked now is overlooked for ever.
        at.groups.forget().await;
        at.other_groups.forget().await;
        at.balancers.forget().await;
    }
    let (kept, subnets, balancers) = futures::try_join!(
        at.cluster_groups(cx),
        ground.client.network(cx, &at.network, &home.vpc),
        balancers(at, cx, world),
    )?;
    let cidrs = |ids: &BTreeSet<String>| {
        ids.iter().filter_map(|id| subnets.subnets.get(id)?.cidr).collect::<BTreeSet<_>>()
    };
    let mut seen = Seen {
        groups: kept.marked.clone(),
        networks: balancers.networks.iter().map(|(name, ids)| (name.clone(), cidrs(ids))).collect(),
        classics: balancers.classics.clone(),
        ..Seen::default()
    };
    let mut more = groups_of_nodes(&world.nodes);
    more.retain(|id| !seen.groups.iter().any(|group| group.id == *id));
    if !more.is_empty() {
        seen.groups.extend(at.other_groups(cx, more).await?.iter().cloned());
    }
    // A group cannot go while a rule names it, in whatever group that is.
    let leaving = leaving(world, &seen, &kept.unmarked);
    if !leaving.is_empty() {
        let filter = [("ip-permission.group-id", leaving)];
        for group in ground.client.security_groups(cx, &filter).await? {
            if !seen.groups.iter().any(|it| it.id == group.id) {
                seen.groups.push(group);
            }
        }
    }
    let place = Place {
        cluster: &home.cluster,
        config: &ground.config,
        roll: &at.roll,
        nodes: &world.nodes,
    };
    let claims: Vec<_> = world.wants.iter().map(|want| Claim::of(&place, want, &seen)).collect();
    // Of some more has to be known than their rules: whether those are put right that the Go program
    // would leave, and whether what goes is ours at all.
    let mut doubtful = left_to_others(&place, &claims, &seen);
    let is_going = |want: &&Want<LoadBalancerSpec>| matches!(want, Want::Absent(_));
    let going = world.wants.iter().filter(is_going);
    doubtful.extend(going.map(|want| names::load_balancer(&want.id().uid)));
    if !doubtful.is_empty() {
        let (networks, classics) = futures::try_join!(
            network::tags_of(ground, &at.nlb, cx, &doubtful),
            classic::tags_of(ground, &at.classic, cx, &doubtful),
        )?;
        for (name, tags) in networks.into_iter().chain(classics) {
            if tags.contains_key(MANAGED_KEY) {
                seen.managed.insert(name.clone());
            }
            if home.cluster.is_anothers(&tags) {
                seen.foreign.insert(name);
            }
        }
    }
    Ok(seen)
}

/// Load balancers by their names: in which subnets, and with which security groups. Only our own changes
/// change that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balancers {
    pub(crate) networks: BTreeMap<String, BTreeSet<String>>,
    pub(crate) classics: BTreeMap<String, Vec<String>>,
}

/// Those that were seen, if that is fresh enough and none is missing.
async fn balancers(
    at: &AwsLoadBalancers,
    cx: &Read,
    world: &World<LoadBalancerSpec>,
) -> Result<Arc<Balancers>, CloudError> {
    let ask = async || {
        let (networks, classics) = futures::try_join!(
            network::subnets(&at.ground, &at.nlb, cx),
            classic::places(&at.ground, &at.classic, cx),
        )?;
        let mut balancers = Balancers { networks, classics };
        at.latest.put_right(&mut balancers);
        Ok(balancers)
    };
    let kept = at.balancers.get(cx, &ask).await?;
    // Who keeps what he has may have nothing, and never get it; and so may who is another controller's.
    let is_known = |want: &Want<LoadBalancerSpec>| {
        let name = names::load_balancer(&want.id().uid);
        let has_none = match want {
            Want::Present(spec) => annotations(spec).kind == Kind::Elsewhere,
            Want::Keep(_) => true,
            Want::Absent(_) => false,
        };
        has_none || kept.networks.contains_key(&name) || kept.classics.contains_key(&name)
    };
    if world.wants.iter().all(is_known) {
        return Ok(kept);
    }
    at.balancers.forget().await;
    at.balancers.get(cx, ask).await
}

/// All groups that instances of nodes are in.
fn groups_of_nodes(nodes: &[Member]) -> BTreeSet<String> {
    let of_node = |member: &Member| match &*member.instance {
        Observation::Present(instance) => {
            instance.detail.get::<InstanceDetail>().map(|it| it.security_groups.clone())
        }
        Observation::Gone(_) | Observation::Unknown(_) => None,
    };
    nodes.iter().filter_map(of_node).flatten().collect()
}

/// Load balancers' own groups that are not used any more, by ID.
fn leaving(
    world: &World<LoadBalancerSpec>,
    seen: &Seen,
    unmarked: &[SecurityGroup],
) -> Vec<String> {
    let of_want = |want: &Want<LoadBalancerSpec>| {
        let balancer = names::load_balancer(&want.id().uid);
        let name = names::classic_group(&balancer);
        let group = seen.groups.iter().chain(unmarked).find(|group| group.name == name)?;
        let is_used = seen.classics.get(&balancer).is_some_and(|ids| ids.contains(&group.id));
        let is_named = ServiceAnnotations::name_group(&want.identity().annotations, &group.id);
        let is_leaving = !is_named && (matches!(want, Want::Absent(_)) || !is_used);
        is_leaving.then(|| group.id.clone())
    };
    world.wants.iter().filter_map(of_want).collect()
}

impl AwsLoadBalancers {
    /// Groups that do not bear the cluster's tag, kept as long as the others.
    async fn other_groups(
        &self,
        cx: &Read,
        ids: BTreeSet<String>,
    ) -> Result<Arc<Vec<SecurityGroup>>, CloudError> {
        let ids: Vec<_> = ids.into_iter().collect();
        let ask = async || {
            let filter = [("group-id", ids.clone())];
            Ok((ids.clone(), self.ground.client.security_groups(cx, &filter).await?))
        };
        let kept = self.other_groups.get(cx, &ask).await?;
        if kept.0 == ids {
            return Ok(Arc::new(kept.1.clone()));
        }
        self.other_groups.forget().await;
        Ok(Arc::new(self.other_groups.get(cx, ask).await?.1.clone()))
    }
}
