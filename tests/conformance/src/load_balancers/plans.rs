//! Plans: what is said before it is done.

use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{AnyChange, Later, LoadBalancerSpec, Plan, Report, Step, Unit, Want, World};

use super::story::{made, staged};
use crate::ask::leave;
use crate::balancing::LoadBalancerHarness;
use crate::rig::{Rig, first_lines};
use crate::service::{Service, Variant};

/// A dry run is worth something only if it says what would happen: for making, changing and
/// deleting, the first stage that a fresh look plans is the first that is sent.
pub async fn what_is_planned_is_what_is_sent(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    rig.present(&service);
    rig.settled().await;
    rig.absent(&service);
    rig.settled().await;
    rig.sent();

    let told = rehearsed(&mut rig, harness, |rig| rig.present(&service)).await;
    check(&mut rig, "making it", told).await;
    for variant in Variant::of_ports().iter().chain(&harness.variants()) {
        let changed = variant.of(&service);
        let told = rehearsed(&mut rig, harness, |rig| rig.present(&changed)).await;
        check(&mut rig, variant.name, told).await;
    }
    let told = rehearsed(&mut rig, harness, |rig| rig.absent(&service)).await;
    check(&mut rig, "taking it down", told).await;
}

/// What a process that starts now would send first, and then lets it be done.
async fn rehearsed<H: LoadBalancerHarness>(
    rig: &mut Rig<'_, H>,
    harness: &H,
    act: impl FnOnce(&mut Rig<'_, H>),
) -> Vec<String> {
    let before = harness.mutations().await;
    // The engine is held up before its first change, so that the rehearsal sees what it saw.
    if rig.until_held(1, act).await {
        let told = first_lines(&rig.rehearse().await);
        assert_eq!(harness.mutations().await, before, "a rehearsal sends something");
        rig.release();
        return told;
    }
    rig.release();
    Vec::new()
}

async fn check<H: LoadBalancerHarness>(rig: &mut Rig<'_, H>, about: &str, told: Vec<String>) {
    rig.settled().await;
    let sent = rig.sent();
    let is_first = sent.first().is_none_or(|first| told.contains(first));
    let are_sent = told.iter().all(|line| sent.contains(line));
    assert!(is_first && are_sent, "{about}: planned first: {told:#?}, and sent: {sent:#?}");
}

/// A change is shown, counted and fenced as one: if it were several requests, a crash or a lost
/// lease could fall between them.
pub async fn a_change_is_one_request_at_most(harness: &impl LoadBalancerHarness) {
    let mut rig = staged(harness).await;
    let service = harness.service();
    let mut story = vec![("making it", Some(service.clone()))];
    let variants = Variant::of_ports().into_iter().chain(harness.variants());
    story.extend(variants.map(|variant| (variant.name, Some(variant.of(&service)))));
    story.push(("taking it down", None));
    let mut before = harness.mutations().await;
    for (about, form) in story {
        match form {
            Some(form) => rig.present(&form),
            None => rig.absent(&service),
        }
        rig.settled().await;
        let (now, sent) = (harness.mutations().await, rig.sent());
        let effects = usize::try_from(now - before).unwrap_or(usize::MAX);
        before = now;
        assert!(effects <= sent.len(), "{about}: {effects} requests took effect for {sent:#?}");
    }
}

/// Everything of a plan that is to be the same; reports in the order of their objects.
#[derive(Debug, PartialEq)]
struct Said {
    stages: Vec<Vec<Step<AnyChange>>>,
    later: Vec<Later>,
    reports: Vec<Report>,
}

impl From<Plan<AnyChange>> for Said {
    fn from(plan: Plan<AnyChange>) -> Self {
        let Plan { stages, later, mut reports } = plan;
        reports.sort_by(|one, other| one.id.cmp(&other.id));
        Self { stages, later, reports }
    }
}

/// A plan that changes by itself is never the one that was shown, and the check for "does not
/// converge" cannot see it. Neither may it hang on the order of the Services, which is the
/// framework's affair.
pub async fn plans_are_the_same_each_time(harness: &impl LoadBalancerHarness) {
    let (mut rig, a) = made(harness).await;
    let (b, c, d) = (a.sibling("b"), a.sibling("c"), a.sibling("d"));
    for service in [&b, &c] {
        rig.present(service);
    }
    rig.settled().await;
    let read = |service: &Service| match service.read(&harness.annotations()) {
        Ok(spec) => Want::Present(Arc::new(spec)),
        Err(problem) => panic!("{} cannot be read: {problem}", service.id),
    };
    let wants = [
        Want::Absent(Arc::new(b.identity())),
        Want::Keep(Arc::new(c.identity())),
        read(&d),
        read(&Variant::of_ports()[0].of(&a)),
    ];
    let nodes = Arc::clone(rig.nodes());

    let mut units: Vec<Unit> = Vec::new();
    for unit in wants.iter().flat_map(|want| rig.converger().units(want)) {
        if !units.iter().any(|other| other.name == unit.name) {
            units.push(unit);
        }
    }
    let cx = leave(Duration::from_mins(1));
    for unit in &units {
        let has_unit = |want: &&Want<LoadBalancerSpec>| {
            rig.converger().units(want).iter().any(|other| other.name == unit.name)
        };
        let users: Vec<_> = wants.iter().filter(has_unit).cloned().collect();
        let world = |wants| World { wants, nodes: Arc::clone(&nodes) };
        let straight = world(users.clone());
        let turned = world(users.iter().rev().cloned().collect());
        let observed = match rig.converger().observe(&cx, unit, &straight).await {
            Ok(observed) => observed,
            Err(err) => panic!("nothing is wrong, and yet {} is not seen: {err:?}", unit.name),
        };
        let plan = |world| Said::from(rig.converger().plan(unit, world, &observed));
        let (first, name) = (plan(&straight), &unit.name);
        assert_eq!(plan(&straight), first, "{name}: another plan from the same");
        assert_eq!(plan(&turned), first, "{name}: another plan from Services in another order");
    }
}
