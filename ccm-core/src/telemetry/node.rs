//! The node controller.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{QueueMetrics, ReasonLabel, WriteLabel};

/// The node controller. The two histograms are upstream's, buckets included.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    queue: QueueMetrics,
    taint_removal_delay: Histogram,
    initial_sync_delay: Histogram,
    waiting: Family<ReasonLabel, Gauge>,
    writes: Family<WriteLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

impl NodeMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), &QueueMetrics::unread())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry, queues: &QueueMetrics) -> Self {
        let buckets = || Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]);
        let this = Self {
            queue: queues.of("Nodes"),
            taint_removal_delay: buckets(),
            initial_sync_delay: buckets(),
            waiting: Family::default(),
            writes: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "node_controller_cloud_provider_taint_removal_delay_seconds",
            "Time from a Node's creation to the removal of its uninitialized taint",
            this.taint_removal_delay.clone(),
        );
        registry.register(
            "node_controller_initial_node_sync_delay_seconds",
            "Time from a Node's creation to the end of its initialisation",
            this.initial_sync_delay.clone(),
        );
        registry.register(
            "ccm_nodes_waiting",
            "Nodes that cannot be initialised yet, by reason",
            this.waiting.clone(),
        );
        registry.register(
            "ccm_node_writes",
            "Writes to Nodes by the node controller: status, main or condition",
            this.writes.clone(),
        );
        registry.register(
            "ccm_node_writes_refused",
            "Writes to Nodes that the API server refused or did not answer, by reason",
            this.refused.clone(),
        );
        this
    }

    /// What is counted of the controller's queue.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    /// Counts a node that was initialised this long after it was made.
    pub fn initialized(&self, delay: Duration) {
        self.taint_removal_delay.observe(delay.as_secs_f64());
        self.initial_sync_delay.observe(delay.as_secs_f64());
    }

    /// One node more, or less, waits for this reason.
    pub fn waiting(&self, reason: &'static str, change: i64) {
        self.waiting.get_or_create(&ReasonLabel { reason }).inc_by(change);
    }

    /// Counts a write that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a write.
    pub fn write(&self, write: &'static str) {
        self.writes.get_or_create(&WriteLabel { write }).inc();
    }
}
