#![doc = include_str!("../README.md")]

mod client;
mod config;
mod error;
mod id;
mod instances;
mod load_balancers;
mod routes;
mod volumes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{
    Belongs, CloudProvider, ClusterId, ConfigError, Converger, Install, Instances,
    LoadBalancerSpec, Needs, NodeIdentity, Policy, Registration, RouteSpec, Sample, Setup, Volumes,
};

use self::client::Client;
use self::config::Config;
use self::id::SCHEME;
use self::instances::SimInstances;
use self::load_balancers::{Marks, ServiceAnnotations, SimLoadBalancers};
use self::routes::{Scope, SimRoutes};
use self::volumes::SimVolumes;

/// What `--cloud-provider=sim` stands for.
pub fn registration() -> Registration {
    Registration {
        name: SCHEME,
        needs: Needs { own_label_prefixes: &["node.sim.ccm.rs"], ..Needs::default() },
        service_annotations: ServiceAnnotations::ANNOTATIONS,
        // Its answers lag behind only where a test asks for it.
        policy: Policy { absence_grace: Duration::ZERO, ..Policy::default() },
        install: Install {
            config: Some(Sample { file: "sim.yaml", text: include_str!("install/sim.yaml") }),
            secret: Some(Sample {
                file: "token",
                text: "FILL-IN-the-token-of-the-simulated-cloud",
            }),
            args: &["--configure-cloud-routes=false"],
            ..Install::default()
        },
        build,
    }
}

fn build(setup: &Setup) -> Result<Arc<dyn CloudProvider>, ConfigError> {
    let config = Config::read(setup.config.as_ref())?;
    let client = Arc::new(Client::new(&config, &setup.user_agent)?);
    let instances = Arc::new(SimInstances::new(Arc::clone(&client), config.batch_limit));
    // What names a cluster that has no ID of its own is the best there is.
    let cluster = config.cluster_id.as_deref().unwrap_or(setup.cluster_name.as_str());
    let marks = Marks::new(cluster);
    let Config { batch_limit, lag, files, cluster_id, route_table, legacy_volume_field, .. } =
        config;
    let scope =
        Scope { marks: marks.clone(), table: route_table, ranges: setup.cluster_cidrs.clone() };
    let routes = Converger::new(SimRoutes::new(Arc::clone(&client), scope, batch_limit, lag));
    let volumes = SimVolumes::new(Arc::clone(&client), batch_limit, legacy_volume_field);
    let load_balancers = Converger::new(SimLoadBalancers::new(client, marks, batch_limit, lag));
    let volumes = Arc::new(volumes);
    Ok(Arc::new(Sim { files, cluster_id, instances, load_balancers, routes, volumes }))
}

/// The simulated cloud, as the framework sees it.
#[derive(Debug)]
struct Sim {
    files: Vec<PathBuf>,
    cluster_id: Option<String>,
    instances: Arc<SimInstances>,
    load_balancers: Converger<LoadBalancerSpec>,
    routes: Converger<RouteSpec>,
    volumes: Arc<SimVolumes>,
}

impl CloudProvider for Sim {
    fn name(&self) -> &'static str {
        SCHEME
    }

    fn cluster_id(&self) -> ClusterId {
        self.cluster_id.clone().into()
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn belongs(&self, node: &NodeIdentity) -> Belongs {
        match &node.provider_id {
            None => Belongs::Unsaid,
            Some(id) if id.scheme() == Some(SCHEME) => Belongs::Ours,
            Some(id) => Belongs::Foreign(format!("provider ID {id:?} is not {SCHEME}://…")),
        }
    }

    fn instances(&self) -> Option<Arc<dyn Instances>> {
        Some(Arc::clone(&self.instances) as _)
    }

    fn load_balancers(&self) -> Option<Converger<LoadBalancerSpec>> {
        Some(self.load_balancers.clone())
    }

    fn routes(&self) -> Option<Converger<RouteSpec>> {
        Some(self.routes.clone())
    }

    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        Some(Arc::clone(&self.volumes) as _)
    }
}
