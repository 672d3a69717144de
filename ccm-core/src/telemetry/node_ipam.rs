//! The node IPAM controller.

use std::sync::atomic::AtomicU64;

use ipnet::IpNet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Histograms, QueueMetrics, ReasonLabel, WriteLabel};

/// The one label of upstream's metrics, `clusterCIDR`, whose name no field can have.
type PoolLabel = [(&'static str, String); 1];

type Share = Gauge<f64, AtomicU64>;

/// The node IPAM controller. The first five are upstream's, buckets and spelling included; it counts
/// occupied ranges that it tried where ours counts runs of them.
#[derive(Clone, Debug)]
pub struct IpamMetrics {
    queue: QueueMetrics,
    allocations: Family<PoolLabel, Counter>,
    releases: Family<PoolLabel, Counter>,
    usage: Family<PoolLabel, Share>,
    capacity: Family<PoolLabel, Share>,
    tries: Histograms<PoolLabel>,
    waiting: Family<ReasonLabel, Gauge>,
    writes: Family<WriteLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

impl IpamMetrics {
    /// Metrics that nobody reads, for tests and plans.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), &QueueMetrics::unread())
    }

    /// Registers the metrics.
    pub fn register(registry: &mut Registry, queues: &QueueMetrics) -> Self {
        let this = Self {
            queue: queues.of("cidrallocator_node"),
            allocations: Family::default(),
            releases: Family::default(),
            usage: Family::default(),
            capacity: Family::default(),
            tries: Family::new_with_constructor(|| Histogram::new([1.0, 5.0, 25.0, 125.0, 625.0])),
            waiting: Family::default(),
            writes: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "node_ipam_controller_cidrset_cidrs_allocations",
            "Ranges of nodes that became held: given, or found on nodes",
            this.allocations.clone(),
        );
        registry.register(
            "node_ipam_controller_cidrset_cidrs_releases",
            "Ranges of nodes that became free",
            this.releases.clone(),
        );
        registry.register(
            "node_ipam_controller_cidrset_usage_cidrs",
            "Share of the cluster's range that is held, from 0 to 1",
            this.usage.clone(),
        );
        registry.register(
            "node_ipam_controller_cirdset_max_cidrs",
            "Ranges of nodes that the cluster's range has room for",
            this.capacity.clone(),
        );
        registry.register(
            "node_ipam_controller_cidrset_allocation_tries_per_request",
            "Places that were looked at in vain before a range was found",
            this.tries.clone(),
        );
        registry.register(
            "ccm_node_ipam_nodes_waiting",
            "Nodes that have no ranges and cannot be given any yet, by reason",
            this.waiting.clone(),
        );
        registry.register(
            "ccm_node_ipam_writes",
            "Writes to Nodes by the node IPAM controller: ranges or condition",
            this.writes.clone(),
        );
        registry.register(
            "ccm_node_ipam_writes_refused",
            "Writes to Nodes by the node IPAM controller that were refused or not answered, by reason",
            this.refused.clone(),
        );
        this
    }

    /// What is counted of the controller's queue.
    pub(crate) fn queue(&self) -> &QueueMetrics {
        &self.queue
    }

    /// There is this range, with room for so many nodes.
    pub fn pool(&self, range: &IpNet, capacity: f64) {
        self.capacity.get_or_create(&label(range)).set(capacity);
        self.usage.get_or_create(&label(range)).set(0.0);
    }

    /// So many ranges of nodes became held in this one; this share of it is now.
    pub fn allocated(&self, range: &IpNet, ranges: u64, usage: f64) {
        self.allocations.get_or_create(&label(range)).inc_by(ranges);
        self.usage.get_or_create(&label(range)).set(usage);
    }

    /// So many ranges of nodes became free in this one; this share of it is still held.
    pub fn released(&self, range: &IpNet, ranges: u64, usage: f64) {
        self.releases.get_or_create(&label(range)).inc_by(ranges);
        self.usage.get_or_create(&label(range)).set(usage);
    }

    /// A range was found behind so many places that were looked at in vain.
    pub fn tries(&self, range: &IpNet, tries: u32) {
        self.tries.get_or_create(&label(range)).observe(tries.into());
    }

    /// One node more, or less, waits for this reason.
    pub fn waiting(&self, reason: &'static str, change: i64) {
        self.waiting.get_or_create(&ReasonLabel { reason }).inc_by(change);
    }

    /// Counts a write.
    pub fn write(&self, write: &'static str) {
        self.writes.get_or_create(&WriteLabel { write }).inc();
    }

    /// Counts a write that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }
}

fn label(range: &IpNet) -> PoolLabel {
    [("clusterCIDR", range.to_string())]
}
