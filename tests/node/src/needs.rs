//! What the machine has to have.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where programs of the system are. What is in a user's own folders is not taken: it will run as root.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where packages put the plugins that give pods their network.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Programs, and the packages of Debian that have them.
const PROGRAMS: [(&str, &str); 7] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
    ("unshare", "util-linux"),
];

/// The package with the plugins.
const PLUGINS_PACKAGE: &str = "containernetworking-plugins";

/// Something without which there can be no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// We are not root.
    Root,
    /// Namespaces cannot be made, although we are root: in most containers, for example.
    Namespaces(String),
    /// A package of Debian.
    Package(&'static str),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Namespaces(why) => write!(f, "the right to make namespaces ({why})"),
            Self::Package(name) => write!(f, "the package {name}"),
        }
    }
}

/// All that is missing; each package once.
pub fn missing() -> Vec<Missing> {
    let mut missing = Vec::new();
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        missing.push(Missing::Root);
    }
    let mut packages: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| program_of(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if plugins().is_none() {
        packages.push(PLUGINS_PACKAGE);
    }
    packages.dedup();
    let can_try = is_root && !packages.contains(&"util-linux");
    missing.extend(packages.into_iter().map(Missing::Package));
    if can_try && let Err(why) = namespaces() {
        missing.push(Missing::Namespaces(why));
    }
    missing
}

/// The packages among them.
pub fn packages(missing: &[Missing]) -> Vec<&'static str> {
    let package = |missing: &Missing| match missing {
        Missing::Package(name) => Some(*name),
        Missing::Root | Missing::Namespaces(_) => None,
    };
    missing.iter().filter_map(package).collect()
}

/// The folder with the plugins.
pub(crate) fn plugins() -> Option<&'static Path> {
    let has_all = |folder: &&Path| {
        ["ptp", "host-local", "loopback"].iter().all(|name| folder.join(name).is_file())
    };
    PLUGINS.iter().map(Path::new).find(has_all)
}

/// A program of the system.
pub(crate) fn program_of(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

fn namespaces() -> Result<(), String> {
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc", "true"])
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|err| err.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_words() {
        let missing = [Missing::Root, Missing::Package("runc")];
        let words: Vec<_> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["root", "the package runc"]);
        assert_eq!(packages(&missing), ["runc"]);
    }

    #[test]
    fn programs_are_looked_for_where_the_system_has_them() {
        assert!(program_of("sh").is_some());
        assert_eq!(program_of("no-such-program"), None);
    }
}
