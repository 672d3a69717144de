//! The route controller.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{QueueMetrics, ReasonLabel};

/// The route controller. The first is upstream's, which counts looks at all routes where ours counts
/// looks at one node's, or at one table.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    queue: QueueMetrics,
    syncs: Family<SyncLabels, Counter>,
    nodes: Family<StateLabel, Gauge>,
    delay: Histogram,
    drift: Counter,
    strays: Gauge,
    writes: Counter,
    refused: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    trigger: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

impl RouteMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), &QueueMetrics::unread())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry, queues: &QueueMetrics) -> Self {
        let this = Self {
            queue: queues.of("Routes"),
            syncs: Family::default(),
            nodes: Family::default(),
            delay: Histogram::new([1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 1800.0]),
            drift: Counter::default(),
            strays: Gauge::default(),
            writes: Counter::default(),
            refused: Family::default(),
        };
        registry.register(
            "route_controller_route_sync",
            "Looks at routes, by what they were made for (node_change, periodic) and how they ended \
             (changed, noop, error)",
            this.syncs.clone(),
        );
        registry.register(
            "ccm_route_nodes",
            "Nodes with pod ranges: Reachable, or why there is no route to them",
            this.nodes.clone(),
        );
        registry.register(
            "ccm_route_delay_seconds",
            "Time from a Node's creation until the cloud sends packets for its pods to it, for nodes \
             that came while this process led",
            this.delay.clone(),
        );
        registry.register(
            "ccm_route_drift",
            "Nodes whose routes somebody else had changed in the cloud",
            this.drift.clone(),
        );
        registry.register(
            "ccm_route_strays",
            "Routes in the cloud that bear this cluster's mark and name no owner: left alone",
            this.strays.clone(),
        );
        registry.register(
            "ccm_route_writes",
            "Writes of the condition NetworkUnavailable",
            this.writes.clone(),
        );
        registry.register(
            "ccm_route_writes_refused",
            "Writes of that condition that the API server refused or did not answer, by reason",
            this.refused.clone(),
        );
        this
    }

    /// What is counted of the controller's queue.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    /// Counts a look at routes.
    pub fn synced(&self, trigger: &'static str, outcome: &'static str) {
        self.syncs.get_or_create(&SyncLabels { trigger, outcome }).inc();
    }

    /// One node more, or less, is in this state.
    pub fn nodes(&self, state: &'static str, change: i64) {
        self.nodes.get_or_create(&StateLabel { state }).inc_by(change);
    }

    /// Counts a node that could be reached this long after it was made.
    pub fn reached(&self, delay: Duration) {
        self.delay.observe(delay.as_secs_f64());
    }

    /// Counts a node whose routes were not any more as we had left them.
    pub fn drifted(&self) {
        self.drift.inc();
    }

    /// Says how many routes belong to nobody.
    pub fn strays(&self, count: usize) {
        self.strays.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a write.
    pub fn write(&self) {
        self.writes.inc();
    }

    /// Counts a write that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}
