//! A cloud that is a value: what AWS does with what it is sent, as far as Classic Load Balancers
//! and their groups go.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use ccm_core::cloud::{ClusterName, Kind, LoadBalancerSpec, Plan, Want, World};

use super::super::change::{Blueprint, ClassicChange, What};
use super::super::foresee;
use super::super::observe::{Balancer, Found};
use super::super::wish::group_ids;
use crate::client::Client;
use crate::client::elb::{Attributes, Front, HealthCheck, Listener, LoadBalancer};
use crate::client::groups::SecurityGroup;
use crate::client::network::{Network, Subnet};
use crate::config::Config;
use crate::ground::Ground;
use crate::load_balancers::AwsLoadBalancers;
use crate::load_balancers::change::{AwsChange, OwnChange};
use crate::load_balancers::groups::GroupChange;
use crate::load_balancers::observe::Own;
use crate::load_balancers::plan::plan;
use crate::load_balancers::refusals::Refused;
use crate::load_balancers::samples::{cluster, home, member};
use crate::load_balancers::site::Surroundings;

/// A Service with one name is enough.
pub(crate) const NAME: &str = "auidweb";

/// What AWS makes of a listener that speaks TLS.
const TLS_DEFAULT: &str = "ELBSecurityPolicy-2016-08";

/// What one Service has, and the network around it.
#[derive(Debug)]
pub(crate) struct Cloud {
    at: AwsLoadBalancers,
    pub(crate) own: Own,
    newest: usize,
}

/// Two public and two private subnets in zones a and b, another public one in b, and a group that
/// users name.
impl Default for Cloud {
    fn default() -> Self {
        Self::with(Config::read(None).unwrap())
    }
}

pub(crate) fn world(want: Want<LoadBalancerSpec>, nodes: usize) -> World<LoadBalancerSpec> {
    let nodes = (0..nodes).map(|number| member(number, &["sg-nodes"]));
    World { wants: vec![want], nodes: nodes.collect() }
}

impl Cloud {
    pub(crate) fn with(config: Config) -> Self {
        let ground = Ground {
            client: Client::default(),
            config,
            cluster_name: ClusterName::from("blue"),
            cluster_cidrs: Vec::new(),
            user_agent: "test".to_owned(),
            home: OnceLock::new(),
        };
        let subnet = |id: &str| {
            let zone = id.rsplit('-').next().unwrap_or_default()[..1].to_owned();
            Subnet { id: id.to_owned(), zone, cidr: None, tags: BTreeMap::new() }
        };
        let ids = ["subnet-a", "subnet-b", "subnet-b2", "subnet-p-a", "subnet-p-b"];
        let subnets = ids.into_iter().map(subnet).collect();
        let network = Network::of(subnets, &["subnet-a", "subnet-b", "subnet-b2"]);
        let nodes = group("sg-nodes", "nodes");
        let surroundings =
            Surroundings { network: Arc::new(network), zones: Arc::default(), groups: vec![nodes] };
        let own = Own { surroundings, ..Own::default() };
        Self { at: AwsLoadBalancers::new(Arc::new(ground)), own, newest: 0 }
    }

    /// Another program, which has seen nothing yet.
    pub(crate) fn restart(&mut self) {
        self.at = AwsLoadBalancers::new(Arc::clone(&self.at.ground));
    }

    pub(crate) fn balancer(&self) -> &Balancer {
        self.own.classic.balancer.as_deref().unwrap()
    }

    pub(crate) fn balancer_mut(&mut self) -> &mut Balancer {
        self.own.classic.balancer.as_deref_mut().unwrap()
    }

    pub(crate) fn plan(&self, world: &World<LoadBalancerSpec>) -> Plan<AwsChange> {
        self.plan_from(world, &self.own)
    }

    fn plan_from(&self, world: &World<LoadBalancerSpec>, own: &Own) -> Plan<AwsChange> {
        let want = &world.wants[0];
        let change = self.at.first_seen.change_of(want);
        plan(&self.at, &home(), want, world, &Own { change, ..own.clone() })
    }

    /// Plans and carries the first stage out, until nothing is left, as the engine does. Gives the
    /// lines of what was done.
    pub(crate) fn converge(&mut self, world: &World<LoadBalancerSpec>) -> Vec<String> {
        self.steps(world, usize::MAX)
    }

    /// At most so many stages.
    pub(crate) fn steps(&mut self, world: &World<LoadBalancerSpec>, most: usize) -> Vec<String> {
        let (mut sent, mut lines) = (HashSet::new(), Vec::new());
        for count in 0..most {
            assert!(count < 40, "does not converge: {lines:#?}");
            let plan = self.plan(world);
            let Some(stage) = plan.stages.into_iter().find(|stage| !stage.is_empty()) else {
                assert!(plan.later.is_empty(), "{:?}", plan.later);
                break;
            };
            let alone = stage.len() == 1;
            for step in stage {
                assert!(sent.insert(step.change.clone()), "planned twice: {}", step.change);
                lines.push(step.change.to_string());
                let AwsChange::Own { change, .. } = step.change else { panic!("{lines:?}") };
                let foreseen = match &change {
                    OwnChange::Classic(change) if alone => {
                        foresee::after(change, &self.own.classic, &self.own.surroundings.groups)
                    }
                    _ => None,
                };
                match self.carry_out(change) {
                    Ok(()) => {}
                    Err(kind) => assert_eq!(step.tolerate.map(|it| it.kind), Some(kind)),
                }
                if let Some(classic) = foreseen {
                    self.check_foresight(world, classic);
                }
            }
        }
        lines
    }

    /// What is foreseen leads to the same plan as what a look shows.
    fn check_foresight(&self, world: &World<LoadBalancerSpec>, classic: Found) {
        let foreseen = Own { classic, ..self.own.clone() };
        let lines = |own| {
            let plan = self.plan_from(world, own);
            let steps = plan.stages.into_iter().flatten();
            steps.map(|step| step.change.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(lines(&foreseen), lines(&self.own));
    }

    fn carry_out(&mut self, change: OwnChange) -> Result<(), Kind> {
        match change {
            OwnChange::Group(change) => self.change_group(change),
            OwnChange::Classic(ClassicChange { name, what: What::Create(blueprint) }) => {
                assert_eq!(name, NAME);
                assert!(self.own.classic.balancer.is_none(), "DuplicateLoadBalancerName");
                self.create(&blueprint);
                Ok(())
            }
            OwnChange::Classic(ClassicChange { name, what }) => {
                assert_eq!(name, NAME);
                self.change(what);
                Ok(())
            }
            OwnChange::Network(change) => panic!("{change}"),
        }
    }

    fn change_group(&mut self, change: GroupChange) -> Result<(), Kind> {
        let used = self.own.classic.own().map(|it| it.it.groups.clone()).unwrap_or_default();
        let groups = &mut self.own.surroundings.groups;
        let at = |name: &str, groups: &[SecurityGroup]| {
            groups.iter().position(|group| group.name == name)
        };
        match change {
            GroupChange::Create { name, tags, .. } => {
                assert!(at(&name, groups).is_none(), "InvalidGroup.Duplicate");
                self.newest += 1;
                let tags = tags.into_iter().collect();
                let id = format!("sg-{}", self.newest);
                groups.push(SecurityGroup { id, name, tags, ingress: BTreeSet::new() });
            }
            GroupChange::Mark { name, tags } => {
                let at = at(&name, groups).unwrap();
                groups[at].tags.extend(tags);
            }
            GroupChange::Authorize { name, rules } => {
                let at = at(&name, groups).unwrap();
                assert!(!rules.is_empty(), "MissingParameter");
                assert!(groups[at].ingress.is_disjoint(&rules), "InvalidPermission.Duplicate");
                groups[at].ingress.extend(rules);
            }
            GroupChange::Revoke { name, rules } => {
                let at = at(&name, groups).unwrap();
                assert!(groups[at].ingress.is_superset(&rules), "InvalidPermission.NotFound");
                groups[at].ingress.retain(|rule| !rules.contains(rule));
            }
            GroupChange::Delete { name } => {
                let at = at(&name, groups).unwrap();
                if used.contains(&groups[at].id) {
                    return Err(Kind::Conflict);
                }
                groups.remove(at);
            }
        }
        Ok(())
    }

    fn create(&mut self, blueprint: &Blueprint) {
        let Blueprint { internal, listeners, subnets, groups, tags } = blueprint;
        let groups = group_ids(groups, &self.own.surroundings.groups).unwrap();
        assert!(!groups.is_empty() && !listeners.is_empty());
        self.check_subnets(subnets);
        let first = listeners.first().unwrap();
        let health = HealthCheck {
            target: format!("TCP:{}", first.node_port),
            interval: 30,
            timeout: 5,
            healthy: 10,
            unhealthy: 2,
        };
        let mut it = LoadBalancer {
            name: NAME.to_owned(),
            dns_name: format!("{NAME}-1.eu-west-1.elb.amazonaws.com"),
            internal: *internal,
            subnets: subnets.clone(),
            groups: groups.into_iter().collect(),
            health: Some(health),
            ..LoadBalancer::default()
        };
        add_listeners(&mut it, listeners);
        let attributes = Some(Attributes::default());
        let tags = tags.iter().cloned().collect();
        let refused = Refused::new();
        let made = Balancer { it, tags, attributes, refused, ..Balancer::default() };
        self.own.classic = Found { balancer: Some(Box::new(made)) };
    }

    /// One in a zone, and at least one.
    fn check_subnets(&self, subnets: &BTreeSet<String>) {
        let network = &self.own.surroundings.network;
        let zones: BTreeSet<_> = subnets.iter().map(|id| &network.subnets[id].zone).collect();
        assert_eq!(zones.len(), subnets.len(), "InvalidConfigurationRequest");
        assert!(!subnets.is_empty());
    }

    fn change(&mut self, what: What) {
        let groups = self.own.surroundings.groups.clone();
        let Balancer { it, tags, attributes, .. } = self.balancer_mut();
        let has = |it: &LoadBalancer, names: &BTreeSet<String>| it.policies.is_superset(names);
        match what {
            What::Create(_) => panic!("there is one"),
            What::Tag(more) => tags.extend(more),
            What::Attach(subnets) => {
                it.subnets.extend(subnets);
                let subnets = it.subnets.clone();
                self.check_subnets(&subnets);
            }
            What::Detach(subnets) => {
                assert!(it.subnets.is_superset(&subnets));
                it.subnets.retain(|id| !subnets.contains(id));
                assert!(!it.subnets.is_empty(), "InvalidConfigurationRequest");
            }
            What::SetGroups(refs) => {
                it.groups = group_ids(&refs, &groups).unwrap().into_iter().collect();
            }
            What::DeleteListeners { ports, .. } => {
                for port in ports {
                    assert!(it.listeners.remove(&port).is_some());
                }
            }
            What::CreateListeners(listeners) => add_listeners(it, &listeners),
            What::CreatePolicy(policy) => {
                assert!(it.policies.insert(policy.name()), "DuplicatePolicyName");
            }
            What::SetBackend { node_port, policies } => {
                assert!(has(it, &policies), "PolicyNotFound");
                let is_used = it.listeners.values().any(|it| it.listener.node_port == node_port);
                assert!(is_used || policies.is_empty());
                if policies.is_empty() {
                    it.backends.remove(&node_port);
                } else {
                    it.backends.insert(node_port, policies);
                }
            }
            What::SetCertificate { port, certificate } => {
                let front = it.listeners.get_mut(&port).expect("ListenerNotFound");
                assert!(front.listener.is_tls(), "InvalidConfigurationRequest");
                front.listener.certificate = Some(certificate);
            }
            What::SetListener { port, policies } => {
                assert!(has(it, &policies), "PolicyNotFound");
                let front = it.listeners.get_mut(&port).expect("ListenerNotFound");
                assert!(front.listener.is_tls(), "InvalidConfigurationRequest");
                front.policies = policies;
            }
            What::SetAttributes(all) => *attributes = Some(all),
            What::SetHealthCheck(check) => it.health = Some(check),
            What::Register(ids) => it.instances.extend(ids),
            What::Deregister(ids) => it.instances.retain(|id| !ids.contains(id)),
            What::Delete => self.own.classic = Found::default(),
        }
    }
}

fn add_listeners(it: &mut LoadBalancer, listeners: &BTreeSet<Listener>) {
    for listener in listeners {
        let mut policies = BTreeSet::new();
        assert_eq!(listener.is_tls(), listener.certificate.is_some());
        if listener.is_tls() {
            policies.insert(TLS_DEFAULT.to_owned());
            it.policies.insert(TLS_DEFAULT.to_owned());
        }
        let front = Front { listener: listener.clone(), policies };
        assert!(it.listeners.insert(listener.port, front).is_none(), "DuplicateListener");
    }
}

pub(crate) fn group(id: &str, name: &str) -> SecurityGroup {
    let (id, name) = (id.to_owned(), name.to_owned());
    SecurityGroup { id, name, tags: cluster().tags(), ingress: BTreeSet::new() }
}
