//! A control plane, a cloud, and what a test does with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ccm_envtest::kubelet::{Kubelet, register_many, set_ready, set_unknown};
use ccm_envtest::{ControlPlane, Grant, ServiceAccountAccess, peer};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::ccm::{self, Account, Ccm, Setup, Target};
use crate::cloud::{self, Cloud};
use crate::process::{Process, Signal, signal_process};
use crate::proxy::Proxy;
use crate::rights::{LEASE, NAMESPACE};
use crate::seen::Seen;
use crate::stage::{Stage, Turn};
use crate::traffic::Traffic;
use crate::volumes::LEGACY_FIELD;
use crate::wait::{SOON, wait_until};

/// What the cluster is called in the cloud.
pub(crate) const CLUSTER: &str = "e2e";

/// Names the folders of worlds apart.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What may differ between worlds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// No other test runs at the same time. For those that measure time.
    pub alone: bool,
    /// What the program is told of how far the cloud's looks lag behind, in seconds.
    pub lag: u32,
}

/// Where a test plays. Without nodes, instances and cloud-controller-managers at first.
#[derive(Debug)]
pub struct World<C = Cloud> {
    /// The cloud.
    pub cloud: C,
    target: Target,
    stage: Option<Stage>,
    dir: PathBuf,
    /// Events in the audit log before us.
    begun: usize,
    ccms: AtomicUsize,
    /// Where tests make Services.
    services_in: String,
    /// Whether the control plane holds what the next test could not bear.
    is_spoilt: bool,
    _turn: Turn,
}

impl World {
    /// One that others play beside.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// One as wanted.
    pub async fn start_with(options: Options) -> Self {
        // On the heap, for the sake of the many tests that wait for it.
        Box::pin(Self::set_up(options.alone, async |dir| {
            let cloud = Cloud::start(dir).await;
            let config = format!(
                "endpoint: {}\ntoken: {}\nclusterID: {CLUSTER}\nlagSeconds: {}\n\
                 legacyVolumeField: {LEGACY_FIELD}\n",
                cloud.url(),
                cloud::TOKEN,
                options.lag
            );
            let file = dir.join("cloud.yaml");
            std::fs::write(&file, config).unwrap();
            (cloud, Target { provider: "sim", config: file, env: Vec::new() })
        }))
        .await
    }

    /// Makes an instance and registers its node.
    pub async fn join(&self, name: &str) {
        self.cloud.instance_named(name).await;
        self.register(Kubelet::new(name)).await;
    }

    /// Makes instances and registers their nodes.
    pub async fn join_all(&self, names: &[String]) {
        self.cloud.instances_named(names.to_vec()).await;
        self.register_all(names).await;
    }

    /// Waits until a node that joins now is initialized: what came before it was seen by then.
    pub async fn barrier(&self, name: &str) {
        self.join(name).await;
        self.initialized(name).await;
    }
}

impl<C> World<C> {
    /// One whose cloud is made in this folder, with what the program is to be told of it.
    pub async fn set_up(alone: bool, cloud: impl AsyncFnOnce(&Path) -> (C, Target)) -> Self {
        let turn = Turn::take(alone).await;
        let stage = Stage::take().await;
        let dir = stage
            .control_plane
            .dir()
            .join(format!("world-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).unwrap();
        let (cloud, target) = cloud(&dir).await;
        let begun = stage.control_plane.audit_events().await.unwrap().len();
        let (stage, ccms) = (Some(stage), AtomicUsize::new(0));
        let services_in = "default".to_owned();
        Self { cloud, target, stage, dir, begun, ccms, services_in, is_spoilt: false, _turn: turn }
    }

    /// The folder of what this world's programs read and write.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets programs that start from now on be told something else of the cloud.
    pub fn retarget(&mut self, change: impl FnOnce(&mut Target)) {
        change(&mut self.target);
    }

    /// Starts a cloud-controller-manager.
    pub fn ccm(&self, setup: &Setup) -> Ccm {
        self.ccm_with(setup, self.account(setup.who()).kubeconfig())
    }

    /// Makes an account with these rights. Accounts stay, so each test has names of its own.
    pub async fn account_with(&self, name: &str, grants: &[Grant]) -> ServiceAccountAccess {
        self.stage().control_plane.service_account(NAMESPACE, name, grants).await.unwrap()
    }

    /// Starts a cloud-controller-manager as this account, whatever the setup says.
    pub fn ccm_as(&self, account: &ServiceAccountAccess, setup: &Setup) -> Ccm {
        self.ccm_with(setup, account.kubeconfig())
    }

    /// Starts a cloud-controller-manager that finds the API server, and who it is, by this file.
    pub fn ccm_with(&self, setup: &Setup, kubeconfig: &Path) -> Ccm {
        let name = format!("ccm-{}", self.ccms.fetch_add(1, Ordering::Relaxed) + 1);
        let admin = self.stage().control_plane.admin_credentials();
        Ccm::start(&name, &self.dir, setup, kubeconfig, &self.target, admin)
    }

    /// Starts the Go library that ours stands in for, on the same cloud.
    pub async fn peer(&self, setup: &Setup) -> Process {
        let program = peer::locate().await.unwrap();
        let name = format!("peer-{}", self.ccms.fetch_add(1, Ordering::Relaxed) + 1);
        let kubeconfig = self.account(Account::Peer).kubeconfig();
        let mut command = Command::new(program);
        ccm::flags(&mut command, setup, None, kubeconfig, &self.target);
        Process::start(&name, &self.dir, &mut command)
    }

    /// What a cloud-controller-manager would change: the exit code of its plan, and the plan.
    pub async fn plan(&self, setup: &Setup) -> (i32, Value) {
        let kubeconfig = self.account(setup.who()).kubeconfig().to_owned();
        let (setup, target) = (setup.clone(), self.target.clone());
        tokio::task::spawn_blocking(move || ccm::plan(&setup, &kubeconfig, &target)).await.unwrap()
    }

    /// A wire to the API server that can be held.
    pub async fn proxy(&self) -> Proxy {
        Proxy::before(self.stage().control_plane.server_url()).await
    }

    /// Starts a cloud-controller-manager that talks to the API server through this wire.
    pub fn ccm_behind(&self, proxy: &Proxy, setup: &Setup) -> Ccm {
        let direct = std::fs::read_to_string(self.account(setup.who()).kubeconfig()).unwrap();
        let server = self.stage().control_plane.server_url();
        let path = self.dir.join(format!("proxied-{:?}.kubeconfig", setup.who()));
        std::fs::write(&path, direct.replace(server, &proxy.url())).unwrap();
        self.ccm_with(setup, &path)
    }

    /// Who the program is in the cluster.
    pub fn account(&self, account: Account) -> &ServiceAccountAccess {
        let [first, second, undeleting, unlabelling, reading, peer] = &*self.stage().accounts;
        match account {
            Account::First => first,
            Account::Second => second,
            Account::Undeleting => undeleting,
            Account::Unlabelling => unlabelling,
            Account::Reading => reading,
            Account::Peer => peer,
        }
    }

    fn stage(&self) -> &Stage {
        self.stage.as_ref().expect("it is given back when the world ends")
    }

    /// The API server and etcd, to be stopped and started.
    pub fn control_plane(&mut self) -> &mut ControlPlane {
        &mut self.stage.as_mut().expect("it is given back when the world ends").control_plane
    }

    /// Stops etcd in its tracks, or lets it go on: the API server waits for it.
    pub fn signal_etcd(&self, signal: Signal) {
        signal_process(self.stage().control_plane.etcd_pid(), signal);
    }

    /// Lets no other test have this control plane.
    pub fn keep_from_others(&mut self) {
        self.is_spoilt = true;
    }

    /// A client that may do anything.
    pub fn admin(&self) -> Client {
        self.stage().control_plane.admin_client()
    }

    /// Where Services are made.
    pub fn namespace(&self) -> &str {
        &self.services_in
    }

    /// Makes Services in this namespace from now on. Nobody takes namespaces away again.
    pub async fn use_namespace(&mut self, name: &str) {
        let namespaces = Api::<Namespace>::all(self.admin());
        if namespaces.get_opt(name).await.unwrap().is_none() {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let made = Namespace { metadata, ..Namespace::default() };
            namespaces.create(&PostParams::default(), &made).await.unwrap();
        }
        name.clone_into(&mut self.services_in);
    }

    /// All Nodes.
    pub fn nodes(&self) -> Api<Node> {
        Api::all(self.admin())
    }

    /// Registers the node.
    pub async fn register(&self, kubelet: Kubelet) -> Node {
        kubelet.register(&self.admin()).await.unwrap()
    }

    /// Registers plain nodes.
    pub async fn register_all(&self, names: &[String]) {
        let kubelets = names.iter().map(|name| Kubelet::new(name.as_str()));
        register_many(&self.admin(), kubelets, 16).await.unwrap();
    }

    /// Lets the node's kubelet say that it is ready, or that it is not.
    pub async fn set_ready(&self, name: &str, ready: bool) {
        set_ready(&self.admin(), name, ready).await.unwrap();
    }

    /// Lets the node be given up by a kube-controller-manager, as some time after its machine was
    /// switched off.
    pub async fn silence(&self, name: &str) {
        set_unknown(&self.admin(), name).await.unwrap();
    }

    /// Lets many nodes be given up.
    pub async fn silence_all(&self, names: &[String]) {
        let silence = futures::stream::iter(names).map(|name| self.silence(name));
        silence.buffer_unordered(16).collect::<()>().await;
    }

    /// The UIDs of all Nodes, by name.
    pub async fn uids(&self) -> BTreeMap<String, String> {
        let nodes = self.nodes().list_metadata(&ListParams::default()).await.unwrap();
        nodes.iter().map(|node| (node.name_any(), node.uid().unwrap_or_default())).collect()
    }

    /// Deletes the Node, as its owner would.
    pub async fn remove(&self, name: &str) {
        self.nodes().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until there is no Node of this name.
    pub async fn gone(&self, name: &str, bound: Duration) {
        wait_until(&format!("the end of node {name}"), bound, async || {
            match self.nodes().get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(node)) => Err(format!("{:?}", Seen::from(&node))),
                Err(err) => Err(err.to_string()),
            }
        })
        .await;
    }

    /// The Node as it is.
    pub async fn node(&self, name: &str) -> Seen {
        Seen::from(&self.nodes().get(name).await.unwrap())
    }

    /// Waits until the Node is as wanted.
    pub async fn node_until(
        &self,
        name: &str,
        what: &str,
        bound: Duration,
        is_so: impl Fn(&Seen) -> bool,
    ) -> Seen {
        wait_until(&format!("node {name}: {what}"), bound, async || {
            let node = self.nodes().get(name).await.map_err(|err| err.to_string())?;
            let seen = Seen::from(&node);
            if is_so(&seen) { Ok(seen) } else { Err(format!("{seen:?}")) }
        })
        .await
    }

    /// Waits until the Node is initialized.
    pub async fn initialized(&self, name: &str) -> Seen {
        self.node_until(name, "initialized", SOON, Seen::is_initialized).await
    }

    /// Waits until all Nodes are initialized.
    pub async fn all_initialized(&self, bound: Duration) {
        wait_until("all nodes are initialized", bound, async || {
            let nodes =
                self.nodes().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let waits = |node: &&Node| !Seen::from(*node).is_initialized();
            let waiting: Vec<_> =
                nodes.items.iter().filter(waits).map(ResourceExt::name_any).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            let some = &waiting[..waiting.len().min(5)];
            Err(format!("{} of {} wait, such as {some:?}", waiting.len(), nodes.items.len()))
        })
        .await;
    }

    /// Changes the main resource of a Node, as its owner would.
    pub async fn patch(&self, name: &str, patch: &Value) -> Node {
        self.nodes().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Events about the Node: reason, message, count.
    pub async fn events(&self, name: &str) -> Vec<(String, String, i32)> {
        self.events_about("Node", name).await
    }

    /// Reason, message and count of each event about an object of this kind, but for what the API
    /// server says of its own allocators.
    pub async fn events_about(&self, kind: &str, name: &str) -> Vec<(String, String, i32)> {
        let about = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let events = Api::<Event>::all(self.admin());
        let events = events.list(&ListParams::default().fields(&about)).await.unwrap();
        let event = |event: Event| {
            let (reason, message) = (event.reason, event.message);
            (reason.unwrap_or_default(), message.unwrap_or_default(), event.count.unwrap_or(1))
        };
        events.items.into_iter().filter(|event| !is_of_the_api_server(event)).map(event).collect()
    }

    /// Waits for an event about the Node, then gives all.
    pub async fn events_with(&self, name: &str, reason: &str) -> Vec<(String, String, i32)> {
        wait_until(&format!("event {reason} about {name}"), SOON, async || {
            let events = self.events(name).await;
            if events.iter().any(|event| event.0 == reason) { Ok(events) } else { Err(events) }
        })
        .await
    }

    /// What the first account asked of the API server so far.
    pub async fn traffic(&self) -> Traffic {
        self.traffic_of(Account::First).await
    }

    /// What that account asked of the API server so far.
    pub async fn traffic_of(&self, account: Account) -> Traffic {
        self.traffic_by(&[self.account(account).user()]).await
    }

    /// What these users asked of the API server so far.
    pub async fn traffic_by(&self, users: &[&str]) -> Traffic {
        let events = self.stage().control_plane.audit_events().await.unwrap();
        let is_theirs = |event: &ccm_envtest::audit::Event| users.contains(&&*event.user);
        Traffic::new(events.into_iter().skip(self.begun).filter(is_theirs))
    }

    /// Who holds the lease; empty for nobody.
    pub async fn holder(&self) -> String {
        let leases = Api::<Lease>::namespaced(self.admin(), NAMESPACE);
        let lease = leases.get_opt(LEASE).await.unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
    }

    /// Waits until somebody holds the lease who is not `other`.
    pub async fn holder_other_than(&self, other: &str, bound: Duration) -> String {
        wait_until("a new leader", bound, async || {
            let holder = self.holder().await;
            if holder.is_empty() || holder == other { Err(holder) } else { Ok(holder) }
        })
        .await
    }
}

impl<C> Drop for World<C> {
    fn drop(&mut self) {
        // What a failed test leaves is not for others.
        if !std::thread::panicking()
            && !self.is_spoilt
            && let Some(stage) = self.stage.take()
        {
            stage.leave();
        }
    }
}

/// The API server tells of Services that were made before it has looked through its addresses and
/// ports: of addresses as `events.k8s.io/v1` would, which leaves `source` empty.
fn is_of_the_api_server(event: &Event) -> bool {
    let source = event.source.as_ref().and_then(|source| source.component.as_deref());
    let reporting = event.reporting_component.as_deref();
    [source, reporting].into_iter().flatten().any(|it| it.ends_with("allocator-repair-controller"))
}
