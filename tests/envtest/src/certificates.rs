//! The authority of one instance and what it signs.
//!
//! Nothing is shared between instances, so that a client that reaches the wrong one on a reused port is turned away.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::{
    access::Credentials,
    error::{Context, Error},
};

/// First address of the service range, which the `kubernetes` service gets.
pub(crate) const FIRST_SERVICE_IP: &str = "10.96.0.1";

/// Names under which the API server may be reached.
const SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "::1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    FIRST_SERVICE_IP,
];

/// The files that the API server is pointed at, and the authority to issue more.
pub(crate) struct Certificates {
    ca: CertifiedIssuer<'static, KeyPair>,
    front_proxy_ca: CertifiedIssuer<'static, KeyPair>,
    pub(crate) ca_file: PathBuf,
    pub(crate) front_proxy_ca_file: PathBuf,
    pub(crate) server_file: PathBuf,
    pub(crate) server_key_file: PathBuf,
    pub(crate) service_account_key_file: PathBuf,
    /// Apart from the private key: the API server finds no public one in a PKCS #8 file.
    pub(crate) service_account_public_key_file: PathBuf,
}

impl Certificates {
    /// Makes everything anew, in `dir`, which only we can read.
    pub(crate) fn issue(dir: &Path) -> Result<Self, Error> {
        let ca = authority("ccm-envtest")?;
        // An authority of its own: whoever holds a certificate of it may say he is anybody.
        let front_proxy_ca = authority("ccm-envtest-front-proxy")?;

        let mut params = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        params.distinguished_name = name("kube-apiserver", None);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate()?;
        let server = params.signed_by(&server_key, &ca)?;

        let service_account_key = KeyPair::generate()?;
        Ok(Self {
            ca_file: write_private(dir, "ca.crt", &ca.pem())?,
            front_proxy_ca_file: write_private(dir, "front-proxy-ca.crt", &front_proxy_ca.pem())?,
            server_file: write_private(dir, "server.crt", &server.pem())?,
            server_key_file: write_private(dir, "server.key", &server_key.serialize_pem())?,
            service_account_key_file: write_private(
                dir,
                "service-account.key",
                &service_account_key.serialize_pem(),
            )?,
            service_account_public_key_file: write_private(
                dir,
                "service-account.pub",
                &service_account_key.public_key_pem(),
            )?,
            ca,
            front_proxy_ca,
        })
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// A certificate with which a server is at these addresses.
    pub(crate) fn server(&self, server: &str, addresses: &[String]) -> Result<Credentials, Error> {
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name = name(server, None);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.ca)?;
        Ok(Credentials::Certificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// A certificate with which a client is `user` in `group`.
    pub(crate) fn client(&self, user: &str, group: &str) -> Result<Credentials, Error> {
        Self::issue_client(&self.ca, user, Some(group), None)
    }

    /// The same, good until `ends`.
    pub(crate) fn client_until(
        &self,
        user: &str,
        group: &str,
        ends: SystemTime,
    ) -> Result<Credentials, Error> {
        Self::issue_client(&self.ca, user, Some(group), Some(ends))
    }

    /// A certificate with which a client is a front proxy of this name.
    pub(crate) fn front_proxy(&self, name: &str) -> Result<Credentials, Error> {
        Self::issue_client(&self.front_proxy_ca, name, None, None)
    }

    fn issue_client(
        by: &CertifiedIssuer<'static, KeyPair>,
        user: &str,
        group: Option<&str>,
        ends: Option<SystemTime>,
    ) -> Result<Credentials, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(ends) = ends {
            params.not_after = ends.into();
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, by)?;
        Ok(Credentials::Certificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("ca_file", &self.ca_file).finish_non_exhaustive()
    }
}

fn authority(common_name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name, None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Kubernetes takes the user from the common name and the group from the organization, of which rcgen writes one.
fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
