//! What a benchmark runs against: a control plane, a simulated cloud, and the binaries.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_envtest::kubelet::{Kubelet, register_many};
use ccm_envtest::{ControlPlane, Options, ServiceAccountAccess, peer};
use simcloud::api::{CreateInstance, Instance};
use simcloud::console::Console;
use tokio::time::{Instant, sleep, timeout};

use super::process::{Cpu, cpu_seconds, machine_cpu_seconds};
use super::report::{grouped, say};
use super::watched::NAMESPACE;
use crate::demo::stage::grants;
use crate::out::took;
use crate::program::Program;
use crate::{Error, build};

/// How the programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    Release,
    /// Slow, large, and there in a moment.
    Debug,
}

/// The binaries.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) ccm: PathBuf,
    pub(super) floor: PathBuf,
    /// The Go library, where it was asked for.
    pub(super) peer: Option<PathBuf>,
    simcloud: PathBuf,
}

impl Binaries {
    /// Builds them.
    pub(super) async fn build(build: Build) -> Result<Self, Error> {
        match build {
            Build::Release => Ok(Self {
                ccm: build::release("cloud-controller-manager", "cloud-controller-manager").await?,
                floor: build::release("xtask", "bench-floor").await?,
                peer: None,
                simcloud: build::release("simcloud", "simcloud").await?,
            }),
            Build::Debug => {
                say("debug builds: the figures mean nothing")?;
                let mut programs =
                    build::programs(&["cloud-controller-manager", "simcloud"], &[]).await?;
                let mut take =
                    |name: &str| programs.remove(name).ok_or_else(|| format!("no {name}"));
                Ok(Self {
                    ccm: take("cloud-controller-manager")?,
                    floor: take("bench-floor")?,
                    peer: None,
                    simcloud: take("simcloud")?,
                })
            }
        }
    }
}

impl Binaries {
    /// With the Go library, built if that has not been done.
    pub(super) async fn with_peer(&self) -> Result<Self, Error> {
        Ok(Self { peer: Some(peer::locate().await?), ..self.clone() })
    }
}

/// As whom a program runs: the audit log tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    First,
    /// For a second replica, with the same rights.
    Second,
    /// For the Go library, with the rights that it needs.
    Peer,
}

/// A control plane and a cloud, both fresh.
pub(super) struct Rig {
    pub(super) plane: ControlPlane,
    pub(super) console: Console,
    cloud: Program,
    cloud_config: PathBuf,
    cloud_token: PathBuf,
    accounts: [ServiceAccountAccess; 3],
}

const TOKEN: &str = "bench-token-of-the-simulated-cloud";
const CONTROL_TOKEN: &str = "bench-token-of-its-controls";

/// Nodes after which registering says how far it is: some seconds' worth.
const BATCH: usize = 1000;

/// Registrations under way at once; more gain nothing, see [`register_many`].
const REGISTRATIONS: usize = 16;

/// How the cloud behaves, in its own flags: its usual limits, and answers that take a moment.
const CLOUD: [&str; 1] = ["--latency=20ms"];

impl Rig {
    pub(super) async fn start(binaries: &Binaries) -> Result<Self, Error> {
        Self::start_with(binaries, &CLOUD.map(str::to_owned)).await
    }

    /// With a cloud that behaves as these flags of its say.
    pub(super) async fn start_with(
        binaries: &Binaries,
        cloud_flags: &[String],
    ) -> Result<Self, Error> {
        let options = Options {
            audit: true,
            unsafe_no_fsync: false,
            // 15,000 nodes of 20 kB in four versions each are more than half of it.
            etcd_quota_backend_bytes: Some(8 << 30),
            ..Options::default()
        };
        let plane = ControlPlane::start_with(options).await?;
        let account = async |name| plane.service_account(NAMESPACE, name, &grants()).await;
        let accounts = [
            account("cloud-controller-manager").await?,
            account("cloud-controller-manager-2").await?,
            plane.service_account(NAMESPACE, peer::CALLER, &peer::grants(NAMESPACE)).await?,
        ];
        let file = |name: &str, text: &str| -> Result<PathBuf, Error> {
            let path = plane.dir().join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let token = file("simcloud.token", TOKEN)?;
        let control = file("simcloud.control-token", CONTROL_TOKEN)?;
        let address = plane.dir().join("simcloud.address");
        let args = [
            "--token-file",
            &token.display().to_string(),
            "--control-token-file",
            &control.display().to_string(),
            "--print-address-file",
            &address.display().to_string(),
        ];
        let args: Vec<_> = args.map(str::to_owned).iter().chain(cloud_flags).cloned().collect();
        let log = plane.dir().join("simcloud.log");
        let cloud = Program::start("simcloud", &binaries.simcloud, &args, log)?;
        let url = wait_for_file(&address).await?;
        let config = format!("endpoint: {url}\ntokenFile: {}\nclusterID: bench\n", token.display());
        let cloud_config = file("cloud-config.yaml", &config)?;
        let console = Console::new(url, TOKEN, CONTROL_TOKEN)?;
        Ok(Self { plane, console, cloud, cloud_config, cloud_token: token, accounts })
    }

    fn account(&self, account: Account) -> &ServiceAccountAccess {
        let [first, second, peer] = &self.accounts;
        match account {
            Account::First => first,
            Account::Second => second,
            Account::Peer => peer,
        }
    }

    /// The account's name in the audit log.
    pub(super) fn user(&self, account: Account) -> &str {
        self.account(account).user()
    }

    /// Arguments of the controller manager: what it needs, and else its defaults.
    ///
    /// Without HTTPS: two on one machine would want one port, and nobody asks here.
    pub(super) fn ccm_args(&self, account: Account) -> Vec<String> {
        vec![
            "--cloud-provider=sim".to_owned(),
            // Benches of routes say otherwise, behind this.
            "--configure-cloud-routes=false".to_owned(),
            format!("--cloud-config={}", self.cloud_config.display()),
            format!("--kubeconfig={}", self.account(account).kubeconfig().display()),
            "--secure-port=0".to_owned(),
            // An info line for each node is part of what is measured: nothing is switched off.
            "--v=0".to_owned(),
        ]
    }

    /// Arguments of the Go library: it takes the same ones.
    pub(super) fn peer_args(&self) -> Vec<String> {
        self.ccm_args(Account::Peer)
    }

    /// Arguments of the floor, of which there is one for each benchmark that has one.
    pub(super) fn floor_args(&self, of: &str, concurrency: usize) -> Vec<String> {
        vec![
            of.to_owned(),
            format!("--kubeconfig={}", self.account(Account::First).kubeconfig().display()),
            format!("--concurrency={concurrency}"),
        ]
    }

    /// Where the floor finds the cloud, if it needs it.
    pub(super) fn floor_cloud_args(&self) -> [String; 2] {
        [
            format!("--cloud={}", self.console.url()),
            format!("--cloud-token-file={}", self.cloud_token.display()),
        ]
    }

    pub(super) fn log(&self) -> PathBuf {
        self.plane.dir().join("measured.log")
    }

    /// Makes instances and registers their nodes, `node-00000` and so on; then the cloud's calls
    /// count from zero. Says how far it is: thousands take minutes.
    pub(super) async fn register(
        &self,
        count: usize,
        node_bytes: usize,
    ) -> Result<Vec<String>, Error> {
        let machines = self.boot(0..count).await?;
        let kubelet = |machine: &Instance| Kubelet::new(&machine.name).size(node_bytes);
        self.join(&machines, kubelet).await?;
        self.console.clear_calls().await?;
        Ok(machines.into_iter().map(|machine| machine.name).collect())
    }

    /// Makes instances, by the numbers of their nodes.
    pub(super) async fn boot(&self, numbers: Range<usize>) -> Result<Vec<Instance>, Error> {
        let mut machines = Vec::with_capacity(numbers.len());
        let numbers: Vec<usize> = numbers.collect();
        for batch in numbers.chunks(BATCH) {
            let wanted = batch.iter().map(|n| CreateInstance::named(format!("node-{n:05}")));
            machines.extend(self.console.create_instances(wanted.collect()).await?);
        }
        Ok(machines)
    }

    /// Registers the nodes of these machines as fast as the API server takes them.
    pub(super) async fn join(
        &self,
        machines: &[Instance],
        kubelet: impl Fn(&Instance) -> Kubelet,
    ) -> Result<(), Error> {
        let client = self.plane.admin_client();
        let begun = Instant::now();
        let mut done = 0;
        for batch in machines.chunks(BATCH) {
            register_many(&client, batch.iter().map(&kubelet), REGISTRATIONS).await?;
            done += u32::try_from(batch.len())?;
            if machines.len() > BATCH {
                let (done, all) = (grouped(done), grouped(u32::try_from(machines.len())?));
                say(format_args!("  {done} of {all} registered, {}", took(begun.elapsed())))?;
            }
        }
        Ok(())
    }

    /// CPU used so far. A process that has not started has used none.
    pub(super) fn cpu(&self, process: Option<u32>) -> Result<Cpu, Error> {
        Ok(Cpu {
            process: process.map_or(Ok(0.0), cpu_seconds)?,
            apiserver: cpu_seconds(self.plane.apiserver_pid().ok_or("no API server")?)?,
            etcd: cpu_seconds(self.plane.etcd_pid())?,
            machine: machine_cpu_seconds()?,
        })
    }

    pub(super) async fn stop(mut self) -> Result<(), Error> {
        self.cloud.stop().await?;
        Ok(self.plane.stop().await?)
    }
}

/// How long initialising so many nodes may take: five times what it does on two busy cores.
pub(super) fn patience(nodes: usize) -> Result<Duration, Error> {
    Ok(Duration::from_mins(1) + Duration::from_millis(50) * u32::try_from(nodes)?)
}

/// Waits for what the program brings about, and for no longer than it runs.
pub(super) async fn while_running<T>(
    program: &mut Program,
    what: &str,
    within: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = timeout(within, work) => done.unwrap_or_else(|_| {
            Err(format!("waited {} for {what}\n{}", took(within), program.tail()).into())
        }),
        ended = program.ended() => Err(ended),
    }
}

async fn wait_for_file(path: &Path) -> Result<String, Error> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
            _ if Instant::now() > deadline => {
                return Err(format!("{} did not appear", path.display()).into());
            }
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}
