//! One watch on one kind of object, and the cache that all controllers share.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::node::Version;
use crate::cloud::Uid;
use crate::report::Chain;

/// Objects in one answer of the opening list.
///
/// An answer is held whole while it is parsed: 100 nodes of 20 kB are 2 MB, at any size of cluster.
const PAGE_SIZE: u32 = 100;

/// The pause after a first failure, doubled with each further one up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause, to which as much again is added by chance. kube's own default goes to 30 s,
/// which is how long new nodes would wait once an API server is back; one request in this time, from
/// one process, hurts none.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause where the API server denies the right to look. That is not put right by itself.
const LONGEST_PAUSE_WHEN_DENIED: Duration = Duration::from_secs(30);

/// Denials in a row that may be the API server's own start: its rules are not in yet.
const EARLY_DENIALS: u32 = 4;

/// A kind of object as we keep it: trimmed to what controllers read.
pub trait Cached: Send + Sync + Sized + 'static {
    /// What it is found by.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// The object as it comes over the wire.
    type Wire: kube::Resource<DynamicType = ()>
        + Clone
        + fmt::Debug
        + DeserializeOwned
        + Send
        + 'static;

    /// What it is found by.
    fn key(&self) -> Self::Key;

    /// What the object on the wire would be found by, were it kept.
    fn key_of(wire: &Self::Wire) -> Self::Key;

    /// `metadata.uid`.
    fn uid(&self) -> &Uid;

    /// `metadata.resourceVersion`.
    fn version(&self) -> &Version;
}

/// What happened to an object.
#[derive(Debug)]
pub enum Change<T> {
    /// It is new or different. Where the watch was interrupted, `old` may be an earlier object of
    /// the same name, with another UID.
    Applied {
        /// As it was.
        old: Option<Arc<T>>,
        /// As it is.
        new: Arc<T>,
    },
    /// It is gone, or of no interest any more. This is how it was last kept.
    Deleted(Arc<T>),
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { old, new } => {
                Self::Applied { old: old.as_ref().map(Arc::clone), new: Arc::clone(new) }
            }
            Self::Deleted(old) => Self::Deleted(Arc::clone(old)),
        }
    }
}

type Handler<T> = Box<dyn Fn(&Change<T>) + Send + Sync>;

type Trim<T> = Box<dyn Fn(<T as Cached>::Wire) -> Option<T> + Send + Sync>;

/// All objects of a kind that are of interest, as last seen.
pub struct Cache<T: Cached> {
    known: RwLock<HashMap<T::Key, Arc<T>>>,
    listed: watch::Sender<bool>,
    handlers: RwLock<Vec<Handler<T>>>,
    trim: Trim<T>,
}

impl<T: Cached> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("kind", &<T::Wire as kube::Resource>::kind(&()))
            .field("known", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T: Cached> Cache<T> {
    /// An empty cache that keeps what this makes of each object. `None`: of no interest. Where it
    /// was of interest before, it is told as deleted.
    pub fn trimming(trim: impl Fn(T::Wire) -> Option<T> + Send + Sync + 'static) -> Self {
        Self {
            known: RwLock::default(),
            listed: watch::Sender::new(false),
            handlers: RwLock::default(),
            trim: Box::new(trim),
        }
    }

    /// Calls this for every change, in order, also while the first list comes in. It must not
    /// block: it puts names into queues.
    pub fn on_change(&self, handler: impl Fn(&Change<T>) + Send + Sync + 'static) {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        handlers.push(Box::new(handler));
    }

    /// The object of this name.
    pub fn get(&self, key: &T::Key) -> Option<Arc<T>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<T::Key> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// All objects, in no order.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
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

    /// Whether the first list is in: an object that is told of later has just been made.
    pub fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Says that the first list is in, where a test feeds the cache by hand.
    #[cfg(test)]
    pub(crate) fn say_listed(&self) {
        self.listed.send_replace(true);
    }

    /// Puts an object into the cache, as the watch does.
    pub fn apply(&self, object: T) {
        let new = Arc::new(object);
        let old = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.insert(new.key(), Arc::clone(&new))
        };
        self.tell(&Change::Applied { old, new });
    }

    /// Takes an object out of the cache, as the watch does.
    pub fn delete(&self, key: &T::Key) {
        let old = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.remove(key)
        };
        if let Some(old) = old {
            self.tell(&Change::Deleted(old));
        }
    }

    fn tell(&self, change: &Change<T>) {
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
        let events = watcher(Api::<T::Wire>::all(client), config)
            .backoff(watcher::ExponentialBackoff::from(pauses));
        pin_mut!(events);
        let kind = <T::Wire as kube::Resource>::plural(&());
        let mut seen = HashSet::new();
        let mut denials = 0;
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    // A list begins before it is denied.
                    if !matches!(event, watcher::Event::Init) {
                        denials = 0;
                    }
                    self.take(event, &mut seen);
                }
                Some(Err(err)) => {
                    denials = if is_denied(&err) { denials + 1 } else { 0 };
                    // A right that is lacking is the same at each try.
                    if denials > 1 {
                        debug!(error = %Chain(&err), "{kind} cannot be watched");
                    } else {
                        warn!(error = %Chain(&err), "{kind} cannot be watched");
                    }
                    // Others are watched meanwhile.
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(pause_after(denials)) => {}
                    }
                }
                None => return,
            }
        }
    }

    /// Takes one event. During a list, `seen` collects who is in it; what is not in it is gone.
    pub(crate) fn take(&self, event: watcher::Event<T::Wire>, seen: &mut HashSet<T::Key>) {
        match event {
            watcher::Event::Init => seen.clear(),
            watcher::Event::InitApply(wire) => {
                // What is of no interest is gone once the list is in, as what is not in it.
                let Some(object) = (self.trim)(wire) else { return };
                let key = object.key();
                // A relist of what we have costs nothing and wakes nobody.
                let is_same = |known: Arc<T>| {
                    known.uid() == object.uid() && known.version() == object.version()
                };
                if !self.get(&key).is_some_and(is_same) {
                    self.apply(object);
                }
                seen.insert(key);
            }
            watcher::Event::InitDone => {
                let gone = self.names().into_iter().filter(|name| !seen.contains(name));
                gone.for_each(|name| self.delete(&name));
                *seen = HashSet::new();
                let kind = <T::Wire as kube::Resource>::plural(&());
                debug!(kept = self.len(), "{kind} listed");
                self.listed.send_replace(true);
            }
            watcher::Event::Apply(wire) => {
                let key = T::key_of(&wire);
                match (self.trim)(wire) {
                    Some(object) => self.apply(object),
                    None => self.delete(&key),
                }
            }
            watcher::Event::Delete(wire) => self.delete(&T::key_of(&wire)),
        }
    }
}

/// Whether we have no right to look.
fn is_denied(err: &watcher::Error) -> bool {
    match err {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code == 403,
        _ => false,
    }
}

/// What is added to the pause of the watch after so many denials in a row.
fn pause_after(denials: u32) -> Duration {
    match denials.checked_sub(EARLY_DENIALS) {
        None => Duration::ZERO,
        Some(more) => {
            LONGEST_PAUSE.saturating_mul(2_u32.saturating_pow(more)).min(LONGEST_PAUSE_WHEN_DENIED)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::cluster::node::{Node, WireNode};

    fn wire(name: &str, version: u32) -> WireNode {
        let meta = json!({"name": name, "uid": format!("{name}-uid"), "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": meta})).unwrap()
    }

    type Log = Arc<Mutex<Vec<String>>>;

    /// A cache to which a Node with an odd version is of no interest, where `picky`.
    fn cache(picky: bool) -> (Cache<Node>, Log) {
        let told = Log::default();
        let nodes = Cache::trimming(move |wire: WireNode| {
            let node = wire.trim(|_| false);
            let is_odd = node.version.as_str().ends_with(['1', '3', '5', '7', '9']);
            (!picky || !is_odd).then_some(node)
        });
        let log = Arc::clone(&told);
        nodes.on_change(move |change: &Change<Node>| {
            log.lock().unwrap().push(match change {
                Change::Applied { old: None, new } => format!("+{}", new.name),
                Change::Applied { old: Some(_), new } => format!("~{}", new.name),
                Change::Deleted(old) => format!("-{}", old.name),
            });
        });
        (nodes, told)
    }

    fn list(nodes: &Cache<Node>, told: &Log, versions: &[(&str, u32)]) -> Vec<String> {
        let mut seen = HashSet::new();
        nodes.take(watcher::Event::Init, &mut seen);
        for (name, version) in versions {
            nodes.take(watcher::Event::InitApply(wire(name, *version)), &mut seen);
        }
        nodes.take(watcher::Event::InitDone, &mut seen);
        std::mem::take(&mut *told.lock().unwrap())
    }

    #[test]
    fn a_right_that_is_missing_is_asked_for_ever_more_slowly() {
        let pauses: Vec<_> = (0..10).map(|denials| pause_after(denials).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 2, 4, 8, 16, 30, 30]);
        let denied = |code| {
            let status = kube::core::Status { code, ..kube::core::Status::default() };
            is_denied(&watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status))))
        };
        assert!(denied(403) && !denied(401) && !denied(503));
    }

    #[test]
    fn a_relist_tells_only_what_differs_and_finds_what_is_gone() {
        let (nodes, told) = cache(false);
        assert!(!nodes.is_listed());
        assert_eq!(list(&nodes, &told, &[("a", 1), ("b", 1), ("c", 1)]), ["+a", "+b", "+c"]);
        assert!(nodes.is_listed());
        assert_eq!(list(&nodes, &told, &[("a", 1), ("b", 2)]), ["~b", "-c"]);
        assert_eq!(nodes.all().len(), 2);
    }

    #[test]
    fn what_is_of_no_interest_is_not_kept_and_is_gone_where_it_was_kept() {
        let (nodes, told) = cache(true);
        assert_eq!(list(&nodes, &told, &[("a", 1), ("b", 2), ("c", 2)]), ["+b", "+c"]);
        assert_eq!(list(&nodes, &told, &[("b", 3), ("c", 2)]), ["-b"]);
        let watch = |event| {
            nodes.take(event, &mut HashSet::new());
            std::mem::take(&mut *told.lock().unwrap())
        };
        assert_eq!(watch(watcher::Event::Apply(wire("c", 5))), ["-c"]);
        assert!(watch(watcher::Event::Apply(wire("c", 7))).is_empty());
        assert_eq!(watch(watcher::Event::Apply(wire("c", 8))), ["+c"]);
        assert_eq!(watch(watcher::Event::Delete(wire("c", 9))), ["-c"]);
        assert!(watch(watcher::Event::Delete(wire("c", 9))).is_empty());
    }
}
