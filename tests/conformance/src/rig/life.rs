//! One life of the process: a provider that remembers nothing, and the framework's engine on it.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ccm_core::cloud::{
    CloudProvider, Converger, Facts, Freshness, Member, ObjectId, Spec, Urgency, Want,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::converge::{Ended, Engine, Office, Rehearsed, Settings, Timing};
use ccm_core::governor::Governor;
use ccm_core::telemetry::{CloudMetrics, ConvergeMetrics};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::impatient::Impatient;
use super::watch::Watch;

/// Retries come soon: what is waited for here is the cloud's, or the kit's own doing.
const TIMING: Timing = Timing {
    retry_first: Duration::from_millis(100),
    retry_last: Duration::from_secs(2),
    drift: Duration::from_hours(24),
    spacing: Duration::ZERO,
};

/// Who is told what becomes of the objects.
#[derive(Debug, Default)]
pub(super) struct Desk {
    heard: Mutex<HashMap<ObjectId, usize>>,
    pub(super) news: Notify,
}

impl Desk {
    /// How often something was said of this object.
    pub(super) fn heard_of(&self, id: &ObjectId) -> usize {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(id).copied().unwrap_or(0)
    }
}

impl Office for Desk {
    fn news(&self, id: &ObjectId) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard.entry(id.clone()).or_default() += 1;
        self.news.notify_one();
    }

    fn passed(&self, _: &Ended<'_>) {
        self.news.notify_one();
    }
}

/// A process that runs until it is dropped, once somebody waits for what it does.
#[derive(Debug)]
pub(super) struct Life<S: Spec> {
    pub(super) provider: Arc<dyn CloudProvider>,
    pub(super) converger: Converger<S>,
    pub(super) engine: Arc<Engine<S>>,
    pub(super) desk: Arc<Desk>,
    pub(super) watch: Arc<Watch>,
    task: OnceLock<JoinHandle<()>>,
}

impl<S: Spec> Life<S> {
    /// Begins it with what `offered` finds in the provider, on a cloud whose looks lag that far.
    pub(super) async fn begin(
        provider: Arc<dyn CloudProvider>,
        facts: &Facts,
        lag: Option<Duration>,
        offered: fn(&dyn CloudProvider) -> Option<Converger<S>>,
    ) -> Self {
        let cx = governor().read(Urgency::Initialize, Freshness::Live, Duration::from_mins(1));
        if let Err(err) = provider.connect(&cx, facts).await {
            panic!("nothing is wrong, and yet the provider cannot connect: {err:?}");
        }
        let inner = offered(&*provider).expect("the provider has what the harness is for");
        let converger = Converger::new(Impatient { inner, lag });
        let (desk, watch) = (Arc::new(Desk::default()), Arc::new(Watch::default()));
        let engine = engine(&converger, Arc::clone(&desk) as _);
        let engine = Arc::new(engine.watched_by(Arc::clone(&watch) as _));
        Self { provider, converger, engine, desk, watch, task: OnceLock::new() }
    }

    /// Lets it work. Not before what is wanted was handed over: a controller knows all that there is
    /// before it looks at anything, and a table without owners has nothing else to go by.
    pub(super) fn go(&self) {
        let run = || tokio::spawn(Arc::clone(&self.engine).run(CancellationToken::new()));
        self.task.get_or_init(run);
    }

    /// Ends it wherever it is; what is on the wire may still arrive.
    pub(super) async fn end(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // The last of it is gone once the task says that it was aborted.
            let _ = task.await;
        }
    }
}

impl<S: Spec> Drop for Life<S> {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// What would be done now if everything began anew, and nothing of it is done.
pub(super) async fn rehearse<S: Spec>(
    converger: &Converger<S>,
    wants: Vec<Want<S>>,
    members: Arc<[Member]>,
) -> Vec<Rehearsed> {
    let engine = engine(converger, Arc::new(Desk::default()));
    engine.members(members);
    for want in wants {
        engine.want(want, 0);
    }
    engine.dry().await
}

fn engine<S: Spec>(converger: &Converger<S>, office: Arc<dyn Office>) -> Engine<S> {
    let workers = NonZeroU16::MIN.saturating_add(7);
    let settings = Settings { workers, timing: TIMING };
    Engine::new(converger.clone(), governor(), settings, office, ConvergeMetrics::unread())
}

fn governor() -> Governor {
    Governor::new(Gate::always_open(), CloudMetrics::unread())
}
