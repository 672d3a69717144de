//! Questions to a provider, and what is made of the answers.

use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{
    Ask, CloudError, Evidence, Freshness, Instance, Instances, Kind, NodeIdentity, NodeName,
    Observation, ProviderId, Read, Uid, Urgency,
};
use ccm_core::cluster::gate::Gate;
use ccm_core::governor::Governor;
use ccm_core::telemetry::CloudMetrics;

use crate::harness::Harness;

/// How long an ordinary question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Leave to look, from a governor that has learnt nothing yet. For a provider's own tests too.
pub fn leave(patience: Duration) -> Read {
    let metrics = CloudMetrics::unread();
    let governor = Governor::new(Gate::always_open(), metrics);
    governor.read(Urgency::Refresh, Freshness::Live, patience)
}

pub(crate) fn capability(harness: &impl Harness) -> Arc<dyn Instances> {
    harness.cloud().instances().expect("the provider has instances")
}

/// What the provider says, an outer error included.
pub(crate) async fn ask(
    harness: &impl Harness,
    ask: Ask,
    nodes: &[NodeIdentity],
) -> Result<Vec<Observation>, CloudError> {
    ask_within(harness, PATIENCE, ask, nodes).await
}

pub(crate) async fn ask_within(
    harness: &impl Harness,
    patience: Duration,
    ask: Ask,
    nodes: &[NodeIdentity],
) -> Result<Vec<Observation>, CloudError> {
    let answers = capability(harness).describe(&leave(patience), ask, nodes).await?;
    assert_eq!(answers.len(), nodes.len(), "as many answers as questions, not {answers:?}");
    Ok(answers)
}

/// What the provider says while nothing is wrong.
pub(crate) async fn look(harness: &impl Harness, nodes: &[NodeIdentity]) -> Vec<Observation> {
    match ask(harness, Ask::Look, nodes).await {
        Ok(answers) => answers,
        Err(err) => panic!("nothing is wrong, and yet all is unknown: {err:?}"),
    }
}

pub(crate) async fn one(harness: &impl Harness, how: Ask, node: &NodeIdentity) -> Observation {
    match ask(harness, how, std::slice::from_ref(node)).await {
        Ok(mut answers) => answers.pop().expect("as many answers as questions"),
        Err(err) => panic!("{} ({how:?}): an outer error: {err:?}", node.name),
    }
}

pub(crate) async fn present(harness: &impl Harness, how: Ask, node: &NodeIdentity) -> Instance {
    match one(harness, how, node).await {
        Observation::Present(instance) => instance,
        other => panic!("{} ({how:?}) should be present, not {other:?}", node.name),
    }
}

pub(crate) async fn gone(harness: &impl Harness, how: Ask, node: &NodeIdentity) -> Evidence {
    match one(harness, how, node).await {
        Observation::Gone(evidence) => evidence,
        other => panic!("{} ({how:?}) should be gone, not {other:?}", node.name),
    }
}

/// Launches an instance and asks about it: the node once it has its provider ID.
pub(crate) async fn joined(harness: &impl Harness) -> (NodeIdentity, Instance) {
    let node = harness.launch().await;
    let instance = present(harness, Ask::Look, &node).await;
    (with_id(&node, &instance.provider_id), instance)
}

pub(crate) fn with_id(node: &NodeIdentity, id: &ProviderId) -> NodeIdentity {
    NodeIdentity { provider_id: Some(id.clone()), ..node.clone() }
}

/// A node of another name that tells nothing about itself: no instance of that name was ever
/// launched.
pub(crate) fn stranger(like: &NodeIdentity, number: usize) -> NodeIdentity {
    NodeIdentity {
        name: NodeName::from(format!("no-such-instance-{number}")),
        uid: Uid::from(format!("00000000-0000-4000-8000-{number:012}")),
        created: like.created,
        provider_id: None,
        system_uuid: None,
        addresses: Vec::new(),
        labels: like.labels.clone(),
        annotations: like.annotations.clone(),
        is_initialized: false,
    }
}

/// The kinds of failure that keep everything unknown. Panics where anything is said to be known.
pub(crate) fn failures(answer: Result<Vec<Observation>, CloudError>) -> Vec<Kind> {
    let kind = |observation| match observation {
        Observation::Unknown(err) => err.kind(),
        known => panic!("nothing can be known, and yet this is said: {known:?}"),
    };
    match answer {
        Ok(answers) => answers.into_iter().map(kind).collect(),
        Err(err) => vec![err.kind()],
    }
}
