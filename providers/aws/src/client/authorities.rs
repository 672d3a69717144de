//! Whom the SDK trusts to say that an endpoint is the right one.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use ccm_core::cloud::{CloudError, Kind};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Names a file with certificates, in PEM, that are trusted instead of the machine's.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html>
const VARIABLE: &str = "AWS_CA_BUNDLE";

/// A client that trusts those of the file which the environment names, and nobody else, as in the Go
/// program. The SDK knows no such thing. `None`: it names none, and the SDK's own does.
pub(super) fn client() -> Result<Option<SharedHttpClient>, CloudError> {
    let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let wrong = |why: String| {
        let path = path.display();
        let message =
            format!("{VARIABLE}={path}: a file with certificates in PEM is accepted: {why}");
        CloudError::new(Kind::InvalidConfiguration, message)
    };
    let bundle = std::fs::read(&path).map_err(|err| wrong(err.to_string()))?;
    check(&bundle).map_err(wrong)?;
    let trusted = TrustStore::empty().with_pem_certificate(bundle);
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|err| wrong(err.to_string()))?;
    let client = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        let connector = connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.tls_context(context.clone()).build()
    });
    Ok(Some(client))
}

/// The SDK's client panics where this fails.
fn check(bundle: &[u8]) -> Result<(), String> {
    let mut trusted = RootCertStore::empty();
    for (index, found) in CertificateDer::pem_slice_iter(bundle).enumerate() {
        let added = match found {
            Ok(certificate) => trusted.add(certificate).map_err(|err| err.to_string()),
            Err(err) => Err(err.to_string()),
        };
        added.map_err(|err| format!("certificate {} cannot be read: {err}", index + 1))?;
    }
    if trusted.is_empty() { Err("it has none".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", "it has none")]
    #[case::no_pem("hello", "it has none")]
    #[case::no_certificate(
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
        "certificate 1 cannot be read"
    )]
    #[case::half_of_one("-----BEGIN CERTIFICATE-----\naGVsbG8=\n", "certificate 1 cannot be read")]
    fn a_bundle_that_makes_no_sense(#[case] bundle: &str, #[case] why: &str) {
        let err = check(bundle.as_bytes()).unwrap_err();
        assert!(err.starts_with(why), "{err}");
    }
}
