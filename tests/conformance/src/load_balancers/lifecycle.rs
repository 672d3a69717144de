//! A Service is made, looked at again, and deleted.

use std::collections::BTreeSet;

use ccm_core::cloud::IngressAddress;

use super::story::{assert_left, clear, made, staged};
use crate::balancing::LoadBalancerHarness;
use crate::rig::Rig;

/// What everybody waits for. Without an address in the end, or with one that cannot be reached, it
/// was for nothing.
pub async fn a_new_service_gets_an_address(harness: &impl LoadBalancerHarness) {
    let (rig, service) = made(harness).await;
    let points = rig.ingress(&service);
    assert!(!points.is_empty(), "it is done, and has no address");
    for point in points {
        match &point.address {
            IngressAddress::Ip(ip) => {
                assert!(!ip.is_unspecified() && !ip.is_loopback(), "{ip} cannot be reached");
            }
            IngressAddress::Hostname(name) => {
                assert!(!name.is_empty(), "its address is an empty name");
            }
        }
    }
    assert!(!rig.snapshot().await.is_empty(), "it is done, and the cloud has nothing of it");
}

/// The engine looks at everything again and again. If that sent something, quotas would go to it,
/// and whatever stops traffic would do so every hour.
pub async fn nothing_is_sent_when_nothing_differs(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let before = harness.mutations().await;
    let snapshot = rig.snapshot().await;
    for _ in 0..2 {
        rig.look_again().await;
        rig.settled().await;
    }
    rig.present(&service);
    rig.members(rig.nodes().to_vec());
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent though nothing differs");
    assert_eq!(harness.mutations().await, before, "requests that took effect behind the engine");
    assert_left("looking again", &rig.snapshot().await, &snapshot);
}

/// Every update of the program is a restart. What the former process made is found as it is, also
/// where what it wrote on the Service never arrived.
pub async fn a_restart_sends_nothing(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let before = harness.mutations().await;
    let address = rig.ingress(&service).to_vec();
    rig.restart().await;
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent by a process that finds all as it should be");
    assert_eq!(rig.ingress(&service), address, "another address after a restart");

    let members = rig.nodes().to_vec();
    drop(rig);
    let mut rig = Rig::start(harness).await;
    rig.members(members);
    rig.present(&service);
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent where nothing was written back on the Service");
    assert_eq!(rig.ingress(&service), address, "another address where nothing was written back");
    assert_eq!(harness.mutations().await, before, "requests that took effect behind the engine");
}

/// Whatever stays is paid for, and nobody knows whose it is.
pub async fn a_deleted_service_leaves_nothing(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let owners: BTreeSet<_> =
        rig.inventory().await.into_iter().filter_map(|owned| owned.owner).collect();
    assert!(owners.contains(&service.id.uid), "not in the inventory, which names {owners:?}");
    clear(&mut rig, &[&service], "deleted").await;
    assert_eq!(rig.inventory().await, [], "an inventory of nothing");

    let before = harness.mutations().await;
    clear(&mut rig, &[&service], "deleted twice").await;
    rig.restart().await;
    clear(&mut rig, &[&service], "deleted again by the next process").await;
    assert_eq!(harness.mutations().await, before, "requests that took effect for what is gone");
}

/// A Service may be deleted before anything was made for it, and its finalizer waits for the word
/// that nothing is there.
pub async fn deleting_what_was_never_made_sends_nothing(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let before = harness.mutations().await;
    rig.absent(&harness.service());
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent for what was never made");
    assert_eq!(harness.mutations().await, before, "requests that took effect behind the engine");
    assert_left("deleted unmade", &rig.snapshot().await, &[]);
}

/// Deleting and making again is what users do to repair things.
pub async fn a_service_can_be_made_again(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let first = rig.snapshot().await;
    for _ in 0..2 {
        clear(&mut rig, &[&service], "deleted").await;
        rig.present(&service);
        rig.settled().await;
        assert_left("made again", &rig.snapshot().await, &first);
    }
}
