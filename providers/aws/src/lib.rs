#![doc = include_str!("../README.md")]

pub mod actions;
mod client;
mod config;
mod connect;
mod error;
mod ground;
mod marks;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ccm_core::cloud::{
    Annotations, Belongs, CloudError, CloudProvider, ClusterId, ConfigError, Facts, Needs,
    NodeIdentity, Policy, Read, Registration, Setup,
};

use self::client::Client;
use self::config::Config;
use self::ground::Ground;

/// The value of `--cloud-provider`, and the scheme of provider IDs.
const SCHEME: &str = "aws";

/// What `--cloud-provider=aws` stands for.
pub fn registration() -> Registration {
    Registration {
        name: SCHEME,
        needs: Needs::default(),
        service_annotations: Annotations::NONE,
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
    Ok(Arc::new(Aws { ground }))
}

/// Amazon Web Services, as the framework sees it.
#[derive(Debug)]
struct Aws {
    ground: Arc<Ground>,
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
}
