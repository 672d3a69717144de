//! Who a client is: credentials, kubeconfigs, and service accounts with exactly the rights they are granted.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use k8s_openapi::ByteString;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::error::Error;

/// What a client shows to say who it is.
#[derive(Clone)]
pub enum Credentials {
    /// A certificate of the instance's authority.
    Certificate {
        /// The certificate.
        certificate_pem: String,
        /// Its private key.
        key_pem: String,
    },
    /// A bearer token.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate { .. } => "Certificate(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// A service account that exists, has its rights, and a token.
#[derive(Clone, Debug)]
pub struct ServiceAccountAccess {
    pub(crate) user: String,
    pub(crate) credentials: Credentials,
    pub(crate) kubeconfig: PathBuf,
}

impl ServiceAccountAccess {
    /// The name in audit events and refusals: `system:serviceaccount:<namespace>:<name>`.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The bearer token.
    pub fn token(&self) -> &str {
        match &self.credentials {
            Credentials::Token(token) => token,
            Credentials::Certificate { .. } => "",
        }
    }

    /// The bearer token, as credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A kubeconfig file with the token, in the instance's directory.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

/// A kubeconfig that needs no other file.
///
/// Every value is base64, a token or a loopback address: nothing that YAML reads in another way.
pub(crate) fn kubeconfig(server: &str, ca_pem: &str, credentials: &Credentials) -> String {
    let user = match credentials {
        Credentials::Certificate { certificate_pem, key_pem } => format!(
            "    client-certificate-data: {}\n    client-key-data: {}\n",
            base64(certificate_pem),
            base64(key_pem)
        ),
        Credentials::Token(token) => format!("    token: {token}\n"),
    };
    format!(
        "\
apiVersion: v1
kind: Config
current-context: envtest
contexts:
- name: envtest
  context:
    cluster: envtest
    user: envtest
clusters:
- name: envtest
  cluster:
    server: {server}
    certificate-authority-data: {ca}
users:
- name: envtest
  user:
{user}",
        ca = base64(ca_pem)
    )
}

/// As Kubernetes writes bytes in JSON.
fn base64(text: &str) -> String {
    match serde_json::to_value(ByteString(text.as_bytes().to_vec())) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

/// A client from the text of a kubeconfig, by the same road that a program under test takes.
pub(crate) async fn client(kubeconfig: &str, retries: Retries) -> Result<kube::Client, Error> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    // Loopback, whatever the environment says about proxies.
    config.proxy_url = None;
    config.default_retry = retries == Retries::Yes;
    kube::Client::try_from(config).map_err(|source| Error::Api {
        what: "building a client".to_owned(),
        source: Box::new(source),
    })
}

/// Whether a client asks again by itself when the server says it is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retries {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_kubeconfig_reads_as_meant() {
        let text =
            kubeconfig("https://127.0.0.1:1234", "CA\n", &Credentials::Token("a.b-c_d".into()));
        assert_eq!(
            text,
            "\
apiVersion: v1
kind: Config
current-context: envtest
contexts:
- name: envtest
  context:
    cluster: envtest
    user: envtest
clusters:
- name: envtest
  cluster:
    server: https://127.0.0.1:1234
    certificate-authority-data: Q0EK
users:
- name: envtest
  user:
    token: a.b-c_d
"
        );
    }

    #[test]
    fn kube_reads_back_what_was_written() {
        let credentials = Credentials::Certificate {
            certificate_pem: "certificate".into(),
            key_pem: "key".into(),
        };
        let text = kubeconfig("https://127.0.0.1:1234", "CA", &credentials);
        let read = Kubeconfig::from_yaml(&text).unwrap();
        let user = read.auth_infos[0].auth_info.clone().unwrap();
        assert_eq!(read.current_context.as_deref(), Some("envtest"));
        assert_eq!(user.client_certificate_data.as_deref(), Some("Y2VydGlmaWNhdGU="));
        assert!(user.client_key_data.is_some() && user.token.is_none());
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials::Token("very-secret".into());
        assert_eq!(format!("{credentials:?}"), "Token(..)");
    }
}
