//! Nodes behind load balancers.

use std::collections::BTreeSet;
use std::sync::Arc;

use ccm_core::cloud::{CloudError, Kind, Member, NodeName, Observation};

use super::story::{assert_left, clear, made};
use crate::balancing::LoadBalancerHarness;
use crate::rig::Rig;
use crate::service::Service;

/// The Service's ports lead to these nodes and to no others.
async fn assert_targets<H: LoadBalancerHarness>(
    harness: &H,
    service: &Service,
    want: &[Member],
    about: &str,
) {
    let want: BTreeSet<NodeName> = want.iter().map(|member| member.node.name.clone()).collect();
    let groups = harness.targets(&service.id).await;
    assert!(!groups.is_empty(), "{about}: there is no group of targets");
    for group in groups {
        let less: Vec<_> = want.difference(&group).collect();
        let more: Vec<_> = group.difference(&want).collect();
        assert!(group == want, "{about}: targets that are missing: {less:?}, too many: {more:?}");
    }
}

fn unknown(member: &Member) -> Member {
    let err = CloudError::new(Kind::Unavailable, "the cloud did not answer");
    Member { node: member.node.clone(), instance: Arc::new(Observation::Unknown(err)) }
}

/// Nodes come and go all day, and traffic goes to those that are there.
pub async fn targets_follow_the_nodes(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let two = rig.nodes().to_vec();
    let first = rig.snapshot().await;
    assert_targets(harness, &service, &two, "two nodes").await;
    rig.join(1).await;
    rig.settled().await;
    assert_targets(harness, &service, rig.nodes(), "one more").await;
    rig.members(two.clone());
    rig.settled().await;
    assert_targets(harness, &service, &two, "one less").await;
    assert_left("one more and one less", &rig.snapshot().await, &first);
    rig.members(Vec::new());
    rig.settled().await;
    assert_targets(harness, &service, &[], "none").await;
    rig.members(two.clone());
    rig.settled().await;
    assert_targets(harness, &service, &two, "two again").await;
}

/// A cluster may be made before its nodes, and a Service is no less wanted then.
pub async fn a_service_without_nodes_is_made(harness: &impl LoadBalancerHarness) {
    let mut rig = Rig::start(harness).await;
    let service = harness.service();
    rig.present(&service);
    rig.settled().await;
    assert!(!rig.ingress(&service).is_empty(), "it is done, and has no address");
    rig.join(1).await;
    rig.settled().await;
    assert_targets(harness, &service, rig.nodes(), "the first node").await;
    clear(&mut rig, &[&service], "deleted").await;
}

/// That a machine cannot be looked up says nothing against it. In an outage of the cloud's answers
/// all machines would lose their traffic at once.
pub async fn an_unknown_machine_stays_a_target(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let two = rig.nodes().to_vec();
    let before = harness.mutations().await;
    rig.members(two.iter().map(unknown).collect());
    rig.look_again().await;
    rig.settled().await;
    assert_targets(harness, &service, &two, "machines that cannot be looked up").await;
    rig.restart().await;
    rig.settled().await;
    assert_targets(harness, &service, &two, "and a restart").await;
    assert_eq!(harness.mutations().await, before, "requests that took effect for what is unknown");

    // A change of the Service leaves them alone as well.
    let mut changed = service.clone();
    changed.ports.pop();
    rig.present(&changed);
    rig.settled().await;
    assert_targets(harness, &service, &two, "and a change of ports").await;
    rig.members(vec![unknown(&two[0]), two[1].clone()]);
    rig.settled().await;
    assert_targets(harness, &service, &two, "one known again").await;
}

/// What was deleted gets no traffic, though its node is still there.
pub async fn a_machine_that_is_gone_is_no_target(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let nodes: Vec<_> = rig.nodes().iter().map(|member| member.node.clone()).collect();
    harness.terminate(&nodes[0]).await;
    rig.observe(nodes.clone()).await;
    rig.settled().await;
    assert_targets(harness, &service, &rig.nodes()[1..], "one is gone").await;
    harness.terminate(&nodes[1]).await;
    rig.observe(nodes).await;
    rig.settled().await;
    assert_targets(harness, &service, &[], "all are gone").await;
    clear(&mut rig, &[&service], "deleted").await;
}

/// Large clusters exceed what one request takes.
pub async fn many_nodes_are_targets(harness: &impl LoadBalancerHarness) {
    let (mut rig, service) = made(harness).await;
    let few = rig.nodes().to_vec();
    rig.join(harness.many_nodes()).await;
    rig.settled().await;
    assert_targets(harness, &service, rig.nodes(), "many").await;
    let before = harness.mutations().await;
    rig.restart().await;
    rig.settled().await;
    assert_eq!(harness.mutations().await, before, "sent by a process that finds them all there");
    rig.members(few.clone());
    rig.settled().await;
    assert_targets(harness, &service, &few, "few again").await;
    clear(&mut rig, &[&service], "deleted").await;
}
