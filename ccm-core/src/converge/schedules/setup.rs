//! What is the same for the whole of a schedule, taken from its seed.

use std::num::NonZeroU16;
use std::time::Duration;

use super::mutants::Mutant;
use super::state::Ms;
use crate::chance::Rng;
use crate::converge::Timing;

/// A port whose rule the cloud refuses.
pub(super) const NO_RULE: u16 = 13;
/// A port on which nobody may listen.
pub(super) const NO_LISTENER: u16 = 14;
/// A port that the provider itself refuses.
pub(super) const NOT_OFFERED: u16 = 15;

/// How the schedule's cloud, cluster and process are.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each drawn on its own")]
pub(super) struct Setup {
    pub(super) mutant: Option<Mutant>,
    pub(super) services: usize,
    pub(super) nodes: usize,
    pub(super) workers: NonZeroU16,
    /// Acts end then, and so do faults and crashes.
    pub(super) calm: Ms,
    /// The longest pause between two acts.
    pub(super) pause: Ms,
    pub(super) latency: Ms,
    /// How far a list may be behind.
    pub(super) lag: Ms,
    /// How long something takes to come up.
    pub(super) rise: Ms,
    /// Others harm what is ours, which only a drift check finds.
    pub(super) tampers: bool,
    /// Requests of a hundred that go wrong, each way.
    pub(super) faults: u64,
    /// Changes of a hundred at which the process dies.
    pub(super) crashes: u64,
    /// Load balancers that the account may have.
    pub(super) quota: Option<usize>,
    /// Steps of the firewall do not say who wants them.
    pub(super) blames_all: bool,
    /// The answer to a change says how the unit is now.
    pub(super) learns: bool,
    /// Plans report on those who are kept.
    pub(super) talks_of_kept: bool,
    /// In the end everything fails for an hour.
    pub(super) fails: Option<Outage>,
}

/// How everything fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outage {
    Unavailable,
    Throttled,
    Hangs,
    Denied,
}

impl Setup {
    pub(super) fn new(rng: &mut Rng, mutant: Option<Mutant>) -> Self {
        let workers = u16::try_from(rng.between(1, 4)).expect("a few");
        let outages = [Outage::Unavailable, Outage::Throttled, Outage::Hangs, Outage::Denied];
        Self {
            mutant,
            services: 2 + rng.below(4),
            nodes: 1 + rng.below(4),
            workers: NonZeroU16::new(workers).expect("at least one"),
            calm: rng.between(15, 90) * 1000,
            pause: rng.pick(&[1500, 4000, 12_000]),
            latency: rng.pick(&[2, 50, 600]),
            lag: rng.pick(&[0, 0, 800, 4000]),
            rise: rng.pick(&[0, 3000, 20_000]),
            tampers: rng.chance(50),
            faults: rng.pick(&[0, 1, 4]),
            crashes: rng.pick(&[0, 2, 8]),
            quota: rng.chance(20).then(|| 1 + rng.below(3)),
            blames_all: rng.chance(30),
            learns: rng.chance(50),
            talks_of_kept: rng.chance(50),
            fails: rng.chance(20).then(|| rng.pick(&outages)),
        }
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(super) fn timing(&self) -> Timing {
        let timing = Timing::default();
        if self.is(Mutant::NoDrift) {
            Timing { drift: Duration::from_hours(10_000), ..timing }
        } else if self.is(Mutant::HotLoop) {
            let soon = Duration::from_millis(300);
            Timing { retry_first: soon, retry_last: soon, ..timing }
        } else {
            timing
        }
    }
}
