//! What is served with: certificates from files, or one that the process makes for itself.

use std::collections::HashMap;
use std::io;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::files::{Content, Files};
use crate::app::NAME;
use crate::app::flags::serving::{Certificate, Named, Pair};
use crate::report::Chain;

/// As upstream's: no longer than anybody should run one process.
const VALIDITY: Duration = Duration::from_hours(365 * 24);

/// For clients whose clocks are behind.
const SKEW: Duration = Duration::from_hours(1);

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
    own: Option<Arc<CertifiedKey>>,
    /// The usual one first, unless it is our own.
    pairs: Vec<Named>,
    files: Files,
    current: Arc<Certificates>,
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
                let key = own(dir.as_deref(), address, SystemTime::now())?;
                (Some(Arc::new(key)), None)
            }
        };
        let pairs: Vec<Named> = usual.into_iter().chain(named.iter().cloned()).collect();
        let paths = pairs.iter().flat_map(|Named { pair, .. }| [&pair.certificate, &pair.key]);
        let mut files = Files::new(paths.cloned().collect());
        let contents = files.read().await;
        let current = Arc::new(certificates(own.as_ref(), &pairs, contents)?);
        Ok(Self { own, pairs, files, current })
    }

    pub(super) fn current(&self) -> Arc<Certificates> {
        Arc::clone(&self.current)
    }

    /// Waits until there are others. Those that cannot be used are an error, and leave those that are
    /// in use in use. May be dropped and called again.
    pub(super) async fn changed(&mut self) -> Result<(), CertificateError> {
        let contents = self.files.changed().await;
        self.current = Arc::new(certificates(self.own.as_ref(), &self.pairs, contents)?);
        Ok(())
    }
}

/// The certificates for those who ask for certain names, and the one for everybody else.
#[derive(Debug)]
pub(super) struct Certificates {
    usual: Arc<CertifiedKey>,
    named: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let wildcard = || format!("*.{}", name.split_once('.').map_or("", |(_, rest)| rest));
        let found = self.named.get(&name).or_else(|| self.named.get(&wildcard()));
        Arc::clone(found.unwrap_or(&self.usual))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
    }
}

/// `contents` are a certificate and a key for each of `pairs`.
fn certificates(
    own: Option<&Arc<CertifiedKey>>,
    pairs: &[Named],
    contents: Vec<Content>,
) -> Result<Certificates, CertificateError> {
    let mut contents = contents.into_iter();
    let mut keys = Vec::new();
    for Named { pair, .. } in pairs {
        let mut next = |path: &Path| {
            let content = contents.next().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
            content.map_err(|source| CertificateError::Unreadable { path: path.to_owned(), source })
        };
        let (certificate, key) = (next(&pair.certificate)?, next(&pair.key)?);
        keys.push(Arc::new(certified(pair, &certificate, &key)?));
    }
    let mut pairs = pairs.iter().zip(keys);
    let usual = match own {
        Some(own) => Arc::clone(own),
        None => pairs.next().map(|(_, key)| key).ok_or(rustls::Error::NoCertificatesPresented)?,
    };
    // What was said goes before what is in a certificate, and the first before the others.
    let (said, unsaid): (Vec<_>, Vec<_>) = pairs.partition(|(named, _)| !named.names.is_empty());
    let mut named = HashMap::new();
    for (Named { names, .. }, key) in said {
        for name in names {
            named.entry(name.clone()).or_insert_with(|| Arc::clone(&key));
        }
    }
    for (_, key) in unsaid {
        for name in names_in(&key.cert[0]) {
            named.entry(name).or_insert_with(|| Arc::clone(&key));
        }
    }
    Ok(Certificates { usual, named })
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

/// The one in `dir` if it is there and valid; a new one otherwise.
fn own(
    dir: Option<&Path>,
    address: IpAddr,
    now: SystemTime,
) -> Result<CertifiedKey, CertificateError> {
    let make = || self_signed(address, now);
    let Some(dir) = dir else {
        let (certificate, key) = make()?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let chain = vec![certificate.into()];
        return Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?);
    };
    let pair =
        Pair { certificate: dir.join(format!("{NAME}.crt")), key: dir.join(format!("{NAME}.key")) };
    match kept(&pair, now) {
        Ok(Some(kept)) => return Ok(kept),
        Ok(None) => info!(path = %pair.certificate.display(), "making a certificate"),
        Err(err) => warn!(error = %Chain(&err), "kept certificate not usable; making another"),
    }
    let (certificate, key) = make()?;
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let failed = |path: &Path, source| CertificateError::Keep { path: path.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
    write(&pair.key, &key, 0o600).map_err(|source| failed(&pair.key, source))?;
    write(&pair.certificate, &certificate, 0o644)
        .map_err(|source| failed(&pair.certificate, source))?;
    certified(&pair, certificate.as_bytes(), key.as_bytes())
}

/// What is there and still valid.
fn kept(pair: &Pair, now: SystemTime) -> Result<Option<CertifiedKey>, CertificateError> {
    let read = |path: &Path| match std::fs::read(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CertificateError::Unreadable { path: path.to_owned(), source }),
        Ok(content) => Ok(Some(content)),
    };
    let (Some(certificate), Some(key)) = (read(&pair.certificate)?, read(&pair.key)?) else {
        return Ok(None);
    };
    let key = certified(pair, &certificate, &key)?;
    let ends = X509Certificate::from_der(&key.cert[0])
        .map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp());
    let is_valid = i64::try_from(unix(now)).is_ok_and(|now| now < ends);
    Ok(is_valid.then_some(key))
}

/// Readable as said from the first byte on, and whole or not there at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let _ = std::fs::remove_file(&beside);
    let mut file =
        std::fs::File::options().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&beside, path)
}

fn self_signed(
    address: IpAddr,
    now: SystemTime,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    if !addresses.contains(&address) && !address.is_unspecified() {
        addresses.push(address);
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("localhost@{}", unix(now)));
    params.not_before = (now - SKEW).into();
    params.not_after = (now + VALIDITY).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok((certificate, key))
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
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
        roots.add(source.current().find(Some(name)).cert[0].clone()).unwrap();
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

    #[test]
    fn the_common_name_is_upstreams() {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (certificate, _) = self_signed(IpAddr::from([127, 0, 0, 1]), time).unwrap();
        let name = b"localhost@1700000000";
        assert!(certificate.der().windows(name.len()).any(|bytes| bytes == name));
    }

    #[tokio::test]
    async fn a_kept_certificate_is_used_again_while_it_is_valid() {
        let dir = folder("kept");
        let now = SystemTime::now();
        let at = |now| own(Some(&dir), ADDRESS.into(), now).unwrap().cert[0].clone();
        let first = at(now);
        assert_eq!(at(now + VALIDITY / 2), first);
        let second = at(now + VALIDITY * 2);
        assert_ne!(second, first);

        let key = dir.join(format!("{NAME}.key"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&key, "no key").unwrap();
        assert_ne!(at(now), second, "what is broken is made anew");
        std::fs::remove_dir_all(&dir).unwrap();
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
        let serial = |name: Option<&str>| source.current().find(name).cert[0].clone();
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
        let before = source.current().find(None).cert[0].clone();

        tokio::time::pause();
        let other = pair(&dir, "other", &["localhost"]);
        std::fs::copy(&other.key, &usual.key).unwrap();
        let err = source.changed().await.unwrap_err().to_string();
        assert!(err.contains("usual.crt") && err.contains("usual.key"), "{err}");
        assert_eq!(source.current().find(None).cert[0], before);

        std::fs::copy(&other.certificate, &usual.certificate).unwrap();
        source.changed().await.unwrap();
        assert_ne!(source.current().find(None).cert[0], before);

        std::fs::write(&usual.certificate, "nothing").unwrap();
        let err = source.changed().await.unwrap_err().to_string();
        assert!(err.contains("usual.crt: no certificate"), "{err}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
