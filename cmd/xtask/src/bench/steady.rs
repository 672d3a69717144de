//! `cargo xtask bench steady`: what it costs to watch a cluster in which nothing happens but
//! heartbeats.
//!
//! That is a cloud-controller-manager's usual day: every status that a kubelet posts reaches it, and
//! every five minutes it looks at all nodes in the cloud. All its flags have their defaults, but that
//! there is no HTTPS.

use std::collections::BTreeMap;
use std::time::Duration;

use ccm_envtest::audit::Counts;
use serde::Serialize;
use simcloud::api::Calls;
use simcloud::console;
use tokio::time::{Instant, sleep};

use super::kubelets::Kubelets;
use super::process::{load, memory_mib, reset_peak};
use super::report::{Figure, Output, Table, grouped, say, say_figures};
use super::rig::{Account, Binaries, Rig, patience, while_running};
use super::watched::Initialised;
use crate::Error;
use crate::program::Program;

/// Measure the cost of a cluster in which nothing happens but heartbeats.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Nodes; the status of each is posted every 5 minutes, spread evenly.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Size of a node as the API server serves it, in kB.
    #[arg(long, default_value_t = 5)]
    node_kb: usize,
    /// Minutes of measuring. Nodes are looked at every 5, so a multiple of that.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// Nodes whose kubelet also renews its lease every 10 seconds. Not all of them: two cores cannot
    /// carry the leases of 5,000 kubelets, and the cloud-controller-manager does not watch leases.
    #[arg(long, default_value_t = 500)]
    leases: usize,
    /// Seconds between the last node's initialisation and the beginning of measuring.
    #[arg(long, default_value_t = 60)]
    settle: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Report {
    nodes: u32,
    node_kb: usize,
    minutes: u32,
    leases: usize,
    settle_s: u64,
    load_before: f64,
    figures: Vec<Figure>,
}

pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    let rig = Rig::start(binaries).await?;
    let count = usize::try_from(args.count)?;
    let nodes = rig.register(count, args.node_kb * 1000).await?;
    let initialised = Initialised::watch(rig.plane.admin_client()).await?;
    let ccm_args = rig.ccm_args(Account::First);
    let start = Instant::now();
    let mut process =
        Program::start("cloud-controller-manager", &binaries.ccm, &ccm_args, rig.log())?;
    let all = initialised.wait(count, start);
    let (_, last_s) = while_running(&mut process, "all nodes", patience(count)?, all).await?;
    say(format_args!("  {} initialised, {last_s:.1} s", grouped(args.count)))?;

    let kubelets = Kubelets::play(&rig.plane.admin_client(), &nodes, args.leases).await?;
    pass(&mut process, Duration::from_secs(args.settle)).await?;
    let load_before = load()?;
    say(format_args!("  settled; measuring for {} min", args.minutes))?;
    let figures = measure(&rig, &mut process, &kubelets, args.minutes).await?;
    drop(kubelets);
    process.stop().await?;
    rig.stop().await?;

    say(format_args!(
        "\n{} nodes of {} kB, {} leases, {} min after {} s of settling, load before {load_before:.2}",
        grouped(args.count),
        args.node_kb,
        args.leases.min(count),
        args.minutes,
        args.settle
    ))?;
    say_figures(&figures)?;
    let table = Table::of_figures(&figures);
    let report = Report {
        nodes: args.count,
        node_kb: args.node_kb,
        minutes: args.minutes,
        leases: args.leases.min(count),
        settle_s: args.settle,
        load_before,
        figures,
    };
    args.output.write(&report, &table)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn measure(
    rig: &Rig,
    process: &mut Program,
    kubelets: &Kubelets,
    minutes: u32,
) -> Result<Vec<Figure>, Error> {
    let pid = process.pid();
    let events_before = rig.plane.audit_events().await?.len();
    rig.console.clear_calls().await?;
    reset_peak(pid)?;
    let (rss_before, _) = memory_mib(pid)?;
    let posted_before = kubelets.posted();
    let cpu_before = rig.cpu(Some(pid))?;
    let begun = Instant::now();

    pass(process, Duration::from_mins(1) * minutes).await?;

    let seconds = begun.elapsed().as_secs_f64();
    let cpu = rig.cpu(Some(pid))? - cpu_before;
    let posted = kubelets.posted();
    let (rss, peak_rss) = memory_mib(pid)?;
    let calls = rig.console.calls().await?;
    let events = rig.plane.audit_events().await?;
    let user = rig.user(Account::First);
    let requests = Counts::of(&events[events_before..], |event| event.user == user);

    let a_minute = |count: u64| count as f64 * 60.0 / seconds;
    let of_a_core = |cpu_s: f64| 100.0 * cpu_s / seconds;
    let statuses = posted.statuses - posted_before.statuses;
    let mut figures = vec![
        Figure::new("CPU", of_a_core(cpu.process), "% of a core"),
        Figure::new("memory at the beginning", rss_before, "MiB"),
        Figure::new("memory at the end", rss, "MiB"),
        Figure::new("memory at its peak", peak_rss, "MiB"),
        Figure::new("changes of nodes to hear of", a_minute(statuses), "a minute"),
    ];
    let calls = calls_by_operation(&calls);
    figures.push(Figure::new("calls to the cloud", a_minute(calls.values().sum()), "a minute"));
    for (operation, count) in calls {
        figures.push(Figure::new(format!("  {operation}"), a_minute(count), "a minute"));
    }
    let about = "requests to the API server";
    figures.push(Figure::new(about, a_minute(requests.total()), "a minute"));
    for (request, count) in requests_by_kind(&requests) {
        figures.push(Figure::new(format!("  {request}"), a_minute(count), "a minute"));
    }
    let leases = posted.leases - posted_before.leases;
    let failures = posted.failures - posted_before.failures;
    figures.extend([
        Figure::new("leases renewed by kubelets", a_minute(leases), "a minute"),
        Figure::new("heartbeats that failed", failures as f64, ""),
        Figure::new("CPU of the API server", of_a_core(cpu.apiserver), "% of a core"),
        Figure::new("CPU of etcd", of_a_core(cpu.etcd), "% of a core"),
    ]);
    Ok(figures)
}

/// Lets the time pass, for as long as the program runs.
async fn pass(process: &mut Program, time: Duration) -> Result<(), Error> {
    let waiting = async {
        sleep(time).await;
        Ok(())
    };
    while_running(process, "the time to pass", time * 2, waiting).await
}

/// Without our own.
fn calls_by_operation(calls: &Calls) -> BTreeMap<&'static str, u64> {
    let mut by_operation = BTreeMap::new();
    for count in calls.counts.iter().filter(|count| count.caller != console::CALLER) {
        *by_operation.entry(count.operation.as_str()).or_default() += count.calls;
    }
    by_operation
}

/// `patch nodes/status`, whatever the answer. A watch is counted when it ends, as each does after
/// some minutes, and another begins.
fn requests_by_kind(requests: &Counts) -> BTreeMap<String, u64> {
    let mut by_kind = BTreeMap::new();
    for (request, count) in requests.iter() {
        let slash = if request.subresource.is_empty() { "" } else { "/" };
        let kind = format!("{} {}{slash}{}", request.verb, request.resource, request.subresource);
        *by_kind.entry(kind).or_default() += count;
    }
    by_kind
}
