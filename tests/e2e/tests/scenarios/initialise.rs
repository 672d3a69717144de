//! What a new node gets, and at what cost.

use ccm_e2e::{SOON, Setup, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use serde_json::json;
use simcloud::api::{CreateInstance, Nic};

/// An instance with all there is to say about one.
fn rich(name: &str) -> CreateInstance {
    let nic = Nic {
        private_ipv4s: vec!["10.0.0.5".parse().unwrap()],
        private_ipv6s: vec!["fd00::5".parse().unwrap()],
        public_ipv4: Some("55.5.5.5".parse().unwrap()),
        private_dns_name: Some(format!("{name}.internal")),
        ..Nic::default()
    };
    CreateInstance {
        instance_type: Some("sim.large".to_owned()),
        zone: Some("sim-1b".to_owned()),
        nics: Some(vec![nic]),
        labels: [("node.sim.ccm.rs/rack".to_owned(), "r7".to_owned())].into(),
        ..CreateInstance::named(name)
    }
}

#[test]
fn a_new_node_gets_all_with_two_writes_and_no_read() {
    run(async {
        let world = World::start().await;
        let instance = world.cloud.create_instance(&rich("n1")).await.unwrap();
        let _ccm = world.ccm(&Setup::new());
        let kubelet = Kubelet::new("n1").taint("example.com/before", None);
        world.register(kubelet).await;
        let node = world.initialized("n1").await;

        assert_eq!(
            node.addresses,
            [
                "InternalIP 10.0.0.5",
                "InternalIP fd00::5",
                "ExternalIP 55.5.5.5",
                "InternalDNS n1.internal",
                "Hostname n1"
            ]
        );
        assert_eq!(node.provider_id, Some(format!("sim://{}", instance.id)));
        for (key, value) in [
            ("topology.kubernetes.io/zone", "sim-1b"),
            ("topology.kubernetes.io/region", "sim-1"),
            ("node.kubernetes.io/instance-type", "sim.large"),
            ("failure-domain.beta.kubernetes.io/zone", "sim-1b"),
            ("failure-domain.beta.kubernetes.io/region", "sim-1"),
            ("beta.kubernetes.io/instance-type", "sim.large"),
            ("node.sim.ccm.rs/rack", "r7"),
            // The kubelet's own.
            ("kubernetes.io/hostname", "n1"),
        ] {
            assert_eq!(node.label(key), value, "{key}");
        }
        assert_eq!(node.taints, ["example.com/before"]);
        assert_eq!(node.known, None, "a short wait is not told");

        // What our own writes set off is over when another node has come and gone through.
        world.barrier("n2").await;
        let traffic = world.traffic().await;
        assert_eq!(
            traffic.of_node("n1").lines(),
            ["patch nodes/status 200", "patch nodes 200"],
            "the status first, the taint last"
        );
        assert!(traffic.node_reads().is_empty(), "{}", traffic.node_reads());
        assert_eq!(world.events("n1").await, [], "plain success is no news");
    });
}

#[test]
fn a_status_that_is_right_already_is_not_sent() {
    run(async {
        let world = World::start().await;
        let nic = Nic { private_ipv4s: vec!["10.0.0.5".parse().unwrap()], ..Nic::default() };
        let wanted = CreateInstance { nics: Some(vec![nic]), ..CreateInstance::named("n1") };
        world.cloud.create_instance(&wanted).await.unwrap();
        // The kubelet was told the address, and has reported it together with its host name.
        world.register(Kubelet::new("n1").node_ip("10.0.0.5")).await;
        let _ccm = world.ccm(&Setup::new());
        let node = world.initialized("n1").await;
        assert_eq!(node.addresses, ["InternalIP 10.0.0.5", "Hostname n1"]);
        world.barrier("n2").await;
        assert_eq!(world.traffic().await.of_node("n1").lines(), ["patch nodes 200"]);
    });
}

#[test]
fn an_address_that_the_cloud_says_twice_is_written_once() {
    run(async {
        let world = World::start().await;
        let address = "10.0.0.5".parse().unwrap();
        let nic = Nic { private_ipv4s: vec![address, address], ..Nic::default() };
        let wanted =
            CreateInstance { nics: Some(vec![nic.clone(), nic]), ..CreateInstance::named("n1") };
        world.cloud.create_instance(&wanted).await.unwrap();
        let _ccm = world.ccm(&Setup::new());
        world.register(Kubelet::new("n1")).await;
        let node = world.initialized("n1").await;
        assert_eq!(node.addresses, ["InternalIP 10.0.0.5", "Hostname n1"]);
    });
}

#[test]
fn a_node_of_another_provider_is_never_written() {
    run(async {
        let world = World::start().await;
        // A machine of this name is here as well; it must not be taken for the node's.
        world.cloud.instance_named("n1").await;
        world.register(Kubelet::new("n1").provider_id("other://i-1")).await;
        let _ccm = world.ccm(&Setup::new().refresh(1));
        world.barrier("n2").await;
        world.patch("n1", &json!({"metadata": {"labels": {"touched": "yes"}}})).await;
        let asked = world.cloud.calls_of_ccm().await.len();
        wait_until("two more looks at all nodes", SOON, async || {
            let now = world.cloud.calls_of_ccm().await.len();
            if now >= asked + 2 { Ok(()) } else { Err(now - asked) }
        })
        .await;

        let traffic = world.traffic().await.of_node("n1");
        assert!(traffic.is_empty(), "{traffic}");
        let node = world.node("n1").await;
        assert!(!node.is_initialized());
        assert_eq!(node.known, None);
        assert_eq!(world.events("n1").await, []);
        let asked_about = world.cloud.calls_of_ccm().await.iter().map(|call| call.instances).max();
        assert_eq!(asked_about, Some(1), "the cloud is not asked about it either");
    });
}

#[test]
fn a_node_that_joined_without_the_taint_gets_its_addresses_only() {
    run(async {
        let world = World::start().await;
        let instance = world.cloud.instance_named("n1").await;
        let address = instance.nics[0].private_ipv4s[0];
        world.register(Kubelet::new("n1").initialized()).await;
        let _ccm = world.ccm(&Setup::new());
        let addresses = [format!("InternalIP {address}"), "Hostname n1".to_owned()];
        let node =
            world.node_until("n1", "addresses", SOON, |node| node.addresses == addresses).await;
        world.barrier("n2").await;
        assert_eq!(node.provider_id, None);
        assert_eq!(node.label("topology.kubernetes.io/zone"), "");
        assert_eq!(world.traffic().await.of_node("n1").lines(), ["patch nodes/status 200"]);
    });
}
