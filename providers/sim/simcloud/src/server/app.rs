//! What all calls share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::tokens::TokenBook;
use crate::api::{Operation, OperationClass, Settings, Timestamp};
use crate::calls::CallBook;
use crate::faults::FaultBook;
use crate::limits::Bucket;
use crate::rng::Rng;
use crate::state::Cloud;

/// The process behind the API.
#[derive(Debug)]
pub(crate) struct App {
    /// Held for moments only, never over an await.
    core: Mutex<Core>,
    control_token: SecretString,
    started: Instant,
    /// Cancelled when the process stops: nothing waits any longer.
    pub(crate) closing: CancellationToken,
    /// Told whenever faults are removed.
    lifts: watch::Sender<()>,
    /// Told whenever there is something to save.
    pub(crate) dirty: Notify,
    /// What is saved; none where there is no state file.
    pub(crate) saved: Option<watch::Sender<Saved>>,
}

/// How far the state file is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    /// The newest revision that was tried.
    pub(crate) revision: u64,
    /// Whether it could not be saved.
    pub(crate) failed: bool,
}

/// Everything that changes.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) cloud: Cloud,
    pub(crate) settings: Settings,
    pub(crate) faults: FaultBook,
    pub(crate) calls: CallBook,
    pub(crate) tokens: TokenBook,
    pub(crate) rng: Rng,
    /// Counts up with every change of the cloud.
    pub(crate) revision: u64,
    reads: Bucket,
    writes: Bucket,
    latest: Timestamp,
}

impl App {
    pub(crate) fn new(core: Core, control_token: SecretString, persists: bool) -> Self {
        Self {
            core: Mutex::new(core),
            control_token,
            started: Instant::now(),
            closing: CancellationToken::new(),
            lifts: watch::Sender::new(()),
            dirty: Notify::new(),
            saved: persists.then(|| watch::Sender::new(Saved::default())),
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_control_token(&self, secret: &str) -> bool {
        self.control_token.expose_secret() == secret
    }

    /// Time since the start, which no clock that is set disturbs.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits, though not once the process stops.
    pub(crate) async fn pause(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.closing.cancelled() => {}
        }
    }

    /// Waits while the fault stands. False when it still does after `max` or as the process stops.
    pub(crate) async fn fault_lifted(&self, id: &str, max: Duration) -> bool {
        let mut lifts = self.lifts.subscribe();
        let lifted = async {
            while self.core().faults.contains(id) {
                if lifts.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = lifted => true,
            () = tokio::time::sleep(max) => false,
            () = self.closing.cancelled() => false,
        }
    }

    /// Lets calls look again whether the fault that holds them still stands.
    pub(crate) fn faults_removed(&self) {
        self.lifts.send_replace(());
    }

    /// Waits until the revision is in the state file. False when it could not be written.
    pub(crate) async fn is_saved(&self, revision: u64) -> bool {
        let Some(saved) = &self.saved else { return true };
        self.dirty.notify_one();
        let mut saved = saved.subscribe();
        let reached = saved.wait_for(|saved| saved.revision >= revision).await;
        reached.is_ok_and(|saved| !saved.failed)
    }
}

impl Core {
    pub(crate) fn new(
        cloud: Cloud,
        settings: Settings,
        tokens: TokenBook,
        calls: CallBook,
        seed: u64,
    ) -> Self {
        Self {
            cloud,
            faults: FaultBook::default(),
            calls,
            tokens,
            rng: Rng::new(seed),
            revision: 0,
            reads: Bucket::new(settings.read_rate, Duration::ZERO),
            writes: Bucket::new(settings.write_rate, Duration::ZERO),
            settings,
            latest: Timestamp::default(),
        }
    }

    /// The present. It never goes back, even when the clock does.
    pub(crate) fn now(&mut self) -> Timestamp {
        self.latest = self.latest.max(Timestamp::now());
        self.latest
    }

    /// Replaces the settings; a rate limit that changes starts with a full bucket.
    pub(crate) fn set(&mut self, settings: Settings, uptime: Duration) {
        if settings.read_rate != self.settings.read_rate {
            self.reads = Bucket::new(settings.read_rate, uptime);
        }
        if settings.write_rate != self.settings.write_rate {
            self.writes = Bucket::new(settings.write_rate, uptime);
        }
        self.settings = settings;
    }

    /// Takes a token of the rate limit, or says how long until there is one.
    pub(crate) fn take(&mut self, operation: Operation, uptime: Duration) -> Result<(), Duration> {
        match operation.class() {
            OperationClass::Read => self.reads.take(uptime),
            OperationClass::Write => self.writes.take(uptime),
        }
    }

    /// Draws the time that a call takes.
    pub(crate) fn latency(&mut self, operation: Operation) -> Duration {
        let own = self.settings.operation_latency.get(&operation);
        let latency = own.copied().unwrap_or(self.settings.latency);
        let jitter = if latency.jitter_ms == 0 { 0 } else { self.rng.up_to(latency.jitter_ms) };
        Duration::from_millis(latency.fixed_ms + jitter)
    }
}
