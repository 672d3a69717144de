//! What is measured of each number of nodes, and how it is shown.

use serde::Serialize;
use simcloud::api::OperationClass;

use super::super::census::Counted;
use super::super::report::{Table, grouped, rounded, say};
use crate::Error;

/// The figures for one number of nodes.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) nodes: u32,
    pub(super) latency_ms: u64,
    /// From the start of the process until all were reachable.
    pub(super) all_s: f64,
    pub(super) all_cpu_s: f64,
    pub(super) all_reads: u64,
    pub(super) all_changes: u64,
    pub(super) all_writes: u64,
    /// From the registration of one node more until it was reachable: the median.
    pub(super) one_s: f64,
    pub(super) one_p90_s: f64,
    /// The rest for one node more is the mean.
    pub(super) one_cpu_ms: f64,
    pub(super) one_reads: f64,
    pub(super) one_changes: f64,
    pub(super) one_writes: f64,
    /// From the start of a process that finds everything done to its last call to the cloud.
    pub(super) restart_s: f64,
    pub(super) restart_cpu_s: f64,
    pub(super) restart_reads: u64,
    pub(super) restart_changes: u64,
    pub(super) restart_writes: u64,
    /// For one node that comes and one that goes.
    pub(super) churn_cpu_ms: f64,
    pub(super) churn_reads: f64,
    pub(super) churn_changes: f64,
    pub(super) churn_writes: f64,
    pub(super) rss_mib: f64,
    pub(super) peak_rss_mib: f64,
    pub(super) load_before: f64,
    #[serde(skip)]
    pub(super) phases: Vec<(&'static str, Counted)>,
}

/// Calls that looked.
fn reads(counted: &Counted) -> u64 {
    let looks = counted.operations.iter().filter(|(it, _)| it.class() == OperationClass::Read);
    looks.map(|(_, calls)| calls).sum()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn each(count: u64, of: u32) -> f64 {
    count as f64 / f64::from(of)
}

impl Figures {
    pub(super) fn all(&mut self, counted: Counted) {
        (self.all_reads, self.all_changes) = (reads(&counted), counted.mutations);
        self.all_writes = counted.writes();
        self.phases.push(("until all were reachable", counted));
    }

    pub(super) fn one(&mut self, counted: Counted, of: u32) {
        self.one_reads = each(reads(&counted), of);
        self.one_changes = each(counted.mutations, of);
        self.one_writes = each(counted.writes(), of);
        self.phases.push(("while nodes joined one by one", counted));
    }

    pub(super) fn restarted(&mut self, counted: Counted) {
        (self.restart_reads, self.restart_changes) = (reads(&counted), counted.mutations);
        self.restart_writes = counted.writes();
        self.phases.push(("after the restart", counted));
    }

    pub(super) fn churned(&mut self, counted: Counted, of: u32) {
        self.churn_reads = each(reads(&counted), of);
        self.churn_changes = each(counted.mutations, of);
        self.churn_writes = each(counted.writes(), of);
        self.phases.push(("while nodes came and went", counted));
    }
}

/// All requests, by phase and kind.
pub(super) fn print(figures: &Figures) -> Result<(), Error> {
    let load = figures.load_before;
    say(format_args!("\n{} nodes, load before {load:.2}", grouped(figures.nodes)))?;
    for (phase, counted) in &figures.phases {
        say(format_args!("  {phase}:\n{counted}"))?;
    }
    Ok(())
}

/// A column for each number of nodes would be wide: a row for each.
pub(super) fn table(curve: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "nodes",
        "all, s",
        "CPU, s",
        "reads",
        "changes",
        "API writes",
        "one more, s",
        "p90, s",
        "CPU, ms",
        "reads",
        "changes",
        "API writes",
        "restart, s",
        "CPU, s",
        "reads",
        "changes",
        "API writes",
        "come and go: CPU, ms",
        "reads",
        "changes",
        "API writes",
        "peak, MiB",
    ]);
    for it in curve {
        let whole = |count: u64| count.to_string();
        table.row(vec![
            grouped(it.nodes),
            rounded(it.all_s),
            rounded(it.all_cpu_s),
            whole(it.all_reads),
            whole(it.all_changes),
            whole(it.all_writes),
            rounded(it.one_s),
            rounded(it.one_p90_s),
            rounded(it.one_cpu_ms),
            rounded(it.one_reads),
            rounded(it.one_changes),
            rounded(it.one_writes),
            rounded(it.restart_s),
            rounded(it.restart_cpu_s),
            whole(it.restart_reads),
            whole(it.restart_changes),
            whole(it.restart_writes),
            rounded(it.churn_cpu_ms),
            rounded(it.churn_reads),
            rounded(it.churn_changes),
            rounded(it.churn_writes),
            rounded(it.peak_rss_mib),
        ]);
    }
    table
}
