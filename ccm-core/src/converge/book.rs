//! Who wants what, which units that makes, and when each is looked at next. Pure: time is handed in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cause::Cause;
use super::entry::Entry;
use super::pass::{Changed, End, Passed};
use super::progress::Progress;
use crate::cloud::{
    CloudError, Kind, Member, ObjectId, Plan, Report, Retry, Spec, Unit, UnitName, Urgency, Want,
    World,
};

/// How long to wait between looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After a first failure; doubled with each further one.
    pub retry_first: Duration,
    /// The longest pause after failures.
    pub retry_last: Duration,
    /// From one look at a unit where nothing is known to be wrong to the next; up to a tenth more
    /// or less, so that not all are due together.
    pub drift: Duration,
    /// However often what a unit is made from changes, it takes at least this long from the
    /// beginning of one pass for it to the beginning of the next; a second at most while somebody
    /// waits for the first of something in a unit of its own.
    pub spacing: Duration,
}

impl Default for Timing {
    /// Upstream's back-off, and an hour for what it never looks at again.
    fn default() -> Self {
        Self {
            retry_first: Duration::from_secs(5),
            retry_last: Duration::from_mins(5),
            drift: Duration::from_hours(1),
            spacing: Duration::ZERO,
        }
    }
}

impl Timing {
    /// The pause after so many failures in a row.
    fn backoff(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.retry_first.saturating_mul(factor).min(self.retry_last)
    }
}

/// How long changes of one who waits are collected at most.
const EAGER: Duration = Duration::from_secs(1);

/// However soon a plan wants to look again: a slip of a provider's must not become a hot loop.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// What has been waited for in vain so often as this says is looked at more and more rarely: each so many
/// looks make the pause longer by what the plan asks for. What comes is seen soon compared with how long it took.
const PATIENCE: u32 = 4;

/// And this rarely at last, where the plan does not ask for less.
///
/// A guess: nobody waits for what has not come for an hour.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Who is new to us and kept is looked at for the nodes that came and went while no process ran, and that
/// has time: most are kept only until their finalizer is written, and are looked at anyhow then.
const FIRST_OF_KEPT: Duration = Duration::from_secs(5);

/// A unit that wants to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wake {
    pub(super) unit: UnitName,
    pub(super) urgency: Urgency,
    pub(super) after: Duration,
}

/// What became of an object's want, or of what is known of it.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Objects about which something new is known.
    pub(super) about: BTreeSet<ObjectId>,
    /// Units to be looked at.
    pub(super) wakes: Vec<Wake>,
    /// Units that nobody uses any more.
    pub(super) over: Vec<UnitName>,
}

/// One pass to be made.
#[derive(Debug)]
pub(super) struct Job<S> {
    pub(super) unit: Unit,
    pub(super) world: World<S>,
    pub(super) cause: Cause,
    pub(super) urgency: Urgency,
    /// Counts the passes.
    number: u64,
    /// Which of its wants each object had when the pass began.
    generations: BTreeMap<ObjectId, u64>,
    /// Those of them of whom nothing was left to do when they were last seen.
    pub(super) settled: BTreeSet<ObjectId>,
    /// Nodes have come or gone since the unit was last brought up to date with them.
    follows_nodes: bool,
}

impl<S: Spec> Job<S> {
    /// Whether this pass has left somebody as they should not be.
    fn has_unsettled(&self, entries: &BTreeMap<ObjectId, Entry<S>>) -> bool {
        self.generations.keys().any(|id| {
            entries.get(id).is_some_and(|entry| !entry.is_settled(&self.unit.name, self.number))
        })
    }
}

/// What is to be done about a unit that is due.
#[derive(Debug)]
pub(super) enum Turn<S> {
    /// A pass.
    Pass(Box<Job<S>>),
    /// Whoever uses it was refused, and is tried again by then; or it was looked at just now.
    Wait(Duration),
    /// Nobody uses it any more, or it is nobody's turn.
    Nothing,
}

/// Who takes part in a pass that is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Everybody who uses the unit.
    Everybodys,
    /// Those whose turn has come.
    TheirTurn,
}

/// A unit, and who uses it.
#[derive(Debug)]
struct Seat {
    unit: Unit,
    users: BTreeSet<ObjectId>,
    /// Why it is to be looked at. `None` between looks.
    cause: Option<Cause>,
    /// Nodes have come or gone, and no pass that began after that has done all there is to do: also
    /// where every user is kept, and whatever else it is looked at for.
    owes_nodes: bool,
    /// When the last pass began.
    began: Option<Instant>,
    /// Passes that failed in a row.
    failures: u32,
    /// Users who asked for what cannot be had.
    held: BTreeMap<ObjectId, Held>,
    /// Changes, by their digests, that were made since all was last done.
    made: BTreeSet<u64>,
    /// Passes in a row that made a change again: what is made fails as often as it is made.
    remakes: u32,
    /// What the last pass waited for, by its digest, and how many in a row before it did that in vain.
    waits: Option<u64>,
    rewaits: u32,
    /// The last pass found nothing to do, or did all of it: no clearing away goes on.
    is_at_rest: bool,
    /// The last pass may have gone by what was there before an earlier one's changes.
    is_unsure: bool,
}

/// A user whose want is kept as it is, because it was refused.
#[derive(Clone, Copy, Debug)]
struct Held {
    generation: u64,
    until: Instant,
    failures: u32,
}

/// Who wants what, and how far it is.
#[derive(Debug)]
pub(super) struct Book<S> {
    timing: Timing,
    /// How far the cloud's looks lag behind changes.
    lag: Duration,
    /// Before then somebody else may have made things.
    began: Instant,
    /// When we last changed something of these units, where looks may not show it yet. Not in their
    /// seats: who comes after the last user sees what that one's going has left.
    changed: BTreeMap<UnitName, Instant>,
    entries: BTreeMap<ObjectId, Entry<S>>,
    seats: BTreeMap<UnitName, Seat>,
    members: Arc<[Member]>,
    generations: u64,
    looks: u64,
}

impl<S: Spec> Book<S> {
    pub(super) fn new(timing: Timing, lag: Duration, now: Instant) -> Self {
        let (entries, seats, members) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        let (changed, generations, looks) = (BTreeMap::new(), 0, 0);
        Self { timing, lag, began: now, changed, entries, seats, members, generations, looks }
    }

    /// Takes what is wanted for an object. `digest` tells one form of its spec from another.
    pub(super) fn want(&mut self, want: Want<S>, digest: u64, units: Vec<Unit>) -> News {
        let id = want.id().clone();
        self.generations += 1;
        let generation = self.generations;
        let mut cause = Cause::Changed;
        let mut before: Vec<UnitName> = Vec::new();
        match self.entries.get_mut(&id) {
            None => {
                cause = Cause::New;
                let entry = Entry::new(want, digest, units, generation, self.began);
                self.entries.insert(id.clone(), entry);
            }
            Some(entry) => {
                before.extend(entry.places.iter().map(|place| place.unit.name.clone()));
                if !entry.change(want, digest, units, generation, self.began) {
                    return News::default();
                }
            }
        }
        let Some(entry) = self.entries.get(&id) else { return News::default() };
        for place in &entry.places {
            let unit = &place.unit;
            let seat = self.seats.entry(unit.name.clone()).or_insert_with(|| Seat::new(unit));
            // Whoever names a unit describes it alike; the last word counts.
            seat.unit = unit.clone();
            seat.users.insert(id.clone());
        }
        before.retain(|unit| !entry.has_place(unit));
        let first = entry.first().map(|place| place.unit.name.clone());
        let units = entry.places.iter().map(|place| &place.unit);
        let made_from_nodes = units.filter(|unit| unit.inputs.nodes);
        let made_from_nodes: Vec<_> = made_from_nodes.map(|unit| unit.name.clone()).collect();
        before.retain(|unit| self.leave(unit, &id));
        let mut news = News { over: before, ..News::default() };
        news.about.insert(id);
        if let Some(unit) = first {
            let id = news.about.first().cloned();
            news.wakes.extend(self.wake(&unit, cause, id.as_ref()));
        } else if cause == Cause::New {
            let mut wakes = self.owe_nodes(&made_from_nodes, cause);
            for wake in &mut wakes {
                wake.after = wake.after.max(FIRST_OF_KEPT);
            }
            news.wakes = wakes;
        }
        news
    }

    /// The units are to be brought up to date with the nodes, for everybody who uses them.
    fn owe_nodes(&mut self, units: &[UnitName], cause: Cause) -> Vec<Wake> {
        for unit in units {
            if let Some(seat) = self.seats.get_mut(unit) {
                seat.owes_nodes = true;
            }
        }
        units.iter().filter_map(|unit| self.wake(unit, cause, None)).collect()
    }

    /// Forgets an object of which nothing is left, or for which nothing is wanted any more. Gives the
    /// units that nobody uses any more.
    pub(super) fn forget(&mut self, id: &ObjectId) -> Vec<UnitName> {
        let Some(entry) = self.entries.remove(id) else { return Vec::new() };
        let units = entry.places.into_iter().map(|place| place.unit.name);
        units.filter(|unit| self.leave(unit, id)).collect()
    }

    /// Says whether nobody uses the unit any more.
    fn leave(&mut self, unit: &UnitName, id: &ObjectId) -> bool {
        let Some(seat) = self.seats.get_mut(unit) else { return false };
        seat.users.remove(id);
        seat.held.remove(id);
        let is_over = seat.users.is_empty();
        if is_over {
            self.seats.remove(unit);
        }
        is_over
    }

    /// Takes the nodes that may be members, and wakes the units that are made from them. That there is
    /// none any more, or one again, is news of everybody.
    pub(super) fn members(&mut self, members: Arc<[Member]>) -> News {
        let mut news = News::default();
        if members.is_empty() != self.members.is_empty() {
            news.about.extend(self.entries.keys().cloned());
        }
        self.members = members;
        let concerned = self.seats.values().filter(|seat| seat.unit.inputs.nodes);
        let units: Vec<_> = concerned.map(|seat| seat.unit.name.clone()).collect();
        news.wakes = self.owe_nodes(&units, Cause::Nodes);
        news
    }

    /// Takes the nodes, and wakes nobody.
    pub(super) fn renew_members(&mut self, members: Arc<[Member]>) {
        self.members = members;
    }

    /// How many nodes may be members.
    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// `of` is the only one of its users of whom something has changed, where that is so.
    fn wake(&mut self, unit: &UnitName, cause: Cause, of: Option<&ObjectId>) -> Option<Wake> {
        let is_woken = self.seats.get(unit)?.cause.is_some();
        let urgency = match of {
            // The others were asked when it was woken: a table of thousands of users, who all change,
            // is not gone through for each.
            Some(id) if is_woken => self.urgency_of(unit, cause, [id]),
            Some(_) | None => self.urgency(unit, cause),
        };
        let seat = self.seats.get_mut(unit)?;
        seat.cause = seat.cause.max(Some(cause));
        Some(Wake { unit: unit.clone(), urgency, after: seat.unit.settle })
    }

    /// Who waits for the first of something goes first, whatever it is that wakes the unit.
    fn urgency(&self, unit: &UnitName, cause: Cause) -> Urgency {
        let users = self.seats.get(unit).into_iter().flat_map(|seat| &seat.users);
        self.urgency_of(unit, cause, users)
    }

    fn urgency_of<'a>(
        &self,
        unit: &UnitName,
        cause: Cause,
        users: impl IntoIterator<Item = &'a ObjectId>,
    ) -> Urgency {
        let Some(seat) = self.seats.get(unit) else { return cause.urgency() };
        // One that cannot be had has no address either, for days if need be.
        let waits = |id: &ObjectId| {
            let entry = self.entries.get(id).filter(|_| !seat.held.contains_key(id));
            entry.is_some_and(|entry| {
                matches!(&entry.want, Want::Present(spec) if spec.is_awaited())
                    && !entry.is_hopeless()
            })
        };
        if cause > Cause::Drift && users.into_iter().any(waits) {
            Urgency::Initialize
        } else {
            cause.urgency()
        }
    }

    /// Wakes every unit of this object, because somebody asks for it: also where it was refused.
    pub(super) fn again(&mut self, id: &ObjectId) -> Vec<Wake> {
        let Some(entry) = self.entries.get(id) else { return Vec::new() };
        let units: Vec<_> = entry.places.iter().map(|place| place.unit.name.clone()).collect();
        for unit in &units {
            if let Some(seat) = self.seats.get_mut(unit) {
                seat.held.remove(id);
            }
        }
        units.iter().filter_map(|unit| self.wake(unit, Cause::Retry, None)).collect()
    }

    /// How far apart passes for changes are. Where somebody waits for the first of something in a unit
    /// of its own, nobody else's changes are collected with it, and what it still lacks when it is first
    /// looked at (its addresses) comes in the next moment.
    fn spacing(&self, unit: &UnitName) -> Duration {
        let is_awaited = matches!(unit, UnitName::Own(_))
            && self.urgency(unit, Cause::Changed) == Urgency::Initialize;
        if is_awaited { self.timing.spacing.min(EAGER) } else { self.timing.spacing }
    }

    /// Begins a pass over a unit.
    pub(super) fn begin(&mut self, unit: &UnitName, now: Instant) -> Turn<S> {
        let spacing = self.spacing(unit);
        let Some(due) = self.seats.get_mut(unit) else { return Turn::Nothing };
        let soonest = due.began.map(|began| began + spacing);
        if let Some(soonest) = soonest.filter(|soonest| now < *soonest)
            && matches!(due.cause, Some(Cause::Changed | Cause::Nodes | Cause::New))
        {
            return Turn::Wait(soonest - now);
        }
        let cause = due.cause.take().unwrap_or(Cause::Drift);
        let urgency = self.urgency(unit, cause);
        let Some(seat) = self.seats.get(unit) else { return Turn::Nothing };
        let mut held_until: Option<Instant> = None;
        let mut wants = Vec::with_capacity(seat.users.len());
        let mut generations = BTreeMap::new();
        for id in &seat.users {
            let Some(entry) = self.entries.get(id) else { continue };
            let held = seat
                .held
                .get(id)
                .filter(|held| held.generation == entry.generation && now < held.until);
            let want = match held {
                None => entry.turn(unit),
                Some(held) => {
                    held_until = Some(held_until.map_or(held.until, |until| until.min(held.until)));
                    entry.want.kept()
                }
            };
            if !is_kept(&want) {
                generations.insert(id.clone(), entry.generation);
            }
            wants.push(want);
        }
        // Whoever is kept keeps its place among the nodes that come and go, too; and what an unsure look
        // has done about them is looked at once more.
        let follows_nodes = seat.owes_nodes;
        let is_for_kept = (follows_nodes || seat.is_unsure) && !wants.is_empty();
        if generations.is_empty() && !is_for_kept {
            let Some(until) = held_until else { return Turn::Nothing };
            if let Some(seat) = self.seats.get_mut(unit) {
                seat.cause = Some(cause.max(Cause::Retry));
            }
            return Turn::Wait(until - now);
        }
        self.looks += 1;
        // What a look from before our own changes finds to be done, or one that makes up for such a
        // look, is nobody else's doing. That nodes come and go is.
        let is_told = cause == Cause::Nodes || !seat.is_unsure && self.is_sure(unit, now);
        let mut settled = BTreeSet::new();
        for id in generations.keys() {
            if let Some(entry) = self.entries.get_mut(id) {
                if seat.is_at_rest && is_told && entry.is_done_in(unit) {
                    settled.insert(id.clone());
                }
                entry.begun(unit);
            }
        }
        let (unit, nodes) = (seat.unit.clone(), Arc::clone(&self.members));
        if let Some(seat) = self.seats.get_mut(&unit.name) {
            seat.began = Some(now);
            seat.owes_nodes = false;
        }
        let (world, number) = (World { wants, nodes }, self.looks);
        let job = Job { unit, world, cause, urgency, number, generations, settled, follows_nodes };
        Turn::Pass(Box::new(job))
    }

    /// A pass that is not made, for those who want to know what is to be done.
    pub(super) fn rehearsal(&self, unit: &UnitName, whose: Whose) -> Option<Job<S>> {
        let seat = self.seats.get(unit)?;
        let users = || seat.users.iter().filter_map(|id| self.entries.get(id));
        let want = |entry: &Entry<S>| match whose {
            Whose::Everybodys => entry.want.clone(),
            Whose::TheirTurn => entry.turn(unit),
        };
        let active = users().filter(|entry| !is_kept(&want(entry)));
        let generations: BTreeMap<_, _> =
            active.map(|entry| (entry.want.id().clone(), entry.generation)).collect();
        if generations.is_empty() {
            return None;
        }
        let world = World { wants: users().map(want).collect(), nodes: Arc::clone(&self.members) };
        let (cause, urgency, number) = (Cause::Drift, Urgency::Drift, 0);
        let (unit, settled, follows_nodes) = (seat.unit.clone(), BTreeSet::new(), false);
        Some(Job { unit, world, cause, urgency, number, generations, settled, follows_nodes })
    }

    /// A pass was thought through and not made; what it would change is still to be done.
    pub(super) fn rehearsed<C>(&mut self, job: &Job<S>, plan: &Result<Plan<C>, CloudError>) {
        let is_open = plan.as_ref().is_ok_and(|plan| plan.stages.iter().any(|it| !it.is_empty()));
        for id in job.generations.keys() {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            entry.ended(&job.unit.name, plan.as_ref().err(), job.cause);
            if is_open {
                entry.begun(&job.unit.name);
            }
        }
    }

    /// Who waits until other units are done with them before it is their turn here.
    pub(super) fn awaited(&self, unit: &UnitName) -> Vec<ObjectId> {
        let Some(seat) = self.seats.get(unit) else { return Vec::new() };
        let waits = |id: &&ObjectId| {
            let entry = self.entries.get(*id);
            entry.is_some_and(|entry| !is_kept(&entry.want) && is_kept(&entry.turn(unit)))
        };
        seat.users.iter().filter(waits).cloned().collect()
    }

    /// Takes what a pass reports of the world that it planned from. What is said of what is kept
    /// there, or of a want that is not wanted any more, counts for nothing.
    pub(super) fn reported(
        &mut self,
        job: &Job<S>,
        world: &World<S>,
        reports: Vec<Report>,
        now: Instant,
    ) -> News {
        let mut news = News::default();
        let unit = &job.unit.name;
        let mut unsaid: BTreeSet<_> =
            world.wants.iter().filter(|want| !is_kept(want)).map(Want::id).collect();
        for report in reports {
            let Some(generation) = job.generations.get(&report.id) else { continue };
            if !unsaid.remove(&report.id) {
                continue;
            }
            let Some(entry) = self.entries.get_mut(&report.id) else { continue };
            if entry.generation != *generation {
                continue;
            }
            let id = report.id.clone();
            let report = entry.believed(unit, report, self.lag, now);
            let (is_news, next) = entry.reported(unit, report, job.number);
            let next = next.into_iter().map(|at| entry.places[at].unit.name.clone());
            let next: Vec<_> = next.filter(|next| next != unit).collect();
            if is_news {
                news.about.insert(id);
            }
            news.wakes.extend(next.iter().filter_map(|next| self.wake(next, Cause::Changed, None)));
        }
        for id in unsaid {
            let entry = self.entries.get_mut(id);
            let entry = entry.filter(|it| job.generations.get(id) == Some(&it.generation));
            if entry.is_some_and(|entry| entry.unsaid(unit)) {
                news.about.insert(id.clone());
            }
        }
        news
    }

    /// A pass has ended: who is concerned, and when the unit is looked at next.
    pub(super) fn ended(&mut self, job: &Job<S>, passed: &Passed, now: Instant) -> News {
        let mut news = News::default();
        let unit = &job.unit.name;
        let failed = passed.end.error();
        let drift = jittered(self.timing.drift, unit, job.number);
        let mut next = Next { after: drift, cause: Cause::Drift };
        let certain = self.certain_at(unit, passed, now);
        let Some(seat) = self.seats.get_mut(unit) else { return news };
        seat.is_at_rest = passed.end == End::Done;
        // What was taken away and is wanted again may have been seen where it was.
        seat.is_unsure = certain.is_some();
        let is_about_nodes = job.follows_nodes || seat.unit.inputs.nodes && is_half_made(passed);
        if is_about_nodes && seat.still_owes_nodes(passed) {
            next.sooner(SHORTEST_WAIT, Cause::Waited);
        }
        let certain = certain.map(|at| at.saturating_duration_since(now).max(SHORTEST_WAIT));
        // What is tried again anyhow has its time, and no shorter.
        let mut is_retried = failed.is_some_and(|err| err.kind().retry() != Retry::OnChange);
        match &passed.end {
            End::Done if !passed.notes.is_empty() && job.has_unsettled(&self.entries) => {
                // What was passed over is why somebody does not get on.
                seat.failures = seat.failures.saturating_add(1);
                next.sooner(self.timing.backoff(seat.failures), Cause::Retry);
            }
            End::Done => {
                seat.failures = 0;
                seat.made = BTreeSet::new();
                seat.remakes = 0;
                seat.waits = None;
            }
            End::Later { again, waits_for } => {
                seat.failures = 0;
                let pause = (*again).max(SHORTEST_WAIT);
                let in_vain = seat.waits_in_vain(waits_for, &passed.changes);
                let longer = pause.saturating_mul(1 + in_vain / PATIENCE).min(LONGEST_WAIT);
                let mut pause = pause.max(longer);
                if seat.makes_again(&passed.changes) {
                    pause = pause.max(self.timing.backoff(seat.remakes));
                    is_retried = true;
                }
                next.sooner(pause, Cause::Waited);
            }
            End::Failed(err) => {
                seat.failures = seat.failures.saturating_add(1);
                next.retry(err, seat.failures, &self.timing);
            }
        }
        if let Some(certain) = certain.filter(|_| !is_retried) {
            next.sooner(certain, Cause::Waited);
        }
        let made = made(job, passed);
        // The first word counts.
        let refused: HashMap<_, _> =
            passed.refused.iter().rev().map(|(id, err)| (id, err)).collect();
        for (id, generation) in &job.generations {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            if made.contains(id) {
                entry.made(unit, now);
            }
            let blamed = refused.get(id).copied();
            if entry.generation != *generation {
                entry.ended(unit, None, job.cause);
                continue;
            }
            // A failed pass says nothing against whoever was as they should be in its last look.
            let theirs = blamed.or_else(|| failed.filter(|_| !entry.is_settled(unit, job.number)));
            let was_served = entry.is_served();
            entry.ended(unit, theirs, job.cause);
            // A shared unit is looked at for the sake of one, and the others are not to be woken. Who
            // asked is answered, also where nodes have changed at the same time.
            let is_asked = matches!(job.cause, Cause::Nodes | Cause::Retry);
            let is_as_it_was = was_served && entry.is_served() && !is_asked;
            if !is_as_it_was {
                news.about.insert(id.clone());
            }
            // A doubt of an earlier look says nothing of when a failed one is repeated.
            if let Some(until) = entry.doubted_until(unit).filter(|_| theirs.is_none()) {
                next.sooner(until.saturating_duration_since(now).max(SHORTEST_WAIT), Cause::Waited);
            }
            let by_plan = entry.refused(unit).map(CloudError::repeat);
            let Some(err) = blamed.or(by_plan.as_ref()) else {
                seat.held.remove(id);
                continue;
            };
            let failures = seat.held.get(id).filter(|held| held.generation == *generation);
            let failures = failures.map_or(1, |held| held.failures.saturating_add(1));
            let mut theirs = Next { after: drift, cause: Cause::Drift };
            theirs.retry(err, failures, &self.timing);
            // Where the look was too old, so may be what they were refused for.
            if let Some(certain) = certain.filter(|_| err.kind().retry() == Retry::OnChange) {
                theirs.sooner(certain, Cause::Retry);
            }
            // What the plan itself refuses needs no keeping: it sends nothing for it.
            let until = if blamed.is_some() { now + theirs.after } else { now };
            seat.held.insert(id.clone(), Held { generation: *generation, until, failures });
            next.sooner(theirs.after, theirs.cause);
        }
        // Those that this pass kept have their time still, or it has come while the pass went on; and the
        // queue knows only the next one.
        let was_kept = |id: &ObjectId, held: &Held| {
            !job.generations.contains_key(id) && seat.began.is_some_and(|began| began < held.until)
        };
        for (_, held) in seat.held.iter().filter(|(id, held)| was_kept(id, held)) {
            let pause = held.until.saturating_duration_since(now).max(SHORTEST_WAIT);
            next.sooner(pause, Cause::Retry);
        }
        if seat.cause.is_none() && next.cause > Cause::Drift {
            seat.cause = Some(next.cause);
        }
        let urgency = self.urgency(unit, next.cause);
        news.wakes.push(Wake { unit: unit.clone(), urgency, after: next.after });
        news
    }

    /// When a look shows all that was changed in this unit, where the look of the pass that has ended
    /// just now need not have shown what earlier ones have changed.
    fn certain_at(&mut self, unit: &UnitName, passed: &Passed, now: Instant) -> Option<Instant> {
        let lag = self.lag;
        if lag.is_zero() {
            return None;
        }
        let seats = &self.seats;
        // Of units that are over, from time to time.
        if self.changed.len() > 2 * seats.len() + 16 {
            self.changed.retain(|unit, changed| seats.contains_key(unit) || now < *changed + lag);
        }
        let before = self.changed_last(unit);
        let refused = passed.refused.iter().map(|(_, err)| err);
        let is_open = refused.chain(passed.end.error()).any(|err| may_be_done(err.kind()));
        if is_open || !passed.changes.is_empty() {
            self.changed.insert(unit.clone(), now);
        }
        let began = self.seats.get(unit)?.began?;
        if before + lag <= began {
            return None;
        }
        let changed = self.changed.get(unit).map(|changed| *changed + lag);
        // Everything is looked at when a process begins, and is not looked at again all at once.
        Some(changed.unwrap_or_else(|| self.began + lag + lag.mul_f64(share(&unit))))
    }

    /// When something of this unit was last changed: by us, or by whoever was here before us, who may
    /// have changed anything until then.
    fn changed_last(&self, unit: &UnitName) -> Instant {
        self.changed.get(unit).copied().unwrap_or(self.began)
    }

    /// Whether a look that begins now shows all that was changed.
    fn is_sure(&self, unit: &UnitName, now: Instant) -> bool {
        self.changed_last(unit) + self.lag <= now
    }

    /// All that is known of an object.
    pub(super) fn progress(&self, id: &ObjectId) -> Option<Progress> {
        let entry = self.entries.get(id)?;
        let mut progress = entry.progress();
        progress.is_unsure = entry
            .places
            .iter()
            .any(|place| self.seats.get(&place.unit.name).is_some_and(|seat| seat.is_unsure));
        Some(progress)
    }

    /// How many units there are.
    pub(super) fn unit_count(&self) -> usize {
        self.seats.len()
    }

    /// Every object for which something is wanted.
    pub(super) fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.entries.keys()
    }

    /// All units, in the order of their names, as they would be looked at now.
    pub(super) fn units(&self) -> Vec<UnitName> {
        self.seats.keys().cloned().collect()
    }
}

/// Whether what a pass made may lack targets, and nobody asks for them any more once its user is kept.
fn is_half_made(passed: &Passed) -> bool {
    passed.end != End::Done || !passed.refused.is_empty() && !passed.changes.is_empty()
}

fn is_kept<S>(want: &Want<S>) -> bool {
    matches!(want, Want::Keep(_))
}

impl Seat {
    fn new(unit: &Unit) -> Self {
        let (users, held) = (BTreeSet::new(), BTreeMap::new());
        let (made, remakes, is_at_rest) = (BTreeSet::new(), 0, false);
        let (unit, failures) = (unit.clone(), 0);
        // Whether it is up to date with the nodes is not known before its first look.
        let (cause, began, owes_nodes) = (None, None, unit.inputs.nodes);
        let (waits, rewaits, is_unsure) = (None, 0, false);
        Self {
            unit,
            users,
            cause,
            owes_nodes,
            began,
            failures,
            held,
            made,
            remakes,
            waits,
            rewaits,
            is_at_rest,
            is_unsure,
        }
    }

    /// After a pass for nodes that have come or gone, or one that left something half made: whether all is
    /// done but for those who were refused. They are kept next time, and their targets follow the nodes then.
    fn still_owes_nodes(&mut self, passed: &Passed) -> bool {
        let is_done = passed.end == End::Done;
        self.owes_nodes |= !is_done || !passed.refused.is_empty();
        is_done && !passed.refused.is_empty()
    }

    /// How many passes in a row before this one have waited for the same and changed nothing.
    fn waits_in_vain(&mut self, waits_for: &[String], changes: &[Changed]) -> u32 {
        let mut hasher = DefaultHasher::new();
        waits_for.hash(&mut hasher);
        let waits = Some(hasher.finish());
        let is_same = changes.is_empty() && self.waits == waits;
        self.rewaits = if is_same { self.rewaits.saturating_add(1) } else { 0 };
        self.waits = waits;
        self.rewaits
    }

    /// Whether a pass made something that was made before and has not lasted.
    fn makes_again(&mut self, changes: &[Changed]) -> bool {
        let mut again = false;
        for change in changes {
            let mut hasher = DefaultHasher::new();
            change.line.hash(&mut hasher);
            again |= !self.made.insert(hasher.finish());
        }
        if again {
            self.remakes = self.remakes.saturating_add(1);
        }
        again
    }
}

/// Whether a change that failed like this may have been carried out all the same: there was no answer,
/// or none that says what it did.
fn may_be_done(kind: Kind) -> bool {
    match kind {
        Kind::Unavailable | Kind::Internal | Kind::Stopped => true,
        Kind::NotFound
        | Kind::InvalidConfiguration
        | Kind::PermissionDenied
        | Kind::QuotaExceeded
        | Kind::RateLimited { .. }
        | Kind::Conflict
        | Kind::Unsupported => false,
    }
}

/// Of whom a pass may have made something: they are wanted, and something was changed for them, or may
/// have been.
fn made<'a, S: Spec>(job: &'a Job<S>, passed: &'a Passed) -> HashSet<&'a ObjectId> {
    let is_anybodys = !passed.refused.is_empty()
        || matches!(passed.end, End::Failed(_))
        || passed.changes.iter().any(|change| change.wanted_by.is_empty());
    let named: HashSet<_> = passed.changes.iter().flat_map(|change| &change.wanted_by).collect();
    let wanted = job.world.wants.iter().filter(|want| matches!(want, Want::Present(_)));
    wanted.map(Want::id).filter(|id| is_anybodys || named.contains(id)).collect()
}

/// When a unit is looked at next, and why.
struct Next {
    after: Duration,
    cause: Cause,
}

impl Next {
    fn sooner(&mut self, after: Duration, cause: Cause) {
        if after < self.after {
            *self = Self { after, cause };
        }
    }

    fn retry(&mut self, err: &CloudError, failures: u32, timing: &Timing) {
        match err.kind().retry() {
            Retry::Backoff => {
                self.sooner(timing.backoff(failures), Cause::Retry);
            }
            Retry::After(pause) => self.sooner(pause.max(SHORTEST_WAIT), Cause::Retry),
            // At the slow look at everything.
            Retry::OnChange | Retry::Never => {}
        }
    }
}

/// Up to a tenth more or less, by the unit and how often it was looked at.
fn jittered(interval: Duration, unit: &UnitName, looks: u64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * share(&(unit, looks)))
}

/// Between 0 and 1, always the same of the same.
fn share(of: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
