//! What AWS has for one Service, whatever its kind: a Service may have changed its type.

use std::time::Duration;

use ccm_core::cloud::{CloudError, Freshness, LoadBalancerSpec, Read, Want};

use super::annotations::Kind;
use super::site::Surroundings;
use super::takeover::Change;
use super::wish::Wish;
use super::{AwsLoadBalancers, classic, names, network, subnets};
use crate::client::groups::SecurityGroup;
use crate::marks::LEGACY_KEY;

/// How soon a new subnet, or a tag of one, is seen by whoever has to choose among them. Many Services at
/// once share a look.
const NEW_SUBNETS_AFTER: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug)]
pub(crate) enum Observed {
    /// One Service's own pieces.
    Own(Box<Own>),
    /// The rules of the nodes' security groups.
    Rules(super::node_rules::Seen),
}

/// One Service's own pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) classic: classic::Found,
    pub(crate) network: network::Found,
    pub(crate) surroundings: Surroundings,
    /// What its owner has changed since it was first seen.
    pub(crate) change: Change,
}

/// Looks at one Service's own pieces.
pub(crate) async fn own(
    at: &AwsLoadBalancers,
    cx: &Read,
    want: &Want<LoadBalancerSpec>,
) -> Result<Own, CloudError> {
    let home = at.ground.home()?;
    let client = &at.ground.client;
    let id = want.id();
    let wish = match want {
        Want::Present(spec) => Wish::read(spec, &home.cluster).ok(),
        Want::Absent(_) | Want::Keep(_) => None,
    };
    let yields = at.namesakes.see(want);
    if matches!(want, Want::Absent(_)) {
        // What is overlooked now is overlooked for ever.
        at.groups.forget().await;
    }
    let name = names::load_balancer(&id.uid);
    let names = [names::classic_group(&name), names::network_group(&at.ground.cluster_name, id)];
    let looker = network::Looker { id, wish: wish.as_ref(), yields };
    let (mut network, zones, groups, classic, nlb) = futures::try_join!(
        client.network(cx, &at.network, &home.vpc),
        at.zones.get(cx, || client.zones(cx)),
        groups(at, cx, &names),
        classic::observe(&at.ground, &at.classic, cx, id, wish.as_ref()),
        network::observe(&at.ground, &at.nlb, cx, &looker),
    )?;
    // What was looked at just now is new enough.
    if let (Some(wish), Freshness::Within(_)) = (&wish, cx.freshness()) {
        let said = &wish.said;
        let is_new = match said.kind {
            Kind::Elsewhere => false,
            Kind::Network => nlb.is_managed().is_none(),
            Kind::Classic | Kind::Unheard => classic.is_managed().is_none(),
        };
        let asked = said.subnets.as_deref();
        let lacks = || subnets::choose(&network, &zones, home, asked, said.is_internal()).is_err();
        if is_new || lacks() {
            // A Network Load Balancer stays where it is made, and a subnet that is missed may have been
            // made for this Service.
            network = client.network_within(cx, &at.network, &home.vpc, NEW_SUBNETS_AFTER).await?;
        }
    }
    let surroundings = Surroundings { network, zones, groups };
    let change = at.first_seen.change_of(want);
    Ok(Own { classic, network: nlb, surroundings, change })
}

/// The cluster's groups, kept for a while, and those of these names that lack its mark.
async fn groups(
    at: &AwsLoadBalancers,
    cx: &Read,
    names: &[String],
) -> Result<Vec<SecurityGroup>, CloudError> {
    let kept = at.cluster_groups(cx).await?;
    let mut groups = Vec::clone(&kept.marked);
    for name in names {
        if !groups.iter().any(|group| group.name == *name) {
            groups.extend(kept.unmarked.iter().find(|group| group.name == *name).cloned());
        }
    }
    Ok(groups)
}

/// The security groups of the VPC, sorted by whether they bear the cluster's tag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    pub(crate) marked: Vec<SecurityGroup>,
    /// Those that have a name of ours without the mark.
    pub(crate) unmarked: Vec<SecurityGroup>,
}

impl AwsLoadBalancers {
    /// Looks at the cluster's security groups, or gives what was seen, if that is fresh enough. Whatever
    /// changes one of them lets it be forgotten.
    pub(crate) async fn cluster_groups(
        &self,
        cx: &Read,
    ) -> Result<std::sync::Arc<Groups>, CloudError> {
        let home = self.ground.home()?;
        let ask = async || {
            let vpc = ("vpc-id", vec![home.vpc.clone()]);
            let keys = ("tag-key", vec![home.cluster.key(), LEGACY_KEY.to_owned()]);
            // By their names too: the oldest have no tags.
            let named = ("group-name", vec!["k8s-*".to_owned()]);
            let client = &self.ground.client;
            let (marked, named) = ([vpc.clone(), keys], [vpc, named]);
            let (marked, named) = futures::try_join!(
                client.security_groups(cx, &marked),
                client.security_groups(cx, &named),
            )?;
            let marked: Vec<_> =
                marked.into_iter().filter(|group| home.cluster.has(&group.tags)).collect();
            let is_new = |group: &SecurityGroup| !marked.iter().any(|it| it.id == group.id);
            let unmarked = named.into_iter().filter(is_new).collect();
            Ok(Groups { marked, unmarked })
        };
        self.groups.get(cx, ask).await
    }
}
