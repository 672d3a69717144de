//! A cloud that is a value, and refuses what AWS refuses.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU16;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use ccm_core::cloud::{
    ClusterName, ConfigFile, Detail, Identity, Incarnation, Instance, LoadBalancerSpec, Member,
    NodeIdentity, NodeName, ObjectId, Observation, Plan, PodCidrs, Protocol as Transport,
    ProviderId, RunState, ServicePort, Uid, Want, World,
};

use super::super::super::super::annotations::{Kind, PREFIX, ServiceAnnotations};
use super::super::super::super::change::{AwsChange, OwnChange};
use super::super::super::super::groups::GroupChange;
use super::super::super::super::observe::Own;
use super::super::super::super::refusals::Refused;
use super::super::super::super::site::Surroundings;
use super::super::super::super::wish::Wish;
use super::super::super::super::{AwsLoadBalancers, plan};
use super::super::super::change::{NetworkChange, Piece, Shield};
use super::super::super::found::{Balancer, Ear, Found};
use super::super::super::sight::{Looker, Sight};
use crate::client::Client;
use crate::client::elbv2::{
    Address, Attributes, HealthCheck, HealthSettings, Listener, LoadBalancer, Protocol, State,
    TagsByArn, Target, TargetGroup,
};
use crate::client::groups::SecurityGroup;
use crate::client::network::{Network, Subnet};
use crate::config::Config;
use crate::ground::{Cluster, Ground, Home};
use crate::instances::InstanceDetail;
use crate::marks::Tags;

pub(crate) const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
pub(crate) const NAME: &str = "a0a1b2c3d11112222333344445555666";
pub(crate) const VPC: &str = "vpc-1";

pub(crate) fn id() -> ObjectId {
    ObjectId { namespace: "shop".into(), name: "web".into(), uid: Uid::from(UID) }
}

/// What lets security groups be managed.
pub(crate) const MANAGED: &str = "NLBSecurityGroupMode = Managed";

/// A provider with this in `[Global]`.
pub(crate) fn provider(config: &str) -> AwsLoadBalancers {
    provider_of("kubernetes", config)
}

/// The same with this `--cluster-name`.
pub(crate) fn provider_of(cluster_name: &str, config: &str) -> AwsLoadBalancers {
    let bytes = format!("[Global]\n{config}\n").into_bytes();
    let file = ConfigFile { path: "cloud.config".into(), bytes };
    let home = Home {
        region: "eu-west-1".into(),
        vpc: VPC.into(),
        subnet: None,
        own: None,
        cluster: Cluster { id: "demo".into(), legacy: false },
    };
    AwsLoadBalancers::new(Arc::new(Ground {
        client: Client::default(),
        config: Config::read(Some(&file)).unwrap(),
        cluster_name: ClusterName::from(cluster_name),
        cluster_cidrs: Vec::new(),
        user_agent: "test".into(),
        home: OnceLock::from(home),
    }))
}

pub(crate) fn port(port: u16, node_port: u16) -> ServicePort {
    ServicePort {
        name: format!("port-{port}"),
        protocol: Transport::Tcp,
        port: NonZeroU16::new(port).unwrap(),
        node_port: NonZeroU16::new(node_port),
        app_protocol: None,
    }
}

/// A Service with these ports, each with a node port 30000 above it, and these annotations.
pub(crate) fn spec(ports: &[u16], pairs: &[(&str, &str)]) -> LoadBalancerSpec {
    let key = |key: &str| format!("{PREFIX}{key}");
    let mut annotations: BTreeMap<_, _> =
        pairs.iter().map(|(it, value)| (key(it), (*value).to_owned())).collect();
    annotations.entry(key("type")).or_insert_with(|| "nlb".to_owned());
    let read = (ServiceAnnotations::BY_KIND.read)(&annotations).unwrap().value;
    let (finalizers, ingress) = (BTreeSet::new(), Vec::new());
    let identity = Identity { id: id(), annotations, finalizers, ingress };
    let mut spec = LoadBalancerSpec::new(identity);
    spec.annotations = read;
    spec.ports = ports.iter().map(|it| port(*it, 30_000 + *it)).collect();
    spec
}

pub(crate) fn present(spec: LoadBalancerSpec) -> Want<LoadBalancerSpec> {
    Want::Present(Arc::new(spec))
}

fn identity(pairs: &[(&str, &str)]) -> Arc<Identity> {
    let said = pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned()));
    let (annotations, finalizers) = (said.collect(), BTreeSet::new());
    Arc::new(Identity { id: id(), annotations, finalizers, ingress: Vec::new() })
}

pub(crate) fn absent() -> Want<LoadBalancerSpec> {
    absent_with(&[])
}

/// With the annotations that it had at last.
pub(crate) fn absent_with(pairs: &[(&str, &str)]) -> Want<LoadBalancerSpec> {
    Want::Absent(identity(pairs))
}

pub(crate) fn keep() -> Want<LoadBalancerSpec> {
    Want::Keep(identity(&[]))
}

pub(crate) fn instance(number: usize) -> String {
    format!("i-{number:017}")
}

fn member(number: usize) -> Member {
    let provider_id = ProviderId::try_from(format!("aws:///a/{}", instance(number))).unwrap();
    let node = NodeIdentity {
        name: NodeName::from(format!("node-{number:04}")),
        uid: Uid::from(format!("node-uid-{number}")),
        created: SystemTime::UNIX_EPOCH,
        provider_id: Some(provider_id.clone()),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    let detail =
        InstanceDetail { id: instance(number), has_cluster_tag: true, ..InstanceDetail::default() };
    let instance = Instance {
        provider_id,
        incarnation: Incarnation::from(instance(number)),
        state: RunState::Running,
        instance_type: None,
        zone: None,
        region: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::new(detail),
    };
    Member { node, instance: Arc::new(Observation::Present(instance)) }
}

pub(crate) fn world(want: Want<LoadBalancerSpec>, nodes: usize) -> World<LoadBalancerSpec> {
    World { wants: vec![want], nodes: (0..nodes).map(member).collect() }
}

/// What a cloud has. ARNs are made from names, so that equal clouds are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cloud {
    pub(crate) balancers: Vec<LoadBalancer>,
    /// Of the one load balancer.
    pub(crate) listeners: BTreeMap<u16, Listener>,
    /// By name; what they say of load balancers is made up when they are looked at.
    pub(crate) groups: BTreeMap<String, TargetGroup>,
    /// By ARN.
    pub(crate) targets: BTreeMap<String, BTreeSet<Target>>,
    pub(crate) attributes: BTreeMap<String, Attributes>,
    pub(crate) tags: TagsByArn,
    pub(crate) security: Vec<SecurityGroup>,
    /// Instances that were tried and are not taken.
    pub(crate) refused: Refused,
}

pub(crate) fn balancer_arn() -> String {
    format!("arn:balancer/{NAME}")
}

pub(crate) fn group_arn(name: &str) -> String {
    format!("arn:group/{name}")
}

pub(crate) fn listener_arn(port: u16) -> String {
    format!("arn:listener/{port}")
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn network() -> Network {
    let subnet = |(id, zone, cidr): (&str, &str, &str)| {
        let (id, zone, cidr) = (id.to_owned(), zone.to_owned(), Some(cidr.parse().unwrap()));
        (id.clone(), Subnet { id, zone, cidr, tags: Tags::new() })
    };
    let subnets =
        [("subnet-a", "eu-west-1a", "10.0.0.0/24"), ("subnet-b", "eu-west-1b", "10.0.1.0/24")];
    Network {
        subnets: subnets.into_iter().map(subnet).collect(),
        main: Some(true),
        ..Network::default()
    }
}

impl Cloud {
    /// As a look finds it.
    pub(crate) fn own(&self, at: &AwsLoadBalancers, want: &Want<LoadBalancerSpec>) -> Own {
        let home = at.ground.home().unwrap();
        let wish = match want {
            Want::Present(spec) => Wish::read(spec, &home.cluster).ok(),
            Want::Absent(_) | Want::Keep(_) => None,
        };
        let wish = wish.filter(|wish| wish.said.kind == Kind::Network);
        let yields = at.namesakes.see(want);
        let looker = Looker { id: want.id(), wish: wish.as_ref(), yields };
        let sight = Sight::new(home, &at.ground.config.health_probe, &looker);
        let mut found = Found::default();
        match sight.own(&self.balancers) {
            Ok(None) => {}
            Ok(Some(own)) => {
                let ear =
                    |(port, it): (&u16, &Listener)| (*port, Ear { it: it.clone(), tags: None });
                let attributes = self.attributes.get(&own.arn).cloned().unwrap_or_default();
                found.balancer = Some(Balancer {
                    it: own.clone(),
                    tags: Tags::new(),
                    attributes: if sight.wants_attributes { attributes } else { [].into() },
                    listeners: self.listeners.iter().map(ear).collect(),
                });
            }
            Err(why) => found.taken = Some(why),
        }
        let groups: Vec<_> = self.groups.values().map(|it| self.listed(it)).collect();
        let candidates = sight.candidates(&found, &self.balancers, &groups);
        let arns = sight.tagged(&found, &candidates);
        let tags = |arn: String| Some((arn.clone(), self.tags.get(&arn)?.clone()));
        sight.sort(&mut found, &candidates, arns.into_iter().filter_map(tags).collect());
        let used = sight.used(&found);
        for (name, arn) in used.groups {
            let group = found.groups.get_mut(&name).unwrap();
            group.targets = Some(self.targets.get(&arn).cloned().unwrap_or_default());
            group.refused.clone_from(&self.refused);
            if used.wants_attributes {
                group.attributes = self.attributes.get(&arn).cloned().unwrap_or_default();
            }
        }
        let surroundings = Surroundings {
            network: Arc::new(network()),
            groups: self.security.clone(),
            ..Surroundings::default()
        };
        let change = at.first_seen.change_of(want);
        Own { network: found, surroundings, change, ..Own::default() }
    }

    fn listed(&self, group: &TargetGroup) -> TargetGroup {
        let mut group = group.clone();
        let mut all = self.listeners.values().flat_map(|it| &it.target_groups);
        if all.any(|arn| *arn == group.arn) {
            group.load_balancers.insert(balancer_arn());
        }
        group
    }

    /// Plans.
    pub(crate) fn plan(
        &self,
        at: &AwsLoadBalancers,
        world: &World<LoadBalancerSpec>,
    ) -> Plan<AwsChange> {
        let want = &world.wants[0];
        let own = self.own(at, want);
        plan::plan(at, at.ground.home().unwrap(), want, world, &own)
    }

    /// Plans and carries the first stage out, until nothing is left.
    pub(crate) fn converge(&mut self, at: &AwsLoadBalancers, world: &World<LoadBalancerSpec>) {
        let changes = self.changes(at, world, usize::MAX);
        assert!(changes < 150, "{changes} changes");
    }

    /// The same up to so many changes. Says how many there were.
    pub(crate) fn changes(
        &mut self,
        at: &AwsLoadBalancers,
        world: &World<LoadBalancerSpec>,
        most: usize,
    ) -> usize {
        let mut sent = HashSet::new();
        let mut stages = 0;
        while sent.len() < most {
            let plan = self.plan(at, world);
            let Some(stage) = plan.stages.into_iter().find(|stage| !stage.is_empty()) else {
                assert!(plan.later.is_empty(), "nothing goes on: {:?}", plan.later);
                break;
            };
            stages += 1;
            assert!(stages < 60, "as many stages as the engine has patience for");
            for step in stage {
                if sent.len() == most {
                    break;
                }
                assert!(sent.insert(step.change.clone()), "{} was planned twice", step.change);
                self.carry_out(step.change);
            }
        }
        sent.len()
    }

    fn carry_out(&mut self, change: AwsChange) {
        let AwsChange::Own { change, .. } = change else { panic!("{change} is of another unit") };
        match change {
            OwnChange::Classic(change) => panic!("{change} is of another kind"),
            OwnChange::Group(change) => self.secure(change),
            OwnChange::Network(change) => self.change(change),
        }
    }

    fn secure(&mut self, change: GroupChange) {
        let at = |all: &Vec<SecurityGroup>, name: &str| {
            all.iter().position(|it| it.name == name).unwrap()
        };
        match change {
            GroupChange::Create { name, tags, .. } => {
                assert!(self.security.iter().all(|it| it.name != name));
                let id = format!("sg-of-{name}");
                let (tags, ingress) = (tags.into_iter().collect(), BTreeSet::new());
                self.security.push(SecurityGroup { id, name, tags, ingress });
            }
            GroupChange::Mark { name, tags } => {
                let at = at(&self.security, &name);
                self.security[at].tags.extend(tags);
            }
            GroupChange::Authorize { name, rules } => {
                let at = at(&self.security, &name);
                assert!(self.security[at].ingress.is_disjoint(&rules));
                self.security[at].ingress.extend(rules);
            }
            GroupChange::Revoke { name, rules } => {
                let at = at(&self.security, &name);
                self.security[at].ingress.retain(|it| !rules.contains(it));
            }
            GroupChange::Delete { name } => {
                let gone = self.security.remove(at(&self.security, &name));
                let mut used = self.balancers.iter().flat_map(|it| &it.security_groups);
                assert!(!used.any(|id| *id == gone.id), "{name} is used");
            }
        }
    }

    fn ids(&self, shield: &Shield) -> BTreeSet<String> {
        match shield {
            Shield::None => BTreeSet::new(),
            Shield::These(ids) => ids.clone(),
            Shield::Own(name) => {
                let group = self.security.iter().find(|it| it.name == *name).unwrap();
                BTreeSet::from([group.id.clone()])
            }
        }
    }

    fn group(&mut self, name: &str) -> &mut TargetGroup {
        self.groups.get_mut(name).unwrap()
    }

    #[allow(clippy::too_many_lines, reason = "one arm a change")]
    fn change(&mut self, change: NetworkChange) {
        match change {
            NetworkChange::Create { name, is_internal, subnets, security_groups, tags } => {
                assert!(self.balancers.is_empty());
                let place = |(subnet, address): (String, Option<Address>)| {
                    (subnet, address.into_iter().collect())
                };
                self.balancers.push(LoadBalancer {
                    arn: balancer_arn(),
                    dns_name: Some(format!("{name}.example")),
                    name,
                    kind: "network".into(),
                    state: State::Usable,
                    is_internal,
                    security_groups: self.ids(&security_groups),
                    subnets: subnets.into_iter().map(place).collect(),
                });
                self.tags.insert(balancer_arn(), tags);
                self.attributes.insert(balancer_arn(), new_balancer_attributes());
            }
            NetworkChange::Protect { security_groups, .. } => {
                let ids = self.ids(&security_groups);
                let had = std::mem::replace(&mut self.balancers[0].security_groups, ids);
                assert!(!had.is_empty(), "AWS adds none later");
            }
            NetworkChange::SetAttributes { attributes, .. } => {
                self.attributes.get_mut(&balancer_arn()).unwrap().extend(attributes);
            }
            NetworkChange::Tag { piece, tags } => {
                let arn = match piece {
                    Piece::Balancer(_) => balancer_arn(),
                    Piece::Group(name) => self.group(&name).arn.clone(),
                    Piece::Listener(_, port) => self.listeners[&port].arn.clone(),
                };
                self.tags.entry(arn).or_default().extend(tags);
            }
            NetworkChange::CreateGroup { name, protocol, node_port, health, tags } => {
                let arn = group_arn(&name);
                let mut group = group(&name, protocol, node_port);
                set(&mut group.health, &health);
                assert!(self.groups.insert(name, group).is_none());
                self.tags.insert(arn.clone(), tags);
                self.attributes.insert(arn, new_group_attributes());
            }
            NetworkChange::SetHealth { group, health } => {
                assert_ne!(health, HealthSettings::default());
                set(&mut self.group(&group).health, &health);
            }
            NetworkChange::SetGroupAttributes { group, attributes } => {
                self.attributes.get_mut(&group_arn(&group)).unwrap().extend(attributes);
            }
            NetworkChange::Register { group, targets } => {
                assert!(targets.len() <= 100 && !targets.is_empty());
                let arn = self.group(&group).arn.clone();
                self.targets.entry(arn).or_default().extend(targets);
            }
            NetworkChange::Deregister { group, targets } => {
                assert!(targets.len() <= 100 && !targets.is_empty());
                let arn = self.group(&group).arn.clone();
                self.targets.get_mut(&arn).unwrap().retain(|it| !targets.contains(it));
            }
            NetworkChange::CreateListener { port, settings, group, tags, .. } => {
                assert_eq!(self.balancers.len(), 1);
                let target_groups = vec![self.fitting(&settings.protocol, &group)];
                let listener = Listener { arn: listener_arn(port), port, settings, target_groups };
                assert!(self.listeners.insert(port, listener).is_none());
                self.tags.insert(listener_arn(port), tags);
            }
            NetworkChange::SetListener { port, settings, group, .. } => {
                let target_groups = vec![self.fitting(&settings.protocol, &group)];
                let listener = self.listeners.get_mut(&port).unwrap();
                let policy = settings.policy.clone().or(listener.settings.policy.take());
                listener.settings = settings;
                let is_tls = listener.settings.protocol == Protocol::Tls;
                listener.settings.policy = policy.filter(|_| is_tls);
                listener.target_groups = target_groups;
            }
            NetworkChange::DeleteListener { port, .. } => self.lose_listener(port),
            NetworkChange::DeleteGroup { name } => self.lose_group(&name),
            NetworkChange::Delete { .. } => self.lose_balancer(),
        }
    }

    pub(crate) fn lose_group(&mut self, name: &str) {
        let gone = self.groups.remove(name).unwrap();
        let mut heard = self.listeners.values().flat_map(|it| &it.target_groups);
        assert!(!heard.any(|arn| *arn == gone.arn), "{name} is used");
        self.targets.remove(&gone.arn);
        self.tags.remove(&gone.arn);
        self.attributes.remove(&gone.arn);
    }

    pub(crate) fn lose_listener(&mut self, port: u16) {
        self.listeners.remove(&port).unwrap();
        self.tags.remove(&listener_arn(port));
    }

    pub(crate) fn lose_balancer(&mut self) {
        let gone = self.balancers.remove(0);
        self.tags.remove(&gone.arn);
        self.attributes.remove(&gone.arn);
        for port in std::mem::take(&mut self.listeners).into_keys() {
            self.tags.remove(&listener_arn(port));
        }
    }

    /// AWS refuses a listener whose group speaks otherwise.
    fn fitting(&mut self, protocol: &Protocol, group: &str) -> String {
        let group = self.group(group);
        let is_udp = |it: &Protocol| *it == Protocol::Udp;
        assert_eq!(is_udp(protocol), is_udp(&group.protocol));
        group.arn.clone()
    }
}

pub(crate) fn new_balancer_attributes() -> Attributes {
    pairs(&[
        ("access_logs.s3.enabled", "false"),
        ("access_logs.s3.bucket", ""),
        ("access_logs.s3.prefix", ""),
        ("deletion_protection.enabled", "false"),
        ("load_balancing.cross_zone.enabled", "false"),
    ])
}

pub(crate) fn new_group_attributes() -> Attributes {
    pairs(&[
        ("deregistration_delay.timeout_seconds", "300"),
        ("preserve_client_ip.enabled", "true"),
        ("proxy_protocol_v2.enabled", "false"),
    ])
}

/// A target group with the health check of `externalTrafficPolicy: Cluster`.
pub(crate) fn group(name: &str, protocol: Protocol, node_port: u16) -> TargetGroup {
    TargetGroup {
        arn: group_arn(name),
        name: name.to_owned(),
        protocol,
        port: node_port,
        target_type: "instance".into(),
        vpc: VPC.into(),
        load_balancers: BTreeSet::new(),
        health: HealthCheck {
            protocol: Protocol::Tcp,
            port: "traffic-port".into(),
            path: None,
            interval: 30,
            timeout: 10,
            healthy: 3,
            unhealthy: 3,
        },
    }
}

fn set(health: &mut HealthCheck, change: &HealthSettings) {
    if let Some(protocol) = &change.protocol {
        health.protocol = protocol.clone();
    }
    if let Some(port) = &change.port {
        health.port.clone_from(port);
    }
    match (&health.protocol, &change.path) {
        (Protocol::Tcp, path) => {
            assert_eq!(*path, None, "AWS knows no path there");
            health.path = None;
        }
        (_, Some(path)) => health.path = Some(path.clone()),
        (_, None) => _ = health.path.get_or_insert_with(|| "/".to_owned()),
    }
    health.interval = change.interval.unwrap_or(health.interval);
    health.timeout = change.timeout.unwrap_or(health.timeout);
    health.healthy = change.healthy.unwrap_or(health.healthy);
    health.unhealthy = change.unhealthy.unwrap_or(health.unhealthy);
    assert!(health.timeout <= health.interval, "AWS refuses {health:?}");
}
