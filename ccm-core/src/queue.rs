//! The work queue of a controller: what is to be looked at, when, and in which order.
//!
//! A key that is added while it is worked on comes again afterwards; it is never handed out twice
//! at once; duplicates collapse. Keys are taken in groups, so that one question to the cloud can be
//! about many of them.

mod counted;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::counted::Counted;
use crate::cloud::Urgency;
use crate::telemetry::QueueMetrics;

/// A queue of keys with urgency and delay.
#[derive(Debug)]
pub struct WorkQueue<K> {
    state: Arc<Mutex<Counted<K>>>,
    changed: Notify,
}

/// What is wanted, and when. Pure: time is handed in.
#[derive(Debug)]
pub(crate) struct State<K> {
    entries: HashMap<K, Entry>,
    ready: BTreeSet<(Urgency, u64, K)>,
    later: BTreeSet<(Instant, u64, K)>,
    next_number: u64,
}

/// A key is in the map while it waits or is worked on.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    running: bool,
    wanted: Option<Wanted>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    urgency: Urgency,
    due: Option<Instant>,
    number: u64,
}

impl<K: Clone + Eq + Ord + Hash> Default for State<K> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            next_number: 0,
        }
    }
}

impl<K: Clone + Eq + Ord + Hash> WorkQueue<K> {
    /// An empty queue, which is counted here.
    pub fn new(metrics: &QueueMetrics) -> Self
    where
        K: std::fmt::Debug + Send + 'static,
    {
        let state = Arc::new(Mutex::new(Counted::new(metrics.clone())));
        let backlog = Arc::downgrade(&state);
        metrics.watch(backlog);
        Self { state, changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, Counted<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants the key to be looked at now.
    pub fn add(&self, key: K, urgency: Urgency) {
        self.state().want(key, urgency, Instant::now(), None);
        self.changed.notify_one();
    }

    /// Wants the key to be looked at after this time, if it is not wanted sooner anyway.
    pub fn add_after(&self, key: K, urgency: Urgency, delay: Duration) {
        self.state().want(key, urgency, Instant::now(), Some(delay));
        self.changed.notify_one();
    }

    /// Waits until something is due, and takes nothing. One caller at a time.
    pub async fn due(&self) {
        loop {
            let next = {
                let mut state = self.state();
                state.wake(Instant::now());
                if state.depth() > 0 {
                    return;
                }
                state.next_due()
            };
            self.changed_by(next).await;
        }
    }

    /// Waits until something is due and takes up to `most` keys, the most urgent first. Each is
    /// worked on until [`done`](Self::done) is called. One caller at a time.
    pub async fn take(&self, most: usize) -> Vec<K> {
        loop {
            let next = {
                let mut state = self.state();
                let now = Instant::now();
                state.wake(now);
                let keys = state.take(most, now);
                if !keys.is_empty() {
                    return keys;
                }
                state.next_due()
            };
            self.changed_by(next).await;
        }
    }

    /// Waits until the queue has changed, or until then.
    async fn changed_by(&self, due: Option<Instant>) {
        match due {
            None => self.changed.notified().await,
            Some(due) => tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(due) => {}
            },
        }
    }

    /// The key is not worked on any more.
    pub fn done(&self, key: &K) {
        self.state().done(key, Instant::now());
        self.changed.notify_one();
    }

    /// The key is of no interest any more: nobody waits for it. While it is worked on it comes again
    /// only if it is wanted anew.
    pub fn forget(&self, key: &K) {
        self.state().forget(key);
    }

    /// How many keys wait, due or not.
    pub fn len(&self) -> usize {
        self.state().len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Ord + Hash> State<K> {
    /// Whether the key is due that was not before.
    pub(crate) fn want(&mut self, key: K, urgency: Urgency, due: Option<Instant>) -> bool {
        let number = self.next_number;
        self.next_number += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        let (running, before) = (entry.running, entry.wanted);
        let wanted = match before {
            None => Wanted { urgency, due, number },
            // Whoever wants it sooner, or more urgently, has it so; its place in the queue stays.
            Some(before) => Wanted {
                urgency: urgency.min(before.urgency),
                due: before.due.zip(due).map(|(a, b)| a.min(b)),
                number: before.number,
            },
        };
        entry.wanted = Some(wanted);
        let was_due = before.is_some_and(|before| before.due.is_none());
        if !running {
            if let Some(before) = before {
                self.unlist(&key, before);
            }
            self.list(key, wanted);
        }
        wanted.due.is_none() && !was_due
    }

    pub(crate) fn forget(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (wanted, running) = (entry.wanted.take(), entry.running);
        if running {
            return;
        }
        self.entries.remove(key);
        if let Some(wanted) = wanted {
            self.unlist(key, wanted);
        }
    }

    fn list(&mut self, key: K, wanted: Wanted) {
        match wanted.due {
            None => self.ready.insert((wanted.urgency, wanted.number, key)),
            Some(due) => self.later.insert((due, wanted.number, key)),
        };
    }

    fn unlist(&mut self, key: &K, wanted: Wanted) {
        match wanted.due {
            None => self.ready.remove(&(wanted.urgency, wanted.number, key.clone())),
            Some(due) => self.later.remove(&(due, wanted.number, key.clone())),
        };
    }

    /// When the first of those that are not due yet will be.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _, _)| *due)
    }

    /// Moves what has become due among what is ready, and says what.
    pub(crate) fn wake(&mut self, now: Instant) -> Vec<K> {
        let mut woken = Vec::new();
        while self.later.first().is_some_and(|(due, _, _)| *due <= now) {
            let Some((_, number, key)) = self.later.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let Some(wanted) = &mut entry.wanted else { continue };
            wanted.due = None;
            self.ready.insert((wanted.urgency, number, key.clone()));
            woken.push(key);
        }
        woken
    }

    pub(crate) fn take(&mut self, most: usize) -> Vec<K> {
        let mut keys = Vec::new();
        while keys.len() < most
            && let Some((_, _, key)) = self.ready.pop_first()
        {
            self.entries.insert(key.clone(), Entry { running: true, wanted: None });
            keys.push(key);
        }
        keys
    }

    pub(crate) fn done(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.running = false;
        match entry.wanted {
            Some(wanted) => self.list(key.clone(), wanted),
            None => drop(self.entries.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    async fn taken(queue: &WorkQueue<&'static str>, most: usize) -> Vec<&'static str> {
        tokio::time::timeout(Duration::from_millis(1), queue.take(most)).await.unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn the_urgent_come_first_in_their_order() {
        let queue = WorkQueue::new(&QueueMetrics::unread());
        queue.add("drift", Urgency::Drift);
        queue.add("b", Urgency::Initialize);
        queue.add("a", Urgency::Initialize);
        queue.add("b", Urgency::Drift);
        assert_eq!(taken(&queue, 2).await, ["b", "a"]);
        assert_eq!(taken(&queue, 2).await, ["drift"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_worked_on_twice_at_once() {
        let queue = WorkQueue::new(&QueueMetrics::unread());
        queue.add("a", Urgency::Refresh);
        assert_eq!(taken(&queue, 9).await, ["a"]);
        queue.add("a", Urgency::Refresh);
        assert!(taken(&queue, 9).await.is_empty());
        queue.done(&"a");
        assert_eq!(taken(&queue, 9).await, ["a"]);
        queue.done(&"a");
        assert!(taken(&queue, 9).await.is_empty() && queue.is_empty());
        assert!(queue.state().is_at_rest());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_kept_unless_the_key_is_wanted_sooner() {
        let queue = WorkQueue::new(&QueueMetrics::unread());
        queue.add_after("later", Urgency::Refresh, SOON);
        queue.add_after("sooner", Urgency::Refresh, SOON);
        queue.add("sooner", Urgency::Refresh);
        assert_eq!(taken(&queue, 9).await, ["sooner"]);
        tokio::time::sleep(SOON).await;
        assert_eq!(taken(&queue, 9).await, ["later"]);

        // Delayed while it is worked on: the delay counts from when it was asked for.
        queue.add_after("later", Urgency::Refresh, SOON);
        queue.done(&"later");
        assert!(taken(&queue, 9).await.is_empty());
        assert_eq!(queue.take(9).await, ["later"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_waited_for_and_left_there() {
        let queue = WorkQueue::new(&QueueMetrics::unread());
        queue.add_after("a", Urgency::Refresh, SOON);
        let start = Instant::now();
        queue.due().await;
        assert_eq!(start.elapsed(), SOON);
        queue.due().await;
        assert_eq!(taken(&queue, 9).await, ["a"]);
        queue.add("a", Urgency::Refresh);
        // It is worked on.
        assert!(tokio::time::timeout(SOON, queue.due()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_leaves_nothing_behind() {
        let queue = WorkQueue::new(&QueueMetrics::unread());
        queue.add_after("later", Urgency::Drift, SOON);
        queue.add("now", Urgency::Drift);
        queue.forget(&"later");
        queue.forget(&"now");
        assert!(queue.is_empty() && queue.state().is_at_rest());
        queue.add("busy", Urgency::Drift);
        assert_eq!(taken(&queue, 1).await, ["busy"]);
        queue.add("busy", Urgency::Drift);
        queue.forget(&"busy");
        queue.done(&"busy");
        assert!(queue.is_empty() && queue.state().is_at_rest());
    }
}
