//! A wire to the API server that can be held at either end.
//!
//! What was sent before another event, and arrives after it, is what preconditions are for. It is
//! rare by itself; here it is made. What is held is not lost: it arrives once it is let go, even if
//! its sender has died meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A loopback address whose connections go on to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    questions: watch::Sender<bool>,
    answers: watch::Sender<bool>,
    held: Arc<AtomicUsize>,
    /// Ends with us.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// One before the server of this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let server: Arc<str> = url.trim_start_matches("https://").into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (questions, answers) = (watch::Sender::new(true), watch::Sender::new(true));
        let held = Arc::<AtomicUsize>::default();
        let gate =
            |open: &watch::Sender<bool>| Gate { open: open.subscribe(), held: Arc::clone(&held) };
        let gates = [gate(&questions), gate(&answers)];
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut wires = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                wires.spawn(wire(client, Arc::clone(&server), gates.clone()));
            }
        });
        Self { address, questions, answers, held, _tasks: tasks }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Nothing that is sent to the server arrives.
    pub fn hold_questions(&self) {
        self.questions.send_replace(false);
    }

    /// Nothing that the server sends arrives, answers and watches alike. What is sent to it does.
    pub fn hold_answers(&self) {
        self.answers.send_replace(false);
    }

    /// How many wires have something that is held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Everything arrives, what was held first.
    pub fn let_go(&self) {
        self.questions.send_replace(true);
        self.answers.send_replace(true);
    }
}

/// Whether one direction is open.
#[derive(Clone, Debug)]
struct Gate {
    open: watch::Receiver<bool>,
    held: Arc<AtomicUsize>,
}

impl Gate {
    /// Waits until it is open. False when it is no more.
    async fn pass(&mut self) -> bool {
        if *self.open.borrow() {
            return true;
        }
        self.held.fetch_add(1, Ordering::Relaxed);
        let is_open = self.open.wait_for(|is_open| *is_open).await.is_ok();
        self.held.fetch_sub(1, Ordering::Relaxed);
        is_open
    }
}

async fn wire(client: TcpStream, server: Arc<str>, gates: [Gate; 2]) {
    let Ok(server) = TcpStream::connect(&*server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    let [questions, answers] = gates;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = async {
        flow(&mut from_client, &mut to_server, questions).await;
        // The server is not told that the client is gone: it may be busy with its last words.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = asks => {}
        () = flow(&mut from_server, &mut to_client, answers) => {}
    }
}

/// Carries bytes until either end is closed.
async fn flow(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut gate: Gate,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if !gate.pass().await {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
