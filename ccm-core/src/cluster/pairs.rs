//! Labels of a cached object in one allocation.

use std::collections::BTreeMap;
use std::fmt;

/// Sorted keys and values in one piece of memory.
///
/// A map of twenty labels is some sixty allocations and 3 kB; as one text it is 1 kB, which counts
/// with 15,000 cached nodes. What ends a text is a NUL, which keys and labels never hold. The API has
/// it in the value of an annotation: there it becomes U+FFFD, so that who reads the value judges it as
/// odd as it is. To leave such an annotation out would be to grant what nobody asked for.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Pairs(Box<str>);

impl Pairs {
    /// Takes the pairs for which `keep` says so.
    pub fn keeping(map: &BTreeMap<String, String>, keep: impl Fn(&str) -> bool) -> Self {
        let kept = || map.iter().filter(|(key, _)| keep(key));
        let mut text = String::with_capacity(kept().map(|(k, v)| k.len() + v.len() + 2).sum());
        for (key, value) in kept() {
            text.push_str(key);
            text.push('\0');
            let mut parts = value.split('\0');
            text.push_str(parts.next().unwrap_or_default());
            for part in parts {
                text.push('\u{fffd}');
                text.push_str(part);
            }
            text.push('\0');
        }
        Self(text.into())
    }

    /// The pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.split_terminator('\0');
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Pairs {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let map = pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Self::keeping(&map, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_with_empty_values_too() {
        let pairs: Pairs = [("b", ""), ("a", "1"), ("c", "3")].into_iter().collect();
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "1"), ("b", ""), ("c", "3")]);
        assert_eq!((pairs.get("b"), pairs.get("1"), pairs.get("d")), (Some(""), None, None));
        assert!(Pairs::default().is_empty() && Pairs::default().get("").is_none());
    }

    #[test]
    fn a_nul_in_a_value_is_neither_an_end_nor_a_reason_to_leave_it_out() {
        let pairs: Pairs = [("a", "\0tr\0ue\0"), ("b", "2")].into_iter().collect();
        let odd = "\u{fffd}tr\u{fffd}ue\u{fffd}";
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", odd), ("b", "2")]);
    }
}
