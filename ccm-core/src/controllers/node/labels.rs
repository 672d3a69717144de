//! What the labels of a Node should be. Pure.

use std::collections::BTreeMap;

use crate::cloud::{Instance, InstanceType, Region, Zone};
use crate::cluster::keys;
use crate::cluster::pairs::Pairs;
use crate::controllers::label::{is_label_key, is_label_value};
use crate::controllers::memory::Note;

/// A label that the cloud decides, under its present and its old key.
struct Topic {
    key: &'static str,
    beta: &'static str,
    what: &'static str,
    /// Whether it follows the cloud after initialisation. Zone and region do not: volumes and pods
    /// were placed by them.
    follows: bool,
}

const TYPE_TOPIC: Topic = Topic {
    key: keys::INSTANCE_TYPE,
    beta: keys::INSTANCE_TYPE_BETA,
    what: "instance type",
    follows: true,
};
const ZONE_TOPIC: Topic =
    Topic { key: keys::ZONE, beta: keys::ZONE_BETA, what: "zone", follows: false };
const REGION_TOPIC: Topic =
    Topic { key: keys::REGION, beta: keys::REGION_BETA, what: "region", follows: false };

/// Labels to set, and what is to be said about those that are not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) set: BTreeMap<String, String>,
    pub(super) notes: Vec<Note>,
}

/// Compares what a node has with what the cloud says.
///
/// While it is initialised the cloud's word goes for instance type, zone and region. Afterwards a
/// zone or region that is there stays, and a difference is reported. The present key is the truth
/// for the old one. Other labels are added where they are missing, and changed only under prefixes
/// that are the provider's own.
pub(super) fn wanted(
    instance: &Instance,
    current: &Pairs,
    initialising: bool,
    own_prefixes: &[&str],
) -> Labels {
    let mut labels = Labels::default();
    let texts = [
        (TYPE_TOPIC, instance.instance_type.as_ref().map(InstanceType::as_str)),
        (ZONE_TOPIC, instance.zone.as_ref().map(Zone::as_str)),
        (REGION_TOPIC, instance.region.as_ref().map(Region::as_str)),
    ];
    for (topic, said) in texts {
        labels.topic(&topic, said.filter(|text| !text.is_empty()), current, initialising);
    }
    for (key, value) in &instance.labels {
        labels.additional(key, value, current, own_prefixes);
    }
    labels
}

impl Labels {
    fn topic(&mut self, topic: &Topic, said: Option<&str>, current: &Pairs, initialising: bool) {
        let said = said.filter(|value| {
            let valid = is_label_value(value);
            if !valid {
                self.invalid(topic.key, value);
            }
            valid
        });
        let present = current.get(topic.key);
        let truth = match (present, said) {
            (Some(present), Some(said)) if present != said && !initialising && !topic.follows => {
                self.notes.push(Note::new(
                    "TopologyMismatch",
                    format!(
                        "label {} is {present:?} but the cloud says that the instance's {} is \
                         {said:?}; the label stays",
                        topic.key, topic.what
                    ),
                ));
                Some(present)
            }
            (_, Some(said)) => Some(said),
            (present, None) => present,
        };
        let Some(truth) = truth else { return };
        for key in [topic.key, topic.beta] {
            if current.get(key) != Some(truth) {
                self.set.insert(key.to_owned(), truth.to_owned());
            }
        }
    }

    fn additional(&mut self, key: &str, value: &str, current: &Pairs, own_prefixes: &[&str]) {
        let prefix = key.split_once('/').map(|(prefix, _)| prefix);
        if prefix.is_some_and(is_reserved) {
            return self.notes.push(Note::new(
                "LabelNotSet",
                format!("label {key} is not set: its prefix is reserved to Kubernetes"),
            ));
        }
        if !is_label_key(key) || !is_label_value(value) {
            return self.invalid(key, value);
        }
        let is_own = prefix.is_some_and(|prefix| own_prefixes.contains(&prefix));
        match current.get(key) {
            Some(present) if present == value => {}
            Some(present) if !is_own => self.notes.push(Note::new(
                "LabelNotSet",
                format!("label {key} stays {present:?} though the cloud says {value:?}"),
            )),
            Some(_) | None => drop(self.set.insert(key.to_owned(), value.to_owned())),
        }
    }

    fn invalid(&mut self, key: &str, value: &str) {
        self.notes.push(Note::new(
            "LabelNotSet",
            format!(
                "label {key}={value:?} is not set: accepted are at most 63 letters, digits, '-', \
                 '_' and '.', beginning and ending with a letter or digit"
            ),
        ));
    }
}

/// `kubernetes.io`, `k8s.io` and everything under them.
fn is_reserved(prefix: &str) -> bool {
    ["kubernetes.io", "k8s.io"].into_iter().any(|domain| {
        prefix.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::controllers::node::decide::tests::instance;

    fn set(labels: &Labels) -> Vec<(&str, &str)> {
        labels.set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    #[test]
    fn initialisation_takes_the_clouds_word() {
        let current = [(keys::ZONE, "old")].into_iter().collect();
        let labels = wanted(&instance(), &current, true, &[]);
        assert_eq!(
            set(&labels),
            [
                (keys::INSTANCE_TYPE_BETA, "small"),
                (keys::REGION_BETA, "r1"),
                (keys::ZONE_BETA, "r1-a"),
                (keys::INSTANCE_TYPE, "small"),
                (keys::REGION, "r1"),
                (keys::ZONE, "r1-a"),
            ]
        );
        assert!(labels.notes.is_empty());
    }

    #[rstest]
    #[case::a_resized_machine(&[(keys::INSTANCE_TYPE, "tiny"), (keys::INSTANCE_TYPE_BETA, "tiny")],
        &[(keys::INSTANCE_TYPE_BETA, "small"), (keys::INSTANCE_TYPE, "small")], 0)]
    #[case::a_lost_zone_label(&[(keys::ZONE_BETA, "r1-a")], &[(keys::ZONE, "r1-a")], 0)]
    #[case::another_zone_is_said_and_left(&[(keys::ZONE, "r1-b"), (keys::ZONE_BETA, "r1-b")], &[], 1)]
    #[case::the_old_key_follows_the_present_one(&[(keys::ZONE, "r1-a"), (keys::ZONE_BETA, "x")],
        &[(keys::ZONE_BETA, "r1-a")], 0)]
    fn afterwards(
        #[case] differs: &[(&'static str, &'static str)],
        #[case] expected: &[(&str, &str)],
        #[case] notes: usize,
    ) {
        let right = wanted(&instance(), &Pairs::default(), true, &[]).set;
        let topic = |key: &str| {
            [TYPE_TOPIC, ZONE_TOPIC, REGION_TOPIC]
                .into_iter()
                .find(|topic| key == topic.key || key == topic.beta)
                .map(|topic| topic.key)
        };
        // The topic under test is just as the case says; the others are right.
        let tested = topic(differs[0].0);
        let others = right.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let others = others.filter(|(key, _)| topic(key) != tested);
        let current: Pairs = others.chain(differs.iter().copied()).collect();
        let labels = wanted(&instance(), &current, false, &[]);
        assert_eq!(set(&labels), expected);
        assert_eq!(labels.notes.len(), notes);
    }

    #[rstest]
    #[case::missing_is_added("rack", "1", None, &[], Some("1"), 0)]
    #[case::present_stays("rack", "1", Some("2"), &[], None, 1)]
    #[case::the_same_is_fine("rack", "1", Some("1"), &[], None, 0)]
    #[case::own_follows("example.com/rack", "1", Some("2"), &["example.com"], Some("1"), 0)]
    #[case::reserved("kubernetes.io/x", "1", None, &[], None, 1)]
    #[case::reserved_below("node.k8s.io/x", "1", None, &["node.k8s.io"], None, 1)]
    #[case::not_reserved("k8snio/x", "1", None, &[], Some("1"), 0)]
    #[case::not_reserved_either("mykubernetes.io/x", "1", None, &[], Some("1"), 0)]
    #[case::invalid_value("rack", "a b", None, &[], None, 1)]
    #[case::invalid_key("ra ck", "1", None, &[], None, 1)]
    #[case::empty_value("rack", "", None, &[], Some(""), 0)]
    fn additional(
        #[case] key: &str,
        #[case] value: &str,
        #[case] present: Option<&str>,
        #[case] own: &[&str],
        #[case] expected: Option<&str>,
        #[case] notes: usize,
    ) {
        let mut labels = Labels::default();
        let current: Pairs = present.into_iter().map(|present| (key, present)).collect();
        labels.additional(key, value, &current, own);
        assert_eq!(labels.set.get(key).map(String::as_str), expected);
        assert_eq!(labels.notes.len(), notes);
    }

    #[test]
    fn a_zone_that_is_no_label_value_is_said_and_not_set() {
        let odd = Instance { zone: Some("zone of many words".into()), ..instance() };
        let labels = wanted(&odd, &Pairs::default(), true, &[]);
        assert!(!labels.set.contains_key(keys::ZONE));
        assert!(labels.notes[0].message.contains("zone of many words"));
    }
}
