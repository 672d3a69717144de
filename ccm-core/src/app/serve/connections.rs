//! Connections: who may connect how often, for how long, and in which protocol.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tracing::{debug, warn};

use super::slots::Slots;
use crate::telemetry::AccessMetrics;

/// How long a client may take for its TLS handshake, for its first request, and over HTTP/1 for the
/// head of each further one.
///
/// A guess: probes give up after seconds, and scrapers after ten.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests under way may take once the endpoints close. A guess: all are answered from
/// memory, within milliseconds.
const DRAIN: Duration = Duration::from_secs(3);

/// How old a connection becomes before the client has to make another, so that none is held for
/// ever by somebody who only answers pings. A guess; scrapers do not notice.
const LIFE: Duration = Duration::from_mins(10);

/// How long a connection may take to end after that.
const FAREWELL: Duration = Duration::from_secs(30);

/// How long an HTTP/2 connection may be there without a request: longer than one is worked on, and than
/// scrapers pause. Over HTTP/1 it is [`CLIENT_TIMEOUT`].
const IDLE: Duration = Duration::from_mins(2);

/// From one ping to the next on an HTTP/2 connection. Otherwise a client that has gone is not missed.
const PING: Duration = Duration::from_secs(30);

/// What the head of a request may have at most.
const HEAD_BYTES: u32 = 64 * 1024;

/// Pause after a connection that could not be accepted: too many files are open.
const PAUSE: Duration = Duration::from_millis(500);

/// The certificates that a client has shown, its own first. That it has the key to that one is
/// proved; whether the certificate means anything is not.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(pub(super) Arc<[CertificateDer<'static>]>);

/// On an answer: the client is not known, and must not hold on to an HTTP/2 connection, which costs
/// more than others. As upstream, for the sake of CVE-2023-44487.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger;

/// What is served, and how.
#[derive(Clone)]
pub(super) struct Connections {
    /// How TLS is spoken at the moment.
    pub(super) tls: watch::Receiver<Arc<ServerConfig>>,
    pub(super) router: Router,
    /// Requests that an HTTP/2 connection may have under way.
    pub(super) http2_streams: u32,
    pub(super) slots: Slots,
    pub(super) metrics: AccessMetrics,
}

impl Connections {
    /// Serves until `close`.
    pub(super) async fn serve(self, listener: TcpListener, close: CancellationToken) {
        let mut running = JoinSet::new();
        loop {
            let (stream, client) = tokio::select! {
                () = close.cancelled() => break,
                Some(ended) = running.join_next() => {
                    said(ended);
                    continue;
                }
                accepted = accept(&listener) => accepted,
            };
            // Who gets no place hears it at once: nobody waits behind him.
            let Some(slot) = self.slots.take(client) else {
                debug!(%client, "connection refused: there are too many");
                self.metrics.connection_refused();
                continue;
            };
            self.metrics.connections(self.slots.len());
            let (this, close) = (self.clone(), close.clone());
            running.spawn(async move {
                let (slots, metrics) = (this.slots.clone(), this.metrics.clone());
                this.connection(stream, close).await;
                drop(slot);
                metrics.connections(slots.len());
            });
        }
        // Nobody shall wait for an answer that does not come.
        drop(listener);
        let drained = timeout(DRAIN, async {
            while let Some(ended) = running.join_next().await {
                said(ended);
            }
        });
        if drained.await.is_err() {
            debug!(connections = running.len(), "requests not answered");
        }
    }

    async fn connection(self, stream: TcpStream, close: CancellationToken) {
        let tls = TlsAcceptor::from(Arc::clone(&self.tls.borrow()));
        let handshake = timeout(CLIENT_TIMEOUT, tls.accept(stream));
        let stream = tokio::select! {
            () = close.cancelled() => return,
            shaken = handshake => match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(err)) => return debug!(error = %err, "TLS handshake failed"),
                Err(_) => return debug!("TLS handshake takes too long"),
            },
        };
        let (_, session) = stream.get_ref();
        let shown = Shown(session.peer_certificates().unwrap_or_default().into());
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        self.serve_one(stream, shown, is_http2, close).await;
    }

    async fn serve_one<Stream>(
        self,
        stream: Stream,
        shown: Shown,
        is_http2: bool,
        close: CancellationToken,
    ) where
        Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let last = CancellationToken::new();
        let (asking, asked) = watch::channel(());
        let (router, then) = (self.router, last.clone());
        let service = service_fn(move |mut request: axum::http::Request<Incoming>| {
            asking.send_replace(());
            request.extensions_mut().insert(shown.clone());
            let (answer, then) = (router.clone().call(request), then.clone());
            async move {
                let answer = answer.await?;
                if is_http2 && answer.extensions().get::<Stranger>().is_some() {
                    then.cancel();
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let io = TokioIo::new(stream);
        if is_http2 {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .max_concurrent_streams(self.http2_streams)
                .max_header_list_size(HEAD_BYTES)
                .keep_alive_interval(PING)
                .keep_alive_timeout(CLIENT_TIMEOUT);
            let connection = drive(http.serve_connection(io, service), asked.clone(), close, last);
            // hyper waits for the client's first word for ever.
            tokio::select! {
                () = connection => {}
                () = silence(asked) => debug!("nothing was asked; connection broken off"),
            }
        } else {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .max_buf_size(HEAD_BYTES as usize)
                .header_read_timeout(CLIENT_TIMEOUT);
            drive(http.serve_connection(io, service), asked, close, last).await;
        }
    }
}

/// Serves one connection until its client, its age or the process ends it, or `last` says that the
/// answers under way are its last.
async fn drive<C>(
    connection: C,
    asked: watch::Receiver<()>,
    close: CancellationToken,
    last: CancellationToken,
) where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = close.cancelled() => None,
        () = last.cancelled() => None,
        () = idleness(asked) => None,
        () = sleep(LIFE) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        match timeout(FAREWELL, connection).await {
            Ok(ended) => ended,
            Err(_) => return debug!("connection broken off"),
        }
    };
    if let Err(err) = ended {
        debug!(error = %err, "connection broken");
    }
}

/// Ends if nothing at all is asked for too long.
async fn silence(mut asked: watch::Receiver<()>) {
    if timeout(CLIENT_TIMEOUT, asked.changed()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Ends when nothing more is asked.
async fn idleness(mut asked: watch::Receiver<()>) {
    while let Ok(Ok(())) = timeout(IDLE, asked.changed()).await {}
}

/// That a connection has panicked.
fn said(ended: Result<(), JoinError>) {
    if let Err(err) = ended {
        warn!(error = %err, "connection given up");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => return (stream, client.ip()),
            Err(err) => {
                warn!(error = %err, "no connection accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use axum::routing::get;
    use prometheus_client::registry::Registry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;
    use crate::app::serve::slots::Most;

    fn connections() -> Connections {
        let config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        let stranger = async || {
            let mut answer = axum::http::StatusCode::FORBIDDEN.into_response();
            answer.extensions_mut().insert(Stranger);
            answer
        };
        let router =
            Router::new().route("/healthz", get(async || "ok")).route("/stranger", get(stranger));
        Connections {
            tls: watch::channel(Arc::new(config)).1,
            router,
            http2_streams: 1,
            slots: Slots::new(Most::of(1024)),
            metrics: AccessMetrics::register(&mut Registry::default()),
        }
    }

    /// Asks over HTTP/2, and says whether the server wants no more on this connection afterwards.
    async fn ask(path: &str) -> (u16, bool) {
        let (client, server) = tokio::io::duplex(4096);
        let close = CancellationToken::new();
        tokio::spawn(connections().serve_one(server, Shown::default(), true, close));
        let io = TokioIo::new(client);
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut client, connection) = shaken.unwrap();
        let connection = tokio::spawn(connection);
        let request = axum::http::Request::get(format!("https://localhost{path}"));
        let answer = client.send_request(request.body(String::new()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        drop(answer);
        let is_over = timeout(Duration::from_secs(5), connection).await.is_ok();
        drop(client);
        (status, is_over)
    }

    #[tokio::test(start_paused = true)]
    async fn http2_is_served_and_strangers_are_sent_away() {
        assert_eq!(ask("/healthz").await, (200, false));
        assert_eq!(ask("/stranger").await, (403, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_finish_its_request_is_let_go() {
        let http1 = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let [half, further] = ["GET /healthz HTT".to_owned(), format!("{http1}GET /")];
        // HTTP/2 begins with a preface and a frame of settings.
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        for said in ["", &half, http1, &further, "PRI * H", preface] {
            for is_http2 in [false, true] {
                let (mut client, server) = tokio::io::duplex(4096);
                let close = CancellationToken::new();
                let serving = connections().serve_one(server, Shown::default(), is_http2, close);
                tokio::spawn(serving);
                client.write_all(said.as_bytes()).await.unwrap();
                let mut heard = Vec::new();
                let end = timeout(CLIENT_TIMEOUT * 2, client.read_to_end(&mut heard)).await;
                assert!(end.is_ok(), "{said:?} is still waited for, over HTTP/2: {is_http2}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends() {
        let (client, server) = tokio::io::duplex(4096);
        let close = CancellationToken::new();
        let start = Instant::now();
        let serving = tokio::spawn(connections().serve_one(server, Shown::default(), true, close));
        let io = TokioIo::new(client);
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut client, connection) = shaken.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..3 {
            let request = axum::http::Request::get("https://localhost/healthz");
            client.send_request(request.body(String::new()).unwrap()).await.unwrap();
            sleep(IDLE / 2).await;
        }
        timeout(IDLE, serving).await.expect("an end").unwrap();
        // Half the time has passed since the last request.
        assert!(start.elapsed() >= IDLE * 2, "{:?}", start.elapsed());
        drop((client, connection));
    }
}
