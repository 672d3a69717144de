//! The cloud: requests that take their time, go wrong, or are believed to have, and what they do.

use std::time::Duration;

use tokio::time::sleep;

use super::laws::a_change_is_wanted;
use super::mutants::Mutant;
use super::provider::Seen;
use super::routes::{Act, Line, Mark, Route, Routes};
use super::setup::{Outage, is_inside};
use super::state::{Ms, Sim, State};
use crate::cloud::{CloudError, Kind, Uid};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It is refused and does nothing.
    Fails(Kind),
    /// It is done, and a failure is answered.
    Lost,
    /// It is never answered; whether it is done shows when nobody waits any more.
    Hangs,
}

/// What a change does to one route.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Make(Line),
    Turn(u64, Line),
    Drop(u64),
}

impl State {
    fn fate(&mut self, mutates: Option<&Act>) -> Fate {
        if let Some(outage) = self.outage {
            return match outage {
                Outage::Unavailable => Fate::Fails(Kind::Unavailable),
                Outage::Throttled => Fate::Fails(Kind::RateLimited { retry_after: None }),
                Outage::Hangs => Fate::Hangs,
                Outage::Denied => Fate::Fails(Kind::PermissionDenied),
                Outage::Deletions if matches!(mutates, Some(Act::Delete(_))) => {
                    Fate::Fails(Kind::PermissionDenied)
                }
                Outage::Deletions => Fate::Answered,
            };
        }
        if self.is_calm() {
            return Fate::Answered;
        }
        let faults = self.setup.faults;
        let secs = Duration::from_secs(self.rng.between(2, 20));
        let fates = [
            ("unavailable", Fate::Fails(Kind::Unavailable)),
            ("throttled", Fate::Fails(Kind::RateLimited { retry_after: Some(secs) })),
            ("denied", Fate::Fails(Kind::PermissionDenied)),
            ("lost answer", Fate::Lost),
            ("hang", Fate::Hangs),
            ("conflict", Fate::Fails(Kind::Conflict)),
        ];
        let some = if mutates.is_some() { fates.len() } else { 3 };
        for (name, fate) in &fates[..some] {
            if self.rng.chance(faults) {
                self.figures.count(name);
                self.say(|| format!("the next request: {name}"));
                return *fate;
            }
        }
        if mutates.is_none() && self.rng.chance(faults) {
            self.figures.count("hang of a look");
            return Fate::Hangs;
        }
        Fate::Answered
    }

    /// What one line of a change asks for, by what was seen: nothing where it is there.
    fn put(&self, line: &Line, seen: &Seen) -> Result<Option<Effect>, CloudError> {
        let conflict = || CloudError::new(Kind::Conflict, format!("{} is not as it was", line.to));
        if self.setup.refuses_dead && self.dead.contains(&line.via) {
            let what = format!("{} is no machine", line.via);
            return Err(CloudError::new(Kind::InvalidConfiguration, what));
        }
        let to = |route: &Route| route.to == line.to;
        let is_own = |route: &Route| route.owner() == Some(&line.owner);
        let takes = |route: &Route| match route.owner() {
            Some(_) => !self.setup.is(Mutant::NeverTakenOver),
            None => self.setup.is(Mutant::ForeignIsOurs),
        };
        let own = seen.routes.iter().find(|(_, route)| to(route) && is_own(route));
        let known = own.or_else(|| seen.routes.iter().find(|(_, it)| to(it) && takes(it)));
        let Some((id, known)) = known else {
            let there = self.routes_to(line.to);
            let mut there =
                there.filter(|it| self.setup.is_unique || it.owner() == Some(&line.owner));
            return match there.next() {
                None => Ok(Some(Effect::Make(line.clone()))),
                Some(route) if route.is(line) => Ok(None),
                Some(_) => Err(conflict()),
            };
        };
        match self.routes.get(id) {
            Some(route) if route.is(line) => Ok(None),
            Some(route) if route.etag == known.etag || self.setup.is(Mutant::NoPreconditions) => {
                Ok(Some(Effect::Turn(*id, line.clone())))
            }
            Some(_) | None => Err(conflict()),
        }
    }

    fn take_away(
        &self,
        (to, owner): (ipnet::IpNet, &Uid),
        seen: &Seen,
    ) -> Result<Vec<Effect>, CloudError> {
        let mut effects = Vec::new();
        for (id, known) in &seen.routes {
            let is_theirs = known.owner() == Some(owner);
            if known.to != to || !(is_theirs || self.setup.is(Mutant::DeletedByDestination)) {
                continue;
            }
            match self.routes.get(id) {
                Some(route)
                    if route.etag != known.etag && !self.setup.is(Mutant::NoPreconditions) =>
                {
                    return Err(CloudError::new(Kind::Conflict, format!("{to} is not as it was")));
                }
                Some(_) => effects.push(Effect::Drop(*id)),
                None => {}
            }
        }
        Ok(effects)
    }

    fn effects(&self, act: &Act, seen: &Seen) -> Result<Vec<Effect>, CloudError> {
        match act {
            Act::Put(lines) => {
                let puts: Result<Vec<_>, _> =
                    lines.iter().map(|line| self.put(line, seen)).collect();
                Ok(puts?.into_iter().flatten().collect())
            }
            Act::Delete(those) => {
                let gone = those.iter().map(|(to, owner)| self.take_away((*to, owner), seen));
                let gone: Result<Vec<_>, _> = gone.collect();
                Ok(gone?.into_iter().flatten().collect())
            }
            Act::Whole(lines) => {
                if seen.etag != self.etag && !self.setup.is(Mutant::NoPreconditions) {
                    return Err(CloudError::new(Kind::Conflict, "the table was changed"));
                }
                let is_written = |route: &Route| lines.iter().any(|line| route.to == line.to);
                let keeps = |route: &Route| {
                    !is_written(route)
                        && (route.owner().is_none() && !self.setup.is(Mutant::OthersForgotten)
                            || !is_inside(route.to) && route.owner().is_some())
                };
                let gone = self.routes.iter().filter(|(_, it)| !is_written(it) && !keeps(it));
                let mut effects: Vec<_> = gone.map(|(id, _)| Effect::Drop(*id)).collect();
                for line in lines {
                    if self.setup.refuses_dead
                        && self.dead.contains(&line.via)
                        && !self.routes_to(line.to).any(|it| it.is(line))
                    {
                        let what = format!("{} is no machine", line.via);
                        return Err(CloudError::new(Kind::InvalidConfiguration, what));
                    }
                    let there = self.routes.iter().find(|(_, route)| route.to == line.to);
                    match there {
                        None => effects.push(Effect::Make(line.clone())),
                        Some((_, route)) if route.is(line) => {}
                        Some((id, _)) => effects.push(Effect::Turn(*id, line.clone())),
                    }
                }
                Ok(effects)
            }
        }
    }

    /// Does what is asked, all of it or nothing.
    fn carry_out(&mut self, act: &Act, seen: &Seen, is_late: bool) -> Result<(), CloudError> {
        let effects = self.effects(act, seen)?;
        if effects.is_empty() {
            return Ok(());
        }
        self.figures.count(match act {
            Act::Whole(_) => "table written",
            Act::Put(lines) if lines.len() > 1 => "batch written",
            Act::Put(_) | Act::Delete(_) => "one written",
        });
        for effect in &effects {
            let verdict = a_change_is_wanted(self, effect, seen);
            self.judge(verdict);
        }
        self.before_a_change();
        for effect in effects {
            self.effects += 1;
            let made = |line: Line, etag| Route {
                to: line.to,
                via: line.via,
                mark: Mark::Ours(line.owner),
                etag,
                is_late,
            };
            match effect {
                Effect::Make(line) => {
                    self.ids += 1;
                    let (id, route) = (self.ids, made(line, self.etag));
                    self.note("route created", || route.to_string());
                    self.routes.insert(id, route);
                }
                Effect::Turn(id, line) => {
                    let route = made(line, self.etag);
                    let was = self.routes.insert(id, route.clone()).expect("it is there");
                    let what =
                        if was.mark == route.mark { "route turned" } else { "route taken over" };
                    self.note(what, || format!("{was} -> {route}"));
                }
                Effect::Drop(id) => {
                    let was = self.routes.remove(&id).expect("it is there");
                    self.note("route deleted", || was.to_string());
                }
            }
        }
        self.see_who_is_right();
        Ok(())
    }

    /// What a list shows.
    fn list(&mut self) -> (Routes, u64) {
        if self.setup.lag == 0 || self.is_calm() {
            return (self.routes.clone(), self.etag);
        }
        let now = self.now();
        let as_of: Ms = now.saturating_sub(self.rng.between(0, self.setup.lag));
        match self.past.iter().position(|(at, _)| *at > as_of) {
            None => (self.routes.clone(), self.etag),
            Some(at) => {
                self.figures.count("stale list");
                (self.past[at].1.clone(), 0)
            }
        }
    }
}

/// A change on the wire. Where its sender dies, it may arrive all the same.
struct Wire<'a> {
    sim: &'a Sim,
    sent: Option<(&'a Act, &'a Seen)>,
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        let Some((act, seen)) = self.sent.take() else { return };
        let mut state = self.sim.lock();
        if state.outage.is_none() && state.rng.chance(50) {
            state.note("done unheard", || act.to_string());
            let _ = state.carry_out(act, seen, true);
        }
    }
}

impl Sim {
    fn sent(&self, mutates: Option<&Act>) -> (Fate, Duration) {
        let mut state = self.lock();
        state.requests += 1;
        let latency = state.setup.latency;
        let latency = Duration::from_millis(state.rng.between(1, latency));
        (state.fate(mutates), latency)
    }

    /// All routes, maybe of a while ago, and the table's etag.
    pub(super) async fn look(&self) -> Result<(Routes, u64), CloudError> {
        let (fate, latency) = self.sent(None);
        sleep(latency).await;
        match fate {
            Fate::Answered | Fate::Lost => Ok(self.lock().list()),
            Fate::Fails(kind) => Err(CloudError::new(kind, "the look failed")),
            Fate::Hangs => std::future::pending().await,
        }
    }

    /// Sends a change, made from what was seen.
    pub(super) async fn change(&self, act: &Act, seen: &Seen) -> Result<(), CloudError> {
        let (fate, latency) = self.sent(Some(act));
        let mut wire = Wire { sim: self, sent: Some((act, seen)) };
        sleep(latency / 2).await;
        if fate == Fate::Hangs {
            std::future::pending::<()>().await;
        }
        wire.sent = None;
        if let Fate::Fails(kind) = fate {
            return Err(CloudError::new(kind, "the change failed"));
        }
        let outcome = self.lock().carry_out(act, seen, fate == Fate::Lost);
        sleep(latency / 2).await;
        match fate {
            Fate::Lost => Err(CloudError::new(Kind::Unavailable, "no answer")),
            Fate::Answered | Fate::Fails(_) | Fate::Hangs => outcome,
        }
    }
}
