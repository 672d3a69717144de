//! Subnets, and what makes them public or private. Hardly ever changes, and is kept for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::types as sdk;
use ccm_core::cloud::{CloudError, Read};
use ipnet::Ipv4Net;

use super::ec2::{filters, some, tags};
use super::kept::Kept;
use super::pages::pages;
use super::{Client, read};
use crate::actions::{DESCRIBE_ROUTE_TABLES, DESCRIBE_SUBNETS};
use crate::marks::Tags;

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    /// `subnet-…`.
    pub(crate) id: String,
    /// `eu-west-1a`.
    pub(crate) zone: String,
    /// `None` where it has IPv6 alone.
    pub(crate) cidr: Option<Ipv4Net>,
    pub(crate) tags: Tags,
}

/// The subnets of the cluster's VPC, and which of them lead to the internet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// By ID.
    pub(crate) subnets: BTreeMap<String, Subnet>,
    /// Subnets whose route table says that they have an internet gateway.
    pub(crate) gateways: BTreeMap<String, bool>,
    /// The same for those that no route table names. `None`: there is no main route table.
    pub(crate) main: Option<bool>,
}

impl Network {
    /// These subnets, of which these lead to the internet.
    #[cfg(test)]
    pub(crate) fn of(subnets: Vec<Subnet>, public: &[&str]) -> Self {
        Self {
            gateways: public.iter().map(|id| ((*id).to_owned(), true)).collect(),
            subnets: subnets.into_iter().map(|subnet| (subnet.id.clone(), subnet)).collect(),
            main: Some(false),
        }
    }

    /// Whether a subnet leads to the internet. `None`: no route table speaks of it.
    pub(crate) fn is_public(&self, subnet: &str) -> Option<bool> {
        self.gateways.get(subnet).copied().or(self.main)
    }
}

impl Client {
    /// Looks at the VPC, or gives what was seen of it, if that is fresh enough.
    pub(crate) async fn network(
        &self,
        cx: &Read,
        kept: &Kept<Network>,
        vpc: &str,
    ) -> Result<Arc<Network>, CloudError> {
        self.network_within(cx, kept, vpc, Duration::MAX).await
    }

    /// The same, but no older than this.
    pub(crate) async fn network_within(
        &self,
        cx: &Read,
        kept: &Kept<Network>,
        vpc: &str,
        most: Duration,
    ) -> Result<Arc<Network>, CloudError> {
        kept.get_within(cx, most, || self.ask_network(cx, vpc)).await
    }

    async fn ask_network(&self, cx: &Read, vpc: &str) -> Result<Network, CloudError> {
        let (subnets, tables) =
            futures::try_join!(self.subnets(cx, vpc), self.tables_to_the_internet(cx, vpc))?;
        let mut network = Network {
            subnets: subnets.into_iter().map(|subnet| (subnet.id.clone(), subnet)).collect(),
            ..Network::default()
        };
        for table in tables {
            network.main = if table.is_main { Some(table.has_gateway) } else { network.main };
            let subnets = table.subnets.into_iter().map(|id| (id, table.has_gateway));
            network.gateways.extend(subnets);
        }
        Ok(network)
    }

    async fn subnets(&self, cx: &Read, vpc: &str) -> Result<Vec<Subnet>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        pages(|page| async {
            let ask = ec2.describe_subnets().set_filters(Some(of_vpc(vpc))).set_next_token(page);
            let answer = read(cx, &DESCRIBE_SUBNETS, ask.send()).await?;
            Ok((answer.subnets().iter().map(subnet).collect(), answer.next_token))
        })
        .await
    }

    async fn tables_to_the_internet(&self, cx: &Read, vpc: &str) -> Result<Vec<Table>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        pages(|page| async {
            let ask =
                ec2.describe_route_tables().set_filters(Some(of_vpc(vpc))).set_next_token(page);
            let answer = read(cx, &DESCRIBE_ROUTE_TABLES, ask.send()).await?;
            Ok((answer.route_tables().iter().map(table).collect(), answer.next_token))
        })
        .await
    }
}

/// What a route table says of the way to the internet.
struct Table {
    is_main: bool,
    subnets: BTreeSet<String>,
    has_gateway: bool,
}

fn of_vpc(vpc: &str) -> Vec<sdk::Filter> {
    filters(&[("vpc-id", &[vpc.to_owned()])])
}

fn subnet(record: &sdk::Subnet) -> Subnet {
    Subnet {
        id: record.subnet_id().unwrap_or_default().to_owned(),
        zone: record.availability_zone().unwrap_or_default().to_owned(),
        cidr: record.cidr_block().and_then(|text| text.parse().ok()),
        tags: tags(record.tags()),
    }
}

fn table(record: &sdk::RouteTable) -> Table {
    let associations = record.associations().iter();
    let is_gateway = |id: &str| id.starts_with("igw");
    Table {
        is_main: record.associations().iter().any(|it| it.main() == Some(true)),
        subnets: associations.filter_map(|it| some(it.subnet_id())).collect(),
        has_gateway: record.routes().iter().any(|it| it.gateway_id().is_some_and(is_gateway)),
    }
}
