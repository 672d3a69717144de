//! One pass over one unit: observe, plan, carry out the first stage, look again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use tokio::time::sleep;
use tracing::{Instrument, debug, info, info_span};

use crate::cloud::{
    AnyChange, AnyObserved, CloudError, Converger, Effect, Freshness, Holds, Kind, Learnt,
    ObjectId, Plan, Report, Spec, Step, Unit, Verdict, Want, World, Write,
};

/// Stages of one pass. No unit of any cloud we know needs a dozen; more is a plan that goes in circles
/// without repeating itself.
const MOST_STAGES: usize = 100;

/// Times that somebody else may have been quicker in one pass.
const MOST_CONFLICTS: u32 = 5;

/// Pauses before looks that still show what was there before a change: clouds answer reads from copies
/// that lag behind. After the last of them, and the time that the provider says, the plan itself is at
/// fault.
const LAGS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// How old may be what a provider kept, where a pass begins. Only of what hardly ever changes is
/// anything kept, and a drift check comes far later than this.
const KEPT: Duration = Duration::from_mins(5);

/// Steps of one stage under way at once: half of what a bucket lets through, so that one unit's large
/// stage leaves room for others.
const STEPS_AT_ONCE: usize = 4;

/// Wants that are tried alone, one after the other, with the same outcome, before it is taken for the
/// cloud's answer to all of them: an account without rights, or at its quota, says the same to each.
const ALIKE: usize = 8;

/// What is done around a pass.
#[async_trait]
pub trait Around<S: Spec>: Send + Sync {
    /// Leave to look and to change, from now on, with what has been kept if that is fresh enough.
    fn leave(&self, freshness: Freshness) -> Write;

    /// Publishes what the objects are told; called before the first stage and after each.
    fn publish(&self, unit: &Unit, world: &World<S>, reports: Vec<Report>);

    /// A step is about to be taken; an error leaves it out and ends the pass. Tests cut the pass off
    /// here, by never returning.
    async fn before(&self, _unit: &Unit, _step: &Step<AnyChange>) -> Result<(), CloudError> {
        Ok(())
    }

    /// A step was answered. Tests cut the pass off here, with the answer unheard.
    async fn after(
        &self,
        _unit: &Unit,
        _step: &Step<AnyChange>,
        _outcome: Result<(), &CloudError>,
        _took: Duration,
    ) {
    }
}

/// How a pass ended.
#[derive(Debug)]
pub struct Passed {
    /// Changes that were sent and took effect, as far as we know.
    pub changes: Vec<Changed>,
    /// What tolerated failures left to be said, with who is concerned.
    pub notes: Vec<(Vec<ObjectId>, String)>,
    /// Wants whose own mistake it is that they cannot be had. They stay as they are until they change.
    pub refused: Vec<(ObjectId, CloudError)>,
    /// How it ended for the others.
    pub end: End,
}

/// A change that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The change's line.
    pub line: String,
    /// What it did.
    pub effect: Effect,
    /// Who asked for it; empty for all users of the unit.
    pub wanted_by: Vec<ObjectId>,
}

/// How a pass ended for those that were not refused.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing is left to do.
    Done,
    /// Something has to be waited for.
    Later {
        /// When to look again.
        again: Duration,
        /// For what, for people.
        waits_for: Vec<String>,
    },
    /// It could not be finished.
    Failed(CloudError),
}

impl End {
    /// Why it could not be finished.
    pub fn error(&self) -> Option<&CloudError> {
        match self {
            Self::Failed(err) => Some(err),
            Self::Done | Self::Later { .. } => None,
        }
    }
}

/// The plan of a unit as it is, without its last step: for those who want to know what would be done.
pub async fn dry<S: Spec>(
    converger: &Converger<S>,
    unit: &Unit,
    world: &World<S>,
    cx: &Write,
) -> Result<Plan<AnyChange>, CloudError> {
    let observed = converger.observe(cx, unit, world).await?;
    Ok(converger.plan(unit, world, &observed))
}

/// Brings one unit to where its wants have it, as far as that goes now.
///
/// An error that is the fault of what was asked is tried again one want at a time, the others kept as
/// they are: so one user's mistake stays theirs.
pub async fn pass<S: Spec>(
    converger: &Converger<S>,
    unit: &Unit,
    world: World<S>,
    around: &dyn Around<S>,
) -> Passed {
    let (changes, notes) = (Vec::new(), Vec::new());
    let mut attempt = Attempt { converger, unit, around, changes, notes, on_trial: None };
    let mut refused = Vec::new();
    let end = match attempt.run(&world).await {
        Ok(end) => end,
        Err(Stop::Failed(err)) => End::Failed(err),
        Err(Stop::Blamed { suspects, err }) => {
            let (wants, last) = attempt.one_by_one(world, &suspects, err, &mut refused).await;
            let is_anybody_left = wants.wants.iter().any(|want| !matches!(want, Want::Keep(_)));
            // Whoever was not refused gets what all of them together still need.
            match last {
                Some(err) => End::Failed(err),
                None if !is_anybody_left => End::Done,
                None => match attempt.run(&wants).await {
                    Ok(end) => end,
                    Err(Stop::Failed(err) | Stop::Blamed { err, .. }) => End::Failed(err),
                },
            }
        }
    };
    Passed { changes: attempt.changes, notes: attempt.notes, refused, end }
}

/// Why an attempt ended early.
enum Stop {
    /// Not to be blamed on anybody's wishes, or on one who is alone.
    Failed(CloudError),
    /// What was asked for cannot be had; one of these asked.
    Blamed { suspects: Vec<ObjectId>, err: CloudError },
}

struct Attempt<'a, S: Spec> {
    converger: &'a Converger<S>,
    unit: &'a Unit,
    around: &'a dyn Around<S>,
    changes: Vec<Changed>,
    notes: Vec<(Vec<ObjectId>, String)>,
    /// Who goes and is tried alone, while others who go, too, are kept only for that. What nobody would
    /// use any more looks used by them, and each would be let go on account of the other.
    on_trial: Option<ObjectId>,
}

impl<S: Spec> Attempt<'_, S> {
    /// Observe, plan, first stage, until nothing is left.
    async fn run(&mut self, world: &World<S>) -> Result<End, Stop> {
        let mut sent: HashSet<AnyChange> = HashSet::new();
        let mut tolerated: HashSet<AnyChange> = HashSet::new();
        let mut conflicts = 0;
        let rest = self.converger.lag().saturating_sub(LAGS.iter().sum());
        // Each change may take as long as that to be seen.
        let lags = || LAGS.into_iter().chain((!rest.is_zero()).then_some(rest));
        let mut pauses = lags();
        let mut known: Option<AnyObserved> = None;
        // What somebody else may have changed meanwhile is looked at anew.
        let mut freshness = Freshness::Within(KEPT);
        for _ in 0..MOST_STAGES {
            let cx = self.around.leave(freshness);
            freshness = Freshness::Live;
            let observed = match known.take() {
                Some(observed) => observed,
                None => {
                    self.converger.observe(&cx, self.unit, world).await.map_err(Stop::Failed)?
                }
            };
            let plan = self.converger.plan(self.unit, world, &observed);
            let Plan { stages, later, reports } = plan;
            let reports = match &self.on_trial {
                Some(of) => without_the_last_word(of, reports),
                None => reports,
            };
            self.around.publish(self.unit, world, reports);
            let open = |stage: Vec<Step<AnyChange>>| -> Vec<_> {
                stage.into_iter().filter(|step| !tolerated.contains(&step.change)).collect()
            };
            let Some(stage) = stages.into_iter().map(open).find(|stage| !stage.is_empty()) else {
                return Ok(match later.iter().map(|later| later.look_again).min() {
                    None => End::Done,
                    Some(again) => {
                        let waits_for = later.into_iter().map(|later| later.waits_for).collect();
                        End::Later { again, waits_for }
                    }
                });
            };
            if let Some(again) = stage.iter().find(|step| sent.contains(&step.change)) {
                if let Some(pause) = pauses.next() {
                    debug!(unit = %self.unit.name, change = %again.change, "not to be seen yet");
                    sleep(pause).await;
                    continue;
                }
                let message = format!("does not converge: \"{}\" was planned twice", again.change);
                return Err(Stop::Failed(CloudError::new(Kind::Internal, message)));
            }
            let alone = stage.len() == 1;
            let outcomes = self.carry_out(&cx, &stage, &observed).await;
            let mut stop = None;
            let mut was_changed = false;
            for (step, outcome) in stage.into_iter().zip(outcomes) {
                match outcome {
                    Ok(learnt) => {
                        self.changes.push(Changed {
                            line: step.change.to_string(),
                            effect: step.change.effect(),
                            wanted_by: step.wanted_by,
                        });
                        sent.insert(step.change);
                        pauses = lags();
                        if let (Learnt::Now(now), true) = (learnt, alone) {
                            known = Some(now);
                        }
                    }
                    Err(err) if is_tolerated(&step, &err) => {
                        let note = step.tolerate.map(|tolerate| tolerate.note).unwrap_or_default();
                        self.notes.push((step.wanted_by, format!("{note}: {}", err.message())));
                        tolerated.insert(step.change);
                    }
                    // Several of one stage are one look that was too old.
                    Err(err)
                        if err.kind() == Kind::Conflict
                            && (was_changed || conflicts < MOST_CONFLICTS) =>
                    {
                        conflicts += u32::from(!was_changed);
                        was_changed = true;
                        debug!(unit = %self.unit.name, change = %step.change, "changed meanwhile");
                    }
                    Err(err) => {
                        let worse = worst(stop, blamed(world, &step, err));
                        stop = Some(worse);
                    }
                }
            }
            if let Some(stop) = stop {
                return Err(stop);
            }
            if was_changed {
                // Whoever came in between may have undone what was sent before: it may be needed
                // again.
                sent.clear();
            }
        }
        let message = format!("does not converge: {MOST_STAGES} stages were not enough");
        Err(Stop::Failed(CloudError::new(Kind::Internal, message)))
    }

    /// Sends the steps of one stage together, a few at once. The outcomes come in their order.
    async fn carry_out(
        &self,
        cx: &Write,
        stage: &[Step<AnyChange>],
        observed: &AnyObserved,
    ) -> Vec<Result<Learnt<AnyObserved>, CloudError>> {
        let steps: Vec<_> =
            stage.iter().map(|step| self.take(cx, step, observed).boxed()).collect();
        stream::iter(steps).buffered(STEPS_AT_ONCE).collect().await
    }

    async fn take(
        &self,
        cx: &Write,
        step: &Step<AnyChange>,
        observed: &AnyObserved,
    ) -> Result<Learnt<AnyObserved>, CloudError> {
        let span = info_span!("change", unit = %self.unit.name, change = %step.change);
        async {
            self.around.before(self.unit, step).await?;
            let began = tokio::time::Instant::now();
            let outcome = self.converger.apply(cx, &step.change, observed).await;
            let took = began.elapsed();
            self.around.after(self.unit, step, outcome.as_ref().map(|_| ()), took).await;
            match &outcome {
                Ok(_) => info!(?took, "done"),
                Err(err) => info!(?took, error = %err, "not done"),
            }
            outcome
        }
        .instrument(span)
        .await
    }

    /// Tries each suspect alone, the others kept. Gives the world without those whose mistake it is,
    /// and an error that ended all of it.
    async fn one_by_one(
        &mut self,
        world: World<S>,
        suspects: &[ObjectId],
        first: CloudError,
        refused: &mut Vec<(ObjectId, CloudError)>,
    ) -> (World<S>, Option<CloudError>) {
        if let [suspect] = suspects {
            refused.push((suspect.clone(), first));
        } else {
            for (place, suspect) in suspects.iter().enumerate() {
                let is_kept = |id: &ObjectId| id != suspect && suspects.contains(id);
                let alone = keeping(&world, is_kept);
                let has_company = goes(&world, |id| id == suspect) && goes(&world, is_kept);
                self.on_trial = has_company.then(|| suspect.clone());
                let tried = self.run(&alone).await;
                self.on_trial = None;
                match tried {
                    Ok(_) => {}
                    Err(Stop::Failed(err)) => return (world, Some(err)),
                    Err(Stop::Blamed { err, .. }) => {
                        refused.push((suspect.clone(), err));
                        if let Some(err) = all_alike(refused, place + 1) {
                            // Nobody else's work waits for that: what goes may be what helps.
                            let rest = suspects[place + 1..].iter();
                            refused.extend(rest.map(|suspect| (suspect.clone(), err.repeat())));
                            break;
                        }
                    }
                }
            }
        }
        let is_refused = |id: &ObjectId| refused.iter().any(|(other, _)| other == id);
        (keeping(&world, is_refused), None)
    }
}

/// The answer that the first [`ALIKE`] suspects got, where none has got another, and it is about the
/// account and not about what each of them asks for.
fn all_alike(refused: &[(ObjectId, CloudError)], tried: usize) -> Option<CloudError> {
    let (_, err) = refused.first()?;
    let is_the_accounts =
        matches!(err.kind(), Kind::PermissionDenied | Kind::QuotaExceeded | Kind::Internal);
    let are_alike = refused.iter().all(|(_, other)| other.kind() == err.kind());
    (refused.len() == ALIKE && tried == ALIKE && is_the_accounts && are_alike).then(|| err.repeat())
}

/// The same world, with some of its wants kept.
fn keeping<S: Spec>(world: &World<S>, is_kept: impl Fn(&ObjectId) -> bool) -> World<S> {
    let turn = |want: &Want<S>| if is_kept(want.id()) { want.kept() } else { want.clone() };
    World { wants: world.wants.iter().map(turn).collect(), nodes: Arc::clone(&world.nodes) }
}

/// Whether any of these goes.
fn goes<S: Spec>(world: &World<S>, is_meant: impl Fn(&ObjectId) -> bool) -> bool {
    world.wants.iter().any(|want| matches!(want, Want::Absent(_)) && is_meant(want.id()))
}

/// The same reports, but that nothing is left of this one is not said yet.
fn without_the_last_word(of: &ObjectId, mut reports: Vec<Report>) -> Vec<Report> {
    let early = |report: &&mut Report| report.holds == Holds::Nothing && report.id == *of;
    for report in reports.iter_mut().filter(early) {
        report.holds = Holds::Something;
        let others = "others that are removed with it are tried first";
        report.verdict = Verdict::Progressing(others.to_owned());
    }
    reports
}

/// What a rate limit asks for does not matter in the comparison.
fn is_tolerated(step: &Step<AnyChange>, err: &CloudError) -> bool {
    let Some(tolerate) = &step.tolerate else { return false };
    match (tolerate.kind, err.kind()) {
        (Kind::RateLimited { .. }, Kind::RateLimited { .. }) => true,
        (tolerated, kind) => tolerated == kind,
    }
}

/// Whose fault a failed step is.
fn blamed<S: Spec>(world: &World<S>, step: &Step<AnyChange>, err: CloudError) -> Stop {
    if !is_their_fault(err.kind()) {
        return Stop::Failed(err);
    }
    let active = |want: &&Want<S>| {
        !matches!(want, Want::Keep(_))
            && (step.wanted_by.is_empty() || step.wanted_by.contains(want.id()))
    };
    let suspects: Vec<_> = world.wants.iter().filter(active).map(|w| w.id().clone()).collect();
    if suspects.is_empty() { Stop::Failed(err) } else { Stop::Blamed { suspects, err } }
}

/// Whether what was asked for is to blame, and not that the cloud is away, busy, or was changed by
/// somebody else.
fn is_their_fault(kind: Kind) -> bool {
    match kind {
        Kind::NotFound
        | Kind::InvalidConfiguration
        | Kind::PermissionDenied
        | Kind::QuotaExceeded
        | Kind::Unsupported
        | Kind::Internal => true,
        Kind::RateLimited { .. } | Kind::Conflict | Kind::Unavailable | Kind::Stopped => false,
    }
}

/// Of two failures of one stage: that nothing may be sent any more goes before everything, and what is
/// nobody's fault before what is somebody's.
fn worst(one: Option<Stop>, other: Stop) -> Stop {
    let rank = |stop: &Stop| match stop {
        Stop::Failed(err) if err.kind() == Kind::Stopped => 0,
        Stop::Failed(_) => 1,
        Stop::Blamed { .. } => 2,
    };
    match one {
        None => other,
        Some(one) if rank(&other) < rank(&one) => other,
        Some(Stop::Blamed { mut suspects, err }) => {
            if let Stop::Blamed { suspects: more, .. } = other {
                let new: Vec<_> = more.into_iter().filter(|id| !suspects.contains(id)).collect();
                suspects.extend(new);
            }
            Stop::Blamed { suspects, err }
        }
        Some(one) => one,
    }
}

#[cfg(test)]
mod tests;
