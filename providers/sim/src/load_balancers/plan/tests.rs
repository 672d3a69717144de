//! Plans, on a cloud that is a value.

mod model;
mod refusals;

use std::sync::Arc;

use ccm_core::cloud::{
    Holds, Ingress, LoadBalancerSpec, Plan, Protocol, Report, Verdict, Want, World,
};
use proptest::prelude::*;
use simcloud::api::{PieceState, RuleSpec};

use super::super::change::SimChange;
use super::super::marks::Marks;
use super::super::members::Roll;
use super::super::observe::{Own, Wall};
use super::{plan_firewall, plan_own};
use model::{Cloud, annotated, id, identity, members, port, spec};

pub(crate) const BATCH: std::num::NonZeroUsize = std::num::NonZeroUsize::new(100).unwrap();

pub(crate) fn marks() -> Marks {
    Marks::new("blue")
}

pub(crate) fn world(want: Want<LoadBalancerSpec>, nodes: usize) -> World<LoadBalancerSpec> {
    World { wants: vec![want], nodes: members(nodes).into() }
}

fn present(spec: LoadBalancerSpec) -> Want<LoadBalancerSpec> {
    Want::Present(Arc::new(spec))
}

fn absent() -> Want<LoadBalancerSpec> {
    Want::Absent(Arc::new(identity("web")))
}

fn keep() -> Want<LoadBalancerSpec> {
    Want::Keep(Arc::new(identity("web")))
}

fn plan(world: &World<LoadBalancerSpec>, own: &Own) -> Plan<SimChange> {
    plan_own(&marks(), BATCH, &Roll::default(), &id("web"), world, own)
}

fn lines(plan: &Plan<SimChange>) -> Vec<Vec<String>> {
    let line = |stage: &Vec<_>| {
        stage
            .iter()
            .map(|step: &ccm_core::cloud::Step<SimChange>| step.change.to_string())
            .collect()
    };
    plan.stages.iter().map(line).collect()
}

fn report(plan: &Plan<SimChange>) -> &Report {
    &plan.reports[0]
}

#[test]
fn a_dry_run_shows_all_of_it() {
    let plan = plan(&world(present(spec("web", &[80])), 250), &Own::default());
    let lines = lines(&plan);
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0], ["create ipv4 address of default/web"]);
    assert!(lines[3][0].contains("add 100 (i-0000000000000000 … i-0000000000000099)"), "{lines:?}");
    assert_eq!(report(&plan).holds, Holds::Nothing);
    assert_eq!(report(&plan).ingress, Ingress::Leave);
}

#[test]
fn many_batches_are_one_stage() {
    let plan = plan(&world(present(spec("web", &[80])), 1_000), &Own::default());
    let stage = plan.stages.iter().find(|stage| stage.len() > 1).unwrap();
    assert_eq!(stage.len(), 10);
}

#[test]
fn a_want_that_is_kept_changes_nothing_but_its_nodes() {
    let mut cloud = Cloud::default();
    cloud.converge(&world(present(spec("web", &[80])), 3));
    assert!(plan(&world(keep(), 3), &cloud.own).is_done());
    let follows = plan(&world(keep(), 4), &cloud.own);
    let lines = lines(&follows);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0][0].starts_with("change targets of "), "{lines:?}");
}

#[test]
fn what_is_on_its_way_out_is_waited_for() {
    let mut cloud = Cloud::default();
    let wish = world(present(spec("web", &[80])), 3);
    cloud.converge(&wish);
    cloud.own.load_balancers[0].state = PieceState::Deleting;
    cloud.own.listeners.clear();
    let waiting = plan(&wish, &cloud.own);
    assert!(!waiting.later.is_empty());
    assert!(matches!(report(&waiting).verdict, Verdict::Progressing(_)));
    assert!(waiting.stages.is_empty(), "nothing that needs a load balancer: {waiting:?}");

    let down = plan(&world(absent(), 0), &cloud.own);
    assert_eq!(lines(&down).concat().len(), 1, "the address is still used");
    assert_eq!(down.later.len(), 1);
    assert_eq!(report(&down).holds, Holds::Something);
}

#[test]
fn what_is_used_by_what_goes_stays_for_now() {
    let mut cloud = Cloud::default();
    cloud.converge(&world(present(spec("web", &[80, 81])), 3));
    cloud.own.listeners[0].state = PieceState::Deleting;
    let down = plan(&world(absent(), 0), &cloud.own);
    let steps = lines(&down).concat();
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(steps[0].starts_with("delete listener tcp/81"), "{steps:?}");
    assert!(steps[1].starts_with("delete target group tcp/30081"), "{steps:?}");
}

#[test]
fn what_is_not_ready_is_waited_for_and_shown_later() {
    let mut cloud = Cloud::default();
    let wish = world(present(spec("web", &[80])), 3);
    cloud.converge(&wish);
    cloud.own.load_balancers[0].state = PieceState::Provisioning;
    let plan = plan(&wish, &cloud.own);
    assert!(plan.stages.is_empty());
    assert_eq!(plan.later.len(), 1);
    assert_eq!(report(&plan).ingress, Ingress::Leave);
    let Verdict::Progressing(why) = &report(&plan).verdict else { panic!("{plan:?}") };
    assert_eq!(why, "waits for load balancer auidofweb (lb-1) to be ready");
}

#[test]
fn more_nodes_do_not_unsettle_a_service() {
    let mut cloud = Cloud::default();
    let web = present(spec("web", &[80]));
    cloud.converge(&world(web.clone(), 3));
    let plan = plan(&world(web, 5), &cloud.own);
    assert_eq!(plan.stages.len(), 1);
    assert!(matches!(report(&plan).verdict, Verdict::Done));
}

#[test]
fn tags_of_others_are_let_be_and_ours_put_right() {
    let mut cloud = Cloud::default();
    cloud.converge(&world(present(spec("web", &[80])), 1));
    let theirs = ("paid-by".to_owned(), "sales".to_owned());
    cloud.own.addresses[0].tags.extend([theirs.clone()]);
    let tagged = annotated(spec("web", &[80]), &[("extra-tags", "team=shop")]);
    let wish = world(present(tagged), 1);
    let steps = lines(&plan(&wish, &cloud.own)).concat();
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert_eq!(
        steps[0],
        "tag address 203.0.113.1 (addr-1) of default/web with \
         cluster=blue,owner=uid-of-web,paid-by=sales,team=shop"
    );
    cloud.converge(&wish);
    assert_eq!(cloud.own.addresses[0].tags.get(&theirs.0), Some(&theirs.1));
}

fn rule(owner: &str, port: u16) -> RuleSpec {
    RuleSpec {
        owner: owner.to_owned(),
        source: "0.0.0.0/0".parse().unwrap(),
        protocol: simcloud::api::Protocol::Tcp,
        port: port.try_into().unwrap(),
        node_ports: vec![(30_000 + port).try_into().unwrap()],
    }
}

fn firewall(wants: Vec<Want<LoadBalancerSpec>>, wall: Option<&Wall>) -> Plan<SimChange> {
    plan_firewall(&marks(), &World { wants, nodes: Vec::new().into() }, wall)
}

#[rstest::rstest]
#[case::it_is_made_when_first_needed(
    vec![present(spec("web", &[80]))], None,
    &["create firewall", "open tcp/80"], Holds::Nothing
)]
#[case::nobody_needs_one(vec![absent()], None, &[], Holds::Nothing)]
#[case::all_is_right(
    vec![present(spec("web", &[80]))], Some(&[("uid-of-web", 80)][..]), &[], Holds::Something
)]
#[case::a_port_moves(
    vec![present(spec("web", &[81]))], Some(&[("uid-of-web", 80)][..]),
    &["open tcp/81", "close tcp/80"], Holds::Something
)]
#[case::strangers_are_let_be(
    vec![absent()], Some(&[("somebody", 80)][..]), &[], Holds::Nothing
)]
#[case::the_last_takes_it_along(
    vec![absent()], Some(&[("uid-of-web", 80)][..]),
    &["close tcp/80", "delete firewall"], Holds::Something
)]
#[case::an_empty_one_is_taken_along_after_a_crash(
    vec![absent()], Some(&[][..]), &["delete firewall"], Holds::Something
)]
#[case::who_is_kept_keeps_it(
    vec![absent(), Want::Keep(Arc::new(identity("api")))],
    Some(&[("uid-of-web", 80), ("uid-of-api", 81)][..]), &["close tcp/80"], Holds::Something
)]
fn the_firewall(
    #[case] wants: Vec<Want<LoadBalancerSpec>>,
    #[case] rules: Option<&[(&str, u16)]>,
    #[case] steps: &[&str],
    #[case] holds: Holds,
) {
    let rules = rules.map(|rules| rules.iter().map(|(owner, port)| rule(owner, *port)).collect());
    let wall = rules.map(model::wall);
    let plan = firewall(wants, wall.as_ref());
    let planned = lines(&plan).concat();
    assert_eq!(planned.len(), steps.len(), "{planned:?}");
    for (line, step) in planned.iter().zip(steps) {
        assert!(line.starts_with(step), "{line}");
    }
    assert_eq!(report(&plan).holds, holds);
}

#[test]
fn a_refused_service_keeps_its_rules() {
    let mut bad = spec("web", &[80]);
    bad.ports[0].protocol = Protocol::Sctp;
    let wall = model::wall(vec![rule("uid-of-web", 80)]);
    let plan = firewall(vec![present(bad)], Some(&wall));
    assert!(plan.is_done());
    assert!(matches!(report(&plan).verdict, Verdict::Refused(_)));
}

fn any_spec() -> impl Strategy<Value = LoadBalancerSpec> {
    let port = (80_u16..84, 30_080_u16..30_083).prop_map(|(at, to)| port(at, to));
    let ports = prop::collection::btree_map(80_u16..84, port, 0..4);
    (ports, any::<bool>(), any::<bool>(), 1_u32..3, 0_u8..3).prop_map(
        |(ports, internal, is_tcp, idle, families)| {
            use ccm_core::cloud::IpFamily::{V4, V6};
            let mut spec = spec("web", &[]);
            spec.ports = ports
                .into_iter()
                .map(|(at, mut port)| {
                    port.port = at.try_into().unwrap();
                    port
                })
                .collect();
            spec.families = match families {
                0 => vec![V4],
                1 => vec![V6],
                _ => vec![V4, V6],
            };
            let idle = (idle * 60).to_string();
            let check = if is_tcp { "tcp" } else { "http" };
            annotated(
                spec,
                &[
                    ("internal", &internal.to_string()),
                    ("idle-timeout-seconds", &idle),
                    ("health-check-protocol", check),
                ],
            )
        },
    )
}

proptest! {
    /// Doing what the plan says leaves nothing to do, from wherever it starts: half-finished,
    /// twice there, failed, or made for something else.
    #[test]
    fn a_plan_converges(
        before in any_spec(),
        after in any_spec(),
        nodes in (0_usize..230, 0_usize..230),
        halfway in 0_usize..12,
        blows in prop::collection::vec((0_u8..7, any::<prop::sample::Index>()), 0..6),
        is_slow in any::<bool>(),
    ) {
        let mut cloud = Cloud::default();
        cloud.is_slow = is_slow;
        cloud.steps(&world(present(before), nodes.0), halfway);
        for (blow, at) in blows {
            cloud.blow(blow, at);
        }
        let wish = world(present(after), nodes.1);
        cloud.converge(&wish);
        let last = plan(&wish, &cloud.own);
        prop_assert!(matches!(report(&last).verdict, Verdict::Done));
        prop_assert!(cloud.is_tidy());

        cloud.converge(&world(absent(), 0));
        prop_assert!(cloud.own.is_empty());
        prop_assert_eq!(report(&plan(&world(absent(), 0), &cloud.own)).holds, Holds::Nothing);
    }
}
