//! The service controller.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{QueueMetrics, ReasonLabel};

/// The service controller. The first four are upstream's, buckets included; it counts its updates of
/// hosts where ours counts changes of members.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    queue: QueueMetrics,
    host_updates: Counter,
    host_update_errors: Counter,
    node_pass: Histogram,
    host_update: Histogram,
    balancers: Family<StateLabel, Gauge>,
    address_delay: Histogram,
    drift: Counter,
    orphans: Family<KindLabel, Gauge>,
    writes: Family<WhatLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

impl ServiceMetrics {
    /// Metrics that nobody reads, for tests.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), &QueueMetrics::unread())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry, queues: &QueueMetrics) -> Self {
        let upstreams = || Histogram::new(exponential_buckets(1.0, 2.0, 15));
        let this = Self {
            queue: queues.of("service"),
            host_updates: Counter::default(),
            host_update_errors: Counter::default(),
            node_pass: upstreams(),
            host_update: upstreams(),
            balancers: Family::default(),
            // From a cloud that answers at once to one that builds machines.
            address_delay: Histogram::new([
                1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
            ]),
            drift: Counter::default(),
            orphans: Family::default(),
            writes: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "service_controller_loadbalancer_sync",
            "Updates of a load balancer because nodes changed",
            this.host_updates.clone(),
        );
        registry.register(
            "service_controller_nodesync_error",
            "Updates of a load balancer because nodes changed that failed",
            this.host_update_errors.clone(),
        );
        registry.register(
            "service_controller_nodesync_latency_seconds",
            "Time from a change of nodes until it was handed on to all load balancers",
            this.node_pass.clone(),
        );
        registry.register(
            "service_controller_update_loadbalancer_host_latency_seconds",
            "Time that an update of a load balancer because nodes changed took",
            this.host_update.clone(),
        );
        registry.register(
            "ccm_load_balancers",
            "Services that want a load balancer: Ready, or the reason why it is not",
            this.balancers.clone(),
        );
        registry.register(
            "ccm_load_balancer_address_delay_seconds",
            "Time from a Service's creation to its first address",
            this.address_delay.clone(),
        );
        registry.register(
            "ccm_load_balancer_drift",
            "Load balancers that somebody else had changed in the cloud",
            this.drift.clone(),
        );
        registry.register(
            "ccm_load_balancer_orphans",
            "Things in the cloud that bear this cluster's mark and belong to no Service, by kind",
            this.orphans.clone(),
        );
        registry.register(
            "ccm_service_writes",
            "Writes to Services, by what was written",
            this.writes.clone(),
        );
        registry.register(
            "ccm_service_writes_refused",
            "Writes to Services that the API server refused or did not answer, by reason",
            this.refused.clone(),
        );
        this
    }

    /// What is counted of the controller's queue.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    /// Counts an update of one load balancer because nodes changed, and says how long it took.
    pub fn hosts_updated(&self, took: Duration) {
        self.host_updates.inc();
        self.host_update.observe(took.as_secs_f64());
    }

    /// Counts an update of one load balancer because nodes changed, which failed.
    pub fn hosts_not_updated(&self, took: Duration) {
        self.hosts_updated(took);
        self.host_update_errors.inc();
    }

    /// Says how long it took until all load balancers had a change of nodes.
    pub fn nodes_passed(&self, took: Duration) {
        self.node_pass.observe(took.as_secs_f64());
    }

    /// One Service more, or less, is in this state: `Ready`, or the reason of its condition.
    pub fn balancers(&self, state: &'static str, change: i64) {
        self.balancers.get_or_create(&StateLabel { state }).inc_by(change);
    }

    /// Counts a Service that got its first address this long after it was made.
    pub fn addressed(&self, delay: Duration) {
        self.address_delay.observe(delay.as_secs_f64());
    }

    /// Counts a load balancer that was not any more as we had left it.
    pub fn drifted(&self) {
        self.drift.inc();
    }

    /// Says how many things of a kind belong to nobody. A kind of which there are none any more is
    /// told with 0.
    pub fn orphans(&self, kind: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.orphans.get_or_create(&KindLabel { kind }).set(count);
    }

    /// Counts a write.
    pub fn write(&self, what: &'static str) {
        self.writes.get_or_create(&WhatLabel { what }).inc();
    }

    /// Counts a write that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}
