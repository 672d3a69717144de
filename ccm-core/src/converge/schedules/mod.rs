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
mod laws;
mod mutants;
mod pieces;
mod process;
mod provider;
mod schedule;
mod setup;
mod state;

use self::mutants::Mutant;
use self::schedule::run;
use crate::chance::Campaign;

/// What must have happened in so many schedules: what never happens is not proved.
const COVERED: [&str; 38] = [
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
    "ports changed back",
    "re-created under its name",
    "stale list",
    "throttled",
    "type changed",
    "unavailable",
    "write to the API failed",
];

const CAMPAIGN: Campaign<Mutant> = Campaign {
    module: "converge::schedules",
    schedules: 1000,
    mutant_seeds: 500,
    tail: 80,
    covered: &COVERED,
    run,
};

#[test]
fn all_laws_hold_in_random_schedules() {
    CAMPAIGN.all_laws_hold();
}

/// Replays the schedule of `CCM_SEED`.
#[test]
fn one() {
    CAMPAIGN.replay_one();
}

#[test]
fn a_schedule_can_be_replayed() {
    CAMPAIGN.can_be_replayed();
}

#[test]
fn the_laws_have_teeth() {
    CAMPAIGN.has_teeth(Mutant::ALL);
}
