//! What should change on a `PersistentVolume`, given where the cloud says that it is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::cloud::{Region, Topology, VolumeSource, Zone};
use crate::cluster::keys;
use crate::cluster::volume::PersistentVolume;
use crate::controllers::label::is_label_value;
use crate::controllers::memory::Note;

/// Between zones in the value of one label.
const SEPARATOR: &str = "__";

/// A volume of this name is not there yet, and gets nothing: the API server's own admission plugin
/// knew it too.
const PLACEHOLDER: &str = "placeholder-for-provisioning";

/// Reason of the event when a label says something else than the cloud.
const MISMATCH: &str = "TopologyMismatch";

/// Reason of the event when the cloud's word cannot be a label.
const NOT_SET: &str = "LabelNotSet";

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `--label-provisioned-volumes`: what a provisioner made is seen to as well.
    pub provisioned: bool,
    /// `--overwrite-volume-labels`: labels that differ follow the cloud.
    pub overwrite: bool,
}

/// What is to be found out before anything is decided about a volume of this cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Nothing: it is others' business, or it says all that there is to say.
    Leave,
    /// Nothing: its provisioner has said on it where it is, and knows best.
    Trust(Topology),
    /// Where it is.
    Ask,
}

/// The writes that make a volume right, all of them in one patch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Labels to set.
    pub(super) labels: BTreeMap<&'static str, String>,
    /// What `spec.nodeAffinity` becomes, where it is empty: each key with the values that will do.
    pub(super) affinity: Vec<(&'static str, Vec<String>)>,
    /// What the volume's owner should hear, once.
    pub(super) notes: Vec<Note>,
}

impl Changes {
    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.affinity.is_empty()
    }
}

/// What is to be found out about a volume of this cloud.
///
/// CSI volumes that a provisioner made, or that say by their affinity where they are, are their
/// driver's business, unless the operator wants it otherwise.
pub(super) fn task(volume: &PersistentVolume, rules: Rules) -> Task {
    let (is_csi, handle) = match &volume.source {
        VolumeSource::Csi { handle, .. } => (true, handle),
        VolumeSource::InTree { handle, .. } => (false, handle),
    };
    let is_drivers = is_csi && (volume.is_provisioned || volume.has_affinity);
    if volume.deleting || handle == PLACEHOLDER || (is_drivers && !rules.provisioned) {
        return Task::Leave;
    }
    let (Some(zone), Some(region)) = (ZONE.stated(volume), REGION.stated(volume)) else {
        return Task::Ask;
    };
    if rules.overwrite {
        return Task::Ask;
    }
    if volume.has_affinity {
        return Task::Leave;
    }
    match zones(zone).filter(|_| volume.is_provisioned && !region.is_empty()) {
        Some(zones) => {
            let zones = zones.into_iter().map(Zone::from).collect();
            Task::Trust(Topology { zones, region: Some(Region::from(region)) })
        }
        None => Task::Ask,
    }
}

/// Compares what is on the volume with where it is.
///
/// A missing label is added; one that differs stays, unless the operator wants it overwritten. The
/// affinity can be set once and never changed, so it is not set on a word that is disputed.
pub(super) fn decide(volume: &PersistentVolume, is: &Topology, rules: Rules) -> Changes {
    let mut changes = Changes::default();
    let zones: Vec<_> = is.zones.iter().map(|zone| zone.as_str().to_owned()).collect();
    let region: Vec<_> = is.region.iter().map(|region| region.as_str().to_owned()).collect();
    let is_agreed = [(&ZONE, zones), (&REGION, region)]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .fold(true, |agreed, (topic, values)| {
            changes.topic(topic, values, volume, rules) && agreed
        });
    if volume.has_affinity || !is_agreed {
        changes.affinity.clear();
    }
    changes
}

/// Something that labels say, under their present and their old key.
struct Topic {
    key: &'static str,
    beta: &'static str,
    what: &'static str,
}

const ZONE: Topic = Topic { key: keys::ZONE, beta: keys::ZONE_BETA, what: "zone" };
const REGION: Topic = Topic { key: keys::REGION, beta: keys::REGION_BETA, what: "region" };

impl Topic {
    /// What the volume says, under the present key or else the old one.
    fn stated<'a>(&self, volume: &'a PersistentVolume) -> Option<&'a str> {
        volume.labels.get(self.key).or_else(|| volume.labels.get(self.beta))
    }
}

impl Changes {
    /// Says whether the volume agrees, as far as it says anything and once the changes are made.
    fn topic(
        &mut self,
        topic: &Topic,
        values: Vec<String>,
        volume: &PersistentVolume,
        rules: Rules,
    ) -> bool {
        let Topic { key, beta, what } = *topic;
        if let Some(odd) = values.iter().find(|value| value.is_empty() || !is_label_value(value)) {
            let message = format!(
                "label {key} is not set: the cloud says that the volume's {what} is {odd:?}, which \
                 cannot be the value of a label"
            );
            self.notes.push(Note::new(NOT_SET, message));
            return false;
        }
        let said = values.join(SEPARATOR);
        let stated = topic.stated(volume);
        let is_same = |text: &str| {
            text == said || zones(text).is_some_and(|stated| Some(stated) == zones(&said))
        };
        let agreed = stated.is_none_or(is_same) || rules.overwrite;
        if !agreed {
            let label = if volume.labels.get(key).is_some() { key } else { beta };
            let stays = if volume.has_affinity { "" } else { ", and no node affinity is set" };
            let message = format!(
                "label {label} is {:?} but the cloud says that the volume's {what} is {said:?}; the \
                 label stays{stays}",
                stated.unwrap_or_default()
            );
            self.notes.push(Note::new(MISMATCH, message));
            return false;
        }
        self.affinity.push((key, values));
        if !is_label_value(&said) {
            let message = format!(
                "label {key} is not set: the volume's zones {said:?} are too long for the value of a \
                 label"
            );
            self.notes.push(Note::new(NOT_SET, message));
            return true;
        }
        if !volume.labels.get(key).is_some_and(is_same) {
            self.labels.insert(key, said.clone());
        }
        // The scheduler looks at both.
        if rules.overwrite && volume.labels.get(beta).is_some_and(|text| !is_same(text)) {
            self.labels.insert(beta, said.clone());
        }
        true
    }
}

/// The zones that a label's value names, sorted. `None` where one has no name.
fn zones(value: &str) -> Option<BTreeSet<String>> {
    let zones = value.split(SEPARATOR).map(str::trim);
    zones.map(|zone| (!zone.is_empty()).then(|| zone.to_owned())).collect()
}

#[cfg(test)]
pub(super) mod tests;
