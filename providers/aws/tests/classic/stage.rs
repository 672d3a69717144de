//! A fake AWS with the provider in front of it, and the passes of the engine.
//!
//! One fake serves all tests here; each has a cluster and a network of its own, and is told apart by
//! its user agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_awscloud::{AwsCloud, Console, Fault, FaultKind, Launch, World as Network};
use ccm_conformance::leave;
use ccm_core::cloud::{
    AnyChange, Ask, CloudError, CloudProvider, ClusterName, ConfigFile, Converger, Facts,
    Freshness, Holds, Identity, LoadBalancerSpec, Member, NodeAddress, NodeIdentity, NodeName,
    ObjectId, Protocol, Report, ServicePort, Setup, Step, Uid, Unit, Urgency, Verdict, Want, World,
    Write,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::converge::pass::{Around, End, Passed, pass};
use ccm_core::governor::Governor;
use ccm_core::telemetry::CloudMetrics;
use ccm_provider_aws::registration;
use serde_json::Value;
use tokio::sync::OnceCell;

pub(crate) type Wanted = Want<LoadBalancerSpec>;

const REGION: &str = "us-east-1";
pub(crate) const PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";

/// Rounds after which a test gives up.
const MOST_ROUNDS: usize = 60;
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// Never dropped; it ends with the test process.
static CLOUD: OnceCell<AwsCloud> = OnceCell::const_new();

/// Clusters that were made so far.
static CLUSTERS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Stage {
    /// The test's hand on the fake.
    pub(crate) console: Console,
    pub(crate) network: Network,
    caller: String,
    provider: Mutex<Arc<dyn CloudProvider>>,
    standings: Mutex<BTreeMap<(String, Uid), (bool, bool)>>,
    reports: Mutex<BTreeMap<(String, Uid), Report>>,
    sent: Mutex<Vec<String>>,
    pub(crate) failures: Mutex<Vec<String>>,
    /// What was called before is not looked at.
    mark: AtomicU64,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let (cluster, caller) = (format!("classic{number}"), format!("classic-{number}-end"));
        let cloud = CLOUD.get_or_init(|| async { AwsCloud::start().await.unwrap() }).await;
        // A client belongs to the runtime of one test.
        let console = Console::new(cloud.url()).unwrap();
        let network = console.world(&cluster).await.unwrap();
        let provider = process(console.url(), &network, &caller).await;
        let mark = console.mark().await.unwrap();
        Self {
            console,
            network,
            caller,
            provider: Mutex::new(provider),
            standings: Mutex::default(),
            reports: Mutex::default(),
            sent: Mutex::default(),
            failures: Mutex::default(),
            mark: AtomicU64::new(mark),
        }
    }

    /// A new process, which knows nothing.
    pub(crate) async fn restart(&self) {
        let fresh = process(self.console.url(), &self.network, &self.caller).await;
        *self.provider.lock().unwrap() = fresh;
        self.standings.lock().unwrap().clear();
        self.reports.lock().unwrap().clear();
    }

    fn provider(&self) -> Arc<dyn CloudProvider> {
        Arc::clone(&self.provider.lock().unwrap())
    }

    fn converger(&self) -> Converger<LoadBalancerSpec> {
        self.provider().load_balancers().unwrap()
    }

    /// Machines, as nodes see them.
    pub(crate) async fn launch(&self, count: u32) -> Vec<Member> {
        let made = self.console.launch(&self.network, &Launch::of(count)).await.unwrap();
        let node = |it: &ccm_awscloud::Instance| NodeIdentity {
            name: NodeName::from(it.private_dns.as_str()),
            uid: Uid::from(it.id.as_str()),
            created: SystemTime::UNIX_EPOCH,
            provider_id: Some(it.provider_id().try_into().unwrap()),
            system_uuid: None,
            addresses: vec![NodeAddress::internal(it.private_ip.parse().unwrap())],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        let nodes: Vec<_> = made.iter().map(node).collect();
        let instances = self.provider().instances().unwrap();
        let seen = instances.describe(&leave(PATIENCE), Ask::Look, &nodes).await.unwrap();
        let pairs = nodes.into_iter().zip(seen);
        pairs.map(|(node, seen)| Member { node, instance: Arc::new(seen) }).collect()
    }

    async fn pass(&self, unit: &Unit, wants: &[Wanted], nodes: &[Member]) -> Passed {
        let converger = self.converger();
        let turn = |want: &Wanted| {
            let units = converger.units(want);
            let place = units.iter().position(|other| other.name == unit.name).unwrap();
            let far = |unit: &Unit| {
                let key = (unit.name.to_string(), want.id().uid.clone());
                self.standings.lock().unwrap().get(&key).copied().unwrap_or_default()
            };
            let has_come = match want {
                Want::Present(_) => units[..place].iter().all(|unit| far(unit).0),
                Want::Absent(_) => units[place + 1..].iter().all(|unit| far(unit).1),
                Want::Keep(_) => true,
            };
            if has_come { want.clone() } else { want.kept() }
        };
        let world = World { wants: wants.iter().map(turn).collect(), nodes: nodes.into() };
        pass(&converger, unit, world, self).await
    }

    /// Passes over all units until nothing is left to do or to wait for. After a failure it goes on
    /// as a new process would.
    pub(crate) async fn settle(&self, wants: &[Wanted], nodes: &[Member]) {
        for _ in 0..MOST_ROUNDS {
            let before = self.standings.lock().unwrap().clone();
            let (mut is_done, mut changes) = (true, 0);
            for unit in self.converger().units(&wants[0]) {
                let passed = self.pass(&unit, wants, nodes).await;
                changes += passed.changes.len();
                is_done &= matches!(passed.end, End::Done);
                if let End::Failed(err) = &passed.end {
                    self.failures.lock().unwrap().push(err.to_string());
                    self.restart().await;
                }
            }
            if is_done && changes == 0 && before == *self.standings.lock().unwrap() {
                return;
            }
            if !is_done {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let (sent, failures) = (self.take_sent(), self.failures.lock().unwrap().clone());
        panic!("does not settle: {sent:#?} {failures:#?}");
    }

    /// What was sent since the last time, as a dry run shows it.
    pub(crate) fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// What is said of an object by the unit that is its own.
    pub(crate) fn with_report<T>(&self, name: &str, see: impl FnOnce(&Report) -> T) -> T {
        let (id, reports) = (id(name), self.reports.lock().unwrap());
        see(&reports[&(id.to_string(), id.uid)])
    }

    /// Reads by action, and the actions of writes, since the last time.
    pub(crate) async fn take_calls(&self) -> (BTreeMap<String, u64>, Vec<String>) {
        let mark = self.mark.load(Ordering::Relaxed);
        let calls = self.console.calls_since(mark, &self.caller).await.unwrap();
        self.mark.store(self.console.mark().await.unwrap(), Ordering::Relaxed);
        let (mut reads, mut writes) = (BTreeMap::new(), Vec::new());
        for call in calls.into_iter().filter(|call| call.service != "imds") {
            if call.mutates {
                writes.push(call.action);
            } else {
                *reads.entry(format!("{}:{}", call.service, call.action)).or_default() += 1;
            }
        }
        (reads, writes)
    }

    /// All that bears the cluster's mark but its machines and what was there before.
    pub(crate) async fn snapshot(&self) -> Vec<String> {
        let lines = self.console.snapshot(&self.network.cluster).await.unwrap();
        lines.into_iter().filter(|line| !line.starts_with("instance ")).collect()
    }

    /// One of the next writes of the provider is spoilt.
    pub(crate) async fn spoil(&self, kind: FaultKind, skip: u32) {
        let fault = Fault::new("writes", kind).of(&self.caller).after(skip).times(1);
        self.console.add_fault(&fault).await.unwrap();
    }

    /// A call of the operator's.
    pub(crate) async fn aws(&self, service: &str, method: &str, args: Value) -> Value {
        self.console.aws(service, method, args).await.unwrap()
    }
}

/// A process of the provider, connected.
async fn process(url: &str, network: &Network, caller: &str) -> Arc<dyn CloudProvider> {
    let Network { cluster, vpc, public_a, .. } = network;
    let mut text = format!(
        "[Global]\nRegion = {REGION}\nVPC = {vpc}\nSubnetID = {public_a}\nKubernetesClusterID = {cluster}\n"
    );
    let services = ["EC2", "Elastic Load Balancing", "Elastic Load Balancing v2", "ec2imds"];
    for (number, service) in services.into_iter().enumerate() {
        write!(
            text,
            "[ServiceOverride \"{number}\"]\nService = {service}\nRegion = {REGION}\nURL = {url}\n\
             SigningRegion = {REGION}\n"
        )
        .unwrap();
    }
    let setup = Setup {
        config: Some(ConfigFile { path: "/etc/aws.conf".into(), bytes: text.into() }),
        cluster_name: ClusterName::from("kubernetes"),
        user_agent: format!("{caller}/1"),
        cluster_cidrs: Vec::new(),
    };
    let provider = (registration().build)(&setup).unwrap();
    provider.connect(&leave(PATIENCE), &Facts::default()).await.unwrap();
    provider
}

#[async_trait]
impl Around<LoadBalancerSpec> for Stage {
    fn leave(&self, freshness: Freshness) -> Write {
        let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        governor.write(Urgency::Refresh, freshness, deadline)
    }

    fn publish(&self, unit: &Unit, world: &World<LoadBalancerSpec>, reports: Vec<Report>) {
        for report in reports {
            let want = world.wants.iter().find(|want| *want.id() == report.id);
            let key = (unit.name.to_string(), report.id.uid.clone());
            if let Some(want) = want.filter(|want| !matches!(want, Want::Keep(_))) {
                let is_done = matches!(want, Want::Present(_)) && report.verdict == Verdict::Done;
                let far = (is_done, report.holds == Holds::Nothing);
                self.standings.lock().unwrap().insert(key.clone(), far);
            }
            self.reports.lock().unwrap().insert(key, report);
        }
    }

    async fn before(&self, _: &Unit, step: &Step<AnyChange>) -> Result<(), CloudError> {
        self.sent.lock().unwrap().push(step.change.to_string());
        Ok(())
    }
}

/// UIDs are of the cluster too: load balancers have names of the region.
pub(crate) fn id(name: &str) -> ObjectId {
    let uid = Uid::from(format!("uid-of-{name}"));
    ObjectId { namespace: "shop".into(), name: name.into(), uid }
}

fn identity(name: &str, annotations: BTreeMap<String, String>) -> Identity {
    Identity { id: id(name), annotations, finalizers: BTreeSet::new(), ingress: Vec::new() }
}

/// A Service with these ports, each with a node port 30000 above it, and annotations by what is
/// behind the prefix.
pub(crate) fn present(name: &str, ports: &[u16], annotations: &[(&str, &str)]) -> Wanted {
    let pair = |(key, value): &(&str, &str)| (format!("{PREFIX}{key}"), (*value).to_owned());
    let annotations: BTreeMap<_, _> = annotations.iter().map(pair).collect();
    let read = (registration().service_annotations.read)(&annotations).unwrap();
    let mut spec = LoadBalancerSpec::new(identity(name, annotations));
    spec.annotations = read.value;
    let port = |port: &u16| ServicePort {
        name: format!("port-{port}"),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(*port).unwrap(),
        node_port: NonZeroU16::new(30_000 + *port),
        app_protocol: None,
    };
    spec.ports = ports.iter().map(port).collect();
    Want::Present(Arc::new(spec))
}

pub(crate) fn absent(name: &str) -> Wanted {
    Want::Absent(Arc::new(identity(name, BTreeMap::new())))
}
