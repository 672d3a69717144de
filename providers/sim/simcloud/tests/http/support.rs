//! A cloud to talk to, and ways to wait for it.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use rustls::crypto::aws_lc_rs;
use simcloud::api::{CreateInstance, ErrorCode, ErrorDetail, Instance, RateLimit};
use simcloud::console::{Console, ConsoleError};
use simcloud::{Config, Running, SimCloud, Token};

pub(crate) const TOKEN: &str = "cloud-token";
pub(crate) const CONTROL_TOKEN: &str = "control-token";
pub(crate) const OTHER_TOKEN: &str = "other-token";

/// The longest wait for anything that should come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fixture {
    pub(crate) running: Running,
    pub(crate) console: Console,
}

/// A cloud without rate limits, with two tokens.
pub(crate) fn config() -> Config {
    let mut config = Config::new(TOKEN, CONTROL_TOKEN);
    config.tokens.push(Token::new("other", OTHER_TOKEN));
    let unlimited = RateLimit { per_second: 0.0, burst: 1 };
    config.settings.read_rate = unlimited;
    config.settings.write_rate = unlimited;
    config
}

pub(crate) async fn start(config: Config) -> Fixture {
    let running = SimCloud::start(config).await.unwrap();
    let console = Console::new(running.url(), TOKEN, CONTROL_TOKEN).unwrap();
    Fixture { running, console }
}

pub(crate) async fn cloud() -> Fixture {
    start(config()).await
}

/// A cloud with so many instances, `node-0` and on.
pub(crate) async fn fleet(many: usize) -> Fixture {
    let fixture = cloud().await;
    fixture.console.create_instances(nodes(many)).await.unwrap();
    fixture
}

pub(crate) fn nodes(many: usize) -> Vec<CreateInstance> {
    (0..many).map(|number| CreateInstance::named(format!("node-{number}"))).collect()
}

impl Fixture {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    /// A plain caller of the cloud's API, which the log calls `ccm`.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        http().get(self.url(path)).bearer_auth(TOKEN)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        http().post(self.url(path)).bearer_auth(TOKEN)
    }

    /// Every instance there is, whatever faults stand.
    pub(crate) async fn truth(&self) -> Vec<Instance> {
        self.console.clear_faults().await.unwrap();
        self.console.all_instances([].into()).await.unwrap()
    }
}

pub(crate) fn http() -> reqwest::Client {
    // Another test may have been first.
    let _ = aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().user_agent("ccm/1.2 (test)").no_proxy().build().unwrap()
}

pub(crate) fn names(instances: &[Instance]) -> Vec<&str> {
    instances.iter().map(|one| one.name.as_str()).collect()
}

pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, ConsoleError>,
) -> (u16, ErrorCode, ErrorDetail) {
    match result.unwrap_err() {
        ConsoleError::Refused { status, error } => (status, error.code, error),
        other => panic!("{other:?}"),
    }
}

/// Looks again until it is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A folder that goes away with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("simcloud-it-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
