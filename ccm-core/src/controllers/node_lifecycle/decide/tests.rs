use std::sync::Arc;

use rstest::rstest;

use super::*;
use crate::cloud::{Ask, CloudError, Instance, Kind, Observation, RunState};
use crate::cluster::node::{Condition, Taint};
use crate::controllers::known::INSTANCE_FOUND;
use crate::controllers::node::decide::tests::{instance, new_node};
use crate::fleet::Sighting;

const RULES: Rules = Rules { min_age: Duration::from_mins(5), terminated_is_final: false };
const FINAL: Rules = Rules { terminated_is_final: true, ..RULES };
const OLD: Duration = Duration::from_hours(1);

fn taint(key: &str) -> Taint {
    Taint { key: key.into(), effect: NO_SCHEDULE.into() }
}

/// Initialised, and its kubelet is silent.
fn silent() -> Node {
    Node {
        provider_id: Some(instance().provider_id),
        taints: [taint("other")].into(),
        ready: Some(ConditionStatus::Unknown),
        ..new_node()
    }
}

fn ready() -> Node {
    Node { ready: Some(ConditionStatus::True), ..silent() }
}

fn tainted(node: Node, keys: &[&str]) -> Node {
    Node { taints: keys.iter().map(|key| taint(key)).collect(), ..node }
}

fn told(node: Node, status: ConditionStatus, reason: &str) -> Node {
    Node { instance_known: Some(Condition { status, reason: reason.into() }), ..node }
}

/// An answer, some seconds after the start.
struct At(u64, Ask, Observation);

fn is(state: RunState) -> Observation {
    Observation::Present(Instance { state, ..instance() })
}

fn denied() -> Observation {
    Observation::Unknown(CloudError::new(Kind::PermissionDenied, "the token was revoked"))
}

const ABSENT: Observation = Observation::Gone(Evidence::Absent);
const TERMINATED: Observation = Observation::Gone(Evidence::Terminated);

fn seconds(start: Instant, n: u64) -> Instant {
    start + Duration::from_secs(n)
}

/// What is known after these answers, of a Node that is this old at the start.
fn case(start: Instant, age: Duration, answers: Vec<At>) -> Case {
    let born = start.checked_sub(age).expect("the machine is older");
    let mut case = Case::new("u1".into(), born, start);
    let mut before = None;
    for At(second, ask, observation) in answers {
        let at = seconds(start, second);
        let state = match &observation {
            Observation::Present(instance) => Some(instance.state),
            _ => None,
        };
        let observation = Arc::new(observation);
        let sighting = Sighting { observation, asked: at, at, before, replaces: None };
        case.saw(ask, &sighting, at);
        before = state.or(before);
    }
    case
}

use Ask::{Confirm, Look};

/// What is next for a silent Node of an hour, 10 s after the start.
#[rstest]
#[case::nobody_asked_yet(vec![], Next::Look)]
#[case::it_runs(vec![At(9, Look, is(RunState::Running))], Next::Look)]
#[case::it_stops(vec![At(9, Look, is(RunState::Stopping))], Next::Look)]
#[case::stopped(vec![At(9, Look, is(RunState::Stopped))], Next::Write(Write::AddTaint))]
#[case::stopped_and_then_doubt(
    vec![At(1, Look, is(RunState::Stopped)), At(9, Look, denied())], Next::Look,
)]
#[case::denied(vec![At(9, Look, denied())], Next::Look)]
#[case::gone_a_moment_ago(vec![At(6, Look, ABSENT)], Next::Look)]
#[case::gone_for_five_seconds(vec![At(5, Look, ABSENT)], Next::Confirm { wants_token: true })]
#[case::gone_again(
    vec![At(1, Look, ABSENT), At(9, Look, ABSENT)], Next::Confirm { wants_token: true },
)]
#[case::a_direct_answer_alone_is_a_suspicion(vec![At(9, Confirm, ABSENT)], Next::Look)]
#[case::terminated(vec![At(1, Look, TERMINATED)], Next::Confirm { wants_token: false })]
#[case::seen_on_its_way_down(
    vec![At(1, Look, is(RunState::Stopping)), At(5, Look, ABSENT)],
    Next::Confirm { wants_token: false },
)]
#[case::stopped_before_is_no_announcement(
    vec![
        At(1, Look, is(RunState::Stopping)), At(2, Look, is(RunState::Stopped)), At(5, Look, ABSENT),
    ],
    Next::Confirm { wants_token: true },
)]
#[case::back_again(vec![At(1, Look, ABSENT), At(9, Look, is(RunState::Running))], Next::Look)]
#[case::a_direct_answer_finds_it(
    vec![At(1, Look, ABSENT), At(9, Confirm, is(RunState::Running))], Next::Look,
)]
#[case::doubt_between_does_not_take_back_the_suspicion(
    vec![At(1, Look, ABSENT), At(6, Look, denied())], Next::Confirm { wants_token: true },
)]
#[case::confirmed_and_announced(
    vec![At(1, Look, TERMINATED), At(9, Confirm, TERMINATED)],
    Next::Write(Write::Delete { evidence: Evidence::Terminated, permit: Permit::Announced }),
)]
#[case::the_record_vanished_between(
    vec![At(1, Look, TERMINATED), At(9, Confirm, ABSENT)],
    Next::Write(Write::Delete { evidence: Evidence::Absent, permit: Permit::Announced }),
)]
#[case::confirmed_without_a_token(
    vec![At(1, Look, ABSENT), At(9, Confirm, ABSENT)], Next::Confirm { wants_token: true },
)]
fn of_a_silent_node(#[case] answers: Vec<At>, #[case] want: Next) {
    let start = Instant::now();
    let case = case(start, OLD, answers);
    assert_eq!(next(&silent(), &case, &RULES, seconds(start, 10)), want);
}

#[test]
fn an_answer_to_an_older_question_changes_nothing() {
    let start = Instant::now();
    let mut case = case(start, OLD, vec![At(8, Look, is(RunState::Running))]);
    let late = Sighting {
        observation: Arc::new(TERMINATED),
        asked: seconds(start, 3),
        at: seconds(start, 9),
        before: None,
        replaces: None,
    };
    case.saw(Look, &late, seconds(start, 9));
    assert_eq!(case.fate, Fate::Lives { stopped: false });
    assert!(!case.announced);
}

#[rstest]
#[case::budget(silent(), Token::Held, Some(Permit::Budget))]
#[case::nothing(silent(), Token::None, None)]
#[case::cluster_autoscaler(
    tainted(silent(), &["ToBeDeletedByClusterAutoscaler"]), Token::None, Some(Permit::Announced),
)]
#[case::a_candidate_only(
    tainted(silent(), &["DeletionCandidateOfClusterAutoscaler"]), Token::None, None,
)]
#[case::karpenter(tainted(silent(), &["karpenter.sh/disrupted"]), Token::None, Some(Permit::Announced))]
#[case::karpenter_of_old(
    tainted(silent(), &["karpenter.sh/disruption"]), Token::None, Some(Permit::Announced),
)]
#[case::released(
    Node { annotations: [(keys::ALLOW_DELETION, "u1")].into_iter().collect(), ..silent() },
    Token::None,
    Some(Permit::Released),
)]
#[case::released_for_an_earlier_node(
    Node { annotations: [(keys::ALLOW_DELETION, "u0")].into_iter().collect(), ..silent() },
    Token::None,
    None,
)]
fn what_allows_a_deletion(
    #[case] node: Node,
    #[case] token: Token,
    #[case] permit: Option<Permit>,
) {
    let start = Instant::now();
    let mut case = case(start, OLD, vec![At(1, Look, ABSENT), At(9, Confirm, ABSENT)]);
    case.token = token;
    let want = match permit {
        Some(permit) => Next::Write(Write::Delete { evidence: Evidence::Absent, permit }),
        None => Next::Confirm { wants_token: true },
    };
    assert_eq!(next(&node, &case, &RULES, seconds(start, 10)), want);
}

/// A machine that is gone twice, and a Node that must not go all the same.
#[rstest]
#[case::ready(ready(), OLD, 10, Next::Leave)]
#[case::being_deleted(Node { deleting: true, ..silent() }, OLD, 10, Next::Leave)]
#[case::too_young(silent(), Duration::from_mins(1), 10, Next::Look)]
#[case::confirmed_too_long_ago(silent(), OLD, 30, Next::Confirm { wants_token: false })]
fn no_deletion(#[case] node: Node, #[case] age: Duration, #[case] second: u64, #[case] want: Next) {
    let start = Instant::now();
    let case = case(start, age, vec![At(1, Look, TERMINATED), At(9, Confirm, TERMINATED)]);
    assert_eq!(next(&node, &case, &RULES, seconds(start, second)), want);
}

/// A young Node, where a record that says "terminated" is of just this machine.
#[rstest]
#[case::two_records(
    vec![At(1, Look, TERMINATED), At(9, Confirm, TERMINATED)],
    Next::Write(Write::Delete { evidence: Evidence::Terminated, permit: Permit::Announced }),
    None,
)]
#[case::one_record(vec![At(1, Look, TERMINATED)], Next::Confirm { wants_token: false }, None)]
#[case::one_record_a_moment_ago(vec![At(6, Look, TERMINATED)], Next::Look, None)]
#[case::the_record_vanished_between(
    vec![At(1, Look, TERMINATED), At(9, Confirm, ABSENT)], Next::Look, Some("InstanceNotFound"),
)]
#[case::the_look_found_no_record(
    vec![At(1, Look, ABSENT), At(9, Confirm, TERMINATED)], Next::Look, Some("InstanceNotFound"),
)]
#[case::the_last_look_found_no_record(
    vec![At(1, Look, TERMINATED), At(8, Look, ABSENT)], Next::Look, Some("InstanceNotFound"),
)]
#[case::no_record(vec![At(1, Look, ABSENT), At(9, Confirm, ABSENT)], Next::Look, Some("InstanceNotFound"))]
#[case::it_stopped_before(
    vec![At(1, Look, is(RunState::Stopping)), At(2, Look, ABSENT), At(9, Confirm, ABSENT)],
    Next::Look, Some("InstanceNotFound"),
)]
fn a_young_node_goes_on_two_records_alone(
    #[case] answers: Vec<At>,
    #[case] want: Next,
    #[case] says: Option<&str>,
) {
    let start = Instant::now();
    let case = case(start, Duration::from_mins(1), answers);
    let now = seconds(start, 10);
    assert_eq!(next(&silent(), &case, &FINAL, now), want);
    assert_ne!(
        next(&silent(), &case, &RULES, now),
        Next::Write(Write::Delete { evidence: Evidence::Terminated, permit: Permit::Announced })
    );
    let said = news(&silent(), &case, &FINAL, seconds(start, 50));
    assert_eq!(said.filter(|known| known.message.contains("old, if")).map(|it| it.reason), says);
}

#[rstest]
#[case::in_its_place(&["other", keys::TAINT_SHUTDOWN], Some(vec![1]))]
#[case::twice(&[keys::TAINT_SHUTDOWN, "other", keys::TAINT_SHUTDOWN], Some(vec![0, 2]))]
#[case::none(&["other"], None)]
fn a_node_that_is_ready_again_loses_our_taint_without_a_question(
    #[case] taints: &[&str],
    #[case] places: Option<Vec<usize>>,
) {
    let start = Instant::now();
    let case = case(start, OLD, vec![]);
    let want = places.map_or(Next::Leave, |places| Next::Write(Write::RemoveTaint(places)));
    assert_eq!(next(&tainted(ready(), taints), &case, &RULES, start), want);
}

#[test]
fn the_taint_is_not_put_twice_and_somebody_elses_effect_is_not_ours() {
    let start = Instant::now();
    let case = case(start, OLD, vec![At(1, Look, is(RunState::Stopped))]);
    let now = seconds(start, 2);
    assert_eq!(next(&tainted(silent(), &[keys::TAINT_SHUTDOWN]), &case, &RULES, now), Next::Look);
    let theirs = Taint { key: keys::TAINT_SHUTDOWN.into(), effect: "NoExecute".into() };
    let node = Node { taints: [theirs].into(), ..silent() };
    assert_eq!(next(&node, &case, &RULES, now), Next::Write(Write::AddTaint));
}

/// What is said at a second, of a Node of this age.
#[rstest]
#[case::nothing_to_say(silent(), OLD, vec![At(1, Look, is(RunState::Running))], 60, None)]
#[case::doubt_that_may_pass(silent(), OLD, vec![At(1, Look, denied())], 30, None)]
#[case::doubt(silent(), OLD, vec![At(1, Look, denied())], 31, Some("PermissionDenied"))]
#[case::said_already(
    told(silent(), ConditionStatus::Unknown, "PermissionDenied"), OLD,
    vec![At(1, Look, denied())], 90, None,
)]
#[case::too_young(silent(), Duration::from_mins(1), vec![At(1, Look, ABSENT)], 31, Some("InstanceNotFound"))]
#[case::too_young_for_a_moment(silent(), Duration::from_mins(1), vec![At(1, Look, ABSENT)], 30, None)]
#[case::known_again(
    told(silent(), ConditionStatus::False, DELETION_HELD), OLD,
    vec![At(1, Look, is(RunState::Running))], 1, Some(INSTANCE_FOUND),
)]
#[case::known_again_and_ready(
    told(ready(), ConditionStatus::False, DELETION_HELD), OLD,
    vec![At(1, Look, is(RunState::Running))], 1, Some(INSTANCE_FOUND),
)]
#[case::ready_and_gone(
    told(ready(), ConditionStatus::False, DELETION_HELD), OLD,
    vec![At(1, Look, ABSENT)], 1, Some("InstanceNotFound"),
)]
#[case::contradiction(
    silent(), OLD,
    vec![At(1, Look, ABSENT), At(9, Confirm, is(RunState::Running))], 39, Some(CONTRADICTORY_ANSWERS),
)]
#[case::contradiction_of_a_moment(
    silent(), OLD,
    vec![At(1, Look, ABSENT), At(9, Confirm, is(RunState::Running))], 38, None,
)]
#[case::not_initialised_yet(
    tainted(silent(), &[keys::TAINT_UNINITIALIZED]), OLD, vec![At(1, Look, denied())], 99, None,
)]
#[case::not_told_directly(
    silent(), OLD,
    vec![At(1, Look, ABSENT), At(7, Confirm, denied()), At(12, Look, ABSENT)],
    31, Some("PermissionDenied"),
)]
#[case::not_deleted_though_it_is_gone(
    silent(), OLD, vec![At(1, Look, ABSENT), At(7, Confirm, ABSENT)], 31, Some("InstanceNotFound"),
)]
#[case::about_to_be_deleted(
    silent(), OLD, vec![At(1, Look, ABSENT), At(7, Confirm, ABSENT)], 30, None,
)]
#[case::first_in_doubt_and_then_too_young(
    silent(), Duration::from_mins(1), vec![At(1, Look, denied()), At(29, Look, ABSENT)],
    31, Some("InstanceNotFound"),
)]
fn what_is_said(
    #[case] node: Node,
    #[case] age: Duration,
    #[case] answers: Vec<At>,
    #[case] second: u64,
    #[case] want: Option<&str>,
) {
    let start = Instant::now();
    let case = case(start, age, answers);
    let said = news(&node, &case, &RULES, seconds(start, second));
    assert_eq!(said.map(|known| known.reason), want);
}

#[test]
fn who_is_held_does_not_speak_of_an_earlier_direct_question() {
    for direct in [denied(), is(RunState::Running)] {
        let start = Instant::now();
        let answers = vec![At(1, Look, ABSENT), At(7, Confirm, direct), At(12, Look, ABSENT)];
        let mut case = case(start, OLD, answers);
        case.hold(seconds(start, 13));
        let said = news(&silent(), &case, &RULES, seconds(start, 99));
        assert_eq!(said.map(|known| known.reason), Some(DELETION_HELD));
    }
}

#[test]
fn who_is_held_is_told_at_once_and_how_to_release_the_node() {
    let start = Instant::now();
    let mut case = case(start, OLD, vec![At(1, Look, ABSENT)]);
    case.held = Some(seconds(start, 6));
    let known = news(&silent(), &case, &RULES, seconds(start, 6)).unwrap();
    assert_eq!((known.status, known.reason), (ConditionStatus::False, DELETION_HELD));
    assert!(known.message.contains("kubectl annotate node n1 ccm.rs/allow-deletion=u1"));
    assert!(known.message.contains("test://i-1"), "{}", known.message);
    // Doubt of a moment is not worth a word meanwhile.
    let node = told(silent(), ConditionStatus::False, DELETION_HELD);
    let doubt = Sighting {
        observation: Arc::new(denied()),
        asked: seconds(start, 7),
        at: seconds(start, 7),
        before: None,
        replaces: None,
    };
    case.saw(Look, &doubt, seconds(start, 7));
    assert_eq!(news(&node, &case, &RULES, seconds(start, 20)), None);
    assert!(news(&node, &case, &RULES, seconds(start, 37)).is_some());
}
