//! Everything of load balancers that bears the cluster's mark, for reports of what nobody wants any
//! more.

use std::collections::BTreeMap;

use ccm_core::cloud::{CloudError, Freshness, Owned, Read, Uid};

use super::{AwsLoadBalancers, classic, names, network};
use crate::client::groups::SecurityGroup;
use crate::ground::Cluster;
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
    let groups = security_groups(cluster, &groups.marked, &owned);
    owned.extend(groups);
    Ok(owned)
}

/// Those that were made for load balancers. Those of nodes bear the cluster's mark too.
fn security_groups(cluster: &Cluster, marked: &[SecurityGroup], pieces: &[Owned]) -> Vec<Owned> {
    // Those of the Go program say of whom they are by their names alone.
    let classics: BTreeMap<_, _> = pieces
        .iter()
        .filter(|it| it.kind.ends_with("Load Balancer"))
        .map(|it| (names::classic_group(&it.id), it.owner.clone()))
        .collect();
    let networks: BTreeMap<_, _> = pieces
        .iter()
        .filter_map(|it| it.object.as_ref())
        .filter_map(|object| Some((names::prefix_of(object.split_once('/')?), object)))
        .collect();
    let one = |group: &SecurityGroup| {
        if group.tags.contains_key(SERVICE_KEY) {
            return Some(piece("security group", group.id.clone(), &group.tags));
        }
        let is_classic = group.name.starts_with(names::CLASSIC_GROUP);
        let prefix = names::group_prefix(&group.name);
        (is_classic || prefix.is_some()).then(|| Owned {
            kind: "security group",
            id: group.id.clone(),
            owner: classics.get(&group.name).cloned().flatten(),
            object: prefix.and_then(|it| networks.get(it)).map(|it| (*it).clone()),
        })
    };
    marked.iter().filter(|group| cluster.owns(&group.tags)).filter_map(one).collect()
}

fn piece(kind: &'static str, id: String, tags: &Tags) -> Owned {
    Owned {
        kind,
        id,
        owner: tags.get(MANAGED_KEY).map(|uid| Uid::from(uid.as_str())),
        object: tags.get(SERVICE_KEY).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rstest::rstest;

    use super::*;
    use crate::load_balancers::groups::service_tags;
    use crate::load_balancers::names::{classic_group, load_balancer, network_group};
    use crate::load_balancers::samples::{cluster, id};

    type Known = Option<(Option<&'static str>, Option<&'static str>)>;

    #[rstest]
    #[case::ours(network_group(&"blue".into(), &id("web")), true, true, Some((Some("uid-web"), Some("shop/web"))))]
    #[case::of_a_network_load_balancer(network_group(&"green".into(), &id("web")), true, false, Some((None, Some("shop/web"))))]
    #[case::without_a_load_balancer(network_group(&"blue".into(), &id("gone")), true, false, Some((None, None)))]
    #[case::of_a_classic_one(classic_group(&load_balancer(&id("old").uid)), true, false, Some((Some("uid-old"), None)))]
    #[case::of_a_classic_one_that_is_gone(classic_group("a0"), true, false, Some((None, None)))]
    #[case::shared(network_group(&"blue".into(), &id("web")), false, true, None)]
    #[case::of_nodes("k8s-nodes".to_owned(), true, false, None)]
    #[case::of_nodes("k8s-blue-nodes-workers".to_owned(), true, false, None)]
    fn security_groups_of_load_balancers_are_known(
        #[case] name: String,
        #[case] is_owned: bool,
        #[case] is_tagged: bool,
        #[case] want: Known,
    ) {
        let mut tags = cluster().tags();
        if !is_owned {
            for value in tags.values_mut() {
                "shared".clone_into(value);
            }
        }
        if is_tagged {
            tags.extend(service_tags(&id("web")));
        }
        let group = SecurityGroup { id: "sg-1".into(), name, tags, ingress: BTreeSet::new() };
        let pieces = [("Network Load Balancer", "web"), ("Classic Load Balancer", "old")];
        let pieces = pieces.map(|(kind, service)| {
            let mut tags = service_tags(&id(service));
            tags.extend(cluster().tags());
            piece(kind, load_balancer(&id(service).uid), &tags)
        });
        let found = security_groups(&cluster(), &[group], &pieces);
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.owner.as_ref().map(Uid::as_str), it.object.as_deref()))
            .collect();
        assert_eq!(found, want.into_iter().collect::<Vec<_>>());
    }
}
