//! `cargo xtask bench nodes`: how long, with what effort, until N new nodes are initialised.
//!
//! Ours and the floor run one after the other, each on a fresh control plane, in pairs whose order
//! alternates; the medians are printed.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use ccm_envtest::audit::{Counts, Event};
use ccm_envtest::kubelet::{Kubelet, register_many};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde::Serialize;
use simcloud::api::CreateInstance;
use tokio::time::{Instant, sleep, timeout};

use super::process::{cpu_seconds, load, memory_mib, reset_peak};
use super::rig::{Binaries, Rig};
use super::{median, say};
use crate::Error;
use crate::program::Program;

/// Initialise N nodes, and compare with the floor.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Nodes.
    #[arg(long, default_value_t = 5000)]
    count: usize,
    /// Size of a node as the API server serves it, in kB.
    #[arg(long, default_value_t = 5)]
    node_kb: usize,
    /// Pairs of runs: ours and the floor.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Writes under way at once.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One run of one program.
#[derive(Clone, Debug, Default)]
struct Run {
    first_s: f64,
    last_s: f64,
    writes_per_node: f64,
    reads_per_node: f64,
    throttled: f64,
    cloud_calls: f64,
    cpu_s: f64,
    rss_mib: f64,
    peak_rss_mib: f64,
    relist_peak_rss_mib: f64,
    apiserver_cpu_s: f64,
    load_before: f64,
}

/// The figures, medians over the pairs.
#[derive(Debug, Serialize)]
struct Figures {
    nodes: usize,
    node_kb: usize,
    pairs: usize,
    concurrency: usize,
    first_s: f64,
    last_s: f64,
    writes_per_node: f64,
    reads_per_node: f64,
    throttled: f64,
    cloud_calls: f64,
    cpu_s: f64,
    rss_mib: f64,
    peak_rss_mib: f64,
    relist_peak_rss_mib: f64,
    apiserver_cpu_s: f64,
    floor_s: f64,
    floor_cpu_s: f64,
    floor_apiserver_cpu_s: f64,
    wall_to_floor: f64,
    cpu_to_floor: f64,
    load_before: f64,
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    let binaries = Binaries::build().await?;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for pair in 0..args.pairs.max(1) {
        let order = if pair % 2 == 0 { [false, true] } else { [true, false] };
        for is_ours in order {
            let run = measure(&args, &binaries, is_ours).await?;
            say(&format!("{} {run:?}", if is_ours { "ours " } else { "floor" }))?;
            if is_ours { ours.push(run) } else { floors.push(run) }
        }
    }
    let figures = figures(&args, &ours, &floors);
    print(&figures)?;
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(())
}

async fn measure(args: &Args, binaries: &Binaries, is_ours: bool) -> Result<Run, Error> {
    let mut rig = Rig::start(binaries).await?;
    let names: Vec<String> = (0..args.count).map(|n| format!("node-{n:05}")).collect();
    let instances = names.iter().map(|name| CreateInstance::named(name.as_str())).collect();
    rig.console.create_instances(instances).await?;
    let kubelets = names.iter().map(|name| Kubelet::new(name.as_str()).size(args.node_kb * 1000));
    register_many(&rig.plane.admin_client(), kubelets, 16).await?;
    rig.console.clear_calls().await?;

    let apiserver = rig.plane.apiserver_pid().ok_or("no API server")?;
    let initialised = Initialised::watch(rig.plane.admin_client()).await?;
    // What registration left behind has settled by then.
    sleep(Duration::from_secs(3)).await;
    let load_before = load()?;
    let (name, program, program_args) = if is_ours {
        ("cloud-controller-manager", &binaries.ccm, rig.ccm_args(args.concurrency))
    } else {
        ("bench-floor", &binaries.floor, rig.floor_args(args.concurrency))
    };
    let apiserver_cpu = cpu_seconds(apiserver)?;
    let start = Instant::now();
    let mut process = Program::start(name, program, &program_args, rig.log())?;
    let bound = Duration::from_mins(1) + Duration::from_millis(50) * u32::try_from(args.count)?;
    let times = timeout(bound, initialised.wait(args.count, start)).await;
    let (first_s, last_s) = match times {
        Ok(times) => times?,
        Err(_) => return Err(format!("not all nodes in time\n{}", process.tail()).into()),
    };
    // Whatever is still to be done for them, the last events included.
    sleep(Duration::from_secs(2)).await;
    if let Ok(ended) = timeout(Duration::ZERO, process.ended()).await {
        return Err(ended);
    }
    let pid = process.pid();
    let (rss_mib, peak_rss_mib) = memory_mib(pid)?;
    let mut run = Run {
        first_s,
        last_s,
        cpu_s: cpu_seconds(pid)?,
        rss_mib,
        peak_rss_mib,
        apiserver_cpu_s: cpu_seconds(apiserver)? - apiserver_cpu,
        load_before,
        ..Run::default()
    };
    count(&rig, args.count, &mut run).await?;
    if is_ours {
        reset_peak(pid)?;
        relist(&mut rig).await?;
        run.relist_peak_rss_mib = memory_mib(pid)?.1;
    }
    // The floor knows no better end than the signal.
    let stopped = process.stop().await;
    if is_ours {
        stopped?;
    }
    rig.stop().await?;
    Ok(run)
}

/// Requests, from the API server's audit log, and calls, from the cloud's own.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn count(rig: &Rig, nodes: usize, run: &mut Run) -> Result<(), Error> {
    let events = rig.plane.audit_events().await?;
    let counts = Counts::of(&events, |event| event.user == rig.user);
    let about_nodes = |verbs: &'static [&str]| {
        counts.sum(|request| request.resource == "nodes" && verbs.contains(&request.verb.as_str()))
            as f64
    };
    run.writes_per_node = about_nodes(&["create", "update", "patch", "delete"]) / nodes as f64;
    // The opening list is one list of many pages; whatever was listed again counts.
    let is_list =
        |event: &Event| event.user == rig.user && event.resource == "nodes" && event.verb == "list";
    let pages = Counts::of(&events, is_list).total() as f64;
    let lists = Counts::of(&events, |event| is_list(event) && !event.uri.contains("continue="));
    let beyond_opening = pages - pages / (lists.total() as f64).max(1.0);
    run.reads_per_node = (about_nodes(&["get"]) + beyond_opening) / nodes as f64;
    run.throttled = counts.sum(|request| request.code == 429) as f64;
    let calls = rig.console.calls().await?;
    run.cloud_calls = calls.total as f64;
    Ok(())
}

/// Makes every watch start over: a new API server's cache begins after what the client has seen.
async fn relist(rig: &mut Rig) -> Result<(), Error> {
    let lists = async |rig: &Rig| -> Result<u64, Error> {
        let events = rig.plane.audit_events().await?;
        Ok(Counts::of(&events, |event| event.user == rig.user)
            .sum(|request| request.resource == "nodes" && request.verb == "list"))
    };
    let opening = lists(rig).await?;
    rig.plane.stop_apiserver().await?;
    rig.plane.start_apiserver().await?;
    let deadline = Instant::now() + Duration::from_secs(90);
    while lists(rig).await? < 2 * opening {
        if Instant::now() > deadline {
            return Err("the relist did not come".into());
        }
        sleep(Duration::from_millis(500)).await;
    }
    // The last page is parsed and compared.
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// Sees nodes as they are initialised: the patch that takes the taint away sets the zone label, so
/// a watch on that label costs the API server little.
struct Initialised(Client);

impl Initialised {
    async fn watch(client: Client) -> Result<Self, Error> {
        let config = kube::api::ListParams::default().labels(ZONE);
        let there = Api::<Node>::all(client.clone()).list_metadata(&config).await?;
        if !there.items.is_empty() {
            return Err("there are initialised nodes before the start".into());
        }
        Ok(Self(client))
    }

    /// Seconds until the first and the last.
    async fn wait(self, count: usize, start: Instant) -> Result<(f64, f64), Error> {
        let config = watcher::Config::default().labels(ZONE);
        let mut events = pin!(watcher(Api::<PartialObjectMeta<Node>>::all(self.0), config));
        let mut seen = std::collections::HashSet::new();
        let mut first = None;
        while seen.len() < count {
            let event = events.next().await.ok_or("the watch ended")??;
            if let watcher::Event::Apply(node) | watcher::Event::InitApply(node) = event {
                first.get_or_insert_with(|| start.elapsed());
                seen.insert(node.metadata.name.unwrap_or_default());
            }
        }
        let first = first.unwrap_or_default();
        Ok((first.as_secs_f64(), start.elapsed().as_secs_f64()))
    }
}

const ZONE: &str = "topology.kubernetes.io/zone";

fn figures(args: &Args, ours: &[Run], bare_runs: &[Run]) -> Figures {
    let of = |figure: fn(&Run) -> f64| median(ours.iter().map(figure));
    let bare = |figure: fn(&Run) -> f64| median(bare_runs.iter().map(figure));
    let (floor_s, floor_cpu_s) = (bare(|run| run.last_s), bare(|run| run.cpu_s));
    Figures {
        nodes: args.count,
        node_kb: args.node_kb,
        pairs: args.pairs,
        concurrency: args.concurrency,
        first_s: of(|run| run.first_s),
        last_s: of(|run| run.last_s),
        writes_per_node: of(|run| run.writes_per_node),
        reads_per_node: of(|run| run.reads_per_node),
        throttled: of(|run| run.throttled),
        cloud_calls: of(|run| run.cloud_calls),
        cpu_s: of(|run| run.cpu_s),
        rss_mib: of(|run| run.rss_mib),
        peak_rss_mib: of(|run| run.peak_rss_mib),
        relist_peak_rss_mib: of(|run| run.relist_peak_rss_mib),
        apiserver_cpu_s: of(|run| run.apiserver_cpu_s),
        floor_s,
        floor_cpu_s,
        floor_apiserver_cpu_s: bare(|run| run.apiserver_cpu_s),
        wall_to_floor: of(|run| run.last_s) / floor_s,
        cpu_to_floor: of(|run| run.cpu_s) / floor_cpu_s,
        load_before: of(|run| run.load_before),
    }
}

fn print(figures: &Figures) -> Result<(), Error> {
    say(&format!(
        "\n{} nodes of {} kB, {} writers, median of {} pairs, load before {:.2}",
        figures.nodes, figures.node_kb, figures.concurrency, figures.pairs, figures.load_before
    ))?;
    let rows = [
        ("first node initialised", figures.first_s, "s"),
        ("last node initialised", figures.last_s, "s"),
        ("  the floor", figures.floor_s, "s"),
        ("  ours to the floor", figures.wall_to_floor, ""),
        ("writes per node", figures.writes_per_node, ""),
        ("reads per node", figures.reads_per_node, ""),
        ("answers 429", figures.throttled, ""),
        ("calls to the cloud", figures.cloud_calls, ""),
        ("CPU", figures.cpu_s, "s"),
        ("  the floor", figures.floor_cpu_s, "s"),
        ("  ours to the floor", figures.cpu_to_floor, ""),
        ("memory at the end", figures.rss_mib, "MiB"),
        ("memory at its peak", figures.peak_rss_mib, "MiB"),
        ("memory at its peak, relisting", figures.relist_peak_rss_mib, "MiB"),
        ("CPU of the API server", figures.apiserver_cpu_s, "s"),
        ("  the floor", figures.floor_apiserver_cpu_s, "s"),
    ];
    for (what, value, unit) in rows {
        say(&format!("  {what:<32} {value:>10.3} {unit}"))?;
    }
    Ok(())
}
