//! A simulated cloud with the provider in front of it, and the passes of the engine over it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

use ccm_conformance::Passes;
use ccm_core::cloud::{
    ClusterName, ConfigFile, Detail, Evidence, Identity, Incarnation, Instance, LoadBalancerSpec,
    Member, NodeIdentity, NodeName, ObjectId, Observation, PodCidrs, Protocol, ProviderId, Report,
    RunState, ServicePort, Setup, Uid, Want,
};
use ccm_provider_sim::registration;
use futures::FutureExt;
use simcloud::api::{
    CallEntry, CreateInstance, FaultKind, FaultSpec, InstanceId, OperationClass, OperationFilter,
    RateLimit, SettingsPatch,
};
use simcloud::console::Console;
use simcloud::{Config, Running, SimCloud, Token};

pub(crate) type Wanted = Want<LoadBalancerSpec>;

/// How the call log and faults name the provider.
pub(crate) const CALLER: &str = "ccm-under-test";
const TOKEN: &str = "a-token";
const CLUSTER: &str = "blue";

pub(crate) struct Stage {
    _running: Running,
    pub(crate) console: Console,
    pub(crate) passes: Passes<LoadBalancerSpec>,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let mut config = Config::new("the-console", "the-controls");
        config.tokens.push(Token::new("provider", TOKEN));
        let running = SimCloud::start(config).await.unwrap();
        let console = Console::new(running.url(), "the-console", "the-controls").unwrap();
        // Passes follow each other without a pause here, and how they cope with a limit is tested
        // elsewhere.
        let none = RateLimit { per_second: 0.0, burst: 1 };
        let (read_rate, write_rate) = (Some(none), Some(none));
        let patch = SettingsPatch { read_rate, write_rate, ..SettingsPatch::default() };
        console.change_settings(&patch).await.unwrap();
        let file = format!("endpoint: {}\ntoken: {TOKEN}\nclusterID: {CLUSTER}\n", running.url());
        let setup = Setup {
            config: Some(ConfigFile { path: "/etc/sim.yaml".into(), bytes: file.into() }),
            cluster_name: ClusterName::from("kubernetes"),
            user_agent: format!("{CALLER}/1"),
            cluster_cidrs: Vec::new(),
        };
        let begin = move || {
            let provider = (registration().build)(&setup).unwrap();
            async move { provider.load_balancers().unwrap() }.boxed()
        };
        Self { _running: running, console, passes: Passes::start(begin).await }
    }

    /// Machines, as nodes see them.
    pub(crate) async fn launch(&self, many: usize) -> Vec<Member> {
        let wanted = (0..many).map(|number| CreateInstance::named(format!("node-{number:04}")));
        let made = self.console.create_instances(wanted.collect()).await.unwrap();
        made.iter().map(|one| member(&one.name, &one.id)).collect()
    }

    /// What is said of an object by the unit that is its own.
    pub(crate) fn with_report<T>(&self, id: &ObjectId, see: impl FnOnce(&Report) -> T) -> T {
        self.passes.with_report(&id.to_string(), id, see)
    }

    pub(crate) fn with_firewall_report<T>(
        &self,
        id: &ObjectId,
        see: impl FnOnce(&Report) -> T,
    ) -> T {
        self.passes.with_report("firewall", id, see)
    }

    /// All that is in the cloud, without IDs.
    pub(crate) async fn snapshot(&self) -> Vec<String> {
        self.console.snapshot(&BTreeMap::new()).await.unwrap().pieces
    }

    pub(crate) async fn fault(&self, operation: OperationFilter, kind: FaultKind, skip: u64) {
        let mut spec = FaultSpec::next_calls(operation, kind, 1);
        spec.extent.skip = Some(skip);
        spec.caller = Some(CALLER.to_owned());
        self.console.add_fault(&spec).await.unwrap();
    }

    /// Reads and writes of the provider since the last time.
    pub(crate) async fn take_calls(&self) -> (Vec<String>, Vec<String>) {
        let log = self.console.call_log(0).await.unwrap();
        self.console.clear_calls().await.unwrap();
        let ours = log.entries.into_iter().filter(|call| call.caller == CALLER);
        let (reads, writes): (Vec<CallEntry>, Vec<CallEntry>) =
            ours.partition(|call| call.operation.class() == OperationClass::Read);
        let names =
            |calls: Vec<CallEntry>| calls.iter().map(|it| it.operation.to_string()).collect();
        (names(reads), names(writes))
    }
}

pub(crate) fn member(name: &str, instance: &InstanceId) -> Member {
    let provider_id = ProviderId::try_from(format!("sim://{instance}")).unwrap();
    let node = NodeIdentity {
        name: NodeName::from(name),
        uid: Uid::from(name),
        created: SystemTime::UNIX_EPOCH,
        provider_id: Some(provider_id.clone()),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    let instance = Instance {
        provider_id,
        incarnation: Incarnation::from(format!("{instance}/1")),
        state: RunState::Running,
        instance_type: None,
        zone: None,
        region: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    };
    Member { node, instance: Arc::new(Observation::Present(instance)) }
}

pub(crate) fn gone(member: &Member) -> Member {
    let instance = Arc::new(Observation::Gone(Evidence::Terminated));
    Member { node: member.node.clone(), instance }
}

pub(crate) fn id(name: &str) -> ObjectId {
    let uid = Uid::from(format!("uid-of-{name}"));
    ObjectId { namespace: "default".into(), name: name.into(), uid }
}

pub(crate) fn identity(name: &str) -> Identity {
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Identity { id: id(name), annotations, finalizers, ingress: Vec::new() }
}

pub(crate) fn port(port: u16, node_port: u16) -> ServicePort {
    ServicePort {
        name: format!("port-{port}"),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(port).unwrap(),
        node_port: NonZeroU16::new(node_port),
        app_protocol: None,
    }
}

/// A Service with these ports, each with a node port 30000 above it.
pub(crate) fn spec(name: &str, ports: &[u16]) -> LoadBalancerSpec {
    let mut spec = LoadBalancerSpec::new(identity(name));
    spec.ports = ports.iter().map(|it| port(*it, 30_000 + *it)).collect();
    spec
}

pub(crate) fn annotated(mut spec: LoadBalancerSpec, pairs: &[(&str, &str)]) -> LoadBalancerSpec {
    let pairs = pairs.iter().map(|(key, value)| (format!("sim.ccm.rs/{key}"), (*value).to_owned()));
    let read = registration().service_annotations.read;
    spec.annotations = read(&pairs.collect()).unwrap().value;
    spec
}

pub(crate) fn present(spec: LoadBalancerSpec) -> Wanted {
    Want::Present(Arc::new(spec))
}

pub(crate) fn absent(name: &str) -> Wanted {
    Want::Absent(Arc::new(identity(name)))
}

pub(crate) fn keep(name: &str) -> Wanted {
    Want::Keep(Arc::new(identity(name)))
}
