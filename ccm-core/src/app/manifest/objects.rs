//! Who the program is in the cluster, what it may do there, and what it is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use super::{Document, moving};
use crate::app::flags::serving::Lookup;
use crate::app::flags::{CONTROLLERS, Options};
use crate::cloud::{Install, Needs, Registration};
use crate::cluster::keys::controller;
use crate::cluster::rights::{self, Asks, Wanted};

/// Where all of it is.
pub(super) const NAMESPACE: &str = "kube-system";

/// The service account, by the name that Go programs use too.
pub(super) const ACCOUNT: &str = "cloud-controller-manager";

const CLUSTER_ROLE: &str = "system:cloud-controller-manager";

/// What every object bears, so that it is found by what it belongs to.
pub(super) fn labels(name: &str) -> Value {
    json!({ "app.kubernetes.io/name": ACCOUNT, "app.kubernetes.io/instance": name })
}

/// The account and its rights; with them those of the controllers' own accounts, where they have any.
pub(super) fn rights(
    name: &str,
    options: &Options,
    registration: &Registration,
    migration: Option<String>,
) -> Vec<Document> {
    let wanted = wanted(options, registration, migration);
    // Rules by their namespaces.
    let mut roles: BTreeMap<String, Vec<PolicyRule>> = BTreeMap::new();
    for (namespace, rule) in rights::elsewhere(&wanted) {
        roles.entry(namespace).or_default().push(rule);
    }
    let mut objects = vec![account(ACCOUNT)];
    objects.extend(cluster_role(CLUSTER_ROLE, &rights::in_cluster(&wanted), ACCOUNT));
    match options.leader_election.as_ref().map(|election| election.namespace.as_str()) {
        Some(elsewhere) if elsewhere != NAMESPACE => {
            let here = Wanted { lease: None, migration: None, ..wanted.clone() };
            roles.entry(NAMESPACE.to_owned()).or_default().extend(rights::in_namespace(&here));
            let leases = Wanted {
                controllers: Vec::new(),
                own_accounts: false,
                asks: Asks::default(),
                needs: Needs::default(),
                ..wanted.clone()
            };
            roles.entry(elsewhere.to_owned()).or_default().extend(rights::in_namespace(&leases));
        }
        _ => roles.entry(NAMESPACE.to_owned()).or_default().extend(rights::in_namespace(&wanted)),
    }
    let here = roles.remove(NAMESPACE).unwrap_or_default();
    objects.extend(role(NAMESPACE, &here));
    objects.extend(roles.iter().flat_map(|(namespace, rules)| role(namespace, rules)));
    for (own, rules) in rights::of_accounts(&wanted) {
        objects.push(account(own));
        objects.extend(cluster_role(&format!("{CLUSTER_ROLE}:{own}"), &rules, own));
    }
    for object in &mut objects {
        object["metadata"]["labels"] = labels(name);
    }
    objects.into_iter().map(Document::Object).collect()
}

fn wanted(options: &Options, registration: &Registration, migration: Option<String>) -> Wanted {
    let lacks = registration.install.lacks;
    let runs = |name: &str| {
        options.controllers.has(name)
            && !lacks.contains(&name)
            && (name != controller::ROUTE || options.wants_routes())
            && (name != controller::NODE_IPAM || options.node_ipam.is_some())
    };
    // What another account asks, by a kubeconfig of its own, needs no right of ours.
    let asks = options.serving.as_ref().map_or(Asks::default(), |serving| {
        let is_ours = serving.authentication.kubeconfig.is_none();
        Asks {
            tokens: is_ours,
            access: serving.authorization.kubeconfig.is_none(),
            settings: is_ours && serving.authentication.lookup != Lookup::Skipped,
        }
    });
    Wanted {
        controllers: CONTROLLERS.iter().map(|known| known.name).filter(|name| runs(name)).collect(),
        needs: registration.needs.clone(),
        lease: options.leader_election.as_ref().map(|election| election.name.clone()),
        migration,
        own_accounts: options.cluster.own_accounts,
        asks,
    }
}

/// No pod gets its token unasked: the program's pods ask, and the controllers' tokens are requested.
fn account(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "automountServiceAccountToken": false,
    })
}

fn role_ref(kind: &str, name: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name })
}

fn subject(account: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE })
}

/// Rights of the program's account in one namespace. None where there are no rules.
fn role(namespace: &str, rules: &[PolicyRule]) -> Vec<Value> {
    if rules.is_empty() {
        return Vec::new();
    }
    let metadata = json!({ "name": ACCOUNT, "namespace": namespace });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": role_ref("Role", ACCOUNT),
        "subjects": [subject(ACCOUNT)],
    });
    vec![role, binding]
}

/// Rights of an account in the whole cluster.
fn cluster_role(name: &str, rules: &[PolicyRule], account: &str) -> [Value; 2] {
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
        "subjects": [subject(account)],
    });
    [role, binding]
}

/// The `ConfigMap` and the `Secret`, as text: what is filled in is marked where it stands.
pub(super) fn settings(name: &str, install: &Install, moving: Option<&str>) -> Vec<Document> {
    let config = install.config.as_ref().map(|sample| (sample.file, sample.text));
    let files = config.into_iter().chain(moving.map(|text| (moving::FILE, text)));
    let mut documents = vec![Document::Text(config_map(name, files))];
    if let Some(secret) = &install.secret {
        let mut text = head("Secret", name);
        text.push_str("stringData:\n");
        file(&mut text, (secret.file, secret.text));
        documents.push(Document::Text(text));
    }
    documents
}

fn config_map<'a>(name: &str, files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = head("ConfigMap", name);
    text.push_str(
        "data:\n  \
         # FILL IN where no kube-proxy serves the Service `kubernetes` before the nodes are initialised: address\n  \
         # and port of an API server, as its certificate has them.\n  \
         # apiServerHost: 192.0.2.10\n  \
         # apiServerPort: \"6443\"\n",
    );
    for of_config in files {
        file(&mut text, of_config);
    }
    text
}

/// The beginning of an object.
fn head(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {NAMESPACE}\n  labels:\n    \
         app.kubernetes.io/instance: {name}\n    app.kubernetes.io/name: {ACCOUNT}\n"
    )
}

/// A key with a text of several lines.
fn file(text: &mut String, (name, content): (&str, &str)) {
    let _ = writeln!(text, "  {name}: |");
    for line in content.lines() {
        let line = format!("    {line}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
