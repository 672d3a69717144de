//! What the API takes as a label.

/// Whether the API takes it as the value of a label.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_name(value)
}

fn is_label_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 63
        && name.chars().all(inner)
        && end(name.chars().next())
        && end(name.chars().next_back())
}

/// Whether the API takes it as the key of a label.
pub(super) fn is_label_key(key: &str) -> bool {
    let Some((prefix, name)) = key.split_once('/') else { return is_label_name(key) };
    let part = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty()
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    prefix.len() <= 253 && prefix.split('.').all(part) && is_label_name(name)
}
