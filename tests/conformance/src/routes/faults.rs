//! A cloud that refuses, does not answer, answers with half of it, or is changed by somebody else.

use std::time::Duration;

use ccm_core::cloud::Kind;

use super::story::{assert_left, assert_routed, clear, routed};
use crate::balancing::WriteFault;
use crate::rig::{RouteRig, offered};
use crate::routing::{ReadFault, RouteHarness};

/// One node's trouble is its own: the others are routed while it waits.
pub async fn a_failing_node_stops_nobody_else(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let nodes = [rig.node().await, rig.node().await, rig.node().await];
    let unlucky = &nodes[1];
    let denied = harness.inject_on_route(unlucky.ranges[0]).await;
    offered(denied, "to deny changes of one route");
    for node in &nodes {
        rig.present(node);
    }
    let err = rig.trouble(unlucky).await;
    assert_eq!(err.kind(), Kind::PermissionDenied, "another kind of failure: {err:?}");
    rig.settled_but(&[unlucky]).await;
    for node in [&nodes[0], &nodes[2]] {
        assert_routed(&rig, "beside one that fails", node).await;
    }
    assert!(!rig.has_path(unlucky.ranges[0]).await);
    harness.heal().await;
    rig.settled().await;
    assert_routed(&rig, "healed", unlucky).await;
    clear(&mut rig, &nodes, "gone").await;
}

/// Makes a node's routes while writes fail: the failure is of the right kind, and once it is over all
/// is as if it had never been. The same for taking them away.
async fn fails_and_heals<H: RouteHarness>(
    harness: &H,
    fault: WriteFault,
    is_going_too: bool,
    is_right: impl Fn(Kind) -> bool,
) {
    let mut rig = RouteRig::start(harness).await;
    let node = rig.node().await;
    let about = format!("{fault:?}");
    offered(harness.inject_on_writes(fault, 0).await, &about);
    rig.present(&node);
    let err = rig.trouble(&node).await;
    assert!(is_right(err.kind()), "{about}: another kind of failure: {err:?}");
    assert!(!err.message().is_empty(), "{about}: nothing is said");
    assert!(!rig.has_path(node.ranges[0]).await);
    harness.heal().await;
    rig.settled().await;
    assert_routed(&rig, &about, &node).await;
    if is_going_too {
        offered(harness.inject_on_writes(fault, 0).await, &about);
        rig.absent(&node);
        let err = rig.trouble(&node).await;
        assert!(is_right(err.kind()), "{about}: another kind of failure: {err:?}");
        assert!(rig.has_path(node.ranges[0]).await);
        harness.heal().await;
    }
    clear(&mut rig, &[node], &format!("{about}, and gone")).await;
}

/// The operator has to act, and a right that is granted later is found by itself.
pub async fn a_denied_change_says_so_and_heals(harness: &impl RouteHarness) {
    let is_right = |kind| kind == Kind::PermissionDenied;
    fails_and_heals(harness, WriteFault::Denied, true, is_right).await;
}

/// So is a table's limit that is raised.
pub async fn an_exhausted_quota_says_so_and_heals(harness: &impl RouteHarness) {
    let is_right = |kind| kind == Kind::QuotaExceeded;
    fails_and_heals(harness, WriteFault::QuotaExceeded, false, is_right).await;
}

/// Nobody has to act.
pub async fn an_outage_says_so_and_heals(harness: &impl RouteHarness) {
    let is_right = |kind| kind == Kind::Unavailable;
    fails_and_heals(harness, WriteFault::Unavailable, true, is_right).await;
}

/// The wait that the cloud asks for is heard, so that the framework can keep to it.
pub async fn throttled_changes_say_how_long_to_wait(harness: &impl RouteHarness) {
    let retry_after = Duration::from_secs(2);
    let is_right = |kind| match kind {
        Kind::RateLimited { retry_after: Some(said) } => {
            said.abs_diff(retry_after) <= Duration::from_secs(1)
        }
        _ => false,
    };
    fails_and_heals(harness, WriteFault::Throttled { retry_after }, false, is_right).await;
}

/// A change that took effect, and whose answer was lost, is found to be done: for making, for
/// changing, and for taking away.
pub async fn a_lost_answer_does_no_harm(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    let (first, spare) = (rig.snapshot().await, rig.node().await);
    rig.present(&nodes[0].on(&spare));
    rig.settled().await;
    let moved = rig.snapshot().await;
    clear(&mut rig, &nodes, "gone").await;
    let lose = async || {
        offered(harness.inject_on_writes(WriteFault::LostAnswer, 0).await, "to lose an answer");
    };
    lose().await;
    rig.present(&nodes[0]);
    rig.settled().await;
    assert_left("made, the answer lost", &rig.snapshot().await, &first);
    harness.heal().await;
    lose().await;
    rig.present(&nodes[0].on(&spare));
    rig.settled().await;
    assert_left("changed, the answer lost", &rig.snapshot().await, &moved);
    harness.heal().await;
    lose().await;
    clear(&mut rig, &nodes, "taken away, the answer lost").await;
    harness.heal().await;
}

/// Whoever may not look knows nothing, and so does nothing.
pub async fn denied_looks_change_nothing(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 2).await;
    let (first, before) = (rig.snapshot().await, harness.mutations().await);
    offered(harness.inject_on_reads(ReadFault::Denied).await, "to deny looks at routes");
    rig.restart().await;
    rig.absent(&nodes[1]);
    for node in &nodes {
        let err = rig.trouble(node).await;
        assert_eq!(err.kind(), Kind::PermissionDenied, "another kind of failure: {err:?}");
    }
    assert_eq!(harness.mutations().await, before, "sent by somebody who may not look");
    assert_left("unseen", &rig.snapshot().await, &first);
    harness.heal().await;
    rig.settled().await;
    clear(&mut rig, &nodes, "gone").await;
}

/// An answer that lacks routes deletes none, and makes none a second time.
pub async fn short_answers_change_nothing(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 4).await;
    let (first, before) = (rig.snapshot().await, harness.mutations().await);
    for _ in 0..3 {
        offered(harness.inject_on_reads(ReadFault::Short).await, "to cut answers short");
        rig.look_again().await;
        harness.heal().await;
        rig.settled().await;
        assert_left("after a short answer", &rig.snapshot().await, &first);
    }
    assert_eq!(harness.mutations().await, before, "a short answer changed something");
    clear(&mut rig, &nodes, "gone").await;
}

/// An answer that lacks a route is no proof that nothing is left.
pub async fn a_short_answer_hides_nothing_that_is_to_go(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 1).await;
    offered(harness.inject_on_reads(ReadFault::Short).await, "to cut answers short");
    rig.absent(&nodes[0]);
    // Nothing of it is heard any more once it is said to be gone.
    rig.said_to_be_gone(&nodes[0]).await;
    harness.heal().await;
    assert_left("gone after a short answer", &rig.snapshot().await, &[]);
}

/// People change things by hand. The next look puts right what is ours.
pub async fn what_somebody_else_changed_is_put_right(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 2).await;
    let first = rig.snapshot().await;
    harness.remove(nodes[0].ranges[0]).await;
    rig.look_again().await;
    rig.settled().await;
    assert_left("removed by hand", &rig.snapshot().await, &first);
    if harness.mislead(nodes[0].ranges[0], &nodes[1].node).await.is_ok() {
        rig.look_again().await;
        rig.settled().await;
        assert_left("led elsewhere by hand", &rig.snapshot().await, &first);
    }
    harness.remove(nodes[0].ranges[0]).await;
    clear(&mut rig, &nodes, "removed by hand, and gone").await;
}
