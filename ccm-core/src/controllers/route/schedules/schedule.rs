//! One schedule, from its first act to its last look.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use super::api::THEIRS;
use super::mutants::Mutant;
use super::process::Process;
use super::rest::{an_hour_of_failures, rest};
use super::setup::Setup;
use super::state::{Ms, Sim};
use crate::chance::End;
use crate::chance::Rng;
use crate::cluster::node::{Condition, ConditionStatus, Node};

/// Runs the schedule of this seed.
pub(super) fn run(seed: u64, mutant: Option<Mutant>, traced: bool) -> End {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut rng = Rng::new(seed);
        let setup = Setup::new(&mut rng, mutant);
        let sim = Sim::new(rng, setup, traced);
        play(&sim).await;
        let mut state = sim.lock();
        let (now, requests, effects) = (state.now(), state.requests, state.effects);
        let writes = state.writes;
        state.figures.add("simulated seconds", now / 1000);
        state.figures.add("requests", requests);
        state.figures.add("changes that took effect", effects);
        state.figures.add("writes to the API", writes);
        End {
            figures: state.figures.clone(),
            broken: state.broken.clone(),
            trace: state.trace.take().unwrap_or_default(),
        }
    })
}

pub(super) fn is_broken(sim: &Sim) -> bool {
    sim.lock().broken.is_some()
}

async fn play(sim: &Sim) {
    let is_fought = {
        let mut state = sim.lock();
        state.say(String::new);
        let setup = format!("{:#?}", state.setup);
        state.say(|| setup);
        state.populate(sim);
        state.setup.is_fought
    };
    let fight = is_fought.then(|| tokio::spawn(fight(sim.clone())));
    let mut process = Process::begin(sim);
    while !sim.lock().is_calm() && !is_broken(sim) {
        let pause = {
            let mut state = sim.lock();
            let longest = state.setup.pause;
            state.rng.between(1, longest)
        };
        let is_dead = tokio::select! {
            biased;
            () = process.dies.notified() => true,
            () = sleep(Duration::from_millis(pause)) => false,
        };
        let dies = is_dead || {
            let mut state = sim.lock();
            let crashes = state.setup.crashes;
            state.rng.chance(crashes)
        };
        if dies {
            process = restart(sim, process).await;
            continue;
        }
        sim.lock().act(sim);
    }
    let is_dead = tokio::select! {
        biased;
        () = process.dies.notified() => true,
        () = sleep(Duration::ZERO) => sim.lock().rng.chance(30),
    };
    if is_dead {
        process = restart(sim, process).await;
    }
    rest(sim, &process).await;
    let outage = sim.lock().setup.fails;
    if let Some(outage) = outage.filter(|_| !is_broken(sim)) {
        an_hour_of_failures(sim, &process, outage).await;
        rest(sim, &process).await;
    }
    process.end().await;
    if let Some(fight) = fight {
        fight.abort();
    }
}

/// The process dies, the world goes on, and another begins.
async fn restart(sim: &Sim, process: Process) -> Process {
    {
        let mut state = sim.lock();
        state.figures.count("crash");
        state.say(|| "CRASH".to_owned());
    }
    process.end().await;
    let pause: Ms = sim.lock().rng.between(1, 15_000);
    sleep(Duration::from_millis(pause)).await;
    if !sim.lock().is_calm() {
        sim.lock().act(sim);
    }
    sim.lock().say(|| "it starts".to_owned());
    Process::begin(sim)
}

/// Another program has the condition say what it wants, always and at once, until some time after the
/// last act.
async fn fight(sim: Sim) {
    let end = sim.lock().setup.calm + 300_000;
    while sim.lock().now() < end {
        sleep(Duration::from_millis(700)).await;
        let mut state = sim.lock();
        let is_ours = |node: &&Node| {
            node.network_unavailable.as_ref().is_some_and(|it| &*it.reason != THEIRS)
        };
        let lost: Vec<_> = state.nodes.values().filter(is_ours).cloned().collect();
        for node in lost {
            state.figures.count("while another fights for the condition");
            let theirs = Condition { status: ConditionStatus::False, reason: THEIRS.into() };
            let network_unavailable = Some(theirs);
            state.store(&sim, Node { network_unavailable, unreachable_because: "".into(), ..node });
        }
    }
}
