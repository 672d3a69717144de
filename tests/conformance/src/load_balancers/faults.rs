//! A cloud that refuses, does not answer, or is changed by somebody else meanwhile.

use std::time::Duration;

use ccm_core::cloud::Kind;

use super::story::{Story, assert_left, clear, made, staged};
use crate::balancing::{LoadBalancerHarness, WriteFault};
use crate::outcome::not_offered;
use crate::rig::offered;

/// Makes a Service while writes fail, at each change in turn: the failure is of the right kind,
/// and once it is over all is as if it had never been.
async fn fails_and_heals<H: LoadBalancerHarness>(
    harness: &H,
    fault: WriteFault,
    positions: impl FnOnce(usize) -> Vec<usize>,
    is_right: impl Fn(Kind) -> bool,
) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    let story = Story::making(&service);
    let calm = story.calm(&mut rig).await;
    for pass in positions(calm.changes) {
        let about = format!("{fault:?} after {pass} changes");
        offered(harness.inject_on_writes(fault, pass).await, &about);
        rig.present(&service);
        let err = rig.trouble(&service).await;
        assert!(is_right(err.kind()), "{about}: another kind of failure: {err:?}");
        assert!(!err.message().is_empty(), "{about}: nothing is said");
        harness.heal().await;
        rig.settled().await;
        assert_left(&about, &rig.snapshot().await, &calm.end);
        story.clear(&mut rig).await;
        assert_left(&format!("{about}, and deleted"), &rig.snapshot().await, &[]);
    }
}

/// The operator has to act, and a right that is granted later is found by itself.
pub async fn a_denied_change_says_so_and_heals(harness: &impl LoadBalancerHarness) {
    let is_right = |kind| kind == Kind::PermissionDenied;
    fails_and_heals(harness, WriteFault::Denied, |changes| (0..changes).collect(), is_right).await;
}

/// So is an account's limit that is raised.
pub async fn an_exhausted_quota_says_so_and_heals(harness: &impl LoadBalancerHarness) {
    let is_right = |kind| kind == Kind::QuotaExceeded;
    fails_and_heals(harness, WriteFault::QuotaExceeded, |_| vec![0], is_right).await;
}

/// Nobody has to act.
pub async fn an_outage_says_so_and_heals(harness: &impl LoadBalancerHarness) {
    let is_right = |kind| kind == Kind::Unavailable;
    let everywhere = |changes| (0..changes).collect();
    fails_and_heals(harness, WriteFault::Unavailable, everywhere, is_right).await;
}

/// The wait that the cloud asks for is heard, so that the framework can keep to it.
pub async fn throttled_changes_say_how_long_to_wait(harness: &impl LoadBalancerHarness) {
    let retry_after = Duration::from_secs(2);
    let is_right = |kind| match kind {
        Kind::RateLimited { retry_after: Some(said) } => {
            said.abs_diff(retry_after) <= Duration::from_secs(1)
        }
        _ => false,
    };
    let fault = WriteFault::Throttled { retry_after };
    fails_and_heals(harness, fault, |changes| vec![changes / 2], is_right).await;
}

/// A change that is not answered ends with the framework's patience, and may have taken effect.
pub async fn a_hanging_change_ends_and_heals(harness: &impl LoadBalancerHarness) {
    let is_right = |kind| kind == Kind::Unavailable;
    fails_and_heals(harness, WriteFault::Hang, |changes| vec![changes / 2], is_right).await;
}

/// A change that took effect, and whose answer was lost, is found to be done: for making, and for
/// taking down.
pub async fn a_lost_answer_does_no_harm(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    for story in [Story::making(&service), Story::taking_down(&service)] {
        let calm = story.calm(&mut rig).await;
        for pass in 0..calm.changes {
            let about = format!("{}, the answer to change {} lost", story.what, pass + 1);
            story.begin(&mut rig).await;
            offered(harness.inject_on_writes(WriteFault::LostAnswer, pass).await, &about);
            story.act(&mut rig);
            rig.settled().await;
            harness.heal().await;
            assert_left(&about, &rig.snapshot().await, &calm.end);
            story.clear(&mut rig).await;
            assert_left(&format!("{about}, and deleted"), &rig.snapshot().await, &[]);
        }
    }
}

fn meddlings(harness: &impl LoadBalancerHarness) -> Vec<&'static str> {
    let meddlings = harness.meddlings();
    if meddlings.is_empty() {
        not_offered("anything that somebody else could change");
    }
    meddlings
}

/// People change things by hand. The next look puts right what is ours.
pub async fn what_somebody_else_changed_is_put_right(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let first = rig.snapshot().await;
    for how in meddlings(harness) {
        assert!(harness.meddle(&service.id, how).await, "{how}: not to be done on a whole Service");
        rig.look_again().await;
        rig.settled().await;
        assert_left(how, &rig.snapshot().await, &first);
    }
    clear(&mut rig, &[&service], "deleted after all that").await;
    rig.present(&service);
    rig.settled().await;
    for how in meddlings(harness) {
        assert!(harness.meddle(&service.id, how).await, "{how}: not to be done on a whole Service");
        clear(&mut rig, &[&service], &format!("{how}, and deleted")).await;
        rig.present(&service);
        rig.settled().await;
    }
}

/// Somebody else changes a piece between the look and the change that rests on it: at each change
/// something else, as far as there is something to be changed yet.
pub async fn a_change_by_another_in_the_middle_is_put_right(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    for story in [Story::making(&service), Story::taking_down(&service)] {
        let calm = story.calm(&mut rig).await;
        for at in 1..=calm.changes {
            story.begin(&mut rig).await;
            let is_held = rig.until_held(at, |rig| story.act(rig)).await;
            let mut done = None;
            let all = meddlings(harness);
            let turned = all.iter().cycle().skip(at).take(all.len());
            for how in turned.filter(|_| is_held) {
                if harness.meddle(&service.id, how).await {
                    done = Some(how);
                    break;
                }
            }
            rig.release();
            rig.said_to_be_done().await;
            if let Some(how) = done {
                // A unit that was done before is looked at when it is due.
                rig.look_again().await;
                rig.settled().await;
                let about = format!("{}, {how} at change {at}", story.what);
                assert_left(&about, &rig.snapshot().await, &calm.end);
            }
            story.clear(&mut rig).await;
        }
    }
}
