//! Addresses of the node's own loopback that lead to addresses of the machine's.
//!
//! A socket belongs to the network in which it was made, whoever uses it: a thread goes there, makes them, and ends.

use std::{fs::File, io, net, net::SocketAddr, os::fd::AsFd, path::Path, time::Duration};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::sleep,
};

/// Before a connection is waited for again when one could not be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// One address there, and the one here that it leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) there: SocketAddr,
    pub(crate) here: SocketAddr,
}

/// Goes on until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay(Vec<AbortHandle>);

impl Relay {
    /// Opens the ways, in the network of this process.
    pub(crate) fn open(pid: u32, ways: &[Way]) -> io::Result<Self> {
        let network = format!("/proc/{pid}/ns/net");
        let there: Vec<_> = ways.iter().map(|way| way.there).collect();
        let sockets = std::thread::scope(|scope| {
            let made = scope.spawn(|| listen_in(Path::new(&network), &there)).join();
            made.unwrap_or_else(|_| Err(io::Error::other("the thread for it has panicked")))
        })?;
        let mut tasks = Vec::new();
        for (socket, way) in sockets.into_iter().zip(ways) {
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from_std(socket)?;
            tasks.push(tokio::spawn(serve(listener, way.here)).abort_handle());
        }
        Ok(Self(tasks))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// To be called on a thread that ends afterwards: it stays in that network.
fn listen_in(network: &Path, addresses: &[SocketAddr]) -> io::Result<Vec<net::TcpListener>> {
    let network = File::open(network)?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    addresses.iter().map(net::TcpListener::bind).collect()
}

async fn serve(listener: TcpListener, to: SocketAddr) {
    loop {
        let Ok((mut from, _)) = listener.accept().await else {
            // Of a connection that was lost before it was taken; or no more files may be open, and that lasts.
            sleep(PAUSE).await;
            continue;
        };
        tokio::spawn(async move {
            // Whoever called sees the end of the connection, as with any server that is not there.
            if let Ok(mut to) = TcpStream::connect(to).await {
                copy_bidirectional(&mut from, &mut to).await.ok();
            }
        });
    }
}
