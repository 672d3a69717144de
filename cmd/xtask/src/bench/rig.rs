//! What a benchmark runs against: a control plane, a simulated cloud, and the binaries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_envtest::{ControlPlane, Options};
use simcloud::console::Console;
use tokio::time::{Instant, sleep};

use crate::demo::stage::grants;
use crate::program::Program;
use crate::{Error, build};

/// The binaries of the release build.
pub(super) struct Binaries {
    pub(super) ccm: PathBuf,
    pub(super) floor: PathBuf,
    simcloud: PathBuf,
}

impl Binaries {
    /// Builds them.
    pub(super) async fn build() -> Result<Self, Error> {
        Ok(Self {
            ccm: build::release("cloud-controller-manager", "cloud-controller-manager").await?,
            floor: build::release("xtask", "bench-floor").await?,
            simcloud: build::release("simcloud", "simcloud").await?,
        })
    }
}

/// A control plane and a cloud, both fresh.
pub(super) struct Rig {
    pub(super) plane: ControlPlane,
    pub(super) console: Console,
    cloud: Program,
    cloud_config: PathBuf,
    kubeconfig: PathBuf,
    pub(super) user: String,
}

const TOKEN: &str = "bench-token-of-the-simulated-cloud";
const CONTROL_TOKEN: &str = "bench-token-of-its-controls";

impl Rig {
    pub(super) async fn start(binaries: &Binaries) -> Result<Self, Error> {
        let options = Options {
            audit: true,
            unsafe_no_fsync: false,
            etcd_quota_backend_bytes: Some(8 << 30),
            ..Options::default()
        };
        let plane = ControlPlane::start_with(options).await?;
        let account =
            plane.service_account("kube-system", "cloud-controller-manager", &grants()).await?;
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
            "--latency",
            "20ms",
        ];
        let log = plane.dir().join("simcloud.log");
        let cloud = Program::start("simcloud", &binaries.simcloud, &args.map(str::to_owned), log)?;
        let url = wait_for_file(&address).await?;
        let config = format!("endpoint: {url}\ntokenFile: {}\nclusterID: bench\n", token.display());
        let cloud_config = file("cloud-config.yaml", &config)?;
        let console = Console::new(url, TOKEN, CONTROL_TOKEN)?;
        let (kubeconfig, user) = (account.kubeconfig().to_owned(), account.user().to_owned());
        Ok(Self { plane, console, cloud, cloud_config, kubeconfig, user })
    }

    /// Arguments of the controller manager.
    pub(super) fn ccm_args(&self, concurrency: usize) -> Vec<String> {
        vec![
            "--cloud-provider=sim".to_owned(),
            format!("--cloud-config={}", self.cloud_config.display()),
            format!("--kubeconfig={}", self.kubeconfig.display()),
            format!("--concurrent-node-syncs={concurrency}"),
            "--secure-port=0".to_owned(),
            // An info line for each node is part of what is measured: nothing is switched off.
            "--v=0".to_owned(),
        ]
    }

    /// Arguments of the floor.
    pub(super) fn floor_args(&self, concurrency: usize) -> Vec<String> {
        vec![
            format!("--kubeconfig={}", self.kubeconfig.display()),
            format!("--concurrency={concurrency}"),
        ]
    }

    pub(super) fn log(&self) -> PathBuf {
        self.plane.dir().join("measured.log")
    }

    pub(super) async fn stop(mut self) -> Result<(), Error> {
        self.cloud.stop().await?;
        Ok(self.plane.stop().await?)
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
