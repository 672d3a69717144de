//! The socket.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::ServeError;

/// First and longest pause between attempts to listen on an address that is in use.
///
/// On a host's network the address is in use until the pod that this one replaces has ended.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Connections that wait to be accepted; what Linux allows may be less.
const BACKLOG: u32 = 1024;

/// Listens on `address` as soon as it is free. `None`: the process stops.
pub(super) async fn listen(
    address: SocketAddr,
    shares_port: bool,
    stop: &CancellationToken,
) -> Result<Option<TcpListener>, ServeError> {
    let (mut pause, longest) = RETRY;
    loop {
        match bind(address, shares_port) {
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

/// As Go, "all addresses" are those of both families, whichever was meant.
fn bind(address: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return bind_one(address, shares_port);
    }
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
    match bind_one(both, shares_port) {
        // A host without IPv6.
        Err(err) if address.is_ipv4() && err.kind() != io::ErrorKind::AddrInUse => {
            bind_one(address, shares_port)
        }
        outcome => outcome,
    }
}

fn bind_one(address: SocketAddr, shares_port: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // Otherwise a process could not listen again for a minute where one has just served.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shares_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_port_is_shared_only_with_those_who_want_it() {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let alone = bind(free, false).unwrap();
        let err = bind(alone.local_addr().unwrap(), true).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::AddrInUse);
        let shared = bind(free, true).unwrap();
        bind(shared.local_addr().unwrap(), true).unwrap();
    }
}
