//! Looking at what AWS has for one Service.
//!
//! For P ports, and where all is as it should be: the lists of load balancers and of target groups
//! (which all who look at the same moment share), listeners, attributes and tags of the load
//! balancer, and the targets of P groups; attributes of P groups only where the annotation names some,
//! or one group takes another's place.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use ccm_core::cloud::{CloudError, Gather, Kind, Read};
use futures::future::try_join_all;

use super::super::refusals::Refusals;
use super::found::{Balancer, Ear, Found};
use super::sight::{Looker, Sight};
use crate::client::Client;
use crate::client::elbv2::{Attributes, Listener, LoadBalancer, Target, TargetGroup};
use crate::ground::Ground;
use crate::marks::Tags;

/// What is shared between looks.
#[derive(Debug)]
pub(crate) struct NetworkRoom {
    pub(super) balancers: Gather<(), Vec<LoadBalancer>>,
    pub(super) groups: Gather<(), Vec<TargetGroup>>,
    /// By the ARNs of target groups.
    pub(super) refusals: Refusals,
}

impl Default for NetworkRoom {
    fn default() -> Self {
        let (balancers, groups) = (Gather::new(NonZeroUsize::MIN), Gather::new(NonZeroUsize::MIN));
        Self { balancers, groups, refusals: Refusals::default() }
    }
}

/// Looks.
pub(crate) async fn observe(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Read,
    looker: &Looker<'_>,
) -> Result<Found, CloudError> {
    let (home, client) = (ground.home()?, &ground.client);
    let (balancers, groups) = futures::try_join!(
        room.balancers.ask(cx, vec![()], async |_| client.load_balancers(cx).await),
        room.groups.ask(cx, vec![()], async |_| client.target_groups(cx).await),
    )?;
    let sight = Sight::new(home, &ground.config.health_probe, looker);
    let mut found = Found::default();
    match sight.own(&balancers) {
        Ok(None) => {}
        Ok(Some(own)) => {
            found.balancer = balancer(client, cx, own, sight.wants_attributes).await?;
        }
        Err(why) => found.taken = Some(why),
    }
    let candidates = sight.candidates(&found, &balancers, &groups);
    let tags = client.tags(cx, &sight.tagged(&found, &candidates)).await?;
    sight.sort(&mut found, &candidates, tags);
    let used = sight.used(&found);
    let details = used.groups.into_iter().map(|(name, arn)| async move {
        Ok((name, details(client, cx, &arn, used.wants_attributes).await?))
    });
    for (name, details) in try_join_all(details).await? {
        match (details, found.groups.get_mut(&name)) {
            (Some((targets, attributes)), Some(group)) => {
                group.targets = Some(targets);
                group.refused = room.refusals.there(&group.it.arn);
                group.attributes = attributes;
            }
            // It is gone meanwhile.
            (None, _) => _ = found.groups.remove(&name),
            (Some(_), None) => {}
        }
    }
    Ok(found)
}

/// What hangs on a load balancer. `None` where it is gone meanwhile. Its tags come later.
async fn balancer(
    client: &Client,
    cx: &Read,
    own: &LoadBalancer,
    wants_attributes: bool,
) -> Result<Option<Balancer>, CloudError> {
    let attributes = async {
        if !wants_attributes {
            return Ok(Attributes::new());
        }
        client.load_balancer_attributes(cx, &own.arn).await
    };
    let both = futures::try_join!(client.listeners(cx, &own.arn), attributes);
    let Some((listeners, attributes)) = unless_gone(both)? else { return Ok(None) };
    let ear = |it: Listener| (it.port, Ear { it, tags: None });
    let listeners = listeners.into_iter().map(ear).collect();
    Ok(Some(Balancer { it: own.clone(), tags: Tags::new(), attributes, listeners }))
}

/// The targets and attributes of a group. `None` where it is gone meanwhile.
async fn details(
    client: &Client,
    cx: &Read,
    group: &str,
    wants_attributes: bool,
) -> Result<Option<(BTreeSet<Target>, Attributes)>, CloudError> {
    let attributes = async {
        if !wants_attributes {
            return Ok(Attributes::new());
        }
        client.target_group_attributes(cx, group).await
    };
    unless_gone(futures::try_join!(client.targets(cx, group), attributes))
}

fn unless_gone<T>(answer: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(err) if err.kind() == Kind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}
