//! What is in the tables, and what is known of the machines that routes lead to.

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{CloudError, ProviderId, Read, RouteSpec, Want};
use futures::future::try_join_all;
use ipnet::IpNet;

use super::{Scope, plan};
use crate::client::ec2::instances::{Machine, MachineState};
use crate::client::ec2::routes::{Route, RouteTable, Target, Towards};
use crate::ground::{Cluster, Ground, Home};
use crate::id::{self, MachineId};

/// Instances in one question.
const MOST_INSTANCES: usize = 100;

/// The tables, and machines by their instance IDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// By their IDs.
    pub(crate) tables: BTreeMap<String, BTreeMap<IpNet, Route>>,
    /// Why there are none, or not all that there should be: those that are there are worked on.
    pub(crate) lack: Option<String>,
    /// Those of nodes that are wanted, and those that routes lead to.
    pub(crate) machines: BTreeMap<String, Router>,
    /// The right to replace a route is lacking: it is deleted and made again.
    pub(crate) may_not_replace: bool,
}

/// A machine, as a route sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Router {
    /// It bears the cluster's tag.
    pub(crate) is_ours: bool,
    pub(crate) is_terminated: bool,
    /// The node's name is this one, or begins with the instance's ID.
    pub(crate) private_dns_name: Option<String>,
    /// Its network interfaces.
    pub(crate) interfaces: BTreeSet<String>,
    /// How a route leads to it: by its ID where it has one interface, else through the primary one,
    /// for AWS refuses the ID then.
    pub(crate) towards: Towards,
    /// It drops packets that are not from or to itself, as AWS says.
    pub(crate) is_checked: bool,
}

impl Router {
    fn of(machine: &Machine, cluster: &Cluster) -> Self {
        let primary = machine.primary_interface().filter(|_| machine.interfaces.len() > 1);
        let (towards, checked) = match primary {
            None => (Towards::Instance(machine.id.clone()), machine.source_dest_check),
            Some(primary) => (Towards::Interface(primary.id.clone()), primary.source_dest_check),
        };
        Self {
            is_ours: cluster.has(&machine.tags),
            is_terminated: machine.state == Some(MachineState::Terminated),
            private_dns_name: machine.private_dns_name.clone(),
            interfaces: machine.interfaces.iter().map(|it| it.id.clone()).collect(),
            towards,
            is_checked: checked == Some(true),
        }
    }
}

/// Looks at the tables, and then at the machines.
pub(crate) async fn look(
    ground: &Ground,
    cx: &Read,
    scope: &Scope,
    wants: &[Want<RouteSpec>],
) -> Result<Observed, CloudError> {
    let home = ground.home()?;
    let mut observed = Observed::default();
    tables(ground, cx, home, &mut observed).await?;
    machines(ground, cx, home, scope, wants, &mut observed).await?;
    if observed.lack.is_some() || plan::misses(scope, wants, &observed) {
        // The word of one answer is not enough to say that nothing is left of a node, or no table.
        tables(ground, cx, home, &mut observed).await?;
        machines(ground, cx, home, scope, wants, &mut observed).await?;
    }
    plan::has_a_place(wants, &observed)?;
    Ok(observed)
}

/// The tables that are configured, or else those of the VPC that bear the cluster's tag.
async fn tables(
    ground: &Ground,
    cx: &Read,
    home: &Home,
    observed: &mut Observed,
) -> Result<(), CloudError> {
    let wanted = &ground.config.route_tables;
    let found = if wanted.is_empty() {
        let vpc = [home.vpc.clone()];
        ground.client.find_route_tables(cx, &[("vpc-id", &vpc)]).await?
    } else {
        ground.client.find_route_tables(cx, &[("route-table-id", wanted)]).await?
    };
    let ours = found.into_iter().filter(|table| is_managed(table, wanted, home));
    observed.tables = ours.map(|table| (table.id, table.routes)).collect();
    observed.lack = lack(wanted, observed, home);
    Ok(())
}

/// Whether a table is one of those that are named, if any are, or else one of the cluster's. An
/// answer with others than those that were asked for makes nothing ours.
fn is_managed(table: &RouteTable, wanted: &[String], home: &Home) -> bool {
    if wanted.is_empty() { home.cluster.has(&table.tags) } else { wanted.contains(&table.id) }
}

fn lack(wanted: &[String], observed: &Observed, home: &Home) -> Option<String> {
    let missing: Vec<_> =
        wanted.iter().filter(|id| !observed.tables.contains_key(*id)).map(String::as_str).collect();
    if !missing.is_empty() {
        return Some(format!("RouteTableID: AWS knows no route table {}", missing.join(", ")));
    }
    observed.tables.is_empty().then(|| {
        format!(
            "no route table of {} bears the tag {}: tag those of the nodes' subnets, or name them \
             with RouteTableID in the cloud configuration",
            home.vpc,
            home.cluster.key()
        )
    })
}

/// The machines of nodes that are wanted, and those that routes of the cluster's ranges lead to; of
/// those that were seen before only the ones that are new.
async fn machines(
    ground: &Ground,
    cx: &Read,
    home: &Home,
    scope: &Scope,
    wants: &[Want<RouteSpec>],
    observed: &mut Observed,
) -> Result<(), CloudError> {
    let mut ids: BTreeSet<String> = wants.iter().filter_map(instance_of).collect();
    let routes = observed.tables.values().flatten().filter(|(to, _)| scope.contains(**to));
    ids.extend(routes.filter_map(|(_, route)| match &route.target {
        Target::Instance { id, .. } => Some(id.clone()),
        Target::Interface(_) | Target::Other(_) | Target::Nothing => None,
    }));
    ids.retain(|id| !observed.machines.contains_key(id));
    let ids: Vec<_> = ids.into_iter().collect();
    let asked = ids
        .chunks(MOST_INSTANCES)
        .map(|ids| async move { ground.client.find_instances(cx, &[("instance-id", ids)]).await });
    let found = try_join_all(asked).await?.into_iter().flatten();
    let seen = |it: Machine| (it.id.clone(), Router::of(&it, &home.cluster));
    observed.machines.extend(found.map(seen));
    Ok(())
}

fn instance_of(want: &Want<RouteSpec>) -> Option<String> {
    let Want::Present(spec) = want else { return None };
    target_of(spec.node.provider_id.as_ref()?).ok()
}

/// The instance in a node's provider ID, as far as packets can be led there.
pub(crate) fn target_of(provider_id: &ProviderId) -> Result<String, CloudError> {
    match id::parse(provider_id)? {
        MachineId::Instance(id) => Ok(id),
        MachineId::Fargate(_) => {
            let message = format!(
                "provider ID {provider_id:?} is of a pod on Fargate, which routes nothing: give \
                 the node no pod range"
            );
            Err(CloudError::new(ccm_core::cloud::Kind::InvalidConfiguration, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::by_its_tag(&[], "rtb-1", true, true)]
    #[case::without_a_tag(&[], "rtb-1", false, false)]
    #[case::by_its_name(&["rtb-1"], "rtb-1", false, true)]
    #[case::nobody_named_it(&["rtb-*"], "rtb-1", true, false)]
    fn managed_tables(
        #[case] wanted: &[&str],
        #[case] id: &str,
        #[case] has_tag: bool,
        #[case] is_managed: bool,
    ) {
        let cluster = Cluster { id: "blue".to_owned(), legacy: false };
        let tag = (cluster.key(), "shared".to_owned());
        let table = RouteTable {
            id: id.to_owned(),
            tags: has_tag.then_some(tag).into_iter().collect(),
            ..RouteTable::default()
        };
        let home = Home {
            region: "eu-west-1".to_owned(),
            vpc: "vpc-1".to_owned(),
            subnet: None,
            own: None,
            cluster,
        };
        let wanted: Vec<_> = wanted.iter().map(|&id| id.to_owned()).collect();
        assert_eq!(super::is_managed(&table, &wanted, &home), is_managed);
    }
}
