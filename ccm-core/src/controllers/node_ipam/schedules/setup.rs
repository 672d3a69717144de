//! What is settled before a schedule begins.

use ipnet::IpNet;

use super::mutants::Mutant;
use super::state::{Ms, s};
use crate::chance::Rng;

/// What happens to a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mishap {
    /// Nothing is done, and this is answered.
    Refused(u16),
    /// It is done, and this is answered.
    DoneAndFailed(u16),
    /// It is done, and nothing is answered.
    DoneAndLost,
    /// Nothing is done or answered.
    Lost,
    /// Nothing is answered in time, and it is done some time.
    Late,
}

/// A time in which writes have mishaps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    from: Ms,
    to: Ms,
    pub(super) mishap: Mishap,
    pub(super) percent: u64,
}

/// What is settled before a schedule begins.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) mutant: Option<Mutant>,
    /// The cluster's ranges, and the prefix lengths of nodes' ranges.
    pub(super) pools: Vec<(IpNet, u8)>,
    pub(super) kept_free: Vec<IpNet>,
    /// Whether nothing is given while others give: with others about, it hides what else goes wrong.
    pub(super) is_wary: bool,
    /// Nodes there may be.
    pub(super) places: usize,
    /// When faults and churn end.
    pub(super) calm: Ms,
    /// Between two things that happen, at most.
    pub(super) pause: Ms,
    /// How many in a hundred of them are crashes.
    pub(super) crashes: u64,
    pub(super) troubles: Vec<Trouble>,
    /// Times in which the watch shows nothing.
    pub(super) stalls: Vec<(Ms, Ms)>,
}

/// Small, so that they are exhausted; of a few, one family has far more than the other.
const POOLS: [&[(&str, u8)]; 6] = [
    &[("10.0.0.0/21", 24)],
    &[("10.0.0.0/22", 24), ("fd00::/61", 64)],
    &[("10.0.0.0/21", 24), ("fd00::/62", 64)],
    &[("fd00::/16", 64), ("10.0.0.0/21", 24)],
    &[("10.0.0.0/20", 24), ("fd00::/48", 64)],
    &[("fd00::/62", 64)],
];

impl Setup {
    pub(super) fn new(rng: &mut Rng, mutant: Option<Mutant>) -> Self {
        let net = |text: &str| text.parse().expect("a range");
        let pools = POOLS[rng.below(POOLS.len())];
        let kept_free: &[&str] = rng.pick(&[
            &[][..],
            &[],
            &["10.0.1.0/24"],
            &["10.0.2.64/26", "fd00:0:0:1::/112"],
            &["192.168.0.0/16"],
        ]);
        let calm = s(rng.between(60, 240));
        Self {
            mutant,
            pools: pools.iter().map(|(range, size)| (net(range), *size)).collect(),
            kept_free: kept_free.iter().map(|range| net(range)).collect(),
            places: rng.pick(&[4, 6, 8, 12, 16]),
            calm,
            pause: rng.pick(&[s(1), s(3), s(8)]),
            crashes: rng.pick(&[0, 2, 6, 12]),
            troubles: (0..rng.below(4)).map(|_| trouble(rng, calm)).collect(),
            stalls: (0..rng.below(3)).map(|_| span(rng, calm, 30)).collect(),
            is_wary: rng.chance(30),
        }
    }

    /// What happens to writes now, and to how many in a hundred.
    pub(super) fn trouble(&self, now: Ms) -> Option<Trouble> {
        self.troubles.iter().find(|trouble| (trouble.from..trouble.to).contains(&now)).copied()
    }

    /// From when on the watch shows what happens now.
    pub(super) fn watch_works_from(&self, now: Ms) -> Ms {
        let stall = self.stalls.iter().find(|(from, to)| (*from..*to).contains(&now));
        stall.map_or(now, |(_, to)| *to)
    }
}

/// A span of time in the first part of the schedule.
fn span(rng: &mut Rng, calm: Ms, longest: u64) -> (Ms, Ms) {
    let from = rng.between(s(1), calm - s(1));
    (from, (from + s(rng.between(2, longest))).min(calm))
}

fn trouble(rng: &mut Rng, calm: Ms) -> Trouble {
    let (from, to) = span(rng, calm, 60);
    let mishap = match rng.below(6) {
        0 => Mishap::Refused(rng.pick(&[403, 429, 409])),
        1 => Mishap::DoneAndFailed(rng.pick(&[500, 504])),
        2 => Mishap::DoneAndLost,
        3 => Mishap::Lost,
        _ => Mishap::Late,
    };
    Trouble { from, to, mishap, percent: rng.pick(&[100, 60, 30]) }
}
