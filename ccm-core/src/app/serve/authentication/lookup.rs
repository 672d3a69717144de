//! Whose certificates are believed: from files that were given, or from the cluster's own settings.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::pin::pin;

use axum::http::HeaderName;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::trust::{Authorities, Proxies, Trust};
use crate::app::flags::serving::{Authentication, FrontProxy, Headers, Lookup};
use crate::app::serve::files::{Content, Files};
use crate::cluster::client::Reason;

/// Where API servers say how they authenticate, for those who serve beside them.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>
const CONFIG_MAP: &str = "extension-apiserver-authentication";

/// Its namespace.
const NAMESPACE: &str = "kube-system";

/// It is not known whose certificates are to be believed.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// A file that was given is of no use.
    #[error("{flag} {}: {problem}", path.display())]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The cluster does not say.
    #[error(
        "cannot read ConfigMap {NAMESPACE}/{CONFIG_MAP}, which says whose client certificates count: \
         {problem}; the Role extension-apiserver-authentication-reader grants it; otherwise give \
         --client-ca-file and --requestheader-client-ca-file, or go on without by \
         --authentication-skip-lookup or --authentication-tolerate-lookup-failure"
    )]
    Cluster {
        /// What is wrong.
        problem: String,
    },
}

/// Keeps [`Trust`] as files and cluster have it.
pub(in crate::app::serve) struct Keeper {
    cluster: Option<Cluster>,
    given: Vec<Given>,
    files: Files,
    trust: watch::Sender<Trust>,
}

/// What the cluster is asked for.
struct Cluster {
    client: Client,
    is_required: bool,
    clients: bool,
    proxies: bool,
}

/// What a file is about.
#[derive(Clone, Debug)]
enum Given {
    Clients(PathBuf),
    Proxies(FrontProxy),
}

impl Given {
    fn path(&self) -> &Path {
        match self {
            Self::Clients(path) => path,
            Self::Proxies(proxies) => &proxies.ca,
        }
    }

    fn flag(&self) -> &'static str {
        match self {
            Self::Clients(_) => "--client-ca-file",
            Self::Proxies(_) => "--requestheader-client-ca-file",
        }
    }

    fn apply(&self, content: Content, trust: &mut Trust) -> Result<(), LookupError> {
        let authorities = content
            .map_err(|err| err.to_string())
            .and_then(|pem| Authorities::from_pem(&pem))
            .map_err(|problem| LookupError::File {
                flag: self.flag(),
                path: self.path().to_owned(),
                problem,
            })?;
        match self {
            Self::Clients(_) => trust.clients = Some(authorities),
            Self::Proxies(FrontProxy { headers, .. }) => {
                trust.proxies = Some(Proxies { authorities, headers: headers.clone() });
            }
        }
        Ok(())
    }
}

impl Keeper {
    /// With what the files have now. `client` is for the cluster's settings.
    pub(in crate::app::serve) async fn open(
        options: &Authentication,
        client: Option<Client>,
    ) -> Result<Self, LookupError> {
        let clients = options.client_ca.clone().map(Given::Clients);
        let proxies = options.front_proxy.clone().map(Given::Proxies);
        let (asks_clients, asks_proxies) = (clients.is_none(), proxies.is_none());
        let is_asked = options.lookup != Lookup::Skipped && (asks_clients || asks_proxies);
        let cluster = client.filter(|_| is_asked).map(|client| Cluster {
            client,
            is_required: options.lookup == Lookup::Required,
            clients: asks_clients,
            proxies: asks_proxies,
        });
        let given: Vec<Given> = clients.into_iter().chain(proxies).collect();
        let mut files = Files::new(given.iter().map(|given| given.path().to_owned()).collect());
        let mut trust = Trust::default();
        for (given, content) in given.iter().zip(files.read().await) {
            given.apply(content, &mut trust)?;
        }
        Ok(Self { cluster, given, files, trust: watch::Sender::new(trust) })
    }

    pub(in crate::app::serve) fn trust(&self) -> watch::Receiver<Trust> {
        self.trust.subscribe()
    }

    /// Follows for ever, or until the cluster refuses at first what is required.
    pub(in crate::app::serve) async fn run(mut self) -> Result<Infallible, LookupError> {
        let Some(cluster) = self.cluster.take() else {
            loop {
                let contents = self.files.changed().await;
                self.read(contents);
            }
        };
        // The stream of a watch has no end.
        let mut settings = pin!(settings(cluster.client.clone()).chain(futures::stream::pending()));
        let mut has_found = false;
        let mut last_problem = None;
        loop {
            let found = tokio::select! {
                contents = self.files.changed() => {
                    self.read(contents);
                    continue;
                }
                Some(found) = settings.next() => found,
            };
            match found {
                Ok(data) => {
                    has_found = true;
                    last_problem = None;
                    apply(&cluster, &data, &self.trust);
                }
                Err(Problem::Refused(problem)) if cluster.is_required && !has_found => {
                    return Err(LookupError::Cluster { problem });
                }
                Err(Problem::Refused(problem) | Problem::Passing(problem)) => {
                    let is_new = last_problem.as_ref() != Some(&problem);
                    if is_new {
                        let err = LookupError::Cluster { problem: problem.clone() };
                        warn!(error = %err, "client certificates count as before");
                    }
                    last_problem = Some(problem);
                }
            }
        }
    }

    fn read(&self, contents: Vec<Content>) {
        let mut trust = self.trust.borrow().clone();
        for (given, content) in self.given.iter().zip(contents) {
            match given.apply(content, &mut trust) {
                Ok(()) => info!(path = %given.path().display(), "authorities read again"),
                Err(err) => warn!(error = %err, "new authorities not usable; the old ones go on"),
            }
        }
        self.trust.send_replace(trust);
    }
}

/// Why the settings are not there.
enum Problem {
    /// The cluster will not have it, or has none.
    Refused(String),
    /// It may be there later.
    Passing(String),
}

type Data = BTreeMap<String, String>;

/// What is in the `ConfigMap`, each time that it changes.
fn settings(client: Client) -> impl Stream<Item = Result<Data, Problem>> + Send {
    let api = Api::<ConfigMap>::namespaced(client, NAMESPACE);
    watch_object(api, CONFIG_MAP).default_backoff().map(|seen| match seen {
        Ok(Some(found)) => Ok(found.data.unwrap_or_default()),
        Ok(None) => Err(Problem::Refused("it does not exist".to_owned())),
        Err(err) => Err(problem(&err)),
    })
}

fn problem(err: &watcher::Error) -> Problem {
    let cause = match err {
        watcher::Error::InitialListFailed(err)
        | watcher::Error::WatchStartFailed(err)
        | watcher::Error::WatchFailed(err) => err,
        watcher::Error::WatchError(status) if status.code == 403 => {
            return Problem::Refused(status.message.clone());
        }
        other => return Problem::Passing(other.to_string()),
    };
    let text = Reason(cause).to_string();
    match cause {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Problem::Refused(text),
        _ => Problem::Passing(text),
    }
}

/// What cannot be read stays as it was, as upstream.
fn apply(cluster: &Cluster, data: &Data, trust: &watch::Sender<Trust>) {
    let mut new = trust.borrow().clone();
    if cluster.clients {
        match clients(data) {
            Ok(Some(authorities)) => new.clients = Some(authorities),
            Ok(None) => debug!("the cluster names no authority of clients"),
            Err(problem) => warn!(problem, "authorities of clients as before"),
        }
    }
    if cluster.proxies {
        match proxies(data) {
            Ok(Some(proxies)) => new.proxies = Some(proxies),
            Ok(None) => debug!("the cluster names no authority of front proxies"),
            Err(problem) => warn!(problem, "front proxies as before"),
        }
    }
    trust.send_replace(new);
}

fn clients(data: &Data) -> Result<Option<Authorities>, String> {
    let pem = data.get("client-ca-file").filter(|pem| !pem.is_empty());
    let authorities = pem.map(|pem| Authorities::from_pem(pem.as_bytes())).transpose();
    authorities.map_err(|problem| format!("client-ca-file: {problem}"))
}

fn proxies(data: &Data) -> Result<Option<Proxies>, String> {
    const CA: &str = "requestheader-client-ca-file";
    let Some(pem) = data.get(CA).filter(|pem| !pem.is_empty()) else { return Ok(None) };
    let authorities =
        Authorities::from_pem(pem.as_bytes()).map_err(|problem| format!("{CA}: {problem}"))?;
    let list = |key: &str| -> Result<Vec<String>, String> {
        let text = data.get(key).map_or("", String::as_str);
        if text.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_str(text).map_err(|err| format!("{key}: {err}"))
    };
    let names = |key: &str| -> Result<Vec<HeaderName>, String> {
        let parsed = list(key)?.iter().map(|name| name.parse()).collect::<Result<_, _>>();
        parsed.map_err(|err| format!("{key}: {err}"))
    };
    let extra = list("requestheader-extra-headers-prefix")?;
    let headers = Headers {
        allowed_names: list("requestheader-allowed-names")?,
        user: names("requestheader-username-headers")?,
        uid: names("requestheader-uid-headers")?,
        groups: names("requestheader-group-headers")?,
        extra: extra.iter().map(|prefix| prefix.to_ascii_lowercase()).collect(),
    };
    Ok(Some(Proxies { authorities, headers }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap().cert.pem()
    }

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn what_an_api_server_writes_is_read() {
        let pem = pem();
        let data = data(&[
            ("client-ca-file", &pem),
            ("requestheader-client-ca-file", &pem),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-uid-headers", "[]"),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
        ]);
        assert!(clients(&data).unwrap().is_some());
        let headers = proxies(&data).unwrap().unwrap().headers;
        assert_eq!(headers.allowed_names, ["front-proxy-client"]);
        assert_eq!(headers.user, ["x-remote-user"]);
        assert_eq!(headers.groups, ["x-remote-group"]);
        assert_eq!(headers.extra, ["x-remote-extra-"]);
        assert!(headers.uid.is_empty());
    }

    #[test]
    fn a_cluster_may_have_no_front_proxies() {
        assert!(clients(&data(&[])).unwrap().is_none());
        assert!(proxies(&data(&[("requestheader-allowed-names", "[]")])).unwrap().is_none());
    }

    #[test]
    fn nonsense_is_named_by_its_key() {
        let pem = pem();
        for (key, value) in [
            ("requestheader-client-ca-file", "nothing"),
            ("requestheader-allowed-names", "front"),
            ("requestheader-username-headers", r#"["a b"]"#),
        ] {
            let mut data = data(&[("requestheader-client-ca-file", &pem)]);
            data.insert(key.to_owned(), value.to_owned());
            let problem = proxies(&data).unwrap_err();
            assert!(problem.starts_with(key), "{problem}");
        }
    }
}
