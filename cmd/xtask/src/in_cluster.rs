//! The suite on a real node: what has to be there for it, and its run.

use std::path::PathBuf;

use ccm_envtest::Binary;
use ccm_node::needs::{self, Missing};
use tokio::process::Command;

use crate::group::Group;
use crate::out::Out;
use crate::test::line;
use crate::{Error, build, image};

/// Packages that can be taken back, so that an unattended machine stays small.
const INSTALL: [&str; 4] = ["install", "--yes", "--quiet", "--no-install-recommends"];

/// What Go builds for it, unless it is there.
const BINARIES: [Binary; 4] =
    [Binary::Kubelet, Binary::KubeControllerManager, Binary::KubeScheduler, Binary::Kubectl];

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// And it was said why.
    Skipped,
}

/// Whether it is an error that something is missing for root.
pub(crate) fn is_forced() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// Runs it, with these programs or with such as are built now.
pub(crate) async fn run(
    programs: Option<PathBuf>,
    install: bool,
    out: Out,
) -> Result<Outcome, Error> {
    let mut missing = needs::missing();
    if install {
        missing = installed(missing, out).await?;
    }
    if !missing.is_empty() {
        return skipped(&missing, out);
    }
    let whole = programs.is_some();
    let programs = match programs {
        Some(programs) => programs,
        None => build_programs().await?,
    };
    for binary in BINARIES {
        out.line(binary.locate().await?.display());
    }
    let image = image::of_the_simulated_cloud(out).await?;
    let mut cargo = build::cargo();
    cargo.arg("test").env("CCM_IMAGE", image.archive).env("CCM_IMAGE_COMMIT", image.commit);
    // With the features that all has been built with: otherwise much would be compiled once more.
    if whole {
        cargo.arg("--workspace");
    } else {
        let packages = ["ccm-node", "xtask"].into_iter().chain(build::PROGRAMS);
        cargo.args(packages.map(|name| format!("--package={name}")));
    }
    cargo.arg("--test=in_cluster").env("CCM_BIN_DIR", programs);
    out.line(line(&cargo));
    let status = Group::start(cargo)?.ended().await?;
    if status.success() {
        Ok(Outcome::Passed)
    } else {
        Err(format!("in a cluster: {status}").into())
    }
}

/// Says what is missing. That is no failure, unless somebody relies on it.
fn skipped(missing: &[Missing], out: Out) -> Result<Outcome, Error> {
    let words: Vec<_> = missing.iter().map(ToString::to_string).collect();
    let packages = needs::packages(missing);
    if !is_excused(missing, is_forced()) {
        return Err(format!("a real node needs {}", words.join(", ")).into());
    }
    out.line(format_args!("SKIPPED: a real node needs {}", words.join(", ")));
    if !packages.is_empty() {
        out.line(format_args!("  apt-get {} {}", INSTALL[0], packages.join(" ")));
    }
    Ok(Outcome::Skipped)
}

/// Where it is relied on, only who is not root is excused: a machine that was made for it and has lost something would
/// otherwise pass for ever.
fn is_excused(missing: &[Missing], forced: bool) -> bool {
    !forced || missing.contains(&Missing::Root)
}

/// Installs the packages that are missing, and says what is missing then.
async fn installed(missing: Vec<Missing>, out: Out) -> Result<Vec<Missing>, Error> {
    let packages = needs::packages(&missing);
    let is_debian = Command::new("apt-get").arg("--version").output().await.is_ok();
    if packages.is_empty() || missing.contains(&Missing::Root) || !is_debian {
        return Ok(missing);
    }
    out.line(format_args!("packages of Debian that are missing: {}", packages.join(", ")));
    // A machine that has just been made may have no lists, or none that still hold.
    for args in [vec!["update", "--quiet"], [&INSTALL[..], &packages].concat()] {
        let mut apt = Command::new("apt-get");
        apt.args(&args).env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
        out.line(line(&apt));
        let output = apt.kill_on_drop(true).output().await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            out.line(format_args!("{}: {}", output.status, said.trim()));
        }
    }
    Ok(needs::missing())
}

async fn build_programs() -> Result<PathBuf, Error> {
    let built = build::programs(&build::PROGRAMS, &[]).await?;
    let program = built.values().next().and_then(|program| program.parent());
    Ok(program.ok_or("cargo built nothing")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_relied_on_only_who_is_not_root_is_excused() {
        let veth = Missing::System { what: "veth", why: String::new() };
        for missing in [veth, Missing::Package("runc")] {
            assert!(is_excused(std::slice::from_ref(&missing), false));
            assert!(!is_excused(std::slice::from_ref(&missing), true));
            assert!(is_excused(&[missing, Missing::Root], true));
        }
    }
}
