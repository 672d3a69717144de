//! `cargo xtask bench idle`: what the process costs when there is nothing to do, and how soon it
//! leads.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::{self, watch_object};
use kube::{Api, Client};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::process::{cpu_seconds, memory_mib};
use super::rig::{Binaries, Rig};
use super::{median, say};
use crate::Error;
use crate::program::Program;

/// Measure the idle process, its start and its size.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Starts to take the median of.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// Seconds of idling.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Figures {
    binary_mb: f64,
    free_lease_held_ms: f64,
    released_lease_held_ms: f64,
    idle_rss_mib: f64,
    idle_cpu_ms_per_s: f64,
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) async fn run(args: Args) -> Result<(), Error> {
    let binaries = Binaries::build().await?;
    let rig = Rig::start(&binaries).await?;
    let leases = Api::<Lease>::namespaced(rig.plane.admin_client(), "kube-system");
    let (mut free, mut released) = (Vec::new(), Vec::new());
    for _ in 0..args.starts {
        // A request or two, so that the API server is awake.
        let _ = leases.delete(LEASE, &kube::api::DeleteParams::default()).await;
        for times in [&mut free, &mut released] {
            sleep(Duration::from_millis(500)).await;
            let held = Held::watch(rig.plane.admin_client());
            let begun = Instant::now();
            let mut process = start(&binaries, &rig)?;
            timeout(Duration::from_secs(10), held)
                .await
                .map_err(|_| "the lease was not taken")??;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            process.stop().await?;
        }
    }
    let mut process = start(&binaries, &rig)?;
    sleep(Duration::from_secs(5)).await;
    let cpu = cpu_seconds(process.pid())?;
    sleep(Duration::from_secs(args.seconds)).await;
    let used = cpu_seconds(process.pid())? - cpu;
    let figures = Figures {
        binary_mb: std::fs::metadata(&binaries.ccm)?.len() as f64 / 1e6,
        free_lease_held_ms: median(free.into_iter()),
        released_lease_held_ms: median(released.into_iter()),
        idle_rss_mib: memory_mib(process.pid())?.0,
        idle_cpu_ms_per_s: used * 1000.0 / args.seconds as f64,
    };
    process.stop().await?;
    rig.stop().await?;
    let rows = [
        ("release binary", figures.binary_mb, "MB"),
        ("free lease held after exec", figures.free_lease_held_ms, "ms"),
        ("released lease held after exec", figures.released_lease_held_ms, "ms"),
        ("memory, idle", figures.idle_rss_mib, "MiB"),
        ("CPU, idle", figures.idle_cpu_ms_per_s, "ms/s"),
    ];
    for (what, value, unit) in rows {
        say(&format!("  {what:<32} {value:>10.3} {unit}"))?;
    }
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(())
}

fn start(binaries: &Binaries, rig: &Rig) -> Result<Program, Error> {
    Program::start("cloud-controller-manager", &binaries.ccm, &rig.ccm_args(16), rig.log())
}

const LEASE: &str = "cloud-controller-manager";

/// Waits until somebody holds the lease.
struct Held;

impl Held {
    async fn watch(client: Client) -> Result<(), Error> {
        let leases = Api::<Lease>::namespaced(client, "kube-system");
        let mut states = pin!(watch_object(leases, LEASE));
        loop {
            let lease = match states.next().await.ok_or("the watch ended")? {
                Ok(lease) => lease,
                Err(watcher::Error::WatchError(_)) => continue,
                Err(err) => return Err(err.into()),
            };
            let holder = lease.and_then(|lease| lease.spec).and_then(|spec| spec.holder_identity);
            if holder.is_some_and(|holder| !holder.is_empty()) {
                return Ok(());
            }
        }
    }
}
