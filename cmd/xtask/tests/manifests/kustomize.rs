//! `kubectl kustomize`, by the kubectl that the other tests use.

use ccm_envtest::Binary;

use crate::objects::{self, Objects, assert_same, folder, of_kinds, output, plain};
use crate::{Error, PROVIDERS};

/// All but the workload.
const SHARED: [&str; 7] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
];

/// What `kubectl kustomize` makes of a folder of a provider.
pub(crate) async fn built(provider: &str, folder_name: &str) -> Result<Objects, Error> {
    let kubectl = Binary::Kubectl.locate().await?;
    let folder = folder().join("kustomize").join(provider).join(folder_name);
    objects::read(&output(&kubectl, &["kustomize", folder.to_str().ok_or("no text")?])?)
}

#[tokio::test]
async fn the_base_is_the_plain_manifest() {
    for provider in PROVIDERS {
        let base = built(provider, "base").await.unwrap();
        assert_same(&base, &plain(provider).unwrap(), provider);
    }
}

#[tokio::test]
async fn the_overlay_has_a_deployment_in_place_of_the_daemon_set() {
    for provider in PROVIDERS {
        let overlay = built(provider, "overlays/deployment").await.unwrap();
        let plain = plain(provider).unwrap();
        assert_same(&of_kinds(&overlay, &SHARED), &of_kinds(&plain, &SHARED), provider);
        assert!(of_kinds(&overlay, &["DaemonSet"]).is_empty(), "{provider}");
        let workload = of_kinds(&overlay, &["Deployment", "PodDisruptionBudget"]);
        assert_eq!(workload.len(), 2, "{provider}");
        assert_eq!(overlay.len(), plain.len() + 1, "{provider}");
        let deployment = workload.values().find(|object| object["kind"] == "Deployment").unwrap();
        assert_eq!(deployment["spec"]["replicas"], 2);
        let apart = &deployment["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
        assert!(apart.is_object(), "{deployment}");
    }
}
