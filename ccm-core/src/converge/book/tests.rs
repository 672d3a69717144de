use std::num::NonZeroU32;

use rstest::rstest;

use super::super::pass::Changed;
use super::super::wants::{Wanted, absent, id, identity, keep, present, spec};
use super::*;
use crate::cloud::{
    Holds, IngressAddress, IngressPoint, Kind, LoadBalancerSpec, NodeIdentity, Observation, Verdict,
};

type TestBook = Book<LoadBalancerSpec>;
type TestJob = Job<LoadBalancerSpec>;

const SECOND: Duration = Duration::from_secs(1);

fn book() -> TestBook {
    Book::new(Timing::default(), Duration::ZERO, Instant::now())
}

fn shared(name: &str) -> Unit {
    Unit::shared(name)
}

fn name(unit: &str) -> UnitName {
    UnitName::Shared(unit.into())
}

/// Three units, in building order.
fn units() -> Vec<Unit> {
    ["group", "balancer", "wall"].map(shared).to_vec()
}

/// The units that news wakes.
fn woken(wakes: &[Wake]) -> Vec<String> {
    wakes.iter().map(|wake| wake.unit.to_string()).collect()
}

fn begin(book: &mut TestBook, unit: &str, now: Instant) -> Option<Box<TestJob>> {
    match book.begin(&name(unit), now) {
        Turn::Pass(job) => Some(job),
        Turn::Wait(_) | Turn::Nothing => None,
    }
}

fn report(uid: &str, holds: Holds, verdict: Verdict) -> Report {
    Report::new(&id(uid), holds, verdict)
}

fn done(uid: &str) -> Report {
    report(uid, Holds::Something, Verdict::Done)
}

fn empty(uid: &str) -> Report {
    report(uid, Holds::Nothing, Verdict::Done)
}

fn on_the_way(uid: &str) -> Report {
    report(uid, Holds::Something, Verdict::Progressing("an address".to_owned()))
}

fn reported(book: &mut TestBook, job: &TestJob, reports: Vec<Report>) -> News {
    book.reported(job, &job.world, reports, Instant::now())
}

fn ending(end: End, refused: &[(&str, Kind)]) -> Passed {
    let refused = refused.iter().map(|(uid, kind)| (id(uid), error(*kind))).collect();
    let (changes, notes): (Vec<Changed>, _) = (Vec::new(), Vec::new());
    Passed { changes, notes, refused, end }
}

fn error(kind: Kind) -> CloudError {
    CloudError::new(kind, "no")
}

/// A whole pass: what is reported (nothing: it did not get as far), how it ends, and when the unit is
/// looked at again.
fn pass(
    book: &mut TestBook,
    unit: &str,
    now: Instant,
    reports: Vec<Report>,
    passed: &Passed,
) -> Wake {
    let job = begin(book, unit, now).expect("somebody's turn");
    if !reports.is_empty() {
        reported(book, &job, reports);
    }
    let news = book.ended(&job, passed, now);
    news.wakes.into_iter().next_back().expect("another look")
}

/// What each want is to a pass.
fn seen(job: &TestJob) -> Vec<String> {
    let show = |want: &Wanted| match want {
        Want::Present(_) => format!("{} present", want.id().name),
        Want::Absent(_) => format!("{} absent", want.id().name),
        Want::Keep(_) => format!("{} kept", want.id().name),
    };
    job.world.wants.iter().map(show).collect()
}

fn is_drift(wake: &Wake) -> bool {
    let drift = Timing::default().drift;
    drift.mul_f64(0.9) <= wake.after && wake.after <= drift.mul_f64(1.1)
}

#[tokio::test(start_paused = true)]
async fn what_is_made_goes_from_unit_to_unit_in_building_order() {
    let (mut book, now) = (book(), Instant::now());
    let news = book.want(present("a", &[80]), 1, units());
    assert_eq!(woken(&news.wakes), ["group"]);
    assert!(begin(&mut book, "balancer", now).is_none());
    assert!(begin(&mut book, "wall", now).is_none());

    let group = begin(&mut book, "group", now).unwrap();
    assert_eq!(woken(&reported(&mut book, &group, vec![on_the_way("a")]).wakes), [""; 0]);
    assert_eq!(woken(&reported(&mut book, &group, vec![done("a")]).wakes), ["balancer"]);
    let balancer = begin(&mut book, "balancer", now).unwrap();
    assert_eq!(woken(&reported(&mut book, &balancer, vec![done("a")]).wakes), ["wall"]);
    assert!(!book.progress(&id("a")).unwrap().is_done);
    let wall = begin(&mut book, "wall", now).unwrap();
    reported(&mut book, &wall, vec![done("a")]);
    assert!(book.progress(&id("a")).unwrap().is_done);
}

#[tokio::test(start_paused = true)]
async fn what_another_program_serves_is_cleared_away_in_every_unit() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, units());
    let elsewhere = || report("a", Holds::Something, Verdict::Elsewhere("another".to_owned()));
    let group = begin(&mut book, "group", now).unwrap();
    assert_eq!(woken(&reported(&mut book, &group, vec![elsewhere()]).wakes), ["balancer"]);
    let balancer = begin(&mut book, "balancer", now).unwrap();
    assert_eq!(seen(&balancer), ["a present"]);
    assert_eq!(woken(&reported(&mut book, &balancer, vec![empty("a")]).wakes), ["wall"]);
    let wall = begin(&mut book, "wall", now).unwrap();
    reported(&mut book, &wall, vec![empty("a")]);
    let progress = book.progress(&id("a")).unwrap();
    assert!(!progress.is_done && progress.elsewhere().is_some(), "{progress:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_torn_down_goes_back_and_is_gone_once_every_unit_has_said_so() {
    let (mut book, now) = (book(), Instant::now());
    let news = book.want(absent("a"), 1, units());
    assert_eq!(woken(&news.wakes), ["wall"]);
    assert!(begin(&mut book, "group", now).is_none());

    let wall = begin(&mut book, "wall", now).unwrap();
    // Done is not enough: as long as it holds something, the unit before keeps what it has.
    assert_eq!(woken(&reported(&mut book, &wall, vec![done("a")]).wakes), [""; 0]);
    assert_eq!(woken(&reported(&mut book, &wall, vec![empty("a")]).wakes), ["balancer"]);
    let balancer = begin(&mut book, "balancer", now).unwrap();
    assert_eq!(woken(&reported(&mut book, &balancer, vec![empty("a")]).wakes), ["group"]);
    assert!(!book.progress(&id("a")).unwrap().is_gone);
    let group = begin(&mut book, "group", now).unwrap();
    reported(&mut book, &group, vec![empty("a")]);
    assert!(book.progress(&id("a")).unwrap().is_gone);
}

#[tokio::test(start_paused = true)]
async fn every_unit_whose_turn_comes_back_is_looked_at() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, units());
    for unit in ["group", "balancer", "wall"] {
        pass(&mut book, unit, now, vec![done("a")], &ending(End::Done, &[]));
    }
    // The first unit has something to do again; meanwhile the others are nobody's turn, and what
    // they were to be looked at for is lost.
    let group = begin(&mut book, "group", now).unwrap();
    reported(&mut book, &group, vec![on_the_way("a")]);
    assert!(begin(&mut book, "wall", now).is_none());
    assert!(begin(&mut book, "balancer", now).is_none());
    let news = reported(&mut book, &group, vec![done("a")]);
    assert_eq!(woken(&news.wakes), ["balancer", "wall"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_an_earlier_want_counts_for_nothing() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, units());
    let job = begin(&mut book, "group", now).unwrap();
    let news = book.want(present("a", &[443]), 2, units());
    assert_eq!(woken(&news.wakes), ["group"]);

    let news = reported(&mut book, &job, vec![done("a")]);
    assert!(news.about.is_empty() && news.wakes.is_empty());
    book.ended(&job, &ending(End::Failed(error(Kind::Unavailable)), &[]), now);
    let progress = book.progress(&id("a")).unwrap();
    assert!(progress.reports.is_empty() && progress.trouble.is_none());
    assert!(!progress.is_under_way);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_an_object_before_it_was_forgotten_counts_for_nothing() {
    let (mut book, now) = (book(), Instant::now());
    book.want(absent("a"), 1, units());
    let job = begin(&mut book, "wall", now).unwrap();
    // It is wanted again while that pass goes on, under the same UID.
    book.forget(&id("a"));
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    reported(&mut book, &job, vec![empty("a")]);
    assert!(book.progress(&id("a")).unwrap().reports.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_empty_before_a_change_is_not_taken_for_gone() {
    let (mut book, now) = (book(), Instant::now());
    let own = || vec![shared("own")];
    book.want(absent("a"), 1, own());
    pass(&mut book, "own", now, vec![empty("a")], &ending(End::Done, &[]));
    assert!(book.progress(&id("a")).unwrap().is_gone);
    book.want(present("a", &[80]), 1, own());
    book.want(absent("a"), 1, own());
    assert!(!book.progress(&id("a")).unwrap().is_gone);
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_already_is_no_news_and_forgets_nothing() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("own")]);
    pass(&mut book, "own", now, vec![done("a")], &ending(End::Done, &[]));
    let news = book.want(present("a", &[80]), 1, vec![shared("own")]);
    assert!(news.about.is_empty() && news.wakes.is_empty());
    assert!(book.progress(&id("a")).unwrap().is_done);
}

#[tokio::test(start_paused = true)]
async fn what_a_pass_says_of_those_it_keeps_counts_for_nothing() {
    let (mut book, now) = (book(), Instant::now());
    for uid in ["a", "b"] {
        book.want(present(uid, &[80]), 1, vec![shared("wall"), shared("behind")]);
    }
    let job = begin(&mut book, "wall", now).unwrap();
    // It tries `a` alone; what it says of `b` is about what `b` has, not about what it wants.
    let world = World {
        wants: vec![job.world.wants[0].clone(), job.world.wants[1].kept()],
        nodes: Arc::default(),
    };
    let news = book.reported(&job, &world, vec![done("a"), done("b")], now);
    assert_eq!(news.about, BTreeSet::from([id("a")]));
    assert!(book.progress(&id("b")).unwrap().reports.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_not_reported_any_more_is_not_done() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("own")]);
    pass(&mut book, "own", now, vec![done("a")], &ending(End::Done, &[]));
    let job = begin(&mut book, "own", now).unwrap();
    assert_eq!(reported(&mut book, &job, Vec::new()).about, BTreeSet::from([id("a")]));
    assert!(!book.progress(&id("a")).unwrap().is_done);
}

#[tokio::test(start_paused = true)]
async fn a_failed_pass_is_no_trouble_for_who_was_settled_in_it() {
    let (mut book, now) = (book(), Instant::now());
    for uid in ["a", "b"] {
        book.want(present(uid, &[80]), 1, vec![shared("wall")]);
    }
    let reports = || vec![done("a"), on_the_way("b")];
    let failed = ending(End::Failed(error(Kind::Unavailable)), &[]);
    pass(&mut book, "wall", now, reports(), &failed);
    assert!(book.progress(&id("a")).unwrap().trouble.is_none());
    let trouble = book.progress(&id("b")).unwrap().trouble.unwrap();
    assert_eq!((trouble.failures, trouble.was_done), (1, false));

    // A pass that did not get as far as to say so troubles both.
    pass(&mut book, "wall", now, Vec::new(), &failed);
    assert!(book.progress(&id("a")).unwrap().trouble.unwrap().was_done);
    assert_eq!(book.progress(&id("b")).unwrap().trouble.unwrap().failures, 2);

    pass(&mut book, "wall", now, vec![done("a"), done("b")], &ending(End::Done, &[]));
    assert!(book.progress(&id("b")).unwrap().trouble.is_none());
}

#[tokio::test(start_paused = true)]
async fn of_whom_nothing_was_left_to_do_is_told_apart_from_who_is_being_worked_on() {
    let (mut book, now) = (book(), Instant::now());
    let settled = |book: &mut TestBook| begin(book, "wall", now).unwrap().settled;
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    assert!(settled(&mut book).is_empty(), "never seen");
    // As asked for, while what is left of an earlier form goes.
    let clearing = End::Later { again: SECOND, waits_for: Vec::new() };
    pass(&mut book, "wall", now, vec![done("a")], &ending(clearing, &[]));
    assert!(settled(&mut book).is_empty());
    pass(&mut book, "wall", now, vec![done("a")], &ending(End::Done, &[]));
    book.want(present("b", &[80]), 1, vec![shared("wall")]);
    assert_eq!(settled(&mut book), [id("a")].into());
    book.want(present("a", &[81]), 2, vec![shared("wall")]);
    assert!(settled(&mut book).is_empty(), "another want");
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_is_kept_until_it_is_due() {
    let (mut book, now) = (book(), Instant::now());
    for uid in ["a", "b"] {
        book.want(present(uid, &[80]), 1, vec![shared("wall")]);
    }
    let refused = ending(End::Done, &[("b", Kind::QuotaExceeded)]);
    let next = pass(&mut book, "wall", now, vec![done("a")], &refused);
    assert_eq!(next.after, 5 * SECOND);
    assert_eq!(book.progress(&id("b")).unwrap().trouble.unwrap().error.kind(), Kind::QuotaExceeded);

    // A pass for somebody else meanwhile, which does not put it off.
    let soon = now + 2 * SECOND;
    let job = begin(&mut book, "wall", soon).unwrap();
    assert_eq!(seen(&job), ["a present", "b kept"]);
    let news = book.ended(&job, &ending(End::Done, &[]), soon);
    assert_eq!(news.wakes.last().unwrap().after, 3 * SECOND);
    assert!(book.progress(&id("b")).unwrap().trouble.is_some());

    let due = now + 5 * SECOND;
    let job = begin(&mut book, "wall", due).unwrap();
    assert_eq!(seen(&job), ["a present", "b present"]);
    assert_eq!(job.cause, Cause::Retry);
    let news = book.ended(&job, &refused, due);
    assert_eq!(news.wakes.last().unwrap().after, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_is_tried_again_once_the_want_changes_or_somebody_asks() {
    let (mut book, now) = (book(), Instant::now());
    let own = || vec![shared("own")];
    let refused = ending(End::Done, &[("a", Kind::InvalidConfiguration)]);
    book.want(present("a", &[80]), 1, own());
    pass(&mut book, "own", now, Vec::new(), &refused);
    assert!(begin(&mut book, "own", now).is_none());
    book.want(present("a", &[443]), 2, own());
    pass(&mut book, "own", now, Vec::new(), &refused);
    assert!(begin(&mut book, "own", now).is_none());
    assert_eq!(woken(&book.again(&id("a"))), ["own"]);
    assert!(begin(&mut book, "own", now).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_unit_whose_users_were_all_refused_is_looked_at_when_the_first_is_due() {
    let (mut book, now) = (book(), Instant::now());
    for uid in ["a", "b"] {
        book.want(present(uid, &[80]), 1, vec![shared("wall")]);
    }
    let both = [("a", Kind::InvalidConfiguration), ("b", Kind::PermissionDenied)];
    pass(&mut book, "wall", now, Vec::new(), &ending(End::Done, &both));
    book.members(Arc::from([]));
    let turn = book.begin(&name("wall"), now + SECOND);
    assert!(matches!(turn, Turn::Wait(pause) if pause == 4 * SECOND), "{turn:?}");
    // Why it was to be looked at is not forgotten.
    let job = begin(&mut book, "wall", now + 5 * SECOND).unwrap();
    assert_eq!(
        (job.cause, &seen(&job)[..]),
        (Cause::Retry, &["a kept", "b present"].map(str::to_owned)[..])
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_plan_refuses_stays_in_the_plan_and_counts_its_failures() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("own")]);
    let refusal = |kind| vec![report("a", Holds::Nothing, Verdict::Refused(error(kind)))];
    let end = ending(End::Done, &[]);
    let first = pass(&mut book, "own", now, refusal(Kind::QuotaExceeded), &end);
    let second = pass(&mut book, "own", now, refusal(Kind::QuotaExceeded), &end);
    assert_eq!((first.after, second.after), (5 * SECOND, 10 * SECOND));
    let last = pass(&mut book, "own", now, refusal(Kind::InvalidConfiguration), &end);
    assert!(is_drift(&last));
    let trouble = book.progress(&id("a")).unwrap().trouble.unwrap();
    assert_eq!((trouble.failures, trouble.error.kind()), (3, Kind::InvalidConfiguration));
}

/// Seconds until the next look after so many failures in a row.
#[rstest]
#[case::first(Kind::Unavailable, 1, Some(5))]
#[case::doubled(Kind::Unavailable, 2, Some(10))]
#[case::nearly_the_longest(Kind::Internal, 6, Some(160))]
#[case::the_longest(Kind::Internal, 7, Some(300))]
#[case::never_longer(Kind::Conflict, 40, Some(300))]
#[case::as_the_cloud_says(Kind::RateLimited { retry_after: Some(Duration::from_secs(17)) }, 9, Some(17))]
#[case::the_cloud_says_nothing(Kind::RateLimited { retry_after: None }, 1, Some(5))]
#[case::the_user_acts(Kind::InvalidConfiguration, 1, None)]
#[case::not_by_this_process(Kind::Stopped, 1, None)]
#[tokio::test(start_paused = true)]
async fn pauses_after_failures(
    #[case] kind: Kind,
    #[case] failures: u32,
    #[case] seconds: Option<u64>,
) {
    let failures = NonZeroU32::new(failures).unwrap();
    let (mut in_a_row, mut refused) = (None, None);
    let now = Instant::now();
    let (mut one, mut other) = (book(), book());
    one.want(present("a", &[80]), 1, vec![shared("own")]);
    other.want(present("a", &[80]), 1, vec![shared("own")]);
    let mut at = now;
    for _ in 0..failures.get() {
        let failed = ending(End::Failed(error(kind)), &[]);
        in_a_row = Some(pass(&mut one, "own", at, Vec::new(), &failed));
        // The same where one user is to blame.
        refused = Some(pass(&mut other, "own", at, Vec::new(), &ending(End::Done, &[("a", kind)])));
        at += 2 * Timing::default().drift;
    }
    for wake in [in_a_row.unwrap(), refused.unwrap()] {
        match seconds {
            Some(seconds) => assert_eq!(wake.after, Duration::from_secs(seconds)),
            None => assert!(is_drift(&wake), "{wake:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_in_vain_is_looked_at_more_rarely() {
    let (mut book, mut now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, units());
    let mut look = |end: End| {
        now += 3600 * SECOND;
        book.wake(&name("group"), Cause::Waited, None);
        pass(&mut book, "group", now, Vec::new(), &ending(end, &[])).after.as_secs()
    };
    let pauses: Vec<_> = (0..9).map(|_| look(later(5))).collect();
    assert_eq!(pauses, [5, 5, 5, 5, 10, 10, 10, 10, 15]);
    let other = End::Later { again: 5 * SECOND, waits_for: vec!["another".to_owned()] };
    assert_eq!(look(other), 5);
    assert_eq!((0..999).map(|_| look(later(5))).last(), Some(300));
    assert_eq!(look(later(400)), 400, "never sooner than the plan says");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_gets_through_ends_the_row_of_failures() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("own")]);
    let failed = || ending(End::Failed(error(Kind::Unavailable)), &[]);
    for _ in 0..4 {
        pass(&mut book, "own", now, Vec::new(), &failed());
    }
    let later = End::Later { again: 3 * SECOND, waits_for: Vec::new() };
    let next = pass(&mut book, "own", now, vec![on_the_way("a")], &ending(later, &[]));
    assert_eq!(next.after, 3 * SECOND);
    let next = pass(&mut book, "own", now, Vec::new(), &failed());
    assert_eq!(next.after, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_plan_cannot_ask_for_a_hot_loop() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("own")]);
    let later = End::Later { again: Duration::ZERO, waits_for: Vec::new() };
    let next = pass(&mut book, "own", now, vec![on_the_way("a")], &ending(later, &[]));
    assert_eq!(next.after, SHORTEST_WAIT);
}

#[tokio::test(start_paused = true)]
async fn changes_are_collected_for_as_long_as_the_unit_says() {
    let mut book = book();
    let wall = Unit { settle: 2 * SECOND, ..shared("wall") };
    let news = book.want(present("a", &[80]), 1, vec![wall]);
    assert_eq!(news.wakes[0].after, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn of_several_causes_the_greatest_counts() {
    let (mut book, now) = (book(), Instant::now());
    let wall = || vec![Unit { inputs: Unit::own(&id("a")).inputs, ..shared("wall") }];
    book.want(present("a", &[80]), 1, wall());
    book.members(Arc::from([]));
    assert_eq!(begin(&mut book, "wall", now).unwrap().cause, Cause::New);
    book.members(Arc::from([]));
    book.want(present("a", &[443]), 2, wall());
    assert_eq!(begin(&mut book, "wall", now).unwrap().cause, Cause::Changed);
    assert_eq!(begin(&mut book, "wall", now).unwrap().cause, Cause::Drift);
}

#[tokio::test(start_paused = true)]
async fn nodes_wake_the_units_that_are_made_from_them_and_no_others() {
    let mut book = book();
    let own = Unit { name: name("own"), ..Unit::own(&id("a")) };
    book.want(present("a", &[80]), 1, vec![shared("wall"), own]);
    let node = NodeIdentity {
        name: "n".into(),
        uid: "u".into(),
        created: std::time::SystemTime::UNIX_EPOCH,
        provider_id: None,
        system_uuid: None,
        addresses: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
        is_initialized: true,
    };
    let instance = Arc::new(Observation::Unknown(error(Kind::Unavailable)));
    let one = Member { node, instance };
    let news = book.members(Arc::from([one.clone()]));
    assert_eq!(woken(&news.wakes), ["own"]);
    assert_eq!(book.member_count(), 1);

    // Whether there is any at all is something that everybody is told.
    assert_eq!(news.about, BTreeSet::from([id("a")]));
    assert!(book.members(Arc::from([one.clone(), one])).about.is_empty());
    assert_eq!(book.members(Arc::from([])).about, BTreeSet::from([id("a")]));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_address_goes_first_whatever_wakes_the_unit() {
    let mut book = book();
    let ingress = IngressPoint {
        address: IngressAddress::Hostname("a.example".to_owned()),
        mode: None,
        ports: Vec::new(),
    };
    let mut has_one = spec(id("a"), &[80]);
    let known = crate::cloud::Identity { ingress: vec![ingress], ..identity(id("a")) };
    has_one.identity = Arc::new(known);
    let wall = || vec![shared("wall")];
    book.want(Want::Present(Arc::new(has_one)), 1, wall());
    assert_eq!(book.again(&id("a"))[0].urgency, Urgency::Refresh);
    book.want(present("b", &[80]), 1, wall());
    assert_eq!(book.again(&id("a"))[0].urgency, Urgency::Initialize);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_wakes_nobody_and_is_a_user_all_the_same() {
    let (mut book, now) = (book(), Instant::now());
    let news = book.want(keep("a"), 1, vec![shared("wall")]);
    assert!(news.wakes.is_empty());
    assert!(begin(&mut book, "wall", now).is_none());
    book.want(present("b", &[80]), 1, vec![shared("wall")]);
    assert_eq!(seen(&begin(&mut book, "wall", now).unwrap()), ["a kept", "b present"]);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_nobody_uses_is_forgotten() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("wall"), shared("own")]);
    book.want(present("b", &[80]), 1, vec![shared("wall")]);
    assert_eq!(book.unit_count(), 2);
    let job = begin(&mut book, "wall", now).unwrap();
    book.forget(&id("a"));
    assert_eq!(book.units(), [name("wall")]);
    book.forget(&id("b"));
    assert_eq!((book.unit_count(), book.ids().count()), (0, 0));
    // Its pass ends all the same, and nobody hears of it.
    let news = book.ended(&job, &ending(End::Done, &[]), now);
    assert!(news.about.is_empty() && news.wakes.is_empty());
    assert!(matches!(book.begin(&name("wall"), now), Turn::Nothing));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_moves_leaves_its_former_unit() {
    let (mut book, now) = (book(), Instant::now());
    book.want(present("a", &[80]), 1, vec![shared("one"), shared("two")]);
    let news = book.want(present("a", &[80]), 1, vec![shared("two"), shared("three")]);
    assert_eq!(woken(&news.wakes), ["two"]);
    assert_eq!(book.unit_count(), 2);
    assert!(begin(&mut book, "one", now).is_none());
    let job = begin(&mut book, "two", now).unwrap();
    assert_eq!(woken(&reported(&mut book, &job, vec![done("a")]).wakes), ["three"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_made_again_and_again_is_made_less_and_less_often() {
    let now = Instant::now();
    let mut book = book();
    book.want(present("a", &[80]), 1, units());
    let mut pauses = Vec::new();
    for line in ["make it", "make it", "make it", "another"] {
        let job = begin(&mut book, "group", now).expect("it is its turn");
        let line = line.to_owned();
        let changed = Changed { line, effect: crate::cloud::Effect::Create, wanted_by: Vec::new() };
        let later = End::Later { again: SECOND, waits_for: Vec::new() };
        let passed = Passed { changes: vec![changed], ..ending(later, &[]) };
        let wakes = book.ended(&job, &passed, now).wakes;
        pauses.push(wakes.last().expect("it is looked at again").after.as_secs());
        reported(&mut book, &job, vec![on_the_way("a")]);
    }
    assert_eq!(pauses, [1, 5, 10, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_may_not_show_our_last_change_is_followed_by_one_that_does() {
    let (lag, start) = (3 * SECOND, Instant::now());
    let mut book = Book::new(Timing::default(), lag, start);
    let mut settled = Vec::new();
    let mut pass =
        |book: &mut TestBook, report: Report, changes: Vec<Changed>, end: End, at: u32| {
            let now = start + at * SECOND;
            let job = begin(book, "wall", now).expect("it is its turn");
            settled.push(job.settled.len());
            book.reported(&job, &job.world, vec![report], now);
            let passed = Passed { changes, ..ending(end, &[]) };
            let wakes = book.ended(&job, &passed, now).wakes;
            let is_unsure = book.progress(&id("a")).is_some_and(|it| it.is_unsure);
            (wakes.last().expect("it is looked at again").after, is_unsure)
        };
    let taken_away = || {
        let line = "take it away".to_owned();
        vec![Changed { line, effect: crate::cloud::Effect::Delete, wanted_by: vec![id("a")] }]
    };
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    let (after, is_unsure) = pass(&mut book, done("a"), Vec::new(), End::Done, 60);
    assert!(after > 60 * SECOND && !is_unsure, "nothing was changed before: {after:?}");

    book.want(absent("a"), 2, vec![shared("wall")]);
    let (_, is_unsure) = pass(&mut book, on_the_way("a"), taken_away(), End::Done, 61);
    assert!(!is_unsure, "its own changes a pass knows");
    // Nobody is left for a moment.
    book.forget(&id("a"));
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    assert_eq!(pass(&mut book, done("a"), Vec::new(), End::Done, 62), (2 * SECOND, true));
    let (after, is_unsure) = pass(&mut book, done("a"), Vec::new(), End::Done, 64);
    assert!(after > 60 * SECOND && !is_unsure, "by now it would show: {after:?}");

    // What changes then is changed by a look that may not show the first change either.
    pass(&mut book, done("a"), taken_away(), End::Done, 70);
    book.want(present("a", &[81]), 3, vec![shared("wall")]);
    assert_eq!(pass(&mut book, done("a"), taken_away(), End::Done, 72), (3 * SECOND, true));
    // What fails waits for its time, and no shorter.
    let failed = || End::Failed(CloudError::new(Kind::Unavailable, "away"));
    book.want(present("a", &[82]), 4, vec![shared("wall")]);
    assert_eq!(pass(&mut book, done("a"), Vec::new(), failed(), 73), (5 * SECOND, true));
    assert_eq!(
        settled,
        [0, 0, 0, 0, 1, 0, 0],
        "what is done after an unsure look is our own doing"
    );
}

/// For a cloud whose looks lag behind by three seconds.
fn behind(now: Instant) -> TestBook {
    Book::new(Timing::default(), 3 * SECOND, now)
}

/// A pass that has changed something for all.
fn changed() -> Passed {
    let (line, effect) = ("change it".to_owned(), crate::cloud::Effect::Update);
    let changes = vec![Changed { line, effect, wanted_by: Vec::new() }];
    Passed { changes, ..ending(End::Done, &[]) }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_by_an_unsure_look_is_tried_once_more() {
    let start = Instant::now();
    let mut book = behind(start);
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    pass(&mut book, "wall", start, vec![done("a")], &changed());
    book.want(present("a", &[81]), 2, vec![shared("wall")]);
    let refused = ending(End::Done, &[("a", Kind::InvalidConfiguration)]);
    let wake = pass(&mut book, "wall", start + SECOND, Vec::new(), &refused);
    assert_eq!(wake.after, 2 * SECOND);
    let job = begin(&mut book, "wall", start + 3 * SECOND).expect("it is tried again");
    assert_eq!(seen(&job), ["a present"]);
    book.ended(&job, &refused, start + 3 * SECOND);
    assert!(begin(&mut book, "wall", start + 60 * SECOND).is_none(), "and that was the answer");

    let mut book = behind(start);
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    pass(&mut book, "wall", start, vec![done("a")], &changed());
    book.want(present("a", &[81]), 2, vec![shared("wall")]);
    let failed = || ending(End::Failed(error(Kind::InvalidConfiguration)), &[]);
    let wake = pass(&mut book, "wall", start + SECOND, Vec::new(), &failed());
    assert_eq!(wake.after, 2 * SECOND, "nor is a failure of all");
    assert!(is_drift(&pass(&mut book, "wall", start + 3 * SECOND, Vec::new(), &failed())));
}

/// Each is refused for good, and neither answer makes the other's look unsure.
#[tokio::test(start_paused = true)]
async fn two_who_are_refused_do_not_keep_each_other_busy() {
    let start = Instant::now();
    let mut book = behind(start);
    for name in ["a", "b"] {
        book.want(present(name, &[80]), 1, vec![shared("wall")]);
    }
    let refused = |name| ending(End::Done, &[(name, Kind::InvalidConfiguration)]);
    pass(&mut book, "wall", start + SECOND, vec![done("b")], &refused("a"));
    book.want(present("b", &[81]), 2, vec![shared("wall")]);
    pass(&mut book, "wall", start + 2 * SECOND, Vec::new(), &refused("b"));
    // What both were refused for may have been from before the beginning.
    let mut looks = 0;
    for at in 3..600 {
        let Some(job) = begin(&mut book, "wall", start + at * SECOND) else { continue };
        looks += 1;
        let ids: Vec<_> = job.generations.keys().map(|id| id.name.to_string()).collect();
        let all: Vec<_> = ids.iter().map(|id| (id.as_str(), Kind::InvalidConfiguration)).collect();
        book.ended(&job, &ending(End::Done, &all), start + at * SECOND);
    }
    assert!((1..=3).contains(&looks), "{looks}");
}

fn walled(inputs: &str) -> Vec<Unit> {
    vec![Unit { inputs: Unit::own(&id(inputs)).inputs, ..shared("wall") }]
}

/// What is kept goes on following the nodes, also after a failure.
#[tokio::test(start_paused = true)]
async fn nodes_are_followed_until_it_is_done_where_all_are_kept() {
    let start = Instant::now();
    let mut book = Book::new(Timing::default(), Duration::ZERO, start);
    book.want(keep("a"), 1, walled("a"));
    book.members(Arc::from([]));
    let failed = ending(End::Failed(error(Kind::Unavailable)), &[]);
    let wake = pass(&mut book, "wall", start, Vec::new(), &failed);
    assert_eq!(wake.after, 5 * SECOND);
    let (again, waits_for) = (2 * SECOND, vec!["the old target".to_owned()]);
    let later = ending(End::Later { again, waits_for }, &[]);
    let wake = pass(&mut book, "wall", start + 5 * SECOND, Vec::new(), &later);
    assert_eq!(wake.after, 2 * SECOND);
    pass(&mut book, "wall", start + 7 * SECOND, Vec::new(), &ending(End::Done, &[]));
    assert!(begin(&mut book, "wall", start + 8 * SECOND).is_none());
}

/// Nodes come and go while no process runs, also those of who cannot be read when one begins.
#[tokio::test(start_paused = true)]
async fn who_is_kept_from_the_beginning_is_looked_at_for_the_nodes() {
    let start = Instant::now();
    let mut book = Book::new(Timing::default(), Duration::ZERO, start);
    book.members(Arc::from([]));
    let news = book.want(keep("a"), 1, walled("a"));
    let woken: Vec<_> = news.wakes.iter().map(|wake| (wake.unit.clone(), wake.after)).collect();
    assert_eq!(woken, [(name("wall"), FIRST_OF_KEPT)], "the units that are made from nodes");
    let job = begin(&mut book, "wall", start + FIRST_OF_KEPT).expect("for the nodes");
    assert_eq!(seen(&job), ["a kept"]);
    book.ended(&job, &ending(End::Done, &[]), start + FIRST_OF_KEPT);
    assert!(begin(&mut book, "wall", start + 6 * SECOND).is_none());
    // It changes, and is still kept.
    assert!(book.want(keep("a"), 2, walled("a")).wakes.is_empty());
    assert!(begin(&mut book, "wall", start + 7 * SECOND).is_none());
}

#[tokio::test(start_paused = true)]
async fn nodes_are_followed_whatever_else_it_is_woken_for() {
    let start = Instant::now();
    let mut book = Book::new(Timing::default(), Duration::ZERO, start);
    book.want(present("a", &[80]), 1, walled("a"));
    let refused = ending(End::Done, &[("a", Kind::InvalidConfiguration)]);
    book.members(Arc::from([]));
    // Who is refused is kept then, for the nodes.
    let wake = pass(&mut book, "wall", start, Vec::new(), &refused);
    assert_eq!(wake.after, SHORTEST_WAIT);
    let job = begin(&mut book, "wall", start + SECOND).expect("for the nodes");
    assert_eq!(seen(&job), ["a kept"]);
    book.ended(&job, &ending(End::Done, &[]), start + SECOND);
    // Another unit is done with it.
    book.wake(&shared("wall").name, Cause::Changed, None);
    assert!(begin(&mut book, "wall", start + 2 * SECOND).is_none(), "it is refused still");
    book.members(Arc::from([]));
    let job = begin(&mut book, "wall", start + 3 * SECOND).expect("for the nodes");
    assert_eq!(seen(&job), ["a kept"]);
}

#[tokio::test(start_paused = true)]
async fn an_unsure_look_is_made_up_for_where_all_are_kept() {
    let start = Instant::now();
    let mut book = behind(start);
    let wall = vec![Unit { inputs: Unit::own(&id("a")).inputs, ..shared("wall") }];
    book.want(keep("a"), 1, wall);
    book.members(Arc::from([]));
    pass(&mut book, "wall", start, Vec::new(), &changed());
    book.members(Arc::from([]));
    let wake = pass(&mut book, "wall", start + SECOND, Vec::new(), &ending(End::Done, &[]));
    assert_eq!(wake.after, 2 * SECOND);
    let wake = pass(&mut book, "wall", start + 3 * SECOND, Vec::new(), &ending(End::Done, &[]));
    assert!(is_drift(&wake));
    assert!(begin(&mut book, "wall", start + 4 * SECOND).is_none());
}

/// The pass began while they were kept, and ends when they are not any more.
#[tokio::test(start_paused = true)]
async fn whose_time_comes_during_a_pass_is_tried_after_it() {
    let start = Instant::now();
    let mut book = Book::new(Timing::default(), Duration::ZERO, start);
    let wall = vec![Unit { inputs: Unit::own(&id("a")).inputs, ..shared("wall") }];
    book.want(present("a", &[80]), 1, wall);
    let denied = ending(End::Done, &[("a", Kind::PermissionDenied)]);
    let wake = pass(&mut book, "wall", start, Vec::new(), &denied);
    assert_eq!(wake.after, SHORTEST_WAIT, "what it has follows the nodes");
    let kept = start + SHORTEST_WAIT;
    let wake = pass(&mut book, "wall", kept, Vec::new(), &ending(End::Done, &[]));
    assert_eq!(kept + wake.after, start + 5 * SECOND);
    book.members(Arc::from([]));
    let just_before = start + 5 * SECOND - Duration::from_millis(1);
    let job = begin(&mut book, "wall", just_before).expect("for the nodes");
    assert_eq!(seen(&job), ["a kept"]);
    let news = book.ended(&job, &ending(End::Done, &[]), start + 6 * SECOND);
    assert_eq!(news.wakes[0].after, SHORTEST_WAIT);
    let job = begin(&mut book, "wall", start + 6 * SECOND).expect("it is tried again");
    assert_eq!(seen(&job), ["a present"]);
}

#[tokio::test(start_paused = true)]
async fn who_begins_does_not_know_what_was_changed_just_before() {
    let start = Instant::now();
    let mut book = behind(start);
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    let at_rest = ending(End::Done, &[]);
    let wake = pass(&mut book, "wall", start + SECOND, vec![done("a")], &at_rest);
    assert!(book.progress(&id("a")).unwrap().is_unsure);
    // Not all at once, and not before it is sure.
    assert!(2 * SECOND <= wake.after && wake.after <= 5 * SECOND, "{:?}", wake.after);
    let wake = pass(&mut book, "wall", start + SECOND + wake.after, vec![done("a")], &at_rest);
    assert!(is_drift(&wake) && !book.progress(&id("a")).unwrap().is_unsure);
}

#[tokio::test(start_paused = true)]
async fn what_a_look_may_find_of_our_own_changes_is_nobody_elses_doing() {
    let start = Instant::now();
    let mut book = behind(start);
    let wall = vec![Unit { inputs: Unit::own(&id("a")).inputs, ..shared("wall") }];
    book.want(present("a", &[80]), 1, wall);
    pass(&mut book, "wall", start, vec![done("a")], &changed());
    let mut settled = |cause: Cause, at: u32| {
        match cause {
            Cause::Nodes => drop(book.members(Arc::from([]))),
            _ => drop(book.again(&id("a"))),
        }
        let now = start + at * SECOND;
        let job = begin(&mut book, "wall", now).expect("it is its turn");
        book.reported(&job, &job.world, vec![done("a")], now);
        book.ended(&job, &ending(End::Done, &[]), now);
        job.settled.len()
    };
    assert_eq!(settled(Cause::Retry, 1), 0, "its own change may not be seen yet");
    assert_eq!(settled(Cause::Nodes, 2), 1, "that nodes come and go is told all the same");
    assert_eq!(settled(Cause::Retry, 3), 0, "it makes up for the look before");
    assert_eq!(settled(Cause::Retry, 4), 1);
}

#[tokio::test(start_paused = true)]
async fn that_nothing_is_left_is_believed_only_when_what_was_made_last_would_be_seen() {
    let lag = 3 * SECOND;
    let mut now = Instant::now();
    let mut book = Book::new(Timing::default(), lag, now);
    let say = |book: &mut TestBook, aim: Report, changes: Vec<Changed>, now: Instant| {
        let job = begin(book, "wall", now).expect("it is its turn");
        book.reported(&job, &job.world, vec![aim], now);
        let passed = Passed { changes, ..ending(End::Done, &[]) };
        let wakes = book.ended(&job, &passed, now).wakes;
        wakes.last().expect("it is looked at again").after
    };
    // Whoever was before us may have made something just before we began.
    book.want(absent("a"), 0, vec![shared("wall")]);
    assert_eq!(say(&mut book, empty("a"), Vec::new(), now), lag);
    assert!(!book.progress(&id("a")).unwrap().is_gone);
    now += lag;
    say(&mut book, empty("a"), Vec::new(), now);
    assert!(book.progress(&id("a")).unwrap().is_gone);

    // And so may we.
    book.want(present("a", &[80]), 1, vec![shared("wall")]);
    now += 60 * SECOND;
    let line = "make it".to_owned();
    let changed = Changed { line, effect: crate::cloud::Effect::Create, wanted_by: vec![id("a")] };
    say(&mut book, done("a"), vec![changed], now);
    book.want(absent("a"), 0, vec![shared("wall")]);
    now += SECOND;
    assert_eq!(say(&mut book, empty("a"), Vec::new(), now), 2 * SECOND);
    assert!(!book.progress(&id("a")).unwrap().is_gone);
    now += 2 * SECOND;
    say(&mut book, empty("a"), Vec::new(), now);
    assert!(book.progress(&id("a")).unwrap().is_gone);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_kept_is_looked_at_when_nodes_come_and_go() {
    let now = Instant::now();
    let mut book = book();
    let with_nodes = Unit { inputs: Unit::own(&id("a")).inputs, ..shared("balancer") };
    book.want(keep("a"), 0, vec![with_nodes]);
    let job = begin(&mut book, "balancer", now).expect("nodes may have changed before");
    book.ended(&job, &ending(End::Done, &[]), now);
    assert!(begin(&mut book, "balancer", now).is_none(), "there is nothing to be done for it");
    assert_eq!(woken(&book.members(Arc::default()).wakes), ["balancer"]);
    let job = begin(&mut book, "balancer", now).expect("nodes have changed");
    assert!(job.world.wants.iter().all(is_kept));
    // What is said of it is still of no consequence.
    assert!(reported(&mut book, &job, vec![done("a")]).about.is_empty());
    book.ended(&job, &ending(End::Done, &[]), now);
    assert!(!book.progress(&id("a")).unwrap().is_done);
}

/// What is there may lack its targets, and nobody asks for them once its user cannot be read.
#[rstest]
#[case::failed(ending(End::Failed(error(Kind::Unavailable)), &[]), true)]
#[case::refused_on_the_way(made_and_refused("a"), true)]
#[case::refused_before_anything_was_made(ending(End::Done, &[("a", Kind::QuotaExceeded)]), false)]
#[case::done(ending(End::Done, &[]), false)]
#[tokio::test(start_paused = true)]
async fn what_is_half_made_is_looked_at_for_who_is_kept(
    #[case] passed: Passed,
    #[case] want: bool,
) {
    let (mut book, mut now) = (book(), Instant::now());
    let own = || vec![Unit { inputs: Unit::own(&id("a")).inputs, ..shared("own") }];
    book.want(present("a", &[80]), 1, own());
    pass(&mut book, "own", now, vec![done("a")], &ending(End::Done, &[]));
    book.want(present("a", &[443]), 2, own());
    now += 10 * SECOND;
    let job = begin(&mut book, "own", now).unwrap();
    assert_eq!(seen(&job), ["a present"]);
    book.ended(&job, &passed, now);
    book.want(keep("a"), 3, own());
    now += 10 * SECOND;
    let job = begin(&mut book, "own", now);
    assert_eq!(job.is_some(), want);
    if let Some(job) = job {
        assert_eq!(seen(&job), ["a kept"]);
        book.ended(&job, &ending(End::Done, &[]), now);
        assert!(begin(&mut book, "own", now + SECOND).is_none(), "once");
    }
}

/// A pass that has changed something and ended with a refusal.
fn made_and_refused(uid: &str) -> Passed {
    let (line, effect, wanted_by) =
        ("make it".to_owned(), crate::cloud::Effect::Create, vec![id(uid)]);
    let changes = vec![Changed { line, effect, wanted_by }];
    Passed { changes, ..ending(End::Done, &[(uid, Kind::QuotaExceeded)]) }
}

#[tokio::test(start_paused = true)]
async fn a_pass_for_the_sake_of_one_is_no_news_of_the_others_that_are_served() {
    let (mut book, now) = (book(), Instant::now());
    let wall = || vec![Unit { inputs: Unit::own(&id("a")).inputs, ..shared("wall") }];
    book.want(present("a", &[80]), 1, wall());
    pass(&mut book, "wall", now, vec![done("a")], &ending(End::Done, &[]));
    book.want(present("b", &[80]), 1, wall());
    let job = begin(&mut book, "wall", now).unwrap();
    reported(&mut book, &job, vec![done("a"), on_the_way("b")]);
    let again = End::Later { again: SECOND, waits_for: vec!["a rule".to_owned()] };
    assert_eq!(book.ended(&job, &ending(again, &[]), now).about, BTreeSet::from([id("b")]));

    // That a failure begins is news, and that it is over.
    for kind in [Some(Kind::Unavailable), None] {
        let job = begin(&mut book, "wall", now).unwrap();
        let end = kind.map_or(End::Done, |kind| End::Failed(error(kind)));
        let about = book.ended(&job, &ending(end, &[]), now).about;
        assert!(about.contains(&id("a")), "{kind:?}");
    }
}

/// What is looked at because of changes is looked at once in `spacing`; what is due is not held up, and
/// nothing is forgotten.
#[rstest]
#[case::at_once_where_it_was_not_looked_at_lately(10, None, None)]
#[case::changes_are_collected(4, None, Some(6))]
#[case::a_retry_is_due(5, Some(End::Failed(error(Kind::Unavailable))), None)]
#[case::a_wait_is_over(3, Some(later(3)), None)]
#[case::a_change_after_a_failure_is_collected_too(
    4,
    Some(End::Failed(error(Kind::Unavailable))),
    Some(6)
)]
#[tokio::test(start_paused = true)]
async fn passes_for_changes_are_kept_apart(
    #[case] after: u32,
    #[case] end: Option<End>,
    #[case] waits: Option<u64>,
) {
    let now = Instant::now();
    let timing = Timing { spacing: 10 * SECOND, ..Timing::default() };
    let mut book = TestBook::new(timing, Duration::ZERO, now);
    let table = || vec![shared("table")];
    book.want(present("a", &[80]), 1, table());
    let is_due = end.is_some() && waits.is_none();
    pass(&mut book, "table", now, vec![done("a")], &ending(end.unwrap_or(End::Done), &[]));
    if !is_due {
        book.want(present("a", &[81]), 2, table());
    }
    let then = now + after * SECOND;
    match (book.begin(&name("table"), then), waits) {
        (Turn::Pass(_), None) => {}
        (Turn::Wait(pause), Some(waits)) => {
            assert_eq!(pause, Duration::from_secs(waits));
            let Turn::Pass(job) = book.begin(&name("table"), then + pause) else {
                panic!("not forgotten");
            };
            assert_eq!((seen(&job), job.cause), (vec!["a present".to_owned()], Cause::Changed));
        }
        (turn, _) => panic!("{turn:?}"),
    }
}

fn later(seconds: u64) -> End {
    End::Later { again: Duration::from_secs(seconds), waits_for: vec!["something".to_owned()] }
}

/// Who waits for the first of something makes the unit urgent, though the others are not asked again.
#[tokio::test(start_paused = true)]
async fn one_who_waits_makes_a_unit_urgent_that_is_woken_already() {
    let mut book = book();
    let urgency = |news: News| news.wakes[0].urgency;
    let served = |uid: &str| {
        let hostname = IngressAddress::Hostname("a.example".to_owned());
        let point = IngressPoint { address: hostname, mode: None, ports: Vec::new() };
        let identity = crate::cloud::Identity { ingress: vec![point], ..identity(id(uid)) };
        Want::Present(Arc::new(LoadBalancerSpec {
            identity: Arc::new(identity),
            ..spec(id(uid), &[80])
        }))
    };
    let table = || vec![shared("table")];
    assert_eq!(urgency(book.want(served("a"), 1, table())), Urgency::Refresh);
    assert_eq!(urgency(book.want(present("b", &[80]), 1, table())), Urgency::Initialize);
    assert_eq!(urgency(book.want(served("c"), 1, table())), Urgency::Refresh);
    let job = begin(&mut book, "table", Instant::now()).unwrap();
    assert_eq!(job.urgency, Urgency::Initialize);
}

/// A look that was not believed is repeated when it would be; where that fails, as any failure is.
#[tokio::test(start_paused = true)]
async fn a_doubt_is_no_reason_to_repeat_what_fails_at_once() {
    let (lag, now) = (3 * SECOND, Instant::now());
    let mut book = Book::new(Timing::default(), lag, now);
    book.want(absent("a"), 0, vec![shared("wall")]);
    let doubted = pass(&mut book, "wall", now, vec![empty("a")], &ending(End::Done, &[]));
    assert_eq!(doubted.after, lag);
    let failed = ending(End::Failed(error(Kind::Unavailable)), &[]);
    let pauses = [1, 2].map(|_| pass(&mut book, "wall", now + lag, Vec::new(), &failed).after);
    assert_eq!(pauses, [5 * SECOND, 10 * SECOND]);
}

/// One that has its address is looked at as often as all; one that waits, and has a unit of its own, is
/// looked at again in a moment.
#[rstest]
#[case::in_a_unit_of_its_own(UnitName::Own(id("a")), 1)]
#[case::in_a_table(name("table"), 10)]
#[tokio::test(start_paused = true)]
async fn who_waits_in_a_unit_of_its_own_is_not_held_up(#[case] unit: UnitName, #[case] waits: u64) {
    let now = Instant::now();
    let timing = Timing { spacing: 10 * SECOND, ..Timing::default() };
    let mut book = TestBook::new(timing, Duration::ZERO, now);
    let units = || vec![Unit { name: unit.clone(), ..Unit::own(&id("a")) }];
    book.want(present("a", &[80]), 1, units());
    assert!(matches!(book.begin(&unit, now), Turn::Pass(_)));
    book.want(present("a", &[81]), 2, units());
    let turn = book.begin(&unit, now);
    assert!(matches!(turn, Turn::Wait(pause) if pause == Duration::from_secs(waits)), "{turn:?}");
}
