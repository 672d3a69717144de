//! What the kit does not ask: how nodes are recognised, and what they get.

use std::slice;

use ccm_awscloud::Launch;
use ccm_conformance::{Harness, RouteRig, leave};
use ccm_core::cloud::{
    Ask, Evidence, Instance, Kind, NodeIdentity, NodeName, Observation, ProviderId, RunState,
};
use rstest::rstest;
use serde_json::json;

use super::{AwsHarness, Duration, instance};

impl AwsHarness {
    async fn ask(&self, ask: Ask, nodes: &[NodeIdentity]) -> Vec<Observation> {
        let instances = self.provider.instances().unwrap();
        instances.describe(&leave(Duration::from_secs(30)), ask, nodes).await.unwrap()
    }

    async fn one(&self, ask: Ask, node: &NodeIdentity) -> Observation {
        self.ask(ask, slice::from_ref(node)).await.pop().unwrap()
    }

    async fn present(&self, ask: Ask, node: &NodeIdentity) -> Instance {
        match self.one(ask, node).await {
            Observation::Present(instance) => instance,
            other => panic!("{ask:?}: {other:?}"),
        }
    }

    async fn attach_interface(&self, node: &NodeIdentity) -> String {
        let args = json!({ "SubnetId": self.world.private_a });
        let made = self.aws("create_network_interface", args).await;
        let id = made["NetworkInterface"]["NetworkInterfaceId"].as_str().unwrap().to_owned();
        let args = json!({
            "NetworkInterfaceId": id, "InstanceId": instance(node), "DeviceIndex": 1,
        });
        self.aws("attach_network_interface", args).await;
        id
    }
}

fn named(node: &NodeIdentity, name: &str) -> NodeIdentity {
    NodeIdentity { name: NodeName::from(name), ..node.clone() }
}

fn with_id(node: &NodeIdentity, id: &str) -> NodeIdentity {
    NodeIdentity { provider_id: Some(ProviderId::try_from(id).unwrap()), ..node.clone() }
}

#[rstest]
#[tokio::test]
async fn nodes_are_recognised(#[values(Ask::Look, Ask::Confirm)] ask: Ask) {
    let harness = AwsHarness::start().await;
    let node = harness.launch().await;
    let id = instance(&node).to_owned();
    for form in [
        named(&node, &format!("{id}.example.org")),
        // By its address.
        named(&node, "a-name-of-my-own"),
        with_id(&node, &id),
        with_id(&node, &format!("aws:///{id}")),
        with_id(&node, &format!("aws://us-east-1a/{id}")),
    ] {
        let instance = harness.present(ask, &form).await;
        assert_eq!(instance.incarnation.as_str(), id, "{form:?}");
        assert_eq!(instance.provider_id.as_str(), format!("aws:///us-east-1a/{id}"));
        assert!(instance.labels["topology.k8s.aws/zone-id"].starts_with("use1-az"));
    }
}

#[tokio::test]
async fn a_machine_without_the_tag_is_nobodys_unless_it_is_named() {
    let harness = AwsHarness::start().await;
    let node = harness.launch_as(Launch { tag: false, ..Launch::of(1) }).await;
    for form in [node.clone(), named(&node, "a-name-of-my-own")] {
        match harness.one(Ask::Look, &form).await {
            Observation::Unknown(err) => {
                assert_eq!(err.kind(), Kind::InvalidConfiguration);
                assert!(err.message().contains("kubernetes.io/cluster/"), "{err}");
            }
            other => panic!("{other:?}"),
        }
    }
    let id = format!("aws:///us-east-1a/{}", instance(&node));
    harness.present(Ask::Look, &with_id(&node, &id)).await;
}

#[tokio::test]
async fn what_was_never_there_spoils_no_confirmation() {
    let harness = AwsHarness::start().await;
    let node = harness.launch().await;
    let of = |id: &str| with_id(&node, &format!("aws:///us-east-1a/{id}"));
    let asked = [of("i-00000000000000001"), of(instance(&node)), of("i-00000000000000002")];
    for ask in [Ask::Look, Ask::Confirm] {
        let said = harness.ask(ask, &asked).await;
        let is_right = matches!(
            said[..],
            [
                Observation::Gone(Evidence::Absent),
                Observation::Present(_),
                Observation::Gone(Evidence::Absent),
            ]
        );
        assert!(is_right, "{ask:?}: {said:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_pod_on_fargate_is_its_interface(#[values(Ask::Look, Ask::Confirm)] ask: Ask) {
    let harness = AwsHarness::start().await;
    let node = harness.launch().await;
    let address = &node.addresses[0].address;
    let fargate = with_id(&node, &format!("aws:///us-east-1a/1abc-2def/fargate-{address}"));
    let instance = harness.present(ask, &fargate).await;
    assert_eq!(instance.provider_id, *fargate.provider_id.as_ref().unwrap());
    assert!(instance.incarnation.as_str().starts_with("eni-"));
    assert_eq!((instance.state, instance.instance_type), (RunState::Running, None));
    assert_eq!(instance.zone.unwrap().as_str(), "us-east-1a");
    assert!(instance.addresses.contains(&node.addresses[0]), "{:?}", instance.addresses);
    let nowhere = with_id(&node, "aws:///us-east-1a/1abc-2def/fargate-10.9.9.9");
    let said = harness.one(ask, &nowhere).await;
    assert!(matches!(said, Observation::Gone(Evidence::Absent)), "{said:?}");
}

/// AWS refuses both a route to such an instance by its ID and the check's end for all of it.
#[tokio::test]
async fn a_machine_with_two_interfaces_is_routed_by_its_first() {
    let harness = AwsHarness::start().await;
    let mut rig = RouteRig::start(&harness).await;
    let node = rig.node().await;
    let second = harness.attach_interface(&node.node).await;
    rig.present(&node);
    rig.settled().await;
    let sent = rig.sent();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(sent.iter().all(|line| line.contains("eni-") && !line.contains(&second)), "{sent:?}");
    // A process that did not make it is content with it.
    rig.restart().await;
    rig.settled().await;
    assert_eq!(rig.sent(), [""; 0]);
}
