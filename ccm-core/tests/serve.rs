//! The HTTPS endpoints, over the wire.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::app::flags::{self, Command, Program, Serving};
use ccm_core::app::serve::{
    Access, Checks, Endpoints, Identity, NoAnswer, Reviewer, Scope, ServeError, Server, Verdict,
};
use ccm_core::telemetry::AccessMetrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
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
        let server = server(localhost(0), &checks).announce(bound);
        let task = tokio::spawn(server.run(stop.clone(), close.clone()));
        let address = address.await.unwrap();
        Self { address, client: client(GOOD), checks, stop, close, task }
    }

    /// Status and body of an answer to somebody with this token.
    async fn get_as(&self, token: &str, path: &str) -> (u16, String) {
        get(&client(token), self.address, path).await
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

/// Somebody with this token; with none if it is empty.
fn client(token: &str) -> Client {
    // Whoever comes second finds the same one there.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let token = (!token.is_empty()).then(|| (AUTHORIZATION, format!("Bearer {token}")));
    let headers = token.into_iter().map(|(name, value)| (name, value.parse().unwrap()));
    client.default_headers(headers.collect()).build().unwrap()
}

/// The token of one who may do everything, of one who may nothing, and one at which the API server
/// falls silent.
const GOOD: &str = "good";
const POOR: &str = "poor";
const MUTE: &str = "mute";

struct ApiServer;

#[async_trait]
impl Reviewer for ApiServer {
    async fn token(&self, token: &str) -> Result<Option<Identity>, NoAnswer> {
        match token {
            GOOD | POOR => Ok(Some(Identity { user: token.to_owned(), ..Identity::default() })),
            MUTE => Err(NoAnswer("a secret of the cluster".to_owned())),
            _ => Ok(None),
        }
    }

    async fn access(&self, who: &Identity, _: &str, path: &str) -> Result<Verdict, NoAnswer> {
        if who.user == GOOD && path.contains("mute") {
            return Err(NoAnswer("a secret of the cluster".to_owned()));
        }
        Ok(Verdict { allowed: who.user == GOOD, reason: String::new() })
    }
}

fn server(address: SocketAddr, checks: &Checks) -> Server {
    let access = Access {
        reviewer: Arc::new(ApiServer),
        settings: None,
        metrics: AccessMetrics::register(&mut Registry::default()),
    };
    Server::new(serving(address, &[]), Endpoints::new(checks.clone(), metrics()), access)
}

/// What is meant by these flags.
fn serving(address: SocketAddr, flags: &[&str]) -> Serving {
    let program = Program { name: "ccm", version: "0.1.0", commit: None, providers: Vec::new() };
    let args = ["ccm", "--cloud-provider=sim", "--configure-cloud-routes=false"];
    match flags::parse(&program, args.iter().chain(flags)) {
        Ok(Command::Run(options)) => Serving { address, ..options.serving.unwrap() },
        other => panic!("{other:?}"),
    }
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
    for path in ["/", "/healthz/", "/healthz/etcd", "/healthz/a/b", "/readyz/ping", "/debug/pprof"]
    {
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
    let server = server(address, &Checks::default()).announce(bound);
    let task = tokio::spawn(server.run(stop.clone(), stop.clone()));

    let mut announced = std::pin::pin!(announced);
    let hour = Duration::from_hours(1);
    assert!(timeout(hour, &mut announced).await.is_err(), "served on a taken port");
    assert!(!task.is_finished());

    drop(other);
    assert_eq!(announced.await.unwrap(), address);
    tokio::time::resume();
    assert_eq!(get(&client(""), address, "/readyz").await, (200, "ok".to_owned()));
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_does_not_wait_for_its_port() {
    let other = TcpListener::bind(localhost(0)).await.unwrap();
    let stop = CancellationToken::new();
    let server = server(other.local_addr().unwrap(), &Checks::default());
    let task = tokio::spawn(server.run(stop.clone(), CancellationToken::new()));
    tokio::time::sleep(Duration::from_hours(1)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
}

/// Everything but health, from the router's own list, so that a new path is not forgotten.
fn guarded() -> Vec<String> {
    let endpoints = Endpoints::new(Checks::default(), metrics());
    let open = ["/healthz", "/livez", "/readyz"];
    let paths = endpoints.paths().into_iter().filter(|path| !open.contains(&path.as_str()));
    let paths = paths.map(|path| path.replace("{check}", "ping"));
    paths
        .chain(["/", "/nothing", "/healthz/", "//healthz", "/metrics/"].map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn nobody_gets_past_the_door_who_may_not() {
    let served = Served::start().await;
    let paths = guarded();
    for known in ["/metrics", "/metrics/slis", "/configz", "/flagz", "/statusz", "/livez/ping"] {
        assert!(paths.iter().any(|path| path == known), "{known} not in {paths:?}");
    }
    for path in paths {
        let (status, text) = served.get_as("", &path).await;
        assert_eq!(status, 403, "{path}: {text}");
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        let message = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
        assert_eq!((&said["kind"], &said["message"]), (&"Status".into(), &message.into()));
        let (status, text) = served.get_as(POOR, &path).await;
        assert!(status == 403 && text.contains(r#"User \"poor\""#), "{path}: {status} {text}");
        let (status, text) = served.get_as("made-up", &path).await;
        assert!(status == 401 && text.contains(r#""reason":"Unauthorized""#), "{path}: {text}");
        let (status, text) = served.get_as(MUTE, &path).await;
        assert!(status == 500 && !text.contains("secret"), "{path}: {status} {text}");
    }
    assert_eq!(served.get("/mute").await.0, 500, "no verdict is no permission");
    assert_eq!(served.get("/statusz").await.0, 200);
}

#[tokio::test]
async fn health_is_for_everybody_whatever_the_api_server_says() {
    let served = Served::start().await;
    for token in ["", POOR, "made-up", MUTE] {
        for path in ["/healthz", "/livez", "/readyz?verbose"] {
            assert_eq!(served.get_as(token, path).await.0, 200, "{path} with {token:?}");
        }
    }
}

#[tokio::test]
async fn headers_of_a_front_proxy_are_nothing_without_its_certificate() {
    let served = Served::start().await;
    let url = format!("https://{}/metrics", served.address);
    let asked = client("")
        .get(url)
        .header("X-Remote-User", GOOD)
        .header("X-Remote-Group", "system:masters");
    assert_eq!(asked.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn what_health_was_asked_is_counted_apart() {
    let served = Served::start().await;
    served.checks.add("leaderElection", Scope::Live, || Err("no".to_owned()));
    served.get("/healthz").await;
    let (_, text) = served.get("/metrics/slis").await;
    let line =
        r#"kubernetes_healthchecks_total{name="leaderElection",type="healthz",status="error"} 1"#;
    assert!(text.contains(line), "{text}");
    let url = format!("https://{}/metrics/slis", served.address);
    let answer = served.client.request(Method::DELETE, url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!served.get("/metrics/slis").await.1.contains("leaderElection"));
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

#[tokio::test]
async fn who_finds_no_place_is_hung_up_on_and_places_come_back() {
    let served = Served::start().await;
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(TcpStream::connect(served.address).await.unwrap());
    }
    // They are taken in this order. Those that say nothing are let go after ten seconds.
    let mut one_more = TcpStream::connect(served.address).await.unwrap();
    let read = timeout(Duration::from_secs(5), one_more.read(&mut [0])).await.expect("a bound");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    for stream in &mut held {
        let read = timeout(Duration::from_millis(1), stream.read(&mut [0])).await;
        assert!(read.is_err(), "who has a place is waited for: {read:?}");
    }
    drop(held);
    let answered = async {
        // The server has to notice first.
        while served.client.get(format!("https://{}/healthz", served.address)).send().await.is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), answered).await.expect("a place");
}
