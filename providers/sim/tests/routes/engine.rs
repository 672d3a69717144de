//! A simulated cloud with the provider's routes in front of it, and passes over them. The only place
//! here that knows the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_conformance::leave;
use ccm_core::cloud::{
    AnyChange, CloudError, CloudProvider, ClusterName, ConfigFile, Converger, Freshness, Identity,
    NodeIdentity, NodeName, ObjectId, Owned, ProviderId, Report, RouteSpec, Setup, Step, Uid, Unit,
    Urgency, Want, World, Write,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::converge::pass::{Around, End, Passed, pass};
use ccm_core::governor::Governor;
use ccm_core::telemetry::CloudMetrics;
use ccm_provider_sim::registration;
use futures::future::join_all;
use simcloud::api::{
    CallEntry, CreateInstance, FaultKind, FaultSpec, InstanceId, OperationClass, OperationFilter,
    RateLimit, Route, RouteId, SettingsPatch, UpdateRoute,
};
use simcloud::console::Console;
use simcloud::{Config, Running, SimCloud, Token};

pub(crate) type Wanted = Want<RouteSpec>;

/// How the call log and faults name the provider.
pub(crate) const CALLER: &str = "ccm-under-test";
const TOKEN: &str = "a-token";
pub(crate) const CLUSTER: &str = "blue";

/// Rounds after which a test gives up. Each waits for at most [`PAUSE`].
const MOST_ROUNDS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Stage {
    _running: Running,
    pub(crate) console: Console,
    converger: Converger<RouteSpec>,
    sent: Mutex<Vec<String>>,
    reports: Mutex<BTreeMap<Uid, Report>>,
    /// What somebody else does to a route right before the next change is sent.
    pub(crate) meanwhile: Mutex<Option<(RouteId, UpdateRoute)>>,
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
        let converger = provider(&running.url(), CLUSTER).routes().unwrap();
        let (sent, reports, meanwhile) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { _running: running, console, converger, sent, reports, meanwhile }
    }

    /// Machines with nodes: `node-0` wants 10.244.0.0/24, `node-1` the next one, and so on.
    pub(crate) async fn launch(&self, many: usize) -> Vec<RouteSpec> {
        let wanted = (0..many).map(|number| CreateInstance::named(format!("node-{number}")));
        let made = self.console.create_instances(wanted.collect()).await.unwrap();
        let spec = |(number, one): (usize, &simcloud::api::Instance)| {
            spec(&one.name, &one.id, &[&format!("10.244.{number}.0/24")])
        };
        made.iter().enumerate().map(spec).collect()
    }

    fn unit(&self, want: &Wanted) -> Unit {
        let units = self.converger.units(want);
        assert_eq!(units.len(), 1);
        assert!(!units[0].inputs.nodes && units[0].settle.is_zero());
        units[0].clone()
    }

    /// One pass over the unit of this want.
    pub(crate) async fn pass(&self, want: &Wanted) -> Passed {
        let world = World { wants: vec![want.clone()], nodes: Arc::default() };
        pass(&self.converger, &self.unit(want), world, self).await
    }

    /// One pass over each, all at once.
    pub(crate) async fn pass_all(&self, wants: &[Wanted]) -> Vec<Passed> {
        join_all(wants.iter().map(|want| self.pass(want))).await
    }

    /// Passes over all until nothing is left to do or to wait for.
    pub(crate) async fn settle(&self, wants: &[Wanted]) {
        for _ in 0..MOST_ROUNDS {
            let ends = self.pass_all(wants).await;
            let is_done = |passed: &Passed| {
                passed.changes.is_empty()
                    && passed.refused.is_empty()
                    && matches!(passed.end, End::Done)
            };
            if ends.iter().all(is_done) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("does not settle: {:#?}", self.sent.lock().unwrap());
    }

    pub(crate) fn with_report<T>(&self, node: &str, see: impl FnOnce(&Report) -> T) -> T {
        see(&self.reports.lock().unwrap()[&id(node).uid])
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

    pub(crate) async fn route(&self, number: u64) -> Route {
        self.console.piece(&RouteId::new(format!("rt-{number:016x}"))).await.unwrap()
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

pub(crate) fn provider(url: &str, cluster: &str) -> Arc<dyn CloudProvider> {
    let file = format!("endpoint: {url}\ntoken: {TOKEN}\nclusterID: {cluster}\n");
    let ranges = ["10.244.0.0/16", "fd00:10::/48"];
    let setup = Setup {
        config: Some(ConfigFile { path: "/etc/sim.yaml".into(), bytes: file.into() }),
        cluster_name: ClusterName::from("kubernetes"),
        user_agent: format!("{CALLER}/1"),
        cluster_cidrs: ranges.map(|range| range.parse().unwrap()).to_vec(),
    };
    (registration().build)(&setup).unwrap()
}

#[async_trait]
impl Around<RouteSpec> for Stage {
    fn leave(&self, freshness: Freshness) -> Write {
        let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        governor.write(Urgency::Refresh, freshness, deadline)
    }

    fn publish(&self, _: &Unit, _: &World<RouteSpec>, reports: Vec<Report>) {
        let mut all = self.reports.lock().unwrap();
        all.extend(reports.into_iter().map(|report| (report.id.uid.clone(), report)));
    }

    async fn before(&self, _: &Unit, step: &Step<AnyChange>) -> Result<(), CloudError> {
        self.sent.lock().unwrap().push(step.change.to_string());
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some((id, update)) = meanwhile {
            self.console.update_piece::<Route>(&id, &update).await.unwrap();
        }
        Ok(())
    }
}

pub(crate) fn id(node: &str) -> ObjectId {
    ObjectId { namespace: "".into(), name: node.into(), uid: Uid::from(format!("uid-of-{node}")) }
}

fn identity(node: &str) -> Arc<Identity> {
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Arc::new(Identity { id: id(node), annotations, finalizers, ingress: Vec::new() })
}

pub(crate) fn spec(node: &str, instance: &InstanceId, ranges: &[&str]) -> RouteSpec {
    let identity = identity(node);
    let node = NodeIdentity {
        name: NodeName::from(node),
        uid: identity.id.uid.clone(),
        created: SystemTime::UNIX_EPOCH,
        provider_id: Some(ProviderId::try_from(format!("sim://{instance}")).unwrap()),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    let destinations = ranges.iter().map(|range| range.parse().unwrap()).collect();
    RouteSpec { identity, node, destinations, is_reachable: false }
}

pub(crate) fn present(spec: RouteSpec) -> Wanted {
    Want::Present(Arc::new(spec))
}

pub(crate) fn absent(node: &str) -> Wanted {
    Want::Absent(identity(node))
}
