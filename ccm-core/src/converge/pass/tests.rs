use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::*;
use crate::cloud::{
    Bucket, Change, CloudError, Converge, Effect, Freshness, Holds, LoadBalancerSpec, Operation,
    Owned, Read, Urgency, Verdict,
};
use crate::cluster::gate::Gate;
use crate::converge::wants::{Wanted, absent, ports, present};
use crate::governor::Governor;
use crate::telemetry::CloudMetrics;

/// A firewall that all Services share, and whose cloud refuses some ports.
#[derive(Clone, Debug, Default)]
struct Wall {
    open: Arc<Mutex<BTreeSet<u16>>>,
    refuses: Arc<Mutex<BTreeMap<u16, Kind>>>,
    /// So many looks say that a port is not open though it is.
    blind: Arc<Mutex<usize>>,
    /// So many looks after each change show what was there before it.
    lags: usize,
    /// What they show, and how many are left.
    before: Arc<Mutex<(BTreeSet<u16>, usize)>>,
    /// Knows that what is kept has nothing here.
    closes_beside_kept: Arc<std::sync::atomic::AtomicBool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum WallChange {
    Open(u16),
    Close(u16),
}

impl fmt::Display for WallChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(port) => write!(f, "open {port}"),
            Self::Close(port) => write!(f, "close {port}"),
        }
    }
}

impl Change for WallChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Open(_) => Effect::Update,
            Self::Close(_) => Effect::Delete,
        }
    }
}

#[async_trait]
impl Converge<LoadBalancerSpec> for Wall {
    type Observed = BTreeSet<u16>;
    type Change = WallChange;

    fn units(&self, _: &Wanted) -> Vec<Unit> {
        vec![Unit::shared("wall")]
    }

    async fn observe(
        &self,
        _: &Read,
        _: &Unit,
        _: &World<LoadBalancerSpec>,
    ) -> Result<BTreeSet<u16>, CloudError> {
        let open = self.open.lock().unwrap().clone();
        let mut before = self.before.lock().unwrap();
        if before.1 > 0 {
            before.1 -= 1;
            return Ok(before.0.clone());
        }
        let mut blind = self.blind.lock().unwrap();
        if *blind == 0 || open.is_empty() {
            return Ok(open);
        }
        *blind -= 1;
        Ok(BTreeSet::new())
    }

    fn plan(
        &self,
        _: &Unit,
        world: &World<LoadBalancerSpec>,
        open: &BTreeSet<u16>,
    ) -> Plan<WallChange> {
        let missing = |want: &Wanted| -> Vec<_> {
            let step = |port: &u16| {
                let step = Step::new(WallChange::Open(*port)).wanted_by(want.id());
                // 99 is a port that nobody needs.
                if *port == 99 {
                    step.tolerating(Kind::Unsupported, "99 stays closed")
                } else {
                    step
                }
            };
            ports(want).difference(open).map(step).collect()
        };
        let wanted: BTreeSet<u16> = world.wants.iter().flat_map(ports).collect();
        let keeps = world.wants.iter().any(|want| matches!(want, Want::Keep(_)));
        let keeps = keeps && !self.closes_beside_kept.load(std::sync::atomic::Ordering::Relaxed);
        let close = open.difference(&wanted).filter(|_| !keeps);
        let close = close.map(|port| Step::new(WallChange::Close(*port))).collect();
        let report = |want: &Wanted| {
            let is_left = !matches!(want, Want::Absent(_)) || !keeps && !open.is_empty();
            let holds = if is_left { Holds::Something } else { Holds::Nothing };
            Report::new(want.id(), holds, Verdict::Done)
        };
        Plan {
            stages: vec![world.wants.iter().flat_map(missing).collect(), close],
            later: Vec::new(),
            reports: world.wants.iter().map(report).collect(),
        }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &WallChange,
        _: &BTreeSet<u16>,
    ) -> Result<Learnt<BTreeSet<u16>>, CloudError> {
        let send = async {
            let mut open = self.open.lock().unwrap();
            let mut before = self.before.lock().unwrap();
            if self.lags > 0 && before.1 < self.lags {
                *before = (open.clone(), self.lags);
            }
            match change {
                WallChange::Open(port) => {
                    let mut refuses = self.refuses.lock().unwrap();
                    match refuses.get(port).copied() {
                        // Somebody else was quicker, once, and closed all that was open.
                        Some(Kind::Conflict) => {
                            refuses.remove(port);
                            open.clear();
                            return Err(CloudError::new(Kind::Conflict, "changed"));
                        }
                        Some(kind) => return Err(CloudError::new(kind, format!("not {port}"))),
                        None => drop(open.insert(*port)),
                    }
                }
                WallChange::Close(port) => match self.refuses.lock().unwrap().get(port) {
                    Some(kind) => return Err(CloudError::new(*kind, format!("not {port}"))),
                    None => drop(open.remove(port)),
                },
            }
            Ok(Learnt::Now(open.clone()))
        };
        cx.call(Operation("Change"), Bucket("writes"), send).await
    }

    async fn inventory(&self, _: &Read) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }
}

/// Writes down what is sent and when something is published, and of whom it was said that nothing is left.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    gone: Mutex<Vec<String>>,
}

const PUBLISHED: &str = "published";

#[async_trait]
impl Around<LoadBalancerSpec> for Log {
    fn leave(&self, freshness: Freshness) -> Write {
        let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        governor.write(Urgency::Refresh, freshness, deadline)
    }

    fn publish(&self, _: &Unit, _: &World<LoadBalancerSpec>, reports: Vec<Report>) {
        self.lines.lock().unwrap().push(PUBLISHED.to_owned());
        let gone = reports.iter().filter(|report| report.holds == Holds::Nothing);
        self.gone.lock().unwrap().extend(gone.map(|report| report.id.name.to_string()));
    }

    async fn before(&self, _: &Unit, step: &Step<AnyChange>) -> Result<(), CloudError> {
        self.lines.lock().unwrap().push(step.change.to_string());
        Ok(())
    }
}

/// How a pass ended, and what was sent and published.
async fn logged(wall: &Wall, wants: Vec<Wanted>) -> (Passed, Vec<String>) {
    let log = Log::default();
    let world = World { wants, nodes: Arc::default() };
    let passed = pass(&Converger::new(wall.clone()), &Unit::shared("wall"), world, &log).await;
    (passed, log.lines.into_inner().unwrap())
}

async fn passed(wall: &Wall, wants: Vec<Wanted>) -> (Passed, Vec<String>) {
    let (passed, mut lines) = logged(wall, wants).await;
    lines.retain(|line| line != PUBLISHED);
    (passed, lines)
}

fn open(wall: &Wall) -> Vec<u16> {
    wall.open.lock().unwrap().iter().copied().collect()
}

fn refusing(port: u16, kind: Kind) -> Wall {
    let wall = Wall::default();
    wall.refuses.lock().unwrap().insert(port, kind);
    wall
}

#[tokio::test]
async fn a_pass_ends_when_nothing_differs_and_the_next_sends_nothing() {
    let wall = Wall::default();
    let wants = || vec![present("a", &[80, 443]), present("b", &[22])];
    let (passed, sent) = self::passed(&wall, wants()).await;
    assert!(matches!(passed.end, End::Done));
    assert_eq!(sent, ["open 80", "open 443", "open 22"]);
    let (passed, sent) = self::passed(&wall, wants()).await;
    assert!(matches!(passed.end, End::Done) && sent.is_empty());
}

#[tokio::test]
async fn reports_are_published_before_the_first_stage_and_after_each() {
    let wall = Wall::default();
    wall.open.lock().unwrap().insert(7);
    let (_, lines) = logged(&wall, vec![present("a", &[80])]).await;
    assert_eq!(lines, [PUBLISHED, "open 80", PUBLISHED, "close 7", PUBLISHED]);
}

#[tokio::test]
async fn one_users_mistake_stays_theirs() {
    let wall = refusing(1, Kind::InvalidConfiguration);
    let wants = vec![present("a", &[80]), present("bad", &[1]), present("c", &[443])];
    let (passed, _) = self::passed(&wall, wants).await;
    assert!(matches!(passed.end, End::Done), "{passed:?}");
    let refused: Vec<_> = passed.refused.iter().map(|(id, err)| (&*id.name, err.kind())).collect();
    assert_eq!(refused, [("bad", Kind::InvalidConfiguration)]);
    assert_eq!(open(&wall), [80, 443]);
}

/// Each is tried alone, with the other kept: neither is let go because the other still seems to need it.
#[tokio::test]
async fn two_who_go_are_not_each_others_excuse() {
    let wall = refusing(7, Kind::PermissionDenied);
    wall.open.lock().unwrap().extend([7, 8]);
    let gone = async || {
        let log = Log::default();
        let wants = vec![absent("a"), absent("b")];
        let world = World { wants, nodes: Arc::default() };
        pass(&Converger::new(wall.clone()), &Unit::shared("wall"), world, &log).await;
        log.gone.into_inner().unwrap()
    };
    assert_eq!(gone().await, Vec::<String>::new());
    assert_eq!(open(&wall), [7], "what could go went");
    wall.refuses.lock().unwrap().clear();
    assert_eq!(gone().await, ["a", "b"]);
    assert_eq!(open(&wall), Vec::<u16>::new());
}

#[tokio::test]
async fn what_the_account_lacks_is_not_tried_for_each_and_holds_up_nobody_who_leaves() {
    let wall = Wall::default();
    let mut wants: Vec<_> = (1..=20).map(|n| present(&format!("s{n:02}"), &[n])).collect();
    for port in 1..=20 {
        wall.refuses.lock().unwrap().insert(port, Kind::QuotaExceeded);
    }
    // Somebody's whose closing comes behind the openings, and would free some of the quota.
    wall.open.lock().unwrap().insert(443);
    wants.push(present("settled", &[22]));
    wall.open.lock().unwrap().insert(22);
    wall.closes_beside_kept.store(true, std::sync::atomic::Ordering::Relaxed);
    let (passed, sent) = self::passed(&wall, wants).await;
    assert_eq!(passed.end, End::Done);
    assert_eq!(passed.refused.len(), 20);
    assert_eq!(sent.len(), 20 + ALIKE + 1);
    assert_eq!(open(&wall), [22]);
}

#[tokio::test]
async fn what_users_got_wrong_is_tried_for_each() {
    let wall = Wall::default();
    let wants: Vec<_> = (1..=20).map(|n| present(&format!("s{n:02}"), &[n])).collect();
    for port in 1..=20 {
        wall.refuses.lock().unwrap().insert(port, Kind::InvalidConfiguration);
    }
    let (passed, sent) = self::passed(&wall, wants).await;
    assert_eq!(passed.end, End::Done);
    assert_eq!((passed.refused.len(), sent.len()), (20, 40));
}

#[tokio::test]
async fn a_cloud_that_is_away_is_nobodys_mistake() {
    let wall = refusing(1, Kind::Unavailable);
    let (passed, sent) = self::passed(&wall, vec![present("a", &[80]), present("b", &[1])]).await;
    assert!(matches!(&passed.end, End::Failed(err) if err.kind() == Kind::Unavailable));
    assert!(passed.refused.is_empty());
    // The others of its stage were sent all the same.
    assert_eq!(sent, ["open 80", "open 1"]);
    assert_eq!(open(&wall), [80]);
}

#[tokio::test]
async fn who_was_not_quick_enough_looks_again() {
    let wall = refusing(80, Kind::Conflict);
    let (passed, sent) = self::passed(&wall, vec![present("a", &[80])]).await;
    assert!(matches!(passed.end, End::Done));
    assert_eq!(sent, ["open 80", "open 80"]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_undid_meanwhile_is_sent_again_without_a_pause() {
    let wall = refusing(80, Kind::Conflict);
    let began = tokio::time::Instant::now();
    let (passed, sent) = self::passed(&wall, vec![present("a", &[22, 80])]).await;
    assert!(matches!(passed.end, End::Done));
    assert_eq!(sent, ["open 22", "open 80", "open 22", "open 80"]);
    assert!(began.elapsed() < LAGS[0]);
}

#[tokio::test]
async fn a_tolerated_failure_leaves_a_note_and_the_rest_goes_on() {
    let wall = refusing(99, Kind::Unsupported);
    wall.open.lock().unwrap().insert(7);
    let (passed, sent) = self::passed(&wall, vec![present("a", &[99])]).await;
    assert!(matches!(passed.end, End::Done), "{passed:?}");
    assert_eq!(passed.notes.len(), 1);
    assert!(passed.notes[0].1.starts_with("99 stays closed: "), "with why: {:?}", passed.notes);
    assert_eq!(sent, ["open 99", "close 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_goes_in_circles_is_caught() {
    let wall = Wall { blind: Arc::new(Mutex::new(usize::MAX)), ..Wall::default() };
    // Two steps, so that what an answer taught is not relied on.
    let (passed, sent) = self::passed(&wall, vec![present("a", &[80, 443])]).await;
    assert!(matches!(&passed.end, End::Failed(err) if err.kind() == Kind::Internal), "{passed:?}");
    assert_eq!(sent.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_whose_reads_lag_behind_is_looked_at_again() {
    let wall = Wall { blind: Arc::new(Mutex::new(LAGS.len())), ..Wall::default() };
    let (passed, sent) = self::passed(&wall, vec![present("a", &[80, 443])]).await;
    assert!(matches!(passed.end, End::Done), "{passed:?}");
    assert_eq!(sent.len(), 2);
}

/// Each change may be seen late, however many there were before it.
#[tokio::test(start_paused = true)]
async fn each_change_has_its_time_to_be_seen() {
    let wall = Wall { lags: LAGS.len(), ..Wall::default() };
    wall.open.lock().unwrap().extend([7, 8]);
    // Two of each, so that what an answer taught is not relied on.
    let (passed, sent) = self::passed(&wall, vec![present("a", &[80, 443])]).await;
    assert!(matches!(passed.end, End::Done), "{passed:?}");
    assert_eq!(sent, ["open 80", "open 443", "close 7", "close 8"]);
    assert_eq!(open(&wall), [80, 443]);
}
