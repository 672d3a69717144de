//! The file behind `--cloud-config`: as it is read, and as it is checked. The keys are described
//! in the crate's documentation.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::cloud::{ConfigError, ConfigFile};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_saphyr::{Error, Spanned};
use simcloud::api::MAIN_TABLE;

use crate::client::Authorities;

/// IDs and names in one `DescribeInstances`, where the file does not say: the cloud's own default.
const BATCH_LIMIT: NonZeroUsize = NonZeroUsize::new(100).expect("it is not 0");

/// The longest lag that may be said, in seconds. A cloud that is further behind cannot be worked with.
const MOST_LAG: u64 = 300;

/// The file as it stands. Numbers are read as text, so that a mistake can be named with its key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConfig {
    endpoint: Option<Spanned<String>>,
    token: Option<Spanned<SecretString>>,
    #[serde(rename = "tokenFile")]
    token_file: Option<Spanned<PathBuf>>,
    #[serde(rename = "caFile")]
    ca_file: Option<Spanned<PathBuf>>,
    #[serde(rename = "clusterID")]
    cluster_id: Option<Spanned<String>>,
    #[serde(rename = "batchLimit")]
    batch_limit: Option<Spanned<String>>,
    #[serde(rename = "lagSeconds")]
    lag: Option<Spanned<String>>,
    #[serde(rename = "routeTable")]
    route_table: Option<Spanned<String>>,
    #[serde(rename = "legacyVolumeField")]
    legacy_volume_field: Option<Spanned<String>>,
}

/// All that the provider is told.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the cloud is.
    pub(crate) endpoint: Endpoint,
    /// What opens it.
    pub(crate) token: SecretString,
    /// Whom to trust instead of the system's authorities.
    pub(crate) authorities: Option<Authorities>,
    /// The files that the configuration names, read just now.
    pub(crate) files: Vec<PathBuf>,
    /// What tells this cluster's resources from others'.
    pub(crate) cluster_id: Option<String>,
    /// IDs, names and the like in one call.
    pub(crate) batch_limit: NonZeroUsize,
    /// How far the cloud's reads lag behind its writes.
    pub(crate) lag: Duration,
    /// The table that the cluster's routes are in.
    pub(crate) route_table: String,
    /// The in-tree volume source that is taken for this cloud's.
    pub(crate) legacy_volume_field: Option<String>,
}

impl Config {
    /// Reads the file and those that it names.
    pub(crate) fn read(file: Option<&ConfigFile>) -> Result<Self, ConfigError> {
        // The cloud never lives inside this process, so there is nothing to fall back to.
        let Some(file) = file else {
            let message = "must be given: a file with the keys \"endpoint\" and \"token\" or \
                           \"tokenFile\" of a running simcloud";
            return Err(ConfigError::new(message));
        };
        let options = serde_saphyr::options! { with_snippet: false };
        let raw: Option<RawConfig> = serde_saphyr::from_slice_with_options(&file.bytes, options)
            .map_err(|err| unreadable(&err))?;
        let near = file.path.parent().unwrap_or(Path::new(""));
        raw.unwrap_or_default().check(near)
    }
}

impl RawConfig {
    /// Relative paths start at the folder of the configuration.
    fn check(self, near: &Path) -> Result<Config, ConfigError> {
        let Some(url) = &self.endpoint else {
            let why = "is missing: the URL of a running simcloud";
            return Err(ConfigError::new(why).at_key("endpoint"));
        };
        let endpoint = Endpoint::parse(&url.value).map_err(|why| wrong("endpoint", url, why))?;
        let named = [&self.token_file, &self.ca_file];
        let files = named.into_iter().flatten().map(|path| near.join(&path.value)).collect();
        let token = match (self.token, self.token_file) {
            (Some(token), None) => {
                check_token(&token.value).map_err(|why| wrong("token", &token, why))?;
                token.value
            }
            (None, Some(path)) => {
                let bytes = read_file("tokenFile", &path, near)?;
                let text = String::from_utf8_lossy(&bytes);
                let token = SecretString::from(text.trim());
                check_token(&token)
                    .map_err(|why| wrong("tokenFile", &path, format!("the file {why}")))?;
                token
            }
            (Some(_), Some(path)) => {
                return Err(wrong("tokenFile", &path, "stands beside \"token\": give one of them"));
            }
            (None, None) => {
                let why = "is missing: give it or \"tokenFile\"";
                return Err(ConfigError::new(why).at_key("token"));
            }
        };
        let authorities = match &self.ca_file {
            None => None,
            Some(path) => {
                let pem = read_file("caFile", path, near)?;
                let why = "the file holds no certificates in PEM form";
                Some(Authorities::from_pem(&pem).ok_or_else(|| wrong("caFile", path, why))?)
            }
        };
        let cluster_id = match self.cluster_id {
            Some(id) if id.value.is_empty() => {
                return Err(wrong("clusterID", &id, "is empty: give an ID or leave it out"));
            }
            id => id.map(|id| id.value),
        };
        let batch_limit = match &self.batch_limit {
            None => BATCH_LIMIT,
            Some(limit) => limit.value.parse().map_err(|_| {
                let why = format!("must be a whole number above 0, not {:?}", limit.value);
                wrong("batchLimit", limit, why)
            })?,
        };
        let lag = match &self.lag {
            None => Duration::ZERO,
            Some(lag) => match lag.value.parse() {
                Ok(seconds) if seconds <= MOST_LAG => Duration::from_secs(seconds),
                _ => {
                    let value = &lag.value;
                    let why = format!("must be a whole number from 0 to {MOST_LAG}, not {value:?}");
                    return Err(wrong("lagSeconds", lag, why));
                }
            },
        };
        let route_table = match self.route_table {
            None => MAIN_TABLE.to_owned(),
            Some(table) if is_word(&table.value) => table.value,
            Some(table) => {
                let why = format!("must be the name of a table, not {:?}", table.value);
                return Err(wrong("routeTable", &table, why));
            }
        };
        let legacy_volume_field = match self.legacy_volume_field {
            Some(field) if !field.value.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                let why = format!(
                    "must be the name of a field of a PersistentVolume, such as \"cinder\", not {:?}",
                    field.value
                );
                return Err(wrong("legacyVolumeField", &field, why));
            }
            field => field.map(|field| field.value).filter(|field| !field.is_empty()),
        };
        Ok(Config {
            endpoint,
            token,
            authorities,
            files,
            cluster_id,
            batch_limit,
            lag,
            route_table,
            legacy_volume_field,
        })
    }
}

/// The cloud's address: a scheme, a host and a port.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(Url);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let wanted = "must be https://<host>, with a port where it is not 443";
        // Parts that are not wanted may hold a password, so they are not repeated.
        let url = Url::parse(text).map_err(|err| format!("{wanted}: {err}"))?;
        let endpoint = Self(url);
        let url = &endpoint.0;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{wanted}, not {}:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{wanted}, without a user: the token has a key of its own"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{wanted}, and nothing behind"));
        }
        if !endpoint.is_encrypted() && !endpoint.is_loopback() {
            let why = "the token would be readable on the way; http:// is for loopback addresses";
            return Err(format!("{wanted}: {why}"));
        }
        Ok(endpoint)
    }

    /// The URL of a path of the API.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// Whether the cloud is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }

    /// Whether TLS is spoken.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }
}

/// What the cloud takes for a name.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A header's value is made of these. The token itself is never in a message.
fn check_token(token: &SecretString) -> Result<(), &'static str> {
    let token = token.expose_secret();
    if token.is_empty() {
        Err("is empty")
    } else if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("holds blanks or characters that are not ASCII")
    }
}

fn read_file(
    key: &'static str,
    path: &Spanned<PathBuf>,
    near: &Path,
) -> Result<Vec<u8>, ConfigError> {
    let file = near.join(&path.value);
    std::fs::read(&file)
        .map_err(|err| wrong(key, path, format!("cannot read {}: {err}", file.display())))
}

fn wrong<T>(key: &'static str, value: &Spanned<T>, why: impl Into<String>) -> ConfigError {
    ConfigError::new(why).at_key(key).at_line(value.referenced.line())
}

/// What is wrong with the file's form. The reader's own texts may quote the file, and so the
/// token: none of them is repeated.
fn unreadable(err: &Error) -> ConfigError {
    let wrong = match err {
        Error::SerdeUnknownField { field, expected, .. } => {
            let why = format!("there is no such key; there are {}", expected.join(", "));
            blame(ConfigError::new(why), Some(field))
        }
        Error::DuplicateMappingKey { key, .. } => {
            blame(ConfigError::new("the key is there twice"), key.as_deref())
        }
        Error::MultipleDocuments { .. } => ConfigError::new("there is more than one document"),
        Error::InvalidUtf8Input => ConfigError::new("the file is not UTF-8"),
        _ => ConfigError::new("this is not YAML of the form \"key: value\""),
    };
    match err.location() {
        Some(place) => wrong.at_line(place.line()),
        None => wrong,
    }
}

/// Names the key if it looks like one: with a colon forgotten, it might be the token.
fn blame(err: ConfigError, key: Option<&str>) -> ConfigError {
    match key {
        Some(key) if key.chars().all(|c| c.is_alphabetic() || "_-".contains(c)) => err.at_key(key),
        Some(_) | None => err,
    }
}

#[cfg(test)]
mod tests;
