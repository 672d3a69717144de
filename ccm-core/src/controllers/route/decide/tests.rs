use std::sync::Arc;

use rstest::rstest;

use super::super::ranges::Fault;
use super::*;
use crate::cloud::{CloudError, ObjectId, Report, Verdict};
use crate::cluster::node::Condition;
use crate::controllers::node::decide::tests::new_node;
use crate::converge::Cause;

const DIGEST: u64 = 7;
const LONG: Duration = Duration::from_hours(1);
const NOW: Duration = Duration::ZERO;

fn node() -> Node {
    Node {
        provider_id: "sim://i-1".try_into().ok(),
        taints: [].into(),
        pod_cidrs: ["10.0.1.0/24".into()].into(),
        ..new_node()
    }
}

fn said(node: Node, status: ConditionStatus, reason: &str) -> Node {
    Node { network_unavailable: Some(Condition { status, reason: reason.into() }), ..node }
}

fn good() -> Ranges {
    Ranges { good: vec!["10.0.1.0/24".parse().unwrap()], faults: vec![] }
}

fn faulty() -> Ranges {
    Ranges { good: vec![], faults: vec![Fault::Unreadable("x".into())] }
}

fn progress(aim: Aim) -> Progress {
    Progress {
        aim,
        digest: DIGEST,
        is_done: false,
        is_gone: false,
        is_under_way: false,
        is_unsure: false,
        trouble: None,
        reports: vec![],
    }
}

fn id() -> ObjectId {
    ObjectId { namespace: "".into(), name: "n1".into(), uid: "u1".into() }
}

fn reported(verdict: Verdict, progress: Progress) -> Progress {
    let holds = crate::cloud::Holds::Something;
    Progress { reports: vec![Arc::new(Report::new(&id(), holds, verdict))], ..progress }
}

fn waiting() -> Progress {
    reported(Verdict::Progressing("its route is provisioned".to_owned()), progress(Aim::Present))
}

fn done() -> Progress {
    Progress { is_done: true, ..reported(Verdict::Done, progress(Aim::Present)) }
}

fn troubled_by(kind: Kind, was_done: bool, progress: Progress) -> Progress {
    let error = Arc::new(CloudError::new(kind, "no"));
    Progress {
        trouble: Some(Trouble { error, failures: 1, cause: Cause::New, was_done }),
        ..progress
    }
}

fn decided(node: &Node, ranges: &Ranges, known: Option<&Progress>) -> Decision {
    decided_after(node, ranges, known, None, LONG)
}

fn decided_after(
    node: &Node,
    ranges: &Ranges,
    known: Option<&Progress>,
    told: Option<&Told>,
    since: Duration,
) -> Decision {
    let belongs = if node.provider_id.is_some() { Belongs::Ours } else { Belongs::Unsaid };
    decide(&Case {
        node,
        belongs: &belongs,
        ranges,
        digest: DIGEST,
        known,
        told,
        since,
        is_new: false,
    })
}

fn status(decision: &Decision) -> Option<(ConditionStatus, &str)> {
    decision.tell.as_ref().map(|told| (told.status, told.reason))
}

const UNREACHABLE: Option<(ConditionStatus, &str)> =
    Some((ConditionStatus::True, NO_ROUTE_CREATED));
const REACHABLE: Option<(ConditionStatus, &str)> = Some((ConditionStatus::False, ROUTE_CREATED));

#[test]
fn what_is_wanted_follows_the_node() {
    let want =
        |node: &Node, ranges: &Ranges, known: Option<&Progress>| decided(node, ranges, known).want;
    assert_eq!(want(&node(), &good(), None), Wanted::Routes);
    assert_eq!(want(&Node { provider_id: None, ..node() }, &good(), None), Wanted::Kept);
    assert_eq!(want(&node(), &faulty(), None), Wanted::Kept);
    assert_eq!(want(&Node { deleting: true, ..node() }, &good(), Some(&done())), Wanted::Routes);

    let bare = Node { pod_cidrs: [].into(), ..node() };
    let none = Ranges::default();
    assert_eq!(want(&bare, &none, None), Wanted::Same);
    assert_eq!(want(&bare, &none, Some(&done())), Wanted::None);
    let gone = Progress { is_gone: true, ..progress(Aim::Absent) };
    assert_eq!(want(&bare, &none, Some(&gone)), Wanted::Forgotten);
    assert_eq!(want(&bare, &none, Some(&progress(Aim::Absent))), Wanted::None);
    // It got its ranges while what it had was cleared away.
    assert_eq!(want(&node(), &good(), Some(&gone)), Wanted::Routes);
}

#[test]
fn a_foreign_node_is_left_alone() {
    let node = said(node(), ConditionStatus::True, "TheirReason");
    let foreign = Belongs::Foreign("theirs".to_owned());
    for (known, want) in [(None, Wanted::Same), (Some(done()), Wanted::Forgotten)] {
        let case = Case {
            node: &node,
            belongs: &foreign,
            ranges: &faulty(),
            digest: DIGEST,
            known: known.as_ref(),
            is_new: false,
            told: None,
            since: LONG,
        };
        let notes = Some(Vec::new());
        assert_eq!(decide(&case), Decision { want, tell: None, note: None, notes, is_held: false });
    }
}

#[test]
fn a_route_that_is_there_is_told_once_and_taken_over_from_a_network_of_the_cluster() {
    assert_eq!(status(&decided(&node(), &good(), Some(&done()))), REACHABLE);
    let calico = said(node(), ConditionStatus::False, "CalicoIsUp");
    assert_eq!(status(&decided(&calico, &good(), Some(&done()))), REACHABLE);
    let told = said(node(), ConditionStatus::False, ROUTE_CREATED);
    assert_eq!(status(&decided(&told, &good(), Some(&done()))), None);
    let healed = said(node(), ConditionStatus::True, NO_ROUTE_CREATED);
    assert_eq!(status(&decided(&healed, &good(), Some(&done()))), REACHABLE);
}

#[test]
fn a_node_that_is_not_initialised_is_not_told_reachable() {
    let tainted = Node { taints: new_node().taints, ..node() };
    assert!(tainted.is_uninitialized());
    assert_eq!(status(&decided(&tainted, &good(), Some(&done()))), None);
    let troubled = troubled_by(Kind::PermissionDenied, false, waiting());
    assert_eq!(status(&decided(&tainted, &good(), Some(&troubled))), UNREACHABLE);
}

#[test]
fn what_is_known_of_another_form_says_nothing() {
    let other = Progress { digest: 8, ..done() };
    assert_eq!(status(&decided(&node(), &good(), Some(&other))), None);
    assert_eq!(status(&decided(&node(), &good(), Some(&progress(Aim::Keep)))), None);
    assert_eq!(status(&decided(&node(), &good(), None)), None);
}

#[test]
fn a_route_that_takes_its_time_is_told_and_a_repair_is_not() {
    let decision = decided(&node(), &good(), Some(&waiting()));
    assert_eq!(status(&decision), UNREACHABLE);
    let told = decision.tell.unwrap();
    assert_eq!(told.message, "no route yet: its route is provisioned");
    assert_eq!(told.event(), None);
    let under_way = Progress { is_under_way: true, ..waiting() };
    assert_eq!(status(&decided(&node(), &good(), Some(&under_way))), None);
}

#[rstest]
#[case::new_and_denied(node(), Kind::PermissionDenied, UNREACHABLE)]
#[case::new_and_away(node(), Kind::Unavailable, UNREACHABLE)]
#[case::the_process_ends(node(), Kind::Stopped, None)]
#[case::who_was_reachable_is_not_doubted(
    said(node(), ConditionStatus::False, ROUTE_CREATED),
    Kind::Unavailable,
    None
)]
#[case::whoever_said_so(
    said(node(), ConditionStatus::False, "CalicoIsUp"),
    Kind::PermissionDenied,
    None
)]
#[case::unreachable_before(
    said(node(), ConditionStatus::True, "Other"),
    Kind::Unavailable,
    UNREACHABLE
)]
fn a_look_that_failed_says_nothing_against_routes(
    #[case] node: Node,
    #[case] kind: Kind,
    #[case] want: Option<(ConditionStatus, &str)>,
) {
    let unseen = troubled_by(kind, false, progress(Aim::Present));
    assert_eq!(status(&decided(&node, &good(), Some(&unseen))), want);
}

#[test]
fn a_route_that_was_seen_to_be_missing_and_cannot_be_made_is_told() {
    let reachable = said(node(), ConditionStatus::False, ROUTE_CREATED);
    let missing = troubled_by(Kind::QuotaExceeded, false, waiting());
    let decision = decided(&reachable, &good(), Some(&missing));
    assert_eq!(status(&decision), UNREACHABLE);
    let told = decision.tell.unwrap();
    assert!(told.message.starts_with("no; the quota has to be raised"), "{}", told.message);
    assert_eq!(told.event(), Some((EventType::Warning, FAILED)));
    let there = troubled_by(Kind::Unavailable, true, done());
    assert_eq!(status(&decided(&reachable, &good(), Some(&there))), None);
}

#[test]
fn a_route_that_is_there_is_told_whatever_else_cannot_be_done() {
    for said_before in [node(), said(node(), ConditionStatus::True, NO_ROUTE_CREATED)] {
        let known = troubled_by(Kind::PermissionDenied, true, done());
        assert_eq!(status(&decided(&said_before, &good(), Some(&known))), REACHABLE);
    }
}

#[test]
fn what_the_provider_notes_is_passed_on_once_it_has_looked() {
    let said = Note { reason: "TableNotFound", message: "there is no t2".to_owned() };
    let mut report = Report::new(&id(), crate::cloud::Holds::Something, Verdict::Done);
    report.notes.push(said.clone());
    let noted = Progress { reports: vec![Arc::new(report)], ..done() };
    let told = |known: Option<&Progress>| decided(&node(), &good(), known).notes;
    assert_eq!(told(Some(&noted)), Some(vec![said]));
    assert_eq!(told(Some(&done())), Some(vec![]));
    // What was said is neither taken back nor said again while nobody has looked.
    for known in [None, Some(progress(Aim::Present)), Some(Progress { digest: 8, ..noted })] {
        assert_eq!(told(known.as_ref()), None);
    }
}

#[test]
fn ranges_that_cannot_be_had_are_told_whatever_is_known() {
    for known in [None, Some(done())] {
        let both = Ranges { faults: faulty().faults, ..good() };
        let decision = decided(&node(), &both, known.as_ref());
        assert_eq!((decision.want, status(&decision)), (Wanted::Routes, UNREACHABLE));
        let told = decision.tell.unwrap();
        assert_eq!(told.message, "podCIDR \"x\" is no range of addresses");
        assert_eq!((told.state, told.passes), ("InvalidPodCIDR", false));
    }
}

#[test]
fn a_node_that_works_is_not_tainted_for_a_range_that_is_not_the_clusters() {
    let outside = |range: &str| {
        let cluster = vec!["10.244.0.0/16".parse().unwrap()];
        Ranges { faults: vec![Fault::Outside(range.parse().unwrap(), cluster)], ..good() }
    };
    let fresh = decided(&node(), &outside("192.168.0.0/24"), Some(&done()));
    assert_eq!((status(&fresh), &fresh.note), (UNREACHABLE, &None));
    for reason in [ROUTE_CREATED, "CalicoIsUp"] {
        let works = said(node(), ConditionStatus::False, reason);
        let decision = decided(&works, &outside("192.168.0.0/24"), Some(&done()));
        assert_ne!(status(&decision), UNREACHABLE);
        assert!(decision.note.unwrap().contains("192.168.0.0/24 is not inside"));
    }
    // A family of which the cluster has no range is somebody else's matter.
    let other = decided(&node(), &outside("fd00::/64"), Some(&done()));
    assert_eq!(status(&other), REACHABLE);
    assert!(other.note.unwrap().contains("fd00::/64"));
}

#[test]
fn a_node_that_gets_its_ranges_late_is_told_at_once() {
    let under_way = Progress { is_under_way: true, ..waiting() };
    let case = |node: &Node, is_new| {
        let belongs = &Belongs::Ours;
        let (ranges, known) = (&good(), Some(&under_way));
        let (digest, told, since) = (DIGEST, None, NOW);
        status(&decide(&Case { node, belongs, ranges, digest, known, told, since, is_new }))
            .map(|(status, _)| status)
    };
    assert_eq!(case(&node(), true), Some(ConditionStatus::True));
    assert_eq!(case(&node(), false), None, "it may have worked for years");
    let told = said(node(), ConditionStatus::False, "CIDRAssigned");
    assert_eq!(case(&told, true), None);
}

#[test]
fn no_route_is_made_before_all_is_known_that_it_is_made_from() {
    let tainted = Node { taints: new_node().taints, ..node() };
    assert_eq!(decided(&tainted, &good(), None).want, Wanted::Kept);
    assert_eq!(decided(&tainted, &good(), Some(&progress(Aim::Keep))).want, Wanted::Kept);
    assert_eq!(decided(&tainted, &good(), Some(&done())).want, Wanted::Routes);
}

#[test]
fn what_passes_by_itself_is_not_told_in_all_its_words() {
    let other = said(node(), ConditionStatus::True, NO_ROUTE_CREATED);
    let other = Node { unreachable_because: "other words".into(), ..other };
    let passing = troubled_by(Kind::Unavailable, false, waiting());
    let lasting = troubled_by(Kind::PermissionDenied, false, waiting());
    let tells = |known: &Progress, told: Option<&Told>, since| {
        decided_after(&other, &good(), Some(known), told, since).tell.is_some()
    };
    assert!(!tells(&passing, None, NOW), "said by another process");
    assert!(tells(&passing, None, REPEAT));
    assert!(tells(&lasting, None, NOW));
    // The words may be others each time; the sort of failure is not.
    let of_this_sort = decided(&node(), &good(), Some(&passing)).tell.unwrap();
    let of_another = Told { state: "Other", ..of_this_sort.clone() };
    assert!(!tells(&passing, Some(&of_this_sort), REPEAT));
    assert!(tells(&passing, Some(&of_this_sort), REWORD));
    assert!(!tells(&passing, Some(&of_another), NOW));
    assert!(tells(&passing, Some(&of_another), REPEAT));
}

#[test]
fn who_else_writes_the_condition_is_answered_once_a_minute() {
    let told = decided(&node(), &good(), Some(&done())).tell.unwrap();
    let overwritten = said(node(), ConditionStatus::False, "CiliumIsUp");
    let after = |since| {
        let known = done();
        decided_after(&overwritten, &good(), Some(&known), Some(&told), since)
    };
    assert_eq!((after(NOW).tell, after(NOW).is_held), (None, true));
    assert_eq!((status(&after(REPEAT)), after(REPEAT).is_held), (REACHABLE, false));
    // What is new is said at once.
    let known = troubled_by(Kind::PermissionDenied, false, waiting());
    let news = decided_after(&overwritten, &good(), Some(&known), Some(&told), NOW);
    assert_eq!((status(&news), news.is_held), (UNREACHABLE, false));
}

/// A decision made after it was acted on is empty.
#[rstest]
#[case(good(), done())]
#[case(good(), waiting())]
#[case(good(), troubled_by(Kind::PermissionDenied, false, waiting()))]
#[case(good(), troubled_by(Kind::Unavailable, false, progress(Aim::Present)))]
#[case(faulty(), progress(Aim::Keep))]
fn what_was_told_is_not_told_again(#[case] ranges: Ranges, #[case] known: Progress) {
    let told = decided(&node(), &ranges, Some(&known)).tell.unwrap();
    let unreachable_because = told.message.as_str().into();
    let after = Node { unreachable_because, ..said(node(), told.status, told.reason) };
    let again = decided_after(&after, &ranges, Some(&known), Some(&told), LONG);
    assert_eq!(again.tell, None);
}
