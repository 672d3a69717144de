//! A queue's state, and for how long its keys wait and are worked on.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::State;
use crate::cloud::Urgency;
use crate::telemetry::{Backlog, Load, QueueMetrics};

#[derive(Debug)]
pub(super) struct Counted<K> {
    state: State<K>,
    metrics: QueueMetrics,
    /// When what is due became so.
    due: HashMap<K, Instant>,
    /// When what is worked on was taken.
    taken: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Ord + Hash> Counted<K> {
    pub(super) fn new(metrics: QueueMetrics) -> Self {
        Self { state: State::default(), metrics, due: HashMap::new(), taken: HashMap::new() }
    }

    pub(super) fn want(&mut self, key: K, urgency: Urgency, now: Instant, delay: Option<Duration>) {
        if delay.is_some() {
            self.metrics.retried();
        }
        let due = delay.map(|delay| now + delay);
        if self.state.want(key.clone(), urgency, due) {
            self.is_due(key, now);
        }
    }

    pub(super) fn wake(&mut self, now: Instant) {
        for key in self.state.wake(now) {
            self.is_due(key, now);
        }
    }

    fn is_due(&mut self, key: K, now: Instant) {
        self.metrics.added();
        self.due.insert(key, now);
    }

    pub(super) fn take(&mut self, most: usize, now: Instant) -> Vec<K> {
        let keys = self.state.take(most);
        for key in &keys {
            if let Some(since) = self.due.remove(key) {
                self.metrics.waited(now - since);
            }
            self.taken.insert(key.clone(), now);
        }
        keys
    }

    pub(super) fn done(&mut self, key: &K, now: Instant) {
        self.state.done(key);
        if let Some(since) = self.taken.remove(key) {
            self.metrics.worked(now - since);
        }
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.state.forget(key);
        self.due.remove(key);
    }

    /// See [`State::next_due`].
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.state.next_due()
    }

    /// How many keys are due.
    pub(super) fn depth(&self) -> usize {
        self.state.ready.len()
    }

    /// How many keys wait, due or not.
    pub(super) fn len(&self) -> usize {
        self.state.ready.len() + self.state.later.len()
    }

    /// Whether nothing is kept of any key.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.state.entries.is_empty() && self.due.is_empty() && self.taken.is_empty()
    }
}

impl<K: Clone + Debug + Eq + Ord + Hash + Send> Backlog for Mutex<Counted<K>> {
    fn load(&self, now: Instant) -> Load {
        let this = self.lock().unwrap_or_else(PoisonError::into_inner);
        let running = this.taken.values().map(|since| now - *since);
        Load {
            depth: this.depth(),
            unfinished: running.clone().sum(),
            longest: running.max().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::queue::WorkQueue;

    fn scraped(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
        lines.filter_map(|line| line.strip_prefix("workqueue_")).map(str::to_owned).collect()
    }

    fn holds(registry: &Registry, lines: &[&str]) {
        let scraped = scraped(registry);
        for line in lines {
            assert!(scraped.iter().any(|scraped| scraped == line), "{line} not in {scraped:#?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_and_what_is_worked_on_is_told() {
        let mut registry = Registry::default();
        let queue = WorkQueue::new(&QueueMetrics::register(&mut registry).of("Nodes"));
        for key in ["a", "b", "b"] {
            queue.add(key, Urgency::Drift);
        }
        queue.add_after("c", Urgency::Drift, Duration::from_mins(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.take(1).await, ["a"]);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(queue.take(1).await, ["b"]);
        // Wanted once more while it is worked on: it counts, and waits as from now.
        queue.add("a", Urgency::Drift);
        tokio::time::advance(Duration::from_secs(4)).await;
        holds(
            &registry,
            &[
                r#"adds_total{name="Nodes"} 3"#,
                r#"retries_total{name="Nodes"} 1"#,
                r#"depth{name="Nodes"} 0.0"#,
                r#"unfinished_work_seconds{name="Nodes"} 11.0"#,
                r#"longest_running_processor_seconds{name="Nodes"} 7.0"#,
                r#"queue_duration_seconds_sum{name="Nodes"} 7.0"#,
                r#"queue_duration_seconds_count{name="Nodes"} 2"#,
            ],
        );
        queue.done(&"a");
        queue.done(&"b");
        assert_eq!(queue.take(1).await, ["a"]);
        queue.done(&"a");
        holds(
            &registry,
            &[
                r#"unfinished_work_seconds{name="Nodes"} 0.0"#,
                r#"work_duration_seconds_sum{name="Nodes"} 11.0"#,
                r#"queue_duration_seconds_sum{name="Nodes"} 11.0"#,
            ],
        );
        // What comes later is added when it is due.
        assert_eq!(queue.take(1).await, ["c"]);
        holds(&registry, &[r#"adds_total{name="Nodes"} 4"#]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_gone_has_nothing_to_do() {
        let mut registry = Registry::default();
        let metrics = QueueMetrics::register(&mut registry).of("Nodes");
        let before = WorkQueue::new(&metrics);
        before.add("a", Urgency::Drift);
        holds(&registry, &[r#"depth{name="Nodes"} 1.0"#]);
        drop(before);
        holds(&registry, &[r#"depth{name="Nodes"} 0.0"#]);
        let after = WorkQueue::new(&metrics);
        after.add("a", Urgency::Drift);
        after.add("b", Urgency::Drift);
        holds(&registry, &[r#"depth{name="Nodes"} 2.0"#, r#"adds_total{name="Nodes"} 3"#]);
    }
}
