//! `--kube-api-qps`: requests of one client, spread over time.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::Client;
use kube::client::Body;
use leaky_bucket::RateLimiter;
use tower::service_fn;

/// Has what `client` sends go at `qps` requests a second, more than zero, and `burst` at once after a
/// pause.
pub(super) fn client(client: Client, qps: f32, burst: u16) -> Client {
    let limiter = Arc::new(limiter(qps, burst));
    let namespace = client.default_namespace().to_owned();
    let paced = service_fn(move |request: Request<Body>| {
        let (client, limiter) = (client.clone(), Arc::clone(&limiter));
        async move {
            limiter.acquire_one().await;
            client.send(request).await
        }
    });
    Client::new(paced, namespace)
}

fn limiter(qps: f32, burst: u16) -> RateLimiter {
    RateLimiter::builder()
        .initial(burst.into())
        .max(burst.into())
        .interval(Duration::from_secs_f32(1.0 / qps))
        .build()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

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
}
