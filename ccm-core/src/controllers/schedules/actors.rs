//! Everybody else: machines, kubelets, other controllers, an autoscaler, users, and accidents.

use serde_json::{Value, json};

use super::cloud::{Truth, address, instance_type, provider_id};
use super::cluster::{Birth, Stored, is_shutdown};
use super::process::belongs;
use super::setup::BEFORE;
use super::time::{Ms, s};
use super::world::{Event, World};
use crate::cloud::{AddressKind, Belongs, NodeAddress, NodeName, ProviderId, RunState};
use crate::cluster::keys;
use crate::cluster::node::{Condition, ConditionStatus, Node, Version};
use crate::cluster::pairs::Pairs;
use crate::controllers::known::{INSTANCE_FOUND, INSTANCE_NOT_FOUND};
use crate::controllers::node_lifecycle::decide::DELETION_HELD;

/// Something that somebody else does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Anything.
    Churn,
    /// The machine is in another state, if it is still this one.
    Turn(usize, u32, RunState),
    /// A new machine in this place, if there is none.
    Create(usize),
    /// The machine goes for good.
    Terminate(usize),
    /// The kubelet comes up, and registers its Node if there is none.
    Boot(usize, u32),
    /// The Node is ready, if the kubelet runs.
    Ready(usize, u32),
    /// The kubelet fails for a while, and its Node is not ready.
    Unready(usize),
    /// The kubelet has not been heard of for long, and its Node is not ready.
    Unheard(usize),
    /// The kube-controller-manager's taint follows the Node's readiness.
    Follow(usize),
    /// The process dies.
    Crash,
    /// A process starts, if there is none.
    Start,
    /// The watch is cut off and begins again with a list.
    Relist,
    /// The wall clock jumps.
    Jump,
    /// Faults and churn have ended: everybody does what they should.
    Calm,
    /// Laws that hold at all times are looked at.
    Check,
}

/// Of taints that others put on.
const STRANGE: [&str; 4] = ["a.example/one", "node.kubernetes.io/unreachable", "b", "c.example/x"];

const NOT_READY: &str = "node.kubernetes.io/not-ready";

const AUTOSCALED: &str = "ToBeDeletedByClusterAutoscaler";

impl World {
    /// The cluster and the cloud as they are at the start, and what is going to happen.
    pub(super) fn populate(&mut self) {
        for place in 0..self.setup.places {
            if self.rng.chance(85) {
                self.veteran(place);
            }
        }
        self.strangers();
        self.law.most = self.setup.places;
        let calm = self.setup.calm;
        let churns = self.rng.between(5, 18) + self.setup.places as u64 / 4;
        let mut plan = |act, count| {
            for _ in 0..count {
                let at = self.rng.between(s(1), calm - s(1));
                self.agenda.at(at, Event::Act(act));
            }
        };
        plan(Act::Churn, churns);
        let (crashes, relists) = (self.rng.below(4) as u64, self.rng.below(3) as u64);
        let mut plan = |act, count| {
            for _ in 0..count {
                let at = self.rng.between(s(1), calm - s(1));
                self.agenda.at(at, Event::Act(act));
            }
        };
        plan(Act::Crash, crashes);
        plan(Act::Relist, relists);
        if self.setup.clock_jumps {
            plan(Act::Jump, 2);
        }
        self.agenda.at(calm, Event::Act(Act::Calm));
        self.agenda.at(s(5), Event::Act(Act::Check));
        self.start_process();
    }

    /// A machine that runs, and its Node, which was initialised before.
    fn veteran(&mut self, place: usize) {
        let incarnation = self.cloud.places[place].create(0, 0, 0);
        self.cloud.places[place].turn(0, RunState::Running);
        self.kubelets[place] = Some(incarnation);
        let age = if self.rng.chance(30) { s(self.rng.between(0, 200)) } else { s(3600) };
        let kind = instance_type(incarnation);
        let labels = [
            (keys::INSTANCE_TYPE, kind),
            (keys::INSTANCE_TYPE_BETA, kind),
            (keys::ZONE, "z"),
            (keys::ZONE_BETA, "z"),
        ];
        let mut node = self.bare(place, BEFORE - age);
        node.labels = labels.into_iter().collect();
        node.provider_id = Some(provider_id(place));
        node.addresses = [
            NodeAddress::new(AddressKind::InternalIp, address(place, incarnation)),
            NodeAddress::new(AddressKind::Hostname, node.name.as_str()),
        ]
        .into();
        node.ready = Some(ConditionStatus::True);
        let mut taints = Vec::new();
        if self.rng.chance(30) {
            taints.push(strange(self.rng.pick(&STRANGE)));
        }
        if self.rng.chance(10) {
            taints.push(json!({"key": keys::TAINT_SHUTDOWN, "effect": "NoExecute"}));
        }
        let finalizer = self.rng.chance(5);
        self.born(node, taints, Some(place), finalizer, BEFORE - age);
    }

    /// Nodes that are none of our business, though nothing is well with them.
    fn strangers(&mut self) {
        let mut node = self.bare(0, 0);
        node.name = "foreign".into();
        node.provider_id = ProviderId::try_from("other://1").ok();
        node.ready = Some(ConditionStatus::False);
        self.born(node, vec![shutdown()], None, false, 0);
        let mut node = self.bare(0, 0);
        node.name = "bare".into();
        node.ready = None;
        self.born(node, vec![shutdown()], None, false, 0);
    }

    fn bare(&self, place: usize, created: Ms) -> Node {
        let name = name_of(place);
        let created = std::time::Duration::from_millis(created);
        let before = std::time::Duration::from_millis(BEFORE + self.time.now);
        Node {
            uid: "".into(),
            version: Version::default(),
            created: self.time.wall() - before + created,
            deleting: false,
            labels: Pairs::default(),
            annotations: Pairs::default(),
            provider_id: None,
            taints: [].into(),
            addresses: [NodeAddress::new(AddressKind::Hostname, name.as_str())].into(),
            odd_addresses: false,
            system_uuid: None,
            ready: None,
            instance_known: None,
            pod_cidrs: [].into(),
            network_unavailable: None,
            unreachable_because: "".into(),
            name,
        }
    }

    fn born(
        &mut self,
        node: Node,
        taints: Vec<Value>,
        place: Option<usize>,
        finalizer: bool,
        created: Ms,
    ) {
        let birth = Birth { place, finalizer, created, now: self.time.now };
        self.cluster.create(node, taints, birth);
        self.changed();
    }

    /// The place that a Node is looked up in.
    pub(super) fn place_of(&self, node: &Node) -> Option<usize> {
        let text = match &node.provider_id {
            Some(id) => id.path_of("test")?,
            None => node.name.as_str().strip_prefix('n')?,
        };
        text.parse().ok().filter(|place| *place < self.cloud.places.len())
    }

    fn later(&mut self, least: Ms, most: Ms, act: Act) {
        let at = self.time.now + self.rng.between(least, most);
        self.agenda.at(at, Event::Act(act));
    }

    fn truth(&self, place: usize) -> Truth {
        self.cloud.places[place].at(self.time.now)
    }

    pub(super) fn act(&mut self, act: Act) {
        let now = self.time.now;
        if !matches!(act, Act::Check | Act::Churn | Act::Follow(_)) {
            self.trace.say(now, || format!("-- {act:?}"));
        }
        match act {
            Act::Churn => self.churn(),
            Act::Turn(place, incarnation, state) => {
                if matches!(self.truth(place), Truth::Present { incarnation: it, terminating: false, .. } if it == incarnation)
                {
                    self.cloud.places[place].turn(now, state);
                    if state == RunState::Stopped {
                        self.down(place);
                    }
                }
            }
            Act::Create(place) => self.create(place),
            Act::Terminate(place) => self.terminate(place),
            Act::Boot(place, incarnation) => self.boot(place, incarnation),
            Act::Ready(place, incarnation) => {
                if self.kubelets[place] == Some(incarnation) {
                    self.say_ready(place, Some(ConditionStatus::True), Some(incarnation));
                }
            }
            Act::Unheard(place) if self.kubelets[place].is_some() => {}
            Act::Unready(place) | Act::Unheard(place) => {
                let status = self.rng.pick(&[ConditionStatus::False, ConditionStatus::Unknown]);
                self.say_ready(place, Some(status), None);
            }
            Act::Follow(place) => self.follow(place),
            Act::Crash => {
                self.crash();
                let quick = self.rng.chance(50);
                let most = if quick { 200 } else { s(20) };
                self.later(50, most, Act::Start);
            }
            Act::Start => {
                if self.process.is_none() {
                    self.start_process();
                }
            }
            Act::Relist => self.relist(),
            Act::Jump => {
                self.figures.count("clock jump");
                let by = i64::try_from(self.rng.between(0, 7_200_000)).expect("small");
                self.time.wrong_by = by - 3_600_000;
            }
            Act::Calm => self.calm(),
            Act::Check => {
                self.check();
                self.agenda.at(now + s(5), Event::Act(Act::Check));
            }
        }
    }

    fn churn(&mut self) {
        let place = self.rng.below(self.setup.places);
        let name = name_of(place);
        let truth = self.truth(place);
        let what = self.rng.below(24);
        self.trace.say(self.time.now, || format!("-- churn {what} of {name}, {truth:?}"));
        match (what, truth) {
            (0..3, Truth::Present { incarnation, state: RunState::Running, .. }) => {
                self.stop(place, incarnation);
            }
            (0..6, Truth::Present { incarnation, state: RunState::Stopped, .. }) => {
                self.cloud.places[place].turn(self.time.now, RunState::Starting);
                self.later(s(1), s(10), Act::Turn(place, incarnation, RunState::Running));
                self.later(s(20), s(40), Act::Boot(place, incarnation));
            }
            (3..6, Truth::Present { .. }) => self.terminate(place),
            (6..9, Truth::Present { .. }) => self.vanish(place),
            (9, _) => {
                self.figures.count("half the fleet goes");
                for place in 0..self.setup.places {
                    if self.rng.chance(50) {
                        self.vanish(place);
                    }
                }
            }
            (10 | 11, Truth::Present { .. }) => {
                self.figures.count("machine replaced");
                self.vanish(place);
                self.later(1, s(15), Act::Create(place));
            }
            (0..12, _) => self.later(1, s(5), Act::Create(place)),
            (12..15, _) => {
                // The kubelet fails for a while, and the machine lives.
                self.figures.count("kubelet flakes");
                self.act(Act::Unready(place));
                if let Some(incarnation) = self.kubelets[place] {
                    self.later(s(5), s(90), Act::Ready(place, incarnation));
                }
            }
            (15..18, _) => self.others_taint(&name),
            (18 | 19, _) => {
                self.figures.count("autoscaler taints");
                let at = self.rng.below(3);
                let taint = json!({"key": AUTOSCALED, "value": "1", "effect": "NoSchedule"});
                self.cluster.taint(&name, self.time.now, |taints| {
                    if !taints.contains(&taint) {
                        taints.insert(at.min(taints.len()), taint);
                    }
                });
                self.changed();
                self.later(s(2), s(30), Act::Terminate(place));
            }
            (20, _) => self.recreate(place),
            (21 | 22, _) => self.release(place),
            _ => {
                // A heartbeat.
                self.cluster.change(&name, self.time.now, |_| {});
                self.changed();
            }
        }
    }

    fn stop(&mut self, place: usize, incarnation: u32) {
        self.figures.count("machine stopped");
        let state = self.rng.pick(&[RunState::Stopping, RunState::Stopped]);
        self.cloud.places[place].turn(self.time.now, state);
        self.later(s(1), s(8), Act::Turn(place, incarnation, RunState::Stopped));
        self.down(place);
    }

    /// The machine's kubelet is not heard of any more.
    fn down(&mut self, place: usize) {
        if self.kubelets[place].take().is_some() {
            self.later(s(2), s(40), Act::Unheard(place));
        }
    }

    fn terminate(&mut self, place: usize) {
        if let Truth::Present { terminating: false, .. } = self.truth(place) {
            self.figures.count("machine terminated");
            let stopping = if self.rng.chance(60) { s(self.rng.between(1, 25)) } else { 0 };
            let record = if self.rng.chance(60) { s(self.rng.between(1, 90)) } else { 0 };
            self.cloud.places[place].terminate(self.time.now, stopping, record);
            self.down(place);
        }
    }

    fn vanish(&mut self, place: usize) {
        self.figures.count("machine vanished");
        let record = if self.rng.chance(20) { s(self.rng.between(1, 20)) } else { 0 };
        self.cloud.places[place].terminate(self.time.now, 0, record);
        self.down(place);
    }

    fn create(&mut self, place: usize) {
        if matches!(self.truth(place), Truth::Present { .. }) {
            return;
        }
        let unlisted = s(self.rng.pick(&[0, 0, 10, 40, 70]));
        // What has no Node yet may be unknown to direct questions too, for less than the age that
        // a Node must have. With a wrong clock that would be no promise.
        let is_new = !self.cluster.nodes.contains_key(&name_of(place));
        let unanswered = if is_new && !self.setup.clock_jumps && self.rng.chance(50) {
            self.rng.between(0, self.setup.min_age + s(19))
        } else {
            0
        };
        let shy = (unlisted.max(unanswered), unanswered);
        let incarnation = self.cloud.places[place].create(self.time.now, shy.0, shy.1);
        self.figures.count("machine created");
        self.later(s(1), s(10), Act::Turn(place, incarnation, RunState::Running));
        self.later(s(20), s(40), Act::Boot(place, incarnation));
    }

    fn boot(&mut self, place: usize, incarnation: u32) {
        let is_up = matches!(
            self.truth(place),
            Truth::Present { incarnation: it, terminating: false, state: RunState::Running | RunState::Starting }
                if it == incarnation
        );
        if !is_up {
            return;
        }
        self.cloud.places[place].turn(self.time.now, RunState::Running);
        self.kubelets[place] = Some(incarnation);
        let name = name_of(place);
        if self.cluster.nodes.contains_key(&name) {
            self.say_ready(place, Some(ConditionStatus::False), Some(incarnation));
        } else {
            self.figures.count("node joins");
            let created = BEFORE + self.time.now;
            let mut node = self.bare(place, created);
            node.ready = self.rng.pick(&[None, Some(ConditionStatus::False)]);
            node.provider_id = self.rng.chance(50).then(|| provider_id(place));
            if self.rng.chance(70) {
                node.labels = [("kubernetes.io/hostname", name.as_str())].into_iter().collect();
            }
            let mut taints = vec![json!({
                "key": keys::TAINT_UNINITIALIZED, "value": "true", "effect": "NoSchedule"
            })];
            for _ in 0..self.rng.below(3) {
                let at = self.rng.below(taints.len() + 1);
                let taint = strange(self.rng.pick(&STRANGE));
                if !taints.contains(&taint) {
                    taints.insert(at, taint);
                }
            }
            let finalizer = self.rng.chance(5) && self.time.now < self.setup.calm;
            self.born(node, taints, Some(place), finalizer, created);
            self.served(&name, incarnation);
            self.later(1, 500, Act::Follow(place));
        }
        self.later(s(1), s(8), Act::Ready(place, incarnation));
    }

    fn served(&mut self, name: &NodeName, incarnation: u32) {
        if let Some(stored) = self.cluster.nodes.get_mut(name) {
            stored.served_by = Some(incarnation);
        }
    }

    fn say_ready(&mut self, place: usize, ready: Option<ConditionStatus>, by: Option<u32>) {
        let name = name_of(place);
        if let Some(incarnation) = by {
            self.served(&name, incarnation);
        }
        self.cluster.change(&name, self.time.now, |node| node.ready = ready);
        self.changed();
        self.later(1, 500, Act::Follow(place));
    }

    fn follow(&mut self, place: usize) {
        let name = name_of(place);
        let Some(stored) = self.cluster.nodes.get(&name) else { return };
        let is_ready = stored.node.is_ready();
        let stands = stored.taints.iter().position(|taint| taint["key"] == NOT_READY);
        let at = self.rng.below(stored.taints.len() + 1);
        match stands {
            Some(at) if is_ready => self.cluster.taint(&name, self.time.now, |taints| {
                taints.remove(at);
            }),
            None if !is_ready => self.cluster.taint(&name, self.time.now, |taints| {
                taints.insert(at, strange(NOT_READY));
            }),
            Some(_) | None => return,
        }
        self.changed();
    }

    fn others_taint(&mut self, name: &NodeName) {
        self.figures.count("others taint");
        let (at, key) = (self.rng.below(4), self.rng.pick(&STRANGE));
        let takes = self.rng.chance(40);
        let shuts = self.rng.below(8);
        self.cluster.taint(name, self.time.now, |taints| {
            if shuts == 0 {
                // Somebody does our work, or undoes it.
                match taints.iter().position(is_shutdown) {
                    Some(place) => drop(taints.remove(place)),
                    None => taints.insert(at.min(taints.len()), shutdown()),
                }
            } else if let Some(place) = taints.iter().position(|taint| taint["key"] == key) {
                taints.remove(place);
            } else if takes && !taints.is_empty() && taints[0]["key"] != keys::TAINT_UNINITIALIZED {
                taints.remove(0);
            } else {
                taints.insert(at.min(taints.len()), strange(key));
            }
        });
        self.changed();
    }

    /// Somebody deletes the Node; its kubelet, if it runs, registers it anew.
    fn recreate(&mut self, place: usize) {
        self.figures.count("node deleted by somebody");
        self.cluster.remove(&name_of(place));
        self.changed();
        if let Some(incarnation) = self.kubelets[place] {
            self.later(10, s(20), Act::Boot(place, incarnation));
        }
    }

    fn release(&mut self, place: usize) {
        let is_gone = self.truth(place).lives().is_none();
        let old = self.rng.pick(&["yes", "uid-1", "uid-2"]);
        self.figures.count(if is_gone { "released" } else { "released by mistake" });
        self.cluster.change(&name_of(place), self.time.now, |node| {
            let uid = if is_gone { node.uid.as_str() } else { old };
            if is_gone || uid != node.uid.as_str() {
                node.annotations = [(keys::ALLOW_DELETION, uid)].into_iter().collect();
            }
        });
        self.changed();
    }

    fn calm(&mut self) {
        for place in 0..self.setup.places {
            if let Truth::Present { incarnation, terminating: false, state } = self.truth(place)
                && matches!(state, RunState::Running | RunState::Starting)
            {
                // Boots after whatever was on its way.
                self.later(s(41), s(45), Act::Boot(place, incarnation));
            }
            let name = name_of(place);
            if let Some(stored) = self.cluster.nodes.get_mut(&name) {
                stored.finalizer = false;
                if stored.node.deleting {
                    self.cluster.remove(&name);
                    self.changed();
                }
            }
        }
        self.later(s(1), s(2), Act::Start);
    }

    /// What is not as it should be, if anything is not.
    pub(super) fn unsettled(&self) -> Option<String> {
        // The last kubelets have come up by then.
        if self.time.now < self.setup.calm + s(60) {
            return Some("not yet".to_owned());
        }
        let places = 0..self.setup.places;
        let without = places.filter(|place| self.kubelets[*place].is_some());
        for place in without {
            let name = name_of(place);
            if !self.cluster.nodes.contains_key(&name) {
                return Some(format!("{name} has a kubelet and no Node"));
            }
        }
        self.cluster.nodes.keys().find_map(|name| self.unsettled_node(name))
    }

    fn unsettled_node(&self, name: &NodeName) -> Option<String> {
        let stored = &self.cluster.nodes[name];
        let node = &stored.node;
        if belongs(node) != Belongs::Ours && !node.is_uninitialized() {
            return None;
        }
        let place = stored.place?;
        let tainted = stored.taints.iter().any(is_shutdown);
        let reason = node.instance_known.as_ref().map(|known| &*known.reason);
        let is_quiet = reason.is_none_or(|reason| reason == INSTANCE_FOUND);
        let truth = self.truth(place);
        let wrong = match truth {
            Truth::Present { .. } if node.is_uninitialized() => "is not initialised",
            Truth::Present { .. } if !is_quiet => "says something that is not so any more",
            Truth::Present { state: RunState::Stopped, .. } if !tainted => "has no shutdown taint",
            Truth::Present { state: RunState::Running, .. } if tainted => "has the shutdown taint",
            Truth::Present { incarnation, .. }
                if node.addresses[0].address != address(place, incarnation).into() =>
            {
                "has the addresses of another machine"
            }
            Truth::Present { incarnation, .. }
                if node.labels.get(keys::INSTANCE_TYPE) != Some(instance_type(incarnation)) =>
            {
                "has the labels of another machine"
            }
            Truth::Present { .. } => return None,
            Truth::Terminated | Truth::Absent => {
                if reason == Some(DELETION_HELD) && self.setup.limit.is_some() {
                    return None;
                }
                // Of one that is not initialised the node controller speaks; it may be held, too.
                let case = self.process.as_ref().and_then(|process| process.ward.case(name));
                let is_held = case.is_some_and(|case| case.held.is_some());
                if node.is_uninitialized()
                    && reason == Some(INSTANCE_NOT_FOUND)
                    && (node.provider_id.is_none() || is_held)
                {
                    return None;
                }
                "is still there and its machine is not"
            }
        };
        Some(format!("{name} {wrong}: {truth:?}, says {reason:?}"))
    }

    pub(super) fn is_any_held(&self) -> bool {
        let known = |known: &Condition| &*known.reason == DELETION_HELD;
        let says = |it: &Stored| it.node.instance_known.as_ref().is_some_and(known);
        let figures = self.process.as_ref().map(|process| process.ward.figures());
        self.cluster.nodes.values().any(says) || figures.is_some_and(|figures| figures.held > 0)
    }
}

fn name_of(place: usize) -> NodeName {
    format!("n{place}").into()
}

fn strange(key: &str) -> Value {
    json!({"key": key, "value": "v", "effect": "NoSchedule", "timeAdded": "2026-01-02T03:04:05Z"})
}

fn shutdown() -> Value {
    json!({"key": keys::TAINT_SHUTDOWN, "effect": "NoSchedule"})
}
