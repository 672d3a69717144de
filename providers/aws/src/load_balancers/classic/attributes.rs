//! Attributes of a Classic Load Balancer: what is asked for, and what differs. Pure.

use crate::client::elb::{AccessLog, Attributes, DEFAULT_DRAINING, DEFAULT_EMIT_INTERVAL};
use crate::load_balancers::annotations::{PREFIX, ServiceAnnotations};

/// Attributes as they are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedAttributes {
    /// All of them, with AWS' own values where nothing was said.
    pub(crate) all: Attributes,
    is_interval_said: bool,
    is_timeout_said: bool,
}

/// How what is there differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differs {
    No,
    /// Only in what the Go program does not name when nothing is said about it.
    InWhatGoLeaves,
    Yes,
}

impl WantedAttributes {
    /// Reads what is asked for.
    pub(crate) fn read(said: &ServiceAnnotations, wrong: &mut Vec<String>) -> Self {
        let access_log = said.access_log.then(|| access_log(said, wrong));
        let timeout = said.draining_timeout.map(|it| it.0);
        let all = Attributes {
            access_log,
            draining: said.draining.then(|| timeout.unwrap_or(DEFAULT_DRAINING)),
            idle: said.idle_timeout.0,
            cross_zone: said.cross_zone,
        };
        Self {
            all,
            is_interval_said: said.access_log_interval.is_some(),
            is_timeout_said: timeout.is_some(),
        }
    }

    /// How these differ from what is asked for.
    pub(crate) fn compare(&self, have: &Attributes) -> Differs {
        if self.all == *have {
            return Differs::No;
        }
        let mut lenient = self.all.clone();
        if let (Some(want), Some(have), false) =
            (&mut lenient.access_log, &have.access_log, self.is_interval_said)
        {
            want.interval = have.interval;
        }
        if let (Some(want), Some(have), false) =
            (&mut lenient.draining, have.draining, self.is_timeout_said)
        {
            *want = have;
        }
        if lenient == *have { Differs::InWhatGoLeaves } else { Differs::Yes }
    }
}

fn access_log(said: &ServiceAnnotations, wrong: &mut Vec<String>) -> AccessLog {
    let bucket = said.access_log_bucket.clone().unwrap_or_default();
    if bucket.is_empty() {
        wrong.push(format!(
            "annotation {PREFIX}access-log-enabled=\"true\": {PREFIX}access-log-s3-bucket-name must \
             name the bucket"
        ));
    }
    let interval = said.access_log_interval.map_or(DEFAULT_EMIT_INTERVAL, |it| it.0);
    if !matches!(interval, 5 | 60) {
        wrong.push(format!(
            "annotation {PREFIX}access-log-emit-interval=\"{interval}\": must be 5 or 60"
        ));
    }
    let prefix = said.access_log_prefix.clone().unwrap_or_default();
    AccessLog { bucket, prefix, interval }
}
