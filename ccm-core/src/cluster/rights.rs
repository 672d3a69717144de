//! What the process may do in the cluster: the rules that a manifest grants and that tests run with.
//!
//! The least that works, for the controllers that run; a provider's [`Needs`] may ask for more.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::client::account;
use super::facts;
use super::keys::controller;
use crate::cloud::Needs;

/// Where the process and its accounts are.
const NAMESPACE: &str = "kube-system";

/// What runs, and so has to be granted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The controllers, by their canonical names.
    pub controllers: Vec<&'static str>,
    /// What the provider needs of the cluster.
    pub needs: Needs,
    /// The lease of the election; `None` without one.
    pub lease: Option<String>,
    /// The lease of a migration, beside that of the election.
    pub migration: Option<String>,
    /// Whether each controller writes as an account of its own.
    pub own_accounts: bool,
    /// What is asked for the sake of the endpoints.
    pub asks: Asks,
}

/// What the process asks the API server about the clients of its endpoints, as its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Whose a token is.
    pub tokens: bool,
    /// What a client may.
    pub access: bool,
    /// Whose certificates the cluster believes.
    pub settings: bool,
}

impl Asks {
    /// All of it, as the flags have it that nobody typed.
    pub const ALL: Self = Self { tokens: true, access: true, settings: true };
}

impl Wanted {
    /// Everything, as the flags have it that nobody typed.
    pub fn everything(needs: Needs, lease: &str) -> Self {
        Self {
            controllers: vec![
                controller::NODE,
                controller::NODE_LIFECYCLE,
                controller::NODE_IPAM,
                controller::ROUTE,
                controller::SERVICE,
                controller::VOLUME,
            ],
            needs,
            lease: Some(lease.to_owned()),
            migration: None,
            own_accounts: false,
            asks: Asks::ALL,
        }
    }

    fn runs(&self, controllers: &[&str]) -> bool {
        self.controllers.iter().any(|controller| controllers.contains(controller))
    }
}

/// Rules in the whole cluster of the process's own account.
pub fn in_cluster(wanted: &Wanted) -> Vec<PolicyRule> {
    let mut rules = Rules::default();
    if !wanted.controllers.is_empty() {
        rules.add("nodes", &["list", "watch"]);
    }
    if wanted.runs(&[controller::SERVICE]) {
        rules.add("services", &["list", "watch"]);
    }
    if wanted.runs(&[controller::VOLUME]) {
        rules.add("persistentvolumes", &["list", "watch"]);
    }
    if !wanted.own_accounts {
        for controller in &wanted.controllers {
            rules.writes_of(controller);
        }
    }
    rules.add("events", &["create", "patch"]);
    let mut rules = rules.into_rules();
    if wanted.asks.tokens {
        rules.push(rule("authentication.k8s.io", "tokenreviews", &["create"]));
    }
    if wanted.asks.access {
        rules.push(rule("authorization.k8s.io", "subjectaccessreviews", &["create"]));
    }
    if wanted.needs.kube_system_uid {
        rules.push(named(rule("", "namespaces", &["get"]), "kube-system"));
    }
    rules
}

/// Rules in `kube-system` of the process's own account.
pub fn in_namespace(wanted: &Wanted) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    if let Some(lease) = &wanted.lease {
        rules.extend(for_lease(lease));
    }
    if let Some(lease) = &wanted.migration {
        rules.push(of_lease(lease));
    }
    if wanted.asks.settings {
        rules.extend(for_authentication());
    }
    rules.extend(for_facts(&wanted.needs).remove(NAMESPACE));
    if wanted.own_accounts {
        // A creation cannot be limited to a name; that of a token can.
        rules.push(rule("", "serviceaccounts", &["create"]));
        let names = wanted.controllers.iter().map(|name| account::of(name).to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        let tokens = rule("", "serviceaccounts/token", &["create"]);
        rules.push(PolicyRule { resource_names: Some(names), ..tokens });
    }
    rules
}

/// Rules in other namespaces than `kube-system`, but for that of the lease, of the process's own account.
pub fn elsewhere(wanted: &Wanted) -> BTreeMap<String, PolicyRule> {
    let mut rules = for_facts(&wanted.needs);
    rules.remove(NAMESPACE);
    rules
}

/// Rules to read what the provider wants to know of the cluster, by namespace.
fn for_facts(needs: &Needs) -> BTreeMap<String, PolicyRule> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for place in needs.config_maps {
        let (namespace, name) = facts::place(place);
        names.entry(namespace.to_owned()).or_default().push(name.to_owned());
    }
    let rule =
        |names| PolicyRule { resource_names: Some(names), ..rule("", "configmaps", &["get"]) };
    names.into_iter().map(|(namespace, names)| (namespace, rule(names))).collect()
}

/// Rules in the whole cluster of the controllers' own accounts, by their names; empty where they have
/// none.
///
/// The API server has roles of its own for three of them, which grant more than is used.
pub fn of_accounts(wanted: &Wanted) -> BTreeMap<&'static str, Vec<PolicyRule>> {
    if !wanted.own_accounts {
        return BTreeMap::new();
    }
    let mut accounts: BTreeMap<&'static str, Rules> = BTreeMap::new();
    for controller in &wanted.controllers {
        accounts.entry(account::of(controller)).or_default().writes_of(controller);
    }
    accounts.into_iter().map(|(account, rules)| (account, rules.into_rules())).collect()
}

/// Rules in the namespace of the lease.
pub fn for_lease(name: &str) -> Vec<PolicyRule> {
    vec![
        // A creation cannot be limited to a name.
        rule("coordination.k8s.io", "leases", &["create"]),
        of_lease(name),
    ]
}

fn of_lease(name: &str) -> PolicyRule {
    named(rule("coordination.k8s.io", "leases", &["get", "update", "watch"]), name)
}

/// Verbs of resources of the group without a name.
#[derive(Default)]
struct Rules(BTreeMap<&'static str, Vec<&'static str>>);

impl Rules {
    fn add(&mut self, resource: &'static str, verbs: &[&'static str]) {
        let had = self.0.entry(resource).or_default();
        for verb in verbs {
            if !had.contains(verb) {
                had.push(verb);
            }
        }
    }

    /// What a controller writes.
    fn writes_of(&mut self, name: &str) {
        match name {
            controller::NODE | controller::NODE_IPAM => {
                self.add("nodes", &["patch"]);
                self.add("nodes/status", &["patch"]);
            }
            controller::NODE_LIFECYCLE => {
                self.add("nodes", &["patch", "delete"]);
                self.add("nodes/status", &["patch"]);
            }
            controller::ROUTE => self.add("nodes/status", &["patch"]),
            // Finalizers and annotations go this way too: no right to change what users ask for.
            controller::SERVICE => self.add("services/status", &["patch"]),
            controller::VOLUME => self.add("persistentvolumes", &["patch"]),
            _ => {}
        }
    }

    fn into_rules(self) -> Vec<PolicyRule> {
        self.0.into_iter().map(|(resource, verbs)| rule("", resource, &verbs)).collect()
    }
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::cloud::Labels;

    /// `get configmaps a b`, with the namespace in front where it counts in one alone.
    fn printed(namespace: &str, rules: &[PolicyRule]) -> Vec<String> {
        let words = |list: &Option<Vec<String>>| list.clone().unwrap_or_default().join(" ");
        let line = |rule: &PolicyRule| {
            let (resources, names) = (words(&rule.resources), words(&rule.resource_names));
            format!("{namespace} {} {resources} {names}", rule.verbs.join(",")).trim().to_owned()
        };
        rules.iter().map(line).collect()
    }

    fn all(needs: Needs) -> Vec<String> {
        let wanted = Wanted::everything(needs, "l");
        let mut rules = printed("", &in_cluster(&wanted));
        rules.extend(printed(NAMESPACE, &in_namespace(&wanted)));
        for (namespace, rule) in elsewhere(&wanted) {
            rules.extend(printed(&namespace, &[rule]));
        }
        rules
    }

    /// What each of a provider's needs adds. What has no line here is seen on objects that are
    /// watched anyway, or is refused at the start.
    #[rstest]
    #[case::nothing(Needs::default(), &[])]
    #[case::labels_and_annotations(
        Needs {
            node_labels: Labels::All,
            node_annotations: &["a"],
            own_label_prefixes: &["example.com"],
            service_labels: Labels::All,
            ..Needs::default()
        },
        &[]
    )]
    #[case::not_yet(Needs { namespaces: true, endpoints: true, ..Needs::default() }, &[])]
    #[case::the_clusters_own_id(
        Needs { kube_system_uid: true, ..Needs::default() },
        &["get namespaces kube-system"]
    )]
    #[case::facts(
        Needs { config_maps: &["kube-system/a", "b", "kube-public/c"], ..Needs::default() },
        &["kube-system get configmaps a b", "kube-public get configmaps c"]
    )]
    fn what_a_provider_needs_is_granted(#[case] needs: Needs, #[case] want: &[&str]) {
        let usual = all(Needs::default());
        let more: Vec<_> = all(needs).into_iter().filter(|rule| !usual.contains(rule)).collect();
        assert_eq!(more, want);
    }
}
