//! Writes on their way to the API server and back: late, refused, done without anybody hearing of
//! it. What has been sent takes effect whatever becomes of the process.

use std::sync::Arc;

use super::cluster::{Request, is_of_others, is_shutdown};
use super::invariants::{self, Deletion};
use super::process::{Generation, Job};
use super::time::{Ms, s};
use super::world::{Event, World};
use crate::cluster::node::{Node, Version};
use crate::controllers::node_lifecycle::case::Permit;
use crate::controllers::node_lifecycle::decide::Write;

/// What a write came to: the version that it made, or the code of the failure, 0 for none.
pub(super) type Reply = Result<Option<Version>, u16>;

/// A write on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) generation: Generation,
    /// The Node on which it was decided.
    pub(super) node: Arc<Node>,
    pub(super) request: Request,
    pub(super) job: Job,
    pub(super) sent: Ms,
    /// The last look and the last direct answer were records that say "terminated".
    pub(super) is_certain: bool,
}

/// How a write goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// Refused, with this code; nothing has changed.
    Refused(u16),
    /// Deletions alone are refused, by somebody's webhook.
    DeletionRefused,
    /// It takes effect, and the answer is a failure with this code.
    DoneAndFailed(u16),
    /// It takes effect, and no answer comes.
    DoneAndLost,
    /// It never arrives, and no answer comes.
    Lost,
    /// It takes its time.
    Slow,
}

impl Mishap {
    fn name(self) -> &'static str {
        match self {
            Self::Refused(_) => "write fault: refused",
            Self::DeletionRefused => "write fault: deletion refused",
            Self::DoneAndFailed(_) => "write fault: done, and a failure answered",
            Self::DoneAndLost => "write fault: done, and the answer lost",
            Self::Lost => "write fault: lost",
            Self::Slow => "write fault: slow",
        }
    }
}

/// A time in which writes go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) from: Ms,
    pub(super) to: Ms,
    pub(super) mishap: Mishap,
    /// So many writes in a hundred.
    pub(super) percent: u64,
}

/// How long an answer is waited for.
const DEADLINE: Ms = s(10);

impl World {
    /// Sends a write.
    pub(super) fn launch(&mut self, flight: Flight) {
        let now = self.time.now;
        let is_in = |trouble: &&Trouble| (trouble.from..trouble.to).contains(&now);
        let trouble = self.setup.troubles.iter().find(is_in);
        let mut mishap = trouble.filter(|it| self.rng.chance(it.percent)).map(|it| it.mishap);
        if mishap == Some(Mishap::DeletionRefused) && !matches!(flight.request, Request::Delete) {
            mishap = None;
        }
        if let Some(mishap) = mishap {
            self.figures.count(mishap.name());
        }
        self.trace.say(now, || {
            let (name, request) = (&flight.node.name, short(&flight.request));
            format!("{name}: process {} sends {request} {mishap:?}", flight.generation)
        });
        let way = match mishap {
            Some(Mishap::Slow) => self.rng.between(s(1), s(9)),
            _ if self.rng.chance(5) => self.rng.between(100, s(2)),
            _ => self.rng.between(1, 30),
        };
        self.agenda.at(now + way, Event::Arrives(Box::new((flight, mishap))));
    }

    /// A write reaches the API server.
    pub(super) fn arrives(&mut self, flight: Flight, mishap: Option<Mishap>) {
        let now = self.time.now;
        let reply = match mishap {
            Some(Mishap::Refused(code)) => Err(code),
            Some(Mishap::DeletionRefused) => Err(403),
            Some(Mishap::Lost) => Err(0),
            Some(Mishap::DoneAndFailed(_) | Mishap::DoneAndLost | Mishap::Slow) | None => {
                self.take_effect(&flight)
            }
        };
        if let Err(code) = reply {
            self.figures.count(match code {
                404 => "write answered: 404",
                409 => "write answered: 409",
                422 => "write answered: 422",
                _ => "write answered: other refusal",
            });
        }
        self.trace.say(now, || {
            let request = short(&flight.request);
            format!("{}: {request} came to {reply:?}", flight.node.name)
        });
        if self.process.as_ref().is_none_or(|it| it.generation != flight.generation) {
            self.figures.count("write of a dead process");
        }
        let (reply, back) = match (mishap, reply) {
            (Some(Mishap::DoneAndFailed(code)), Ok(_)) => (Err(code), self.rng.between(1, s(4))),
            (Some(Mishap::DoneAndLost | Mishap::Lost), _) => {
                (Err(0), (flight.sent + DEADLINE).saturating_sub(now).max(1))
            }
            (_, reply) => (reply, self.rng.between(1, 40)),
        };
        let Flight { generation, node, job, .. } = flight;
        self.agenda.at(now + back, Event::Ended(generation, Box::new((node, job, reply))));
    }

    fn take_effect(&mut self, flight: &Flight) -> Reply {
        let now = self.time.now;
        let before = self.cluster.nodes.get(&flight.node.name).cloned();
        let reply = self.cluster.write(&flight.node, &flight.request, now, self.setup.mutant);
        let Some(before) = before.filter(|_| reply.is_ok()) else { return reply };
        self.figures.count("write taken");
        self.law.wrote = now;
        let mut found = invariants::no_stranger_is_written(&before, flight);
        if let Job::Lifecycle(Write::Delete { permit, .. }) = &flight.job {
            let deletion = Deletion {
                node: &before,
                decided_on: &flight.node,
                place: before.place.map(|place| &self.cloud.places[place]),
                permit: *permit,
                sent: flight.sent,
                is_certain: flight.is_certain,
                now,
                direct_lies: self.setup.direct_lies,
            };
            found = found
                .and(invariants::no_live_node_is_deleted(&deletion))
                .and(invariants::nothing_else_is_deleted(&deletion))
                .and(invariants::a_permit_is_true(&deletion))
                .and(invariants::only_old_nodes_are_deleted(&deletion, &self.setup));
            if deletion.age() < self.setup.min_age && !self.setup.clock_jumps {
                self.figures.count("deleted: young, on two records");
            }
            if deletion.is_live() {
                self.figures.count("live node deleted within the budget, on a direct lie");
            }
            // What is held up by a finalizer is deleted once.
            if *permit == Permit::Budget && !before.node.deleting {
                let all = self.law.unannounced.entry(flight.generation).or_default();
                all.push(flight.sent);
                let started = self.law.starts[&flight.generation];
                let limit = self.setup.limit;
                found =
                    found.and(invariants::the_budget_is_kept(all, started, limit, self.law.most));
            }
        } else if let Some(after) = self.cluster.nodes.get(&flight.node.name) {
            found = found
                .and(invariants::taints_of_others_stay(&before, after))
                .and(invariants::initialised_means_complete(&before, after));
        }
        self.judge(found);
        self.changed();
        reply
    }
}

fn short(request: &Request) -> String {
    match request {
        Request::Main(operations) => {
            let operations = serde_json::to_value(operations).unwrap_or_default();
            let texts = operations.as_array().into_iter().flatten();
            let texts = texts.map(|it| {
                let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
                format!("{} {}", text("op"), text("path"))
            });
            format!("[{}]", texts.collect::<Vec<_>>().join(", "))
        }
        Request::Status(patch) => {
            let known = &patch["status"]["conditions"][0];
            format!("status: {} {}", known["status"], known["reason"])
        }
        Request::Delete => "DELETE".to_owned(),
    }
}

/// How often the shutdown taint is on a Node.
pub(super) fn shutdown_taints(taints: &[serde_json::Value]) -> usize {
    taints.iter().filter(|taint| is_shutdown(taint)).count()
}

/// The taints of others, in their order.
pub(super) fn of_others(taints: &[serde_json::Value]) -> Vec<&serde_json::Value> {
    taints.iter().filter(|taint| is_of_others(taint)).collect()
}
