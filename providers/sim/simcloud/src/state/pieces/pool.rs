//! Which addresses the cloud has to give.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::api::IpFamily;

/// Ranges for documentation (RFC 5737), and when these are used up the one for benchmarks
/// (RFC 2544), which nobody can reach either. The first and the last of each are not given.
const IPV4: [(Ipv4Addr, u32); 4] = [
    (Ipv4Addr::new(203, 0, 113, 0), 1 << 8),
    (Ipv4Addr::new(198, 51, 100, 0), 1 << 8),
    (Ipv4Addr::new(192, 0, 2, 0), 1 << 8),
    (Ipv4Addr::new(198, 18, 0, 0), 1 << 17),
];

/// The range for documentation (RFC 3849); so many of it are given.
const IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0);
const IPV6_COUNT: u64 = 1 << 20;

/// Where the search for a free address goes on: one that was given back is not given again soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    ipv4: u64,
    ipv6: u64,
}

impl Pool {
    /// The next address that is not taken.
    pub(super) fn take(
        &mut self,
        family: IpFamily,
        is_taken: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let count = count(family);
        let cursor = match family {
            IpFamily::Ipv4 => &mut self.ipv4,
            IpFamily::Ipv6 => &mut self.ipv6,
        };
        let start = *cursor;
        (0..count).map(|step| (start + step) % count).find_map(|index| {
            let address = nth(family, index)?;
            if is_taken(address) {
                return None;
            }
            *cursor = (index + 1) % count;
            Some(address)
        })
    }
}

/// How many there are of a family.
pub(super) fn count(family: IpFamily) -> u64 {
    match family {
        IpFamily::Ipv4 => IPV4.iter().map(|(_, size)| u64::from(size - 2)).sum(),
        IpFamily::Ipv6 => IPV6_COUNT,
    }
}

/// Whether the cloud has it to give.
pub(super) fn contains(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => IPV4.iter().any(|(base, size)| {
            address.to_bits().checked_sub(base.to_bits()).is_some_and(|at| at > 0 && at < size - 1)
        }),
        IpAddr::V6(address) => address
            .to_bits()
            .checked_sub(IPV6.to_bits())
            .is_some_and(|at| at > 0 && at <= u128::from(IPV6_COUNT)),
    }
}

fn nth(family: IpFamily, mut index: u64) -> Option<IpAddr> {
    match family {
        IpFamily::Ipv4 => {
            for (base, size) in IPV4 {
                let usable = u64::from(size - 2);
                if index < usable {
                    let offset = u32::try_from(index).ok()? + 1;
                    return Some(Ipv4Addr::from_bits(base.to_bits() + offset).into());
                }
                index -= usable;
            }
            None
        }
        IpFamily::Ipv6 => Some(Ipv6Addr::from_bits(IPV6.to_bits() + u128::from(index) + 1).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;

    use super::*;

    #[test]
    fn every_address_is_given_once_and_the_first_again_at_the_end() {
        let mut pool = Pool::default();
        let mut taken = HashSet::new();
        for _ in 0..count(IpFamily::Ipv4) {
            let address = pool.take(IpFamily::Ipv4, |_| false).unwrap();
            assert!(contains(address), "{address}");
            assert!(taken.insert(address), "{address}");
        }
        assert_eq!(pool.take(IpFamily::Ipv4, |_| false), Some("203.0.113.1".parse().unwrap()));
    }

    #[test]
    fn what_is_taken_is_passed_over() {
        let mut pool = Pool::default();
        let taken: IpAddr = "2001:db8::1".parse().unwrap();
        let next = pool.take(IpFamily::Ipv6, |address| address == taken);
        assert_eq!(next, Some("2001:db8::2".parse().unwrap()));
        assert_eq!(pool.take(IpFamily::Ipv4, |_| true), None);
    }

    #[rstest]
    #[case::the_first("203.0.113.1", true)]
    #[case::the_last("198.19.255.254", true)]
    #[case::a_network("198.51.100.0", false)]
    #[case::a_broadcast("192.0.2.255", false)]
    #[case::private("10.0.0.1", false)]
    #[case::ipv6("2001:db8::10", true)]
    #[case::other_ipv6("2001:db9::1", false)]
    fn ranges(#[case] address: &str, #[case] want: bool) {
        assert_eq!(contains(address.parse().unwrap()), want);
    }
}
