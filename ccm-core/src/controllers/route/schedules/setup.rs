//! What is the same for the whole of a schedule, taken from its seed.

use std::num::NonZeroU16;
use std::time::Duration;

use ipnet::IpNet;

use super::mutants::Mutant;
use super::state::Ms;
use crate::chance::Rng;

/// Longer than from one retry to the next.
pub(super) const DRIFT: Duration = Duration::from_hours(1);

/// How routes are looked at and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Each node's by itself.
    Own,
    /// All in one look, and a few in one change.
    Batches(usize),
    /// All in one look, and all in one change.
    Whole,
}

/// How the schedule's cloud, cluster and process are.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) mutant: Option<Mutant>,
    pub(super) style: Style,
    pub(super) names: usize,
    pub(super) workers: NonZeroU16,
    pub(super) spacing: Duration,
    /// For how long a shared unit collects changes.
    pub(super) settle: Duration,
    /// Acts end then, and so do faults and crashes.
    pub(super) calm: Ms,
    /// The longest pause between two acts.
    pub(super) pause: Ms,
    pub(super) latency: Ms,
    /// How far a list may be behind.
    pub(super) lag: Ms,
    /// How far the watch may be behind.
    pub(super) watch: Ms,
    /// Requests to the cloud of a hundred that go wrong, each way.
    pub(super) faults: u64,
    /// Writes to the API of a hundred that go wrong, each way.
    pub(super) api_faults: u64,
    /// Changes and writes of a hundred at which the process dies.
    pub(super) crashes: u64,
    /// The cloud takes one route to a destination only.
    pub(super) is_unique: bool,
    /// The cloud takes no routes to machines that are gone.
    pub(super) refuses_dead: bool,
    /// The answer to a change says how the unit is now.
    pub(super) learns: bool,
    /// Another program writes the condition whenever it does not say what that program wants.
    pub(super) is_fought: bool,
    /// Nodes have ranges of both families.
    pub(super) is_dual: bool,
    /// In the end this fails for an hour.
    pub(super) fails: Option<Outage>,
}

/// What fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    Unavailable,
    Throttled,
    Hangs,
    Denied,
    /// Nothing can be deleted.
    Deletions,
}

impl Setup {
    pub(super) fn new(rng: &mut Rng, mutant: Option<Mutant>) -> Self {
        let workers = u16::try_from(rng.between(1, 4)).expect("a few");
        let outages = [
            Outage::Unavailable,
            Outage::Throttled,
            Outage::Hangs,
            Outage::Denied,
            Outage::Deletions,
            Outage::Deletions,
        ];
        let style =
            rng.pick(&[Style::Own, Style::Own, Style::Batches(2), Style::Batches(5), Style::Whole]);
        let lag = rng.pick(&[0, 0, 800, 4000]);
        Self {
            mutant,
            style,
            names: 2 + rng.below(5),
            workers: NonZeroU16::new(workers).expect("at least one"),
            spacing: Duration::from_millis(rng.pick(&[1000, 10_000])),
            settle: Duration::from_millis(rng.pick(&[0, 200])),
            calm: rng.between(15, 90) * 1000,
            pause: rng.pick(&[1500, 4000, 12_000]),
            latency: rng.pick(&[2, 50, 600]),
            lag,
            watch: rng.pick(&[1, 50, 3000]),
            faults: rng.pick(&[0, 1, 4]),
            api_faults: rng.pick(&[0, 2, 8]),
            crashes: rng.pick(&[0, 1, 4]),
            is_unique: style != Style::Own || lag > 0 || rng.chance(50),
            refuses_dead: rng.chance(50),
            learns: rng.chance(50),
            is_fought: rng.chance(8),
            is_dual: rng.chance(40),
            fails: rng.chance(25).then(|| rng.pick(&outages)),
        }
    }

    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub(super) fn drift(&self) -> Duration {
        if self.is(Mutant::NoDrift) { DRIFT * 10_000 } else { DRIFT }
    }
}

/// `--cluster-cidr`.
pub(super) fn cluster() -> Vec<IpNet> {
    ["10.0.0.0/16", "fd00::/48"].map(|text| text.parse().expect("a range")).to_vec()
}

/// Whether routes to it are ours to make.
pub(super) fn is_inside(to: IpNet) -> bool {
    cluster().iter().any(|all| all.contains(&to))
}
