//! A simulated cloud with the provider in front of it, and the engine that drives it. The only
//! place here that knows the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_conformance::leave;
use ccm_core::cloud::{
    AnyChange, CloudError, ClusterName, ConfigFile, Converger, Detail, Evidence, Freshness, Holds,
    Identity, Incarnation, Instance, LoadBalancerSpec, Member, NodeIdentity, NodeName, ObjectId,
    Observation, Owned, PodCidrs, Protocol, ProviderId, Report, RunState, ServicePort, Setup, Step,
    Uid, Unit, Urgency, Verdict, Want, World, Write,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::converge::pass::{Around, End, Passed, pass};
use ccm_core::governor::Governor;
use ccm_core::telemetry::CloudMetrics;
use ccm_provider_sim::registration;
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

/// Rounds after which a test gives up. Each waits for at most [`PAUSE`].
const MOST_ROUNDS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

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
    _running: Running,
    pub(crate) console: Console,
    converger: Converger<LoadBalancerSpec>,
    standings: Mutex<Standings>,
    /// Whether anybody's turn may have come.
    moved: Mutex<bool>,
    sent: Mutex<Vec<String>>,
    /// How passes failed.
    pub(crate) failures: Mutex<Vec<String>>,
    reports: Mutex<BTreeMap<(String, Uid), Report>>,
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
        let provider = (registration().build)(&setup).unwrap();
        let converger = provider.load_balancers().unwrap();
        Self {
            _running: running,
            console,
            converger,
            standings: Mutex::default(),
            moved: Mutex::default(),
            sent: Mutex::default(),
            failures: Mutex::default(),
            reports: Mutex::default(),
        }
    }

    /// Forgets what a restart forgets.
    pub(crate) fn restart(&self) {
        *self.standings.lock().unwrap() = Standings::default();
        self.reports.lock().unwrap().clear();
    }

    /// Machines, as nodes see them.
    pub(crate) async fn launch(&self, many: usize) -> Vec<Member> {
        let wanted = (0..many).map(|number| CreateInstance::named(format!("node-{number:04}")));
        let made = self.console.create_instances(wanted.collect()).await.unwrap();
        made.iter().map(|one| member(&one.name, &one.id)).collect()
    }

    /// One pass over one unit, as things stand.
    pub(crate) async fn pass(&self, unit: &Unit, wants: &[Wanted], nodes: &[Member]) -> Passed {
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
    /// as a new process would, which knows nothing. Gives the end of each pass of the last round.
    pub(crate) async fn settle(&self, wants: &[Wanted], nodes: &[Member]) -> Vec<Passed> {
        for _ in 0..MOST_ROUNDS {
            let ends = self.settle_once(wants, nodes).await;
            let changes: usize = ends.iter().map(|passed| passed.changes.len()).sum();
            let moved = std::mem::take(&mut *self.moved.lock().unwrap());
            let is_done = ends.iter().all(|passed| matches!(passed.end, End::Done));
            if is_done && !moved && changes == 0 {
                return ends;
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
        panic!("does not settle: {:#?}", self.sent.lock().unwrap());
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

    pub(crate) fn with_firewall_report<T>(
        &self,
        id: &ObjectId,
        see: impl FnOnce(&Report) -> T,
    ) -> T {
        let reports = self.reports.lock().unwrap();
        see(&reports[&("firewall".to_owned(), id.uid.clone())])
    }

    /// What was sent since the last time, as a dry run shows it.
    pub(crate) fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    pub(crate) async fn inventory(&self) -> Vec<Owned> {
        self.converger.inventory(&leave(Duration::from_secs(30))).await.unwrap()
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

#[async_trait]
impl Around<LoadBalancerSpec> for Stage {
    fn leave(&self, freshness: Freshness) -> Write {
        let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
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
