//! Nodes that come, change and go.

use super::story::{assert_left, assert_routed, clear, routed};
use crate::outcome::not_offered;
use crate::rig::RouteRig;
use crate::routing::RouteHarness;

/// Pods on a node are reached once packets for its range go to its machine.
pub async fn a_new_node_is_routed(harness: &impl RouteHarness) {
    let (rig, nodes) = routed(harness, 1).await;
    assert_routed(&rig, "a new node", &nodes[0]).await;
    let (snapshot, inventory) = (rig.snapshot().await, rig.inventory().await);
    assert_eq!(snapshot.len(), 1, "one node, one route: {snapshot:#?}");
    assert_eq!(inventory.len(), 1, "one node, one route: {inventory:?}");
}

/// A node of two families is one object: it is done when both its routes are there.
pub async fn a_node_of_two_families_gets_both(harness: &impl RouteHarness) {
    if !harness.has_two_families() {
        not_offered("routes of two families");
    }
    let (mut rig, nodes) = routed(harness, 1).await;
    let v6 = rig.next_v6_range();
    for ranges in [vec![nodes[0].ranges[0], v6], vec![v6, nodes[0].ranges[0]], vec![v6]] {
        let node = nodes[0].with(ranges);
        rig.present(&node);
        rig.settled().await;
        assert_routed(&rig, "two families", &node).await;
        let many = rig.snapshot().await.len();
        assert_eq!(many, node.ranges.len(), "a route for each range of {:?}", node.ranges);
    }
    clear(&mut rig, &nodes, "gone").await;
}

/// What costs a write each time costs a quota for nothing.
pub async fn nothing_is_sent_when_nothing_differs(harness: &impl RouteHarness) {
    let (mut rig, _) = routed(harness, 3).await;
    let before = harness.mutations().await;
    rig.look_again().await;
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent where nothing differs");
    let after = harness.mutations().await;
    assert_eq!(after, before, "requests that took effect behind the engine");
}

/// Nothing is remembered in the process: what is there is found.
pub async fn a_restart_sends_nothing(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 3).await;
    rig.restart().await;
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent by a process that finds all as it should be");
    for node in &nodes {
        assert_routed(&rig, "after a restart", node).await;
    }
}

/// A Node has no finalizer: what is left when it goes is left for ever.
pub async fn a_node_that_goes_leaves_nothing(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 3).await;
    rig.absent(&nodes[1]);
    rig.settled().await;
    assert!(!rig.has_path(nodes[1].ranges[0]).await, "its route is left");
    for node in [&nodes[0], &nodes[2]] {
        assert_routed(&rig, "another went", node).await;
    }
    clear(&mut rig, &nodes, "all gone").await;
    assert_eq!(rig.inventory().await, []);
}

/// A node that was never routed goes without a request.
pub async fn taking_away_what_was_never_made_sends_nothing(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let node = rig.node().await;
    let before = harness.mutations().await;
    rig.absent(&node);
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0], "sent for what was never there");
    assert_eq!(harness.mutations().await, before);
}

/// The same node with the same range may come again, also while its route still goes.
pub async fn a_node_can_come_back(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    let first = rig.snapshot().await;
    clear(&mut rig, &nodes, "gone").await;
    rig.present(&nodes[0]);
    rig.settled().await;
    assert_left("back again", &rig.snapshot().await, &first);
    rig.absent(&nodes[0]);
    rig.present(&nodes[0]);
    rig.settled().await;
    assert_left("back at once", &rig.snapshot().await, &first);
}

/// The same while its route goes. A cloud may show for a while what is gone, and it is gone all the same.
pub async fn a_node_can_come_back_while_its_route_goes(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    let first = rig.snapshot().await;
    assert!(rig.until_held(|rig| rig.absent(&nodes[0])).await, "nothing is sent for what goes");
    rig.present(&nodes[0]);
    rig.release();
    rig.settled().await;
    assert_left("back while its route went", &rig.snapshot().await, &first);
    clear(&mut rig, &nodes, "gone").await;
}

/// A node keeps its range for life; but where it is made anew under the same UID by mistake, what is
/// there follows what is written.
pub async fn another_range_is_followed(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 2).await;
    let changed = nodes[0].with(vec![rig.next_range()]);
    rig.present(&changed);
    rig.settled().await;
    assert_routed(&rig, "another range", &changed).await;
    assert!(!rig.has_path(nodes[0].ranges[0]).await, "the route to the former range is left");
    let after = rig.snapshot().await;
    rig.absent(&changed);
    rig.settled().await;
    rig.present(&changed);
    rig.settled().await;
    assert_left("made from nothing with that range", &rig.snapshot().await, &after);
    clear(&mut rig, &nodes, "gone").await;
}

/// None of the node's ranges can be had: it has no routes.
pub async fn a_node_without_ranges_has_no_routes(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    rig.present(&nodes[0].with(vec![]));
    rig.settled().await;
    assert_left("without ranges", &rig.snapshot().await, &[]);
}

/// The machine behind a Node may be another after a repair: packets go there, and are not lost in
/// between.
pub async fn another_machine_is_followed(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    let spare = rig.node().await;
    rig.present(&nodes[0].on(&spare));
    rig.settled().await;
    let path = rig.path(nodes[0].ranges[0]).await;
    assert_eq!(path.node.as_ref(), Some(&spare.node.name), "where it leads");
    assert_eq!(rig.interruptions(), [""; 0], "packets are lost");
    clear(&mut rig, &nodes, "gone").await;
}

/// The same where the machine of before is gone, and the route leads nowhere.
pub async fn a_route_to_a_lost_machine_is_repaired(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 2).await;
    let spare = rig.node().await;
    harness.terminate(&nodes[0].node).await;
    rig.present(&nodes[0].on(&spare));
    rig.settled().await;
    let path = rig.path(nodes[0].ranges[0]).await;
    assert_eq!(path.node.as_ref(), Some(&spare.node.name), "where it leads");
    assert_routed(&rig, "the other", &nodes[1]).await;
    clear(&mut rig, &nodes, "gone").await;
}

/// A route that leads nowhere is a route: it goes when its node goes.
pub async fn a_route_to_a_lost_machine_goes_with_its_node(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 2).await;
    harness.terminate(&nodes[0].node).await;
    rig.absent(&nodes[0]);
    rig.settled().await;
    assert!(!rig.has_path(nodes[0].ranges[0]).await, "a route to nowhere is left");
    rig.restart().await;
    harness.terminate(&nodes[1].node).await;
    clear(&mut rig, &nodes[1..], "the last one, and by a process that did not make it").await;
}

/// The range of a node that goes is given to the next one, often before its route is gone: the new
/// node gets it, and the end of the old one does not take it away.
pub async fn a_range_passes_to_another_node(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    let heir = rig.node().await.with(nodes[0].ranges.clone());
    for round in 0..3 {
        let (old, new) = if round % 2 == 0 { (&nodes[0], &heir) } else { (&heir, &nodes[0]) };
        rig.absent(old);
        rig.present(new);
        rig.settled().await;
        assert_routed(&rig, "the range is another's", new).await;
        assert_eq!(rig.snapshot().await.len(), 1, "and there is one route");
    }
    // The end of the former owner is heard late, by another process.
    rig.restart().await;
    rig.present(&nodes[0]);
    rig.forget(&heir);
    rig.settled().await;
    rig.absent(&heir);
    rig.settled().await;
    assert_routed(&rig, "the former owner ended late", &nodes[0]).await;
}

/// More nodes than one request is about come and go together.
pub async fn many_nodes_are_routed(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, harness.many_nodes()).await;
    let paths = harness.paths().await;
    for node in &nodes {
        let to = paths.iter().find(|path| path.destination == node.ranges[0]);
        let name = to.and_then(|path| path.node.as_ref());
        assert_eq!(name, Some(&node.node.name), "where {} leads", node.ranges[0]);
    }
    assert_eq!(rig.inventory().await.len(), nodes.len(), "not all are in the inventory");
    clear(&mut rig, &nodes, "all gone").await;
}
