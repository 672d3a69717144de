//! What was seen of machines, and what is believed of it. Pure: time is handed in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Sighting;
use crate::cloud::{CloudError, Kind, NodeIdentity, NodeName, Observation, RunState, Uid};

/// What a machine was seen to be doing says nothing about its end much later: a machine that stops
/// may have come back.
const RECENT: Duration = Duration::from_mins(2);

/// That a machine is on its way up is soon no longer so, and somebody waits for it: load balancers
/// take no traffic to it before it runs.
const STARTING: Duration = Duration::from_secs(5);

/// Kept for each node that was present: doubt and absence are asked about again.
#[derive(Debug, Default)]
pub(crate) struct Kept(HashMap<NodeName, (Uid, Sighting)>);

impl Kept {
    /// A sighting that is not older than `max_age`, nor than it can be true.
    pub(crate) fn recall(
        &self,
        node: &NodeIdentity,
        now: Instant,
        max_age: Duration,
    ) -> Option<Sighting> {
        let last = self.last(node)?;
        let is_starting = last.instance().is_some_and(|it| it.state == RunState::Starting);
        let max_age = if is_starting { max_age.min(STARTING) } else { max_age };
        (now.saturating_duration_since(last.at) < max_age).then(|| last.clone())
    }

    /// Which of these observations are of another machine than the one last seen.
    pub(crate) fn others(
        &self,
        nodes: &[NodeIdentity],
        observations: &[Observation],
    ) -> Vec<usize> {
        let is_other = |index: &usize| self.is_other(&nodes[*index], &observations[*index]);
        (0..nodes.len()).filter(is_other).collect()
    }

    fn is_other(&self, node: &NodeIdentity, observation: &Observation) -> bool {
        let Observation::Present(instance) = observation else { return false };
        let before = self.last(node).and_then(Sighting::instance);
        before.is_some_and(|before| before.incarnation != instance.incarnation)
    }

    fn last(&self, node: &NodeIdentity) -> Option<&Sighting> {
        let (uid, sighting) = self.0.get(&node.name)?;
        (*uid == node.uid).then_some(sighting)
    }

    /// Keeps what was seen, unless something newer is known already.
    pub(crate) fn keep(
        &mut self,
        node: &NodeIdentity,
        observation: Observation,
        asked: Instant,
        at: Instant,
    ) -> Sighting {
        let last = self.last(node);
        if let Some(newer) = last.filter(|last| asked < last.asked) {
            // It was on its way for longer than a newer question and its answer.
            return newer.clone();
        }
        let before = last.and_then(Sighting::instance);
        let recent = last.is_some_and(|last| at.saturating_duration_since(last.at) < RECENT);
        let replaces = match &observation {
            // A node without a provider ID is looked up by name, and is nobody's machine yet.
            Observation::Present(instance) if node.provider_id.is_some() => match before {
                Some(before) if before.incarnation != instance.incarnation => {
                    Some(before.incarnation.clone())
                }
                _ => last.and_then(|last| last.replaces.clone()),
            },
            Observation::Present(_) | Observation::Gone(_) | Observation::Unknown(_) => None,
        };
        let sighting = Sighting {
            before: before.filter(|_| recent).map(|before| before.state),
            observation: Arc::new(observation),
            asked,
            at,
            replaces,
        };
        if sighting.instance().is_some() {
            self.0.insert(node.name.clone(), (node.uid.clone(), sighting.clone()));
        }
        sighting
    }

    /// The node is the new machine's now, and nothing has to be said of the old one any more.
    pub(crate) fn renewed(&mut self, node: &NodeName) {
        if let Some((_, sighting)) = self.0.get_mut(node) {
            sighting.replaces = None;
        }
    }

    /// Forgets a node that is gone, so that memory follows the cluster.
    pub(crate) fn forget(&mut self, node: &NodeName) {
        self.0.remove(node);
    }
}

/// What is believed of another machine than before behind the same node, once a direct question has
/// been answered too: a list that mixes records up, or one from before, must not rename a live node.
pub(crate) fn believed(looked: &Observation, confirmed: Observation) -> Observation {
    match (looked, confirmed) {
        (Observation::Present(seen), Observation::Present(again))
            if seen.incarnation == again.incarnation =>
        {
            Observation::Present(again)
        }
        (_, Observation::Unknown(err)) => Observation::Unknown(err),
        _ => {
            let message = "the machine seems to have been replaced, but a direct question to the \
                           cloud does not confirm it";
            Observation::Unknown(CloudError::new(Kind::Conflict, message))
        }
    }
}
