//! `cloud-controller-manager plan`: what would be changed in the cloud and in the cluster, and
//! nothing of it is.
//!
//! It is the controllers without their last step. The gate that every mutation passes is never
//! opened, so rights to read are enough on both sides.

mod report;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
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
    let of_cluster = &options.cluster;
    let (kubeconfig, master) = (of_cluster.kubeconfig.as_deref(), of_cluster.master.as_deref());
    let cluster =
        ClusterConfig::load(kubeconfig, master, &user_agent())?.with(of_cluster.manners());
    // Never opened: whatever is overlooked further down is not sent.
    let keeper = GateKeeper::new();
    let gate = keeper.gate();
    let recorder =
        Recorder::new(cluster.mutating_client("event-broadcaster", &gate)?, NAME, &lease::host());
    let metrics = Metrics::register(&mut Registry::default(), registration, &*cloud);
    let governor = Governor::new(gate.clone(), metrics.cloud());
    let needs = &registration.needs;
    let nodes = Arc::new(Nodes::new(needs.node_annotations));
    let controllers = Controllers {
        cluster: &cluster,
        gate: &gate,
        recorder: &recorder,
        metrics: &metrics,
        options,
        registration,
        cloud: Arc::clone(&cloud),
    };
    let Some(instances) = cloud.instances() else {
        without_instances(&*cloud)?;
        return match controllers.node_ipam(None)? {
            Some(settings) => of_ranges(&nodes, &settings, cluster.client("plan")?).await,
            None => Ok(Report::default()),
        };
    };
    let fleet = Arc::new(Fleet::new(instances, governor.clone()));
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

/// What is left of a plan without machines: who is given which range of pods.
async fn of_ranges(
    nodes: &Nodes,
    settings: &node_ipam::Settings,
    client: Client,
) -> Result<Report, BoxError> {
    let listed = async {
        tokio::select! {
            () = nodes.run(client, CancellationToken::new()) => false,
            () = nodes.listed() => true,
        }
    };
    if !timeout(LISTS, listed).await.unwrap_or(false) {
        return Err("the API server does not list Nodes; the log says why".into());
    }
    let mut report = Report::default();
    report.in_cluster(node_ipam::rehearse(nodes, settings).await);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::http::Uri;
    use serde_json::{Value, json};

    use super::*;
    use crate::app::flags::{Command, Program, parse};
    use crate::cloud::annotations::Annotations;
    use crate::cloud::{Belongs, ClusterId, Install, Needs, NodeIdentity, Policy};

    /// A cloud of which nothing is asked.
    #[derive(Debug)]
    struct Nothing;

    impl CloudProvider for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }

        fn cluster_id(&self) -> ClusterId {
            ClusterId::Discovered
        }

        fn belongs(&self, _: &NodeIdentity) -> Belongs {
            Belongs::Unsaid
        }
    }

    /// An API server with one Node. Gives its address.
    async fn api_server() -> String {
        let answer = async |uri: Uri| -> Json<Value> {
            if uri.query().is_some_and(|query| query.contains("watch=")) {
                std::future::pending::<()>().await;
            }
            Json(json!({
                "apiVersion": "v1",
                "kind": "NodeList",
                "metadata": { "resourceVersion": "1" },
                "items": [{ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1", "uid": "u" } }],
            }))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    #[tokio::test]
    async fn without_machines_ranges_are_planned_all_the_same() {
        let master = format!("--master={}", api_server().await);
        let line = ["ccm", "--cloud-provider=nothing", "--allocate-node-cidrs", &master];
        let program = Program { name: "ccm", version: "0", commit: None, providers: vec![] };
        let line = line.into_iter().chain(["--cluster-cidr=10.0.0.0/8"]);
        let Ok(Command::Run(options)) = parse(&program, line) else { panic!("refused") };
        let registration = Registration {
            name: "nothing",
            needs: Needs::default(),
            service_annotations: Annotations::NONE,
            policy: Policy::default(),
            install: Install::default(),
            build: |_| Ok(Arc::new(Nothing)),
        };
        let made = Box::pin(make(&options, &registration, Arc::new(Nothing)));
        let report = made.await.unwrap();
        let text = report.text(false);
        assert!(text.contains("spec.podCIDRs: 10.0.0.0/24"), "{text}");
    }
}
