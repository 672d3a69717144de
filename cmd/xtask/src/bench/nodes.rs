//! `cargo xtask bench nodes`: how long, with what effort, until N new nodes are initialised.
//!
//! Ours and the floor run one after the other, each on a fresh control plane, in pairs whose order
//! alternates; the medians are printed. With several N there is a curve, and what bounds it. Beside
//! the Go library there is no floor.

use std::time::Duration;

use ccm_envtest::audit::{Counts, Event};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::against::{Against, Comparison, Drawn, Side, Who as Subject};
use super::census::Census;
use super::process::{cores, load, memory_mib, reset_peak};
use super::report::{Figure, Output, Table, grouped, median, say, say_figures};
use super::rig::{Account, Binaries, Rig, patience, while_running};
use super::watched::Initialised;
use crate::Error;
use crate::program::Program;

/// Initialise N nodes, and compare with the floor.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Nodes; several numbers, with commas between them, for a curve.
    #[arg(long, value_delimiter = ',', default_value = "5000",
          value_parser = clap::value_parser!(u32).range(1..))]
    count: Vec<u32>,
    /// Size of a node as the API server serves it, in kB.
    #[arg(long, default_value_t = 5)]
    node_kb: usize,
    /// Pairs of runs: ours and the floor. 0: ours once, alone.
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Ours alone, as often as there would be pairs.
    #[arg(long)]
    no_floor: bool,
    /// Writes under way at once.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Looks and changes a second that the cloud takes, each; 0 for any number.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    #[command(flatten)]
    against: Against,
    #[command(flatten)]
    output: Output,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Floor,
    /// The Go library.
    Peer(Subject),
}

/// One run of one program.
#[derive(Clone, Debug, Default)]
struct Run {
    first_s: f64,
    last_s: f64,
    writes_per_node: f64,
    reads_per_node: f64,
    throttled: f64,
    /// Of all kinds, until two seconds after the last node, without the election.
    api_reads: f64,
    api_writes: f64,
    cloud_calls: f64,
    cloud_reads: f64,
    cpu_s: f64,
    rss_mib: f64,
    peak_rss_mib: f64,
    relist_peak_rss_mib: f64,
    apiserver_cpu_s: f64,
    etcd_cpu_s: f64,
    busy: Busy,
    load_before: f64,
}

/// Cores that were busy, on average, until the last node was initialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Busy {
    /// How many there are.
    of: f64,
    process: f64,
    apiserver: f64,
    etcd: f64,
    /// With everything on this machine, those three and this benchmark included.
    machine: f64,
}

/// The figures for one number of nodes, medians over the pairs.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    nodes: u32,
    node_kb: usize,
    runs: usize,
    concurrency: usize,
    first_s: f64,
    last_s: f64,
    nodes_per_s: f64,
    writes_per_node: f64,
    reads_per_node: f64,
    throttled: f64,
    cloud_calls: f64,
    cpu_s: f64,
    rss_mib: f64,
    peak_rss_mib: f64,
    relist_peak_rss_mib: f64,
    apiserver_cpu_s: f64,
    etcd_cpu_s: f64,
    cores_busy: Busy,
    /// Absent where ours ran alone.
    floor: Option<Floor>,
    load_before: f64,
}

/// The figures of the bare client.
#[derive(Clone, Copy, Debug, Serialize)]
struct Floor {
    last_s: f64,
    cpu_s: f64,
    apiserver_cpu_s: f64,
    etcd_cpu_s: f64,
    /// Ours divided by it.
    ours_last: f64,
    /// Likewise.
    ours_cpu: f64,
}

pub(super) async fn run(args: Args, binaries: &Binaries) -> Result<(), Error> {
    if args.against.against.is_some() {
        let binaries = binaries.with_peer().await?;
        return compare(&args, &binaries).await;
    }
    let mut curve = Vec::new();
    for &count in &args.count {
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        for who in order(args.pairs, args.no_floor) {
            let run = measure(&args, count, binaries, who).await?;
            let name = if who == Who::Ours { "ours " } else { "floor" };
            say(format_args!("{name} {count} {run:?}"))?;
            if who == Who::Ours { ours.push(run) } else { floors.push(run) }
        }
        curve.push(figures(&args, count, &ours, &floors));
        // After each: should the largest fail, the others are not lost.
        args.output.write(&curve, &table(&curve))?;
    }
    match &curve[..] {
        [one] => print(one)?,
        several => say(format_args!("\n{}", table(several)))?,
    }
    let largest = curve.iter().max_by_key(|figures| figures.nodes);
    largest.map_or(Ok(()), |figures| say(bounded_by(figures.nodes, figures.cores_busy)))
}

/// Ours and the Go library, one after the other.
async fn compare(args: &Args, binaries: &Binaries) -> Result<(), Error> {
    for &count in &args.count {
        let mut runs: [Vec<Run>; 3] = Default::default();
        let [ours, go, tuned] = &mut runs;
        for subject in Subject::rounds(args.pairs) {
            let (who, runs) = match subject {
                Subject::Ours => (Who::Ours, &mut *ours),
                Subject::Go => (Who::Peer(subject), &mut *go),
                Subject::GoTuned => (Who::Peer(subject), &mut *tuned),
            };
            let run = measure(args, count, binaries, who).await?;
            say(format_args!("{} {count} {run:?}", subject.name()))?;
            runs.push(run);
        }
        let title = format!("{} new nodes of {} kB", grouped(count), args.node_kb);
        Comparison::new(title, side(ours), &side(go), &side(tuned))
            .show(&args.against, &args.output)?;
    }
    Ok(())
}

/// Medians, as they are compared.
fn side(runs: &[Run]) -> Side {
    let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
    vec![
        ("first node initialised", of(|run| run.first_s), "s", Drawn::No),
        ("last node initialised", of(|run| run.last_s), "s", Drawn::Yes),
        ("CPU", of(|run| run.cpu_s), "s", Drawn::Yes),
        ("memory at its peak", of(|run| run.peak_rss_mib), "MiB", Drawn::Yes),
        ("reads from the API server", of(|run| run.api_reads), "", Drawn::No),
        ("writes to the API server", of(|run| run.api_writes), "", Drawn::Yes),
        ("writes about nodes, per node", of(|run| run.writes_per_node), "", Drawn::No),
        ("answers 429 of the API server", of(|run| run.throttled), "", Drawn::No),
        ("looks at the cloud", of(|run| run.cloud_reads), "", Drawn::Yes),
        ("changes in the cloud", of(|run| run.cloud_calls - run.cloud_reads), "", Drawn::No),
        ("CPU of the API server", of(|run| run.apiserver_cpu_s), "s", Drawn::Yes),
        ("CPU of etcd", of(|run| run.etcd_cpu_s), "s", Drawn::No),
    ]
}

/// The Go library's defaults may write twenty times a second, and it writes twice for a node.
const SLOWEST: u32 = 10;

/// Who runs when: whoever comes second may find the machine warmer.
fn order(pairs: usize, no_floor: bool) -> Vec<Who> {
    if pairs == 0 || no_floor {
        return vec![Who::Ours; pairs.max(1)];
    }
    let pair = |pair| if pair % 2 == 0 { [Who::Ours, Who::Floor] } else { [Who::Floor, Who::Ours] };
    (0..pairs).flat_map(pair).collect()
}

async fn measure(args: &Args, count: u32, binaries: &Binaries, who: Who) -> Result<Run, Error> {
    let nodes = usize::try_from(count)?;
    let rate = format!("--rate={}", args.rate);
    let mut rig = Rig::start_with(binaries, &["--latency=20ms".to_owned(), rate]).await?;
    rig.register(nodes, args.node_kb * 1000).await?;
    let initialised = Initialised::watch(rig.plane.admin_client()).await?;
    // What registration left behind has settled by then.
    sleep(Duration::from_secs(3)).await;
    let load_before = load()?;
    let (name, program, program_args) = match who {
        Who::Ours => {
            let mut ccm_args = rig.ccm_args(Account::First);
            ccm_args.push(format!("--concurrent-node-syncs={}", args.concurrency));
            ("cloud-controller-manager", &binaries.ccm, ccm_args)
        }
        Who::Floor => ("bench-floor", &binaries.floor, rig.floor_args("nodes", args.concurrency)),
        Who::Peer(subject) => (subject.caller(), subject.program(binaries)?, subject.args(&rig)),
    };
    let (user, caller) = match who {
        Who::Ours | Who::Floor => (Account::First, name),
        Who::Peer(subject) => (subject.account(), name),
    };
    let patience = patience(nodes)? + Duration::from_secs((2 * count / SLOWEST).into());
    let before = rig.cpu(None)?;
    let start = Instant::now();
    let mut process = Program::start(name, program, &program_args, rig.log())?;
    let pid = process.pid();
    let waiting = initialised.wait(nodes, start);
    let (first_s, last_s) = while_running(&mut process, "all nodes", patience, waiting).await?;
    let until_last = rig.cpu(Some(pid))? - before;
    // Whatever is still to be done for them, the last events included.
    sleep(Duration::from_secs(2)).await;
    if let Ok(ended) = timeout(Duration::ZERO, process.ended()).await {
        return Err(ended);
    }
    let (rss_mib, peak_rss_mib) = memory_mib(pid)?;
    let cpu = rig.cpu(Some(pid))? - before;
    let mut run = Run {
        first_s,
        last_s,
        cpu_s: cpu.process,
        rss_mib,
        peak_rss_mib,
        apiserver_cpu_s: cpu.apiserver,
        etcd_cpu_s: cpu.etcd,
        busy: Busy {
            of: f64::from(cores()),
            process: until_last.process / last_s,
            apiserver: until_last.apiserver / last_s,
            etcd: until_last.etcd / last_s,
            machine: until_last.machine / last_s,
        },
        load_before,
        ..Run::default()
    };
    count_requests(&rig, user, caller, count, &mut run).await?;
    if who == Who::Ours {
        reset_peak(pid)?;
        relist(&mut rig, nodes).await?;
        run.relist_peak_rss_mib = memory_mib(pid)?.1;
    }
    // The floor and the Go library know no better end than the signal.
    let stopped = process.stop().await;
    if who == Who::Ours {
        stopped?;
    }
    rig.stop().await?;
    Ok(run)
}

/// Requests, from the API server's audit log, and calls, from the cloud's own.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
async fn count_requests(
    rig: &Rig,
    account: Account,
    caller: &'static str,
    nodes: u32,
    run: &mut Run,
) -> Result<(), Error> {
    let user = rig.user(account);
    let events = rig.plane.audit_events().await?;
    let counts = Counts::of(&events, |event| event.user == user);
    let about_nodes = |verbs: &'static [&str]| {
        counts.sum(|request| request.resource == "nodes" && verbs.contains(&request.verb.as_str()))
            as f64
    };
    run.writes_per_node = about_nodes(&["create", "update", "patch", "delete"]) / f64::from(nodes);
    // The opening list is one list of many pages; whatever was listed again counts.
    let is_list =
        |event: &Event| event.user == user && event.resource == "nodes" && event.verb == "list";
    let pages = Counts::of(&events, is_list).total() as f64;
    let lists = Counts::of(&events, |event| is_list(event) && !event.uri.contains("continue="));
    let beyond_opening = pages - pages / (lists.total() as f64).max(1.0);
    run.reads_per_node = (about_nodes(&["get"]) + beyond_opening) / f64::from(nodes);
    run.throttled = counts.sum(|request| request.code == 429) as f64;
    let counted = Census::new(rig, account, caller).so_far().await?;
    run.api_reads = counted.reads() as f64;
    run.api_writes = counted.writes() as f64;
    run.cloud_calls = counted.calls() as f64;
    run.cloud_reads = counted.cloud_reads() as f64;
    Ok(())
}

/// Makes every watch start over: a new API server's cache begins after what the client has seen.
async fn relist(rig: &mut Rig, nodes: usize) -> Result<(), Error> {
    let lists = async |rig: &Rig| -> Result<u64, Error> {
        let user = rig.user(Account::First);
        let events = rig.plane.audit_events().await?;
        Ok(Counts::of(&events, |event| event.user == user)
            .sum(|request| request.resource == "nodes" && request.verb == "list"))
    };
    let opening = lists(rig).await?;
    rig.plane.stop_apiserver().await?;
    rig.plane.start_apiserver().await?;
    let deadline = Instant::now() + patience(nodes)?;
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

fn figures(args: &Args, nodes: u32, ours: &[Run], bare_runs: &[Run]) -> Figures {
    let of = |figure: fn(&Run) -> f64| median(ours.iter().map(figure));
    let bare = |figure: fn(&Run) -> f64| median(bare_runs.iter().map(figure));
    let (last_s, cpu_s) = (of(|run| run.last_s), of(|run| run.cpu_s));
    let floor = (!bare_runs.is_empty()).then(|| Floor {
        last_s: bare(|run| run.last_s),
        cpu_s: bare(|run| run.cpu_s),
        apiserver_cpu_s: bare(|run| run.apiserver_cpu_s),
        etcd_cpu_s: bare(|run| run.etcd_cpu_s),
        ours_last: last_s / bare(|run| run.last_s),
        ours_cpu: cpu_s / bare(|run| run.cpu_s),
    });
    Figures {
        nodes,
        node_kb: args.node_kb,
        runs: ours.len(),
        concurrency: args.concurrency,
        first_s: of(|run| run.first_s),
        last_s,
        nodes_per_s: f64::from(nodes) / last_s,
        writes_per_node: of(|run| run.writes_per_node),
        reads_per_node: of(|run| run.reads_per_node),
        throttled: of(|run| run.throttled),
        cloud_calls: of(|run| run.cloud_calls),
        cpu_s,
        rss_mib: of(|run| run.rss_mib),
        peak_rss_mib: of(|run| run.peak_rss_mib),
        relist_peak_rss_mib: of(|run| run.relist_peak_rss_mib),
        apiserver_cpu_s: of(|run| run.apiserver_cpu_s),
        etcd_cpu_s: of(|run| run.etcd_cpu_s),
        cores_busy: Busy {
            of: of(|run| run.busy.of),
            process: of(|run| run.busy.process),
            apiserver: of(|run| run.busy.apiserver),
            etcd: of(|run| run.busy.etcd),
            machine: of(|run| run.busy.machine),
        },
        floor,
        load_before: of(|run| run.load_before),
    }
}

/// One row for each number of nodes.
fn table(curve: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "nodes",
        "first, s",
        "last, s",
        "floor, s",
        "to floor",
        "nodes/s",
        "writes/node",
        "cloud calls",
        "CPU, s",
        "CPU API server, s",
        "CPU etcd, s",
        "peak, MiB",
        "peak relisting, MiB",
    ]);
    for figures in curve {
        let floor = |figure: fn(&Floor) -> f64, digits: usize| {
            let value = figures.floor.as_ref().map(figure);
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        table.row(vec![
            grouped(figures.nodes),
            format!("{:.2}", figures.first_s),
            format!("{:.1}", figures.last_s),
            floor(|floor| floor.last_s, 1),
            floor(|floor| floor.ours_last, 2),
            format!("{:.0}", figures.nodes_per_s),
            format!("{:.3}", figures.writes_per_node),
            format!("{:.0}", figures.cloud_calls),
            format!("{:.1}", figures.cpu_s),
            format!("{:.1}", figures.apiserver_cpu_s),
            format!("{:.1}", figures.etcd_cpu_s),
            format!("{:.1}", figures.peak_rss_mib),
            format!("{:.1}", figures.relist_peak_rss_mib),
        ]);
    }
    table
}

/// Cores count as full from here on: the kernel's books and ours do not begin and end together.
const FULL: f64 = 0.9;

/// What the figures say of what would have to be quicker.
fn bounded_by(nodes: u32, busy: Busy) -> String {
    let three = busy.process + busy.apiserver + busy.etcd;
    let bound = if busy.machine < FULL * busy.of {
        "the cores had time left, so it is waiting that bounds it: for the disk, for answers, for a turn"
    } else if three < FULL * busy.machine {
        "the cores bound it, and others had a share of them"
    } else if busy.process > busy.apiserver {
        "the cores bound it, and the process has most of them"
    } else {
        "the cores bound it, and the API server has most of them"
    };
    format!(
        "{} nodes: of {:.0} cores the API server kept {:.2} busy, etcd {:.2} and the process {:.2}, \
         together {:.0} %; with all else {:.0} %: {bound}.",
        grouped(nodes),
        busy.of,
        busy.apiserver,
        busy.etcd,
        busy.process,
        100.0 * three / busy.of,
        100.0 * busy.machine / busy.of,
    )
}

fn print(figures: &Figures) -> Result<(), Error> {
    say(format_args!(
        "\n{} nodes of {} kB, {} writers, median of {} runs, load before {:.2}",
        figures.nodes, figures.node_kb, figures.concurrency, figures.runs, figures.load_before
    ))?;
    let nan = f64::NAN;
    let floor = |figure: fn(&Floor) -> f64| figures.floor.as_ref().map_or(nan, figure);
    let rows = [
        Figure::new("first node initialised", figures.first_s, "s"),
        Figure::new("last node initialised", figures.last_s, "s"),
        Figure::new("  the floor", floor(|floor| floor.last_s), "s"),
        Figure::new("  ours to the floor", floor(|floor| floor.ours_last), ""),
        Figure::new("nodes a second", figures.nodes_per_s, ""),
        Figure::new("writes per node", figures.writes_per_node, ""),
        Figure::new("reads per node", figures.reads_per_node, ""),
        Figure::new("answers 429", figures.throttled, ""),
        Figure::new("calls to the cloud", figures.cloud_calls, ""),
        Figure::new("CPU", figures.cpu_s, "s"),
        Figure::new("  the floor", floor(|floor| floor.cpu_s), "s"),
        Figure::new("  ours to the floor", floor(|floor| floor.ours_cpu), ""),
        Figure::new("memory at the end", figures.rss_mib, "MiB"),
        Figure::new("memory at its peak", figures.peak_rss_mib, "MiB"),
        Figure::new("memory at its peak, relisting", figures.relist_peak_rss_mib, "MiB"),
        Figure::new("CPU of the API server", figures.apiserver_cpu_s, "s"),
        Figure::new("  the floor", floor(|floor| floor.apiserver_cpu_s), "s"),
        Figure::new("CPU of etcd", figures.etcd_cpu_s, "s"),
        Figure::new("  the floor", floor(|floor| floor.etcd_cpu_s), "s"),
    ];
    let rows: Vec<Figure> = rows.into_iter().filter(|row| !row.value.is_nan()).collect();
    say_figures(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_alternate() {
        use Who::{Floor, Ours};

        assert_eq!(order(2, false), [Ours, Floor, Floor, Ours]);
        assert_eq!(order(0, false), [Ours]);
        assert_eq!(order(0, true), [Ours]);
        assert_eq!(order(2, true), [Ours, Ours]);
    }

    #[test]
    fn what_bounds_it_follows_from_who_was_busy() {
        let busy = Busy { of: 2.0, process: 0.15, apiserver: 1.4, etcd: 0.35, machine: 1.96 };
        let said = bounded_by(15_000, busy);
        assert_eq!(
            said,
            "15,000 nodes: of 2 cores the API server kept 1.40 busy, etcd 0.35 and the process \
             0.15, together 95 %; with all else 98 %: the cores bound it, and the API server has \
             most of them."
        );
        let is = |busy, what| assert!(bounded_by(1, busy).contains(what), "{busy:?}");
        is(Busy { process: 1.2, apiserver: 0.5, ..busy }, "the process has most");
        is(Busy { apiserver: 0.8, ..busy }, "others had a share");
        is(Busy { machine: 1.0, ..busy }, "had time left");
    }

    #[test]
    fn a_run_without_the_floor_says_so() {
        let args = Args {
            count: vec![10],
            node_kb: 5,
            pairs: 0,
            no_floor: false,
            concurrency: 16,
            rate: 100,
            against: Against::default(),
            output: Output::default(),
        };
        let run = Run { last_s: 2.0, ..Run::default() };
        let alone = figures(&args, 10, std::slice::from_ref(&run), &[]);
        assert!(alone.floor.is_none());
        assert!((alone.nodes_per_s - 5.0).abs() < 1e-9);
        let text = table(&[alone]).to_string();
        assert!(text.lines().last().unwrap().contains(" - |"), "{text}");

        let quicker = Run { last_s: 1.0, ..Run::default() };
        let beside = figures(&args, 10, &[run], &[quicker]);
        assert!((beside.floor.unwrap().ours_last - 2.0).abs() < 1e-9);
    }
}
