//! `cargo xtask bench …`: measurements that print figures. Nothing here passes or fails.

mod idle;
mod nodes;
mod process;
mod rig;

use std::io::Write;

use crate::Error;

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    case: Case,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Case {
    /// Initialise N new nodes, and compare with the floor.
    Nodes(nodes::Args),
    /// The idle process: memory, size, and how soon it leads.
    Idle(idle::Args),
}

/// Measures, and prints the figures.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    match args.case {
        Case::Nodes(args) => nodes::run(args).await,
        Case::Idle(args) => idle::run(args).await,
    }
}

fn say(line: &str) -> Result<(), Error> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The middle one; of an even number the lower of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}
