//! What of a node's `podCIDRs` can be had. Pure.

use std::fmt;

use ipnet::IpNet;

use super::claims::{Claims, Holder};
use crate::cloud::NodeName;
use crate::cluster::node::Node;

/// What of a node's `podCIDRs` can be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Those to which there is to be a route, without host bits and in their order.
    pub good: Vec<IpNet>,
    /// What is wrong with the others.
    pub faults: Vec<Fault>,
}

impl Ranges {
    /// What keeps packets for pods from the node. `is_reachable`: they find it by now.
    ///
    /// A range of a family of which the cluster has none is another network's matter. And whoever made a
    /// route to one outside of the cluster's ranges, as the Go library does, has made it: a node
    /// that works is not to be tainted for it.
    pub fn hindering(&self, is_reachable: bool) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |fault| match fault {
            Fault::Unreadable(_) | Fault::Taken { .. } => true,
            Fault::Outside(range, cluster) => {
                !is_reachable && cluster.iter().any(|all| is_v4(all) == is_v4(range))
            }
        })
    }
}

fn is_v4(range: &IpNet) -> bool {
    range.addr().is_ipv4()
}

/// Why there is no route to a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no range.
    Unreadable(Box<str>),
    /// It is not in the cluster's ranges, where alone routes are ours.
    Outside(IpNet, Vec<IpNet>),
    /// An older node has it, or some of it.
    Taken {
        /// The range.
        range: IpNet,
        /// Who has it.
        by: NodeName,
        /// What that node has.
        theirs: IpNet,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(text) => write!(f, "podCIDR {text:?} is no range of addresses"),
            Self::Outside(range, cluster) => {
                let cluster: Vec<_> = cluster.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "podCIDR {range} is not inside --cluster-cidr {}, where alone routes are made",
                    cluster.join(",")
                )
            }
            Self::Taken { range, by, theirs } if range == theirs => {
                write!(f, "podCIDR {range} is that of the older node {by} too, which has the route")
            }
            Self::Taken { range, by, theirs } => write!(
                f,
                "podCIDR {range} overlaps {theirs} of the older node {by}, which has the route"
            ),
        }
    }
}

/// What a node claims: all that can be read, wherever it is.
pub fn claimed(node: &Node) -> Vec<IpNet> {
    node.pod_cidrs.iter().filter_map(|text| read(text)).collect()
}

/// What of a node's `podCIDRs` can be had in this cluster, with the others' claims.
pub fn ranges(node: &Node, cluster: &[IpNet], claims: &Claims) -> Ranges {
    let mut ranges = Ranges::default();
    let holder = holder(node);
    for text in &node.pod_cidrs {
        let Some(range) = read(text) else {
            ranges.faults.push(Fault::Unreadable(text.clone()));
            continue;
        };
        if !cluster.iter().any(|all| all.contains(&range)) {
            ranges.faults.push(Fault::Outside(range, cluster.to_vec()));
        } else if let Some((other, theirs)) = claims.older(&holder, range) {
            ranges.faults.push(Fault::Taken { range, by: other.name.clone(), theirs });
        } else {
            ranges.good.push(range);
        }
    }
    ranges
}

/// The node as one that claims ranges.
pub fn holder(node: &Node) -> Holder {
    Holder { created: node.created, uid: node.uid.clone(), name: node.name.clone() }
}

/// The API takes host bits; a route has none.
fn read(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().map(|range| range.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::node::decide::tests::new_node;

    fn node(name: &str, pod_cidrs: &[&str]) -> Node {
        let pod_cidrs = pod_cidrs.iter().map(|text| Box::from(*text)).collect();
        Node { name: name.into(), uid: name.into(), pod_cidrs, ..new_node() }
    }

    #[test]
    fn each_range_is_judged_by_itself() {
        let cluster = ["10.0.0.0/8".parse().unwrap(), "fd00::/48".parse().unwrap()];
        let mut claims = Claims::default();
        let older = node("a", &["10.7.0.0/16"]);
        claims.set(holder(&older), claimed(&older));
        let texts = ["10.1.2.3/24", "fd00::/64", "192.168.0.0/24", "nonsense", "10.7.1.0/24"];
        let newer = node("b", &texts);
        claims.set(holder(&newer), claimed(&newer));
        let found = ranges(&newer, &cluster, &claims);
        assert_eq!(found.good, ["10.1.2.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()]);
        let faults: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "podCIDR 192.168.0.0/24 is not inside --cluster-cidr 10.0.0.0/8,fd00::/48, where \
                 alone routes are made",
                "podCIDR \"nonsense\" is no range of addresses",
                "podCIDR 10.7.1.0/24 overlaps 10.7.0.0/16 of the older node a, which has the route",
            ]
        );
        assert_eq!(ranges(&older, &cluster, &claims).faults, []);
    }

    #[test]
    fn a_range_that_is_wider_than_the_clusters_is_outside() {
        let cluster = ["10.0.0.0/16".parse().unwrap()];
        let found = ranges(&node("a", &["10.0.0.0/8"]), &cluster, &Claims::default());
        assert!(matches!(found.faults[..], [Fault::Outside(..)]) && found.good.is_empty());
    }
}
