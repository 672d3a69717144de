//! Plans of route tables, as tables: what is there, what is wanted, what is to be done.

mod model;

use ccm_core::cloud::{Change as _, Effect};
use ipnet::IpNet;
use rstest::rstest;

use self::model::{machine, observed, scope, want};
use super::*;

/// Steps, what is waited for, and what each node is told, in words.
#[derive(Debug, PartialEq)]
struct Said {
    steps: Vec<String>,
    later: Vec<String>,
    reports: Vec<String>,
}

fn said(wants: &[&str], there: &[&str]) -> Said {
    said_of(wants, &observed(there))
}

fn said_of(wants: &[&str], there: &Observed) -> Said {
    let wants: Vec<_> = wants.iter().map(|text| want(text)).collect();
    let plan = plan(&scope(), &wants, there);
    let turned: Vec<_> = wants.iter().rev().cloned().collect();
    let again = super::plan(&scope(), &turned, there);
    assert_eq!(format!("{again:?}"), format!("{plan:?}"), "in another order");
    assert!(plan.stages.len() <= 1);
    let step = |step: &Step<RouteChange>| {
        let whose: Vec<_> = step.wanted_by.iter().map(ToString::to_string).collect();
        format!(
            "{} for {}",
            step.change,
            if whose.is_empty() { "nobody".into() } else { whose.join(" & ") }
        )
    };
    let report = |report: &Report| {
        let holds = match report.holds {
            Holds::Something => "has some",
            Holds::Nothing => "has none",
        };
        let verdict = match &report.verdict {
            Verdict::Done => "done".to_owned(),
            Verdict::Progressing(what) => format!("waits for {what}"),
            Verdict::Refused(err) => format!("{}: {err}", err.kind().reason()),
            Verdict::Elsewhere(_) => panic!("{report:?}"),
        };
        let notes = report.notes.iter().map(|note| format!("; {}: {}", note.reason, note.message));
        format!("{}: {holds}, {verdict}{}", report.id, notes.collect::<String>())
    };
    Said {
        steps: plan.stages.iter().flatten().map(step).collect(),
        later: plan.later.iter().map(|later| later.waits_for.clone()).collect(),
        reports: plan.reports.iter().map(report).collect(),
    }
}

fn check(wants: &[&str], there: &[&str], steps: &[&str], later: &[&str], reports: &[&str]) {
    let texts = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
    let want = Said { steps: texts(steps), later: texts(later), reports: texts(reports) };
    assert_eq!(said(wants, there), want);
}

#[rstest]
#[case::nothing_is_there(
    &["a i-a 10.244.1.0/24"], &["table t1"],
    &["create route 10.244.1.0/24 in t1 -> i-a for a"], &[],
    &["a: has none, waits for the route to 10.244.1.0/24"],
)]
#[case::two_families(
    &["a i-a 10.244.1.0/24 fd00:10:0:1::/64"], &["table t1"],
    &[
        "create route 10.244.1.0/24 in t1 -> i-a for a",
        "create route fd00:10:0:1::/64 in t1 -> i-a for a",
    ],
    &[],
    &["a: has none, waits for the route to 10.244.1.0/24, the route to fd00:10:0:1::/64"],
)]
#[case::in_every_table(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-a", "table t2"],
    &["create route 10.244.1.0/24 in t2 -> i-a for a"], &[],
    &["a: has some, waits for the route to 10.244.1.0/24"],
)]
#[case::all_is_there(
    &["a i-a 10.244.1.0/24 fd00:10:0:1::/64"],
    &["table t1", "10.244.1.0/24 i-a", "fd00:10:0:1::/64 i-a"],
    &[], &[], &["a: has some, done"],
)]
#[case::by_an_interface_of_it(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 eni-a"],
    &[], &[], &["a: has some, done"],
)]
#[case::to_another_machine_of_ours(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-b"],
    &["set route 10.244.1.0/24 in t1 -> i-a for a"], &[],
    &["a: has some, waits for the route to 10.244.1.0/24"],
)]
#[case::to_one_that_is_terminated(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-dead"],
    &["set route 10.244.1.0/24 in t1 -> i-a for a"], &[],
    &["a: has some, waits for the route to 10.244.1.0/24"],
)]
#[case::to_nowhere(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 - blackhole"],
    &["set route 10.244.1.0/24 in t1 -> i-a for a"], &[],
    &["a: has some, waits for the route to 10.244.1.0/24"],
)]
#[case::to_nowhere_of_which_there_is_no_record(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-unheard-of blackhole"],
    &["set route 10.244.1.0/24 in t1 -> i-a for a"], &[],
    &["a: has some, waits for the route to 10.244.1.0/24"],
)]
#[case::to_its_own_machine_which_is_stopped(
    &["a i-a 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-a blackhole"],
    &[], &["instance i-a, which is stopped or gone"],
    &["a: has some, waits for instance i-a, which is stopped or gone"],
)]
#[case::a_machine_that_checks(
    &["a i-checked 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-checked"],
    &["switch the source/destination check of i-checked off for a"], &[],
    &["a: has some, waits for the source/destination check of i-checked to be off"],
)]
#[case::a_machine_with_several_interfaces(
    &["a i-two 10.244.1.0/24"], &["table t1"],
    &[
        "switch the source/destination check of eni-two-0 off for a",
        "create route 10.244.1.0/24 in t1 -> i-two (eni-two-0) for a",
    ],
    &[],
    &[
        "a: has none, waits for the source/destination check of i-two to be off, the route to \
         10.244.1.0/24",
    ],
)]
#[case::a_machine_without_the_tag_is_its_nodes_all_the_same(
    &["a i-untagged 10.244.1.0/24"], &["table t1", "10.244.1.0/24 i-untagged"],
    &[], &[], &["a: has some, done"],
)]
#[case::a_machine_that_is_not_known_yet(
    &["a i-new 10.244.1.0/24"], &["table t1"],
    &[], &["instance i-new, which AWS does not know"],
    &["a: has none, waits for instance i-new, which AWS does not know"],
)]
#[case::a_machine_that_is_terminated(
    &["a i-dead 10.244.1.0/24"], &["table t1"],
    &[], &["instance i-dead, which is terminated"],
    &["a: has none, waits for instance i-dead, which is terminated"],
)]
#[case::another_range_than_before(
    &["a i-a 10.244.2.0/24"], &["table t1", "10.244.1.0/24 i-a"],
    &["delete route 10.244.1.0/24 from t1 for a", "create route 10.244.2.0/24 in t1 -> i-a for a"],
    &[], &["a: has none, waits for the route to 10.244.2.0/24"],
)]
#[case::none_of_its_ranges_can_be_had(
    &["a i-a"], &["table t1", "10.244.1.0/24 i-a"],
    &["delete route 10.244.1.0/24 from t1 for a"], &[], &["a: has none, done"],
)]
fn nodes(
    #[case] wants: &[&str],
    #[case] there: &[&str],
    #[case] steps: &[&str],
    #[case] later: &[&str],
    #[case] reports: &[&str],
) {
    check(wants, there, steps, later, reports);
}

#[test]
fn without_the_right_to_replace_a_route_it_is_deleted_and_made_again() {
    let lines = ["table t1", "10.244.1.0/24 i-dead"];
    let there = Observed { may_not_replace: true, ..observed(&lines) };
    let got = said_of(&["a i-a 10.244.1.0/24"], &there);
    assert_eq!(got.steps, ["delete route 10.244.1.0/24 from t1 for a"]);
    assert_eq!(got.reports, ["a: has some, waits for the route to 10.244.1.0/24"]);
    let gone = RouteChange::Delete {
        table: "t1".to_owned(),
        destination: "10.244.1.0/24".parse().unwrap(),
    };
    let got = said_of(&["a i-a 10.244.1.0/24"], &there.after(&gone));
    assert_eq!(got.steps, ["create route 10.244.1.0/24 in t1 -> i-a for a"]);
}

#[rstest]
#[case::a_gateway("igw-1")]
#[case::the_vpc_itself("local")]
#[case::an_interface_of_nobody("eni-of-an-endpoint")]
#[case::an_instance_without_the_tag("i-untagged")]
fn what_is_somebodys_stays_and_is_in_the_way(#[case] to: &str) {
    let there = format!("10.244.1.0/24 {to}");
    let why = format!(
        "a: has none, InvalidConfiguration: route 10.244.1.0/24 in t1 leads to {to}, which is not \
         this cluster's: delete the route, or let the node have another range"
    );
    let b = "create route 10.244.2.0/24 in t1 -> i-b for b";
    check(
        &["a i-a 10.244.1.0/24", "b i-b 10.244.2.0/24"],
        &["table t1", &there],
        &[b],
        &[],
        &[&why, "b: has none, waits for the route to 10.244.2.0/24"],
    );
    // Nobody sweeps it away.
    check(&["-a"], &["table t1", &there], &[], &[], &["a: has none, done"]);
}

#[test]
fn of_whose_instance_nothing_is_known_is_left_and_explained() {
    let waits = "route 10.244.1.0/24 in t1 to be explained: AWS does not say whose instance \
                 i-elsewhere is";
    let there = ["table t1", "10.244.1.0/24 i-elsewhere"];
    let report = format!("a: has none, waits for {waits}");
    check(&["a i-a 10.244.1.0/24"], &there, &[], &[waits], &[&report]);
    check(&["-a"], &there, &[], &[], &["a: has none, done"]);
}

#[rstest]
#[case::outside(
    "a i-a 192.168.0.0/24",
    "a: has none, InvalidConfiguration: 192.168.0.0/24 is outside the \
                             cluster's ranges"
)]
#[case::no_provider_id("a ? 10.244.1.0/24", "a: has none, waits for the node's provider ID")]
#[case::an_odd_one(
    "a ! 10.244.1.0/24",
    "a: has none, InvalidConfiguration: provider ID \"aws:///z/x\" names no machine: it should be \
     aws:///<zone>/i-…, or end in fargate-<private IPv4 address>"
)]
#[case::fargate(
    "a fargate 10.244.1.0/24",
    "a: has none, InvalidConfiguration: provider ID \"aws:///z/x/fargate-10.0.0.1\" is of a pod on \
     Fargate, which routes nothing: give the node no pod range"
)]
fn what_cannot_be_had_is_refused_and_what_is_there_stays(#[case] want: &str, #[case] says: &str) {
    let there = ["table t1", "10.244.1.0/24 i-b", "192.168.0.0/24 i-a", "0.0.0.0/0 igw-1"];
    let sweeps: &[_] =
        if want.contains("192") { &["delete route 10.244.1.0/24 from t1 for nobody"] } else { &[] };
    check(&[want], &there, sweeps, &[], &[says]);
}

#[test]
fn one_range_of_two_nodes_is_the_first_ones() {
    check(
        &["b i-b 10.244.1.0/24", "a i-a 10.244.1.0/24"],
        &["table t1", "10.244.1.0/24 i-a"],
        &[],
        &[],
        &[
            "a: has some, done",
            "b: has none, InvalidConfiguration: 10.244.1.0/24 is node a's already",
        ],
    );
}

#[rstest]
#[case::no_table(&[], &["a i-a 10.244.1.0/24", "b i-b", "-c"], true)]
#[case::nobody_wants_any(&[], &["b i-b", "-c", "=d"], false)]
#[case::one_of_several(&["table t1"], &["a i-a 10.244.1.0/24"], false)]
fn a_look_without_any_table_says_nothing_of_those_who_want_routes(
    #[case] there: &[&str],
    #[case] wants: &[&str],
    #[case] fails: bool,
) {
    let there = Observed { lack: Some("no route table".to_owned()), ..observed(there) };
    let wants: Vec<_> = wants.iter().map(|text| want(text)).collect();
    let failed = has_a_place(&wants, &there).err();
    let failed = failed.map(|err| (err.kind(), err.message().to_owned()));
    assert_eq!(failed, fails.then(|| (Kind::NotFound, "no route table".to_owned())));
}

#[test]
fn without_a_table_nobody_who_wants_none_is_held() {
    let got = said_of(&["a i-a 10.244.1.0/24", "b i-b", "-c"], &observed(&[]));
    let a = "a: has none, waits for a route table";
    assert_eq!(got.reports, [a, "b: has none, done", "c: has none, done"]);
    assert!(got.steps.is_empty() && got.later.is_empty());
}

#[test]
fn where_one_of_several_tables_is_not_there_the_others_are_worked_on() {
    let there = Observed {
        lack: Some("AWS knows no route table t2".to_owned()),
        ..observed(&["table t1", "10.244.1.0/24 i-a"])
    };
    let got = said_of(&["a i-a 10.244.1.0/24", "b i-b 10.244.2.0/24", "c i-c"], &there);
    let note = "RouteTableNotFound: AWS knows no route table t2";
    assert_eq!(
        got.reports,
        [
            format!("a: has some, done; {note}"),
            format!("b: has none, waits for the route to 10.244.2.0/24; {note}"),
            "c: has none, done".to_owned(),
        ]
    );
    assert_eq!(got.steps, ["create route 10.244.2.0/24 in t1 -> i-b for b"]);
}

#[rstest]
#[case::by_its_name(
    &["-a", "b i-b 10.244.2.0/24"], &["10.244.1.0/24 i-a", "10.244.2.0/24 i-b"],
    &["delete route 10.244.1.0/24 from t1 for a"],
    &["a: has some, waits for its routes to be gone", "b: has some, done"],
)]
#[case::by_the_id_in_its_name(
    &["-i-b.example"], &["10.244.1.0/24 i-b"],
    &["delete route 10.244.1.0/24 from t1 for i-b.example"],
    &["i-b.example: has some, waits for its routes to be gone"],
)]
#[case::any_of_those_that_are_gone(
    &["-x", "-y"], &["10.244.1.0/24 - blackhole"],
    &["delete route 10.244.1.0/24 from t1 for x & y"],
    &[
        "x: has some, waits for its routes to be gone",
        "y: has some, waits for its routes to be gone",
    ],
)]
#[case::of_a_node_that_went_while_nobody_looked(
    &["a i-a 10.244.1.0/24"], &["10.244.1.0/24 i-a", "10.244.9.0/24 i-b"],
    &["delete route 10.244.9.0/24 from t1 for nobody"], &["a: has some, done"],
)]
#[case::its_range_is_anothers_now(
    &["-a", "b i-b 10.244.1.0/24"], &["10.244.1.0/24 i-b"],
    &[], &["a: has none, done", "b: has some, done"],
)]
#[case::outside_of_the_clusters_ranges_nothing_is_touched(
    &["-a"], &["192.168.0.0/24 i-a", "0.0.0.0/0 igw-1"], &[], &["a: has none, done"],
)]
fn nodes_that_are_gone(
    #[case] wants: &[&str],
    #[case] routes: &[&str],
    #[case] steps: &[&str],
    #[case] reports: &[&str],
) {
    let there: Vec<_> = ["table t1"].iter().chain(routes).copied().collect();
    check(wants, &there, steps, &[], reports);
}

#[rstest]
#[case::its_own("10.244.1.0/24 i-k", false)]
#[case::one_that_may_be_its("10.244.1.0/24 i-b", false)]
#[case::to_nowhere_that_may_be_its("10.244.1.0/24 - blackhole", false)]
#[case::to_its_machine_that_is_stopped("10.244.1.0/24 i-b blackhole", false)]
#[case::of_a_node_that_is_gone("10.244.1.0/24 i-a", true)]
#[case::of_a_node_that_wants_others("10.244.1.0/24 i-c", true)]
#[case::to_a_machine_that_never_comes_back("10.244.1.0/24 i-dead", true)]
fn while_one_is_kept_only_what_is_certainly_not_its_goes(#[case] route: &str, #[case] goes: bool) {
    let there = ["table t1", route, "10.244.3.0/24 i-c"];
    let steps = said(&["=k", "-a", "c i-c 10.244.3.0/24"], &there).steps;
    assert_eq!(!steps.is_empty(), goes, "{steps:?}");
    let steps = said(&["-k", "-a", "c i-c 10.244.3.0/24"], &there).steps;
    assert!(!steps.is_empty(), "it is not kept, and stays");
}

#[test]
fn a_node_that_came_again_under_its_name_keeps_what_it_has() {
    let there = ["table t1", "10.244.1.0/24 i-a"];
    let got = said(&["-a", "=a#2"], &there);
    assert!(got.steps.is_empty() && got.later.is_empty(), "{got:?}");
    assert_eq!(got.reports, ["a: has none, done", "a: has some, done"]);
}

#[test]
fn all_that_is_the_clusters_is_listed() {
    let there = observed(&[
        "table t1",
        "10.244.1.0/24 i-a",
        "10.244.2.0/24 i-untagged",
        "10.244.3.0/24 - blackhole",
        "10.244.4.0/24 igw-1",
        "10.244.5.0/24 i-elsewhere",
        "192.168.0.0/24 i-a",
        "table t2",
        "fd00:10:0:1::/64 eni-b",
    ]);
    let scope = scope();
    let listed: Vec<_> =
        ours(&scope, &there).map(|(table, destination)| format!("{table}/{destination}")).collect();
    assert_eq!(listed, ["t1/10.244.1.0/24", "t1/10.244.3.0/24", "t2/fd00:10:0:1::/64"]);
}

#[test]
fn nothing_interrupts() {
    let (table, destination): (_, IpNet) = ("t".to_owned(), "10.0.0.0/24".parse().unwrap());
    let (instance, to) = ("i-a".to_owned(), machine("i-a").towards);
    let replace = RouteChange::Replace { table, destination, instance, to };
    assert_eq!(replace.effect(), Effect::Update);
}
