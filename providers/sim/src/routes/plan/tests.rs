//! Plans of routes, as tables: what is there, what is wanted, what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use ccm_core::cloud::{Change as _, Effect, Identity, NodeIdentity, NodeName, ProviderId, Uid};
use rstest::rstest;
use simcloud::api::{Etag, OWNER_TAG, Timestamp};

use super::*;
use crate::load_balancers::Marks;

const RANGES: [&str; 2] = ["10.244.0.0/16", "fd00:10::/48"];

fn scope() -> Scope {
    let ranges = RANGES.map(|range| range.parse().unwrap()).to_vec();
    Scope { marks: Marks::new("blue"), table: "main".to_owned(), ranges }
}

fn id() -> ObjectId {
    ObjectId { namespace: "".into(), name: "node-1".into(), uid: Uid::from("u-1") }
}

fn identity() -> Arc<Identity> {
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Arc::new(Identity { id: id(), annotations, finalizers, ingress: Vec::new() })
}

/// The node wants these ranges.
fn wants(ranges: &[&str], provider_id: Option<&str>) -> Want<RouteSpec> {
    let node = NodeIdentity {
        name: NodeName::from("node-1"),
        uid: Uid::from("u-1"),
        created: SystemTime::UNIX_EPOCH,
        provider_id: provider_id.map(|id| ProviderId::try_from(id).unwrap()),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    let destinations = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let spec = RouteSpec { identity: identity(), node, destinations, is_reachable: false };
    Want::Present(Arc::new(spec))
}

fn present(ranges: &[&str]) -> Want<RouteSpec> {
    wants(ranges, Some("sim://i-1"))
}

/// A route as one word each: destination, target, tags as `cluster/owner`, and what is odd.
fn route(text: &str) -> Route {
    let mut words = text.split(' ');
    let mut next = || words.next().unwrap();
    let (destination, target, mark) = (next().parse().unwrap(), next(), next());
    let odd: Vec<_> = words.collect();
    let number = odd.iter().find_map(|word| word.strip_prefix('#')).unwrap_or("1");
    let (cluster, owner) = mark.split_once('/').unwrap();
    let tags = [("cluster", cluster), (OWNER_TAG, owner)].into_iter();
    let tags = tags.filter(|(_, value)| !value.is_empty());
    let is = |word| odd.contains(&word);
    Route {
        id: format!("rt-{number}").into(),
        name: "a".to_owned(),
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        state: match () {
            () if is("provisioning") => PieceState::Provisioning,
            () if is("failed") => PieceState::Failed,
            () if is("deleting") => PieceState::Deleting,
            () => PieceState::Active,
        },
        failure: is("failed").then(|| "no luck".to_owned()),
        table: "main".to_owned(),
        destination,
        target: target.into(),
        blackhole: is("blackhole"),
        etag: Etag::new("v1"),
        created_at: Timestamp::from_millis(0),
    }
}

fn observed(routes: &[&str]) -> Observed {
    Observed { routes: routes.iter().map(|text| route(text)).collect() }
}

/// Stages with their steps, what is waited for, and the report, in words.
fn said(want: &Want<RouteSpec>, there: &[&str]) -> (Vec<String>, Vec<String>, String) {
    let plan = plan(&scope(), want, &observed(there));
    let line = |stage: &Vec<Step<RouteChange>>| {
        assert!(stage.iter().all(|step| step.wanted_by == [id()]));
        stage.iter().map(|step| step.change.to_string()).collect::<Vec<_>>().join(" & ")
    };
    let [report] = &plan.reports[..] else { panic!("{:?}", plan.reports) };
    let verdict = match &report.verdict {
        Verdict::Done => "done".to_owned(),
        Verdict::Progressing(waits) => format!("waits for {waits}"),
        Verdict::Refused(err) => format!("{}: {err}", err.kind().reason()),
        Verdict::Elsewhere(_) => panic!("{report:?}"),
    };
    let holds = match report.holds {
        Holds::Something => "has some",
        Holds::Nothing => "has none",
    };
    let notes: Vec<_> = report.notes.iter().map(|note| format!("; {}", note.message)).collect();
    let notes = notes.concat();
    let later = plan.later.iter().map(|later| later.waits_for.clone()).collect();
    (plan.stages.iter().map(line).collect(), later, format!("{holds}, {verdict}{notes}"))
}

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:0:1::/64";

#[rstest]
#[case::nothing_is_there(
    &[V4], &[],
    &["create route 10.244.1.0/24 -> i-1 of node-1"], &[],
    "has none, waits for the route to 10.244.1.0/24",
)]
#[case::two_families_one_after_the_other(
    &[V4, V6], &[],
    &["create route 10.244.1.0/24 -> i-1 of node-1", "create route fd00:10:0:1::/64 -> i-1 of node-1"],
    &[],
    "has none, waits for the route to 10.244.1.0/24, the route to fd00:10:0:1::/64",
)]
#[case::all_is_there(
    &[V4, V6], &["10.244.1.0/24 i-1 blue/u-1", "fd00:10:0:1::/64 i-1 blue/u-1 #2"],
    &[], &[], "has some, done",
)]
#[case::another_target(
    &[V4], &["10.244.1.0/24 i-2 blue/u-1"],
    &["set route 10.244.1.0/24 of node-1 -> i-1"], &[],
    "has some, waits for the route to 10.244.1.0/24",
)]
#[case::a_lost_target_that_is_not_ours_any_more(
    &[V4], &["10.244.1.0/24 i-2 blue/u-1 blackhole"],
    &["set route 10.244.1.0/24 of node-1 -> i-1"], &[],
    "has some, waits for the route to 10.244.1.0/24",
)]
#[case::our_own_machine_is_lost(
    &[V4], &["10.244.1.0/24 i-1 blue/u-1 blackhole"],
    &[], &["instance i-1, which the cloud says is gone"],
    "has some, waits for instance i-1, which the cloud says is gone",
)]
#[case::it_was_another_nodes(
    &[V4], &["10.244.1.0/24 i-2 blue/u-9"],
    &["take route 10.244.1.0/24 of owner u-9 over for node-1 -> i-1"], &[],
    "has none, waits for the route to 10.244.1.0/24",
)]
#[case::it_was_another_nodes_on_this_machine(
    &[V4], &["10.244.1.0/24 i-1 blue/u-9"],
    &["take route 10.244.1.0/24 of owner u-9 over for node-1 -> i-1"], &[],
    "has none, waits for the route to 10.244.1.0/24",
)]
#[case::the_clusters_without_an_owner(
    &[V4], &["10.244.1.0/24 i-1 blue/"],
    &["take route 10.244.1.0/24 without an owner over for node-1 -> i-1"], &[],
    "has none, waits for the route to 10.244.1.0/24",
)]
#[case::somebody_elses_is_in_the_way(
    &[V4], &["10.244.1.0/24 i-1 /"],
    &[], &[],
    "has none, InvalidConfiguration: route rt-1 in table main has 10.244.1.0/24 and is not this \
     cluster's: delete it, or let the node have another range",
)]
#[case::another_clusters_is_in_the_way_of_one_family(
    &[V4, V6], &["10.244.1.0/24 i-1 red/u-1"],
    &["create route fd00:10:0:1::/64 -> i-1 of node-1"], &[],
    "has none, InvalidConfiguration: route rt-1 in table main has 10.244.1.0/24 and is not this \
     cluster's: delete it, or let the node have another range",
)]
#[case::one_that_is_made(
    &[V4], &["10.244.1.0/24 i-1 blue/u-1 provisioning"],
    &[], &["route 10.244.1.0/24 (rt-1) to be ready"],
    "has some, waits for route 10.244.1.0/24 (rt-1) to be ready",
)]
#[case::one_that_is_made_for_another_machine(
    &[V4], &["10.244.1.0/24 i-2 blue/u-1 provisioning"],
    &["set route 10.244.1.0/24 of node-1 -> i-1"], &[],
    "has some, waits for the route to 10.244.1.0/24",
)]
#[case::one_on_its_way_out(
    &[V4], &["10.244.1.0/24 i-1 blue/u-1 deleting"],
    &[], &["route 10.244.1.0/24 (rt-1) to be gone"],
    "has some, waits for route 10.244.1.0/24 (rt-1) to be gone",
)]
#[case::anothers_on_its_way_out(
    &[V4], &["10.244.1.0/24 i-1 red/u-1 deleting"],
    &[], &["route 10.244.1.0/24 (rt-1) to be gone"],
    "has none, waits for route 10.244.1.0/24 (rt-1) to be gone",
)]
#[case::the_old_one_is_still_shown_beside_the_new_one(
    &[V4], &["10.244.1.0/24 i-1 blue/u-1 deleting", "10.244.1.0/24 i-1 blue/u-1 #2"],
    &[], &[], "has some, done",
)]
#[case::one_that_failed(
    &[V4], &["10.244.1.0/24 i-1 blue/u-1 failed"],
    &["delete route 10.244.1.0/24 (rt-1) of node-1"], &[],
    "has some, waits for route 10.244.1.0/24 (rt-1) to be made anew, which has failed: no luck",
)]
#[case::another_range_than_before(
    &[V4], &["10.244.2.0/24 i-1 blue/u-1"],
    &[
        "create route 10.244.1.0/24 -> i-1 of node-1",
        "delete route 10.244.2.0/24 (rt-1) of node-1",
    ], &[],
    "has some, waits for the route to 10.244.1.0/24",
)]
#[case::what_nobody_wants_goes_whatever_it_is(
    &[V4],
    &[
        "10.244.1.0/24 i-1 blue/u-1",
        "10.244.2.0/24 i-1 blue/u-1 blackhole #2",
        "10.244.3.0/24 i-1 blue/u-1 failed #3",
        "10.244.4.0/24 i-1 blue/u-1 deleting #4",
    ],
    &["delete route 10.244.2.0/24 (rt-2) of node-1 & delete route 10.244.3.0/24 (rt-3) of node-1"],
    &["route 10.244.4.0/24 (rt-4) to be gone"],
    "has some, done",
)]
#[case::outside_of_the_clusters_ranges_nothing_is_touched(
    &[V4], &["10.244.1.0/24 i-1 blue/u-1", "192.168.0.0/24 i-1 blue/u-1 #2"],
    &[], &[],
    "has some, done; route rt-2 in table main bears the node's mark and is left as it is: \
     192.168.0.0/24 is outside the cluster's ranges",
)]
#[case::a_wish_outside_of_them_is_refused(
    &["192.168.0.0/24"], &[],
    &[], &[], "has none, InvalidConfiguration: 192.168.0.0/24 is outside the cluster's ranges",
)]
#[case::no_range_can_be_had(
    &[], &["10.244.1.0/24 i-1 blue/u-1"],
    &["delete route 10.244.1.0/24 (rt-1) of node-1"], &[], "has some, done",
)]
fn nodes(
    #[case] ranges: &[&str],
    #[case] there: &[&str],
    #[case] stages: &[&str],
    #[case] later: &[&str],
    #[case] report: &str,
) {
    let (got_stages, got_later, got_report) = said(&present(ranges), there);
    assert_eq!(got_stages, stages);
    assert_eq!(got_later, later);
    assert_eq!(got_report, report);
}

#[rstest]
#[case::all_goes(
    &["10.244.1.0/24 i-1 blue/u-1", "fd00:10:0:1::/64 i-1 blue/u-1 blackhole #2"],
    &["delete route 10.244.1.0/24 (rt-1) of node-1 & delete route fd00:10:0:1::/64 (rt-2) of node-1"],
    &[], "has some, waits for its routes to be gone",
)]
#[case::nothing_is_left(&[], &[], &[], "has none, done")]
#[case::it_goes(
    &["10.244.1.0/24 i-1 blue/u-1 deleting"],
    &[], &["route 10.244.1.0/24 (rt-1) to be gone"], "has some, waits for its routes to be gone",
)]
#[case::others_stay(
    &["10.244.1.0/24 i-1 blue/u-2", "10.244.1.0/24 i-1 red/u-1 #2"],
    &[], &[], "has none, done",
)]
#[case::outside_of_the_clusters_ranges_it_stays(
    &["192.168.0.0/24 i-1 blue/u-1"],
    &[], &[],
    "has none, done; route rt-1 in table main bears the node's mark and is left as it is: \
     192.168.0.0/24 is outside the cluster's ranges",
)]
fn nodes_that_are_gone(
    #[case] there: &[&str],
    #[case] stages: &[&str],
    #[case] later: &[&str],
    #[case] report: &str,
) {
    let (got_stages, got_later, got_report) = said(&Want::Absent(identity()), there);
    assert_eq!(got_stages, stages);
    assert_eq!(got_later, later);
    assert_eq!(got_report, report);
}

#[test]
fn what_is_kept_stays() {
    let there = ["10.244.1.0/24 i-2 blue/u-1", "10.244.9.0/24 i-1 blue/u-1 failed"];
    let (stages, later, report) = said(&Want::Keep(identity()), &there);
    assert!(stages.is_empty() && later.is_empty());
    assert_eq!(report, "has some, done");
}

#[rstest]
#[case::none_yet(None, "has some, waits for the node's provider ID")]
#[case::none_that_can_be_read(
    Some("sim://zone/i-1"),
    "has some, InvalidConfiguration: provider ID \"sim://zone/i-1\" is not sim://<instance ID>"
)]
fn without_an_instance_all_stays(#[case] provider_id: Option<&str>, #[case] want: &str) {
    let there = ["10.244.1.0/24 i-2 blue/u-1", "10.244.9.0/24 i-1 blue/u-1"];
    let (stages, later, report) = said(&wants(&[V4], provider_id), &there);
    assert!(stages.is_empty() && later.is_empty());
    assert_eq!(report, want);
}

#[rstest]
#[case(What::Create { target: "i-1".into() }, Effect::Create)]
#[case(What::Retarget { target: "i-1".into() }, Effect::Update)]
#[case(What::TakeOver { target: "i-1".into(), from: None }, Effect::Update)]
#[case(What::Delete { id: "rt-1".into() }, Effect::Delete)]
fn nothing_interrupts(#[case] what: What, #[case] effect: Effect) {
    let change = RouteChange { node: id(), destination: V4.parse().unwrap(), what };
    assert_eq!(change.effect(), effect);
}
