//! What users change, and what they get wrong.

use ccm_core::cloud::Kind;

use super::story::{assert_left, clear, made, staged};
use crate::balancing::LoadBalancerHarness;
use crate::outcome::not_offered;
use crate::service::{Mistake, Variant};

fn variants(harness: &impl LoadBalancerHarness) -> Vec<Variant> {
    Variant::of_ports().into_iter().chain(harness.variants()).collect()
}

/// Each field and annotation, changed on a Service that is there, reaches the cloud; and then it is
/// settled: a restart sends nothing.
pub async fn every_change_arrives(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    for variant in variants(harness) {
        let name = variant.name;
        let before = rig.snapshot().await;
        rig.present(&variant.of(&service));
        rig.settled().await;
        let after = rig.snapshot().await;
        let shows = |snapshot: &[String], text: &str| snapshot.iter().any(|it| it.contains(text));
        match variant.shows {
            Some("") => assert_left(name, &after, &before),
            None => assert_ne!(after, before, "{name}: nothing of it is to be seen"),
            Some(text) => {
                assert!(!shows(&before, text), "{name}: {text:?} is there before: {before:#?}");
                assert!(shows(&after, text), "{name}: {text:?} is not to be seen: {after:#?}");
            }
        }
        rig.restart().await;
        rig.settled().await;
        assert_eq!(rig.sent(), [""; 0], "{name}: sent by a process that finds all as it should be");
        assert_left(&format!("{name}, and a restart"), &rig.snapshot().await, &after);
        rig.present(&service);
        rig.settled().await;
        if variant.sticks {
            // The next change begins with a clean slate all the same.
            clear(&mut rig, &[&service], name).await;
            rig.present(&service);
            rig.settled().await;
        }
    }
}

/// Users try things out. What they take back is gone, and what was there before is as it was.
pub async fn a_change_that_is_taken_back_leaves_no_trace(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let first = rig.snapshot().await;
    for variant in variants(harness).iter().filter(|variant| !variant.sticks) {
        rig.present(&variant.of(&service));
        rig.settled().await;
        rig.present(&service);
        rig.settled().await;
        let about = format!("{}, taken back", variant.name);
        assert_left(&about, &rig.snapshot().await, &first);
    }
    clear(&mut rig, &[&service], "deleted after all changes").await;
}

/// They may take it back while it is on its way. A cloud may show for a while what is gone, and not show
/// what has come.
pub async fn a_change_can_be_taken_back_on_its_way(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let first = rig.snapshot().await;
    let mut held = 0;
    for variant in Variant::of_ports() {
        // For some of them nothing is to be sent.
        held += u32::from(rig.until_held(1, |rig| rig.present(&variant.of(&service))).await);
        rig.present(&service);
        rig.release();
        rig.settled().await;
        let about = format!("{}, taken back on its way", variant.name);
        assert_left(&about, &rig.snapshot().await, &first);
    }
    assert!(held > 0, "nothing was sent for any change");
    clear(&mut rig, &[&service], "deleted after all changes").await;
}

/// However a Service came to be what it is, the cloud has the same for it: there is one way to read
/// a spec, and not one for making and one for changing.
pub async fn a_changed_service_is_like_a_new_one(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    for variant in variants(harness) {
        let changed = variant.of(&service);
        rig.present(&changed);
        rig.settled().await;
        let after = rig.snapshot().await;
        clear(&mut rig, &[&changed], variant.name).await;
        rig.present(&changed);
        rig.settled().await;
        let about = format!("{}, and then made from nothing", variant.name);
        assert_left(&about, &rig.snapshot().await, &after);
        clear(&mut rig, &[&changed], variant.name).await;
        rig.present(&service);
        rig.settled().await;
    }
}

/// Traffic goes on, and clients find the same address, unless what was changed makes that
/// impossible.
pub async fn a_change_disrupts_only_what_it_must(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let address = rig.ingress(&service).to_vec();
    for variant in variants(harness).iter().filter(|variant| !variant.disrupts) {
        for changed in [&variant.of(&service), &service] {
            rig.present(changed);
            rig.settled().await;
            let name = variant.name;
            assert_eq!(rig.interruptions(), [""; 0], "{name}: stops traffic");
            let addresses = |points: &[ccm_core::cloud::IngressPoint]| -> Vec<_> {
                points.iter().map(|point| point.address.clone()).collect()
            };
            let now = addresses(rig.ingress(&service));
            let is_kept = addresses(&address).iter().all(|address| now.contains(address));
            assert!(is_kept, "{name}: from {address:?} to {now:?}");
            rig.sent();
        }
    }
}

fn mistakes(harness: &impl LoadBalancerHarness) -> Vec<Mistake> {
    let mistakes = harness.mistakes();
    if mistakes.is_empty() {
        not_offered("anything that a user can get wrong");
    }
    mistakes
}

/// The user has to act, and is told where; nothing was sent for what cannot be had.
pub async fn a_mistake_is_refused_and_named(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    let before = harness.mutations().await;
    for mistake in mistakes(harness) {
        let (name, wrong) = (mistake.name, mistake.of(&service));
        let said = if let Err(problem) = rig.try_present(&wrong) {
            problem
        } else {
            let err = rig.trouble(&wrong).await;
            let is_theirs = matches!(err.kind(), Kind::InvalidConfiguration | Kind::Unsupported);
            assert!(is_theirs, "{name}: should be the user's to mend, not {err:?}");
            err.message().to_owned()
        };
        let names = mistake.names;
        assert!(said.contains(names), "{name}: the complaint does not name {names:?}: {said:?}");
        assert_eq!(harness.mutations().await, before, "{name}: sent though it cannot be had");
        rig.forget(&wrong);
    }
}

/// A typo in a Service that works costs nothing of what it has, and its correction is all it takes.
pub async fn a_mistake_costs_a_service_nothing(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let first = rig.snapshot().await;
    for mistake in mistakes(harness) {
        let (name, wrong) = (mistake.name, mistake.of(&service));
        if rig.try_present(&wrong).is_ok() {
            rig.trouble(&wrong).await;
        }
        rig.settled_but(&[&service]).await;
        assert_left(name, &rig.snapshot().await, &first);
        rig.restart().await;
        rig.settled_but(&[&service]).await;
        assert_left(&format!("{name}, and a restart"), &rig.snapshot().await, &first);
        rig.present(&service);
        rig.settled().await;
        assert_left(&format!("{name}, corrected"), &rig.snapshot().await, &first);
    }
    clear(&mut rig, &[&service], "deleted after all mistakes").await;
}

/// Whoever shares something with a Service that cannot be had is served all the same.
pub async fn a_mistake_is_nobody_elses(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    let other = service.sibling("other");
    rig.present(&other);
    rig.settled().await;
    let alone = rig.snapshot().await;
    clear(&mut rig, &[&other], "deleted").await;
    for mistake in mistakes(harness) {
        let (name, wrong) = (mistake.name, mistake.of(&service));
        let _ = rig.try_present(&wrong);
        rig.present(&other);
        rig.settled_but(&[&wrong]).await;
        assert_left(name, &rig.snapshot().await, &alone);
        // What is shared may stay for as long as somebody may use it.
        rig.absent(&other);
        rig.settled_but(&[&wrong]).await;
        clear(&mut rig, &[&wrong], &format!("{name}, and both deleted")).await;
    }
}
