//! The machines behind nodes: EC2 instances, and pods on Fargate.
//!
//! A batch of nodes costs one `DescribeInstances` for those with a provider ID, one for those
//! without, and what their labels need beside that, which is next to nothing: what zones are called
//! is kept, and where a machine is in the network is asked for once.

mod detail;
mod fargate;
mod halves;
mod look;
mod record;
mod topology;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    Ask, Batching, CloudError, Evidence, Instances, NodeIdentity, Observation, Read,
};

pub(crate) use self::detail::InstanceDetail;
use self::look::{Key, Word};
use self::record::Common;
pub(crate) use self::topology::LAYER_1;
use self::topology::{Asked, Followed, Topology};
use self::zones::ZoneIds;
use crate::client::ec2::MOST_VALUES;
use crate::client::ec2::instances::{Machine, MachineState};
use crate::ground::{Ground, Home};

/// Nodes in one question: as many as can be asked about by one condition.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(MOST_VALUES - 1);

/// How long labels that a node can do without may hold it up.
const EXTRA_LIMIT: Duration = Duration::from_secs(3);

/// The label with the ID of a node's zone.
const ZONE_ID: &str = "topology.k8s.aws/zone-id";

/// Instances of AWS.
#[derive(Debug)]
pub(crate) struct AwsInstances {
    ground: Arc<Ground>,
    zones: ZoneIds,
    topology: Topology,
}

impl AwsInstances {
    pub(crate) fn new(ground: Arc<Ground>) -> Self {
        Self { ground, zones: ZoneIds::default(), topology: Topology::default() }
    }
}

#[async_trait]
impl Instances for AwsInstances {
    fn batching(&self) -> Batching {
        Batching::UpTo(BATCH)
    }

    async fn describe(
        &self,
        cx: &Read,
        ask: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let home = self.ground.home()?;
        let keys: Vec<_> = nodes.iter().map(|node| Key::of(node, home.own.as_ref())).collect();
        let words = look::ask(&self.ground.client, cx, ask, home, nodes, keys).await;
        Ok(self.observations(cx, home, nodes, words).await)
    }
}

impl AwsInstances {
    /// Adds what is not in the records, and says it in the framework's words.
    async fn observations(
        &self,
        cx: &Read,
        home: &Home,
        nodes: &[NodeIdentity],
        words: Vec<Word>,
    ) -> Vec<Observation> {
        let config = &self.ground.config;
        let client = &self.ground.client;
        let zones: BTreeSet<&str> = words.iter().filter_map(Word::zone).collect();
        let asked: Vec<_> = nodes.iter().zip(&words).filter_map(asked).collect();
        let (zones, places) = futures::join!(
            self.zones.of(client, cx, &zones),
            self.topology.of(client, cx, &asked, &config.needs_topology),
        );
        let common = Common {
            region: &home.region,
            families: &config.node_families,
            cluster: &home.cluster,
        };
        let mut said = Vec::with_capacity(words.len());
        for (node, word) in nodes.iter().zip(&words) {
            let mut labels = BTreeMap::new();
            if let Some(id) = word.zone().and_then(|zone| zones.get(zone)) {
                labels.insert(ZONE_ID.to_owned(), id.clone());
            }
            said.push(match word {
                Word::Unknown(err) => Observation::Unknown(err.repeat()),
                Word::Absent => Observation::Gone(Evidence::Absent),
                Word::Machine(machine) => {
                    match followed(node, places.get(&machine.id)) {
                        Ok(layers) => labels.extend(layers),
                        Err(err) => {
                            said.push(Observation::Unknown(err));
                            continue;
                        }
                    }
                    record::observation(machine, labels, common)
                }
                Word::Fargate(provider_id, found) => {
                    record::fargate(provider_id, found, labels, common)
                }
            });
        }
        said
    }
}

/// The labels of a node's place in the network, or why nothing is to be said of the node before they
/// are known.
///
/// Pods choose such a node by them, so it must not take any without. One that takes pods already has
/// addresses that follow, and load balancers that it is behind: it gets the labels when they are had.
fn followed(
    node: &NodeIdentity,
    place: Option<&Followed>,
) -> Result<BTreeMap<String, String>, CloudError> {
    match place.filter(|_| lacks_layers(node)) {
        Some(Followed::Labels(layers)) => Ok(layers.clone()),
        Some(Followed::Waits(err)) if !node.is_initialized => Err(err.repeat()),
        Some(Followed::Waits(_) | Followed::Without) | None => Ok(BTreeMap::new()),
    }
}

fn lacks_layers(node: &NodeIdentity) -> bool {
    !node.labels.contains_key(LAYER_1)
}

/// The machine whose place in the network is asked for: one that runs, or is about to.
fn asked<'a>((node, word): (&NodeIdentity, &'a Word)) -> Option<Asked<'a>> {
    let Word::Machine(machine) = word else { return None };
    let Machine { id, instance_type: Some(instance_type), .. } = &**machine else { return None };
    let is_running = match machine.state? {
        MachineState::Running => true,
        MachineState::Pending => false,
        MachineState::Stopping
        | MachineState::Stopped
        | MachineState::ShuttingDown
        | MachineState::Terminated => return None,
    };
    lacks_layers(node).then_some(Asked { id, instance_type, is_running })
}

#[cfg(test)]
mod tests;
