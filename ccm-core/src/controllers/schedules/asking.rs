//! The steps of the fleet: questions to the cloud, what is kept of them, and the pauses that the
//! governor keeps.

use std::sync::Arc;
use std::time::Duration;

use super::cloud::{Call, DEADLINE, Fault};
use super::invariants;
use super::mutants::Mutant;
use super::process::{Generation, PERIOD, REFRESH};
use super::time::{Ms, s};
use super::world::{Event, World};
use crate::cloud::{Ask, CloudError, Evidence, Kind, Needs, NodeIdentity, Observation};
use crate::cluster::node::Node;
use crate::controllers::node_lifecycle::case::Fate;
use crate::fleet::Sighting;
use crate::fleet::kept::believed;

/// How old a kept answer about a new node may be, as in the node controller.
const FRESH: Duration = Duration::from_secs(10);

/// A question to the cloud that is under way.
#[derive(Debug)]
pub(super) struct Question {
    purpose: Purpose,
    ask: Ask,
    nodes: Vec<Arc<Node>>,
    /// Kept answers, where those do.
    recalled: Vec<Option<Sighting>>,
    asked: Ms,
    call: Option<Call>,
    /// What a look said, while it is asked directly about machines that seem to be others.
    looked: Option<Vec<Observation>>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Lifecycle,
    Group,
}

impl World {
    pub(super) fn ask(&mut self, purpose: Purpose, ask: Ask, nodes: Vec<Arc<Node>>) {
        let (now, instant) = (self.time.now, self.time.instant());
        let Some(process) = &mut self.process else { return };
        if let Purpose::Lifecycle = purpose {
            let mut result = Ok(());
            for node in &nodes {
                let record = process.record(&node.uid);
                record.questions.push(now);
                record.under_way += 1;
                result = result
                    .and(invariants::questions_at_a_pace(&record.questions))
                    .and(invariants::one_thing_at_a_time(record, node));
            }
            self.figures.count(if ask == Ask::Look { "look" } else { "confirm" });
            if result.is_err() {
                return self.judge(result);
            }
        }
        let Some(process) = &mut self.process else { return };
        let recall = |node: &Arc<Node>| {
            let max_age = match (purpose, ask) {
                (_, Ask::Confirm) => return None,
                (Purpose::Lifecycle, Ask::Look) => PERIOD / 2,
                (Purpose::Group, Ask::Look) if node.is_uninitialized() => FRESH,
                (Purpose::Group, Ask::Look) => REFRESH / 2,
            };
            process.kept.recall(&identity(node), instant, max_age)
        };
        let recalled: Vec<_> = nodes.iter().map(recall).collect();
        let all = recalled.iter().all(Option::is_some);
        let mut asked =
            Question { purpose, ask, nodes, recalled, asked: now, call: None, looked: None };
        // What the governor holds back is answered at once.
        let answered = if all || process.paused_until > now + s(1) {
            now + 1
        } else {
            let begin = now.max(process.paused_until);
            let mut call = self.cloud.call(ask, begin, &mut self.rng);
            call.answered = call.answered.min(now + DEADLINE);
            let answered = call.answered;
            asked.call = Some(call);
            answered
        };
        self.agenda.at(answered, Event::Answered(process.generation, Box::new(asked)));
    }

    pub(super) fn answered(&mut self, generation: Generation, asked: Question) {
        let now = self.time.now;
        if self.own(generation).is_none() {
            return;
        }
        let unanswered: Vec<_> = (0..asked.nodes.len())
            .filter(|index| asked.recalled[*index].is_none())
            .map(|index| Arc::clone(&asked.nodes[index]))
            .collect();
        let places: Vec<_> = unanswered.iter().map(|node| self.place_of(node)).collect();
        let observations = if unanswered.is_empty() {
            Vec::new()
        } else if let Some(looked) = asked.looked {
            self.believe(&unanswered, &places, looked, asked.call)
        } else {
            self.observe(&places, asked.call)
        };
        let identities: Vec<_> = unanswered.iter().map(|node| identity(node)).collect();
        let Some(process) = &mut self.process else { return };
        if asked.ask == Ask::Look
            && asked.call.is_some_and(|call| call.ask == Ask::Look)
            && !process.kept.others(&identities, &observations).is_empty()
        {
            self.figures.count("another machine seen");
            let mut call = self.cloud.call(Ask::Confirm, now, &mut self.rng);
            if call.answered > asked.asked + DEADLINE {
                call.fault = Some(Fault::Hang);
                call.answered = (asked.asked + DEADLINE).max(now + 1);
            }
            let again = Question { call: Some(call), looked: Some(observations), ..asked };
            return self.agenda.at(call.answered, Event::Answered(generation, Box::new(again)));
        }
        let (asked_at, at) = (self.time.at(asked.asked), self.time.instant());
        let mut fresh = identities
            .iter()
            .zip(observations)
            .map(|(identity, observation)| process.kept.keep(identity, observation, asked_at, at));
        let mut sightings: Vec<_> = asked
            .recalled
            .into_iter()
            .map(|recalled| recalled.or_else(|| fresh.next()).expect("as many as there are"))
            .collect();
        drop(fresh);
        if self.setup.mutant == Some(Mutant::MixedUp) {
            sightings.rotate_left(1);
        }
        for (node, sighting) in asked.nodes.iter().zip(&sightings) {
            self.trace.say(now, || {
                let (name, ask) = (&node.name, asked.ask);
                format!("{name}: {ask:?} {:?}", Said(&sighting.observation))
            });
        }
        match asked.purpose {
            Purpose::Lifecycle => {
                for (node, sighting) in asked.nodes.iter().zip(&sightings) {
                    self.saw(node, asked.ask, asked.asked, sighting);
                }
                self.wake();
            }
            Purpose::Group => {
                for (node, sighting) in asked.nodes.into_iter().zip(sightings) {
                    self.settle(&node, sighting, asked_at);
                }
                self.wake();
            }
        }
    }

    pub(super) fn observe(
        &mut self,
        places: &[Option<usize>],
        call: Option<Call>,
    ) -> Vec<Observation> {
        let now = self.time.now;
        let Some(process) = &mut self.process else { return Vec::new() };
        let answer = match call {
            Some(call) => self.cloud.answer(&call, places, &mut self.rng, &mut self.figures),
            None => Err(held_back(process.paused_until.saturating_sub(now))),
        };
        match &answer {
            Ok(_) => process.complaints = 0,
            Err(err) => {
                if let (Kind::RateLimited { retry_after }, true) = (err.kind(), call.is_some()) {
                    let own = s(1) << process.complaints.min(6);
                    process.complaints += 1;
                    let pause = retry_after.map_or(own.min(s(60)), |asked| s(asked.as_secs()));
                    process.paused_until = process.paused_until.max(now + pause);
                }
            }
        }
        let doubt = self.setup.mutant == Some(Mutant::DoubtIsAbsence);
        answer.unwrap_or_else(|err| {
            let one = |_| {
                if doubt {
                    Observation::Gone(Evidence::Absent)
                } else {
                    Observation::Unknown(err.repeat())
                }
            };
            places.iter().map(one).collect()
        })
    }

    /// A direct question about machines that seem to be others than before has been answered.
    fn believe(
        &mut self,
        nodes: &[Arc<Node>],
        places: &[Option<usize>],
        mut looked: Vec<Observation>,
        call: Option<Call>,
    ) -> Vec<Observation> {
        let identities: Vec<_> = nodes.iter().map(|node| identity(node)).collect();
        let Some(process) = &mut self.process else { return looked };
        let others = process.kept.others(&identities, &looked);
        let asked: Vec<_> = others.iter().map(|index| places[*index]).collect();
        let confirmed = self.observe(&asked, call);
        for (index, confirmed) in others.into_iter().zip(confirmed) {
            looked[index] = believed(&looked[index], confirmed);
            match &looked[index] {
                Observation::Present(_) => self.figures.count("replaced machine believed"),
                Observation::Gone(_) | Observation::Unknown(_) => {
                    self.figures.count("replaced machine doubted");
                }
            }
        }
        looked
    }

    fn saw(&mut self, node: &Arc<Node>, ask: Ask, asked: Ms, sighting: &Sighting) {
        let (now, instant) = (self.time.now, self.time.instant());
        let Some(process) = &mut self.process else { return };
        let before = process.ward.case(&node.name).map(|case| case.fate);
        let record = process.record(&node.uid);
        record.under_way -= 1;
        record.heard(ask, asked, now, sighting, &self.time);
        process.ward.saw(node, ask, sighting, instant);
        let after = process.ward.case(&node.name);
        if after.is_some_and(|case| case.contradicted.is_some()) && ask == Ask::Confirm {
            self.figures.count("contradiction");
        }
        let suspected = after.is_some_and(|case| matches!(case.fate, Fate::Suspected { .. }));
        if suspected && !matches!(before, Some(Fate::Suspected { .. })) {
            self.figures.count("suspicion");
        }
    }
}

fn identity(node: &Node) -> NodeIdentity {
    node.identity(&Needs::default())
}

fn held_back(pause: Ms) -> CloudError {
    let retry_after = Some(Duration::from_millis(pause));
    CloudError::new(Kind::RateLimited { retry_after }, "held back")
}

/// An observation in a few words.
struct Said<'a>(&'a Observation);

impl std::fmt::Debug for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Observation::Present(instance) => {
                write!(f, "{} is {:?}", instance.incarnation, instance.state)
            }
            Observation::Gone(evidence) => write!(f, "Gone({evidence:?})"),
            Observation::Unknown(err) => write!(f, "Unknown({})", err.kind().reason()),
        }
    }
}
