//! A plan for one Service's own pieces, in the making.

use std::time::Duration;

use ccm_core::cloud::{Later, Note};

use super::change::OwnChange;

/// When what AWS works on is looked at again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What both kinds of load balancers put their part into.
///
/// A step is in it only if all that it needs is there or made by a step before it. Steps of one
/// stage may run together.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// What the Service needs, in order.
    pub(crate) building: Vec<Vec<OwnChange>>,
    /// What differs from what is asked for, and which the Go program would leave as it is. Done once the
    /// owner changes the Service, and always on what is [`MANAGED`](crate::marks::MANAGED_KEY): a takeover
    /// changes nothing.
    pub(crate) tidying: Vec<Vec<OwnChange>>,
    /// What is left of an earlier form of the Service, in the order in which it goes. The same
    /// holds.
    pub(crate) clearing: Vec<Vec<OwnChange>>,
    /// What the Service waits for, for people.
    pub(crate) waits: Vec<String>,
    /// What has to be looked at again, whether the Service waits for it or not.
    pub(crate) later: Vec<Later>,
    /// The same of what is cleared away.
    pub(crate) cleared_later: Vec<Later>,
    /// What stops nothing and is worth an event.
    pub(crate) notes: Vec<Note>,
}

impl Draft {
    /// Adds a stage to what the Service needs.
    pub(crate) fn build(&mut self, stage: impl IntoIterator<Item = impl Into<OwnChange>>) {
        push(&mut self.building, stage);
    }

    /// Adds a stage to what the Go program would leave.
    pub(crate) fn tidy(&mut self, stage: impl IntoIterator<Item = impl Into<OwnChange>>) {
        push(&mut self.tidying, stage);
    }

    /// Adds a stage to what goes last.
    pub(crate) fn clear(&mut self, stage: impl IntoIterator<Item = impl Into<OwnChange>>) {
        push(&mut self.clearing, stage);
    }

    /// The Service is not done before this has come, which a later look shows.
    pub(crate) fn wait(&mut self, waits_for: impl Into<String>) {
        let waits_for = waits_for.into();
        self.waits.push(waits_for.clone());
        self.later.push(Later { waits_for, look_again: LOOK_AGAIN });
    }

    /// What is cleared away has to be looked at again.
    pub(crate) fn look_again(&mut self, waits_for: impl Into<String>) {
        self.cleared_later.push(Later { waits_for: waits_for.into(), look_again: LOOK_AGAIN });
    }

    /// Says something that stops nothing.
    pub(crate) fn note(&mut self, reason: &'static str, message: impl Into<String>) {
        self.notes.push(Note { reason, message: message.into() });
    }
}

fn push(stages: &mut Vec<Vec<OwnChange>>, stage: impl IntoIterator<Item = impl Into<OwnChange>>) {
    let stage: Vec<_> = stage.into_iter().map(Into::into).collect();
    if !stage.is_empty() {
        stages.push(stage);
    }
}
