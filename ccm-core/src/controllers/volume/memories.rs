//! What is remembered of all volumes, behind one lock that is never held across a wait. Pure: time
//! is handed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::doubt::{NOT_FOUND, SLOW, Wait};
use crate::cloud::Topology;
use crate::cluster::node::Version;
use crate::cluster::volume::PersistentVolume;
use crate::controllers::memory::{Memory, Note};
use crate::controllers::waiting::{Next, Pace, Waiting};
use crate::telemetry::VolumeMetrics;

/// From one look at a volume that waits to the next because somebody has written to its object: what
/// others write over and over again must not become as many questions.
const FLOOR: Duration = Duration::from_secs(10);

/// What to do with a volume that is to be labelled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the cloud.
    Look,
    /// It is known where it is.
    Decide(Arc<Topology>),
    /// Tell the volume's owner why it waits.
    Announce(Wait),
    /// Nothing before this time.
    Rest(Duration),
    /// Nothing: our own last write is not in the cache yet; its arrival wakes the volume.
    Nothing,
}

/// What is remembered of all volumes.
#[derive(Debug)]
pub(super) struct Memories {
    state: Mutex<State>,
    metrics: VolumeMetrics,
}

#[derive(Debug)]
struct State {
    volumes: HashMap<Arc<str>, File>,
    pace: Pace,
}

/// What is remembered of one volume.
#[derive(Debug)]
struct File {
    memory: Memory<Wait>,
    /// Where it is. That never changes, so it is asked for once.
    is: Option<Arc<Topology>>,
    /// When the cloud was last asked in vain.
    looked: Instant,
}

impl File {
    fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.is.is_none()
    }
}

impl Memories {
    pub(super) fn new(metrics: VolumeMetrics, now: Instant) -> Self {
        let state = Mutex::new(State { volumes: HashMap::new(), pace: Pace::new(now) });
        Self { state, metrics }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers something about a volume; forgets it when nothing is left.
    fn with<T>(
        &self,
        volume: &PersistentVolume,
        now: Instant,
        change: impl FnOnce(&mut File, &mut Pace) -> T,
    ) -> T {
        let mut state = self.state();
        let State { volumes, pace } = &mut *state;
        let new = || File { memory: Memory::new(volume.uid.clone()), is: None, looked: now };
        let file = volumes.entry(Arc::clone(&volume.name)).or_insert_with(new);
        if file.memory.uid != volume.uid {
            self.count(file, -1);
            *file = new();
        }
        let result = change(file, pace);
        if file.is_empty() {
            volumes.remove(&volume.name);
        }
        result
    }

    fn count(&self, file: &File, change: i64) {
        if let Some(waiting) = &file.memory.waits {
            self.metrics.waiting(waiting.wait.reason, change);
        }
    }

    /// The watch showed the volume. Says whether it has caught up with our own last write just now.
    pub(super) fn seen(&self, volume: &PersistentVolume) -> bool {
        let mut state = self.state();
        let Some(file) = state.volumes.get_mut(&volume.name) else { return false };
        let written = file.memory.written.as_ref();
        let caught_up = written.is_some_and(|written| !volume.version.is_older_than(written));
        if caught_up {
            file.memory.written = None;
        }
        if file.is_empty() {
            state.volumes.remove(&volume.name);
        }
        caught_up
    }

    /// Somebody has written to the volume's object. Where it waits: after how long it is looked at.
    pub(super) fn wake(&self, volume: &PersistentVolume, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        let State { volumes, pace } = &mut *state;
        let file = volumes.get_mut(&volume.name)?;
        let waiting = file.memory.waits.as_mut().filter(|_| file.memory.uid == volume.uid)?;
        waiting.wake((file.looked + FLOOR).max(now));
        Some(match waiting.next(pace, now) {
            Next::Look | Next::Announce => Duration::ZERO,
            Next::Rest(pause) => pause,
        })
    }

    /// The volume is gone, or nothing is to be said of it.
    pub(super) fn forget(&self, name: &str) {
        if let Some(file) = self.state().volumes.remove(name) {
            self.count(&file, -1);
        }
    }

    /// What comes first for a volume.
    pub(super) fn first_step(&self, volume: &PersistentVolume, now: Instant) -> Step {
        let mut state = self.state();
        let State { volumes, pace } = &mut *state;
        let Some(file) = volumes.get_mut(&volume.name) else { return Step::Look };
        if file.memory.uid != volume.uid {
            return Step::Look;
        }
        let written = file.memory.written.as_ref();
        if written.is_some_and(|written| volume.version.is_older_than(written)) {
            return Step::Nothing;
        }
        if let Some(is) = &file.is {
            return Step::Decide(Arc::clone(is));
        }
        let Some(waiting) = &mut file.memory.waits else { return Step::Look };
        match waiting.next(pace, now) {
            Next::Look => Step::Look,
            Next::Announce => Step::Announce(waiting.wait.clone()),
            Next::Rest(pause) => Step::Rest(pause),
        }
    }

    /// Whether the cloud has said before that it has no such volume.
    pub(super) fn is_missing(&self, volume: &PersistentVolume) -> bool {
        let state = self.state();
        let file = state.volumes.get(&volume.name).filter(|it| it.memory.uid == volume.uid);
        let waiting = file.and_then(|file| file.memory.waits.as_ref());
        waiting.is_some_and(|waiting| waiting.wait.reason == NOT_FOUND)
    }

    /// The volume has to wait; it was first asked about at `asked`.
    pub(super) fn waits(
        &self,
        volume: &PersistentVolume,
        wait: Wait,
        asked: Instant,
        now: Instant,
    ) {
        self.with(volume, now, |file, pace| {
            self.count(file, -1);
            file.looked = now;
            let waits = &mut file.memory.waits;
            let waiting = waits.get_or_insert_with(|| Waiting::new(wait.clone(), asked, None));
            // Not spread out: all that are asked about together come back together, in one call.
            waiting.again(wait, pace, now, SLOW, 0.0);
            self.count(file, 1);
        });
    }

    /// The volume's owner was told.
    pub(super) fn told(&self, volume: &PersistentVolume, now: Instant) {
        self.with(volume, now, |file, _| {
            if let Some(waiting) = &mut file.memory.waits {
                waiting.told();
            }
        });
    }

    /// The cloud has said where the volume is.
    pub(super) fn answered(&self, volume: &PersistentVolume, is: Arc<Topology>, now: Instant) {
        self.with(volume, now, |file, _| {
            self.count(file, -1);
            file.memory.waits = None;
            file.is = Some(is);
        });
    }

    /// The volume is as it should be, in this version where we have written it. Gives the notes that
    /// its owner has not heard.
    pub(super) fn settled(
        &self,
        volume: &PersistentVolume,
        notes: Vec<Note>,
        written: Option<Version>,
        now: Instant,
    ) -> Vec<Note> {
        self.with(volume, now, |file, _| {
            self.count(file, -1);
            file.memory.waits = None;
            if written.is_some() {
                file.memory.written = written;
            }
            file.memory.failures = 0;
            file.memory.news(notes)
        })
    }

    /// The volume could not be written: how often in a row, and how long to leave it.
    pub(super) fn not_written(&self, volume: &PersistentVolume, now: Instant) -> (u32, Duration) {
        self.with(volume, now, |file, _| {
            let pause = file.memory.pause_after_failure();
            (file.memory.failures, pause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{CloudError, Evidence, Kind, VolumeSource};
    use crate::controllers::volume::decide::tests::volume;

    fn a_volume() -> PersistentVolume {
        volume(VolumeSource::Csi { driver: "d".to_owned(), handle: "v".to_owned() })
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_volume_is_looked_for_twice_then_told_then_left_for_an_hour() {
        let (start, volume) = (Instant::now(), a_volume());
        let memories = Memories::new(VolumeMetrics::unread(), start);
        let miss = |now| {
            let again = memories.is_missing(&volume);
            let wait = Wait::missing(&volume, Evidence::Absent, again);
            memories.waits(&volume, wait, start, now);
        };
        assert_eq!(memories.first_step(&volume, start), Step::Look);
        miss(start);
        assert_eq!(memories.first_step(&volume, start), Step::Rest(seconds(5)));
        let now = start + seconds(5);
        assert_eq!(memories.first_step(&volume, now), Step::Look);
        miss(now);
        assert_eq!(memories.first_step(&volume, now), Step::Rest(seconds(5)));
        let now = start + seconds(10);
        assert!(matches!(memories.first_step(&volume, now), Step::Announce(_)));
        memories.told(&volume, now);
        assert_eq!(memories.first_step(&volume, now), Step::Rest(seconds(3595)));

        // Written by whomever: looked for at once, as the last look is not so new.
        assert_eq!(memories.wake(&volume, start + seconds(15)), Some(Duration::ZERO));
        let now = start + seconds(15);
        assert_eq!(memories.first_step(&volume, now), Step::Look);
        miss(now);
        // Written again and again.
        assert_eq!(memories.wake(&volume, start + seconds(16)), Some(seconds(9)));
        assert_eq!(memories.wake(&volume, start + seconds(17)), Some(seconds(8)));
        assert_eq!(memories.first_step(&volume, start + seconds(17)), Step::Rest(seconds(8)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_until_the_object_is_another() {
        let (now, volume) = (Instant::now(), a_volume());
        let memories = Memories::new(VolumeMetrics::unread(), now);
        let denied = CloudError::new(Kind::PermissionDenied, "no");
        memories.waits(&volume, Wait::unknown(&volume, &denied).unwrap(), now, now);
        let is = Arc::new(Topology::default());
        memories.answered(&volume, Arc::clone(&is), now);
        assert_eq!(memories.first_step(&volume, now), Step::Decide(Arc::clone(&is)));
        assert_eq!(memories.wake(&volume, now), None);

        memories.settled(&volume, Vec::new(), Some(Version::new("3")), now);
        assert_eq!(memories.first_step(&volume, now), Step::Nothing);
        let caught_up = PersistentVolume { version: Version::new("3"), ..volume.clone() };
        assert!(memories.seen(&caught_up) && !memories.seen(&caught_up));
        assert_eq!(memories.first_step(&caught_up, now), Step::Decide(is));

        let anew = PersistentVolume { uid: "u2".into(), ..caught_up };
        assert_eq!(memories.first_step(&anew, now), Step::Look);
        memories.forget(&volume.name);
        assert!(memories.state().volumes.is_empty());
    }
}
