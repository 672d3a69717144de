//! What is said of a cluster to whoever has asked for it.

use std::path::Path;

use ccm_node::{Cluster, DAEMON_SET, NODE};

use crate::Error;
use crate::out::{Out, Tone};

/// Says how to look around.
pub(super) async fn invite(cluster: &Cluster, manifest: &Path, out: Out) -> Result<(), Error> {
    let (dir, url) = (cluster.dir().display(), cluster.cloud().url());
    let kubeconfig = cluster.kubeconfig().display();
    let enter = cluster.node().enter();
    let machine = cluster.cloud().all_instances([].into()).await?;
    let machine = machine.first().map(|machine| machine.id.to_string()).unwrap_or_default();
    let env = cluster.dir().join("env");
    std::fs::write(
        &env,
        format!(
            r#"export KUBECONFIG="{kubeconfig}"
cluster_cloud() {{ cluster_token=$1 cluster_path=$2; shift 2; curl -sS -H "Authorization: Bearer $(cat "{dir}/cloud/$cluster_token")" "{url}/$cluster_path" "$@"; echo; }}
cloud() {{ cluster_call=$1; shift; cluster_cloud operator.token "v1/$cluster_call" "$@"; }}
control() {{ cluster_call=$1; shift; cluster_cloud control.token "control/$cluster_call" "$@"; }}
node() {{ {enter} "$@"; }}
"#
        ),
    )?;
    let manifest = manifest.display();
    out.heading(
        "A cluster with one node, which waits for its cloud, until `cargo xtask cluster down`",
    );
    out.line(format_args!("kubeconfig: {kubeconfig}"));
    out.line(format_args!("logs:       {dir}"));
    out.line("");
    out.line(format_args!("  . {}", env.display()));
    let try_this = [
        (format!("kubectl describe node {NODE}"), "nothing runs on it yet: see its taint"),
        (format!("kubectl apply -f {manifest}"), "the image is there already"),
        ("kubectl get nodes -o wide".to_owned(), "the node has what the cloud says of it"),
        ("kubectl get pods -A -o wide".to_owned(), "it runs on the node that it has initialised"),
        (format!("kubectl logs -n kube-system ds/{DAEMON_SET}"), ""),
        ("kubectl create service loadbalancer web --tcp=80".to_owned(), "a load balancer is made"),
        ("kubectl get services".to_owned(), "and its address"),
        ("control snapshot".to_owned(), "what it is made of"),
        (
            format!("cloud instances/{machine}/stop -X POST; node pkill -STOP kubelet"),
            "a machine that stops: tainted within a minute",
        ),
        (
            format!("cloud instances/{machine}/start -X POST; node pkill -CONT kubelet"),
            "and is back",
        ),
        ("node ps ax".to_owned(), "what runs on the node"),
        (
            "node ctr -n k8s.io images import FILE.tar".to_owned(),
            "another image; there is no registry",
        ),
        (format!("kubectl delete -f {manifest}"), "all of it goes"),
    ];
    for (command, what) in try_this {
        let what = if what.is_empty() { String::new() } else { format!("  # {what}") };
        out.line(format_args!("  {command}{}", out.paint(Tone::Dim, what)));
    }
    out.line("");
    out.text("`cargo xtask kubectl` stands in for a kubectl that is missing or too old.");
    Ok(())
}
