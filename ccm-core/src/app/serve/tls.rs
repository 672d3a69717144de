//! How TLS is spoken, and that it follows certificates and authorities as they change.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use tokio::sync::watch;
use tracing::{info, warn};

use super::authentication::Trust;
use super::certificate::Source;
use crate::app::flags::serving::{Tls, Version};
use crate::report::Chain;
use crate::telemetry::AccessMetrics;

static SINCE_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
static SINCE_13: [&SupportedProtocolVersion; 1] = [&TLS13];

/// How TLS is spoken, apart from certificates.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) tls: Tls,
    pub(super) http2: bool,
}

impl Manner {
    /// With these certificates, to clients who may show one of the authorities of these names.
    pub(super) fn config(
        &self,
        certificates: Arc<dyn ResolvesServerCert>,
        authorities: Vec<DistinguishedName>,
    ) -> Result<ServerConfig, Error> {
        let versions: &[_] = match self.tls.oldest {
            Version::Tls12 => &SINCE_12,
            Version::Tls13 => &SINCE_13,
        };
        let provider = self.provider();
        let shown =
            AnyCertificate { authorities, algorithms: provider.signature_verification_algorithms };
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::new(shown))
            .with_cert_resolver(certificates);
        let protocols: &[&[u8]] = if self.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = aws_lc_rs::default_provider();
        if let Some(ciphers) = &self.tls.ciphers {
            provider.cipher_suites.retain(|suite| match suite {
                SupportedCipherSuite::Tls12(_) => ciphers.contains(&suite.suite()),
                // As in Go, where there is nothing to choose.
                SupportedCipherSuite::Tls13(_) => true,
            });
        }
        if let Some(groups) = &self.tls.groups {
            provider.kx_groups = aws_lc_rs::ALL_KX_GROUPS.to_vec();
            provider.kx_groups.retain(|group| groups.contains(&group.name()));
        }
        provider
    }
}

/// Takes whatever certificate a client shows, if the client has the key to it. Whether it means
/// anything is asked at each request, of the authorities that count then; a client with a worthless
/// one may still have a token.
#[derive(Debug)]
struct AnyCertificate {
    authorities: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyCertificate {
    /// As upstream, nobody is asked for what would not help.
    fn offer_client_auth(&self) -> bool {
        !self.authorities.is_empty()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Certificates, authorities, and who is told when they change.
pub(super) struct Keeper {
    manner: Manner,
    source: Source,
    trust: watch::Receiver<Trust>,
    current: watch::Sender<Arc<ServerConfig>>,
    metrics: AccessMetrics,
}

impl Keeper {
    /// With what the source has now.
    pub(super) fn new(
        manner: Manner,
        source: Source,
        mut trust: watch::Receiver<Trust>,
        metrics: AccessMetrics,
    ) -> Result<Self, Error> {
        let authorities = trust.borrow_and_update().subjects();
        let config = manner.config(source.current(), authorities)?;
        let current = watch::Sender::new(Arc::new(config));
        let this = Self { manner, source, trust, current, metrics };
        this.tell_ends();
        Ok(this)
    }

    /// Until when certificates are good.
    fn tell_ends(&self) {
        for (name, ends) in self.source.ends() {
            self.metrics.certificate_ends(&name, ends);
            if ends <= SystemTime::now() {
                warn!(certificate = name, "serving with a certificate that has run out");
            }
        }
    }

    pub(super) fn current(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.current.subscribe()
    }

    /// Follows for ever. What cannot be used is said, and what there was goes on.
    pub(super) async fn run(mut self) {
        loop {
            let trust_lives = tokio::select! {
                unusable = self.source.changed() => {
                    for err in &unusable {
                        self.metrics.certificate_refused();
                        warn!(error = %Chain(err), "new certificate not usable; the old one goes on");
                    }
                    if unusable.is_empty() {
                        info!("serving with the certificates that are there now");
                    }
                    self.tell_ends();
                    true
                }
                changed = self.trust.changed() => changed.is_ok(),
            };
            let authorities = self.trust.borrow_and_update().subjects();
            match self.manner.config(self.source.current(), authorities) {
                Ok(config) => {
                    self.current.send_replace(Arc::new(config));
                }
                Err(err) => warn!(error = %err, "TLS not changed"),
            }
            if !trust_lives {
                return;
            }
        }
    }
}
