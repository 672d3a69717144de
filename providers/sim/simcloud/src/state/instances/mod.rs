//! Instances.

mod life;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::check::{Check, check_name, check_tags, check_uuid};
use super::row::Row;
use super::{Moment, Refusal, ids};
use crate::api::{
    BATCH_CREATE_LIMIT, CreateInstance, DescribeInstances, FIRST_INCARNATION, Instance, InstanceId,
    Nic, RunState, Timestamp, UpdateInstance,
};
use crate::rng::Rng;

use life::{boot, change, turn};

const PREFIX: &str = "i";

const DEFAULT_TYPE: &str = "sim.small";
/// The region of what is made without one.
pub(super) const DEFAULT_REGION: &str = "sim-1";

/// A page of the list.
#[derive(Debug)]
pub(crate) struct InstancePage {
    pub(crate) instances: Vec<Arc<Instance>>,
    /// The number after which the next page starts.
    pub(crate) next: Option<u64>,
}

/// Which page is wanted.
#[derive(Debug)]
pub(crate) struct PageAsk<'a> {
    /// The number after which the page starts; 0 for the first.
    pub(crate) after: u64,
    /// Instances on it at most; at least 1.
    pub(crate) size: usize,
    /// Tags that an instance must have.
    pub(crate) tags: &'a BTreeMap<String, String>,
}

/// All instances. A boot that takes time is a version from a later time.
#[derive(Debug)]
pub(crate) struct Fleet {
    seed: u64,
    /// Number of the newest instance. Numbers are never given again.
    newest: u64,
    instances: BTreeMap<u64, Row<Instance>>,
    by_name: HashMap<String, Vec<u64>>,
    /// Instances that will vanish, and when.
    vanishing: BTreeSet<(Timestamp, u64)>,
    changes: u64,
}

impl Fleet {
    /// A fleet without instances.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            newest: 0,
            instances: BTreeMap::new(),
            by_name: HashMap::new(),
            vanishing: BTreeSet::new(),
            changes: 0,
        }
    }

    /// The fleet as it was. What contradicts itself is refused with the reason.
    pub(super) fn restore(
        seed: u64,
        newest: u64,
        instances: BTreeMap<u64, Row<Instance>>,
    ) -> Result<Self, String> {
        let mut fleet = Self { newest, ..Self::new(seed) };
        for (number, record) in instances {
            let Some(first) = record.versions().next() else {
                return Err(format!("instance {number} has no versions"));
            };
            if number == 0 || number > fleet.newest {
                return Err(format!("instance {number} is newer than the newest"));
            }
            if record.versions().any(|version| version.id != id_of(number)) {
                return Err(format!("instance {number} has another's ID"));
            }
            fleet.by_name.entry(first.name.clone()).or_default().push(number);
            fleet.vanishing.extend(record.vanishes_at.map(|at| (at, number)));
            fleet.instances.insert(number, record);
        }
        Ok(fleet)
    }

    /// Number of the newest instance, and all instances.
    pub(super) fn kept(&self) -> (u64, BTreeMap<u64, Row<Instance>>) {
        (self.newest, self.instances.clone())
    }

    /// Number of instances, those that nobody sees yet or any more included.
    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }

    /// Counts up with every request that changes something.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether an instance is there and not on its way out, whatever readers see.
    pub(super) fn may_serve(&self, now: Timestamp, id: &InstanceId) -> bool {
        number_of(id)
            .and_then(|number| self.instances.get(&number)?.at(now))
            .is_some_and(|one| !matches!(one.state, RunState::Terminating | RunState::Terminated))
    }

    /// Whether an instance is terminated, or unknown.
    pub(super) fn is_gone(&self, time: Timestamp, id: &InstanceId) -> bool {
        number_of(id)
            .and_then(|number| self.instances.get(&number)?.at(time))
            .is_none_or(|one| one.state == RunState::Terminated)
    }

    /// The name of an instance, be it gone; none when it is forgotten.
    pub(super) fn name_of(&self, id: &InstanceId) -> Option<&str> {
        let record = self.instances.get(&number_of(id)?)?;
        record.versions().next().map(|instance| instance.name.as_str())
    }

    /// Forgets what vanished so long ago that no reader sees it any more.
    pub(super) fn sweep(&mut self, moment: Moment) {
        while let Some(&(at, number)) = self.vanishing.first()
            && at <= moment.seen()
        {
            self.vanishing.pop_first();
            let Some(record) = self.instances.remove(&number) else { continue };
            let name = &record.current(moment.now).name;
            if let Some(numbers) = self.by_name.get_mut(name) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
    }

    /// Whether the ID's instance has this name, whatever readers see of it.
    pub(crate) fn is_named(&self, id: &InstanceId, name: &str) -> bool {
        self.name_of(id) == Some(name)
    }

    /// One instance.
    pub(crate) fn get(&self, moment: Moment, id: &InstanceId) -> Result<Arc<Instance>, Refusal> {
        number_of(id)
            .and_then(|number| self.seen(number, moment))
            .cloned()
            .ok_or_else(|| no_instance(id))
    }

    /// Those that are known, in the order asked, each once.
    pub(crate) fn describe(&self, moment: Moment, ask: &DescribeInstances) -> Vec<Arc<Instance>> {
        let by_id = ask.ids.iter().filter_map(number_of);
        let by_name = ask.names.iter().filter_map(|name| self.by_name.get(name)).flatten().copied();
        let mut answered = BTreeSet::new();
        by_id
            .chain(by_name)
            .filter(|number| answered.insert(*number))
            .filter_map(|number| self.seen(number, moment))
            .cloned()
            .collect()
    }

    /// A page of those that have the tags, in the order of their making.
    pub(crate) fn list(&self, moment: Moment, ask: &PageAsk<'_>) -> InstancePage {
        let has_tags = |instance: &Instance| {
            ask.tags.iter().all(|(key, value)| instance.tags.get(key) == Some(value))
        };
        let mut found = self
            .instances
            .range(ask.after.saturating_add(1)..)
            .filter_map(|(number, record)| Some((*number, record.at(moment.seen())?)))
            .filter(|(_, instance)| has_tags(instance));

        let page: Vec<_> = found.by_ref().take(ask.size).collect();
        let next = found.next().and_then(|_| page.last().map(|(number, _)| *number));
        InstancePage {
            instances: page.into_iter().map(|(_, instance)| Arc::clone(instance)).collect(),
            next,
        }
    }

    /// Makes instances: all, or none when one cannot be had.
    pub(crate) fn create(
        &mut self,
        moment: Moment,
        wanted: Vec<CreateInstance>,
    ) -> Result<Vec<Arc<Instance>>, Refusal> {
        if wanted.len() > BATCH_CREATE_LIMIT {
            let asked = wanted.len();
            return Err(Refusal::BatchTooLarge { asked, limit: BATCH_CREATE_LIMIT });
        }
        for (index, one) in wanted.iter().enumerate() {
            check_new(one).map_err(|(field, why)| {
                let field = if wanted.len() == 1 {
                    field.to_owned()
                } else {
                    format!("instances[{index}].{field}")
                };
                Refusal::Invalid { field, why }
            })?;
        }
        self.changes += u64::from(!wanted.is_empty());
        Ok(wanted.into_iter().map(|one| self.create_one(moment, one)).collect())
    }

    fn create_one(&mut self, moment: Moment, wanted: CreateInstance) -> Arc<Instance> {
        self.newest += 1;
        let number = self.newest;
        let region = wanted.region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let made = Instance {
            id: id_of(number),
            incarnation: FIRST_INCARNATION,
            name: wanted.name,
            instance_type: wanted.instance_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
            zone: wanted.zone.unwrap_or_else(|| format!("{region}a")),
            region,
            nics: wanted.nics.unwrap_or_else(|| vec![default_nic(number)]),
            tags: wanted.tags,
            labels: wanted.labels,
            state: RunState::Pending,
            system_uuid: wanted.system_uuid.map_or_else(
                || uuid(self.seed, number, FIRST_INCARNATION),
                |uuid| uuid.to_ascii_lowercase(),
            ),
            pod_cidrs: wanted.pod_cidrs,
            created_at: moment.now,
            terminated_at: None,
        };
        self.by_name.entry(made.name.clone()).or_default().push(number);
        let mut record = Row::new();
        boot(&mut record, moment, made);
        let shown = Arc::clone(record.current(moment.now));
        self.instances.insert(number, record);
        shown
    }

    /// Starts an instance; nothing happens to one that runs.
    pub(crate) fn start(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        self.act(moment, id, |_, record| match record.current(moment.now).state {
            RunState::Pending | RunState::Running => Ok(false),
            RunState::Stopped => {
                turn(record, moment, RunState::Pending, RunState::Running);
                Ok(true)
            }
            state @ (RunState::Stopping | RunState::Terminating | RunState::Terminated) => {
                Err(in_state(id, state, "started"))
            }
        })
    }

    /// Stops an instance; nothing happens to one that is stopped.
    pub(crate) fn stop(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        self.act(moment, id, |_, record| match record.current(moment.now).state {
            RunState::Stopping | RunState::Stopped => Ok(false),
            RunState::Pending | RunState::Running => {
                turn(record, moment, RunState::Stopping, RunState::Stopped);
                Ok(true)
            }
            state @ (RunState::Terminating | RunState::Terminated) => {
                Err(in_state(id, state, "stopped"))
            }
        })
    }

    /// Puts a new machine behind the same ID and name: all that was said of the old one stays, all
    /// that the old one was by itself goes.
    pub(crate) fn replace(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        let seed = self.seed;
        self.act(moment, id, |number, record| {
            let old = record.current(moment.now);
            match old.state {
                RunState::Pending | RunState::Running | RunState::Stopping | RunState::Stopped => {
                    let incarnation = old.incarnation.saturating_add(1);
                    let made = Instance {
                        incarnation,
                        state: RunState::Pending,
                        system_uuid: uuid(seed, number, incarnation),
                        created_at: moment.now,
                        ..Instance::clone(old)
                    };
                    boot(record, moment, made);
                    Ok(true)
                }
                state @ (RunState::Terminating | RunState::Terminated) => {
                    Err(in_state(id, state, "replaced"))
                }
            }
        })
    }

    /// Terminates an instance; nothing happens to one that is terminated.
    pub(crate) fn terminate(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        let vanishes = moment.after_transition().after(moment.pace.retention);
        let mut ends = None;
        let shown = self.act(moment, id, |number, record| match record.current(moment.now).state {
            RunState::Terminating | RunState::Terminated => Ok(false),
            RunState::Pending | RunState::Running | RunState::Stopping | RunState::Stopped => {
                turn(record, moment, RunState::Terminating, RunState::Terminated);
                record.vanishes_at = Some(vanishes);
                ends = Some((vanishes, number));
                Ok(true)
            }
        });
        self.vanishing.extend(ends);
        shown
    }

    /// Changes what is given of an instance.
    pub(crate) fn update(
        &mut self,
        moment: Moment,
        id: &InstanceId,
        update: &UpdateInstance,
    ) -> Result<Arc<Instance>, Refusal> {
        check_update(update)
            .map_err(|(field, why)| Refusal::Invalid { field: field.to_owned(), why })?;
        self.act(moment, id, |_, record| {
            let before = Arc::clone(record.current(moment.now));
            if matches!(before.state, RunState::Terminating | RunState::Terminated) {
                return Err(in_state(id, before.state, "changed"));
            }
            change(record, moment, update);
            Ok(**record.current(moment.now) != *before)
        })
    }

    /// Does something to the instance that is there now, whatever readers see. `act` says whether
    /// it changed it.
    fn act(
        &mut self,
        moment: Moment,
        id: &InstanceId,
        act: impl FnOnce(u64, &mut Row<Instance>) -> Result<bool, Refusal>,
    ) -> Result<Arc<Instance>, Refusal> {
        let number = number_of(id).ok_or_else(|| no_instance(id))?;
        let record = self.instances.get_mut(&number);
        let record = record
            .filter(|record| record.at(moment.now).is_some())
            .ok_or_else(|| no_instance(id))?;
        let has_changed = act(number, record)?;
        let shown = Arc::clone(record.current(moment.now));
        self.changes += u64::from(has_changed);
        Ok(shown)
    }

    fn seen(&self, number: u64, moment: Moment) -> Option<&Arc<Instance>> {
        self.instances.get(&number)?.at(moment.seen())
    }
}

fn no_instance(id: &InstanceId) -> Refusal {
    Refusal::not_found("instance", id.as_str())
}

fn in_state(id: &InstanceId, state: RunState, wanted: &str) -> Refusal {
    Refusal::Conflict(format!("instance {id} is {state} and cannot be {wanted}"))
}

pub(super) fn id_of(number: u64) -> InstanceId {
    InstanceId::new(ids::id_of(PREFIX, number))
}

/// The number behind an ID; none for what we never gave out.
pub(super) fn number_of(id: &InstanceId) -> Option<u64> {
    ids::number_of(PREFIX, id.as_str())
}

fn default_nic(number: u64) -> Nic {
    let [.., a, b, c] = number.to_be_bytes();
    Nic { private_ipv4s: vec![Ipv4Addr::new(10, a, b, c)], ..Nic::default() }
}

/// A UUID of version 4, always the same for the same seed and machine.
fn uuid(seed: u64, number: u64, incarnation: u64) -> String {
    let instance = number.wrapping_mul(0xa076_1d64_78bd_642f);
    let machine = incarnation.wrapping_mul(0xe703_7ed1_a0b4_28db);
    let mut rng = Rng::new(seed ^ instance ^ machine);
    let high = rng.any() & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = rng.any() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff,
    )
}

fn check_new(wanted: &CreateInstance) -> Check {
    let named =
        |field, value: Option<&String>| value.map_or(Ok(()), |value| check_name(field, value));
    check_name("name", &wanted.name)?;
    named("instance_type", wanted.instance_type.as_ref())?;
    named("region", wanted.region.as_ref())?;
    named("zone", wanted.zone.as_ref())?;
    check_tags("tags", &wanted.tags)?;
    check_tags("labels", &wanted.labels)?;
    wanted.system_uuid.as_deref().map_or(Ok(()), check_uuid)
}

fn check_update(update: &UpdateInstance) -> Check {
    let keyed = |field, value: Option<&BTreeMap<_, _>>| {
        value.map_or(Ok(()), |value| check_tags(field, value))
    };
    update.instance_type.as_ref().map_or(Ok(()), |value| check_name("instance_type", value))?;
    keyed("tags", update.tags.as_ref())?;
    keyed("labels", update.labels.as_ref())
}

#[cfg(test)]
mod tests;
