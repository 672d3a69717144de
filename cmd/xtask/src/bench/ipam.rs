//! `cargo xtask bench ipam`: how long, with what effort, until N nodes have the ranges of their pods;
//! and what one more costs then.
//!
//! The nodes are of no concern to the other controllers, and nothing is asked of the cloud. Each size
//! runs on a fresh control plane. Then nodes join one by one: whether the cost of one grows with
//! those already there is what the curve is for.

use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use ccm_envtest::audit::Counts;
use ccm_envtest::kubelet::{Kubelet, register_many};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::core::{NotUsed, Object};
use kube::discovery::ApiResource;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::process::{load, memory_mib};
use super::report::{Output, Table, grouped, median, say};
use super::rig::{Account, Binaries, Rig, patience, while_running};
use crate::Error;
use crate::out::took;
use crate::program::Program;

/// Give N nodes their ranges, then one more and one more.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Nodes; several numbers, with commas between them, for a curve.
    #[arg(long, value_delimiter = ',', default_value = "500,1000,2000,5000",
          value_parser = clap::value_parser!(u32).range(1..))]
    count: Vec<u32>,
    /// Nodes that join one by one afterwards.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    more: u32,
    /// Size of a node as the API server serves it, in kB.
    #[arg(long, default_value_t = 5)]
    node_kb: usize,
    #[command(flatten)]
    output: Output,
}

/// The figures for one number of nodes.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    nodes: u32,
    more: u32,
    /// From the start of the process to the last node's ranges.
    last_s: f64,
    nodes_per_s: f64,
    cpu_s: f64,
    cpu_apiserver_s: f64,
    /// From a node's appearance in a watch to that of its ranges, one node after the other.
    one_more_median_ms: f64,
    one_more_p90_ms: f64,
    /// Of the process, for each of those.
    one_more_cpu_ms: f64,
    writes_per_node: f64,
    reads_per_node: f64,
    peak_rss_mib: f64,
    load_before: f64,
}

/// Two families with room for all; nothing is asked of routes.
const FLAGS: [&str; 3] = [
    "--allocate-node-cidrs",
    "--cluster-cidr=10.0.0.0/8,fd00::/32",
    "--configure-cloud-routes=false",
];

/// Registrations under way at once; more gain nothing, see [`register_many`].
const REGISTRATIONS: usize = 16;

pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    let mut curve = Vec::new();
    for &count in &args.count {
        let figures = measure(&args, count, binaries).await?;
        say(format_args!("{figures:?}"))?;
        curve.push(figures);
        // After each: should the largest fail, the others are not lost.
        args.output.write(&curve, &table(&curve))?;
    }
    say(format_args!("\n{}", table(&curve)))
}

async fn measure(args: &Args, count: u32, binaries: &Binaries) -> Result<Figures, Error> {
    let nodes = usize::try_from(count)?;
    let rig = Rig::start(binaries).await?;
    let client = rig.plane.admin_client();
    let begun = Instant::now();
    let kubelets = (0..nodes).map(|number| stranger(&format!("node-{number:05}"), args.node_kb));
    register_many(&client, kubelets, REGISTRATIONS).await?;
    say(format_args!("  {} registered, {}", grouped(count), took(begun.elapsed())))?;
    // What registration left behind has settled by then.
    sleep(Duration::from_secs(3)).await;
    let load_before = load()?;
    let mut seen = watch(client.clone());
    let mut ccm_args = rig.ccm_args(Account::First);
    ccm_args.extend(FLAGS.map(str::to_owned));
    let before = rig.cpu(None)?;
    let start = Instant::now();
    let mut process =
        Program::start("cloud-controller-manager", &binaries.ccm, &ccm_args, rig.log())?;
    let pid = process.pid();
    let all = wait(&mut seen, nodes);
    while_running(&mut process, "all ranges", patience(nodes)?, all).await?;
    let last_s = start.elapsed().as_secs_f64();
    // The answers to the last writes, and what the watch makes of them.
    sleep(Duration::from_secs(2)).await;
    let cpu = rig.cpu(Some(pid))? - before;

    let before = rig.cpu(Some(pid))?;
    let mut delays = Vec::new();
    for number in 0..args.more {
        let name = format!("more-{number:05}");
        register_many(&client, [stranger(&name, args.node_kb)], 1).await?;
        let one = wait_for(&mut seen, &name);
        let delay = while_running(&mut process, &name, Duration::from_mins(1), one).await?;
        delays.push(1000.0 * delay.as_secs_f64());
    }
    let of_more = rig.cpu(Some(pid))? - before;
    let (_, peak_rss_mib) = memory_mib(pid)?;
    let (writes, reads) = requests(&rig).await?;
    process.stop().await?;
    rig.stop().await?;
    let all = f64::from(count + args.more);
    Ok(Figures {
        nodes: count,
        more: args.more,
        last_s,
        nodes_per_s: f64::from(count) / last_s,
        cpu_s: cpu.process,
        cpu_apiserver_s: cpu.apiserver,
        one_more_median_ms: median(delays.iter().copied()),
        one_more_p90_ms: ninth_of_ten(delays),
        one_more_cpu_ms: 1000.0 * of_more.process / f64::from(args.more),
        writes_per_node: writes / all,
        reads_per_node: reads / all,
        peak_rss_mib,
        load_before,
    })
}

/// A node that is initialised, and whose machine is no business of ours.
fn stranger(name: &str, kb: usize) -> Kubelet {
    let kubelet = Kubelet::new(name).provider_id(format!("elsewhere://{name}")).initialized();
    // One that is not ready is registered in one write.
    kubelet.ready(false).size(1000 * kb)
}

/// Writes to Nodes, and requests for single ones.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn requests(rig: &Rig) -> Result<(f64, f64), Error> {
    let user = rig.user(Account::First);
    let events = rig.plane.audit_events().await?;
    let counts = Counts::of(&events, |event| event.user == user);
    let about_nodes = |verbs: &'static [&str]| {
        counts.sum(|request| request.resource == "nodes" && verbs.contains(&request.verb.as_str()))
            as f64
    };
    Ok((about_nodes(&["create", "update", "patch", "delete"]), about_nodes(&["get"])))
}

/// A Node of which nothing is read but its ranges.
type Ranged = Object<Ranges, NotUsed>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Ranges {
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
}

/// A node as a watch showed it: its name, whether it has ranges, and when that was seen.
type Sight = Result<(String, bool, Instant), Error>;

/// Sees what nodes have.
fn watch(client: Client) -> UnboundedReceiver<Sight> {
    let (sights, seen) = unbounded_channel();
    tokio::spawn(async move {
        let kind = ApiResource::erase::<Node>(&());
        let nodes = Api::<Ranged>::all_with(client, &kind);
        let mut events = pin!(watcher(nodes, watcher::Config::default()));
        while let Some(event) = events.next().await {
            let sight = match event {
                Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                    let name = node.metadata.name.unwrap_or_default();
                    Ok((name, !node.spec.pod_cidrs.is_empty(), Instant::now()))
                }
                Ok(_) => continue,
                Err(err) => Err(err.into()),
            };
            if sights.send(sight).is_err() {
                return;
            }
        }
    });
    seen
}

/// Waits until so many nodes have ranges.
async fn wait(seen: &mut UnboundedReceiver<Sight>, count: usize) -> Result<(), Error> {
    let mut having = HashSet::new();
    while having.len() < count {
        let (name, has, _) = seen.recv().await.ok_or("the watch ended")??;
        if has {
            having.insert(name);
        }
    }
    Ok(())
}

/// Waits until this node has ranges. Gives how long it was seen without.
async fn wait_for(seen: &mut UnboundedReceiver<Sight>, wanted: &str) -> Result<Duration, Error> {
    let mut came = None;
    loop {
        let (name, has, at) = seen.recv().await.ok_or("the watch ended")??;
        if name != wanted {
            continue;
        }
        let came = *came.get_or_insert(at);
        if has {
            return Ok(at - came);
        }
    }
}

/// Nine of ten are not larger.
fn ninth_of_ten(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() * 9).div_ceil(10).saturating_sub(1);
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// One row for each number of nodes.
fn table(curve: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "nodes",
        "all, s",
        "nodes/s",
        "CPU, s",
        "CPU API server, s",
        "one more, ms",
        "nine of ten, ms",
        "CPU of one more, ms",
        "writes/node",
        "reads/node",
        "peak, MiB",
    ]);
    for figures in curve {
        table.row(vec![
            grouped(figures.nodes),
            format!("{:.1}", figures.last_s),
            format!("{:.0}", figures.nodes_per_s),
            format!("{:.2}", figures.cpu_s),
            format!("{:.1}", figures.cpu_apiserver_s),
            format!("{:.1}", figures.one_more_median_ms),
            format!("{:.1}", figures.one_more_p90_ms),
            format!("{:.2}", figures.one_more_cpu_ms),
            format!("{:.3}", figures.writes_per_node),
            format!("{:.3}", figures.reads_per_node),
            format!("{:.1}", figures.peak_rss_mib),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_are_not_larger() {
        let values = (1..=20_u32).rev().map(f64::from).collect();
        assert!((ninth_of_ten(values) - 18.0).abs() < 1e-9);
        assert!((ninth_of_ten(vec![7.0]) - 7.0).abs() < 1e-9);
        assert!(ninth_of_ten(Vec::new()).is_nan());
    }

    #[tokio::test]
    async fn a_node_waits_from_when_it_is_seen() {
        let (sights, mut seen) = unbounded_channel();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (name, has, ms) in
            [("a", false, 1), ("b", false, 2), ("b", true, 5), ("a", false, 7), ("a", true, 9)]
        {
            sights.send(Ok((name.to_owned(), has, at(ms)))).unwrap();
        }
        assert_eq!(wait_for(&mut seen, "a").await.unwrap(), Duration::from_millis(8));
    }
}
