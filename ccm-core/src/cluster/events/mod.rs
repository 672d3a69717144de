//! Events, for those who look at an object and wonder.
//!
//! They are a courtesy: recording one never waits, and none is sent twice because it failed. Written
//! through core/v1 as upstream, since that is what the roles of published manifests allow.

mod bounded;
mod correlate;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, Resource};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use self::correlate::{Bucket, CAPACITY, Correlator, Moment, Outcome, Report};
use super::client::Reason;

/// Events that wait to be written; upstream's number. More are dropped.
const QUEUE: usize = 1000;

/// Writes at once, and then each second. A guess: 5 000 nodes that wait for their initialisation take
/// less than a tenth of what a small API server can write, and a full queue is told in 50 s.
const BURST: u32 = 50;
const PER_SECOND: u32 = 20;

/// HTTP's word for a right that is lacking.
const FORBIDDEN: u16 = 403;

/// How long one write may take before it is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Involved {
    /// Group and version, e.g. `v1`.
    pub api_version: String,
    /// E.g. `Node`.
    pub kind: String,
    /// Empty where there are no namespaces; such an event is stored in `default`.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Tells it from others that had the name before.
    pub uid: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Things go as they should.
    Normal,
    /// Somebody may want to do something about it.
    Warning,
}

/// Records events of one component. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    component: Arc<str>,
    queue: mpsc::Sender<Task>,
    dropped: Arc<Counters>,
}

/// How many events were not written, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Too many waited.
    pub queue: u64,
    /// Too many about one object.
    pub limited: u64,
    /// The API server would not or could not take them.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    queue: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
enum Task {
    Write(Report),
    /// Answered when all before it is done.
    Flush(oneshot::Sender<()>),
}

impl Involved {
    /// The object itself.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let meta = object.meta();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
        }
    }
}

impl EventType {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Recorder {
    /// Records events as `component` on `host`, and starts the task that writes them, which ends with
    /// the last recorder.
    ///
    /// What `client` may write at which time is its own affair: with a gate, events of a process that
    /// does not lead are dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (queue, tasks) = mpsc::channel(QUEUE);
        let dropped = Arc::<Counters>::default();
        let writer = Writer {
            client,
            correlator: Correlator::new(host, CAPACITY),
            pace: Bucket::full(BURST, Duration::from_secs(1) / PER_SECOND, Instant::now()),
            dropped: Arc::clone(&dropped),
            may_write: true,
        };
        tokio::spawn(writer.run(tasks));
        Self { component: component.into(), queue, dropped }
    }

    /// The same recorder for another component: one queue, one pace.
    #[must_use]
    pub fn for_component(&self, component: &str) -> Self {
        Self { component: component.into(), ..self.clone() }
    }

    /// Records an event. Never waits and never fails: where there is no room it is dropped.
    pub fn event(
        &self,
        about: &Involved,
        kind: EventType,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let report = Report {
            about: about.clone(),
            component: Arc::clone(&self.component),
            kind,
            reason,
            message: message.into(),
        };
        if self.queue.try_send(Task::Write(report)).is_err() {
            self.dropped.queue.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was recorded so far has been written or dropped, but no longer than `within`:
    /// for the end of the process.
    pub async fn flush(&self, within: Duration) {
        let (done, flushed) = oneshot::channel();
        let all_written = async {
            if self.queue.send(Task::Flush(done)).await.is_ok() {
                // An error means that the writer is gone, and all that waited with it.
                flushed.await.ok();
            }
        };
        timeout(within, all_written).await.ok();
    }

    /// How many events were not written so far, by all components together.
    pub fn dropped(&self) -> Dropped {
        Dropped {
            queue: self.dropped.queue.load(Ordering::Relaxed),
            limited: self.dropped.limited.load(Ordering::Relaxed),
            failed: self.dropped.failed.load(Ordering::Relaxed),
        }
    }
}

struct Writer {
    client: Client,
    correlator: Correlator,
    pace: Bucket,
    dropped: Arc<Counters>,
    /// Whether the API server has not denied the last one.
    may_write: bool,
}

impl Writer {
    async fn run(mut self, mut tasks: mpsc::Receiver<Task>) {
        while let Some(task) = tasks.recv().await {
            match task {
                Task::Write(report) => self.write(report).await,
                Task::Flush(done) => done.send(()).unwrap_or_default(),
            }
        }
    }

    async fn write(&mut self, report: Report) {
        let now = Moment { wall: Timestamp::now(), steady: Instant::now() };
        let outcome = self.correlator.correlate(report, now);
        if outcome == Outcome::Drop {
            self.dropped.limited.fetch_add(1, Ordering::Relaxed);
            return;
        }
        sleep_until(self.pace.ready_at()).await;
        self.pace.take(Instant::now());
        let sent = timeout(WRITE_TIMEOUT, send(&self.client, &outcome)).await;
        let problem = match &sent {
            Ok(Ok(())) => {
                self.may_write = true;
                return;
            }
            Ok(Err(err)) => Reason(err).to_string(),
            Err(_) => "no answer from the API server in time".to_owned(),
        };
        self.dropped.failed.fetch_add(1, Ordering::Relaxed);
        let is_denied =
            matches!(&sent, Ok(Err(kube::Error::Api(status))) if status.code == FORBIDDEN);
        // Otherwise nobody would hear of it: the events are what would tell.
        if is_denied && std::mem::take(&mut self.may_write) {
            warn!(error = problem, "events are denied and left out");
        } else {
            debug!(error = problem, "event not written");
        }
    }
}

async fn send(client: &Client, outcome: &Outcome) -> Result<(), kube::Error> {
    match outcome {
        Outcome::Create(event) => create(client, event).await,
        Outcome::Patch { patch: changes, event } => match patch(client, event, changes).await {
            // Events live for an hour, ours may be gone.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                create(client, event).await
            }
            done => done,
        },
        Outcome::Drop => Ok(()),
    }
}

async fn create(client: &Client, event: &Event) -> Result<(), kube::Error> {
    api(client, event).create(&PostParams::default(), event).await.map(drop)
}

async fn patch(client: &Client, event: &Event, changes: &Value) -> Result<(), kube::Error> {
    let name = event.metadata.name.as_deref().unwrap_or_default();
    let changes = Patch::Strategic(changes);
    let answer: Result<PartialObjectMeta<Event>, _> =
        api(client, event).patch_metadata(name, &PatchParams::default(), &changes).await;
    answer.map(drop)
}

fn api(client: &Client, event: &Event) -> Api<Event> {
    Api::namespaced(client.clone(), event.metadata.namespace.as_deref().unwrap_or("default"))
}
