//! Subnets, and what makes them public or private. Hardly ever changes, and is kept for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_sdk_ec2::types::Filter;
use ccm_core::cloud::{CloudError, Read};
use ipnet::Ipv4Net;

use super::groups::tags_of;
use super::kept::Kept;
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
        kept.get(cx, || self.ask_network(cx, vpc)).await
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
        let mut subnets = Vec::new();
        let mut token = None;
        loop {
            let request = self.sdk()?.ec2.describe_subnets().filters(of_vpc(vpc));
            let request = request.set_next_token(token);
            let page = read(cx, &DESCRIBE_SUBNETS, request.send()).await?;
            subnets.extend(page.subnets.unwrap_or_default().into_iter().map(subnet));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(subnets);
            }
        }
    }

    async fn tables_to_the_internet(&self, cx: &Read, vpc: &str) -> Result<Vec<Table>, CloudError> {
        let mut tables = Vec::new();
        let mut token = None;
        loop {
            let request = self.sdk()?.ec2.describe_route_tables().filters(of_vpc(vpc));
            let request = request.set_next_token(token);
            let page = read(cx, &DESCRIBE_ROUTE_TABLES, request.send()).await?;
            tables.extend(page.route_tables.unwrap_or_default().into_iter().map(table));
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(tables);
            }
        }
    }
}

/// What a route table says of the way to the internet.
struct Table {
    is_main: bool,
    subnets: BTreeSet<String>,
    has_gateway: bool,
}

fn of_vpc(vpc: &str) -> Filter {
    Filter::builder().name("vpc-id").values(vpc).build()
}

fn subnet(subnet: aws_sdk_ec2::types::Subnet) -> Subnet {
    Subnet {
        id: subnet.subnet_id.unwrap_or_default(),
        zone: subnet.availability_zone.unwrap_or_default(),
        cidr: subnet.cidr_block.and_then(|text| text.parse().ok()),
        tags: tags_of(subnet.tags),
    }
}

fn table(table: aws_sdk_ec2::types::RouteTable) -> Table {
    let (associations, routes) =
        (table.associations.unwrap_or_default(), table.routes.unwrap_or_default());
    let is_gateway = |id: Option<&String>| id.is_some_and(|id| id.starts_with("igw"));
    Table {
        is_main: associations.iter().any(|it| it.main == Some(true)),
        subnets: associations.into_iter().filter_map(|it| it.subnet_id).collect(),
        has_gateway: routes.iter().any(|route| is_gateway(route.gateway_id.as_ref())),
    }
}
