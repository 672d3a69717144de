//! What names, tags and UUIDs must look like.

use std::collections::BTreeMap;

/// The longest name: that of a DNS subdomain, which a node's name must be.
const MAX_NAME: usize = 253;

/// Nothing, or the field at fault with what is wrong.
pub(super) type Check = Result<(), (&'static str, String)>;

pub(super) fn check_name(field: &'static str, value: &str) -> Check {
    let is_good = !value.is_empty()
        && value.len() <= MAX_NAME
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good {
        return Ok(());
    }
    Err((field, format!("must be 1 to {MAX_NAME} visible ASCII characters, not {value:?}")))
}

/// Keys may hold no `=`: the list's filter is written `key=value`.
pub(super) fn check_tags(field: &'static str, map: &BTreeMap<String, String>) -> Check {
    match map.keys().find(|key| key.is_empty() || key.contains('=')) {
        Some(key) => Err((field, format!("keys must not be empty or hold an =, as {key:?} does"))),
        None => Ok(()),
    }
}

pub(super) fn check_uuid(uuid: &str) -> Check {
    let lengths = uuid.split('-').map(str::len);
    let is_good = lengths.eq([8, 4, 4, 4, 12])
        && uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if is_good { Ok(()) } else { Err(("system_uuid", format!("must be a UUID, not {uuid:?}"))) }
}
