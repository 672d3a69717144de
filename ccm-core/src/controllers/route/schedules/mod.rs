//! Seeded random schedules of the route controller: a cluster with its machines, a cloud with routes of
//! ours and of others, faults, crashes, and laws that are looked at at each step.
//!
//! Controller and engine are the real ones, on one thread and in paused time, so that a seed gives the
//! same schedule each time. A schedule that breaks a law prints its seed and the end of its trace. To
//! see all of it:
//!
//! ```text
//! CCM_SEED=123 cargo test -p ccm-core --lib route::schedules::one -- --nocapture
//! ```
//!
//! `CCM_SCHEDULES=100000` changes how many are run, and `CCM_FIRST_SEED` where they begin.

mod acts;
mod api;
mod cloud;
mod cluster;
mod laws;
mod mutants;
mod others;
mod process;
mod provider;
mod rest;
mod routes;
mod schedule;
mod setup;
mod state;

use self::mutants::Mutant;
use self::schedule::run;
use crate::chance::Campaign;

/// What must have happened in so many schedules: what never happens is not proved.
const COVERED: [&str; 51] = [
    "a foreign node",
    "a machine that is gone is waited for",
    "a range of an older node",
    "a range outside the cluster's",
    "a range that is none",
    "addresses changed",
    "another writes the condition",
    "batch written",
    "conflict",
    "crash",
    "crash after a change",
    "crash after a write to the API",
    "crash before a change",
    "crash before a write to the API",
    "denied",
    "done unheard",
    "event",
    "everything failed for an hour",
    "got its machine late",
    "got its range late",
    "hang",
    "hang of a look",
    "heartbeat",
    "lost answer",
    "machine terminated",
    "node joins",
    "node leaves",
    "nothing could be deleted for an hour",
    "others change a route of ours",
    "others delete a route of ours",
    "others make a route",
    "others take a route of theirs away",
    "re-created under its name",
    "refused for a route of others",
    "relist",
    "route created",
    "route deleted",
    "route taken over",
    "route turned",
    "stale list",
    "stray taken away",
    "table written",
    "the API refuses a write",
    "the API was slow",
    "the API's answer is lost",
    "throttled",
    "told: not reachable",
    "told: reachable",
    "unavailable",
    "while another fights for the condition",
    "write done unheard",
];

const CAMPAIGN: Campaign<Mutant> = Campaign {
    module: "route::schedules",
    schedules: 500,
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
