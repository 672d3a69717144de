//! The charts, rendered by a real helm.

use std::path::PathBuf;

use ccm_envtest::Binary;
use ccm_envtest::binaries::KUBERNETES_VERSION;
use serde_json::{Value, json};

use crate::kustomize::built;
use crate::objects::{self, Objects, assert_same, folder, output, plain};
use crate::{Error, PROVIDERS};

/// What `helm template` makes of a provider's chart with these values.
pub(crate) async fn rendered(provider: &str, values: &Value) -> Result<Objects, Error> {
    let file = Values::write(values)?;
    let chart = chart(provider);
    let args = ["template", "ccm", &chart, "--namespace", "kube-system", "--kube-version"];
    let args = [&args[..], &[KUBERNETES_VERSION, "--values", file.path()]].concat();
    objects::read(&output(&Binary::Helm.locate().await?, &args)?)
}

fn chart(provider: &str) -> String {
    folder().join("helm").join(provider).display().to_string()
}

/// A file with values.
struct Values {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Values {
    fn write(values: &Value) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("values.yaml");
        // JSON is YAML.
        std::fs::write(&path, values.to_string())?;
        Ok(Self { _folder: folder, path })
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }
}

/// The one object of this kind.
fn the<'a>(objects: &'a Objects, kind: &str) -> &'a Value {
    let mut found = objects.values().filter(|object| object["kind"] == kind);
    found.next().unwrap_or_else(|| panic!("no {kind}"))
}

#[tokio::test]
async fn charts_have_nothing_that_helm_minds() {
    let helm = Binary::Helm.locate().await.unwrap();
    for provider in PROVIDERS {
        let chart = chart(provider);
        let args = ["lint", "--strict", "--kube-version", KUBERNETES_VERSION, &chart];
        output(&helm, &args).unwrap();
    }
}

#[tokio::test]
async fn without_values_a_chart_is_the_plain_manifest() {
    for provider in PROVIDERS {
        let found = rendered(provider, &json!({})).await.unwrap();
        assert_same(&found, &plain(provider).unwrap(), provider);
    }
}

#[tokio::test]
async fn as_a_deployment_it_is_the_overlay_of_kustomize() {
    for provider in PROVIDERS {
        let found = rendered(provider, &json!({ "workload": "deployment" })).await.unwrap();
        let overlay = built(provider, "overlays/deployment").await.unwrap();
        assert_same(&found, &overlay, provider);
    }
}

#[tokio::test]
async fn one_replica_has_no_budget() {
    let values = json!({ "workload": "deployment", "replicas": 1 });
    let found = rendered("sim", &values).await.unwrap();
    assert_eq!(the(&found, "Deployment")["spec"]["replicas"], 1);
    assert!(found.keys().all(|key| key.kind != "PodDisruptionBudget"));
}

/// Every value, as it is used in [`every_value_goes_where_it_belongs`] and applied to an API server.
pub(crate) fn every_value(workload: &str) -> Value {
    json!({
        "image": { "repository": "registry.example.com/a", "tag": "v1" },
        "imagePullSecrets": [{ "name": "registry" }],
        "workload": workload,
        "replicas": 3,
        "config": "a: 1\n\nb: \"{{ 2 }}\"\n",
        "existingSecret": "mine",
        "apiServer": { "host": "192.0.2.1", "port": 6443 },
        "extraArgs": ["--v=2", "--cluster-name=\"blue\""],
        "env": [
            { "name": "HTTPS_PROXY", "value": "http://192.0.2.2:3128" },
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
        "extraVolumes": [{ "name": "authority", "configMap": { "name": "authority" } }],
        "extraVolumeMounts": [
            { "name": "authority", "mountPath": "/etc/ssl/certs/a.pem", "subPath": "a.pem" },
        ],
        "serviceAccount": { "annotations": { "example.com/role": "a" } },
        "podAnnotations": { "example.com/pod": "b" },
        "priorityClassName": "system-cluster-critical",
        "resources": { "requests": { "cpu": "100m" }, "limits": { "memory": "1Gi" } },
        "nodeAffinity": null,
        "nodeSelector": { "example.com/control": "" },
        "tolerations": [{ "key": "example.com/taint", "operator": "Exists" }],
    })
}

/// What stands in a list behind what the plain manifest has there.
fn added<'a>(found: &'a Value, plain: &Value) -> &'a [Value] {
    let (found, plain) = (found.as_array().unwrap(), plain.as_array().unwrap());
    found.strip_prefix(plain.as_slice()).unwrap()
}

#[tokio::test]
async fn every_value_goes_where_it_belongs() {
    let plain = plain("aws").unwrap();
    let plain = &the(&plain, "DaemonSet")["spec"]["template"]["spec"];
    for (workload, kind) in [("daemonset", "DaemonSet"), ("deployment", "Deployment")] {
        let values = every_value(workload);
        let found = rendered("aws", &values).await.unwrap();
        assert!(found.keys().all(|key| key.kind != "Secret"), "the Secret is another's");
        let account = the(&found, "ServiceAccount");
        assert_eq!(account["metadata"]["annotations"], json!({ "example.com/role": "a" }));
        assert_eq!(
            the(&found, "ConfigMap")["data"],
            json!({
                "cloud.conf": "a: 1\n\nb: \"{{ 2 }}\"\n",
                "apiServerHost": "192.0.2.1",
                "apiServerPort": "6443",
            })
        );
        let template = &the(&found, kind)["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"], json!({ "example.com/pod": "b" }));
        let pod = &template["spec"];
        assert_eq!(pod["imagePullSecrets"], json!([{ "name": "registry" }]));
        assert_eq!(pod["priorityClassName"], "system-cluster-critical");
        assert_eq!(pod["nodeSelector"], json!({ "example.com/control": "" }));
        assert!(pod["affinity"]["nodeAffinity"].is_null());
        let tolerations = pod["tolerations"].as_array().unwrap();
        assert_eq!(tolerations.len(), 6);
        assert_eq!(tolerations[5]["key"], "example.com/taint");
        assert_eq!(pod["volumes"][1]["secret"]["secretName"], "mine");
        assert_eq!(json!(pod["volumes"].as_array().unwrap()[2..]), values["extraVolumes"]);
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "registry.example.com/a:v1");
        assert_eq!(container["resources"]["requests"], json!({ "cpu": "100m", "memory": "32Mi" }));
        assert_eq!(container["resources"]["limits"], json!({ "memory": "1Gi" }));
        let args = container["args"].as_array().unwrap();
        assert_eq!(args[args.len() - 2..], [json!("--v=2"), json!("--cluster-name=\"blue\"")]);
        for (list, value) in [("env", "env"), ("volumeMounts", "extraVolumeMounts")] {
            let added = added(&container[list], &plain["containers"][0][list]);
            assert_eq!(json!(added), values[value], "{list}");
        }
    }
}

#[tokio::test]
async fn an_image_may_have_one_name() {
    let name = "registry.example.com/ccm@sha256:0123";
    let found = rendered("sim", &json!({ "image": { "name": name } })).await.unwrap();
    let pod = &the(&found, "DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], name);
}

#[tokio::test]
async fn what_a_chart_cannot_do_it_says() {
    for (values, said) in [
        (json!({ "extraArgs": ["--use-service-account-credentials=true"] }), "has not the rights"),
        (json!({ "extraArgs": ["--secure_port=1"] }), "has not the rights"),
        (json!({ "extraArgs": ["--leader-elect-resource-name=a"] }), "has not the rights"),
        (json!({ "extraArgs": ["--leader-elect=false"] }), "or pods for --leader-elect=false"),
        (json!({ "extraArgs": ["--enable-leader-migration"] }), "has not the rights"),
        (json!({ "extraArgs": ["--enable_leader_migration=T"] }), "has not the rights"),
        (json!({ "extraArgs": ["--leader-migration-config=/a=b"] }), "has not the rights"),
        (json!({ "extraArgs": ["--bind-address=192.0.2.1"] }), "has not the rights"),
        (json!({ "extraArgs": ["--v", "2"] }), "is no flag"),
        (json!({ "env": [{ "name": "KUBERNETES_SERVICE_HOST" }] }), "is the chart's own"),
        (json!({ "env": [{ "name": "A", "value": 1 }] }), "value"),
        (json!({ "env": { "A": "1" } }), "env"),
        (json!({ "extraVolumes": [{ "emptyDir": {} }] }), "extraVolumes"),
        (json!({ "extraVolumeMounts": [{ "name": "a" }] }), "extraVolumeMounts"),
        (json!({ "workload": "job" }), "workload"),
        (json!({ "imaeg": {} }), "imaeg"),
    ] {
        let err = rendered("sim", &values).await.unwrap_err().to_string();
        assert!(err.contains(said), "{values}: {err}");
    }
}

/// Who writes the defaults down asks for nothing.
#[tokio::test]
async fn what_changes_nothing_a_chart_lets_through() {
    let args = [
        "--leader-elect",
        "--leader_elect=True",
        "--leader-elect-resource-name=cloud-controller-manager",
        "--leader-elect-resource-namespace=kube-system",
        "--leader-elect-lease-duration=30s",
        "--enable-leader-migration=false",
        "--leader-migration-config=",
        "--use-service-account-credentials=false",
        "--secure-port=10258",
        "--bind-address=0.0.0.0",
        "--bind-address=::",
    ];
    let found = rendered("sim", &json!({ "extraArgs": args })).await.unwrap();
    let pod = &the(&found, "DaemonSet")["spec"]["template"]["spec"];
    let passed = pod["containers"][0]["args"].as_array().unwrap();
    assert_eq!(passed[passed.len() - args.len()..], args.map(Value::from));
}
