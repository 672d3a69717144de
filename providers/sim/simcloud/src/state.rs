//! What the cloud has, and how it changes: a state machine that is told the time.
//!
//! One map per kind of resource; so far there are instances. An instance is a row of versions,
//! each with the time from which it holds. Writers see the version of now. Readers see the one of
//! a while ago, which is all there is to eventual consistency, and a boot that takes time is a
//! version from a later time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::api::{
    BATCH_CREATE_LIMIT, CreateInstance, DescribeInstances, FIRST_INCARNATION, Instance, InstanceId,
    Nic, RunState, Timestamp, UpdateInstance,
};
use crate::rng::Rng;

/// Versions kept of one instance. More come only from a caller that writes in a loop.
const MAX_VERSIONS: usize = 32;

/// The longest name: that of a DNS subdomain, which a node's name must be.
const MAX_NAME: usize = 253;

const DEFAULT_TYPE: &str = "sim.small";
const DEFAULT_REGION: &str = "sim-1";

/// Why the cloud does not do what it was asked.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("no instance {0}")]
    NotFound(InstanceId),
    #[error("instance {id} is {state} and cannot be {wanted}")]
    Conflict { id: InstanceId, state: RunState, wanted: &'static str },
    #[error("{field}: {why}")]
    Invalid { field: String, why: String },
    #[error("{asked} in one call; at most {limit} are allowed")]
    BatchTooLarge { asked: usize, limit: usize },
}

/// How time passes in the cloud, in milliseconds; from the settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// For how long reads do not show a change.
    pub(crate) consistency: u64,
    /// How long a transition takes.
    pub(crate) transition: u64,
    /// How long a terminated instance stays visible.
    pub(crate) retention: u64,
}

/// The moment of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) pace: Pace,
}

impl Moment {
    /// The time that readers see.
    fn seen(self) -> Timestamp {
        self.now.before(self.pace.consistency)
    }

    fn after_transition(self) -> Timestamp {
        self.now.after(self.pace.transition)
    }
}

/// A page of the list.
#[derive(Debug)]
pub(crate) struct Page {
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

/// Everything that the cloud has.
#[derive(Debug)]
pub(crate) struct Cloud {
    seed: u64,
    /// Number of the newest instance. Numbers are never given again.
    newest: u64,
    instances: BTreeMap<u64, Record>,
    by_name: HashMap<String, Vec<u64>>,
    /// Instances that will vanish, and when.
    vanishing: BTreeSet<(Timestamp, u64)>,
}

/// Everything that outlives the process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    newest: u64,
    instances: BTreeMap<u64, Record>,
}

/// An instance over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Oldest first, never empty.
    versions: Vec<Version>,
    /// When it is no longer seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vanishes_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    from: Timestamp,
    instance: Arc<Instance>,
}

impl Cloud {
    /// An empty cloud.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            newest: 0,
            instances: BTreeMap::new(),
            by_name: HashMap::new(),
            vanishing: BTreeSet::new(),
        }
    }

    /// The cloud as it was. A snapshot that contradicts itself is refused with the reason.
    pub(crate) fn restore(seed: u64, snapshot: Snapshot) -> Result<Self, String> {
        let mut cloud = Self { newest: snapshot.newest, ..Self::new(seed) };
        for (number, record) in snapshot.instances {
            let Some(first) = record.versions.first() else {
                return Err(format!("instance {number} has no versions"));
            };
            if number == 0 || number > cloud.newest {
                return Err(format!("instance {number} is newer than the newest"));
            }
            if record.versions.iter().any(|version| version.instance.id != id_of(number)) {
                return Err(format!("instance {number} has another's ID"));
            }
            cloud.by_name.entry(first.instance.name.clone()).or_default().push(number);
            cloud.vanishing.extend(record.vanishes_at.map(|at| (at, number)));
            cloud.instances.insert(number, record);
        }
        Ok(cloud)
    }

    /// What must be kept to have the cloud again.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { newest: self.newest, instances: self.instances.clone() }
    }

    /// Number of instances, those that nobody sees yet or any more included.
    pub(crate) fn len(&self) -> usize {
        self.instances.len()
    }

    /// Forgets what vanished so long ago that no reader sees it any more.
    pub(crate) fn sweep(&mut self, moment: Moment) {
        while let Some(&(at, number)) = self.vanishing.first()
            && at <= moment.seen()
        {
            self.vanishing.pop_first();
            let Some(record) = self.instances.remove(&number) else { continue };
            let name = &record.versions[0].instance.name;
            if let Some(numbers) = self.by_name.get_mut(name) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_name.remove(&record.versions[0].instance.name);
                }
            }
        }
    }

    /// Whether the ID's instance has this name, whatever readers see of it.
    pub(crate) fn is_named(&self, id: &InstanceId, name: &str) -> bool {
        number_of(id)
            .and_then(|number| self.instances.get(&number))
            .is_some_and(|record| record.versions[0].instance.name == name)
    }

    /// One instance.
    pub(crate) fn get(&self, moment: Moment, id: &InstanceId) -> Result<Arc<Instance>, Refusal> {
        number_of(id)
            .and_then(|number| self.seen(number, moment))
            .cloned()
            .ok_or_else(|| Refusal::NotFound(id.clone()))
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
    pub(crate) fn list(&self, moment: Moment, ask: &PageAsk<'_>) -> Page {
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
        Page {
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
        let mut record = Record { versions: Vec::new(), vanishes_at: None };
        record.boot(moment, made);
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
        let (_, record) = self.existing(moment, id)?;
        let instance = record.current(moment.now);
        match instance.state {
            RunState::Pending | RunState::Running => {}
            RunState::Stopped => {
                record.turn(moment, RunState::Pending, RunState::Running);
            }
            state @ (RunState::Stopping | RunState::Terminating | RunState::Terminated) => {
                return Err(Refusal::Conflict { id: id.clone(), state, wanted: "started" });
            }
        }
        Ok(Arc::clone(record.current(moment.now)))
    }

    /// Stops an instance; nothing happens to one that is stopped.
    pub(crate) fn stop(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        let (_, record) = self.existing(moment, id)?;
        match record.current(moment.now).state {
            RunState::Stopping | RunState::Stopped => {}
            RunState::Pending | RunState::Running => {
                record.turn(moment, RunState::Stopping, RunState::Stopped);
            }
            state @ (RunState::Terminating | RunState::Terminated) => {
                return Err(Refusal::Conflict { id: id.clone(), state, wanted: "stopped" });
            }
        }
        Ok(Arc::clone(record.current(moment.now)))
    }

    /// Puts a new machine behind the same ID and name: all that was said of the old one stays, all
    /// that the old one was by itself goes.
    pub(crate) fn replace(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        let seed = self.seed;
        let (number, record) = self.existing(moment, id)?;
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
                record.boot(moment, made);
            }
            state @ (RunState::Terminating | RunState::Terminated) => {
                return Err(Refusal::Conflict { id: id.clone(), state, wanted: "replaced" });
            }
        }
        Ok(Arc::clone(record.current(moment.now)))
    }

    /// Terminates an instance; nothing happens to one that is terminated.
    pub(crate) fn terminate(
        &mut self,
        moment: Moment,
        id: &InstanceId,
    ) -> Result<Arc<Instance>, Refusal> {
        let (number, record) = self.existing(moment, id)?;
        match record.current(moment.now).state {
            RunState::Terminating | RunState::Terminated => {}
            RunState::Pending | RunState::Running | RunState::Stopping | RunState::Stopped => {
                record.turn(moment, RunState::Terminating, RunState::Terminated);
                let vanishes = moment.after_transition().after(moment.pace.retention);
                record.vanishes_at = Some(vanishes);
                let shown = Arc::clone(record.current(moment.now));
                self.vanishing.insert((vanishes, number));
                return Ok(shown);
            }
        }
        Ok(Arc::clone(record.current(moment.now)))
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
        let (_, record) = self.existing(moment, id)?;
        let state = record.current(moment.now).state;
        if matches!(state, RunState::Terminating | RunState::Terminated) {
            return Err(Refusal::Conflict { id: id.clone(), state, wanted: "changed" });
        }
        record.change(moment, update);
        Ok(Arc::clone(record.current(moment.now)))
    }

    fn seen(&self, number: u64, moment: Moment) -> Option<&Arc<Instance>> {
        self.instances.get(&number)?.at(moment.seen())
    }

    /// The instance that is there now, whatever readers see.
    fn existing(&mut self, moment: Moment, id: &InstanceId) -> Result<(u64, &mut Record), Refusal> {
        let number = number_of(id);
        number
            .and_then(|number| Some((number, self.instances.get_mut(&number)?)))
            .filter(|(_, record)| record.at(moment.now).is_some())
            .ok_or_else(|| Refusal::NotFound(id.clone()))
    }
}

impl Record {
    /// The instance at a time; none before it was made and after it vanished.
    fn at(&self, time: Timestamp) -> Option<&Arc<Instance>> {
        if self.vanishes_at.is_some_and(|at| time >= at) {
            return None;
        }
        let version = self.versions.iter().rev().find(|version| version.from <= time)?;
        Some(&version.instance)
    }

    /// The instance at a time, be it vanished.
    fn current(&self, now: Timestamp) -> &Arc<Instance> {
        let version = self.versions.iter().rev().find(|version| version.from <= now);
        // Before the first version only if a state file comes from a clock that is ahead of ours.
        &version.unwrap_or(&self.versions[0]).instance
    }

    /// A machine that is made now, and runs when it has booted.
    fn boot(&mut self, moment: Moment, pending: Instance) {
        let running = Instance { state: RunState::Running, ..pending.clone() };
        self.write(moment, vec![(moment.now, pending), (moment.after_transition(), running)]);
    }

    /// Passes through one state to another. What was to come before is off.
    fn turn(&mut self, moment: Moment, through: RunState, to: RunState) {
        let from = self.current(moment.now);
        let passing = Instance { state: through, ..Instance::clone(from) };
        let mut arrived = Instance { state: to, ..passing.clone() };
        if to == RunState::Terminated {
            arrived.terminated_at = Some(moment.after_transition());
            arrived.nics = Vec::new();
        }
        self.write(moment, vec![(moment.now, passing), (moment.after_transition(), arrived)]);
    }

    /// Changes the instance as it is, and what it is about to become.
    fn change(&mut self, moment: Moment, update: &UpdateInstance) {
        let now = Instance::clone(self.current(moment.now));
        let later = self.versions.iter().filter(|version| version.from > moment.now);
        let later = later.map(|version| (version.from, Instance::clone(&version.instance)));
        let mut changed: Vec<_> = std::iter::once((moment.now, now)).chain(later).collect();
        for (_, instance) in &mut changed {
            apply(instance, update);
        }
        self.write(moment, changed);
    }

    /// Replaces everything from now on, and drops what no reader looks back to.
    fn write(&mut self, moment: Moment, future: Vec<(Timestamp, Instance)>) {
        self.versions.retain(|version| version.from <= moment.now);
        for (from, instance) in future {
            // Without a transition, what is passed through is never seen.
            if self.versions.last().is_some_and(|last| last.from >= from) {
                self.versions.pop();
            }
            self.versions.push(Version { from, instance: Arc::new(instance) });
        }
        let unread = |versions: &[Version]| {
            versions.len() > MAX_VERSIONS
                || versions.get(1).is_some_and(|second| second.from <= moment.seen())
        };
        while unread(&self.versions) {
            // The next one takes over its time: an instance must never look as if it had not
            // been there, even to readers that begin to look further back.
            let dropped = self.versions.remove(0);
            self.versions[0].from = dropped.from;
        }
    }
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

fn id_of(number: u64) -> InstanceId {
    InstanceId::new(format!("i-{number:016x}"))
}

/// The number behind an ID; none for what we never gave out.
fn number_of(id: &InstanceId) -> Option<u64> {
    let digits = id.as_str().strip_prefix("i-")?;
    let is_ours = digits.len() == 16
        && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(digits, 16).ok())?
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

type Check = Result<(), (&'static str, String)>;

fn check_new(wanted: &CreateInstance) -> Check {
    let named =
        |field, value: Option<&String>| value.map_or(Ok(()), |value| check_name(field, value));
    check_name("name", &wanted.name)?;
    named("instance_type", wanted.instance_type.as_ref())?;
    named("region", wanted.region.as_ref())?;
    named("zone", wanted.zone.as_ref())?;
    check_keys("tags", &wanted.tags)?;
    check_keys("labels", &wanted.labels)?;
    wanted.system_uuid.as_deref().map_or(Ok(()), check_uuid)
}

fn check_update(update: &UpdateInstance) -> Check {
    let keyed = |field, value: Option<&BTreeMap<_, _>>| {
        value.map_or(Ok(()), |value| check_keys(field, value))
    };
    update.instance_type.as_ref().map_or(Ok(()), |value| check_name("instance_type", value))?;
    keyed("tags", update.tags.as_ref())?;
    keyed("labels", update.labels.as_ref())
}

fn check_name(field: &'static str, value: &str) -> Check {
    let is_good = !value.is_empty()
        && value.len() <= MAX_NAME
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good {
        return Ok(());
    }
    Err((field, format!("must be 1 to {MAX_NAME} visible ASCII characters, not {value:?}")))
}

/// Keys may hold no `=`: the list's filter is written `key=value`.
fn check_keys(field: &'static str, map: &BTreeMap<String, String>) -> Check {
    match map.keys().find(|key| key.is_empty() || key.contains('=')) {
        Some(key) => Err((field, format!("keys must not be empty or hold an =, as {key:?} does"))),
        None => Ok(()),
    }
}

fn check_uuid(uuid: &str) -> Check {
    let lengths = uuid.split('-').map(str::len);
    let is_good = lengths.eq([8, 4, 4, 4, 12])
        && uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if is_good { Ok(()) } else { Err(("system_uuid", format!("must be a UUID, not {uuid:?}"))) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    /// So many milliseconds after the start, in a cloud that keeps terminated ones for a second.
    fn at(millis: u64) -> Moment {
        let pace = Pace { consistency: 0, transition: 0, retention: 1_000 };
        Moment { now: START.after(millis), pace }
    }

    fn slow(millis: u64) -> Moment {
        Moment { pace: Pace { transition: 100, ..at(0).pace }, ..at(millis) }
    }

    fn stale(millis: u64) -> Moment {
        Moment { pace: Pace { consistency: 50, ..at(0).pace }, ..at(millis) }
    }

    fn make(cloud: &mut Cloud, moment: Moment, name: &str) -> InstanceId {
        cloud.create(moment, vec![CreateInstance::named(name)]).unwrap()[0].id.clone()
    }

    fn state(cloud: &Cloud, moment: Moment, id: &InstanceId) -> Option<RunState> {
        cloud.get(moment, id).ok().map(|instance| instance.state)
    }

    fn names(cloud: &Cloud, ask: &DescribeInstances) -> Vec<String> {
        let found = cloud.describe(at(0), ask);
        found.iter().map(|instance| instance.name.clone()).collect()
    }

    #[test]
    fn a_new_instance_has_all_that_was_not_said() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, at(0), "node-1");
        let made = cloud.get(at(0), &id).unwrap();

        assert_eq!(made.id.as_str(), "i-0000000000000001");
        assert_eq!(
            (&*made.instance_type, &*made.region, &*made.zone),
            ("sim.small", "sim-1", "sim-1a")
        );
        assert_eq!(made.nics[0].private_ipv4s, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(made.created_at, START);
        check_uuid(&made.system_uuid).unwrap();
        assert_eq!(made.system_uuid, uuid(1, 1, 1));
        assert_ne!(made.system_uuid, uuid(1, 2, 1));
        assert_eq!(made.incarnation, 1);
    }

    #[test]
    fn an_instance_made_under_the_name_of_another_has_another_id() {
        let mut cloud = Cloud::new(1);
        let first = make(&mut cloud, at(0), "node-1");
        cloud.terminate(at(0), &first).unwrap();
        let second = make(&mut cloud, at(0), "node-1");

        assert_ne!(first, second);
        let ask = DescribeInstances { names: vec!["node-1".into()], ..Default::default() };
        let states: Vec<_> = cloud.describe(at(0), &ask).iter().map(|one| one.state).collect();
        assert_eq!(states, [RunState::Terminated, RunState::Running]);
    }

    #[test]
    fn describe_answers_what_it_knows_once_and_in_order() {
        let mut cloud = Cloud::new(1);
        let ids = ["a", "b", "c"].map(|name| make(&mut cloud, at(0), name));
        let ask = DescribeInstances {
            ids: vec![ids[2].clone(), "i-ffffffffffffffff".into(), "x".into(), ids[2].clone()],
            names: vec!["a".into(), "nobody".into(), "c".into()],
        };
        assert_eq!(names(&cloud, &ask), ["c", "a"]);
    }

    #[rstest]
    #[case::not_ours("vm-1")]
    #[case::too_short("i-01")]
    #[case::upper_case("i-000000000000000A")]
    #[case::signed("i-+00000000000001a")]
    #[case::empty("")]
    fn odd_ids_are_nobodys(#[case] id: &str) {
        assert_eq!(number_of(&id.into()), None);
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let mut cloud = Cloud::new(1);
        for number in 0..25 {
            let mut one = CreateInstance::named(format!("node-{number}"));
            let pool = if number % 2 == 0 { "even" } else { "odd" };
            one.tags.insert("pool".into(), pool.into());
            cloud.create(at(0), vec![one]).unwrap();
        }
        let walk = |tags: &BTreeMap<String, String>, size| {
            let mut seen = Vec::new();
            let mut pages = 0;
            let mut after = 0;
            loop {
                let page = cloud.list(at(0), &PageAsk { after, size, tags });
                pages += 1;
                seen.extend(page.instances.iter().map(|one| one.name.clone()));
                match page.next {
                    Some(next) => after = next,
                    None => return (seen, pages),
                }
            }
        };
        let (all, pages) = walk(&BTreeMap::new(), 10);
        assert_eq!((all.len(), pages), (25, 3));
        assert_eq!(all[24], "node-24");
        let (odd, pages) = walk(&BTreeMap::from([("pool".into(), "odd".into())]), 12);
        assert_eq!((odd.len(), pages), (12, 1), "a full last page says that it is the last");
    }

    #[test]
    fn transitions_take_their_time() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, slow(0), "node-1");
        assert_eq!(state(&cloud, slow(0), &id), Some(RunState::Pending));
        assert_eq!(state(&cloud, slow(99), &id), Some(RunState::Pending));
        assert_eq!(state(&cloud, slow(100), &id), Some(RunState::Running));

        cloud.stop(slow(200), &id).unwrap();
        assert_eq!(state(&cloud, slow(200), &id), Some(RunState::Stopping));
        let refused = cloud.start(slow(250), &id).unwrap_err();
        assert!(matches!(refused, Refusal::Conflict { .. }), "{refused}");
        assert_eq!(state(&cloud, slow(300), &id), Some(RunState::Stopped));

        cloud.start(slow(300), &id).unwrap();
        assert_eq!(state(&cloud, slow(400), &id), Some(RunState::Running));
    }

    #[test]
    fn a_replaced_machine_is_another_behind_the_same_record() {
        let mut cloud = Cloud::new(1);
        let wanted = CreateInstance {
            instance_type: Some("sim.big".into()),
            zone: Some("sim-1c".into()),
            tags: BTreeMap::from([("pool".into(), "blue".into())]),
            labels: BTreeMap::from([("example.com/rack".into(), "r7".into())]),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            system_uuid: Some("11111111-2222-4333-8444-555555555555".into()),
            ..CreateInstance::named("node-1")
        };
        let first = cloud.create(at(0), vec![wanted]).unwrap().remove(0);
        let second = cloud.replace(at(10), &first.id).unwrap();
        let third = cloud.replace(at(10), &first.id).unwrap();

        let kept = |machine: &Instance| Instance {
            incarnation: first.incarnation,
            system_uuid: first.system_uuid.clone(),
            created_at: first.created_at,
            ..machine.clone()
        };
        assert_eq!((&kept(&second), &kept(&third)), (&*first, &*first));
        assert_eq!([&first, &second, &third].map(|one| one.incarnation), [1, 2, 3]);
        assert_eq!([&second, &third].map(|one| one.created_at), [at(10).now; 2]);
        let uuids: BTreeSet<_> =
            [&first, &second, &third].iter().map(|one| one.system_uuid.clone()).collect();
        assert_eq!(uuids.len(), 3, "{uuids:?}");
        check_uuid(&second.system_uuid).unwrap();
        assert_eq!(cloud.get(at(10), &first.id).unwrap(), third);
        assert_eq!(cloud.len(), 1);
    }

    type Act = fn(&mut Cloud, Moment, &InstanceId) -> Result<Arc<Instance>, Refusal>;

    /// An instance after that was done to it at its making, so long ago.
    fn after(act: Act, millis: u64, want: RunState) -> (Cloud, InstanceId) {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, slow(0), "node-1");
        act(&mut cloud, slow(0), &id).unwrap();
        assert_eq!(state(&cloud, slow(millis), &id), Some(want));
        (cloud, id)
    }

    #[rstest]
    #[case::pending(Cloud::start, 50, RunState::Pending)]
    #[case::running(Cloud::start, 100, RunState::Running)]
    #[case::stopping(Cloud::stop, 50, RunState::Stopping)]
    #[case::stopped(Cloud::stop, 100, RunState::Stopped)]
    #[case::replaced(Cloud::replace, 50, RunState::Pending)]
    fn what_lives_is_replaced_and_boots(
        #[case] act: Act,
        #[case] when: u64,
        #[case] was: RunState,
    ) {
        let (mut cloud, id) = after(act, when, was);
        assert_eq!(cloud.replace(slow(when), &id).unwrap().state, RunState::Pending);
        assert_eq!(state(&cloud, slow(when + 99), &id), Some(RunState::Pending));
        assert_eq!(state(&cloud, slow(when + 100), &id), Some(RunState::Running));
        assert_eq!(state(&cloud, slow(10_000), &id), Some(RunState::Running));
    }

    #[rstest]
    #[case::terminating(50, RunState::Terminating)]
    #[case::terminated(100, RunState::Terminated)]
    fn what_goes_is_not_replaced(#[case] when: u64, #[case] was: RunState) {
        let (mut cloud, id) = after(Cloud::terminate, when, was);
        let refused = cloud.replace(slow(when), &id).unwrap_err();
        assert_eq!(refused, Refusal::Conflict { id, state: was, wanted: "replaced" });
    }

    #[test]
    fn an_unknown_instance_is_not_replaced() {
        let nobody = InstanceId::from("i-0000000000000001");
        let refused = Cloud::new(1).replace(at(0), &nobody).unwrap_err();
        assert_eq!(refused, Refusal::NotFound(nobody));
    }

    #[test]
    fn an_instance_terminated_while_it_boots_never_runs() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, slow(0), "node-1");
        cloud.terminate(slow(50), &id).unwrap();
        assert_eq!(state(&cloud, slow(120), &id), Some(RunState::Terminating));
        assert_eq!(state(&cloud, slow(150), &id), Some(RunState::Terminated));
    }

    #[test]
    fn what_is_changed_while_it_boots_stays_changed() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, slow(0), "node-1");
        let update = UpdateInstance { instance_type: Some("sim.big".into()), ..Default::default() };
        cloud.update(slow(10), &id, &update).unwrap();
        for moment in [slow(10), slow(100)] {
            assert_eq!(cloud.get(moment, &id).unwrap().instance_type, "sim.big");
        }
        assert_eq!(state(&cloud, slow(100), &id), Some(RunState::Running));
    }

    #[test]
    fn terminated_instances_stay_and_then_vanish() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, at(0), "node-1");
        let gone = cloud.terminate(at(10), &id).unwrap();
        assert_eq!((gone.state, gone.terminated_at), (RunState::Terminated, Some(at(10).now)));
        assert_eq!(gone.nics, []);

        cloud.terminate(at(500), &id).unwrap();
        assert_eq!(state(&cloud, at(1_009), &id), Some(RunState::Terminated));
        assert_eq!(state(&cloud, at(1_010), &id), None);
        assert_eq!(cloud.terminate(at(1_010), &id), Err(Refusal::NotFound(id)));
        cloud.sweep(at(1_009));
        assert_eq!(cloud.len(), 1);
        cloud.sweep(at(1_010));
        assert_eq!((cloud.len(), cloud.by_name.len()), (0, 0));
        assert_eq!(make(&mut cloud, at(1_010), "node-1").as_str(), "i-0000000000000002");
    }

    #[test]
    fn without_retention_they_vanish_at_once() {
        let moment = |millis| Moment { pace: Pace::default(), ..at(millis) };
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, moment(0), "node-1");
        assert_eq!(cloud.terminate(moment(1), &id).unwrap().state, RunState::Terminated);
        assert_eq!(state(&cloud, moment(1), &id), None);
    }

    #[test]
    fn readers_see_changes_later_and_writers_at_once() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, stale(0), "node-1");
        assert_eq!(state(&cloud, stale(49), &id), None);
        assert_eq!(state(&cloud, stale(50), &id), Some(RunState::Running));

        cloud.replace(stale(55), &id).unwrap();
        let seen = |millis| cloud.get(stale(millis), &id).unwrap().incarnation;
        assert_eq!((seen(104), seen(105)), (1, 2));

        cloud.stop(stale(60), &id).unwrap();
        cloud.terminate(stale(60), &id).unwrap();
        assert_eq!(state(&cloud, stale(109), &id), Some(RunState::Running));
        assert_eq!(state(&cloud, stale(110), &id), Some(RunState::Terminated));
        let refused = cloud.start(stale(61), &id).unwrap_err();
        assert!(matches!(refused, Refusal::Conflict { .. }), "{refused}");
    }

    #[test]
    fn readers_that_look_back_further_than_before_still_see_it() {
        let mut cloud = Cloud::new(1);
        let id = make(&mut cloud, at(0), "node-1");
        cloud.stop(at(100_000), &id).unwrap();
        assert_eq!(state(&cloud, stale(100_010), &id), Some(RunState::Stopped));
    }

    #[test]
    fn a_caller_that_writes_in_a_loop_fills_no_memory() {
        let mut cloud = Cloud::new(1);
        let moment = Moment { pace: Pace { consistency: 600_000, ..at(0).pace }, ..at(0) };
        let id = make(&mut cloud, moment, "node-1");
        for millis in 0..1_000 {
            let moment = Moment { now: START.after(millis), ..moment };
            cloud.update(moment, &id, &UpdateInstance::default()).unwrap();
        }
        assert!(cloud.instances[&1].versions.len() <= MAX_VERSIONS);
    }

    #[test]
    fn a_restored_cloud_is_the_same() {
        let mut cloud = Cloud::new(1);
        let ids = ["a", "b", "b"].map(|name| make(&mut cloud, slow(0), name));
        cloud.terminate(slow(100), &ids[0]).unwrap();
        cloud.replace(slow(100), &ids[1]).unwrap();

        let restored = Cloud::restore(1, cloud.snapshot()).unwrap();

        for moment in [slow(0), slow(100), slow(200), slow(1_200)] {
            for id in &ids {
                assert_eq!(cloud.get(moment, id), restored.get(moment, id));
            }
        }
        let ask = DescribeInstances { names: vec!["b".into()], ..Default::default() };
        assert_eq!(names(&restored, &ask), ["b", "b"]);
        assert_eq!(cloud.vanishing, restored.vanishing);
    }

    #[test]
    fn a_snapshot_that_contradicts_itself_is_refused() {
        let mut cloud = Cloud::new(1);
        make(&mut cloud, at(0), "node-1");
        let older = Snapshot { newest: 0, ..cloud.snapshot() };
        Cloud::restore(1, older).unwrap_err();
        let mut hollow = cloud.snapshot();
        hollow.instances.get_mut(&1).unwrap().versions.clear();
        Cloud::restore(1, hollow).unwrap_err();
    }

    #[rstest]
    #[case::no_name(CreateInstance::named(""), "name")]
    #[case::a_long_name(CreateInstance::named("x".repeat(254)), "name")]
    #[case::a_blank_name(CreateInstance::named("a b"), "name")]
    #[case::an_empty_zone(
        CreateInstance { zone: Some(String::new()), ..CreateInstance::named("a") }, "zone",
    )]
    #[case::an_odd_uuid(
        CreateInstance { system_uuid: Some("12".into()), ..CreateInstance::named("a") },
        "system_uuid",
    )]
    #[case::an_odd_tag(
        CreateInstance {
            tags: BTreeMap::from([("a=b".into(), "c".into())]), ..CreateInstance::named("a")
        },
        "tags",
    )]
    fn what_cannot_be_made_is_named(#[case] wanted: CreateInstance, #[case] want: &str) {
        let mut cloud = Cloud::new(1);
        let field_of = |refusal| match refusal {
            Refusal::Invalid { field, .. } => field,
            other => panic!("{other}"),
        };
        let alone = cloud.create(at(0), vec![wanted.clone()]).unwrap_err();
        assert_eq!(field_of(alone), want);
        let second = cloud.create(at(0), vec![CreateInstance::named("b"), wanted]).unwrap_err();
        assert_eq!(field_of(second), format!("instances[1].{want}"));
        assert_eq!(cloud.len(), 0);
    }
}
