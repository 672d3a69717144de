//! The volume controller: says on the `PersistentVolume`s of the cloud in which zones and region
//! they are, by labels, and by a node affinity where they have none.
//!
//! Volumes are looked up in groups, so that one call to the cloud is about as many as it takes; each
//! is then decided and written by itself, in one patch and without a read. A volume does not move:
//! what the cloud has said is not asked again, and there is no refresh.

mod act;
mod decide;
mod doubt;
mod looks;
mod memories;
mod rehearse;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use self::decide::Rules;

use self::decide::{Changes, Task, decide, task};
use self::doubt::Wait;
use self::looks::Looks;
use self::memories::{Memories, Step};
use super::progress::Progress;
use super::write::{WriteClient, code, refusal};
use crate::cloud::{Observation, Topology, Urgency, Volumes};
use crate::cluster::client::{Reason, is_closed};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::node::Version;
use crate::cluster::volume::PersistentVolume;
use crate::cluster::volumes::{PersistentVolumes, VolumeChange};
use crate::controllers::memory::Note;
use crate::governor::Governor;
use crate::queue::WorkQueue;
use crate::report::propagate;
use crate::telemetry::VolumeMetrics;

/// Groups of volumes that are under way at once: one is looked up while another is written. Volumes
/// that come meanwhile share the next call.
const GROUPS: usize = 2;

/// How long a group waits for others to join it: as in the fleet.
const GATHERING: Duration = Duration::from_millis(5);

/// Writes to the API server under way at once. A guess: nobody waits for them as for a node.
const WRITERS: usize = 10;

/// Refusals in a row after which a volume's owner is told what the API server says.
const PATIENT_REFUSALS: u32 = 3;

/// Everything that the controller works with.
#[derive(Debug)]
pub struct Parts {
    /// All `PersistentVolume`s of the cloud.
    pub volumes: Arc<PersistentVolumes>,
    /// Says where they are.
    pub cloud: Arc<dyn Volumes>,
    /// What every question to the cloud passes.
    pub governor: Governor,
    /// For writes; passes the mutation gate.
    pub client: WriteClient,
    /// For events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: VolumeMetrics,
}

/// The controller.
#[derive(Debug)]
pub struct VolumeController {
    volumes: Arc<PersistentVolumes>,
    looks: Looks,
    client: WriteClient,
    recorder: Recorder,
    metrics: VolumeMetrics,
    rules: Rules,
    intake: Arc<Intake>,
    writers: Semaphore,
    progress: Progress,
}

/// What the watch feeds: which volumes are to be looked at.
#[derive(Debug)]
struct Intake {
    queue: WorkQueue<Arc<str>>,
    memories: Memories,
}

impl Intake {
    fn take(&self, change: &VolumeChange) {
        match change {
            VolumeChange::Applied { old, new } => {
                // What changed while our own write was on its way was not looked at.
                let is_ours = self.memories.seen(new);
                let name = Arc::clone(&new.name);
                if let Some(pause) = self.memories.wake(new, Instant::now()) {
                    self.queue.add_after(name, Urgency::Refresh, pause);
                } else if is_ours || old.as_ref().is_none_or(|old| is_relevant(old, new)) {
                    self.queue.add(name, Urgency::Refresh);
                }
            }
            // Worked on until the end, so that whoever works on it now does not have the last word.
            VolumeChange::Deleted(old) => {
                self.queue.add(Arc::clone(&old.name), Urgency::Drift);
            }
        }
    }
}

/// Whether a change can change a decision. That a claim is bound to it, or lets go of it, cannot.
fn is_relevant(old: &PersistentVolume, new: &PersistentVolume) -> bool {
    old.uid != new.uid
        || old.labels != new.labels
        || old.has_affinity != new.has_affinity
        || old.is_provisioned != new.is_provisioned
        || old.deleting != new.deleting
}

impl VolumeController {
    /// The controller, fed by the watch from now on.
    pub fn new(parts: Parts, rules: Rules) -> Arc<Self> {
        let Parts { volumes, cloud, governor, client, recorder, metrics } = parts;
        let memories = Memories::new(metrics.clone(), Instant::now());
        let intake = Arc::new(Intake { queue: WorkQueue::new(metrics.queue()), memories });
        let feed = Arc::clone(&intake);
        volumes.on_change(move |change| feed.take(change));
        Arc::new(Self {
            volumes,
            looks: Looks::new(cloud, governor),
            client,
            recorder,
            metrics,
            rules,
            intake,
            writers: Semaphore::new(WRITERS),
            progress: Progress::default(),
        })
    }

    /// Works until stopped; then finishes the writes that are under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => return,
            // An empty cache is not an empty cluster.
            () = self.volumes.listed() => {}
        }
        let places = Arc::new(Semaphore::new(GROUPS));
        let mut groups = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = groups.join_next() => {
                    propagate(ended);
                    self.progress.step(!groups.is_empty());
                }
                (group, place) = self.next_group(&places) => {
                    let (this, stop) = (Arc::clone(&self), stop.clone());
                    groups.spawn(async move {
                        this.handle(group, &stop).await;
                        drop(place);
                    });
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

    async fn next_group(
        &self,
        places: &Arc<Semaphore>,
    ) -> (Vec<Arc<str>>, Option<OwnedSemaphorePermit>) {
        let place = Arc::clone(places).acquire_owned().await.ok();
        self.intake.queue.due().await;
        sleep(GATHERING).await;
        (self.intake.queue.take(self.looks.size()).await, place)
    }

    /// Looks a group of volumes up and sees to each.
    async fn handle(&self, group: Vec<Arc<str>>, stop: &CancellationToken) {
        let now = Instant::now();
        let (mut to_look, mut known) = (Vec::new(), Vec::new());
        for name in group {
            let Some(volume) = self.volumes.get(&name) else {
                self.leave(&name);
                continue;
            };
            match self.first_step(&volume, now) {
                Some(Step::Look) => to_look.push(volume),
                Some(Step::Decide(is)) => known.push((volume, is)),
                Some(Step::Announce(wait)) => self.announce(&volume, wait),
                Some(Step::Rest(pause)) => self.rest(&volume, pause),
                Some(Step::Nothing) => self.intake.queue.done(&name),
                None => self.leave(&name),
            }
        }
        let settle = |(volume, is): (Arc<PersistentVolume>, _)| self.settle(volume, is, stop);
        let known = join_all(known.into_iter().map(settle));
        let look = async {
            let found = self.look(to_look, now, stop).await;
            join_all(found.into_iter().map(settle)).await;
        };
        futures::join!(known, look);
    }

    /// Nothing is to be said of the volume, or it is gone: so is everything that was remembered.
    fn leave(&self, name: &Arc<str>) {
        self.intake.memories.forget(name);
        self.intake.queue.done(name);
    }

    /// What is to be done before anything is decided. `None`: nothing at all.
    fn first_step(&self, volume: &PersistentVolume, now: Instant) -> Option<Step> {
        match task(volume, self.rules) {
            Task::Leave => None,
            Task::Ask => Some(self.intake.memories.first_step(volume, now)),
            Task::Trust(is) => match self.intake.memories.first_step(volume, now) {
                Step::Nothing => Some(Step::Nothing),
                Step::Look | Step::Decide(_) | Step::Announce(_) | Step::Rest(_) => {
                    Some(Step::Decide(Arc::new(is)))
                }
            },
        }
    }

    /// Asks the cloud where these volumes are. Gives those of which it is known; the others wait.
    async fn look(
        &self,
        volumes: Vec<Arc<PersistentVolume>>,
        asked: Instant,
        stop: &CancellationToken,
    ) -> Vec<(Arc<PersistentVolume>, Arc<Topology>)> {
        if volumes.is_empty() {
            return Vec::new();
        }
        let questions: Vec<_> = volumes.iter().map(|volume| volume.identity()).collect();
        let answers = tokio::select! {
            biased;
            () = stop.cancelled() => return Vec::new(),
            answers = self.looks.look(&questions) => answers,
        };
        let now = Instant::now();
        let mut found = Vec::new();
        for (volume, answer) in volumes.into_iter().zip(answers) {
            let wait = match answer {
                Observation::Present(is) => {
                    let is = Arc::new(is);
                    self.intake.memories.answered(&volume, Arc::clone(&is), now);
                    found.push((volume, is));
                    continue;
                }
                Observation::Gone(evidence) => {
                    let again = self.intake.memories.is_missing(&volume);
                    Some(Wait::missing(&volume, evidence, again))
                }
                Observation::Unknown(err) => Wait::unknown(&volume, &err),
            };
            match wait {
                Some(wait) => self.wait(&volume, wait, asked, now),
                None => self.intake.queue.done(&volume.name),
            }
        }
        found
    }

    fn wait(&self, volume: &PersistentVolume, wait: Wait, asked: Instant, now: Instant) {
        debug!(volume = %volume.name, reason = wait.reason, why = wait.message, "volume waits");
        self.intake.memories.waits(volume, wait, asked, now);
        self.rest_as_planned(volume);
    }

    /// Looks at a waiting volume again when it is due.
    fn rest_as_planned(&self, volume: &PersistentVolume) {
        match self.intake.memories.first_step(volume, Instant::now()) {
            Step::Rest(pause) => self.rest(volume, pause),
            Step::Look | Step::Announce(_) | Step::Decide(_) => self.rest(volume, Duration::ZERO),
            Step::Nothing => self.intake.queue.done(&volume.name),
        }
    }

    /// Looks at the volume again after this time.
    fn rest(&self, volume: &PersistentVolume, pause: Duration) {
        self.intake.queue.add_after(Arc::clone(&volume.name), Urgency::Refresh, pause);
        self.intake.queue.done(&volume.name);
    }

    /// Says on the volume why it waits.
    fn announce(&self, volume: &PersistentVolume, wait: Wait) {
        info!(volume = %volume.name, reason = wait.reason, why = wait.message, "volume waits");
        self.intake.memories.told(volume, Instant::now());
        self.say(volume, wait.reason, wait.message);
        self.rest_as_planned(volume);
    }

    /// Writes what is missing. The turn to write may have taken its time, so it is decided on the
    /// volume as it is by then.
    async fn settle(
        &self,
        volume: Arc<PersistentVolume>,
        is: Arc<Topology>,
        stop: &CancellationToken,
    ) {
        let _turn = tokio::select! {
            biased;
            // What is under way is finished; nothing is begun.
            () = stop.cancelled() => return self.intake.queue.done(&volume.name),
            turn = self.writers.acquire() => turn,
        };
        let Some(volume) = self.volumes.get(&volume.name).filter(|now| now.uid == volume.uid)
        else {
            // Its end, or its successor, is in the queue.
            return self.intake.queue.done(&volume.name);
        };
        if task(&volume, self.rules) == Task::Leave {
            return self.leave(&volume.name);
        }
        let changes = decide(&volume, &is, self.rules);
        if changes.is_empty() {
            return self.settled(&volume, changes.notes, None);
        }
        match act::write(&self.client.0, &volume, &changes).await {
            Ok(version) => self.written(&volume, changes, version),
            Err(err) => self.not_written(&volume, &err),
        }
    }

    fn settled(&self, volume: &PersistentVolume, notes: Vec<Note>, written: Option<Version>) {
        for note in self.intake.memories.settled(volume, notes, written, Instant::now()) {
            self.say(volume, note.reason, note.message);
        }
        self.intake.queue.done(&volume.name);
    }

    fn written(&self, volume: &PersistentVolume, changes: Changes, version: Version) {
        let Changes { labels, affinity, notes } = changes;
        info!(volume = %volume.name, ?labels, ?affinity, "volume labelled");
        let what = match (labels.is_empty(), affinity.is_empty()) {
            (false, true) => "labels",
            (true, false) => "affinity",
            _ => "both",
        };
        let age = SystemTime::now().duration_since(volume.created).unwrap_or_default();
        self.metrics.written(what, age);
        self.settled(volume, notes, Some(version));
        // The cache may have seen the write before its answer came.
        if let Some(now) = self.volumes.get(&volume.name)
            && self.intake.memories.seen(&now)
        {
            self.intake.queue.add(Arc::clone(&now.name), Urgency::Refresh);
        }
    }

    fn not_written(&self, volume: &PersistentVolume, err: &kube::Error) {
        let code = code(err);
        if is_closed(err) || code == 404 {
            debug!(volume = %volume.name, error = %Reason(err), "volume not written");
            return self.intake.queue.done(&volume.name);
        }
        self.metrics.refused(refusal(code));
        let (failures, pause) = self.intake.memories.not_written(volume, Instant::now());
        // The volume moved under our hands: decided again.
        if code == 409 && failures < PATIENT_REFUSALS {
            debug!(volume = %volume.name, error = %Reason(err), "volume changed meanwhile");
        } else if self.client.is_known_lack(err) {
            debug!(volume = %volume.name, error = %Reason(err), "volume not written");
        } else {
            warn!(volume = %volume.name, error = %Reason(err), "volume not written");
        }
        if matches!(code, 403 | 422) && failures == PATIENT_REFUSALS {
            let message = format!("the API server refuses the write: {}", Reason(err));
            self.say(volume, "VolumeNotUpdated", message);
        }
        self.rest(volume, pause);
    }

    fn say(&self, volume: &PersistentVolume, reason: &'static str, message: String) {
        self.recorder.event(&volume.involved(), EventType::Warning, reason, message);
    }
}

#[cfg(test)]
mod tests;
