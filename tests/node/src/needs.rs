//! What the machine has to have.

use std::{
    collections::BTreeSet,
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

/// What the system has to let root do in new namespaces, and a way to see that it does. The first is what the others
/// need.
const PROBES: [(&str, &str); 3] = [
    ("the right to make namespaces", "true"),
    (
        "overlayfs",
        "mount -t tmpfs probe /run && mkdir /run/upper /run/work && \
         mount -t overlay probe -o lowerdir=/var/lib,upperdir=/run/upper,workdir=/run/work /var/lib",
    ),
    ("network interfaces of the kind veth", "ip link add one type veth peer name other"),
];

/// Where control groups are: of version 2 itself, and of version 1 in folders of it.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Something without which there can be no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// We are not root.
    Root,
    /// The system does not let us, although we are root, as in most containers; or its kernel cannot.
    System {
        /// What is not to be had.
        what: &'static str,
        /// What the system said.
        why: String,
    },
    /// A package of Debian.
    Package(&'static str),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::System { what, why } => write!(f, "{what} ({why})"),
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
    let mut packages = packages_without(|program| program_of(program).is_some());
    if plugins().is_none() {
        packages.insert(PLUGINS_PACKAGE);
    }
    let can_try = ["iproute2", "mount", "util-linux"].iter().all(|name| !packages.contains(name));
    missing.extend(packages.into_iter().map(Missing::Package));
    if is_root && can_try {
        missing.extend(lacks());
    }
    missing
}

/// The packages with the programs that are not there.
fn packages_without(is_there: impl Fn(&str) -> bool) -> BTreeSet<&'static str> {
    let missing = PROGRAMS.iter().filter(|(program, _)| !is_there(program));
    missing.map(|(_, package)| *package).collect()
}

/// What the system does not let us do.
fn lacks() -> Vec<Missing> {
    let [namespaces, others @ ..] = PROBES;
    let mut lacks = Vec::from_iter(probe(namespaces));
    if lacks.is_empty() {
        lacks.extend(others.into_iter().filter_map(probe));
    }
    lacks.extend(control_groups());
    lacks
}

/// The packages among them.
pub fn packages(missing: &[Missing]) -> Vec<&'static str> {
    let package = |missing: &Missing| match missing {
        Missing::Package(name) => Some(*name),
        Missing::Root | Missing::System { .. } => None,
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

/// Runs a script in namespaces as the node's are.
fn probe((what, script): (&'static str, &str)) -> Option<Missing> {
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc"])
        .args(["sh", "-c", script])
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output();
    let why = match output {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(err) => err.to_string(),
    };
    Some(Missing::System { what, why })
}

/// Makes a control group in each hierarchy and takes it away: in containers they are often read-only.
fn control_groups() -> Option<Missing> {
    let lack = |why: String| Some(Missing::System { what: "control groups of its own", why });
    let top = Path::new(CGROUPS);
    let folders = std::fs::read_dir(top).into_iter().flatten().flatten().map(|it| it.path());
    let is_hierarchy = |path: &PathBuf| path.join("cgroup.procs").is_file();
    // Of version 2 every folder is a group of somebody's.
    let hierarchies: Vec<PathBuf> = if is_hierarchy(&top.to_owned()) {
        vec![top.to_owned()]
    } else {
        folders.filter(is_hierarchy).collect()
    };
    if hierarchies.is_empty() {
        return lack(format!("{CGROUPS} has none"));
    }
    hierarchies.iter().find_map(|hierarchy| {
        let group = hierarchy.join(format!("ccm-node-probe-{}", std::process::id()));
        let tried = std::fs::create_dir(&group).and_then(|()| std::fs::remove_dir(&group));
        tried.err().and_then(|err| lack(format!("{}: {err}", group.display())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_words() {
        let veth = Missing::System { what: "veth", why: "not supported".to_owned() };
        let missing = [Missing::Root, Missing::Package("runc"), veth];
        let words: Vec<_> = missing.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["root", "the package runc", "veth (not supported)"]);
        assert_eq!(packages(&missing), ["runc"]);
    }

    #[test]
    fn a_package_is_named_once_however_many_of_its_programs_are_missing() {
        let packages = packages_without(|program| program == "ip" || program == "mount");
        assert_eq!(Vec::from_iter(packages), ["containerd", "runc", "util-linux"]);
    }

    #[test]
    fn what_the_system_does_not_do_is_named_with_its_own_words() {
        let Some(Missing::System { what, why }) = probe(("it", "echo no such thing >&2; exit 1"))
        else {
            panic!("it failed");
        };
        // Without root it is unshare that says why.
        assert!(what == "it" && !why.is_empty(), "{why}");
    }

    #[test]
    fn programs_are_looked_for_where_the_system_has_them() {
        assert!(program_of("sh").is_some());
        assert_eq!(program_of("no-such-program"), None);
    }
}
