//! No manifest grants more than is needed.

use serde_json::Value;

use crate::PROVIDERS;
use crate::objects::{Objects, of_kinds, plain};

/// With these one gets every other right.
const VERBS: [&str; 5] = ["*", "escalate", "bind", "impersonate", "deletecollection"];

/// Nothing of these is needed.
const RESOURCES: [&str; 8] = [
    "*",
    "secrets",
    "pods",
    "pods/exec",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
];

/// What is said against the rules of these objects.
fn objections(objects: &Objects) -> Vec<String> {
    let mut objections = Vec::new();
    for (key, role) in of_kinds(objects, &["ClusterRole", "Role"]) {
        // Its rules are whatever other roles have, now and later.
        if !role["aggregationRule"].is_null() {
            objections.push(format!("{key}: {}", role["aggregationRule"]));
        }
        for rule in role["rules"].as_array().into_iter().flatten() {
            let words = |field: &str| -> Vec<&str> {
                rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
            };
            let is_bad = words("verbs").iter().any(|verb| VERBS.contains(verb))
                || words("resources").iter().any(|resource| RESOURCES.contains(resource))
                || words("apiGroups").contains(&"*")
                || words("nonResourceURLs").iter().any(|url| url.contains('*'));
            // Whoever may ask for any account's token is anybody.
            let is_anybody = words("resources").contains(&"serviceaccounts/token")
                && words("resourceNames").is_empty();
            if is_bad || is_anybody {
                objections.push(format!("{key}: {rule}"));
            }
        }
    }
    objections
}

#[test]
fn no_role_has_a_wildcard_or_leads_to_other_rights() {
    for provider in PROVIDERS {
        let objects = plain(provider).unwrap();
        assert!(!of_kinds(&objects, &["ClusterRole"]).is_empty());
        assert_eq!(objections(&objects), Vec::<String>::new(), "{provider}");
    }
}

#[test]
fn what_is_too_much_is_seen() {
    for rule in [
        r#"{"apiGroups":[""],"resources":["nodes"],"verbs":["*"]}"#,
        r#"{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}"#,
        r#"{"apiGroups":["*"],"resources":["nodes"],"verbs":["get"]}"#,
        r#"{"apiGroups":[""],"resources":["users"],"verbs":["impersonate"]}"#,
        r#"{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]}"#,
    ] {
        let role = format!(r#"{{"kind":"Role","metadata":{{"name":"a"}},"rules":[{rule}]}}"#);
        assert_eq!(objections(&crate::objects::read(&role).unwrap()).len(), 1, "{rule}");
    }
    let gathered = r#"{"kind":"ClusterRole","metadata":{"name":"a"},"rules":[],
        "aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"a":"b"}}]}}"#;
    assert_eq!(objections(&crate::objects::read(gathered).unwrap()).len(), 1);
}

/// Bindings are to the account of the manifest, and to roles of the manifest.
#[test]
fn every_binding_is_among_the_manifests_own() {
    for provider in PROVIDERS {
        let objects = plain(provider).unwrap();
        let names = |kind: &str| -> Vec<String> {
            of_kinds(&objects, &[kind]).keys().map(|key| key.name.clone()).collect()
        };
        let bindings = of_kinds(&objects, &["ClusterRoleBinding", "RoleBinding"]);
        for (key, binding) in bindings {
            let role = &binding["roleRef"];
            let (kind, name) = (role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
            assert!(names(kind).iter().any(|known| known == name), "{key}");
            let subjects = binding["subjects"].as_array().unwrap();
            let [subject] = &subjects[..] else { panic!("{key}: {subjects:?}") };
            assert_eq!(subject["kind"], "ServiceAccount");
            let account = subject["name"].as_str().unwrap();
            assert!(names("ServiceAccount").iter().any(|known| known == account), "{key}");
        }
    }
}
