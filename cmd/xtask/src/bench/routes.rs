//! `cargo xtask bench routes`: routes to N nodes with ranges, then to one more at a time, then the
//! process starts anew, then nodes come and go.
//!
//! The nodes have their ranges and are not initialised: a route comes with that, as in a cluster.

mod figures;

use std::collections::VecDeque;
use std::time::Duration;

use ccm_envtest::kubelet::Kubelet;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use simcloud::api::Instance;
use tokio::time::{Instant, interval, sleep, timeout};

use self::figures::{Figures, print, table};
use super::census::Census;
use super::process::{load, memory_mib};
use super::report::{Output, grouped, median, say};
use super::rig::{Account, Binaries, Rig, patience, while_running};
use super::watched::Reachable;
use crate::Error;
use crate::program::Program;

/// Measure the cost of routes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Nodes that are there first; several numbers, with commas between them, for a curve.
    #[arg(long, value_delimiter = ',', default_value = "1000",
          value_parser = clap::value_parser!(u32).range(1..=20_000))]
    count: Vec<u32>,
    /// Nodes that join one by one.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    more: u32,
    /// Size of a node as the API server serves it, in kB.
    #[arg(long, default_value_t = 5)]
    node_kb: usize,
    /// Time that every call to the cloud takes, in milliseconds.
    #[arg(long, default_value_t = 20)]
    latency_ms: u64,
    /// Seconds for which nodes come and go, one of each a second.
    #[arg(long, default_value_t = 60)]
    churn: u32,
    #[command(flatten)]
    output: Output,
}

/// By what the cloud's log knows the cloud-controller-manager.
const CALLER: &str = "cloud-controller-manager";

/// What a phase left behind is done by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Without a call to the cloud for so long, a restarted process has looked at everything.
const SILENCE: Duration = Duration::from_secs(5);

/// How long anything may take that nothing is known to hold up.
const SOON: Duration = Duration::from_mins(1);

pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    let mut curve = Vec::new();
    for &count in &args.count {
        let figures = measure(&args, count, binaries).await?;
        print(&figures)?;
        curve.push(figures);
        // After each: should the largest fail, the others are not lost.
        args.output.write(&curve, &table(&curve))?;
    }
    if curve.len() > 1 {
        say(format_args!("\n{}", table(&curve)))?;
    }
    Ok(())
}

/// Our process at work.
struct Ours<'a> {
    rig: &'a Rig,
    process: Program,
    census: Census<'a>,
    node_bytes: usize,
}

async fn measure(args: &Args, count: u32, binaries: &Binaries) -> Result<Figures, Error> {
    // Quotas are the governor's matter; here nobody is to wait for one.
    let flags = [format!("--latency={}ms", args.latency_ms), "--rate=0".to_owned()];
    let rig = Rig::start_with(binaries, &flags).await?;
    let mut figures = Figures {
        nodes: count,
        latency_ms: args.latency_ms,
        load_before: load()?,
        ..Figures::default()
    };
    let node_bytes = args.node_kb * 1000;
    let there = usize::try_from(count)?;
    let machines = rig.boot(0..there).await?;
    rig.join(&machines, |machine| kubelet(machine, node_bytes)).await?;
    let mut census = Census::new(&rig, Account::First, CALLER);
    census.begin().await?;
    let start = Instant::now();
    let process = start_ours(binaries, &rig)?;
    let mut ours = Ours { rig: &rig, process, census, node_bytes };

    ours.reach_all(there, start, &mut figures).await?;
    ours.reach_more(there, args.more, &mut figures).await?;
    ours.restart(binaries, &mut figures).await?;
    let first = there + usize::try_from(args.more)?;
    ours.churn(machines, first, args.churn, &mut figures).await?;

    ours.process.stop().await?;
    rig.stop().await?;
    Ok(figures)
}

/// A node as its kubelet registers it, once somebody has given it the range of its pods.
fn kubelet(machine: &Instance, node_bytes: usize) -> Kubelet {
    let number: u32 = machine.name.trim_start_matches("node-").parse().unwrap_or_default();
    let range = format!("10.{}.{}.0/24", number >> 8, number & 255);
    Kubelet::new(&machine.name).pod_cidrs(&[&range]).size(node_bytes)
}

fn start_ours(binaries: &Binaries, rig: &Rig) -> Result<Program, Error> {
    let mut args = rig.ccm_args(Account::First);
    args.retain(|arg| !arg.starts_with("--configure-cloud-routes"));
    args.push("--cluster-cidr=10.0.0.0/8".to_owned());
    Program::start(CALLER, &binaries.ccm, &args, rig.log())
}

impl Ours<'_> {
    fn cpu(&self) -> Result<f64, Error> {
        Ok(self.rig.cpu(Some(self.process.pid()))?.process)
    }

    /// The process starts, and makes routes to all nodes.
    async fn reach_all(
        &mut self,
        count: usize,
        start: Instant,
        figures: &mut Figures,
    ) -> Result<(), Error> {
        let mut reachable = Reachable::watch(self.rig.plane.admin_client());
        let all = reachable.wait(count);
        while_running(&mut self.process, "all routes", patience(count)?, all).await?;
        figures.all_s = start.elapsed().as_secs_f64();
        sleep(SETTLE).await;
        figures.all_cpu_s = self.cpu()?;
        figures.all(self.census.end().await?);
        (figures.rss_mib, figures.peak_rss_mib) = memory_mib(self.process.pid())?;
        let nodes = grouped(figures.nodes);
        say(format_args!("  {nodes} nodes reachable, {:.1} s", figures.all_s))
    }

    /// Nodes join one by one.
    async fn reach_more(
        &mut self,
        there: usize,
        more: u32,
        figures: &mut Figures,
    ) -> Result<(), Error> {
        let client = self.rig.plane.admin_client();
        let machines = self.rig.boot(there..there + usize::try_from(more)?).await?;
        let mut reachable = Reachable::watch(client.clone());
        timeout(SOON, reachable.wait(there)).await??;
        self.census.begin().await?;
        let cpu = self.cpu()?;
        let mut took = Vec::new();
        for (number, machine) in machines.iter().enumerate() {
            let begun = Instant::now();
            kubelet(machine, self.node_bytes).register(&client).await?;
            let wait = reachable.wait(there + number + 1);
            while_running(&mut self.process, "one more route", SOON, wait).await?;
            took.push(begun.elapsed().as_secs_f64());
        }
        sleep(SETTLE).await;
        figures.one_cpu_ms = (self.cpu()? - cpu) * 1000.0 / f64::from(more);
        took.sort_by(f64::total_cmp);
        figures.one_s = median(took.iter().copied());
        figures.one_p90_s = took[(took.len() * 9).div_ceil(10) - 1];
        figures.one(self.census.end().await?, more);
        say(format_args!("  one more: {:.3} s, {:.1} ms of CPU", figures.one_s, figures.one_cpu_ms))
    }

    /// The process starts anew, with nothing changed.
    async fn restart(&mut self, binaries: &Binaries, figures: &mut Figures) -> Result<(), Error> {
        self.process.stop().await?;
        self.census.begin().await?;
        self.process = start_ours(binaries, self.rig)?;
        let (console, begun) = (&self.rig.console, Instant::now());
        let looked = async {
            let mut last = (0, Instant::now());
            loop {
                let now = console.calls().await?.by(CALLER);
                if now != last.0 {
                    last = (now, Instant::now());
                }
                if now > 0 && last.1.elapsed() >= SILENCE {
                    return Ok((last.1 - begun).as_secs_f64());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let within = SOON + Duration::from_millis(100) * figures.nodes;
        figures.restart_s =
            while_running(&mut self.process, "a look at everything", within, looked).await?;
        figures.restart_cpu_s = self.cpu()?;
        figures.restarted(self.census.end().await?);
        say(format_args!("  looked at again, {:.1} s", figures.restart_s))
    }

    /// Each second a node comes and another goes.
    async fn churn(
        &mut self,
        machines: Vec<Instance>,
        first: usize,
        seconds: u32,
        figures: &mut Figures,
    ) -> Result<(), Error> {
        let client = self.rig.plane.admin_client();
        let nodes = Api::<Node>::all(client.clone());
        let new = self.rig.boot(first..first + usize::try_from(seconds)?).await?;
        let mut old = VecDeque::from(machines);
        self.census.begin().await?;
        let cpu = self.cpu()?;
        let mut second = interval(Duration::from_secs(1));
        for machine in &new {
            second.tick().await;
            kubelet(machine, self.node_bytes).register(&client).await?;
            if let Some(gone) = old.pop_front() {
                nodes.delete(&gone.name, &DeleteParams::default()).await?;
                self.rig.console.terminate_instance(&gone.id).await?;
            }
        }
        sleep(2 * SETTLE).await;
        figures.churn_cpu_ms = (self.cpu()? - cpu) * 1000.0 / f64::from(seconds);
        figures.churned(self.census.end().await?, seconds);
        Ok(())
    }
}
