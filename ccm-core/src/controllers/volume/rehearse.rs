//! What would be done about all volumes, with nothing of it done.

use std::sync::Arc;

use super::VolumeController;
use super::decide::{Changes, Task, decide, task};
use super::doubt::Wait;
use crate::cloud::{Observation, Topology};
use crate::cluster::volume::PersistentVolume;
use crate::controllers::rehearsal::{Intended, Line};

impl VolumeController {
    /// Thinks it through for every volume, in the order of their names. Needs the watch, but neither
    /// [`run`](Self::run) nor leave to write.
    pub async fn rehearse(&self) -> Vec<Intended> {
        let mut all = self.volumes.all();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let (mut to_ask, mut intended) = (Vec::new(), Vec::new());
        for volume in all {
            match task(&volume, self.rules) {
                Task::Leave => {}
                Task::Trust(is) => intended.extend(self.intended(&volume, &is)),
                Task::Ask => to_ask.push(volume),
            }
        }
        for some in to_ask.chunks(self.looks.size()) {
            let questions: Vec<_> = some.iter().map(|volume| volume.identity()).collect();
            let answers = self.looks.look(&questions).await;
            let each = some.iter().zip(answers);
            intended.extend(each.filter_map(|(volume, answer)| self.answered(volume, answer)));
        }
        intended.sort_by(|one, other| one.object.cmp(&other.object));
        intended
    }

    fn answered(
        &self,
        volume: &Arc<PersistentVolume>,
        answer: Observation<Topology>,
    ) -> Option<Intended> {
        match answer {
            Observation::Present(is) => self.intended(volume, &is),
            // It would be told, and nothing else.
            Observation::Gone(_) => None,
            Observation::Unknown(err) => {
                let wait = Wait::unknown(volume, &err)?;
                let line = Line::later(format!("labels: {}", wait.message));
                Some(Intended { object: object(volume), lines: vec![line] })
            }
        }
    }

    fn intended(&self, volume: &PersistentVolume, is: &Topology) -> Option<Intended> {
        let lines = lines(volume, &decide(volume, is, self.rules));
        (!lines.is_empty()).then(|| Intended { object: object(volume), lines })
    }
}

fn object(volume: &PersistentVolume) -> String {
    format!("PersistentVolume {}", volume.name)
}

fn lines(volume: &PersistentVolume, changes: &Changes) -> Vec<Line> {
    let labels = changes.labels.iter().map(|(key, value)| {
        let text = format!("label {key}: {value}");
        if volume.labels.get(key).is_some() { Line::change(text) } else { Line::add(text) }
    });
    let affinity = changes
        .affinity
        .iter()
        .map(|(key, values)| Line::add(format!("node affinity: {key} in {}", values.join(", "))));
    labels.chain(affinity).collect()
}
