//! Requests to the cloud.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Histograms;
use crate::cloud::{Bucket, Kind, Operation};

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
    names: &'static [(&'static str, &'static str)],
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
            names: &[],
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
            "Until when nothing is sent because the cloud asked for a pause, in seconds since the epoch; 0 or a time that is past when it may be sent",
            this.paused_until.clone(),
        );
        registry.register(
            "ccm_cloud_requests_not_sent",
            "Requests to the cloud that were given up unsent, by what held them back",
            this.not_sent.clone(),
        );
        this
    }

    /// Has operations be called otherwise: what each is called here, and in the metrics of the Go program
    /// that is replaced.
    #[must_use]
    pub fn named(self, names: &'static [(&'static str, &'static str)]) -> Self {
        Self { names, ..self }
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
        let known = self.names.iter().find(|(ours, _)| *ours == operation.0);
        let request = known.map_or(operation.0, |(_, theirs)| *theirs);
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
