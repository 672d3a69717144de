//! The Go library beside ours: who runs with which flags, and how the figures are set side by side.

use std::path::PathBuf;

use serde::Serialize;

use super::picture::{Group, Picture};
use super::report::{Output, Table, rounded, say};
use super::rig::{Account, Binaries, Rig};
use crate::Error;

/// Beside whom ours is measured.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Against {
    /// Measure this one beside ours, on control planes and clouds alike: with its defaults, and with
    /// flags that are tuned for the case. There is no floor then.
    #[arg(long, value_name = "LIBRARY")]
    pub(super) against: Option<Rival>,
    /// Draw what was measured into this file, as SVG.
    #[arg(long, value_name = "FILE", requires = "against")]
    svg: Option<PathBuf>,
}

/// Who is compared with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Rival {
    /// The Go library k8s.io/cloud-provider, with a provider for the same cloud.
    Go,
}

/// Whose program runs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Ours,
    /// The Go library with its defaults.
    Go,
    /// With [`TUNED`].
    GoTuned,
}

/// What somebody sets who knows the Go library and has a large cluster.
///
/// As many workers as ours has writers in the benchmark of nodes. The client's own limits, 20 requests
/// a second by default, are set so high that they are never what is waited for: since the API server
/// shares itself out among its clients they protect nobody. Addresses are looked at as often as by
/// default: each look is one call for each node, so that to look more often costs more, and to look
/// more rarely is to give up what ours does.
const TUNED: [&str; 6] = [
    "--concurrent-node-syncs=16",
    "--concurrent-node-status-updates=16",
    "--concurrent-service-syncs=16",
    "--kube-api-qps=1000",
    "--kube-api-burst=2000",
    "--node-status-update-frequency=5m",
];

impl Who {
    /// Who runs when, in so many rounds. Whoever comes later may find the machine warmer, so every
    /// other round goes backwards.
    pub(super) fn rounds(rounds: usize) -> Vec<Self> {
        let all = [Self::Ours, Self::Go, Self::GoTuned];
        let round = |round| {
            let mut round_of = all;
            if round % 2 == 1 {
                round_of.reverse();
            }
            round_of
        };
        (0..rounds.max(1)).flat_map(round).collect()
    }

    /// What it is called in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Go => "Go",
            Self::GoTuned => "Go, tuned",
        }
    }

    /// By what the cloud's log knows it.
    pub(super) fn caller(self) -> &'static str {
        match self {
            Self::Ours => "cloud-controller-manager",
            Self::Go | Self::GoTuned => ccm_envtest::peer::CALLER,
        }
    }

    /// By what the API server's log knows it.
    pub(super) fn account(self) -> Account {
        match self {
            Self::Ours => Account::First,
            Self::Go | Self::GoTuned => Account::Peer,
        }
    }

    /// Its program.
    pub(super) fn program(self, binaries: &Binaries) -> Result<&PathBuf, Error> {
        match self {
            Self::Ours => Ok(&binaries.ccm),
            Self::Go | Self::GoTuned => Ok(binaries.peer.as_ref().ok_or("it was not built")?),
        }
    }

    /// Its flags.
    pub(super) fn args(self, rig: &Rig) -> Vec<String> {
        match self {
            Self::Ours => rig.ccm_args(Account::First),
            Self::Go => rig.peer_args(),
            Self::GoTuned => {
                let mut args = rig.peer_args();
                args.extend(TUNED.map(str::to_owned));
                args
            }
        }
    }
}

/// One figure of all three.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    /// Whether it is in the picture, where there is room for a few.
    #[serde(skip)]
    pub(super) is_drawn: bool,
    pub(super) ours: f64,
    pub(super) go: f64,
    pub(super) go_tuned: f64,
}

impl Row {
    /// A value with the unit.
    fn said(&self, value: f64) -> String {
        format!("{} {}", rounded(value), self.unit).trim_end().to_owned()
    }
}

/// The figures of one program, in the order of all others' figures.
pub(super) type Side = Vec<(&'static str, f64, &'static str, Drawn)>;

/// Whether a figure is in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    Yes,
    No,
}

/// The three beside one another.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    title: String,
    rows: Vec<Row>,
}

impl Comparison {
    pub(super) fn new(title: String, ours: Side, go: &Side, tuned: &Side) -> Self {
        let rows = ours.into_iter().zip(go).zip(tuned).map(|((ours, go), tuned)| {
            let (what, value, unit, drawn) = ours;
            debug_assert!(what == go.0 && what == tuned.0, "the same figures");
            let is_drawn = drawn == Drawn::Yes;
            Row { what, unit, is_drawn, ours: value, go: go.1, go_tuned: tuned.1 }
        });
        Self { title, rows: rows.collect() }
    }

    /// Prints it, and writes what was asked for.
    pub(super) fn show(&self, against: &Against, output: &Output) -> Result<(), Error> {
        let table = self.table();
        say(format_args!("\n{}\n\n{table}", self.title))?;
        if let Some(file) = &against.svg {
            std::fs::write(file, self.picture().to_string())?;
        }
        output.write(self, &table)
    }

    fn table(&self) -> Table {
        let ours = Who::Ours.name();
        let mut table =
            Table::new(&["", ours, Who::Go.name(), "to ours", Who::GoTuned.name(), "to ours"]);
        for row in &self.rows {
            let value = |value: f64| row.said(value);
            let ratio = |value: f64| ratio(value, row.ours);
            table.row(vec![
                row.what.to_owned(),
                value(row.ours),
                value(row.go),
                ratio(row.go),
                value(row.go_tuned),
                ratio(row.go_tuned),
            ]);
        }
        table
    }

    fn picture(&self) -> Picture {
        let group = |row: &Row| Group {
            what: row.what.to_owned(),
            bars: [row.ours, row.go, row.go_tuned].map(|value| (value, row.said(value))).to_vec(),
        };
        Picture {
            title: self.title.clone(),
            series: [Who::Ours, Who::Go, Who::GoTuned].map(|who| who.name().to_owned()).to_vec(),
            groups: self.rows.iter().filter(|row| row.is_drawn).map(group).collect(),
        }
    }
}

/// `3.2`, or a dash where there is nothing to divide by.
fn ratio(value: f64, ours: f64) -> String {
    if ours > 0.0 { format!("{:.2}", value / ours) } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_round_goes_backwards() {
        use Who::{Go, GoTuned, Ours};

        assert_eq!(Who::rounds(2), [Ours, Go, GoTuned, GoTuned, Go, Ours]);
        assert_eq!(Who::rounds(0), [Ours, Go, GoTuned]);
    }

    #[test]
    fn they_stand_side_by_side_with_ratios_to_ours() {
        let side = |value: f64| vec![("CPU", value, "s", Drawn::Yes), ("429s", 0.0, "", Drawn::No)];
        let all = Comparison::new("nodes".to_owned(), side(2.0), &side(8.0), &side(3.0));
        let table = all.table().to_string();
        let last: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            last,
            [
                "| CPU  |  2 s |  8 s |    4.00 |       3 s |    1.50 |",
                "| 429s |    0 |    0 |       - |         0 |       - |"
            ]
        );
        assert_eq!(all.picture().groups.len(), 1);
    }
}
