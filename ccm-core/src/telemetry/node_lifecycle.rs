//! The node lifecycle controller.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{ReasonLabel, WriteLabel};

/// The node lifecycle controller. The first two are upstream's, from 1.37 on, buckets included.
#[derive(Clone, Debug)]
pub struct LifecycleMetrics {
    monitored: Histogram,
    calls: Family<CallLabels, Counter>,
    writes: Family<WriteLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
    deletions: Family<DeletionLabels, Counter>,
    held: Gauge,
    left: Gauge<f64, AtomicU64>,
    capacity: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeletionLabels {
    evidence: &'static str,
    permit: &'static str,
}

impl LifecycleMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            monitored: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            calls: Family::default(),
            writes: Family::default(),
            refused: Family::default(),
            deletions: Family::default(),
            held: Gauge::default(),
            left: Gauge::default(),
            capacity: Gauge::default(),
        };
        registry.register(
            "cloud_node_lifecycle_controller_monitor_nodes_duration_seconds",
            "Time that the cloud took to answer about a group of nodes that are not ready",
            this.monitored.clone(),
        );
        registry.register(
            "cloud_node_lifecycle_controller_cloud_provider_calls",
            "Answers of the cloud about nodes that are not ready, one for each node, by result",
            this.calls.clone(),
        );
        registry.register(
            "ccm_node_lifecycle_writes",
            "Writes to Nodes by the lifecycle controller: taint, untaint, condition or delete",
            this.writes.clone(),
        );
        registry.register(
            "ccm_node_lifecycle_writes_refused",
            "Writes to Nodes by the lifecycle controller that were refused or not answered, by reason",
            this.refused.clone(),
        );
        registry.register(
            "ccm_node_deletions",
            "Nodes deleted, by what the cloud's word rests on and by what allowed it",
            this.deletions.clone(),
        );
        registry.register(
            "ccm_node_deletions_held",
            "Nodes that are not deleted because the deletion budget is spent",
            this.held.clone(),
        );
        registry.register(
            "ccm_node_deletion_budget_left",
            "Deletions that nobody announced and that the budget allows now",
            this.left.clone(),
        );
        registry.register(
            "ccm_node_deletion_budget_size",
            "Deletions that nobody announced and that a full budget allows",
            this.capacity.clone(),
        );
        this
    }

    /// Says how long the cloud took to answer about a group of nodes.
    pub fn looked(&self, took: Duration) {
        self.monitored.observe(took.as_secs_f64());
    }

    /// Counts an answer about one node.
    pub fn asked(&self, result: &'static str) {
        self.calls.get_or_create(&CallLabels { operation: "instance_exists", result }).inc();
    }

    /// Counts a write.
    pub fn write(&self, write: &'static str) {
        self.writes.get_or_create(&WriteLabel { write }).inc();
    }

    /// Counts a write that was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a deletion.
    pub fn deleted(&self, evidence: &'static str, permit: &'static str) {
        self.deletions.get_or_create(&DeletionLabels { evidence, permit }).inc();
    }

    /// Says how many nodes the budget holds, how many tokens are left, and how many it has when full.
    pub fn budget(&self, held: usize, left: f64, capacity: u64) {
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.left.set(left);
        self.capacity.set(i64::try_from(capacity).unwrap_or(i64::MAX));
    }
}
