//! Everything that outlives the process: the cloud, the cluster, chance, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::time::Instant;

use super::laws::Verdict;
use super::pieces::{Form, Part, Piece, Pieces};
use super::setup::{Outage, Setup};
use crate::chance::Figures;
use crate::chance::Rng;
use crate::cloud::{NodeName, Uid};

/// Milliseconds since the schedule began.
pub(super) type Ms = u64;

/// A Service as the API has it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each set on its own, by users and by us")]
pub(super) struct Service {
    pub(super) uid: Uid,
    pub(super) ports: BTreeSet<u16>,
    pub(super) has_finalizer: bool,
    pub(super) is_deleting: bool,
    /// Its type is `LoadBalancer`.
    pub(super) is_balancer: bool,
    pub(super) is_unreadable: bool,
    pub(super) has_address: bool,
}

impl Service {
    /// What its controller has to want for it.
    pub(super) fn form(&self) -> Form {
        if self.is_deleting || !self.is_balancer {
            Form::Absent
        } else if self.is_unreadable {
            Form::Keep
        } else {
            Form::Present(self.ports.clone())
        }
    }
}

/// What the cloud says of a node's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Runs,
    Unknown,
    Gone,
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

    /// Services by name.
    pub(super) services: BTreeMap<String, Service>,
    pub(super) nodes: BTreeMap<NodeName, Machine>,
    pub(super) uids: u32,
    /// A Service whose ports are changed back next, and to what.
    pub(super) taken_back: Option<(String, BTreeSet<u16>)>,
    /// Names that a Service ever had.
    pub(super) names: BTreeSet<String>,

    pub(super) pieces: Pieces,
    /// What others have made.
    pub(super) foreign: BTreeSet<Piece>,
    /// What others have taken away.
    pub(super) harmed: BTreeSet<Piece>,
    /// How the cloud was before each of the last changes.
    pub(super) past: Vec<(Ms, Pieces)>,
    /// Everything fails.
    pub(super) outage: Option<Outage>,
    pub(super) requests: u64,
    /// Changes that took effect.
    pub(super) effects: u64,
    /// How often each part was looked at.
    pub(super) looks: BTreeMap<Part, u64>,

    /// What each part was last looked at for.
    pub(super) worlds: BTreeMap<Part, BTreeMap<Uid, Form>>,
    /// What was handed to the engine for each object, and when.
    pub(super) handed: BTreeMap<Uid, Vec<(Ms, Form)>>,
    /// Which nodes were not gone then.
    pub(super) members: BTreeMap<Part, BTreeSet<NodeName>>,
}

impl State {
    pub(super) fn now(&self) -> Ms {
        u64::try_from(self.began.elapsed().as_millis()).expect("not that long")
    }

    pub(super) fn is_calm(&self) -> bool {
        self.now() >= self.setup.calm
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(lines) = &mut self.trace {
            lines.push(format!("{:>5}.{:03}  {}", now / 1000, now % 1000, what()));
        }
    }

    /// Takes the verdict of a law: a broken one ends the schedule.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Err(how) = verdict {
            self.say(|| format!("BROKEN: {how}"));
            self.broken.get_or_insert(how);
        }
    }

    pub(super) fn owner(&self, uid: &Uid) -> Option<&Service> {
        self.services.values().find(|service| service.uid == *uid)
    }
}

/// Handed to everybody.
#[derive(Clone, Debug)]
pub(super) struct Sim(Arc<Mutex<State>>);

impl Sim {
    pub(super) fn new(rng: Rng, setup: Setup, traced: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            setup,
            rng,
            figures: Figures::default(),
            trace: traced.then(Vec::new),
            broken: None,
            began: Instant::now(),
            services: BTreeMap::new(),
            nodes: BTreeMap::new(),
            uids: 0,
            taken_back: None,
            names: BTreeSet::new(),
            pieces: Pieces::new(),
            foreign: BTreeSet::new(),
            harmed: BTreeSet::new(),
            past: Vec::new(),
            outage: None,
            requests: 0,
            effects: 0,
            looks: BTreeMap::new(),
            worlds: BTreeMap::new(),
            handed: BTreeMap::new(),
            members: BTreeMap::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panicked")
    }
}
