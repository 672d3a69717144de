//! Which region a zone is in.

/// The region of a zone by its name: words with hyphens, up to and with the first number.
///
/// `us-west-2` for `us-west-2a` and for the local zone `us-west-2-lax-1a`. `None` where the name
/// is not of this form.
pub(super) fn of_zone(zone: &str) -> Option<&str> {
    let digit = zone.find(|c: char| c.is_ascii_digit())?;
    let (words, rest) = zone.split_at(digit);
    let words = words.strip_suffix('-')?;
    let are_words = words
        .split('-')
        .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    are_words.then(|| &zone[..digit + digits])
}
