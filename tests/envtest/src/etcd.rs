//! How etcd is started, and when it is ready.
//!
//! It listens on sockets in the instance's directory, into which only its owner can look. etcd asks nobody who he is
//! unless it is told how, and a port on loopback is everybody's on the machine: who writes there makes pods, and a kubelet
//! of root's runs them.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{
    control_plane::{Options, PATIENCE},
    error::Error,
    instance::Instance,
    process::{Launch, POLL, Process},
};

/// How long one look may take.
const PROBE: Duration = Duration::from_secs(2);

/// Where clients find it: a file below the folder in which it and the API server run. What looks like a port is a part of
/// the file's name, and etcd insists on it.
pub(crate) const URL: &str = "unix://etcd-client:0";

/// Where other members would find it.
const PEER_URL: &str = "unix://etcd-peer:0";

/// The file of [`URL`].
const SOCKET: &str = "etcd-client:0";

pub(crate) fn start(
    options: &Options,
    program: &Path,
    instance: &mut Instance,
) -> Result<Process, Error> {
    let args = args(options, instance.dir());
    Process::start(&Launch { name: "etcd", program, args: &args }, instance)
}

fn args(options: &Options, dir: &Path) -> Vec<String> {
    let (client, peer) = (URL, PEER_URL);
    let mut args = vec![
        "--name=envtest".to_owned(),
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=envtest={peer}"),
    ];
    if options.unsafe_no_fsync {
        args.push("--unsafe-no-fsync".to_owned());
    }
    if let Some(bytes) = options.etcd_quota_backend_bytes {
        args.push(format!("--quota-backend-bytes={bytes}"));
    }
    args.extend(options.etcd_args.iter().cloned());
    args
}

/// Waits until it serves.
pub(crate) async fn wait_until_ready(etcd: &mut Process, dir: &Path) -> Result<(), Error> {
    let since = Instant::now();
    loop {
        etcd.expect_running()?;
        let last = match timeout(PROBE, health(dir)).await {
            Ok(Ok(answer)) if answer.contains(r#""health":"true""#) => return Ok(()),
            Ok(Ok(answer)) => answer.lines().last().unwrap_or_default().to_owned(),
            Ok(Err(err)) => err.to_string(),
            Err(err) => err.to_string(),
        };
        if since.elapsed() > PATIENCE {
            return Err(etcd.not_ready(PATIENCE, last));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// One plain request by hand, rather than an HTTP client for it.
async fn health(dir: &Path) -> std::io::Result<String> {
    // A socket's path has room for about 100 characters, and a temporary folder's may be longer.
    let dir = File::open(dir)?;
    let socket = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
