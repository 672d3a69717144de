//! What is measured of each number of Services, and how it is shown.

use serde::Serialize;
use simcloud::api::Operation;

use super::super::against::{Drawn, Side};
use super::super::census::Counted;
use super::super::report::{Figure, Table, grouped, say, say_figures};
use crate::Error;

/// The figures for one number of Services.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) services: u32,
    /// Before the Services; as many joined them.
    pub(super) nodes: u32,
    pub(super) latency_ms: u64,
    /// Until the last of the first nodes was initialised, when there was no Service.
    pub(super) nodes_alone_s: f64,
    /// Until the last Service was made.
    pub(super) made_s: f64,
    /// Until the first had its address.
    pub(super) first_s: f64,
    /// Until all had.
    pub(super) last_s: f64,
    /// Writes to the API server until then, by the Services.
    pub(super) writes_per_service: f64,
    pub(super) patches_per_service: f64,
    pub(super) events_per_service: f64,
    /// Calls to the cloud until then.
    pub(super) cloud_calls: u64,
    /// Those that changed something.
    pub(super) mutations: u64,
    /// CPU until then.
    pub(super) cpu_s: f64,
    pub(super) apiserver_cpu_s: f64,
    /// Until the last of the nodes that joined the Services was initialised.
    pub(super) nodes_last_s: f64,
    /// Until all of them were targets of all Services.
    pub(super) targets_last_s: f64,
    /// Changes of targets sent to the cloud for that, each with as many as the cloud takes.
    pub(super) target_updates: u64,
    /// Writes to the API server about Services meanwhile.
    pub(super) join_writes_per_service: f64,
    pub(super) join_cpu_s: f64,
    /// CPU while nothing happened.
    pub(super) cpu_after_s: f64,
    pub(super) calls_after: u64,
    pub(super) writes_after: u64,
    /// Until a process that started anew had looked at everything.
    pub(super) restart_s: f64,
    pub(super) restart_calls: u64,
    pub(super) restart_mutations: u64,
    pub(super) restart_writes: u64,
    pub(super) restart_cpu_s: f64,
    pub(super) rss_mib: f64,
    pub(super) peak_rss_mib: f64,
    /// Absent where ours ran alone.
    pub(super) floor_cpu_s: Option<f64>,
    pub(super) floor_last_s: Option<f64>,
    pub(super) floor_apiserver_cpu_s: Option<f64>,
    /// Everything that it sent. Where that is not what ours sent, the comparison is worth less.
    pub(super) floor_requests: Option<u64>,
    /// Ours divided by it.
    pub(super) cpu_to_floor: Option<f64>,
    pub(super) load_before: f64,
    #[serde(skip)]
    pub(super) phases: Vec<(&'static str, Counted)>,
}

/// What was measured of the floor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) last_s: f64,
    pub(super) cpu_s: f64,
    pub(super) apiserver_cpu_s: f64,
    /// To both.
    pub(super) requests: u64,
}

const SERVING: &str = "until all had addresses";
const JOINING: &str = "while nodes joined";
const RESTING: &str = "while nothing happened";
const STARTING: &str = "at the restart";

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
impl Figures {
    fn per_service(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.services)
    }

    /// All Services have their addresses.
    pub(super) fn served(&mut self, counted: Counted) {
        self.patches_per_service = self.per_service(counted.of("patch services/status"));
        self.events_per_service = self.per_service(counted.events());
        self.writes_per_service = self.per_service(counted.writes());
        self.cloud_calls = counted.calls();
        self.mutations = counted.mutations;
        self.phases.push((SERVING, counted));
    }

    /// Nodes have joined.
    pub(super) fn joined(&mut self, counted: Counted) {
        self.target_updates = counted.calls_of(Operation::ChangeTargets);
        let writes = counted.of("patch services/status") + counted.events();
        self.join_writes_per_service = self.per_service(writes);
        self.phases.push((JOINING, counted));
    }

    /// Nothing has happened.
    pub(super) fn rested(&mut self, counted: Counted) {
        self.calls_after = counted.calls();
        self.writes_after = counted.writes();
        self.phases.push((RESTING, counted));
    }

    /// It has started anew.
    pub(super) fn restarted(&mut self, counted: Counted) {
        self.restart_calls = counted.calls();
        self.restart_mutations = counted.mutations;
        self.restart_writes = counted.writes();
        self.phases.push((STARTING, counted));
    }

    /// Beside the floor.
    pub(super) fn compare(&mut self, floor: Floor) {
        self.floor_cpu_s = Some(floor.cpu_s);
        self.floor_last_s = Some(floor.last_s);
        self.floor_apiserver_cpu_s = Some(floor.apiserver_cpu_s);
        self.floor_requests = Some(floor.requests);
        self.cpu_to_floor = Some(self.cpu_s / floor.cpu_s);
    }

    /// What the floor is to send.
    pub(super) fn floor_flags(&self) -> Vec<String> {
        let Some((_, counted)) = self.phases.iter().find(|(phase, _)| *phase == SERVING) else {
            return Vec::new();
        };
        let mut flags = vec![
            format!("--services={}", self.services),
            format!("--patches={}", counted.of("patch services/status")),
            format!("--events={}", counted.events()),
        ];
        let call = |(operation, count): (&Operation, &u64)| format!("--call={operation}={count}");
        flags.extend(counted.operations.iter().map(call));
        flags
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn print(figures: &Figures) -> Result<(), Error> {
    for (phase, counted) in &figures.phases {
        say(format_args!("  {phase}:\n{counted}"))?;
    }
    let count = |count: u64| count as f64;
    let requests =
        figures.writes_per_service * f64::from(figures.services) + count(figures.cloud_calls);
    let rows = [
        Figure::new("last Service made", figures.made_s, "s"),
        Figure::new("first Service with an address", figures.first_s, "s"),
        Figure::new("last Service with an address", figures.last_s, "s"),
        Figure::new("  the floor", figures.floor_last_s.unwrap_or(f64::NAN), "s"),
        Figure::new("writes per Service", figures.writes_per_service, ""),
        Figure::new("  patches", figures.patches_per_service, ""),
        Figure::new("  events", figures.events_per_service, ""),
        Figure::new("calls to the cloud", count(figures.cloud_calls), ""),
        Figure::new("  that changed something", count(figures.mutations), ""),
        Figure::new("requests to both", requests, ""),
        Figure::new("  the floor", figures.floor_requests.map_or(f64::NAN, count), ""),
        Figure::new("CPU", figures.cpu_s, "s"),
        Figure::new("  the floor", figures.floor_cpu_s.unwrap_or(f64::NAN), "s"),
        Figure::new("  ours to the floor", figures.cpu_to_floor.unwrap_or(f64::NAN), ""),
        Figure::new("CPU of the API server", figures.apiserver_cpu_s, "s"),
        Figure::new("  the floor", figures.floor_apiserver_cpu_s.unwrap_or(f64::NAN), "s"),
        Figure::new("nodes initialised without Services", figures.nodes_alone_s, "s"),
        Figure::new("nodes initialised with Services", figures.nodes_last_s, "s"),
        Figure::new("all of them targets of all", figures.targets_last_s, "s"),
        Figure::new("changes of targets for that", count(figures.target_updates), ""),
        Figure::new("writes per Service for that", figures.join_writes_per_service, ""),
        Figure::new("CPU while they joined", figures.join_cpu_s, "s"),
        Figure::new("CPU afterwards, nothing happening", figures.cpu_after_s, "s"),
        Figure::new("restart: everything looked at", figures.restart_s, "s"),
        Figure::new("restart: calls to the cloud", count(figures.restart_calls), ""),
        Figure::new("restart: changes in the cloud", count(figures.restart_mutations), ""),
        Figure::new("restart: writes", count(figures.restart_writes), ""),
        Figure::new("restart: CPU", figures.restart_cpu_s, "s"),
        Figure::new("memory at the end", figures.rss_mib, "MiB"),
        Figure::new("memory at its peak", figures.peak_rss_mib, "MiB"),
    ];
    let rows: Vec<Figure> = rows.into_iter().filter(|row| !row.value.is_nan()).collect();
    say(format_args!(
        "\n{} Services, {} nodes and as many more, {} ms a call, load before {:.2}",
        grouped(figures.services),
        grouped(figures.nodes),
        figures.latency_ms,
        figures.load_before
    ))?;
    say_figures(&rows)
}

/// As it is compared.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn side(figures: &Figures) -> Side {
    let count = |phase: &str, figure: fn(&Counted) -> u64| {
        let found = figures.phases.iter().find(|(name, _)| *name == phase);
        found.map_or(f64::NAN, |(_, counted)| figure(counted) as f64)
    };
    let changes: fn(&Counted) -> u64 = |counted| counted.calls() - counted.cloud_reads();
    vec![
        ("nodes alone: last initialised", figures.nodes_alone_s, "s", Drawn::No),
        ("Services: last address", figures.last_s, "s", Drawn::Yes),
        ("Services: CPU", figures.cpu_s, "s", Drawn::Yes),
        ("Services: reads from the API server", count(SERVING, Counted::reads), "", Drawn::No),
        ("Services: writes to the API server", count(SERVING, Counted::writes), "", Drawn::No),
        ("Services: looks at the cloud", count(SERVING, Counted::cloud_reads), "", Drawn::No),
        ("Services: changes in the cloud", count(SERVING, changes), "", Drawn::No),
        ("Services: CPU of the API server", figures.apiserver_cpu_s, "s", Drawn::No),
        ("more nodes: last initialised", figures.nodes_last_s, "s", Drawn::No),
        ("more nodes: targets of all", figures.targets_last_s, "s", Drawn::Yes),
        ("more nodes: CPU", figures.join_cpu_s, "s", Drawn::Yes),
        ("more nodes: writes to the API server", count(JOINING, Counted::writes), "", Drawn::No),
        ("more nodes: looks at the cloud", count(JOINING, Counted::cloud_reads), "", Drawn::Yes),
        ("more nodes: changes in the cloud", count(JOINING, changes), "", Drawn::Yes),
        ("nothing: CPU", figures.cpu_after_s, "s", Drawn::No),
        ("nothing: looks at the cloud", count(RESTING, Counted::cloud_reads), "", Drawn::No),
        ("nothing: writes to the API server", count(RESTING, Counted::writes), "", Drawn::No),
        ("restart: everything looked at", figures.restart_s, "s", Drawn::Yes),
        ("restart: CPU", figures.restart_cpu_s, "s", Drawn::No),
        ("restart: looks at the cloud", count(STARTING, Counted::cloud_reads), "", Drawn::No),
        ("restart: changes in the cloud", count(STARTING, changes), "", Drawn::No),
        ("restart: writes to the API server", count(STARTING, Counted::writes), "", Drawn::No),
        ("memory at its peak", figures.peak_rss_mib, "MiB", Drawn::Yes),
    ]
}

/// One row for each number of Services.
pub(super) fn table(curve: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "Services",
        "nodes",
        "last, s",
        "floor, s",
        "writes/Service",
        "cloud calls",
        "mutations",
        "CPU, s",
        "CPU floor, s",
        "to floor",
        "nodes alone, s",
        "nodes with, s",
        "targets, s",
        "target updates",
        "CPU after, s",
        "restart mutations",
        "restart writes",
        "peak, MiB",
    ]);
    for figures in curve {
        let floor = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        table.row(vec![
            grouped(figures.services),
            format!("{0} + {0}", grouped(figures.nodes)),
            format!("{:.1}", figures.last_s),
            floor(figures.floor_last_s, 1),
            format!("{:.2}", figures.writes_per_service),
            figures.cloud_calls.to_string(),
            figures.mutations.to_string(),
            format!("{:.2}", figures.cpu_s),
            floor(figures.floor_cpu_s, 2),
            floor(figures.cpu_to_floor, 2),
            format!("{:.1}", figures.nodes_alone_s),
            format!("{:.1}", figures.nodes_last_s),
            format!("{:.1}", figures.targets_last_s),
            figures.target_updates.to_string(),
            format!("{:.2}", figures.cpu_after_s),
            figures.restart_mutations.to_string(),
            figures.restart_writes.to_string(),
            format!("{:.1}", figures.peak_rss_mib),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Counted {
        let requests = [("patch services/status", 20), ("create events", 10)];
        let requests = requests.map(|(kind, count)| (kind.to_owned(), count)).into();
        let operations = [(Operation::ChangeTargets, 40)].into();
        Counted { requests, operations, mutations: 40 }
    }

    #[test]
    fn the_floor_is_told_what_was_counted_until_all_had_addresses() {
        let mut figures = Figures { services: 10, cpu_s: 3.0, ..Figures::default() };
        figures.served(counted());
        figures.restarted(Counted::default());
        assert_eq!(
            figures.floor_flags(),
            ["--services=10", "--patches=20", "--events=10", "--call=ChangeTargets=40"]
        );
        assert!((figures.writes_per_service - 3.0).abs() < 1e-9);
        let floor = Floor { last_s: 1.0, cpu_s: 2.0, apiserver_cpu_s: 1.0, requests: 70 };
        figures.compare(floor);
        assert!((figures.cpu_to_floor.unwrap() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_run_without_the_floor_says_so() {
        let figures = Figures { services: 10, ..Figures::default() };
        let text = table(&[figures]).to_string();
        assert!(text.lines().last().unwrap().contains(" - |"), "{text}");
    }
}
