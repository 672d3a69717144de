//! How many connections there may be at once, in all and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Connections from elsewhere at once. A guess: some probes and a few scrapers are usual, and each
/// connection takes some ten KiB.
const ALL: usize = 1024;

/// Connections of one client from elsewhere. A guess: many may come from behind one address, and nobody
/// shall take the others' places.
const ONE: usize = 128;

/// Connections from this machine, which have places of their own: whoever fills the others keeps no
/// probe from its answer.
const OWN: usize = 128;

/// Places for connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: Most,
    taken: Mutex<Taken>,
}

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    all: usize,
    one: usize,
    own: usize,
}

#[derive(Debug, Default)]
struct Taken {
    elsewhere: usize,
    by: HashMap<IpNet, usize>,
    own: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    client: Option<IpNet>,
}

impl Most {
    /// As many as a process may have that can have so many files open: half of them are for its own
    /// connections to the API server and the cloud.
    pub(super) fn of(files: u64) -> Self {
        let half = usize::try_from(files / 2).unwrap_or(usize::MAX);
        let own = OWN.min(half / 4).max(1);
        let all = ALL.min(half - half.min(own)).max(1);
        Self { all, one: ONE.min(all), own }
    }
}

impl Slots {
    pub(super) fn new(most: Most) -> Self {
        Self(Arc::new(Shared { most, taken: Mutex::default() }))
    }

    /// A place for a connection of this client, if there is one.
    pub(super) fn take(&self, client: IpAddr) -> Option<Slot> {
        let client = network(client);
        let mut taken = self.taken();
        let Most { all, one, own } = self.0.most;
        match client {
            None if taken.own >= own => return None,
            None => taken.own += 1,
            Some(client) => {
                let has = taken.by.get(&client).copied().unwrap_or_default();
                if taken.elsewhere >= all || has >= one {
                    return None;
                }
                taken.elsewhere += 1;
                taken.by.insert(client, has + 1);
            }
        }
        drop(taken);
        Some(Slot { slots: self.clone(), client })
    }

    /// How many are taken.
    pub(super) fn len(&self) -> usize {
        let taken = self.taken();
        taken.own + taken.elsewhere
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        let Some(client) = self.client else {
            taken.own -= 1;
            return;
        };
        taken.elsewhere -= 1;
        match taken.by.get_mut(&client) {
            Some(has) if *has > 1 => *has -= 1,
            _ => drop(taken.by.remove(&client)),
        }
    }
}

/// The network that counts as one client; `None` for this machine. Who has one address of IPv6 has as a
/// rule a whole /64.
fn network(client: IpAddr) -> Option<IpNet> {
    match client.to_canonical() {
        client if client.is_loopback() => None,
        IpAddr::V4(client) => Some(Ipv4Net::from(client).into()),
        IpAddr::V6(client) => Ipv6Net::new(client, 64).ok().map(|network| network.trunc().into()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn take(slots: &Slots, client: &str, times: usize) -> Vec<Slot> {
        (0..times).filter_map(|_| slots.take(client.parse().unwrap())).collect()
    }

    #[test]
    fn nobody_takes_the_places_of_others() {
        let slots = Slots::new(Most { all: 5, one: 3, own: 2 });
        let one = take(&slots, "10.0.0.1", 9);
        assert_eq!(one.len(), 3);
        assert_eq!(take(&slots, "::ffff:10.0.0.1", 1).len(), 0);
        let many = take(&slots, "2001:db8::1", 2);
        assert_eq!(many.len(), 2);
        assert_eq!(take(&slots, "10.0.0.3", 1).len(), 0);
        let own = take(&slots, "127.0.0.1", 9);
        assert_eq!((own.len(), slots.len()), (2, 7));
        assert_eq!(take(&slots, "::1", 1).len(), 0);

        drop(one);
        assert_eq!(take(&slots, "10.0.0.3", 9).len(), 3);
        drop((many, own));
        assert_eq!(slots.len(), 0);
        assert!(slots.taken().by.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let slots = Slots::new(Most { all: 9, one: 2, own: 1 });
        let taken = [take(&slots, "2001:db8::1", 1), take(&slots, "2001:db8::2", 9)];
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), 2);
        assert_eq!(take(&slots, "2001:db8:0:1::1", 1).len(), 1);
    }

    #[rstest]
    #[case::usual(1 << 20, (1024, 128, 128))]
    #[case::without_a_bound(u64::MAX, (1024, 128, 128))]
    #[case::as_login_shells_have_it(1024, (384, 128, 128))]
    #[case::few(64, (24, 24, 8))]
    #[case::none(0, (1, 1, 1))]
    fn places_leave_files_for_the_rest(#[case] files: u64, #[case] want: (usize, usize, usize)) {
        let Most { all, one, own } = Most::of(files);
        assert_eq!((all, one, own), want);
    }
}
