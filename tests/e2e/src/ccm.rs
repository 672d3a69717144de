//! The cloud-controller-manager, a process of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use ccm_envtest::Credentials;
use serde_json::Value;

use crate::binaries::locate;
use crate::documented;
use crate::https::{Answer, Asker};
use crate::process::Process;
use crate::wait::{SOON, wait_until};

/// The program's name.
const PROGRAM: &str = "cloud-controller-manager";

/// As whom it runs: the audit log tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Account {
    /// The usual one.
    #[default]
    First,
    /// For a second replica, with the same rights.
    Second,
    /// One that may not delete Nodes.
    Undeleting,
    /// One that knows nothing of `PersistentVolume`s.
    Unlabelling,
    /// One that may only read, for plans.
    Reading,
    /// The Go library's.
    Peer,
}

/// The duration of the lease of [`Setup::short_lease`].
pub const SHORT_LEASE: Duration = Duration::from_secs(8);

/// How one is started.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    flags: Vec<String>,
    account: Account,
    serves: bool,
}

impl Setup {
    /// With all defaults and without HTTPS.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more flag.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Looks at all nodes this often, in seconds.
    #[must_use]
    pub fn refresh(self, seconds: u32) -> Self {
        self.flag(format!("--node-status-update-frequency={seconds}s"))
    }

    /// Looks at nodes that are not ready each second, and deletes them however young they are.
    #[must_use]
    pub fn quick(self) -> Self {
        self.flag("--node-monitor-period=1s").flag("--node-deletion-min-age=0s")
    }

    /// Without an election, for tests that stop processes or API servers for longer than a lease.
    #[must_use]
    pub fn without_election(self) -> Self {
        self.flag("--leader-elect=false")
    }

    /// With short times of the lease: [`SHORT_LEASE`], and a deadline that a busy machine keeps.
    #[must_use]
    pub fn short_lease(self) -> Self {
        self.flag(format!("--leader-elect-lease-duration={}s", SHORT_LEASE.as_secs()))
            .flag("--leader-elect-renew-deadline=6s")
            .flag("--leader-elect-retry-period=500ms")
    }

    /// With HTTPS on a free port.
    #[must_use]
    pub fn serving(self) -> Self {
        Self { serves: true, ..self }
    }

    /// As somebody else.
    #[must_use]
    pub fn account(self, account: Account) -> Self {
        Self { account, ..self }
    }

    /// With routes to pods in these ranges.
    #[must_use]
    pub fn routes(self, cluster_cidr: &str) -> Self {
        self.flag(format!("--cluster-cidr={cluster_cidr}"))
    }

    pub(crate) fn who(&self) -> Account {
        self.account
    }

    /// Where nothing is said of pod ranges, no routes are made.
    fn flags(&self) -> Vec<String> {
        let is_said = |flag: &String| {
            flag.starts_with("--cluster-cidr") || flag.starts_with("--configure-cloud-routes")
        };
        let mut flags = self.flags.clone();
        if !flags.iter().any(is_said) {
            flags.push("--configure-cloud-routes=false".to_owned());
        }
        flags
    }
}

/// The cloud that one is told to use, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// `--cloud-provider`.
    pub provider: &'static str,
    /// `--cloud-config`.
    pub config: PathBuf,
    /// Variables of its environment, beside ours.
    pub env: Vec<(&'static str, String)>,
}

/// A running one.
#[derive(Debug)]
pub struct Ccm {
    process: Process,
    port: Option<u16>,
    admin: Credentials,
}

impl Deref for Ccm {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Ccm {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Ccm {
    pub(crate) fn start(
        name: &str,
        dir: &Path,
        setup: &Setup,
        kubeconfig: &Path,
        target: &Target,
        admin: &Credentials,
    ) -> Self {
        let port = setup.serves.then(free_port);
        let mut command = Command::new(locate(PROGRAM));
        flags(&mut command, setup, port, kubeconfig, target);
        Self { process: Process::start(name, dir, &mut command), port, admin: admin.clone() }
    }

    /// Somebody who asks its endpoints, and has not said yet who he is.
    pub fn stranger(&self) -> Asker {
        Asker::new(self.port())
    }

    /// The port of its endpoints.
    pub fn port(&self) -> u16 {
        self.port.expect("it was started with `serving`")
    }

    /// Asks one of its endpoints as an administrator, once they are up and know one.
    ///
    /// With a certificate, so that nobody has to be asked: the API server may be away, and what the
    /// program asks of it is counted.
    pub async fn ask(&mut self, path: &str) -> Answer {
        let admin = self.stranger().as_whom(&self.admin);
        let answer = wait_until(&format!("an answer to {path}"), SOON, async || {
            self.process.expect_running();
            match admin.get(path).await {
                Ok(answer) if matches!(answer.status, 401 | 403) => Err(answer.body),
                Ok(answer) => Ok(answer),
                Err(err) => Err(format!("{err:?}")),
            }
        })
        .await;
        if path == "/metrics" {
            documented::metrics(&answer.body);
        }
        answer
    }

    /// The value of a metric without labels, or with just these: `name` or `name{label="value"}`.
    pub async fn metric(&mut self, name: &str) -> Option<f64> {
        let metrics = self.ask("/metrics").await.body;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok())
    }

    /// Waits until the metric has this value.
    pub async fn metric_is(&mut self, name: &str, wanted: f64) {
        wait_until(&format!("{name} {wanted}"), SOON, async || {
            let value = self.metric(name).await;
            if value == Some(wanted) { Ok(()) } else { Err(value) }
        })
        .await;
    }

    /// Whether it holds the lease, as it says itself.
    pub async fn leads(&mut self) -> bool {
        let metrics = self.ask("/metrics").await.body;
        metrics
            .lines()
            .any(|line| line.starts_with("leader_election_master_status{") && line.ends_with(" 1"))
    }
}

/// One that nobody has. Not of those that the system hands out, or somebody might be given it
/// before the program takes it.
fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin at different ones.
    let own = u16::try_from(std::process::id() % 90).unwrap() * 100;
    let mut all =
        std::iter::repeat_with(|| FIRST + (own + TAKEN.fetch_add(1, Ordering::Relaxed)) % 10_000);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    all.by_ref().take(1_000).find(is_free).expect("a free port")
}

/// What ours and the Go library are told alike.
pub(crate) fn flags(
    command: &mut Command,
    setup: &Setup,
    port: Option<u16>,
    kubeconfig: &Path,
    target: &Target,
) {
    command
        .arg(format!("--cloud-provider={}", target.provider))
        .arg("-v=4")
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--secure-port={}", port.unwrap_or(0)))
        .arg(flag("--cloud-config", &target.config))
        .envs(target.env.iter().map(|(key, value)| (key, value)))
        .arg(flag("--kubeconfig", kubeconfig))
        .args(setup.flags());
}

/// The lines of a plan about changes in the cloud, in their order.
pub fn in_the_cloud(plan: &Value) -> Vec<String> {
    let groups = plan["cloud"].as_array().unwrap().iter();
    let changes = groups.flat_map(|group| group["changes"].as_array().unwrap());
    changes.map(|change| change["text"].as_str().unwrap().to_owned()).collect()
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// Lets it make a plan, as JSON. Gives its exit code and what it printed.
pub(crate) fn plan(setup: &Setup, kubeconfig: &Path, target: &Target) -> (i32, Value) {
    let output = Command::new(locate(PROGRAM))
        .args(["plan", "--output=json"])
        .arg(format!("--cloud-provider={}", target.provider))
        .arg(flag("--cloud-config", &target.config))
        .envs(target.env.iter().map(|(key, value)| (key, value)))
        .arg(flag("--kubeconfig", kubeconfig))
        .args(setup.flags())
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    let plan = serde_json::from_slice(&output.stdout);
    (code, plan.unwrap_or_else(|err| panic!("{err}: {output:?}")))
}

/// Runs it with flags that it refuses, and waits for its end.
pub fn refused(flags: &[&str]) -> Output {
    let output = Command::new(locate(PROGRAM)).args(flags).env_clear().output().unwrap();
    assert!(!output.status.success(), "{flags:?} was accepted: {output:?}");
    output
}
