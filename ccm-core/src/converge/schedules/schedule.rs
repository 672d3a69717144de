//! One schedule, from its first act to its last look.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use super::laws::{everybody_got_on, everything_is_as_wanted, nothing_waits_for_the_drift_check};
use super::mutants::Mutant;
use super::pieces::Part;
use super::process::{Heard, Process};
use super::setup::Setup;
use super::state::{Ms, Sim};
use crate::chance::End;
use crate::chance::Rng;
use crate::cloud::Uid;

/// Longer than from one drift check to the next.
const DRIFT: Duration = Duration::from_mins(67);

/// Longer than from one retry to the next, with what it then takes.
const RETRIED: Duration = Duration::from_mins(12);

/// Looks at one unit in an hour in which everything fails. With the drift check or a change to begin
/// with, at 0, 5, 15, 35, 75, 155 and 315 seconds, and then every five minutes.
const LOOKS_OF_AN_HOUR: u64 = 7 + 11;

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
        state.figures.add("simulated seconds", now / 1000);
        state.figures.add("requests", requests);
        state.figures.add("changes that took effect", effects);
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
        state.say(String::new);
        let setup = format!("{:#?}", state.setup);
        state.say(|| setup);
        state.populate();
    }
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
        let heard = sim.lock().act();
        if let Some(heard) = heard {
            process.tell(heard);
        }
    }
    let is_dead = tokio::select! {
        biased;
        () = process.dies.notified() => true,
        () = sleep(Duration::ZERO) => sim.lock().rng.chance(30),
    };
    if is_dead {
        process = restart(sim, process).await;
    }
    a_last_slip(sim, &process).await;
    rest(sim, &process).await;
    let outage = sim.lock().setup.fails;
    if let Some(outage) = outage.filter(|_| !is_broken(sim)) {
        an_hour_of_failures(sim, &process, outage).await;
        rest(sim, &process).await;
    }
    process.end().await;
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
        let _ = sim.lock().act();
    }
    sim.lock().say(|| "it starts".to_owned());
    Process::begin(sim)
}

/// Somebody changes their mind twice, and nothing that happens later hides what came of it.
async fn a_last_slip(sim: &Sim, process: &Process) {
    for is_back in [false, true] {
        let (pause, heard) = {
            let mut state = sim.lock();
            let goes_on = is_back || state.rng.chance(70);
            let heard = goes_on.then(|| state.slip(is_back)).flatten();
            (state.rng.between(1, 2000), heard)
        };
        let Some(heard) = heard else { return };
        process.tell(heard);
        if !is_back {
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Nothing happens any more: everything comes to be as it is wanted, and stays so with nothing done.
async fn rest(sim: &Sim, process: &Process) {
    sleep(RETRIED).await;
    let progress = process.progress();
    sim.judge(|state| everybody_got_on(state, &progress));
    sim.judge(|state| nothing_waits_for_the_drift_check(state, &progress));
    sleep(DRIFT).await;
    let progress = process.progress();
    sim.judge(|state| everything_is_as_wanted(state, &progress));
    if is_broken(sim) {
        return;
    }
    sim.lock().say(|| "at rest".to_owned());
    let (effects, looks) = {
        let state = sim.lock();
        (state.effects, state.looks.clone())
    };
    sleep(DRIFT).await;
    sim.judge(|state| everything_is_as_wanted(state, &progress));
    sim.judge(|state| {
        let done = state.effects - effects;
        if done == 0 { Ok(()) } else { Err(format!("what_rests_is_left_alone: {done} changes")) }
    });
    // Rarely: once in a drift check, and for each who is in trouble as often as the longest back-off has it.
    sim.judge(|state| {
        let troubled = progress.values().filter(|it| it.trouble.is_some()).count();
        let most = 3 + LOOKS_OF_AN_HOUR * u64::try_from(troubled).expect("a few");
        let done = |(part, now): (&Part, &u64)| {
            let before = looks.get(part).copied().unwrap_or_default();
            (now - before > most).then(|| format!("{part:?} {} times", now - before))
        };
        match state.looks.iter().find_map(done) {
            None => Ok(()),
            Some(how) => Err(format!("what_rests_is_looked_at_rarely: {how}, {most} at most")),
        }
    });
    // Everything was looked at that is somebody's turn.
    sim.judge(|state| {
        let is_done = |uid: &Uid| progress.get(uid).is_some_and(|it| it.is_done);
        let parts = state.worlds.iter().filter(|(_, forms)| forms.keys().any(is_done));
        let seen = |part| (looks.get(part), state.looks.get(part));
        let mut blind = parts.filter(|(part, _)| seen(part).0 == seen(part).1);
        match blind.next() {
            None => Ok(()),
            Some((part, _)) => Err(format!("everything_is_checked: {part:?} is not")),
        }
    });
}

/// Everything fails for an hour, and is not asked all the time.
async fn an_hour_of_failures(sim: &Sim, process: &Process, outage: super::setup::Outage) {
    let (before, heard) = {
        let mut state = sim.lock();
        state.figures.count("everything failed for an hour");
        state.say(|| format!("everything fails: {outage:?}"));
        state.outage = Some(outage);
        let names: Vec<_> = state.services.keys().cloned().collect();
        // So that there is something to do.
        for service in state.services.values_mut() {
            service.ports.insert(8080);
        }
        (state.requests, names)
    };
    for name in heard {
        process.tell(Heard::Service(name));
    }
    sleep(Duration::from_hours(1)).await;
    sim.judge(|state| {
        let most = LOOKS_OF_AN_HOUR * u64::try_from(state.worlds.len()).expect("a few");
        let asked = state.requests - before;
        if asked <= most {
            Ok(())
        } else {
            Err(format!("no_hot_loop: {asked} requests, {most} at most"))
        }
    });
    sim.lock().outage = None;
}
