//! A cloud, as the controllers see it, and how a provider crate offers one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;

use super::annotations::Annotations;
use super::call::Read;
use super::erased::Converger;
use super::error::CloudError;
use super::install::Install;
use super::instance::{Belongs, Instances, NodeIdentity};
use super::load_balancer::LoadBalancerSpec;
use super::names::{ClusterName, Uid};
use super::route::RouteSpec;
use super::volume::Volumes;

/// A cloud, as the controllers see it.
///
/// A provider says what it can do by which accessors return `Some`; a controller whose capability
/// is missing is skipped. Accessors answer the same way for the life of the process.
#[async_trait]
pub trait CloudProvider: fmt::Debug + Send + Sync + 'static {
    /// The scheme of the provider IDs that this cloud issues, e.g. `aws` for
    /// `aws:///eu-west-1a/i-0ab`.
    fn name(&self) -> &'static str;

    /// What tells this cluster's resources from those of other clusters in the same account.
    /// Without one the process refuses to manage resources that it could not attribute.
    fn cluster_id(&self) -> ClusterId;

    /// Whether a Node is ours to look after. Pure. Foreign and hybrid nodes are left alone.
    fn belongs(&self, node: &NodeIdentity) -> Belongs;

    /// Finds out what the rest of the provider needs to know of its surroundings: its network, its
    /// own account. Called on the leader before any controller starts, and again after a failure.
    /// Reads only; may be repeated and dropped.
    async fn connect(&self, _cx: &Read, _facts: &Facts) -> Result<(), CloudError> {
        Ok(())
    }

    /// The files, besides that of `--cloud-config`, from which the provider was built and which it does
    /// not read again by itself: credentials, certificates. When one changes, another provider is built
    /// and takes the place of this one.
    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The machines behind nodes. Without this neither node controller runs.
    fn instances(&self) -> Option<Arc<dyn Instances>> {
        None
    }

    /// Load balancers for Services.
    fn load_balancers(&self) -> Option<Converger<LoadBalancerSpec>> {
        None
    }

    /// Routes to pod ranges.
    fn routes(&self) -> Option<Converger<RouteSpec>> {
        None
    }

    /// Where volumes are.
    fn volumes(&self) -> Option<Arc<dyn Volumes>> {
        None
    }
}

/// Where the ID comes from that a cluster has in its cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterId {
    /// The configuration gives it.
    Given(String),
    /// The cloud is asked: [`CloudProvider::connect`] finds it, and is an error where it cannot.
    Discovered,
    /// There is none.
    Missing,
}

impl From<Option<String>> for ClusterId {
    /// Given by the configuration, or missing.
    fn from(id: Option<String>) -> Self {
        id.map_or(Self::Missing, Self::Given)
    }
}

/// What a provider crate exports: all that the process has to know of a cloud before it runs.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The value of `--cloud-provider` that chooses it.
    pub name: &'static str,
    /// What it needs of the cluster.
    pub needs: Needs,
    /// The annotations of Services that it reads.
    pub service_annotations: Annotations,
    /// Values that differ from cloud to cloud.
    pub policy: Policy,
    /// What its manifest has besides what every provider's has.
    pub install: Install,
    /// Builds the provider from its configuration.
    ///
    /// Reads the configuration and the files that it names and spawns nothing; the cloud is not
    /// asked before [`CloudProvider::connect`]. So a mistake in the configuration ends the process
    /// at once, and a standby replica never calls the cloud.
    pub build: fn(&Setup) -> Result<Arc<dyn CloudProvider>, ConfigError>,
}

/// What a provider needs of the cluster. Drives watches, the trimming of caches, the rights in the
/// manifests and the book.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// The Node labels that it reads.
    pub node_labels: Labels,
    /// Keys of the Node annotations that it reads.
    pub node_annotations: &'static [&'static str],
    /// Prefixes of the Node labels that are its own (`example.com` for `example.com/rack`): there
    /// it may change a label after initialisation; any other label is only ever added.
    pub own_label_prefixes: &'static [&'static str],
    /// The Service labels that it reads: some clouds place a Service by them.
    pub service_labels: Labels,
    /// Namespaces of the Services that it handles, and their labels.
    pub namespaces: bool,
    /// Endpoints of the Services that it handles.
    pub endpoints: bool,
    /// Facts about the cluster, read once: `ConfigMap`s as `namespace/name`.
    pub config_maps: &'static [&'static str],
    /// The UID of the namespace `kube-system`, which several clouds use as the cluster's own ID.
    pub kube_system_uid: bool,
}

/// Some labels.
#[derive(Clone, Copy, Debug)]
pub enum Labels {
    /// Those with these keys.
    These(&'static [&'static str]),
    /// All: its users select nodes by labels of their own.
    All,
}

impl Default for Labels {
    fn default() -> Self {
        Self::These(&[])
    }
}

/// What the provider learns of the cluster before it connects: what it asked for in [`Needs`].
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The UID of the namespace `kube-system`.
    pub kube_system_uid: Option<Uid>,
    /// The data of each `ConfigMap`, by `namespace/name`. One that does not exist is missing.
    pub config_maps: BTreeMap<&'static str, BTreeMap<String, String>>,
}

/// Values that differ from cloud to cloud.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long after a Node was made a missing instance is not believed to be gone, because the
    /// cloud's answers lag behind. `--node-deletion-min-age` holds where it is longer.
    pub absence_grace: Duration,
    /// Whether a record that says that a machine was terminated is of just the machine in question,
    /// for no provider ID is ever given to a second one. Then two such answers, the second one direct,
    /// are enough at any age. Where an ID outlives its machine, a record that lags behind may be the
    /// one of the machine before.
    pub terminated_is_final: bool,
    /// Names under which the Go program of this cloud exports its API metrics, so that dashboards
    /// go on working: prefix of `…_api_request_duration_seconds` and `…_api_request_errors`.
    pub legacy_metric_prefix: Option<&'static str>,
    /// Operations that have another name in the label `request` of that program's metrics: ours, and its.
    pub legacy_request_names: &'static [(&'static str, &'static str)],
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            absence_grace: Duration::from_mins(1),
            terminated_is_final: false,
            legacy_metric_prefix: None,
            legacy_request_names: &[],
        }
    }
}

/// What a provider is built from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `--cloud-config`. `None` where the flag is not given, which is not the same as an empty file.
    pub config: Option<ConfigFile>,
    /// `--cluster-name`.
    pub cluster_name: ClusterName,
    /// What to say in `User-Agent`.
    pub user_agent: String,
    /// `--cluster-cidr`: no more than one range of each family, without host bits. Routes to other
    /// ranges are not ours, whatever mark they bear. Empty where the flag is not given: then no
    /// routes are made.
    pub cluster_cidrs: Vec<IpNet>,
}

/// The file behind `--cloud-config`.
#[derive(Clone)]
pub struct ConfigFile {
    /// Where it was read, for messages.
    pub path: PathBuf,
    /// What it holds. May contain credentials.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The bytes may be a password.
        f.debug_struct("ConfigFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is wrong with a provider's configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, where the mistake is in one.
    pub file: Option<PathBuf>,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// The key, where one is to blame.
    pub key: Option<String>,
    /// What is wrong and what is accepted. Never holds a secret.
    pub message: String,
}

impl ConfigError {
    /// A mistake that is in no particular place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { file: None, line: None, key: None, message: message.into() }
    }

    /// Says in which file.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// Says in which line, counted from 1.
    #[must_use]
    pub fn at_line(mut self, line: u64) -> Self {
        self.line = Some(line);
        self
    }

    /// Says which key.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("--cloud-config")?;
        if let Some(file) = &self.file {
            write!(f, " {}", file.display())?;
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", key {key:?}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// The providers of one binary.
#[derive(Clone, Debug)]
pub struct Registry(Vec<Registration>);

/// Why no provider could be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Two crates registered one name: a mistake of whoever put the binary together.
    #[error("two cloud providers are registered as {0:?}")]
    Twice(&'static str),
    /// The name is not known.
    #[error("unknown cloud provider --cloud-provider={name:?}: this binary has {}", known.join(", "))]
    Unknown {
        /// As it was given.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// The file cannot be read.
    #[error("--cloud-config {}: cannot be read: {source}", path.display())]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The provider does not accept its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Registry {
    /// Collects the providers of a binary. No two may have one name.
    pub fn new(registrations: Vec<Registration>) -> Result<Self, RegistryError> {
        for (index, one) in registrations.iter().enumerate() {
            if registrations[..index].iter().any(|other| other.name == one.name) {
                return Err(RegistryError::Twice(one.name));
            }
        }
        Ok(Self(registrations))
    }

    /// The registration of this name.
    pub fn find(&self, name: &str) -> Result<&Registration, RegistryError> {
        self.0.iter().find(|one| one.name == name).ok_or_else(|| RegistryError::Unknown {
            name: name.to_owned(),
            known: self.0.iter().map(|one| one.name).collect(),
        })
    }
}

impl Registration {
    /// Reads the configuration file, if one is given, and builds the provider.
    pub fn provider(
        &self,
        config: Option<&Path>,
        cluster_name: ClusterName,
        user_agent: String,
        cluster_cidrs: Vec<IpNet>,
    ) -> Result<Arc<dyn CloudProvider>, RegistryError> {
        let config = match config {
            None => None,
            Some(path) => match std::fs::read(path) {
                Ok(bytes) => Some(ConfigFile { path: path.to_owned(), bytes }),
                Err(source) => {
                    return Err(RegistryError::Unreadable { path: path.to_owned(), source });
                }
            },
        };
        let file = config.as_ref().map(|config| config.path.clone());
        (self.build)(&Setup { config, cluster_name, user_agent, cluster_cidrs }).map_err(
            |mut err| {
                err.file = err.file.or(file);
                err.into()
            },
        )
    }
}
