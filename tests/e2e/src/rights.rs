//! The least that the node controller may do: the rules of the manifest, no more.

use ccm_envtest::Grant;
use k8s_openapi::api::rbac::v1::PolicyRule;

/// Where the program runs.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The lease of the election.
pub(crate) const LEASE: &str = "cloud-controller-manager";

/// All rights.
pub(crate) fn least() -> [Grant; 2] {
    [
        Grant::ClusterRules(vec![
            rule("", "nodes", &["get", "list", "watch", "patch"]),
            rule("", "nodes/status", &["patch"]),
            rule("", "events", &["create", "patch"]),
        ]),
        Grant::RoleRules {
            namespace: NAMESPACE.to_owned(),
            rules: vec![
                // A creation cannot be limited to a name.
                rule("coordination.k8s.io", "leases", &["create"]),
                PolicyRule {
                    resource_names: Some(vec![LEASE.to_owned()]),
                    ..rule("coordination.k8s.io", "leases", &["get", "update", "watch"])
                },
            ],
        },
    ]
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    }
}
