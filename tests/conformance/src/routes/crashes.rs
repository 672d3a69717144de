//! Crashes: before the k-th change is sent, and after its effect with the answer lost, for every k.

use super::story::{assert_left, clear, routed};
use crate::rig::{Cut, RouteRig, RoutedNode};
use crate::routing::RouteHarness;

/// Tells a story with a crash at each of its changes in turn, and compares the ends.
async fn with_crashes<H: RouteHarness>(
    rig: &mut RouteRig<'_, H>,
    what: &str,
    before: &[RoutedNode],
    all: &[RoutedNode],
    act: impl Fn(&mut RouteRig<'_, H>),
) {
    let begin = async |rig: &mut RouteRig<'_, H>| {
        for node in before {
            rig.present(node);
        }
        rig.settled().await;
        rig.sent();
    };
    begin(rig).await;
    act(rig);
    rig.settled().await;
    let (changes, end) = (rig.sent().len(), rig.snapshot().await);
    assert!(changes > 0, "{what}: nothing is sent");
    clear(rig, all, &format!("{what}, and gone")).await;
    for at in 1..=changes {
        for when in [Cut::Before, Cut::After] {
            let about = format!("{what}, crashed at change {at} ({when:?})");
            begin(rig).await;
            rig.cut(at, when);
            act(rig);
            rig.until_cut().await;
            rig.restart().await;
            rig.settled().await;
            assert_left(&about, &rig.snapshot().await, &end);
            clear(rig, all, &format!("{about}, and gone")).await;
        }
    }
}

async fn staged<H: RouteHarness>(harness: &H) -> (RouteRig<'_, H>, Vec<RoutedNode>) {
    let (mut rig, mut nodes) = routed(harness, 3).await;
    if harness.has_two_families() {
        for node in &mut nodes {
            node.ranges.push(rig.next_v6_range());
        }
    }
    clear(&mut rig, &nodes, "gone").await;
    (rig, nodes)
}

/// Wherever the process ends while it makes routes, the next one ends in the same state.
pub async fn a_crash_while_making_leaves_no_trace(harness: &impl RouteHarness) {
    let (mut rig, nodes) = staged(harness).await;
    let making = |rig: &mut RouteRig<'_, _>| nodes.iter().for_each(|node| rig.present(node));
    with_crashes(&mut rig, "making them", &[], &nodes, making).await;
}

/// The same for other ranges, other machines, and a range that passes from node to node.
pub async fn a_crash_while_changing_leaves_no_trace(harness: &impl RouteHarness) {
    let (mut rig, nodes) = staged(harness).await;
    let spare = rig.node().await;
    let range = rig.next_range();
    let changing = |rig: &mut RouteRig<'_, _>| {
        rig.present(&nodes[0].with(vec![range]).on(&spare));
        rig.absent(&nodes[1]);
        rig.present(&nodes[2].with(nodes[1].ranges.clone()));
    };
    with_crashes(&mut rig, "changing them", &nodes, &nodes, changing).await;
}

/// The same for taking them away.
pub async fn a_crash_while_taking_away_leaves_no_trace(harness: &impl RouteHarness) {
    let (mut rig, nodes) = staged(harness).await;
    let going = |rig: &mut RouteRig<'_, _>| nodes.iter().for_each(|node| rig.absent(node));
    with_crashes(&mut rig, "taking them away", &nodes, &nodes, going).await;
}
