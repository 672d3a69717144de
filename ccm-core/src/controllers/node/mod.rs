//! The node controller: gives a new Node what the cloud knows of its machine, takes the
//! uninitialized taint away, and keeps addresses and labels right afterwards.
//!
//! Nodes are looked up in groups, so that one call to the cloud is about as many as it takes; each
//! is then decided and written by itself. At most two writes and no read per node: the status
//! first, then one patch that takes the taint away, so that no pod comes before the addresses.

pub(super) mod act;
mod addresses;
pub(super) mod decide;
mod labels;
pub(super) mod memory;
mod rehearse;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::rehearse::rehearse;

use self::decide::{Changes, Decision, Knowledge, StatusChange, Wait, decide};
use self::memory::{Memories, Step};
use super::progress::Progress;
use super::write::{WriteClient, code, refusal};
use crate::cloud::{Batching, Belongs, CloudProvider, Needs, NodeName, Observation, Urgency};
use crate::cluster::client::{Reason, is_closed};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::node::{Node, Version};
use crate::cluster::nodes::{NodeChange, Nodes};
use crate::fleet::{Fleet, Sighting};
use crate::queue::WorkQueue;
use crate::report::propagate;
use crate::telemetry::NodeMetrics;

/// Groups of nodes that are under way at once: one is looked up while others are written.
const GROUPS: usize = 3;

/// Nodes in a group, where the cloud would take more in one call.
const LARGEST_GROUP: usize = 500;

/// Nodes in a group, where the cloud's only cheap answer is a list of everything: more than there
/// are in any cluster.
const WHOLE_FLEET: usize = 100_000;

/// After doubt about an initialised node, which loses nothing by waiting.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);

/// A kept answer about a new node must not be older than this.
const FRESH: Duration = Duration::from_secs(10);

/// Refusals in a row after which a node's owner is told what the API server says.
const PATIENT_REFUSALS: u32 = 3;

/// What the controller is told by flags and by the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--node-status-update-frequency`: from one look at every node to the next.
    pub refresh: Duration,
    /// `--concurrent-node-syncs`: writes to the API server under way at once.
    pub writers: NonZeroU16,
    /// What the provider reads, and which labels are its own.
    pub needs: Needs,
    /// Whether the route controller runs, which says when pods on a node can be reached.
    pub routed: bool,
}

/// Everything that the controller works with.
#[derive(Debug)]
pub struct Parts {
    /// All Nodes.
    pub nodes: Arc<Nodes>,
    /// The machines behind them.
    pub fleet: Arc<Fleet>,
    /// Says which nodes are ours.
    pub cloud: Arc<dyn CloudProvider>,
    /// For writes; passes the mutation gate.
    pub client: WriteClient,
    /// For events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: NodeMetrics,
}

/// The controller.
#[derive(Debug)]
pub struct NodeController {
    parts: Parts,
    settings: Settings,
    intake: Arc<Intake>,
    writers: Semaphore,
    progress: Progress,
}

/// What the watch feeds: which nodes are to be looked at.
#[derive(Debug)]
struct Intake {
    queue: WorkQueue<NodeName>,
    memories: Memories,
}

impl Intake {
    fn take(&self, change: &NodeChange) {
        match change {
            NodeChange::Applied { old, new } => {
                // What changed while our own write was on its way was not looked at.
                let is_ours = self.memories.seen(new);
                if !is_ours && old.as_ref().is_some_and(|old| !is_relevant(old, new)) {
                    return;
                }
                let urgency =
                    if new.is_uninitialized() { Urgency::Initialize } else { Urgency::Refresh };
                self.memories.wake(new, Instant::now());
                self.queue.add(new.name.clone(), urgency);
            }
            // Worked on until the end, so that whoever works on it now does not have the last word.
            NodeChange::Deleted(old) => self.queue.add(old.name.clone(), Urgency::Drift),
        }
    }
}

/// Whether a change can change a decision. Heartbeats and most conditions cannot.
pub(super) fn is_relevant(old: &Node, new: &Node) -> bool {
    old.uid != new.uid
        || old.provider_id != new.provider_id
        || old.labels != new.labels
        || old.annotations != new.annotations
        || old.addresses != new.addresses
        || old.odd_addresses != new.odd_addresses
        || old.taints != new.taints
        || old.system_uuid != new.system_uuid
}

impl NodeController {
    /// The controller, fed by the watch from now on.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let memories = Memories::new(parts.metrics.clone(), settings.refresh, Instant::now());
        let intake = Arc::new(Intake { queue: WorkQueue::new(parts.metrics.queue()), memories });
        let feed = Arc::clone(&intake);
        parts.nodes.on_change(move |change| feed.take(change));
        let writers = Semaphore::new(settings.writers.get().into());
        Arc::new(Self { parts, settings, intake, writers, progress: Progress::default() })
    }

    /// Works until stopped; then finishes the writes that are under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            // An empty cache is not an empty cluster.
            () = self.parts.nodes.listed() => {}
        }
        let size = match self.parts.fleet.batching() {
            Batching::UpTo(limit) => limit.get().min(LARGEST_GROUP),
            Batching::Whole => WHOLE_FLEET,
        };
        let places = Arc::new(Semaphore::new(GROUPS * size));
        let mut groups = JoinSet::new();
        let mut refresh =
            interval_at(Instant::now() + self.settings.refresh, self.settings.refresh);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = groups.join_next() => {
                    propagate(ended);
                    self.progress.step(!groups.is_empty());
                }
                _ = refresh.tick() => self.want_all(),
                group = self.next_group(&places, size) => {
                    let this = Arc::clone(&self);
                    let stop = stop.clone();
                    groups.spawn(async move { this.handle(group, &stop).await });
                    self.progress.step(true);
                }
            }
        }
        while let Some(ended) = groups.join_next().await {
            propagate(ended);
        }
    }

    /// Whether it gets on, for the health check of its name.
    pub fn check(&self) -> Result<(), String> {
        self.progress.check()
    }

    fn want_all(&self) {
        for name in self.parts.nodes.names() {
            self.intake.queue.add(name, Urgency::Refresh);
        }
    }

    /// Takes as many nodes as one call is about, once there is room for that many: taking fewer
    /// whenever one place is free would cost a call for each node.
    async fn next_group(
        &self,
        places: &Arc<Semaphore>,
        size: usize,
    ) -> Vec<(NodeName, Option<OwnedSemaphorePermit>)> {
        let wanted = u32::try_from(size).unwrap_or(u32::MAX);
        let mut room = Arc::clone(places).acquire_many_owned(wanted).await.ok();
        let names = self.intake.queue.take(size).await;
        let mut place = || room.as_mut().and_then(|room| room.split(1));
        names.into_iter().map(|name| (name, place())).collect()
    }

    /// Looks a group of nodes up and sees to each.
    async fn handle(
        &self,
        group: Vec<(NodeName, Option<OwnedSemaphorePermit>)>,
        stop: &CancellationToken,
    ) {
        let now = Instant::now();
        let mut to_look = Vec::with_capacity(group.len());
        let mut to_tell = Vec::new();
        for (name, place) in group {
            match self.parts.nodes.get(&name).map(|node| (self.first_step(&node, now), node)) {
                Some((Step::Look, node)) => to_look.push((node, place)),
                Some((Step::Announce(wait), node)) => to_tell.push((node, wait, place)),
                Some((Step::Rest(pause), node)) => self.rest(&node, pause),
                Some((Step::Nothing, _)) => self.intake.queue.done(&name),
                None => self.gone(&name),
            }
        }
        // Each keeps its place until it is done.
        let tell = join_all(to_tell.into_iter().map(|(node, wait, place)| async move {
            self.announce(&node, wait).await;
            self.rest_as_planned(&node);
            drop(place);
        }));
        let see = async {
            let sightings = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                sightings = self.look(to_look.iter().map(|(node, _)| &**node)) => sightings,
            };
            let each = to_look.into_iter().zip(sightings);
            join_all(each.map(|((node, place), sighting)| async move {
                self.settle(node, sighting, now, stop).await;
                drop(place);
            }))
            .await;
        };
        futures::join!(tell, see);
    }

    /// The node is gone: so is everything that was remembered of it.
    fn gone(&self, name: &NodeName) {
        self.intake.memories.forget(name);
        self.parts.fleet.forget(name);
        self.intake.queue.done(name);
    }

    /// What is to be done before the cloud is asked.
    fn first_step(&self, node: &Node, now: Instant) -> Step {
        if node.deleting || matches!(self.belongs(node), Belongs::Foreign(_)) {
            self.intake.memories.forget(&node.name);
            return Step::Nothing;
        }
        self.intake.memories.first_step(node, now)
    }

    fn belongs(&self, node: &Node) -> Belongs {
        self.parts.cloud.belongs(&node.identity(&self.settings.needs))
    }

    /// Asks the fleet, in the order of the nodes.
    async fn look(&self, nodes: impl Iterator<Item = &Node>) -> Vec<Sighting> {
        let (new, known): (Vec<_>, Vec<_>) =
            nodes.enumerate().partition(|(_, node)| node.is_uninitialized());
        let ask = |some: &[(usize, &Node)], max_age, urgency| {
            let identities = some.iter().map(|(_, node)| node.identity(&self.settings.needs));
            self.parts.fleet.look(identities.collect(), max_age, urgency)
        };
        let (of_new, of_known) = futures::join!(
            ask(&new, FRESH, Urgency::Initialize),
            ask(&known, self.settings.refresh / 2, Urgency::Refresh),
        );
        let order = new.iter().chain(&known).map(|(index, _)| *index);
        let mut sightings: Vec<_> = order.zip(of_new.into_iter().chain(of_known)).collect();
        sightings.sort_by_key(|(index, _)| *index);
        sightings.into_iter().map(|(_, sighting)| sighting).collect()
    }

    /// Brings one node to where the cloud's answer says it should be.
    async fn settle(
        &self,
        node: Arc<Node>,
        sighting: Sighting,
        asked: Instant,
        stop: &CancellationToken,
    ) {
        match self.decide(&node, &sighting) {
            Decision::Leave => self.leave(&node, &sighting),
            Decision::Wait(wait) => self.wait(&node, wait, asked).await,
            Decision::Write(_) => self.write(node, &sighting, asked, stop).await,
        }
    }

    fn decide(&self, node: &Node, sighting: &Sighting) -> Decision {
        let knowledge = Knowledge {
            belongs: &self.belongs(node),
            observation: &sighting.observation,
            own_label_prefixes: self.settings.needs.own_label_prefixes,
            replaced: sighting.replaces.is_some(),
            announced: self.intake.memories.is_announced(node),
            routed: self.settings.routed,
        };
        decide(node, knowledge)
    }

    /// Nothing to be done, as far as we know.
    fn leave(&self, node: &Node, sighting: &Sighting) {
        if let Observation::Unknown(_) = *sighting.observation {
            // All of a group come back together, so this too is one call for many.
            let pause = DOUBT_PAUSE.min(self.settings.refresh);
            self.intake.queue.add_after(node.name.clone(), Urgency::Refresh, pause);
        } else {
            self.intake.memories.content(node);
        }
        self.intake.queue.done(&node.name);
    }

    /// Looks at the node again after this time.
    fn rest(&self, node: &Node, pause: Duration) {
        let urgency = if node.is_uninitialized() { Urgency::Initialize } else { Urgency::Refresh };
        self.intake.queue.add_after(node.name.clone(), urgency, pause);
        self.intake.queue.done(&node.name);
    }

    /// Looks at a waiting node again when it is due.
    fn rest_as_planned(&self, node: &Node) {
        match self.intake.memories.first_step(node, Instant::now()) {
            Step::Rest(pause) => self.rest(node, pause),
            Step::Look | Step::Announce(_) => self.rest(node, Duration::ZERO),
            Step::Nothing => self.intake.queue.done(&node.name),
        }
    }

    async fn wait(&self, node: &Node, wait: Wait, asked: Instant) {
        debug!(node = %node.name, reason = wait.known.reason, why = wait.known.message, "node waits");
        self.intake.memories.waits(node, wait, asked, Instant::now());
        if let Step::Announce(wait) = self.intake.memories.first_step(node, Instant::now()) {
            self.announce(node, wait).await;
        }
        self.rest_as_planned(node);
    }

    /// Says on the node why it waits: a condition and an event.
    async fn announce(&self, node: &Node, wait: Wait) {
        let Ok(_turn) = self.writers.acquire().await else { return };
        let change = StatusChange { known: Some(wait.known.clone()), ..StatusChange::default() };
        match act::write_status(&self.parts.client.0, node, &change, Timestamp::now()).await {
            Ok(_) => {
                info!(node = %node.name, reason = wait.known.reason, why = wait.known.message, "node waits");
                self.parts.metrics.write("condition");
                self.intake.memories.told(node);
                self.say(node, EventType::Warning, wait.known.reason, wait.known.message);
            }
            Err(err) => {
                debug!(node = %node.name, error = %Reason(&err), "condition not written");
                self.intake.memories.not_told(node, Instant::now());
            }
        }
    }

    /// Writes what differs. The turn to write may have taken its time, so it is decided once more
    /// on the node as it is by then.
    async fn write(
        &self,
        node: Arc<Node>,
        sighting: &Sighting,
        asked: Instant,
        stop: &CancellationToken,
    ) {
        let turn = tokio::select! {
            biased;
            // What is under way is finished; nothing is begun.
            () = stop.cancelled() => return self.intake.queue.done(&node.name),
            turn = self.writers.acquire() => turn,
        };
        let Some(node) = self.parts.nodes.get(&node.name).filter(|now| now.uid == node.uid) else {
            // Its end, or its successor, is in the queue.
            return self.intake.queue.done(&node.name);
        };
        match self.decide(&node, sighting) {
            Decision::Leave => self.leave(&node, sighting),
            Decision::Wait(wait) => {
                // To tell its owner takes a turn too.
                drop(turn);
                self.wait(&node, wait, asked).await;
            }
            Decision::Write(changes) => match self.carry_out(&node, &changes).await {
                Ok(version) => {
                    if sighting.replaces.is_some() {
                        self.parts.fleet.renewed(&node.name);
                    }
                    self.written(&node, changes, version);
                }
                Err(err) => self.not_written(&node, &err),
            },
        }
    }

    async fn carry_out(&self, node: &Node, changes: &Changes) -> kube::Result<Version> {
        let client = &self.parts.client.0;
        let mut version = node.version.clone();
        if !changes.status.is_empty() {
            version = act::write_status(client, node, &changes.status, Timestamp::now()).await?;
            self.parts.metrics.write("status");
            // Holds also where the second write fails.
            self.intake.memories.status_written(node, &version);
        }
        if !changes.main.is_empty() {
            version = act::write_main(client, node, &version, &changes.main).await?;
            self.parts.metrics.write("main");
        }
        Ok(version)
    }

    fn written(&self, node: &Node, changes: Changes, version: Version) {
        if changes.initializes() {
            let age = SystemTime::now().duration_since(node.created).unwrap_or_default();
            self.parts.metrics.initialized(age);
            info!(node = %node.name, "node initialised");
        } else if !changes.status.is_empty() || !changes.main.is_empty() {
            info!(node = %node.name, ?changes, "node updated");
        }
        for note in self.intake.memories.written(node, changes.notes, version) {
            self.say(node, EventType::Warning, note.reason, note.message);
        }
        // The cache may have seen the write before its answer came.
        if let Some(now) = self.parts.nodes.get(&node.name) {
            self.intake.memories.seen(&now);
        }
        self.intake.queue.done(&node.name);
    }

    fn not_written(&self, node: &Node, err: &kube::Error) {
        let code = code(err);
        if is_closed(err) || code == 404 {
            debug!(node = %node.name, error = %Reason(err), "node not written");
            return self.intake.queue.done(&node.name);
        }
        self.parts.metrics.refused(refusal(code));
        let (failures, pause) = self.intake.memories.not_written(node);
        // The node moved under our hands: what we tested does not hold. Decided again.
        let moved = matches!(code, 409 | 422);
        if moved && failures < PATIENT_REFUSALS {
            debug!(node = %node.name, error = %Reason(err), "node changed meanwhile");
        } else if self.parts.client.is_known_lack(err) {
            debug!(node = %node.name, error = %Reason(err), "node not written");
        } else {
            warn!(node = %node.name, error = %Reason(err), "node not written");
        }
        if matches!(code, 403 | 422) && failures == PATIENT_REFUSALS {
            let message = format!("the API server refuses the write: {}", Reason(err));
            self.say(node, EventType::Warning, "NodeNotUpdated", message);
        }
        self.rest(node, pause);
    }

    fn say(&self, node: &Node, kind: EventType, reason: &'static str, message: String) {
        self.parts.recorder.event(&node.involved(), kind, reason, message);
    }
}
