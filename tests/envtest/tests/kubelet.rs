//! Nodes are what the API server of a real cluster would have.

use ccm_envtest::{
    ControlPlane,
    kubelet::{
        Kubelet, NOT_READY_TAINT, PROVIDED_NODE_IP, UNINITIALIZED_TAINT, UNREACHABLE_TAINT,
        register_many, set_ready, set_unknown,
    },
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

fn taints(node: &Node) -> Vec<&str> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.map(|taint| taint.key.as_str()).collect()
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|found| found.type_ == "Ready").all(|found| found.status == "True")
}

#[tokio::test]
async fn a_registered_node_is_as_its_kubelet_says() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.admin_client();
    let api: Api<Node> = Api::all(client.clone());

    // What registering has to undo: the API server adds this to each new node.
    let bare = api.create(&PostParams::default(), &Kubelet::new("bare").node()).await.unwrap();
    assert_eq!(taints(&bare), [UNINITIALIZED_TAINT, NOT_READY_TAINT]);

    Kubelet::new("a").node_ip("10.0.0.1").label("zone", "z").register(&client).await.unwrap();
    let node = api.get("a").await.unwrap();
    assert_eq!(taints(&node), [UNINITIALIZED_TAINT]);
    assert!(is_ready(&node));
    assert_eq!(node.annotations()[PROVIDED_NODE_IP], "10.0.0.1");
    assert_eq!(node.labels()["kubernetes.io/hostname"], "a");
    assert_eq!(node.labels()["zone"], "z");
    let status = node.status.as_ref().unwrap();
    assert_eq!(status.addresses.iter().flatten().count(), 2, "one write makes a whole node");
    assert!(!status.node_info.as_ref().unwrap().system_uuid.is_empty());

    let kubelet = Kubelet::new("b").initialized().ready(false).provider_id("sim://b");
    kubelet.register(&client).await.unwrap();
    let node = api.get("b").await.unwrap();
    assert_eq!(taints(&node), [NOT_READY_TAINT]);
    assert!(!is_ready(&node));
    assert_eq!(node.spec.unwrap().provider_id.as_deref(), Some("sim://b"));

    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn readiness_comes_and_goes_and_other_taints_stay() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.admin_client();
    Kubelet::new("a").taint("mine", None).register(&client).await.unwrap();

    let node = set_ready(&client, "a", false).await.unwrap();
    assert_eq!(taints(&node), [UNINITIALIZED_TAINT, "mine", NOT_READY_TAINT]);
    assert!(!is_ready(&node));
    let again = set_ready(&client, "a", false).await.unwrap();
    assert_eq!(taints(&again), taints(&node));

    let silent = set_unknown(&client, "a").await.unwrap();
    assert_eq!(taints(&silent), [UNINITIALIZED_TAINT, "mine", UNREACHABLE_TAINT]);
    assert!(!is_ready(&silent));
    set_ready(&client, "a", false).await.unwrap();

    // Somebody else takes a taint away in between.
    let api: Api<Node> = Api::all(client.clone());
    let others = Patch::Merge(json!({"spec": {"taints": [
        {"key": "mine", "effect": "NoSchedule"},
        {"key": NOT_READY_TAINT, "effect": "NoSchedule"},
    ]}}));
    api.patch("a", &PatchParams::default(), &others).await.unwrap();
    let node = set_ready(&client, "a", true).await.unwrap();
    assert_eq!(taints(&node), ["mine"]);
    assert!(is_ready(&node));
    let status = node.status.unwrap();
    assert_eq!(status.conditions.map(|conditions| conditions.len()), Some(4));
    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn many_nodes_of_twenty_kilobytes_are_soon_there() {
    const SIZE: usize = 20_000;
    const COUNT: usize = 100;

    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.admin_client();
    let kubelets = (0..COUNT)
        .map(|number| Kubelet::new(format!("node-{number:04}")).node_ip("10.0.0.1").size(SIZE));
    register_many(&client, kubelets, 16).await.unwrap();

    let api: Api<Node> = Api::all(client);
    let nodes = api.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(nodes.len(), COUNT);
    for node in &nodes {
        assert_eq!(taints(node), [UNINITIALIZED_TAINT], "{}", node.name_any());
        let size = serde_json::to_vec(node).unwrap().len();
        assert!(size.abs_diff(SIZE) < SIZE / 20, "{} is {size} bytes", node.name_any());
    }
    control_plane.stop().await.unwrap();
}
