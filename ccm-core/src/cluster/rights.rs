//! What the process may do in the cluster: the rules that a manifest grants and that tests run with.
//!
//! The least that works, for the controllers that there are; a provider's
//! [`Needs`] may ask for more.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::cloud::Needs;

/// Rules in the whole cluster.
pub fn in_cluster(needs: &Needs) -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", "nodes", &["list", "watch", "patch", "delete"]),
        rule("", "nodes/status", &["patch"]),
        rule("", "services", &["list", "watch"]),
        // Finalizers and annotations go this way too: no right to change what users ask for.
        rule("", "services/status", &["patch"]),
        rule("", "persistentvolumes", &["list", "watch", "patch"]),
        rule("", "events", &["create", "patch"]),
        // Who asks the endpoints, and what he may.
        rule("authentication.k8s.io", "tokenreviews", &["create"]),
        rule("authorization.k8s.io", "subjectaccessreviews", &["create"]),
    ];
    if needs.kube_system_uid {
        rules.push(named(rule("", "namespaces", &["get"]), "kube-system"));
    }
    rules
}

/// Rules in the namespace of the lease.
pub fn for_lease(name: &str) -> Vec<PolicyRule> {
    vec![
        // A creation cannot be limited to a name.
        rule("coordination.k8s.io", "leases", &["create"]),
        named(rule("coordination.k8s.io", "leases", &["get", "update", "watch"]), name),
    ]
}

/// Rules in the namespace `kube-system`: whose client certificates count at the endpoints. No more
/// than the Role `extension-apiserver-authentication-reader`, which clusters have, grants.
pub fn for_authentication() -> Vec<PolicyRule> {
    let rule = rule("", "configmaps", &["list", "watch"]);
    vec![named(rule, "extension-apiserver-authentication")]
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    }
}

fn named(rule: PolicyRule, name: &str) -> PolicyRule {
    PolicyRule { resource_names: Some(vec![name.to_owned()]), ..rule }
}
