//! Keys in the order in which people write and look for them.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

/// These come first; the others follow by the alphabet.
const FIRST: [&str; 17] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "key",
    "operator",
    "image",
    "args",
    "apiGroups",
    "apiGroup",
    "resources",
    "resourceNames",
    "verbs",
    "replicas",
    "selector",
];

/// A value whose keys are printed in that order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordered<'a>(pub(super) &'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(keys) => {
                let mut keys: Vec<_> = keys.iter().collect();
                keys.sort_by_key(|(key, _)| rank(key));
                let mut map = serializer.serialize_map(Some(keys.len()))?;
                for (key, value) in keys {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(values) => serializer.collect_seq(values.iter().map(Ordered)),
            value => value.serialize(serializer),
        }
    }
}

fn rank(key: &str) -> usize {
    FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_object_is_comes_before_what_it_says() {
        let object = json!({
            "data": { "b": "2", "a": "1" },
            "kind": "ConfigMap",
            "list": [{ "verbs": [], "apiGroups": [""] }],
            "metadata": { "labels": {}, "name": "x" },
        });
        let text = serde_saphyr::to_string(&Ordered(&object)).unwrap();
        let places = [
            "kind",
            "metadata",
            "name",
            "labels",
            "data:\n  a",
            "b: \"2\"",
            "list",
            "apiGroups",
            "verbs",
        ];
        let places = places.map(|word| text.find(word).unwrap());
        assert!(places.is_sorted(), "{text}");
        assert_eq!(serde_saphyr::from_str::<Value>(&text).unwrap(), object);
    }
}
