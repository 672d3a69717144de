//! The Go library that ccm-rs stands in for, with a provider for the simulated cloud: to be measured beside ours, and to be
//! swapped for it.
//!
//! Its sources are in `tests/peer`. It is built as the control plane is, with the same versions of the same modules, so
//! that Go's build cache has most of it.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    time::Duration,
};

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::{
    error::Error,
    grant::Grant,
    toolchain::{Recipe, Toolchain},
};

/// The file's name.
const NAME: &str = "ccm-go-peer";

/// What the simulated cloud's log of calls knows it by.
pub const CALLER: &str = "go-peer";

macro_rules! module {
    ($($file:literal),+ $(,)?) => {
        [$(($file, include_str!(concat!("../../peer/", $file)))),+]
    };
}

/// All of it.
const MODULE: [(&str, &str); 11] = module![
    "go.mod",
    "go.sum",
    "client.go",
    "firewall.go",
    "instances.go",
    "load_balancers.go",
    "main.go",
    "pieces.go",
    "provider.go",
    "routes.go",
    "wish.go",
];

/// The program's path, from the user's cache; built first if it is not there, which is said on standard error.
///
/// It takes the flags of the library's own `cloud-controller-manager`, with `--cloud-provider=sim` and the configuration
/// file of ours. It knows no signals, as the library's sample does not: SIGTERM ends it at once, and its Lease runs out.
pub async fn locate() -> Result<PathBuf, Error> {
    let build = || {
        let recipe = recipe();
        Toolchain::of_this_user(&recipe)?.built(&recipe)
    };
    tokio::task::spawn_blocking(build)
        .await
        .map_err(|err| missing(NAME, format!("looking for it failed: {err}")))?
}

/// The rights that a manifest would give it, for a Lease in this namespace.
pub fn grants(namespace: &str) -> Vec<Grant> {
    let rule = |group: &str, resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    };
    vec![
        Grant::ClusterRules(vec![
            // A whole Node is put in the place of what was there.
            rule("", "nodes", &["get", "list", "watch", "update", "patch", "delete"]),
            rule("", "nodes/status", &["patch"]),
            rule("", "services", &["list", "watch"]),
            rule("", "services/status", &["patch"]),
            rule("", "events", &["create", "patch", "update"]),
        ]),
        Grant::RoleRules {
            namespace: namespace.to_owned(),
            rules: vec![rule("coordination.k8s.io", "leases", &["create", "get", "update"])],
        },
    ]
}

fn missing(program: &'static str, reason: String) -> Error {
    Error::MissingPeer { program, reason }
}

fn recipe() -> Recipe {
    // The same as long as Rust's library is: with another it is built once more.
    let mut content = DefaultHasher::new();
    MODULE.hash(&mut content);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    Recipe {
        name: NAME,
        folder: format!("peer-{:016x}-{os}-{arch}", content.finish()),
        files: &MODULE,
        package: ".",
        build_time: Duration::from_secs(110),
        missing,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::binaries::KUBERNETES_VERSION;

    #[test]
    fn every_file_is_compiled_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peer");
        let names = std::fs::read_dir(folder).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        let there: BTreeSet<_> = names.filter(|name| name != "README.md").collect();
        let ours: BTreeSet<_> = MODULE.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(ours, there);
    }

    #[test]
    fn the_library_is_of_the_version_of_the_control_plane() {
        let minor = KUBERNETES_VERSION.strip_prefix("1.").unwrap();
        let line = format!("\tk8s.io/cloud-provider v0.{minor}\n");
        assert!(MODULE[0].1.contains(&line), "{line:?} is not in go.mod");
    }

    #[test]
    fn its_modules_are_those_of_the_control_plane() {
        let versions = |text: &'static str| -> BTreeSet<&str> {
            let lines = text.lines().filter_map(|line| line.strip_prefix('\t'));
            lines.map(|line| line.trim_end_matches(" // indirect")).collect()
        };
        let theirs = versions(include_str!("../binaries/go.mod"));
        let pinned: BTreeSet<_> = theirs
            .iter()
            .map(|line| line.split_once(" => ").map_or(*line, |(_, replaced)| replaced))
            .collect();
        let others: Vec<_> = versions(MODULE[0].1).difference(&pinned).copied().collect();
        assert!(others.is_empty(), "the build cache is not shared for {others:?}");
    }

    #[test]
    fn without_go_nobody_is_sent_to_look_for_another_folder() {
        let text = missing(NAME, "there is no go on PATH".to_owned()).to_string();
        assert!(text.contains("Install Go 1.26") && !text.contains("KUBEBUILDER"), "{text}");
    }
}
