//! Seeded random schedules of the node IPAM controller: nodes that come and go, an API server that
//! loses answers, a watch that is late, crashes, others who give ranges as well; and laws that are
//! looked at at each write and once everything has settled.
//!
//! The controller is the real one, on one thread and in paused time, so that a seed gives the same
//! schedule each time. A schedule that breaks a law prints its seed and the end of its trace. To see
//! all of it:
//!
//! ```text
//! CCM_SEED=123 cargo test -p ccm-core --lib node_ipam::schedules::one -- --nocapture
//! ```
//!
//! `CCM_SCHEDULES=100000` changes how many are run, and `CCM_FIRST_SEED` where they begin.

mod acts;
mod api;
mod laws;
mod mutants;
mod process;
mod schedule;
mod setup;
mod state;

use self::mutants::Mutant;
use self::schedule::run;
use crate::chance::Campaign;

/// What must have happened in so many schedules: what never happens is not proved.
const COVERED: [&str; 25] = [
    "a node about to go",
    "a node goes",
    "a range given back is given again",
    "carried out after its process died",
    "crash",
    "node made anew under its name",
    "nodes come at once",
    "others give a node ranges",
    "others make a node with ranges",
    "others say that the network is there",
    "ranges given",
    "ranges that overlap",
    "restart",
    "served after a wait",
    "stall of the watch",
    "told that there is none",
    "waits in the end",
    "write answered: 404",
    "write answered: 422",
    "write fault: done, and a failure answered",
    "write fault: done, and the answer lost",
    "write fault: late",
    "write fault: lost",
    "write fault: refused",
    "write of the same ranges again",
];

const CAMPAIGN: Campaign<Mutant> = Campaign {
    module: "node_ipam::schedules",
    schedules: 200,
    mutant_seeds: 1000,
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
