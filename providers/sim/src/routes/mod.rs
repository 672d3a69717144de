//! Routes to the nodes' pod ranges.
//!
//! Each node has routes of its own in one table of the cloud, at most one of each family. What is there
//! is found by the tags on it ([`Marks`]) and by its destination; nothing is kept between two looks, and
//! looks at several nodes that come together are one call.

mod apply;
mod change;
mod marks;
mod observe;
mod plan;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{
    CloudError, Converge, Gather, Inputs, Learnt, Owned, Plan, Read, RouteSpec, Unit, UnitName,
    Want, World, Write,
};
use ipnet::IpNet;
use simcloud::api::Route;

use self::change::RouteChange;
use self::observe::{Key, Observed};
use crate::client::Client;
use crate::load_balancers::Marks;

/// Routes of the simulated cloud.
#[derive(Debug)]
pub(crate) struct SimRoutes {
    client: Arc<Client>,
    scope: Scope,
    lag: Duration,
    looks: Gather<Key, Vec<Route>>,
}

/// Which routes are this cluster's business.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) marks: Marks,
    /// The table that they are in.
    pub(crate) table: String,
    /// `--cluster-cidr`. A route to any other range is not ours, whatever mark it bears.
    pub(crate) ranges: Vec<IpNet>,
}

impl Scope {
    /// Whether a range is inside the cluster's.
    pub(crate) fn contains(&self, destination: IpNet) -> bool {
        self.ranges.iter().any(|range| range.contains(&destination))
    }
}

impl SimRoutes {
    pub(crate) fn new(
        client: Arc<Client>,
        scope: Scope,
        batch_limit: NonZeroUsize,
        lag: Duration,
    ) -> Self {
        Self { client, scope, lag, looks: Gather::new(batch_limit) }
    }
}

#[async_trait]
impl Converge<RouteSpec> for SimRoutes {
    type Observed = Observed;
    type Change = RouteChange;

    /// The cloud takes routes one by one, and a spec has all that is to be known of its node.
    fn units(&self, want: &Want<RouteSpec>) -> Vec<Unit> {
        let own = Unit::own(want.id());
        vec![Unit { inputs: Inputs { nodes: false, ..own.inputs }, ..own }]
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<RouteSpec>,
    ) -> Result<Observed, CloudError> {
        match want_of(unit, world) {
            Some(want) => observe::own(self, cx, want).await,
            None => Ok(Observed::default()),
        }
    }

    fn plan(
        &self,
        unit: &Unit,
        world: &World<RouteSpec>,
        observed: &Observed,
    ) -> Plan<RouteChange> {
        want_of(unit, world)
            .map_or_else(Plan::default, |want| plan::plan(&self.scope, want, observed))
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &RouteChange,
        observed: &Observed,
    ) -> Result<Learnt<Observed>, CloudError> {
        apply::apply(self, cx, change, observed).await
    }

    fn lag(&self) -> Duration {
        self.lag
    }

    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        observe::inventory(self, cx).await
    }
}

/// The one want that a unit is for.
fn want_of<'a>(unit: &Unit, world: &'a World<RouteSpec>) -> Option<&'a Want<RouteSpec>> {
    match &unit.name {
        UnitName::Own(id) => world.wants.iter().find(|want| want.id() == id),
        // Nobody names one.
        UnitName::Shared(_) => None,
    }
}
