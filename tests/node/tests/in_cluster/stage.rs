//! The cluster, and what all chapters do with it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ccm_node::{Ccm, Cluster, Error, NODE, Setup};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, api::ListParams};
use tokio::time::sleep;

use crate::{
    kubectl::Kubectl,
    lease::{self, Watch},
    say,
};

/// What is waited for takes seconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(50);

/// Where the manifest puts the program, and how its pods are found.
pub(crate) const NAMESPACE: &str = "kube-system";
const LABEL: &str = "app.kubernetes.io/name=cloud-controller-manager";

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) lease: Watch,
    pub(crate) kubectl: Kubectl,
    pub(crate) cluster: Cluster,
    pub(crate) ccm: Ccm,
    /// What the image's program is made from, where that is known.
    pub(crate) commit: Option<String>,
    /// Filled in.
    pub(crate) manifest: PathBuf,
    begun: Instant,
}

impl Stage {
    pub(crate) async fn set() -> Result<Self, Error> {
        let begun = Instant::now();
        let cluster = Cluster::start(&Setup { simcloud: program("simcloud")? }).await?;
        say(format_args!("a cluster with one node, which waits for its cloud: {}", took(begun)));
        let since = Instant::now();
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let image = path("CCM_IMAGE");
        let commit = match std::env::var("CCM_IMAGE_COMMIT") {
            Ok(commit) => Some(commit),
            // A build for tests does not know it.
            Err(_) => image.is_none().then(|| "unknown".to_owned()),
        };
        let ccm = Ccm::of(
            image.as_deref(),
            path("CCM_MANIFEST").as_deref(),
            &program("cloud-controller-manager")?,
            cluster.dir(),
        )?;
        ccm.import(&cluster).await?;
        let manifest = ccm.fill_in(&cluster)?;
        let kubectl = Kubectl::new(cluster.kubeconfig()).await?;
        let lease = Watch::begin(cluster.client());
        say(format_args!("the image made, unless it was given, and imported: {}", took(since)));
        Ok(Self { lease, kubectl, cluster, ccm, commit, manifest, begun })
    }

    /// The filled-in manifest's path.
    pub(crate) fn manifest(&self) -> Result<&str, Error> {
        Ok(self.manifest.to_str().ok_or("the manifest's path is no text")?)
    }

    /// The Node as it is.
    pub(crate) async fn node(&self) -> Result<Node, Error> {
        Ok(Api::<Node>::all(self.cluster.client()).get(NODE).await?)
    }

    /// The program's pods.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>, Error> {
        let pods = Api::<Pod>::namespaced(self.cluster.client(), NAMESPACE);
        Ok(pods.list(&ListParams::default().labels(LABEL)).await?.items)
    }

    /// Looks until there is a result. The error says what was seen last.
    pub(crate) async fn until<T>(
        &mut self,
        what: &str,
        mut look: impl AsyncFnMut(&mut Self) -> Result<Result<T, String>, Error>,
    ) -> Result<T, Error> {
        let since = Instant::now();
        loop {
            let seen = match look(self).await? {
                Ok(found) => return Ok(found),
                Err(seen) => seen,
            };
            self.cluster.expect_running()?;
            if since.elapsed() > PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {what}; seen last: {seen}").into());
            }
            sleep(POLL).await;
        }
    }

    /// Waits until somebody leads who is not `other`.
    pub(crate) async fn leader_other_than(&mut self, other: &str) -> Result<String, Error> {
        self.until("a new leader", async |stage| {
            let holder = stage.lease.holder();
            let is_new = !holder.is_empty() && holder != other;
            Ok(if is_new { Ok(holder) } else { Err(format!("{holder:?} holds the lease")) })
        })
        .await
    }

    /// How long nobody led before this leader, where the one before gave the lease back.
    pub(crate) fn vacancy(&self, leader: &str) -> Option<Duration> {
        lease::vacancy(&self.lease.holders(), leader)
    }

    /// What helps to find out why a chapter went wrong.
    pub(crate) async fn show_everything(&self) {
        for args in [
            ["get", "nodes,pods,services,daemonsets", "-A", "-o", "wide"].as_slice(),
            &["describe", "pods", "-n", NAMESPACE, "-l", LABEL],
            &["logs", "-n", NAMESPACE, "-l", LABEL, "--tail=40"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
        ] {
            let shown = self.kubectl.run(args).await.unwrap_or_else(|err| err.to_string());
            say(format_args!("---- kubectl {}\n{shown}", args.join(" ")));
        }
        say(format_args!("---- {}", self.cluster.node().tail("kubelet")));
    }

    /// Ends everything, and makes sure that the machine keeps nothing.
    pub(crate) async fn strike(self) -> Result<(), Error> {
        let Self { lease, cluster, begun, .. } = self;
        drop(lease);
        let since = Instant::now();
        let dir = cluster.dir().to_owned();
        cluster.stop().await?;
        expect_nothing_of(&dir)?;
        say(format_args!(
            "all stopped, and nothing is left: {}; {} in all",
            took(since),
            took(begun)
        ));
        Ok(())
    }
}

/// What a cluster has under its own name: control groups and its directory. For all else see [`crate::machine`].
pub(crate) fn expect_nothing_of(dir: &Path) -> Result<(), Error> {
    let id = dir.file_name().and_then(|name| name.to_str()).ok_or("a directory has a name")?;
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(top)?.flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([top.to_owned()]) {
        let group = hierarchy.join(format!("ccm-envtest-{id}"));
        if group.exists() {
            return Err(format!("{} is still there", group.display()).into());
        }
    }
    if dir.exists() && std::env::var_os("CCM_ENVTEST_KEEP").is_none() {
        return Err(format!("{} is still there", dir.display()).into());
    }
    Ok(())
}

/// A program of ours, which somebody has to have built.
pub(crate) fn program(name: &str) -> Result<PathBuf, Error> {
    let beside = || -> Option<PathBuf> {
        Some(std::env::current_exe().ok()?.ancestors().nth(2)?.to_owned())
    };
    let folder = std::env::var_os("CCM_BIN_DIR").map(PathBuf::from).or_else(beside);
    let path = folder.ok_or("the system does not know our own executable")?.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} does not exist: run `cargo xtask test --in-cluster`", path.display()).into())
}

pub(crate) fn took(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}
