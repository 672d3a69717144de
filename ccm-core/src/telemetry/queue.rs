//! The controllers' work queues, as client-go's tell of theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::Histograms;

/// What work queues hold, and how long it takes; one of them, or those of all controllers.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    name: &'static str,
    adds: Family<NameLabel, Counter>,
    retries: Family<NameLabel, Counter>,
    waited: Histograms<NameLabel>,
    worked: Histograms<NameLabel>,
    queues: Queues,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: &'static str,
}

/// A queue as it is looked at when metrics are asked for.
pub(crate) trait Backlog: fmt::Debug + Send + Sync {
    /// What waits and what is worked on at this time.
    fn load(&self, now: Instant) -> Load;
}

/// What a queue has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Keys that are due and wait for a worker.
    pub(crate) depth: usize,
    /// For how long those that are worked on have been, together.
    pub(crate) unfinished: Duration,
    /// The longest of them.
    pub(crate) longest: Duration,
}

/// Queues by name. Controllers that start over have a new one of the same name; a name that was once
/// there stays, so that its line falls to zero and does not end.
#[derive(Clone, Debug, Default)]
struct Queues(Arc<Mutex<BTreeMap<&'static str, Watched>>>);

type Watched = Vec<Weak<dyn Backlog>>;

impl QueueMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default())
    }

    /// Registers the metrics of all queues.
    pub fn register(registry: &mut Registry) -> Self {
        // client-go's: from ten nanoseconds to a quarter of an hour.
        let buckets = || Histogram::new(exponential_buckets(1e-8, 10.0, 12));
        let this = Self {
            name: "",
            adds: Family::default(),
            retries: Family::default(),
            waited: Histograms::new_with_constructor(buckets),
            worked: Histograms::new_with_constructor(buckets),
            queues: Queues::default(),
        };
        registry.register(
            "workqueue_adds",
            "Keys that were put into the queue, those that were in it already not counted",
            this.adds.clone(),
        );
        registry.register(
            "workqueue_retries",
            "Keys that were put into the queue for later",
            this.retries.clone(),
        );
        registry.register(
            "workqueue_queue_duration_seconds",
            "How long keys that were due waited for a worker",
            this.waited.clone(),
        );
        registry.register(
            "workqueue_work_duration_seconds",
            "How long keys were worked on",
            this.worked.clone(),
        );
        registry.register_collector(Box::new(this.queues.clone()));
        this
    }

    /// The same metrics for the queue of this name.
    #[must_use]
    pub fn of(&self, name: &'static str) -> Self {
        Self { name, ..self.clone() }
    }

    fn label(&self) -> NameLabel {
        NameLabel { name: self.name }
    }

    /// Looks at this queue as long as it lives.
    pub(crate) fn watch(&self, queue: Weak<dyn Backlog>) {
        let mut queues = self.queues.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = queues.entry(self.name).or_default();
        named.retain(|queue| queue.strong_count() > 0);
        named.push(queue);
    }

    /// A key waits that did not before.
    pub fn added(&self) {
        self.adds.get_or_create(&self.label()).inc();
    }

    /// A key comes later.
    pub fn retried(&self) {
        self.retries.get_or_create(&self.label()).inc();
    }

    /// A key has waited so long for a worker.
    pub fn waited(&self, took: Duration) {
        self.waited.get_or_create(&self.label()).observe(took.as_secs_f64());
    }

    /// A key was worked on for so long.
    pub fn worked(&self, took: Duration) {
        self.worked.get_or_create(&self.label()).observe(took.as_secs_f64());
    }
}

impl Queues {
    fn loads(&self, now: Instant) -> Vec<(NameLabel, Load)> {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |queues: &Watched| {
            let loads = queues.iter().filter_map(Weak::upgrade).map(|queue| queue.load(now));
            loads.fold(Load::default(), |sum, load| Load {
                depth: sum.depth + load.depth,
                unfinished: sum.unfinished + load.unfinished,
                longest: sum.longest.max(load.longest),
            })
        };
        queues.iter().map(|(name, queues)| (NameLabel { name }, load(queues))).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "never so many keys")]
fn depth(load: &Load) -> f64 {
    load.depth as f64
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        type Value = fn(&Load) -> f64;
        let loads = self.loads(Instant::now());
        let gauges: [(_, _, Value); 3] = [
            ("workqueue_depth", "Keys that are due and wait for a worker", depth),
            (
                "workqueue_unfinished_work_seconds",
                "How long what is worked on has been worked on, all keys together: what grows is stuck",
                |load| load.unfinished.as_secs_f64(),
            ),
            (
                "workqueue_longest_running_processor_seconds",
                "How long the key has been worked on that has been for the longest",
                |load| load.longest.as_secs_f64(),
            ),
        ];
        for (name, help, value) in gauges {
            let mut metric =
                encoder.encode_descriptor(name, help, None, ConstGauge::<f64>::TYPE)?;
            for (label, load) in &loads {
                ConstGauge::new(value(load)).encode(metric.encode_family(label)?)?;
            }
        }
        Ok(())
    }
}
