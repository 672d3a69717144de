//! Everything together: what is due when, and the loop that lets it happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::actors::Act;
use super::asking::Question;
use super::cloud::Cloud;
use super::cluster::Cluster;
use super::invariants::{Law, Verdict, who_waits_says_why};
use super::mutants::Mutant;
use super::process::{Generation, Job, Process, Turn};
use super::setup::Setup;
use super::time::{Ms, Time, s};
use super::wire::{Flight, Mishap, Reply};
use crate::chance::End;
use crate::chance::Figures;
use crate::chance::Rng;
use crate::cluster::node::Node;

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// The first list is in.
    Listed(Generation),
    /// The watch shows the log up to here.
    Watched(Generation, usize),
    /// The lifecycle controller plans.
    Plan(Generation),
    /// The node controller takes what is due.
    Work(Generation),
    /// The node controller wants to see every node.
    Refresh(Generation),
    /// The cloud has answered.
    Answered(Generation, Box<Question>),
    /// It is a write's turn.
    Turn(Generation, Box<Turn>),
    /// A write reaches the API server.
    Arrives(Box<(Flight, Option<Mishap>)>),
    /// Its answer reaches the process, or none does.
    Ended(Generation, Box<(Arc<Node>, Job, Reply)>),
    /// The world moves.
    Act(Act),
}

/// What is due when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
}

#[derive(Debug)]
struct Due {
    at: Ms,
    number: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Agenda {
    pub(super) fn at(&mut self, at: Ms, event: Event) {
        self.number += 1;
        self.due.push(Reverse(Due { at, number: self.number, event }));
    }
}

/// What happened, in words, where somebody wants to read it.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn say(&mut self, now: Ms, what: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>4}.{:03}  {}", now / 1000, now % 1000, what()));
        }
    }
}

/// Everything was found as it should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    since: Ms,
    /// But for nodes that the budget holds: that goes on when it refills.
    held: bool,
}

/// One schedule.
#[derive(Debug)]
pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) rng: Rng,
    pub(super) time: Time,
    pub(super) agenda: Agenda,
    pub(super) cloud: Cloud,
    pub(super) cluster: Cluster,
    /// Which incarnation's kubelet runs in each place.
    pub(super) kubelets: Vec<Option<u32>>,
    pub(super) process: Option<Process>,
    pub(super) generation: Generation,
    pub(super) law: Law,
    pub(super) figures: Figures,
    pub(super) trace: Trace,
    /// When everything was found as it should be.
    pub(super) settled: Option<Settled>,
    pub(super) over: bool,
    broken: Option<String>,
}

/// Runs the schedule of this seed.
pub(super) fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> End {
    let mut rng = Rng::new(seed);
    let setup = Setup::new(&mut rng, mutant);
    let mut world = World {
        cloud: Cloud::new(setup.places, setup.windows.clone()),
        kubelets: vec![None; setup.places],
        setup,
        rng,
        time: Time::new(),
        agenda: Agenda::default(),
        cluster: Cluster::default(),
        process: None,
        generation: 0,
        law: Law::default(),
        figures: Figures::default(),
        trace: Trace { lines: traced.then(Vec::new) },
        settled: None,
        over: false,
        broken: None,
    };
    world.trace.say(0, || format!("{:#?}", world.setup));
    world.populate();
    let mut steps = 0;
    while world.broken.is_none()
        && !world.over
        && let Some(Reverse(due)) = world.agenda.due.pop()
    {
        world.time.now = due.at;
        world.happen(due.event);
        steps += 1;
    }
    world.figures.add("steps", steps);
    world.figures.add("simulated seconds", world.time.now / 1000);
    let World { figures, broken, trace, .. } = world;
    End { figures, broken, trace: trace.lines.unwrap_or_default() }
}

impl World {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Listed(generation) => self.listed(generation),
            Event::Watched(generation, upto) => self.watched(generation, upto),
            Event::Plan(generation) => self.plan(generation),
            Event::Work(generation) => self.work(generation),
            Event::Refresh(generation) => self.refresh(generation),
            Event::Answered(generation, asked) => self.answered(generation, *asked),
            Event::Turn(generation, turn) => self.turn(generation, *turn),
            Event::Arrives(arrives) => self.arrives(arrives.0, arrives.1),
            Event::Ended(generation, ended) => {
                let (node, job, reply) = *ended;
                self.ended(generation, &node, job, reply);
            }
            Event::Act(act) => self.act(act),
        }
    }

    /// Takes the verdict of a law: a broken one ends the schedule.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Err(how) = verdict {
            self.trace.say(self.time.now, || format!("BROKEN: {how}"));
            self.broken.get_or_insert(how);
        }
    }

    /// Whoever waits for too long says why.
    pub(super) fn check(&mut self) {
        let now = self.time.now;
        let Some(works_since) = self.setup.works_since(now) else { return };
        let Some(process) = &mut self.process else { return };
        let Some(listed) = process.listed else { return };
        let mut verdict = Ok(());
        for (name, stored) in &self.cluster.nodes {
            let shown = process.cache.get(name);
            let is_shown = shown.is_some_and(|shown| shown.version == stored.node.version);
            let Some(record) = process.records.get_mut(&stored.node.uid).filter(|_| is_shown)
            else {
                continue;
            };
            let since = works_since.max(listed);
            verdict = verdict.and(who_waits_says_why(stored, record, since, &self.setup, now));
        }
        self.judge(verdict);
        if now < self.setup.calm {
            return;
        }
        match (self.unsettled(), self.settled) {
            (Some(what), None) => {
                if now > self.setup.calm + s(900) {
                    self.judge(Err(format!("everything_settles: {what}")));
                }
            }
            (Some(_), Some(Settled { held: true, .. })) => self.settled = None,
            (Some(what), Some(_)) => self.judge(Err(format!("what_is_settled_stays: {what}"))),
            (None, None) => {
                self.settled = Some(Settled { since: now, held: self.is_any_held() });
            }
            (None, Some(settled)) => {
                if self.law.wrote > settled.since && !settled.held {
                    self.judge(Err("what_is_settled_stays: something is written".to_owned()));
                }
                self.over = now > settled.since + s(12);
            }
        }
    }
}
