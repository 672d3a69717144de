//! A process that makes routes, as tests handle it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{
    Ask, CloudError, CloudProvider, Converger, Identity, NodeIdentity, ObjectId, Observation,
    Owned, ProviderId, REQUEST_LIMIT, RouteSpec, Uid, Want,
};
use ccm_core::converge::{Aim, Progress, Rehearsed};
use ipnet::IpNet;
use tokio::time::{Instant, timeout};

use super::life::{Life, rehearse};
use super::standing::{hindrance, left_of};
use super::{Cut, TICK};
use crate::ask::{leave, with_id};
use crate::balancing::Cluster;
use crate::harness::Unsupported;
use crate::routing::{Path, RouteHarness};

/// The cluster's ranges.
const RANGES: [&str; 2] = ["10.244.0.0/16", "fd00:244::/48"];

/// How long a node's ranges are in each of them.
const LENGTHS: [u8; 2] = [24, 64];

/// A node with its machine's provider ID, and its pod ranges.
#[derive(Clone, Debug)]
pub struct RoutedNode {
    /// The node.
    pub node: NodeIdentity,
    /// `spec.podCIDRs`.
    pub ranges: Vec<IpNet>,
}

impl RoutedNode {
    /// The node as the object that asks.
    pub fn id(&self) -> ObjectId {
        let node = &self.node;
        ObjectId { namespace: "".into(), name: node.name.as_str().into(), uid: node.uid.clone() }
    }

    fn identity(&self) -> Arc<Identity> {
        let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
        Arc::new(Identity { id: self.id(), annotations, finalizers, ingress: Vec::new() })
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }

    /// The same node with these ranges.
    #[must_use]
    pub fn with(&self, ranges: Vec<IpNet>) -> Self {
        Self { node: self.node.clone(), ranges }
    }

    /// Another Node of this UID on the same machine, with the same ranges: only its marks matter.
    #[must_use]
    pub fn owned_by(&self, uid: Uid) -> Self {
        let node = NodeIdentity { uid, ..self.node.clone() };
        Self { node, ranges: self.ranges.clone() }
    }

    /// The same Node on another's machine.
    #[must_use]
    pub fn on(&self, machine: &Self) -> Self {
        let provider_id: Option<ProviderId> = machine.node.provider_id.clone();
        let node = NodeIdentity { provider_id, ..self.node.clone() };
        Self { node, ranges: self.ranges.clone() }
    }

    pub(crate) fn want(&self, aim: Aim) -> Want<RouteSpec> {
        let identity = self.identity();
        match aim {
            Aim::Present => {
                let (node, destinations) = (self.node.clone(), self.ranges.clone());
                let spec = RouteSpec { identity, node, destinations, is_reachable: false };
                Want::Present(Arc::new(spec))
            }
            Aim::Absent => Want::Absent(identity),
            Aim::Keep => Want::Keep(identity),
        }
    }
}

/// A process of a provider on a harness's cloud, with the framework's engine and no Kubernetes.
#[derive(Debug)]
pub struct RouteRig<'a, H> {
    harness: &'a H,
    cluster: Cluster,
    life: Life<RouteSpec>,
    wanted: BTreeMap<ObjectId, (Aim, RoutedNode)>,
    /// Nodes that have got ranges.
    numbered: usize,
    /// Changes that were asked about already.
    heard: usize,
}

async fn begin(
    harness: &impl RouteHarness,
    cluster: Cluster,
) -> Result<Life<RouteSpec>, Unsupported> {
    let provider = harness.process(cluster, &RouteRig::<()>::ranges())?;
    let (facts, lag) = (harness.facts(), harness.lag());
    let life = Life::begin(provider, &facts, lag, <dyn CloudProvider>::routes).await;
    // A spec has its node.
    life.engine.members(Arc::default());
    Ok(life)
}

impl<H> RouteRig<'_, H> {
    /// The cluster's ranges.
    pub fn ranges() -> Vec<IpNet> {
        RANGES.map(|range| range.parse().expect("they are ranges")).to_vec()
    }

    /// The range of this number, of a family.
    fn range(family: usize, number: usize) -> IpNet {
        let whole = Self::ranges()[family];
        let mut parts = whole.subnets(LENGTHS[family]).expect("a part is smaller than the whole");
        parts.nth(number).expect("there are enough for a test")
    }
}

impl<'a, H: RouteHarness> RouteRig<'a, H> {
    /// The process, freshly started, with nothing wanted.
    pub async fn start(harness: &'a H) -> Self {
        match Self::start_as(harness, Cluster::Ours).await {
            Ok(rig) => rig,
            Err(Unsupported) => panic!("a harness can start its own cluster's process"),
        }
    }

    /// The process of another cluster, where the harness can start one.
    pub async fn start_as(harness: &'a H, cluster: Cluster) -> Result<Self, Unsupported> {
        let life = begin(harness, cluster).await?;
        Ok(Self { harness, cluster, life, wanted: BTreeMap::new(), numbered: 0, heard: 0 })
    }

    /// What it makes routes with.
    pub fn converger(&self) -> &Converger<RouteSpec> {
        &self.life.converger
    }

    /// The provider of this process.
    pub fn provider(&self) -> &Arc<dyn CloudProvider> {
        &self.life.provider
    }

    /// Launches an instance, and gives its node an IPv4 range that no other has.
    pub async fn node(&mut self) -> RoutedNode {
        let node = self.harness.launch().await;
        let range = self.next_range();
        RoutedNode { node: self.joined(&node).await, ranges: vec![range] }
    }

    /// An IPv4 range that no node has.
    pub fn next_range(&mut self) -> IpNet {
        self.numbered += 1;
        Self::range(0, self.numbered)
    }

    /// An IPv6 range that no node has.
    pub fn next_v6_range(&mut self) -> IpNet {
        self.numbered += 1;
        Self::range(1, self.numbered)
    }

    /// The node with the provider ID of its machine.
    pub async fn joined(&self, node: &NodeIdentity) -> NodeIdentity {
        let instances = self.life.provider.instances().expect("the provider has instances");
        let cx = leave(Duration::from_mins(1));
        match instances.describe(&cx, Ask::Look, std::slice::from_ref(node)).await.as_deref() {
            Ok([Observation::Present(instance)]) => with_id(node, &instance.provider_id),
            other => panic!("a machine that was launched is not there: {other:?}"),
        }
    }

    /// Wants packets for the node's ranges to go to it.
    pub fn present(&mut self, node: &RoutedNode) {
        self.want(Aim::Present, node);
    }

    /// Wants no route of the node to be left.
    pub fn absent(&mut self, node: &RoutedNode) {
        self.want(Aim::Absent, node);
    }

    /// Wants what the node has to stay.
    pub fn keep(&mut self, node: &RoutedNode) {
        self.want(Aim::Keep, node);
    }

    /// Wants nothing for it any more, as if nobody had ever heard of it.
    pub fn forget(&mut self, node: &RoutedNode) {
        self.wanted.remove(&node.id());
        self.life.engine.forget(&node.id());
    }

    fn want(&mut self, aim: Aim, node: &RoutedNode) {
        self.life.engine.want(node.want(aim), node.digest());
        self.wanted.insert(node.id(), (aim, node.clone()));
    }

    /// All that the engine knows of a node.
    pub fn progress(&self, node: &RoutedNode) -> Option<Progress> {
        self.life.engine.progress(&node.id())
    }

    /// What the cloud has of this process's cluster, a line each.
    pub async fn snapshot(&self) -> Vec<String> {
        self.harness.snapshot(self.cluster).await
    }

    /// Where packets for this range go; panics where there is more than one route, or none.
    pub async fn path(&self, range: IpNet) -> Path {
        let mut paths = self.harness.paths().await;
        paths.retain(|path| path.destination == range);
        assert!(paths.len() == 1, "one route to {range}, and not {paths:?}");
        paths.remove(0)
    }

    /// Whether there is any route to this range.
    pub async fn has_path(&self, range: IpNet) -> bool {
        self.harness.paths().await.iter().any(|path| path.destination == range)
    }

    /// What bears our mark, as the provider says it.
    pub async fn inventory(&self) -> Vec<Owned> {
        match self.life.engine.inventory().await {
            Ok(owned) => owned,
            Err(err) => panic!("nothing is wrong, and yet there is no inventory: {err:?}"),
        }
    }

    fn wants(&self, others: &[&RoutedNode]) -> Vec<Want<RouteSpec>> {
        let is_other = |id: &ObjectId| others.iter().any(|other| other.id() == *id);
        let each = self.wanted.iter();
        each.map(|(id, (aim, node))| node.want(if is_other(id) { Aim::Keep } else { *aim }))
            .collect()
    }

    /// What would be done now by a process that has just started.
    pub async fn rehearse(&self) -> Vec<Rehearsed> {
        rehearse(&self.life.converger, self.wants(&[]), Arc::default()).await
    }

    /// Waits until everything is as wanted: done or gone by the engine's word, and with nothing left
    /// to do by a fresh look. Panics where something is refused, or the harness's patience ends.
    pub async fn settled(&mut self) {
        self.settled_but(&[]).await;
    }

    /// As [`settled`](Self::settled), and these may be in trouble.
    pub async fn settled_but(&mut self, others: &[&RoutedNode]) {
        let (began, patience) = (Instant::now(), self.harness.patience());
        loop {
            let mut pending = self.pending(others);
            if pending.is_none() {
                let wants = self.wants(others);
                pending = left_of(&rehearse(&self.life.converger, wants, Arc::default()).await);
            }
            let Some(pending) = pending else { break };
            assert!(began.elapsed() <= patience, "not settled after {patience:?}: {pending}");
            self.tick().await;
        }
        let gone = |node: &RoutedNode| self.progress(node).is_some_and(|it| it.is_gone);
        let absent = self.wanted.values().filter(|(aim, _)| *aim == Aim::Absent);
        let gone: Vec<_> =
            absent.filter(|(_, node)| gone(node)).map(|(_, node)| node.clone()).collect();
        for node in gone {
            self.forget(&node);
        }
    }

    /// Waits until nothing of the node is left by the engine's word alone.
    pub async fn said_to_be_gone(&self, node: &RoutedNode) {
        let (began, patience) = (Instant::now(), self.harness.patience());
        while let Some(pending) = hindrance(&node.id(), Aim::Absent, self.progress(node).as_ref()) {
            assert!(began.elapsed() < patience, "not gone after {patience:?}: {pending}");
            self.tick().await;
        }
    }

    fn pending(&self, others: &[&RoutedNode]) -> Option<String> {
        self.wanted.iter().find_map(|(id, (aim, node))| {
            if *aim == Aim::Keep || others.iter().any(|other| other.id() == *id) {
                return None;
            }
            hindrance(id, *aim, self.progress(node).as_ref())
        })
    }

    async fn tick(&self) {
        self.life.go();
        let _ = timeout(TICK, self.life.desk.news.notified()).await;
    }

    /// Waits until the engine says why a node does not get on.
    pub async fn trouble(&self, node: &RoutedNode) -> Arc<CloudError> {
        let began = Instant::now();
        loop {
            let progress = self.progress(node);
            if let Some(trouble) = progress.as_ref().and_then(|it| it.trouble.as_ref()) {
                return Arc::clone(&trouble.error);
            }
            // A request may hang for as long as that before it is one.
            let patience = self.harness.patience() + REQUEST_LIMIT;
            assert!(began.elapsed() < patience, "{} is in no trouble: {progress:?}", node.id());
            self.tick().await;
        }
    }

    /// Lets the engine look at everything once more, and waits until it has.
    pub async fn look_again(&self) {
        self.life.go();
        let (began, patience) = (Instant::now(), self.harness.patience());
        for (id, (aim, _)) in self.wanted.iter().filter(|(_, (aim, _))| *aim != Aim::Keep) {
            let heard = self.life.desk.heard_of(id);
            self.life.engine.again(id);
            while self.life.desk.heard_of(id) <= heard {
                assert!(began.elapsed() < patience, "{id} ({aim:?}) was not looked at again");
                self.tick().await;
            }
        }
    }

    /// Ends the process wherever it is, and starts another that knows what is wanted and no more.
    pub async fn restart(&mut self) {
        let next = match begin(self.harness, self.cluster).await {
            Ok(next) => next,
            Err(Unsupported) => panic!("a harness can start again what it has started"),
        };
        std::mem::replace(&mut self.life, next).end().await;
        self.heard = 0;
        for (aim, node) in self.wanted.values() {
            self.life.engine.want(node.want(*aim), node.digest());
        }
    }

    /// Cuts the process off at this change, counted from 1 and from now. See
    /// [`until_cut`](Self::until_cut).
    pub fn cut(&self, at: usize, when: Cut) {
        self.life.watch.cut(at, when);
    }

    /// Waits until the process is cut off; false where all is settled before. Then
    /// [`restart`](Self::restart) is the crash.
    pub async fn until_cut(&mut self) -> bool {
        self.until_reached().await
    }

    /// Holds up the first change before it is sent, and waits until it is about to be; false where
    /// all is settled before.
    pub async fn until_held(&mut self, act: impl FnOnce(&mut Self)) -> bool {
        self.life.watch.hold(1);
        act(self);
        self.until_reached().await
    }

    async fn until_reached(&mut self) -> bool {
        self.life.go();
        let watch = Arc::clone(&self.life.watch);
        let reached = async {
            // What is left of an earlier time says nothing of this one.
            while !watch.is_reached() {
                watch.reached.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = reached => true,
            () = self.settled() => false,
        }
    }

    /// Lets go what is held up.
    pub fn release(&self) {
        self.life.watch.release();
    }

    /// The lines of the changes since this was last asked, or since the process started.
    pub fn sent(&mut self) -> Vec<String> {
        let lines = self.life.watch.lines(self.heard);
        self.heard = self.life.watch.count();
        lines
    }

    /// Of those that [`sent`](Self::sent) would say, the ones that stop traffic.
    pub fn interruptions(&self) -> Vec<String> {
        self.life.watch.interruptions(self.heard)
    }
}
