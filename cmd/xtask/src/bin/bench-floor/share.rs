//! How requests are shared out among Services: each gets its part of every kind.

use std::collections::BTreeMap;

use simcloud::api::Operation;

/// Requests that are still to be sent for one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Patches of its status.
    pub(super) patches: u64,
    /// Events about it.
    pub(super) events: u64,
    /// Calls to the cloud.
    pub(super) calls: BTreeMap<Operation, u64>,
}

impl Share {
    /// The part of one of so many. The parts together are all of it.
    pub(super) fn of(&self, number: u64, count: u64) -> Self {
        let part = |all: u64| all * (number + 1) / count - all * number / count;
        Self {
            patches: part(self.patches),
            events: part(self.events),
            calls: self.calls.iter().map(|(operation, all)| (*operation, part(*all))).collect(),
        }
    }

    /// Takes all calls of an operation that are left.
    pub(super) fn take(&mut self, operation: Operation) -> u64 {
        self.calls.remove(&operation).unwrap_or_default()
    }

    /// Takes half of them, the larger half.
    pub(super) fn take_half(&mut self, operation: Operation) -> u64 {
        self.calls.get_mut(&operation).map_or(0, half)
    }
}

/// Takes the larger half.
pub(super) fn half(left: &mut u64) -> u64 {
    let taken = left.div_ceil(2);
    *left -= taken;
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_together_are_the_whole() {
        let calls = BTreeMap::from([(Operation::ListRules, 7)]);
        let all = Share { patches: 10, events: 2, calls };
        let parts: Vec<_> = (0..4).map(|number| all.of(number, 4)).collect();
        assert_eq!(parts.iter().map(|part| part.patches).sum::<u64>(), 10);
        assert_eq!(parts.iter().map(|part| part.events).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(parts.iter().flat_map(|part| part.calls.values()).sum::<u64>(), 7);
    }

    #[test]
    fn the_larger_half_comes_first() {
        let mut share = Share::default();
        share.calls.insert(Operation::ListRules, 3);
        assert_eq!(share.take_half(Operation::ListRules), 2);
        assert_eq!(share.take(Operation::ListRules), 1);
        assert_eq!(share.take(Operation::ListRules), 0);
    }
}
