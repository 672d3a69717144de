//! `cargo xtask manifests`: what is applied to a cluster, in three forms of one source.
//!
//! The source is the program, which prints its own manifest. Everything below `manifests/` but its README follows from that
//! and is checked in, so that whoever installs needs neither the program nor Rust.

mod helm;
mod kustomize;
mod printed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::printed::Printed;
use crate::out::Out;
use crate::{Error, build};

/// The providers of a release.
const PROVIDERS: [&str; 2] = ["aws", "sim"];

/// Folders in which every file is generated.
const GENERATED: [&str; 2] = ["helm", "kustomize"];

/// Texts by their paths in the folder `manifests`.
type Files = BTreeMap<PathBuf, String>;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file is not as it would be written
    #[arg(long)]
    check: bool,
}

/// Builds the program and writes what follows from it, or checks that.
pub(crate) async fn run(args: Args, out: Out) -> Result<(), Error> {
    let built = build::programs(&build::PROGRAMS, &build::EVERY_PROVIDER).await?;
    let program = built.get("cloud-controller-manager").ok_or("cargo built no program")?;
    if args.check { check(program, out) } else { write(program, out) }
}

/// Fails if a file is not as this program has it.
pub(crate) fn check(program: &Path, out: Out) -> Result<(), Error> {
    let root = root();
    let files = files(program)?;
    let is_stale = |path: &PathBuf, text: &String| {
        std::fs::read_to_string(root.join(path)).map_or(true, |found| found != *text)
    };
    let stale = files.iter().filter(|(path, text)| is_stale(path, text)).map(|(path, _)| path);
    let left = left_over(&root, &files)?;
    if let Some(path) = stale.chain(&left).next() {
        let path = path.display();
        return Err(format!("manifests/{path} is stale: run `cargo xtask manifests`").into());
    }
    out.ok(format_args!("{} files in manifests/ are as the program says", files.len()));
    Ok(())
}

fn write(program: &Path, out: Out) -> Result<(), Error> {
    let root = root();
    let files = files(program)?;
    for path in left_over(&root, &files)? {
        std::fs::remove_file(root.join(&path))?;
        out.line(format_args!("manifests/{}: removed", path.display()));
    }
    for (path, text) in files {
        let target = root.join(&path);
        if std::fs::read_to_string(&target).is_ok_and(|found| found == text) {
            continue;
        }
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&target, text)?;
        out.line(format_args!("manifests/{}: written", path.display()));
    }
    out.ok("manifests/ is as the program says");
    Ok(())
}

fn root() -> PathBuf {
    build::root().join("manifests")
}

/// All that follows from the program.
fn files(program: &Path) -> Result<Files, Error> {
    let mut files = Files::new();
    for provider in PROVIDERS {
        let daemon_set = Printed::by(program, provider, "daemonset")?;
        let deployment = Printed::by(program, provider, "deployment")?;
        files.insert(format!("{provider}.yaml").into(), daemon_set.text.clone());
        files.extend(kustomize::files(provider, &daemon_set, &deployment));
        files.extend(helm::files(provider, &daemon_set, &deployment)?);
    }
    Ok(files)
}

/// Files that were generated once, and would not be now. Beside the folders lies a plain manifest for each provider.
fn left_over(root: &Path, files: &Files) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for folder in GENERATED {
        read_folder(&root.join(folder), &mut found)?;
    }
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    let found = found.iter().filter_map(|path| path.strip_prefix(root).ok());
    Ok(found.filter(|path| !files.contains_key(*path)).map(Path::to_owned).collect())
}

fn read_folder(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nothing_generates_any_more_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("helm/sim")).unwrap();
        for name in
            ["README.md", "gone.yaml", "sim.yaml", "helm/sim/old.yaml", "helm/sim/Chart.yaml"]
        {
            std::fs::write(root.join(name), "").unwrap();
        }
        let files = ["sim.yaml", "helm/sim/Chart.yaml"].map(|path| (path.into(), String::new()));
        let left = left_over(root, &files.into()).unwrap();
        assert_eq!(left, [Path::new("helm/sim/old.yaml"), Path::new("gone.yaml")]);
    }
}
