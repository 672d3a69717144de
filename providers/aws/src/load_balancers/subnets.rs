//! Which subnets a load balancer is in. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use ccm_core::cloud::{CloudError, Kind};

use super::annotations::PREFIX;
use crate::client::ec2::zones::Zones;
use crate::client::network::{Network, Subnet};
use crate::ground::{Cluster, Home};
use crate::marks::is_any_clusters;

/// Marks subnets for public load balancers.
const PUBLIC_ROLE: &str = "kubernetes.io/role/elb";
/// Marks subnets for internal ones.
const INTERNAL_ROLE: &str = "kubernetes.io/role/internal-elb";

/// The subnets, in the order of their zones.
pub(crate) fn choose<'a>(
    network: &'a Network,
    zones: &Zones,
    home: &Home,
    asked: Option<&[String]>,
    internal: bool,
) -> Result<Vec<&'a Subnet>, CloudError> {
    match asked {
        Some(asked) => named(network, asked),
        None => discover(network, zones, home, internal),
    }
}

fn refused(message: String) -> CloudError {
    CloudError::new(Kind::InvalidConfiguration, message)
}

/// Those that the annotation names, by ID or by the tag `Name`.
fn named<'a>(network: &'a Network, asked: &[String]) -> Result<Vec<&'a Subnet>, CloudError> {
    let key = format!("{PREFIX}subnets");
    if asked.is_empty() {
        let message = format!("annotation {key}=\"\": must name subnets, by ID or tag Name");
        return Err(refused(message));
    }
    let mut found = Vec::new();
    for one in asked {
        let is_it = |subnet: &&Subnet| {
            subnet.id == *one
                || (!one.starts_with("subnet-") && subnet.tags.get("Name") == Some(one))
        };
        let mut matching = network.subnets.values().filter(is_it);
        match (matching.next(), matching.next()) {
            (Some(subnet), None) => found.push(subnet),
            (None, _) => {
                return Err(refused(format!(
                    "annotation {key}: there is no subnet {one:?} in the cluster's VPC, by ID or tag Name"
                )));
            }
            (Some(one), Some(other)) => {
                return Err(refused(format!(
                    "annotation {key}: subnets {} and {} both have that tag Name: name one by its ID",
                    one.id, other.id
                )));
            }
        }
    }
    found.sort_by(|a, b| (&a.zone, &a.id).cmp(&(&b.zone, &b.id)));
    found.dedup_by(|a, b| a.id == b.id);
    if found.len() != asked.len() {
        return Err(refused(format!("annotation {key}: a subnet is named twice")));
    }
    Ok(found)
}

/// One in each zone: what has the role goes first, then what bears the cluster's tag, then the smallest
/// ID.
fn discover<'a>(
    network: &'a Network,
    zones: &Zones,
    home: &Home,
    internal: bool,
) -> Result<Vec<&'a Subnet>, CloudError> {
    let role = if internal { INTERNAL_ROLE } else { PUBLIC_ROLE };
    let cluster = &home.cluster;
    let mut candidates: Vec<_> =
        network.subnets.values().filter(|it| may_use(cluster, it)).collect();
    if candidates.is_empty() {
        candidates.extend(home.subnet.as_ref().and_then(|id| network.subnets.get(id)));
    }
    let mut chosen: BTreeMap<&str, &Subnet> = BTreeMap::new();
    let rank = |subnet: &Subnet| {
        (!subnet.tags.contains_key(role), !cluster.has(&subnet.tags), subnet.id.clone())
    };
    for subnet in candidates {
        if reason_against(network, zones, cluster, subnet, internal).is_some() {
            continue;
        }
        let best = chosen.entry(&subnet.zone).or_insert(subnet);
        if rank(subnet) < rank(best) {
            *best = subnet;
        }
    }
    if chosen.is_empty() {
        return Err(refused(nothing_fits(network, zones, cluster, internal)));
    }
    Ok(chosen.into_values().collect())
}

/// Whether it is this cluster's, or nobody's.
fn may_use(cluster: &Cluster, subnet: &Subnet) -> bool {
    cluster.has(&subnet.tags) || !is_any_clusters(&subnet.tags)
}

/// Why a subnet is not used.
fn reason_against(
    network: &Network,
    zones: &Zones,
    cluster: &Cluster,
    subnet: &Subnet,
    internal: bool,
) -> Option<String> {
    if !may_use(cluster, subnet) {
        return Some("it bears another cluster's tag".to_owned());
    }
    let kind = zones.get(&subnet.zone).and_then(|zone| zone.kind.as_deref());
    let kind = kind.unwrap_or("availability-zone");
    if kind != "availability-zone" {
        return Some(format!("its zone {} is a {kind}", subnet.zone));
    }
    match network.is_public(&subnet.id) {
        _ if internal => None,
        Some(true) => None,
        Some(false) => Some("its route table has no route to an internet gateway".to_owned()),
        None => Some("no route table speaks of it".to_owned()),
    }
}

/// Users are told why, each subnet by itself.
fn nothing_fits(network: &Network, zones: &Zones, cluster: &Cluster, internal: bool) -> String {
    let scheme = if internal { "internal" } else { "internet-facing" };
    let mut message = format!("no subnet suits an {scheme} load balancer");
    for (place, subnet) in network.subnets.values().enumerate() {
        if let Some(why) = reason_against(network, zones, cluster, subnet, internal) {
            let before = if place == 0 { ": " } else { "; " };
            // Writing to a string cannot fail.
            let _ = write!(message, "{before}{} ({}): {why}", subnet.id, subnet.zone);
        }
    }
    if network.subnets.is_empty() {
        message.push_str(": the VPC has none");
    }
    message
}
