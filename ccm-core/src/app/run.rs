//! The life of the process, from the first look at the lease to its release.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use kube::Client;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::flags::{LeaderElection, Options};
use super::serve::{Checks, Scope, Server};
use super::tasks::{GRACE, Tasks, on_signal};
use super::{NAME, VERSION, user_agent};
use crate::cloud::{
    BoxError, CloudError, CloudProvider, Freshness, Kind, Needs, Registration, Urgency,
};
use crate::cluster::client::ClusterConfig;
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::facts;
use crate::cluster::gate::{Gate, GateKeeper};
use crate::cluster::keys;
use crate::cluster::lease::{self, Election, Elector, Lost, Timing};
use crate::cluster::nodes::Nodes;
use crate::controllers::WriteClient;
use crate::controllers::node::{self, NodeController};
use crate::controllers::node_lifecycle::{self, NodeLifecycleController};
use crate::fleet::Fleet;
use crate::governor::Governor;
use crate::report::Chain;
use crate::telemetry::{CloudMetrics, LifecycleMetrics, NodeMetrics, ProcessMetrics};

/// How long the provider may take to find its surroundings before it starts over.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause between two tries to find the provider's surroundings.
const CONNECT_PAUSE: Duration = Duration::from_secs(30);

/// The controllers as upstream's metric calls them.
const NODE_SHORT: &str = "cloud-node";
const LIFECYCLE_SHORT: &str = "cloud-node-lifecycle";

/// How long the last events may take on the way out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until a signal, a lost lease or a task that fails.
pub async fn run(
    options: Options,
    registration: &Registration,
    cloud: Arc<dyn CloudProvider>,
) -> Result<(), BoxError> {
    info!(version = VERSION, provider = cloud.name(), "starting");
    let mut tasks = Tasks::default();
    let stop = tasks.stop();
    tokio::spawn(on_signal(stop.clone())?);

    let cluster = ClusterConfig::load(
        options.cluster.kubeconfig.as_deref(),
        options.cluster.master.as_deref(),
        &user_agent(),
    )?;
    let mut registry = Registry::default();
    let metrics = Metrics {
        process: ProcessMetrics::register(&mut registry),
        cloud: CloudMetrics::register(&mut registry, &metric_prefix(registration, &*cloud)),
        node: NodeMetrics::register(&mut registry),
        lifecycle: LifecycleMetrics::register(&mut registry),
    };
    let checks = Checks::default();
    let (mut leadership, gate) = match &options.leader_election {
        Some(election) => {
            let keeper = GateKeeper::new();
            let gate = keeper.gate();
            (Leadership::Elected(Box::new(elector(&cluster, election, keeper)?)), gate)
        }
        None => (Leadership::Alone, Gate::always_open()),
    };
    leadership.add_check(&checks);
    if let Some(serving) = &options.serving {
        let server = Server::new(serving.address, checks.clone(), Arc::new(registry));
        tasks.spawn_last("serve", server.run(tasks.stop(), tasks.close()));
    }

    metrics.process.runs(NODE_SHORT, false);
    metrics.process.runs(LIFECYCLE_SHORT, false);
    leadership.count(&metrics.process, false);
    let early = tokio::select! {
        biased;
        () = stop.cancelled() => Some(Ok(())),
        ended = tasks.first_end() => Some(Err(ended.into())),
        () = leadership.acquire() => None,
    };
    if let Some(outcome) = early {
        // A claim may just have been on its way.
        leadership.release().await;
        stop.cancel();
        return outcome.and(tasks.join(GRACE).await.map_err(Into::into));
    }
    let recorder =
        Recorder::new(cluster.mutating_client("event-broadcaster", &gate)?, NAME, &lease::host());
    leadership.announce(&recorder, &metrics.process, true);

    let controllers =
        Controllers { cluster: &cluster, gate: &gate, recorder: &recorder, metrics: &metrics };
    let outcome = match controllers.start(&mut tasks, &checks, &options, registration, cloud) {
        Ok(()) => tokio::select! {
            // Keeps renewing while the tasks finish, and ends at once when the lease is lost:
            // somebody else may be leading by then.
            lost = leadership.hold() => Err(lost.into()),
            ended = tasks.join(GRACE) => ended.map_err(Into::into),
        },
        Err(err) => Err(err),
    };
    leadership.announce(&recorder, &metrics.process, false);
    recorder.flush(LAST_WORDS).await;
    leadership.release().await;
    if outcome.is_ok() {
        info!("stopped");
    }
    outcome
}

fn elector(
    cluster: &ClusterConfig,
    election: &LeaderElection,
    keeper: GateKeeper,
) -> Result<Elector, BoxError> {
    let timing =
        Timing::new(election.lease_duration, election.renew_deadline, election.retry_period)?;
    let client = cluster.lease_client(timing.request_timeout())?;
    let election = Election {
        namespace: election.namespace.clone(),
        name: election.name.clone(),
        identity: lease::identity(),
        timing,
    };
    Ok(Elector::new(client, election, keeper))
}

/// Why this process may write.
enum Leadership {
    /// It holds the lease.
    Elected(Box<Elector>),
    /// `--leader-elect=false`: its operator says that there is no other.
    Alone,
}

impl Leadership {
    fn add_check(&self, checks: &Checks) {
        if let Self::Elected(elector) = self {
            let health = elector.health();
            let check = move || health.check().map_err(|stale| stale.to_string());
            checks.add("leaderElection", Scope::Live, check);
        }
    }

    async fn acquire(&mut self) {
        if let Self::Elected(elector) = self {
            elector.acquire().await;
        }
    }

    async fn hold(&mut self) -> Lost {
        match self {
            Self::Elected(elector) => elector.hold().await,
            Self::Alone => std::future::pending().await,
        }
    }

    fn count(&self, metrics: &ProcessMetrics, leads: bool) {
        if let Self::Elected(elector) = self {
            metrics.leads(&elector.involved().name, leads);
        }
    }

    /// Tells everybody whether we lead.
    fn announce(&self, recorder: &Recorder, metrics: &ProcessMetrics, leads: bool) {
        let Self::Elected(elector) = self else { return };
        self.count(metrics, leads);
        let (about, identity) = (elector.involved(), elector.identity());
        let what = if leads { "became leader" } else { "stopped leading" };
        recorder.event(&about, EventType::Normal, "LeaderElection", format!("{identity} {what}"));
    }

    /// Lets the next replica lead at once.
    async fn release(&mut self) {
        if let Self::Elected(elector) = self
            && let Err(err) = elector.release().await
        {
            warn!(error = %Chain(&err), "lease not released");
        }
    }
}

struct Metrics {
    process: ProcessMetrics,
    cloud: CloudMetrics,
    node: NodeMetrics,
    lifecycle: LifecycleMetrics,
}

/// The prefix of the cloud's API metrics: that of the Go program that is replaced, if there is one.
fn metric_prefix(registration: &Registration, cloud: &dyn CloudProvider) -> String {
    let legacy = registration.policy.legacy_metric_prefix.map(str::to_owned);
    legacy.unwrap_or_else(|| format!("cloudprovider_{}", cloud.name()))
}

/// What every controller is made from.
struct Controllers<'a> {
    cluster: &'a ClusterConfig,
    gate: &'a Gate,
    recorder: &'a Recorder,
    metrics: &'a Metrics,
}

impl Controllers<'_> {
    /// Starts what the provider can do.
    fn start(
        &self,
        tasks: &mut Tasks,
        checks: &Checks,
        options: &Options,
        registration: &Registration,
        cloud: Arc<dyn CloudProvider>,
    ) -> Result<(), BoxError> {
        let governor = Governor::new(self.gate.clone(), self.metrics.cloud.clone());
        let Some(instances) = cloud.instances() else {
            warn!(provider = cloud.name(), "no instances: the node controllers do not run");
            return Ok(());
        };
        let nodes = Arc::new(Nodes::new(registration.needs.node_annotations));
        let fleet = Arc::new(Fleet::new(instances, governor.clone()));
        let writer = WriteClient(self.cluster.mutating_client("node-controller", self.gate)?);
        let initialiser = {
            let parts = node::Parts {
                nodes: Arc::clone(&nodes),
                fleet: Arc::clone(&fleet),
                cloud: Arc::clone(&cloud),
                client: writer.clone(),
                recorder: self.recorder.for_component(keys::controller::NODE),
                metrics: self.metrics.node.clone(),
            };
            let settings = node::Settings {
                refresh: options.node_controller.status_update_frequency,
                writers: options.node_controller.concurrent_syncs,
                needs: registration.needs.clone(),
            };
            NodeController::new(parts, settings)
        };
        let lifecycle = {
            let parts = node_lifecycle::Parts {
                nodes: Arc::clone(&nodes),
                fleet: Arc::clone(&fleet),
                cloud: Arc::clone(&cloud),
                client: writer,
                recorder: self.recorder.for_component(keys::controller::NODE_LIFECYCLE),
                metrics: self.metrics.lifecycle.clone(),
            };
            let settings = node_lifecycle::Settings {
                period: options.node_lifecycle.monitor_period,
                min_age: options
                    .node_lifecycle
                    .deletion_min_age
                    .max(registration.policy.absence_grace),
                limit: options.node_lifecycle.deletion_budget,
                writers: options.node_lifecycle.concurrent_syncs,
                needs: registration.needs.clone(),
            };
            NodeLifecycleController::new(parts, settings)
        };

        let client = self.cluster.client("shared-informers")?;
        let stop = tasks.stop();
        tasks.spawn("nodes", {
            let stop = stop.clone();
            // It ends only when it is stopped.
            async move { nodes.run(client, stop).await }
        });
        tasks.spawn("fleet", fleet.run(stop.clone()));
        let process = self.metrics.process.clone();
        let needs = registration.needs.clone();
        let reader = self.cluster.client("cluster-facts")?;
        let health = Arc::clone(&initialiser);
        checks.add(keys::controller::NODE, Scope::Live, move || health.check());
        let health = Arc::clone(&lifecycle);
        checks.add(keys::controller::NODE_LIFECYCLE, Scope::Live, move || health.check());
        tasks.spawn(keys::controller::NODE, async move {
            if connect(&*cloud, &governor, &reader, &needs, &stop).await {
                process.runs(NODE_SHORT, true);
                process.runs(LIFECYCLE_SHORT, true);
                futures::join!(initialiser.run(stop.clone()), lifecycle.run(stop));
                process.runs(NODE_SHORT, false);
                process.runs(LIFECYCLE_SHORT, false);
            }
        });
        Ok(())
    }
}

/// Lets the provider find its surroundings, as often as it takes. False when the process stops.
async fn connect(
    cloud: &dyn CloudProvider,
    governor: &Governor,
    client: &Client,
    needs: &Needs,
    stop: &CancellationToken,
) -> bool {
    let attempt = || async {
        let cx = governor.read(Urgency::Initialize, Freshness::Live, CONNECT_PATIENCE);
        cloud.connect(&cx, &facts::read(client, needs).await?).await
    };
    let pauses = ExponentialBuilder::default()
        .with_jitter()
        .with_max_delay(CONNECT_PAUSE)
        .without_max_times();
    let connected = attempt
        .retry(pauses)
        .when(|err: &CloudError| err.kind() != Kind::Stopped)
        .notify(|err, pause| warn!(error = %Chain(err), ?pause, "the cloud cannot be reached yet"));
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        connected = connected => connected.is_ok(),
    }
}
