//! Routes to the nodes' pod ranges, in the VPC's route tables.
//!
//! A route of AWS bears no tag and no owner. So all nodes share one unit, the tables: every range of
//! every node is in each of them, and what else is there and ours goes. *Ours* is a route whose
//! destination is inside the cluster's ranges ([`Scope`]) and that leads to an instance with the
//! cluster's tag, to the machine of a node that is wanted, or nowhere any more (its instance is
//! terminated, its interface detached). Everything else is somebody's: routes of gateways, peerings
//! and the VPC itself, and those to instances without the cluster's tag, such as an appliance that
//! someone has put into the network. If such a route has a node's range, that node alone is refused.
//!
//! Nothing but its name is known of a node that is to keep what it has
//! ([`Want::Keep`](ccm_core::cloud::Want::Keep)). While there is one, a route that no node wants goes
//! only where it cannot be that node's: its instance is another node's by provider ID or name, or is
//! terminated. The rest goes once all nodes can be read.

mod apply;
mod change;
mod observe;
mod plan;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ec2::operation::replace_route::ReplaceRouteError;
use ccm_core::cloud::{
    CloudError, Converge, Learnt, Owned, Plan, Read, RouteSpec, Uid, Unit, Want, World, Write,
};
use ipnet::IpNet;
use tracing::warn;

use self::change::RouteChange;
use self::observe::Observed;
use crate::client::kept::LAG;
use crate::denied::Denied;
use crate::error;
use crate::ground::Ground;

/// The one unit. It names metrics and log lines.
const UNIT: &str = "route-tables";

/// Nodes come in groups: those that come within this time cost one look.
const SETTLE: Duration = Duration::from_millis(100);

/// Routes in the VPC's tables.
#[derive(Debug)]
pub(crate) struct AwsRoutes {
    ground: Arc<Ground>,
    scope: Scope,
    /// Which node wants which range, as far as this process was told: routes do not say it.
    claims: Mutex<BTreeMap<IpNet, Uid>>,
    /// The Go program's published policy lacks the right to replace a route, and lets it be deleted and
    /// made.
    replacing: Denied,
    /// That there are several tables with the cluster's tag was said.
    has_told_of_tables: AtomicBool,
}

/// Which ranges are this cluster's: `--cluster-cidr`.
#[derive(Clone, Debug)]
pub(crate) struct Scope(Vec<IpNet>);

impl Scope {
    /// Whether a range is inside the cluster's.
    pub(crate) fn contains(&self, destination: IpNet) -> bool {
        self.0.iter().any(|range| range.contains(&destination))
    }
}

impl AwsRoutes {
    pub(crate) fn new(ground: Arc<Ground>) -> Self {
        let scope = Scope(ground.cluster_cidrs.clone());
        let replacing = Denied::or("routes that lead astray are deleted and made again");
        let (claims, has_told_of_tables) = (Mutex::default(), AtomicBool::new(false));
        Self { ground, scope, claims, replacing, has_told_of_tables }
    }

    /// Says once that routes go into several tables, where nobody named them: the Go program makes none
    /// then, so it may be that none are needed.
    fn tell_of_tables(&self, observed: &Observed) {
        let Some(warning) = spread(&self.ground.config.route_tables, observed) else { return };
        if !self.has_told_of_tables.swap(true, Ordering::Relaxed) {
            warn!("{warning}");
        }
    }

    /// Remembers who wants what.
    fn hear(&self, wants: &[Want<RouteSpec>]) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        for want in wants {
            match want {
                Want::Keep(_) => {}
                Want::Present(_) | Want::Absent(_) => claims.retain(|_, uid| *uid != want.id().uid),
            }
        }
        for want in wants {
            if let Want::Present(spec) = want {
                let claimed = spec.destinations.iter().map(|it| (*it, want.id().uid.clone()));
                claims.extend(claimed);
            }
        }
    }
}

#[async_trait]
impl Converge<RouteSpec> for AwsRoutes {
    type Observed = Observed;
    type Change = RouteChange;

    fn units(&self, _: &Want<RouteSpec>) -> Vec<Unit> {
        vec![Unit { settle: SETTLE, ..Unit::shared(UNIT) }]
    }

    async fn observe(
        &self,
        cx: &Read,
        _: &Unit,
        world: &World<RouteSpec>,
    ) -> Result<Observed, CloudError> {
        self.hear(&world.wants);
        let mut observed = observe::look(&self.ground, cx, &self.scope, &world.wants).await?;
        observed.may_not_replace = self.replacing.is_so();
        if !world.wants.is_empty() {
            self.tell_of_tables(&observed);
        }
        Ok(observed)
    }

    fn plan(&self, _: &Unit, world: &World<RouteSpec>, observed: &Observed) -> Plan<RouteChange> {
        plan::plan(&self.scope, &world.wants, observed)
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &RouteChange,
        observed: &Observed,
    ) -> Result<Learnt<Observed>, CloudError> {
        let applied = apply::apply(&self.ground, cx, change, observed).await;
        match change {
            RouteChange::Replace { .. } => applied.map_err(|err| {
                let code = error::code::<ReplaceRouteError>(&err).map(str::to_owned);
                self.replacing.note(err, code.as_deref())
            }),
            RouteChange::Delete { .. } | RouteChange::SkipCheck(_) | RouteChange::Create { .. } => {
                applied
            }
        }
    }

    fn lag(&self) -> Duration {
        LAG
    }

    /// The owner is the node that wants the route's range, where this process was told of one: a
    /// route has none written on it.
    async fn inventory(&self, cx: &Read) -> Result<Vec<Owned>, CloudError> {
        let observed = observe::look(&self.ground, cx, &self.scope, &[]).await?;
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let owned = plan::ours(&self.scope, &observed).map(|(table, destination)| Owned {
            kind: "route",
            id: format!("{table}/{destination}"),
            owner: claims.get(&destination).cloned(),
            object: None,
        });
        Ok(owned.collect())
    }
}

/// What is said of several tables that were found by the cluster's tag.
fn spread(named: &[String], observed: &Observed) -> Option<String> {
    let tables: Vec<_> = observed.tables.keys().map(String::as_str).collect();
    (named.is_empty() && tables.len() > 1).then(|| {
        format!(
            "several route tables bear the cluster's tag, and routes are made in all of them: {}; name \
             those that are meant with RouteTableID, or give --configure-cloud-routes=false where \
             pods need no routes",
            tables.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one(&[], &["t1"], None)]
    #[case::several(&[], &["t1", "t2"], Some("t1, t2"))]
    #[case::several_that_are_named(&["t1", "t2"], &["t1", "t2"], None)]
    fn several_tables_that_nobody_named_are_worth_a_word(
        #[case] named: &[&str],
        #[case] found: &[&str],
        #[case] want: Option<&str>,
    ) {
        let named: Vec<_> = named.iter().map(|&id| id.to_owned()).collect();
        let tables = found.iter().map(|&id| (id.to_owned(), BTreeMap::new())).collect();
        let said = spread(&named, &Observed { tables, ..Observed::default() });
        assert_eq!(said.is_some(), want.is_some());
        assert!(said.unwrap_or_default().contains(want.unwrap_or_default()));
    }
}
