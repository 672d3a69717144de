//! An object that waits: when it is looked at again, and when its owner is told.
//!
//! Pure: time is handed in.

use std::time::Duration;

use tokio::time::Instant;

use crate::cloud::Retry;

/// What has waited this long is told so, by an event, and a node by a condition too.
pub(in crate::controllers) const PATIENCE: Duration = Duration::from_secs(10);

/// Between two objects that are told so. Thousands may wait for one revoked token, and each answer of
/// the cloud is the same for all.
const PACE: Duration = Duration::from_millis(100);

/// The first pause before an object is looked at again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// A look at a hundred of them is one call, so there is no need to be slower than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Beats in a pause. Looks fall on beats that are common to all, so that those of objects which
/// began to wait at different times share their calls: without, each spread-out look was a call.
const BEATS: u32 = 8;

/// In place of a reason: nobody knows which one stands on the object.
const UNSURE: &str = "";

/// What an object waits for.
pub(in crate::controllers) trait Awaited {
    /// In one word, which is what is told again when it changes.
    fn reason(&self) -> &'static str;

    /// When to look again.
    fn retry(&self) -> Retry;
}

/// An object that waits.
#[derive(Debug)]
pub(in crate::controllers) struct Waiting<W> {
    /// For what.
    pub(in crate::controllers) wait: W,
    since: Instant,
    looks: u32,
    look_again: Instant,
    announce_at: Option<Instant>,
    /// The reason that stands on the object, or that its owner heard, by our own hand.
    pub(in crate::controllers) announced: Option<&'static str>,
}

/// What to do with a waiting object now.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::controllers) enum Next {
    /// Ask the cloud.
    Look,
    /// Tell its owner.
    Announce,
    /// Nothing before this time.
    Rest(Duration),
}

impl<W: Awaited> Waiting<W> {
    /// An object that has begun to wait: it was first looked at at `since`.
    ///
    /// `standing` is the reason that its condition gives already, from an earlier process.
    pub(in crate::controllers) fn new(wait: W, since: Instant, standing: Option<&str>) -> Self {
        let announced = (standing == Some(wait.reason())).then_some(wait.reason());
        Self { wait, since, looks: 0, look_again: since, announce_at: None, announced }
    }

    /// Takes the answer of one more look and plans the next.
    ///
    /// `slow` is the time until the look that is due in any case, and `spread` a number in 0..1
    /// that keeps thousands from coming back at once.
    pub(in crate::controllers) fn again(
        &mut self,
        wait: W,
        pace: &mut Pace,
        now: Instant,
        slow: Duration,
        spread: f64,
    ) {
        let growing = growing(FIRST_PAUSE, self.looks);
        let (pause, beat) = match wait.retry() {
            Retry::Backoff => (growing.mul_f64(1.0 + 0.5 * spread), growing / BEATS),
            Retry::After(pause) => {
                // Some clouds complain and ask for no pause at all.
                let pause = pause.min(slow).max(FIRST_PAUSE);
                (pause + FIRST_PAUSE.mul_f64(spread), FIRST_PAUSE / BEATS)
            }
            Retry::OnChange | Retry::Never => (slow, FIRST_PAUSE / BEATS),
        };
        self.looks = self.looks.saturating_add(1);
        self.wait = wait;
        self.look_again = pace.on_beat(now + pause, beat);
        if self.announced == Some(self.wait.reason()) {
            self.announce_at = None;
        } else if self.announce_at.is_none() {
            self.announce_at = Some(if now < self.since + PATIENCE {
                self.since + PATIENCE
            } else {
                pace.next(now)
            });
        }
    }

    /// What comes next.
    pub(in crate::controllers) fn next(&mut self, pace: &mut Pace, now: Instant) -> Next {
        if self.look_again <= now {
            return Next::Look;
        }
        match self.announce_at {
            // The time to speak has come, but the turn has not been taken yet.
            Some(at) if at <= now && at == self.since + PATIENCE => {
                let turn = pace.next(now);
                self.announce_at = Some(turn);
                if turn <= now {
                    return Next::Announce;
                }
            }
            Some(at) if at <= now => return Next::Announce,
            Some(_) | None => {}
        }
        let next = self.announce_at.map_or(self.look_again, |at| at.min(self.look_again));
        Next::Rest(next.saturating_duration_since(now))
    }

    /// The object changed: look at once.
    pub(in crate::controllers) fn wake(&mut self, now: Instant) {
        self.look_again = now;
    }

    /// Its owner was told.
    pub(in crate::controllers) fn told(&mut self) {
        self.announced = Some(self.wait.reason());
        self.announce_at = None;
    }

    /// A write failed that would have said something else. It may stand there or not: whatever is
    /// waited for next is told.
    pub(in crate::controllers) fn unsure(&mut self) {
        if self.announced.is_some() {
            self.announced = Some(UNSURE);
        }
    }

    /// Telling its owner failed: it is tried again, but not at once.
    pub(in crate::controllers) fn not_told(&mut self, now: Instant) {
        self.unsure();
        self.announce_at = Some(now + PATIENCE);
    }
}

/// Turns at a steady pace, and beats at which many may come together.
#[derive(Debug)]
pub(in crate::controllers) struct Pace {
    start: Instant,
    last: Option<Instant>,
}

impl Pace {
    pub(in crate::controllers) fn new(start: Instant) -> Self {
        Self { start, last: None }
    }

    /// Takes the next free turn.
    fn next(&mut self, now: Instant) -> Instant {
        let turn = self.last.map_or(now, |last| (last + PACE).max(now));
        self.last = Some(turn);
        turn
    }

    /// The first beat that is not before `at`.
    fn on_beat(&self, at: Instant, beat: Duration) -> Instant {
        let beat = beat.as_millis().max(1);
        let beats = at.saturating_duration_since(self.start).as_millis().div_ceil(beat);
        let offset = u64::try_from(beats * beat).map_or(Duration::MAX, Duration::from_millis);
        self.start.checked_add(offset).unwrap_or(at)
    }
}

/// This pause, doubled for each of those before it.
pub(super) fn growing(first: Duration, before: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_mins(5);

    #[derive(Debug)]
    struct Wait(&'static str, Retry);

    impl Awaited for Wait {
        fn reason(&self) -> &'static str {
            self.0
        }

        fn retry(&self) -> Retry {
            self.1
        }
    }

    fn wait(reason: &'static str, retry: Retry) -> Wait {
        Wait(reason, retry)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_not_told() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        let denied = || wait("PermissionDenied", Retry::Backoff);
        let mut waiting = Waiting::new(denied(), start, None);
        waiting.again(denied(), &mut pace, start, SLOW, 0.0);
        assert_eq!(waiting.next(&mut pace, start), Next::Rest(seconds(1)));
        assert_eq!(waiting.next(&mut pace, start + seconds(1)), Next::Look);
        waiting.again(denied(), &mut pace, start + seconds(9), SLOW, 0.0);
        // Told when ten seconds are over, before the next look.
        assert_eq!(waiting.next(&mut pace, start + seconds(9)), Next::Rest(seconds(1)));
        assert_eq!(waiting.next(&mut pace, start + seconds(10)), Next::Announce);
        waiting.told();
        assert_eq!(waiting.next(&mut pace, start + seconds(10)), Next::Rest(seconds(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn thousands_are_told_one_after_the_other_and_each_once() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        let late = start + PATIENCE;
        let mut all: Vec<_> = (0..50)
            .map(|_| {
                let mut one = Waiting::new(wait("Denied", Retry::OnChange), start, None);
                one.again(wait("Denied", Retry::OnChange), &mut pace, start, SLOW, 0.0);
                one
            })
            .collect();
        let told_by = |all: &mut Vec<Waiting<Wait>>, pace: &mut Pace, now: Instant| {
            let due = all
                .iter_mut()
                .filter_map(|one| (one.next(pace, now) == Next::Announce).then(|| one.told()));
            due.count()
        };
        assert_eq!(told_by(&mut all, &mut pace, late), 1);
        assert_eq!(told_by(&mut all, &mut pace, late + seconds(1)), 10);
        assert_eq!(told_by(&mut all, &mut pace, late + seconds(60)), 39);
        assert_eq!(told_by(&mut all, &mut pace, late + seconds(99)), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_reason_is_told_and_an_old_one_is_not() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        let mut waiting = Waiting::new(wait("A", Retry::OnChange), start, Some("A"));
        waiting.again(wait("A", Retry::OnChange), &mut pace, start, SLOW, 0.0);
        assert_eq!(waiting.next(&mut pace, start + seconds(60)), Next::Rest(seconds(240)));
        waiting.again(wait("B", Retry::OnChange), &mut pace, start + seconds(61), SLOW, 0.0);
        assert_eq!(waiting.next(&mut pace, start + seconds(61)), Next::Announce);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_overwritten_is_told_again() {
        type Fails = fn(&mut Waiting<Wait>, Instant);
        let failures: [Fails; 2] =
            [|waiting, _| waiting.unsure(), |waiting, now| waiting.not_told(now)];
        for fails in failures {
            let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
            let mut waiting = Waiting::new(wait("A", Retry::OnChange), start, Some("A"));
            waiting.again(wait("A", Retry::OnChange), &mut pace, start, SLOW, 0.0);
            fails(&mut waiting, start);
            let later = start + seconds(11);
            waiting.again(wait("A", Retry::OnChange), &mut pace, later, SLOW, 0.0);
            assert_eq!(waiting.next(&mut pace, later), Next::Announce);
            waiting.told();
            waiting.again(wait("A", Retry::OnChange), &mut pace, later, SLOW, 0.0);
            assert_eq!(waiting.next(&mut pace, later), Next::Rest(SLOW));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_half_a_minute_and_a_change_ends_them() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        let mut waiting = Waiting::new(wait("A", Retry::Backoff), start, Some("A"));
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            waiting.again(wait("A", Retry::Backoff), &mut pace, now, SLOW, 0.0);
            let Next::Rest(pause) = waiting.next(&mut pace, now) else { panic!() };
            pauses.push(pause.as_secs());
            now += pause;
        }
        // 16 and 30 are not a whole number of beats after the start.
        assert_eq!(pauses, [1, 2, 4, 8, 17, 31, 30]);
        waiting.again(wait("A", Retry::OnChange), &mut pace, now, SLOW, 0.0);
        assert_eq!(waiting.next(&mut pace, now), Next::Rest(SLOW));
        waiting.wake(now);
        assert_eq!(waiting.next(&mut pace, now), Next::Look);
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_that_began_to_wait_at_different_times_are_looked_at_together() {
        let (start, mut pace) = (Instant::now(), Pace::new(Instant::now()));
        let mut looks: Vec<_> = (0..300_u32)
            .map(|n| {
                let (since, spread) = (start + seconds(3) * n / 300, f64::from(n % 17) / 17.0);
                let mut one = Waiting::new(wait("A", Retry::Backoff), since, Some("A"));
                // The sixth look, after pauses that add up to half a minute.
                for _ in 0..6 {
                    let now = one.look_again;
                    one.again(wait("A", Retry::Backoff), &mut pace, now, SLOW, spread);
                }
                one.look_again
            })
            .collect();
        looks.sort();
        looks.dedup();
        assert!(looks.len() <= 12, "{} calls", looks.len());
    }
}
