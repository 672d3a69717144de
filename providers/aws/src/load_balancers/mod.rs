//! Load balancers for Services.
//!
//! Each Service has pieces of its own: a Classic or a Network Load Balancer, target groups,
//! listeners, a security group. Behind them all are the rules of the nodes' security groups, a unit that
//! Services share. What is there is found by name and by tags.
//!
//! Each kind has a room ([`classic`], [`network`]) with the same doors: look, build, keep, take down,
//! apply. [`plan`] puts together what they want.

mod annotations;
mod change;
mod classic;
mod draft;
mod groups;
mod inventory;
mod latest;
mod members;
mod names;
mod namesakes;
mod network;
mod node_rules;
mod observe;
mod plan;
mod ranges;
mod reach;
mod refusals;
#[cfg(test)]
mod samples;
mod site;
mod subnets;
mod takeover;
mod wish;

pub(crate) use self::annotations::ServiceAnnotations;
pub(crate) use self::members::NODE_LABELS;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    CloudError, Converge, Learnt, LoadBalancerSpec, Owned, Plan, Read, Unit, UnitName, Want, World,
    Write,
};

use self::change::{AwsChange, OwnChange, vanished};
use self::latest::Latest;
use self::members::Roll;
use self::namesakes::Namesakes;
use self::observe::{Groups, Observed, Own};
use self::site::Surroundings;
use self::takeover::FirstSeen;
use crate::client::ec2::zones::Zones;
use crate::client::groups::SecurityGroup;
use crate::client::kept::{Kept, LAG};
use crate::client::network::Network;
use crate::ground::Ground;

/// For how long changes of the nodes' rules are collected.
///
/// A guess: a rollout that makes many Services at once becomes a few passes, and nobody notices the
/// wait beside the minutes that a load balancer takes.
const RULES_SETTLE: Duration = Duration::from_millis(200);

/// The unit of the nodes' rules.
const NODE_RULES: &str = "node-rules";

/// Load balancers of AWS.
#[derive(Debug)]
pub(crate) struct AwsLoadBalancers {
    pub(crate) ground: Arc<Ground>,
    roll: Roll,
    first_seen: FirstSeen,
    namesakes: Namesakes,
    network: Kept<Network>,
    zones: Kept<Zones>,
    groups: Kept<Groups>,
    balancers: Kept<node_rules::Balancers>,
    latest: Latest,
    /// Those of nodes that do not bear the cluster's tag, with the IDs that were asked for.
    other_groups: Kept<(Vec<String>, Vec<SecurityGroup>)>,
    classic: classic::ClassicRoom,
    nlb: network::NetworkRoom,
}

impl AwsLoadBalancers {
    pub(crate) fn new(ground: Arc<Ground>) -> Self {
        Self {
            ground,
            roll: Roll::default(),
            first_seen: FirstSeen::default(),
            namesakes: Namesakes::default(),
            network: Kept::default(),
            zones: Kept::default(),
            groups: Kept::default(),
            balancers: Kept::default(),
            latest: Latest::default(),
            other_groups: Kept::default(),
            classic: classic::ClassicRoom::default(),
            nlb: network::NetworkRoom::default(),
        }
    }
}

#[async_trait]
impl Converge<LoadBalancerSpec> for AwsLoadBalancers {
    type Observed = Observed;
    type Change = AwsChange;

    /// The nodes' rules come last, so that they open when all is ready, and close before anything
    /// is taken down: a security group cannot go while a rule names it.
    fn units(&self, want: &Want<LoadBalancerSpec>) -> Vec<Unit> {
        let rules = Unit::shared(NODE_RULES);
        let inputs = ccm_core::cloud::Inputs { nodes: true, ..rules.inputs };
        vec![Unit::own(want.id()), Unit { settle: RULES_SETTLE, inputs, ..rules }]
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<LoadBalancerSpec>,
    ) -> Result<Observed, CloudError> {
        match &unit.name {
            UnitName::Own(id) => match world.wants.iter().find(|want| want.id() == id) {
                // Large, because it looks at all kinds of pieces at once.
                Some(want) => {
                    Box::pin(observe::own(self, cx, want)).await.map(Box::new).map(Observed::Own)
                }
                None => Ok(Observed::Own(Box::default())),
            },
            UnitName::Shared(_) => {
                Box::pin(node_rules::observe(self, cx, world)).await.map(Observed::Rules)
            }
        }
    }

    fn plan(
        &self,
        unit: &Unit,
        world: &World<LoadBalancerSpec>,
        observed: &Observed,
    ) -> Plan<AwsChange> {
        // What has been looked at has been connected.
        let Ok(home) = self.ground.home() else { return Plan::default() };
        match (&unit.name, observed) {
            (UnitName::Own(id), Observed::Own(own)) => {
                match world.wants.iter().find(|want| want.id() == id) {
                    Some(want) => plan::plan(self, home, want, world, own),
                    None => Plan::default(),
                }
            }
            (UnitName::Shared(_), Observed::Rules(seen)) => {
                let (config, roll, nodes) = (&self.ground.config, &self.roll, &world.nodes);
                let place = node_rules::Place { cluster: &home.cluster, config, roll, nodes };
                node_rules::plan(&place, world, seen)
            }
            // A mistake of the engine's. Without a report nobody is taken to be done.
            (UnitName::Own(_), Observed::Rules(_)) | (UnitName::Shared(_), Observed::Own(_)) => {
                Plan::default()
            }
        }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &AwsChange,
        observed: &Observed,
    ) -> Result<Learnt<Observed>, CloudError> {
        match (change, observed) {
            (AwsChange::Own { change, service }, Observed::Own(own)) => {
                let learnt = self.apply_own(cx, change, own).await;
                if !change.is_of_targets() {
                    let name = names::load_balancer(&service.uid);
                    match &learnt {
                        Ok(Learnt::Now(Observed::Own(own))) => self.latest.note(name, own),
                        Ok(_) | Err(_) => self.latest.forget(&name),
                    }
                    self.balancers.changed().await;
                }
                learnt
            }
            (AwsChange::Rules(change), _) => {
                let sent = node_rules::apply(&self.ground.client, cx, change).await;
                let sent = vanished(sent);
                self.groups.changed().await;
                self.other_groups.changed().await;
                sent.map(|()| Learnt::LookAgain)
            }
            (AwsChange::Own { .. }, Observed::Rules(_)) => Ok(Learnt::LookAgain),
        }
    }

    fn lag(&self) -> Duration {
        LAG
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        Box::pin(inventory::look(self, cx)).await
    }
}

impl AwsLoadBalancers {
    async fn apply_own(
        &self,
        cx: &Write,
        change: &OwnChange,
        own: &Own,
    ) -> Result<Learnt<Observed>, CloudError> {
        let now = match change {
            OwnChange::Classic(change) => {
                let classic = classic::apply(&self.ground, &self.classic, cx, change, own).await?;
                classic.map(|classic| Own { classic, ..own.clone() })
            }
            OwnChange::Network(change) => {
                let network = network::apply(&self.ground, &self.nlb, cx, change, own).await?;
                network.map(|network| Own { network, ..own.clone() })
            }
            OwnChange::Group(change) => {
                let home = self.ground.home()?;
                let groups = &own.surroundings.groups;
                let sent = groups::apply(&self.ground.client, cx, home, change, groups).await;
                let sent = sent.map_err(groups::not_yet);
                self.groups.changed().await;
                groups::after(groups.clone(), change, sent?).map(|groups| {
                    let surroundings = Surroundings { groups, ..own.surroundings.clone() };
                    Own { surroundings, ..own.clone() }
                })
            }
        };
        Ok(now.map_or(Learnt::LookAgain, |own| Learnt::Now(Observed::Own(Box::new(own)))))
    }
}
