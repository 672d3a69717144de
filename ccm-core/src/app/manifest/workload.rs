//! What runs the program: pods that start before any node is initialised.

use serde_json::{Value, json};

use super::Document;
use super::objects::{ACCOUNT, NAMESPACE};
use crate::app::flags::{ManifestOptions, Workload};
use crate::cloud::{CONFIG_FOLDER, Install, Registration, SECRET_FOLDER};

/// Who runs the program: nobody, as the image says too.
const USER: u32 = 65532;

/// Where it is served.
const PORT: u16 = 10258;

/// A `DaemonSet`, or a `Deployment` with its budget.
pub(super) fn workload(
    name: &str,
    registration: &Registration,
    manifest: &ManifestOptions,
) -> Vec<Document> {
    // The Go program's charts select by this label, and a selector can never be changed.
    let labels = json!({ "k8s-app": name });
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    let pods = |spec: Value| json!({ "metadata": { "labels": labels }, "spec": spec });
    let selector = json!({ "matchLabels": labels });
    match manifest.workload {
        Workload::DaemonSet => {
            // Those that a DaemonSet's pods tolerate anyway are not here.
            let spec = pod(name, registration, manifest);
            vec![Document::Object(json!({
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
            }))]
        }
        Workload::Deployment => {
            let mut spec = pod(name, registration, manifest);
            spec["affinity"]["podAntiAffinity"] = json!({
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "labelSelector": { "matchLabels": labels },
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
                    "spec": { "minAvailable": 1, "selector": selector },
                })),
            ]
        }
    }
}

fn pod(name: &str, registration: &Registration, manifest: &ManifestOptions) -> Value {
    let tolerated = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoSchedule" });
    let mut volumes = vec![json!({ "name": "config", "configMap": { "name": name } })];
    if registration.install.secret.is_some() {
        volumes.push(json!({
            "name": "secret",
            // Group and owner may read it: the program's group is that of the pod's volumes.
            "secret": { "secretName": name, "defaultMode": 0o440 },
        }));
    }
    json!({
        "serviceAccountName": ACCOUNT,
        "priorityClassName": "system-node-critical",
        // There is no pod network, and no name service of the cluster, before nodes are initialised.
        "hostNetwork": true,
        "dnsPolicy": "Default",
        "enableServiceLinks": false,
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{
                        "matchExpressions": [
                            { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists" },
                        ],
                    }],
                },
            },
        },
        "tolerations": [
            tolerated("node.cloudprovider.kubernetes.io/uninitialized"),
            tolerated("node.kubernetes.io/not-ready"),
            tolerated("node.kubernetes.io/network-unavailable"),
            tolerated("node-role.kubernetes.io/control-plane"),
            tolerated("node-role.kubernetes.io/master"),
        ],
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container(name, &registration.install, registration.name, manifest)],
        "volumes": volumes,
    })
}

fn container(name: &str, install: &Install, provider: &str, manifest: &ManifestOptions) -> Value {
    // A key that is not there leaves what the kubelet sets.
    let from_config = |variable: &str, key: &str| {
        json!({
            "name": variable,
            "valueFrom": { "configMapKeyRef": { "name": name, "key": key, "optional": true } },
        })
    };
    let mut env = vec![
        from_config("KUBERNETES_SERVICE_HOST", "apiServerHost"),
        from_config("KUBERNETES_SERVICE_PORT", "apiServerPort"),
    ];
    let mut mounts =
        vec![json!({ "name": "config", "mountPath": CONFIG_FOLDER, "readOnly": true })];
    if let Some(secret) = &install.secret {
        mounts.push(json!({ "name": "secret", "mountPath": SECRET_FOLDER, "readOnly": true }));
        if let Some(variable) = install.secret_env {
            env.push(
                json!({ "name": variable, "value": format!("{SECRET_FOLDER}/{}", secret.file) }),
            );
        }
    }
    // Not at the pod's address: it has none before its node is initialised.
    let probe =
        |path: &str| json!({ "scheme": "HTTPS", "host": "127.0.0.1", "port": PORT, "path": path });
    json!({
        "name": name,
        "image": manifest.image,
        "args": args(provider, install, &manifest.args),
        "env": env,
        "ports": [{ "name": "https", "containerPort": PORT, "hostPort": PORT }],
        "livenessProbe": {
            "httpGet": probe("/livez"),
            "initialDelaySeconds": 15,
            "periodSeconds": 10,
            "timeoutSeconds": 15,
            "failureThreshold": 3,
        },
        "readinessProbe": { "httpGet": probe("/readyz"), "periodSeconds": 5, "timeoutSeconds": 5 },
        // Idle with every controller; a thousand nodes take 2.3 MiB more, and Services as much.
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    })
}

/// The flags: those that were typed, and before them those without which nothing would run.
fn args(provider: &str, install: &Install, typed: &[String]) -> Vec<String> {
    let is_typed = |flag: &str| {
        let flag = flag.split('=').next().unwrap_or(flag);
        typed.iter().any(|arg| arg.split('=').next() == Some(flag))
    };
    let mut usual = vec![format!("--cloud-provider={provider}")];
    if let Some(config) = &install.config {
        usual.push(format!("--cloud-config={CONFIG_FOLDER}/{}", config.file));
    }
    usual.extend(install.args.iter().map(|&arg| arg.to_owned()));
    // Where the pods' ranges are said, routes may be wanted.
    let routes = is_typed("--cluster-cidr");
    usual.retain(|arg| !is_typed(arg));
    usual.retain(|arg| !routes || arg != "--configure-cloud-routes=false");
    usual.into_iter().chain(typed.iter().cloned()).collect()
}
