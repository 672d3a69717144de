//! The rights that the program runs with: those that it says it needs, and no more.

use ccm_core::cloud::Needs;
use ccm_core::cluster::rights::{self, Wanted};
use ccm_envtest::Grant;

/// Where the program runs.
pub const NAMESPACE: &str = "kube-system";

/// The lease of the election.
pub const LEASE: &str = "cloud-controller-manager";

fn everything() -> Wanted {
    Wanted::everything(Needs::default(), LEASE)
}

/// All rights.
pub fn least() -> [Grant; 2] {
    [
        Grant::ClusterRules(rights::in_cluster(&everything())),
        Grant::RoleRules {
            namespace: NAMESPACE.to_owned(),
            rules: rights::in_namespace(&everything()),
        },
    ]
}

/// All rights but that to delete Nodes, as a role from before there was a lifecycle controller.
pub(crate) fn without_deletion() -> [Grant; 2] {
    let [in_cluster, in_namespace] = least();
    let Grant::ClusterRules(mut rules) = in_cluster else { unreachable!("rules of the cluster") };
    for rule in &mut rules {
        rule.verbs.retain(|verb| verb != "delete");
    }
    [Grant::ClusterRules(rules), in_namespace]
}

/// All rights but those to `PersistentVolume`s, as a role from before there was a volume controller.
pub(crate) fn without_volumes() -> [Grant; 2] {
    let [in_cluster, in_namespace] = least();
    let Grant::ClusterRules(mut rules) = in_cluster else { unreachable!("rules of the cluster") };
    let is_of_volumes = |resource: &String| resource == "persistentvolumes";
    rules.retain(|rule| !rule.resources.iter().flatten().any(is_of_volumes));
    [Grant::ClusterRules(rules), in_namespace]
}

/// Rights to read what the program reads, and no other: those that a plan needs.
pub(crate) fn reading() -> [Grant; 1] {
    let mut rules = rights::in_cluster(&everything());
    for rule in &mut rules {
        rule.verbs.retain(|verb| matches!(verb.as_str(), "get" | "list" | "watch"));
    }
    rules.retain(|rule| !rule.verbs.is_empty());
    [Grant::ClusterRules(rules)]
}
