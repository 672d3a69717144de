//! What becomes of an event, given those before it: client-go's correlator. Pure.
//!
//! <https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go>

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::bounded::Bounded;
use super::{EventType, Involved};
use crate::report::cut;

/// Entries of each of the three memories.
pub(super) const CAPACITY: usize = 4096;

/// Different messages for one object and reason, from which on they share one event.
const SIMILAR: usize = 10;
/// How long after the last of them similar events are still counted together.
const SIMILAR_FOR: Duration = Duration::from_mins(10);
const COMBINED: &str = "(combined from similar events): ";

/// Events that one component may write about one object before it is held back.
const BURST: u32 = 25;
/// After which it may write one each.
const REFILL: Duration = Duration::from_mins(5);

/// A longer message is cut. Upstream does not; `events.k8s.io` allows 1024.
const MAX_MESSAGE: usize = 1024;
/// The API server's limit for a name, less a dot and 16 hex digits.
const MAX_OBJECT_NAME: usize = 253 - 17;

/// Something worth telling those who look at an object.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) about: Involved,
    pub(super) component: Arc<str>,
    pub(super) kind: EventType,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// One moment, by both clocks: one for people, one to measure with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: Timestamp,
    pub(super) steady: Instant,
}

/// What to send.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// Create this event.
    Create(Box<Event>),
    /// It has been seen before: patch it, or create it anew if it is gone.
    Patch { patch: Value, event: Box<Event> },
    /// There have been too many about this object.
    Drop,
}

/// Remembers what was said lately, in bounded memory.
#[derive(Debug)]
pub(super) struct Correlator {
    host: Arc<str>,
    hasher: RandomState,
    similar: Bounded<Similar>,
    said: Bounded<Said>,
    spam: Bounded<Bucket>,
}

/// Events that differ in nothing but the message.
#[derive(Debug)]
struct Similar {
    messages: HashSet<u64>,
    last: Instant,
}

/// An event that exists, as far as we know.
#[derive(Clone, Debug)]
struct Said {
    name: String,
    count: i32,
    first: Timestamp,
}

impl Correlator {
    pub(super) fn new(host: &str, capacity: usize) -> Self {
        Self {
            host: host.into(),
            hasher: RandomState::new(),
            similar: Bounded::new(capacity),
            said: Bounded::new(capacity),
            spam: Bounded::new(capacity),
        }
    }

    pub(super) fn correlate(&mut self, report: Report, now: Moment) -> Outcome {
        let Report { about, component, kind, reason, message } = report;
        let mut message = cut(message, MAX_MESSAGE);
        let object = self.hasher.hash_one((&about, &component));
        let alike = self.hasher.hash_one((object, kind, reason));
        let exact = self.hasher.hash_one((alike, &message));

        let key = if self.is_combined(alike, exact, now.steady) {
            message.insert_str(0, COMBINED);
            alike
        } else {
            exact
        };

        let name = || event_name(&about.name, now.wall);
        let said = self.said.entry(key, || Said { name: name(), count: 0, first: now.wall });
        let seen_before = said.count > 0;
        said.count = said.count.saturating_add(1);
        let said = said.clone();
        // Counted although nothing is sent, so that the next one that is tells the truth.
        if !self.spam.entry(object, || Bucket::full(BURST, REFILL, now.steady)).take(now.steady) {
            return Outcome::Drop;
        }

        let patch =
            json!({ "count": said.count, "lastTimestamp": Time(now.wall), "message": message });
        let event = Box::new(Event {
            metadata: ObjectMeta {
                name: Some(said.name),
                namespace: Some(namespace(&about).to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: reference(about),
            type_: Some(kind.as_str().to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            source: Some(EventSource {
                component: Some(component.as_ref().to_owned()),
                host: Some(self.host.as_ref().to_owned()),
            }),
            reporting_component: Some(component.as_ref().to_owned()),
            reporting_instance: Some(self.host.as_ref().to_owned()),
            count: Some(said.count),
            first_timestamp: Some(Time(said.first)),
            last_timestamp: Some(Time(now.wall)),
            ..Event::default()
        });
        if seen_before { Outcome::Patch { patch, event } } else { Outcome::Create(event) }
    }

    fn is_combined(&mut self, alike: u64, exact: u64, now: Instant) -> bool {
        let similar = self.similar.entry(alike, || Similar { messages: HashSet::new(), last: now });
        if now.saturating_duration_since(similar.last) > SIMILAR_FOR {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() + 1 < SIMILAR {
            similar.messages.insert(exact);
            return false;
        }
        // Nine are remembered, so that each of them still has its own event and nothing grows.
        !similar.messages.contains(&exact)
    }
}

/// Tokens that come back one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    burst: u32,
    refill: Duration,
    /// When the bucket will be full again, were nothing more taken.
    full_at: Instant,
}

impl Bucket {
    pub(super) fn full(burst: u32, refill: Duration, now: Instant) -> Self {
        Self { burst, refill, full_at: now }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let available = self.ready_at() <= now;
        if available {
            self.full_at = self.full_at.max(now) + self.refill;
        }
        available
    }

    /// From when on there is a token.
    pub(super) fn ready_at(&self) -> Instant {
        let before = self.refill * self.burst.saturating_sub(1);
        self.full_at.checked_sub(before).unwrap_or(self.full_at)
    }
}

/// As upstream: when, in hexadecimal nanoseconds, makes it unique for the object.
fn event_name(object: &str, now: Timestamp) -> String {
    let mut end = object.len().min(MAX_OBJECT_NAME);
    while !object.is_char_boundary(end) {
        end -= 1;
    }
    // A name must not have two dots in a row.
    format!("{}.{:x}", object[..end].trim_end_matches(['.', '-']), now.as_nanosecond())
}

/// What belongs to no namespace is told in `default`, where `kubectl describe node` looks for it.
fn namespace(about: &Involved) -> &str {
    if about.namespace.is_empty() { "default" } else { &about.namespace }
}

fn reference(about: Involved) -> ObjectReference {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    ObjectReference {
        api_version: given(about.api_version),
        kind: given(about.kind),
        name: given(about.name),
        namespace: given(about.namespace),
        uid: given(about.uid),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Seconds after the start, and the message of an event about node `n`.
    type Said = (u64, &'static str);

    fn moment(start: Instant, seconds: u64) -> Moment {
        let epoch: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let after = Duration::from_secs(seconds);
        Moment { wall: epoch + after, steady: start + after }
    }

    fn report(name: &str, message: &str) -> Report {
        Report {
            about: Involved {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                namespace: String::new(),
                name: name.to_owned(),
                uid: "u1".to_owned(),
            },
            component: "cloud-node-controller".into(),
            kind: EventType::Normal,
            reason: "Synced",
            message: message.to_owned(),
        }
    }

    /// `+` for a creation, `=3` for a patch to count 3, `-` for nothing, with the message.
    fn show(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Create(event) => format!("+ {}", event.message.as_deref().unwrap()),
            Outcome::Patch { patch, .. } => {
                format!("={} {}", patch["count"], patch["message"].as_str().unwrap())
            }
            Outcome::Drop => "-".to_owned(),
        }
    }

    #[rstest]
    #[case::once(&[(0, "a")], &["+ a"])]
    #[case::identical_ones_are_merged(&[(0, "a"), (1, "a"), (9999, "a")], &["+ a", "=2 a", "=3 a"])]
    #[case::different_ones_are_not(&[(0, "a"), (0, "b"), (1, "a")], &["+ a", "+ b", "=2 a"])]
    #[case::similar_ones_are_combined_from_the_tenth(
        &[(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e"), (5, "f"), (6, "g"), (7, "h"), (8, "i"),
          (9, "j"), (10, "k"), (11, "a"), (12, "j")],
        &["+ a", "+ b", "+ c", "+ d", "+ e", "+ f", "+ g", "+ h", "+ i",
          "+ (combined from similar events): j", "=2 (combined from similar events): k", "=2 a",
          "=3 (combined from similar events): j"],
    )]
    #[case::ten_quiet_minutes_end_that(
        &[(0, "a"), (0, "b"), (0, "c"), (0, "d"), (0, "e"), (0, "f"), (0, "g"), (0, "h"), (0, "i"),
          (0, "j"), (600, "k"), (1201, "l")],
        &["+ a", "+ b", "+ c", "+ d", "+ e", "+ f", "+ g", "+ h", "+ i",
          "+ (combined from similar events): j", "=2 (combined from similar events): k", "+ l"],
    )]
    fn tells(#[case] said: &[Said], #[case] want: &[&str]) {
        let start = Instant::now();
        let mut correlator = Correlator::new("host", CAPACITY);
        let got: Vec<_> = said
            .iter()
            .map(|(at, message)| correlator.correlate(report("n", message), moment(start, *at)))
            .map(|outcome| show(&outcome))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn one_object_has_25_and_then_one_each_5_minutes() {
        let start = Instant::now();
        let mut correlator = Correlator::new("host", CAPACITY);
        let mut say =
            |name: &str, at: u64| show(&correlator.correlate(report(name, "a"), moment(start, at)));
        assert_eq!(say("n", 0), "+ a");
        for count in 2..=25 {
            assert_eq!(say("n", 0), format!("={count} a"));
        }
        assert_eq!(say("n", 0), "-");
        assert_eq!(say("other", 0), "+ a", "others are not held back");
        assert_eq!(say("n", 299), "-");
        assert_eq!(say("n", 300), "=28 a", "the count tells what was held back");
        assert_eq!(say("n", 301), "-");
    }

    #[test]
    fn an_event_is_what_upstream_writes() {
        let start = Instant::now();
        let mut correlator = Correlator::new("host", CAPACITY);
        correlator.correlate(report("n", "a"), moment(start, 0));
        let Outcome::Patch { patch, event } =
            correlator.correlate(report("n", "a"), moment(start, 1))
        else {
            panic!("not merged");
        };
        assert_eq!(
            patch,
            json!({"count": 2, "lastTimestamp": "2026-01-02T03:04:06Z", "message": "a"})
        );
        assert_eq!(
            serde_json::to_value(event).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Event",
                "metadata": {"name": "n.1886caf21c963200", "namespace": "default"},
                "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u1"},
                "type": "Normal", "reason": "Synced", "message": "a", "count": 2,
                "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:06Z",
                "source": {"component": "cloud-node-controller", "host": "host"},
                "reportingComponent": "cloud-node-controller", "reportingInstance": "host",
            })
        );
    }

    #[rstest]
    #[case::another_component(Report { component: "other".into(), ..report("n", "a") })]
    #[case::another_reason(Report { reason: "Other", ..report("n", "a") })]
    #[case::a_warning(Report { kind: EventType::Warning, ..report("n", "a") })]
    #[case::a_new_object_of_that_name(
        Report { about: Involved { uid: "u2".to_owned(), ..report("n", "a").about }, ..report("n", "a") },
    )]
    fn is_not_the_same(#[case] other: Report) {
        let start = Instant::now();
        let mut correlator = Correlator::new("host", CAPACITY);
        correlator.correlate(report("n", "a"), moment(start, 0));
        assert_eq!(show(&correlator.correlate(other, moment(start, 0))), "+ a");
    }

    #[test]
    fn memory_is_bounded_whatever_is_said() {
        let start = Instant::now();
        let mut correlator = Correlator::new("host", 16);
        for number in 0..10_000_u64 {
            let about = format!("n{}", number % 1000);
            correlator.correlate(report(&about, &number.to_string()), moment(start, number));
        }
        for _ in 0..100 {
            for number in 0..100_u64 {
                correlator.correlate(report("n", &number.to_string()), moment(start, 10_000));
            }
        }
        assert_eq!(correlator.similar.len(), 16);
        assert_eq!(correlator.said.len(), 16);
        assert_eq!(correlator.spam.len(), 16);
        let alike = correlator.hasher.hash_one((
            correlator.hasher.hash_one((&report("n", "").about, &report("n", "").component)),
            EventType::Normal,
            "Synced",
        ));
        let similar = correlator.similar.entry(alike, || panic!("it was the last"));
        assert_eq!(similar.messages.len(), SIMILAR - 1);
    }

    #[rstest]
    #[case("n", "n.1886caf1e0fb6800")]
    #[case("n.example.org", "n.example.org.1886caf1e0fb6800")]
    fn names_are_upstreams(#[case] object: &str, #[case] want: &str) {
        let now = "2026-01-02T03:04:04Z".parse().unwrap();
        assert_eq!(event_name(object, now), want);
    }

    #[test]
    fn a_name_is_never_too_long() {
        let late = "2500-01-01T00:00:00Z".parse().unwrap();
        for length in [235, 236, 237, 253] {
            let name = event_name(&"ab.".repeat(100)[..length], late);
            assert!(name.len() <= 253 && !name.contains(".."), "{name}");
        }
    }

    #[rstest]
    #[case("short", "short")]
    #[case("0123456789", "0123456789")]
    #[case("01234567890", "0123456…")]
    #[case("012345äääää", "012345…")]
    fn cuts_long_messages(#[case] message: &str, #[case] want: &str) {
        assert_eq!(cut(message.to_owned(), 10), want);
    }
}
