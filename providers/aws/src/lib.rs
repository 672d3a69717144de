#![doc = include_str!("../README.md")]

pub mod actions;
mod client;
mod config;
mod connect;
mod denied;
mod error;
mod ground;
mod id;
mod instances;
mod load_balancers;
mod marks;
mod routes;
mod volumes;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    Belongs, CloudError, CloudProvider, ClusterId, ConfigError, Converger, Facts, Install,
    Instances, LoadBalancerSpec, Needs, NodeIdentity, Policy, Read, Registration, RouteSpec,
    Sample, Setup, Volumes,
};

use self::client::Client;
use self::config::Config;
use self::ground::Ground;
use self::id::SCHEME;
use self::instances::AwsInstances;
use self::load_balancers::{AwsLoadBalancers, NODE_LABELS, ServiceAnnotations};
use self::routes::AwsRoutes;
use self::volumes::AwsVolumes;

/// How long a Node has to be there before a machine that AWS does not know is believed to be gone.
///
/// A new instance is not known everywhere at once: for seconds, on bad days for minutes, questions
/// about it may be answered with "not found". Nodes were deleted for that within a second of their
/// registration. The Go program waits five minutes with the tags of such an instance, and has no
/// such wait before it deletes a Node.
const ABSENCE_GRACE: Duration = Duration::from_mins(5);

/// Requests as the Go program's metrics call them, which has no others in them.
const GO_REQUESTS: [(&str, &str); 5] = [
    ("CreateTags", "create_tags"),
    ("DescribeInstances", "describe_instance"),
    ("DescribeNetworkInterfaces", "describe_network_interfaces"),
    ("DescribeRouteTables", "describe_route_tables"),
    ("DescribeSecurityGroups", "describe_security_groups"),
];

/// What `--cloud-provider=aws` stands for.
pub fn registration() -> Registration {
    Registration {
        name: SCHEME,
        needs: Needs {
            node_labels: NODE_LABELS,
            own_label_prefixes: &["topology.k8s.aws"],
            ..Needs::default()
        },
        service_annotations: ServiceAnnotations::BY_KIND,
        policy: Policy {
            absence_grace: ABSENCE_GRACE,
            // An instance ID is never given to a second machine, and a provider ID is one.
            terminated_is_final: true,
            legacy_metric_prefix: Some("cloudprovider_aws"),
            legacy_request_names: &GO_REQUESTS,
        },
        install: Install {
            config: Some(Sample { file: "cloud.conf", text: include_str!("install/cloud.conf") }),
            secret: Some(Sample { file: "credentials", text: include_str!("install/credentials") }),
            secret_env: Some("AWS_SHARED_CREDENTIALS_FILE"),
            args: &["--configure-cloud-routes=false"],
            ..Install::default()
        },
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
    let instances = Arc::new(AwsInstances::new(Arc::clone(&ground)));
    let routes = Converger::new(AwsRoutes::new(Arc::clone(&ground)));
    let volumes = Arc::new(AwsVolumes::new(Arc::clone(&ground)));
    let load_balancers = Converger::new(AwsLoadBalancers::new(Arc::clone(&ground)));
    Ok(Arc::new(Aws { ground, load_balancers, instances, routes, volumes }))
}

/// Amazon Web Services, as the framework sees it.
#[derive(Debug)]
struct Aws {
    ground: Arc<Ground>,
    load_balancers: Converger<LoadBalancerSpec>,
    instances: Arc<AwsInstances>,
    routes: Converger<RouteSpec>,
    volumes: Arc<AwsVolumes>,
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
            Some(provider_id) if id::is_ours(provider_id) => Belongs::Ours,
            Some(provider_id) => {
                Belongs::Foreign(format!("provider ID {provider_id:?} is not {SCHEME}://…"))
            }
        }
    }

    /// The SDK reads them once. What it reads anew by itself, such as the token of a web identity, is
    /// not among them.
    fn files(&self) -> Vec<PathBuf> {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".aws"));
        let file = |variable: &str, usual: &str| {
            let said = std::env::var_os(variable).filter(|path| !path.is_empty());
            said.map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(usual)))
        };
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        credentials.into_iter().chain(file("AWS_CONFIG_FILE", "config")).collect()
    }

    async fn connect(&self, cx: &Read, _facts: &Facts) -> Result<(), CloudError> {
        connect::connect(&self.ground, cx).await
    }

    fn load_balancers(&self) -> Option<Converger<LoadBalancerSpec>> {
        Some(self.load_balancers.clone())
    }

    fn instances(&self) -> Option<Arc<dyn Instances>> {
        Some(Arc::clone(&self.instances) as _)
    }

    fn routes(&self) -> Option<Converger<RouteSpec>> {
        Some(self.routes.clone())
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        Some(Arc::clone(&self.volumes) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_that_has_another_name_is_sent() {
        for (ours, _) in GO_REQUESTS {
            assert!(actions::ALL.iter().any(|action| action.operation().0 == ours), "{ours}");
        }
    }
}
