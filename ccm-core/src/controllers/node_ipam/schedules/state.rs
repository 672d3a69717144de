//! Everything that outlives the process: the API server's Nodes, chance, and what was seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::super::NodeIpamController;
use super::laws::Verdict;
use super::setup::Setup;
use crate::chance::{Figures, Rng};
use crate::cloud::{NodeName, Uid};
use crate::cluster::node::{Node, Version};
use crate::controllers::node::decide::tests::new_node;

/// Milliseconds since the schedule began.
pub(super) type Ms = u64;

pub(super) const fn s(seconds: u64) -> Ms {
    seconds * 1000
}

/// The process that it was.
pub(super) type Generation = u64;

/// After a process began nothing stalls for so long: what its predecessor had sent it sees in time.
const NO_STALL: Ms = 1500;

/// Who wrote a node's ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    Us,
    Others,
}

/// A Node as the API has it.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) node: Node,
    /// Of its ranges.
    pub(super) author: Option<Author>,
}

impl Stored {
    pub(super) fn ranges(&self) -> Vec<IpNet> {
        super::super::ledger::readable(&self.node)
    }
}

/// What the watch shows.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    Node(Box<Node>),
    Gone(NodeName, Uid),
}

/// Where the watch of the process that runs is fed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) changes: UnboundedSender<(Ms, Shown)>,
    pub(super) last: Ms,
    pub(super) began: Ms,
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

    pub(super) nodes: BTreeMap<NodeName, Stored>,
    pub(super) uids: u64,
    version: u64,
    /// Names of nodes that are gone.
    pub(super) free_names: Vec<NodeName>,

    pub(super) feed: Option<Feed>,
    pub(super) generation: Generation,
    /// That of the process that runs.
    pub(super) controller: Weak<NodeIpamController>,
    /// When each process died.
    pub(super) deaths: BTreeMap<Generation, Ms>,
    /// When the process that runs saw that a node is about to go.
    pub(super) seen_doomed: BTreeMap<Uid, Ms>,
    /// When the process that runs saw ranges on a node.
    pub(super) seen_ranges: BTreeMap<Uid, Ms>,
    /// When each process first sent these ranges for a node.
    pub(super) sent: BTreeMap<(Generation, Uid, String), Ms>,
    /// Ranges that were given and given back.
    pub(super) returned: BTreeSet<String>,
    /// Nodes of which it was said that they have none.
    pub(super) told: BTreeSet<Uid>,
    /// When something was last written or tried to be.
    pub(super) last_try: Ms,
    /// Tries by node.
    pub(super) tries: BTreeMap<Uid, u64>,
}

/// One schedule.
#[derive(Clone, Debug)]
pub(super) struct Sim(Arc<Mutex<State>>);

impl Sim {
    pub(super) fn new(rng: Rng, setup: Setup, is_traced: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            setup,
            rng,
            figures: Figures::default(),
            trace: is_traced.then(Vec::new),
            broken: None,
            began: Instant::now(),
            nodes: BTreeMap::new(),
            uids: 0,
            version: 0,
            free_names: Vec::new(),
            feed: None,
            generation: 0,
            controller: Weak::new(),
            deaths: BTreeMap::new(),
            seen_doomed: BTreeMap::new(),
            seen_ranges: BTreeMap::new(),
            sent: BTreeMap::new(),
            returned: BTreeSet::new(),
            told: BTreeSet::new(),
            last_try: 0,
            tries: BTreeMap::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panicked with it")
    }

    /// Waits until this moment.
    pub(super) async fn until(&self, at: Ms) {
        let began = self.lock().began;
        tokio::time::sleep_until(began + Duration::from_millis(at)).await;
    }
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

    /// A Node as its kubelet makes it, not stored yet.
    pub(super) fn newborn(&mut self, name: NodeName) -> Node {
        self.uids += 1;
        // As the API has it: in whole seconds.
        let age = Duration::from_secs(self.now() / 1000);
        Node {
            name,
            uid: format!("uid-{}", self.uids).as_str().into(),
            created: SystemTime::UNIX_EPOCH + age,
            ..new_node()
        }
    }

    /// Stores a Node, and shows it.
    pub(super) fn put(&mut self, mut stored: Stored) {
        self.version += 1;
        stored.node.version = Version::new(&self.version.to_string());
        self.show(Shown::Node(Box::new(stored.node.clone())));
        self.nodes.insert(stored.node.name.clone(), stored);
    }

    /// Takes a Node away, and shows it.
    pub(super) fn remove(&mut self, name: &NodeName) {
        let Some(stored) = self.nodes.remove(name) else { return };
        self.figures.count("a node goes");
        self.say(|| format!("{name} is gone"));
        if stored.author == Some(Author::Us) {
            self.returned.extend(stored.node.pod_cidrs.iter().map(ToString::to_string));
        }
        self.free_names.push(name.clone());
        self.show(Shown::Gone(name.clone(), stored.node.uid));
    }

    fn show(&mut self, shown: Shown) {
        let now = self.now();
        let lag = self.rng.between(1, 200);
        let works_from = self.setup.watch_works_from(now);
        let Some(feed) = &mut self.feed else { return };
        let mut due = now + lag;
        if now > feed.began + NO_STALL && works_from > now {
            due = works_from;
            self.figures.count("stall of the watch");
        }
        feed.last = feed.last.max(due);
        // A process that has just died does not listen.
        let _ = feed.changes.send((feed.last, shown));
    }
}
