//! Which attributes a load balancer and its target groups are to have. Pure.

use std::collections::BTreeMap;

use super::super::annotations::{PREFIX, ServiceAnnotations};
use super::super::annotations::{PRESERVE_CLIENT_IP, PROXY_PROTOCOL};
use crate::client::elbv2::{Attributes, Protocol};

const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const LOG: &str = "access_logs.s3.enabled";
const LOG_BUCKET: &str = "access_logs.s3.bucket";
const LOG_PREFIX: &str = "access_logs.s3.prefix";
const DELAY: &str = "deregistration_delay.timeout_seconds";

/// Attributes of target groups that outlive the group, with AWS' defaults for groups of instances.
const LASTING: [(&str, &str); 3] =
    [(PRESERVE_CLIENT_IP, "true"), (PROXY_PROTOCOL, "false"), (DELAY, "300")];

/// The attributes that a load balancer is to have. Others are let be, and so are bucket and prefix
/// while there are no logs.
pub(super) fn of_balancer(said: &ServiceAnnotations, wrong: &mut Vec<String>) -> Attributes {
    let mut wanted = Attributes::new();
    let mut set = |key: &str, value: String| _ = wanted.insert(key.to_owned(), value);
    set(CROSS_ZONE, said.cross_zone.to_string());
    set(LOG, said.access_log.to_string());
    if said.access_log {
        let bucket = said.access_log_bucket.clone().unwrap_or_default();
        if bucket.is_empty() {
            wrong.push(format!(
                "annotation {PREFIX}access-log-enabled=\"true\": {PREFIX}access-log-s3-bucket-name must \
                 name the bucket"
            ));
        }
        set(LOG_BUCKET, bucket);
        set(LOG_PREFIX, said.access_log_prefix.clone().unwrap_or_default());
    }
    wanted
}

/// What has to be set. A key that AWS does not list has its default.
pub(super) fn missing(wanted: &Attributes, have: &Attributes) -> Attributes {
    let default = |key: &str| match key {
        CROSS_ZONE | LOG => "false",
        _ => "",
    };
    let is_missing = |(key, value): &(&String, &String)| {
        have.get(*key).map_or_else(|| default(key), String::as_str) != value.as_str()
    };
    let missing = wanted.iter().filter(is_missing);
    missing.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What has to be set on a target group: what the annotation names, and for one that takes the place
/// of another what that one had, as far as its protocol takes that.
pub(super) fn missing_of_group(
    named: &BTreeMap<&'static str, bool>,
    replaced: Option<&Attributes>,
    protocol: &Protocol,
    have: &Attributes,
) -> Attributes {
    let mut missing = Attributes::new();
    for (key, default) in LASTING {
        let named = named.get(key).map(ToString::to_string);
        // Of UDP targets always see the client's address.
        let is_fixed = key == PRESERVE_CLIENT_IP && *protocol == Protocol::Udp;
        let before = || replaced.filter(|_| !is_fixed).and_then(|before| before.get(key).cloned());
        let Some(wanted) = named.or_else(before) else { continue };
        if have.get(key).map_or(default, String::as_str) != wanted {
            missing.insert(key.to_owned(), wanted);
        }
    }
    missing
}
