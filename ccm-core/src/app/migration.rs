//! Leader migration: controllers move from a kube-controller-manager to this program while both run.
//!
//! Upstream's <https://kep.k8s.io/2436>: the old program runs them under a second lease, and lets that
//! go only when it is upgraded. Here nothing runs before both leases are held, so that no controller
//! ever runs in two programs. What need not have waited, waits too; upstream starts that at once.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::app::flags::{CONTROLLERS, MigrationFile, Options};
use crate::cluster::keys::controller;

/// What this program calls itself in the file.
const COMPONENT: &str = "cloud-controller-manager";

/// The lease where no file says another.
const LEASE: &str = "cloud-provider-extraction-migration";

/// Names of the file for controllers that are called otherwise today.
const OLD_NAMES: [(&str, &str); 2] =
    [("service-controller", controller::SERVICE), ("route-controller", controller::ROUTE)];

/// What the flags and the file come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migration {
    /// The second lease, in the namespace of the first. `None`: no controller of ours is migrated.
    pub lease: Option<String>,
    /// Controllers, by their canonical names, that another program runs.
    pub elsewhere: Vec<&'static str>,
    /// What the second lease is called, whether we take it or not; empty without a migration.
    pub leader_name: String,
    /// Every controller that is named, as it is, with the program that it is given to.
    pub leaders: Vec<(String, String)>,
}

/// The file of `--leader-migration-config` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// It cannot be read.
    #[error("--leader-migration-config {}: cannot be read: {source}", path.display())]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it has to be.
    #[error("--leader-migration-config {}: {problem}", path.display())]
    Content {
        /// As it was given.
        path: PathBuf,
        /// What is wrong, and what would do.
        problem: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    leader_name: String,
    /// Of versions before v1.
    #[serde(default)]
    resource_lock: Option<String>,
    #[serde(default)]
    controller_leaders: Vec<Leader>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Leader {
    name: String,
    component: String,
}

/// What the options say. Reads the file that they name.
pub fn of(options: &Options) -> Result<Migration, MigrationError> {
    let election = options.leader_election.as_ref();
    match election.and_then(|election| election.migration.as_ref()) {
        None => Ok(Migration::default()),
        Some(MigrationFile::Usual) => Ok(usual()),
        Some(MigrationFile::Named(path)) => Ok(read(path)?.0),
    }
}

/// What the file says, and its text.
pub(super) fn read(path: &Path) -> Result<(Migration, String), MigrationError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| MigrationError::Unreadable { path: path.to_owned(), source })?;
    let content = |problem| MigrationError::Content { path: path.to_owned(), problem };
    Ok((parse(&text).map_err(content)?, text))
}

/// A file that says what goes without one.
pub(super) const SAMPLE: &str = "\
apiVersion: controllermanager.config.k8s.io/v1
kind: LeaderMigrationConfiguration
leaderName: cloud-provider-extraction-migration
controllerLeaders:
- {name: route-controller, component: '*'}
- {name: service-controller, component: '*'}
- {name: cloud-node-lifecycle-controller, component: '*'}
";

/// Everything that kube-controller-managers once ran, by the names that upstream has for it.
pub(super) fn usual() -> Migration {
    let names = ["route-controller", "service-controller", "cloud-node-lifecycle-controller"];
    Migration {
        lease: Some(LEASE.to_owned()),
        elsewhere: Vec::new(),
        leader_name: LEASE.to_owned(),
        leaders: names.map(|name| (name.to_owned(), "*".to_owned())).to_vec(),
    }
}

fn parse(text: &str) -> Result<Migration, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options)
        .map_err(|err| format!("no LeaderMigrationConfiguration: {err}"))?;
    let version = file.api_version.strip_prefix("controllermanager.config.k8s.io/");
    let version = version.filter(|version| matches!(*version, "v1alpha1" | "v1beta1" | "v1"));
    let Some(version) = version else {
        return Err(format!(
            "apiVersion {:?} must be controllermanager.config.k8s.io/v1, v1beta1 or v1alpha1",
            file.api_version
        ));
    };
    if file.kind != "LeaderMigrationConfiguration" {
        return Err(format!("kind {:?} must be LeaderMigrationConfiguration", file.kind));
    }
    if file.leader_name.is_empty() {
        return Err("leaderName must not be empty: it names the lease".to_owned());
    }
    match file.resource_lock.as_deref() {
        Some(_) if version == "v1" => return Err("resourceLock is unknown in v1".to_owned()),
        None | Some("leases") => {}
        Some(lock) => {
            return Err(format!("resourceLock {lock:?} must be leases: there are no other locks"));
        }
    }
    let (mut is_migrated, mut elsewhere) = (false, Vec::new());
    for leader in &file.controller_leaders {
        if leader.name.is_empty() || leader.component.is_empty() {
            return Err("controllerLeaders: name and component must not be empty".to_owned());
        }
        // A controller of another program's is nothing to us.
        let Some(name) = canonical(&leader.name) else { continue };
        if matches!(leader.component.as_str(), "*" | COMPONENT) {
            is_migrated = true;
        } else {
            elsewhere.push(name);
        }
    }
    let leaders = file.controller_leaders.into_iter().map(|leader| (leader.name, leader.component));
    Ok(Migration {
        lease: is_migrated.then(|| file.leader_name.clone()),
        elsewhere,
        leader_name: file.leader_name,
        leaders: leaders.collect(),
    })
}

/// Upstream compares canonical names alone, so that its own usual file misses two controllers.
fn canonical(name: &str) -> Option<&'static str> {
    let old = OLD_NAMES.iter().find(|(old, _)| *old == name).map(|(_, name)| *name);
    let known = || CONTROLLERS.iter().find(|known| known.name == name || known.alias == name);
    old.or_else(|| known().map(|known| known.name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const HEAD: &str =
        "apiVersion: controllermanager.config.k8s.io/v1\nkind: LeaderMigrationConfiguration\n";

    #[rstest]
    #[case::nothing_listed("leaderName: m\n", None, &[])]
    #[case::ours(
        "leaderName: m\ncontrollerLeaders:\n- {name: service-lb-controller, component: cloud-controller-manager}\n",
        Some("m"),
        &[]
    )]
    #[case::anybodys_by_the_name_of_old(
        "leaderName: m\ncontrollerLeaders:\n- {name: route-controller, component: '*'}\n",
        Some("m"),
        &[]
    )]
    #[case::not_ours_yet(
        "leaderName: m\ncontrollerLeaders:\n- {name: service, component: kube-controller-manager}\n",
        None,
        &[controller::SERVICE]
    )]
    #[case::of_another_program(
        "leaderName: m\ncontrollerLeaders:\n- {name: attachdetach, component: '*'}\n",
        None,
        &[]
    )]
    fn files_are_read(
        #[case] rest: &str,
        #[case] lease: Option<&str>,
        #[case] elsewhere: &[&'static str],
    ) {
        let found = parse(&format!("{HEAD}{rest}")).unwrap();
        assert_eq!((found.lease.as_deref(), &*found.elsewhere), (lease, elsewhere));
        assert_eq!(found.leader_name, "m");
    }

    #[test]
    fn the_sample_says_what_goes_without_a_file() {
        assert_eq!(parse(SAMPLE), Ok(usual()));
    }

    /// The lines of a good file and of bad ones.
    fn line() -> impl Strategy<Value = String> {
        let lines = [
            "apiVersion: controllermanager.config.k8s.io/v1",
            "apiVersion: controllermanager.config.k8s.io/v1beta1",
            "kind: LeaderMigrationConfiguration",
            "leaderName: m",
            "resourceLock: leases",
            "controllerLeaders:",
            "- {name: service, component: '*'}",
            "- name: route-controller",
            "  component: kube-controller-manager",
            "- &a {name: *a, component: *b}",
            "leaderName: !!binary bQ==",
        ];
        prop_oneof![4 => prop::sample::select(lines.to_vec()).prop_map(str::to_owned), 1 => ".*"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Whatever is in the file is read or refused in one line of words, and never twice differently.
        #[test]
        fn no_file_is_a_panic(
            text in prop_oneof![
                prop::collection::vec(line(), 0..12).prop_map(|lines| lines.join("\n")),
                ".{0,200}",
                (0..SAMPLE.len(), any::<char>()).prop_map(|(place, put)| {
                    let (before, after) = SAMPLE.split_at(place);
                    format!("{before}{put}{}", after.get(1..).unwrap_or_default())
                }),
            ],
        ) {
            let read = parse(&text);
            prop_assert_eq!(&read, &parse(&text));
            match read {
                Ok(migration) => prop_assert!(!migration.leader_name.is_empty()),
                Err(problem) => prop_assert!(!problem.is_empty()),
            }
        }
    }

    #[rstest]
    #[case::empty("", "no LeaderMigrationConfiguration")]
    #[case::unknown_field(&format!("{HEAD}leaderName: m\nleader: x\n"), "leader")]
    #[case::twice(&format!("{HEAD}leaderName: m\nleaderName: n\n"), "leaderName")]
    #[case::no_name(&format!("{HEAD}leaderName: ''\n"), "leaderName must not be empty")]
    #[case::lock_in_v1(&format!("{HEAD}leaderName: m\nresourceLock: leases\n"), "resourceLock is unknown in v1")]
    #[case::other_lock(
        "apiVersion: controllermanager.config.k8s.io/v1beta1\nkind: LeaderMigrationConfiguration\nleaderName: m\nresourceLock: endpoints\n",
        "resourceLock \"endpoints\" must be leases"
    )]
    #[case::other_kind(
        "apiVersion: controllermanager.config.k8s.io/v1\nkind: Pod\nleaderName: m\n",
        "kind \"Pod\""
    )]
    #[case::other_version(
        "apiVersion: v2\nkind: LeaderMigrationConfiguration\nleaderName: m\n",
        "apiVersion \"v2\""
    )]
    #[case::empty_component(
        &format!("{HEAD}leaderName: m\ncontrollerLeaders:\n- {{name: service, component: ''}}\n"),
        "name and component must not be empty"
    )]
    fn mistakes_are_named(#[case] text: &str, #[case] want: &str) {
        let said = parse(text).unwrap_err();
        assert!(said.contains(want), "{said}");
    }
}
