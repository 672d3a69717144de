//! What is remembered of all nodes, behind one lock that is never held across a wait. Pure: time
//! is handed in.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::decide::Wait;
use crate::cloud::NodeName;
use crate::cluster::node::{Node, Version};
use crate::controllers::memory::{Memory, Note};
use crate::controllers::waiting::{Next, Pace, Waiting};
use crate::telemetry::NodeMetrics;

/// What to do with a node before the cloud is asked.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Step {
    /// Ask the cloud.
    Look,
    /// Tell the node's owner why it waits.
    Announce(Wait),
    /// Nothing before this time.
    Rest(Duration),
    /// Nothing: our own last write is not in the cache yet; its arrival wakes the node.
    Nothing,
}

/// What is remembered of all nodes.
#[derive(Debug)]
pub(in crate::controllers) struct Memories {
    state: Mutex<State>,
    metrics: NodeMetrics,
    /// When a node that waits for its owner is looked at in any case.
    slow: Duration,
    /// The same in each process, so that a random schedule can be replayed.
    spread: BuildHasherDefault<DefaultHasher>,
}

#[derive(Debug)]
struct State {
    nodes: HashMap<NodeName, Memory<Wait>>,
    pace: Pace,
}

impl Memories {
    pub(in crate::controllers) fn new(metrics: NodeMetrics, slow: Duration, now: Instant) -> Self {
        let state = Mutex::new(State { nodes: HashMap::new(), pace: Pace::new(now) });
        Self { state, metrics, slow, spread: BuildHasherDefault::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers something about a node; forgets it when nothing is left.
    fn with<T>(&self, node: &Node, change: impl FnOnce(&mut Memory<Wait>, &mut Pace) -> T) -> T {
        let mut state = self.state();
        let State { nodes, pace } = &mut *state;
        let memory =
            nodes.entry(node.name.clone()).or_insert_with(|| Memory::new(node.uid.clone()));
        if memory.uid != node.uid {
            self.count(memory, -1);
            *memory = Memory::new(node.uid.clone());
        }
        let result = change(memory, pace);
        if memory.is_empty() {
            nodes.remove(&node.name);
        }
        result
    }

    fn count(&self, memory: &Memory<Wait>, change: i64) {
        if let Some(waiting) = &memory.waits {
            self.metrics.waiting(waiting.wait.known.reason, change);
        }
    }

    /// The watch showed the node. Says whether it has caught up with our own last write just now.
    pub(in crate::controllers) fn seen(&self, node: &Node) -> bool {
        let mut state = self.state();
        let Some(memory) = state.nodes.get_mut(&node.name) else { return false };
        let caught_up =
            memory.written.as_ref().is_some_and(|written| !node.version.is_older_than(written));
        if caught_up {
            memory.written = None;
        }
        if memory.is_empty() {
            state.nodes.remove(&node.name);
        }
        caught_up
    }

    /// The node changed in a way that matters: look at once, whatever was planned.
    pub(in crate::controllers) fn wake(&self, node: &Node, now: Instant) {
        if let Some(memory) = self.state().nodes.get_mut(&node.name)
            && let Some(waiting) = &mut memory.waits
        {
            waiting.wake(now);
        }
    }

    /// The node is gone, or not ours.
    pub(in crate::controllers) fn forget(&self, name: &NodeName) {
        if let Some(memory) = self.state().nodes.remove(name) {
            self.count(&memory, -1);
        }
    }

    /// What comes first for a node.
    pub(in crate::controllers) fn first_step(&self, node: &Node, now: Instant) -> Step {
        let mut state = self.state();
        let State { nodes, pace } = &mut *state;
        let Some(memory) = nodes.get_mut(&node.name) else { return Step::Look };
        if memory.uid != node.uid {
            return Step::Look;
        }
        if memory.written.as_ref().is_some_and(|written| node.version.is_older_than(written)) {
            return Step::Nothing;
        }
        let Some(waiting) = &mut memory.waits else { return Step::Look };
        match waiting.next(pace, now) {
            Next::Look => Step::Look,
            Next::Announce => Step::Announce(waiting.wait.clone()),
            Next::Rest(pause) => Step::Rest(pause),
        }
    }

    /// Whether we said on the node that it waits.
    pub(in crate::controllers) fn is_announced(&self, node: &Node) -> bool {
        let state = self.state();
        let memory = state.nodes.get(&node.name).filter(|memory| memory.uid == node.uid);
        memory.and_then(|memory| memory.waits.as_ref()).is_some_and(|w| w.announced.is_some())
    }

    /// The node has to wait; it was first asked about at `asked`.
    pub(in crate::controllers) fn waits(
        &self,
        node: &Node,
        wait: Wait,
        asked: Instant,
        now: Instant,
    ) {
        // The lowest bits of a hash, as a number in 0..1: each node has its own.
        let bits = u32::try_from(self.spread.hash_one(&node.name) & 0xffff).unwrap_or_default();
        let spread = f64::from(bits) / f64::from(0x1_0000);
        self.with(node, |memory, pace| {
            self.count(memory, -1);
            let standing = node.instance_known.as_ref().map(|known| &*known.reason);
            let waiting =
                memory.waits.get_or_insert_with(|| Waiting::new(wait.clone(), asked, standing));
            waiting.again(wait, pace, now, self.slow, spread);
            self.count(memory, 1);
        });
    }

    /// The node's owner was told.
    pub(in crate::controllers) fn told(&self, node: &Node) {
        self.with(node, |memory, _| {
            if let Some(waiting) = &mut memory.waits {
                waiting.told();
            }
        });
    }

    /// The node's owner could not be told.
    pub(in crate::controllers) fn not_told(&self, node: &Node, now: Instant) {
        self.with(node, |memory, _| {
            if let Some(waiting) = &mut memory.waits {
                waiting.not_told(now);
            }
        });
    }

    /// The node is as it should be.
    pub(in crate::controllers) fn content(&self, node: &Node) {
        if self.state().nodes.contains_key(&node.name) {
            self.with(node, |memory, _| self.settle(memory, Vec::new()));
        }
    }

    /// The node was written; the last write made this version. Gives the notes that its owner has
    /// not heard.
    pub(in crate::controllers) fn written(
        &self,
        node: &Node,
        notes: Vec<Note>,
        version: Version,
    ) -> Vec<Note> {
        self.with(node, |memory, _| {
            memory.written = Some(version);
            self.settle(memory, notes)
        })
    }

    /// The status was written, as this version: what it says of a wait is said.
    pub(in crate::controllers) fn status_written(&self, node: &Node, version: &Version) {
        self.with(node, |memory, _| {
            memory.written = Some(version.clone());
            if let Some(waiting) = &mut memory.waits {
                waiting.announced = None;
            }
        });
    }

    fn settle(&self, memory: &mut Memory<Wait>, notes: Vec<Note>) -> Vec<Note> {
        self.count(memory, -1);
        memory.waits = None;
        memory.failures = 0;
        memory.news(notes)
    }

    /// The node could not be written: how often in a row, and how long to leave it.
    pub(in crate::controllers) fn not_written(&self, node: &Node) -> (u32, Duration) {
        self.with(node, |memory, _| {
            if let Some(waiting) = &mut memory.waits {
                waiting.unsure();
            }
            let pause = memory.pause_after_failure();
            (memory.failures, pause)
        })
    }
}
