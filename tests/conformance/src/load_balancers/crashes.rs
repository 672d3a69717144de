//! Crashes: before the k-th change is sent, and after its effect with the answer lost, for every k.

use super::story::{Story, assert_left, clear, made, staged};
use crate::balancing::LoadBalancerHarness;
use crate::rig::Cut;
use crate::service::Variant;

/// Wherever the process ends while it makes something, the next one ends in the same state, and
/// what it leaves when the Service is deleted is nothing.
pub async fn a_crash_while_making_leaves_no_trace(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    Story::making(&harness.service()).with_crashes(&mut rig, &[], true).await;
    // And where what is shared is there already.
    let other = harness.service().sibling("other");
    rig.present(&other);
    rig.settled().await;
    let rest = rig.snapshot().await;
    Story::making(&harness.service()).with_crashes(&mut rig, &rest, false).await;
}

/// The same for every change of a Service's ports, beside another Service.
pub async fn a_crash_while_changing_ports_leaves_no_trace(harness: &impl LoadBalancerHarness) {
    changing(harness, &Variant::of_ports(), true).await;
}

/// The same for every other field and annotation that the cloud offers.
pub async fn a_crash_while_changing_leaves_no_trace(harness: &impl LoadBalancerHarness) {
    changing(harness, &harness.variants(), false).await;
}

async fn changing<H: LoadBalancerHarness>(harness: &H, variants: &[Variant], thorough: bool) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    rig.present(&service.sibling("other"));
    rig.settled().await;
    let rest = rig.snapshot().await;
    for variant in variants {
        Story::changing(&service, variant).with_crashes(&mut rig, &rest, thorough).await;
    }
}

/// The same for taking it down: the last of a cluster, and one of several.
pub async fn a_crash_while_taking_down_leaves_no_trace(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    Story::taking_down(&harness.service()).with_crashes(&mut rig, &[], true).await;
    rig.present(&harness.service().sibling("other"));
    rig.settled().await;
    let rest = rig.snapshot().await;
    Story::taking_down(&harness.service()).with_crashes(&mut rig, &rest, true).await;
}

/// The process crashed half-way, and then the user gave up: what was made is found though nothing
/// of it stands on the Service.
pub async fn a_half_made_service_is_taken_down(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    let calm = Story::making(&service).calm(&mut rig).await;
    for at in 1..=calm.changes {
        for when in [Cut::Before, Cut::After] {
            rig.cut(at, when);
            rig.present(&service);
            rig.until_cut().await;
            rig.absent(&service);
            rig.restart().await;
            rig.settled().await;
            let about = format!("deleted after a crash at change {at} ({when:?})");
            assert_left(&about, &rig.snapshot().await, &[]);
        }
    }
}

/// A process that is killed after each change still gets there, if it ever gets to one.
pub async fn a_process_that_dies_at_every_change_gets_there(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let end = rig.snapshot().await;
    clear(&mut rig, &[&service], "deleted").await;
    for is_making in [true, false] {
        if is_making {
            rig.present(&service);
        } else {
            rig.absent(&service);
        }
        let mut lives = 0;
        loop {
            rig.restart().await;
            rig.cut(1, Cut::After);
            if !rig.until_cut().await {
                break;
            }
            lives += 1;
            assert!(lives < 200, "not settled in {lives} lives, one change in each life");
        }
        rig.restart().await;
        rig.settled().await;
        let (about, want) =
            if is_making { ("made", &end[..]) } else { ("taken down", &[] as &[String]) };
        assert_left(&format!("{about}, one change in each life"), &rig.snapshot().await, want);
    }
}
