//! The node lifecycle controller: taints Nodes whose machines are stopped, and deletes Nodes whose
//! machines are gone.
//!
//! Everything is decided by the ward, which is pure; here it is fed by the watch, and what it
//! wants asked and written is asked and written.

pub(super) mod act;
mod budget;
pub(super) mod case;
pub(super) mod decide;
mod rehearse;
pub(super) mod ward;

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::budget::Limit;
use self::decide::{Rules, Write};
pub use self::rehearse::rehearse;
use self::ward::{Outcome, Plan, Terms, Ward};
use super::progress::Progress;
use super::write::{WriteClient, code, refusal};
use crate::cloud::{
    Ask, Batching, Belongs, CloudProvider, Evidence, Needs, NodeIdentity, Observation, Urgency,
};
use crate::cluster::client::{Reason, is_closed};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::keys;
use crate::cluster::node::{ConditionStatus, Node};
use crate::cluster::nodes::{NodeChange, Nodes};
use crate::fleet::{Fleet, Sighting};
use crate::report::propagate;
use crate::telemetry::LifecycleMetrics;

/// Direct questions that one task asks: some clouds answer them one by one, and whoever is answered
/// first should not wait for all.
const CONFIRMED_TOGETHER: usize = 20;

/// Between two plans, so that nodes which change together are planned for together.
const BREATH: Duration = Duration::from_millis(50);

/// For each node that is watched over, so that going through thousands of them is never more than a
/// small share of the time.
const EFFORT: Duration = Duration::from_micros(50);

/// What the controller is told by flags and by the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--node-monitor-period`: from one look at a node that is not ready to the next.
    pub period: Duration,
    /// `--node-deletion-min-age`, or the provider's own, if that is longer.
    pub min_age: Duration,
    /// Two records that say that a machine was terminated are enough at any age.
    pub terminated_is_final: bool,
    /// `--node-deletion-budget-…`; `None` where it is switched off.
    pub limit: Option<Limit>,
    /// `--concurrent-node-lifecycle-syncs`: writes to the API server under way at once.
    pub writers: NonZeroU16,
    /// What the provider reads of a Node.
    pub needs: Needs,
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
    pub metrics: LifecycleMetrics,
}

/// The controller.
#[derive(Debug)]
pub struct NodeLifecycleController {
    parts: Parts,
    settings: Settings,
    intake: Arc<Intake>,
    batch: usize,
    writers: Semaphore,
    progress: Progress,
}

/// What the watch feeds.
#[derive(Debug)]
struct Intake {
    ward: Mutex<Ward>,
    changed: Notify,
    cloud: Arc<dyn CloudProvider>,
    needs: Needs,
}

impl Intake {
    fn ward(&self) -> MutexGuard<'_, Ward> {
        self.ward.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, change: &NodeChange, is_listed: bool) {
        match change {
            NodeChange::Applied { old, new } => {
                if old.as_ref().is_some_and(|old| !is_relevant(old, new)) {
                    return;
                }
                // One that joins while we watch is new, whatever the clocks say.
                let age = if is_listed {
                    Duration::ZERO
                } else {
                    SystemTime::now().duration_since(new.created).unwrap_or_default()
                };
                let is_ours = new.provider_id.is_some()
                    && self.cloud.belongs(&new.identity(&self.needs)) == Belongs::Ours;
                self.ward().seen(new, is_ours, age, Instant::now());
            }
            NodeChange::Deleted(old) => self.ward().gone(&old.name),
        }
        self.changed.notify_one();
    }
}

/// Whether a change can change a decision. Heartbeats and most conditions cannot; any new version
/// does while we wait for our own write to come back.
pub(super) fn is_relevant(old: &Node, new: &Node) -> bool {
    !new.is_ready()
        || old.is_ready() != new.is_ready()
        || old.uid != new.uid
        || old.provider_id != new.provider_id
        || old.deleting != new.deleting
        || old.taints != new.taints
        || old.annotations != new.annotations
        || old.instance_known != new.instance_known
}

impl NodeLifecycleController {
    /// The controller, fed by the watch from now on.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let batch = match parts.fleet.batching() {
            Batching::UpTo(limit) => limit.get(),
            Batching::Whole => usize::MAX,
        };
        let terms = Terms {
            rules: Rules {
                min_age: settings.min_age,
                terminated_is_final: settings.terminated_is_final,
            },
            period: settings.period,
            limit: settings.limit,
            batch,
        };
        let intake = Arc::new(Intake {
            ward: Mutex::new(Ward::new(terms, Instant::now())),
            changed: Notify::new(),
            cloud: Arc::clone(&parts.cloud),
            needs: settings.needs.clone(),
        });
        let (feed, nodes) = (Arc::clone(&intake), Arc::downgrade(&parts.nodes));
        parts.nodes.on_change(move |change| {
            let is_listed = nodes.upgrade().is_some_and(|nodes| nodes.is_listed());
            feed.take(change, is_listed);
        });
        let writers = Semaphore::new(settings.writers.get().into());
        Arc::new(Self { parts, settings, intake, batch, writers, progress: Progress::default() })
    }

    /// Works until stopped; then finishes the writes that are under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            // An empty cache is not an empty cluster.
            () = self.parts.nodes.listed() => {}
        }
        let mut work = JoinSet::new();
        loop {
            let (plan, open) = {
                let mut ward = self.intake.ward();
                let plan = ward.plan(|name| self.parts.nodes.get(name), Instant::now());
                let figures = ward.figures();
                self.parts.metrics.budget(figures.held, figures.left, figures.capacity);
                (plan, u32::try_from(figures.open).unwrap_or(u32::MAX))
            };
            let again = plan.again;
            self.begin(plan, &stop, &mut work);
            self.progress.step(!work.is_empty());
            let breath = Instant::now() + BREATH + EFFORT * open;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.something(&mut work, again) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(breath) => {}
            }
        }
        while let Some(ended) = work.join_next().await {
            propagate(ended);
        }
    }

    /// Whether it gets on, for the health check of its name.
    pub fn check(&self) -> Result<(), String> {
        self.progress.check()
    }

    /// Waits until there may be something to plan.
    async fn something(&self, work: &mut JoinSet<()>, again: Option<Instant>) {
        let due = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = work.join_next() => propagate(ended),
            () = self.intake.changed.notified() => {}
            () = due => {}
        }
        while let Some(ended) = work.try_join_next() {
            propagate(ended);
        }
    }

    /// Begins what is planned.
    fn begin(self: &Arc<Self>, plan: Plan, stop: &CancellationToken, work: &mut JoinSet<()>) {
        for node in &plan.misread {
            let given = node.annotations.get(keys::ALLOW_DELETION).unwrap_or_default();
            let message = format!(
                "annotation {}={given:?}: must be the UID of this Node, which is {}",
                keys::ALLOW_DELETION,
                node.uid
            );
            self.say(node, EventType::Warning, "InvalidAllowDeletion", message);
        }
        for (ask, nodes, together) in [
            (Ask::Look, plan.looks, self.batch),
            (Ask::Confirm, plan.confirms, self.batch.min(CONFIRMED_TOGETHER)),
        ] {
            for some in nodes.chunks(together) {
                let (this, some, stop) = (Arc::clone(self), some.to_vec(), stop.clone());
                work.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = this.ask(ask, some) => {}
                    }
                });
            }
        }
        for (node, write) in plan.writes {
            let (this, stop) = (Arc::clone(self), stop.clone());
            work.spawn(async move { this.write(node, write, &stop).await });
        }
    }

    /// Asks the cloud about nodes.
    async fn ask(&self, ask: Ask, nodes: Vec<Arc<Node>>) {
        let identities: Vec<NodeIdentity> =
            nodes.iter().map(|node| node.identity(&self.settings.needs)).collect();
        let began = Instant::now();
        let sightings = match ask {
            Ask::Look => {
                let max_age = self.settings.period / 2;
                self.parts.fleet.look(identities, max_age, Urgency::Refresh).await
            }
            Ask::Confirm => self.parts.fleet.confirm(&identities).await,
        };
        self.parts.metrics.looked(began.elapsed());
        for (node, sighting) in nodes.iter().zip(sightings) {
            self.saw(node, ask, &sighting);
            if self.parts.nodes.get(&node.name).is_none() {
                // Gone while we asked: nothing is to be kept of it.
                self.parts.fleet.forget(&node.name);
            }
        }
    }

    fn saw(&self, node: &Node, ask: Ask, sighting: &Sighting) {
        let result = match &*sighting.observation {
            Observation::Present(_) => "success",
            Observation::Gone(evidence) => {
                debug!(node = %node.name, ?ask, ?evidence, "the cloud has no such instance");
                "instance_not_found"
            }
            Observation::Unknown(err) => {
                debug!(node = %node.name, ?ask, why = %err, "the cloud does not tell");
                "error"
            }
        };
        self.parts.metrics.asked(result);
        self.intake.ward().saw(node, ask, sighting, Instant::now());
    }

    /// Does one write. The turn to write may have taken its time, so it is decided once more on the
    /// Node as it is by then.
    async fn write(&self, planned: Arc<Node>, write: Write, stop: &CancellationToken) {
        let turn = tokio::select! {
            biased;
            // What is under way is finished; nothing is begun.
            () = stop.cancelled() => None,
            turn = self.writers.acquire() => turn.ok(),
        };
        let node = self.parts.nodes.get(&planned.name).filter(|now| now.uid == planned.uid);
        let node = node.filter(|node| {
            turn.is_some() && self.intake.ward().is_still_right(node, &write, Instant::now())
        });
        let outcome = match node {
            Some(node) => self.carry_out(&node, &write).await,
            None => Outcome::NotSent,
        };
        self.intake.ward().wrote(&planned, &write, outcome, Instant::now());
        self.intake.changed.notify_one();
    }

    async fn carry_out(&self, node: &Node, write: &Write) -> Outcome {
        if let Write::Delete { evidence, permit } = write {
            let message = format!("deleting the Node: {}", why(*evidence));
            info!(node = %node.name, ?evidence, permit = permit.as_str(), "{message}");
            self.say(node, EventType::Normal, "DeletingNode", message);
        }
        match act::carry_out(&self.parts.client.0, node, write, Timestamp::now()).await {
            Ok(version) => {
                self.done(node, write);
                Outcome::Done(version)
            }
            Err(err) => self.failed(node, write, &err),
        }
    }

    fn done(&self, node: &Node, write: &Write) {
        self.parts.metrics.write(word(write));
        match write {
            Write::AddTaint => info!(node = %node.name, "machine stopped: node tainted"),
            Write::RemoveTaint(_) => info!(node = %node.name, "node ready: shutdown taint removed"),
            Write::Delete { evidence, permit } => {
                let evidence = match evidence {
                    Evidence::Terminated => "terminated",
                    Evidence::Absent => "absent",
                };
                self.parts.metrics.deleted(evidence, permit.as_str());
            }
            Write::Tell(known) => {
                let (reason, why) = (known.reason, &known.message);
                info!(node = %node.name, reason, why, "node told");
                if known.status != ConditionStatus::True {
                    self.say(node, EventType::Warning, reason, why.clone());
                }
            }
        }
    }

    fn failed(&self, node: &Node, write: &Write, err: &kube::Error) -> Outcome {
        let (code, what) = (code(err), word(write));
        if is_closed(err) {
            // Where the lease was lost on the way, the request may have arrived.
            let deletes = matches!(write, Write::Delete { .. });
            return if deletes { Outcome::Unanswered } else { Outcome::NotSent };
        }
        let outcome = outcome(code);
        if outcome == Outcome::Gone {
            return outcome;
        }
        self.parts.metrics.refused(refusal(code));
        if matches!(code, 409 | 422) {
            debug!(node = %node.name, write = what, error = %Reason(err), "node changed meanwhile");
            return outcome;
        }
        if self.parts.client.is_known_lack(err) {
            debug!(node = %node.name, write = what, error = %Reason(err), "node not written");
        } else {
            warn!(node = %node.name, write = what, error = %Reason(err), "node not written");
        }
        if matches!(write, Write::Delete { .. }) {
            let message = format!("the Node could not be deleted: {}", Reason(err));
            self.say(node, EventType::Warning, "DeletingNodeFailed", message);
        }
        outcome
    }

    fn say(&self, node: &Node, kind: EventType, reason: &'static str, message: String) {
        self.parts.recorder.event(&node.involved(), kind, reason, message);
    }
}

/// What a write came to that was not accepted with this code; 0 where there was no answer.
pub(super) fn outcome(code: u16) -> Outcome {
    match code {
        404 => Outcome::Gone,
        // A server that fails, or waits for etcd in vain, may have done it all the same.
        0 | 408 | 500.. => Outcome::Unanswered,
        _ => Outcome::Refused,
    }
}

/// The write in a word, for the metric and the log.
fn word(write: &Write) -> &'static str {
    match write {
        Write::AddTaint => "taint",
        Write::RemoveTaint(_) => "untaint",
        Write::Tell(_) => "condition",
        Write::Delete { .. } => "delete",
    }
}

fn why(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Terminated => "the cloud says that its instance was terminated",
        Evidence::Absent => "its instance does not exist in the cloud any more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_failed_may_have_done_it() {
        for code in [0, 408, 500, 503, 504] {
            assert_eq!(outcome(code), Outcome::Unanswered, "{code}");
        }
        for code in [403, 409, 422, 429] {
            assert_eq!(outcome(code), Outcome::Refused, "{code}");
        }
        assert_eq!(outcome(404), Outcome::Gone);
    }
}
