//! The cloud: requests that take their time, go wrong, or are believed to have, and what they do.

use std::time::Duration;

use tokio::time::sleep;

use super::laws::{Verdict, an_effect_is_wanted};
use super::mutants::Mutant;
use super::pieces::{Act, Fact, Part, Piece, Pieces, Verb};
use super::setup::{NO_LISTENER, NO_RULE, Outage};
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

impl State {
    fn fate(&mut self, mutates: bool) -> Fate {
        if let Some(outage) = self.outage {
            return match outage {
                Outage::Unavailable => Fate::Fails(Kind::Unavailable),
                Outage::Throttled => Fate::Fails(Kind::RateLimited { retry_after: None }),
                Outage::Hangs => Fate::Hangs,
                Outage::Denied => Fate::Fails(Kind::PermissionDenied),
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
        let some = if mutates { fates.len() } else { 3 };
        for (name, fate) in &fates[..some] {
            if self.rng.chance(faults) {
                self.figures.count(name);
                self.say(|| format!("the next request: {name}"));
                return *fate;
            }
        }
        if !mutates && self.rng.chance(faults) {
            self.figures.count("hang of a look");
            return Fate::Hangs;
        }
        Fate::Answered
    }

    /// Does what is asked, if it can be had.
    fn carry_out(&mut self, act: &Act) -> Result<(), CloudError> {
        let Act(verb, piece) = act;
        let is_there = self.pieces.contains_key(piece);
        let refused = |kind, what: &str| Err(CloudError::new(kind, what));
        match (verb, piece) {
            (Verb::Create, Piece::Rule(_, NO_RULE)) => {
                return refused(Kind::InvalidConfiguration, "no such rule");
            }
            (Verb::Create, Piece::Listener(_, NO_LISTENER)) => {
                return refused(Kind::PermissionDenied, "not on this port");
            }
            (Verb::Create, Piece::Balancer(_)) if !is_there => {
                let ours = self.pieces.keys().filter(|it| matches!(it, Piece::Balancer(_)));
                let ours = ours.filter(|it| !self.foreign.contains(it)).count();
                if self.setup.quota.is_some_and(|quota| ours >= quota) {
                    self.figures.count("over quota");
                    return refused(Kind::QuotaExceeded, "no more load balancers");
                }
            }
            (Verb::Repair, _) if !is_there => return refused(Kind::Conflict, "it is gone"),
            _ => {}
        }
        let piece = match piece {
            Piece::Address(of, _) if is_there && self.setup.is(Mutant::MadeTwice) => {
                Piece::Address(of.clone(), u8::from(*verb == Verb::Create))
            }
            piece => piece.clone(),
        };
        let is_there = self.pieces.contains_key(&piece);
        if is_there != (*verb == Verb::Create) {
            let act = Act(*verb, piece.clone());
            let verdict = if self.setup.is(Mutant::MadeTwice) {
                Ok(())
            } else {
                an_effect_is_wanted(self, &act)
            };
            self.judge(verdict);
            self.remember();
            self.effects += 1;
            self.say(|| format!("    {act}"));
            match verb {
                Verb::Create => {
                    let rise = self.setup.rise;
                    let is_slow = matches!(piece, Piece::Address(..) | Piece::Balancer(_));
                    let up = self.now() + if is_slow { self.rng.between(0, rise) } else { 0 };
                    self.pieces.insert(piece, Fact { up, is_wrong: false });
                }
                Verb::Repair => self.pieces.get_mut(&piece).expect("there").is_wrong = false,
                Verb::Delete => drop(self.pieces.remove(&piece)),
            }
        }
        Ok(())
    }

    /// Before a change: lists may show what was for a while.
    pub(super) fn remember(&mut self) {
        if self.setup.lag == 0 {
            return;
        }
        let now = self.now();
        self.past.retain(|(at, _)| at + 10_000 > now);
        self.past.push((now, self.pieces.clone()));
    }

    fn list(&mut self) -> &Pieces {
        if self.setup.lag == 0 {
            return &self.pieces;
        }
        let now = self.now();
        let as_of: Ms = now.saturating_sub(self.rng.between(0, self.setup.lag));
        let before = self.past.iter().position(|(at, _)| *at > as_of);
        if before.is_some() {
            self.figures.count("stale list");
        }
        before.map_or(&self.pieces, |at| &self.past[at].1)
    }
}

/// A change on the wire. Where its sender dies, it may arrive all the same.
struct Wire<'a> {
    sim: &'a Sim,
    act: Option<&'a Act>,
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        let Some(act) = self.act.take() else { return };
        let mut state = self.sim.lock();
        if state.outage.is_none() && state.rng.chance(50) {
            state.figures.count("done unheard");
            state.say(|| "  nobody waits for it any more, and it is done:".to_owned());
            let _ = state.carry_out(act);
        }
    }
}

impl Sim {
    fn sent(&self, mutates: bool) -> (Fate, Duration) {
        let mut state = self.lock();
        state.requests += 1;
        let latency = state.setup.latency;
        let latency = Duration::from_millis(state.rng.between(1, latency));
        (state.fate(mutates), latency)
    }

    /// Lists what is there of a part; the list may be of a while ago.
    pub(super) async fn list(&self, part: &Part) -> Result<Pieces, CloudError> {
        let of_part = |pieces: &Pieces| {
            let here = pieces.iter().filter(|(piece, _)| piece.part() == *part);
            here.map(|(piece, fact)| (piece.clone(), *fact)).collect()
        };
        self.look(|state| of_part(state.list())).await
    }

    /// Asks for what is there of one owner in a part (or of all, of the group), by its names: the
    /// answer is of now.
    pub(super) async fn ask(&self, part: &Part, owner: Option<&Uid>) -> Result<Pieces, CloudError> {
        self.look(|state| {
            let here = state.pieces.iter().filter(|(piece, _)| {
                piece.part() == *part && owner.is_none_or(|owner| piece.is_of(owner))
            });
            here.map(|(piece, fact)| (piece.clone(), *fact)).collect()
        })
        .await
    }

    async fn look(&self, see: impl FnOnce(&mut State) -> Pieces) -> Result<Pieces, CloudError> {
        let (fate, latency) = self.sent(false);
        sleep(latency).await;
        match fate {
            Fate::Answered | Fate::Lost => Ok(see(&mut self.lock())),
            Fate::Fails(kind) => Err(CloudError::new(kind, "the look failed")),
            Fate::Hangs => std::future::pending().await,
        }
    }

    /// Sends a change.
    pub(super) async fn change(&self, act: &Act) -> Result<(), CloudError> {
        let (fate, latency) = self.sent(true);
        let mut wire = Wire { sim: self, act: Some(act) };
        sleep(latency / 2).await;
        if fate == Fate::Hangs {
            std::future::pending::<()>().await;
        }
        wire.act = None;
        if let Fate::Fails(kind) = fate {
            return Err(CloudError::new(kind, "the change failed"));
        }
        let outcome = self.lock().carry_out(act);
        sleep(latency / 2).await;
        match fate {
            Fate::Lost => Err(CloudError::new(Kind::Unavailable, "no answer")),
            Fate::Answered | Fate::Fails(_) | Fate::Hangs => outcome,
        }
    }

    /// Judges what the engine hands over.
    pub(super) fn judge(&self, law: impl FnOnce(&State) -> Verdict) {
        let mut state = self.lock();
        let verdict = law(&state);
        state.judge(verdict);
    }
}
