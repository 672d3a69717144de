//! Two Services of one namespace and name, one after the other: what is left of the first, and what
//! the second has not taken into use yet.

use ccm_core::cloud::{Holds, LoadBalancerSpec, Uid, Want};

use super::model::{Cloud, UID, absent, group, group_arn, present, provider, spec, world};
use super::{report, steps};
use crate::client::elbv2::Protocol;
use crate::marks::{MANAGED_KEY, SERVICE_KEY, Tags};

const LATER: &str = "ffffffff-1111-2222-3333-444455556666";

/// The same Service, made again.
fn made_again(spec: LoadBalancerSpec) -> Want<LoadBalancerSpec> {
    let mut identity = ccm_core::cloud::Identity::clone(&spec.identity);
    identity.id.uid = Uid::from(LATER);
    present(LoadBalancerSpec { identity: identity.into(), ..spec })
}

/// A target group on no load balancer. `uid`: whose it says it is, where it says so.
fn loose(uid: Option<&str>) -> Cloud {
    let mut cloud = Cloud::default();
    let loose = group("k8s-shop-web-0123456789", Protocol::Tcp, 30_080);
    let mut tags = Tags::from([
        ("kubernetes.io/cluster/demo".into(), "owned".into()),
        (SERVICE_KEY.into(), "shop/web".into()),
    ]);
    tags.extend(uid.map(|uid| (MANAGED_KEY.to_owned(), uid.to_owned())));
    cloud.tags.insert(loose.arn.clone(), tags);
    cloud.groups.insert(loose.name.clone(), loose);
    cloud
}

#[test]
fn a_new_group_says_whose_it_is() {
    let mut cloud = Cloud::default();
    cloud.converge(&provider(""), &world(present(spec(&[80], &[])), 1));
    let (name, _) = cloud.groups.first_key_value().unwrap();
    assert_eq!(cloud.tags[&group_arn(name)][MANAGED_KEY], UID);
}

#[test]
fn the_first_leaves_what_bears_the_seconds_uid() {
    let cloud = loose(Some(LATER));
    let plan = cloud.plan(&provider(""), &world(absent(), 0));
    assert!(plan.is_done());
    assert_eq!(report(&plan).holds, Holds::Nothing);
    let own = loose(Some(UID));
    let plan = own.plan(&provider(""), &world(absent(), 0));
    assert_eq!(report(&plan).holds, Holds::Something);
    assert_eq!(steps(&own, &provider(""), &world(absent(), 0)).len(), 1);
}

/// The Go program's groups bear no UID.
#[test]
fn the_first_leaves_what_bears_none_while_the_second_is_there() {
    let at = provider("");
    let cloud = loose(None);
    let second = world(made_again(spec(&[80], &[])), 0);
    let clears = |line: &String| line.contains("delete target group k8s-shop-web-0123456789");
    assert!(steps(&cloud, &at, &second).iter().any(clears), "who is there clears it");
    let plan = cloud.plan(&at, &world(absent(), 0));
    assert!(plan.is_done());
    assert_eq!(report(&plan).holds, Holds::Nothing);
    assert!(steps(&cloud, &provider(""), &world(absent(), 0)).iter().any(clears), "alone it does");
}

/// AWS keeps the name for the first's group, which is on no load balancer any more.
#[test]
fn the_second_takes_another_name_than_the_first_holds() {
    let at = provider("");
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80], &[])), 1));
    cloud.lose_balancer();
    let first = cloud.groups.keys().next().unwrap().clone();
    let second = world(made_again(spec(&[80], &[])), 1);
    let steps = steps(&cloud, &at, &second);
    let makes: Vec<_> = steps.iter().filter(|line| line.contains("create target group")).collect();
    assert!(makes.len() == 1 && !makes[0].contains(&first), "{steps:#?}");
    assert!(steps.iter().all(|line| !line.contains(&first)), "{steps:#?}");
}
