//! What the nodes' rules need to know of Network Load Balancers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ccm_core::cloud::{CloudError, Read};

use super::super::wish::Wish;
use super::health::HealthWish;
use super::observe::NetworkRoom;
use crate::client::elbv2::LoadBalancer;
use crate::config::Config;
use crate::ground::Ground;
use crate::marks::Tags;

/// The subnets of every Network Load Balancer, by its name.
pub(crate) async fn subnets(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Read,
) -> Result<BTreeMap<String, BTreeSet<String>>, CloudError> {
    let all = list(ground, room, cx).await?;
    let of = |it: &LoadBalancer| (it.name.clone(), it.subnets.keys().cloned().collect());
    Ok(all.iter().filter(|it| it.kind == "network").map(of).collect())
}

/// The tags of load balancers of these names. Names may be those of others, or of none.
pub(crate) async fn tags(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Read,
    names: &BTreeSet<String>,
) -> Result<Vec<(String, Tags)>, CloudError> {
    let all = list(ground, room, cx).await?;
    let asked = all.iter().filter(|it| names.contains(&it.name));
    let by_arn: BTreeMap<_, _> = asked.map(|it| (it.arn.clone(), it.name.clone())).collect();
    let arns: Vec<_> = by_arn.keys().cloned().collect();
    let mut tags = ground.client.tags(cx, &arns).await?;
    Ok(by_arn.into_iter().filter_map(|(arn, name)| Some((name, tags.remove(&arn)?))).collect())
}

/// The ports at which nodes are asked whether they are well. `None`: the annotations make no sense.
pub(crate) fn health_ports(config: &Config, wish: &Wish<'_>) -> Option<BTreeSet<u16>> {
    let mut wrong = Vec::new();
    let health = HealthWish::read(wish.spec, &wish.said, &config.health_probe, &mut wrong);
    wrong.is_empty().then(|| match health.port() {
        Some(port) => BTreeSet::from([port]),
        None => wish.ports.iter().map(|port| port.node_port).collect(),
    })
}

/// Every Network Load Balancer and every target group: its sort, its name and its tags.
pub(crate) async fn tags_of_all(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Read,
) -> Result<Vec<(&'static str, String, Tags)>, CloudError> {
    let client = &ground.client;
    let groups = room.groups.ask(cx, vec![()], async |_| client.target_groups(cx).await);
    let (balancers, groups) = futures::try_join!(list(ground, room, cx), groups)?;
    let balancers = balancers.iter().filter(|it| it.kind == "network");
    let balancers = balancers.map(|it| ("Network Load Balancer", &it.name, &it.arn));
    let groups = groups.iter().map(|it| ("target group", &it.name, &it.arn));
    let all: Vec<_> = balancers.chain(groups).collect();
    let arns: Vec<_> = all.iter().map(|(_, _, arn)| (*arn).clone()).collect();
    let mut tags = client.tags(cx, &arns).await?;
    let one = |(kind, name, arn): (_, &String, _)| Some((kind, name.clone(), tags.remove(arn)?));
    Ok(all.into_iter().filter_map(one).collect())
}

async fn list(
    ground: &Ground,
    room: &NetworkRoom,
    cx: &Read,
) -> Result<Arc<Vec<LoadBalancer>>, CloudError> {
    let ask = async |_| ground.client.load_balancers(cx).await;
    room.balancers.ask(cx, vec![()], ask).await
}
