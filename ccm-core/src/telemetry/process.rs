//! The process.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::usage::Usage;
use crate::app::COMMIT;

/// The process as a whole.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    master: Family<NameLabel, Gauge>,
    controllers: Family<ControllerLabels, Gauge>,
    reloads: Family<OutcomeLabel, Counter>,
    features: Family<FeatureLabels, Gauge>,
    slow_paths: Family<NameLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
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
struct FeatureLabels {
    name: &'static str,
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    git_version: &'static str,
    git_commit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KubernetesBuildLabels {
    git_version: &'static str,
    git_commit: &'static str,
    major: &'static str,
    minor: &'static str,
    compiler: &'static str,
    platform: String,
}

/// As Kubernetes' programs write it.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// As Go writes it: `linux/amd64`.
fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}

impl ProcessMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self {
            master: Family::default(),
            controllers: Family::default(),
            reloads: Family::default(),
            features: Family::default(),
            slow_paths: Family::default(),
        };
        registry.register(
            "leader_election_master_status",
            "Whether this process holds the lease of that name",
            this.master.clone(),
        );
        registry.register(
            "leader_election_slowpath",
            "Renewals of the lease of that name that had to read it first, because somebody else had written it",
            this.slow_paths.clone(),
        );
        registry.register(
            "running_managed_controllers",
            "Whether the controller runs in this process",
            this.controllers.clone(),
        );
        registry.register(
            "ccm_cloud_config_reloads",
            "Changes of the provider's configuration or credentials that were seen, by whether they could be used",
            this.reloads.clone(),
        );
        registry.register(
            "kubernetes_feature_enabled",
            "Whether what a feature gate of the Go programs switches is done",
            this.features.clone(),
        );
        let git_commit = COMMIT.unwrap_or_default();
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { git_version: VERSION, git_commit }).set(1);
        registry.register("ccm_build_info", "The version that runs", build);
        let build = Family::<KubernetesBuildLabels, Gauge>::default();
        let labels = KubernetesBuildLabels {
            git_version: VERSION,
            git_commit,
            major: env!("CARGO_PKG_VERSION_MAJOR"),
            minor: env!("CARGO_PKG_VERSION_MINOR"),
            compiler: "rustc",
            platform: platform(),
        };
        build.get_or_create(&labels).set(1);
        registry.register(
            "kubernetes_build_info",
            "The version that runs, under the name that programs of Kubernetes have for it",
            build,
        );
        let start = Gauge::<f64, AtomicU64>::default();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        start.set(since_epoch.unwrap_or_default().as_secs_f64());
        registry.register(
            "process_start_time_seconds",
            "Start of the process since the epoch, in seconds",
            start,
        );
        registry.register_collector(Box::new(Usage));
        this
    }

    /// Says whether we hold the lease.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.master.get_or_create(&NameLabel { name: lease.to_owned() }).set(i64::from(leads));
    }

    /// Says whether what this gate of the Go programs switches is done, and how far it has got there.
    pub fn feature(&self, name: &'static str, stage: &'static str, enabled: bool) {
        let labels = FeatureLabels { name, stage };
        self.features.get_or_create(&labels).set(i64::from(enabled));
    }

    /// Where it is counted how often a renewal of that lease had to read it first.
    pub fn slow_paths(&self, lease: &str) -> Counter {
        self.slow_paths.get_or_create_owned(&NameLabel { name: lease.to_owned() })
    }

    /// Counts a change of the provider's configuration, and whether it could be used.
    pub fn reloaded(&self, used: bool) {
        let outcome = if used { "used" } else { "refused" };
        self.reloads.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Says whether a controller runs, by its short name.
    pub fn runs(&self, controller: &'static str, runs: bool) {
        let labels = ControllerLabels { name: controller, manager: "cloud-controller-manager" };
        self.controllers.get_or_create(&labels).set(i64::from(runs));
    }
}
