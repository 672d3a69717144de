//! Many askers, one clock that stands still while anybody can do something.

use std::collections::BTreeMap;

use futures::future::{join_all, pending};
use futures::{FutureExt, join};
use tokio::time::{sleep, timeout};

use super::*;
use crate::cloud::{Freshness, Urgency};
use crate::cluster::gate::Gate;
use crate::governor::Governor;
use crate::telemetry::CloudMetrics;

type Answer = BTreeMap<u32, String>;

/// A cloud that answers everything after a second, and remembers the questions.
struct Cloud {
    gather: Gather<u32, Answer>,
    calls: Mutex<Vec<Vec<u32>>>,
}

impl Cloud {
    fn with_limit(limit: usize) -> Self {
        let gather = Gather::new(NonZeroUsize::new(limit).unwrap());
        Self { gather, calls: Mutex::default() }
    }

    fn note(&self, keys: &[u32]) {
        self.calls.lock().unwrap().push(keys.to_vec());
    }

    fn calls(&self) -> Vec<Vec<u32>> {
        self.calls.lock().unwrap().clone()
    }

    async fn ask(&self, keys: &[u32]) -> Result<Arc<Answer>, CloudError> {
        let cx = leave(Duration::from_mins(1));
        let call = |keys: Vec<u32>| async move {
            self.note(&keys);
            sleep(Duration::from_secs(1)).await;
            Ok(keys.into_iter().map(|key| (key, format!("of {key}"))).collect())
        };
        self.gather.ask(&cx, keys.to_vec(), call).await
    }

    fn is_idle(&self) -> bool {
        let state = self.gather.state();
        state.waiting.is_empty() && state.leader.is_none()
    }
}

fn leave(patience: Duration) -> Read {
    let governor = Governor::new(Gate::always_open(), CloudMetrics::unread());
    governor.read(Urgency::Refresh, Freshness::Live, patience)
}

fn has(answer: &Result<Arc<Answer>, CloudError>, key: u32) -> bool {
    answer.as_ref().unwrap().contains_key(&key)
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_at_once_share_a_call() {
    let cloud = Cloud::with_limit(100);
    let all = join_all((0..50).map(|key| cloud.ask_owned(vec![key, 1000]))).await;
    let want: Vec<u32> = (0..50).chain([1000]).collect();
    assert_eq!(cloud.calls(), [want], "each key once");
    assert!((0..50).all(|key| has(&all[key as usize], key)));
    assert!(cloud.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_lone_question_waits_for_5_ms_and_no_more() {
    let cloud = Cloud::with_limit(100);
    let began = Instant::now();
    cloud.ask(&[1]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(1) + GATHERING);
}

#[tokio::test(start_paused = true)]
async fn a_call_has_no_more_keys_than_it_may() {
    let cloud = Cloud::with_limit(3);
    let began = Instant::now();
    let all = join_all((0..4).map(|key| cloud.ask_owned(vec![key, key + 10]))).await;
    assert!((0..4).all(|key| has(&all[key as usize], key)));
    assert_eq!(cloud.calls(), [[0, 10], [1, 11], [2, 12], [3, 13]]);
    assert_eq!(began.elapsed(), Duration::from_secs(1) + GATHERING, "they do not wait in a row");
    let same = join!(cloud.ask(&[1, 2]), cloud.ask(&[2, 3]), cloud.ask(&[4]));
    assert!(has(&same.1, 3) && has(&same.2, 4));
    assert_eq!(cloud.calls()[4..], [vec![1, 2, 3], vec![4]]);
    let large = cloud.ask(&[1, 2, 3, 4, 5]).await;
    assert!(has(&large, 5), "one that is too large is asked all the same");
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_call_was_made_gets_another() {
    let cloud = Cloud::with_limit(100);
    let late = async {
        sleep(Duration::from_millis(6)).await;
        cloud.ask(&[1]).await
    };
    let (first, second) = join!(cloud.ask(&[1]), late);
    assert!(has(&first, 1) && has(&second, 1));
    assert_eq!(cloud.calls().len(), 2, "an answer from before the question says nothing");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_everybodys() {
    let cloud = Cloud::with_limit(100);
    let cx = leave(Duration::from_mins(1));
    let ask = |key| {
        let call = |_| async {
            cloud.note(&[]);
            Err(CloudError::new(Kind::PermissionDenied, "not allowed"))
        };
        cloud.gather.ask(&cx, vec![key], call)
    };
    let (one, other) = join!(ask(1), ask(2));
    for err in [one.unwrap_err(), other.unwrap_err()] {
        assert_eq!((err.kind(), err.message()), (Kind::PermissionDenied, "not allowed"));
    }
    assert_eq!(cloud.calls().len(), 1);
    cloud.ask(&[1]).await.unwrap();
    assert!(cloud.is_idle());
}

/// The one who leads is dropped before, at, and after the call begins: another makes it.
#[tokio::test(start_paused = true)]
async fn a_dropped_leader_leaves_nobody_hanging() {
    for millis in [0, 1, 4, 5, 6, 500] {
        let cloud = Cloud::with_limit(100);
        let leader = timeout(Duration::from_millis(millis), cloud.ask(&[1]));
        let (leader, second, third) = join!(leader, cloud.ask(&[2]), cloud.ask(&[3]));
        assert!(leader.is_err(), "{millis}: it was dropped");
        assert!(has(&second, 2) && has(&third, 3), "{millis}");
        assert!(cloud.is_idle(), "{millis}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_follower_is_not_asked_for() {
    let cloud = Cloud::with_limit(100);
    let follower = async { timeout(Duration::from_millis(2), cloud.ask(&[2])).await };
    let (first, follower, third) = join!(cloud.ask(&[1]), follower, cloud.ask(&[3]));
    assert!(has(&first, 1) && follower.is_err() && has(&third, 3));
    assert_eq!(cloud.calls(), [[1, 3]]);
}

/// Leaders and followers go away in any order, at any time: whoever stays is answered.
#[tokio::test(start_paused = true)]
async fn whoever_stays_is_answered() {
    for seed in 0_u64..200 {
        let cloud = Cloud::with_limit(3);
        let askers = (0_u32..12).map(|key| {
            let draw = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ u64::from(key) << 7);
            let (begins, patience) = (draw >> 11 & 7, draw >> 23 & 15);
            let cloud = &cloud;
            async move {
                sleep(Duration::from_millis(begins)).await;
                let ask = cloud.ask_owned(vec![key]);
                if patience < 10 {
                    // At once for some, who were never polled.
                    if patience == 0 {
                        return ask.now_or_never().is_none();
                    }
                    timeout(Duration::from_millis(patience), ask).await.is_err()
                } else {
                    has(&ask.await, key)
                }
            }
        });
        let all = timeout(Duration::from_mins(10), join_all(askers)).await;
        assert!(all.expect("nobody hangs").iter().all(|is_well| *is_well), "{seed}");
        assert!(cloud.is_idle(), "{seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leaders_deadline_is_its_own() {
    let cloud = Cloud::with_limit(100);
    let (hasty, patient) = (leave(Duration::from_millis(100)), leave(Duration::from_mins(1)));
    let hangs = |_| async {
        cloud.note(&[0]);
        sleep(Duration::from_millis(100)).await;
        Err(CloudError::new(Kind::Unavailable, "no time left"))
    };
    let answers = |keys: Vec<u32>| async {
        cloud.note(&[1]);
        Ok(keys.into_iter().map(|key| (key, String::new())).collect())
    };
    let first = cloud.gather.ask(&hasty, vec![1], hangs);
    let second = cloud.gather.ask(&patient, vec![2], answers);
    let (first, second) = join!(first, second);
    assert_eq!(first.unwrap_err().kind(), Kind::Unavailable);
    assert!(has(&second, 2));
    assert_eq!(cloud.calls(), [[0], [1]]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_does_not_wait_beyond_its_deadline() {
    let cloud = Cloud::with_limit(100);
    let hasty = leave(Duration::from_millis(100));
    let began = Instant::now();
    let follower = async {
        let follower = cloud.gather.ask(&hasty, vec![2], |_| pending());
        let err = follower.await.unwrap_err();
        (err.kind(), began.elapsed())
    };
    let (first, follower) = join!(cloud.ask(&[1]), follower);
    assert!(has(&first, 1));
    assert_eq!(follower, (Kind::Unavailable, Duration::from_millis(100)));
}

impl Cloud {
    async fn ask_owned(&self, keys: Vec<u32>) -> Result<Arc<Answer>, CloudError> {
        self.ask(&keys).await
    }
}
