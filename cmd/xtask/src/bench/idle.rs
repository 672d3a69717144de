//! `cargo xtask bench idle`: what the process costs when there is nothing to do, and how soon it
//! leads.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::process::{cpu_seconds, memory_mib};
use super::report::{Figure, median, say_figures};
use super::rig::{Account, Binaries, Rig};
use super::watched::{Holder, LEASE, NAMESPACE};
use crate::Error;
use crate::demo::stage::free_port;
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
pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    let rig = Rig::start(binaries).await?;
    let leases = Api::<Lease>::namespaced(rig.plane.admin_client(), NAMESPACE);
    let (mut free, mut released) = (Vec::new(), Vec::new());
    for _ in 0..args.starts {
        // A request or two, so that the API server is awake.
        let _ = leases.delete(LEASE, &kube::api::DeleteParams::default()).await;
        for times in [&mut free, &mut released] {
            sleep(Duration::from_millis(500)).await;
            let holder = Holder::watch(rig.plane.admin_client()).await?;
            let begun = Instant::now();
            let mut process = start(binaries, &rig)?;
            timeout(Duration::from_secs(10), holder.changes())
                .await
                .map_err(|_| "the lease was not taken")??;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            process.stop().await?;
        }
    }
    let mut process = start(binaries, &rig)?;
    sleep(Duration::from_secs(5)).await;
    let cpu = cpu_seconds(process.pid())?;
    sleep(Duration::from_secs(args.seconds)).await;
    let used = cpu_seconds(process.pid())? - cpu;
    let figures = Figures {
        binary_mb: std::fs::metadata(&binaries.ccm)?.len() as f64 / 1e6,
        free_lease_held_ms: median(free),
        released_lease_held_ms: median(released),
        idle_rss_mib: memory_mib(process.pid())?.0,
        idle_cpu_ms_per_s: used * 1000.0 / args.seconds as f64,
    };
    process.stop().await?;
    rig.stop().await?;
    say_figures(&[
        Figure::new("release binary", figures.binary_mb, "MB"),
        Figure::new("free lease held after exec", figures.free_lease_held_ms, "ms"),
        Figure::new("released lease held after exec", figures.released_lease_held_ms, "ms"),
        Figure::new("memory, idle", figures.idle_rss_mib, "MiB"),
        Figure::new("CPU, idle", figures.idle_cpu_ms_per_s, "ms/s"),
    ])?;
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(())
}

/// With every controller, and HTTPS: what an operator has at the most.
fn start(binaries: &Binaries, rig: &Rig) -> Result<Program, Error> {
    let mut args = rig.ccm_args(Account::First);
    args.retain(|arg| {
        !arg.starts_with("--secure-port") && !arg.starts_with("--configure-cloud-routes")
    });
    let port = free_port()?;
    args.extend([
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        "--allocate-node-cidrs".to_owned(),
        "--cluster-cidr=10.0.0.0/8".to_owned(),
    ]);
    Program::start("cloud-controller-manager", &binaries.ccm, &args, rig.log())
}
