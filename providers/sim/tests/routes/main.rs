//! Routes against a real simulated cloud, over HTTP.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod engine;

use std::collections::BTreeMap;

use ccm_core::cloud::{Holds, Kind, RouteSpec, Verdict};
use ccm_core::converge::pass::End;
use rstest::rstest;
use simcloud::api::{
    ChangeRoute, CreateRoute, FaultKind, InstanceId, ListPieces, Operation, OperationClass,
    OperationFilter, PieceKind, Route, SettingsPatch, UpdateRoute,
};

use engine::{CLUSTER, Stage, Wanted, absent, present, spec};

const WRITES: OperationFilter = OperationFilter::Class(OperationClass::Write);

fn instance(number: u64) -> InstanceId {
    InstanceId::new(format!("i-{number:016x}"))
}

fn all(specs: Vec<RouteSpec>) -> Vec<Wanted> {
    specs.into_iter().map(present).collect()
}

fn is_done(stage: &Stage, node: &str) -> bool {
    stage.with_report(node, |report| report.verdict == Verdict::Done)
}

fn tags(cluster: &str, owner: &str) -> BTreeMap<String, String> {
    [("cluster".to_owned(), cluster.to_owned()), ("owner".to_owned(), owner.to_owned())].into()
}

/// A route that somebody has put there.
async fn put(stage: &Stage, destination: &str, to: u64, tags: BTreeMap<String, String>) -> Route {
    let route = CreateRoute::named("somebodys", destination.parse().unwrap(), instance(to));
    stage.console.create_piece(&CreateRoute { tags, ..route }).await.unwrap()
}

#[tokio::test]
async fn a_node_of_two_families_is_made_in_one_look_and_two_writes() {
    let stage = Stage::start().await;
    stage.launch(1).await;
    stage.take_calls().await;
    let wants = [present(spec("node-0", &instance(1), &["10.244.0.0/24", "fd00:10:0:1::/64"]))];
    stage.pass_all(&wants).await;
    let (reads, writes) = stage.take_calls().await;
    assert_eq!(reads, ["DescribeRoutes"]);
    assert_eq!(writes, ["CreateRoute", "CreateRoute"]);
    assert!(is_done(&stage, "node-0"));
    assert_eq!(
        stage.snapshot().await,
        [
            "route \"uid-of-node-0-ipv4\" main 10.244.0.0/24 to \"node-0\" cluster=blue owner=uid-of-node-0",
            "route \"uid-of-node-0-ipv6\" main fd00:10:0:1::/64 to \"node-0\" cluster=blue owner=uid-of-node-0",
        ]
    );
    stage.settle(&wants).await;
    let (reads, writes) = stage.take_calls().await;
    assert_eq!((reads.len(), writes.len()), (1, 0), "and a look that finds nothing is one call");
}

#[tokio::test]
async fn a_node_that_goes_leaves_nothing() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(2).await);
    stage.settle(&wants).await;
    assert_eq!(stage.inventory().await.len(), 2);
    stage.take_sent();
    stage.settle(&[absent("node-0"), wants[1].clone()]).await;
    assert_eq!(stage.take_sent(), ["delete route 10.244.0.0/24 (rt-0000000000000001) of node-0"]);
    stage.with_report("node-0", |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.inventory().await.len(), 1);
}

#[tokio::test]
async fn fifty_nodes_share_looks() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(50).await);
    stage.take_calls().await;
    stage.pass_all(&wants).await;
    let (reads, writes) = stage.take_calls().await;
    assert!(reads.len() <= 3, "a hundred keys, in batches of a hundred: {reads:?}");
    assert_eq!(writes.len(), 50);
    stage.pass_all(&wants).await;
    let (reads, writes) = stage.take_calls().await;
    assert!(reads.len() <= 3 && writes.is_empty(), "{reads:?} {writes:?}");
    assert!((0..50).all(|number| is_done(&stage, &format!("node-{number}"))));
}

/// The range of a node that was deleted goes to a new one: one request, and no moment without a route.
#[tokio::test]
async fn a_range_passes_from_node_to_node_without_an_interruption() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(2).await);
    stage.settle(&wants[..1]).await;
    let before = stage.route(1).await;
    stage.take_sent();
    stage.take_calls().await;

    let heir = present(spec("node-1", &instance(2), &["10.244.0.0/24"]));
    stage.settle(std::slice::from_ref(&heir)).await;

    let want =
        "take route 10.244.0.0/24 of owner uid-of-node-0 over for node-1 -> i-0000000000000002";
    assert_eq!(stage.take_sent(), [want]);
    assert_eq!(stage.take_calls().await.1, ["UpdateRoute"]);
    let after = stage.route(1).await;
    assert_eq!((after.target, after.tags), (instance(2), tags(CLUSTER, "uid-of-node-1")));
    // The former owner goes, and what was its route is another's now.
    stage.settle(&[absent("node-0"), heir]).await;
    assert!(stage.take_sent().is_empty());
    assert_eq!(stage.route(1).await.id, before.id);
}

/// The heir's process is quicker, between the look and the deletion that rests on it.
#[tokio::test]
async fn a_deletion_does_not_take_what_was_taken_over_meanwhile() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(2).await);
    stage.settle(&wants[..1]).await;
    let route = stage.route(1).await;
    let tags = Some(tags(CLUSTER, "uid-of-node-1"));
    let update = UpdateRoute { target: Some(instance(2)), tags, etag: None };
    *stage.meanwhile.lock().unwrap() = Some((route.id.clone(), update));

    let ends = stage.pass_all(&[absent("node-0")]).await;

    assert!(matches!(ends[0].end, End::Done) && ends[0].changes.is_empty(), "{ends:?}");
    stage.with_report("node-0", |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.route(1).await.target, instance(2), "the heir has it");
}

/// Nor does a take-over rest on a look that is not true any more.
#[tokio::test]
async fn a_take_over_does_not_undo_what_was_changed_meanwhile() {
    let stage = Stage::start().await;
    stage.launch(3).await;
    let taken = put(&stage, "10.244.0.0/24", 1, tags(CLUSTER, "uid-of-node-9")).await;
    let update = UpdateRoute { tags: Some(BTreeMap::new()), ..UpdateRoute::default() };
    *stage.meanwhile.lock().unwrap() = Some((taken.id.clone(), update));
    stage.pass_all(&[present(spec("node-1", &instance(2), &["10.244.0.0/24"]))]).await;
    assert_eq!(stage.route(1).await.target, instance(1), "it is nobody's now, and not ours");
    stage.with_report("node-1", |report| {
        assert!(matches!(report.verdict, Verdict::Refused(_)), "{report:?}");
    });
}

/// Both at once, many times: the deletion of the former owner never takes the route from the heir.
#[tokio::test]
async fn a_take_over_and_a_deletion_at_once_end_with_the_heir() {
    let stage = Stage::start().await;
    let mut specs = stage.launch(2).await.into_iter();
    let first = present(specs.next().unwrap());
    for round in 0..20 {
        stage.settle(&[first.clone(), absent("node-1")]).await;
        let heir = present(spec("node-1", &instance(2), &["10.244.0.0/24"]));
        stage.settle(&[absent("node-0"), heir]).await;
        let routes = stage.console.all_pieces::<Route>(ListPieces::default()).await.unwrap();
        assert_eq!(routes.len(), 1, "{round}");
        assert_eq!(routes[0].tags, tags(CLUSTER, "uid-of-node-1"), "{round}");
    }
}

#[rstest]
#[case::nobodys(BTreeMap::new())]
#[case::another_clusters(tags("red", "uid-of-node-0"))]
#[tokio::test]
async fn what_is_not_ours_stays_and_stops_that_node_alone(#[case] tags: BTreeMap<String, String>) {
    let stage = Stage::start().await;
    let wants = all(stage.launch(3).await);
    let foreign = put(&stage, "10.244.0.0/24", 3, tags).await;
    for _ in 0..2 {
        stage.pass_all(&wants).await;
    }
    let said = stage.with_report("node-0", |report| match &report.verdict {
        Verdict::Refused(err) => (err.kind(), err.message().to_owned()),
        other => panic!("{other:?}"),
    });
    assert_eq!(said.0, Kind::InvalidConfiguration);
    for word in [foreign.id.as_str(), "10.244.0.0/24", "table main"] {
        assert!(said.1.contains(word), "{said:?}");
    }
    assert!(is_done(&stage, "node-1") && is_done(&stage, "node-2"));
    let gone = [absent("node-0"), absent("node-1"), absent("node-2")];
    stage.settle(&gone).await;
    let left = stage.console.all_pieces::<Route>(ListPieces::default()).await.unwrap();
    assert_eq!(left, std::slice::from_ref(&foreign), "untouched");

    stage.console.remove_by_hand(&foreign.id).await.unwrap();
    stage.settle(&wants).await;
    assert!(is_done(&stage, "node-0"));
}

#[tokio::test]
async fn what_is_outside_the_clusters_ranges_is_left_alone() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(1).await);
    let outside = put(&stage, "192.168.0.0/24", 1, tags(CLUSTER, "uid-of-node-0")).await;
    let unwanted = put(&stage, "10.244.77.0/24", 1, tags(CLUSTER, "uid-of-node-0")).await;
    stage.settle(&wants).await;
    let ids: Vec<_> = stage.inventory().await.into_iter().map(|owned| owned.id).collect();
    assert_eq!(ids, ["rt-0000000000000003"], "the unwanted one is gone, the other is not ours");
    assert!(!ids.contains(&unwanted.id.to_string()));
    stage.settle(&[absent("node-0")]).await;
    let left = stage.console.all_pieces::<Route>(ListPieces::default()).await.unwrap();
    assert_eq!(left, [outside]);
    stage.with_report("node-0", |report| {
        assert_eq!((report.holds, report.notes.len()), (Holds::Nothing, 1));
    });
}

#[tokio::test]
async fn a_blackhole_is_repaired_when_the_node_has_a_machine() {
    let stage = Stage::start().await;
    stage.launch(2).await;
    let range = ["10.244.0.0/24"];
    stage.settle(&[present(spec("node-0", &instance(1), &range))]).await;
    stage.console.terminate_instance(&instance(1)).await.unwrap();
    let ends = stage.pass_all(&[present(spec("node-0", &instance(1), &range))]).await;
    assert!(matches!(ends[0].end, End::Later { .. }), "{ends:?}");
    assert!(!is_done(&stage, "node-0"));
    stage.take_sent();

    stage.settle(&[present(spec("node-0", &instance(2), &range))]).await;
    assert!(is_done(&stage, "node-0"));
    let want = "set route 10.244.0.0/24 of node-0 -> i-0000000000000002";
    assert_eq!(stage.take_sent(), [want]);
    stage.console.terminate_instance(&instance(2)).await.unwrap();
    stage.settle(&[absent("node-0")]).await;
    assert!(stage.snapshot().await.is_empty(), "a blackhole goes like any other");
}

#[tokio::test]
async fn a_machine_that_is_gone_is_said_and_stops_nobody_else() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(2).await);
    stage.console.terminate_instance(&instance(1)).await.unwrap();
    let ends = stage.pass_all(&wants).await;
    let [(_, err)] = &ends[0].refused[..] else { panic!("{ends:?}") };
    assert_eq!(err.kind(), Kind::NotFound);
    assert!(err.message().contains("i-0000000000000001 is gone"), "{err}");
    assert!(is_done(&stage, "node-1"));
    assert_eq!(stage.take_calls().await.1, ["CreateRoute", "CreateRoute"], "once for each");
}

#[tokio::test]
async fn what_somebody_else_changes_is_put_right() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(2).await);
    stage.settle(&wants).await;
    let before = stage.snapshot().await;
    let elsewhere = ChangeRoute { target: instance(2) };
    stage.console.change_route_by_hand(&stage.route(1).await.id, &elsewhere).await.unwrap();
    stage.settle(&wants).await;
    assert_eq!(stage.snapshot().await, before);
    stage.console.remove_by_hand(&stage.route(1).await.id).await.unwrap();
    stage.settle(&wants).await;
    assert_eq!(stage.snapshot().await, before);
}

#[tokio::test]
async fn what_takes_time_is_waited_for() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(1).await);
    let slow = Some([(PieceKind::Route, 60)].into());
    let patch = SettingsPatch {
        creation_delay_ms: slow.clone(),
        deletion_delay_ms: slow,
        ..SettingsPatch::default()
    };
    stage.console.change_settings(&patch).await.unwrap();
    let ends = stage.pass_all(&wants).await;
    assert!(matches!(ends[0].end, End::Later { .. }), "no worker is held: {ends:?}");
    stage.settle(&wants).await;
    assert!(is_done(&stage, "node-0"));
    let ends = stage.pass_all(&[absent("node-0")]).await;
    assert!(matches!(ends[0].end, End::Later { .. }), "{ends:?}");
    // The node comes back while its route still goes.
    stage.settle(&wants).await;
    assert!(is_done(&stage, "node-0"));
    stage.settle(&[absent("node-0")]).await;
    assert!(stage.snapshot().await.is_empty());
}

#[tokio::test]
async fn a_route_that_failed_is_made_anew() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(1).await);
    stage.fault(WRITES, FaultKind::FailProvisioning, 0).await;
    stage.settle(&wants).await;
    assert!(is_done(&stage, "node-0"));
    let sent = stage.take_sent();
    assert_eq!(
        sent,
        [
            "create route 10.244.0.0/24 -> i-0000000000000001 of node-0",
            "delete route 10.244.0.0/24 (rt-0000000000000001) of node-0",
            "create route 10.244.0.0/24 -> i-0000000000000001 of node-0",
        ]
    );
}

/// Lost answers and refusals at every change, making, changing and taking down: the same end.
#[rstest]
#[case::the_answer_is_lost(FaultKind::LoseResponse)]
#[case::it_does_not_arrive(FaultKind::Reset)]
#[tokio::test]
async fn a_cut_at_any_change_ends_alike(#[case] kind: FaultKind) {
    let mut reference = None;
    for cut in 0..20 {
        let stage = Stage::start().await;
        stage.launch(2).await;
        stage.fault(WRITES, kind, cut).await;
        let ranges = ["10.244.0.0/24", "fd00:10:0:1::/64"];
        stage.settle(&[present(spec("node-0", &instance(1), &ranges))]).await;
        // Another machine and another range, and a range taken over.
        let changed = ["10.244.5.0/24", "fd00:10:0:1::/64"];
        let changed = present(spec("node-0", &instance(2), &changed));
        let heir = present(spec("node-1", &instance(1), &["10.244.0.0/24"]));
        stage.settle(std::slice::from_ref(&changed)).await;
        stage.settle(&[changed, heir]).await;
        let end = stage.snapshot().await;
        assert_eq!(reference.get_or_insert_with(|| end.clone()), &end, "{cut}");
        stage.settle(&[absent("node-0"), absent("node-1")]).await;
        assert!(stage.snapshot().await.is_empty(), "{cut}");
        let faults = stage.console.faults().await.unwrap();
        if faults.iter().all(|fault| fault.uses == 0) {
            assert!(cut > 6, "it was cut often enough");
            return;
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn late_reads_make_no_second_route() {
    let stage = Stage::start().await;
    let wants = all(stage.launch(2).await);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let late = SettingsPatch { consistency_delay_ms: Some(200), ..SettingsPatch::default() };
    stage.console.change_settings(&late).await.unwrap();
    stage.settle(&wants).await;
    stage.settle(&wants).await;
    let calls = stage.console.calls().await.unwrap();
    assert_eq!(calls.mutations_by(engine::CALLER), 2);
    tokio::time::sleep(std::time::Duration::from_millis(220)).await;
    stage.settle(&[absent("node-0"), absent("node-1")]).await;
    assert!(stage.snapshot().await.is_empty());
}

#[rstest]
#[case::routes_are_missing(Operation::DescribeRoutes, FaultKind::CutPage { missing_share: 0.5 })]
#[case::nothing_is_there(Operation::DescribeRoutes, FaultKind::EmptyPage)]
#[tokio::test]
async fn an_answer_that_lies_deletes_nothing_makes_nothing_twice_and_leaks_nothing(
    #[case] operation: Operation,
    #[case] kind: FaultKind,
) {
    let stage = Stage::start().await;
    let wants = all(stage.launch(4).await);
    stage.settle(&wants).await;
    let before = stage.snapshot().await;
    stage.console.clear_calls().await.unwrap();
    let filter = OperationFilter::One(operation);
    stage.fault(filter, kind, 0).await;
    stage.settle(&wants).await;
    assert_eq!(stage.snapshot().await, before);
    assert_eq!(stage.console.calls().await.unwrap().mutations(), 0);
    stage.fault(filter, kind, 0).await;
    let gone: Vec<_> = (0..4).map(|number| absent(&format!("node-{number}"))).collect();
    stage.settle(&gone).await;
    assert!(stage.snapshot().await.is_empty());
}
