//! The address that a kubelet was told to use.

use std::time::Duration;

use ccm_e2e::{SOON, Setup, World, run};
use ccm_envtest::kubelet::{Kubelet, PROVIDED_NODE_IP};
use serde_json::json;
use simcloud::api::{CreateInstance, Nic};

/// Two addresses of each family inside, one outside.
async fn dual_stack(world: &World, name: &str) {
    let nic = Nic {
        private_ipv4s: vec!["10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap()],
        private_ipv6s: vec!["fd00::5".parse().unwrap()],
        public_ipv4: Some("55.5.5.5".parse().unwrap()),
        ..Nic::default()
    };
    let wanted = CreateInstance { nics: Some(vec![nic]), ..CreateInstance::named(name) };
    world.cloud.create_instance(&wanted).await.unwrap();
}

#[test]
fn the_address_asked_for_is_the_only_one_of_its_type() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        for (name, asked, expected) in [
            ("n1", "10.0.0.6", &["InternalIP 10.0.0.6", "ExternalIP 55.5.5.5", "Hostname n1"][..]),
            (
                "n2",
                "fd00::5,10.0.0.6",
                &[
                    "InternalIP fd00::5",
                    "InternalIP 10.0.0.6",
                    "ExternalIP 55.5.5.5",
                    "Hostname n2",
                ],
            ),
            // Another text for the same address.
            ("n3", "fd00:0::5", &["InternalIP fd00::5", "ExternalIP 55.5.5.5", "Hostname n3"]),
        ] {
            dual_stack(&world, name).await;
            world.register(Kubelet::new(name).node_ip(asked)).await;
            assert_eq!(world.initialized(name).await.addresses, expected, "{asked}");
        }
    });
}

#[test]
fn an_address_that_the_machine_has_not_is_told_once_and_healed_by_its_owner() {
    run(async {
        let world = World::start().await;
        dual_stack(&world, "n1").await;
        let _ccm = world.ccm(&Setup::new());
        world.register(Kubelet::new("n1").node_ip("10.9.9.9")).await;

        // Told after ten seconds: a short wait is normal and no news.
        let known = ("True", "InvalidProvidedNodeIP");
        let told = Duration::from_secs(10) + SOON;
        let node = world.node_until("n1", "told", told, |node| node.known() == known).await;
        assert!(!node.is_initialized());
        let message = node.known.unwrap().2;
        assert!(message.contains("10.9.9.9") && message.contains("10.0.0.5"), "{message}");
        let events = world.events_with("n1", "InvalidProvidedNodeIP").await;
        assert_eq!(events, [("InvalidProvidedNodeIP".to_owned(), message, 1)]);

        let annotations = json!({PROVIDED_NODE_IP: "10.0.0.6"});
        world.patch("n1", &json!({"metadata": {"annotations": annotations}})).await;
        let node = world.initialized("n1").await;
        assert_eq!(node.known(), ("True", "InstanceFound"));
        assert_eq!(node.addresses, ["InternalIP 10.0.0.6", "ExternalIP 55.5.5.5", "Hostname n1"]);
        assert_eq!(world.events("n1").await.len(), 1, "and nothing more is said");
        assert_eq!(
            world.traffic().await.of_node("n1").lines(),
            ["patch nodes/status 200", "patch nodes/status 200", "patch nodes 200"],
            "the condition, then the two writes"
        );
    });
}
