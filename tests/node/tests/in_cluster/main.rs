//! The cloud-controller-manager as a pod, on a real node that waits for it: one chapter after the other on one cluster.
//!
//! `cargo xtask test --in-cluster` runs it; by itself it takes the programs from `CCM_BIN_DIR`, or from beside the tests.
//! `CCM_IMAGE` and `CCM_MANIFEST` name another image and another manifest than those of the repository and of a build for tests;
//! `CCM_IMAGE_COMMIT` is what that image was made from.
//!
//! Where root or a package is missing it says so, and that it was skipped.

mod chapters;
mod death;
mod kubectl;
mod lease;
mod machine;
mod probes;
mod stage;

use std::{io::Write, process::ExitCode};

use ccm_node::needs;

use crate::{machine::Machine, stage::Stage};

#[tokio::main]
async fn main() -> ExitCode {
    let missing = needs::missing();
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        say(format_args!("SKIPPED: a real node needs {}", missing.join(", ")));
        return ExitCode::SUCCESS;
    }
    let done = if std::env::args().any(|arg| arg == death::HOLD) {
        death::hold().await
    } else {
        Box::pin(run()).await
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            say(format_args!("FAILED: {err}"));
            for cause in std::iter::successors(err.source(), |cause| cause.source()) {
                say(format_args!("  because: {cause}"));
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), ccm_node::Error> {
    let machine = Machine::now().await?;
    let mut stage = Stage::set().await?;
    let told = chapters::all(&mut stage).await;
    if told.is_err() {
        stage.show_everything().await;
    }
    let stopped = stage.strike().await;
    told.and(stopped)?;
    machine.expect_unchanged().await?;
    death::is_clean().await?;
    machine.expect_unchanged().await?;
    say(format_args!(
        "the machine's mounts, interfaces, addresses, routes and settings are as before"
    ));
    Ok(())
}

/// One line, for whoever watches.
fn say(what: std::fmt::Arguments<'_>) {
    // A reader that goes away stops nothing.
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what}").and_then(|()| out.flush()).ok();
}
