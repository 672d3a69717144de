//! The provider against its promises, on a cloud of its own for each of them.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod balancing;
mod disks;
mod routing;

use std::collections::BTreeMap;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_conformance::{Fault, Harness, Unsupported, leave};
use ccm_core::cloud::{
    Ask, CloudProvider, ClusterName, ConfigFile, NodeAddress, NodeIdentity, NodeName, Observation,
    Setup, Uid,
};
use ccm_provider_sim::registration;
use ipnet::IpNet;
use simcloud::api::{
    CreateInstance, FaultKind, FaultSpec, Instance, InstanceId, Nic, Operation, OperationFilter,
    RateLimit, SettingsPatch,
};
use simcloud::console::Console;
use simcloud::{Config, Running, SimCloud, Token};

/// How the call log and faults name the provider.
const CALLER: &str = "ccm-under-test";
const TOKEN: &str = "a-token";
const CLUSTER: &str = "conformance";

struct SimHarness {
    _running: Running,
    console: Console,
    provider: Arc<dyn CloudProvider>,
    launched: AtomicU64,
    names: Mutex<BTreeMap<InstanceId, NodeName>>,
}

/// A process of the provider: of this cluster with these ranges, on the cloud at this URL.
fn process(url: &str, cluster: &str, ranges: &[IpNet]) -> Arc<dyn CloudProvider> {
    let file = format!("endpoint: {url}\ntoken: {TOKEN}\n");
    let config = ConfigFile { path: "/etc/sim.yaml".into(), bytes: file.into() };
    let setup = Setup {
        config: Some(config),
        cluster_name: ClusterName::from(cluster),
        user_agent: format!("{CALLER}/1"),
        cluster_cidrs: ranges.to_vec(),
    };
    (registration().build)(&setup).unwrap()
}

impl SimHarness {
    async fn start() -> Self {
        let mut config = Config::new("the-console", "the-controls");
        config.tokens.push(Token::new("provider", TOKEN));
        let running = SimCloud::start(config).await.unwrap();
        let console = Console::new(running.url(), "the-console", "the-controls").unwrap();

        // The kit asks for more in a second than a cluster does in an hour.
        let without_limit = Some(RateLimit { per_second: 0.0, burst: 1 });
        let patch = SettingsPatch {
            read_rate: without_limit,
            write_rate: without_limit,
            ..SettingsPatch::default()
        };
        console.change_settings(&patch).await.unwrap();
        let provider = process(&running.url(), CLUSTER, &[]);
        let (launched, names) = (AtomicU64::new(0), Mutex::default());
        Self { _running: running, console, provider, launched, names }
    }

    async fn launch_named(&self, name: &str) -> NodeIdentity {
        let number = self.launched.fetch_add(1, Ordering::Relaxed);
        // All that a record can hold, and labels that a node cannot.
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let nic = Nic {
            private_ipv4s: vec![[10, 0, 0, 1].into()],
            private_ipv6s: vec!["fd00::1".parse().unwrap()],
            public_ipv4: Some([192, 0, 2, 1].into()),
            private_dns_name: Some(format!("{name}.internal.example")),
            ..Nic::default()
        };
        let wanted = CreateInstance {
            nics: Some(vec![nic, Nic::default()]),
            labels: [
                label("node.sim.ccm.rs/rack", "r-12"),
                label("node.sim.ccm.rs/owner", "somebody & co"),
                label("no key", "x"),
            ]
            .into(),
            // The cloud takes them as they are written.
            pod_cidrs: vec!["10.1.0.7/24".parse().unwrap(), "fd01::/64".parse().unwrap()],
            ..CreateInstance::named(name)
        };
        let made = self.console.create_instance(&wanted).await.unwrap();
        self.names.lock().unwrap().insert(made.id.clone(), NodeName::from(name));
        node(&made, number)
    }

    async fn fault(&self, operation: OperationFilter, kind: FaultKind) {
        let spec = FaultSpec::always(operation, kind);
        let spec = FaultSpec { caller: Some(CALLER.to_owned()), ..spec };
        self.console.add_fault(&spec).await.unwrap();
    }
}

/// The UID of a node of this harness is the instance's ID.
fn node(made: &Instance, number: u64) -> NodeIdentity {
    NodeIdentity {
        name: NodeName::from(made.name.as_str()),
        uid: Uid::from(made.id.as_str()),
        created: SystemTime::now(),
        provider_id: None,
        // Some machines say it, some do not.
        system_uuid: number.is_multiple_of(2).then(|| made.system_uuid.to_uppercase().into()),
        addresses: vec![NodeAddress::internal([10, 0, 0, 1].into())],
        labels: [].into(),
        annotations: [].into(),
        is_initialized: false,
    }
}

fn instance(node: &NodeIdentity) -> InstanceId {
    InstanceId::from(node.uid.as_str())
}

#[async_trait]
impl Harness for SimHarness {
    fn cloud(&self) -> Arc<dyn CloudProvider> {
        Arc::clone(&self.provider)
    }

    async fn launch(&self) -> NodeIdentity {
        let name = format!("node-{}", self.launched.load(Ordering::Relaxed));
        self.launch_named(&name).await
    }

    async fn stop(&self, node: &NodeIdentity) {
        self.console.stop_instance(&instance(node)).await.unwrap();
    }

    async fn start(&self, node: &NodeIdentity) {
        self.console.start_instance(&instance(node)).await.unwrap();
    }

    async fn terminate(&self, node: &NodeIdentity) {
        self.console.terminate_instance(&instance(node)).await.unwrap();
    }

    async fn forget(&self, node: &NodeIdentity) {
        let no_records =
            SettingsPatch { terminated_retention_ms: Some(0), ..SettingsPatch::default() };
        self.console.change_settings(&no_records).await.unwrap();
        self.terminate(node).await;
    }

    async fn replace(&self, node: &NodeIdentity) -> NodeIdentity {
        self.terminate(node).await;
        self.launch_named(node.name.as_str()).await
    }

    async fn inject(&self, fault: Fault) -> Result<(), Unsupported> {
        match fault {
            Fault::Denied => {
                self.console.revoke_token("provider").await.unwrap();
            }
            Fault::Throttled { retry_after } => {
                let retry_after_ms = Some(retry_after.as_secs() * 1000);
                self.fault(OperationFilter::Any, FaultKind::Throttle { retry_after_ms }).await;
            }
            Fault::Hang => self.fault(OperationFilter::Any, FaultKind::Hang { max_ms: None }).await,
            Fault::EmptyAnswer => {
                let describe = OperationFilter::One(Operation::DescribeInstances);
                self.fault(describe, FaultKind::EmptyPage).await;
            }
        }
        Ok(())
    }

    async fn heal(&self) {
        self.console.restore_token("provider").await.unwrap();
        self.console.clear_faults().await.unwrap();
        let no_quotas = SettingsPatch { quotas: Some(BTreeMap::new()), ..SettingsPatch::default() };
        self.console.change_settings(&no_quotas).await.unwrap();
    }
}

ccm_conformance::conformance!(instances, SimHarness::start().await);
ccm_conformance::conformance!(load_balancers, SimHarness::start().await);
ccm_conformance::conformance!(routes, SimHarness::start().await);
ccm_conformance::conformance!(volumes, SimHarness::start().await);
ccm_conformance::report!(SimHarness::start().await, instances, load_balancers, routes, volumes);

/// Some clouds put a new machine behind the old one's ID: the provider ID leads to it, and it is
/// another all the same.
#[tokio::test]
async fn a_machine_replaced_behind_its_provider_id_is_another() {
    let harness = SimHarness::start().await;
    let mut node = harness.launch().await;
    node.provider_id = Some(format!("sim://{}", node.uid).as_str().try_into().unwrap());
    let instances = harness.provider.instances().unwrap();
    for ask in [Ask::Look, Ask::Confirm] {
        let machine = async || {
            let cx = leave(Duration::from_secs(30));
            let mut said = instances.describe(&cx, ask, slice::from_ref(&node)).await.unwrap();
            match said.pop() {
                Some(Observation::Present(instance)) => instance,
                other => panic!("{ask:?}: {other:?}"),
            }
        };
        let old = machine().await;
        harness.console.replace_instance(&instance(&node)).await.unwrap();
        let new = machine().await;
        assert_eq!(new.provider_id, old.provider_id, "{ask:?}");
        assert_ne!(new.incarnation, old.incarnation, "{ask:?}");
    }
}

/// What the quota is spent on: a look at many is one call, a confirmation is a direct one each.
#[tokio::test]
async fn calls() {
    let harness = SimHarness::start().await;
    let mut nodes = vec![harness.launch().await, harness.launch().await, harness.launch().await];
    for node in &mut nodes[1..] {
        node.provider_id = Some(format!("sim://{}", node.uid).as_str().try_into().unwrap());
    }
    let instances = harness.provider.instances().unwrap();
    let spent = async |ask| {
        harness.console.clear_calls().await.unwrap();
        instances.describe(&leave(Duration::from_secs(30)), ask, &nodes).await.unwrap();
        let calls = harness.console.calls().await.unwrap();
        (calls.of(Operation::DescribeInstances), calls.of(Operation::GetInstance))
    };
    assert_eq!(spent(Ask::Look).await, (1, 0));
    assert_eq!(spent(Ask::Confirm).await, (1, 2));
}
