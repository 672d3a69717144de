//! Clients of the API server: where it is, who we are, and what each kind of client may do.
//!
//! Three kinds, each with a connection pool of its own: one to read and watch with, one whose
//! mutations pass the gate, one for the lease alone, so that nothing can starve it.

pub mod account;
mod bearer;
mod counted;
mod gated;
mod pace;
mod proxy;
mod retried;
mod source;

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri, header};
use kube::client::{AuthError, ClientBuilder};
use kube::config::AuthInfo;
use kube::{Client, Config};

pub use self::gated::{MUTATION_TIMEOUT, Unanswered};
use self::source::Surroundings;
use super::gate::{Closed, Gate};
use crate::telemetry::ApiMetrics;

/// Name resolution, TCP and TLS together; a guess.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which a connection is given up; above the 295 s after which the API server or
/// kube's watcher has ended every watch, so that only dead connections are meant.
const READ_TIMEOUT: Duration = Duration::from_mins(5);

/// What the lease's client is called in the user agent, as upstream.
const LEASE_CLIENT: &str = "leader-election";

/// How to reach the API server, and as whom.
#[derive(Clone)]
pub struct ClusterConfig {
    base: Config,
    /// Read by us: kube sends a token file's last newline along, which no header may hold.
    token_file: Option<PathBuf>,
    user_agent: String,
    manners: Manners,
    metrics: ApiMetrics,
}

/// How the clients of a process behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// Requests a second of each client, more than zero, and how many may go at once after a pause.
    /// `None`: without bounds.
    pub pace: Option<(f32, u16)>,
    /// Whether each controller writes as a service account of its own, of its client's name.
    pub own_accounts: bool,
}

/// The API server cannot be reached as configured. Names the option and the file, never a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file could not be read.
    #[error("{option}: cannot read {}", path.display())]
    Unreadable {
        /// The option, or what stands in its place, that leads to the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },

    /// The kubeconfig file, or a file that it names, does not say what is needed.
    #[error("{option}: {}: {problem}", path.display())]
    Content {
        /// The option, or what stands in its place, that leads to the file.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, without quoting the file.
        problem: String,
    },

    /// An address or proxy is not usable.
    #[error("{option}: {problem}")]
    Address {
        /// The option or variable.
        option: &'static str,
        /// What is wrong.
        problem: String,
    },

    /// No kubeconfig was given and this is no pod with a service account.
    #[error(
        "neither --kubeconfig nor --master is given, and the in-cluster configuration, which needs \
         KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and a mounted service account, is not \
         available: {problem}"
    )]
    Nowhere {
        /// What is missing.
        problem: String,
    },

    /// The credentials were found but cannot be used.
    #[error("cannot make Kubernetes client {name:?}: {problem}")]
    Credentials {
        /// The client's name.
        name: String,
        /// What is wrong, without quoting the credentials.
        problem: String,
    },
}

impl ClusterConfig {
    /// Finds the API server as client-go does: `kubeconfig` (`--kubeconfig`) where given, its server
    /// replaced by `master` (`--master`); the pod's service account where neither is given. An empty
    /// value counts as not given.
    ///
    /// Proxies are taken from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. `user_agent` is how every
    /// client presents itself, before its own name:
    /// `cloud-controller-manager/v1.0.0 (linux/amd64) ccm-rs`.
    pub fn load(
        kubeconfig: Option<&Path>,
        master: Option<&str>,
        user_agent: &str,
    ) -> Result<Self, ConfigError> {
        Self::load_from(kubeconfig, master, user_agent, &Surroundings::of_this_process())
    }

    fn load_from(
        kubeconfig: Option<&Path>,
        master: Option<&str>,
        user_agent: &str,
        around: &Surroundings<'_>,
    ) -> Result<Self, ConfigError> {
        let mut base = source::load(
            kubeconfig.filter(|path| !path.as_os_str().is_empty()),
            master.filter(|text| !text.is_empty()),
            around,
        )?;
        // The file wins over a token beside it, as in client-go.
        let token_file = base.auth_info.token_file.take().filter(|path| !path.is_empty());
        if token_file.is_some() {
            base.auth_info.token = None;
        }
        base.connect_timeout = Some(CONNECT_TIMEOUT);
        base.read_timeout = Some(READ_TIMEOUT);
        // Otherwise the time that a pooled connection sat idle counts against its next answer.
        base.reset_reader_on_write = true;
        Ok(Self {
            base,
            token_file: token_file.map(PathBuf::from),
            user_agent: user_agent.to_owned(),
            manners: Manners::default(),
            metrics: ApiMetrics::default(),
        })
    }

    /// Has clients behave so.
    #[must_use]
    pub fn with(mut self, manners: Manners) -> Self {
        self.manners = manners;
        self
    }

    /// As [`load`](Self::load), from a file that another option than `--kubeconfig` names.
    pub fn load_for(
        option: &'static str,
        kubeconfig: &Path,
        user_agent: &str,
    ) -> Result<Self, ConfigError> {
        let around = Surroundings { option, ..Surroundings::of_this_process() };
        Self::load_from(Some(kubeconfig), None, user_agent, &around)
    }

    /// Counts the requests of clients that are made from now on.
    #[must_use]
    pub fn counted(self, metrics: ApiMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Where its clients' requests are counted.
    pub fn metrics(&self) -> ApiMetrics {
        self.metrics.clone()
    }

    /// The API server's address.
    pub fn server(&self) -> &Uri {
        &self.base.cluster_url
    }

    /// A client to read and watch with.
    ///
    /// What is answered by 429, 503 or 504 is sent again. It would also mutate, past the gate: don't.
    pub fn client(&self, name: &str) -> Result<Client, ConfigError> {
        Ok(retried::client(self.paced(self.connect(name, self.base.clone())?)))
    }

    /// A client whose every mutation passes `gate` right before it is sent, is sent once, and is
    /// answered within [`MUTATION_TIMEOUT`]. Reads pass freely.
    pub fn mutating_client(&self, name: &str, gate: &Gate) -> Result<Client, ConfigError> {
        // No retry: it would be sent behind the gate's back, and after the decision has aged.
        Ok(gated::client(self.paced(self.connect(name, self.base.clone())?), gate.clone()))
    }

    /// As [`mutating_client`](Self::mutating_client), for a controller of this canonical name: where each
    /// of them has a service account, as that.
    pub fn controller_client(&self, controller: &str, gate: &Gate) -> Result<Client, ConfigError> {
        let name = account::of(controller);
        if !self.manners.own_accounts {
            return self.mutating_client(name, gate);
        }
        let mut anonymous = Self { token_file: None, ..self.clone() };
        anonymous.base.auth_info = AuthInfo::default();
        let bare = anonymous.connect(name, anonymous.base.clone())?;
        // A request for a token changes nothing that another leader could mind: it needs no gate.
        let asker = self.connect("service-account-tokens", self.base.clone())?;
        let client = account::client(bare, asker, name);
        Ok(gated::client(self.paced(client), gate.clone()))
    }

    /// A client for the lease alone: no gate, no retries, nothing waits longer than `timeout`.
    pub fn lease_client(&self, timeout: Duration) -> Result<Client, ConfigError> {
        self.asking_client(LEASE_CLIENT, timeout)
    }

    fn paced(&self, client: Client) -> Client {
        match self.manners.pace {
            Some((qps, burst)) => {
                pace::client(client, qps, burst, self.metrics.clone(), self.host())
            }
            None => client,
        }
    }

    /// A client for questions that change nothing though they are posted: no gate, no retries, and
    /// nothing waits longer than `timeout`.
    pub fn asking_client(&self, name: &str, timeout: Duration) -> Result<Client, ConfigError> {
        let mut config = self.base.clone();
        config.connect_timeout = Some(timeout);
        config.read_timeout = Some(timeout);
        config.write_timeout = Some(timeout);
        self.connect(name, config)
    }

    /// The API server's host and port, as client-go's metrics name it.
    fn host(&self) -> Arc<str> {
        let server = self.server();
        let usual = if server.scheme_str() == Some("http") { 80 } else { 443 };
        let port = server.port_u16().unwrap_or(usual);
        format!("{}:{port}", server.host().unwrap_or_default()).into()
    }

    fn connect(&self, name: &str, mut config: Config) -> Result<Client, ConfigError> {
        let unusable =
            |problem: String| ConfigError::Credentials { name: name.to_owned(), problem };
        let agent = HeaderValue::try_from(format!("{}/{name}", self.user_agent))
            .map_err(|err| unusable(format!("its user agent: {err}")))?;
        config.headers.push((header::USER_AGENT, agent));
        // It would be inside of what counts; who wants it has it around that.
        config.default_retry = false;
        let builder =
            ClientBuilder::try_from(config).map_err(|err| unusable(without_secrets(&err)))?;
        let counting = counted::Counting { metrics: self.metrics.clone(), host: self.host() };
        match &self.token_file {
            Some(path) => {
                let layer = bearer::TokenFile::open(path).map_err(|source| {
                    ConfigError::Unreadable { option: "tokenFile", path: path.clone(), source }
                })?;
                Ok(builder.with_layer(&layer).with_layer(&counting).build())
            }
            None => Ok(builder.with_layer(&counting).build()),
        }
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("server", &self.base.cluster_url)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

/// Whether `err` says that the gate held a mutation back.
pub fn is_closed(err: &kube::Error) -> bool {
    matches!(err, kube::Error::Service(inner) if inner.is::<Closed>())
}

/// Prints a client's error as one line: what the server said, or the whole chain once.
///
/// kube's own text repeats a refusal as a debug dump and keeps the reason of a failed connection
/// to itself.
#[derive(Debug)]
pub struct Reason<'a>(pub &'a kube::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let kube::Error::Api(status) = self.0 {
            return write!(f, "{} ({})", status.message, status.code);
        }
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            let text = err.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = err.source();
        }
        Ok(())
    }
}

/// kube quotes a credential plugin's arguments, environment and output in its errors, all of which
/// may hold a credential.
fn without_secrets(err: &kube::Error) -> String {
    match err {
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            format!("the credential plugin failed with {}", out.status)
        }
        kube::Error::Auth(AuthError::AuthExecParse(_)) => {
            "the credential plugin's output is not an ExecCredential".to_owned()
        }
        kube::Error::Auth(AuthError::ParseTokenKey(_)) => {
            "the auth provider's output cannot be read".to_owned()
        }
        other => Reason(other).to_string(),
    }
}

#[cfg(test)]
mod tests;
