//! One Service's own pieces: addresses, load balancer, target groups with targets, listeners.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use ccm_core::cloud::{
    CloudError, Holds, Ingress, IngressAddress, IngressPoint, Kind, LoadBalancerSpec, Note,
    ObjectId, Plan, Report, Step, Verdict, Want, World,
};
use simcloud::api::{HealthCheck, InstanceId, LoadBalancer, PieceState};

use super::super::annotations::ServiceAnnotations;
use super::super::change::{AddressWish, GroupKey, Named, OwnChange, SimChange, Which};
use super::super::marks::{Mark, Marks, Tags};
use super::super::members::{Members, Roll};
use super::super::observe::{Own, is_address, is_usable, key_of, port_of};
use super::super::wish::Wish;
use super::down::Down;
use super::{later, push_stages};

/// Plans what this Service's own pieces need.
pub(crate) fn plan(
    marks: &Marks,
    batch: NonZeroUsize,
    roll: &Roll,
    id: &ObjectId,
    world: &World<LoadBalancerSpec>,
    own: &Own,
) -> Plan<SimChange> {
    let Some(want) = world.wants.iter().find(|want| want.id() == id) else {
        return Plan::default();
    };
    match want {
        Want::Present(spec) => match read(spec, marks, own) {
            Ok(wish) => {
                let members = roll.of(&world.nodes, wish.zones);
                present(marks, batch, &wish, &members, own)
            }
            Err(refused) => keep(batch, roll, want, world, own, Verdict::Refused(refused)),
        },
        Want::Absent(_) => absent(marks, id, own),
        Want::Keep(_) => keep(batch, roll, want, world, own, Verdict::Done),
    }
}

/// What is asked for, unless it cannot be had.
fn read<'a>(spec: &'a LoadBalancerSpec, marks: &Marks, own: &Own) -> Result<Wish<'a>, CloudError> {
    let wish = Wish::read(spec, marks)?;
    if let Some(other) = &own.name_taken {
        let message = format!(
            "load balancer {} has the name {} and bears somebody else's mark: delete it, or take its \
             tags \"cluster\" and \"owner\" away to hand it over",
            other.id, other.name
        );
        return Err(CloudError::new(Kind::InvalidConfiguration, message));
    }
    Ok(wish)
}

fn holds(own: &Own) -> Holds {
    if own.is_empty() { Holds::Nothing } else { Holds::Something }
}

/// It keeps what it has; but nodes come and go, and a mistake that lasts must not cost it the last of
/// its targets.
fn keep(
    batch: NonZeroUsize,
    roll: &Roll,
    want: &Want<LoadBalancerSpec>,
    world: &World<LoadBalancerSpec>,
    own: &Own,
    verdict: Verdict,
) -> Plan<SimChange> {
    let identity = want.identity();
    let id = &identity.id;
    let reports = vec![Report::new(id, holds(own), verdict)];
    let Ok(zones) = ServiceAnnotations::target_zones(&identity.annotations) else {
        // Nobody knows which nodes are meant.
        return Plan { reports, ..Plan::default() };
    };
    let members = roll.of(&world.nodes, zones.as_deref());
    let keys: BTreeSet<_> = own.groups.iter().map(|it| key_of(&it.group)).collect();
    let groups = keys.into_iter().filter_map(|key| own.group(key).map(|group| (key, group)));
    let changes = groups.flat_map(|(key, group)| {
        let (add, remove) = members.difference(&group.targets);
        batches(key, &add, &remove, batch)
    });
    let mut stages = Vec::new();
    push_stages(&mut stages, changes.collect());
    Plan { stages: self::stages(id, stages.into_iter()), reports, ..Plan::default() }
}

/// A plan in the making.
///
/// A step is in it only if all that it needs is there or made by a step before it; what has to be
/// waited for keeps the rest waiting that needs it, and nothing else.
struct Draft<'a> {
    own: &'a Own,
    /// Whether all addresses can be had by now.
    has_addresses: bool,
    /// Whether a load balancer can be had by now.
    has_load_balancer: bool,
    /// The target groups that can be had by now.
    has_groups: BTreeSet<GroupKey>,
    /// What the Service needs, in order.
    building: Vec<Vec<OwnChange>>,
    /// What the Service waits for.
    waits: Vec<String>,
    /// What is left of an earlier form of it, in order.
    clearing: Vec<Vec<OwnChange>>,
    /// What goes on in the clearing.
    leaving: Vec<String>,
}

impl<'a> Draft<'a> {
    fn new(own: &'a Own) -> Self {
        Self {
            own,
            has_addresses: true,
            has_load_balancer: false,
            has_groups: BTreeSet::new(),
            building: Vec::new(),
            waits: Vec::new(),
            clearing: Vec::new(),
            leaving: Vec::new(),
        }
    }

    fn build(&mut self, steps: Vec<OwnChange>) {
        push_stages(&mut self.building, steps);
    }

    /// Whether there is room for a piece that is to be made. While an earlier one like it is on its
    /// way out there is none: the cloud would take the creation for a repetition of the earlier
    /// one, and give the dying piece. (Of what is not usable here, only load balancers fail.)
    fn is_room<'p, P: Named + 'p>(&mut self, in_the_way: impl Iterator<Item = &'p P>) -> bool {
        let before = self.waits.len();
        self.waits.extend(in_the_way.map(|piece| format!("{} to be gone", Which::of(piece))));
        self.waits.len() == before
    }

    fn await_ready(&mut self, piece: &impl Named) {
        if piece.state() == PieceState::Provisioning {
            self.waits.push(format!("{} to be ready", Which::of(piece)));
        }
    }

    /// Takes over what bears nobody's mark, and keeps the tags right: those that are wished for
    /// are there, others are let be.
    fn mark(&mut self, piece: &impl Named, tags: &Tags) {
        if tags.iter().all(|(key, value)| piece.tags().get(key) == Some(value)) {
            return;
        }
        let mut all = piece.tags().clone();
        all.extend(tags.clone());
        self.building.push(vec![OwnChange::Mark { which: Which::of(piece), tags: all }]);
    }

    fn addresses(&mut self, wish: &Wish<'_>) {
        for one in &wish.addresses {
            let own = self.own;
            if let Some(address) = own.address(one) {
                self.mark(address, &wish.tags);
                self.await_ready(address);
            } else if self.is_room(own.addresses.iter().filter(|it| is_address(it, one))) {
                let tags = wish.tags.clone();
                self.build(vec![OwnChange::CreateAddress { wish: *one, tags }]);
            } else {
                self.has_addresses = false;
            }
        }
    }

    /// Gives the load balancer that is used.
    fn load_balancer(&mut self, wish: &Wish<'_>) -> Option<&'a LoadBalancer> {
        let own = self.own;
        let (load_balancer, addresses) = (wish.load_balancer.clone(), wish.addresses.clone());
        let Some(found) = own.balancer(&wish.load_balancer) else {
            // The name is free, and the addresses are, once all of before are gone.
            let are_going: Vec<_> =
                own.load_balancers.iter().map(|one| self.replace_load_balancer(one)).collect();
            self.has_load_balancer = self.has_addresses && are_going.into_iter().all(|it| it);
            if self.has_load_balancer {
                let tags = wish.tags.clone();
                let change = OwnChange::CreateLoadBalancer { load_balancer, addresses, tags };
                self.build(vec![change]);
            }
            return None;
        };
        self.has_load_balancer = true;
        self.mark(found, &wish.tags);
        self.await_ready(found);
        let ids = addresses.iter().map(|one| own.address(one).map(|address| &address.id));
        let ids: Option<BTreeSet<_>> = ids.collect();
        if self.has_addresses && ids != Some(found.addresses.iter().collect()) {
            self.build(vec![OwnChange::SetAddresses { load_balancer, addresses }]);
        }
        Some(found)
    }

    /// Says whether it goes by these steps, and nothing has to be waited for.
    fn replace_load_balancer(&mut self, one: &LoadBalancer) -> bool {
        let own = self.own;
        if one.state == PieceState::Deleting {
            self.waits.push(format!("{} to be gone", Which::of(one)));
            return false;
        }
        let mut listeners = Vec::new();
        let mut is_held = false;
        for listener in own.listeners.iter().filter(|it| it.load_balancer == one.id) {
            let which = Which::of(listener);
            if listener.state == PieceState::Deleting {
                is_held = true;
                self.waits.push(format!("{which} to be gone"));
            } else {
                listeners.push(OwnChange::Replace(which));
            }
        }
        self.build(listeners);
        if !is_held {
            self.build(vec![OwnChange::Replace(Which::of(one))]);
        }
        !is_held
    }

    fn groups(&mut self, wish: &Wish<'_>, members: &Members, batch: NonZeroUsize) {
        let own = self.own;
        // Ports may share a node port; the health check of the first holds.
        let mut keys: BTreeMap<GroupKey, &HealthCheck> = BTreeMap::new();
        for port in &wish.ports {
            keys.entry(port.group).or_insert(&port.health_check);
        }
        let (mut makes, mut checks, mut targets) = (Vec::new(), Vec::new(), Vec::new());
        for (key, health_check) in keys {
            let found = own.group(key);
            if let Some(found) = found {
                self.mark(&found.group, &wish.tags);
                self.await_ready(&found.group);
                if found.group.health_check != *health_check {
                    let health_check = health_check.clone();
                    checks.push(OwnChange::SetHealthCheck { key, health_check });
                }
            } else {
                let same = own.groups.iter().map(|it| &it.group);
                if !self.is_room(same.filter(|it| key_of(it) == key)) {
                    continue;
                }
                let (health_check, tags) = (health_check.clone(), wish.tags.clone());
                makes.push(OwnChange::CreateGroup { key, health_check, tags });
            }
            self.has_groups.insert(key);
            let have = found.map_or(&[][..], |found| &*found.targets);
            let (add, remove) = members.difference(have);
            targets.extend(batches(key, &add, &remove, batch));
        }
        self.build(makes);
        self.build(checks);
        // Before listeners point to them, so that no client meets an empty group.
        self.build(targets);
    }

    fn listeners(&mut self, wish: &Wish<'_>, of: Option<&LoadBalancer>) {
        let own = self.own;
        let (mut makes, mut sets) = (Vec::new(), Vec::new());
        let ports = wish.ports.iter().filter(|port| self.has_groups.contains(&port.group));
        let ports: Vec<_> = ports.filter(|_| self.has_load_balancer).collect();
        for port in ports {
            let (key, group, settings) = (port.key, port.group, port.settings.clone());
            let load_balancer = wish.load_balancer.clone();
            match of.and_then(|of| own.listener(of, key)) {
                Some(found) if is_usable(found) => {
                    self.mark(found, &wish.tags);
                    self.await_ready(found);
                    let target_group = own.group(group).map(|group| &group.group.id);
                    if target_group != Some(&found.target_group) || settings != found.settings {
                        let set = OwnChange::SetListener { load_balancer, key, group, settings };
                        sets.push(set);
                    }
                }
                in_the_way => {
                    if self.is_room(in_the_way.into_iter()) {
                        let tags = wish.tags.clone();
                        makes.push(OwnChange::CreateListener {
                            load_balancer,
                            key,
                            group,
                            settings,
                            tags,
                        });
                    }
                }
            }
        }
        self.build(makes);
        self.build(sets);
    }

    /// What is ours and not used by the wish any more. What has no mark is let be, but for listeners
    /// of our load balancer, which are a part of it.
    fn clear(&mut self, wish: &Wish<'_>, marks: &Marks, used: &LoadBalancer) {
        let own = self.own;
        let is_ours = |tags: &Tags| marks.read(tags, &wish.id.uid) == Mark::Ours;
        let wanted: BTreeSet<_> = wish.ports.iter().map(|port| port.key).collect();
        let groups: BTreeSet<_> = wish
            .ports
            .iter()
            .filter_map(|port| own.group(port.group))
            .map(|group| &group.group.id)
            .collect();
        let addresses: BTreeSet<_> = wish
            .addresses
            .iter()
            .filter_map(|one| own.address(one))
            .map(|address| &address.id)
            .collect();
        let mut down = Down::all(own);
        down.listeners.retain(|it| it.load_balancer != used.id || !wanted.contains(&port_of(it)));
        down.load_balancers.retain(|it| it.id != used.id);
        down.groups.retain(|it| !groups.contains(&it.id) && is_ours(&it.tags));
        down.addresses.retain(|it| !addresses.contains(&it.id) && is_ours(&it.tags));
        (self.clearing, self.leaving) = down.stages(own);
    }
}

fn batches(
    key: GroupKey,
    add: &[InstanceId],
    remove: &[InstanceId],
    most: NonZeroUsize,
) -> Vec<OwnChange> {
    let adds = add.chunks(most.get()).map(|add| (add.to_vec(), Vec::new()));
    let mut all: Vec<(Vec<_>, Vec<_>)> = adds.collect();
    let mut remove = remove;
    // The last of those that add has room for some that go.
    if let Some((add, gone)) = all.last_mut() {
        let (first, rest) = remove.split_at(remove.len().min(most.get() - add.len()));
        gone.extend_from_slice(first);
        remove = rest;
    }
    all.extend(remove.chunks(most.get()).map(|remove| (Vec::new(), remove.to_vec())));
    all.into_iter().map(|(add, remove)| OwnChange::ChangeTargets { key, add, remove }).collect()
}

fn present(
    marks: &Marks,
    batch: NonZeroUsize,
    wish: &Wish<'_>,
    members: &Members,
    own: &Own,
) -> Plan<SimChange> {
    let mut draft = Draft::new(own);
    draft.addresses(wish);
    let used = draft.load_balancer(wish);
    draft.groups(wish, members, batch);
    draft.listeners(wish, used);
    if let Some(used) = used {
        draft.clear(wish, marks, used);
    }

    let mut missing = draft.building.iter().flatten().filter(|change| !is_more_of_it(change, own));
    let verdict = match (missing.next(), &draft.waits[..]) {
        (Some(first), _) => {
            Verdict::Progressing(SimChange::Own(wish.id.clone(), first.clone()).to_string())
        }
        (None, [wait, ..]) => Verdict::Progressing(format!("waits for {wait}")),
        (None, []) => Verdict::Done,
    };
    let mut report = Report::new(wish.id, holds(own), verdict);
    if let Some(used) = used.filter(|used| used.state == PieceState::Active) {
        report.ingress = ingress(wish, own, used);
        let id = Some(used.id.to_string());
        report.annotations.insert(ServiceAnnotations::LOAD_BALANCER_ID.to_owned(), id);
    }
    report.notes = failures(own);
    let waits = draft.waits.into_iter().chain(draft.leaving);
    Plan {
        stages: stages(wish.id, draft.building.into_iter().chain(draft.clearing)),
        later: waits.map(later).collect(),
        reports: vec![report],
    }
}

/// Whether it changes the targets of a group that has some. Nodes come and go, and a Service does
/// not stop being served for it.
fn is_more_of_it(change: &OwnChange, own: &Own) -> bool {
    let OwnChange::ChangeTargets { key, .. } = change else { return false };
    own.group(*key).is_some_and(|group| !group.targets.is_empty())
}

fn stages(
    id: &ObjectId,
    stages: impl Iterator<Item = Vec<OwnChange>>,
) -> Vec<Vec<Step<SimChange>>> {
    stages.map(|stage| stage.into_iter().map(|change| step(id, change)).collect()).collect()
}

fn step(id: &ObjectId, change: OwnChange) -> Step<SimChange> {
    let adds = matches!(&change, OwnChange::ChangeTargets { add, .. } if !add.is_empty());
    let step = Step::new(SimChange::Own(id.clone(), change)).wanted_by(id);
    if adds {
        // What is gone in the cloud before we hear of it must not keep the others waiting.
        step.tolerating(Kind::NotFound, "instances of some nodes are gone and take no traffic")
    } else {
        step
    }
}

/// The addresses that the load balancer has now, in the order of the wish.
fn ingress(wish: &Wish<'_>, own: &Own, used: &LoadBalancer) -> Ingress {
    let has = |one: &&AddressWish| {
        let address = own
            .addresses
            .iter()
            .find(|it| it.family == one.family && used.addresses.contains(&it.id));
        address.map(|it| it.address)
    };
    let point = |address| IngressPoint {
        address: IngressAddress::Ip(address),
        mode: Some(wish.mode),
        ports: Vec::new(),
    };
    let points: Vec<_> = wish.addresses.iter().filter_map(|it| has(&it)).map(point).collect();
    if points.is_empty() { Ingress::Leave } else { Ingress::Set(points) }
}

fn failures(own: &Own) -> Vec<Note> {
    let failed = own.load_balancers.iter().filter(|it| it.state == PieceState::Failed);
    let note = |it: &LoadBalancer| {
        let why = it.failure.as_deref().unwrap_or("the cloud does not say why");
        let message = format!("load balancer {} has failed and is made anew: {why}", it.id);
        Note { reason: "LoadBalancerFailed", message }
    };
    failed.map(note).collect()
}

/// Everything goes, listeners first. What is ours by being used by our load balancer is marked before:
/// once that is gone, nothing else would tell.
fn absent(marks: &Marks, id: &ObjectId, own: &Own) -> Plan<SimChange> {
    let mut draft = Draft::new(own);
    let tags = marks.of(&id.uid);
    own.addresses.iter().for_each(|one| draft.mark(one, &tags));
    own.groups.iter().for_each(|one| draft.mark(&one.group, &tags));
    let (going, waits) = Down::all(own).stages(own);
    let verdict = match (own.is_empty(), &waits[..]) {
        (true, _) => Verdict::Done,
        (false, [wait, ..]) => Verdict::Progressing(format!("waits for {wait}")),
        (false, []) => Verdict::Progressing("its load balancer is taken down".to_owned()),
    };
    let mut report = Report::new(id, holds(own), verdict);
    report.annotations.insert(ServiceAnnotations::LOAD_BALANCER_ID.to_owned(), None);
    Plan {
        stages: stages(id, draft.building.into_iter().chain(going)),
        later: waits.into_iter().map(later).collect(),
        reports: vec![report],
    }
}
