use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::wants::{Wanted, absent, id, keep, present};
use super::toy::{Cloud, Mood, Toy};
use super::*;
use crate::cloud::LoadBalancerSpec;
use crate::cluster::gate::{Gate, GateKeeper};
use crate::telemetry::CloudMetrics;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Whoever wants things, and what was said there.
#[derive(Default)]
struct Told {
    news: AtomicUsize,
    passed: Mutex<Vec<(String, Cause)>>,
}

impl Office for Told {
    fn news(&self, _: &ObjectId) {
        self.news.fetch_add(1, Ordering::Relaxed);
    }

    fn passed(&self, about: &Ended<'_>) {
        self.passed.lock().unwrap().push((about.unit.to_string(), about.cause));
    }
}

/// Cuts the engine off at a change, before it is sent or after it took effect.
struct Cut {
    at: usize,
    after_effect: bool,
    seen: AtomicUsize,
}

impl Cut {
    fn new(at: usize, after_effect: bool) -> Self {
        Self { at, after_effect, seen: AtomicUsize::new(0) }
    }

    fn has_cut(&self) -> bool {
        self.seen.load(Ordering::Relaxed) >= self.at
    }
}

#[async_trait]
impl Watcher for Cut {
    async fn before(&self, _: &AnyChange) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        // Nothing goes on once it is cut off, in no unit.
        if seen > self.at || (seen == self.at && !self.after_effect) {
            std::future::pending::<()>().await;
        }
    }

    async fn after(&self, _: &AnyChange) {
        if self.has_cut() {
            std::future::pending::<()>().await;
        }
    }
}

/// One life of the process.
struct Life {
    engine: Arc<Engine<LoadBalancerSpec>>,
    told: Arc<Told>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Life {
    fn new(toy: &Toy, workers: u16, gate: Gate, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let told = Arc::new(Told::default());
        let workers = NonZeroU16::new(workers).unwrap();
        let mut engine = Engine::new(
            Converger::new(toy.clone()),
            Governor::new(gate, CloudMetrics::unread()),
            Settings { workers, timing: Timing::default() },
            Arc::clone(&told) as Arc<dyn Office>,
            ConvergeMetrics::unread(),
        );
        if let Some(watcher) = watcher {
            engine = engine.watched_by(watcher);
        }
        let (engine, stop) = (Arc::new(engine), CancellationToken::new());
        let task = tokio::spawn(Arc::clone(&engine).run(stop.clone()));
        Self { engine, told, stop, task }
    }

    fn calm(toy: &Toy) -> Self {
        Self::new(toy, 4, Gate::always_open(), None)
    }

    fn want(&self, wants: &[Wanted]) {
        for want in wants {
            let mut hasher = std::hash::DefaultHasher::new();
            std::hash::Hash::hash(&super::super::wants::ports(want), &mut hasher);
            self.engine.want(want.clone(), std::hash::Hasher::finish(&hasher));
        }
    }

    fn progress(&self, uid: &str) -> Progress {
        self.engine.progress(&id(uid)).unwrap()
    }

    /// Waits until it is as it should be. Says for how long.
    async fn done(&self, uid: &str) -> Duration {
        let began = Instant::now();
        while !self.progress(uid).is_done {
            assert!(began.elapsed() < Duration::from_hours(3), "{:?}", self.progress(uid));
            sleep(20 * MS).await;
        }
        began.elapsed()
    }
}

impl Drop for Life {
    /// As a crash would.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A cloud with the Services `a` (80, 443) and `b` (443).
async fn two_services() -> (Toy, Life) {
    let toy = Toy::default();
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80, 443]), present("b", &[443])]);
    sleep(SECOND).await;
    (toy, life)
}

fn lines(rehearsed: Vec<Rehearsed>) -> Vec<String> {
    let plans = rehearsed.into_iter().map(|it| it.plan.unwrap());
    let steps = plans.flat_map(|plan| plan.stages.into_iter().flatten());
    steps.map(|step| step.change.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn an_object_of_two_units_is_made_in_building_order_and_torn_down_in_reverse() {
    let toy = Toy::default();
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80, 443])]);
    life.done("a").await;
    let made = ["create a", "set ports of a to {80, 443}", "open 80 for a", "open 443 for a"];
    assert_eq!(toy.sent(), made);
    life.want(&[absent("a")]);
    sleep(SECOND).await;
    assert_eq!(toy.sent(), ["close 80 for a", "close 443 for a", "delete a"]);
    assert!(life.progress("a").is_gone);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_left_alone() {
    let (toy, life) = two_services().await;
    drop(life);
    toy.sent();
    let life = Life::calm(&toy);
    life.want(&[present("b", &[443]), present("a", &[80, 443])]);
    sleep(SECOND).await;
    assert!(life.progress("a").is_done && life.progress("b").is_done);
    assert!(toy.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_others_need_stays_open_and_what_cannot_be_read_is_left_alone() {
    let (toy, life) = two_services().await;
    life.want(&[keep("a"), absent("b")]);
    sleep(SECOND).await;
    assert_eq!(toy.rules(), ["a:80", "a:443"]);
    assert_eq!(toy.cloud().balancers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_anywhere_ends_in_the_same_state() {
    let story = [
        vec![present("a", &[80, 443]), present("b", &[443])],
        vec![absent("a"), present("b", &[443, 8080])],
        vec![absent("a"), absent("b")],
    ];
    let calm = Toy::default();
    let mut expected = Vec::new();
    for wants in &story {
        let life = Life::calm(&calm);
        life.want(wants);
        sleep(SECOND).await;
        expected.push(calm.cloud());
    }
    assert_eq!(expected[2], Cloud::default());
    let mut cuts = 0;
    for after_effect in [false, true] {
        for at in 1..=8 {
            let toy = Toy::default();
            for (wants, expected) in story.iter().zip(&expected) {
                let cut = Arc::new(Cut::new(at, after_effect));
                let watcher = Arc::clone(&cut) as Arc<dyn Watcher>;
                let life = Life::new(&toy, 4, Gate::always_open(), Some(watcher));
                life.want(wants);
                sleep(SECOND).await;
                cuts += usize::from(cut.has_cut());
                drop(life);
                let life = Life::calm(&toy);
                life.want(wants);
                sleep(SECOND).await;
                assert_eq!(toy.cloud(), *expected, "{at}, {after_effect}");
            }
        }
    }
    assert_eq!(cuts, 2 * (7 + 4 + 4));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_shows_what_is_to_be_done_in_all_units_and_changes_nothing() {
    let toy = Toy::default();
    let life = Life::calm(&toy);
    life.stop.cancel();
    life.want(&[present("a", &[80])]);
    let shown = lines(life.engine.dry().await);
    assert_eq!(shown, ["create a", "set ports of a to {80}", "open 80 for a"]);
    assert_eq!(toy.cloud(), Cloud::default());
    let progress = life.progress("a");
    // What is to be done is still open, as in the middle of a pass.
    assert_eq!((progress.reports.len(), progress.is_under_way), (2, true));

    let (_, life) = two_services().await;
    assert!(lines(life.engine.dry().await).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_lets_nothing_through() {
    let toy = Toy::default();
    let keeper = GateKeeper::new();
    let life = Life::new(&toy, 4, keeper.gate(), None);
    life.want(&[present("a", &[80])]);
    sleep(MINUTE).await;
    assert_eq!((toy.sent().len(), toy.looks("shop/a")), (0, 1));
    assert_eq!(life.progress("a").trouble.unwrap().error.kind(), Kind::Stopped);
}

#[tokio::test(start_paused = true)]
async fn units_are_worked_on_at_once_and_each_by_one_pass_at_a_time() {
    let toy = Toy::with(Mood { latency: SECOND, ..Mood::default() });
    let life = Life::calm(&toy);
    for ports in [&[80][..], &[81], &[82, 83], &[84]] {
        life.want(&["a", "b", "c", "d"].map(|uid| present(uid, ports)));
        sleep(700 * MS).await;
    }
    for uid in ["a", "b", "c", "d"] {
        life.done(uid).await;
    }
    let most = toy.state().most;
    assert_eq!(most, (1, 4));
    assert_eq!(toy.rules(), ["a:84", "b:84", "c:84", "d:84"]);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_delays_nobody_else() {
    for (hanging, workers, limit) in [(3, 4, SECOND), (1, 1, 3 * SECOND), (6, 2, 8 * SECOND)] {
        let names: Vec<_> = (0..hanging).map(|n| format!("h{n}")).collect();
        let hangs = names.iter().map(|name| format!("shop/{name}")).collect();
        let toy = Toy::with(Mood { hangs, ..Mood::default() });
        let life = Life::new(&toy, workers, Gate::always_open(), None);
        for name in &names {
            life.want(&[present(name, &[80])]);
        }
        sleep(MS).await;
        life.want(&[present("well", &[80])]);
        let took = life.done("well").await;
        assert!(took < limit, "{hanging} of {workers}: {took:?}");
        // Also later, when the others are tried again.
        sleep(10 * MINUTE).await;
        life.want(&[present("well", &[443])]);
        let took = life.done("well").await;
        assert!(took < limit, "{hanging} of {workers}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_cloud_holds_no_worker() {
    let toy = Toy::with(Mood { is_slow: true, ..Mood::default() });
    let life = Life::new(&toy, 1, Gate::always_open(), None);
    life.want(&[present("slow", &[80])]);
    sleep(5 * SECOND).await;
    toy.state().mood.is_slow = false;
    life.want(&[present("a", &[80])]);
    assert!(life.done("a").await < SECOND);
    assert_eq!(life.progress("slow").waits_for(), Some("it comes up"));
    assert!(life.progress("slow").trouble.is_none());
    toy.state().cloud.balancers.values_mut().for_each(|it| it.0 = true);
    assert!(life.done("slow").await < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_the_step_under_way_end_and_begins_none() {
    let toy = Toy::with(Mood { latency: 3 * SECOND, ..Mood::default() });
    let mut life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    // The look has ended, and the first change is under way.
    sleep(4 * SECOND).await;
    life.stop.cancel();
    let began = Instant::now();
    (&mut life.task).await.unwrap();
    assert!(began.elapsed() < 6 * SECOND);
    assert_eq!(toy.sent(), ["create a"]);
    assert_eq!(life.progress("a").trouble.unwrap().error.kind(), Kind::Stopped);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_what_hangs() {
    let toy = Toy::with(Mood { latency: 9 * SECOND, ..Mood::default() });
    let mut life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    sleep(10 * SECOND).await;
    life.stop.cancel();
    let began = Instant::now();
    (&mut life.task).await.unwrap();
    assert_eq!(began.elapsed(), LAST_STEPS);
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_needs_too_long_goes_on_in_the_next() {
    let toy = Toy::with(Mood { latency: 9 * SECOND, ..Mood::default() });
    let life = Life::calm(&toy);
    let ports: Vec<u16> = (1..=200).collect();
    life.want(&[present("a", &ports)]);
    let took = life.done("a").await;
    assert!(PASS_LIMIT < took && took < 4 * PASS_LIMIT, "{took:?}");
    assert_eq!(toy.rules().len(), 200);
    let opened: BTreeSet<_> = toy.sent().into_iter().filter(|it| it.starts_with("open")).collect();
    assert_eq!(opened.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_drift_check_repairs_and_says_that_it_was_drift() {
    let (toy, life) = two_services().await;
    sleep(10 * MINUTE).await;
    let looks = toy.looks("firewall");
    life.told.passed.lock().unwrap().clear();
    toy.state().cloud.rules.clear();
    sleep(66 * MINUTE).await;
    assert_eq!(toy.rules(), ["a:80", "a:443", "b:443"]);
    assert_eq!(*life.told.passed.lock().unwrap(), [("firewall".to_owned(), Cause::Drift)]);
    // And that is all that was looked at.
    assert!(toy.looks("firewall") - looks <= 4);
    assert!(life.told.news.load(Ordering::Relaxed) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_want_that_changes_during_its_pass_is_looked_at_again() {
    let toy = Toy::with(Mood { latency: SECOND, ..Mood::default() });
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    for at in 1..12 {
        sleep(900 * MS).await;
        life.want(&[present("a", &[80 + at])]);
        assert!(!life.progress("a").is_done);
    }
    life.done("a").await;
    assert_eq!(toy.rules(), ["a:91"]);
    // What was wanted last while it was being made is what is torn down.
    life.want(&[present("a", &[1])]);
    sleep(2500 * MS).await;
    life.want(&[absent("a")]);
    sleep(MINUTE).await;
    assert!(life.progress("a").is_gone);
    assert_eq!(toy.cloud(), Cloud::default());
}

#[tokio::test(start_paused = true)]
async fn many_changes_to_a_shared_unit_become_one_pass() {
    let toy = Toy::default();
    let life = Life::calm(&toy);
    let wants: Vec<_> = (0..50).map(|n| present(&format!("s{n}"), &[80])).collect();
    life.want(&wants);
    sleep(SECOND).await;
    assert_eq!(toy.rules().len(), 50);
    let firewall = life.told.passed.lock().unwrap().iter().filter(|it| it.0 == "firewall").count();
    assert_eq!(firewall, 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_converge_is_no_hot_loop() {
    let toy = Toy::with(Mood { is_stubborn: true, ..Mood::default() });
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    sleep(10 * MINUTE).await;
    let trouble = life.progress("a").trouble.unwrap();
    assert_eq!((trouble.error.kind(), trouble.failures), (Kind::Internal, 7));
    // Each time it is given some moments, for a cloud whose reads lag behind.
    assert_eq!((toy.looks("firewall"), toy.looks("shop/a")), (7 * 5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_conflicts_is_bounded() {
    let toy = Toy::default();
    toy.state().mood.refuses.insert(80, Kind::Conflict);
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    sleep(10 * MINUTE).await;
    assert_eq!(life.progress("a").trouble.unwrap().error.kind(), Kind::Conflict);
    let sent = toy.sent().iter().filter(|line| *line == "open 80 for a").count();
    assert_eq!(sent, 7 * 6);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_is_away_is_asked_less_and_less() {
    let toy = Toy::with(Mood { looks_fail: Some(Kind::Unavailable), ..Mood::default() });
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    sleep(Duration::from_hours(1)).await;
    assert!(toy.looks("shop/a") <= 18, "{}", toy.looks("shop/a"));
    toy.state().mood.looks_fail = None;
    assert!(life.done("a").await <= 5 * MINUTE);
    assert!(life.progress("a").trouble.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_users_mistake_is_theirs_until_they_change_it() {
    let toy = Toy::default();
    toy.state().mood.refuses.insert(1, Kind::InvalidConfiguration);
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80]), present("bad", &[1]), present("c", &[443])]);
    sleep(SECOND).await;
    assert_eq!(toy.rules(), ["a:80", "c:443"]);
    assert!(life.progress("a").is_done && life.progress("c").is_done);
    let trouble = life.progress("bad").trouble.unwrap();
    assert_eq!(trouble.error.kind(), Kind::InvalidConfiguration);
    toy.sent();

    // Others come and go, and it is not tried again.
    life.want(&[present("a", &[81])]);
    sleep(MINUTE).await;
    assert!(!toy.sent().contains(&"open 1 for bad".to_owned()));
    // Somebody takes away what hindered it: the drift check finds out.
    toy.state().mood.refuses.clear();
    sleep(67 * MINUTE).await;
    assert!(life.progress("bad").is_done);
    assert_eq!(toy.rules(), ["a:81", "bad:1", "c:443"]);
}

#[tokio::test(start_paused = true)]
async fn a_unit_behind_a_lock_is_refused() {
    let toy = Toy::with(Mood { locks: true, ..Mood::default() });
    let life = Life::calm(&toy);
    life.want(&[present("a", &[80])]);
    sleep(MINUTE).await;
    assert_eq!(toy.looks("firewall"), 0);
    assert_eq!(life.progress("a").trouble.unwrap().error.kind(), Kind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_of_what_was_forgotten() {
    let (toy, life) = two_services().await;
    life.want(&[absent("a"), absent("b")]);
    sleep(SECOND).await;
    for uid in ["a", "b"] {
        assert!(life.progress(uid).is_gone);
        life.engine.forget(&id(uid));
    }
    assert!(life.engine.ids().is_empty());
    assert_eq!(life.engine.book().unit_count(), 0);
    let looks = toy.looks("firewall");
    sleep(Duration::from_hours(2)).await;
    assert!(life.engine.queue.is_empty());
    assert_eq!(toy.looks("firewall"), looks);
    assert!(life.engine.inventory().await.unwrap().is_empty());
}
