//! `cloud-controller-manager plan`: what would be changed in the cloud and in the cluster, and
//! nothing of it is.
//!
//! It is the controllers without their last step. The gate that every mutation passes is never
//! opened, so rights to read are enough on both sides.

mod report;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::report::{Action, Change, Failure, Group, Report};
use super::flags::{Options, Output, PlanOptions};
use super::wiring::{Controllers, Metrics, connect_once, without_instances};
use super::{NAME, user_agent};
use crate::cloud::{BoxError, CloudProvider, Registration};
use crate::cluster::client::ClusterConfig;
use crate::cluster::events::Recorder;
use crate::cluster::gate::GateKeeper;
use crate::cluster::keys::controller;
use crate::cluster::lease;
use crate::cluster::nodes::Nodes;
use crate::controllers::{node, node_ipam, node_lifecycle};
use crate::fleet::Fleet;
use crate::governor::Governor;

/// How long the lists of Nodes and Services may take, and after them that of volumes.
const LISTS: Duration = Duration::from_mins(1);

/// Makes the plan and prints it on stdout. Gives the exit code.
pub(super) async fn run(
    options: &Options,
    plan: PlanOptions,
    registration: &Registration,
    cloud: Arc<dyn CloudProvider>,
) -> Result<u8, BoxError> {
    let report = Box::pin(make(options, registration, cloud)).await?;
    let text = match plan.output {
        Output::Text => report.text(plan.colors),
        Output::Json => report.json(),
    };
    // A reader that has gone has read what it wanted.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    Ok(report.exit_code())
}

async fn make(
    options: &Options,
    registration: &Registration,
    cloud: Arc<dyn CloudProvider>,
) -> Result<Report, BoxError> {
    let cluster = ClusterConfig::load(
        options.cluster.kubeconfig.as_deref(),
        options.cluster.master.as_deref(),
        &user_agent(),
    )?
    .with(options.cluster.manners());
    // Never opened: whatever is overlooked further down is not sent.
    let keeper = GateKeeper::new();
    let gate = keeper.gate();
    let recorder =
        Recorder::new(cluster.mutating_client("event-broadcaster", &gate)?, NAME, &lease::host());
    let metrics = Metrics::register(&mut Registry::default(), registration, &*cloud);
    let governor = Governor::new(gate.clone(), metrics.cloud());
    let Some(instances) = cloud.instances() else {
        without_instances(&*cloud)?;
        return Ok(Report::default());
    };
    let needs = &registration.needs;
    let nodes = Arc::new(Nodes::new(needs.node_annotations));
    let fleet = Arc::new(Fleet::new(instances, governor.clone()));
    let controllers = Controllers {
        cluster: &cluster,
        gate: &gate,
        recorder: &recorder,
        metrics: &metrics,
        options,
        registration,
        cloud: Arc::clone(&cloud),
    };
    let balancing = controllers.balancing(&nodes, &fleet, &governor)?;
    let ipam = controllers.node_ipam(Some(&fleet))?;
    let routing = controllers.routing(&nodes, &governor)?;
    let labelling = controllers.labelling(&governor)?;

    let client = cluster.client("plan")?;
    let stop = CancellationToken::new();
    let watch = {
        let (nodes, client, stop) = (Arc::clone(&nodes), client.clone(), stop.clone());
        let services = balancing.as_ref().map(|(services, _)| Arc::clone(services));
        let volumes = labelling.as_ref().map(|(volumes, _)| Arc::clone(volumes));
        async move {
            let of_services = async {
                if let Some(services) = services {
                    services.run(client.clone(), stop.clone()).await;
                }
            };
            let of_volumes = async {
                if let Some(volumes) = volumes {
                    volumes.run(client.clone(), stop.clone()).await;
                }
            };
            futures::join!(nodes.run(client.clone(), stop.clone()), of_services, of_volumes);
        }
    };
    let work = async {
        connect_once(&*cloud, &governor, &client, needs).await?;
        let listed = async {
            nodes.listed().await;
            if let Some((services, _)) = &balancing {
                services.listed().await;
            }
        };
        if timeout(LISTS, listed).await.is_err() {
            let message = "the API server does not list Nodes and Services; the log says why";
            return Err(BoxError::from(message));
        }
        let mut report = Report::default();
        if controllers.runs(controller::NODE) {
            report.in_cluster(node::rehearse(&nodes, &fleet, &*cloud, needs).await);
        }
        if controllers.runs(controller::NODE_LIFECYCLE) {
            report.in_cluster(node_lifecycle::rehearse(&nodes, &fleet, &*cloud, needs).await);
        }
        if let Some(settings) = &ipam {
            report.in_cluster(node_ipam::rehearse(&nodes, settings).await);
        }
        if let Some((_, controller)) = &balancing {
            report.of_services(controller.rehearse().await);
        }
        if let Some(controller) = &routing {
            report.of_routes(controller.rehearse().await);
        }
        if let Some((volumes, controller)) = &labelling {
            if timeout(LISTS, volumes.listed()).await.is_ok() {
                report.in_cluster(controller.rehearse().await);
            } else {
                report.not_listed("PersistentVolumes");
            }
        }
        Ok(report)
    };
    let background = futures::future::join(watch, Arc::clone(&fleet).run(stop.clone()));
    tokio::pin!(background);
    let report = tokio::select! {
        report = work => report,
        _ = &mut background => Err("the watches have ended".into()),
    };
    stop.cancel();
    report
}
