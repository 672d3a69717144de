//! What is settled before a schedule begins.

use std::time::Duration;

use super::cloud::{Fault, Window};
use super::mutants::Mutant;
use super::time::{Ms, s};
use super::wire::{Mishap, Trouble};
use crate::chance::Rng;
use crate::controllers::node_lifecycle::Limit;

/// The schedule begins so long after the first Nodes may have been made.
pub(super) const BEFORE: Ms = s(7200);

/// What is settled before a schedule begins.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) mutant: Option<Mutant>,
    /// Machines there may be.
    pub(super) places: usize,
    /// When faults and churn end.
    pub(super) calm: Ms,
    pub(super) min_age: Ms,
    /// Two records that say "terminated" are enough at any age.
    pub(super) terminated_is_final: bool,
    pub(super) limit: Option<Limit>,
    pub(super) batch: usize,
    /// Direct answers may lie.
    pub(super) direct_lies: bool,
    /// The wall clock of the process's machine jumps.
    pub(super) clock_jumps: bool,
    pub(super) windows: Vec<Window>,
    pub(super) troubles: Vec<Trouble>,
    /// Times in which the watch shows nothing.
    pub(super) stalls: Vec<(Ms, Ms)>,
}

impl Setup {
    pub(super) fn new(rng: &mut Rng, mutant: Option<Mutant>) -> Self {
        let large = rng.chance(1);
        let calm = s(rng.between(120, 330));
        let direct_lies = rng.chance(15);
        let limit = Limit {
            minimum: rng.pick(&[1, 2, 3, 3]),
            percent: 10,
            window: Duration::from_secs(rng.between(120, 600)),
        };
        Self {
            mutant,
            places: rng.pick(&[3, 4, 5, 6, 7]) + if large { 30 } else { 0 },
            calm,
            min_age: s(rng.between(30, 120)),
            terminated_is_final: rng.chance(50),
            limit: (!rng.chance(10)).then_some(limit),
            batch: rng.pick(&[1, 2, 5, 100, 100]),
            direct_lies,
            clock_jumps: rng.chance(15),
            windows: (0..rng.below(5)).map(|_| window(rng, calm, direct_lies)).collect(),
            troubles: (0..rng.below(3)).map(|_| trouble(rng, calm)).collect(),
            stalls: (0..rng.below(2)).map(|_| span(rng, calm, 40)).collect(),
        }
    }

    /// From when on the watch shows what happens now.
    pub(super) fn watch_works_from(&self, now: Ms) -> Ms {
        let stall = self.stalls.iter().find(|(from, to)| (*from..*to).contains(&now));
        stall.map_or(now, |(_, to)| *to)
    }

    /// Since when writes are taken and the watch shows them; `None` where that is not so now.
    pub(super) fn works_since(&self, now: Ms) -> Option<Ms> {
        let troubles = self.troubles.iter().map(|trouble| (trouble.from, trouble.to));
        let mut since = 0;
        for (from, to) in troubles.chain(self.stalls.iter().copied()) {
            if (from..to).contains(&now) {
                return None;
            }
            if to <= now {
                since = since.max(to);
            }
        }
        Some(since)
    }

    /// How long the cloud may take to answer.
    pub(super) fn longest_answer(&self) -> Ms {
        let longest = |fault| match fault {
            Fault::Hang => s(30),
            Fault::Slow => s(24),
            _ => s(1),
        };
        self.windows.iter().map(|window| longest(window.fault)).max().unwrap_or(s(1))
    }
}

/// A span of time in the first part of the schedule.
fn span(rng: &mut Rng, calm: Ms, longest: Ms) -> (Ms, Ms) {
    let from = rng.between(s(1), calm - s(1));
    (from, (from + s(rng.between(3, longest))).min(calm))
}

fn window(rng: &mut Rng, calm: Ms, direct_lies: bool) -> Window {
    let (from, to) = span(rng, calm, 100);
    let fault = match rng.below(9) {
        0 => Fault::Denied,
        1 => Fault::Throttled(None),
        2 => Fault::Throttled(Some(s(rng.between(1, 40)))),
        3 => Fault::Unavailable,
        4 => Fault::Empty,
        5 => Fault::Cut,
        6 => Fault::Stale(s(rng.between(5, 90))),
        7 => Fault::Hang,
        _ => Fault::Slow,
    };
    let (looks, direct) = rng.pick(&[(true, true), (true, false), (false, true)]);
    let direct = direct && (direct_lies || !fault.lies());
    Window { from, to, fault, percent: rng.pick(&[100, 100, 60, 25]), looks, direct }
}

fn trouble(rng: &mut Rng, calm: Ms) -> Trouble {
    let (from, to) = span(rng, calm, 60);
    let mishap = match rng.below(8) {
        0 => Mishap::Refused(rng.pick(&[403, 429, 500, 503])),
        1 | 2 => Mishap::DeletionRefused,
        3 => Mishap::DoneAndFailed(rng.pick(&[500, 504])),
        4 => Mishap::DoneAndLost,
        5 => Mishap::Lost,
        _ => Mishap::Slow,
    };
    Trouble { from, to, mishap, percent: rng.pick(&[100, 60, 30]) }
}
