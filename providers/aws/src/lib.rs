#![doc = include_str!("../README.md")]

pub mod actions;
mod client;
mod config;
mod connect;
mod error;
mod ground;
mod instances;
mod load_balancers;
mod marks;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ccm_core::cloud::{
    Belongs, CloudError, CloudProvider, ClusterId, ConfigError, Converger, Facts, LoadBalancerSpec,
    Needs, NodeIdentity, Policy, Read, Registration, Setup,
};

use self::client::Client;
use self::config::Config;
use self::ground::Ground;
use self::load_balancers::{AwsLoadBalancers, NODE_LABELS, ServiceAnnotations};

/// The value of `--cloud-provider`, and the scheme of provider IDs.
const SCHEME: &str = "aws";

/// What `--cloud-provider=aws` stands for.
pub fn registration() -> Registration {
    Registration {
        name: SCHEME,
        needs: Needs { node_labels: NODE_LABELS, ..Needs::default() },
        service_annotations: ServiceAnnotations::ANNOTATIONS,
        policy: Policy::default(),
        build,
    }
}

fn build(setup: &Setup) -> Result<Arc<dyn CloudProvider>, ConfigError> {
    let config = Config::read(setup.config.as_ref())?;
    let ground = Arc::new(Ground {
        client: Client::default(),
        config,
        cluster_name: setup.cluster_name.clone(),
        cluster_cidrs: setup.cluster_cidrs.clone(),
        user_agent: setup.user_agent.clone(),
        home: OnceLock::new(),
    });
    let load_balancers = Converger::new(AwsLoadBalancers::new(Arc::clone(&ground)));
    Ok(Arc::new(Aws { ground, load_balancers }))
}

/// Amazon Web Services, as the framework sees it.
#[derive(Debug)]
struct Aws {
    ground: Arc<Ground>,
    load_balancers: Converger<LoadBalancerSpec>,
}

#[async_trait]
impl CloudProvider for Aws {
    fn name(&self) -> &'static str {
        SCHEME
    }

    fn cluster_id(&self) -> ClusterId {
        match &self.ground.config.cluster {
            Some(cluster) => ClusterId::Given(cluster.id.clone()),
            None => ClusterId::Discovered,
        }
    }

    fn belongs(&self, node: &NodeIdentity) -> Belongs {
        match &node.provider_id {
            None => Belongs::Unsaid,
            Some(id) if id.scheme() == Some(SCHEME) => Belongs::Ours,
            Some(id) => Belongs::Foreign(format!("provider ID {id:?} is not {SCHEME}://…")),
        }
    }

    async fn connect(&self, cx: &Read, _facts: &Facts) -> Result<(), CloudError> {
        connect::connect(&self.ground, cx).await
    }

    fn load_balancers(&self) -> Option<Converger<LoadBalancerSpec>> {
        Some(self.load_balancers.clone())
    }
}
