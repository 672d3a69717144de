//! Many seeded schedules, one after the other: run, replayed, and given deliberate mistakes to find.

use std::fmt::Debug;
use std::time::Instant;

use super::Figures;

/// How a schedule ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) figures: Figures,
    pub(crate) broken: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// What is run.
#[derive(Debug)]
pub(crate) struct Campaign<M: 'static> {
    /// Where the test `one` is that replays a seed.
    pub(crate) module: &'static str,
    /// Schedules that are run where nobody says otherwise.
    pub(crate) schedules: u64,
    /// Schedules in which a deliberate mistake must be found.
    pub(crate) mutant_seeds: u64,
    /// Lines of the trace that are printed when a law is broken.
    pub(crate) tail: usize,
    /// What must have happened in so many schedules: what never happens is not proved.
    pub(crate) covered: &'static [&'static str],
    /// Runs the schedule of a seed, with a deliberate mistake or none, and with a trace or none.
    pub(crate) run: fn(u64, Option<M>, bool) -> End,
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl<M: Copy + Debug> Campaign<M> {
    /// All laws hold in all schedules, and all that has to happen does.
    pub(crate) fn all_laws_hold(&self) {
        let count = from_env("CCM_SCHEDULES").unwrap_or(self.schedules);
        let first = from_env("CCM_FIRST_SEED").unwrap_or_default();
        let began = Instant::now();
        let mut figures = Figures::default();
        for seed in first..first + count {
            let end = (self.run)(seed, None, false);
            if let Some(how) = end.broken {
                self.report(seed, &how);
                panic!("seed {seed}: {how}");
            }
            figures.merge(&end.figures);
        }
        println!("{count} schedules in {:.1} s:\n{figures}", began.elapsed().as_secs_f64());
        if count >= self.schedules / 5 {
            let missed: Vec<_> =
                self.covered.iter().filter(|what| figures.get(what) == 0).collect();
            assert!(missed.is_empty(), "never happened: {missed:?}");
        }
    }

    /// Prints how a seed fails, and how to see more of it.
    fn report(&self, seed: u64, how: &str) {
        let trace = (self.run)(seed, None, true).trace;
        let tail = &trace[trace.len().saturating_sub(self.tail)..];
        println!("{}\n", tail.join("\n"));
        println!("seed {seed}: {how}");
        let module = self.module;
        println!("CCM_SEED={seed} cargo test -p ccm-core --lib {module}::one -- --nocapture");
    }

    /// Replays the schedule of `CCM_SEED`.
    pub(crate) fn replay_one(&self) {
        let seed = from_env("CCM_SEED").unwrap_or(1);
        let end = (self.run)(seed, None, true);
        println!("{}\n{}", end.trace.join("\n"), end.figures);
        assert_eq!(end.broken, None, "seed {seed}");
    }

    /// A seed gives the same schedule each time: otherwise none could be replayed.
    pub(crate) fn can_be_replayed(&self) {
        let trace = |seed| (self.run)(seed, None, true).trace;
        for seed in 0..20 {
            assert_eq!(trace(seed), trace(seed), "seed {seed}");
        }
    }

    /// Each deliberate mistake is found, and soon.
    pub(crate) fn has_teeth(&self, mutants: impl IntoIterator<Item = M>) {
        for mutant in mutants {
            let find = |seed| Some((seed, (self.run)(seed, Some(mutant), false).broken?));
            let found = (0..self.mutant_seeds).find_map(find);
            let (seed, how) = found.unwrap_or_else(|| panic!("{mutant:?} is not found"));
            println!("{mutant:?}: found by seed {seed}: {how}");
        }
    }
}
