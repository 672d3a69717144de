//! Load balancers for Services.
//!
//! Each Service has pieces of its own: addresses, a load balancer, target groups, listeners. Behind
//! them all is one firewall for the cluster, a unit that its Services share. What is there is found
//! by the tags on it ([`marks`]); nothing is kept between two looks.

mod annotations;
mod apply;
mod change;
mod marks;
mod members;
mod observe;
mod plan;
mod wish;

pub(crate) use self::annotations::ServiceAnnotations;
pub(crate) use self::marks::{Marks, piece_token};

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    CloudError, Converge, Learnt, LoadBalancerSpec, Owned, Plan, Read, Unit, UnitName, Want, World,
    Write,
};

use self::change::SimChange;
use self::members::Roll;
use self::observe::Observed;
use crate::client::Client;

/// For how long changes of the firewall are collected.
///
/// A guess: a rollout that makes many Services at once becomes a few passes, and nobody notices
/// the wait beside the seconds that a load balancer takes.
const FIREWALL_SETTLE: Duration = Duration::from_millis(100);

/// Load balancers of the simulated cloud.
#[derive(Debug)]
pub(crate) struct SimLoadBalancers {
    client: Arc<Client>,
    marks: Marks,
    /// Targets in one call.
    batch_limit: NonZeroUsize,
    lag: Duration,
    roll: Roll,
}

impl SimLoadBalancers {
    pub(crate) fn new(
        client: Arc<Client>,
        marks: Marks,
        batch_limit: NonZeroUsize,
        lag: Duration,
    ) -> Self {
        Self { client, marks, batch_limit, lag, roll: Roll::default() }
    }
}

#[async_trait]
impl Converge<LoadBalancerSpec> for SimLoadBalancers {
    type Observed = Observed;
    type Change = SimChange;

    /// The firewall comes last, so that it opens when all is ready, and closes before anything is
    /// taken down.
    fn units(&self, want: &Want<LoadBalancerSpec>) -> Vec<Unit> {
        vec![Unit::own(want.id()), Unit { settle: FIREWALL_SETTLE, ..Unit::shared("firewall") }]
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<LoadBalancerSpec>,
    ) -> Result<Observed, CloudError> {
        match &unit.name {
            UnitName::Own(id) => {
                let want = world.wants.iter().find(|want| want.id() == id);
                // Large, because it looks at all kinds of pieces at once.
                let look = Box::pin(observe::own(&self.client, cx, &self.marks, id, want));
                look.await.map(Observed::Own)
            }
            UnitName::Shared(_) => {
                observe::firewall(&self.client, cx, &self.marks).await.map(Observed::Firewall)
            }
        }
    }

    fn plan(
        &self,
        unit: &Unit,
        world: &World<LoadBalancerSpec>,
        observed: &Observed,
    ) -> Plan<SimChange> {
        match (&unit.name, observed) {
            (UnitName::Own(id), Observed::Own(own)) => {
                plan::plan_own(&self.marks, self.batch_limit, &self.roll, id, world, own)
            }
            (UnitName::Shared(_), Observed::Firewall(wall)) => {
                plan::plan_firewall(&self.marks, world, wall.as_ref())
            }
            // A mistake of the engine's. Without a report nobody is taken to be done.
            (UnitName::Own(_), Observed::Firewall(_)) | (UnitName::Shared(_), Observed::Own(_)) => {
                Plan::default()
            }
        }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &SimChange,
        observed: &Observed,
    ) -> Result<Learnt<Observed>, CloudError> {
        apply::apply(self, cx, change, observed).await
    }

    fn lag(&self) -> Duration {
        self.lag
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        // Five lists at once make a large future.
        Box::pin(observe::inventory(&self.client, cx, &self.marks)).await
    }
}
