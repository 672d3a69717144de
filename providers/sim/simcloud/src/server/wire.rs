//! Connections that the cloud can cut.
//!
//! A fault that loses an answer must leave the caller without a single byte of one. HTTP servers
//! do not offer that, so it happens below them: once a connection is cut, writing to it fails.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Pause after a failed accept, which fails again at once when files have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A handle on the connection that a call came by.
#[derive(Clone, Debug)]
pub(crate) struct Wire(CancellationToken);

impl Wire {
    /// Closes the connection; nothing more is written to it.
    pub(crate) fn cut(&self) {
        self.0.cancel();
    }
}

impl Connected<IncomingStream<'_, Wires>> for Wire {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        stream.io().wire.clone()
    }
}

/// Takes connections and keeps a hand on them.
#[derive(Debug)]
pub(crate) struct Wires {
    listener: TcpListener,
    all: CancellationToken,
}

impl Wires {
    /// Takes connections from the listener; cancelling `all` cuts every one of them.
    pub(crate) fn new(listener: TcpListener, all: CancellationToken) -> Self {
        Self { listener, all }
    }
}

impl Listener for Wires {
    type Io = WireIo;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Only a matter of speed.
                    let _ = stream.set_nodelay(true);
                    return (WireIo::new(stream, Wire(self.all.child_token())), address);
                }
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that can be cut.
#[derive(Debug)]
pub(crate) struct WireIo {
    stream: TcpStream,
    wire: Wire,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl WireIo {
    fn new(stream: TcpStream, wire: Wire) -> Self {
        let cut = Box::pin(wire.0.clone().cancelled_owned());
        Self { stream, wire, cut }
    }

    fn check(&self) -> io::Result<()> {
        if !self.wire.0.is_cancelled() {
            return Ok(());
        }
        // The caller sees a reset, as when a front end goes away in the middle.
        let _ = self.stream.set_zero_linger();
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for WireIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Also wakes a connection that is cut while it waits for the caller.
        let _ = self.cut.as_mut().poll(cx);
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
