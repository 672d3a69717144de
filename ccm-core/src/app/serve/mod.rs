//! The process's HTTPS endpoints: health and metrics.
//!
//! Every replica serves, leader or not. Nobody is asked who they are yet, so only clients on the
//! same host are served.

mod certificate;
mod health;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::certificate::CertificateError;
pub use self::health::{Checks, Scope};

use self::health::Endpoint;
use crate::report::Chain;

/// How long a client may take for its TLS handshake, and again for the head of each request.
///
/// A guess: probes give up after seconds, and scrapers after ten.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests under way may take once the endpoints close. A guess: all are answered from
/// memory, within milliseconds.
const DRAIN: Duration = Duration::from_secs(3);

/// First and longest pause between attempts to listen on an address that is in use.
///
/// On a host's network the address is in use until the pod that this one replaces has ended.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Metrics as text.
pub trait Exposition: Send + Sync + 'static {
    /// The `OpenMetrics` text of all metrics, up to and including `# EOF`.
    fn render(&self) -> Result<String, fmt::Error>;
}

impl Exposition for Registry {
    fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, self)?;
        Ok(text)
    }
}

/// The endpoints `/healthz`, `/livez`, `/readyz` (each also with `/<check>`) and `/metrics`.
pub struct Server {
    address: SocketAddr,
    checks: Checks,
    metrics: Arc<dyn Exposition>,
    bound: Option<oneshot::Sender<SocketAddr>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, checks, .. } = self;
        f.debug_struct("Server")
            .field("address", address)
            .field("checks", checks)
            .finish_non_exhaustive()
    }
}

/// The endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Everybody who can reach the address would be served.
    #[error(
        "cannot serve on {0}: --bind-address must be a loopback address, because clients are not \
         authenticated yet"
    )]
    NotLoopback(SocketAddr),
    /// The address is not to be had, for another reason than being in use.
    #[error("cannot listen on {address} (--bind-address, --secure-port)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// There is no certificate to serve with.
    #[error("cannot serve HTTPS on {address}")]
    Certificate {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: CertificateError,
    },
    /// The listener broke.
    #[error("serving on {address} ended")]
    Serve {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

impl Server {
    /// Endpoints at `address`; port 0 stands for any free one.
    pub fn new(address: SocketAddr, checks: Checks, metrics: Arc<dyn Exposition>) -> Self {
        Self { address, checks, metrics, bound: None }
    }

    /// Tells `bound` the address once it is served.
    #[must_use]
    pub fn announce(mut self, bound: oneshot::Sender<SocketAddr>) -> Self {
        self.bound = Some(bound);
        self
    }

    /// Serves until `close`. From `stop` on `/readyz` fails; give the same token twice to end with
    /// everything else.
    ///
    /// An address in use is tried again, for as long as it takes: endpoints are no reason to stop
    /// work.
    pub async fn run(
        self,
        stop: CancellationToken,
        close: CancellationToken,
    ) -> Result<(), ServeError> {
        let Self { address, checks, metrics, bound } = self;
        if !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::NotLoopback(address));
        }
        // Work for the CPU: beside the listening, and beside all other tasks.
        let tls = spawn_blocking(move || certificate::tls(address.ip()));
        let Some(listener) = listen(address, &stop).await? else {
            return Ok(());
        };
        let address =
            listener.local_addr().map_err(|source| ServeError::Bind { address, source })?;
        let failed = |source| ServeError::Serve { address, source };
        let tls = tls
            .await
            .map_err(|err| failed(err.into()))?
            .map_err(|source| ServeError::Certificate { address, source })?;

        let stopping = stop.clone();
        checks.add("shutdown", Scope::Ready, move || {
            if stopping.is_cancelled() {
                return Err("process is shutting down".to_owned());
            }
            Ok(())
        });

        let handle = Handle::new();
        let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(Arc::new(tls)))
            .handshake_timeout(CLIENT_TIMEOUT);
        let server = http(axum_server::Server::from_listener(listener))
            .acceptor(acceptor)
            .handle(handle.clone());

        info!(%address, "serving");
        if let Some(bound) = bound {
            // Whoever asked may have lost interest.
            let _ = bound.send(address);
        }
        let mut serving = pin!(server.serve(router(&checks, metrics).into_make_service()));
        tokio::select! {
            () = close.cancelled() => handle.graceful_shutdown(Some(DRAIN)),
            ended = &mut serving => return ended.map_err(failed),
        }
        serving.await.map_err(failed)
    }
}

/// Listens on `address` as soon as it is free. `None`: the process stops.
async fn listen(
    address: SocketAddr,
    stop: &CancellationToken,
) -> Result<Option<TcpListener>, ServeError> {
    let (mut pause, longest) = RETRY;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(err) if err.kind() == io::ErrorKind::AddrInUse => {
                warn!(retry_in = ?pause, "address {address} is in use; trying again");
            }
            Err(source) => return Err(ServeError::Bind { address, source }),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = sleep(pause) => pause = longest.min(pause * 2),
        }
    }
}

/// HTTP/1.1 for clients that may be slow or silent, but not for ever.
fn http<Acceptor>(
    server: axum_server::Server<SocketAddr, Acceptor>,
) -> axum_server::Server<SocketAddr, Acceptor> {
    let mut server = server.http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(CLIENT_TIMEOUT);
    server
}

fn router(checks: &Checks, metrics: Arc<dyn Exposition>) -> Router {
    let mut router = Router::new()
        .route("/metrics", get(async move || exposition(&*metrics)))
        .fallback(async || not_found());
    for endpoint in Endpoint::ALL {
        let path = format!("/{}", endpoint.name());
        let all = checks.clone();
        let one = checks.clone();
        router = router
            .route(
                &path,
                get(async move |Query(query): Query<Vec<(String, String)>>| {
                    plain(health::all(&all, endpoint, query))
                }),
            )
            .route(
                &format!("{path}/{{check}}"),
                get(async move |Path(name): Path<String>| {
                    health::one(&one, endpoint, &name).map_or_else(not_found, plain)
                }),
            );
    }
    router
}

const PLAIN: [(HeaderName, &str); 2] =
    [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];

/// The format that `prometheus-client` writes, whatever the client would rather have: scrapers
/// that say they want the older text format read this one too.
const OPENMETRICS: [(HeaderName, &str); 1] =
    [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];

fn plain((status, text): (StatusCode, String)) -> Response {
    (status, PLAIN, text).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, PLAIN, "404 page not found\n").into_response()
}

fn exposition(metrics: &dyn Exposition) -> Response {
    match metrics.render() {
        Ok(text) => (OPENMETRICS, text).into_response(),
        Err(err) => {
            error!(error = %Chain(&err), "metrics not rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "metrics not rendered\n").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_finish_its_request_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = http(axum_server::Server::from_listener(listener));
        let router = router(&Checks::default(), Arc::new(Registry::default()));
        tokio::spawn(server.serve(router.into_make_service()));

        for said in ["GET /healthz HTT", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /"] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            let end = timeout(CLIENT_TIMEOUT * 2, client.read_to_end(&mut heard)).await;
            assert!(end.is_ok(), "{said:?} is still waited for");
        }
    }
}
