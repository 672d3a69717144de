//! The steps of the node controller.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::asking::Purpose;
use super::cluster::Request;
use super::invariants;
use super::process::{Generation, Job, Process, REFRESH, Turn, belongs, urgency};
use super::time::s;
use super::world::{Event, World};
use crate::cloud::{Ask, Belongs, Observation, Urgency};
use crate::cluster::node::{Node, Version};
use crate::controllers::node::act;
use crate::controllers::node::decide::{Changes, Decision, Knowledge, StatusChange, Wait, decide};
use crate::controllers::node::memory::Step;
use crate::fleet::Sighting;

/// The pause after doubt about an initialised node, as in the node controller.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);

impl World {
    pub(super) fn refresh(&mut self, generation: Generation) {
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        for name in process.cache.keys().cloned() {
            process.queue.want(name, Urgency::Refresh, None);
        }
        process.queue_by(self.time.now, &mut self.agenda);
        let next = self.time.now + s(REFRESH.as_secs());
        self.agenda.at(next, Event::Refresh(generation));
    }

    pub(super) fn work(&mut self, generation: Generation) {
        let (now, instant) = (self.time.now, self.time.instant());
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        if process.queue_at != Some(now) {
            return;
        }
        process.queue_at = None;
        process.queue.wake(instant);
        let mut to_look = Vec::new();
        let mut to_tell = Vec::new();
        for name in process.queue.take(500) {
            let Some(node) = process.cache.get(&name).cloned() else {
                process.memories.forget(&name);
                process.kept.forget(&name);
                process.queue.done(&name);
                continue;
            };
            match process.first_step(&node, instant) {
                Step::Look => to_look.push(node),
                Step::Announce(wait) => to_tell.push((node, wait)),
                Step::Rest(pause) => process.rest(&node, pause, instant),
                Step::Nothing => process.queue.done(&name),
            }
        }
        if !to_look.is_empty() {
            self.ask(Purpose::Group, Ask::Look, to_look);
        }
        for (node, wait) in to_tell {
            self.announce(node, wait);
        }
        self.next_work();
    }

    /// Plans to look into the queue when something is due.
    pub(super) fn next_work(&mut self) {
        let Some(process) = &mut self.process else { return };
        if let Some(due) = process.queue.next_due() {
            process.queue_by(self.time.ms(due), &mut self.agenda);
        }
    }

    pub(super) fn announce(&mut self, node: Arc<Node>, wait: Wait) {
        let Some(process) = &mut self.process else { return };
        let generation = process.generation;
        process.told[1].push(self.time.now);
        let result = invariants::told_at_a_pace(&process.told[1]);
        self.judge(result);
        self.figures.count("told: waits for initialisation");
        self.queue_for_a_turn(generation, Turn::Announce(node, wait));
    }

    pub(super) fn settle(&mut self, node: &Arc<Node>, sighting: Sighting, asked: Instant) {
        let instant = self.time.instant();
        let Some(process) = &mut self.process else { return };
        match process.decide(node, &sighting) {
            Decision::Leave => process.leave(node, &sighting, instant),
            Decision::Wait(wait) => self.wait(node, wait, asked),
            Decision::Write(_) => {
                let generation = process.generation;
                let turn = Turn::Settle(Arc::clone(node), sighting, asked);
                self.queue_for_a_turn(generation, turn);
            }
        }
        self.next_work();
    }

    pub(super) fn wait(&mut self, node: &Arc<Node>, wait: Wait, asked: Instant) {
        let instant = self.time.instant();
        let Some(process) = &mut self.process else { return };
        process.memories.waits(node, wait, asked, instant);
        match process.first_step(node, instant) {
            Step::Announce(wait) => self.announce(Arc::clone(node), wait),
            _ => process.rest_as_planned(node, instant),
        }
        self.next_work();
    }

    pub(super) fn turn(&mut self, generation: Generation, turn: Turn) {
        let instant = self.time.instant();
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        match turn {
            Turn::Lifecycle(node, write) => self.write_lifecycle(generation, &node, write),
            Turn::Announce(node, wait) => {
                let change = StatusChange { known: Some(wait.known), ..StatusChange::default() };
                let patch = act::status_patch(&node, &change, Timestamp::UNIX_EPOCH);
                self.send(generation, node, Request::Status(patch), Job::Announce);
            }
            Turn::Settle(planned, sighting, asked) => {
                let node = process.cache.get(&planned.name).filter(|it| it.uid == planned.uid);
                let Some(node) = node.cloned() else {
                    process.queue.done(&planned.name);
                    return self.next_work();
                };
                match process.decide(&node, &sighting) {
                    Decision::Leave => process.leave(&node, &sighting, instant),
                    Decision::Wait(wait) => self.wait(&node, wait, asked),
                    Decision::Write(changes) if !changes.status.is_empty() => {
                        let patch =
                            act::status_patch(&node, &changes.status, Timestamp::UNIX_EPOCH);
                        self.send(generation, node, Request::Status(patch), Job::Status(changes));
                    }
                    Decision::Write(changes) => {
                        let version = node.version.clone();
                        self.write_main(generation, node, &version, changes);
                    }
                }
                self.next_work();
            }
        }
    }

    pub(super) fn write_main(
        &mut self,
        generation: Generation,
        node: Arc<Node>,
        latest: &Version,
        changes: Changes,
    ) {
        if changes.main.is_empty() {
            return self.written(&node, changes, latest.clone());
        }
        let patch = act::main_patch(&node, latest, &changes.main);
        self.send(generation, node, Request::Main(patch), Job::Main(changes));
    }

    pub(super) fn written(&mut self, node: &Arc<Node>, changes: Changes, version: Version) {
        let Some(process) = &mut self.process else { return };
        if changes.initializes() {
            self.figures.count("node initialised");
        }
        process.memories.written(node, changes.notes, version);
        if let Some(now) = process.cache.get(&node.name) {
            process.memories.seen(now);
        }
        process.queue.done(&node.name);
    }

    pub(super) fn not_written(&mut self, node: &Arc<Node>, code: u16) {
        let (now, instant) = (self.time.now, self.time.instant());
        let Some(process) = &mut self.process else { return };
        if code == 404 {
            return process.queue.done(&node.name);
        }
        process.record(&node.uid).failed = now;
        let (_, pause) = process.memories.not_written(node);
        process.rest(node, pause, instant);
    }
}

impl Process {
    pub(super) fn first_step(&mut self, node: &Node, now: Instant) -> Step {
        if node.deleting || matches!(belongs(node), Belongs::Foreign(_)) {
            self.memories.forget(&node.name);
            return Step::Nothing;
        }
        self.memories.first_step(node, now)
    }

    pub(super) fn decide(&self, node: &Node, sighting: &Sighting) -> Decision {
        let knowledge = Knowledge {
            belongs: &belongs(node),
            observation: &sighting.observation,
            own_label_prefixes: &[],
            replaced: sighting.replaces.is_some(),
            announced: self.memories.is_announced(node),
            routed: false,
        };
        decide(node, knowledge)
    }

    pub(super) fn leave(&mut self, node: &Node, sighting: &Sighting, now: Instant) {
        if let Observation::Unknown(_) = *sighting.observation {
            let pause = DOUBT_PAUSE.min(REFRESH);
            self.queue.want(node.name.clone(), Urgency::Refresh, Some(now + pause));
        } else {
            self.memories.content(node);
        }
        self.queue.done(&node.name);
    }

    pub(super) fn rest(&mut self, node: &Node, pause: Duration, now: Instant) {
        self.queue.want(node.name.clone(), urgency(node), Some(now + pause));
        self.queue.done(&node.name);
    }

    pub(super) fn rest_as_planned(&mut self, node: &Node, now: Instant) {
        match self.first_step(node, now) {
            Step::Rest(pause) => self.rest(node, pause, now),
            Step::Look | Step::Announce(_) => self.rest(node, Duration::ZERO, now),
            Step::Nothing => self.queue.done(&node.name),
        }
    }
}
