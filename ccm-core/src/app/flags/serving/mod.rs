//! What was meant with the endpoints: where and how they are served, and who may ask them.

mod tls;
pub(super) mod typed;

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

pub use self::tls::{Tls, Version};

use super::go;
use super::options::{BOOLEAN, Errors};

/// HTTPS endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Where to listen.
    pub address: SocketAddr,
    /// Whether others may listen there too.
    pub shares_port: bool,
    /// What to serve with.
    pub certificate: Certificate,
    /// What to serve with to clients that ask for certain names; the first counts.
    pub named: Vec<Named>,
    /// How TLS is spoken.
    pub tls: Tls,
    /// Requests that an HTTP/2 connection may have under way; `None` for HTTP/1.1 alone.
    pub http2_streams: Option<u32>,
    /// How it is found out who a client is.
    pub authentication: Authentication,
    /// How it is found out what a client may do.
    pub authorization: Authorization,
    /// Whether the log's verbosity can be changed.
    pub profiling: bool,
    /// What was understood, but cannot be done as it was said. For the log.
    pub warnings: Vec<String>,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// From files, which others replace.
    Given(Pair),
    /// It is made, and kept in this folder if there is one.
    SelfSigned(Option<PathBuf>),
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM file of the certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// A certificate for certain names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it is.
    pub pair: Pair,
    /// The names, perhaps `*.example.com`; empty for those in the certificate.
    pub names: Vec<String>,
}

/// How it is found out who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// As whom to ask; `None` for the usual credentials.
    pub kubeconfig: Option<PathBuf>,
    /// How long an answer about a token is good for; zero for not at all.
    pub token_ttl: Duration,
    /// What to read of the cluster's settings.
    pub lookup: Lookup,
    /// Authorities of clients' certificates, in place of the cluster's.
    pub client_ca: Option<PathBuf>,
    /// Front proxies, in place of the cluster's.
    pub front_proxy: Option<FrontProxy>,
}

/// Whether to read the cluster's settings of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Yes; if that is refused the process ends.
    Required,
    /// Yes; if that is refused nobody is known by a certificate.
    Tolerant,
    /// No.
    Skipped,
}

/// Which front proxies are believed, and what they say in which header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxy {
    /// PEM file of their authorities.
    pub ca: PathBuf,
    /// Where they say what.
    pub headers: Headers,
}

/// What a front proxy says in which header, and which proxies may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Common names of certificates; empty for any.
    pub allowed_names: Vec<String>,
    /// The user; the first that is there counts.
    pub user: Vec<HeaderName>,
    /// The user's UID.
    pub uid: Vec<HeaderName>,
    /// The user's groups.
    pub groups: Vec<HeaderName>,
    /// Beginnings of headers with more, in lower case.
    pub extra: Vec<String>,
}

/// How it is found out what a client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// As whom to ask; `None` for the usual credentials.
    pub kubeconfig: Option<PathBuf>,
    /// How long a yes is good for; zero for not at all.
    pub allowed_ttl: Duration,
    /// How long a no is good for; zero for not at all.
    pub denied_ttl: Duration,
    /// What everybody may ask for.
    pub open: Vec<Open>,
}

/// Paths that everybody may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// This one.
    Path(String),
    /// All that begin so.
    Prefix(String),
}

impl Open {
    /// Whether everybody may ask for this path.
    pub fn covers(&self, path: &str) -> bool {
        match self {
            Self::Path(open) => path == open,
            Self::Prefix(prefix) => path.starts_with(prefix),
        }
    }
}

const DURATION: &str = "a duration, such as 10s or 1m30s, or 0";
const HEADERS: &str = "names of HTTP headers, separated by commas";

/// As upstream. <https://github.com/kubernetes/apiserver/blob/master/pkg/server/secure_serving.go>
const STREAMS: u32 = 100;

/// The outer `None`: reported. The inner: switched off.
#[expect(clippy::option_option, reason = "as said")]
pub(super) fn serving(
    flags: &typed::Serving,
    authentication: &typed::Authentication,
    authorization: &typed::Authorization,
    debugging: &typed::Debugging,
    errors: &mut Errors,
) -> Option<Option<Serving>> {
    let mut warnings = Vec::new();
    let address = errors.read(
        "--bind-address",
        &flags.bind_address,
        "an IP address such as 0.0.0.0, 127.0.0.1 or ::1",
        |text| match text {
            "" => Some(Ipv4Addr::UNSPECIFIED.into()),
            text => text.parse::<IpAddr>().ok(),
        },
    );
    let port = errors.read(
        "--secure-port",
        &flags.secure_port,
        "a port from 1 to 65535, or 0 for no HTTPS",
        go::whole::<u16>,
    );
    let certificate = certificate(flags, errors);
    let named: Vec<_> = flags
        .tls_sni_cert_key
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| errors.read("--tls-sni-cert-key", text, NAMED, self::named))
        .collect();
    let tls = tls::read(
        &flags.tls_min_version,
        &flags.tls_cipher_suites,
        &flags.tls_curve_preferences,
        errors,
        &mut warnings,
    );
    let mut boolean = |flag, text: &str| errors.read(flag, text, BOOLEAN, go::boolean);
    let only_http1 = boolean("--disable-http2-serving", &flags.disable_http2_serving);
    let shares_port = boolean("--permit-port-sharing", &flags.permit_port_sharing);
    let shares_address = boolean("--permit-address-sharing", &flags.permit_address_sharing);
    let profiling = boolean("--profiling", &debugging.profiling);
    let contention = boolean("--contention-profiling", &debugging.contention_profiling);
    let streams = errors.read(
        "--http2-max-streams-per-connection",
        &flags.http2_max_streams_per_connection,
        "a number of requests, or 0 for the usual",
        go::whole::<u32>,
    );
    let authentication = self::authentication(authentication, errors);
    let authorization = self::authorization(authorization, errors);

    let _without_effect = (shares_address?, contention?);
    let serving = Serving {
        address: SocketAddr::new(address?, port?),
        shares_port: shares_port?,
        certificate: certificate?,
        named: named.into_iter().collect::<Option<_>>()?,
        tls: tls?,
        http2_streams: (!only_http1?).then_some(match streams? {
            0 => STREAMS,
            streams => streams,
        }),
        authentication: authentication?,
        authorization: authorization?,
        profiling: profiling?,
        warnings,
    };
    Some((serving.address.port() != 0).then_some(serving))
}

fn certificate(flags: &typed::Serving, errors: &mut Errors) -> Option<Certificate> {
    let (certificate, key) = (path(&flags.tls_cert_file), path(&flags.tls_private_key_file));
    let mut lonely = |flag, path: PathBuf, accepted| {
        errors.read(flag, &path.to_string_lossy(), accepted, |_| None::<Certificate>)
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Certificate::Given(Pair { certificate, key })),
        (None, None) => Some(Certificate::SelfSigned(path(&flags.cert_dir))),
        (Some(path), None) => {
            lonely("--tls-cert-file", path, "given together with --tls-private-key-file")
        }
        (None, Some(path)) => {
            lonely("--tls-private-key-file", path, "given together with --tls-cert-file")
        }
    }
}

const NAMED: &str = "the files of a certificate and of its key, and perhaps names, as in \
     site.crt,site.key or site.crt,site.key:example.com,*.example.com";

fn named(text: &str) -> Option<Named> {
    let (files, names) = match text.split_once(':') {
        Some((files, names)) => (files, Some(names)),
        None => (text, None),
    };
    let (certificate, key) = files.split_once(',')?;
    let names: Vec<String> = names
        .iter()
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let [certificate, key] = [certificate, key].map(str::trim);
    let is_whole = !certificate.is_empty() && !key.is_empty() && !key.contains(',');
    let pair = Pair { certificate: certificate.into(), key: key.into() };
    (is_whole && !names.iter().any(String::is_empty)).then_some(Named { pair, names })
}

fn authentication(flags: &typed::Authentication, errors: &mut Errors) -> Option<Authentication> {
    let token_ttl = errors.read(
        "--authentication-token-webhook-cache-ttl",
        &flags.authentication_token_webhook_cache_ttl,
        DURATION,
        go::duration,
    );
    let mut boolean = |flag, text: &str| errors.read(flag, text, BOOLEAN, go::boolean);
    let skip = boolean("--authentication-skip-lookup", &flags.authentication_skip_lookup);
    let tolerant = boolean(
        "--authentication-tolerate-lookup-failure",
        &flags.authentication_tolerate_lookup_failure,
    );
    let mut headers = |flag, values: &[String]| {
        let text = list(values).join(",");
        errors.read(flag, &text, HEADERS, |_| {
            list(values).iter().map(|name| name.parse().ok()).collect::<Option<Vec<HeaderName>>>()
        })
    };
    let user = headers("--requestheader-username-headers", &flags.requestheader_username_headers);
    let uid = headers("--requestheader-uid-headers", &flags.requestheader_uid_headers);
    let groups = headers("--requestheader-group-headers", &flags.requestheader_group_headers);
    let extra =
        headers("--requestheader-extra-headers-prefix", &flags.requestheader_extra_headers_prefix);
    let headers = Headers {
        allowed_names: list(&flags.requestheader_allowed_names),
        user: user?,
        uid: uid?,
        groups: groups?,
        extra: extra?.into_iter().map(|prefix| prefix.as_str().to_owned()).collect(),
    };
    let front_proxy =
        path(&flags.requestheader_client_ca_file).map(|ca| FrontProxy { ca, headers });
    Some(Authentication {
        kubeconfig: path(&flags.authentication_kubeconfig),
        token_ttl: token_ttl?,
        lookup: match (skip?, tolerant?) {
            (true, _) => Lookup::Skipped,
            (false, true) => Lookup::Tolerant,
            (false, false) => Lookup::Required,
        },
        client_ca: path(&flags.client_ca_file),
        front_proxy,
    })
}

fn authorization(flags: &typed::Authorization, errors: &mut Errors) -> Option<Authorization> {
    let allowed_ttl = errors.read(
        "--authorization-webhook-cache-authorized-ttl",
        &flags.authorization_webhook_cache_authorized_ttl,
        DURATION,
        go::duration,
    );
    let denied_ttl = errors.read(
        "--authorization-webhook-cache-unauthorized-ttl",
        &flags.authorization_webhook_cache_unauthorized_ttl,
        DURATION,
        go::duration,
    );
    let open: Vec<_> = list(&flags.authorization_always_allow_paths)
        .iter()
        .map(|path| errors.read("--authorization-always-allow-paths", path, OPEN, open))
        .collect();
    Some(Authorization {
        kubeconfig: path(&flags.authorization_kubeconfig),
        allowed_ttl: allowed_ttl?,
        denied_ttl: denied_ttl?,
        open: open.into_iter().collect::<Option<_>>()?,
    })
}

const OPEN: &str = "paths such as /healthz, or beginnings of paths such as /healthz/*";

/// As upstream, a path may lack its first slash.
fn open(text: &str) -> Option<Open> {
    let path = format!("/{}", text.strip_prefix('/').unwrap_or(text));
    match path.split_once('*') {
        None => Some(Open::Path(path)),
        Some((prefix, "")) => Some(Open::Prefix(prefix.to_owned())),
        Some(_) => None,
    }
}

/// The values of a flag that may be given several times, each with several values.
fn list(values: &[String]) -> Vec<String> {
    let values = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    // An empty value is what templates leave behind.
    values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// Upstream says "no file" with an empty value.
fn path(typed: &OsStr) -> Option<PathBuf> {
    (!typed.is_empty()).then(|| typed.into())
}
