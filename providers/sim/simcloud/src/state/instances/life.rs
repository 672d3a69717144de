//! How an instance passes from one state to another.

use crate::api::{Instance, RunState, UpdateInstance};
use crate::state::Moment;
use crate::state::row::Row;

/// A machine that is made now, and runs when it has booted.
pub(super) fn boot(record: &mut Row<Instance>, moment: Moment, pending: Instance) {
    let running = Instance { state: RunState::Running, ..pending.clone() };
    record.write(moment, [(moment.now, pending), (moment.after_transition(), running)]);
}

/// Passes through one state to another. What was to come before is off.
pub(super) fn turn(record: &mut Row<Instance>, moment: Moment, through: RunState, to: RunState) {
    let from = record.current(moment.now);
    let passing = Instance { state: through, ..Instance::clone(from) };
    let mut arrived = Instance { state: to, ..passing.clone() };
    if to == RunState::Terminated {
        arrived.terminated_at = Some(moment.after_transition());
        arrived.nics = Vec::new();
    }
    record.write(moment, [(moment.now, passing), (moment.after_transition(), arrived)]);
}

/// Changes the instance as it is, and what it is about to become.
pub(super) fn change(record: &mut Row<Instance>, moment: Moment, update: &UpdateInstance) {
    let now = Instance::clone(record.current(moment.now));
    let later = record.later(moment.now).map(|(from, value)| (from, Instance::clone(value)));
    let mut changed: Vec<_> = std::iter::once((moment.now, now)).chain(later).collect();
    for (_, instance) in &mut changed {
        apply(instance, update);
    }
    record.write(moment, changed);
}

fn apply(instance: &mut Instance, update: &UpdateInstance) {
    fn replace<T: Clone>(field: &mut T, value: Option<&T>) {
        if let Some(value) = value {
            field.clone_from(value);
        }
    }
    replace(&mut instance.instance_type, update.instance_type.as_ref());
    replace(&mut instance.nics, update.nics.as_ref());
    replace(&mut instance.tags, update.tags.as_ref());
    replace(&mut instance.labels, update.labels.as_ref());
    replace(&mut instance.pod_cidrs, update.pod_cidrs.as_ref());
}
