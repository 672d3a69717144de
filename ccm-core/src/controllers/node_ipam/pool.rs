//! One of the cluster's ranges, and where in it the next node's range is looked for. Pure.
//!
//! A range that is given back is not given to the next node at once: what is still on its way to the
//! pods of the old one does not reach those of the new one. So each search begins behind what was
//! given last, as upstream's does.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::taken::{Span, Taken, is_v4, length, overlap, span};

/// One of the cluster's ranges.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    range: IpNet,
    span: Span,
    /// How long the prefix of a node's range is, where nobody asks for another.
    size: u8,
    /// Where the next search begins.
    next: u128,
    /// Addresses in it that somebody holds.
    used: u128,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// A range that nobody holds.
    pub(super) range: IpNet,
    /// Places that were looked at before it.
    pub(super) tries: u32,
}

impl Pool {
    /// This range, in which nodes have ranges of this prefix length.
    pub(super) fn new(range: IpNet, size: u8) -> Self {
        let span = span(&range);
        let next = *span.start();
        Self { range: range.trunc(), span, size, next, used: 0 }
    }

    /// The whole range.
    pub(super) fn range(&self) -> &IpNet {
        &self.range
    }

    pub(super) fn is_v4(&self) -> bool {
        is_v4(&self.range)
    }

    /// How long the prefix of a node's range is, where nobody asks for another.
    pub(super) fn size(&self) -> u8 {
        self.size
    }

    /// Whether it has addresses in common with this range.
    pub(super) fn touches(&self, range: &IpNet) -> bool {
        overlap(&self.range, range)
    }

    /// A range of this prefix length that nobody holds.
    ///
    /// What this costs grows with the runs of held addresses between which there is too little
    /// room, of which there are none where all ranges are of one size.
    pub(super) fn find(&self, taken: &Taken, size: u8) -> Option<Found> {
        let mut tries = 0;
        let (first, last) = (*self.span.start(), *self.span.end());
        let from_next = self.search(taken, size, self.next..=last, &mut tries);
        from_next.or_else(|| self.search(taken, size, first..=last, &mut tries))
    }

    fn search(&self, taken: &Taken, size: u8, within: Span, tries: &mut u32) -> Option<Found> {
        let host_bits = host_bits(self.is_v4(), size);
        for gap in taken.gaps(self.is_v4(), &within) {
            // The first place in the gap where such a range may begin.
            let first = gap.start().checked_add(host_bits)? & !host_bits;
            let last = first.checked_add(host_bits)?;
            if last <= *gap.end() {
                let range = range_at(self.is_v4(), first, size)?;
                return Some(Found { range, tries: *tries });
            }
            *tries += 1;
        }
        None
    }

    /// This range was given out of it.
    pub(super) fn gave(&mut self, range: &IpNet) {
        let behind = span(range).end().saturating_add(1);
        self.next = if self.span.contains(&behind) { behind } else { *self.span.start() };
    }

    /// These addresses are held by somebody now. Gives how many ranges of nodes that is, here.
    pub(super) fn took(&mut self, is_v4: bool, fresh: &[Span]) -> u64 {
        let addresses = self.own(is_v4, fresh);
        self.used = self.used.saturating_add(addresses);
        self.ranges(addresses)
    }

    /// Nobody holds these addresses any more. Gives how many ranges of nodes that is, here.
    pub(super) fn freed(&mut self, is_v4: bool, freed: &[Span]) -> u64 {
        let addresses = self.own(is_v4, freed);
        self.used = self.used.saturating_sub(addresses);
        self.ranges(addresses)
    }

    /// How many of these addresses are in it.
    fn own(&self, is_v4: bool, spans: &[Span]) -> u128 {
        if is_v4 != self.is_v4() {
            return 0;
        }
        let cut = |span: &Span| {
            let own = *span.start().max(self.span.start())..=*span.end().min(self.span.end());
            if own.is_empty() { 0 } else { length(&own) }
        };
        spans.iter().map(cut).sum()
    }

    fn ranges(&self, addresses: u128) -> u64 {
        let each = host_bits(self.is_v4(), self.size).saturating_add(1);
        u64::try_from(addresses.div_ceil(each)).unwrap_or(u64::MAX)
    }

    /// Which part of it somebody holds, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a share, for people")]
    pub(super) fn usage(&self) -> f64 {
        self.used as f64 / length(&self.span) as f64
    }

    /// For how many nodes it is enough, with ranges of this prefix length.
    pub(super) fn capacity(&self, size: u8) -> f64 {
        2_f64.powi(i32::from(size) - i32::from(self.range.prefix_len()))
    }
}

/// The bits that a prefix of this length leaves.
fn host_bits(is_v4: bool, size: u8) -> u128 {
    let all = if is_v4 { u128::from(u32::MAX) } else { u128::MAX };
    all.checked_shr(size.into()).unwrap_or_default()
}

fn range_at(is_v4: bool, first: u128, size: u8) -> Option<IpNet> {
    if is_v4 {
        let first = Ipv4Addr::from(u32::try_from(first).ok()?);
        Ipv4Net::new(first, size).ok().map(IpNet::V4)
    } else {
        Ipv6Net::new(Ipv6Addr::from(first), size).ok().map(IpNet::V6)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rstest::rstest;

    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// Gives out as many as wanted, or as there are.
    fn give(pool: &mut Pool, taken: &mut Taken, wanted: usize) -> Vec<String> {
        let mut given = Vec::new();
        while given.len() < wanted
            && let Some(found) = pool.find(taken, pool.size())
        {
            taken.take(&found.range);
            pool.gave(&found.range);
            given.push(found.range.to_string());
        }
        given
    }

    #[rstest]
    #[case::one_after_the_other("10.0.0.0/8", 24, &[], &["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"])]
    #[case::of_ipv6("fd00::/48", 64, &[], &["fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:2::/64"])]
    #[case::with_far_more_than_65536("fd00::/16", 64, &["fd00::/17"],
        &["fd00:8000::/64", "fd00:8000:0:1::/64", "fd00:8000:0:2::/64"])]
    #[case::no_more_than_there_are("10.0.0.0/23", 24, &[], &["10.0.0.0/24", "10.0.1.0/24"])]
    #[case::the_whole("10.0.0.0/24", 24, &[], &["10.0.0.0/24"])]
    #[case::single_addresses("10.0.0.254/31", 32, &[], &["10.0.0.254/32", "10.0.0.255/32"])]
    #[case::between_what_is_held("10.0.0.0/22", 24, &["10.0.0.0/24", "10.0.2.0/24"],
        &["10.0.1.0/24", "10.0.3.0/24"])]
    #[case::a_part_is_enough("10.0.0.0/22", 24, &["10.0.0.7/32", "10.0.1.192/26"],
        &["10.0.2.0/24", "10.0.3.0/24"])]
    #[case::what_is_larger_covers_all("10.0.0.0/22", 24, &["10.0.0.0/23"], &["10.0.2.0/24", "10.0.3.0/24"])]
    #[case::what_is_beyond_covers_all("10.0.0.0/22", 24, &["10.0.0.0/8"], &[])]
    #[case::other_families_and_places_do_not_count("10.0.0.0/23", 24, &["::/0", "10.0.2.0/23", "9.0.0.0/8"],
        &["10.0.0.0/24", "10.0.1.0/24"])]
    #[case::at_the_end_of_ipv4("255.255.254.0/23", 24, &[], &["255.255.254.0/24", "255.255.255.0/24"])]
    #[case::at_the_end_of_ipv6("ffff:ffff:ffff:ffff::/63", 64, &["ffff:ffff:ffff:fffe::/64"], &[])]
    #[case::all_of_ipv4("0.0.0.0/0", 1, &[], &["0.0.0.0/1", "128.0.0.0/1"])]
    #[case::all_of_ipv6("::/0", 1, &[], &["::/1"])]
    fn gives_what_is_free(
        #[case] range: &str,
        #[case] size: u8,
        #[case] held: &[&str],
        #[case] want: &[&str],
    ) {
        let mut taken = Taken::default();
        for held in held {
            taken.take(&net(held));
        }
        let mut pool = Pool::new(net(range), size);
        assert_eq!(give(&mut pool, &mut taken, 3), want);
    }

    #[test]
    fn what_comes_back_is_given_last() {
        let (mut taken, mut pool) = (Taken::default(), Pool::new(net("10.0.0.0/22"), 24));
        assert_eq!(give(&mut pool, &mut taken, 2), ["10.0.0.0/24", "10.0.1.0/24"]);
        taken.give_back(&net("10.0.0.0/24"));
        let rest = ["10.0.2.0/24", "10.0.3.0/24", "10.0.0.0/24"];
        assert_eq!(give(&mut pool, &mut taken, 9), rest);
    }

    #[test]
    fn other_sizes_find_their_places() {
        let (mut taken, mut pool) = (Taken::default(), Pool::new(net("10.0.0.0/22"), 24));
        for (size, want) in [
            (26, "10.0.0.0/26"),
            (24, "10.0.1.0/24"),
            (25, "10.0.2.0/25"),
            (25, "10.0.2.128/25"),
            (24, "10.0.3.0/24"),
            (25, "10.0.0.128/25"),
            (26, "10.0.0.64/26"),
        ] {
            let found = pool.find(&taken, size).unwrap();
            assert_eq!(found.range, net(want));
            taken.take(&found.range);
            pool.gave(&found.range);
        }
        assert_eq!(pool.find(&taken, 32), None);
        // Longer prefixes than the family has, and shorter ones than the pool's own.
        let pool = Pool::new(net("10.0.0.0/22"), 24);
        assert_eq!(pool.find(&Taken::default(), 33), None);
        assert_eq!(pool.find(&Taken::default(), 21), None);
    }

    #[test]
    fn usage_counts_addresses_once() {
        let (mut taken, mut pool) = (Taken::default(), Pool::new(net("10.0.0.0/22"), 24));
        let mut take = |taken: &mut Taken, range: &str| {
            let fresh = taken.take(&net(range));
            pool.took(is_v4(&net(range)), &fresh)
        };
        assert_eq!(take(&mut taken, "10.0.0.0/24"), 1);
        assert_eq!(take(&mut taken, "10.0.0.0/25"), 0);
        assert_eq!(take(&mut taken, "10.0.0.0/23"), 1);
        assert_eq!(take(&mut taken, "10.0.3.0/26"), 1);
        assert_eq!(take(&mut taken, "fd00::/64"), 0);
        assert!((pool.usage() - 576.0 / 1024.0).abs() < 1e-9);
        assert!((pool.capacity(24) - 4.0).abs() < 1e-9);
        let freed = taken.give_back(&net("10.0.0.0/23"));
        assert_eq!(pool.freed(true, &freed), 1);
        assert!((Pool::new(net("fd00::/16"), 64).capacity(64) - 2_f64.powi(48)).abs() < 1.0);
    }

    /// Of what follows from the shape only; how long it takes in a cluster is a benchmark's matter.
    #[test]
    fn a_hundred_thousand_nodes_do_not_make_one_more_dearer() {
        let mut taken = Taken::default();
        let mut pool = Pool::new(net("fd00::/32"), 64);
        let began = Instant::now();
        for _ in 0..100_000 {
            let found = pool.find(&taken, 64).unwrap();
            assert_eq!(found.tries, 0);
            taken.take(&found.range);
            pool.gave(&found.range);
        }
        // A tenth of a second where nothing is scanned, minutes where everything is.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
