//! Whose routes are touched, and whose never.

use std::collections::BTreeSet;

use ccm_core::cloud::{Kind, Uid};

use super::story::{assert_left, assert_routed, clear, ours, routed, stranger};
use crate::balancing::Cluster;
use crate::harness::Unsupported;
use crate::outcome::not_offered;
use crate::rig::{RouteRig, offered};
use crate::routing::{Placed, RouteHarness, RouteMark};

/// Replacing another program is a change of image: what it left is as it should be.
pub async fn what_another_program_left_is_taken_over(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let nodes = [rig.node().await, rig.node().await];
    for node in &nodes {
        let left = ours(node.ranges[0], node, node.node.uid.clone());
        offered(harness.put(&left).await, "to put a route there as another program would");
    }
    let before = rig.snapshot().await;
    assert_eq!(before.len(), 2, "the harness puts routes there that bear our mark: {before:#?}");
    for node in &nodes {
        rig.present(node);
    }
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent for what another program left");
    assert_left("taken over", &rig.snapshot().await, &before);
    clear(&mut rig, &nodes, "taken over, and gone").await;
}

/// Routes of our cluster that lead elsewhere, or that bear a Node's mark that is gone, are put right
/// without an interruption.
pub async fn what_leads_elsewhere_is_set_right(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let nodes = [rig.node().await, rig.node().await];
    let elsewhere = ours(nodes[0].ranges[0], &nodes[1], nodes[0].node.uid.clone());
    offered(harness.put(&elsewhere).await, "to put a route there as another program would");
    let anothers = ours(nodes[1].ranges[0], &nodes[0], stranger());
    offered(harness.put(&anothers).await, "to put a route there as another program would");
    for node in &nodes {
        rig.present(node);
    }
    rig.settled().await;
    for node in &nodes {
        assert_routed(&rig, "set right", node).await;
    }
    assert_eq!(rig.interruptions(), [""; 0], "packets are lost");
    assert_eq!(rig.snapshot().await.len(), 2);
    clear(&mut rig, &nodes, "set right, and gone").await;
}

/// A node that cannot be read keeps what it has, whoever comes and goes beside it.
pub async fn what_is_kept_loses_nothing(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 2).await;
    rig.keep(&nodes[0]);
    rig.absent(&nodes[1]);
    rig.settled().await;
    assert_routed(&rig, "kept while another went", &nodes[0]).await;
    let other = rig.node().await;
    rig.present(&other);
    rig.settled().await;
    rig.restart().await;
    rig.settled().await;
    assert_routed(&rig, "kept over a restart", &nodes[0]).await;
    assert_eq!(rig.snapshot().await.len(), 2);
}

/// Somebody's own routes, also inside the cluster's ranges, are not ours to touch or to list.
pub async fn routes_of_others_are_left_alone(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let node = rig.node().await;
    let ranges = [rig.next_range(), rig.next_range()];
    for (range, mark) in ranges.into_iter().zip([RouteMark::Nobody, RouteMark::Another]) {
        let foreign = Placed { destination: range, node: &node.node, mark };
        offered(harness.put(&foreign).await, "to put a route there as somebody else");
    }
    rig.present(&node);
    rig.settled().await;
    assert_eq!(rig.inventory().await.len(), 1, "only ours are listed");
    clear(&mut rig, &[node], "gone").await;
    for range in ranges {
        assert!(rig.has_path(range).await, "somebody else's route to {range} is gone");
    }
    assert_eq!(rig.inventory().await, []);
}

/// A route of somebody else's that has a node's range is that node's trouble alone. The person who
/// reads of it has to find it.
pub async fn a_foreign_route_in_the_way_stops_that_node_alone(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let (unlucky, other) = (rig.node().await, rig.node().await);
    for mark in [RouteMark::Nobody, RouteMark::Another] {
        let range = unlucky.ranges[0];
        let foreign = Placed { destination: range, node: &other.node, mark };
        offered(harness.put(&foreign).await, "to put a route there as somebody else");
        rig.present(&unlucky);
        rig.present(&other);
        let err = rig.trouble(&unlucky).await;
        let is_theirs = matches!(err.kind(), Kind::InvalidConfiguration | Kind::Conflict);
        assert!(is_theirs, "a person has to act, and not {err:?}");
        let says = err.message();
        assert!(says.contains(&range.to_string()), "does not name {range}: {says:?}");
        rig.settled_but(&[&unlucky]).await;
        assert_routed(&rig, "the other", &other).await;
        let path = rig.path(range).await;
        assert_eq!(path.node.as_ref(), Some(&other.node.name), "the foreign route is touched");
        rig.absent(&unlucky);
        rig.settled().await;
        assert!(rig.has_path(range).await, "the foreign route went with the node");

        harness.remove(range).await;
        rig.present(&unlucky);
        rig.settled().await;
        assert_routed(&rig, "once it is out of the way", &unlucky).await;
        clear(&mut rig, &[unlucky.clone(), other.clone()], "gone").await;
    }
}

/// A route to a range that is not the cluster's is never ours, whatever it bears: somebody has moved
/// the cluster's range, or leads another network to a node.
pub async fn routes_outside_the_clusters_ranges_are_left_alone(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let node = rig.node().await;
    let outside = ["192.168.77.0/24", "192.168.78.0/24"].map(|it| it.parse().expect("a range"));
    for (range, owner) in outside.into_iter().zip([node.node.uid.clone(), stranger()]) {
        let left = ours(range, &node, owner);
        offered(harness.put(&left).await, "to put a route there as another program would");
    }
    rig.present(&node);
    rig.settled().await;
    assert_eq!(rig.inventory().await.len(), 1, "a route outside the cluster's ranges is listed");
    rig.restart().await;
    rig.absent(&node);
    rig.absent(&node.owned_by(stranger()));
    rig.settled().await;
    for range in outside {
        assert!(rig.has_path(range).await, "the route to {range}, outside the cluster's, is gone");
    }
}

/// Two clusters in one account, or in one network.
pub async fn another_clusters_routes_are_left_alone(harness: &impl RouteHarness) {
    let Ok(mut other) = RouteRig::start_as(harness, Cluster::Another).await else {
        not_offered("two clusters in one cloud");
    };
    let (mut rig, nodes) = routed(harness, 1).await;
    // Ranges of their own.
    let theirs = rig.node().await;
    other.present(&theirs);
    other.settled().await;
    let has = other.snapshot().await;
    assert_eq!(has.len(), 1, "the other cluster has nothing: {has:#?}");
    rig.look_again().await;
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent because of another cluster");
    clear(&mut rig, &nodes, "ours gone").await;
    assert_left("the other cluster", &other.snapshot().await, &has);
    clear(&mut other, &[theirs], "theirs gone").await;
}

/// By it the framework finds routes of nodes that went while nobody looked.
pub async fn the_inventory_is_complete_and_only_ours(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 3).await;
    let mut want: BTreeSet<Uid> = nodes.iter().map(|node| node.node.uid.clone()).collect();
    let check = async |rig: &RouteRig<'_, _>, want: &BTreeSet<Uid>, about: &str| {
        let inventory = rig.inventory().await;
        let owners: BTreeSet<_> =
            inventory.iter().filter_map(|owned| owned.owner.clone()).collect();
        let ids: BTreeSet<_> = inventory.iter().map(|owned| &owned.id).collect();
        assert_eq!(ids.len(), inventory.len(), "something is listed twice: {inventory:?}");
        assert_eq!(inventory.len(), want.len(), "{about}: {inventory:?}");
        // Not every cloud has a place for the owner.
        if inventory.iter().all(|owned| owned.owner.is_some()) {
            assert_eq!(owners, *want, "{about}: the owners");
        }
    };
    check(&rig, &want, "routes of nodes").await;
    let range = rig.next_range();
    let Ok(()) = harness.put(&ours(range, &nodes[0], stranger())).await else { return };
    want.insert(stranger());
    check(&rig, &want, "with the route of a node that is gone").await;
    let foreign =
        Placed { destination: rig.next_range(), node: &nodes[0].node, mark: RouteMark::Nobody };
    match harness.put(&foreign).await {
        Ok(()) | Err(Unsupported) => {}
    }
    check(&rig, &want, "with a route of nobody's").await;
}

/// A Node may go while nobody looks. Its owner is then wanted absent by its UID alone, and what is left
/// of it goes; nothing else does.
pub async fn routes_of_unknown_nodes_go_when_they_are_to_go(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    let range = rig.next_range();
    let left = ours(range, &nodes[0], stranger());
    offered(harness.put(&left).await, "to put a route there as another program would");
    rig.restart().await;
    rig.absent(&nodes[0].owned_by(stranger()));
    rig.settled().await;
    assert!(!rig.has_path(range).await, "its owner is to have nothing");
    assert_routed(&rig, "the node that is there", &nodes[0]).await;
}
