//! What most behaviours begin with, and ends that are compared.

use ccm_core::cloud::Uid;
use ipnet::IpNet;

use crate::rig::{RouteRig, RoutedNode};
use crate::routing::{Placed, RouteHarness, RouteMark};

/// A process with so many nodes, routed and settled.
pub(super) async fn routed<H: RouteHarness>(
    harness: &H,
    many: usize,
) -> (RouteRig<'_, H>, Vec<RoutedNode>) {
    let mut rig = RouteRig::start(harness).await;
    let mut nodes = Vec::with_capacity(many);
    for _ in 0..many {
        nodes.push(rig.node().await);
    }
    for node in &nodes {
        rig.present(node);
    }
    rig.settled().await;
    rig.sent();
    (rig, nodes)
}

/// Packets for all the node's ranges go to it.
pub(super) async fn assert_routed<H: RouteHarness>(
    rig: &RouteRig<'_, H>,
    about: &str,
    node: &RoutedNode,
) {
    for range in &node.ranges {
        let path = rig.path(*range).await;
        assert_eq!(path.node.as_ref(), Some(&node.node.name), "{about}: where {range} leads");
    }
}

/// Takes these nodes away; no route of the cluster may be left.
pub(super) async fn clear<H: RouteHarness>(
    rig: &mut RouteRig<'_, H>,
    nodes: &[RoutedNode],
    about: &str,
) {
    for node in nodes {
        rig.absent(node);
    }
    rig.settled().await;
    assert_left(about, &rig.snapshot().await, &[]);
    rig.sent();
}

/// What the cloud has is what it should have.
#[track_caller]
pub(super) fn assert_left(about: &str, got: &[String], want: &[String]) {
    let but = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (more, less) = (but(got, want), but(want, got));
    assert!(
        got == want,
        "{about}: the cloud has what it should not have: {more:#?}, or lacks: {less:#?}, \
         or has something twice: {got:#?}"
    );
}

/// A route of our cluster that somebody made for a Node of this UID.
pub(super) fn ours(destination: IpNet, node: &RoutedNode, owner: Uid) -> Placed<'_> {
    Placed { destination, node: &node.node, mark: RouteMark::Ours(owner) }
}

/// A UID that no node has.
pub(super) fn stranger() -> Uid {
    Uid::from("c0f0c0f0-0000-4000-8000-00000000dead")
}
