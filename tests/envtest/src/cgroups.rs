//! Control groups of one instance: one of the same name at the top of every hierarchy.
//!
//! The machine has one hierarchy for all controllers (version 2), one for each (version 1), or both. A kubelet that is
//! given such a group as its root makes everything of its own in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    error::{Context, Error},
    process::POLL,
};

const ROOT: &str = "/sys/fs/cgroup";

/// What a kubelet wants of version 2, where a group has only those controllers that its parent hands down.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// How long processes that were killed may still be in a group. A guess; it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name for the instance with this directory. `guardian.sh` says the same.
pub(crate) fn name(directory: &Path) -> Option<String> {
    Some(format!("ccm-envtest-{}", directory.file_name()?.to_str()?))
}

/// Makes the groups.
pub(crate) fn make(name: &str) -> Result<(), Error> {
    if is_hierarchy(Path::new(ROOT)) {
        hand_down(Path::new(ROOT))?;
    }
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        fs::create_dir(&group).context(|| format!("creating the group {}", group.display()))?;
        // A new group of version 1 has no cores and no memory of its own, and takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (hierarchy.join(file), group.join(file));
            if from.is_file() {
                fs::read(&from)
                    .and_then(|value| fs::write(&to, value))
                    .context(|| format!("writing {}", to.display()))?;
            }
        }
    }
    Ok(())
}

/// Removes the groups and those within. What cannot be removed is left: an empty group does no harm.
pub(crate) fn remove(name: &str) {
    let groups = hierarchies().into_iter().map(|hierarchy| hierarchy.join(name));
    let mut left: Vec<PathBuf> = groups.filter(|group| group.is_dir()).collect();
    let since = Instant::now();
    while !left.is_empty() {
        left.retain(|group| remove_tree(group).is_err());
        if since.elapsed() > PATIENCE {
            return;
        }
        if !left.is_empty() {
            wait_a_little();
        }
    }
}

/// The files in a group go with it.
fn remove_tree(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// The tops of all hierarchies, each once: some have several names.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if is_hierarchy(root) {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).filter(|path| is_hierarchy(path)).collect()
}

fn is_hierarchy(path: &Path) -> bool {
    path.join("cgroup.procs").is_file()
}

/// Lets the groups below have what a kubelet wants. It is not taken back: others may use it by then.
fn hand_down(root: &Path) -> Result<(), Error> {
    let file = root.join("cgroup.subtree_control");
    let what = || format!("handing controllers down in {}", file.display());
    let there = fs::read_to_string(&file).context(what)?;
    let lacks = |name: &&&str| !there.split_whitespace().any(|there| there == **name);
    for name in CONTROLLERS.iter().filter(lacks) {
        fs::write(&file, format!("+{name}")).context(what)?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "while a value is dropped, where nothing can be awaited"
)]
fn wait_a_little() {
    std::thread::sleep(POLL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_after_the_directory() {
        let name = name(Path::new("/tmp/ccm-envtest-0/12-ab-0"));
        assert_eq!(name.as_deref(), Some("ccm-envtest-12-ab-0"));
        let script = include_str!("guardian.sh");
        assert!(script.contains(r#""/sys/fs/cgroup/ccm-envtest-${directory##*/}""#));
    }

    #[test]
    fn groups_within_groups_go_from_the_innermost() {
        let top = std::env::temp_dir().join(format!("ccm-envtest-groups-{}", std::process::id()));
        std::fs::create_dir_all(top.join("kubepods/besteffort/pod-1")).unwrap();
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }
}
