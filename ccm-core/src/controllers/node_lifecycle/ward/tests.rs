use super::*;
use crate::cloud::{CloudError, Evidence, Instance, Kind, RunState};
use crate::cluster::node::{Condition, ConditionStatus};
use crate::controllers::node::decide::tests::{instance, new_node};
use crate::controllers::node_lifecycle::decide::DELETION_HELD;

const LIMIT: Limit = Limit { minimum: 3, percent: 10, window: Duration::from_mins(10) };
const OLD: Duration = Duration::from_hours(1);

/// Nodes whose kubelets are silent, and what the ward makes of them.
struct Scene {
    ward: Ward,
    nodes: HashMap<NodeName, Arc<Node>>,
    start: Instant,
}

impl Scene {
    fn of(count: usize, limit: Option<Limit>) -> Self {
        let start = Instant::now();
        let rules = Rules { min_age: Duration::from_mins(5), terminated_is_final: false };
        let terms = Terms { rules, period: Duration::from_secs(5), limit, batch: 100 };
        let ward = Ward::new(terms, start);
        let mut scene = Self { ward, nodes: HashMap::new(), start };
        (0..count).for_each(|n| scene.put(silent(n), 0));
        scene
    }

    fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    fn put(&mut self, node: Node, second: u64) {
        let now = self.at(second);
        self.ward.seen(&node, true, OLD, now);
        self.nodes.insert(node.name.clone(), Arc::new(node));
    }

    fn plan(&mut self, second: u64) -> Plan {
        let now = self.at(second);
        self.ward.plan(|name| self.nodes.get(name).cloned(), now)
    }

    fn answer(&mut self, nodes: &[Arc<Node>], ask: Ask, second: u64, says: fn() -> Observation) {
        let at = self.at(second);
        for node in nodes {
            let observation = Arc::new(says());
            let sighting = Sighting { observation, asked: at, at, before: None, replaces: None };
            self.ward.saw(node, ask, &sighting, at);
        }
    }

    /// All are looked at at a second, and not found.
    fn suspect(&mut self, second: u64) {
        let plan = self.plan(second);
        self.answer(&plan.looks, Ask::Look, second, absent);
    }

    fn finish(&mut self, writes: &[(Arc<Node>, Write)], outcome: &Outcome, second: u64) {
        let now = self.at(second);
        for (node, write) in writes {
            self.ward.wrote(node, write, outcome.clone(), now);
        }
    }
}

fn silent(n: usize) -> Node {
    Node {
        name: format!("n{n}").into(),
        uid: format!("u{n}").into(),
        provider_id: Some(instance().provider_id),
        taints: [].into(),
        ready: Some(ConditionStatus::Unknown),
        ..new_node()
    }
}

fn absent() -> Observation {
    Observation::Gone(Evidence::Absent)
}

fn present() -> Observation {
    Observation::Present(instance())
}

fn denied() -> Observation {
    Observation::Unknown(CloudError::new(Kind::PermissionDenied, "no"))
}

fn names(nodes: &[Arc<Node>]) -> Vec<&str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}

fn deletions(plan: &Plan) -> usize {
    plan.writes.iter().filter(|(_, write)| matches!(write, Write::Delete { .. })).count()
}

fn told(plan: &Plan) -> Vec<&'static str> {
    let reason = |(_, write): &(_, Write)| match write {
        Write::Tell(known) => Some(known.reason),
        _ => None,
    };
    plan.writes.iter().filter_map(reason).collect()
}

#[test]
fn the_start_token_lets_one_go_and_the_rest_is_held() {
    let mut scene = Scene::of(4, Some(LIMIT));
    scene.suspect(1);
    let plan = scene.plan(7);
    assert_eq!(names(&plan.confirms), ["n0"]);
    assert!(told(&scene.plan(8)).is_empty(), "the token may come back");
    scene.answer(&plan.looks, Ask::Look, 8, absent);
    scene.answer(&plan.confirms, Ask::Confirm, 8, absent);
    let plan = scene.plan(9);
    assert_eq!(deletions(&plan), 1);
    scene.finish(&plan.writes, &Outcome::Done(None), 9);
    scene.ward.gone(&"n0".into());
    scene.plan(10);
    assert_eq!(told(&scene.plan(11)), [DELETION_HELD]);
    assert_eq!(scene.ward.figures().held, 3);
}

#[test]
fn without_a_limit_all_go() {
    let mut scene = Scene::of(4, None);
    scene.suspect(1);
    let plan = scene.plan(7);
    scene.answer(&plan.confirms, Ask::Confirm, 8, absent);
    assert_eq!(deletions(&scene.plan(9)), 4);
}

#[test]
fn those_that_are_gone_for_longest_come_first() {
    let mut scene = Scene::of(0, Some(LIMIT));
    scene.put(silent(2), 0);
    scene.suspect(1);
    scene.put(silent(1), 2);
    scene.suspect(3);
    assert_eq!(names(&scene.plan(9).confirms), ["n2"]);
}

#[test]
fn a_token_comes_back_if_it_was_not_used() {
    type Use = fn(&mut Scene, &Plan);
    let uses: [(&str, Use); 4] = [
        ("the machine lives", |scene, plan| {
            scene.answer(&plan.confirms, Ask::Confirm, 8, present);
        }),
        ("nobody knows", |scene, plan| scene.answer(&plan.confirms, Ask::Confirm, 8, denied)),
        ("the kubelet is back", |scene, _| {
            scene.put(Node { ready: Some(ConditionStatus::True), ..silent(0) }, 8);
        }),
        ("somebody else deletes it", |scene, _| scene.ward.gone(&"n0".into())),
    ];
    for (what, happens) in uses {
        let mut scene = Scene::of(1, Some(LIMIT));
        scene.suspect(1);
        let plan = scene.plan(7);
        assert_eq!(plan.confirms.len(), 1);
        assert!(scene.ward.figures().left < 0.1);
        happens(&mut scene, &plan);
        assert!(scene.ward.figures().left >= 1.0, "{what}");
    }
}

#[test]
fn a_token_is_used_once_the_deletion_is_sent() {
    for (outcome, is_back) in [
        (Outcome::Done(None), false),
        (Outcome::Unanswered, false),
        (Outcome::Refused, true),
        (Outcome::Gone, true),
        (Outcome::NotSent, true),
    ] {
        let mut scene = Scene::of(1, Some(LIMIT));
        scene.suspect(1);
        let plan = scene.plan(7);
        scene.answer(&plan.confirms, Ask::Confirm, 8, absent);
        let plan = scene.plan(8);
        assert_eq!(deletions(&plan), 1);
        // The watch is quicker than the answer.
        scene.ward.gone(&"n0".into());
        assert!(scene.ward.figures().left < 0.1, "{outcome:?}");
        scene.put(silent(0), 8);
        scene.ward.gone(&"n1".into());
        scene.finish(&plan.writes, &outcome, 9);
        scene.ward.gone(&"n0".into());
        assert_eq!(scene.ward.figures().left >= 1.0, is_back, "{outcome:?}");
    }
}

#[test]
fn ten_nodes_a_second_are_told() {
    let mut scene = Scene::of(60, Some(Limit { minimum: 0, percent: 0, ..LIMIT }));
    scene.suspect(1);
    scene.suspect(7);
    let mut count = 0;
    for tenth in 0..30_u32 {
        let now = scene.at(8) + Duration::from_millis(100) * tenth;
        let plan = scene.ward.plan(|name| scene.nodes.get(name).cloned(), now);
        count += told(&plan).len();
    }
    assert_eq!(count, 30);
}

#[test]
fn nodes_are_looked_at_together_and_each_period() {
    let mut scene = Scene::of(3, Some(LIMIT));
    assert!(scene.plan(0).looks.is_empty(), "on the next beat");
    let mut looks = Vec::new();
    for second in 1..=16 {
        let plan = scene.plan(second);
        looks.push(plan.looks.len());
        scene.answer(&plan.looks, Ask::Look, second, present);
    }
    assert_eq!(looks, [3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 3]);
}

#[test]
fn many_that_are_not_ready_are_looked_at_at_one_call_a_second() {
    for (nodes, period) in [(500, 5), (501, 6), (2_000, 20), (15_000, 30)] {
        assert_eq!(Scene::of(nodes, None).ward.period().as_secs(), period, "{nodes} nodes");
    }
}

#[test]
fn nothing_is_decided_before_our_own_write_is_seen() {
    let mut scene = Scene::of(1, None);
    scene.suspect(1);
    let plan = scene.plan(7);
    scene.answer(&plan.confirms, Ask::Confirm, 8, denied);
    let plan = scene.plan(40);
    assert_eq!(told(&plan), ["PermissionDenied"]);
    scene.finish(&plan.writes, &Outcome::Done(Some(Version::new("7"))), 40);
    let plan = scene.plan(60);
    assert!(plan.writes.is_empty() && plan.looks.is_empty() && plan.confirms.is_empty());
    let known = Condition { status: ConditionStatus::Unknown, reason: "PermissionDenied".into() };
    let node = Node { version: Version::new("7"), instance_known: Some(known), ..silent(0) };
    scene.put(node, 61);
    assert_eq!(scene.plan(61).confirms.len(), 1);
}

/// The first of `count` nodes is confirmed to be gone at second 8.
fn confirmed(count: usize, limit: Option<Limit>) -> Scene {
    let mut scene = Scene::of(count, limit);
    scene.suspect(1);
    let plan = scene.plan(7);
    scene.answer(&plan.looks, Ask::Look, 7, absent);
    scene.answer(&plan.confirms, Ask::Confirm, 8, absent);
    scene
}

#[test]
fn a_deleted_node_that_the_watch_still_shows_costs_nothing_more() {
    let mut scene = confirmed(1, Some(Limit { window: Duration::from_secs(3), ..LIMIT }));
    let plan = scene.plan(9);
    assert_eq!(deletions(&plan), 1);
    scene.finish(&plan.writes, &Outcome::Done(None), 9);
    for second in 10..30 {
        let plan = scene.plan(second);
        assert!(plan.confirms.is_empty() && plan.looks.is_empty(), "second {second}");
        assert!(plan.writes.is_empty(), "second {second}");
    }
}

#[test]
fn a_deletion_does_not_wait_for_what_cannot_be_told() {
    let mut scene = Scene::of(1, Some(LIMIT));
    scene.suspect(1);
    let plan = scene.plan(7);
    scene.answer(&plan.confirms, Ask::Confirm, 7, denied);
    let plan = scene.plan(45);
    assert_eq!(told(&plan), ["PermissionDenied"]);
    scene.finish(&plan.writes, &Outcome::Refused, 45);
    let plan = scene.plan(46);
    scene.answer(&plan.confirms, Ask::Confirm, 46, absent);
    assert_eq!(deletions(&scene.plan(47)), 1);
}

#[test]
fn a_machine_is_looked_at_while_its_taint_is_refused() {
    let stopped = || Observation::Present(Instance { state: RunState::Stopped, ..instance() });
    let mut scene = Scene::of(1, None);
    let plan = scene.plan(1);
    scene.answer(&plan.looks, Ask::Look, 1, stopped);
    let mut looks = 0;
    for second in 2..60 {
        let plan = scene.plan(second);
        scene.finish(&plan.writes, &Outcome::Refused, second);
        looks += plan.looks.len();
        scene.answer(&plan.looks, Ask::Look, second, stopped);
    }
    assert!(looks >= 10, "{looks}");
}

#[test]
fn a_wish_for_an_absurd_pause_is_cut() {
    let throttled = || {
        let retry_after = Some(Duration::MAX);
        Observation::Unknown(CloudError::new(Kind::RateLimited { retry_after }, "slow down"))
    };
    let mut scene = Scene::of(1, None);
    let plan = scene.plan(1);
    scene.answer(&plan.looks, Ask::Look, 1, throttled);
    let plan = scene.plan(5 * 60 + 2);
    assert_eq!(told(&plan), ["RateLimited"]);
    scene.finish(&plan.writes, &Outcome::Refused, 5 * 60 + 2);
    assert_eq!(scene.plan(5 * 60 + 3).looks.len(), 1);
}

#[test]
fn direct_questions_are_asked_a_few_hundred_at_a_time() {
    let mut scene = Scene::of(500, None);
    scene.suspect(1);
    let plan = scene.plan(10);
    assert_eq!(plan.confirms.len(), MOST_ASKED);
    scene.answer(&plan.looks, Ask::Look, 10, absent);
    scene.answer(&plan.confirms[..50], Ask::Confirm, 10, absent);
    assert_eq!(scene.plan(11).confirms.len(), 50);
}

#[test]
fn what_was_said_of_a_silent_node_is_not_told_when_it_is_back() {
    let known = Condition { status: ConditionStatus::False, reason: DELETION_HELD.into() };
    let held = Node { instance_known: Some(known), ..silent(0) };
    let mut scene = Scene::of(0, Some(LIMIT));
    scene.put(held.clone(), 0);
    scene.suspect(1);
    scene.put(Node { ready: Some(ConditionStatus::True), ..held }, 3);
    assert!(told(&scene.plan(3)).is_empty());
    let plan = scene.plan(4);
    assert!(told(&plan).is_empty());
    scene.answer(&plan.looks, Ask::Look, 4, present);
    assert_eq!(told(&scene.plan(5)), ["InstanceFound"]);
}

#[test]
fn a_wrong_release_is_told_once_for_each_value() {
    let mut scene = Scene::of(1, Some(Limit { minimum: 0, percent: 0, ..LIMIT }));
    scene.suspect(1);
    let annotated = |value| Node {
        annotations: [(keys::ALLOW_DELETION, value)].into_iter().collect(),
        ..silent(0)
    };
    let mut misread = |value, second| {
        scene.put(annotated(value), second);
        let plan = scene.plan(second);
        scene.finish(&plan.writes, &Outcome::Done(None), second);
        scene.answer(&plan.looks, Ask::Look, second, absent);
        let again = scene.plan(second);
        scene.finish(&again.writes, &Outcome::Done(None), second);
        plan.misread.len() + again.misread.len()
    };
    let said: Vec<_> = [("yes", 8), ("yes", 9), ("yes", 10), ("no", 11), ("no", 12)]
        .map(|(v, s)| misread(v, s))
        .into();
    assert_eq!(said.iter().sum::<usize>(), 2, "{said:?}");
    scene.put(annotated("u0"), 20);
    let plan = scene.plan(20);
    assert_eq!(plan.confirms.len() + plan.looks.len(), 1);
}

#[test]
fn foreign_nodes_are_nobodys_business_and_do_not_count() {
    let mut scene = Scene::of(20, Some(LIMIT));
    let now = scene.at(1);
    for n in 0..20 {
        scene.ward.seen(&silent(n), false, OLD, now);
    }
    let plan = scene.plan(2);
    assert!(plan.looks.is_empty() && plan.confirms.is_empty() && plan.writes.is_empty());
    let domain = scene.ward.domains.values().next().map(|domain| domain.nodes);
    assert_eq!(domain, Some(0));
}

#[test]
fn a_direct_question_that_is_not_answered_is_asked_again_after_a_pause() {
    let mut scene = Scene::of(1, None);
    scene.suspect(1);
    let plan = scene.plan(7);
    scene.answer(&plan.confirms, Ask::Confirm, 8, denied);
    let mut asked = Vec::new();
    for second in 8..30 {
        let plan = scene.plan(second);
        scene.answer(&plan.looks, Ask::Look, second, absent);
        scene.answer(&plan.confirms, Ask::Confirm, second, denied);
        scene.finish(&plan.writes, &Outcome::Done(None), second);
        asked.extend((!plan.confirms.is_empty()).then_some(second));
    }
    assert_eq!(asked, [13, 23]);
}

#[test]
fn one_thing_at_a_time_is_done_about_a_node_that_comes_and_goes() {
    let mut scene = Scene::of(1, None);
    let old = scene.plan(1);
    assert_eq!(old.looks.len(), 1);
    // Its case is closed and opened again while the cloud hangs.
    scene.put(Node { ready: Some(ConditionStatus::True), ..silent(0) }, 2);
    scene.put(silent(0), 3);
    assert!(scene.plan(9).looks.is_empty());
    scene.answer(&old.looks, Ask::Look, 10, denied);
    assert_eq!(scene.plan(30).looks.len(), 1);
}
