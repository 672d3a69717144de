//! Which node has which range. Of two nodes that claim the same packets, the older one has them. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::SystemTime;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::cloud::{NodeName, Uid};

/// A node, in the order in which nodes go first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// When the Node was made.
    pub created: SystemTime,
    /// Tells those apart that were made in the same second.
    pub uid: Uid,
    /// The node.
    pub name: NodeName,
}

/// Which node has which range.
///
/// Nobody hands a range out twice; but people write `podCIDRs` by hand, and two programs may hand out
/// of one range. Then packets can go to one node only, and it must not be the one that happened to be
/// looked at last.
#[derive(Debug, Default)]
pub struct Claims {
    by_range: BTreeMap<IpNet, BTreeSet<Holder>>,
    by_node: HashMap<NodeName, (Holder, Vec<IpNet>)>,
}

impl Claims {
    /// Says what a node claims; ranges without host bits. Gives the other nodes for which that may
    /// make a difference.
    pub fn set(&mut self, holder: Holder, ranges: Vec<IpNet>) -> BTreeSet<NodeName> {
        if self.by_node.get(&holder.name).is_some_and(|(old, has)| *old == holder && *has == ranges)
        {
            return BTreeSet::new();
        }
        let mut concerned = self.remove(&holder.name);
        for range in &ranges {
            concerned.extend(self.overlapping(*range).map(|(_, other)| other.name.clone()));
            self.by_range.entry(*range).or_default().insert(holder.clone());
        }
        concerned.remove(&holder.name);
        if !ranges.is_empty() {
            self.by_node.insert(holder.name.clone(), (holder, ranges));
        }
        concerned
    }

    /// Says that a node is gone. Gives the nodes for which that may make a difference.
    pub fn remove(&mut self, name: &NodeName) -> BTreeSet<NodeName> {
        let Some((holder, ranges)) = self.by_node.remove(name) else { return BTreeSet::new() };
        let mut concerned = BTreeSet::new();
        for range in ranges {
            if let Some(holders) = self.by_range.get_mut(&range) {
                holders.remove(&holder);
                if holders.is_empty() {
                    self.by_range.remove(&range);
                }
            }
            concerned.extend(self.overlapping(range).map(|(_, other)| other.name.clone()));
        }
        concerned.remove(name);
        concerned
    }

    /// The oldest of the older nodes that claim some of this range, with what it claims.
    pub fn older(&self, holder: &Holder, range: IpNet) -> Option<(&Holder, IpNet)> {
        let others = self.overlapping(range).filter(|(_, other)| *other < holder);
        others.min_by_key(|(_, other)| *other).map(|(theirs, other)| (other, theirs))
    }

    /// Everybody who claims some of this range: all of it, or a part of it.
    fn overlapping(&self, range: IpNet) -> impl Iterator<Item = (IpNet, &Holder)> {
        // Of two ranges that overlap, one is in the other; those in a range follow it in their order.
        let around = std::iter::successors(range.supernet(), IpNet::supernet);
        let around = around.filter_map(|wider| self.by_range.get_key_value(&wider));
        let inside = self.by_range.range(range..=last_in(range));
        let all = around.chain(inside);
        all.flat_map(|(range, holders)| holders.iter().map(move |holder| (*range, holder)))
    }
}

/// The last of all ranges in this one, in their order.
fn last_in(range: IpNet) -> IpNet {
    match range {
        IpNet::V4(range) => Ipv4Net::from(range.broadcast()).into(),
        IpNet::V6(range) => Ipv6Net::from(range.broadcast()).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn holder(name: &str, age: u64) -> Holder {
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age);
        Holder { created, uid: format!("uid-{name}").into(), name: name.into() }
    }

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn names(set: &BTreeSet<NodeName>) -> Vec<&str> {
        set.iter().map(NodeName::as_str).collect()
    }

    fn older<'a>(claims: &'a Claims, of: &Holder, range: &str) -> Option<&'a str> {
        claims.older(of, range.parse().unwrap()).map(|(other, _)| other.name.as_str())
    }

    #[test]
    fn the_older_node_has_the_range_whoever_comes_first() {
        for order in [["old", "new"], ["new", "old"]] {
            let mut claims = Claims::default();
            let (old, new) = (holder("old", 9), holder("new", 1));
            for name in order {
                let it = if name == "old" { &old } else { &new };
                claims.set(it.clone(), ranges(&["10.0.1.0/24", "fd00:1::/64"]));
            }
            assert_eq!(older(&claims, &new, "10.0.1.0/24"), Some("old"));
            assert_eq!(older(&claims, &new, "fd00:1::/64"), Some("old"));
            assert_eq!(older(&claims, &old, "10.0.1.0/24"), None);
        }
    }

    #[test]
    fn ranges_inside_and_around_are_claims_too_and_neighbours_are_none() {
        let mut claims = Claims::default();
        claims.set(holder("wide", 9), ranges(&["10.0.0.0/16"]));
        claims.set(holder("other", 8), ranges(&["10.1.0.0/24"]));
        let newest = holder("newest", 1);
        assert_eq!(older(&claims, &newest, "10.0.7.0/24"), Some("wide"));
        assert_eq!(older(&claims, &newest, "10.0.0.0/8"), Some("wide"));
        assert_eq!(older(&claims, &newest, "10.1.0.0/16"), Some("other"));
        assert_eq!(older(&claims, &newest, "10.1.1.0/24"), None);
        assert_eq!(older(&claims, &newest, "10.2.0.0/24"), None);
        assert_eq!(older(&claims, &newest, "::/0"), None);
        assert_eq!(older(&claims, &newest, "0.0.0.0/0"), Some("wide"));
        assert_eq!(older(&claims, &newest, "10.0.255.255/32"), Some("wide"));
    }

    #[test]
    fn whoever_is_concerned_is_told() {
        let mut claims = Claims::default();
        assert!(claims.set(holder("a", 9), ranges(&["10.0.0.0/24"])).is_empty());
        assert_eq!(names(&claims.set(holder("b", 8), ranges(&["10.0.0.0/25"]))), ["a"]);
        assert!(claims.set(holder("b", 8), ranges(&["10.0.0.0/25"])).is_empty());
        assert_eq!(names(&claims.set(holder("b", 8), ranges(&["10.0.1.0/24"]))), ["a"]);
        assert!(claims.remove(&"b".into()).is_empty());
        claims.set(holder("c", 1), ranges(&["10.0.0.0/24"]));
        assert_eq!(names(&claims.remove(&"a".into())), ["c"]);
        assert_eq!(older(&claims, &holder("c", 1), "10.0.0.0/24"), None);
        assert!(claims.remove(&"unknown".into()).is_empty());
    }

    #[test]
    fn a_node_made_anew_under_a_name_is_another_one() {
        let mut claims = Claims::default();
        claims.set(holder("a", 9), ranges(&["10.0.0.0/24"]));
        let anew = Holder { uid: "anew".into(), ..holder("a", 1) };
        claims.set(anew.clone(), ranges(&["10.0.0.0/24"]));
        assert_eq!(older(&claims, &anew, "10.0.0.0/24"), None);
        assert_eq!(older(&claims, &holder("b", 0), "10.0.0.0/24"), Some("a"));
    }
}
