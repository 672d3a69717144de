//! Where the programs come from: given, found, or built once and kept.
//!
//! `KUBEBUILDER_ASSETS`, a folder with `etcd`, `kube-apiserver` and `kubectl`, is the convention that other projects'
//! users know, so it comes first. There is no download of binaries: what is not given is built by Go from the modules
//! that `binaries/go.mod` pins, through whatever module proxy the user has set.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    error::Error,
    toolchain::{Recipe, Toolchain},
};

/// The module that pins what is built.
const MODULE: [(&str, &str); 2] = [
    ("go.mod", include_str!("../binaries/go.mod")),
    ("go.sum", include_str!("../binaries/go.sum")),
];

/// The module that pins helm, which is no part of Kubernetes but has much of it in it: with the same versions Go's
/// build cache has most of that.
const HELM_MODULE: [(&str, &str); 2] =
    [("go.mod", include_str!("../helm/go.mod")), ("go.sum", include_str!("../helm/go.sum"))];

/// The helm that is built.
pub const HELM_VERSION: &str = "3.21.4";

/// The Kubernetes that is built. `binaries/go.mod` says the same, and a test holds them together.
pub const KUBERNETES_VERSION: &str = "1.36.3";

/// The etcd that is built: the one this Kubernetes is made with.
pub const ETCD_VERSION: &str = "3.6.8";

/// The oldest Go that can build them.
pub(crate) const GO_MINIMUM: &str = "1.26";

/// The folder convention of other projects.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// A program that we run, or that a test or demo does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// The store.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The command line client.
    Kubectl,
    /// The controllers that are no cloud's.
    KubeControllerManager,
    /// What gives pods their nodes.
    KubeScheduler,
    /// What runs the pods of a node.
    Kubelet,
    /// What renders charts.
    Helm,
}

impl Binary {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::Helm,
    ];

    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::Kubectl => "kubectl",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Helm => "helm",
        }
    }

    /// The Go package to build.
    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::Helm => "helm.sh/helm/v3/cmd/helm",
        }
    }

    /// Names and texts of the files that pin what it is built from.
    fn module(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Helm => &HELM_MODULE,
            _ => &MODULE,
        }
    }

    /// How long a build takes on two cores with nothing cached but the modules. Measured.
    fn build_time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Etcd => 70,
            Self::KubeApiserver => 300,
            Self::Kubectl => 40,
            Self::KubeControllerManager | Self::Kubelet => 90,
            Self::KubeScheduler => 20,
            Self::Helm => 80,
        })
    }

    fn recipe(self) -> Recipe {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let versions = match self {
            Self::Helm => format!("helm-{HELM_VERSION}"),
            _ => format!("kubernetes-{KUBERNETES_VERSION}-etcd-{ETCD_VERSION}"),
        };
        Recipe {
            name: self.name(),
            folder: format!("{versions}-{os}-{arch}"),
            files: self.module(),
            package: self.package(),
            build_time: self.build_time(),
            missing: |program, reason| Error::Missing { program, reason },
        }
    }

    /// The program's path, links resolved.
    ///
    /// From `KUBEBUILDER_ASSETS` where that is set; for kubectl then the one on `PATH` if it is within one minor version
    /// of [`KUBERNETES_VERSION`]; else from the user's cache, built first if it is not there, which takes minutes and is
    /// said on standard error. Processes that ask at the same time build it once.
    pub async fn locate(self) -> Result<PathBuf, Error> {
        tokio::task::spawn_blocking(move || self.locate_blocking()).await.map_err(|err| {
            Error::Missing { program: self.name(), reason: format!("looking for it failed: {err}") }
        })?
    }

    fn locate_blocking(self) -> Result<PathBuf, Error> {
        if let Some(folder) = std::env::var_os(ASSETS).filter(|folder| !folder.is_empty())
            && let Some(path) = self.in_assets(Path::new(&folder))?
        {
            return Ok(path);
        }
        if self == Self::Kubectl
            && let Some(path) = kubectl_on_path()
        {
            return Ok(path);
        }
        let recipe = self.recipe();
        Toolchain::of_this_user(&recipe)?.built(&recipe)
    }

    /// `None` for what other projects do without: it is looked for as if the variable were not set.
    fn in_assets(self, folder: &Path) -> Result<Option<PathBuf>, Error> {
        match (folder.join(self.name()).canonicalize(), self) {
            (Ok(path), _) => Ok(Some(path)),
            (
                Err(_),
                Self::Kubectl
                | Self::KubeControllerManager
                | Self::KubeScheduler
                | Self::Kubelet
                | Self::Helm,
            ) => Ok(None),
            (Err(source), Self::Etcd | Self::KubeApiserver) => {
                Err(Error::Assets { program: self.name(), folder: folder.to_owned(), source })
            }
        }
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kubectl on `PATH`, if it is fit for the API server.
fn kubectl_on_path() -> Option<PathBuf> {
    let path = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file())?;
    let output = Command::new(&path)
        .args(["version", "--client", "--output=json"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    is_near(minor_of_client(&output.stdout)?).then_some(path)
}

/// kubectl is supported within one minor version of the API server.
/// <https://kubernetes.io/releases/version-skew-policy/#kubectl>
fn is_near(minor: u32) -> bool {
    minor_of(KUBERNETES_VERSION).is_some_and(|ours| ours.abs_diff(minor) <= 1)
}

/// The minor version in `v1.36.3`, `1.36` and `v1.32.4-dispatcher`.
fn minor_of(version: &str) -> Option<u32> {
    let rest = version.strip_prefix('v').unwrap_or(version).strip_prefix("1.")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn minor_of_client(json: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        client_version: Client,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Client {
        git_version: String,
    }
    minor_of(&serde_json::from_slice::<Version>(json).ok()?.client_version.git_version)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("v1.36.3", Some(36))]
    #[case::without_v("1.36", Some(36))]
    #[case::of_a_vendor("v1.32.4-dispatcher", Some(32))]
    #[case::with_a_plus("v1.33.1-gke.100+abc", Some(33))]
    #[case::another_major("v2.36.0", None)]
    #[case::no_number("v1.x", None)]
    #[case::empty("", None)]
    fn a_minor_version_is_read(#[case] version: &str, #[case] minor: Option<u32>) {
        assert_eq!(minor_of(version), minor);
    }

    #[rstest]
    #[case(34, false)]
    #[case(35, true)]
    #[case(36, true)]
    #[case(37, true)]
    #[case(38, false)]
    fn one_minor_version_away_is_near(#[case] minor: u32, #[case] near: bool) {
        assert_eq!(is_near(minor), near);
    }

    #[test]
    fn kubectl_says_its_version_in_json() {
        let json =
            br#"{"clientVersion":{"major":"1","minor":"36","gitVersion":"v1.36.3"},"kustomizeVersion":"v5"}"#;
        assert_eq!(minor_of_client(json), Some(36));
        assert_eq!(minor_of_client(b"Client Version: v1.36.3"), None);
    }

    #[test]
    fn a_folder_without_the_api_server_is_an_error_that_names_it() {
        let err = Binary::KubeApiserver.in_assets(Path::new("/nonexistent")).unwrap_err();
        let text = err.to_string();
        assert!(text.contains("/nonexistent, which has no kube-apiserver"), "{text}");
        let found = Binary::KubeControllerManager.in_assets(Path::new("/nonexistent")).unwrap();
        assert_eq!(found, None);
    }

    #[test]
    fn another_version_is_another_folder() {
        let key = Binary::Etcd.recipe().folder;
        for part in [KUBERNETES_VERSION, ETCD_VERSION, std::env::consts::ARCH] {
            assert!(key.contains(part), "{part} not in {key}");
        }
    }

    #[test]
    fn the_module_file_pins_the_versions_that_we_say() {
        let kubernetes = format!("\tk8s.io/kubernetes v{KUBERNETES_VERSION} // indirect\n");
        let etcd = format!("\tgo.etcd.io/etcd/server/v3 v{ETCD_VERSION} // indirect\n");
        let helm = format!("\thelm.sh/helm/v3 v{HELM_VERSION} // indirect\n");
        let client = format!("\tk8s.io/client-go v{} // indirect\n", library_version());
        for (go_mod, lines) in
            [(MODULE[0].1, [kubernetes, etcd]), (HELM_MODULE[0].1, [helm, client])]
        {
            for line in lines.into_iter().chain([format!("\ngo {GO_MINIMUM}.0\n")]) {
                assert!(go_mod.contains(&line), "{line:?} is not in go.mod");
            }
        }
        for binary in Binary::ALL {
            let go_mod = binary.module()[0].1;
            // Alone, or one of several.
            let package = binary.package();
            let lines = [format!("\ntool {package}\n"), format!("\t{package}\n")];
            let is_tool = lines.iter().any(|line| go_mod.contains(line));
            assert!(is_tool, "{binary} is no tool of go.mod");
        }
    }

    /// Kubernetes' libraries begin with 0 where it begins with 1.
    fn library_version() -> String {
        format!("0{}", &KUBERNETES_VERSION[1..])
    }
}
