//! Seeded random schedules of both node controllers: a model of a cloud and of a cluster, with
//! faults, churn, crashes and clock jumps, and laws that are looked at at each step.
//!
//! Nothing here waits or talks to anybody: time is a number, what happens next is taken from a heap,
//! and the decisions are those of the controllers themselves. What is asynchronous there (turns to
//! write, answers, the watch) is a step here, between which anything else may happen.
//!
//! A schedule that breaks a law prints its seed and the end of its trace. To see all of it:
//!
//! ```text
//! CCM_SEED=123 cargo test -p ccm-core --lib schedules::one -- --nocapture
//! ```
//!
//! `CCM_SCHEDULES=1000000` changes how many are run, and `CCM_FIRST_SEED` where they begin.

mod actors;
mod asking;
mod cloud;
mod cluster;
mod initialising;
mod invariants;
mod lifecycle;
mod mutants;
mod process;
mod setup;
mod time;
mod wire;
mod world;

use std::time::Instant;

use self::mutants::Mutant;
use self::world::run;
use crate::chance::Figures;

/// Schedules that are run where nobody says otherwise.
const SCHEDULES: u64 = 10_000;

/// Schedules in which a deliberate mistake must be found.
const MUTANT_SEEDS: u64 = 1000;

/// Lines of the trace that are printed when a law is broken.
const TAIL: usize = 60;

/// What must have happened in so many schedules: what never happens is not proved.
const COVERED: [&str; 44] = [
    "annotation misread",
    "another machine seen",
    "autoscaler taints",
    "clock jump",
    "cloud fault on a direct question",
    "cloud fault: cut answer",
    "cloud fault: denied",
    "cloud fault: empty answer",
    "cloud fault: hang",
    "cloud fault: late answer",
    "cloud fault: stale answer",
    "cloud fault: throttled",
    "cloud fault: unavailable",
    "contradiction",
    "crash",
    "crash between confirm and delete",
    "crash between look and confirm",
    "deleted: announced",
    "deleted: budget",
    "deleted: released",
    "half the fleet goes",
    "kubelet flakes",
    "live node deleted within the budget, on a direct lie",
    "machine replaced",
    "machine stopped",
    "node deleted by somebody",
    "node initialised",
    "relist",
    "replaced machine believed",
    "replaced machine doubted",
    "told: contradictory answers",
    "told: held",
    "told: waits for initialisation",
    "write answered: 404",
    "write answered: 409",
    "write answered: 422",
    "write fault: deletion refused",
    "write fault: done, and a failure answered",
    "write fault: done, and the answer lost",
    "write fault: lost",
    "write fault: refused",
    "write fault: slow",
    "write not right any more",
    "write of a dead process",
];

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints how a seed fails, and how to see more of it.
fn report(seed: u64, how: &str, mutant: Option<Mutant>) {
    let trace = run(seed, mutant, true).trace;
    let tail = &trace[trace.len().saturating_sub(TAIL)..];
    println!("{}\n", tail.join("\n"));
    println!("seed {seed}: {how}");
    println!("CCM_SEED={seed} cargo test -p ccm-core --lib schedules::one -- --nocapture");
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
            report(seed, &how, None);
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
