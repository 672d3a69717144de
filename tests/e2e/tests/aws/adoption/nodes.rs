//! Nodes that are not like the others.

use ccm_awscloud::Launch;
use ccm_e2e::{Go, World, run};
use serde_json::json;

use super::{Case, Takeover};

const SHUTDOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// A machine that was switched off stays a target: nobody takes it away.
#[test]
fn one_that_is_switched_off() {
    run(async {
        let world = World::aws(&[]).await;
        let instances = world.go_nodes(2, &[]).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let zones = "cross-zone-load-balancing-enabled";
        let cases = [
            Case::named("classic", &[]).then("connection-idle-timeout", "120", "IdleTimeout=120"),
            Case::network("network", &[]).then(zones, "true", "cross_zone.enabled=true"),
        ];
        takeover.lay_out(&cases).await;
        let (off, name) = (&instances[0].id, &instances[0].private_dns);
        world.cloud.stop(&[off]).await.unwrap();
        world.silence(name).await;
        // The Go program says so, too.
        let mut taints = world.nodes().get(name).await.unwrap().spec.unwrap().taints.unwrap();
        taints.push(k8s_openapi::api::core::v1::Taint {
            key: SHUTDOWN.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Default::default()
        });
        world.patch(name, &json!({"spec": {"taints": taints}})).await;
        let _ccm = takeover.take_over().await;
        takeover.changed(&cases).await;
        let classic = world.cloud.lines_with(": instance node-1").await;
        let network = world.cloud.lines_with(": target node-1:").await;
        assert_eq!((classic.len(), network.len()), (1, 1), "{classic:?} {network:?}");
        world.cloud.start_again(&[off]).await.unwrap();
        takeover.comes_back(&cases).await;
    });
}

/// It is no machine, and no target.
#[test]
fn one_on_fargate() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let launch = Launch { tag: false, prefix: "pod".to_owned(), ..Launch::of(1) };
        let pods = world.cloud.launch(&world.cloud.network, &launch).await.unwrap();
        let name = world.go_node_on_fargate(&pods[0]).await;
        let node = world.node(&name).await;
        let takeover = Takeover::of(&world, &Go::default()).await;
        let cases = [
            Case::named("classic", &[]),
            Case::network("network", &[]),
            Case::network("local", &[]).spec("externalTrafficPolicy", json!("Local")),
        ];
        takeover.lay_out(&cases).await;
        let _ccm = takeover.take_over().await;
        takeover.changed(&cases).await;
        assert_eq!(world.cloud.lines_with("pod-1").await, [""; 0]);
        assert_eq!(world.node(&name).await, node);
        takeover.comes_back(&cases).await;
    });
}
