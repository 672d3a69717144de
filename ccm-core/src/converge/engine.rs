//! The engine: passes over units, a few at a time, each unit by one pass at a time.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use super::book::{Book, Job, News, Timing, Turn, Wake, Whose};
use super::cause::Cause;
use super::pass::{self, Around, Changed, End, Passed};
use super::progress::Progress;
use crate::cloud::{
    AnyChange, CloudError, Converger, Freshness, Kind, Member, ObjectId, Owned, Plan, Report,
    Retry, Spec, Step, Unit, UnitName, Urgency, Want, World, Write,
};
use crate::governor::Governor;
use crate::queue::WorkQueue;
use crate::report::{Chain, propagate};
use crate::telemetry::ConvergeMetrics;

/// How long one pass may take, with all its stages and waits for the quota.
///
/// Longer than any cloud we know takes for one operation that has to be followed to its end; a pass
/// that needs more goes on in the next one.
pub const PASS_LIMIT: Duration = Duration::from_mins(5);

/// A pass that takes longer gives up its place among those that run at once, so that a few slow
/// calls hold nobody up who shares nothing with them.
const SLOW: Duration = Duration::from_secs(2);

/// How long passes may go on with the step that is under way once the process ends.
const LAST_STEPS: Duration = Duration::from_secs(8);

/// How long one look at everything that bears our mark may take.
const INVENTORY_LIMIT: Duration = Duration::from_mins(2);

/// How the engine works.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Passes at once; slow ones do not count.
    pub workers: NonZeroU16,
    /// When to look again.
    pub timing: Timing,
}

/// Who is told what becomes of objects: the controller that wants things for them.
pub trait Office: Send + Sync + 'static {
    /// Something new is known of this object; see [`Engine::progress`]. Must not block.
    fn news(&self, id: &ObjectId);

    /// A pass has ended that changed something, failed, or left something to be said. Must not block.
    fn passed(&self, about: &Ended<'_>);

    /// A pass has ended that had nothing to do and nothing to say.
    fn looked(&self, _cause: Cause) {}
}

/// A pass that has ended.
#[derive(Debug)]
pub struct Ended<'a> {
    /// Over which unit.
    pub unit: &'a UnitName,
    /// Why it was made.
    pub cause: Cause,
    /// Whom it was for: those whose turn it was.
    pub wanted_by: Vec<&'a ObjectId>,
    /// Those of them of whom nothing was left to do when they were last seen: what it changed of
    /// theirs somebody else had changed, unless it was for the nodes.
    pub settled: &'a BTreeSet<ObjectId>,
    /// How long it took.
    pub took: Duration,
    /// What it changed.
    pub changes: &'a [Changed],
    /// Why it could not be finished.
    pub failed: Option<&'a CloudError>,
    /// What tolerated failures left to be said, with who is concerned.
    pub notes: &'a [(Vec<ObjectId>, String)],
}

/// Looks over what the engine does: where tests cut it off.
#[async_trait]
pub trait Watcher: Send + Sync + 'static {
    /// A step is about to be taken.
    async fn before(&self, change: &AnyChange);
    /// A step was answered, and nobody has heard the answer yet.
    async fn after(&self, change: &AnyChange);
}

/// Brings what the cloud has to what is wanted, and keeps it there.
pub struct Engine<S: Spec> {
    converger: Converger<S>,
    governor: Governor,
    settings: Settings,
    book: Mutex<Book<S>>,
    queue: WorkQueue<UnitName>,
    office: Arc<dyn Office>,
    metrics: ConvergeMetrics,
    watcher: Option<Arc<dyn Watcher>>,
}

impl<S: Spec> fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("converger", &self.converger).finish_non_exhaustive()
    }
}

impl<S: Spec> Engine<S> {
    /// An engine for what this provider makes. It does nothing before [`run`](Self::run) runs.
    pub fn new(
        converger: Converger<S>,
        governor: Governor,
        settings: Settings,
        office: Arc<dyn Office>,
        metrics: ConvergeMetrics,
    ) -> Self {
        let book = Book::new(settings.timing, converger.lag(), Instant::now());
        Self {
            converger,
            governor,
            settings,
            book: Mutex::new(book),
            queue: WorkQueue::new(metrics.queue()),
            office,
            metrics,
            watcher: None,
        }
    }

    /// Lets somebody look over each step, and hold it up.
    #[must_use]
    pub fn watched_by(mut self, watcher: Arc<dyn Watcher>) -> Self {
        self.watcher = Some(watcher);
        self
    }

    fn book(&self) -> MutexGuard<'_, Book<S>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is wanted for an object; `digest` tells one form of its spec from another. What is
    /// wanted already wakes nobody.
    pub fn want(&self, want: Want<S>, digest: u64) {
        let units = self.converger.units(&want);
        let news = self.book().want(want, digest, units);
        self.spread(news);
    }

    /// Forgets an object of which nothing is left, or for which nothing is wanted any more.
    pub fn forget(&self, id: &ObjectId) {
        let over = self.book().forget(id);
        for unit in &over {
            self.queue.forget(unit);
        }
        self.count();
    }

    /// Takes the nodes that may be members, in the order of their names, and looks at all units that
    /// are made from nodes.
    pub fn members(&self, members: Arc<[Member]>) {
        let news = self.book().members(members);
        self.spread(news);
    }

    /// Takes the same nodes anew: nothing has changed of them that anybody has to wake for, but plans
    /// that are made from now on are made from what is known now.
    pub fn renew_members(&self, members: Arc<[Member]>) {
        self.book().renew_members(members);
    }

    /// How many nodes may be members.
    pub fn member_count(&self) -> usize {
        self.book().member_count()
    }

    /// All that is known of an object. `None` where nothing is wanted for it.
    pub fn progress(&self, id: &ObjectId) -> Option<Progress> {
        self.book().progress(id)
    }

    /// Every object for which something is wanted.
    pub fn ids(&self) -> Vec<ObjectId> {
        self.book().ids().cloned().collect()
    }

    /// Looks at everything of this object again, now.
    pub fn again(&self, id: &ObjectId) {
        let wakes = self.book().again(id);
        self.wake(wakes);
    }

    fn spread(&self, news: News) {
        for unit in &news.over {
            self.queue.forget(unit);
        }
        self.wake(news.wakes);
        for id in &news.about {
            self.office.news(id);
        }
        self.count();
    }

    fn wake(&self, wakes: Vec<Wake>) {
        for Wake { unit, urgency, after } in wakes {
            if after.is_zero() {
                self.queue.add(unit, urgency);
            } else {
                self.queue.add_after(unit, urgency, after);
            }
        }
    }

    fn count(&self) {
        self.metrics.units(self.book().unit_count());
    }

    /// Works until stopped; then lets the steps that are under way end.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.settings.workers.get().into()));
        let mut passes = JoinSet::new();
        loop {
            let place = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = passes.join_next() => {
                    propagate(ended);
                    continue;
                }
                place = Arc::clone(&places).acquire_owned() => place.ok(),
            };
            let unit = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = passes.join_next() => {
                    propagate(ended);
                    continue;
                }
                mut units = self.queue.take(1) => units.pop(),
            };
            let Some(unit) = unit else { continue };
            let turn = self.book().begin(&unit, Instant::now());
            let job = match turn {
                Turn::Pass(job) => job,
                Turn::Wait(pause) => {
                    self.queue.add_after(unit.clone(), Urgency::Refresh, pause);
                    self.queue.done(&unit);
                    continue;
                }
                Turn::Nothing => {
                    self.queue.done(&unit);
                    continue;
                }
            };
            let (this, stop) = (Arc::clone(&self), stop.clone());
            passes.spawn(async move {
                let pass = this.pass(job, &stop);
                tokio::pin!(pass);
                if timeout(SLOW, &mut pass).await.is_err() {
                    drop(place);
                    pass.await;
                }
                this.queue.done(&unit);
            });
        }
        let rest = async {
            while let Some(ended) = passes.join_next().await {
                propagate(ended);
            }
        };
        // What is dropped then is found by whoever leads next.
        let _ = timeout(LAST_STEPS, rest).await;
    }

    /// One pass, from its first look to what comes of it.
    async fn pass(&self, job: Box<Job<S>>, stop: &CancellationToken) {
        let (unit, cause) = (&job.unit, job.cause);
        let span = info_span!("pass", unit = %unit.name, cause = cause.as_str());
        let began = Instant::now();
        self.metrics.begun();
        let passed = async {
            if let Some(what) = not_offered(unit) {
                let message = format!("unit {} needs {what}, which is not offered yet", unit.name);
                let end = End::Failed(CloudError::new(Kind::Unsupported, message));
                let (changes, notes, refused) = (Vec::new(), Vec::new(), Vec::new());
                return Passed { changes, notes, refused, end };
            }
            let world =
                World { wants: job.world.wants.clone(), nodes: Arc::clone(&job.world.nodes) };
            let around = Round { engine: self, job: &job, stop, deadline: began + PASS_LIMIT };
            pass::pass(&self.converger, unit, world, &around).await
        }
        .instrument(span.clone())
        .await;
        self.metrics.ended(outcome(&passed), began.elapsed());
        span.in_scope(|| log(&passed));
        let failed = passed.end.error();
        if failed.is_some() || !passed.changes.is_empty() || !passed.notes.is_empty() {
            let is_active = |want: &&Want<S>| !matches!(want, Want::Keep(_));
            self.office.passed(&Ended {
                unit: &unit.name,
                cause,
                took: began.elapsed(),
                wanted_by: job.world.wants.iter().filter(is_active).map(Want::id).collect(),
                settled: &job.settled,
                changes: &passed.changes,
                failed,
                notes: &passed.notes,
            });
        } else {
            self.office.looked(cause);
        }
        let news = self.book().ended(&job, &passed, Instant::now());
        self.spread(news);
    }

    /// What is to be done, in all units, and nothing of it is done: the loop without its last step.
    ///
    /// Everybody's turn has come in it, or nothing behind the first unit would be seen. Where a
    /// provider cannot say what it would do in a unit before another is done, those who wait are
    /// named instead.
    pub async fn dry(&self) -> Vec<Rehearsed> {
        let units = self.book().units();
        let mut rehearsed = Vec::with_capacity(units.len());
        for unit in units {
            let Some(job) = self.book().rehearsal(&unit, Whose::Everybodys) else { continue };
            let mut plan = self.think(&job).await;
            let mut awaited = Vec::new();
            if plan.as_ref().is_err_and(is_too_early) {
                awaited = self.book().awaited(&unit);
            }
            if !awaited.is_empty() {
                let job = self.book().rehearsal(&unit, Whose::TheirTurn);
                plan = match job {
                    Some(job) => self.think(&job).await,
                    None => Ok(Plan::default()),
                };
            }
            rehearsed.push(Rehearsed { unit, plan, awaited });
        }
        rehearsed
    }

    /// Looks and plans.
    async fn think(&self, job: &Job<S>) -> Result<Plan<AnyChange>, CloudError> {
        let deadline = Instant::now() + PASS_LIMIT;
        let cx = self.governor.write(job.urgency, Freshness::Live, deadline);
        let plan = pass::dry(&self.converger, &job.unit, &job.world, &cx).await;
        let plan = plan.map(|mut plan| {
            let reports = std::mem::take(&mut plan.reports);
            let _ = self.book().reported(job, &job.world, reports, Instant::now());
            plan
        });
        self.book().rehearsed(job, &plan);
        plan
    }

    /// Everything in the cloud that bears our mark.
    pub async fn inventory(&self) -> Result<Vec<Owned>, CloudError> {
        let cx = self.governor.read(Urgency::Drift, Freshness::Live, INVENTORY_LIMIT);
        self.converger.inventory(&cx).await
    }
}

/// What a unit asks for that is not there yet: to pass it over in silence would be worse.
fn not_offered(unit: &Unit) -> Option<&'static str> {
    if unit.lock.is_some() {
        Some("a lock")
    } else if unit.inputs.status {
        Some("to wake when the status changes")
    } else if unit.inputs.endpoints {
        Some("to wake when endpoints change")
    } else {
        None
    }
}

/// Whether a look failed because of what is not there yet, and not because the cloud cannot be looked at.
fn is_too_early(err: &CloudError) -> bool {
    match err.kind() {
        Kind::NotFound
        | Kind::InvalidConfiguration
        | Kind::Conflict
        | Kind::Unsupported
        | Kind::Internal => true,
        Kind::PermissionDenied
        | Kind::QuotaExceeded
        | Kind::RateLimited { .. }
        | Kind::Unavailable
        | Kind::Stopped => false,
    }
}

/// What would be done about one unit.
#[derive(Debug)]
pub struct Rehearsed {
    /// The unit.
    pub unit: UnitName,
    /// Its plan, without reports: those are in [`Engine::progress`].
    pub plan: Result<Plan<AnyChange>, CloudError>,
    /// Of whom nothing can be said here before other units are done with them.
    pub awaited: Vec<ObjectId>,
}

/// What the engine does around a pass.
struct Round<'a, S: Spec> {
    engine: &'a Engine<S>,
    job: &'a Job<S>,
    stop: &'a CancellationToken,
    deadline: Instant,
}

#[async_trait]
impl<S: Spec> Around<S> for Round<'_, S> {
    fn leave(&self, freshness: Freshness) -> Write {
        let freshness = match self.job.cause {
            // What was kept may be what hides a difference, what led to the failure, or what lacks
            // that which is waited for.
            Cause::Drift | Cause::Retry | Cause::Waited => Freshness::Live,
            Cause::Nodes | Cause::Changed | Cause::New => freshness,
        };
        self.engine.governor.write(self.job.urgency, freshness, self.deadline)
    }

    fn publish(&self, _: &Unit, world: &World<S>, reports: Vec<Report>) {
        let news = self.engine.book().reported(self.job, world, reports, Instant::now());
        self.engine.spread(news);
    }

    async fn before(&self, _: &Unit, step: &Step<AnyChange>) -> Result<(), CloudError> {
        if self.stop.is_cancelled() {
            return Err(CloudError::new(Kind::Stopped, "not sent: the process ends"));
        }
        if let Some(watcher) = &self.engine.watcher {
            watcher.before(&step.change).await;
        }
        Ok(())
    }

    async fn after(
        &self,
        _: &Unit,
        step: &Step<AnyChange>,
        outcome: Result<(), &CloudError>,
        took: Duration,
    ) {
        if let Some(watcher) = &self.engine.watcher {
            watcher.after(&step.change).await;
        }
        self.engine.metrics.change(step.change.effect(), outcome.map_err(CloudError::kind), took);
    }
}

fn outcome(passed: &Passed) -> &'static str {
    match &passed.end {
        End::Failed(err) => err.kind().reason(),
        End::Done | End::Later { .. } if !passed.refused.is_empty() => "Refused",
        End::Done => "Done",
        End::Later { .. } => "Waiting",
    }
}

fn log(passed: &Passed) {
    for (id, err) in &passed.refused {
        warn!(object = %id, error = %Chain(err), "refused");
    }
    match &passed.end {
        End::Done if passed.changes.is_empty() => debug!("nothing to do"),
        End::Done => info!(changes = passed.changes.len(), "done"),
        End::Later { again, waits_for } => {
            debug!(?again, waits_for = waits_for.join("; "), "waits");
        }
        End::Failed(err) if err.kind().retry() == Retry::Never => debug!(error = %err, "stopped"),
        End::Failed(err) => warn!(error = %Chain(err), "not done"),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
