//! `cargo xtask …`: the demo, everything that is tested, the generated pages, measurements.
//!
//! What has to be installed for it is in the README; what it starts it stops.

mod bench;
mod build;
mod cluster;
mod demo;
mod docs;
mod group;
mod image;
mod in_cluster;
mod kubectl;
mod leash;
mod manifests;
mod out;
mod program;
mod signals;
mod test;

use std::process::ExitCode;

use ccm_core::report::Chain;
use clap::{Parser, Subcommand};

use self::out::Out;

/// Whatever went wrong, told to a person.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run a control plane, a simulated cloud and the cloud-controller-manager, and show what happens
    Demo(demo::Args),
    /// Check and test everything
    Test(test::Args),
    /// Write the generated pages of the book
    Docs(docs::Args),
    /// Write what is applied to a cluster: plain manifests, kustomize and charts
    Manifests(manifests::Args),
    /// Make the container image
    Image(image::Args),
    /// Run kubectl: the one on PATH if it is fit for the demo's API server, else one that is built
    Kubectl(kubectl::Args),
    /// Bring up a cluster with one real node to play with, and take it down
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Measure
    Bench(bench::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let out = Out::to_stdout();
    let done = match Flags::parse().task {
        Task::Demo(args) => demo::run(args, out).await,
        Task::Test(args) => test::run(args, out).await,
        Task::Docs(args) => docs::run(&args, out),
        Task::Manifests(args) => manifests::run(args, out).await,
        Task::Image(args) => image::run(args, out).await,
        Task::Kubectl(args) => kubectl::run(args).await,
        Task::Cluster(command) => cluster::run(command, out).await,
        Task::Bench(args) => Box::pin(bench::run(args)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            out.failure(Chain(&*err));
            ExitCode::FAILURE
        }
    }
}
