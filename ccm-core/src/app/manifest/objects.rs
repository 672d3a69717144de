//! Who the program is in the cluster, what it may do there, and what it is told.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Document;
use crate::app::flags::{CONTROLLERS, Options};
use crate::cloud::{Install, Registration, Sample};
use crate::cluster::keys::controller;
use crate::cluster::rights;

/// Where all of it is.
pub(super) const NAMESPACE: &str = "kube-system";

/// The service account, by the name that Go programs use too.
pub(super) const ACCOUNT: &str = "cloud-controller-manager";

const CLUSTER_ROLE: &str = "system:cloud-controller-manager";

/// The account and its rights; with them those of the controllers' own accounts, where they have any.
pub(super) fn rights(options: &Options, registration: &Registration) -> Vec<Document> {
    let wanted = wanted(options, registration);
    let mut objects = vec![json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": named(ACCOUNT),
    })];
    let rules = rights::in_cluster(&wanted);
    objects.extend(cluster_role(CLUSTER_ROLE, &rules, &[ACCOUNT]));
    let rules = rights::in_namespace(&wanted);
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": named(ACCOUNT),
        "rules": rules,
    }));
    objects.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": named(ACCOUNT),
        "roleRef": role_ref("Role", ACCOUNT),
        "subjects": subjects(&[ACCOUNT]),
    }));
    for (account, rules) in rights::of_accounts(&wanted) {
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": named(account),
        }));
        objects.extend(cluster_role(&format!("{CLUSTER_ROLE}:{account}"), &rules, &[account]));
    }
    objects.into_iter().map(Document::Object).collect()
}

fn wanted(options: &Options, registration: &Registration) -> rights::Wanted {
    let lacks = registration.install.lacks;
    let makes_routes = options.route_controller.is_some() && !options.cluster.cidrs.is_empty();
    let runs = |name: &str| {
        options.controllers.has(name)
            && !lacks.contains(&name)
            && (name != controller::ROUTE || makes_routes)
            && (name != controller::NODE_IPAM || options.node_ipam.is_some())
    };
    rights::Wanted {
        controllers: CONTROLLERS.iter().map(|known| known.name).filter(|name| runs(name)).collect(),
        needs: registration.needs.clone(),
        lease: options.leader_election.as_ref().map(|election| election.name.clone()),
        own_accounts: options.cluster.own_accounts,
        serves: options.serving.is_some(),
    }
}

fn named(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE })
}

fn role_ref(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

fn subjects(accounts: &[&str]) -> Value {
    let subject =
        |name: &&str| json!({ "kind": "ServiceAccount", "name": name, "namespace": NAMESPACE });
    accounts.iter().map(subject).collect()
}

fn cluster_role(
    name: &str,
    rules: &[k8s_openapi::api::rbac::v1::PolicyRule],
    accounts: &[&str],
) -> [Value; 2] {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": name },
        "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": role_ref("ClusterRole", name),
        "subjects": subjects(accounts),
    });
    [role, binding]
}

/// The `ConfigMap` and the `Secret`, as text: what is filled in is marked where it stands.
pub(super) fn settings(name: &str, install: &Install) -> Vec<Document> {
    let mut documents = vec![Document::Text(config_map(name, install.config.as_ref()))];
    if let Some(secret) = &install.secret {
        let mut text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\nstringData:\n"
        );
        file(&mut text, secret);
        documents.push(Document::Text(text));
    }
    documents
}

fn config_map(name: &str, config: Option<&Sample>) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\ndata:\n  \
         # FILL IN where no kube-proxy serves the Service `kubernetes` before the nodes are initialised: address\n  \
         # and port of an API server, as its certificate has them.\n  \
         # apiServerHost: 192.0.2.10\n  \
         # apiServerPort: \"6443\"\n"
    );
    if let Some(config) = config {
        file(&mut text, config);
    }
    text
}

/// A key with a text of several lines.
fn file(text: &mut String, sample: &Sample) {
    let _ = writeln!(text, "  {}: |", sample.file);
    for line in sample.text.lines() {
        let line = format!("    {line}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
