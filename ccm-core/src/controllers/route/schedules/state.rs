//! Everything that outlives the process: the cloud, the cluster, chance, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::laws::Verdict;
use super::routes::{Form, Route, Routes};
use super::setup::{Outage, Setup};
use crate::chance::Figures;
use crate::chance::Rng;
use crate::cloud::{NodeName, ProviderId, Uid, UnitName};
use crate::cluster::node::Node;

/// Milliseconds since the schedule began.
pub(super) type Ms = u64;

/// A change of a Node, as watches hear of it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) at: Ms,
    pub(super) name: NodeName,
    /// `None` where it is gone.
    pub(super) node: Option<Node>,
}

/// The last pass over a unit.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// Which process made it.
    pub(super) life: u32,
    pub(super) began: Ms,
    /// Whether the next one may come sooner than what is collected has it: it failed, or waits.
    pub(super) is_open: bool,
    pub(super) looks: u64,
    pub(super) handed: BTreeMap<Uid, Form>,
}

/// What outlives the process, and what is remembered of it for the laws.
#[derive(Debug)]
pub(super) struct State {
    pub(super) setup: Setup,
    pub(super) rng: Rng,
    pub(super) figures: Figures,
    pub(super) trace: Option<Vec<String>>,
    pub(super) broken: Option<String>,
    began: Instant,

    /// Nodes as the API has them.
    pub(super) nodes: BTreeMap<NodeName, Node>,
    pub(super) uids: u32,
    pub(super) version: u64,
    /// Names that a Node ever had.
    pub(super) names: BTreeSet<NodeName>,
    pub(super) log: Vec<Told>,
    /// When each Node was written.
    pub(super) written: BTreeMap<Uid, Vec<Ms>>,
    /// What had to be wanted for each Node, since when.
    pub(super) forms: BTreeMap<Uid, Vec<(Ms, Form)>>,
    /// Since when all routes that a Node asks for are there and right.
    pub(super) right_since: BTreeMap<Uid, Ms>,
    /// When they last were.
    pub(super) last_right: BTreeMap<Uid, Ms>,

    pub(super) routes: Routes,
    pub(super) ids: u64,
    /// Counts changes: the table's etag, and the routes'.
    pub(super) etag: u64,
    /// Machines that are gone.
    pub(super) dead: BTreeSet<ProviderId>,
    /// Destinations of routes that others have made, changed or taken away.
    pub(super) harmed: BTreeSet<IpNet>,
    /// How the cloud was before each of the last changes.
    pub(super) past: Vec<(Ms, Routes)>,
    pub(super) outage: Option<Outage>,
    pub(super) requests: u64,
    /// Changes that took effect.
    pub(super) effects: u64,
    /// Writes to the API that were sent.
    pub(super) writes: u64,

    /// Which process runs.
    pub(super) life: u32,
    pub(super) passes: BTreeMap<UnitName, Pass>,
}

impl State {
    pub(super) fn now(&self) -> Ms {
        self.ms(Instant::now())
    }

    pub(super) fn ms(&self, at: Instant) -> Ms {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).expect("not that long")
    }

    pub(super) fn is_calm(&self) -> bool {
        self.now() >= self.setup.calm
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_some() {
            return;
        }
        let now = self.now();
        if let Some(lines) = &mut self.trace {
            lines.push(format!("{:>5}.{:03}  {}", now / 1000, now % 1000, what()));
        }
    }

    /// Counts it, and says it.
    pub(super) fn note(&mut self, what: &'static str, about: impl FnOnce() -> String) {
        self.figures.count(what);
        self.say(|| format!("{what}: {}", about()));
    }

    /// Takes the verdict of a law: a broken one ends the schedule.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Err(how) = verdict {
            self.say(|| format!("BROKEN: {how}"));
            self.broken.get_or_insert(how);
        }
    }

    /// What has to be wanted for a Node now.
    pub(super) fn form(&self, uid: &Uid) -> &Form {
        let last = self.forms.get(uid).and_then(|forms| forms.last());
        last.map_or(&Form::None, |(_, form)| form)
    }

    pub(super) fn routes_to(&self, to: IpNet) -> impl Iterator<Item = &Route> {
        self.routes.values().filter(move |route| route.to == to)
    }

    /// Whether all routes that the Node asks for are there, and right.
    pub(super) fn is_right(&self, uid: &Uid) -> bool {
        let lines = self.form(uid).lines(uid);
        !lines.is_empty()
            && lines.iter().all(|line| {
                !self.dead.contains(&line.via) && self.routes_to(line.to).any(|it| it.is(line))
            })
    }

    /// Remembers who is reached; to be called after each change of cloud or cluster.
    pub(super) fn see_who_is_right(&mut self) {
        let now = self.now();
        let uids: Vec<_> = self.nodes.values().map(|node| node.uid.clone()).collect();
        for uid in uids {
            if self.is_right(&uid) {
                self.right_since.entry(uid.clone()).or_insert(now);
                self.last_right.insert(uid, Ms::MAX);
            } else if self.right_since.remove(&uid).is_some() {
                self.last_right.insert(uid, now);
            }
        }
    }

    /// Something has happened to the cloud.
    pub(super) fn before_a_change(&mut self) {
        self.etag += 1;
        if self.setup.lag > 0 && !self.is_calm() {
            let now = self.now();
            self.past.retain(|(at, _)| at + 10_000 > now);
            self.past.push((now, self.routes.clone()));
        }
    }
}

/// Handed to everybody.
#[derive(Clone, Debug)]
pub(super) struct Sim {
    state: Arc<Mutex<State>>,
    /// Rings when a Node has changed.
    pub(super) bell: Arc<Notify>,
}

impl Sim {
    pub(super) fn new(rng: Rng, setup: Setup, traced: bool) -> Self {
        let state = State {
            setup,
            rng,
            figures: Figures::default(),
            trace: traced.then(Vec::new),
            broken: None,
            began: Instant::now(),
            nodes: BTreeMap::new(),
            uids: 0,
            version: 0,
            names: BTreeSet::new(),
            log: Vec::new(),
            written: BTreeMap::new(),
            forms: BTreeMap::new(),
            right_since: BTreeMap::new(),
            last_right: BTreeMap::new(),
            routes: Routes::new(),
            ids: 0,
            etag: 0,
            dead: BTreeSet::new(),
            harmed: BTreeSet::new(),
            past: Vec::new(),
            outage: None,
            requests: 0,
            effects: 0,
            writes: 0,
            life: 0,
            passes: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), bell: Arc::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }

    /// Judges something by all that is known.
    pub(super) fn judge(&self, law: impl FnOnce(&State) -> Verdict) {
        let mut state = self.lock();
        let verdict = law(&state);
        state.judge(verdict);
    }
}
