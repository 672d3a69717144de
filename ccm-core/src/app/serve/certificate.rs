//! The certificate that the process makes for itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
    /// It could not be used.
    #[error("the self-signed certificate cannot be used")]
    Use(#[from] rustls::Error),
}

/// TLS 1.2 and later with a new certificate for localhost and `address`. Takes CPU time.
pub(super) fn tls(address: IpAddr) -> Result<ServerConfig, CertificateError> {
    let (certificate, key) = self_signed(address, SystemTime::now())?;
    Ok(config(certificate, key)?)
}

fn config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn self_signed(
    address: IpAddr,
    now: SystemTime,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
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
    Ok((certificate.into(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use rustls::version::{TLS12, TLS13};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConnection, SupportedProtocolVersion,
    };

    use super::*;

    /// A handshake without a network, with a client that trusts the server's certificate alone.
    fn handshake(
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> Result<(), rustls::Error> {
        let address = IpAddr::from([127, 1, 2, 3]);
        let (certificate, key) = self_signed(address, SystemTime::now()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let server = config(certificate, key).unwrap();
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
        Ok(())
    }

    #[rstest]
    fn a_client_that_trusts_the_certificate_is_content(
        #[values("localhost", "127.0.0.1", "::1", "127.1.2.3")] name: &str,
        #[values(&TLS12, &TLS13)] version: &'static SupportedProtocolVersion,
    ) {
        handshake(name, version).unwrap();
    }

    #[test]
    fn other_names_are_not_covered() {
        handshake("example.org", &TLS13).unwrap_err();
    }

    #[test]
    fn the_common_name_is_upstreams() {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let (certificate, _) = self_signed(IpAddr::from([127, 0, 0, 1]), time).unwrap();
        let name = b"localhost@1700000000";
        assert!(certificate.windows(name.len()).any(|bytes| bytes == name));
    }
}
