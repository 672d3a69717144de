//! Answers that are good for a while, and of which only so many are kept.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

/// The least recently used go first. A poisoned lock is no harm: what is in it is whole or missing.
pub(super) struct Cache<K, V>(Mutex<LruCache<K, (Instant, V)>>);

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    pub(super) fn new(most: NonZeroUsize) -> Self {
        Self(Mutex::new(LruCache::new(most)))
    }

    /// What is still good.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, value) = cache.get(key)?;
        if *until > Instant::now() {
            return Some(value.clone());
        }
        cache.pop(key);
        None
    }

    /// Keeps it for so long; not at all for no time.
    pub(super) fn put(&self, key: K, value: V, ttl: Duration) {
        if !ttl.is_zero() {
            let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(key, (Instant::now() + ttl, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_age_and_make_room() {
        let cache = Cache::new(NonZeroUsize::new(2).unwrap());
        let ttl = Duration::from_secs(10);
        cache.put("a", 1, ttl);
        cache.put("never", 2, Duration::ZERO);
        assert_eq!((cache.get(&"a"), cache.get(&"never")), (Some(1), None));
        advance(Duration::from_millis(9_999)).await;
        assert_eq!(cache.get(&"a"), Some(1));
        advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get(&"a"), None);

        for key in ["a", "b", "c"] {
            cache.put(key, 3, ttl);
        }
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (None, Some(3), Some(3)));
    }
}
