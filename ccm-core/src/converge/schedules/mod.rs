//! Seeded random schedules of the engine with Services: a cloud in pieces with faults, a cluster with
//! its users, crashes, and laws that are looked at at each step.
//!
//! The engine is the real one, on one thread and in paused time, so that a seed gives the same
//! schedule each time. A schedule that breaks a law prints its seed and the end of its trace. To see
//! all of it:
//!
//! ```text
//! CCM_SEED=123 cargo test -p ccm-core --lib converge::schedules::one -- --nocapture
//! ```
//!
//! `CCM_SCHEDULES=100000` changes how many are run, and `CCM_FIRST_SEED` where they begin.

mod acts;
mod cloud;
#[expect(clippy::duplicate_mod, reason = "the same for the schedules of nodes")]
#[path = "../../controllers/schedules/figures.rs"]
mod figures;
mod laws;
mod mutants;
mod pieces;
mod process;
mod provider;
#[expect(clippy::duplicate_mod, reason = "the same for the schedules of nodes")]
#[path = "../../controllers/schedules/rng.rs"]
mod rng;
mod schedule;
mod setup;
mod state;

use std::time::Instant;

use self::figures::Figures;
use self::mutants::Mutant;
use self::schedule::run;

/// Schedules that are run where nobody says otherwise.
const SCHEDULES: u64 = 2000;

/// Schedules in which a deliberate mistake must be found.
const MUTANT_SEEDS: u64 = 500;

/// Lines of the trace that are printed when a law is broken.
const TAIL: usize = 80;

/// What must have happened in so many schedules: what never happens is not proved.
const COVERED: [&str; 37] = [
    "Service created",
    "Service deleted",
    "a port that cannot be had",
    "changed after a wait",
    "changed for a change",
    "changed for nodes",
    "changed for what is new",
    "changed in a drift check",
    "changed in a retry",
    "conflict",
    "crash",
    "crash after a change",
    "crash before a change",
    "denied",
    "done unheard",
    "everything failed for an hour",
    "hang",
    "hang of a look",
    "let go",
    "lost answer",
    "machine gone",
    "machine unknown",
    "made readable",
    "made unreadable",
    "node leaves",
    "node there",
    "others change a piece of ours",
    "others delete a piece of ours",
    "others make a piece of their own",
    "over quota",
    "ports changed",
    "re-created under its name",
    "stale list",
    "throttled",
    "type changed",
    "unavailable",
    "write to the API failed",
];

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints how a seed fails, and how to see more of it.
fn report(seed: u64, how: &str) {
    let trace = run(seed, None, true).trace;
    let tail = &trace[trace.len().saturating_sub(TAIL)..];
    println!("{}\n", tail.join("\n"));
    println!("seed {seed}: {how}");
    println!(
        "CCM_SEED={seed} cargo test -p ccm-core --lib converge::schedules::one -- --nocapture"
    );
}

#[test]
fn all_laws_hold_in_random_schedules() {
    let count = from_env("CCM_SCHEDULES").unwrap_or(SCHEDULES);
    let first = from_env("CCM_FIRST_SEED").unwrap_or_default();
    let began = Instant::now();
    let mut figures = Figures::default();
    for seed in first..first + count {
        let end = run(seed, None, false);
        if let Some(how) = end.broken {
            report(seed, &how);
            panic!("seed {seed}: {how}");
        }
        figures.merge(&end.figures);
    }
    println!("{count} schedules in {:.1} s:\n{figures}", began.elapsed().as_secs_f64());
    if count >= SCHEDULES / 5 {
        let missed: Vec<_> = COVERED.iter().filter(|what| figures.get(what) == 0).collect();
        assert!(missed.is_empty(), "never happened: {missed:?}");
    }
}

/// Replays the schedule of `CCM_SEED`.
#[test]
fn one() {
    let seed = from_env("CCM_SEED").unwrap_or(1);
    let end = run(seed, None, true);
    println!("{}\n{}", end.trace.join("\n"), end.figures);
    assert_eq!(end.broken, None, "seed {seed}");
}

/// A seed gives the same schedule each time: otherwise none could be replayed.
#[test]
fn a_schedule_can_be_replayed() {
    for seed in 0..20 {
        assert_eq!(run(seed, None, true).trace, run(seed, None, true).trace, "seed {seed}");
    }
}

/// Each deliberate mistake is found, and soon.
#[test]
fn the_laws_have_teeth() {
    for mutant in Mutant::ALL {
        let found =
            (0..MUTANT_SEEDS).find_map(|seed| Some((seed, run(seed, Some(mutant), false).broken?)));
        let (seed, how) = found.unwrap_or_else(|| panic!("{mutant:?} is not found"));
        println!("{mutant:?}: found by seed {seed}: {how}");
    }
}
