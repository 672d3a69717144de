//! A map that forgets what was used least recently.

use std::collections::{BTreeMap, HashMap};

/// At most `capacity` entries, keyed by a digest.
#[derive(Debug)]
pub(super) struct Bounded<V> {
    capacity: usize,
    tick: u64,
    entries: HashMap<u64, (u64, V)>,
    /// Keys by when they were last used.
    ages: BTreeMap<u64, u64>,
}

impl<V> Bounded<V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, tick: 0, entries: HashMap::new(), ages: BTreeMap::new() }
    }

    /// The entry for `key`, made if it is not there. Now it is the one used most recently.
    pub(super) fn entry(&mut self, key: u64, make: impl FnOnce() -> V) -> &mut V {
        self.tick += 1;
        if let Some((age, _)) = self.entries.get(&key) {
            self.ages.remove(age);
        } else if self.entries.len() >= self.capacity
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.ages.insert(self.tick, key);
        let (age, value) = self.entries.entry(key).or_insert_with(|| (0, make()));
        *age = self.tick;
        value
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.ages.len());
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut map = Bounded::new(2);
        *map.entry(1, || "") = "one";
        *map.entry(2, || "") = "two";
        assert_eq!(*map.entry(1, || "new"), "one");
        assert_eq!(*map.entry(3, || "three"), "three");
        assert_eq!(map.len(), 2);
        assert_eq!(*map.entry(1, || "new"), "one");
        assert_eq!(*map.entry(2, || "new"), "new", "3 and 1 were used later");
        assert_eq!(map.len(), 2);
    }
}
