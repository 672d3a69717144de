//! A client of the HTTPS endpoints.

use std::net::SocketAddr;
use std::time::Duration;

use ccm_envtest::Credentials;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity, Method};

/// What an endpoint answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// `Content-Type`.
    pub kind: String,
    /// The text.
    pub body: String,
}

/// Somebody who asks the endpoints on one port of this machine.
#[derive(Clone, Debug)]
pub struct Asker {
    port: u16,
    headers: HeaderMap,
    identity: Option<(String, String)>,
    trusted: Option<String>,
    name: Option<String>,
}

impl Asker {
    /// Nobody in particular, who takes any certificate.
    pub fn new(port: u16) -> Self {
        Self { port, headers: HeaderMap::new(), identity: None, trusted: None, name: None }
    }

    /// With what says who it is.
    #[must_use]
    pub fn as_whom(mut self, credentials: &Credentials) -> Self {
        match credentials {
            Credentials::Token(token) => {
                let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
                self.headers.insert(AUTHORIZATION, value);
            }
            Credentials::Certificate { certificate_pem, key_pem } => {
                self.identity = Some((certificate_pem.clone(), key_pem.clone()));
            }
        }
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        self
    }

    /// Trusts this certificate and no other.
    #[must_use]
    pub fn trusting(mut self, pem: &str) -> Self {
        self.trusted = Some(pem.to_owned());
        self
    }

    /// Calls the machine by this name.
    #[must_use]
    pub fn by_name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Asks for a path, over a connection of its own.
    pub async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        self.ask(Method::GET, path, "").await
    }

    /// Asks for something, over a connection of its own.
    pub async fn ask(&self, method: Method, path: &str, body: &str) -> reqwest::Result<Answer> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let host = self.name.as_deref().unwrap_or("127.0.0.1");
        let mut client = reqwest::Client::builder()
            .default_headers(self.headers.clone())
            .resolve(host, address)
            .no_proxy()
            .timeout(Duration::from_secs(20));
        client = match &self.trusted {
            Some(pem) => client.tls_certs_only([Certificate::from_pem(pem.as_bytes())?]),
            None => client.tls_danger_accept_invalid_certs(true),
        };
        if let Some((certificate, key)) = &self.identity {
            client = client.identity(Identity::from_pem(format!("{certificate}{key}").as_bytes())?);
        }
        let url = format!("https://{host}:{}{path}", self.port);
        let answer = client.build()?.request(method, url).body(body.to_owned()).send().await?;
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        Ok(Answer {
            status: answer.status().as_u16(),
            version: format!("{:?}", answer.version()),
            kind: kind.unwrap_or_default().to_owned(),
            body: answer.text().await?,
        })
    }
}
