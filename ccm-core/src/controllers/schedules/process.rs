//! The process: the real decisions of both node controllers, with the glue that is asynchronous
//! elsewhere put as steps between which anything may happen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Change, Request};
use super::invariants::Record;
use super::mutants::Mutant;
use super::time::{Ms, Time, s};
use super::wire::{Flight, Reply};
use super::world::{Agenda, Event, World};
use crate::cloud::{Belongs, NodeName, Uid, Urgency};
use crate::cluster::node::Node;
use crate::controllers::node::decide::{Changes, Wait};
use crate::controllers::node::memory::Memories;
use crate::controllers::node_lifecycle::case::{Fate, Permit};
use crate::controllers::node_lifecycle::decide::{Rules, Write};
use crate::controllers::node_lifecycle::ward::{Terms, Ward};
use crate::controllers::{node, node_lifecycle};
use crate::fleet::Sighting;
use crate::fleet::kept::Kept;
use crate::queue;
use crate::telemetry::NodeMetrics;

/// Which process of a schedule: answers to an earlier one reach nobody.
pub(super) type Generation = u32;

/// From one look at every node to the next.
pub(super) const REFRESH: Duration = Duration::from_mins(1);

/// `--node-monitor-period`.
pub(super) const PERIOD: Duration = Duration::from_secs(5);

/// All that one process remembers.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) generation: Generation,
    pub(super) ward: Ward,
    pub(super) memories: Memories,
    pub(super) queue: queue::State<NodeName>,
    pub(super) kept: Kept,
    pub(super) cache: BTreeMap<NodeName, Arc<Node>>,
    /// When the first list was in.
    pub(super) listed: Option<Ms>,
    /// How far the log of changes was read.
    cursor: usize,
    /// When the last change that is on its way arrives.
    watched_until: Ms,
    pub(super) plan_at: Option<Ms>,
    pub(super) queue_at: Option<Ms>,
    pub(super) paused_until: Ms,
    pub(super) complaints: u32,
    /// What the laws remember of it, by Node.
    pub(super) records: BTreeMap<Uid, Record>,
    /// When nodes were told something, by either controller.
    pub(super) told: [Vec<Ms>; 2],
}

/// A write that waits for its turn.
#[derive(Debug)]
pub(super) enum Turn {
    Lifecycle(Arc<Node>, Write),
    Announce(Arc<Node>, Wait),
    Settle(Arc<Node>, Sighting, Instant),
}

/// Why something is written, and what comes after it.
#[derive(Debug)]
pub(super) enum Job {
    Lifecycle(Write),
    Announce,
    Status(Changes),
    Main(Changes),
}

impl Process {
    pub(super) fn plan_by(&mut self, at: Ms, agenda: &mut Agenda) {
        if self.listed.is_some() && self.plan_at.is_none_or(|planned| planned > at) {
            self.plan_at = Some(at);
            agenda.at(at, Event::Plan(self.generation));
        }
    }

    pub(super) fn queue_by(&mut self, at: Ms, agenda: &mut Agenda) {
        if self.listed.is_some() && self.queue_at.is_none_or(|planned| planned > at) {
            self.queue_at = Some(at);
            agenda.at(at, Event::Work(self.generation));
        }
    }

    pub(super) fn record(&mut self, uid: &Uid) -> &mut Record {
        self.records.entry(uid.clone()).or_default()
    }

    /// One change of the watch, as both controllers take it.
    fn take(&mut self, change: Change, time: &Time, mutant: Option<Mutant>) {
        let now = time.instant();
        let Some(new) = change.node else {
            if self.cache.remove(&change.name).is_some() {
                self.ward.gone(&change.name);
                self.queue.want(change.name, Urgency::Drift, None);
            }
            return;
        };
        let old = self.cache.insert(change.name, Arc::clone(&new));
        if old.as_ref().is_none_or(|old| node_lifecycle::is_relevant(old, &new)) {
            let age = match self.listed {
                Some(_) => Duration::ZERO,
                None => time.own_wall().duration_since(new.created).unwrap_or_default(),
            };
            let is_ours = new.provider_id.is_some()
                && (belongs(&new) == Belongs::Ours || mutant == Some(Mutant::StrangersAreOurs));
            self.ward.seen(&new, is_ours, age, now);
        }
        let is_ours = self.memories.seen(&new);
        if is_ours || old.as_ref().is_none_or(|old| node::is_relevant(old, &new)) {
            self.memories.wake(&new, now);
            self.queue.want(new.name.clone(), urgency(&new), None);
        }
        let listed = self.listed;
        let record = self.record(&new.uid);
        record.saw(&new, listed.map_or(0, |_| time.now), time.now);
    }
}

impl World {
    pub(super) fn start_process(&mut self) {
        self.generation += 1;
        let generation = self.generation;
        let mutant = self.setup.mutant;
        let terms = Terms {
            rules: Rules {
                min_age: match mutant {
                    Some(Mutant::AgeIgnored) => Duration::ZERO,
                    _ => Duration::from_millis(self.setup.min_age),
                },
                terminated_is_final: self.setup.terminated_is_final,
            },
            period: PERIOD,
            limit: self.setup.limit.filter(|_| mutant != Some(Mutant::BudgetIgnored)),
            batch: self.setup.batch,
        };
        let now = self.time.instant();
        let metrics = NodeMetrics::unread();
        self.process = Some(Process {
            generation,
            ward: Ward::new(terms, now),
            memories: Memories::new(metrics, REFRESH, now),
            queue: queue::State::default(),
            kept: Kept::default(),
            cache: BTreeMap::new(),
            listed: None,
            cursor: 0,
            watched_until: 0,
            plan_at: None,
            queue_at: None,
            paused_until: 0,
            complaints: 0,
            records: BTreeMap::new(),
            told: [Vec::new(), Vec::new()],
        });
        self.law.starts.insert(generation, self.time.now);
        self.trace.say(self.time.now, || format!("process {generation} starts"));
        let list = self.rng.between(50, s(2));
        let up = self.setup.watch_works_from(self.time.now);
        self.agenda.at(up.max(self.time.now) + list, Event::Listed(generation));
    }

    pub(super) fn crash(&mut self) {
        let Some(process) = self.process.take() else { return };
        self.trace.say(self.time.now, || format!("process {} dies", process.generation));
        self.figures.count("crash");
        let fates = process.cache.keys().filter_map(|name| process.ward.case(name));
        for case in fates {
            match case.fate {
                Fate::Suspected { .. } => self.figures.count("crash between look and confirm"),
                Fate::Confirmed { .. } => self.figures.count("crash between confirm and delete"),
                Fate::Unasked | Fate::Lives { .. } => {}
            }
        }
    }

    /// The process, if it is still this one.
    pub(super) fn own(&mut self, generation: Generation) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.generation == generation)
    }

    pub(super) fn listed(&mut self, generation: Generation) {
        let up = self.setup.watch_works_from(self.time.now);
        if up > self.time.now {
            return self.agenda.at(up + 100, Event::Listed(generation));
        }
        let mutant = self.setup.mutant;
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        for (name, stored) in &self.cluster.nodes {
            let change = Change { name: name.clone(), node: Some(Arc::clone(&stored.node)) };
            process.take(change, &self.time, mutant);
        }
        process.cursor = self.cluster.log.len();
        process.listed = Some(self.time.now);
        process.plan_by(self.time.now, &mut self.agenda);
        process.queue_by(self.time.now, &mut self.agenda);
        let refresh = self.time.now + s(REFRESH.as_secs());
        self.agenda.at(refresh, Event::Refresh(generation));
    }

    /// Something was written: the watch will show it in a while.
    pub(super) fn changed(&mut self) {
        let Some(process) = self.process.as_mut().filter(|it| it.listed.is_some()) else { return };
        let lag =
            if self.rng.chance(3) { self.rng.between(100, s(4)) } else { self.rng.between(1, 60) };
        let at = (self.setup.watch_works_from(self.time.now) + lag).max(process.watched_until);
        process.watched_until = at;
        self.agenda.at(at, Event::Watched(process.generation, self.cluster.log.len()));
    }

    pub(super) fn watched(&mut self, generation: Generation, upto: usize) {
        let mutant = self.setup.mutant;
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        while process.cursor < upto {
            let change = self.cluster.log[process.cursor].clone();
            process.cursor += 1;
            process.take(change, &self.time, mutant);
        }
        self.wake();
    }

    /// The watch was cut off: what happened in between is found by a list.
    pub(super) fn relist(&mut self) {
        let mutant = self.setup.mutant;
        if self.setup.watch_works_from(self.time.now) > self.time.now {
            return;
        }
        let Some(process) = self.process.as_mut().filter(|it| it.listed.is_some()) else { return };
        self.figures.count("relist");
        for (name, stored) in &self.cluster.nodes {
            let node = &stored.node;
            let same = |known: &Arc<Node>| known.uid == node.uid && known.version == node.version;
            if !process.cache.get(name).is_some_and(same) {
                let change = Change { name: name.clone(), node: Some(Arc::clone(node)) };
                process.take(change, &self.time, mutant);
            }
        }
        let is_gone = |name: &&NodeName| !self.cluster.nodes.contains_key(*name);
        let gone: Vec<_> = process.cache.keys().filter(is_gone).cloned().collect();
        for name in gone {
            process.take(Change { name, node: None }, &self.time, mutant);
        }
        process.cursor = self.cluster.log.len();
        self.wake();
    }

    pub(super) fn wake(&mut self) {
        let soon = self.time.now + self.rng.between(1, 50);
        let late = self.time.now + self.rng.between(50, 400);
        if let Some(process) = &mut self.process {
            process.queue_by(soon, &mut self.agenda);
            process.plan_by(late, &mut self.agenda);
        }
    }

    /// A write waits until others are done.
    pub(super) fn queue_for_a_turn(&mut self, generation: Generation, turn: Turn) {
        let wait = match self.rng.below(20) {
            0 => self.rng.between(100, s(6)),
            1..4 => self.rng.between(1, 300),
            _ => 0,
        };
        self.agenda.at(self.time.now + wait, Event::Turn(generation, Box::new(turn)));
    }

    pub(super) fn send(
        &mut self,
        generation: Generation,
        node: Arc<Node>,
        request: Request,
        job: Job,
    ) {
        let is_certain = self.process.as_mut().is_some_and(|it| it.record(&node.uid).is_certain());
        let flight = Flight { generation, node, request, job, sent: self.time.now, is_certain };
        self.launch(flight);
    }

    /// A write has ended, as far as we know.
    pub(super) fn ended(
        &mut self,
        generation: Generation,
        node: &Arc<Node>,
        job: Job,
        reply: Reply,
    ) {
        let instant = self.time.instant();
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        match (job, reply) {
            (Job::Lifecycle(write), reply) => {
                if let (Write::Delete { permit, .. }, Ok(_)) = (&write, &reply) {
                    self.figures.count(match permit {
                        Permit::Announced => "deleted: announced",
                        Permit::Released => "deleted: released",
                        Permit::Budget => "deleted: budget",
                    });
                }
                self.wrote_lifecycle(node, &write, reply);
            }
            (Job::Announce, reply) => {
                if reply.is_ok() {
                    process.memories.told(node);
                } else {
                    process.memories.not_told(node, instant);
                    process.record(&node.uid).failed = self.time.now;
                }
                process.rest_as_planned(node, instant);
            }
            (Job::Status(changes), Ok(version)) => {
                let version = version.expect("a patch makes a version");
                process.memories.status_written(node, &version);
                self.write_main(generation, Arc::clone(node), &version, changes);
            }
            (Job::Main(changes), Ok(version)) => {
                let version = version.expect("a patch makes a version");
                self.written(node, changes, version);
            }
            (Job::Status(_) | Job::Main(_), Err(code)) => self.not_written(node, code),
        }
        self.wake();
        self.next_work();
    }
}

pub(super) fn urgency(node: &Node) -> Urgency {
    if node.is_uninitialized() { Urgency::Initialize } else { Urgency::Refresh }
}

/// Our provider IDs begin with `test`.
pub(super) fn belongs(node: &Node) -> Belongs {
    match node.provider_id.as_ref().map(|id| id.scheme()) {
        None => Belongs::Unsaid,
        Some(Some("test")) => Belongs::Ours,
        Some(_) => Belongs::Foreign("another scheme".to_owned()),
    }
}
