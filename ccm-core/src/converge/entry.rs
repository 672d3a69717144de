//! One object's place in the engine: what it wants, and how far it is in each of its units. Pure.
//!
//! A want counts as `Present` to a unit only once the units before it are done for it, and as
//! `Absent` only once those behind it hold nothing for it; until then it is `Keep`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cause::Cause;
use super::progress::{Aim, Progress, Trouble};
use crate::cloud::{CloudError, Holds, Report, Spec, Unit, UnitName, Verdict, Want};

/// An object that somebody wants something for.
#[derive(Debug)]
pub(super) struct Entry<S> {
    /// What is wanted.
    pub(super) want: Want<S>,
    /// Tells this form of the spec from another.
    pub(super) digest: u64,
    /// The number of the want among all that there ever were, of this object and of others: what a
    /// pass says of an earlier one does not hold for this one, also where the object was forgotten
    /// in between.
    pub(super) generation: u64,
    /// Its units in building order, and how far it is in each.
    pub(super) places: Vec<Place>,
}

/// How far an object is in one of its units.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) unit: Unit,
    /// What was last reported of what is wanted now.
    report: Option<Arc<Report>>,
    /// The pass that reported it.
    heard_in: u64,
    /// Why it does not get on.
    trouble: Option<Trouble>,
    /// Whether a pass is under way.
    pub(super) under_way: bool,
    /// When something of it may last have been made.
    made: Instant,
    /// Until when a look that shows nothing of it is not believed, where there was one.
    doubted_until: Option<Instant>,
}

impl Place {
    fn is_done(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.verdict == Verdict::Done)
    }

    /// Whether the next unit may go on with what is wanted. Where another program serves the object,
    /// each unit clears away what it has.
    fn lets_on(&self) -> bool {
        let lets =
            |report: &Arc<Report>| matches!(report.verdict, Verdict::Done | Verdict::Elsewhere(_));
        self.report.as_ref().is_some_and(lets)
    }

    fn is_empty(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.holds == Holds::Nothing)
    }
}

/// Whether two wants ask for the same sort of thing.
fn aim<S>(want: &Want<S>) -> Aim {
    match want {
        Want::Present(_) => Aim::Present,
        Want::Absent(_) => Aim::Absent,
        Want::Keep(_) => Aim::Keep,
    }
}

impl<S: Spec> Entry<S> {
    /// `made` is when somebody before us may last have made something of it.
    pub(super) fn new(
        want: Want<S>,
        digest: u64,
        units: Vec<Unit>,
        generation: u64,
        made: Instant,
    ) -> Self {
        let mut this = Self { want, digest, generation, places: Vec::new() };
        this.settle_in(units, made);
        this
    }

    fn settle_in(&mut self, units: Vec<Unit>, made: Instant) {
        let mut former = std::mem::take(&mut self.places);
        let place = |unit: Unit| {
            let old = former.iter().position(|place| place.unit.name == unit.name);
            let old = old.map(|at| former.swap_remove(at));
            let under_way = old.as_ref().is_some_and(|place| place.under_way);
            let made = old.map_or(made, |place| place.made);
            let (report, trouble, doubted_until) = (None, None, None);
            Place { unit, report, heard_in: 0, trouble, under_way, made, doubted_until }
        };
        self.places = units.into_iter().map(place).collect();
    }

    /// Takes a new want. False where it is what it was: then nothing is forgotten.
    pub(super) fn change(
        &mut self,
        want: Want<S>,
        digest: u64,
        units: Vec<Unit>,
        generation: u64,
        made: Instant,
    ) -> bool {
        let is_same = aim(&self.want) == aim(&want)
            && self.digest == digest
            && self.places.iter().map(|place| &place.unit).eq(&units);
        self.want = want;
        self.digest = digest;
        if !is_same {
            self.generation = generation;
            // What was said of the former want says nothing of this one: what was "empty" before
            // it was made may not be so any more.
            self.settle_in(units, made);
        }
        !is_same
    }

    fn place_of(&self, unit: &UnitName) -> Option<usize> {
        self.places.iter().position(|place| place.unit.name == *unit)
    }

    /// Whether it is the turn of the unit at this place.
    pub(super) fn is_turn_of(&self, place: usize) -> bool {
        match self.want {
            Want::Present(_) => self.places[..place].iter().all(Place::lets_on),
            Want::Absent(_) => self.places[place + 1..].iter().all(Place::is_empty),
            Want::Keep(_) => false,
        }
    }

    /// What the want is to this one of its units.
    pub(super) fn turn(&self, unit: &UnitName) -> Want<S> {
        match self.place_of(unit) {
            Some(place) if self.is_turn_of(place) => self.want.clone(),
            Some(_) | None => self.want.kept(),
        }
    }

    /// Where work begins: in front for what is made, at the back for what is torn down.
    pub(super) fn first(&self) -> Option<&Place> {
        match self.want {
            Want::Present(_) => self.places.first(),
            Want::Absent(_) => self.places.last(),
            Want::Keep(_) => None,
        }
    }

    /// Takes what a unit's pass reported of the want as it is now. Says whether it is news, and
    /// which places' turn it has become: all of them, since what a unit was to be looked at for
    /// while it was not its turn is forgotten.
    pub(super) fn reported(
        &mut self,
        unit: &UnitName,
        report: Report,
        pass: u64,
    ) -> (bool, Vec<usize>) {
        let Some(at) = self.place_of(unit) else { return (false, Vec::new()) };
        let turns = |entry: &Self| -> Vec<bool> {
            (0..entry.places.len()).map(|place| entry.is_turn_of(place)).collect()
        };
        let place = &mut self.places[at];
        place.heard_in = pass;
        if place.report.as_deref() == Some(&report) {
            return (false, Vec::new());
        }
        let standing = (place.lets_on(), place.is_empty());
        let before = turns(self);
        let place = &mut self.places[at];
        place.report = Some(Arc::new(report));
        let moved = standing != (place.lets_on(), place.is_empty());
        let after = if moved { turns(self) } else { before.clone() };
        let is_new = |place: &usize| !before[*place] && after[*place];
        (true, (0..after.len()).filter(is_new).collect())
    }

    /// Something of it may have been made in this unit just now.
    pub(super) fn made(&mut self, unit: &UnitName, now: Instant) {
        if let Some(at) = self.place_of(unit) {
            self.places[at].made = now;
        }
    }

    /// What a look is taken for in a cloud whose looks lag behind: that nothing is left is not believed
    /// before it would show what was made last.
    pub(super) fn believed(
        &mut self,
        unit: &UnitName,
        mut report: Report,
        lag: Duration,
        now: Instant,
    ) -> Report {
        let Some(at) = self.place_of(unit) else { return report };
        let place = &mut self.places[at];
        let until = place.made + lag;
        let is_absent = matches!(self.want, Want::Absent(_));
        let is_doubted = is_absent && report.holds == Holds::Nothing && now < until;
        place.doubted_until = is_doubted.then_some(until);
        if is_doubted {
            report.holds = Holds::Something;
            report.verdict =
                Verdict::Progressing("the cloud may not show yet what was made last".to_owned());
        }
        report
    }

    /// Until when a look that showed nothing is not believed.
    pub(super) fn doubted_until(&self, unit: &UnitName) -> Option<Instant> {
        self.places[self.place_of(unit)?].doubted_until
    }

    /// A unit's pass said nothing of the want: it is not done, and may hold something. Says whether
    /// that is news.
    pub(super) fn unsaid(&mut self, unit: &UnitName) -> bool {
        self.place_of(unit).is_some_and(|at| self.places[at].report.take().is_some())
    }

    /// A pass over this unit has ended; `failed` is what hindered it, if anything did.
    pub(super) fn ended(&mut self, unit: &UnitName, failed: Option<&CloudError>, cause: Cause) {
        let Some(at) = self.place_of(unit) else { return };
        let is_absent = matches!(self.want, Want::Absent(_));
        let place = &mut self.places[at];
        place.under_way = false;
        let refused = match place.report.as_deref().map(|report| &report.verdict) {
            Some(Verdict::Refused(err)) => Some(err),
            _ => None,
        };
        let (done, empty) = (place.is_done(), place.is_empty());
        let err = refused.or(failed);
        place.trouble = match err {
            None => None,
            Some(err) => {
                let before = place.trouble.take().map_or(0, |trouble| trouble.failures);
                let failures = before.saturating_add(1);
                let was_done = if is_absent { empty } else { done };
                Some(Trouble { error: Arc::new(err.repeat()), failures, cause, was_done })
            }
        };
    }

    /// Whether a plan refuses it, or another program serves it: it gets no address by our doing.
    pub(super) fn is_hopeless(&self) -> bool {
        self.places
            .iter()
            .filter_map(|place| place.report.as_deref())
            .any(|report| matches!(report.verdict, Verdict::Refused(_) | Verdict::Elsewhere(_)))
    }

    /// Whether this pass has last seen the object in this unit as it should be.
    pub(super) fn is_settled(&self, unit: &UnitName, pass: u64) -> bool {
        let place = self.place_of(unit).map(|at| &self.places[at]);
        place.is_some_and(|place| {
            place.heard_in == pass
                && match self.want {
                    Want::Present(_) => place.is_done(),
                    Want::Absent(_) => place.is_empty(),
                    Want::Keep(_) => true,
                }
        })
    }

    /// Whether it was last seen in this unit as it should be by the want that it has now.
    pub(super) fn is_done_in(&self, unit: &UnitName) -> bool {
        self.place_of(unit).is_some_and(|at| self.places[at].is_done())
    }

    /// Whether it is as it should be in all its units, so that the end of a pass is no news.
    pub(super) fn is_served(&self) -> bool {
        let is_well = |place: &Place| place.is_done() && place.trouble.is_none();
        matches!(self.want, Want::Present(_)) && self.places.iter().all(is_well)
    }

    /// All that is known of the object.
    pub(super) fn progress(&self) -> Progress {
        let mut progress = Progress {
            aim: aim(&self.want),
            digest: self.digest,
            is_done: self.places.iter().all(Place::is_done),
            is_gone: self.places.iter().all(Place::is_empty),
            is_under_way: self.places.iter().any(|place| place.under_way),
            is_unsure: false,
            trouble: None,
            reports: self.places.iter().filter_map(|place| place.report.clone()).collect(),
        };
        let troubles = self.places.iter().filter_map(|place| place.trouble.as_ref());
        // What has to be done by a person goes before what passes by itself.
        progress.trouble = troubles.max_by_key(|trouble| trouble.weight()).cloned();
        progress
    }

    /// Whether anything of the spec asks for this.
    pub(super) fn has_place(&self, unit: &UnitName) -> bool {
        self.place_of(unit).is_some()
    }

    pub(super) fn begun(&mut self, unit: &UnitName) {
        if let Some(at) = self.place_of(unit) {
            self.places[at].under_way = true;
        }
    }

    /// Why the plan of this unit refuses it.
    pub(super) fn refused(&self, unit: &UnitName) -> Option<&CloudError> {
        let report = self.places[self.place_of(unit)?].report.as_deref()?;
        match &report.verdict {
            Verdict::Refused(err) => Some(err),
            Verdict::Done | Verdict::Progressing(_) | Verdict::Elsewhere(_) => None,
        }
    }
}
