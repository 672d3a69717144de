//! A certificate that the process makes for itself.

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
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{CertificateError, certified, not_after};
use crate::app::NAME;
use crate::app::flags::serving::Pair;
use crate::report::Chain;

/// As upstream's.
const VALIDITY: Duration = Duration::from_hours(365 * 24);

/// For clients whose clocks are behind.
const SKEW: Duration = Duration::from_hours(1);

/// How long before its end another takes its place. Upstream's runs out.
const RENEWAL: Duration = Duration::from_hours(30 * 24);

/// From one look at the time to the next: a machine may have slept.
const LOOK: Duration = Duration::from_hours(1);

/// A certificate of ours, and what it takes to make it anew.
#[derive(Debug)]
pub(super) struct Own {
    dir: Option<PathBuf>,
    address: IpAddr,
    pub(super) key: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

impl Own {
    /// The one in `dir` if it is there and good for long enough; a new one otherwise. Takes CPU time.
    pub(super) fn open(
        dir: Option<&Path>,
        address: IpAddr,
        now: SystemTime,
    ) -> Result<Self, CertificateError> {
        let key = Arc::new(own(dir, address, now)?);
        let renew_at = not_after(&key.cert[0]).checked_sub(RENEWAL).unwrap_or(UNIX_EPOCH);
        Ok(Self { dir: dir.map(Path::to_owned), address, key, renew_at })
    }

    /// Waits until it is time for another, and makes that. May be dropped and called again.
    pub(super) async fn renewed(&self) -> Result<Self, CertificateError> {
        while SystemTime::now() < self.renew_at {
            sleep(LOOK).await;
        }
        Self::open(self.dir.as_deref(), self.address, SystemTime::now())
    }
}

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

/// What is there and need not be renewed yet.
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
    Ok((now + RENEWAL < not_after(&key.cert[0])).then_some(key))
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
    use std::time::Duration;

    use super::*;

    const ADDRESS: [u8; 4] = [127, 1, 2, 3];

    #[test]
    fn the_common_name_is_upstreams() {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (certificate, _) = self_signed(IpAddr::from([127, 0, 0, 1]), time).unwrap();
        let name = b"localhost@1700000000";
        assert!(certificate.der().windows(name.len()).any(|bytes| bytes == name));
    }

    #[tokio::test]
    async fn a_kept_certificate_is_used_again_while_it_is_valid() {
        let dir = std::env::temp_dir().join(format!("ccm-kept-{}", std::process::id()));
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

    #[tokio::test]
    async fn another_is_made_in_time() {
        let long_ago = SystemTime::now() - VALIDITY + RENEWAL;
        let old = Own::open(None, ADDRESS.into(), long_ago).unwrap();
        let new = old.renewed().await.unwrap();
        assert_ne!(new.key.cert, old.key.cert);
        assert!(new.renew_at > SystemTime::now() + VALIDITY / 2);
        tokio::time::pause();
        let soon = tokio::time::timeout(VALIDITY / 2, new.renewed()).await;
        assert!(soon.is_err(), "it is new");
    }
}
