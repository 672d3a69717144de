//! What an installation needs in the cluster, in the book.

use std::fmt::Write;

use ccm_core::cluster::rights::{self, Wanted};
use ccm_provider_aws::registration;

use crate::book;

/// The name of the account, and of the lease, which is the flag's default.
const NAME: &str = "cloud-controller-manager";

#[test]
fn rights_in_the_cluster() {
    let mut text = format!(
        "\n```yaml\napiVersion: v1\nkind: ServiceAccount\n\
         metadata: {{name: {NAME}, namespace: kube-system}}\n"
    );
    // As the Go program's manifests call it, so that either takes the place of the other.
    role(&mut text, "ClusterRole", &format!("\"system:{NAME}\""), "");
    let wanted = Wanted::everything(registration().needs, NAME);
    for rule in rights::in_cluster(&wanted) {
        writeln!(text, "  - {}", serde_json::to_string(&rule).unwrap()).unwrap();
    }
    role(&mut text, "Role", NAME, ", namespace: kube-system");
    for rule in rights::in_namespace(&wanted) {
        writeln!(text, "  - {}", serde_json::to_string(&rule).unwrap()).unwrap();
    }
    text.push_str("```\n\n");
    book::holds_part("how-to/install-on-aws.md", "rights", &text);
}

/// A role, but for its rules, and its binding to the account.
fn role(text: &mut String, kind: &str, name: &str, place: &str) {
    let group = "rbac.authorization.k8s.io";
    write!(
        text,
        "---\napiVersion: {group}/v1\nkind: {kind}Binding\nmetadata: {{name: {name}{place}}}\n\
         roleRef: {{apiGroup: {group}, kind: {kind}, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, name: {NAME}, namespace: kube-system}}]\n\
         ---\napiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: {name}{place}}}\nrules:\n"
    )
    .unwrap();
}
