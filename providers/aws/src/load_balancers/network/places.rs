//! In which subnets a Network Load Balancer is made, and at which addresses. Pure.

use std::collections::BTreeSet;

use ccm_core::cloud::{CloudError, Kind};

use super::super::annotations::{PREFIX, PrivateAddresses};
use super::super::draft::Draft;
use super::super::site::Site;
use super::super::subnets;
use super::super::wish::Wish;
use crate::client::elbv2::{Address, LoadBalancer};
use crate::client::network::Subnet;

/// The places of one that is to be made: subnets in the order of their zones. Allocations are given out
/// in the annotation's order, and private addresses to the subnets that they are of.
pub(super) fn choose(
    site: &Site<'_>,
    wish: &Wish<'_>,
) -> Result<Vec<(String, Option<Address>)>, CloudError> {
    let said = &*wish.said;
    let around = site.surroundings;
    let asked = said.subnets.as_deref();
    let (network, zones) = (&around.network, &around.zones);
    let subnets = subnets::choose(network, zones, site.home, asked, said.is_internal())?;
    let refused = |message: String| Err(CloudError::new(Kind::InvalidConfiguration, message));
    let twins = subnets::twins(&subnets);
    if !twins.is_empty() {
        return refused(twins.join("; "));
    }
    let counted = |key: &str, said: &[String]| {
        let ids: Vec<_> = subnets.iter().map(|subnet| subnet.id.as_str()).collect();
        format!(
            "annotation {PREFIX}{key}={:?} has {} addresses, and the load balancer {} subnets ({}): there \
             must be one for each",
            said.join(","),
            said.len(),
            ids.len(),
            ids.join(", ")
        )
    };
    let allocations = said.allocations.as_deref().unwrap_or_default();
    let written = said.private_addresses.as_ref().map(|it| &*it.0).unwrap_or_default();
    let private = match said.private_addresses.as_ref().map(PrivateAddresses::addresses) {
        None => Vec::new(),
        Some(Ok(addresses)) => addresses,
        Some(Err(text)) => {
            return refused(format!(
                "annotation {PREFIX}private-ipv4-addresses: {text:?} must be an IPv4 address"
            ));
        }
    };
    match (allocations, &private[..]) {
        ([], []) => Ok(subnets.iter().map(|subnet| (subnet.id.clone(), None)).collect()),
        (allocations, []) if allocations.len() != subnets.len() => {
            refused(counted("eip-allocations", allocations))
        }
        (allocations, []) => {
            let pair = |(subnet, id): (&&Subnet, &String)| {
                (subnet.id.clone(), Some(Address::Allocation(id.clone())))
            };
            Ok(subnets.iter().zip(allocations).map(pair).collect())
        }
        ([], private) if private.len() != subnets.len() => {
            refused(counted("private-ipv4-addresses", written))
        }
        ([], private) => {
            let mut places = Vec::new();
            for subnet in &subnets {
                let is_of =
                    |ip: &&std::net::Ipv4Addr| subnet.cidr.is_some_and(|range| range.contains(*ip));
                let Some(ip) = private.iter().find(is_of) else {
                    return refused(format!(
                        "annotation {PREFIX}private-ipv4-addresses={:?}: none is of subnet {} ({})",
                        written.join(","),
                        subnet.id,
                        subnet.cidr.map_or_else(|| "no IPv4".to_owned(), |range| range.to_string())
                    ));
                };
                places.push((subnet.id.clone(), Some(Address::Private(*ip))));
            }
            Ok(places)
        }
        (_, _) => refused(format!(
            "annotations {PREFIX}eip-allocations={:?} and {PREFIX}private-ipv4-addresses={:?}: there can be \
             only one of them",
            allocations.join(","),
            written.join(",")
        )),
    }
}

/// Says what of the wish takes a new load balancer: AWS fixes it when one is made, or the Go program
/// never changed it.
pub(super) fn differences(
    site: &Site<'_>,
    wish: &Wish<'_>,
    have: &LoadBalancer,
    draft: &mut Draft,
) {
    let said = &*wish.said;
    let mut differs = Vec::new();
    if said.is_internal() != have.is_internal {
        let scheme = if have.is_internal { "internal" } else { "internet-facing" };
        differs.push(format!("{PREFIX}internal (it is {scheme})"));
    }
    let around = site.surroundings;
    if let Some(asked) = said.subnets.as_deref() {
        let internal = said.is_internal();
        let wanted =
            subnets::choose(&around.network, &around.zones, site.home, Some(asked), internal);
        let wanted: Option<BTreeSet<_>> =
            wanted.ok().map(|all| all.into_iter().map(|it| &it.id).collect());
        if wanted != Some(have.subnets.keys().collect()) {
            let have: Vec<_> = have.subnets.keys().map(String::as_str).collect();
            differs.push(format!("{PREFIX}subnets (it is in {})", have.join(", ")));
        }
    }
    let addresses: BTreeSet<_> = have.subnets.values().flatten().cloned().collect();
    let allocations = said.allocations.as_deref().unwrap_or_default();
    let allocations = allocations.iter().cloned().map(Address::Allocation);
    let private = said.private_addresses.as_ref().map(PrivateAddresses::addresses);
    // One that is none is at no load balancer.
    let private = private.unwrap_or(Ok(Vec::new())).ok();
    let asked: [(_, Option<BTreeSet<_>>); 2] = [
        ("eip-allocations", Some(allocations.collect())),
        (
            "private-ipv4-addresses",
            private.map(|it| it.into_iter().map(Address::Private).collect()),
        ),
    ];
    for (key, asked) in asked {
        if !asked.is_some_and(|asked| asked.is_subset(&addresses)) {
            differs.push(format!("{PREFIX}{key}"));
        }
    }
    if !differs.is_empty() {
        draft.note(
            "NeedsNewLoadBalancer",
            format!(
                "Network Load Balancer {} stays as it was made; a new one would be needed for: {}. Delete \
                 the Service and make it again to have one",
                wish.name,
                differs.join(", ")
            ),
        );
    }
}
