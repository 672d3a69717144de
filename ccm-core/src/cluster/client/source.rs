//! From a kubeconfig file, `--master` or the pod's service account to kube's configuration.
//!
//! Put together here rather than by kube's loaders for the sake of the proxy (see [`proxy`]), and so
//! that a certificate authority that is a file is read again when it is replaced.

use std::path::{Path, PathBuf};

use http::Uri;
use k8s_openapi::ByteString;
use kube::Config;
use kube::config::{AuthInfo, Cluster, ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{ConfigError, proxy};

const KUBECONFIG: &str = "--kubeconfig";
const MASTER: &str = "--master";
const IN_CLUSTER: &str = "in-cluster configuration";

/// Where a pod finds its credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What is read besides the options.
pub(super) struct Surroundings<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) service_account: &'a Path,
    /// The option that names a kubeconfig file.
    pub(super) option: &'static str,
}

impl Surroundings<'_> {
    pub(super) fn of_this_process() -> Self {
        Self {
            env: &|name| std::env::var(name).ok(),
            service_account: Path::new(SERVICE_ACCOUNT),
            option: KUBECONFIG,
        }
    }
}

/// A cluster and a user of it, and the option and file that they come from.
struct Found {
    cluster: Cluster,
    user: AuthInfo,
    namespace: Option<String>,
    option: &'static str,
    path: PathBuf,
    /// Whether the address is that of `--master`.
    is_master: bool,
}

/// As client-go's `BuildConfigFromFlags`.
pub(super) fn load(
    kubeconfig: Option<&Path>,
    master: Option<&str>,
    around: &Surroundings<'_>,
) -> Result<Config, ConfigError> {
    let mut found = match (kubeconfig, master) {
        (Some(path), _) => from_file(path, master.is_some(), around.option)?,
        (None, Some(_)) => Found {
            cluster: Cluster::default(),
            user: AuthInfo::default(),
            namespace: None,
            option: MASTER,
            path: PathBuf::new(),
            is_master: true,
        },
        (None, None) => in_cluster(around)?,
    };
    if let Some(master) = master {
        found.cluster.server = Some(master.to_owned());
        // It named the server that has been replaced.
        found.cluster.tls_server_name = None;
        found.is_master = true;
    }
    assemble(found, around)
}

fn from_file(path: &Path, has_master: bool, option: &'static str) -> Result<Found, ConfigError> {
    let wrong = |problem: String| ConfigError::Content { option, path: path.to_owned(), problem };
    let file = Kubeconfig::read_from(path).map_err(|err| match err {
        KubeconfigError::ReadConfig(source, path) => {
            ConfigError::Unreadable { option, path, source }
        }
        // Its own text quotes the lines around the mistake, tokens and keys included.
        KubeconfigError::Parse(err) => wrong(err.location().map_or_else(
            || "not a kubeconfig".to_owned(),
            |at| format!("not a kubeconfig: see line {}, column {}", at.line(), at.column()),
        )),
        other => wrong(other.to_string()),
    })?;

    let name = file.current_context.as_deref().unwrap_or_default();
    let context = match file.contexts.into_iter().find(|context| context.name == name) {
        Some(context) => context.context.unwrap_or_default(),
        // client-go takes such a file as empty, which is of use with --master alone.
        None if name.is_empty() && has_master => kube::config::Context::default(),
        None if name.is_empty() => return Err(wrong("no current-context".to_owned())),
        None => return Err(wrong(format!("context {name:?} does not exist"))),
    };
    let cluster = file.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
    let cluster = match cluster {
        Some(cluster) => cluster.cluster.unwrap_or_default(),
        None if has_master => Cluster::default(),
        None => return Err(wrong(format!("cluster {:?} does not exist", context.cluster))),
    };
    let user = context
        .user
        .and_then(|name| file.auth_infos.into_iter().find(|user| user.name == name))
        .and_then(|user| user.auth_info)
        .unwrap_or_default();
    Ok(Found {
        cluster,
        user,
        namespace: context.namespace,
        option,
        path: path.to_owned(),
        is_master: false,
    })
}

/// The pod's environment and service account, as kube's and client-go's in-cluster loaders have it.
fn in_cluster(around: &Surroundings<'_>) -> Result<Found, ConfigError> {
    let env = |name: &str| {
        (around.env)(name)
            .filter(|text| !text.is_empty())
            .ok_or_else(|| ConfigError::Nowhere { problem: format!("{name} is not set") })
    };
    let host = env("KUBERNETES_SERVICE_HOST")?;
    let port = env("KUBERNETES_SERVICE_PORT")?;
    let path = |name: &str| {
        let path = around.service_account.join(name);
        match std::fs::metadata(&path) {
            Ok(_) => Ok(path.to_string_lossy().into_owned()),
            Err(err) => Err(ConfigError::Nowhere { problem: format!("{}: {err}", path.display()) }),
        }
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(Found {
        cluster: Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: Some(path("ca.crt")?),
            ..Cluster::default()
        },
        user: AuthInfo { token_file: Some(path("token")?), ..AuthInfo::default() },
        namespace: std::fs::read_to_string(around.service_account.join("namespace")).ok(),
        option: IN_CLUSTER,
        path: around.service_account.to_owned(),
        is_master: false,
    })
}

fn assemble(found: Found, around: &Surroundings<'_>) -> Result<Config, ConfigError> {
    let Found { cluster, mut user, namespace, option, path, is_master } = found;
    let server = server(&cluster, &user).map_err(|problem| {
        if is_master {
            ConfigError::Address { option: MASTER, problem }
        } else {
            ConfigError::Content { option, path: path.clone(), problem }
        }
    })?;
    let proxy_url = match cluster.proxy_url.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(proxy::parse(text).map_err(|problem| ConfigError::Content {
            option,
            path: path.clone(),
            problem: format!("proxy-url: {problem}"),
        })?),
        None => proxy::from_env(&server, around.env)?,
    };
    let insecure = cluster.insecure_skip_tls_verify.unwrap_or(false);
    let (root_cert, root_cert_file) = authority(&cluster, option, &path)?;
    if let Some(exec) = &mut user.exec
        && exec.provide_cluster_info
    {
        let told = ExecAuthCluster::try_from(&cluster).map_err(|err| ConfigError::Content {
            option,
            path: path.clone(),
            problem: err.to_string(),
        })?;
        exec.cluster = Some(told);
    }

    let mut config = Config::new(server);
    config.default_namespace =
        namespace.filter(|name| !name.is_empty()).unwrap_or(config.default_namespace);
    config.root_cert = root_cert;
    config.root_cert_file = root_cert_file;
    config.accept_invalid_certs = insecure;
    config.proxy_url = proxy_url;
    config.tls_server_name = cluster.tls_server_name.filter(|name| !name.is_empty());
    config.auth_info = user;
    Ok(config)
}

/// The server's address. An error is what is wrong with it.
fn server(cluster: &Cluster, user: &AuthInfo) -> Result<Uri, String> {
    let text = cluster.server.as_deref().unwrap_or_default();
    if text.is_empty() {
        return Err("the cluster has no server".to_owned());
    }
    // Whoever brings certificates means TLS.
    let secure = cluster.insecure_skip_tls_verify.unwrap_or(false)
        || cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || user.client_certificate.is_some()
        || user.client_certificate_data.is_some();
    let scheme = if secure { "https" } else { "http" };
    let url = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
    match url.parse::<Uri>() {
        Ok(uri)
            if matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty()) =>
        {
            Ok(uri)
        }
        Ok(_) | Err(_) => Err(format!("{shown:?} is not a server's URL")),
    }
}

type Authority = (Option<Vec<Vec<u8>>>, Option<PathBuf>);

/// The certificates to trust, and the file to read them from again.
fn authority(
    cluster: &Cluster,
    option: &'static str,
    path: &Path,
) -> Result<Authority, ConfigError> {
    let data = cluster.certificate_authority_data.as_deref().filter(|text| !text.is_empty());
    let file = cluster.certificate_authority.as_deref().filter(|text| !text.is_empty());
    let (pem, at, reread) = match (data, file) {
        (Some(data), _) => {
            let wrong = || ConfigError::Content {
                option,
                path: path.to_owned(),
                problem: "certificate-authority-data is not base64".to_owned(),
            };
            // Where it is wrapped, the line ends are in it.
            let data: String = data.split_whitespace().collect();
            let ByteString(pem) =
                serde_json::from_value(serde_json::Value::String(data)).map_err(|_| wrong())?;
            (pem, path.to_owned(), None)
        }
        (None, Some(file)) => {
            let file = PathBuf::from(file);
            let pem = std::fs::read(&file).map_err(|source| ConfigError::Unreadable {
                option,
                path: file.clone(),
                source,
            })?;
            (pem, file.clone(), Some(file))
        }
        (None, None) => return Ok((None, None)),
    };
    let certificates: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if certificates.is_empty() {
        let problem = "the certificate authority is not a PEM certificate".to_owned();
        return Err(ConfigError::Content { option, path: at, problem });
    }
    Ok((Some(certificates), reread))
}
