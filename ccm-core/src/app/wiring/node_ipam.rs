//! The node IPAM controller: from which parts it is made, and when it starts.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Controllers, NODE_IPAM_SHORT, Running};
use crate::app::flags::NodeIpam;
use crate::app::serve::{Checks, Scope};
use crate::app::tasks::Tasks;
use crate::cloud::BoxError;
use crate::cluster::keys::controller;
use crate::cluster::nodes::Nodes;
use crate::controllers::WriteClient;
use crate::controllers::node_ipam::{
    Network, NodeIpamController, Parts, Settings, Source, Strangers,
};
use crate::fleet::Fleet;

impl Controllers<'_> {
    /// What the controller is to do. `None`: it is switched off. `fleet`: `None` where the provider
    /// has no instances.
    pub(in crate::app) fn node_ipam(
        &self,
        fleet: Option<&Arc<Fleet>>,
    ) -> Result<Option<Settings>, BoxError> {
        let has_routes = fleet.is_some() && self.makes_routes();
        let (source, kept_free) = match &self.options.node_ipam {
            _ if !self.runs(controller::NODE_IPAM) => return Ok(None),
            None => return Ok(None),
            Some(NodeIpam::Range { pools, kept_free }) => {
                (Source::Cluster(pools.clone()), kept_free.clone())
            }
            Some(NodeIpam::Cloud { pools, kept_free }) => {
                let Some(fleet) = fleet else {
                    let name = self.cloud.name();
                    let message = format!(
                        "--cidr-allocator-type=CloudAllocator: provider {name} has no instances that \
                         could have ranges"
                    );
                    return Err(message.into());
                };
                let source = Source::Cloud {
                    cluster: pools.clone(),
                    fleet: Arc::clone(fleet),
                    cloud: Arc::clone(&self.cloud),
                    needs: self.registration.needs.clone(),
                };
                (source, kept_free.clone())
            }
        };
        let network = match source {
            _ if has_routes => Network::Routes,
            Source::Cluster(_) => Network::Ourselves,
            Source::Cloud { .. } => Network::Cloud,
        };
        let slow = self.options.node_controller.status_update_frequency;
        let (cloud, needs) = (Arc::clone(&self.cloud), self.registration.needs.clone());
        let strangers = Some(Strangers { cloud, needs });
        Ok(Some(Settings { source, kept_free, network, slow, strangers }))
    }

    /// Starts the controller, where it is switched on. What it has to ask of the cloud waits for
    /// `connected`. Says whether it runs.
    pub(super) fn start_node_ipam(
        &self,
        nodes: &Arc<Nodes>,
        fleet: Option<&Arc<Fleet>>,
        connected: CancellationToken,
        pause: Duration,
        tasks: &mut Tasks,
        checks: &Checks,
    ) -> Result<bool, BoxError> {
        let Some(settings) = self.node_ipam(fleet)? else { return Ok(false) };
        let asks_the_cloud = matches!(settings.source, Source::Cloud { .. });
        let client = self.cluster.controller_client(controller::NODE_IPAM, self.gate)?;
        let parts = Parts {
            nodes: Arc::clone(nodes),
            client: WriteClient::new(client),
            // Upstream's component, which dashboards and people filter by.
            recorder: self.recorder.for_component("cidrAllocator"),
            metrics: self.metrics.ipam.clone(),
        };
        let ipam = NodeIpamController::new(parts, settings);
        let health = Arc::clone(&ipam);
        checks.add(controller::NODE_IPAM, Scope::Live, move || health.check());
        let stop = tasks.stop();
        let runs = Running { process: self.metrics.process.clone(), stop: stop.clone() };
        tasks.spawn(controller::NODE_IPAM, async move {
            if asks_the_cloud {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = connected.cancelled() => {}
                }
            }
            runs.run(NODE_IPAM_SHORT, pause, |stop| ipam.run(stop)).await;
        });
        Ok(true)
    }
}
