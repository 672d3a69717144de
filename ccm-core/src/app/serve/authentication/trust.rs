//! Whose certificates are believed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{DistinguishedName, RootCertStore};
use tracing::warn;

use crate::app::flags::serving::Headers;

/// Whose certificates are believed, and about what. Empty: nobody's.
#[derive(Clone, Debug, Default)]
pub(in crate::app::serve) struct Trust {
    /// They say who a client is.
    pub(super) clients: Option<Authorities>,
    /// They say who is a front proxy.
    pub(super) proxies: Option<Proxies>,
}

/// Which front proxies are believed, and where they say what.
#[derive(Clone, Debug)]
pub(super) struct Proxies {
    pub(super) authorities: Authorities,
    pub(super) headers: Headers,
}

impl Trust {
    /// The names of all authorities: clients show a certificate of one of them, or none.
    pub(in crate::app::serve) fn subjects(&self) -> Vec<DistinguishedName> {
        let proxies = self.proxies.as_ref().map(|proxies| &proxies.authorities);
        let all = self.clients.iter().chain(proxies);
        let subjects = all.flat_map(|authorities| authorities.0.root_hint_subjects());
        // Each once.
        let subjects: BTreeMap<&[u8], _> =
            subjects.map(|subject| (subject.as_ref(), subject)).collect();
        subjects.into_values().cloned().collect()
    }
}

/// Authorities for certificates of clients.
#[derive(Clone, Debug)]
pub(super) struct Authorities(Arc<dyn ClientCertVerifier>);

impl Authorities {
    /// From one or more certificates in PEM.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|err| format!("not PEM: {err}"))?;
        let mut roots = RootCertStore::empty();
        // Upstream too goes by those that it can read.
        let (added, ignored) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err("no certificate of an authority in it".to_owned());
        }
        if ignored > 0 {
            warn!(ignored, "authorities left out that cannot be read");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Self)
            .map_err(|err| err.to_string())
    }

    /// Whether a certificate of theirs was shown, which is for clients and valid `now`.
    pub(super) fn vouch_for(
        &self,
        shown: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let (first, rest) = shown.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.0.verify_client_cert(first, rest, now).map(drop)
    }
}
