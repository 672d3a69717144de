//! What the controllers are made from, and how they are started.

mod node_ipam;
mod pacing;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::future::BoxFuture;
use kube::Client;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::pacing::{Pacing, Running};
use super::flags::{Options, gates};
use super::serve::{Checks, Scope};
use super::tasks::Tasks;
use crate::cloud::{
    BoxError, CloudError, CloudProvider, Freshness, Kind, Needs, Registration, Urgency,
};
use crate::cluster::client::ClusterConfig;
use crate::cluster::events::Recorder;
use crate::cluster::facts;
use crate::cluster::gate::Gate;
use crate::cluster::keys::controller;
use crate::cluster::nodes::Nodes;
use crate::cluster::services::Services;
use crate::controllers::WriteClient;
use crate::controllers::node::{self, NodeController};
use crate::controllers::node_lifecycle::{self, NodeLifecycleController};
use crate::controllers::route::{self, RouteController};
use crate::controllers::service::claims::Claims;
use crate::controllers::service::{self, ServiceController};
use crate::fleet::Fleet;
use crate::governor::Governor;
use crate::report::Chain;
use crate::telemetry::{
    CloudMetrics, ConvergeMetrics, IpamMetrics, LifecycleMetrics, NodeMetrics, ProcessMetrics,
    QueueMetrics, RouteMetrics, ServiceMetrics, VolumeMetrics,
};

/// How long the provider may take to find its surroundings before it starts over.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause between two tries to find the provider's surroundings.
const CONNECT_PAUSE: Duration = Duration::from_secs(30);

/// The controllers as upstream's metric calls them.
const NODE_SHORT: &str = "cloud-node";
const LIFECYCLE_SHORT: &str = "cloud-node-lifecycle";
const SERVICE_SHORT: &str = "service";
const NODE_IPAM_SHORT: &str = "nodeipam";
const ROUTE_SHORT: &str = "route";
const VOLUME_SHORT: &str = "cloud-volume";

/// What a controller watches for itself, and the controller.
pub(super) type Watched<Objects, Controller> = (Arc<Objects>, Arc<Controller>);

/// What is counted.
pub(super) struct Metrics {
    pub(super) process: ProcessMetrics,
    cloud: CloudMetrics,
    node: NodeMetrics,
    lifecycle: LifecycleMetrics,
    service: ServiceMetrics,
    route: RouteMetrics,
    volume: VolumeMetrics,
    converge: ConvergeMetrics,
    ipam: IpamMetrics,
}

impl Metrics {
    pub(super) fn register(
        registry: &mut Registry,
        registration: &Registration,
        cloud: &dyn CloudProvider,
    ) -> Self {
        let queues = QueueMetrics::register(registry);
        Self {
            process: ProcessMetrics::register(registry),
            cloud: CloudMetrics::register(registry, &metric_prefix(registration, cloud))
                .named(registration.policy.legacy_request_names),
            node: NodeMetrics::register(registry, &queues),
            lifecycle: LifecycleMetrics::register(registry),
            service: ServiceMetrics::register(registry, &queues),
            route: RouteMetrics::register(registry, &queues),
            volume: VolumeMetrics::register(registry, &queues),
            converge: ConvergeMetrics::register(registry, &queues),
            ipam: IpamMetrics::register(registry, &queues),
        }
    }

    /// What is counted of requests to the cloud.
    pub(super) fn cloud(&self) -> CloudMetrics {
        self.cloud.clone()
    }

    /// No controller runs yet; which features there are does not depend on it.
    pub(super) fn at_start(&self) {
        for name in
            [NODE_SHORT, LIFECYCLE_SHORT, SERVICE_SHORT, ROUTE_SHORT, NODE_IPAM_SHORT, VOLUME_SHORT]
        {
            self.process.runs(name, false);
        }
        for (name, stage, done) in gates::fixed() {
            self.process.feature(name, stage, done);
        }
    }
}

/// The prefix of the cloud's API metrics: that of the Go program that is replaced, if there is one.
fn metric_prefix(registration: &Registration, cloud: &dyn CloudProvider) -> String {
    let legacy = registration.policy.legacy_metric_prefix.map(str::to_owned);
    legacy.unwrap_or_else(|| format!("cloudprovider_{}", cloud.name()))
}

/// What every controller is made from.
pub(super) struct Controllers<'a> {
    pub(super) cluster: &'a ClusterConfig,
    pub(super) gate: &'a Gate,
    pub(super) recorder: &'a Recorder,
    pub(super) metrics: &'a Metrics,
    pub(super) options: &'a Options,
    pub(super) registration: &'a Registration,
    pub(super) cloud: Arc<dyn CloudProvider>,
}

impl Controllers<'_> {
    /// Starts what the provider can do and `--controllers` lets run.
    pub(super) fn start(self, tasks: &mut Tasks, checks: &Checks) -> Result<(), BoxError> {
        let cloud = Arc::clone(&self.cloud);
        let governor = Governor::new(self.gate.clone(), self.metrics.cloud.clone());
        let nodes = Arc::new(Nodes::new(self.registration.needs.node_annotations));
        let connected = CancellationToken::new();
        let mut pacing = Pacing::new(self.options.start_interval);
        let Some(instances) = cloud.instances() else {
            without_instances(&*cloud)?;
            let pause = pacing.next();
            if self.start_node_ipam(&nodes, None, connected, pause, tasks, checks)? {
                warn!(provider = cloud.name(), "no instances: only ranges for pods are seen to");
                let (client, stop) = (self.cluster.client("shared-informers")?, tasks.stop());
                tasks.spawn("nodes", async move { nodes.run(client, stop).await });
            } else {
                warn!(provider = cloud.name(), "no instances: no controller runs");
            }
            return Ok(());
        };
        let fleet = Arc::new(Fleet::new(instances, governor.clone()));
        let client = self.cluster.client("shared-informers")?;
        let runs = Running { process: self.metrics.process.clone(), stop: tasks.stop() };
        let mut running: Vec<BoxFuture<'static, ()>> = Vec::new();

        let writer = self.cluster.controller_client(controller::NODE, self.gate)?;
        if self.runs(controller::NODE) {
            let client = WriteClient::new(writer.clone());
            let initialiser = self.initialiser(&nodes, &fleet, client);
            let health = Arc::clone(&initialiser);
            checks.add(controller::NODE, Scope::Live, move || health.check());
            running.push(runs.run(NODE_SHORT, pacing.next(), |stop| initialiser.run(stop)));
        }
        if self.runs(controller::NODE_LIFECYCLE) {
            let lifecycle = self.lifecycle(&nodes, &fleet, WriteClient::new(writer));
            let health = Arc::clone(&lifecycle);
            checks.add(controller::NODE_LIFECYCLE, Scope::Live, move || health.check());
            running.push(runs.run(LIFECYCLE_SHORT, pacing.next(), |stop| lifecycle.run(stop)));
        }
        if let Some((services, balancing)) = self.balancing(&nodes, &fleet, &governor)? {
            let health = Arc::clone(&balancing);
            checks.add(controller::SERVICE, Scope::Live, move || health.check());
            let (client, stop) = (client.clone(), tasks.stop());
            tasks.spawn("services", async move { services.run(client, stop).await });
            running.push(runs.run(SERVICE_SHORT, pacing.next(), |stop| balancing.run(stop)));
        }
        if let Some(routing) = self.routing(&nodes, &governor)? {
            let health = Arc::clone(&routing);
            checks.add(controller::ROUTE, Scope::Live, move || health.check());
            running.push(runs.run(ROUTE_SHORT, pacing.next(), |stop| routing.run(stop)));
        }
        if let Some((volumes, labelling)) = self.labelling(&governor)? {
            let health = Arc::clone(&labelling);
            checks.add(controller::VOLUME, Scope::Live, move || health.check());
            let (client, stop) = (client.clone(), tasks.stop());
            tasks.spawn("volumes", async move { volumes.run(client, stop).await });
            running.push(runs.run(VOLUME_SHORT, pacing.next(), |stop| labelling.run(stop)));
        }
        let pause = pacing.next();
        let gives_ranges =
            self.start_node_ipam(&nodes, Some(&fleet), connected.clone(), pause, tasks, checks)?;
        if running.is_empty() && !gives_ranges {
            // As upstream. Nobody would look at the Nodes, and no right to watch them is granted.
            warn!("no controller runs: --controllers, other flags or the provider leave none");
            return Ok(());
        }

        let stop = tasks.stop();
        tasks.spawn("nodes", {
            let stop = stop.clone();
            // It ends only when it is stopped.
            async move { nodes.run(client, stop).await }
        });
        tasks.spawn("fleet", fleet.run(stop.clone()));
        let needs = self.registration.needs.clone();
        let reader = self.cluster.client("cluster-facts")?;
        tasks.spawn("controllers", async move {
            if connect(&*cloud, &governor, &reader, &needs, &stop).await {
                connected.cancel();
                // Even where none is left that could: others wait for the cloud too.
                running.push(Box::pin(stop.cancelled_owned()));
                futures::future::join_all(running).await;
            }
        });
        Ok(())
    }

    /// Whether `--controllers` lets it run.
    pub(super) fn runs(&self, controller: &str) -> bool {
        self.options.controllers.has(controller)
    }

    fn initialiser(
        &self,
        nodes: &Arc<Nodes>,
        fleet: &Arc<Fleet>,
        client: WriteClient,
    ) -> Arc<NodeController> {
        let parts = node::Parts {
            nodes: Arc::clone(nodes),
            fleet: Arc::clone(fleet),
            cloud: Arc::clone(&self.cloud),
            client,
            recorder: self.recorder.for_component(controller::NODE),
            metrics: self.metrics.node.clone(),
        };
        let settings = node::Settings {
            refresh: self.options.node_controller.status_update_frequency,
            writers: self.options.node_controller.concurrent_syncs,
            needs: self.registration.needs.clone(),
            routed: self.makes_routes(),
        };
        NodeController::new(parts, settings)
    }

    fn lifecycle(
        &self,
        nodes: &Arc<Nodes>,
        fleet: &Arc<Fleet>,
        client: WriteClient,
    ) -> Arc<NodeLifecycleController> {
        let options = &self.options.node_lifecycle;
        let parts = node_lifecycle::Parts {
            nodes: Arc::clone(nodes),
            fleet: Arc::clone(fleet),
            cloud: Arc::clone(&self.cloud),
            client,
            recorder: self.recorder.for_component(controller::NODE_LIFECYCLE),
            metrics: self.metrics.lifecycle.clone(),
        };
        let settings = node_lifecycle::Settings {
            period: options.monitor_period,
            min_age: self.deletion_min_age(),
            terminated_is_final: self.registration.policy.terminated_is_final,
            limit: options.deletion_budget,
            writers: options.concurrent_syncs,
            needs: self.registration.needs.clone(),
        };
        NodeLifecycleController::new(parts, settings)
    }

    /// The age that counts. Says so where it is not the one that was asked for.
    fn deletion_min_age(&self) -> Duration {
        let asked = self.options.node_lifecycle.deletion_min_age;
        let grace = self.registration.policy.absence_grace;
        if let Some(warning) = raised(self.registration.name, asked, grace) {
            warn!("{warning}");
        }
        asked.max(grace)
    }

    /// `None` where the provider has no load balancers, or they are not wanted.
    pub(super) fn balancing(
        &self,
        nodes: &Arc<Nodes>,
        fleet: &Arc<Fleet>,
        governor: &Governor,
    ) -> Result<Option<Watched<Services, ServiceController>>, BoxError> {
        if !self.runs(controller::SERVICE) {
            return Ok(None);
        }
        let Some(balancers) = self.cloud.load_balancers() else {
            warn!(provider = self.cloud.name(), "no load balancers: their controller does not run");
            return Ok(None);
        };
        let (options, registration) = (&self.options.service_controller, self.registration);
        let (needs, annotations) = (&registration.needs, registration.service_annotations);
        if needs.endpoints || needs.namespaces {
            let message = format!(
                "provider {} needs endpoints or namespaces of Services, which are not watched yet",
                registration.name
            );
            return Err(message.into());
        }
        let services = Arc::new(Services::new(&annotations, needs.service_labels));
        let client = self.cluster.controller_client(controller::SERVICE, self.gate)?;
        let parts = service::Parts {
            services: Arc::clone(&services),
            nodes: Arc::clone(nodes),
            fleet: Arc::clone(fleet),
            cloud: Arc::clone(&self.cloud),
            balancers,
            governor: governor.clone(),
            client: WriteClient::new(client),
            // Upstream's component, which dashboards and people filter by.
            recorder: self.recorder.for_component("service-controller"),
            metrics: self.metrics.service.clone(),
            converge: self.metrics.converge.of("load_balancer"),
        };
        let settings = service::Settings {
            workers: options.concurrent_syncs,
            claims: Claims { classes: options.classes.clone(), classless: options.serve_classless },
            drift: options.drift_interval,
            needs: needs.clone(),
            annotations,
        };
        Ok(Some((services, ServiceController::new(parts, settings))))
    }

    /// Whether the route controller runs, where there are machines that routes could lead to.
    fn makes_routes(&self) -> bool {
        self.options.wants_routes() && self.cloud.routes().is_some()
    }

    /// `None` where the provider has no routes, or they are not wanted.
    pub(super) fn routing(
        &self,
        nodes: &Arc<Nodes>,
        governor: &Governor,
    ) -> Result<Option<Arc<RouteController>>, BoxError> {
        if !self.runs(controller::ROUTE) {
            return Ok(None);
        }
        let Some(options) = self.options.route_controller else {
            info!("--configure-cloud-routes=false: the route controller does not run");
            return Ok(None);
        };
        let Some(routes) = self.cloud.routes() else {
            info!(provider = self.cloud.name(), "no routes: their controller does not run");
            return Ok(None);
        };
        let parts = route::Parts {
            nodes: Arc::clone(nodes),
            cloud: Arc::clone(&self.cloud),
            routes,
            governor: governor.clone(),
            client: WriteClient::new(self.cluster.controller_client(controller::ROUTE, self.gate)?),
            // Upstream's component, underscore and all.
            recorder: self.recorder.for_component("route_controller"),
            metrics: self.metrics.route.clone(),
            converge: self.metrics.converge.of("route"),
        };
        let settings = route::Settings {
            workers: options.concurrent_syncs,
            cluster: self.options.cluster.cidrs.clone(),
            spacing: options.shortest_interval,
            drift: options.drift_interval,
            needs: self.registration.needs.clone(),
        };
        Ok(Some(RouteController::new(parts, settings)))
    }
}

/// Routes go to the ranges of pods, so without those there is nothing to be made, and what is there
/// could not be told from what is not ours. Upstream ends too, and names neither flag.
pub(super) fn without_ranges(cloud: &dyn CloudProvider, options: &Options) -> Result<(), BoxError> {
    let is_wanted = options.wants_routes() && cloud.routes().is_some();
    if !is_wanted || !options.cluster.cidrs.is_empty() {
        return Ok(());
    }
    let message = format!(
        "provider {} has routes, and --cluster-cidr is not given, to whose ranges they lead: give it, \
         or --configure-cloud-routes=false where the network needs no routes of the cloud",
        cloud.name()
    );
    Err(message.into())
}

/// Load balancers and routes lead to machines: without those there is nothing to be made.
pub(super) fn without_instances(cloud: &dyn CloudProvider) -> Result<(), BoxError> {
    let what = match (cloud.load_balancers(), cloud.routes()) {
        (None, None) => return Ok(()),
        (Some(_), _) => "load balancers",
        (None, Some(_)) => "routes",
    };
    let name = cloud.name();
    Err(format!("provider {name} has {what} and no instances to which they could lead").into())
}

/// Lets the provider find its surroundings, as often as it takes. False when the process stops.
async fn connect(
    cloud: &dyn CloudProvider,
    governor: &Governor,
    client: &Client,
    needs: &Needs,
    stop: &CancellationToken,
) -> bool {
    let attempt = || connect_once(cloud, governor, client, needs);
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

/// Lets the provider find its surroundings.
pub(super) async fn connect_once(
    cloud: &dyn CloudProvider,
    governor: &Governor,
    client: &Client,
    needs: &Needs,
) -> Result<(), CloudError> {
    let cx = governor.read(Urgency::Initialize, Freshness::Live, CONNECT_PATIENCE);
    cloud.connect(&cx, &facts::read(client, needs).await?).await
}

/// What is said where the provider does not believe so soon as was asked for that a machine is gone.
fn raised(provider: &str, asked: Duration, grace: Duration) -> Option<String> {
    (asked < grace).then(|| {
        format!(
            "--node-deletion-min-age={}: provider {provider} needs {}, which is used: its answers \
             about new machines lag behind",
            humantime::format_duration(asked),
            humantime::format_duration(grace),
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::less(1, true)]
    #[case::as_much(5, false)]
    #[case::more(10, false)]
    fn an_age_that_is_raised_is_said(#[case] asked: u64, #[case] is_raised: bool) {
        let said = raised("p", Duration::from_mins(asked), Duration::from_mins(5));
        assert_eq!(said.is_some(), is_raised);
        let words = ["--node-deletion-min-age=1m", "provider p needs 5m"];
        assert!(said.is_none_or(|said| words.iter().all(|word| said.contains(word))));
    }
}
