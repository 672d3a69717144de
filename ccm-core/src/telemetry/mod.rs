//! Metrics: one struct per area, handed to whoever counts; no globals.
//!
//! Names are upstream's where upstream has one. prometheus-client adds `_total` to counters by
//! itself; the tests look at the names on the wire.

mod converge;

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use self::converge::ConvergeMetrics;
use crate::cloud::{Bucket, Kind, Operation};

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabel {
    request: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    request: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BucketLabel {
    bucket: &'static str,
}

/// Requests to the cloud's API.
#[derive(Clone, Debug)]
pub struct CloudMetrics {
    duration: Histograms<RequestLabel>,
    errors: Family<FailureLabels, Counter>,
    waiting: Family<BucketLabel, Gauge>,
    permits: Family<BucketLabel, Gauge>,
    paused_until: Family<BucketLabel, Gauge<f64, AtomicU64>>,
    not_sent: Family<HeldLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeldLabels {
    bucket: &'static str,
    reason: &'static str,
}

impl CloudMetrics {
    /// Metrics that nobody reads, for tests of providers.
    pub fn unread() -> Self {
        Self::register(&mut Registry::default(), "unread")
    }

    /// Registers the metrics under a prefix, by convention `cloudprovider_<name>`.
    pub fn register(registry: &mut Registry, prefix: &str) -> Self {
        let this = Self {
            duration: Histograms::new_with_constructor(api_buckets),
            errors: Family::default(),
            waiting: Family::default(),
            permits: Family::default(),
            paused_until: Family::default(),
            not_sent: Family::default(),
        };
        registry.register(
            format!("{prefix}_api_request_duration_seconds"),
            "Latency of requests to the cloud",
            this.duration.clone(),
        );
        registry.register(
            format!("{prefix}_api_request_errors"),
            "Requests to the cloud that failed, by reason",
            this.errors.clone(),
        );
        registry.register(
            "ccm_cloud_requests_waiting",
            "Requests to the cloud that wait for their turn or for a rate limit",
            this.waiting.clone(),
        );
        registry.register(
            "ccm_cloud_bucket_permits",
            "Requests to the cloud that may be under way at once; fewer after each complaint",
            this.permits.clone(),
        );
        registry.register(
            "ccm_cloud_bucket_paused_until_timestamp_seconds",
            "Until when nothing is sent because the cloud asked for a pause, in seconds since the \
             epoch; 0 when it does not",
            this.paused_until.clone(),
        );
        registry.register(
            "ccm_cloud_requests_not_sent",
            "Requests to the cloud that were given up unsent, by what held them back",
            this.not_sent.clone(),
        );
        this
    }

    /// Says what a bucket has learned: how many may be under way, and for how long none may be sent.
    pub fn bucket(&self, bucket: Bucket, permits: usize, pause: Option<Duration>) {
        let label = BucketLabel { bucket: bucket.0 };
        self.permits.get_or_create(&label).set(i64::try_from(permits).unwrap_or(i64::MAX));
        let until = pause.map_or(0.0, |pause| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            (now + pause).as_secs_f64()
        });
        self.paused_until.get_or_create(&label).set(until);
    }

    /// Counts a request that was given up before it was sent.
    pub fn not_sent(&self, bucket: Bucket, reason: &'static str) {
        self.not_sent.get_or_create(&HeldLabels { bucket: bucket.0, reason }).inc();
    }

    /// Counts one request that was sent.
    pub fn request(&self, operation: Operation, took: Duration, outcome: Result<(), Kind>) {
        let request = operation.0;
        self.duration.get_or_create(&RequestLabel { request }).observe(took.as_secs_f64());
        if let Err(kind) = outcome {
            let reason = kind.reason();
            self.errors.get_or_create(&FailureLabels { request, reason }).inc();
        }
    }

    /// Says how many wait for a bucket.
    pub fn waiting(&self, bucket: Bucket, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.get_or_create(&BucketLabel { bucket: bucket.0 }).set(count);
    }
}

fn api_buckets() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// The node controller. The two histograms are upstream's, buckets included.
#[derive(Clone, Debug)]
pub struct NodeMetrics {
    taint_removal_delay: Histogram,
    initial_sync_delay: Histogram,
    waiting: Family<ReasonLabel, Gauge>,
    writes: Family<WriteLabel, Counter>,
    refused: Family<ReasonLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    write: &'static str,
}

impl NodeMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let buckets = || Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]);
        let this = Self {
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

/// The process as a whole.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    master: Family<NameLabel, Gauge>,
    controllers: Family<ControllerLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    name: &'static str,
    manager: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    git_version: &'static str,
}

impl ProcessMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self { master: Family::default(), controllers: Family::default() };
        registry.register(
            "leader_election_master_status",
            "Whether this process holds the lease of that name",
            this.master.clone(),
        );
        registry.register(
            "running_managed_controllers",
            "Whether the controller runs in this process",
            this.controllers.clone(),
        );
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { git_version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("ccm_build_info", "The version that runs", build);
        let start = Gauge::<f64, AtomicU64>::default();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        start.set(since_epoch.unwrap_or_default().as_secs_f64());
        registry.register(
            "process_start_time_seconds",
            "Start of the process since the epoch, in seconds",
            start,
        );
        this
    }

    /// Says whether we hold the lease.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.master.get_or_create(&NameLabel { name: lease.to_owned() }).set(i64::from(leads));
    }

    /// Says whether a controller runs, by its short name.
    pub fn runs(&self, controller: &'static str, runs: bool) {
        let labels = ControllerLabels { name: controller, manager: "cloud-controller-manager" };
        self.controllers.get_or_create(&labels).set(i64::from(runs));
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn names_on_the_wire_are_what_dashboards_expect() {
        let mut registry = Registry::default();
        let cloud = CloudMetrics::register(&mut registry, "cloudprovider_sim");
        let node = NodeMetrics::register(&mut registry);
        let lifecycle = LifecycleMetrics::register(&mut registry);
        let process = ProcessMetrics::register(&mut registry);
        cloud.bucket(Bucket("reads"), 4, None);
        cloud.not_sent(Bucket("reads"), "paused");
        lifecycle.looked(Duration::from_millis(3));
        lifecycle.asked("success");
        lifecycle.write("taint");
        lifecycle.refused("changed");
        lifecycle.deleted("absent", "budget");
        lifecycle.budget(4, 0.5, 3);
        cloud.request(Operation("Describe"), Duration::from_millis(3), Err(Kind::Unavailable));
        cloud.waiting(Bucket("reads"), 2);
        node.initialized(Duration::from_secs(3));
        node.waiting("PermissionDenied", 1);
        node.write("status");
        node.refused("forbidden");
        process.leads("cloud-controller-manager", true);
        process.runs("cloud-node", true);

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"cloudprovider_sim_api_request_duration_seconds_count{request="Describe"} 1"#,
            r#"cloudprovider_sim_api_request_errors_total{request="Describe",reason="CloudUnavailable"} 1"#,
            r#"ccm_cloud_requests_waiting{bucket="reads"} 2"#,
            r#"ccm_cloud_bucket_permits{bucket="reads"} 4"#,
            r#"ccm_cloud_bucket_paused_until_timestamp_seconds{bucket="reads"} 0.0"#,
            r#"ccm_cloud_requests_not_sent_total{bucket="reads",reason="paused"} 1"#,
            r#"cloud_node_lifecycle_controller_monitor_nodes_duration_seconds_bucket{le="0.004"} 1"#,
            r#"cloud_node_lifecycle_controller_cloud_provider_calls_total{operation="instance_exists",result="success"} 1"#,
            r#"ccm_node_lifecycle_writes_total{write="taint"} 1"#,
            r#"ccm_node_lifecycle_writes_refused_total{reason="changed"} 1"#,
            r#"ccm_node_deletions_total{evidence="absent",permit="budget"} 1"#,
            "ccm_node_deletions_held 4",
            "ccm_node_deletion_budget_left 0.5",
            "ccm_node_deletion_budget_size 3",
            r#"node_controller_cloud_provider_taint_removal_delay_seconds_bucket{le="4.0"} 1"#,
            "node_controller_initial_node_sync_delay_seconds_count 1",
            r#"ccm_nodes_waiting{reason="PermissionDenied"} 1"#,
            r#"ccm_node_writes_total{write="status"} 1"#,
            r#"ccm_node_writes_refused_total{reason="forbidden"} 1"#,
            r#"leader_election_master_status{name="cloud-controller-manager"} 1"#,
            r#"running_managed_controllers{name="cloud-node",manager="cloud-controller-manager"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
