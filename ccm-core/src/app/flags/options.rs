//! What was meant: the flags, checked.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::given::Given;
use super::network::{self, NodeIpam, RouteController};
use super::selection::{self, Selection};
use super::serving::{self, Serving};
use super::typed::Flags;
use super::{gates, go, typed};
use crate::cluster::client::Manners;
use crate::cluster::keys::controller;
use crate::controllers::node_lifecycle::Limit;

/// How the process shall run. A part that is switched off is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The cloud.
    pub cloud: Cloud,
    /// The cluster.
    pub cluster: Cluster,
    /// Leader election; without it controllers start at once.
    pub leader_election: Option<LeaderElection>,
    /// HTTPS endpoints.
    pub serving: Option<Serving>,
    /// The node controller.
    pub node_controller: NodeController,
    /// The node lifecycle controller.
    pub node_lifecycle: NodeLifecycle,
    /// The service controller.
    pub service_controller: ServiceController,
    /// The route controller; without it no routes are made.
    pub route_controller: Option<RouteController>,
    /// The node IPAM controller; without it nodes are given no ranges.
    pub node_ipam: Option<NodeIpam>,
    /// The volume controller.
    pub volume_controller: VolumeController,
    /// The log.
    pub logging: Logging,
    /// The controllers that may run.
    pub controllers: Selection,
    /// Pause between the start of one controller and the next: between once and twice this.
    pub start_interval: Duration,
    /// What the process says once it can log: flags that have no effect.
    pub warnings: Vec<String>,
    /// Every flag as it was given, for those who look at the process.
    pub given: Given,
}

impl Options {
    /// Whether routes are made, where the provider has them. They lead to the ranges of the cluster:
    /// without any the process does not start.
    pub fn wants_routes(&self) -> bool {
        self.controllers.has(controller::ROUTE) && self.route_controller.is_some()
    }
}

/// Which cloud, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// The provider's name; not empty.
    pub provider: String,
    /// The provider's configuration file.
    pub config: Option<PathBuf>,
    /// Whether a provider without a cluster ID may run.
    pub allow_untagged: bool,
}

/// Which cluster, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Tells what belongs to this cluster apart in the cloud.
    pub name: String,
    /// Ranges of its pods, without host bits: none, one, or one of each family.
    pub cidrs: Vec<IpNet>,
    /// Where address and credentials are; without it the pod's own are used.
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server, before any other.
    pub master: Option<String>,
    /// Requests a second of each kind of client; `None` for as many as there are.
    pub pace: Option<Pace>,
    /// Whether each controller writes as an account of its own.
    pub own_accounts: bool,
}

impl Cluster {
    /// How the clients of the API server shall behave.
    pub fn manners(&self) -> Manners {
        let pace = self.pace.map(|pace| (pace.qps, pace.burst.get()));
        Manners { pace, own_accounts: self.own_accounts }
    }
}

/// How fast a client may send requests to the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Requests a second; more than zero.
    pub qps: f32,
    /// Requests at once after a pause.
    pub burst: NonZeroU16,
}

/// A command line has no NaN.
impl Eq for Pace {}

/// The lease and its timing: `lease_duration > renew_deadline > 1.2 × retry_period > 0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Name of the lease.
    pub name: String,
    /// Namespace of the lease.
    pub namespace: String,
    /// How long other replicas leave a lease alone that does not change. Whole seconds: the lease
    /// can say no other, and what it says is what the others go by.
    pub lease_duration: Duration,
    /// How long the leader may go without having renewed.
    pub renew_deadline: Duration,
    /// Pause between attempts.
    pub retry_period: Duration,
    /// The move of controllers from a kube-controller-manager; `None` where there is none.
    pub migration: Option<MigrationFile>,
}

/// Where the move of controllers is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationFile {
    /// Nowhere: it is upstream's usual one.
    Usual,
    /// In this file.
    Named(PathBuf),
}

/// The node controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeController {
    /// Pause between updates of all nodes from the cloud; not zero.
    pub status_update_frequency: Duration,
    /// Nodes worked on at once.
    pub concurrent_syncs: NonZeroU16,
}

/// The node lifecycle controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLifecycle {
    /// From one look at a node that is not ready to the next; not zero.
    pub monitor_period: Duration,
    /// Writes under way at once.
    pub concurrent_syncs: NonZeroU16,
    /// Age that a Node must have before it is deleted.
    pub deletion_min_age: Duration,
    /// How many deletions that nobody announced there may be; `None` for any number.
    pub deletion_budget: Option<Limit>,
}

/// The service controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceController {
    /// Units of load balancers worked on at once.
    pub concurrent_syncs: NonZeroU16,
    /// Values of `spec.loadBalancerClass` that are served.
    pub classes: BTreeSet<String>,
    /// Whether Services without a class are served.
    pub serve_classless: bool,
    /// From one look at every load balancer to the next.
    pub drift_interval: Duration,
}

/// The volume controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeController {
    /// Whether volumes that a provisioner made are seen to as well.
    pub provisioned: bool,
    /// Whether a zone or region that differs is overwritten.
    pub overwrite: bool,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `-v`: 0 is the usual.
    pub verbosity: u32,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// One thing wrong with the flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// An argument that belongs to no flag.
    #[error(
        "unknown positional argument {0:?}: there are only flags, and a boolean flag takes its \
         value after an equals sign (--flag=false)"
    )]
    Positional(String),

    /// There is no default cloud.
    #[error("--cloud-provider cannot be empty")]
    NoCloudProvider,

    /// The program has no such provider.
    #[error("--cloud-provider {name:?}: unknown; this program has: {known}")]
    UnknownCloudProvider {
        /// What was typed.
        name: String,
        /// The names to choose from.
        known: String,
    },

    /// A value that cannot be read, or not used whatever the other flags say.
    #[error("{flag} {value:?}: must be {accepted}")]
    Unusable {
        /// The flag, with its dashes.
        flag: &'static str,
        /// What was typed.
        value: String,
        /// What would do.
        accepted: &'static str,
    },

    /// Others could take the lease over from a leader that still believes to hold it.
    #[error(
        "--leader-elect-lease-duration {lease_duration:?}: must be longer than \
         --leader-elect-renew-deadline, which is {renew_deadline:?}"
    )]
    LeaseNotLonger {
        /// The lease duration.
        lease_duration: Duration,
        /// The renew deadline.
        renew_deadline: Duration,
    },

    /// The leader would give up before it had tried twice.
    #[error(
        "--leader-elect-renew-deadline {renew_deadline:?}: must be longer than 1.2 times \
         --leader-elect-retry-period, which is {retry_period:?}"
    )]
    RenewDeadlineTooShort {
        /// The renew deadline.
        renew_deadline: Duration,
        /// The retry period.
        retry_period: Duration,
    },

    /// Ranges for nodes cannot be taken from nowhere.
    #[error(
        "--allocate-node-cidrs with --cidr-allocator-type=RangeAllocator: needs --cluster-cidr, out of \
         which nodes are given their ranges"
    )]
    NothingToAllocate,

    /// A controller that nobody knows.
    #[error(
        "--controllers: {entry:?} is not in the list of known controllers: {known}; each with - before \
         it too, and *",
        known = selection::known()
    )]
    UnknownController {
        /// The entry.
        entry: String,
    },

    /// A feature gate that nobody knows, or that is not written as one.
    #[error("--feature-gates {entry:?}: {why}")]
    FeatureGate {
        /// The entry.
        entry: String,
        /// What is wrong, and what would do.
        why: String,
    },

    /// A mask size that does not fit the families of the cluster.
    #[error("{flag} {value}: {why}")]
    MaskSize {
        /// The flag, with its dashes.
        flag: &'static str,
        /// What was typed.
        value: u8,
        /// What is wrong, and what would do.
        why: String,
    },
}

/// Everything wrong with the flags; one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FlagErrors(pub Vec<FlagError>);

impl fmt::Display for FlagErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl TryFrom<Flags> for Options {
    type Error = FlagErrors;

    fn try_from(flags: Flags) -> Result<Self, Self::Error> {
        let mut errors = Errors::default();
        // Empty ones are what templates leave behind; upstream lets them be too.
        for argument in flags.positional.iter().filter(|argument| !argument.is_empty()) {
            errors.0.push(FlagError::Positional(argument.to_string_lossy().into_owned()));
        }
        let name = flags.cloud.cluster_name.clone();
        let mut warnings = flags.warnings;
        gates::gates(elements(&flags.generic.feature_gates), &mut errors, &mut warnings);
        let controllers = selection::selection(elements(&flags.generic.controllers), &mut errors);
        let start_interval = errors.read(
            "--controller-start-interval",
            &flags.generic.controller_start_interval,
            "a duration such as 0s, 500ms or 10s",
            go::duration,
        );
        let own_accounts = errors.read(
            "--use-service-account-credentials",
            &flags.generic.use_service_account_credentials,
            BOOLEAN,
            go::boolean,
        );
        let pace = pace(&flags.generic, &mut errors);
        let cidrs = network::cluster_cidrs(&flags.cloud.cluster_cidr, &mut errors);
        let cloud = cloud(flags.cloud, &flags.providers, &mut errors);
        let leader_election = leader_election(flags.leader_election, &mut errors);
        let serving = serving::serving(
            &flags.serving,
            &flags.authentication,
            &flags.authorization,
            &flags.debugging,
            &mut errors,
        );
        let node_controller = node_controller(&flags.node_controller, &mut errors);
        let node_lifecycle = node_lifecycle(&flags.node_lifecycle, &mut errors);
        let service_controller = service_controller(&flags.service_controller, &mut errors);
        let logging = logging(&flags.logging, &mut errors);
        let route_controller = network::route_controller(&flags.route_controller, &mut errors);
        let node_ipam =
            network::node_ipam(&flags.node_ipam, cidrs.as_deref(), &mut errors, &mut warnings);
        let volume_controller = volume_controller(&flags.volume_controller, &mut errors);

        match (
            cloud,
            leader_election,
            serving,
            node_controller,
            node_lifecycle,
            service_controller,
            logging,
            cidrs,
            route_controller,
            node_ipam,
            volume_controller,
            (controllers, start_interval, own_accounts, pace),
        ) {
            (
                Some(cloud),
                Some(leader_election),
                Some(serving),
                Some(node_controller),
                Some(node_lifecycle),
                Some(service_controller),
                Some(logging),
                Some(cidrs),
                Some(route_controller),
                Some(node_ipam),
                Some(volume_controller),
                (Some(controllers), Some(start_interval), Some(own_accounts), Some(pace)),
            ) if errors.0.is_empty() => Ok(Self {
                cloud,
                cluster: Cluster { pace, own_accounts, ..cluster(name, cidrs, flags.generic) },
                leader_election,
                serving,
                node_controller,
                node_lifecycle,
                service_controller,
                route_controller,
                node_ipam,
                volume_controller,
                logging,
                controllers,
                start_interval,
                warnings,
                given: flags.given,
            }),
            _ => Err(FlagErrors(errors.0)),
        }
    }
}

pub(super) const CONCURRENCY: &str = "a number from 1 to 65535";
pub(super) const BOOLEAN: &str = "true or false";
pub(super) const DURATION: &str =
    "a duration longer than zero, such as 300ms, 15s, 1.5h or 1h15m30s";
/// client-go's, for who says that there shall be none: then nothing would ever be sent.
const USUAL_BURST: NonZeroU16 = NonZeroU16::new(10).unwrap();

const OBJECT_NAME: &str = "a Kubernetes object name: lower-case letters, digits, '-' and '.'";

/// A look at everything in the cloud costs calls; more often than this it would crowd out what users
/// wait for. A guess.
pub(super) const SHORTEST_DRIFT_INTERVAL: Duration = Duration::from_secs(10);

/// What is wrong, gathered while reading on.
#[derive(Default)]
pub(super) struct Errors(pub(super) Vec<FlagError>);

impl Errors {
    /// Reads one value; `None` has been reported.
    pub(super) fn read<T>(
        &mut self,
        flag: &'static str,
        value: &str,
        accepted: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let read = read(value);
        if read.is_none() {
            self.0.push(FlagError::Unusable { flag, value: value.to_owned(), accepted });
        }
        read
    }

    /// Reports `error` unless the rule is kept.
    pub(super) fn rule(&mut self, kept: bool, error: impl FnOnce() -> FlagError) {
        if !kept {
            self.0.push(error());
        }
    }
}

fn cloud(flags: typed::Cloud, known: &[&str], errors: &mut Errors) -> Option<Cloud> {
    let untagged = &flags.allow_untagged_cloud;
    let allow_untagged = errors.read("--allow-untagged-cloud", untagged, BOOLEAN, go::boolean);
    let provider = flags.cloud_provider;
    if provider.is_empty() {
        errors.0.push(FlagError::NoCloudProvider);
        return None;
    }
    errors.rule(known.is_empty() || known.contains(&provider.as_str()), || {
        FlagError::UnknownCloudProvider { name: provider.clone(), known: known.join(", ") }
    });
    Some(Cloud { provider, config: path(flags.cloud_config), allow_untagged: allow_untagged? })
}

fn cluster(name: String, cidrs: Vec<IpNet>, flags: typed::Generic) -> Cluster {
    Cluster {
        name,
        cidrs,
        kubeconfig: path(flags.kubeconfig),
        master: Some(flags.master).filter(|master| !master.is_empty()),
        pace: None,
        own_accounts: false,
    }
}

/// The elements of a list that is separated by commas and typed once or several times. A value that
/// is empty has none: templates leave such ones behind.
pub(super) fn elements(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().filter(|value| !value.is_empty()).flat_map(|value| value.split(','))
}

/// The outer `None`: reported. The inner: without bounds.
#[expect(clippy::option_option, reason = "as said")]
fn pace(flags: &typed::Generic, errors: &mut Errors) -> Option<Option<Pace>> {
    let qps = errors.read(
        "--kube-api-qps",
        &flags.kube_api_qps,
        "a number of requests a second such as 20 or 0.5, or 0 for no bound",
        |text| text.parse::<f32>().ok().filter(|qps| qps.is_finite()),
    );
    let burst = errors.read(
        "--kube-api-burst",
        &flags.kube_api_burst,
        "a number from 1 to 65535, or 0 for 10",
        |text| go::whole::<u16>(text).map(|burst| NonZeroU16::new(burst).unwrap_or(USUAL_BURST)),
    );
    let (qps, burst) = (qps?, burst?);
    Some((qps > 0.0).then_some(Pace { qps, burst }))
}

/// The outer `None`: reported. The inner: switched off.
#[expect(clippy::option_option, reason = "as said")]
fn leader_election(
    flags: typed::LeaderElection,
    errors: &mut Errors,
) -> Option<Option<LeaderElection>> {
    let enabled = errors.read("--leader-elect", &flags.leader_elect, BOOLEAN, go::boolean);
    let lease_duration = errors.read(
        "--leader-elect-lease-duration",
        &flags.leader_elect_lease_duration,
        "a duration of whole seconds, one at least, such as 15s or 1m30s",
        lease_duration,
    );
    let renew_deadline = errors.read(
        "--leader-elect-renew-deadline",
        &flags.leader_elect_renew_deadline,
        DURATION,
        positive_duration,
    );
    let retry_period = errors.read(
        "--leader-elect-retry-period",
        &flags.leader_elect_retry_period,
        DURATION,
        positive_duration,
    );
    let migrates = errors.read(
        "--enable-leader-migration",
        &flags.enable_leader_migration,
        BOOLEAN,
        go::boolean,
    );
    // As upstream, the rest is of no interest without an election.
    if !enabled? {
        return Some(None);
    }

    errors.read(
        "--leader-elect-resource-lock",
        &flags.leader_elect_resource_lock,
        "\"leases\"",
        |text| (text == "leases").then_some(()),
    );
    for (flag, value) in [
        ("--leader-elect-resource-name", &flags.leader_elect_resource_name),
        ("--leader-elect-resource-namespace", &flags.leader_elect_resource_namespace),
    ] {
        errors.read(flag, value, OBJECT_NAME, |text| is_object_name(text).then_some(()));
    }

    if let (Some(lease_duration), Some(renew_deadline)) = (lease_duration, renew_deadline) {
        errors.rule(lease_duration > renew_deadline, || FlagError::LeaseNotLonger {
            lease_duration,
            renew_deadline,
        });
    }
    if let (Some(renew_deadline), Some(retry_period)) = (renew_deadline, retry_period) {
        // The factor is that of the jitter between attempts.
        errors.rule(renew_deadline.as_nanos() * 10 > retry_period.as_nanos() * 12, || {
            FlagError::RenewDeadlineTooShort { renew_deadline, retry_period }
        });
    }

    Some(Some(LeaderElection {
        name: flags.leader_elect_resource_name,
        namespace: flags.leader_elect_resource_namespace,
        lease_duration: lease_duration?,
        renew_deadline: renew_deadline?,
        retry_period: retry_period?,
        migration: migrates?.then(|| {
            path(flags.leader_migration_config).map_or(MigrationFile::Usual, MigrationFile::Named)
        }),
    }))
}

fn node_controller(flags: &typed::NodeController, errors: &mut Errors) -> Option<NodeController> {
    let status_update_frequency = errors.read(
        "--node-status-update-frequency",
        &flags.node_status_update_frequency,
        DURATION,
        positive_duration,
    );
    let concurrent_syncs =
        errors.read("--concurrent-node-syncs", &flags.concurrent_node_syncs, CONCURRENCY, |text| {
            go::whole(text).and_then(NonZeroU16::new)
        });
    Some(NodeController {
        status_update_frequency: status_update_frequency?,
        concurrent_syncs: concurrent_syncs?,
    })
}

fn node_lifecycle(flags: &typed::NodeLifecycle, errors: &mut Errors) -> Option<NodeLifecycle> {
    let monitor_period = errors.read(
        "--node-monitor-period",
        &flags.node_monitor_period,
        DURATION,
        positive_duration,
    );
    let concurrent_syncs = errors.read(
        "--concurrent-node-lifecycle-syncs",
        &flags.concurrent_node_lifecycle_syncs,
        CONCURRENCY,
        |text| go::whole(text).and_then(NonZeroU16::new),
    );
    let deletion_min_age = errors.read(
        "--node-deletion-min-age",
        &flags.node_deletion_min_age,
        "a duration such as 0s, 90s or 5m",
        go::duration,
    );
    let has_budget =
        errors.read("--node-deletion-budget", &flags.node_deletion_budget, BOOLEAN, go::boolean);
    let minimum = errors.read(
        "--node-deletion-budget-minimum",
        &flags.node_deletion_budget_minimum,
        "a number of nodes, 0 or more",
        go::whole,
    );
    let percent = errors.read(
        "--node-deletion-budget-percent",
        &flags.node_deletion_budget_percent,
        "a whole number from 0 to 100",
        |text| go::whole(text).filter(|percent| *percent <= 100),
    );
    let window = errors.read(
        "--node-deletion-budget-window",
        &flags.node_deletion_budget_window,
        DURATION,
        positive_duration,
    );
    let limit = Limit { minimum: minimum?, percent: percent?, window: window? };
    Some(NodeLifecycle {
        monitor_period: monitor_period?,
        concurrent_syncs: concurrent_syncs?,
        deletion_min_age: deletion_min_age?,
        deletion_budget: has_budget?.then_some(limit),
    })
}

fn service_controller(
    flags: &typed::ServiceController,
    errors: &mut Errors,
) -> Option<ServiceController> {
    let concurrent_syncs = errors.read(
        "--concurrent-service-syncs",
        &flags.concurrent_service_syncs,
        CONCURRENCY,
        |text| go::whole(text).and_then(NonZeroU16::new),
    );
    // An empty value is what templates leave behind.
    let values = flags.load_balancer_class.iter().filter(|value| !value.is_empty());
    let classes = values.flat_map(|value| value.split(',')).map(|class| {
        errors.read(
            "--load-balancer-class",
            class,
            "names such as internal or example.com/internal, separated by commas",
            |text| is_class(text).then(|| text.to_owned()),
        )
    });
    // All of them are read before the first that is wrong counts.
    let classes: Vec<_> = classes.collect();
    let serve_classless = errors.read(
        "--serve-classless-services",
        &flags.serve_classless_services,
        BOOLEAN,
        go::boolean,
    );
    let drift_interval = errors.read(
        "--load-balancer-drift-interval",
        &flags.load_balancer_drift_interval,
        "a duration of 10s or longer, such as 10m or 1h30m",
        |text| go::duration(text).filter(|interval| *interval >= SHORTEST_DRIFT_INTERVAL),
    );
    Some(ServiceController {
        concurrent_syncs: concurrent_syncs?,
        classes: classes.into_iter().collect::<Option<_>>()?,
        serve_classless: serve_classless?,
        drift_interval: drift_interval?,
    })
}

fn volume_controller(
    flags: &typed::VolumeController,
    errors: &mut Errors,
) -> Option<VolumeController> {
    let provisioned = errors.read(
        "--label-provisioned-volumes",
        &flags.label_provisioned_volumes,
        BOOLEAN,
        go::boolean,
    );
    let overwrite = errors.read(
        "--overwrite-volume-labels",
        &flags.overwrite_volume_labels,
        BOOLEAN,
        go::boolean,
    );
    Some(VolumeController { provisioned: provisioned?, overwrite: overwrite? })
}

fn logging(flags: &typed::Logging, errors: &mut Errors) -> Option<Logging> {
    let verbosity = errors.read("-v", &flags.v, "a number such as 0, 2 or 4", go::whole);
    let format =
        errors.read("--logging-format", &flags.logging_format, "\"text\" or \"json\"", |text| {
            match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            }
        });
    Some(Logging { verbosity: verbosity?, format: format? })
}

/// What fits a Lease's `leaseDurationSeconds`, an int32.
fn lease_duration(text: &str) -> Option<Duration> {
    positive_duration(text).filter(|duration| {
        duration.subsec_nanos() == 0 && i32::try_from(duration.as_secs()).is_ok()
    })
}

pub(super) fn positive_duration(text: &str) -> Option<Duration> {
    go::duration(text).filter(|duration| !duration.is_zero())
}

/// Upstream says "no file" with an empty value.
fn path(typed: OsString) -> Option<PathBuf> {
    (!typed.is_empty()).then(|| typed.into())
}

/// Of the form that Kubernetes asks of names, roughly; the API server knows better.
fn is_object_name(text: &str) -> bool {
    let is_edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_edge)
        && bytes.last().is_some_and(is_edge)
        && bytes.len() <= 253
        && bytes.iter().all(|byte| is_edge(byte) || matches!(byte, b'-' | b'.'))
}

/// What the API accepts as `spec.loadBalancerClass`: a name as of a label, which may have a domain
/// before it.
fn is_class(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let bytes = name.as_bytes();
    domain.is_none_or(is_domain)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.len() <= 63
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// An object name whose parts between dots are object names too.
fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_object_name)
}
