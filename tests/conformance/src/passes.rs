//! The engine's passes one by one, for a provider's own tests.
//!
//! The kit's rigs leave the order to the engine and look at what comes of it. A test that asks what is
//! sent, in which order and at what cost makes the passes itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    AnyChange, CloudError, Converger, Freshness, Holds, Member, ObjectId, Owned, Report, Spec,
    Step, Uid, Unit, Urgency, Verdict, Want, World, Write,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::converge::pass::{Around, End, Passed, pass};
use ccm_core::governor::Governor;
use ccm_core::telemetry::CloudMetrics;
use futures::future::BoxFuture;

use crate::ask::leave;

/// Rounds after which a test gives up. After one that waits for something there is a [`PAUSE`].
const MOST_ROUNDS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// How long one pass may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process of a provider, and passes over what it makes.
pub struct Passes<S: Spec> {
    begin: Box<dyn Fn() -> BoxFuture<'static, Converger<S>> + Send + Sync>,
    converger: Mutex<Converger<S>>,
    told: Mutex<Told>,
    sent: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
}

/// What passes have said so far, by unit and object.
#[derive(Debug, Default)]
struct Told {
    reports: BTreeMap<(String, Uid), Report>,
    /// Done (or another program's), and empty: a small model of what the engine keeps of each object in each unit.
    standings: BTreeMap<(String, Uid), (bool, bool)>,
    /// Whether the turn of another unit may have come.
    moved: bool,
}

impl Told {
    fn far(&self, unit: &Unit, uid: &Uid) -> (bool, bool) {
        let key = (unit.name.to_string(), uid.clone());
        self.standings.get(&key).copied().unwrap_or_default()
    }

    fn take<S: Spec>(&mut self, unit: &Unit, wants: &[Want<S>], reports: Vec<Report>) {
        for report in reports {
            let key = (unit.name.to_string(), report.id.uid.clone());
            let want = wants.iter().find(|want| *want.id() == report.id);
            if let Some(want) = want.filter(|want| !matches!(want, Want::Keep(_))) {
                let lets_on = matches!(report.verdict, Verdict::Done | Verdict::Elsewhere(_));
                let done = matches!(want, Want::Present(_)) && lets_on;
                let now = (done, report.holds == Holds::Nothing);
                self.moved |= self.standings.insert(key.clone(), now) != Some(now);
            }
            self.reports.insert(key, report);
        }
    }

    /// The want as this unit is given it: kept, until its turn has come.
    fn turn<S: Spec>(&self, want: &Want<S>, units: &[Unit], place: usize) -> Want<S> {
        let uid = &want.id().uid;
        let has_come = match want {
            Want::Present(_) => units[..place].iter().all(|unit| self.far(unit, uid).0),
            Want::Absent(_) => units[place + 1..].iter().all(|unit| self.far(unit, uid).1),
            Want::Keep(_) => true,
        };
        if has_come { want.clone() } else { want.kept() }
    }
}

impl<S: Spec> Passes<S> {
    /// Begins with a process, which is what `begin` gives each time: a provider that has just been
    /// built and connected, as its converger.
    pub async fn start(
        begin: impl Fn() -> BoxFuture<'static, Converger<S>> + Send + Sync + 'static,
    ) -> Self {
        let converger = begin().await;
        Self {
            begin: Box::new(begin),
            converger: Mutex::new(converger),
            told: Mutex::default(),
            sent: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Another process, which knows nothing.
    pub async fn restart(&self) {
        let fresh = (self.begin)().await;
        *lock(&self.converger) = fresh;
        *lock(&self.told) = Told::default();
    }

    /// What the present process makes things with.
    pub fn converger(&self) -> Converger<S> {
        lock(&self.converger).clone()
    }

    /// One pass over one unit, as things stand.
    pub async fn pass(&self, unit: &Unit, wants: &[Want<S>], nodes: &[Member]) -> Passed {
        let converger = self.converger();
        let turn = |want: &Want<S>| {
            let units = converger.units(want);
            let place = units.iter().position(|other| other.name == unit.name)?;
            Some(lock(&self.told).turn(want, &units, place))
        };
        let world = World { wants: wants.iter().filter_map(turn).collect(), nodes: nodes.into() };
        pass(&converger, unit, world, self).await
    }

    /// One pass over each unit.
    pub async fn round(&self, wants: &[Want<S>], nodes: &[Member]) -> Vec<Passed> {
        let converger = self.converger();
        let mut units: Vec<Unit> = Vec::new();
        for unit in wants.iter().flat_map(|want| converger.units(want)) {
            if !units.contains(&unit) {
                units.push(unit);
            }
        }
        let mut passed = Vec::with_capacity(units.len());
        for unit in units {
            passed.push(self.pass(&unit, wants, nodes).await);
        }
        passed
    }

    /// Rounds until nothing is left to do or to wait for. After a failure it goes on as another
    /// process. Gives the last round. Panics where there is no end to it.
    pub async fn settle(&self, wants: &[Want<S>], nodes: &[Member]) -> Vec<Passed> {
        for _ in 0..MOST_ROUNDS {
            let round = self.round(wants, nodes).await;
            let has_moved = std::mem::take(&mut lock(&self.told).moved);
            let has_changed = round.iter().any(|passed| !passed.changes.is_empty());
            let is_done = round.iter().all(|passed| matches!(passed.end, End::Done));
            if is_done && !has_moved && !has_changed {
                return round;
            }
            let failure = |passed: &Passed| match &passed.end {
                End::Failed(err) => Some(err.to_string()),
                _ => None,
            };
            let failures: Vec<_> = round.iter().filter_map(failure).collect();
            if !failures.is_empty() {
                lock(&self.failures).extend(failures);
                self.restart().await;
            }
            if !is_done {
                tokio::time::sleep(PAUSE).await;
            }
        }
        panic!("does not settle: {:#?}\n{:#?}", lock(&self.sent), lock(&self.failures));
    }

    /// What a unit said last of an object.
    pub fn with_report<T>(&self, unit: &str, id: &ObjectId, see: impl FnOnce(&Report) -> T) -> T {
        let told = lock(&self.told);
        match told.reports.get(&(unit.to_owned(), id.uid.clone())) {
            Some(report) => see(report),
            None => panic!("{unit} has said nothing of {id}"),
        }
    }

    /// What was sent since the last time, as a dry run shows it.
    pub fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.sent))
    }

    /// How passes have failed since the last time.
    pub fn take_failures(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.failures))
    }

    /// What bears our mark, as the provider says it.
    pub async fn inventory(&self) -> Vec<Owned> {
        match self.converger().inventory(&leave(PATIENCE)).await {
            Ok(owned) => owned,
            Err(err) => panic!("nothing is wrong, and yet there is no inventory: {err:?}"),
        }
    }
}

impl<S: Spec> fmt::Debug for Passes<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (told, sent, failures) = (lock(&self.told), lock(&self.sent), lock(&self.failures));
        f.debug_struct("Passes")
            .field("told", &*told)
            .field("sent", &*sent)
            .field("failures", &*failures)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: Spec> Around<S> for Passes<S> {
    fn leave(&self, freshness: Freshness) -> Write {
        let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        governor.write(Urgency::Refresh, freshness, deadline)
    }

    fn publish(&self, unit: &Unit, world: &World<S>, reports: Vec<Report>) {
        lock(&self.told).take(unit, &world.wants, reports);
    }

    async fn before(&self, _: &Unit, step: &Step<AnyChange>) -> Result<(), CloudError> {
        lock(&self.sent).push(step.change.to_string());
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
