//! What is served with: certificates from files, or one that the process makes for itself.

mod own;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::sleep;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use self::own::Own;
use super::files::{Content, Files};
use crate::app::flags::serving::{Certificate, Named, Pair};

/// Pause after a certificate that could not be made: a folder cannot be written.
const RETRY: Duration = Duration::from_mins(10);

/// There is no certificate, so there is nothing to serve with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It could not be made.
    #[error("no self-signed certificate could be made")]
    Make(#[from] rcgen::Error),
    /// It could not be kept.
    #[error("cannot keep the self-signed certificate as {} (--cert-dir)", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file has something else in it.
    #[error("{}: no {what} in PEM format in it", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
    },
    /// It cannot be used.
    #[error("the certificate in {} cannot be used with the key in {}", certificate.display(), key.display())]
    Use {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
    /// The self-signed one cannot be used.
    #[error("the self-signed certificate cannot be used")]
    UseOwn(#[from] rustls::Error),
}

/// Where certificates come from, and those that are in use.
pub(super) struct Source {
    own: Option<Own>,
    /// The usual one first, unless it is our own.
    pairs: Vec<(Named, Arc<CertifiedKey>)>,
    files: Files,
}

impl Source {
    /// Reads or makes them. Takes CPU time.
    pub(super) async fn open(
        certificate: &Certificate,
        named: &[Named],
        address: IpAddr,
    ) -> Result<Self, CertificateError> {
        let (own, usual) = match certificate {
            Certificate::Given(pair) => (None, Some(Named { pair: pair.clone(), names: vec![] })),
            Certificate::SelfSigned(dir) => {
                (Some(Own::open(dir.as_deref(), address, SystemTime::now())?), None)
            }
        };
        let named: Vec<Named> = usual.into_iter().chain(named.iter().cloned()).collect();
        let paths = named.iter().flat_map(|Named { pair, .. }| [&pair.certificate, &pair.key]);
        let mut files = Files::new(paths.cloned().collect());
        let mut contents = files.read().await.into_iter();
        let mut pairs = Vec::new();
        for named in named {
            let key = read(&named.pair, &mut contents)?;
            pairs.push((named, Arc::new(key)));
        }
        Ok(Self { own, pairs, files })
    }

    pub(super) fn current(&self) -> Arc<Certificates> {
        Arc::new(certificates(self.own.as_ref().map(|own| &own.key), &self.pairs))
    }

    /// Until when they are good, by their files.
    pub(super) fn ends(&self) -> Vec<(String, SystemTime)> {
        let own = self.own.as_ref().map(|own| ("self-signed".to_owned(), &own.key));
        let pairs = self
            .pairs
            .iter()
            .map(|(Named { pair, .. }, key)| (pair.certificate.display().to_string(), key));
        own.into_iter().chain(pairs).map(|(name, key)| (name, not_after(&key.cert[0]))).collect()
    }

    /// Waits until there are others, and says what of them cannot be used: of those that which was in
    /// use stays. May be dropped and called again.
    pub(super) async fn changed(&mut self) -> Vec<CertificateError> {
        let renewed = async {
            match &self.own {
                Some(own) => own.renewed().await,
                None => std::future::pending().await,
            }
        };
        let contents = tokio::select! {
            own = renewed => {
                return match own {
                    Ok(own) => {
                        self.own = Some(own);
                        Vec::new()
                    }
                    Err(err) => {
                        // It is tried again, and not at once.
                        sleep(RETRY).await;
                        vec![err]
                    }
                };
            }
            contents = self.files.changed() => contents,
        };
        let mut contents = contents.into_iter();
        let mut unusable = Vec::new();
        for (named, current) in &mut self.pairs {
            match read(&named.pair, &mut contents) {
                Ok(key) => *current = Arc::new(key),
                Err(err) => unusable.push(err),
            }
        }
        unusable
    }
}

/// The certificates for those who ask for certain names, and the one for everybody else.
#[derive(Debug)]
pub(super) struct Certificates {
    usual: Option<Arc<CertifiedKey>>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let wildcard = || format!("*.{}", name.split_once('.').map_or("", |(_, rest)| rest));
        let found = self.named.get(&name).or_else(|| self.named.get(&wildcard()));
        found.or(self.usual.as_ref()).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

/// The next two of `contents` are this pair's.
fn read(
    pair: &Pair,
    contents: &mut impl Iterator<Item = Content>,
) -> Result<CertifiedKey, CertificateError> {
    // Both, even if the first is no good: the next pair has the next two.
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| {
        let content = contents.next().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
        content.map_err(|source| CertificateError::Unreadable { path: path.clone(), source })
    });
    certified(pair, &certificate?, &key?)
}

/// `own` is the usual one where there is one, and the first of `pairs` otherwise.
fn certificates(
    own: Option<&Arc<CertifiedKey>>,
    pairs: &[(Named, Arc<CertifiedKey>)],
) -> Certificates {
    let (usual, pairs) = match (own, pairs) {
        (None, [(_, first), rest @ ..]) => (Some(first), rest),
        (own, pairs) => (own, pairs),
    };
    // What was said goes before what is in a certificate, and the first before the others.
    let (said, unsaid): (Vec<_>, Vec<_>) =
        pairs.iter().partition(|(named, _)| !named.names.is_empty());
    let mut named = HashMap::new();
    for (Named { names, .. }, key) in said {
        for name in names {
            named.entry(name.clone()).or_insert_with(|| Arc::clone(key));
        }
    }
    for (_, key) in unsaid {
        for name in names_in(&key.cert[0]) {
            named.entry(name).or_insert_with(|| Arc::clone(key));
        }
    }
    Certificates { usual: usual.map(Arc::clone), named }
}

fn certified(
    pair: &Pair,
    certificate: &[u8],
    key: &[u8],
) -> Result<CertifiedKey, CertificateError> {
    let lacks = |path: &Path, what| CertificateError::Content { path: path.to_owned(), what };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| lacks(&pair.certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(lacks(&pair.certificate, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| lacks(&pair.key, "private key"))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| {
        CertificateError::Use {
            certificate: pair.certificate.clone(),
            key: pair.key.clone(),
            source,
        }
    })
}

/// When a certificate runs out; one that cannot be read has.
fn not_after(certificate: &CertificateDer<'_>) -> SystemTime {
    let seconds = X509Certificate::from_der(certificate)
        .map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp());
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// The names in a certificate, as upstream finds them: the common name where it looks like one, and
/// the DNS names.
fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let is_name = |name: &&str| name.parse::<IpAddr>().is_err() && !name.contains([' ', '@']);
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.filter(is_name).map(str::to_ascii_lowercase).collect();
    if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_ascii_lowercase());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConnection,
        SupportedProtocolVersion,
    };

    use super::*;
    use crate::app::flags::serving::{Tls, Version};
    use crate::app::serve::tls::Manner;

    const ADDRESS: [u8; 4] = [127, 1, 2, 3];

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("ccm-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    async fn opened(certificate: &Certificate, named: &[Named]) -> Source {
        Source::open(certificate, named, ADDRESS.into()).await.unwrap()
    }

    /// A handshake without a network, with a client that trusts the server's certificate alone.
    fn handshake(
        source: &Source,
        tls: Tls,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Result<(CipherSuite, NamedGroup), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(source.current().find(Some(name)).unwrap().cert[0].clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let server = Manner { tls, http2: true }.config(source.current(), Vec::new())?;
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();

        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut wire = wire.as_slice();
            while !wire.is_empty() {
                client.read_tls(&mut wire).unwrap();
                client.process_new_packets()?;
            }
        }
        let suite = server.negotiated_cipher_suite().unwrap().suite();
        Ok((suite, server.negotiated_key_exchange_group().unwrap().name()))
    }

    #[rstest]
    #[tokio::test]
    async fn a_client_that_trusts_the_certificate_is_content(
        #[values("localhost", "127.0.0.1", "::1", "127.1.2.3")] name: &str,
        #[values(&TLS12, &TLS13)] version: &'static SupportedProtocolVersion,
    ) {
        let source = opened(&Certificate::SelfSigned(None), &[]).await;
        handshake(&source, Tls::default(), name, version).unwrap();
    }

    #[tokio::test]
    async fn other_names_are_not_covered() {
        let source = opened(&Certificate::SelfSigned(None), &[]).await;
        handshake(&source, Tls::default(), "example.org", &TLS13).unwrap_err();
    }

    #[tokio::test]
    async fn versions_suites_and_groups_are_as_configured() {
        let source = opened(&Certificate::SelfSigned(None), &[]).await;
        let modern = Tls { oldest: Version::Tls13, ..Tls::default() };
        handshake(&source, modern.clone(), "localhost", &TLS12).unwrap_err();
        handshake(&source, modern, "localhost", &TLS13).unwrap();
        let narrow = Tls {
            oldest: Version::Tls12,
            ciphers: Some(vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]),
            groups: Some(vec![NamedGroup::secp384r1]),
        };
        let (suite, group) = handshake(&source, narrow.clone(), "localhost", &TLS12).unwrap();
        assert_eq!(suite, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
        assert_eq!(group, NamedGroup::secp384r1);
        let (suite, _) = handshake(&source, narrow, "localhost", &TLS13).unwrap();
        assert!(suite.as_str().is_some_and(|name| name.starts_with("TLS13_")), "{suite:?}");
    }

    fn pair(dir: &Path, name: &str, names: &[&str]) -> Pair {
        let pair = Pair {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(&pair.certificate, cert.pem()).unwrap();
        std::fs::write(&pair.key, signing_key.serialize_pem()).unwrap();
        pair
    }

    #[tokio::test]
    async fn the_name_that_a_client_asks_for_chooses_the_certificate() {
        let dir = folder("named");
        let named = [
            Named { pair: pair(&dir, "a", &["a.example.com", "b.example.com"]), names: vec![] },
            Named { pair: pair(&dir, "b", &["x"]), names: vec!["b.example.com".to_owned()] },
            Named { pair: pair(&dir, "w", &["*.example.com"]), names: vec![] },
            Named { pair: pair(&dir, "a2", &["a.example.com"]), names: vec![] },
        ];
        let usual = Certificate::Given(pair(&dir, "usual", &["localhost"]));
        let source = opened(&usual, &named).await;
        let serial = |name: Option<&str>| source.current().find(name).unwrap().cert[0].clone();
        let of = |name: &str| {
            let pem = std::fs::read(dir.join(format!("{name}.crt"))).unwrap();
            CertificateDer::from_pem_slice(&pem).unwrap()
        };
        for (asked, file) in [
            (None, "usual"),
            (Some("localhost"), "usual"),
            (Some("a.example.com"), "a"),
            (Some("A.Example.Com"), "a"),
            (Some("b.example.com"), "b"),
            (Some("c.example.com"), "w"),
            (Some("c.d.example.com"), "usual"),
            (Some("x"), "usual"),
        ] {
            assert_eq!(serial(asked), of(file), "{asked:?}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_said_and_the_old_goes_on() {
        let dir = folder("broken");
        let usual = pair(&dir, "usual", &["localhost"]);
        let mut source = opened(&Certificate::Given(usual.clone()), &[]).await;
        let before = source.current().find(None).unwrap().cert[0].clone();

        tokio::time::pause();
        let other = pair(&dir, "other", &["localhost"]);
        std::fs::copy(&other.key, &usual.key).unwrap();
        let err = source.changed().await[0].to_string();
        assert!(err.contains("usual.crt") && err.contains("usual.key"), "{err}");
        assert_eq!(source.current().find(None).unwrap().cert[0], before);

        std::fs::copy(&other.certificate, &usual.certificate).unwrap();
        assert!(source.changed().await.is_empty());
        assert_ne!(source.current().find(None).unwrap().cert[0], before);

        std::fs::write(&usual.certificate, "nothing").unwrap();
        let err = source.changed().await[0].to_string();
        assert!(err.contains("usual.crt: no certificate"), "{err}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn one_that_cannot_be_used_keeps_no_other_from_being_renewed() {
        let dir = folder("apart");
        let usual = pair(&dir, "usual", &["localhost"]);
        let named = Named { pair: pair(&dir, "a", &["a.example.com"]), names: vec![] };
        let mut source =
            opened(&Certificate::Given(usual.clone()), std::slice::from_ref(&named)).await;
        let of = |source: &Source, name| source.current().find(Some(name)).unwrap().cert[0].clone();
        let before = (of(&source, "localhost"), of(&source, "a.example.com"));

        tokio::time::pause();
        std::fs::write(&named.pair.certificate, "nothing").unwrap();
        pair(&dir, "usual", &["localhost"]);
        let unusable = source.changed().await;
        assert_eq!(unusable.len(), 1);
        assert!(unusable[0].to_string().contains("a.crt"), "{unusable:?}");
        assert_ne!(of(&source, "localhost"), before.0);
        assert_eq!(of(&source, "a.example.com"), before.1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
