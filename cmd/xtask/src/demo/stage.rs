//! Everything that runs during the demo, and how it is started and stopped.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ccm_core::cloud::Needs;
use ccm_core::cluster::keys;
use ccm_core::cluster::rights::{self, Wanted};
use ccm_envtest::binaries::KUBERNETES_VERSION;
use ccm_envtest::kubelet::{self, Kubelet};
use ccm_envtest::{Binary, ControlPlane, Grant, Options};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use simcloud::api::Instance;
use simcloud::console::Console;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::picture::Picture;
use super::viewer;
use crate::out::{Out, took};
use crate::program::Program;
use crate::{Error, build};

/// The token of the cloud-controller-manager, by the name under which it can be revoked.
pub(super) const TOKEN: &str = "ccm";

/// How the cloud's call log names the cloud-controller-manager.
pub(super) const CALLER: &str = "cloud-controller-manager";

/// The pause between two looks at every node. Five minutes by default; nobody watches a demo that
/// long to see a label change.
pub(super) const REFRESH: Duration = Duration::from_secs(15);

/// The age of a node that may be deleted: five minutes by default, for the same reason.
const MIN_AGE: Duration = Duration::from_secs(10);

/// How long a program may take that needs a second on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(20);

/// The ranges of the cluster's pods.
const PODS: &str = "10.244.0.0/16,fd00:244::/48";

/// The programs, before any of them runs.
#[derive(Debug)]
pub(super) struct Programs {
    manager: PathBuf,
    cloud: PathBuf,
}

impl Programs {
    /// Builds what has to be built, with the builders' own progress on stderr.
    pub(super) async fn prepare(out: Out) -> Result<Self, Error> {
        out.heading("Getting ready");
        let since = Instant::now();
        out.line(
            "cloud-controller-manager and simulated cloud: compiled unless that is done already",
        );
        let mut built = build::programs(&["cloud-controller-manager", "simcloud"], &[]).await?;
        let mut take = |name: &str| built.remove(name).ok_or_else(|| format!("no {name}"));
        let programs =
            Self { manager: take("cloud-controller-manager")?, cloud: take("simcloud")? };
        out.line(format_args!(
            "etcd and kube-apiserver {KUBERNETES_VERSION}: from KUBEBUILDER_ASSETS or the cache, or built with Go now"
        ));
        Binary::Etcd.locate().await?;
        Binary::KubeApiserver.locate().await?;
        out.ok(format_args!("everything is there, after {}", took(since.elapsed())));
        Ok(programs)
    }
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage {
    // Dropped in this order.
    viewer: AbortOnDrop,
    manager: Program,
    cloud: Program,
    pub(super) console: Console,
    pub(super) control_plane: ControlPlane,
    pub(super) kubeconfig: PathBuf,
    /// The service account that the cloud-controller-manager runs as.
    pub(super) account: String,
    pub(super) metrics_url: String,
    picture: watch::Receiver<Picture>,
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Stage {
    /// Starts a control plane, then a cloud, then the cloud-controller-manager.
    pub(super) async fn set(programs: &Programs, out: Out) -> Result<Self, Error> {
        out.heading("Starting");
        let started = Instant::now();
        let control_plane = ControlPlane::start_with(Options {
            audit: true,
            // It would taint every new Node as not ready, which only a kube-controller-manager
            // takes back.
            apiserver_args: vec!["--disable-admission-plugins=TaintNodesByCondition".to_owned()],
            ..Options::default()
        })
        .await?;
        let dir = control_plane.dir().to_owned();
        let server = control_plane.server_url();
        out.line(format_args!(
            "etcd and kube-apiserver  {server}, after {}",
            took(started.elapsed())
        ));

        let started = Instant::now();
        let (cloud, console) = start_cloud(&programs.cloud, &dir).await?;
        let url = console.url();
        out.line(format_args!("simulated cloud          {url}, after {}", took(started.elapsed())));

        let account = control_plane.service_account("kube-system", CALLER, &grants()).await?;
        let scraper = Grant::ClusterRules(vec![may_scrape()]);
        let scraper = control_plane.service_account("default", "scraper", &[scraper]).await?;
        write(&dir, METRICS_TOKEN, scraper.token())?;
        let kubeconfig =
            control_plane.write_kubeconfig("admin", control_plane.admin_credentials())?;
        let (send, picture) = watch::channel(Picture::default());
        let since = Instant::now();
        let viewer = viewer::run(control_plane.admin_client(), out, since, send);
        let viewer = AbortOnDrop(tokio::spawn(viewer).abort_handle());

        let config = format!("endpoint: {url}\ntokenFile: ccm.token\nclusterID: demo\n");
        let config = write(&dir, "cloud.yaml", &config)?;
        let port = free_port()?;
        let flags = [
            "--cloud-provider=sim".to_owned(),
            format!("--cloud-config={}", config.display()),
            format!("--kubeconfig={}", account.kubeconfig().display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            "--allocate-node-cidrs".to_owned(),
            format!("--cluster-cidr={PODS}"),
            // So that what somebody changes by hand is found while one looks on.
            "--route-drift-interval=10s".to_owned(),
            format!("--node-status-update-frequency={}s", REFRESH.as_secs()),
            format!("--node-deletion-min-age={}s", MIN_AGE.as_secs()),
        ];
        out.line(format_args!("cloud-controller-manager {}", flags[0]));
        for flag in &flags[1..] {
            out.line(format_args!("                         {flag}"));
        }
        let log = dir.join("cloud-controller-manager.log");
        let manager = Program::start(CALLER, &programs.manager, &flags, log)?;
        let mut stage = Self {
            viewer,
            manager,
            cloud,
            console,
            kubeconfig,
            account: account.user().to_owned(),
            metrics_url: format!("https://127.0.0.1:{port}/metrics"),
            picture,
            control_plane,
        };
        let leads = |picture: &Picture| {
            picture.events.iter().any(|said| {
                said.reason == "LeaderElection" && said.message.ends_with("became leader")
            })
        };
        stage.expect("the cloud-controller-manager leads", PATIENCE, leads).await?;
        Ok(stage)
    }

    /// Waits until the API server shows what is expected. The error says what it shows instead.
    pub(super) async fn expect(
        &mut self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&Picture) -> bool,
    ) -> Result<(), Error> {
        let mut picture = self.picture.clone();
        let seen = timeout(within, picture.wait_for(|picture| holds(picture)));
        tokio::select! {
            seen = seen => match seen {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(_)) => return Err("the watch of the API server ended".into()),
                Err(_) => {}
            },
            ended = self.ended() => return Err(ended),
        }
        let picture = self.picture.borrow().clone();
        let nodes = picture.nodes.iter().map(|(name, node)| format!("  {name}: {node}"));
        let services = picture.services.iter().map(|(name, it)| format!("  {name}: {it}"));
        Err(format!(
            "expected within {within:?}: {what}\nseen:\n{}\n{}",
            nodes.chain(services).collect::<Vec<_>>().join("\n"),
            self.manager.tail(),
        )
        .into())
    }

    /// Waits until the cloud is as expected.
    pub(super) async fn expect_in_cloud(
        &mut self,
        what: &str,
        within: Duration,
        holds: impl AsyncFn(&Console) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let console = self.console.clone();
        self.expect_so(&format!("in the cloud: {what}"), within, async || holds(&console).await)
            .await
    }

    /// Waits until something is so.
    pub(super) async fn expect_so(
        &mut self,
        what: &str,
        within: Duration,
        holds: impl AsyncFn() -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let look = async {
            while !holds().await? {
                sleep(POLL).await;
            }
            Ok(())
        };
        tokio::select! {
            seen = timeout(within, look) => seen.unwrap_or_else(|_| {
                let tail = self.manager.tail();
                Err(format!("expected within {within:?}: {what}\n{tail}").into())
            }),
            ended = self.ended() => Err(ended),
        }
    }

    /// Waits for the end of a program, which is not expected.
    pub(super) async fn ended(&mut self) -> Error {
        tokio::select! {
            ended = self.manager.ended() => ended,
            ended = self.cloud.ended() => ended,
        }
    }

    /// What the API server shows.
    pub(super) fn picture(&self) -> Picture {
        self.picture.borrow().clone()
    }

    /// The UID of the Node of this name.
    pub(super) async fn uid(&self, node: &str) -> Result<String, Error> {
        let nodes = Api::<Node>::all(self.control_plane.admin_client());
        Ok(nodes.get_metadata(node).await?.metadata.uid.unwrap_or_default())
    }

    /// Plays the kubelet of a machine as it starts for the first time.
    pub(super) async fn boot(&self, machine: &Instance) -> Result<(), Error> {
        let kubelet = Kubelet::new(&machine.name).system_uuid(&machine.system_uuid);
        kubelet.register(&self.control_plane.admin_client()).await?;
        Ok(())
    }

    /// Plays what a kube-controller-manager does when a kubelet is not heard of any more.
    pub(super) async fn silence(&self, machine: &Instance) -> Result<(), Error> {
        kubelet::set_unknown(&self.control_plane.admin_client(), &machine.name).await?;
        Ok(())
    }

    /// Plays the kubelet that is back.
    pub(super) async fn wake(&self, machine: &Instance) -> Result<(), Error> {
        kubelet::set_ready(&self.control_plane.admin_client(), &machine.name, true).await?;
        Ok(())
    }

    /// Releases the deletion of a Node, as its owner would with kubectl.
    pub(super) async fn release(&self, name: &str) -> Result<(), Error> {
        let nodes = Api::<Node>::all(self.control_plane.admin_client());
        let uid = nodes.get(name).await?.metadata.uid;
        let patch = json!({"metadata": {"annotations": {keys::ALLOW_DELETION: uid}}});
        nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(super) fn log(&self) -> &Path {
        self.manager.log()
    }

    /// Writes a private file beside the others and says where it is.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        write(self.control_plane.dir(), name, text)
    }

    /// Stops everything and makes sure that nothing is left.
    pub(super) async fn strike(mut self) -> Result<(), Error> {
        let dir = self.control_plane.dir().to_owned();
        let pids: Vec<u32> = [
            self.manager.pid(),
            self.cloud.pid(),
            self.control_plane.etcd_pid(),
            self.control_plane.guardian_pid(),
        ]
        .into_iter()
        .chain(self.control_plane.apiserver_pid())
        .collect();

        let manager = self.manager.stop().await;
        drop(self.viewer);
        let cloud = self.cloud.stop().await;
        drop((self.manager, self.cloud));
        let control_plane = self.control_plane.stop().await;
        manager?;
        cloud?;
        control_plane?;

        let running: Vec<_> =
            pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        if !running.is_empty() {
            return Err(format!("still running: process IDs {running:?}").into());
        }
        let is_kept = std::env::var_os("CCM_ENVTEST_KEEP").is_some();
        if dir.exists() && !is_kept {
            return Err(format!("{} is still there", dir.display()).into());
        }
        Ok(())
    }
}

/// What the cloud-controller-manager may do, and no more.
pub(crate) fn grants() -> Vec<Grant> {
    let namespace = "kube-system".to_owned();
    let wanted = Wanted::everything(Needs::default(), CALLER);
    vec![
        Grant::ClusterRules(rights::in_cluster(&wanted)),
        Grant::RoleRules { namespace, rules: rights::in_namespace(&wanted) },
    ]
}

/// Where the token is with which metrics can be read.
pub(super) const METRICS_TOKEN: &str = "metrics.token";

fn may_scrape() -> PolicyRule {
    PolicyRule {
        non_resource_urls: Some(vec!["/metrics".to_owned()]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    }
}

/// A cloud with two tokens: the cloud-controller-manager's, which will be revoked, and ours.
async fn start_cloud(program: &Path, dir: &Path) -> Result<(Program, Console), Error> {
    let [manager, operator, control] = [secret()?, secret()?, secret()?];
    write(dir, "ccm.token", &manager)?;
    write(dir, "operator.token", &operator)?;
    let tokens = write(dir, "cloud.tokens", &format!("{TOKEN} {manager}\noperator {operator}\n"))?;
    let control_token = write(dir, "control.token", &control)?;
    let address = dir.join("cloud.url");
    let flags = [
        format!("--token-file={}", tokens.display()),
        format!("--control-token-file={}", control_token.display()),
        format!("--print-address-file={}", address.display()),
        // About what a cloud's API takes.
        "--latency=30ms".to_owned(),
        "--latency-jitter=20ms".to_owned(),
    ];
    let mut cloud = Program::start("simcloud", program, &flags, dir.join("simcloud.log"))?;
    let url = async {
        loop {
            if let Ok(url) = std::fs::read_to_string(&address) {
                return url.trim().to_owned();
            }
            sleep(POLL).await;
        }
    };
    let url = tokio::select! {
        url = timeout(PATIENCE, url) => url.map_err(|_| format!("no cloud within {PATIENCE:?}"))?,
        ended = cloud.ended() => return Err(ended),
    };
    let console = Console::new(url, operator, control)?;
    Ok((cloud, console))
}

/// Writes a file that only its owner can read.
fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    use std::io::Write;

    let path = dir.join(name);
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|err| format!("cannot write {}: {err}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

fn secret() -> Result<String, Error> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// A port that is free now. That it is taken until it is used is possible and unlikely; the
/// cloud-controller-manager then says so and ends.
pub(crate) fn free_port() -> Result<u16, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether the node is as the cloud says that its machine is.
pub(super) fn is_initialized(picture: &Picture, machine: &Instance) -> bool {
    let Some(node) = picture.nodes.get(&machine.name) else { return false };
    let labels = [
        (keys::ZONE, &machine.zone),
        (keys::REGION, &machine.region),
        (keys::INSTANCE_TYPE, &machine.instance_type),
    ];
    let nics = &machine.nics;
    let v4 = nics.iter().flat_map(|nic| &nic.private_ipv4s).map(|ip| format!("InternalIP {ip}"));
    let v6 = nics.iter().flat_map(|nic| &nic.private_ipv6s).map(|ip| format!("InternalIP {ip}"));
    let public = nics.iter().filter_map(|nic| nic.public_ipv4);
    let mut addresses = v4.chain(v6).chain(public.map(|ip| format!("ExternalIP {ip}")));
    !node.uninitialized
        && node.is_reachable()
        && node.provider_id.as_deref() == Some(&*format!("sim://{}", machine.id))
        && labels.iter().all(|(key, value)| node.labels.get(*key) == Some(value))
        && addresses.all(|address| node.addresses.contains(&address))
        && node.known.as_ref().is_none_or(|known| known.status == "True")
}
