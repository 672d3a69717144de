//! `cargo xtask bench services`: N Services get load balancers, nodes join them, then nothing
//! happens, then the process starts anew.
//!
//! The floor runs afterwards on a fresh control plane and a fresh cloud: it sends as many requests of
//! each kind as ours sent until all Services had their addresses, and decides nothing. Both are
//! measured from the first Service on, when they have listed and watch. Beside the Go library there is
//! no floor.

mod figures;
mod world;

use std::time::Duration;

use ccm_envtest::kubelet::Kubelet;
use simcloud::api::Operation;
use tokio::time::{Instant, sleep, timeout};

use self::figures::{Figures, Floor, print, side, table};
use self::world::{create_services, initialised_kubelet, targets};
use super::against::{Against, Comparison, Who};
use super::census::Census;
use super::process::{load, memory_mib};
use super::report::{Output, grouped, say};
use super::rig::{Account, Binaries, Rig, patience, while_running};
use super::watched::{Holder, Initialised, addressed};
use crate::Error;
use crate::program::Program;

/// Give N Services load balancers, and compare with the floor.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Services; several numbers, with commas between them, for a curve. No more than there are node
    /// ports.
    #[arg(long, value_delimiter = ',', default_value = "500",
          value_parser = clap::value_parser!(u32).range(1..=2700))]
    count: Vec<u32>,
    /// Nodes that are there before the Services; as many join while the Services are there.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    nodes: u32,
    /// Size of a node as the API server serves it, in kB.
    #[arg(long, default_value_t = 5)]
    node_kb: usize,
    /// Time that every call to the cloud takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Seconds of nothing.
    #[arg(long, default_value_t = 120)]
    quiet: u64,
    /// Ours alone.
    #[arg(long)]
    no_floor: bool,
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    output: Output,
}

/// By what it knows the floor.
const FLOOR: &str = "bench-floor";

/// Services that the floor sees to at once. Ours sees to as many at once as its defaults have it.
const AT_ONCE: usize = 16;

/// What a phase left behind is done by then, events included.
const SETTLE: Duration = Duration::from_secs(2);

/// Without a call to the cloud for so long, a restarted process has looked at everything.
const SILENCE: Duration = Duration::from_secs(3);

/// How long anything may take that nothing is known to hold up.
const SOON: Duration = Duration::from_mins(1);

pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    if args.against.against.is_some() {
        let binaries = binaries.with_peer().await?;
        return compare(&args, &binaries).await;
    }
    let mut curve = Vec::new();
    for &count in &args.count {
        let mut ours = measure(&args, count, binaries, Who::Ours).await?;
        if !args.no_floor {
            let floor = floor(&args, count, binaries, &ours).await?;
            say(format_args!("floor {count} {floor:?}"))?;
            ours.compare(floor);
        }
        print(&ours)?;
        curve.push(ours);
        // After each: should the largest fail, the others are not lost.
        args.output.write(&curve, &table(&curve))?;
    }
    if curve.len() > 1 {
        say(format_args!("\n{}", table(&curve)))?;
    }
    Ok(())
}

/// Ours and the Go library, one after the other.
async fn compare(args: &Args, binaries: &Binaries) -> Result<(), Error> {
    for &count in &args.count {
        let measured = async |who: Who| {
            say(who.name())?;
            let figures = measure(args, count, binaries, who).await?;
            print(&figures)?;
            Ok::<_, Error>(side(&figures))
        };
        let (ours, go, tuned) =
            (measured(Who::Ours).await?, measured(Who::Go).await?, measured(Who::GoTuned).await?);
        let nodes = grouped(args.nodes);
        let title = format!("{} Services, {nodes} nodes and {nodes} more", grouped(count));
        Comparison::new(title, ours, &go, &tuned).show(&args.against, &args.output)?;
    }
    Ok(())
}

/// A process at work.
struct Subject<'a> {
    who: Who,
    rig: &'a Rig,
    process: Program,
    census: Census<'a>,
}

async fn measure(args: &Args, count: u32, binaries: &Binaries, who: Who) -> Result<Figures, Error> {
    let rig = rig(args, binaries).await?;
    let mut figures = Figures {
        services: count,
        nodes: args.nodes,
        latency_ms: args.latency_ms,
        load_before: load()?,
        ..Figures::default()
    };
    let census = Census::new(&rig, who.account(), who.caller());
    let process = start(binaries, &rig, who).await?;
    let mut ours = Subject { who, rig: &rig, process, census };
    let (nodes, node_bytes) = (usize::try_from(args.nodes)?, args.node_kb * 1000);

    figures.nodes_alone_s = ours.join(0..nodes, node_bytes).await?;
    say(format_args!("  {} nodes without Services, {:.1} s", nodes, figures.nodes_alone_s))?;
    sleep(SETTLE).await;
    ours.serve(count, &mut figures).await?;
    ours.join_services(nodes, node_bytes, &mut figures).await?;
    ours.rest(Duration::from_secs(args.quiet), &mut figures).await?;
    ours.restart(binaries, count, &mut figures).await?;

    ours.stop().await?;
    rig.stop().await?;
    Ok(figures)
}

async fn rig(args: &Args, binaries: &Binaries) -> Result<Rig, Error> {
    let latency = format!("--latency={}ms", args.latency_ms);
    // Quotas are the governor's matter; here nobody is to wait for one.
    Rig::start_with(binaries, &[latency, "--rate=0".to_owned()]).await
}

/// Starts the process, and waits until it leads.
async fn start(binaries: &Binaries, rig: &Rig, who: Who) -> Result<Program, Error> {
    let holder = Holder::watch(rig.plane.admin_client()).await?;
    let program = who.program(binaries)?;
    let mut process = Program::start(who.caller(), program, &who.args(rig), rig.log())?;
    let leads = async { holder.changes().await.map(drop) };
    while_running(&mut process, "the lease", SOON, leads).await?;
    Ok(process)
}

impl Subject<'_> {
    /// Longer for those who may take longer.
    fn patience(&self, usual: Duration) -> Duration {
        match self.who {
            Who::Ours => usual,
            Who::Go | Who::GoTuned => 10 * usual,
        }
    }

    async fn stop(&mut self) -> Result<(), Error> {
        let stopped = self.process.stop().await;
        match self.who {
            Who::Ours => stopped,
            // It knows no better end than the signal, and leaves its Lease to run out.
            Who::Go | Who::GoTuned => Ok(()),
        }
    }

    /// So many nodes join. Seconds until the last is initialised.
    async fn join(
        &mut self,
        numbers: std::ops::Range<usize>,
        node_bytes: usize,
    ) -> Result<f64, Error> {
        let rig = self.rig;
        let count = numbers.len();
        let machines = rig.boot(numbers).await?;
        let initialised = Initialised::beyond(rig.plane.admin_client()).await?;
        let start = Instant::now();
        let work = async {
            let joining =
                rig.join(&machines, |machine| Kubelet::new(&machine.name).size(node_bytes));
            let ((), (_, last_s)) = tokio::try_join!(joining, initialised.wait(count, start))?;
            Ok(last_s)
        };
        let within = self.patience(patience(count)?);
        while_running(&mut self.process, "all nodes", within, work).await
    }

    /// Services are made, and get their addresses.
    async fn serve(&mut self, count: u32, figures: &mut Figures) -> Result<(), Error> {
        let rig = self.rig;
        let client = rig.plane.admin_client();
        let pid = self.process.pid();
        self.census.begin().await?;
        let cpu = rig.cpu(Some(pid))?;
        let start = Instant::now();
        let work = async {
            let made = create_services(&client, count);
            let waiting = addressed(client.clone(), usize::try_from(count)?, start);
            let (made_s, (first_s, last_s)) = tokio::try_join!(made, waiting)?;
            Ok((made_s, first_s, last_s))
        };
        let within = self.patience(SOON + Duration::from_millis(200) * count);
        let waited = while_running(&mut self.process, "all addresses", within, work).await;
        if let Err(err) = &waited {
            say(format_args!("  {err}\n{}", self.census.so_far().await?))?;
        }
        let (made_s, first_s, last_s) = waited?;
        figures.made_s = made_s;
        figures.first_s = first_s;
        figures.last_s = last_s;
        sleep(SETTLE).await;
        let used = rig.cpu(Some(pid))? - cpu;
        figures.cpu_s = used.process;
        figures.apiserver_cpu_s = used.apiserver;
        let counted = self.census.end().await?;
        figures.served(counted);
        say(format_args!("  {} Services have addresses, {last_s:.1} s", grouped(count)))
    }

    /// Nodes join while there are Services, and become their targets.
    async fn join_services(
        &mut self,
        nodes: usize,
        node_bytes: usize,
        figures: &mut Figures,
    ) -> Result<(), Error> {
        let pid = self.process.pid();
        self.census.begin().await?;
        let cpu = self.rig.cpu(Some(pid))?;
        let start = Instant::now();
        figures.nodes_last_s = self.join(nodes..2 * nodes, node_bytes).await?;
        let (console, all) = (&self.rig.console, 2 * nodes as u64);
        let waiting = async {
            targets(console, all).await?;
            Ok(start.elapsed().as_secs_f64())
        };
        let within = self.patience(5 * SOON);
        let waited = while_running(&mut self.process, "all targets", within, waiting);
        figures.targets_last_s = waited.await?;
        sleep(SETTLE).await;
        figures.join_cpu_s = (self.rig.cpu(Some(pid))? - cpu).process;
        let counted = self.census.end().await?;
        figures.joined(counted);
        (figures.rss_mib, figures.peak_rss_mib) = memory_mib(pid)?;
        say(format_args!(
            "  {nodes} nodes more, {:.1} s, targets of all after {:.1} s",
            figures.nodes_last_s, figures.targets_last_s
        ))
    }

    /// Nothing happens.
    async fn rest(&mut self, time: Duration, figures: &mut Figures) -> Result<(), Error> {
        let pid = self.process.pid();
        self.census.begin().await?;
        let cpu = self.rig.cpu(Some(pid))?;
        if let Ok(ended) = timeout(time, self.process.ended()).await {
            return Err(ended);
        }
        figures.cpu_after_s = (self.rig.cpu(Some(pid))? - cpu).process;
        figures.rested(self.census.end().await?);
        (figures.rss_mib, figures.peak_rss_mib) = memory_mib(pid)?;
        say(format_args!("  {} s of nothing: {:.2} s of CPU", time.as_secs(), figures.cpu_after_s))
    }

    /// The process starts anew, with nothing changed.
    async fn restart(
        &mut self,
        binaries: &Binaries,
        count: u32,
        figures: &mut Figures,
    ) -> Result<(), Error> {
        self.stop().await?;
        self.census.begin().await?;
        self.process = start(binaries, self.rig, self.who).await?;
        let (console, caller, begun) = (&self.rig.console, self.who.caller(), Instant::now());
        let looked = async {
            let mut last = (0, Instant::now());
            loop {
                let calls = console.calls().await?;
                let now = calls.by(caller);
                if now != last.0 {
                    last = (now, Instant::now());
                }
                let seen = calls.of(Operation::ListLoadBalancers) >= u64::from(count);
                if seen && last.1.elapsed() >= SILENCE {
                    return Ok((last.1 - begun).as_secs_f64());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let within = self.patience(SOON + Duration::from_millis(100) * count);
        figures.restart_s =
            while_running(&mut self.process, "a look at everything", within, looked).await?;
        figures.restart_cpu_s = self.rig.cpu(Some(self.process.pid()))?.process;
        figures.restarted(self.census.end().await?);
        Ok(())
    }
}

/// The same requests, sent by a client that decides nothing.
async fn floor(
    args: &Args,
    count: u32,
    binaries: &Binaries,
    ours: &Figures,
) -> Result<Floor, Error> {
    let rig = rig(args, binaries).await?;
    let machines = rig.boot(0..usize::try_from(args.nodes)?).await?;
    let node_bytes = args.node_kb * 1000;
    rig.join(&machines, |machine| initialised_kubelet(machine).size(node_bytes)).await?;
    let mut census = Census::new(&rig, Account::First, FLOOR);
    census.begin().await?;
    let mut floor_args = rig.floor_args("services", AT_ONCE);
    floor_args.extend(rig.floor_cloud_args());
    floor_args.extend(ours.floor_flags());
    let mut process = Program::start(FLOOR, &binaries.floor, &floor_args, rig.log())?;
    let pid = process.pid();
    // It lists, and then waits for Services.
    sleep(2 * SETTLE).await;
    let cpu = rig.cpu(Some(pid))?;
    let start = Instant::now();
    let client = rig.plane.admin_client();
    let work = async {
        let waiting = addressed(client.clone(), usize::try_from(count)?, start);
        let (_, (_, last_s)) = tokio::try_join!(create_services(&client, count), waiting)?;
        Ok(last_s)
    };
    let within = SOON + Duration::from_millis(200) * count;
    let last_s = while_running(&mut process, "all addresses", within, work).await?;
    sleep(SETTLE).await;
    let used = rig.cpu(Some(pid))? - cpu;
    let counted = census.end().await?;
    // It knows no better end than the signal.
    let _ = process.stop().await;
    rig.stop().await?;
    Ok(Floor {
        last_s,
        cpu_s: used.process,
        apiserver_cpu_s: used.apiserver,
        requests: counted.writes() + counted.calls(),
    })
}
