//! The one watch on Nodes, and the cache that all controllers share.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::keys;
use super::node::{Node, WireNode};
use crate::cloud::NodeName;
use crate::report::Chain;

/// Nodes in one answer of the opening list.
///
/// An answer is held whole while it is parsed: 100 nodes of 20 kB are 2 MB, at any size of cluster.
const PAGE_SIZE: u32 = 100;

/// The pause after a first failure, doubled with each further one up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause, to which as much again is added by chance. kube's own default goes to 30 s,
/// which is how long new nodes would wait once an API server is back; one request in this time, from
/// one process, hurts none.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What happened to a Node.
#[derive(Clone, Debug)]
pub enum NodeChange {
    /// It is new or different.
    Applied {
        /// As it was.
        old: Option<Arc<Node>>,
        /// As it is.
        new: Arc<Node>,
    },
    /// It is gone. This is how it was last seen.
    Deleted(Arc<Node>),
}

type Handler = Box<dyn Fn(&NodeChange) + Send + Sync>;

/// All Nodes, as last seen.
pub struct Nodes {
    known: RwLock<HashMap<NodeName, Arc<Node>>>,
    listed: watch::Sender<bool>,
    handlers: RwLock<Vec<Handler>>,
    annotations: Vec<&'static str>,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("known", &self.len()).finish_non_exhaustive()
    }
}

impl Nodes {
    /// An empty cache that keeps these annotations of each Node, besides those that the core reads.
    pub fn new(annotations: &[&'static str]) -> Self {
        let mut annotations = annotations.to_vec();
        annotations.extend([keys::PROVIDED_NODE_IP, keys::ALLOW_DELETION]);
        Self {
            known: RwLock::default(),
            listed: watch::Sender::new(false),
            handlers: RwLock::default(),
            annotations,
        }
    }

    /// Calls this for every change, in order, also while the first list comes in. It must not
    /// block: it puts names into queues.
    pub fn on_change(&self, handler: impl Fn(&NodeChange) + Send + Sync + 'static) {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        handlers.push(Box::new(handler));
    }

    /// The Node of this name.
    pub fn get(&self, name: &NodeName) -> Option<Arc<Node>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The names of all Nodes.
    pub fn names(&self) -> Vec<NodeName> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none. An empty cache is not an empty cluster: see [`listed`](Self::listed).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the first list is in. Nothing is decided before.
    pub async fn listed(&self) {
        let mut listed = self.listed.subscribe();
        // The sender is ours, so it lives as long as we wait.
        let _ = listed.wait_for(|listed| *listed).await;
    }

    /// Whether the first list is in: a Node that is told of later has just joined.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Puts a Node into the cache, as the watch does.
    pub fn apply(&self, node: Node) {
        let new = Arc::new(node);
        let old = {
            let mut nodes = self.known.write().unwrap_or_else(PoisonError::into_inner);
            nodes.insert(new.name.clone(), Arc::clone(&new))
        };
        self.tell(&NodeChange::Applied { old, new });
    }

    /// Takes a Node out of the cache, as the watch does.
    pub fn delete(&self, name: &NodeName) {
        let old = {
            let mut nodes = self.known.write().unwrap_or_else(PoisonError::into_inner);
            nodes.remove(name)
        };
        if let Some(old) = old {
            self.tell(&NodeChange::Deleted(old));
        }
    }

    fn tell(&self, change: &NodeChange) {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        for handler in &*handlers {
            handler(change);
        }
    }

    /// Lists and watches until stopped, starting over by itself after any failure.
    pub async fn run(&self, client: Client, stop: CancellationToken) {
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .without_max_times()
            .with_jitter();
        let events = watcher(Api::<WireNode>::all(client), config)
            .backoff(watcher::ExponentialBackoff::from(pauses));
        pin_mut!(events);
        let mut seen = HashSet::new();
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => self.take(event, &mut seen),
                Some(Err(err)) => warn!(error = %Chain(&err), "nodes cannot be watched"),
                None => return,
            }
        }
    }

    /// Takes one event. During a list, `seen` collects who is in it; what is not in it is gone.
    fn take(&self, event: watcher::Event<WireNode>, seen: &mut HashSet<NodeName>) {
        match event {
            watcher::Event::Init => seen.clear(),
            watcher::Event::InitApply(wire) => {
                let node = self.trim(wire);
                seen.insert(node.name.clone());
                // A relist of what we have costs nothing and wakes nobody.
                let same =
                    |known: Arc<Node>| known.uid == node.uid && known.version == node.version;
                if !self.get(&node.name).is_some_and(same) {
                    self.apply(node);
                }
            }
            watcher::Event::InitDone => {
                let gone = self.names().into_iter().filter(|name| !seen.contains(name));
                gone.for_each(|name| self.delete(&name));
                *seen = HashSet::new();
                debug!(nodes = self.len(), "nodes listed");
                self.listed.send_replace(true);
            }
            watcher::Event::Apply(wire) => self.apply(self.trim(wire)),
            watcher::Event::Delete(wire) => self.delete(&self.trim(wire).name),
        }
    }

    fn trim(&self, wire: WireNode) -> Node {
        wire.trim(|key| self.annotations.contains(&key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    fn wire(name: &str, version: u32) -> WireNode {
        let meta = json!({"name": name, "uid": format!("{name}-uid"), "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    #[test]
    fn a_relist_tells_only_what_differs_and_finds_what_is_gone() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let nodes = Nodes::new(&[]);
        let log = Arc::clone(&told);
        nodes.on_change(move |change| {
            log.lock().unwrap().push(match change {
                NodeChange::Applied { old: None, new } => format!("+{}", new.name),
                NodeChange::Applied { old: Some(_), new } => format!("~{}", new.name),
                NodeChange::Deleted(old) => format!("-{}", old.name),
            });
        });
        let mut seen = HashSet::new();
        let list = |versions: &[(&str, u32)], seen: &mut HashSet<NodeName>| {
            nodes.take(watcher::Event::Init, seen);
            for (name, version) in versions {
                nodes.take(watcher::Event::InitApply(wire(name, *version)), seen);
            }
            nodes.take(watcher::Event::InitDone, seen);
            std::mem::take(&mut *told.lock().unwrap())
        };
        assert!(!*nodes.listed.borrow());
        assert_eq!(list(&[("a", 1), ("b", 1), ("c", 1)], &mut seen), ["+a", "+b", "+c"]);
        assert!(*nodes.listed.borrow());
        assert_eq!(list(&[("a", 1), ("b", 2)], &mut seen), ["~b", "-c"]);
    }
}
