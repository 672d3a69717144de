//! Who holds which ranges. Pure.
//!
//! A node holds what stands on it, whoever wrote that, and what was reserved for it, until it shows
//! other ranges or is gone. So a write whose answer is lost neither leaks a range nor lets two nodes
//! have it; and a range that two nodes show, by somebody's mistake, is free when both are gone.

use std::collections::HashMap;
use std::time::SystemTime;

use ipnet::IpNet;

use super::pool::Pool;
use super::taken::{Span, Taken, is_v4, overlap};
use crate::cloud::{NodeName, Uid};
use crate::cluster::node::Node;
use crate::telemetry::IpamMetrics;

/// What a node is to have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Want {
    /// One range out of each of these pools, with a prefix of this length.
    Pieces(Vec<Piece>),
    /// Just these.
    These(Vec<IpNet>),
}

/// A range to be taken out of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Piece {
    /// Which pool, by its place.
    pub(super) pool: usize,
    /// The prefix's length.
    pub(super) size: u8,
}

/// Why a node cannot have what it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing large enough is free in this pool.
    Exhausted(Piece),
    /// Another node has it, or is about to.
    Held {
        /// What.
        range: IpNet,
        /// By whom.
        by: NodeName,
    },
    /// There is no such node any more.
    Gone,
}

/// What becomes of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It stands nowhere but here.
    No,
    /// It may stand on the node, or may yet.
    Perhaps,
    /// It stands on the node; the watch will show it.
    Yes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Holding {
    Nothing,
    Reserved { ranges: Vec<IpNet>, sent: Sent },
    Shown(Vec<IpNet>),
}

impl Holding {
    fn ranges(&self) -> &[IpNet] {
        match self {
            Self::Nothing => &[],
            Self::Reserved { ranges, .. } | Self::Shown(ranges) => ranges,
        }
    }
}

#[derive(Clone, Debug)]
struct Holder {
    name: NodeName,
    created: SystemTime,
    holding: Holding,
}

/// Something odd about the ranges that a node shows, all of which are honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    /// It is no range.
    Unreadable(Box<str>),
    /// It has nothing to do with any of the cluster's ranges.
    Elsewhere(IpNet),
    /// An older node has it too, or a part of it.
    Shared(IpNet, NodeName),
    /// It has addresses that are kept free.
    KeptFree(IpNet),
}

/// Who holds which ranges.
#[derive(Debug)]
pub(super) struct Ledger {
    pools: Vec<Pool>,
    kept_free: Vec<IpNet>,
    taken: Taken,
    holders: HashMap<Uid, Holder>,
    metrics: IpamMetrics,
}

impl Ledger {
    /// Nobody holds anything but what is kept free.
    pub(super) fn new(pools: Vec<Pool>, kept_free: &[IpNet], metrics: IpamMetrics) -> Self {
        let mut this = Self {
            pools,
            taken: Taken::default(),
            holders: HashMap::new(),
            kept_free: kept_free.iter().map(IpNet::trunc).collect(),
            metrics,
        };
        for pool in &this.pools {
            this.metrics.pool(pool.range(), pool.capacity(pool.size()));
        }
        for range in this.kept_free.clone() {
            this.take(&range);
        }
        this
    }

    pub(super) fn pools(&self) -> &[Pool] {
        &self.pools
    }

    fn take(&mut self, range: &IpNet) {
        let fresh = self.taken.take(range);
        self.each_pool(range, |pool, metrics| {
            let ranges = pool.took(is_v4(range), &fresh);
            metrics.allocated(pool.range(), ranges, pool.usage());
        });
    }

    /// Says whether anything became free.
    fn give_back(&mut self, range: &IpNet) -> bool {
        let freed: Vec<Span> = self.taken.give_back(range);
        self.each_pool(range, |pool, metrics| {
            let ranges = pool.freed(is_v4(range), &freed);
            metrics.released(pool.range(), ranges, pool.usage());
        });
        !freed.is_empty()
    }

    fn each_pool(&mut self, range: &IpNet, visit: impl Fn(&mut Pool, &IpamMetrics)) {
        for pool in self.pools.iter_mut().filter(|pool| pool.touches(range)) {
            visit(pool, &self.metrics);
        }
    }

    /// The watch shows this node. Says whether anything became free.
    pub(super) fn shows(&mut self, node: &Node) -> bool {
        let ranges = readable(node);
        let holder = self.holders.entry(node.uid.clone()).or_insert_with(|| Holder {
            name: node.name.clone(),
            created: node.created,
            holding: Holding::Nothing,
        });
        if ranges.is_empty() {
            // What stood on a node once cannot be taken away; what is reserved is not there yet.
            return false;
        }
        let before = std::mem::replace(&mut holder.holding, Holding::Shown(ranges.clone()));
        if before.ranges() == ranges {
            return false;
        }
        // In this order, so that what stays is at no moment free.
        for range in &ranges {
            self.take(range);
        }
        self.give_all_back(&before)
    }

    /// There is no such node any more. Says whether anything became free.
    pub(super) fn gone(&mut self, uid: &Uid) -> bool {
        let holder = self.holders.remove(uid);
        holder.is_some_and(|holder| self.give_all_back(&holder.holding))
    }

    fn give_all_back(&mut self, holding: &Holding) -> bool {
        let freed = holding.ranges().iter().filter(|range| self.give_back(range));
        freed.count() > 0
    }

    /// Keeps what a node is to have for it: all of it or nothing. What is kept for it already is kept
    /// as long as it may stand on the node.
    pub(super) fn reserve(
        &mut self,
        uid: &Uid,
        want: &Want,
    ) -> Result<(Vec<IpNet>, Sent), Refusal> {
        let Some(holder) = self.holders.get(uid) else { return Err(Refusal::Gone) };
        match &holder.holding {
            Holding::Nothing => {}
            Holding::Shown(ranges) => return Ok((ranges.clone(), Sent::Yes)),
            Holding::Reserved { ranges, sent } => {
                if *sent != Sent::No || self.still_right(ranges, want) {
                    return Ok((ranges.clone(), *sent));
                }
                // Somebody else has it by now, or the cloud means something else.
                self.drop_reservation(uid);
            }
        }
        let ranges = match want {
            Want::Pieces(pieces) => self.find(pieces)?,
            Want::These(ranges) => {
                self.nobody_has(uid, ranges)?;
                ranges.clone()
            }
        };
        for range in &ranges {
            self.take(range);
        }
        if let Some(holder) = self.holders.get_mut(uid) {
            holder.holding = Holding::Reserved { ranges: ranges.clone(), sent: Sent::No };
        }
        Ok((ranges, Sent::No))
    }

    fn still_right(&self, ranges: &[IpNet], want: &Want) -> bool {
        let meant = match want {
            Want::These(these) => these == ranges,
            Want::Pieces(pieces) => {
                let sizes = ranges.iter().map(IpNet::prefix_len);
                sizes.eq(pieces.iter().map(|piece| piece.size))
            }
        };
        meant && ranges.iter().all(|range| self.taken.holders(range) < 2)
    }

    /// Nothing is reserved for this node any more. Says whether anything became free.
    pub(super) fn drop_reservation(&mut self, uid: &Uid) -> bool {
        let Some(holder) = self.holders.get_mut(uid) else { return false };
        if !matches!(holder.holding, Holding::Reserved { sent: Sent::No, .. }) {
            return false;
        }
        let before = std::mem::replace(&mut holder.holding, Holding::Nothing);
        self.give_all_back(&before)
    }

    /// Finds all, or nothing is taken.
    fn find(&mut self, pieces: &[Piece]) -> Result<Vec<IpNet>, Refusal> {
        let mut ranges = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let pool = self.pools.get(piece.pool);
            let found = pool.and_then(|pool| pool.find(&self.taken, piece.size));
            ranges.push(found.ok_or(Refusal::Exhausted(*piece))?);
        }
        for (piece, found) in pieces.iter().zip(&ranges) {
            if let Some(pool) = self.pools.get_mut(piece.pool) {
                pool.gave(&found.range);
                self.metrics.tries(pool.range(), found.tries);
            }
        }
        Ok(ranges.into_iter().map(|found| found.range).collect())
    }

    fn nobody_has(&self, uid: &Uid, ranges: &[IpNet]) -> Result<(), Refusal> {
        for range in ranges.iter().filter(|range| self.taken.holders(range) > 0) {
            // What is kept free is no node's: the cloud knows what it does.
            if let Some(holder) = self.holder_beside(uid, range) {
                return Err(Refusal::Held { range: *range, by: holder.name.clone() });
            }
        }
        Ok(())
    }

    /// Another node that holds some of this range; the oldest, where there are several. Looks at all
    /// of them, so it is asked only where there must be one.
    fn holder_beside(&self, uid: &Uid, range: &IpNet) -> Option<&Holder> {
        let overlaps = |held: &IpNet| overlap(held, range);
        let others = self.holders.iter().filter(|(other, _)| *other != uid);
        let holders = others.filter(|(_, holder)| holder.holding.ranges().iter().any(overlaps));
        let oldest = holders.min_by(|one, other| {
            (one.1.created, &one.1.name).cmp(&(other.1.created, &other.1.name))
        });
        oldest.map(|(_, holder)| holder)
    }

    /// The reservation is about to be written, or a write of it was answered.
    pub(super) fn sent(&mut self, uid: &Uid, now: Sent) {
        if let Some(Holder { holding: Holding::Reserved { sent, .. }, .. }) =
            self.holders.get_mut(uid)
        {
            *sent = now;
        }
    }

    /// Whether what this node shows may be what we sent.
    pub(super) fn may_have_given(&self, node: &Node) -> bool {
        let holding = self.holders.get(&node.uid).map(|holder| &holder.holding);
        match holding {
            Some(Holding::Reserved { ranges, sent }) => {
                *sent != Sent::No && *ranges == readable(node)
            }
            Some(Holding::Nothing | Holding::Shown(_)) | None => false,
        }
    }

    /// What is odd about the ranges that this node shows. Of two that share one it is the later one
    /// to which that is odd.
    pub(super) fn oddities(&self, node: &Node) -> Vec<Oddity> {
        let mut oddities = Vec::new();
        for text in &node.pod_cidrs {
            let Some(range) = read(text) else {
                oddities.push(Oddity::Unreadable(text.clone()));
                continue;
            };
            if !self.pools.is_empty() && !self.pools.iter().any(|pool| pool.touches(&range)) {
                oddities.push(Oddity::Elsewhere(range));
            }
            if self.taken.holders(&range) < 2 {
                continue;
            }
            let is_older =
                |other: &&Holder| (other.created, &other.name) < (node.created, &node.name);
            if let Some(other) = self.holder_beside(&node.uid, &range).filter(is_older) {
                oddities.push(Oddity::Shared(range, other.name.clone()));
            } else if self.kept_free.iter().any(|kept| overlap(kept, &range)) {
                oddities.push(Oddity::KeptFree(range));
            }
        }
        oddities
    }

    /// The addresses of all that is held, in runs; how many nodes there are. For the schedules.
    #[cfg(test)]
    pub(super) fn held(&self) -> (u128, usize) {
        let all = ["0.0.0.0/0", "::/0"].map(|all| all.parse().unwrap());
        let free: u128 = all
            .iter()
            .flat_map(|all| {
                let whole = super::taken::span(all);
                self.taken.gaps(is_v4(all), &whole).collect::<Vec<_>>()
            })
            .map(|gap| super::taken::length(&gap))
            .fold(0, u128::wrapping_add);
        let whole = all.iter().map(|all| super::taken::length(&super::taken::span(all)));
        (whole.fold(0, u128::wrapping_add).wrapping_sub(free), self.holders.len())
    }
}

/// The ranges that stand on this node, as far as they are ranges.
pub(super) fn readable(node: &Node) -> Vec<IpNet> {
    node.pod_cidrs.iter().filter_map(|text| read(text)).collect()
}

fn read(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().map(|range| range.trunc())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::controllers::node_ipam::decide::tests::node;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn both() -> Want {
        Want::Pieces(vec![Piece { pool: 0, size: 24 }, Piece { pool: 1, size: 64 }])
    }

    fn ledger(v4: &str, v6: &str, kept_free: &[&str]) -> Ledger {
        let pools = vec![Pool::new(net(v4), 24), Pool::new(net(v6), 64)];
        let kept_free: Vec<_> = kept_free.iter().map(|range| net(range)).collect();
        Ledger::new(pools, &kept_free, IpamMetrics::unread())
    }

    /// What the node of this name is given, with one space between; empty where it is nothing.
    fn give(ledger: &mut Ledger, name: &str) -> String {
        ledger.shows(&node(name, &[]));
        let ranges = ledger.reserve(&node(name, &[]).uid, &both()).map(|(ranges, _)| ranges);
        let texts = ranges.unwrap_or_default().into_iter().map(|range| range.to_string());
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_families_are_given_or_none() {
        let mut ledger = ledger("10.0.0.0/8", "fd00::/63", &[]);
        assert_eq!(give(&mut ledger, "a"), "10.0.0.0/24 fd00::/64");
        assert_eq!(give(&mut ledger, "b"), "10.0.1.0/24 fd00:0:0:1::/64");
        let before = ledger.held().0;
        for _ in 0..3 {
            assert_eq!(give(&mut ledger, "c"), "");
        }
        assert_eq!(ledger.held().0, before, "nothing leaks");
        assert!(ledger.gone(&node("a", &[]).uid));
        assert_eq!(give(&mut ledger, "c"), "10.0.2.0/24 fd00::/64");
    }

    #[test]
    fn what_is_reserved_stays_the_nodes() {
        let mut ledger = ledger("10.0.0.0/8", "fd00::/48", &[]);
        assert_eq!(give(&mut ledger, "a"), "10.0.0.0/24 fd00::/64");
        assert_eq!(give(&mut ledger, "a"), "10.0.0.0/24 fd00::/64");
        // An earlier state, late.
        assert!(!ledger.shows(&node("a", &[])));
        assert_eq!(give(&mut ledger, "a"), "10.0.0.0/24 fd00::/64");
        assert!(!ledger.shows(&node("a", &["10.0.0.0/24", "fd00::/64"])));
        let shown = ledger.reserve(&node("a", &[]).uid, &both());
        assert!(matches!(shown, Ok((_, Sent::Yes))), "{shown:?}");
        assert!(ledger.gone(&node("a", &[]).uid));
        assert_eq!(ledger.held(), (0, 0));
        assert_eq!(ledger.reserve(&node("a", &[]).uid, &both()), Err(Refusal::Gone));
    }

    #[test]
    fn a_node_that_shows_other_ranges_gives_its_own_back() {
        let mut ledger = ledger("10.0.0.0/22", "fd00::/48", &[]);
        give(&mut ledger, "a");
        assert!(ledger.shows(&node("a", &["10.0.3.0/24", "fd00::/64"])));
        assert_eq!(give(&mut ledger, "b"), "10.0.1.0/24 fd00:0:0:1::/64");
        assert_eq!(give(&mut ledger, "c"), "10.0.2.0/24 fd00:0:0:2::/64");
        assert_eq!(give(&mut ledger, "d"), "10.0.0.0/24 fd00:0:0:3::/64");
        assert_eq!(give(&mut ledger, "e"), "");
    }

    #[test]
    fn what_somebody_else_took_meanwhile_is_not_written() {
        let mut ledger = ledger("10.0.0.0/8", "fd00::/48", &[]);
        give(&mut ledger, "a");
        ledger.shows(&node("b", &["10.0.0.0/24"]));
        assert_eq!(give(&mut ledger, "a"), "10.0.1.0/24 fd00:0:0:1::/64");
        // But what may stand on the node already is its own.
        ledger.sent(&node("a", &[]).uid, Sent::Perhaps);
        ledger.shows(&node("c", &["10.0.1.0/24"]));
        assert_eq!(give(&mut ledger, "a"), "10.0.1.0/24 fd00:0:0:1::/64");
        ledger.sent(&node("a", &[]).uid, Sent::No);
        assert_eq!(give(&mut ledger, "a"), "10.0.2.0/24 fd00:0:0:2::/64");
    }

    #[test]
    fn a_range_of_two_nodes_is_free_when_both_are_gone() {
        let mut ledger = ledger("10.0.0.0/23", "fd00::/48", &[]);
        for name in ["a", "b"] {
            ledger.shows(&node(name, &["10.0.0.0/24"]));
        }
        assert_eq!(give(&mut ledger, "c"), "10.0.1.0/24 fd00::/64");
        assert!(!ledger.gone(&node("a", &[]).uid));
        assert_eq!(give(&mut ledger, "d"), "");
        assert!(ledger.gone(&node("b", &[]).uid));
        assert_eq!(give(&mut ledger, "d"), "10.0.0.0/24 fd00:0:0:1::/64");
    }

    #[test]
    fn the_cloud_gives_no_two_nodes_the_same() {
        let mut ledger = ledger("10.0.0.0/8", "fd00::/48", &["10.0.9.0/24"]);
        let these = |range: &str| Want::These(vec![net(range)]);
        ledger.shows(&node("a", &["10.0.1.0/24"]));
        ledger.shows(&node("b", &[]));
        let b = node("b", &[]).uid;
        let held = ledger.reserve(&b, &these("10.0.1.128/25"));
        let by_a = Refusal::Held { range: net("10.0.1.128/25"), by: "a".into() };
        assert_eq!(held, Err(by_a));
        assert!(
            ledger.reserve(&b, &these("10.0.9.0/24")).is_ok(),
            "what is kept free is no node's"
        );
        assert!(ledger.reserve(&b, &these("10.0.2.0/24")).is_ok(), "nothing of it was sent");
        ledger.gone(&node("a", &[]).uid);
        assert!(ledger.reserve(&b, &these("10.0.1.128/25")).is_ok());
        ledger.gone(&b);
        assert_eq!(ledger.held(), (256, 0));
    }

    #[test]
    fn what_is_odd_is_told_of_the_later_node_and_honoured() {
        let mut ledger = ledger("10.0.0.0/16", "fd00::/48", &["10.0.255.0/24"]);
        let old = node("old", &["10.0.0.0/24"]);
        let mut young = node("young", &["10.0.0.128/25", "192.168.0.0/24", "10.0.255.16/28", "?"]);
        young.created = old.created + Duration::from_secs(9);
        // In either order.
        ledger.shows(&young);
        ledger.shows(&old);
        assert!(ledger.oddities(&old).is_empty());
        assert_eq!(
            ledger.oddities(&young),
            [
                Oddity::Shared(net("10.0.0.128/25"), "old".into()),
                Oddity::Elsewhere(net("192.168.0.0/24")),
                Oddity::KeptFree(net("10.0.255.16/28")),
                Oddity::Unreadable("?".into()),
            ]
        );
    }
}
