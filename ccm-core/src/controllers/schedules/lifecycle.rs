//! The steps of the node lifecycle controller.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::asking::Purpose;
use super::cluster::Request;
use super::invariants;
use super::mutants::Mutant;
use super::process::{Generation, Job, Turn};
use super::wire::Reply;
use super::world::World;
use crate::cloud::{Ask, Evidence, Observation};
use crate::cluster::node::Node;
use crate::controllers::node_lifecycle;
use crate::controllers::node_lifecycle::act;
use crate::controllers::node_lifecycle::decide::{CONTRADICTORY_ANSWERS, DELETION_HELD, Write};
use crate::controllers::node_lifecycle::ward::Outcome;
use crate::fleet::Sighting;

impl World {
    pub(super) fn plan(&mut self, generation: Generation) {
        let (now, instant) = (self.time.now, self.time.instant());
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        if process.plan_at != Some(now) {
            return;
        }
        process.plan_at = None;
        let cache = &process.cache;
        let mut plan = process.ward.plan(|name| cache.get(name).cloned(), instant);
        self.figures.count("plan");
        if let Some(again) = plan.again {
            let slow = if self.rng.chance(10) { self.rng.between(0, 1500) } else { 0 };
            let at = self.time.ms(again).max(now + 50) + slow;
            process.plan_by(at, &mut self.agenda);
        }
        self.figures.add("annotation misread", plan.misread.len() as u64);
        if self.setup.mutant == Some(Mutant::ConfirmSkipped) {
            let observation = Arc::new(Observation::Gone(Evidence::Absent));
            let (asked, at, before, replaces) = (instant, instant, None, None);
            let sighting = Sighting { observation, asked, at, before, replaces };
            for node in &plan.confirms {
                process.ward.saw(node, Ask::Confirm, &sighting, instant);
            }
            process.plan_by(now + 50, &mut self.agenda);
            plan.confirms.clear();
        }
        for some in plan.looks.chunks(self.setup.batch) {
            self.ask(Purpose::Lifecycle, Ask::Look, some.to_vec());
        }
        for some in plan.confirms.chunks(self.setup.batch.min(20)) {
            self.ask(Purpose::Lifecycle, Ask::Confirm, some.to_vec());
        }
        for (node, write) in plan.writes {
            if let Write::Tell(known) = &write {
                match known.reason {
                    DELETION_HELD => self.figures.count("told: held"),
                    CONTRADICTORY_ANSWERS => self.figures.count("told: contradictory answers"),
                    _ => self.figures.count("told: other"),
                }
                let result = self.own(generation).map(|process| {
                    process.told[0].push(now);
                    invariants::told_at_a_pace(&process.told[0])
                });
                self.judge(result.unwrap_or(Ok(())));
            }
            let result = self.own(generation).map(|process| {
                let record = process.record(&node.uid);
                record.under_way += 1;
                invariants::one_thing_at_a_time(record, &node)
            });
            self.judge(result.unwrap_or(Ok(())));
            self.queue_for_a_turn(generation, Turn::Lifecycle(node, write));
        }
    }

    pub(super) fn write_lifecycle(
        &mut self,
        generation: Generation,
        planned: &Arc<Node>,
        write: Write,
    ) {
        let (now, instant) = (self.time.now, self.time.instant());
        let mutant = self.setup.mutant;
        let Some(process) = self.process.as_mut().filter(|it| it.generation == generation) else {
            return;
        };
        let node = process.cache.get(&planned.name).filter(|now| now.uid == planned.uid);
        let is_right = |node: &&Arc<Node>| process.ward.is_still_right(node, &write, instant);
        let Some(node) = node.filter(is_right).cloned() else {
            self.figures.count("write not right any more");
            process.record(&planned.uid).under_way -= 1;
            process.ward.wrote(planned, &write, Outcome::NotSent, instant);
            process.plan_by(now + 50, &mut self.agenda);
            return;
        };
        let request = match &write {
            Write::AddTaint => Request::Main(act::add_taint(&node)),
            Write::RemoveTaint(places) => Request::Main(act::remove_taint(&node, places)),
            Write::Tell(_) if mutant == Some(Mutant::Silent) => {
                process.record(&node.uid).under_way -= 1;
                process.ward.wrote(&node, &write, Outcome::Done(None), instant);
                return;
            }
            Write::Tell(known) => Request::Status(act::tell(&node, known, Timestamp::UNIX_EPOCH)),
            Write::Delete { .. } => Request::Delete,
        };
        if let Write::Delete { .. } = write {
            let result = if mutant == Some(Mutant::ConfirmSkipped) {
                // This one is for the law about live nodes.
                Ok(())
            } else {
                invariants::two_answers_before_a_deletion(process.record(&node.uid), now)
            };
            self.judge(result);
        }
        self.send(generation, node, request, Job::Lifecycle(write));
    }

    pub(super) fn wrote_lifecycle(&mut self, node: &Arc<Node>, write: &Write, reply: Reply) {
        let (now, instant) = (self.time.now, self.time.instant());
        let refused = self.setup.mutant == Some(Mutant::FailureIsRefusal);
        let Some(process) = &mut self.process else { return };
        let outcome = match reply {
            Ok(version) => Outcome::Done(version),
            Err(code) if refused && code >= 500 => Outcome::Refused,
            Err(code) => node_lifecycle::outcome(code),
        };
        if matches!(outcome, Outcome::Refused | Outcome::Unanswered) {
            process.record(&node.uid).failed = now;
        }
        process.record(&node.uid).under_way -= 1;
        process.ward.wrote(node, write, outcome, instant);
        process.plan_by(now + 50, &mut self.agenda);
    }
}
