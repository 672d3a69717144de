//! Route tables, as those who make routes see them.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{self as sdk, RouteOrigin, RouteState};
use ccm_core::cloud::{CloudError, Kind, Read, Write};
use ipnet::IpNet;

use super::{Condition, filters, some, tags};
use crate::actions::{CREATE_ROUTE, DELETE_ROUTE, DESCRIBE_ROUTE_TABLES, REPLACE_ROUTE};
use crate::client::groups::gone_is_done;
use crate::client::pages::pages;
use crate::client::{Client, read, write};
use crate::marks::Tags;

/// Tables in a page. More is refused.
const PAGE: i32 = 100;

/// A route table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteTable {
    /// `rtb-…`.
    pub(crate) id: String,
    pub(crate) tags: Tags,
    /// By their destinations, of which there is one route each. Those to prefix lists are left out:
    /// nothing of ours is among them.
    pub(crate) routes: BTreeMap<IpNet, Route>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) target: Target,
    /// It leads nowhere: what it led to is stopped, detached or gone.
    pub(crate) is_blackhole: bool,
}

/// What a route leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// An instance, through one of its interfaces where that is said.
    Instance {
        /// `i-…`.
        id: String,
        /// `eni-…`.
        interface: Option<String>,
    },
    /// A network interface of which the table does not say whose it is.
    Interface(String),
    /// Something that is no machine (a gateway, a peering), or the VPC itself, or what a gateway
    /// has announced; in AWS's words.
    Other(String),
    /// It does not say.
    Nothing,
}

/// Where a new route leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Towards {
    /// An instance with one interface: `i-…`.
    Instance(String),
    /// `eni-…`.
    Interface(String),
}

/// Fills in where a route leads: two requests have the same fields and no type in common.
macro_rules! leading {
    ($ask:expr, $destination:expr, $to:expr) => {{
        let ((v4, v6), (instance, interface)) = (blocks($destination), ids($to));
        $ask.set_destination_cidr_block(v4)
            .set_destination_ipv6_cidr_block(v6)
            .set_instance_id(instance)
            .set_network_interface_id(interface)
    }};
}

impl Client {
    /// The route tables that fit.
    pub(crate) async fn find_route_tables(
        &self,
        cx: &Read,
        conditions: &[Condition<'_>],
    ) -> Result<Vec<RouteTable>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        pages(|page| async {
            let ask = ec2
                .describe_route_tables()
                .set_filters(Some(filters(conditions)))
                .max_results(PAGE)
                .set_next_token(page);
            let answer = read(cx, &DESCRIBE_ROUTE_TABLES, ask.send()).await?;
            let tables: Result<Vec<_>, _> = answer.route_tables().iter().map(table).collect();
            Ok((tables?, answer.next_token))
        })
        .await
    }

    /// Makes a route. [`Kind::Conflict`] where one with this destination is there.
    pub(crate) async fn create_route(
        &self,
        cx: &Write,
        table: &str,
        destination: IpNet,
        to: &Towards,
    ) -> Result<(), CloudError> {
        let ask = self.sdk()?.ec2.create_route().route_table_id(table);
        let ask = leading!(ask, destination, to);
        write(cx, &CREATE_ROUTE, ask.send()).await?;
        Ok(())
    }

    /// Leads a route elsewhere, without a moment in which there is none. [`Kind::NotFound`] where
    /// there is none.
    pub(crate) async fn replace_route(
        &self,
        cx: &Write,
        table: &str,
        destination: IpNet,
        to: &Towards,
    ) -> Result<(), CloudError> {
        let ask = self.sdk()?.ec2.replace_route().route_table_id(table);
        let ask = leading!(ask, destination, to);
        write(cx, &REPLACE_ROUTE, ask.send()).await?;
        Ok(())
    }

    /// Deletes a route. One that is not there is gone.
    pub(crate) async fn delete_route(
        &self,
        cx: &Write,
        table: &str,
        destination: IpNet,
    ) -> Result<(), CloudError> {
        let (v4, v6) = blocks(destination);
        let ask = self.sdk()?.ec2.delete_route().route_table_id(table);
        let ask = ask.set_destination_cidr_block(v4).set_destination_ipv6_cidr_block(v6);
        gone_is_done(write(cx, &DELETE_ROUTE, ask.send()).await)
    }
}

/// A destination as the two fields that the API has for it.
fn blocks(destination: IpNet) -> (Option<String>, Option<String>) {
    match destination {
        IpNet::V4(v4) => (Some(v4.to_string()), None),
        IpNet::V6(v6) => (None, Some(v6.to_string())),
    }
}

fn ids(to: &Towards) -> (Option<String>, Option<String>) {
    match to {
        Towards::Instance(id) => (Some(id.clone()), None),
        Towards::Interface(id) => (None, Some(id.clone())),
    }
}

fn table(record: &sdk::RouteTable) -> Result<RouteTable, CloudError> {
    let id = record.route_table_id().unwrap_or_default().to_owned();
    let mut routes = BTreeMap::new();
    for record in record.routes() {
        let destination = some(record.destination_cidr_block())
            .or_else(|| some(record.destination_ipv6_cidr_block()));
        let Some(destination) = destination else { continue };
        let Ok(destination) = destination.parse() else {
            let message =
                format!("route table {id} has a route to {destination:?}, which is no range");
            return Err(CloudError::new(Kind::Internal, message));
        };
        routes.insert(destination, route(record));
    }
    Ok(RouteTable { id, tags: tags(record.tags()), routes })
}

fn route(record: &sdk::Route) -> Route {
    let is_blackhole = record.state() == Some(&RouteState::Blackhole);
    Route { target: target(record), is_blackhole }
}

fn target(record: &sdk::Route) -> Target {
    let others = [
        record.gateway_id(),
        record.egress_only_internet_gateway_id(),
        record.nat_gateway_id(),
        record.transit_gateway_id(),
        record.local_gateway_id(),
        record.carrier_gateway_id(),
        record.vpc_peering_connection_id(),
        record.core_network_arn(),
        record.odb_network_arn(),
    ];
    if let Some(other) = others.into_iter().find_map(some) {
        return Target::Other(other);
    }
    // Everything else that one may make has this origin.
    if record.origin().is_some_and(|origin| *origin != RouteOrigin::CreateRoute) {
        let origin = record.origin().map_or("", RouteOrigin::as_str);
        return Target::Other(format!("a route by {origin}"));
    }
    let interface = some(record.network_interface_id());
    match (some(record.instance_id()), interface) {
        (Some(id), interface) => Target::Instance { id, interface },
        (None, Some(interface)) => Target::Interface(interface),
        (None, None) => Target::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn made() -> sdk::builders::RouteBuilder {
        sdk::Route::builder().origin(RouteOrigin::CreateRoute).state(RouteState::Active)
    }

    #[rstest]
    #[case::instance(made().instance_id("i-1"), Target::Instance { id: "i-1".into(), interface: None })]
    #[case::instance_by_its_interface(
        made().instance_id("i-1").network_interface_id("eni-1"),
        Target::Instance { id: "i-1".into(), interface: Some("eni-1".into()) },
    )]
    #[case::interface(made().network_interface_id("eni-1"), Target::Interface("eni-1".into()))]
    #[case::gone(made(), Target::Nothing)]
    #[case::local(
        sdk::Route::builder().gateway_id("local").origin(RouteOrigin::CreateRouteTable),
        Target::Other("local".into()),
    )]
    #[case::internet_gateway(made().gateway_id("igw-1"), Target::Other("igw-1".into()))]
    #[case::nat_gateway(made().nat_gateway_id("nat-1"), Target::Other("nat-1".into()))]
    #[case::peering(made().vpc_peering_connection_id("pcx-1"), Target::Other("pcx-1".into()))]
    #[case::transit_gateway(made().transit_gateway_id("tgw-1"), Target::Other("tgw-1".into()))]
    #[case::announced(
        sdk::Route::builder().instance_id("i-1").origin(RouteOrigin::EnableVgwRoutePropagation),
        Target::Other("a route by EnableVgwRoutePropagation".into()),
    )]
    #[case::without_an_origin(
        sdk::Route::builder().instance_id("i-1"),
        Target::Instance { id: "i-1".into(), interface: None },
    )]
    fn targets(#[case] record: sdk::builders::RouteBuilder, #[case] want: Target) {
        assert_eq!(target(&record.build()), want);
    }

    #[test]
    fn tables_are_read_with_both_families_and_without_prefix_lists() {
        let record = sdk::RouteTable::builder()
            .route_table_id("rtb-1")
            .routes(made().destination_cidr_block("10.0.0.0/24").instance_id("i-1").build())
            .routes(made().destination_ipv6_cidr_block("fd00:0::/64").instance_id("i-2").build())
            .routes(made().destination_prefix_list_id("pl-1").gateway_id("vpce-1").build())
            .build();
        let table = table(&record).unwrap();
        let destinations: Vec<_> = table.routes.keys().map(ToString::to_string).collect();
        assert_eq!(destinations, ["10.0.0.0/24", "fd00::/64"]);
    }

    #[test]
    fn a_destination_that_is_none_makes_no_sense() {
        let record = sdk::RouteTable::builder()
            .route_table_id("rtb-1")
            .routes(made().destination_cidr_block("10.0.0.0/240").build())
            .build();
        let err = table(&record).unwrap_err();
        assert_eq!(err.kind(), Kind::Internal);
        assert!(err.message().contains("10.0.0.0/240"), "{err}");
    }
}
