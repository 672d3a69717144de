//! The pods: such as start before any node is initialised.

use serde_json::{Value, json};

use super::moving::Moving;
use super::objects::ACCOUNT;
use super::probes;
use crate::app::flags::Options;
use crate::cloud::{CONFIG_FOLDER, Install, Registration, SECRET_FOLDER};

/// Who runs the program: nobody, as the image says too.
const USER: u32 = 65532;

/// What a pod is made from.
pub(super) fn pod(
    name: &str,
    registration: &Registration,
    options: &Options,
    (image, args): (&str, &[String]),
) -> Value {
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
        "automountServiceAccountToken": true,
        "priorityClassName": "system-node-critical",
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
            // Of both effects: a node may wait for a network that waits for the program.
            { "key": "node.kubernetes.io/not-ready", "operator": "Exists" },
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
        "containers": [container(name, registration, options, (image, args))],
        "volumes": volumes,
    })
}

fn container(
    name: &str,
    registration: &Registration,
    options: &Options,
    (image, args): (&str, &[String]),
) -> Value {
    let install = &registration.install;
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
    let mut container = json!({
        "name": name,
        "image": image,
        "args": args,
        "env": env,
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": mounts,
    });
    for (key, value) in options.serving.iter().flat_map(probes::served) {
        container[key] = value;
    }
    container
}

/// The flags: those that were typed, and before them those without which nothing would run.
pub(super) fn args(
    provider: &str,
    install: &Install,
    moving: &Moving,
    typed: &[String],
) -> Vec<String> {
    let is_typed = |flag: &str| {
        let flag = flag.split('=').next().unwrap_or(flag);
        typed.iter().any(|arg| arg.split('=').next() == Some(flag))
    };
    let mut usual = vec![format!("--cloud-provider={provider}")];
    if let Some(config) = &install.config {
        usual.push(format!("--cloud-config={CONFIG_FOLDER}/{}", config.file));
    }
    usual.extend(install.args.iter().map(|&arg| arg.to_owned()));
    usual.retain(|arg| !is_typed(arg));
    let typed = typed.iter().map(|arg| moving.flag(arg));
    let mut args: Vec<String> = usual.into_iter().chain(typed).collect();
    // First what everybody looks for.
    args.sort_by_key(|arg| !arg.starts_with("--cloud-provider="));
    args
}
