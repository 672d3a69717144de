//! Services beside each other, and what is not ours.

use std::collections::BTreeSet;

use ccm_core::cloud::Uid;

use super::story::{assert_left, clear, made, staged};
use crate::balancing::{Cluster, LoadBalancerHarness};
use crate::rig::{Rig, offered};

async fn owners<H: LoadBalancerHarness>(rig: &Rig<'_, H>) -> BTreeSet<Uid> {
    rig.inventory().await.into_iter().filter_map(|owned| owned.owner).collect()
}

/// Whatever Services share, the one that goes takes its own along and nothing of the other's.
pub async fn services_share_and_part(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let a = harness.service();
    let b = a.sibling("b");
    let mut alone = Vec::new();
    for service in [&a, &b] {
        rig.present(service);
        rig.settled().await;
        alone.push(rig.snapshot().await);
        clear(&mut rig, &[service], "deleted").await;
    }
    for (stays, goes, alone) in [(&a, &b, &alone[0]), (&b, &a, &alone[1])] {
        rig.present(stays);
        rig.present(goes);
        rig.settled().await;
        rig.restart().await;
        rig.settled().await;
        assert_eq!(rig.sent(), [""; 0], "sent by a process that finds both as they should be");
        rig.absent(goes);
        rig.settled().await;
        assert_left("one of two is deleted", &rig.snapshot().await, alone);
        assert!(!rig.ingress(stays).is_empty(), "the other lost its address");
        clear(&mut rig, &[stays], "both deleted").await;
    }
    rig.present(&a);
    rig.present(&b);
    rig.settled().await;
    clear(&mut rig, &[&a, &b], "both deleted at once").await;
}

/// A Service that cannot be read loses nothing, whoever else comes, changes and goes.
pub async fn what_is_kept_loses_nothing(harness: &impl LoadBalancerHarness) {
    let (mut rig, kept) = made(harness).await;
    let alone = rig.snapshot().await;
    let (b, c) = (kept.sibling("b"), kept.sibling("c"));
    rig.present(&b);
    rig.settled().await;
    rig.keep(&kept);
    rig.restart().await;
    rig.absent(&b);
    rig.present(&c);
    rig.settled().await;
    rig.absent(&c);
    rig.settled().await;
    assert_left("others came and went", &rig.snapshot().await, &alone);
    rig.sent();
    rig.present(&kept);
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent for a Service that can be read again");
    clear(&mut rig, &[&kept], "deleted").await;
}

/// Clusters share accounts. What bears another one's mark is not seen, whatever its name.
pub async fn another_clusters_pieces_are_left_alone(harness: &impl LoadBalancerHarness) {
    let other = Rig::start_as(harness, Cluster::Another).await;
    let mut other = offered(other, "two clusters in one account");
    other.join(1).await;
    let service = harness.service();
    let theirs = service.successor();
    other.present(&theirs);
    other.settled().await;
    let before = other.snapshot().await;
    assert!(!before.is_empty(), "the other cluster has nothing");
    other.sent();

    let (mut rig, _) = made(harness).await;
    assert!(!owners(&rig).await.contains(&theirs.id.uid), "another cluster's in our inventory");
    rig.absent(&theirs);
    rig.settled().await;
    clear(&mut rig, &[&service], "deleted beside another cluster").await;
    assert_left("another cluster's", &other.snapshot().await, &before);
    other.restart().await;
    other.settled().await;
    assert_eq!(other.sent(), [""; 0], "what the other cluster had to put right");
    clear(&mut other, &[&theirs], "deleted by the other cluster").await;
}

/// With our mark and of a Service that nobody knows: another cluster may bear our name. It is
/// reported, and never swept.
pub async fn pieces_of_unknown_services_are_reported_and_left(harness: &impl LoadBalancerHarness) {
    let (rig, unknown) = made(harness).await;
    let (alone, members) = (rig.snapshot().await, rig.nodes().to_vec());
    drop(rig);

    let mut rig = Rig::start(harness).await;
    rig.members(members);
    rig.settled().await;
    let service = unknown.sibling("known");
    rig.present(&service);
    rig.settled().await;
    let owners = owners(&rig).await;
    assert!(owners.contains(&unknown.id.uid), "not in the inventory, which names {owners:?}");
    rig.look_again().await;
    rig.absent(&service);
    rig.settled().await;
    assert_left("a Service that nobody knows", &rig.snapshot().await, &alone);
    clear(&mut rig, &[&unknown], "known again, and deleted").await;
}

/// A Service of the same name is another object: what the former one left is not its own.
pub async fn a_service_of_the_same_name_is_another(harness: &impl LoadBalancerHarness) {
    let (rig, former) = made(harness).await;
    let (alone, members) = (rig.snapshot().await, rig.nodes().to_vec());
    drop(rig);

    let mut rig = Rig::start(harness).await;
    rig.members(members);
    let service = former.successor();
    rig.present(&service);
    rig.settled().await;
    assert!(!rig.ingress(&service).is_empty(), "it is done, and has no address");
    rig.absent(&service);
    rig.settled().await;
    assert_left("of the former of this name", &rig.snapshot().await, &alone);
    clear(&mut rig, &[&former], "both deleted").await;
}
