//! The HTTPS endpoints, over the wire.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ccm_core::app::serve::{Checks, Scope, ServeError, Server};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A server on a free port, and a client that takes its certificate on trust.
struct Served {
    address: SocketAddr,
    client: Client,
    checks: Checks,
    stop: CancellationToken,
    close: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn start() -> Self {
        let checks = Checks::default();
        let stop = CancellationToken::new();
        let close = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let server = Server::new(localhost(0), checks.clone(), metrics()).announce(bound);
        let task = tokio::spawn(server.run(stop.clone(), close.clone()));
        let address = address.await.unwrap();
        Self { address, client: client(), checks, stop, close, task }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(&self.client, self.address, path).await
    }
}

async fn get(client: &Client, address: SocketAddr, path: &str) -> (u16, String) {
    let answer = client.get(format!("https://{address}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn localhost(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn client() -> Client {
    // Whoever comes second finds the same one there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap()
}

fn metrics() -> Arc<Registry> {
    let mut registry = Registry::default();
    let counter = Counter::<u64>::default();
    counter.inc_by(3);
    registry.register("passes", "Passes so far", counter);
    Arc::new(registry)
}

#[tokio::test]
async fn health_is_told_as_upstream_tells_it() {
    let served = Served::start().await;
    assert_eq!(served.get("/healthz").await, (200, "ok".to_owned()));
    assert_eq!(
        served.get("/healthz?verbose").await,
        (200, "[+]ping ok\nhealthz check passed\n".to_owned())
    );

    served.checks.add("leaderElection", Scope::Live, || Ok(()));
    served.checks.add("cloud-node-controller", Scope::Live, || Err("no cloud".to_owned()));
    let failing = "[+]leaderElection ok\n\
                   [-]cloud-node-controller failed: reason withheld\n\
                   healthz check failed\n";
    assert_eq!(served.get("/healthz").await, (500, failing.to_owned()));
    assert_eq!(
        served.get("/livez?verbose=1&exclude=cloud%2Dnode-controller&exclude=x").await,
        (
            200,
            "[+]leaderElection ok\n\
             [+]cloud-node-controller excluded: ok\n\
             warn: some health checks cannot be excluded: no matches for \"x\"\n\
             livez check passed\n"
                .to_owned()
        )
    );
    assert_eq!(served.get("/healthz/leaderElection").await, (200, "ok".to_owned()));
    assert_eq!(
        served.get("/healthz/cloud-node-controller").await,
        (500, "internal server error: no cloud\n".to_owned())
    );
}

#[tokio::test]
async fn health_is_plain_text() {
    let served = Served::start().await;
    let answer =
        served.client.get(format!("https://{}/healthz", served.address)).send().await.unwrap();
    assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_replica_is_ready_until_it_stops_and_answers_until_the_end() {
    let served = Served::start().await;
    served.checks.add("leaderElection", Scope::Live, || Err("not renewed".to_owned()));
    assert_eq!(served.get("/readyz").await, (200, "ok".to_owned()));

    served.stop.cancel();
    assert_eq!(
        served.get("/readyz").await,
        (500, "[-]shutdown failed: reason withheld\nreadyz check failed\n".to_owned())
    );
    assert_eq!(served.get("/metrics").await.0, 200);

    served.close.cancel();
    served.task.await.unwrap().unwrap();
    TcpStream::connect(served.address).await.unwrap_err();
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let served = Served::start().await;
    let answer =
        served.client.get(format!("https://{}/metrics", served.address)).send().await.unwrap();
    assert_eq!(
        answer.headers()[CONTENT_TYPE],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.text().await.unwrap();
    assert!(text.contains("\npasses_total 3\n") && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let served = Served::start().await;
    for path in ["/", "/healthz/", "/healthz/etcd", "/healthz/a/b", "/readyz/ping", "/configz"] {
        let answer = served.get(path).await;
        assert_eq!(answer, (404, "404 page not found\n".to_owned()), "{path}");
    }
    let url = format!("https://{}/healthz", served.address);
    let answer = served.client.request(Method::POST, url).send().await.unwrap();
    assert_eq!(answer.status(), 405);
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_served_once_it_is_free() {
    let other = TcpListener::bind(localhost(0)).await.unwrap();
    let address = other.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (bound, announced) = oneshot::channel();
    let server = Server::new(address, Checks::default(), metrics()).announce(bound);
    let task = tokio::spawn(server.run(stop.clone(), stop.clone()));

    let mut announced = std::pin::pin!(announced);
    let hour = Duration::from_hours(1);
    assert!(timeout(hour, &mut announced).await.is_err(), "served on a taken port");
    assert!(!task.is_finished());

    drop(other);
    assert_eq!(announced.await.unwrap(), address);
    tokio::time::resume();
    assert_eq!(get(&client(), address, "/readyz").await, (200, "ok".to_owned()));
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_does_not_wait_for_its_port() {
    let other = TcpListener::bind(localhost(0)).await.unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(other.local_addr().unwrap(), Checks::default(), metrics());
    let task = tokio::spawn(server.run(stop.clone(), CancellationToken::new()));
    tokio::time::sleep(Duration::from_hours(1)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn addresses_that_others_can_reach_are_refused() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:10258"] {
        let server = Server::new(address.parse().unwrap(), Checks::default(), metrics());
        let stop = CancellationToken::new();
        let err = server.run(stop.clone(), stop).await.unwrap_err();
        assert_eq!(
            err.to_string(),
            format!(
                "cannot serve on {address}: --bind-address must be a loopback address, because \
                 clients are not authenticated yet"
            )
        );
    }
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_let_go() {
    let served = Served::start().await;
    let mut silent = TcpStream::connect(served.address).await.unwrap();
    let read = timeout(Duration::from_secs(11), silent.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn silent_clients_do_not_hold_up_the_end() {
    let served = Served::start().await;
    let _silent = TcpStream::connect(served.address).await.unwrap();
    tokio::task::yield_now().await;
    served.stop.cancel();
    served.close.cancel();
    timeout(Duration::from_secs(4), served.task).await.unwrap().unwrap().unwrap();
}
