//! How etcd is started, and when it is ready.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
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

/// Where clients find it.
pub(crate) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(crate) fn start(
    options: &Options,
    program: &Path,
    [client_port, peer_port]: [u16; 2],
    instance: &mut Instance,
) -> Result<Process, Error> {
    let args = args(options, instance.dir(), client_port, peer_port);
    Process::start(&Launch { name: "etcd", program, args: &args }, instance)
}

fn args(options: &Options, dir: &Path, client_port: u16, peer_port: u16) -> Vec<String> {
    let (client, peer) = (url(client_port), url(peer_port));
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
pub(crate) async fn wait_until_ready(etcd: &mut Process, port: u16) -> Result<(), Error> {
    let since = Instant::now();
    loop {
        etcd.expect_running()?;
        let last = match timeout(PROBE, health(port)).await {
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
async fn health(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
