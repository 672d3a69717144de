//! What keeps the pods running.

use serde_json::{Value, json};

use super::objects::{NAMESPACE, labels};
use super::{Document, pod};
use crate::app::flags::{ManifestOptions, Options, Workload};
use crate::cloud::Registration;

/// A `DaemonSet`, or a `Deployment` with its budget.
pub(super) fn workload(
    name: &str,
    registration: &Registration,
    options: &Options,
    manifest: &ManifestOptions,
    args: &[String],
) -> Vec<Document> {
    let mut labels = labels(name);
    // The Go program's charts select by this label, and a selector can never be changed.
    labels["k8s-app"] = name.into();
    let selector = json!({ "matchLabels": { "k8s-app": name } });
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    let pods = |spec: Value| json!({ "metadata": { "labels": labels }, "spec": spec });
    let spec = pod::pod(name, registration, options, (&manifest.image, args));
    match manifest.workload {
        Workload::DaemonSet => vec![Document::Object(json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": metadata,
            "spec": {
                "selector": selector,
                // The host's port is free only once the old pod has ended.
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": { "maxUnavailable": 1 },
                },
                "template": pods(spec),
            },
        }))],
        // Two would do the same work, and so would an old one and a new one.
        Workload::Deployment if options.leader_election.is_none() => {
            vec![Document::Object(json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "replicas": 1,
                    "selector": selector,
                    "strategy": { "type": "Recreate" },
                    "template": pods(spec),
                },
            }))]
        }
        Workload::Deployment => {
            let mut spec = spec;
            spec["affinity"]["podAntiAffinity"] = json!({
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "labelSelector": selector,
                    "topologyKey": "kubernetes.io/hostname",
                }],
            });
            vec![
                Document::Object(json!({
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": metadata,
                    "spec": {
                        "replicas": 2,
                        "selector": selector,
                        "strategy": {
                            "type": "RollingUpdate",
                            "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 },
                        },
                        "template": pods(spec),
                    },
                })),
                Document::Object(json!({
                    "apiVersion": "policy/v1",
                    "kind": "PodDisruptionBudget",
                    "metadata": metadata,
                    "spec": {
                        "minAvailable": 1,
                        "selector": selector,
                        // A pod that is not ready protects nothing, and shall not keep its node from being drained.
                        "unhealthyPodEvictionPolicy": "AlwaysAllow",
                    },
                })),
            ]
        }
    }
}
