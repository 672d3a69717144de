//! What is remembered of each node, and who is told what the engine has to say of its routes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::claims::Claims;
use super::decide::Told;
use super::ranges::{Ranges, claimed, holder, ranges};
use crate::cloud::{Identity, Kind, Needs, NodeName, Note, ObjectId, Urgency};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::node::{Node, Version};
use crate::cluster::nodes::{NodeChange, Nodes};
use crate::controllers::wanting::repaired;
use crate::converge::{Cause, Ended, Office};
use crate::queue::WorkQueue;
use crate::telemetry::RouteMetrics;

/// What the watch and the engine feed.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) queue: WorkQueue<NodeName>,
    nodes: Weak<Nodes>,
    recorder: Recorder,
    metrics: RouteMetrics,
    needs: Needs,
    files: Mutex<HashMap<NodeName, File>>,
    claims: Mutex<Claims>,
}

/// What is remembered of a node.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Which Node bears the name now, as last seen.
    pub(super) current: Option<Arc<Identity>>,
    /// Which Nodes bore it before, of whose routes something may be left.
    pub(super) former: Vec<Arc<Identity>>,
    /// What this process said last in the condition.
    pub(super) told: Option<Told>,
    /// When.
    pub(super) told_at: Option<Instant>,
    /// What its owner heard of ranges to which there is no route, beside the condition.
    pub(super) noted: Option<String>,
    /// What it heard from the provider.
    pub(super) heard: Vec<Note>,
    /// The version that our last write made.
    pub(super) written: Option<Version>,
    /// Writes refused in a row.
    pub(super) refused: u32,
    /// Under which word it is counted.
    pub(super) counted: Option<&'static str>,
    /// It came while this process led, and was not reachable yet.
    pub(super) is_new: bool,
}

impl Desk {
    pub(super) fn new(
        nodes: &Arc<Nodes>,
        recorder: Recorder,
        metrics: RouteMetrics,
        needs: Needs,
    ) -> Self {
        Self {
            queue: WorkQueue::new(metrics.queue()),
            nodes: Arc::downgrade(nodes),
            recorder,
            metrics,
            needs,
            files: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    pub(super) fn files(&self) -> MutexGuard<'_, HashMap<NodeName, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What of a node's ranges can be had.
    pub(super) fn ranges(&self, node: &Node, cluster: &[ipnet::IpNet]) -> Ranges {
        ranges(node, cluster, &self.claims())
    }

    pub(super) fn take(&self, change: &NodeChange) {
        let (name, urgency, concerned) = match change {
            NodeChange::Applied { old, new } => {
                if old.as_ref().is_some_and(|old| !is_relevant(old, new, &self.needs)) {
                    return;
                }
                let concerned = self.claims().set(holder(new), claimed(new));
                let urgency = if old.is_none() { Urgency::Initialize } else { Urgency::Refresh };
                (&new.name, urgency, concerned)
            }
            NodeChange::Deleted(old) => {
                (&old.name, Urgency::Refresh, self.claims().remove(&old.name))
            }
        };
        self.queue.add(name.clone(), urgency);
        self.wake(concerned);
    }

    fn wake(&self, names: BTreeSet<NodeName>) {
        for name in names {
            self.queue.add(name, Urgency::Refresh);
        }
    }

    fn node(&self, id: &ObjectId) -> Option<Arc<Node>> {
        let node = self.nodes.upgrade()?.get(&name_of(id))?;
        (node.uid == id.uid).then_some(node)
    }

    pub(super) fn say(&self, node: &Node, kind: EventType, reason: &'static str, message: &str) {
        self.recorder.event(&node.involved(), kind, reason, message.to_owned());
    }
}

/// Whether a change of a node can change its routes, or what is said of them. Heartbeats cannot.
fn is_relevant(old: &Node, new: &Node, needs: &Needs) -> bool {
    !old.is_told_as(new, needs)
        || old.pod_cidrs != new.pod_cidrs
        || old.network_unavailable != new.network_unavailable
        || old.unreachable_because != new.unreachable_because
        || old.is_uninitialized() != new.is_uninitialized()
}

/// A node is known by its name, and a stray owner by its UID.
pub(super) fn name_of(id: &ObjectId) -> NodeName {
    NodeName::from(&*id.name)
}

impl Office for Desk {
    fn news(&self, id: &ObjectId) {
        self.queue.add(name_of(id), Urgency::Refresh);
    }

    fn passed(&self, about: &Ended<'_>) {
        let outcome = match about.failed {
            Some(err) if err.kind() == Kind::Stopped => return,
            Some(_) => "error",
            None if about.changes.is_empty() => "noop",
            None => "changed",
        };
        self.metrics.synced(trigger(about.cause), outcome);
        for (ids, note) in about.notes {
            for node in ids.iter().filter_map(|id| self.node(id)) {
                self.say(&node, EventType::Warning, "RouteNote", note);
            }
        }
        if about.cause != Cause::Drift {
            return;
        }
        for id in about.wanted_by.iter().filter(|id| about.settled.contains(**id)) {
            let theirs = about.changes.iter().filter(|change| change.wanted_by.contains(id));
            let lines: Vec<_> = theirs.map(|change| change.line.as_str()).collect();
            let Some(node) = self.node(id).filter(|_| !lines.is_empty()) else { continue };
            self.metrics.drifted();
            self.say(
                &node,
                EventType::Warning,
                "RouteDrifted",
                &repaired("the routes of the node", &lines),
            );
        }
    }

    fn looked(&self, cause: Cause) {
        self.metrics.synced(trigger(cause), "noop");
    }
}

/// In upstream's words.
fn trigger(cause: Cause) -> &'static str {
    match cause {
        Cause::Drift | Cause::Waited | Cause::Retry => "periodic",
        Cause::Nodes | Cause::Changed | Cause::New => "node_change",
    }
}
