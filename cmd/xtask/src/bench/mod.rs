//! `cargo xtask bench …`: measurements that print figures.
//!
//! Nothing here passes or fails, with one exception: two leaders that write (`failover`).

mod against;
mod census;
mod failover;
mod idle;
mod ipam;
mod kubelets;
mod nodes;
mod picture;
mod process;
mod replica;
mod report;
mod rig;
mod services;
mod steady;
mod watched;

use self::rig::{Binaries, Build};
use crate::Error;

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    case: Case,
    /// Debug builds of all programs: to try a measurement out, for the figures mean nothing.
    #[arg(long, global = true, hide = true)]
    debug_binaries: bool,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Case {
    /// Initialise N new nodes, and compare with the floor; with several N, the curve.
    Nodes(nodes::Args),
    /// Give N Services load balancers, have nodes join them, wait, restart; with several N, the curve.
    Services(services::Args),
    /// Give N nodes the ranges of their pods, then one more and one more; the curve.
    Ipam(ipam::Args),
    /// The idle process: memory, size, and how soon it leads.
    Idle(idle::Args),
    /// A cluster in which nothing happens but heartbeats: what it costs to watch it.
    Steady(steady::Args),
    /// Two replicas: how long nobody works when the leader goes, is killed, freezes, or is cut off.
    Failover(failover::Args),
}

/// Measures, and prints the figures.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let build = if args.debug_binaries { Build::Debug } else { Build::Release };
    let binaries = Binaries::build(build).await?;
    match args.case {
        Case::Nodes(args) => nodes::run(args, &binaries).await,
        Case::Services(args) => services::run(args, &binaries).await,
        Case::Ipam(args) => ipam::run(args, &binaries).await,
        Case::Idle(args) => idle::run(args, &binaries).await,
        Case::Steady(args) => steady::run(args, &binaries).await,
        Case::Failover(args) => failover::run(args, &binaries).await,
    }
}
