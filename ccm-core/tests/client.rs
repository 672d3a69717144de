//! What really goes over the wire, and what does not, seen from a server's side.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use ccm_core::cluster::client::{ClusterConfig, Reason, is_closed};
use ccm_core::cluster::gate::{Gate, GateKeeper};
use ccm_core::telemetry::ApiMetrics;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const AGENT: &str = "cloud-controller-manager/v0.0.0 (linux/amd64) ccm-rs";
const SOON: Duration = Duration::from_secs(10);

/// Answers everything with a `ConfigMap`, and remembers what was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(status: StatusCode) -> Self {
        Self::start_with(vec![status]).await
    }

    /// Answers with these, one after the other, and then with the last for ever.
    async fn start_with(statuses: Vec<StatusCode>) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        let answer = move |request: Request| {
            let agent =
                request.headers().get(header::USER_AGENT).map(|agent| agent.to_str().unwrap());
            let line = format!("{} as {}", request.method(), agent.unwrap_or("nobody"));
            let mut log = log.lock().unwrap();
            let status = statuses[log.len().min(statuses.len() - 1)];
            log.push(line);
            let body = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c"}}"#;
            async move { (status, [(header::RETRY_AFTER, "1")], body).into_response() }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { address, asked }
    }

    fn config(&self) -> ClusterConfig {
        ClusterConfig::load(None, Some(&format!("http://{}", self.address)), AGENT).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn config_map() -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some("c".to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    }
}

/// Every way there is to change something, with what the client answers.
async fn mutate(api: &Api<ConfigMap>) -> BTreeMap<&'static str, Result<(), kube::Error>> {
    let patch = Patch::Merge(serde_json::json!({}));
    BTreeMap::from([
        ("POST", api.create(&PostParams::default(), &config_map()).await.map(drop)),
        ("PATCH", api.patch("c", &PatchParams::default(), &patch).await.map(drop)),
        ("DELETE", api.delete("c", &DeleteParams::default()).await.map(drop)),
    ])
}

#[tokio::test]
async fn a_closed_gate_sends_nothing_and_lets_reads_pass() {
    let server = Server::start(StatusCode::OK).await;
    let keeper = GateKeeper::new();
    let client = server.config().mutating_client("node-controller", &keeper.gate()).unwrap();
    let api = Api::<ConfigMap>::default_namespaced(client);

    for (method, outcome) in mutate(&api).await {
        assert!(is_closed(&outcome.unwrap_err()), "{method}");
    }
    assert_eq!(server.asked(), [""; 0]);

    api.get("c").await.unwrap();
    assert_eq!(server.asked(), [format!("GET as {AGENT}/node-controller")]);

    keeper.open_until(Instant::now() + SOON);
    for (method, outcome) in mutate(&api).await {
        outcome.unwrap_or_else(|err| panic!("{method}: {err}"));
    }
    assert_eq!(server.asked().len(), 3);

    keeper.close();
    assert!(is_closed(&api.create(&PostParams::default(), &config_map()).await.unwrap_err()));
    assert_eq!(server.asked(), [""; 0]);
}

#[tokio::test]
async fn a_mutation_is_sent_once() {
    let server = Server::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let client = server.config().mutating_client("node-controller", &Gate::always_open()).unwrap();
    let api = Api::<ConfigMap>::default_namespaced(client);
    let err = api.create(&PostParams::default(), &config_map()).await.unwrap_err();
    assert!(!is_closed(&err));
    assert_eq!(server.asked().len(), 1);
}

/// What is counted of requests, as it is on the wire.
fn counted(registry: &Registry) -> Vec<String> {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("rest_client_requests_total"));
    let mut lines: Vec<String> = lines
        .map(|line| {
            line.split(",host=").next().unwrap().to_owned() + line.split_once('}').unwrap().1
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn every_try_of_a_read_is_counted() {
    let busy = StatusCode::TOO_MANY_REQUESTS;
    let server = Server::start_with(vec![busy, busy, StatusCode::OK]).await;
    let mut registry = Registry::default();
    let config = server.config().counted(ApiMetrics::register(&mut registry));
    let api = Api::<ConfigMap>::namespaced(config.client("test").unwrap(), "default");
    api.get("c").await.unwrap();
    let want = [r#"{code="200",method="GET" 1"#, r#"{code="429",method="GET" 2"#];
    assert_eq!(counted(&registry), want);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_any_more_is_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let mut registry = Registry::default();
    let config = ClusterConfig::load(None, Some(&address), AGENT).unwrap();
    let config = config.counted(ApiMetrics::register(&mut registry));
    let api = Api::<ConfigMap>::namespaced(config.client("test").unwrap(), "default");
    timeout(Duration::from_millis(300), api.get("c")).await.unwrap_err();
    // It ends on another task.
    let since = Instant::now();
    while counted(&registry).is_empty() && since.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(counted(&registry), [r#"{code="<error>",method="GET" 1"#]);
}

#[tokio::test]
async fn the_lease_has_a_client_of_its_own_that_does_not_retry() {
    let server = Server::start(StatusCode::SERVICE_UNAVAILABLE).await;
    let client = server.config().lease_client(Duration::from_secs(5)).unwrap();
    let api = Api::<ConfigMap>::default_namespaced(client);
    api.get("c").await.unwrap_err();
    assert_eq!(server.asked(), [format!("GET as {AGENT}/leader-election")]);
}

#[tokio::test]
async fn the_lease_does_not_wait_for_a_silent_server() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let master = format!("http://{}", silent.local_addr().unwrap());
    let config = ClusterConfig::load(None, Some(&master), AGENT).unwrap();
    let client = config.lease_client(Duration::from_millis(200)).unwrap();
    let api = Api::<ConfigMap>::default_namespaced(client);
    timeout(SOON, api.get("c")).await.unwrap().unwrap_err();
}

/// The gate is looked at when the request could go out, not when it was asked for: here it waits for a
/// proxy meanwhile.
#[tokio::test]
async fn a_gate_that_closes_while_connecting_holds_the_request_back() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = Dir::new("connecting");
    let kubeconfig = dir.kubeconfig(&format!(
        "server: 'http://10.255.255.1:6443', proxy-url: 'http://{}'",
        proxy.local_addr().unwrap()
    ));
    let config = ClusterConfig::load(Some(&kubeconfig), None, AGENT).unwrap();
    let keeper = GateKeeper::new();
    keeper.open_until(Instant::now() + SOON * 6);
    let client = config.mutating_client("node-controller", &keeper.gate()).unwrap();

    let asked = tokio::spawn(async move {
        let api = Api::<ConfigMap>::default_namespaced(client);
        api.create(&PostParams::default(), &config_map()).await
    });
    let (mut tunnel, head) = accept(&proxy).await;
    assert!(head.starts_with("CONNECT 10.255.255.1:6443 "), "{head}");
    keeper.close();
    tunnel.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();

    let err = timeout(SOON, asked).await.unwrap().unwrap().unwrap_err();
    assert!(is_closed(&err), "{}", Reason(&err));
    // The connection is closed or kept for later: either way nothing has come through it.
    let mut sent = [0; 1];
    let read = timeout(Duration::from_millis(100), tunnel.read(&mut sent)).await;
    assert!(matches!(read, Err(_) | Ok(Ok(0) | Err(_))), "{read:?}");
}

/// One child process for each case, since the environment is read from the process.
#[rstest]
#[case::through_the_proxy(&[("HTTPS_PROXY", "{proxy}")], true)]
#[case::in_lower_case(&[("https_proxy", "{proxy}")], true)]
#[case::without_one(&[], false)]
#[case::excepted(&[("HTTPS_PROXY", "{proxy}"), ("NO_PROXY", "localhost,10.255.255.0/24,")], false)]
#[case::others_are_excepted(&[("HTTPS_PROXY", "{proxy}"), ("NO_PROXY", ".svc,127.0.0.1")], true)]
#[tokio::test]
async fn proxies_are_taken_from_the_environment(
    #[case] env: &[(&str, &str)],
    #[case] through: bool,
) {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_that_asks_a_far_server", "--ignored"]).env_clear();
    for (name, value) in env {
        child.env(name, value.replace("{proxy}", &address));
    }
    let mut child = child.stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();

    tokio::select! {
        (mut tunnel, head) = accept(&proxy) => {
            assert!(through, "{head}");
            assert!(head.starts_with("CONNECT 10.255.255.1:6443 "), "{head}");
            tunnel.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.unwrap();
            drop(tunnel);
            assert!(child.wait().await.unwrap().success());
        }
        status = child.wait() => {
            assert!(status.unwrap().success());
            assert!(!through, "nobody came to the proxy");
        }
    }
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn child_that_asks_a_far_server() {
    let config = ClusterConfig::load(None, Some("https://10.255.255.1:6443"), AGENT).unwrap();
    for client in [
        config.client("node-controller").unwrap(),
        config.mutating_client("node-controller", &Gate::always_open()).unwrap(),
        config.lease_client(Duration::from_secs(5)).unwrap(),
    ] {
        let api = Api::<ConfigMap>::default_namespaced(client);
        // Nobody is there; what matters is who was asked for the way.
        let answer = timeout(Duration::from_millis(300), api.get("c")).await;
        assert!(!matches!(answer, Ok(Ok(_))));
    }
}

/// Accepts a connection and reads a request's head. Who gives up before he has asked does not count.
async fn accept(listener: &TcpListener) -> (TcpStream, String) {
    'next: loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { continue 'next };
            head.push(byte);
        }
        return (stream, String::from_utf8(head).unwrap());
    }
}

/// A directory of a test's own, gone with the value.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ccm-wire-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn kubeconfig(&self, cluster: &str) -> PathBuf {
        let path = self.0.join("kubeconfig");
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
