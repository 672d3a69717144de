//! The rights that the program runs with: those that it says it needs, and no more.

use ccm_core::cloud::Needs;
use ccm_core::cluster::rights;
use ccm_envtest::Grant;

/// Where the program runs.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The lease of the election.
pub(crate) const LEASE: &str = "cloud-controller-manager";

/// All rights.
pub(crate) fn least() -> [Grant; 3] {
    [
        Grant::ClusterRules(rights::in_cluster(&Needs::default())),
        Grant::RoleRules { namespace: NAMESPACE.to_owned(), rules: rights::for_lease(LEASE) },
        Grant::RoleRules { namespace: NAMESPACE.to_owned(), rules: rights::for_authentication() },
    ]
}

/// All rights but that to delete Nodes, as a role from before there was a lifecycle controller.
pub(crate) fn without_deletion() -> [Grant; 3] {
    let [in_cluster, for_lease, for_authentication] = least();
    let Grant::ClusterRules(mut rules) = in_cluster else { unreachable!("rules of the cluster") };
    for rule in &mut rules {
        rule.verbs.retain(|verb| verb != "delete");
    }
    [Grant::ClusterRules(rules), for_lease, for_authentication]
}

/// All rights but those to `PersistentVolume`s, as a role from before there was a volume controller.
pub(crate) fn without_volumes() -> [Grant; 3] {
    let [in_cluster, for_lease, for_authentication] = least();
    let Grant::ClusterRules(mut rules) = in_cluster else { unreachable!("rules of the cluster") };
    let is_of_volumes = |resource: &String| resource == "persistentvolumes";
    rules.retain(|rule| !rule.resources.iter().flatten().any(is_of_volumes));
    [Grant::ClusterRules(rules), for_lease, for_authentication]
}

/// Rights to read what the program reads, and no other: those that a plan needs.
pub(crate) fn reading() -> [Grant; 1] {
    let mut rules = rights::in_cluster(&Needs::default());
    for rule in &mut rules {
        rule.verbs.retain(|verb| matches!(verb.as_str(), "get" | "list" | "watch"));
    }
    rules.retain(|rule| !rule.verbs.is_empty());
    [Grant::ClusterRules(rules)]
}
