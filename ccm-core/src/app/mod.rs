//! The process: flags, logging, HTTPS endpoints, tasks and their end.
//!
//! A binary is its list of providers and one call of [`main`]; `run` reads top to bottom as the
//! life of the process.

pub mod flags;
mod leadership;
pub mod logging;
pub mod manifest;
pub mod migration;
pub mod plan;
mod reload;
mod run;
pub mod serve;
pub mod tasks;
mod wiring;

use std::io::Write;
use std::process::ExitCode;

use tracing::warn;

use self::flags::{Command, Program};
use crate::cloud::{BoxError, ClusterId, Registration, Registry};
use crate::report::Chain;

/// What the process calls itself in its help, its `User-Agent` and its logs.
pub const NAME: &str = "cloud-controller-manager";

/// The version of the framework.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of the sources. Only a build that is given `CCM_COMMIT` knows it, such as that of the
/// image: a build that asked git would compile everything anew after each commit.
pub const COMMIT: Option<&str> = option_env!("CCM_COMMIT");

/// Runs a cloud-controller-manager with these providers until it is told to stop.
///
/// Reads the command line, so it is the whole `main` of a binary. An error is one line on stderr and
/// a non-zero exit.
pub fn main(providers: Vec<Registration>) -> ExitCode {
    match start(providers) {
        Ok(code) => code,
        Err(err) => {
            // The log may be JSON or not set up yet; whoever started the process reads this.
            let _ = writeln!(std::io::stderr(), "error: {}", Chain(&*err));
            ExitCode::FAILURE
        }
    }
}

fn start(providers: Vec<Registration>) -> Result<ExitCode, BoxError> {
    let names = providers.iter().map(|provider| provider.name).collect();
    let registry = Registry::new(providers)?;
    let program = Program { name: NAME, version: VERSION, commit: COMMIT, providers: names };
    let (mut options, plan) = match flags::parse(&program, std::env::args_os()) {
        Ok(Command::Run(options)) => (options, None),
        Ok(Command::Plan(options, plan)) => (options, Some(plan)),
        Ok(Command::Manifest(options, wanted)) => {
            let registration = registry.find(&options.cloud.provider)?;
            let text = manifest::manifest(registration, &options, &wanted)?;
            // A reader that has gone has read what it wanted.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(ExitCode::SUCCESS);
        }
        Err(exit) => return Ok(exit.emit()),
    };
    let migration = migration::of(&options)?;
    options.controllers = options.controllers.without(&migration.elsewhere);
    options.given = options.given.with_migration(migration.clone());
    let verbosity = logging::init(&options.logging, &[])?;
    for warning in &options.warnings {
        warn!("{warning}");
    }
    // One crypto provider for all clients of cluster and cloud; it can only be there already where
    // the binary's own code was quicker, and then that one is meant.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Before anything is waited for, so that a mistake is said at once.
    let registration = registry.find(&options.cloud.provider)?;
    let built = reload::provider(registration, &options)?;
    if built.cloud.cluster_id() == ClusterId::Missing {
        warn!("no cluster ID: what is in the cloud cannot be told from another cluster's");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Nearly all of the work is waiting; more threads would only cost memory.
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(4)))
        .enable_all()
        .build()?;
    if let Some(plan) = plan {
        let code = runtime.block_on(plan::run(&options, plan, registration, built.cloud))?;
        return Ok(ExitCode::from(code));
    }
    runtime.block_on(run::run(options, registration, built, migration.lease, verbosity))?;
    Ok(ExitCode::SUCCESS)
}

/// `User-Agent` towards cloud and cluster; the cluster's clients add their name.
fn user_agent() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{NAME}/v{VERSION} ({os}/{arch}) ccm-rs")
}
