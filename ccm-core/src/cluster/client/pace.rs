//! `--kube-api-qps`: requests of one client, spread over time.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use leaky_bucket::RateLimiter;
use tokio::time::Instant;
use tower::service_fn;

use crate::telemetry::ApiMetrics;

/// The shortest time after which permits are filled in. The limiter counts in milliseconds: a hundred of
/// them keep its error below a hundredth.
const SHORTEST: Duration = Duration::from_millis(100);

/// The longest: nobody means a slower pace, and a clock can be asked for this one.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Has what `client` sends to this host go at `qps` requests a second, more than zero, and `burst` at once
/// after a pause.
pub(super) fn client(
    client: Client,
    qps: f32,
    burst: u16,
    metrics: ApiMetrics,
    host: Arc<str>,
) -> Client {
    let limiter = Arc::new(limiter(qps, burst));
    let namespace = client.default_namespace().to_owned();
    let paced = service_fn(move |request: Request<Body>| {
        let (client, limiter) = (client.clone(), Arc::clone(&limiter));
        let (metrics, host) = (metrics.clone(), Arc::clone(&host));
        async move {
            let begun = Instant::now();
            limiter.acquire_one().await;
            metrics.paced(request.method(), &host, begun.elapsed());
            client.send(request).await
        }
    });
    Client::new(paced, namespace)
}

fn limiter(qps: f32, burst: u16) -> RateLimiter {
    let (permits, interval) = step(f64::from(qps));
    // What is filled in at once has to find room.
    let most = usize::from(burst).max(permits);
    RateLimiter::builder()
        .initial(burst.into())
        .max(most)
        .refill(permits)
        .interval(interval)
        .build()
}

/// How many permits there are after which time.
fn step(qps: f64) -> (usize, Duration) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and what is too large is the largest"
    )]
    let permits = (qps * SHORTEST.as_secs_f64()).ceil().max(1.0) as u32;
    let interval = Duration::try_from_secs_f64(f64::from(permits) / qps).unwrap_or(LONGEST);
    let permits = usize::try_from(permits).unwrap_or(usize::MAX);
    (permits, interval.clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_its_pace() {
        let limiter = limiter(2.0, 3);
        let start = Instant::now();
        let mut after = Vec::new();
        for _ in 0..6 {
            limiter.acquire_one().await;
            after.push(start.elapsed().as_millis());
        }
        assert_eq!(after, [0, 0, 0, 500, 1000, 1500]);
    }

    /// How many go in ten seconds behind the burst.
    #[rstest]
    #[case::as_go_has_it(20.0, 200)]
    #[case::not_a_whole_number_a_step(33.0, 330)]
    #[case::faster_than_a_clock_ticks(1_001.0, 10_010)]
    #[case::very_fast(1e5, 1_000_000)]
    #[case::one_in_more_than_all_time(1e-30, 0)]
    #[tokio::test(start_paused = true)]
    async fn every_pace_is_kept(#[case] qps: f32, #[case] want: usize) {
        let limiter = limiter(qps, 30);
        let mut gone = 0_usize;
        let all = async {
            loop {
                limiter.acquire_one().await;
                gone += 1;
            }
        };
        timeout(Duration::from_secs(10), all).await.unwrap_err();
        let want = want + 30;
        assert!(gone.abs_diff(want) <= want / 50 + 1, "{gone}, not {want}");
    }
}
