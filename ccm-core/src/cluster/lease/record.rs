//! The record in the lease: what it means to us, and how we write it. Pure.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::{Election, Timing};

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// There is none yet.
    Create,
    /// It is ours.
    Renew,
    /// It is nobody's, or its holder has not been heard of for as long as it promised.
    TakeOver,
    /// Its holder is alive until then, as far as we know.
    Wait(Instant),
}

/// A lease, and when we last saw its record change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) lease: Lease,
    pub(super) changed: Instant,
}

impl Seen {
    /// The lease as it is `now`. Only a change of the record counts as a sign of life: metadata has
    /// other writers.
    pub(super) fn at(now: Instant, lease: Lease, before: Option<&Self>) -> Self {
        let changed = match before {
            Some(before) if before.lease.spec == lease.spec => before.changed,
            Some(_) | None => now,
        };
        Self { lease, changed }
    }

    pub(super) fn holder(&self) -> &str {
        holder(&self.lease)
    }
}

/// Decides what `me` does about the lease.
///
/// Trusts no clock but our own: what the times in the record say is for people. A holder that did not
/// say how long its lease lasts gets ours.
pub(super) fn decide(me: &str, seen: Option<&Seen>, timing: Timing, now: Instant) -> Move {
    let Some(seen) = seen else { return Move::Create };
    let said = seen.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let lasts = said
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(timing.lease_duration(), Duration::from_secs);
    let expires = seen.changed + lasts;
    match seen.holder() {
        "" => Move::TakeOver,
        holder if holder == me => Move::Renew,
        _ if now >= expires => Move::TakeOver,
        _ => Move::Wait(expires),
    }
}

/// The lease as it is written by its new, old or next holder: `election.identity`.
pub(super) fn claimed(election: &Election, old: Option<&Lease>, now: Timestamp) -> Lease {
    let Some(old) = old else {
        return Lease {
            metadata: ObjectMeta {
                name: Some(election.name.clone()),
                namespace: Some(election.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                lease_transitions: Some(0),
                ..claim(election, LeaseSpec::default(), now)
            }),
        };
    };
    let spec = old.spec.clone().unwrap_or_default();
    let spec = if holder(old) == election.identity {
        LeaseSpec { renew_time: Some(MicroTime(now)), ..spec }
    } else {
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(1);
        LeaseSpec { lease_transitions: Some(transitions), ..claim(election, spec, now) }
    };
    Lease { spec: Some(spec), ..old.clone() }
}

/// The lease as its holder leaves it: nobody's at once, and for those who only look at times, in a second.
pub(super) fn released(old: &Lease, now: Timestamp) -> Lease {
    let spec = LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..old.spec.clone().unwrap_or_default()
    };
    Lease { spec: Some(spec), ..old.clone() }
}

fn claim(election: &Election, spec: LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(election.identity.clone()),
        lease_duration_seconds: Some(election.timing.lease_seconds()),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..spec
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn election() -> Election {
        Election {
            namespace: "kube-system".to_owned(),
            name: "cloud-controller-manager".to_owned(),
            identity: "me".to_owned(),
            timing: Timing::default(),
        }
    }

    fn lease(spec: Value) -> Lease {
        let spec = serde_json::from_value(spec).unwrap();
        let metadata =
            ObjectMeta { resource_version: Some("7".to_owned()), ..ObjectMeta::default() };
        Lease { metadata, spec }
    }

    /// `age` is how long ago, in seconds, the record changed before our eyes.
    #[rstest]
    #[case::no_lease(None, 0, "create")]
    #[case::an_empty_one(Some(json!(null)), 0, "take over")]
    #[case::released(Some(json!({"holderIdentity": "", "leaseDurationSeconds": 1})), 0, "take over")]
    #[case::released_as_others_do(Some(json!({"leaseDurationSeconds": 15})), 0, "take over")]
    #[case::ours(Some(json!({"holderIdentity": "me", "leaseDurationSeconds": 15})), 0, "renew")]
    #[case::ours_after_a_long_pause(Some(json!({"holderIdentity": "me", "leaseDurationSeconds": 15})), 99, "renew")]
    #[case::held(Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 15})), 0, "wait 15")]
    #[case::held_and_aging(Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 15})), 14, "wait 1")]
    #[case::its_holder_is_dead(Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 15})), 15, "take over")]
    #[case::the_holders_promise_counts(Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 60})), 20, "wait 40")]
    #[case::without_a_promise_ours_does(Some(json!({"holderIdentity": "you"})), 10, "wait 5")]
    #[case::nor_with_an_odd_one(Some(json!({"holderIdentity": "you", "leaseDurationSeconds": -1})), 10, "wait 5")]
    #[case::an_ancient_time_in_it_means_nothing(
        Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00.000000Z"})),
        0,
        "wait 15",
    )]
    #[case::nor_does_one_to_come(
        Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 15, "renewTime": "2999-01-01T00:00:00.000000Z"})),
        15,
        "take over",
    )]
    fn decides(#[case] spec: Option<Value>, #[case] age: u32, #[case] want: &str) {
        let changed = Instant::now();
        let now = changed + SECOND * age;
        let seen = spec.map(|spec| Seen { lease: lease(spec), changed });
        let got = match decide("me", seen.as_ref(), Timing::default(), now) {
            Move::Create => "create".to_owned(),
            Move::Renew => "renew".to_owned(),
            Move::TakeOver => "take over".to_owned(),
            Move::Wait(until) => format!("wait {}", (until - now).as_secs()),
        };
        assert_eq!(got, want);
    }

    #[rstest]
    #[case::the_same_record(json!({"holderIdentity": "you", "leaseTransitions": 1}), 0)]
    #[case::renewed(json!({"holderIdentity": "you", "leaseTransitions": 1, "renewTime": "2001-01-01T00:00:00.000000Z"}), 5)]
    #[case::another_holder(json!({"holderIdentity": "them", "leaseTransitions": 2}), 5)]
    fn a_changed_record_is_a_sign_of_life(#[case] spec: Value, #[case] want: u32) {
        let start = Instant::now();
        let first = lease(json!({"holderIdentity": "you", "leaseTransitions": 1}));
        let first = Seen::at(start, first, None);
        let mut next = lease(spec);
        next.metadata.resource_version = Some("8".to_owned());
        let next = Seen::at(start + SECOND * 5, next, Some(&first));
        assert_eq!(next.changed, start + SECOND * want);
        assert_eq!(next.lease.metadata.resource_version.as_deref(), Some("8"));
    }

    #[rstest]
    #[case::first(
        None,
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0,
               "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}),
    )]
    #[case::renewed(
        Some(json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 3,
                    "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:02.000000Z"})),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 3,
               "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}),
    )]
    #[case::taken_over(
        Some(json!({"holderIdentity": "you", "leaseDurationSeconds": 60, "leaseTransitions": 3,
                    "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:02.000000Z"})),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 4,
               "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}),
    )]
    #[case::taken_after_a_release(
        Some(json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 3})),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 4,
               "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}),
    )]
    #[case::the_last_transition_there_is(
        Some(json!({"leaseTransitions": i32::MAX})),
        json!({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": i32::MAX,
               "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05.000000Z"}),
    )]
    fn claims(#[case] old: Option<Value>, #[case] want: Value) {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let old = old.map(lease);
        let new = claimed(&election(), old.as_ref(), now);
        assert_eq!(serde_json::to_value(new.spec).unwrap(), want);
        // The version that it was decided on goes with it.
        assert_eq!(
            new.metadata.resource_version,
            old.and_then(|old| old.metadata.resource_version)
        );
    }

    #[test]
    fn a_release_leaves_what_client_go_leaves() {
        let old = lease(json!({
            "holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 3,
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:02.000000Z",
        }));
        let new = released(&old, "2026-01-02T03:04:05.5Z".parse().unwrap());
        let want = json!({
            "holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": 3,
            "acquireTime": "2026-01-02T03:04:05.500000Z", "renewTime": "2026-01-02T03:04:05.500000Z",
        });
        assert_eq!(serde_json::to_value(new.spec).unwrap(), want);
        assert_eq!(new.metadata, old.metadata);
    }
}
