//! A server that says who called it, and how that went.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::Error;

/// The name that was asked for, or what went wrong.
type Call = Result<String, String>;

/// A TLS server on loopback, whose authority nobody knows.
#[derive(Debug)]
pub(super) struct Server {
    config: Arc<ServerConfig>,
    authority: String,
}

/// One port that it serves at, and who calls there.
#[derive(Debug)]
pub(super) struct Calls {
    port: u16,
    calls: UnboundedReceiver<Call>,
}

impl Server {
    /// One that has these names.
    pub(super) fn new(names: &[&str]) -> Result<Self, Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;

        Ok(Self { config: Arc::new(config), authority: authority_certificate.pem() })
    }

    /// Serves at a new port until this program ends: nobody calls there who was meant for another.
    pub(super) fn listen(&self) -> Result<Calls, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (tell, calls) = unbounded_channel();
        let config = Arc::clone(&self.config);
        std::thread::spawn(move || serve(&listener, &config, &tell));
        Ok(Calls { port, calls })
    }

    /// The authority's certificate as PEM.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }
}

impl Calls {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) async fn next(&mut self) -> Call {
        self.calls.recv().await.unwrap_or_else(|| Err("the server has ended".to_owned()))
    }
}

fn serve(listener: &TcpListener, config: &Arc<ServerConfig>, tell: &UnboundedSender<Call>) {
    for stream in listener.incoming() {
        let call = stream.map_err(Error::from).and_then(|stream| greet(stream, config));
        if tell.send(call.map_err(|err| err.to_string())).is_err() {
            return;
        }
    }
}

/// Does the handshake and says which name was asked for.
fn greet(mut stream: TcpStream, config: &Arc<ServerConfig>) -> Result<String, Error> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut connection = ServerConnection::new(Arc::clone(config))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(connection.server_name().unwrap_or_default().to_owned())
}
