//! A cloud that is a value, in which everything happens at once, or one thing after the other.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

use ccm_core::cloud::{
    Detail, Identity, Incarnation, Instance, LoadBalancerSpec, Member, NodeIdentity, NodeName,
    ObjectId, Observation, PodCidrs, Protocol, ProviderId, RunState, ServicePort, Uid, World,
};
use proptest::sample::Index;
use simcloud::api::{
    Address, Etag, Firewall, IpFamily, Listener, LoadBalancer, Piece, PieceKind, PieceState, Rule,
    RuleId, RuleSpec, TargetGroup, Timestamp,
};

use super::super::super::annotations::ServiceAnnotations;
use super::super::super::change::{AddressWish, OwnChange, SimChange, Which};
use super::super::super::marks::Tags;
use super::super::super::observe::{Group, Own, Wall, is_address, key_of};

pub(crate) fn id(name: &str) -> ObjectId {
    let uid = Uid::from(format!("uid-of-{name}"));
    ObjectId { namespace: "default".into(), name: name.into(), uid }
}

pub(crate) fn identity(name: &str) -> Identity {
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Identity { id: id(name), annotations, finalizers, ingress: Vec::new() }
}

pub(crate) fn port(port: u16, node_port: u16) -> ServicePort {
    ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(port).unwrap(),
        node_port: NonZeroU16::new(node_port),
        app_protocol: None,
    }
}

/// A Service with these ports, each with a node port 30000 above it.
pub(crate) fn spec(name: &str, ports: &[u16]) -> LoadBalancerSpec {
    let mut spec = LoadBalancerSpec::new(identity(name));
    spec.ports = ports.iter().map(|it| port(*it, 30_000 + *it)).collect();
    spec
}

pub(crate) fn annotated(mut spec: LoadBalancerSpec, pairs: &[(&str, &str)]) -> LoadBalancerSpec {
    let pairs = pairs.iter().map(|(key, value)| (format!("sim.ccm.rs/{key}"), (*value).to_owned()));
    spec.annotations = (ServiceAnnotations::ANNOTATIONS.read)(&pairs.collect()).unwrap().value;
    spec
}

pub(crate) fn member(number: usize, instance: Observation) -> Member {
    let node = NodeIdentity {
        name: NodeName::from(format!("node-{number:04}")),
        uid: Uid::from(format!("node-uid-{number}")),
        created: SystemTime::UNIX_EPOCH,
        provider_id: Some(provider_id(number)),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    Member { node, instance: Arc::new(instance) }
}

pub(crate) fn provider_id(number: usize) -> ProviderId {
    ProviderId::try_from(format!("sim://i-{number:016}")).unwrap()
}

pub(crate) fn instance(number: usize) -> Instance {
    Instance {
        provider_id: provider_id(number),
        incarnation: Incarnation::from(format!("i-{number:016}/1")),
        state: RunState::Running,
        instance_type: None,
        zone: None,
        region: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    }
}

pub(crate) fn members(many: usize) -> Vec<Member> {
    (0..many).map(|number| member(number, Observation::Present(instance(number)))).collect()
}

pub(crate) fn wall(rules: Vec<RuleSpec>) -> Wall {
    let rule = |(number, spec)| Rule { id: RuleId::new(format!("r-{number}")), spec };
    let firewall = Firewall {
        id: "fw-1".into(),
        name: "load-balancers".to_owned(),
        tags: super::marks().cluster(),
        state: PieceState::Active,
        etag: Etag::new("1"),
        rule_count: rules.len() as u64,
        created_at: Timestamp::default(),
    };
    Wall { firewall, rules: rules.into_iter().enumerate().map(rule).collect() }
}

/// What a Service has in a cloud.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) own: Own,
    /// Whether pieces take time to come and go.
    pub(crate) is_slow: bool,
    newest: usize,
}

impl Cloud {
    /// Plans and carries the first stage out, until nothing is left.
    pub(crate) fn converge(&mut self, world: &World<LoadBalancerSpec>) {
        assert!(self.steps(world, 1_000) < 100, "as many stages as the engine has patience for");
    }

    /// At most so many stages. Says how many there were.
    pub(crate) fn steps(&mut self, world: &World<LoadBalancerSpec>, most: usize) -> usize {
        let mut sent = HashSet::new();
        for stages in 0..most {
            let plan = super::plan(world, &self.own);
            let Some(stage) = plan.stages.into_iter().find(|stage| !stage.is_empty()) else {
                if plan.later.is_empty() {
                    return stages;
                }
                assert!(self.tick(), "nothing goes on, and yet it waits: {:?}", plan.later);
                // A new pass.
                sent.clear();
                continue;
            };
            for step in stage {
                assert!(sent.insert(step.change.clone()), "{} was planned twice", step.change);
                match step.change {
                    SimChange::Own(_, change) => self.carry_out(change),
                    SimChange::Firewall(_) => panic!("{} is of another unit", step.change),
                }
            }
        }
        most
    }

    /// Time goes by: what was made is ready, or the next piece is gone. Says whether anything
    /// happened.
    fn tick(&mut self) -> bool {
        fn readies<P: Piece>(piece: &P, state: &mut bool) -> bool {
            *state |= piece.state() == PieceState::Provisioning;
            piece.state() == PieceState::Provisioning
        }
        let own = &mut self.own;
        let mut is_changed = false;
        for it in &mut own.addresses {
            if readies(it, &mut is_changed) {
                it.state = PieceState::Active;
            }
        }
        for it in &mut own.load_balancers {
            if readies(it, &mut is_changed) {
                it.state = PieceState::Active;
            }
        }
        if is_changed {
            return true;
        }
        let gone = |state: PieceState| state == PieceState::Deleting;
        if let Some(index) = own.listeners.iter().position(|it| gone(it.state)) {
            own.listeners.remove(index);
        } else if let Some(index) = own.load_balancers.iter().position(|it| gone(it.state)) {
            own.load_balancers.remove(index);
        } else if let Some(index) = own.groups.iter().position(|it| gone(it.group.state)) {
            own.groups.remove(index);
        } else if let Some(index) = own.addresses.iter().position(|it| gone(it.state)) {
            own.addresses.remove(index);
        } else {
            return false;
        }
        true
    }

    fn number(&mut self) -> usize {
        self.newest += 1;
        self.newest
    }

    fn carry_out(&mut self, change: OwnChange) {
        let number = self.number();
        let state = if self.is_slow { PieceState::Provisioning } else { PieceState::Active };
        let own = &mut self.own;
        let name = "default/web".to_owned();
        let created_at = Timestamp::default();
        match change {
            OwnChange::CreateAddress { wish, tags } => self.create_address(wish, tags, state),
            OwnChange::CreateLoadBalancer { load_balancer, addresses, tags } => {
                assert!(own.load_balancers.iter().all(|it| it.name != load_balancer.name));
                let ids = addresses.iter().map(|wish| own.address(wish).unwrap().id.clone());
                let addresses: Vec<_> = ids.collect();
                let is_free = |id| own.load_balancers.iter().all(|it| !it.addresses.contains(id));
                assert!(addresses.iter().all(is_free));
                own.load_balancers.push(LoadBalancer {
                    id: format!("lb-{}", own.load_balancers.len() + 1).into(),
                    name: load_balancer.name,
                    tags,
                    state,
                    failure: None,
                    internal: load_balancer.internal,
                    addresses,
                    created_at,
                });
            }
            OwnChange::SetAddresses { load_balancer, addresses } => {
                let ids = addresses.iter().map(|wish| own.address(wish).unwrap().id.clone());
                let ids = ids.collect();
                let id = own.balancer(&load_balancer).unwrap().id.clone();
                own.load_balancers.iter_mut().find(|it| it.id == id).unwrap().addresses = ids;
            }
            OwnChange::CreateGroup { key, health_check, tags } => {
                assert!(!own.groups.iter().any(|it| key_of(&it.group) == key), "a repetition");
                let group = TargetGroup {
                    id: format!("tg-{number}").into(),
                    name,
                    tags,
                    state: PieceState::Active,
                    protocol: key.protocol,
                    node_port: key.node_port,
                    health_check,
                    target_count: 0,
                    created_at,
                };
                own.groups.push(Group { group, targets: Arc::default() });
            }
            OwnChange::SetHealthCheck { key, health_check } => {
                let id = own.group(key).unwrap().group.id.clone();
                let one = own.groups.iter_mut().find(|it| it.group.id == id).unwrap();
                one.group.health_check = health_check;
            }
            OwnChange::ChangeTargets { key, add, remove } => {
                assert!(add.len() + remove.len() <= super::BATCH.get());
                let id = own.group(key).unwrap().group.id.clone();
                let one = own.groups.iter_mut().find(|it| it.group.id == id).unwrap();
                let mut targets: BTreeSet<_> = one.targets.iter().cloned().collect();
                targets.extend(add);
                targets.retain(|it| !remove.contains(it));
                one.targets = targets.into_iter().collect();
            }
            OwnChange::CreateListener { load_balancer, key, group, settings, tags } => {
                let of = own.balancer(&load_balancer).unwrap();
                assert!(own.listener(of, key).is_none());
                let listener = Listener {
                    id: format!("lsn-{number}").into(),
                    name,
                    tags,
                    state: PieceState::Active,
                    load_balancer: of.id.clone(),
                    protocol: key.protocol,
                    port: key.port,
                    target_group: own.group(group).unwrap().group.id.clone(),
                    settings,
                    created_at,
                };
                own.listeners.push(listener);
            }
            OwnChange::SetListener { load_balancer, key, group, settings } => {
                let of = own.balancer(&load_balancer).unwrap();
                let id = own.listener(of, key).unwrap().id.clone();
                let target_group = own.group(group).unwrap().group.id.clone();
                let one = own.listeners.iter_mut().find(|it| it.id == id).unwrap();
                (one.target_group, one.settings) = (target_group, settings);
            }
            OwnChange::Mark { which, tags } => self.mark(&which, &tags),
            OwnChange::Delete(which) | OwnChange::Replace(which) => self.delete(&which),
        }
    }

    fn create_address(&mut self, wish: AddressWish, tags: Tags, state: PieceState) {
        let number = self.newest;
        assert!(!self.own.addresses.iter().any(|it| is_address(it, &wish)), "a repetition");
        let any = match wish.family {
            IpFamily::Ipv4 => format!("203.0.113.{number}"),
            IpFamily::Ipv6 => format!("2001:db8::{number}"),
        };
        self.own.addresses.push(Address {
            id: format!("addr-{number}").into(),
            name: "default/web".to_owned(),
            tags,
            state,
            family: wish.family,
            address: wish.address.unwrap_or_else(|| any.parse().unwrap()),
            requested: wish.address.is_some(),
            load_balancer: None,
            created_at: Timestamp::default(),
        });
    }

    fn mark(&mut self, which: &Which, tags: &Tags) {
        let own = &mut self.own;
        let is_it = |id: &str| id == which.id;
        let all: Vec<&mut Tags> = match which.kind {
            PieceKind::Address => {
                let all = own.addresses.iter_mut().filter(|it| is_it(it.id.as_str()));
                all.map(|it| &mut it.tags).collect()
            }
            PieceKind::LoadBalancer => {
                let all = own.load_balancers.iter_mut().filter(|it| is_it(it.id.as_str()));
                all.map(|it| &mut it.tags).collect()
            }
            PieceKind::TargetGroup => {
                let all = own.groups.iter_mut().map(|it| &mut it.group);
                all.filter(|it| is_it(it.id.as_str())).map(|it| &mut it.tags).collect()
            }
            PieceKind::Listener => {
                let all = own.listeners.iter_mut().filter(|it| is_it(it.id.as_str()));
                all.map(|it| &mut it.tags).collect()
            }
            PieceKind::Firewall | PieceKind::Route | PieceKind::Volume => {
                panic!("no Service's own")
            }
        };
        assert_eq!(all.len(), 1, "{which}");
        for it in all {
            it.clone_from(tags);
        }
    }

    /// Refuses what the cloud refuses: to delete what is used.
    fn delete(&mut self, which: &Which) {
        let own = &mut self.own;
        let is_it = |id: &str| id == which.id;
        match which.kind {
            PieceKind::Address => {
                let mut users = own.load_balancers.iter().flat_map(|it| &it.addresses);
                assert!(!users.any(|it| is_it(it.as_str())), "{which} is used");
                for it in own.addresses.iter_mut().filter(|it| is_it(it.id.as_str())) {
                    it.state = PieceState::Deleting;
                }
            }
            PieceKind::LoadBalancer => {
                let mut users = own.listeners.iter().map(|it| &it.load_balancer);
                assert!(!users.any(|it| is_it(it.as_str())), "{which} is used");
                for it in own.load_balancers.iter_mut().filter(|it| is_it(it.id.as_str())) {
                    it.state = PieceState::Deleting;
                }
            }
            PieceKind::TargetGroup => {
                let mut users = own.listeners.iter().map(|it| &it.target_group);
                assert!(!users.any(|it| is_it(it.as_str())), "{which} is used");
                for it in own.groups.iter_mut().filter(|it| is_it(it.group.id.as_str())) {
                    it.group.state = PieceState::Deleting;
                }
            }
            PieceKind::Listener => {
                for it in own.listeners.iter_mut().filter(|it| is_it(it.id.as_str())) {
                    it.state = PieceState::Deleting;
                }
            }
            PieceKind::Firewall | PieceKind::Route | PieceKind::Volume => {
                panic!("no Service's own")
            }
        }
        if !self.is_slow {
            while self.tick() {}
        }
    }

    /// Something happens to the pieces.
    pub(crate) fn blow(&mut self, blow: u8, at: Index) {
        let number = self.number();
        let own = &mut self.own;
        match blow {
            0 if !own.listeners.is_empty() => {
                own.listeners.remove(at.index(own.listeners.len()));
            }
            1 if !own.load_balancers.is_empty() => {
                let gone = own.load_balancers.remove(at.index(own.load_balancers.len()));
                own.listeners.retain(|it| it.load_balancer != gone.id);
            }
            2 if !own.groups.is_empty() => {
                let gone = own.groups.remove(at.index(own.groups.len()));
                own.listeners.retain(|it| it.target_group != gone.group.id);
            }
            3 if !own.addresses.is_empty() => {
                let gone = own.addresses.remove(at.index(own.addresses.len()));
                own.load_balancers.iter_mut().for_each(|it| {
                    it.addresses.retain(|id| *id != gone.id);
                });
            }
            4 if !own.load_balancers.is_empty() => {
                let index = at.index(own.load_balancers.len());
                own.load_balancers[index].state = PieceState::Failed;
            }
            5 if !own.groups.is_empty() => {
                let mut twin = own.groups[at.index(own.groups.len())].clone();
                twin.group.id = format!("tg-{number}").into();
                own.groups.push(twin);
            }
            6 if !own.addresses.is_empty() => {
                let mut twin = own.addresses[at.index(own.addresses.len())].clone();
                twin.id = format!("addr-{number}").into();
                twin.address = format!("198.51.100.{number}").parse().unwrap();
                twin.family = IpFamily::Ipv4;
                own.addresses.push(twin);
            }
            _ => {}
        }
    }

    /// Whether there is one load balancer, and nothing that it does not use.
    pub(crate) fn is_tidy(&self) -> bool {
        self.own.load_balancers.len() == 1
            && self.own.addresses.iter().all(|it| self.own.uses_address(it))
            && self.own.groups.iter().all(|it| self.own.uses_group(&it.group))
    }
}
