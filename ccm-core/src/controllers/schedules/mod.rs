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

use self::mutants::Mutant;
use self::world::run;
use crate::chance::Campaign;

/// What must have happened in so many schedules: what never happens is not proved.
const COVERED: [&str; 45] = [
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
    "deleted: young, on two records",
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

const CAMPAIGN: Campaign<Mutant> = Campaign {
    module: "schedules",
    schedules: 3000,
    mutant_seeds: 1000,
    tail: 60,
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
