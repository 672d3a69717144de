//! One schedule, from its first act to its last look.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use super::laws::{settled, waiting};
use super::mutants::Mutant;
use super::process::Process;
use super::setup::Setup;
use super::state::{Ms, Sim, s};
use crate::chance::{End, Rng};

/// Longer than the longest pause after a failure, with what it then takes, twice.
const SETTLES: Duration = Duration::from_secs(150);

/// In which nothing is written any more.
const STAYS: Duration = Duration::from_mins(10);

/// For the node that is served when another goes.
const SERVED: Duration = Duration::from_secs(5);

/// Runs the schedule of this seed.
pub(super) fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> End {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut rng = Rng::new(seed);
        let setup = Setup::new(&mut rng, mutant);
        let sim = Sim::new(rng, setup, traced);
        play(&sim).await;
        let mut state = sim.lock();
        let (now, tries) = (state.now(), state.tries.values().sum());
        state.figures.add("simulated seconds", now / 1000);
        state.figures.add("writes", tries);
        End {
            figures: state.figures.clone(),
            broken: state.broken.clone(),
            trace: state.trace.take().unwrap_or_default(),
        }
    })
}

fn is_broken(sim: &Sim) -> bool {
    sim.lock().broken.is_some()
}

async fn play(sim: &Sim) {
    {
        let mut state = sim.lock();
        let setup = format!("{:#?}", state.setup);
        state.say(|| setup);
        for _ in 0..state.rng.between(0, 12) {
            state.act();
        }
    }
    let mut process = Process::begin(sim);
    while !sim.lock().is_calm() && !is_broken(sim) {
        let (pause, crashes) = {
            let mut state = sim.lock();
            let longest = state.setup.pause;
            let crashes = state.setup.crashes;
            (state.rng.between(1, longest), state.rng.chance(crashes))
        };
        sleep(Duration::from_millis(pause)).await;
        if crashes {
            process = restart(sim, process).await;
        }
        sim.lock().act();
    }
    sim.lock().say(|| "calm".to_owned());
    for _ in 0..2 {
        sleep(SETTLES).await;
        sim.lock().finalizers_end();
    }
    sleep(SERVED).await;
    rest(sim, &process).await;
    serve(sim, &process).await;
    process.crash(sim).await;
}

/// The process dies, or ends in good order; the world goes on, and another begins.
async fn restart(sim: &Sim, process: Process) -> Process {
    let dies = sim.lock().rng.chance(70);
    if dies {
        sim.lock().figures.count("crash");
        sim.lock().say(|| "CRASH".to_owned());
        process.crash(sim).await;
    } else {
        sim.lock().figures.count("restart");
        process.end(sim).await;
        sim.lock().say(|| "it has ended".to_owned());
    }
    // Often at once, so that what the old one sent meets the new one.
    let pause: Ms = {
        let mut state = sim.lock();
        let longest = state.rng.pick(&[5, 50, s(10)]);
        state.rng.between(1, longest)
    };
    sleep(Duration::from_millis(pause)).await;
    sim.lock().act();
    sim.lock().say(|| "it starts".to_owned());
    Process::begin(sim)
}

/// Everything is as it should be, and nothing is written any more.
async fn rest(sim: &Sim, process: &Process) {
    if is_broken(sim) {
        return;
    }
    let since = {
        let mut state = sim.lock();
        let verdict = settled(&state, &process.controller);
        state.judge(verdict);
        if !waiting(&state).is_empty() {
            state.figures.count("waits in the end");
        }
        state.now()
    };
    sleep(STAYS).await;
    let mut state = sim.lock();
    if state.last_try > since {
        state.judge(Err("what_is_settled_stays: something is written".to_owned()));
    }
}

/// Nodes go until nobody waits; whoever is served is the one that has waited for longest.
async fn serve(sim: &Sim, process: &Process) {
    while !is_broken(sim) {
        let before = {
            let mut state = sim.lock();
            let before = waiting(&state);
            let goes = state.nodes.values().find(|stored| !stored.node.pod_cidrs.is_empty());
            let Some(goes) = goes.map(|stored| stored.node.name.clone()) else { return };
            if before.is_empty() {
                return;
            }
            state.remove(&goes);
            before
        };
        sleep(SERVED).await;
        let mut state = sim.lock();
        let verdict = settled(&state, &process.controller);
        state.judge(verdict);
        let after = waiting(&state);
        let served = before.len().saturating_sub(after.len());
        if after != before[served..] {
            state.judge(Err(format!("the_oldest_is_served_first: {before:?}, then {after:?}")));
        }
    }
}
