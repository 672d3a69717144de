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

/// What is wrong with subnets in the order of their zones: a load balancer takes one in a zone.
pub(crate) fn twins(subnets: &[&Subnet]) -> Vec<String> {
    let twins = subnets.windows(2).filter(|pair| pair[0].zone == pair[1].zone);
    let said = twins.map(|pair| {
        let (one, other, zone) = (&pair[0].id, &pair[1].id, &pair[0].zone);
        format!(
            "annotation {PREFIX}subnets: {one} and {other} are both in {zone}; a load balancer takes one \
             subnet in a zone"
        )
    });
    said.collect()
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
    if let Some(twins) = found.windows(2).find(|pair| pair[0].id == pair[1].id) {
        let (asked, twice) = (asked.join(","), &twins[0].id);
        let message = format!("annotation {key}={asked:?}: subnet {twice} is named twice");
        return Err(refused(message));
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
        if unsuitable(network, zones, subnet, internal).is_some() {
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
    unsuitable(network, zones, subnet, internal)
}

/// The same, whoever it belongs to.
fn unsuitable(network: &Network, zones: &Zones, subnet: &Subnet, internal: bool) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::client::ec2::zones::ZoneInfo;
    use crate::load_balancers::samples::home;

    fn subnet(id: &str, zone: &str, tags: &[(&str, &str)]) -> Subnet {
        let tag = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Subnet {
            id: id.to_owned(),
            zone: zone.to_owned(),
            cidr: None,
            tags: tags.iter().map(tag).collect(),
        }
    }

    const OURS: (&str, &str) = ("kubernetes.io/cluster/blue", "shared");
    const OTHER: (&str, &str) = ("kubernetes.io/cluster/red", "shared");
    const PUBLIC: (&str, &str) = (PUBLIC_ROLE, "");
    const INTERNAL: (&str, &str) = (INTERNAL_ROLE, "1");

    fn zones() -> Zones {
        let zone = |name: &str, kind: &str| {
            (name.to_owned(), ZoneInfo { id: None, kind: Some(kind.to_owned()) })
        };
        [zone("a", "availability-zone"), zone("b", "availability-zone"), zone("lax", "local-zone")]
            .into()
    }

    fn ids(chosen: Result<Vec<&Subnet>, CloudError>) -> Vec<&str> {
        chosen.unwrap().into_iter().map(|subnet| subnet.id.as_str()).collect()
    }

    #[rstest]
    #[case::one_in_each_zone(vec![subnet("s-1", "a", &[]), subnet("s-2", "b", &[])], false, &["s-1", "s-2"])]
    #[case::the_smallest_id(vec![subnet("s-2", "a", &[]), subnet("s-1", "a", &[])], false, &["s-1"])]
    #[case::the_clusters_goes_first(vec![subnet("s-1", "a", &[]), subnet("s-2", "a", &[OURS])], false, &["s-2"])]
    #[case::the_role_goes_before_it(
        vec![subnet("s-1", "a", &[OURS]), subnet("s-2", "a", &[PUBLIC])], false, &["s-2"]
    )]
    #[case::of_the_right_kind(
        vec![subnet("s-1", "a", &[OURS]), subnet("s-2", "a", &[PUBLIC])], true, &["s-1"]
    )]
    #[case::another_clusters_is_out(vec![subnet("s-1", "a", &[OTHER]), subnet("s-2", "a", &[])], false, &["s-2"])]
    #[case::unless_it_is_shared(
        vec![subnet("s-1", "a", &[OTHER, OURS]), subnet("s-2", "a", &[])], false, &["s-1"]
    )]
    #[case::private_ones_are_out(vec![subnet("p-1", "a", &[PUBLIC]), subnet("s-2", "a", &[])], false, &["s-2"])]
    #[case::and_in_where_it_is_internal(
        vec![subnet("p-1", "a", &[INTERNAL]), subnet("s-2", "a", &[])], true, &["p-1"]
    )]
    #[case::local_zones_are_out(vec![subnet("s-1", "lax", &[]), subnet("s-2", "a", &[])], false, &["s-2"])]
    fn subnets_are_found(
        #[case] subnets: Vec<Subnet>,
        #[case] internal: bool,
        #[case] want: &[&str],
    ) {
        let network = Network::of(subnets, &["s-1", "s-2"]);
        assert_eq!(ids(choose(&network, &zones(), &home(), None, internal)), want);
    }

    #[test]
    fn the_own_machines_subnet_is_the_last_resort() {
        let network =
            Network::of(vec![subnet("s-1", "a", &[OTHER]), subnet("s-2", "b", &[OTHER])], &[]);
        let mut home = home();
        home.subnet = Some("s-1".to_owned());
        assert_eq!(ids(choose(&network, &zones(), &home, None, true)), ["s-1"]);
        let err = choose(&network, &zones(), &home, None, false).unwrap_err();
        assert!(err.message().contains("s-1 (a): it bears another cluster's tag"), "{err}");
    }

    #[test]
    fn users_are_told_why_none_suits() {
        let subnets =
            vec![subnet("p-1", "a", &[]), subnet("s-1", "lax", &[]), subnet("s-2", "b", &[OTHER])];
        let network = Network::of(subnets, &["s-1", "s-2"]);
        let err = choose(&network, &zones(), &home(), None, false).unwrap_err();
        assert_eq!(
            err.message(),
            "no subnet suits an internet-facing load balancer: p-1 (a): its route table has no route to \
             an internet gateway; s-1 (lax): its zone lax is a local-zone; s-2 (b): it bears another \
             cluster's tag"
        );
    }

    #[rstest]
    #[case(&["subnet-1", "blue-b"], Ok(&["subnet-1", "subnet-2"][..]))]
    #[case(&["blue-b", "subnet-1"], Ok(&["subnet-1", "subnet-2"][..]))]
    #[case(&[], Err("=\"\": must name subnets, by ID or tag Name"))]
    #[case(&["subnet-9"], Err("there is no subnet \"subnet-9\" in the cluster's VPC"))]
    #[case(&["both"], Err("subnets subnet-3 and subnet-4 both have that tag Name"))]
    #[case(&["subnet-2", "blue-b"], Err("=\"subnet-2,blue-b\": subnet subnet-2 is named twice"))]
    fn subnets_are_named(#[case] asked: &[&str], #[case] want: Result<&[&str], &str>) {
        let subnets = vec![
            subnet("subnet-1", "a", &[]),
            subnet("subnet-2", "b", &[("Name", "blue-b")]),
            subnet("subnet-3", "a", &[("Name", "both")]),
            subnet("subnet-4", "b", &[("Name", "both")]),
        ];
        let network = Network::of(subnets, &[]);
        let asked: Vec<_> = asked.iter().map(|it| (*it).to_owned()).collect();
        let chosen = choose(&network, &zones(), &home(), Some(&asked), false);
        match want {
            Ok(want) => assert_eq!(ids(chosen), want),
            Err(part) => {
                let err = chosen.unwrap_err();
                assert!(err.message().contains(part), "{err}");
            }
        }
    }
}
