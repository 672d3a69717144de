//! `--kube-api-qps`: requests of one client, spread over time.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tower::service_fn;

/// The longest pause from one request to the next: nobody means a slower pace, and a clock can be
/// asked for this one.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The grain of the runtime's timers.
const TICK: Duration = Duration::from_millis(1);

/// Has what `client` sends go at `qps` requests a second, more than zero, and `burst` at once after a
/// pause.
pub(super) fn client(client: Client, qps: f32, burst: u16) -> Client {
    let pace = Arc::new(Pace::new(qps, burst));
    let namespace = client.default_namespace().to_owned();
    let paced = service_fn(move |request: Request<Body>| {
        let (client, pace) = (client.clone(), Arc::clone(&pace));
        async move {
            pace.wait().await;
            client.send(request).await
        }
    });
    Client::new(paced, namespace)
}

/// A bucket of permits, kept as the time at which it is full again: exact at every pace, where one that
/// is filled by a clock's ticks has none faster than a permit a tick.
struct Pace {
    interval: Duration,
    /// How far ahead of the time the bucket may be drawn upon.
    slack: Duration,
    full_at: Mutex<Instant>,
}

impl Pace {
    fn new(qps: f32, burst: u16) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / f64::from(qps)).unwrap_or(LONGEST);
        let interval = interval.min(LONGEST);
        let slack = interval * u32::from(burst.saturating_sub(1));
        Self { interval, slack, full_at: Mutex::new(Instant::now()) }
    }

    /// Waits for the caller's turn. Who gives up before it has taken nothing from those behind him.
    async fn wait(&self) {
        // Held over the pause: whoever comes meanwhile waits behind.
        let mut full_at = self.full_at.lock().await;
        let now = Instant::now();
        let full = (*full_at).max(now);
        let pause = (full - now).saturating_sub(self.slack);
        // What is shorter comes to be waited for by those behind: a timer sleeps no less than that.
        if pause >= TICK {
            sleep(pause).await;
        }
        *full_at = full + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_its_pace() {
        let pace = Pace::new(2.0, 3);
        let start = Instant::now();
        let mut after = Vec::new();
        for _ in 0..6 {
            pace.wait().await;
            after.push(start.elapsed().as_millis());
        }
        assert_eq!(after, [0, 0, 0, 500, 1000, 1500]);
    }

    /// How many go in a second behind the burst.
    #[rstest]
    #[case::a_permit_a_tick(1_000.0, 1_000)]
    #[case::faster_than_the_clock_ticks(1_001.0, 1_001)]
    #[case::very_fast(1e6, 1_000_000)]
    #[case::one_in_more_than_all_time(1e-30, 0)]
    #[tokio::test(start_paused = true)]
    async fn every_pace_is_kept(#[case] qps: f32, #[case] want: u32) {
        let burst = 30;
        let pace = Pace::new(qps, burst);
        let mut gone = 0_u32;
        let all = async {
            loop {
                pace.wait().await;
                gone += 1;
            }
        };
        timeout(Duration::from_secs(1), all).await.unwrap_err();
        let want = want + u32::from(burst);
        // The clock ticks once a millisecond.
        assert!(gone.abs_diff(want) <= want / 500 + 1, "{gone}, not {want}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_no_turn() {
        let pace = Pace::new(1.0, 1);
        pace.wait().await;
        let start = Instant::now();
        for _ in 0..50 {
            timeout(Duration::from_millis(10), pace.wait()).await.unwrap_err();
        }
        pace.wait().await;
        assert_eq!(start.elapsed().as_millis(), 1_000);
    }
}
