//! The route controller: has the cloud send packets for pods to their nodes.
//!
//! What is to be made in the cloud is the provider's plan and the engine's work; here Nodes are read,
//! wants are handed over, and whether pods can be reached is written on the Nodes. A node is looked at
//! when it changes, not in turn: another node's trouble is never its own.

mod act;
pub mod claims;
pub mod decide;
mod desk;
pub mod ranges;
pub mod rehearse;
#[cfg(test)]
mod schedules;
mod strays;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::decide::{Case, Decision, REPEAT, ROUTE_CREATED, Told, Wanted, decide};
use self::desk::{Desk, File};
use self::ranges::Ranges;
use self::strays::identity_of;
use super::progress::Progress as Health;
use super::wanting::{pause_after, see_to_each};
use super::write::{WriteClient, code, refusal};
use crate::cloud::{
    CloudProvider, Converger, Identity, Needs, NodeIdentity, NodeName, RouteSpec, Urgency, Want,
};
use crate::cluster::client::{Reason, is_closed};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::node::{ConditionStatus, Node};
use crate::cluster::nodes::Nodes;
use crate::converge::{self, Aim, Engine, Office, Timing};
use crate::governor::Governor;
use crate::telemetry::{ConvergeMetrics, RouteMetrics};

/// What the controller is told by flags and by the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--concurrent-route-syncs`: nodes whose routes are worked on at once, and writes to the API
    /// server under way at once.
    pub workers: NonZeroU16,
    /// `--cluster-cidr`: no routes to other ranges are made.
    pub cluster: Vec<IpNet>,
    /// `--route-reconciliation-period`: from one look at a node's routes to the next at least, however
    /// often it changes.
    pub spacing: Duration,
    /// `--route-drift-interval`.
    pub drift: Duration,
    /// What the provider reads of a Node.
    pub needs: Needs,
}

/// Everything that the controller works with.
#[derive(Debug)]
pub struct Parts {
    /// All Nodes.
    pub nodes: Arc<Nodes>,
    /// Says which nodes are ours.
    pub cloud: Arc<dyn CloudProvider>,
    /// What makes routes.
    pub routes: Converger<RouteSpec>,
    /// Every request to the cloud passes it.
    pub governor: Governor,
    /// For writes; passes the mutation gate.
    pub client: WriteClient,
    /// For events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: RouteMetrics,
    /// What the engine counts.
    pub converge: ConvergeMetrics,
}

/// The controller.
#[derive(Debug)]
pub struct RouteController {
    settings: Settings,
    nodes: Arc<Nodes>,
    cloud: Arc<dyn CloudProvider>,
    client: WriteClient,
    metrics: RouteMetrics,
    engine: Arc<Engine<RouteSpec>>,
    desk: Arc<Desk>,
    writers: Semaphore,
    health: Health,
    began: Instant,
}

/// A node, with what is made of it.
struct Look {
    identity: Arc<Identity>,
    node: NodeIdentity,
    ranges: Ranges,
    digest: u64,
    is_reachable: bool,
}

impl RouteController {
    /// The controller, fed by the watch from now on.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let Parts { nodes, cloud, routes, governor, client, recorder, metrics, converge } = parts;
        let desk = Arc::new(Desk::new(&nodes, recorder, metrics.clone(), settings.needs.clone()));
        let feed = Arc::clone(&desk);
        nodes.on_change(move |change| feed.take(change));
        let timing =
            Timing { drift: settings.drift, spacing: settings.spacing, ..Timing::default() };
        let engine = Engine::new(
            routes,
            governor,
            converge::Settings { workers: settings.workers, timing },
            Arc::clone(&desk) as Arc<dyn Office>,
            converge,
        );
        let writers = Semaphore::new(settings.workers.get().into());
        Arc::new(Self {
            settings,
            nodes,
            cloud,
            client,
            metrics,
            engine: Arc::new(engine),
            desk,
            writers,
            health: Health::default(),
            began: Instant::now(),
        })
    }

    /// Whether it gets on, for the health check of its name.
    pub fn check(&self) -> Result<(), String> {
        self.health.check()
    }

    /// Works until stopped; then finishes the writes that are under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.prepare() => {}
        }
        let engine = Arc::clone(&self.engine).run(stop.clone());
        let strays = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.clear_strays() => {}
            }
        };
        futures::join!(engine, strays, Arc::clone(&self).see_to_all(&stop));
    }

    /// Everything that a plan is made from is there before the first one is made: an empty cache is
    /// not an empty cluster, and where routes share a table, who is not known yet must not lose his.
    async fn prepare(&self) {
        self.nodes.listed().await;
        let mut nodes = self.nodes.all();
        // The same each time: the first of a table's wants wakes it.
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        for node in nodes {
            let look = self.look(&node);
            let decision = self.decide(&node, &look, &File::default());
            let current = Some(Arc::clone(&look.identity));
            self.hand(look, decision.want);
            // It may go before it is seen to.
            self.desk.files().entry(node.name.clone()).or_default().current = current;
        }
    }

    async fn see_to_all(self: Arc<Self>, stop: &CancellationToken) {
        see_to_each(&self.desk.queue, &self.health, stop, |name| {
            let (this, stop) = (Arc::clone(&self), stop.clone());
            async move {
                this.see_to(&name, &stop).await;
                this.desk.queue.done(&name);
            }
        })
        .await;
    }

    /// Sees to the node of this name, and to those that bore it before.
    async fn see_to(&self, name: &NodeName, stop: &CancellationToken) {
        // Nobody else works on this name.
        let mut file = self.desk.files().remove(name);
        let node = self.nodes.get(name);
        if file.is_none() && node.is_some() {
            file = Some(File { is_new: true, ..File::default() });
        }
        let Some(mut file) = file else { return };
        let uid = node.as_ref().map(|node| &node.uid);
        if let Some(current) = file.current.take_if(|current| Some(&current.id.uid) != uid) {
            self.count(&mut file, None);
            let former = std::mem::take(&mut file.former);
            file = File { former, is_new: true, ..File::default() };
            if self.engine.progress(&current.id).is_some() {
                file.former.push(current);
            }
        }
        // Whoever looked for strays may have taken it for one while it was seen to.
        file.former.retain(|former| Some(&former.id.uid) != uid && !self.clear(former));
        if let Some(node) = node {
            self.sync(&node, &mut file, stop).await;
        }
        if file.current.is_some() || !file.former.is_empty() {
            self.merge(name, file);
        }
    }

    /// Puts a file back, beside what came in meanwhile.
    fn merge(&self, name: &NodeName, mut file: File) {
        let mut files = self.desk.files();
        if let Some(meanwhile) = files.remove(name) {
            let is_known = |it: &Arc<Identity>| file.former.iter().any(|known| known.id == it.id);
            let new: Vec<_> = meanwhile.former.into_iter().filter(|it| !is_known(it)).collect();
            file.former.extend(new);
        }
        files.insert(name.clone(), file);
    }

    /// Takes away what is left of a node that is gone. True when nothing is.
    fn clear(&self, former: &Arc<Identity>) -> bool {
        let progress = self.engine.progress(&former.id);
        // What is said of one that was to be there says nothing: something may be on its way.
        if progress.is_some_and(|progress| progress.aim == Aim::Absent && progress.is_gone) {
            info!(node = %former.id, uid = %former.id.uid, "no route is left of a node that is gone");
            self.engine.forget(&former.id);
            return true;
        }
        self.engine.want(Want::Absent(Arc::clone(former)), 0);
        false
    }

    fn look(&self, node: &Node) -> Look {
        let identity = node.identity(&self.settings.needs);
        let ranges = self.desk.ranges(node, &self.settings.cluster);
        Look {
            identity: Arc::new(identity_of(&node.name, &node.uid)),
            digest: digest(&identity, &ranges.good),
            node: identity,
            ranges,
            is_reachable: is_reachable(node),
        }
    }

    fn decide(&self, node: &Node, look: &Look, file: &File) -> Decision {
        let known = self.engine.progress(&look.identity.id);
        decide(&Case {
            node,
            belongs: &self.cloud.belongs(&look.node),
            ranges: &look.ranges,
            digest: look.digest,
            known: known.as_ref(),
            told: file.told.as_ref(),
            since: file.told_at.unwrap_or(self.began).elapsed(),
            is_new: file.is_new,
        })
    }

    fn hand(&self, look: Look, want: Wanted) {
        let Look { identity, node, ranges, digest, is_reachable } = look;
        match want {
            Wanted::Same => {}
            Wanted::Routes => {
                let destinations = ranges.good;
                let spec = RouteSpec { identity, node, destinations, is_reachable };
                self.engine.want(Want::Present(Arc::new(spec)), digest);
            }
            Wanted::Kept => self.engine.want(Want::Keep(identity), 0),
            Wanted::None => self.engine.want(Want::Absent(identity), 0),
            Wanted::Forgotten => self.engine.forget(&identity.id),
        }
    }

    /// Brings one node to where it should be by what is known.
    async fn sync(&self, node: &Node, file: &mut File, stop: &CancellationToken) {
        if file.written.as_ref().is_some_and(|written| node.version.is_older_than(written)) {
            // Our own write comes back first.
            return;
        }
        let look = self.look(node);
        let Decision { want, tell, note, notes, is_held } = self.decide(node, &look, file);
        file.current = Some(Arc::clone(&look.identity));
        self.hand(look, want);
        if let Some(told_at) = file.told_at.filter(|_| is_held) {
            let pause = REPEAT.saturating_sub(told_at.elapsed());
            self.desk.queue.add_after(node.name.clone(), Urgency::Refresh, pause);
        }
        if note != file.noted {
            if let Some(message) = &note {
                self.desk.say(node, EventType::Warning, decide::LEFT_OUT, message);
            }
            file.noted = note;
        }
        if let Some(notes) = notes {
            for note in notes.iter().filter(|note| !file.heard.contains(note)) {
                self.desk.say(node, EventType::Warning, note.reason, &note.message);
            }
            file.heard = notes;
        }
        match tell {
            Some(told) => self.tell(node, file, told, stop).await,
            None if file.counted.is_none() && is_reachable(node) => {
                self.count(file, Some("Reachable"));
                file.is_new = false;
            }
            None => {}
        }
        if matches!(want, Wanted::Forgotten | Wanted::None) {
            self.count(file, None);
        }
    }

    /// Says on the node whether pods on it can be reached.
    async fn tell(&self, node: &Node, file: &mut File, told: Told, stop: &CancellationToken) {
        let turn = tokio::select! {
            biased;
            // What is under way is finished; nothing is begun.
            () = stop.cancelled() => None,
            turn = self.writers.acquire() => turn.ok(),
        };
        if turn.is_none() {
            return;
        }
        match act::write(&self.client.0, node, &told, Timestamp::now()).await {
            Ok(version) => {
                debug!(node = %node.name, reason = told.reason, why = told.message, "told");
                self.metrics.write();
                self.count(file, Some(told.state));
                if let Some((kind, reason)) = told.event() {
                    let message =
                        format!("Could not create the routes of the node: {}", told.message);
                    self.desk.say(node, kind, reason, &message);
                }
                if told.status == ConditionStatus::False && std::mem::take(&mut file.is_new) {
                    let age = SystemTime::now().duration_since(node.created);
                    self.metrics.reached(age.unwrap_or_default());
                }
                file.written = Some(version);
                file.refused = 0;
                file.told_at = Some(Instant::now());
                file.told = Some(told);
            }
            Err(err) if code(&err) == 404 || is_closed(&err) => {
                debug!(node = %node.name, error = %Reason(&err), "not told");
            }
            Err(err) => {
                let code = code(&err);
                self.metrics.refused(refusal(code));
                file.refused = file.refused.saturating_add(1);
                let pause = pause_after(file.refused);
                if self.client.is_known_lack(&err) {
                    debug!(node = %node.name, error = %Reason(&err), ?pause, "node not written");
                } else {
                    warn!(node = %node.name, error = %Reason(&err), ?pause, "node not written");
                }
                if code == 403 && file.refused == 3 {
                    let message = format!("the API server refuses the write: {}", Reason(&err));
                    self.desk.say(node, EventType::Warning, "NodeNotUpdated", &message);
                }
                self.desk.queue.add_after(node.name.clone(), Urgency::Refresh, pause);
            }
        }
    }

    /// Counts it under another word.
    fn count(&self, file: &mut File, state: Option<&'static str>) {
        if file.counted == state {
            return;
        }
        if let Some(before) = std::mem::replace(&mut file.counted, state) {
            self.metrics.nodes(before, -1);
        }
        if let Some(state) = state {
            self.metrics.nodes(state, 1);
        }
    }
}

/// Whether the node says that a route to it was made.
fn is_reachable(node: &Node) -> bool {
    let said = node.network_unavailable.as_ref();
    said.is_some_and(|said| said.status == ConditionStatus::False && *said.reason == *ROUTE_CREATED)
}

/// Tells two forms of what a node's routes are made from apart.
fn digest(node: &NodeIdentity, ranges: &[IpNet]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let NodeIdentity { name, uid, provider_id, addresses, labels, annotations, .. } = node;
    (name, uid, provider_id, addresses, labels, annotations, ranges).hash(&mut hasher);
    hasher.finish()
}
