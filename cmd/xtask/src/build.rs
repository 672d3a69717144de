//! Builds this workspace's programs with the cargo that runs us.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::Error;

/// What tests run.
pub(crate) const PROGRAMS: [&str; 2] = ["cloud-controller-manager", "simcloud"];

/// The features with which the program has every provider, as a release has.
pub(crate) const EVERY_PROVIDER: [&str; 1] = ["cloud-controller-manager/aws"];

/// The workspace's folder.
///
/// As cargo says when it runs us, which need not be where we were compiled: clones may share a
/// target folder.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.ancestors().nth(2).map(Path::to_owned).expect("cmd/xtask is two folders below the root")
}

/// A command of the cargo that started us, in the workspace's folder.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// As [`cargo`], behind whatever else wants to compute.
pub(crate) fn nice_cargo() -> Command {
    let cargo = cargo();
    let cargo = cargo.as_std();
    let mut command = Command::new("nice");
    command.args(["-n", "5"]).arg(cargo.get_program()).current_dir(root()).stdin(Stdio::null());
    command
}

/// Builds these packages and says where their programs are. Cargo's own progress goes to stderr.
///
/// All of them and this one in one go: crates that they share are compiled once, with the features
/// that this program was compiled with.
pub(crate) async fn programs(
    packages: &[&str],
    features: &[&str],
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics", "--package=xtask"]);
    command.args(packages.iter().map(|name| format!("--package={name}")));
    command.args(features.iter().map(|name| format!("--features={name}")));
    // Not `output()`: that would keep the progress from the terminal.
    let cargo = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = cargo.wait_with_output().await?;
    if !output.status.success() {
        let status = output.status;
        return Err(format!("cargo could not build {} ({status})", packages.join(" and ")).into());
    }
    let built = executables(&output.stdout);
    match packages.iter().find(|name| !built.contains_key(**name)) {
        Some(name) => Err(format!("cargo built no program {name}").into()),
        None => Ok(built),
    }
}

/// Builds one program for measurements, by itself: with its own features and nobody else's.
pub(crate) async fn release(package: &str, program: &str) -> Result<PathBuf, Error> {
    let mut command = cargo();
    command.args(["build", "--release", "--message-format=json-render-diagnostics"]);
    command.args(["--package", package, "--bin", program]);
    let cargo = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let output = cargo.wait_with_output().await?;
    let built = executables(&output.stdout).remove(program);
    built.filter(|_| output.status.success()).ok_or_else(|| {
        format!("cargo could not build {program} for release ({})", output.status).into()
    })
}

/// The programs that cargo's messages name.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>
pub(crate) fn executables(messages: &[u8]) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let messages = messages.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    messages.filter_map(|message| Some((message.target?.name, message.executable?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artifacts_with_a_file_are_programs() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"simcloud"},"executable":"/t/debug/simcloud"}
{"reason":"build-finished","success":true}
"#;
        let built = executables(messages);
        assert_eq!(built.len(), 1);
        assert_eq!(built["simcloud"], Path::new("/t/debug/simcloud"));
    }

    #[test]
    fn the_root_has_the_lock_file() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
