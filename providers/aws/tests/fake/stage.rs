//! A cluster on a fake AWS with the provider in front of it, and the passes of the engine.
//!
//! One fake serves most tests; each has a cluster and a network of its own, and is told apart by its
//! user agent. Those that change settings, or make so many calls that others would wait, have one of
//! their own.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ccm_awscloud::{AwsCloud, Console, Fault, Instance, Launch, Settings, World as Place};
use ccm_conformance::{Passes, leave};
use ccm_core::cloud::{
    Ask, CloudProvider, Identity, LoadBalancerSpec, Member, NodeIdentity, ObjectId, Protocol,
    Report, ServicePort, Want,
};
use ccm_provider_aws::registration;
use futures::FutureExt;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::process::{PATIENCE, PREFIX, connected, node, setup};

pub(crate) type Wanted = Want<LoadBalancerSpec>;

/// How often a snapshot is asked for: what another test deletes while it is made spoils it.
const SNAPSHOTS: usize = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Own pieces and then the nodes' rules, and once more for what they saw of each other.
const ROUNDS: usize = 4;

/// Never dropped; it ends with the test process.
static CLOUD: OnceCell<AwsCloud> = OnceCell::const_new();

/// Clusters that were made so far.
static CLUSTERS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Stage {
    /// Of its own.
    _cloud: Option<AwsCloud>,
    /// The test's hand on the fake.
    pub(crate) console: Console,
    pub(crate) place: Place,
    /// A part of the user agent of this test's processes, and of no other's.
    pub(crate) caller: String,
    /// The first process, which nodes are looked at with.
    provider: Arc<dyn CloudProvider>,
    pub(crate) passes: Passes<LoadBalancerSpec>,
    /// What was called before is not looked at.
    mark: AtomicU64,
}

impl Stage {
    /// A cluster of its own, with this in `[Global]`.
    pub(crate) async fn start(extra: &str) -> Self {
        let cloud = CLOUD.get_or_init(async || AwsCloud::start().await.unwrap()).await;
        // A client belongs to the runtime of one test.
        Self::on(Console::new(cloud.url()).unwrap(), None, extra).await
    }

    /// The same on a fake of its own with these settings.
    pub(crate) async fn alone(extra: &str, settings: &Settings) -> Self {
        let cloud = AwsCloud::start().await.unwrap();
        let console = cloud.console().clone();
        console.set(settings).await.unwrap();
        Self::on(console, Some(cloud), extra).await
    }

    async fn on(console: Console, cloud: Option<AwsCloud>, extra: &str) -> Self {
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let place = console.world(&format!("stage{number}")).await.unwrap();
        // The end keeps the first from being a part of the tenth.
        let caller = format!("stage-{number}-end");
        let setup = setup(console.url(), &place, &place.cluster, &caller, extra);
        let provider = connected(&setup).await;
        let begin = move || {
            let setup = setup.clone();
            async move { connected(&setup).await.load_balancers().unwrap() }.boxed()
        };
        let passes = Passes::start(begin).await;
        let mark = AtomicU64::new(console.mark().await.unwrap());
        Self { _cloud: cloud, console, place, caller, provider, passes, mark }
    }

    /// Machines, as nodes see them, the first with this number.
    pub(crate) async fn launch(&self, first: u32, many: u32) -> Vec<Member> {
        let launch = Launch { first, ..Launch::of(many) };
        let made = self.console.launch(&self.place, &launch).await.unwrap();
        let joined = |made: &Instance| NodeIdentity {
            provider_id: Some(made.provider_id().try_into().unwrap()),
            ..node(made)
        };
        self.look(made.iter().map(joined).collect()).await
    }

    /// What the cloud says of nodes now.
    pub(crate) async fn look(&self, nodes: Vec<NodeIdentity>) -> Vec<Member> {
        let instances = self.provider.instances().unwrap();
        let seen = instances.describe(&leave(PATIENCE), Ask::Look, &nodes).await.unwrap();
        let member = |(node, seen)| Member { node, instance: Arc::new(seen) };
        nodes.into_iter().zip(seen).map(member).collect()
    }

    /// What is said of an object by the unit that is its own.
    pub(crate) fn with_report<T>(&self, id: &ObjectId, see: impl FnOnce(&Report) -> T) -> T {
        self.passes.with_report(&id.to_string(), id, see)
    }

    /// As many rounds as it takes where something is left to wait for, which may be for ever.
    pub(crate) async fn rounds(&self, wants: &[Wanted], nodes: &[Member]) {
        for _ in 0..ROUNDS {
            self.passes.round(wants, nodes).await;
        }
    }

    /// Reads of load balancers, `elb:DescribeTags` and the like, and the actions of writes of anything,
    /// by the provider since the last time.
    pub(crate) async fn take_calls(&self) -> (Vec<String>, Vec<String>) {
        let since = self.mark.load(Ordering::Relaxed);
        let calls = self.console.calls_since(since, &self.caller).await.unwrap();
        self.mark.store(self.console.mark().await.unwrap(), Ordering::Relaxed);
        let (writes, reads): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.mutates);
        let reads = reads.into_iter().filter(|call| call.service.starts_with("elb"));
        let reads = reads.map(|call| format!("{}:{}", call.service, call.action)).collect();
        (reads, writes.into_iter().map(|call| call.action).collect())
    }

    /// All that bears the cluster's mark but its machines, without IDs.
    pub(crate) async fn snapshot(&self) -> Vec<String> {
        for _ in 0..SNAPSHOTS {
            if let Ok(lines) = self.console.snapshot(&self.place.cluster).await {
                return lines.into_iter().filter(|line| !line.starts_with("instance ")).collect();
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("no snapshot can be had");
    }

    /// Spoils something of what the provider does; gives the number by which it is healed.
    pub(crate) async fn spoil(&self, fault: Fault) -> u64 {
        self.console.add_fault(&fault.of(&self.caller)).await.unwrap()
    }

    /// Rounds of passes until this is so.
    pub(crate) async fn rounds_until(
        &self,
        what: &str,
        (wants, nodes): (&[Wanted], &[Member]),
        is_so: impl AsyncFn() -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.passes.round(wants, nodes).await;
            if is_so().await {
                return;
            }
        }
        panic!("waited {PATIENCE:?} for {what}: {:#?}", self.snapshot().await);
    }

    /// The codes with which calls of this action were refused so far.
    pub(crate) async fn refusals(&self, action: &str) -> Vec<String> {
        let calls = self.console.calls_since(0, &self.caller).await.unwrap();
        let refused = calls.into_iter().filter(|call| call.action == action);
        refused.map(|call| call.code).filter(|code| !code.is_empty()).collect()
    }

    /// A call of the operator's.
    pub(crate) async fn aws(&self, service: &str, method: &str, args: Value) -> Value {
        self.console.aws(service, method, args).await.unwrap()
    }
}

/// A Service with these ports, each with a node port 30000 above it, and annotations by what is
/// behind the prefix.
pub(crate) fn spec(id: ObjectId, ports: &[u16], annotations: &[(&str, &str)]) -> LoadBalancerSpec {
    let pair = |(key, value): &(&str, &str)| (format!("{PREFIX}{key}"), (*value).to_owned());
    let annotations: BTreeMap<_, _> = annotations.iter().map(pair).collect();
    let read = (registration().service_annotations.read)(&annotations).unwrap();
    let mut spec = LoadBalancerSpec::new(identity(id, annotations));
    spec.annotations = read.value;
    spec.ports = ports.iter().map(|it| port(*it, 30_000 + *it)).collect();
    spec
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

/// A Service of which nothing is wanted any more.
pub(crate) fn absent(id: ObjectId) -> Wanted {
    Want::Absent(Arc::new(identity(id, BTreeMap::new())))
}

fn identity(id: ObjectId, annotations: BTreeMap<String, String>) -> Identity {
    Identity { id, annotations, finalizers: BTreeSet::new(), ingress: Vec::new() }
}
