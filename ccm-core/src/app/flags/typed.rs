//! What was typed: names, defaults and help of the flags.
//!
//! Values stay text, so that everything wrong with them is reported together, by one function,
//! where it is known what each must be. A flag of a later stage is a field here and a line there.

#![expect(clippy::struct_field_names, reason = "fields bear the flags' names")]

use std::ffi::OsString;

use clap::{ArgAction, Args, CommandFactory, Parser};

use super::given::Given;
use super::serving;
use super::{ignored, selection};

/// The command line as typed, with upstream's names, and with its defaults but where the help says what
/// upstream's is.
#[derive(Debug, Parser)]
#[command(
    about = "Runs the controllers that connect a Kubernetes cluster to its cloud",
    disable_help_flag = true,
    next_line_help = true,
    args_override_self = true
)]
pub struct Flags {
    #[command(flatten)]
    pub(super) generic: Generic,
    #[command(flatten)]
    pub(super) cloud: Cloud,
    #[command(flatten)]
    pub(super) leader_election: LeaderElection,
    #[command(flatten)]
    pub(super) serving: serving::typed::Serving,
    #[command(flatten)]
    pub(super) authentication: serving::typed::Authentication,
    #[command(flatten)]
    pub(super) authorization: serving::typed::Authorization,
    #[command(flatten)]
    pub(super) debugging: serving::typed::Debugging,
    #[command(flatten)]
    pub(super) node_controller: NodeController,
    #[command(flatten)]
    pub(super) node_lifecycle: NodeLifecycle,
    #[command(flatten)]
    pub(super) service_controller: ServiceController,
    #[command(flatten)]
    pub(super) route_controller: RouteController,
    #[command(flatten)]
    pub(super) node_ipam: NodeIpam,
    #[command(flatten)]
    pub(super) volume_controller: VolumeController,
    #[command(flatten)]
    pub(super) logging: Logging,
    #[command(flatten)]
    pub(super) global: Global,

    /// There are none; kept to be refused together with all else.
    #[arg(hide = true)]
    pub(super) positional: Vec<OsString>,

    /// Providers built into the program; empty when that is not known.
    #[arg(skip)]
    pub(super) providers: Vec<&'static str>,

    /// What to warn of already.
    #[arg(skip)]
    pub(super) warnings: Vec<String>,
    /// Every flag by its name, with its value.
    #[arg(skip)]
    pub(super) given: Given,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Generic flags")]
pub(super) struct Generic {
    /// Kubeconfig file with the address of the API server and credentials; without it those of the
    /// pod are used
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) kubeconfig: OsString,

    /// Address of the API server; overrides the one in the kubeconfig
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub(super) master: String,

    /// Requests a second that each kind of client may send to the API server, 0 or less for as many as
    /// there are: how many are under way at once is bounded by the flags --concurrent-* (upstream: 20)
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    pub(super) kube_api_qps: String,

    /// Requests that may be sent at once after a pause, where --kube-api-qps bounds them; 0 for 10, as
    /// upstream
    #[arg(long, value_name = "NUMBER", default_value = "30")]
    pub(super) kube_api_burst: String,

    /// Controllers to run: names, "-name" for those that shall not run, "*" for all others; separated
    /// by commas, and the flag may be given several times. Of two entries for one controller the first
    /// counts
    #[arg(long, value_name = "LIST", action = ArgAction::Append, default_value = "*")]
    pub(super) controllers: Vec<String>,

    /// Pause between the start of one controller and the next, once or twice as long
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(super) controller_start_interval: String,

    /// Name=true or Name=false, separated by commas; gates of the Go programs are known, and warned
    /// about where what they ask for is not what is done
    #[arg(long, value_name = "GATES", action = ArgAction::Append)]
    pub(super) feature_gates: Vec<String>,

    /// Have each controller write as a service account of its own in kube-system, which is made where
    /// it is missing; each needs rights of its own
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) use_service_account_credentials: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Cloud flags")]
pub(super) struct Cloud {
    /// Cloud provider to run; required
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(super) cloud_provider: String,

    /// The provider's configuration file; none by default
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) cloud_config: OsString,

    /// Name of the cluster, by which what belongs to it is told apart in the cloud
    #[arg(long, value_name = "NAME", default_value = "kubernetes")]
    pub(super) cluster_name: String,

    /// Ranges of the pods of this cluster: one, or one of each family separated by a comma. Needed
    /// for routes and where nodes are given their ranges from it
    #[arg(long, value_name = "CIDRS", default_value = "", hide_default_value = true)]
    pub(super) cluster_cidr: String,

    /// Run though the provider cannot tell this cluster's resources from another's; deprecated
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) allow_untagged_cloud: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Leader election flags")]
pub(super) struct LeaderElection {
    /// Run controllers only while holding the lease; needed with more than one replica
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) leader_elect: String,

    /// How long other replicas wait after the last renewal they saw before they take over; whole
    /// seconds
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    pub(super) leader_elect_lease_duration: String,

    /// How long the leader tries to renew before it gives up; shorter than the lease duration
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) leader_elect_renew_deadline: String,

    /// Pause between attempts to take or renew the lease
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub(super) leader_elect_retry_period: String,

    /// Kind of object used as lock; there is only "leases"
    #[arg(long, value_name = "KIND", default_value = "leases")]
    pub(super) leader_elect_resource_lock: String,

    /// Name of the lease
    #[arg(long, value_name = "NAME", default_value = "cloud-controller-manager")]
    pub(super) leader_elect_resource_name: String,

    /// Namespace of the lease
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub(super) leader_elect_resource_namespace: String,

    /// Run nothing before the lease is held, too, under which a kube-controller-manager runs the
    /// controllers that move here; needs --leader-elect
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) enable_leader_migration: String,

    /// File that says which controllers move, and under which lease; without it those that the
    /// kube-controller-manager had, under cloud-provider-extraction-migration
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    pub(super) leader_migration_config: OsString,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Node controller flags")]
pub(super) struct NodeController {
    /// Pause between updates of all nodes' addresses and labels from the cloud
    #[arg(long, value_name = "DURATION", default_value = "5m0s")]
    pub(super) node_status_update_frequency: String,

    /// Nodes worked on at once (upstream: 1)
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub(super) concurrent_node_syncs: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Node lifecycle controller flags")]
pub(super) struct NodeLifecycle {
    /// From one look at the machine of a node that is not ready to the next
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(super) node_monitor_period: String,

    /// Writes to nodes under way at once (upstream: 1)
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub(super) concurrent_node_lifecycle_syncs: String,

    /// Age that a node must have before it is deleted because its machine is gone; the provider may
    /// ask for more, and for none where the machine's record says that it was terminated
    #[arg(long, value_name = "DURATION", default_value = "5m0s")]
    pub(super) node_deletion_min_age: String,

    /// Delete no more nodes than the budget allows whose machines are gone though nobody announced
    /// it; false: as many as there are, as upstream
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) node_deletion_budget: String,

    /// The budget: at least so many nodes in one window, however few nodes there are
    #[arg(long, value_name = "NUMBER", default_value = "3")]
    pub(super) node_deletion_budget_minimum: String,

    /// The budget: this share of the provider's nodes in one window, if that is more
    #[arg(long, value_name = "PERCENT", default_value = "10")]
    pub(super) node_deletion_budget_percent: String,

    /// The budget: the window, in which a spent budget fills again, evenly
    #[arg(long, value_name = "DURATION", default_value = "10m0s")]
    pub(super) node_deletion_budget_window: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Service controller flags")]
pub(super) struct ServiceController {
    /// Services and what their load balancers share, worked on at once (upstream: 1)
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub(super) concurrent_service_syncs: String,

    /// Classes of load balancers to serve, besides services without a class; separated by commas,
    /// and the flag may be given several times
    #[arg(long, value_name = "CLASSES", action = ArgAction::Append)]
    pub(super) load_balancer_class: Vec<String>,

    /// Serve services that name no class of load balancer
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) serve_classless_services: String,

    /// From one look at every load balancer for what others changed in the cloud to the next; at
    /// least 10s
    #[arg(long, value_name = "DURATION", default_value = "1h0m0s")]
    pub(super) load_balancer_drift_interval: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Route controller flags")]
pub(super) struct RouteController {
    /// Have the cloud send packets for pods to their nodes, where the provider has routes; needs
    /// --cluster-cidr
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) configure_cloud_routes: String,

    /// However often a node changes, from one look at its routes to the next at least this time
    /// (upstream: from one look at all routes to the next)
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) route_reconciliation_period: String,

    /// Nodes whose routes are worked on at once (upstream: 200)
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub(super) concurrent_route_syncs: String,

    /// From one look at every route for what others changed in the cloud to the next; at least 10s
    #[arg(long, value_name = "DURATION", default_value = "1h0m0s")]
    pub(super) route_drift_interval: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Node IPAM controller flags")]
pub(super) struct NodeIpam {
    /// Give nodes the ranges of their pods (upstream: without effect). Only one program of a cluster
    /// may: the kube-controller-manager runs without its node-ipam-controller then
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) allocate_node_cidrs: String,

    /// Where the ranges come from: `RangeAllocator`, out of --cluster-cidr, or `CloudAllocator`, as
    /// the cloud gives them to machines
    #[arg(long, value_name = "TYPE", default_value = "RangeAllocator")]
    pub(super) cidr_allocator_type: String,

    /// Prefix length of a node's range in a cluster with one --cluster-cidr; 0 is 24 for IPv4 and 64
    /// for IPv6
    #[arg(long, value_name = "LENGTH", default_value = "0")]
    pub(super) node_cidr_mask_size: String,

    /// Prefix length of a node's IPv4 range; 0 is 24
    #[arg(long, value_name = "LENGTH", default_value = "0")]
    pub(super) node_cidr_mask_size_ipv4: String,

    /// Prefix length of a node's IPv6 range; 0 is 64
    #[arg(long, value_name = "LENGTH", default_value = "0")]
    pub(super) node_cidr_mask_size_ipv6: String,

    /// Ranges of the cluster's Services, which no node is given: one, or one of each family
    #[arg(long, value_name = "CIDRS", default_value = "", hide_default_value = true)]
    pub(super) service_cluster_ip_range: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Volume controller flags")]
pub(super) struct VolumeController {
    /// Say on all persistent volumes of the provider's driver where they are, also on those that a
    /// provisioner made, which know it themselves
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) label_provisioned_volumes: String,

    /// Where the zone or region on a persistent volume differs from the cloud's, write the cloud's
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) overwrite_volume_labels: String,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logging flags")]
pub(super) struct Logging {
    /// Verbosity of the log: 0 for what happens, 2 adds what libraries say, 4 why nothing happens,
    /// 6 everything of ours
    #[arg(short, long, value_name = "LEVEL", default_value = "0")]
    pub(super) v: String,

    /// Format of the log: "text" or "json"
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) logging_format: String,
}

/// What `plan` takes besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Plan flags")]
pub(super) struct Plan {
    /// How the plan is printed: "text", like a diff, or "json"
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(super) output: String,

    /// Colours in the text: "auto" (on a terminal, unless `NO_COLOR` is set), "always" or "never"
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(super) color: String,
}

/// What `manifest` takes besides.
#[derive(Debug, Args)]
#[command(next_help_heading = "Manifest flags")]
pub(super) struct Manifest {
    /// The program's image, by the name under which the cluster gets it
    #[arg(long, value_name = "NAME:TAG", default_value = IMAGE)]
    pub(super) image: String,

    /// What runs it: "daemonset", a pod on each node of the control plane, or "deployment", two pods on
    /// two of them
    #[arg(long, value_name = "KIND", default_value = "daemonset")]
    pub(super) workload: String,
}

/// A name that nobody's cluster has, so that it is filled in.
pub(super) const IMAGE: &str =
    concat!("registry.example.com/cloud-controller-manager:v", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Args)]
#[command(next_help_heading = "Global flags")]
pub(super) struct Global {
    /// Print the version and exit; =raw for all its parts
    #[arg(
        long,
        value_name = "true|raw",
        default_value = "false",
        hide_default_value = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(super) version: String,

    /// Print this help and exit
    #[arg(short, long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// The command as the program's users see it.
pub(super) fn command(name: &'static str, providers: &[&str]) -> clap::Command {
    ignored::augment(Flags::command())
        .name(name)
        .override_usage(format!(
            "{name} [flags]\n       {name} plan [flags]\n       {name} manifest [flags]\n       \
             {name} completion SHELL"
        ))
        .mut_args(|arg| {
            // As in Go, the argument after a flag is its value whatever it looks like.
            let takes_next = !arg.is_positional()
                && arg.get_action().takes_values()
                && !arg.is_require_equals_set();
            arg.allow_hyphen_values(takes_next)
        })
        .mut_arg("controllers", |arg| {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help}. There are: {}", selection::known()))
        })
        .mut_arg("cloud_provider", |arg| {
            if providers.is_empty() {
                return arg;
            }
            arg.help(format!("Cloud provider to run; required; one of: {}", providers.join(", ")))
        })
}

/// The command `plan`: the same flags, and its own.
pub(super) fn plan_command(name: &'static str, providers: &[&str]) -> clap::Command {
    let about = "Prints what the controllers would change in the cloud and in the cluster, and \
                 changes nothing. Ends with 0 when nothing would change, with 2 when something would, \
                 with 1 when that cannot be said";
    // Adding arguments brings the words of their struct with it.
    Plan::augment_args(command(name, providers))
        .about(about)
        .override_usage(format!("{name} plan [flags]"))
}

/// The command `manifest`: the flags that the program shall run with, and its own.
pub(super) fn manifest_command(name: &'static str, providers: &[&str]) -> clap::Command {
    let about = "Prints what installs the program in a cluster, to run with these flags: kubectl apply -f. It has \
                 the rights that the controllers need which the flags let run, and no others";
    Manifest::augment_args(command(name, providers))
        .about(about)
        .override_usage(format!("{name} manifest [flags]"))
}
