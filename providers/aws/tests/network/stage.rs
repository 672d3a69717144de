//! The provider on a fake AWS, and the engine that drives it. The only place here that knows the
//! engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_awscloud::{AwsCloud, Console, Launch, World as Place};
use ccm_conformance::leave;
use ccm_core::cloud::{
    AnyChange, Ask, CloudError, CloudProvider, ClusterName, ConfigFile, Converger, Facts,
    Freshness, Holds, Identity, LoadBalancerSpec, Member, NodeIdentity, NodeName, ObjectId,
    Protocol, ProviderId, Report, ServicePort, Setup, Step, Uid, Unit, Urgency, Verdict, Want,
    World, Write,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::converge::pass::{Around, End, Passed, pass};
use ccm_core::governor::Governor;
use ccm_core::telemetry::CloudMetrics;
use ccm_provider_aws::registration;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub(crate) type Wanted = Want<LoadBalancerSpec>;

const REGION: &str = "us-east-1";
const PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";

/// Rounds after which a test gives up. Each waits for at most [`PAUSE`].
const MOST_ROUNDS: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Never dropped; it ends with the test process.
static CLOUD: OnceCell<AwsCloud> = OnceCell::const_new();

/// Clusters that were made so far.
static CLUSTERS: AtomicU64 = AtomicU64::new(0);

/// How far each object is in each of its units, by the last reports: done, and empty. A small model
/// of what the engine keeps, for tests that make their passes one by one.
#[derive(Default)]
struct Standings(BTreeMap<(String, Uid), (bool, bool)>);

impl Standings {
    /// Says whether it may be the turn of another unit now.
    fn take(&mut self, unit: &Unit, wants: &[Wanted], reports: &[Report]) -> bool {
        let mut moved = false;
        for report in reports {
            let want = wants.iter().find(|want| *want.id() == report.id);
            let Some(want) = want.filter(|want| !matches!(want, Want::Keep(_))) else { continue };
            let done = matches!(want, Want::Present(_)) && report.verdict == Verdict::Done;
            let now = (done, report.holds == Holds::Nothing);
            let key = (unit.name.to_string(), report.id.uid.clone());
            moved |= self.0.insert(key, now) != Some(now);
        }
        moved
    }

    fn turn(&self, want: &Wanted, units: &[Unit], here: &Unit) -> Wanted {
        let place = units.iter().position(|unit| unit.name == here.name).unwrap();
        let far = |unit: &Unit| {
            let key = (unit.name.to_string(), want.id().uid.clone());
            self.0.get(&key).copied().unwrap_or_default()
        };
        let has_come = match want {
            Want::Present(_) => units[..place].iter().all(|unit| far(unit).0),
            Want::Absent(_) => units[place + 1..].iter().all(|unit| far(unit).1),
            Want::Keep(_) => true,
        };
        if has_come { want.clone() } else { want.kept() }
    }
}

pub(crate) struct Stage {
    /// The test's hand on the fake.
    pub(crate) console: Console,
    pub(crate) place: Place,
    /// A part of the user agent of this test's processes, and of no other's.
    pub(crate) caller: String,
    provider: Arc<dyn CloudProvider>,
    converger: Converger<LoadBalancerSpec>,
    mark: AtomicU64,
    standings: Mutex<Standings>,
    /// Whether anybody's turn may have come.
    moved: Mutex<bool>,
    sent: Mutex<Vec<String>>,
    reports: Mutex<BTreeMap<(String, Uid), Report>>,
    /// How passes failed.
    pub(crate) failures: Mutex<Vec<String>>,
}

/// The configuration of a process that runs elsewhere. It has its credentials from the fake's
/// instance metadata.
fn config(url: &str, place: &Place, extra: &str) -> String {
    let mut text = format!(
        "[Global]\nRegion = {REGION}\nVPC = {}\nSubnetID = {}\nKubernetesClusterID = {}\n{extra}\n",
        place.vpc, place.public_a, place.cluster
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
    text
}

impl Stage {
    /// A cluster of its own, with this in `[Global]`.
    pub(crate) async fn start(extra: &str) -> Self {
        let cloud = CLOUD.get_or_init(async || AwsCloud::start().await.unwrap()).await;
        // A client belongs to the runtime of one test.
        let console = Console::new(cloud.url()).unwrap();
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let place = console.world(&format!("nlb{number}")).await.unwrap();
        let caller = format!("nlb-{number}-end");
        let file = config(console.url(), &place, extra);
        let setup = Setup {
            config: Some(ConfigFile { path: "/etc/aws.conf".into(), bytes: file.into() }),
            cluster_name: ClusterName::from(place.cluster.as_str()),
            user_agent: format!("{caller}/1"),
            cluster_cidrs: Vec::new(),
        };
        let provider = (registration().build)(&setup).unwrap();
        provider.connect(&leave(Duration::from_mins(1)), &Facts::default()).await.unwrap();
        let converger = provider.load_balancers().unwrap();
        Self {
            console,
            place,
            caller,
            provider,
            converger,
            mark: AtomicU64::new(0),
            standings: Mutex::default(),
            moved: Mutex::default(),
            sent: Mutex::default(),
            reports: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Forgets what a restart forgets.
    pub(crate) fn restart(&self) {
        *self.standings.lock().unwrap() = Standings::default();
        self.reports.lock().unwrap().clear();
    }

    /// Machines, as nodes see them.
    pub(crate) async fn launch(&self, first: u32, many: u32) -> Vec<Member> {
        let launch = Launch { first, ..Launch::of(many) };
        let made = self.console.launch(&self.place, &launch).await.unwrap();
        let nodes: Vec<_> = made
            .iter()
            .map(|made| NodeIdentity {
                name: NodeName::from(made.private_dns.as_str()),
                uid: Uid::from(made.id.as_str()),
                created: SystemTime::now(),
                provider_id: ProviderId::try_from(made.provider_id()).ok(),
                system_uuid: None,
                addresses: Vec::new(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
            })
            .collect();
        self.look(nodes).await
    }

    /// What the cloud says of nodes now.
    pub(crate) async fn look(&self, nodes: Vec<NodeIdentity>) -> Vec<Member> {
        let instances = self.provider.instances().unwrap();
        let cx = leave(Duration::from_mins(1));
        let seen = instances.describe(&cx, Ask::Look, &nodes).await.unwrap();
        let member = |(node, seen)| Member { node, instance: Arc::new(seen) };
        nodes.into_iter().zip(seen).map(member).collect()
    }

    /// One pass over one unit, as things stand.
    async fn pass(&self, unit: &Unit, wants: &[Wanted], nodes: &[Member]) -> Passed {
        let turn = |want: &Wanted| {
            let units = self.converger.units(want);
            self.standings.lock().unwrap().turn(want, &units, unit)
        };
        let uses =
            |want: &&Wanted| self.converger.units(want).iter().any(|other| other.name == unit.name);
        let wants = wants.iter().filter(uses).map(turn).collect();
        let world = World { wants, nodes: nodes.into() };
        pass(&self.converger, unit, world, self).await
    }

    fn units(&self, wants: &[Wanted]) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        for unit in wants.iter().flat_map(|want| self.converger.units(want)) {
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
        units
    }

    /// Passes over all units until nothing is left to do or to wait for. After a failure it goes on
    /// as a new process would, which knows nothing.
    pub(crate) async fn settle(&self, wants: &[Wanted], nodes: &[Member]) {
        for _ in 0..MOST_ROUNDS {
            let ends = self.settle_once(wants, nodes).await;
            let changes: usize = ends.iter().map(|passed| passed.changes.len()).sum();
            let moved = std::mem::take(&mut *self.moved.lock().unwrap());
            let is_done = ends.iter().all(|passed| matches!(passed.end, End::Done));
            if is_done && !moved && changes == 0 {
                return;
            }
            for passed in &ends {
                if let End::Failed(err) = &passed.end {
                    self.failures.lock().unwrap().push(err.to_string());
                    self.restart();
                }
            }
            if !is_done {
                tokio::time::sleep(PAUSE).await;
            }
        }
        panic!(
            "does not settle: {:#?}\n{:#?}",
            self.sent.lock().unwrap(),
            self.failures.lock().unwrap()
        );
    }

    /// One pass over each unit.
    pub(crate) async fn settle_once(&self, wants: &[Wanted], nodes: &[Member]) -> Vec<Passed> {
        let mut ends = Vec::new();
        for unit in self.units(wants) {
            ends.push(self.pass(&unit, wants, nodes).await);
        }
        ends
    }

    /// What is said of an object by the unit that is its own.
    pub(crate) fn with_report<T>(&self, id: &ObjectId, see: impl FnOnce(&Report) -> T) -> T {
        let reports = self.reports.lock().unwrap();
        see(&reports[&(id.to_string(), id.uid.clone())])
    }

    /// What was sent since the last time, as a dry run shows it.
    pub(crate) fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// Reads of load balancers, and writes of anything, by the provider since the last time.
    pub(crate) async fn take_calls(&self) -> (Vec<String>, Vec<String>) {
        let since = self.mark.load(Ordering::Relaxed);
        let calls = self.console.calls_since(since, &self.caller).await.unwrap();
        self.mark.store(self.console.mark().await.unwrap(), Ordering::Relaxed);
        let name = |call: &ccm_awscloud::Call| format!("{}:{}", call.service, call.action);
        let (writes, reads): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.mutates);
        let reads = reads.iter().filter(|call| call.service.starts_with("elb")).map(name);
        (reads.collect(), writes.iter().map(name).collect())
    }

    /// All that is in the cloud of this cluster, without IDs.
    pub(crate) async fn snapshot(&self) -> Vec<String> {
        for _ in 0..MOST_ROUNDS {
            // What another test deletes meanwhile spoils it.
            if let Ok(lines) = self.console.snapshot(&self.place.cluster).await {
                return lines;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("no snapshot can be had");
    }

    /// A certificate, by ARN.
    pub(crate) async fn certificate(&self) -> String {
        let made =
            self.console.aws("acm", "request_certificate", json!({ "DomainName": "a.example" }));
        made.await.unwrap()["CertificateArn"].as_str().unwrap().to_owned()
    }

    /// What boto3 answers of Network Load Balancers.
    pub(crate) async fn elbv2(&self, method: &str, args: Value) -> Value {
        self.console.aws("elbv2", method, args).await.unwrap()
    }

    /// The Service's load balancer, by ARN.
    pub(crate) async fn balancer(&self) -> String {
        let found = self.elbv2("describe_load_balancers", json!({ "Names": [self.name()] })).await;
        found["LoadBalancers"][0]["LoadBalancerArn"].as_str().unwrap().to_owned()
    }

    /// The name of the Service's load balancer.
    pub(crate) fn name(&self) -> String {
        format!("a{}", self.id().uid.as_str())
    }

    /// The Service of this cluster: one that has its like in no other.
    pub(crate) fn id(&self) -> ObjectId {
        let uid = Uid::from(format!("uid0of0{}", self.place.cluster));
        ObjectId { namespace: "shop".into(), name: self.place.cluster.as_str().into(), uid }
    }

    pub(crate) fn identity(&self, annotations: BTreeMap<String, String>) -> Identity {
        Identity { id: self.id(), annotations, finalizers: BTreeSet::new(), ingress: Vec::new() }
    }

    /// A Service of type `nlb` with these ports, each with a node port 30000 above it.
    pub(crate) fn spec(&self, ports: &[u16], pairs: &[(&str, &str)]) -> LoadBalancerSpec {
        let mut pairs: BTreeMap<_, _> = pairs
            .iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()))
            .collect();
        pairs.entry(format!("{PREFIX}type")).or_insert_with(|| "nlb".to_owned());
        let read = registration().service_annotations.read;
        let annotations = read(&pairs).unwrap().value;
        let mut spec = LoadBalancerSpec::new(self.identity(pairs));
        spec.annotations = annotations;
        spec.ports = ports.iter().map(|it| port(*it, 30_000 + *it)).collect();
        spec
    }

    pub(crate) fn present(&self, ports: &[u16], pairs: &[(&str, &str)]) -> Wanted {
        Want::Present(Arc::new(self.spec(ports, pairs)))
    }

    pub(crate) fn absent(&self) -> Wanted {
        Want::Absent(Arc::new(self.identity(BTreeMap::new())))
    }
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

#[async_trait]
impl Around<LoadBalancerSpec> for Stage {
    fn leave(&self, freshness: Freshness) -> Write {
        let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        governor.write(Urgency::Refresh, freshness, deadline)
    }

    fn publish(&self, unit: &Unit, world: &World<LoadBalancerSpec>, reports: Vec<Report>) {
        let moved = self.standings.lock().unwrap().take(unit, &world.wants, &reports);
        *self.moved.lock().unwrap() |= moved;
        let mut all = self.reports.lock().unwrap();
        for report in reports {
            all.insert((unit.name.to_string(), report.id.uid.clone()), report);
        }
    }

    async fn before(&self, _: &Unit, step: &Step<AnyChange>) -> Result<(), CloudError> {
        self.sent.lock().unwrap().push(step.change.to_string());
        Ok(())
    }
}
