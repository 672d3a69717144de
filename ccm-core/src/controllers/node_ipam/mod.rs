//! The node IPAM controller: gives nodes the ranges of their pods, out of the cluster's ranges or as
//! the cloud says.
//!
//! What stands on nodes is honoured before anything is given, whoever wrote it. Both families of a
//! node are reserved together and written in one patch, once: the API server lets nobody change
//! them. A node for which there is nothing waits, says so, and is served when another goes.

pub(super) mod act;
pub(super) mod decide;
mod desk;
mod ledger;
mod others;
mod pool;
mod rehearse;
#[cfg(test)]
mod schedules;
mod taken;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::decide::Network;
pub use self::rehearse::rehearse;

use self::decide::{Cause, Cleared, Decision, NOT_AVAILABLE, Outlook, Wait, decide};
use self::desk::{Desk, PATIENT_FAILURES};
use self::ledger::Want;
use self::others::Others;
use self::pool::Pool;
use super::progress::Progress;
use super::write::{WriteClient, code, refusal};
use crate::cloud::{Belongs, CloudProvider, Needs, NodeName, Urgency};
use crate::cluster::client::{Reason, is_closed};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::node::Node;
use crate::cluster::nodes::{NodeChange, Nodes};
use crate::fleet::Fleet;
use crate::queue::WorkQueue;
use crate::report::propagate;
use crate::telemetry::IpamMetrics;

/// Writes to the API server under way at once, as many as upstream's workers.
const WRITERS: usize = 30;

/// Nodes that are seen to at once: those that the cloud is asked about share its answers.
const PLACES: usize = 500;

/// How long nothing is given after the opening list, where it has nodes without ranges.
///
/// A predecessor that was killed may have sent writes that are carried out after the list: they show
/// in this time, and what they gave is honoured. Where there is a lease nobody leads before it has
/// run out, so this is for processes without an election, and for API servers that take their time.
const SETTLING: Duration = Duration::from_secs(1);

/// A kept answer of the cloud about a node without ranges must not be older than this.
const FRESH: Duration = Duration::from_secs(10);

/// Where the ranges come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Out of these of the cluster, with prefixes of this length.
    Cluster(Vec<(IpNet, u8)>),
    /// As the cloud says; it may ask for parts of the cluster's.
    Cloud {
        /// The cluster's, possibly none.
        cluster: Vec<IpNet>,
        /// The machines.
        fleet: Arc<Fleet>,
        /// Says which nodes are ours.
        cloud: Arc<dyn CloudProvider>,
        /// What the provider reads of a node.
        needs: Needs,
    },
}

/// What the controller is told by flags.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the ranges come from.
    pub source: Source,
    /// What no node is given out of the cluster's ranges.
    pub kept_free: Vec<IpNet>,
    /// Who sees to the network of nodes that have ranges.
    pub network: Network,
    /// From one look at a machine that the cloud gives no ranges to the next.
    pub slow: Duration,
    /// Says which nodes are another cloud's. `None`: none is.
    pub strangers: Option<Strangers>,
}

/// Says which nodes are another cloud's.
#[derive(Clone, Debug)]
pub struct Strangers {
    /// Who knows.
    pub cloud: Arc<dyn CloudProvider>,
    /// What the provider reads of a node.
    pub needs: Needs,
}

impl Strangers {
    fn has(&self, node: &Node) -> bool {
        matches!(self.cloud.belongs(&node.identity(&self.needs)), Belongs::Foreign(_))
    }
}

/// Everything that the controller works with.
#[derive(Debug)]
pub struct Parts {
    /// All Nodes.
    pub nodes: Arc<Nodes>,
    /// For writes; passes the mutation gate.
    pub client: WriteClient,
    /// For events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: IpamMetrics,
}

/// The controller.
#[derive(Debug)]
pub struct NodeIpamController {
    parts: Parts,
    settings: Settings,
    intake: Arc<Intake>,
    writers: Semaphore,
    progress: Progress,
    settling: Duration,
}

/// What the watch feeds: who holds what, and which nodes are to be looked at.
#[derive(Debug)]
struct Intake {
    queue: WorkQueue<NodeName>,
    desk: Mutex<Desk>,
}

impl Intake {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger follows the watch in the same moment: nothing is given that a node shows.
    fn take(&self, change: &NodeChange) {
        match change {
            NodeChange::Applied { old, new } => {
                if old.as_ref().is_some_and(|old| !is_relevant(old, new)) {
                    return;
                }
                if let Some(old) = old
                    && old.uid != new.uid
                {
                    self.wake(self.desk().gone(&old.uid));
                }
                self.wake(self.desk().shows(new));
                self.queue.add(new.name.clone(), Urgency::Initialize);
            }
            NodeChange::Deleted(old) => {
                self.wake(self.desk().gone(&old.uid));
                // Whoever works on it now finds it gone.
                self.queue.forget(&old.name);
            }
        }
    }

    fn wake(&self, names: Vec<NodeName>) {
        for name in names {
            self.queue.add(name, Urgency::Initialize);
        }
    }
}

/// Whether a change can change a decision.
fn is_relevant(old: &Node, new: &Node) -> bool {
    old.uid != new.uid
        || old.pod_cidrs != new.pod_cidrs
        || old.deleting != new.deleting
        || old.provider_id != new.provider_id
        // What is said of a node that waits was said by us, or changes nothing.
        || (!new.pod_cidrs.is_empty() && old.network_unavailable != new.network_unavailable)
}

/// The pools and what is kept free in them, as the ledger has them.
fn pools(source: &Source) -> Vec<Pool> {
    match source {
        Source::Cluster(pools) => {
            pools.iter().map(|(range, size)| Pool::new(*range, *size)).collect()
        }
        Source::Cloud { cluster, .. } => {
            cluster.iter().map(|range| pool_of_cloud(*range)).collect()
        }
    }
}

/// The cloud says how large each node's range is; what is usual is for the metrics alone.
fn pool_of_cloud(range: IpNet) -> Pool {
    let usual = if range.addr().is_ipv4() { 24 } else { 64 };
    Pool::new(range, usual.max(range.prefix_len()))
}

impl NodeIpamController {
    /// The controller, fed by the watch from now on.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        Self::settling(parts, settings, SETTLING, Others::new(SETTLING))
    }

    fn settling(parts: Parts, settings: Settings, settling: Duration, others: Others) -> Arc<Self> {
        let desk =
            Desk::new(pools(&settings.source), &settings.kept_free, others, parts.metrics.clone());
        let queue = WorkQueue::new(parts.metrics.queue());
        let intake = Arc::new(Intake { queue, desk: Mutex::new(desk) });
        let feed = Arc::clone(&intake);
        parts.nodes.on_change(move |change| feed.take(change));
        let writers = Semaphore::new(WRITERS);
        let progress = Progress::default();
        Arc::new(Self { parts, settings, intake, writers, progress, settling })
    }

    /// Whether it gets on, for the health check of its name.
    pub fn check(&self) -> Result<(), String> {
        self.progress.check()
    }

    /// Works until stopped; then finishes the writes that are under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.all_is_known() => {}
        }
        let places = Arc::new(Semaphore::new(PLACES));
        let mut tasks = JoinSet::new();
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (self.intake.queue.take(1).await, place)
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => {
                    propagate(ended);
                    self.progress.step(!tasks.is_empty());
                }
                (names, place) = next => {
                    let (this, stop) = (Arc::clone(&self), stop.clone());
                    tasks.spawn(async move {
                        for name in names {
                            this.see_to(&name, &stop).await;
                            this.intake.queue.done(&name);
                        }
                        drop(place);
                    });
                    self.progress.step(true);
                }
            }
        }
        while let Some(ended) = tasks.join_next().await {
            propagate(ended);
        }
    }

    /// An empty cache is not an empty cluster, and what a predecessor has sent counts.
    async fn all_is_known(&self) {
        self.parts.nodes.listed().await;
        let waits = |node: &Arc<Node>| node.pod_cidrs.is_empty() && !node.deleting;
        if self.parts.nodes.all().iter().any(waits) {
            sleep(self.settling).await;
        }
        self.intake.desk().calm(Instant::now());
    }

    /// Brings one node to where it should be.
    async fn see_to(&self, name: &NodeName, stop: &CancellationToken) {
        let Some(node) = self.parts.nodes.get(name) else { return };
        if !node.pod_cidrs.is_empty() {
            if self.intake.desk().takes_others(&node) {
                self.say_of_others(&node);
            }
            for (reason, message) in self.intake.desk().remarks(&node) {
                warn!(node = %node.name, reason, why = message, "a node's ranges are not as they should be");
                self.say(&node, reason, message);
            }
        }
        let asked = Instant::now();
        let want = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            want = self.wanted(&node) => want,
        };
        let _turn = tokio::select! {
            biased;
            // What is under way is finished; nothing is begun.
            () = stop.cancelled() => return,
            turn = self.writers.acquire() => turn,
        };
        // To ask and to wait took its time.
        let Some(node) = self.parts.nodes.get(name).filter(|now| now.uid == node.uid) else {
            return;
        };
        let is_foreign = self.settings.strangers.as_ref().is_some_and(|others| others.has(&node));
        match decide(&node, self.outlook(&node, want), self.settings.network, is_foreign) {
            Decision::Give(ranges) => {
                let pause = self.left_to_others(&node);
                if pause.is_zero() {
                    self.give(&node, &ranges).await;
                } else {
                    self.intake.queue.add_after(node.name.clone(), Urgency::Initialize, pause);
                }
            }
            Decision::Tell(why) => self.wait(&node, &why, asked).await,
            Decision::Clear(cleared) if self.is_for_us(&node) => self.clear(&node, cleared).await,
            Decision::Leave | Decision::Clear(_) => {}
        }
    }

    /// What the node is to have. `None`: it is not for us to give it any, or it needs none.
    async fn wanted(&self, node: &Node) -> Option<Result<Want, Wait>> {
        if node.deleting || !node.pod_cidrs.is_empty() {
            return None;
        }
        match &self.settings.source {
            Source::Cluster(_) => Some(Ok(decide::usual(self.intake.desk().pools()))),
            Source::Cloud { .. } if node.provider_id.is_none() || !self.is_for_us(node) => None,
            Source::Cloud { fleet, needs, .. } => {
                let ask = vec![node.identity(needs)];
                let sightings = fleet.look(ask, FRESH, Urgency::Initialize).await;
                let sighting = sightings.first()?;
                let desk = self.intake.desk();
                Some(decide::by_the_cloud(&sighting.observation, desk.pools()))
            }
        }
    }

    /// Ranges of the cluster are for all nodes; those of the cloud for its own.
    fn is_for_us(&self, node: &Node) -> bool {
        match &self.settings.source {
            Source::Cluster(_) => true,
            Source::Cloud { cloud, needs, .. } => {
                cloud.belongs(&node.identity(needs)) == Belongs::Ours
            }
        }
    }

    /// What can be done for the node. Reserves what it is to have.
    fn outlook(&self, node: &Node, want: Option<Result<Want, Wait>>) -> Outlook {
        if node.deleting || !node.pod_cidrs.is_empty() {
            return Outlook::NotOurs;
        }
        match want {
            None => Outlook::NotOurs,
            Some(Err(why)) => Outlook::Refused(why),
            Some(Ok(want)) => {
                let (outlook, served) = self.intake.desk().claim(node, &want, Instant::now());
                self.intake.wake(served);
                outlook
            }
        }
    }

    /// How long a node is left to another program that may give it ranges. What the cloud says is the
    /// same whoever writes it.
    fn left_to_others(&self, node: &Node) -> Duration {
        match &self.settings.source {
            Source::Cluster(_) => self.intake.desk().pause(node, Instant::now()),
            Source::Cloud { .. } => Duration::ZERO,
        }
    }

    /// Somebody else has given a node its ranges.
    fn say_of_others(&self, node: &Node) {
        if let Source::Cloud { .. } = self.settings.source {
            return;
        }
        let message = "another program has given this node its ranges for pods. Two that do so give one \
                       range to two nodes sooner or later: switch it off in the kube-controller-manager \
                       (--controllers=*,-node-ipam-controller), or here (--allocate-node-cidrs=false). \
                       Nothing is given here while it goes on";
        warn!(node = %node.name, "{message}");
        self.say(node, "CIDRAssignedByOther", message.to_owned());
    }

    async fn give(&self, node: &Node, ranges: &[IpNet]) {
        self.intake.desk().sending(node);
        match act::give(&self.parts.client.0, node, ranges).await {
            Ok(_) => {
                self.parts.metrics.write("ranges");
                let texts: Vec<_> = ranges.iter().map(ToString::to_string).collect();
                info!(node = %node.name, ranges = texts.join(","), "node has its ranges for pods");
                self.intake.desk().written(node);
            }
            Err(err) => self.not_written(node, &err, true),
        }
    }

    /// Says on the node why it waits, where that is news, and looks at it again when it is due. What
    /// waits for others to go is woken by that.
    async fn wait(&self, node: &Node, wait: &Wait, asked: Instant) {
        let pause = match wait.cause {
            // Waiting is over when another node goes. But the cloud may change its mind as well.
            Cause::Exhausted | Cause::Held => match &self.settings.source {
                Source::Cluster(_) => None,
                Source::Cloud { .. } => Some(self.settings.slow),
            },
            Cause::NotGiven => {
                self.intake.desk().waits(node, wait, asked);
                Some(self.settings.slow)
            }
            Cause::Unknown(_) => {
                let pause = self.intake.desk().waits(node, wait, asked);
                Some(pause.unwrap_or(self.settings.slow))
            }
        };
        if self.intake.desk().is_news(node, wait, Instant::now()) {
            self.tell(node, wait).await;
        } else {
            debug!(node = %node.name, why = wait.message, "node waits for its ranges");
        }
        if let Some(pause) = pause {
            self.intake.queue.add_after(node.name.clone(), Urgency::Refresh, pause);
        }
    }

    async fn tell(&self, node: &Node, wait: &Wait) {
        // What a predecessor has said of it stands.
        if !decide::says_not_available(node) {
            let told = act::tell(&self.parts.client.0, node, wait, Timestamp::now()).await;
            if let Err(err) = told {
                return self.not_written(node, &err, false);
            }
            self.parts.metrics.write("condition");
        }
        info!(node = %node.name, why = wait.message, "node waits for its ranges");
        self.intake.desk().told(node, wait);
        self.say(node, NOT_AVAILABLE, wait.message.clone());
    }

    async fn clear(&self, node: &Node, cleared: Cleared) {
        match act::clear(&self.parts.client.0, node, cleared, Timestamp::now()).await {
            Ok(_) => self.parts.metrics.write("condition"),
            Err(err) => self.not_written(node, &err, false),
        }
    }

    /// A write was not taken, or nobody knows: tried again after a while, if the node is still there.
    fn not_written(&self, node: &Node, err: &kube::Error, of_ranges: bool) {
        let code = code(err);
        if is_closed(err) || code == 404 {
            debug!(node = %node.name, error = %Reason(err), "node not written");
            return;
        }
        self.parts.metrics.refused(refusal(code));
        let is_refusal = of_ranges && (400..500).contains(&code);
        let (failures, pause) = self.intake.desk().failed(node, is_refusal);
        // Somebody else gave it ranges, or it is another node by now; the watch shows it.
        if matches!(code, 409 | 422) && failures < PATIENT_FAILURES {
            debug!(node = %node.name, error = %Reason(err), "node changed meanwhile");
        } else if self.parts.client.is_known_lack(err) {
            debug!(node = %node.name, error = %Reason(err), "node not written");
        } else {
            warn!(node = %node.name, error = %Reason(err), "node not written");
        }
        if of_ranges && failures == PATIENT_FAILURES {
            let message = format!("the API server does not take its ranges: {}", Reason(err));
            self.say(node, "CIDRAssignmentFailed", message);
        }
        self.intake.queue.add_after(node.name.clone(), Urgency::Refresh, pause);
    }

    fn say(&self, node: &Node, reason: &'static str, message: String) {
        self.parts.recorder.event(&node.involved(), EventType::Warning, reason, message);
    }
}
