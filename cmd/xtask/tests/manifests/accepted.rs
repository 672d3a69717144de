//! A real API server takes all of it: no field that it does not know, nothing that admission refuses.

use ccm_envtest::ControlPlane;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::charts::{every_value, rendered};
use crate::kustomize::built;
use crate::objects::{Objects, plain};
use crate::{Error, PROVIDERS};

/// Who applies.
const MANAGER: &str = "manifests";

async fn apply(client: &Client, objects: &Objects) -> Result<(), Error> {
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(MANAGER).force()
    };
    for (key, object) in objects {
        let word = |field: &str| object[field].as_str().unwrap_or_default();
        let (group, version) =
            word("apiVersion").split_once('/').unwrap_or(("", word("apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, word("kind")));
        let api: Api<DynamicObject> = match key.namespace.as_str() {
            "" => Api::all_with(client.clone(), &resource),
            namespace => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        api.patch(&key.name, &params, &Patch::Apply(object))
            .await
            .map_err(|err| format!("{key}: {err}"))?;
    }
    Ok(())
}

/// What admission says of the pods, which nothing makes here.
async fn admit_pods(client: &Client, objects: &Objects) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let mut count = 0;
    for (key, workload) in objects {
        let template = &workload["spec"]["template"];
        if template.is_null() {
            continue;
        }
        let mut pod = template.clone();
        pod["metadata"]["generateName"] = "ccm-".into();
        let pod = serde_json::from_value(pod)?;
        let pod = pods.create(&params, &pod).await.map_err(|err| format!("{key}: {err}"))?;
        let spec = pod.spec.ok_or("a pod without a spec")?;
        if spec.priority.unwrap_or_default() < 1_000_000_000 {
            return Err(format!("{key}: priority {:?}", spec.priority).into());
        }
        count += 1;
    }
    if count == 1 { Ok(()) } else { Err(format!("{count} workloads").into()) }
}

#[tokio::test]
async fn an_api_server_takes_every_form() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.admin_client();
    for provider in PROVIDERS {
        let forms: [(&str, Objects); 7] = [
            ("plain", plain(provider).unwrap()),
            ("base", built(provider, "base").await.unwrap()),
            ("overlay", built(provider, "overlays/deployment").await.unwrap()),
            ("chart", rendered(provider, &json!({})).await.unwrap()),
            (
                "chart of a Deployment",
                rendered(provider, &json!({ "workload": "deployment" })).await.unwrap(),
            ),
            (
                "chart with every value",
                rendered(provider, &every_value("daemonset")).await.unwrap(),
            ),
            (
                "chart of a Deployment with every value",
                rendered(provider, &every_value("deployment")).await.unwrap(),
            ),
        ];
        for (form, objects) in forms {
            let taken = async {
                apply(&client, &objects).await?;
                admit_pods(&client, &objects).await
            };
            if let Err(err) = taken.await {
                panic!("{provider}, {form}: {err}");
            }
        }
    }
    // An unknown field would have been seen.
    let mut wrong = plain("sim").unwrap();
    let workload = wrong.iter_mut().find(|(key, _)| key.kind == "DaemonSet").unwrap();
    workload.1["spec"]["template"]["spec"]["hostNetwrok"] = Value::Bool(true);
    let err = apply(&client, &wrong).await.unwrap_err().to_string();
    assert!(err.contains("hostNetwrok"), "{err}");
    control_plane.stop().await.unwrap();
}
