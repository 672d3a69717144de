//! Everything of load balancers that bears the cluster's mark, for reports of what nobody wants any
//! more.

use std::collections::BTreeMap;

use ccm_core::cloud::{CloudError, Freshness, Owned, Read, Uid};

use super::{AwsLoadBalancers, classic, network};
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};

/// Looks at both kinds, at target groups and at security groups.
pub(crate) async fn look(at: &AwsLoadBalancers, cx: &Read) -> Result<Vec<Owned>, CloudError> {
    let (ground, cluster) = (&at.ground, &at.ground.home()?.cluster);
    if cx.freshness() == Freshness::Live {
        at.groups.forget().await;
    }
    let (classics, networks, groups) = futures::try_join!(
        classic::tags_of_all(ground, &at.classic, cx),
        network::tags_of_all(ground, &at.nlb, cx),
        at.cluster_groups(cx),
    )?;
    let is_ours = |tags: &Tags| cluster.has(tags) && tags.contains_key(SERVICE_KEY);
    let pieces = classics.into_iter().chain(networks).filter(|(_, _, tags)| is_ours(tags));
    let mut owned: Vec<_> = pieces.map(|(kind, id, tags)| piece(kind, id, &tags)).collect();
    // Those of nodes bear the mark too. Their names say of whom those of load balancers are.
    let balancers: BTreeMap<_, _> = owned
        .iter()
        .filter(|it| it.kind.ends_with("Load Balancer"))
        .map(|it| (super::names::classic_group(&it.id), it.owner.clone()))
        .collect();
    let named = groups.marked.iter().filter(|group| group.name.starts_with("k8s-elb-"));
    let groups = named.filter(|group| cluster.owns(&group.tags)).map(|group| Owned {
        kind: "security group",
        id: group.id.clone(),
        owner: balancers.get(&group.name).cloned().flatten(),
        object: None,
    });
    owned.extend(groups);
    Ok(owned)
}

fn piece(kind: &'static str, id: String, tags: &Tags) -> Owned {
    Owned {
        kind,
        id,
        owner: tags.get(MANAGED_KEY).map(|uid| Uid::from(uid.as_str())),
        object: tags.get(SERVICE_KEY).cloned(),
    }
}
