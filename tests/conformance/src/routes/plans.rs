//! Plans: what is said before it is done.

use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{AnyChange, Later, Plan, Report, RouteSpec, Step, Unit, Want, World};
use ccm_core::converge::Aim;

use super::story::{clear, routed};
use crate::ask::leave;
use crate::rig::{RouteRig, first_lines};
use crate::routing::RouteHarness;

/// A dry run is worth something only if it says what would happen.
pub async fn what_is_planned_is_what_is_sent(harness: &impl RouteHarness) {
    let mut rig = RouteRig::start(harness).await;
    let node = rig.node().await;
    let changed = node.with(vec![rig.next_range()]);
    for (about, aim, form) in [
        ("making it", Aim::Present, &node),
        ("another range", Aim::Present, &changed),
        ("taking it away", Aim::Absent, &changed),
    ] {
        let before = harness.mutations().await;
        let act = |rig: &mut RouteRig<'_, _>| match aim {
            Aim::Present => rig.present(form),
            Aim::Absent | Aim::Keep => rig.absent(form),
        };
        // The engine is held up before its first change, so that the rehearsal sees what it saw.
        assert!(rig.until_held(act).await, "{about}: nothing is sent");
        let told = first_lines(&rig.rehearse().await);
        assert_eq!(harness.mutations().await, before, "a rehearsal sends something");
        rig.release();
        rig.settled().await;
        let sent = rig.sent();
        let is_first = sent.first().is_none_or(|first| told.contains(first));
        let are_sent = told.iter().all(|line| sent.contains(line));
        assert!(is_first && are_sent, "{about}: planned first: {told:#?}, and sent: {sent:#?}");
    }
}

/// A change is shown, counted and fenced as one: if it were several requests, a crash or a lost lease
/// could fall between them. One request may be about many routes.
pub async fn a_change_is_one_request_at_most(harness: &impl RouteHarness) {
    let mut before = harness.mutations().await;
    let mut check = async |rig: &mut RouteRig<'_, _>, about: &str| {
        let (now, sent) = (harness.mutations().await, rig.sent());
        let effects = usize::try_from(now - before).unwrap_or(usize::MAX);
        before = now;
        assert!(effects <= sent.len(), "{about}: {effects} requests took effect for {sent:#?}");
    };
    let mut rig = RouteRig::start(harness).await;
    let nodes = [rig.node().await, rig.node().await, rig.node().await];
    for node in &nodes {
        rig.present(node);
    }
    rig.settled().await;
    check(&mut rig, "making them").await;
    let changed = nodes[0].with(vec![rig.next_range()]).on(&nodes[1]);
    rig.present(&changed);
    rig.settled().await;
    check(&mut rig, "changing one").await;
    for node in &nodes {
        rig.absent(node);
    }
    rig.settled().await;
    check(&mut rig, "taking them away").await;
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

/// A plan that changes by itself is never the one that was shown. Neither may it hang on the order of
/// the nodes, which is the framework's affair.
pub async fn plans_do_not_depend_on_the_order(harness: &impl RouteHarness) {
    let (mut rig, nodes) = routed(harness, 4).await;
    let new = [rig.node().await, rig.node().await];
    let wants = [
        nodes[0].want(Aim::Absent),
        nodes[1].want(Aim::Keep),
        nodes[2].with(vec![rig.next_range()]).want(Aim::Present),
        nodes[3].on(&nodes[2]).want(Aim::Present),
        new[0].want(Aim::Present),
        new[1].with(nodes[0].ranges.clone()).want(Aim::Present),
    ];
    let mut units: Vec<Unit> = Vec::new();
    for unit in wants.iter().flat_map(|want| rig.converger().units(want)) {
        if !units.iter().any(|other| other.name == unit.name) {
            units.push(unit);
        }
    }
    let cx = leave(Duration::from_mins(1));
    for unit in &units {
        let has_unit = |want: &&Want<RouteSpec>| {
            rig.converger().units(want).iter().any(|other| other.name == unit.name)
        };
        let users: Vec<_> = wants.iter().filter(has_unit).cloned().collect();
        let world = |wants| World { wants, nodes: Arc::default() };
        let straight = world(users.clone());
        let turned = world(users.iter().rev().cloned().collect());
        let observed = match rig.converger().observe(&cx, unit, &straight).await {
            Ok(observed) => observed,
            Err(err) => panic!("nothing is wrong, and yet {} is not seen: {err:?}", unit.name),
        };
        let plan = |world| Said::from(rig.converger().plan(unit, world, &observed));
        let (first, name) = (plan(&straight), &unit.name);
        assert_eq!(plan(&straight), first, "{name}: another plan from the same");
        assert_eq!(plan(&turned), first, "{name}: another plan from nodes in another order");
    }
    clear(&mut rig, &nodes, "gone").await;
}
