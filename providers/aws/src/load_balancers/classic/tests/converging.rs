//! Whatever is asked for and whatever is there: it ends, and ends as asked for.

use std::collections::BTreeSet;

use ccm_core::cloud::{Holds, LoadBalancerSpec, World};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::super::change::Policy;
use super::model::{Cloud, world};
use crate::client::elb::{Attributes, Front, Listener};
use crate::client::groups::{Peer, Rule, Traffic};
use crate::load_balancers::samples::{absent, from, local, present, spec};
use crate::marks::MANAGED_KEY;

/// A Service, as data.
#[derive(Clone, Debug)]
struct Service {
    ports: Vec<u16>,
    annotations: Vec<(&'static str, &'static str)>,
    is_local: bool,
    ranges: Vec<&'static str>,
    nodes: usize,
}

impl Service {
    fn world(&self) -> World<LoadBalancerSpec> {
        let spec = from(spec("web", &self.ports, &self.annotations), &self.ranges);
        world(present(if self.is_local { local(spec) } else { spec }), self.nodes)
    }
}

type Pairs = &'static [(&'static str, &'static str)];

/// Some of what can be said, in ways that differ.
const SAID: [&[Pairs]; 11] = [
    &[
        &[("ssl-cert", "arn:1")],
        &[("ssl-cert", "arn:2"), ("ssl-ports", "443")],
        &[("ssl-cert", "arn:1"), ("ssl-ports", "443,port-8080")],
    ],
    &[
        &[("backend-protocol", "http")],
        &[("backend-protocol", "https")],
        &[("backend-protocol", "ssl")],
    ],
    &[&[("ssl-negotiation-policy", "P")], &[("ssl-negotiation-policy", "Q")]],
    &[&[("proxy-protocol", "*")]],
    &[&[("internal", "true")]],
    &[&[("security-groups", "sg-x")], &[("security-groups", "sg-y,sg-z")]],
    &[&[("extra-security-groups", "sg-z")]],
    &[&[("subnets", "subnet-b2")], &[("subnets", "subnet-a,subnet-b2")]],
    &[
        &[("connection-draining-enabled", "true")],
        &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "9")],
        &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs")],
        &[("connection-idle-timeout", "70"), ("cross-zone-load-balancing-enabled", "true")],
    ],
    &[&[("healthcheck-interval", "20")], &[("healthcheck-protocol", "HTTP")]],
    &[
        &[("additional-resource-tags", "a=1")],
        &[(
            "additional-resource-tags",
            "a=2,kubernetes.io/service-name=mine,ccm.rs/managed-for=no",
        )],
    ],
];

fn service() -> impl Strategy<Value = Service> {
    let said = SAID.map(|ways| prop::option::of(select(ways)));
    let ports = subsequence(vec![80, 443, 8080], 1..=3);
    let ranges = subsequence(vec!["10.0.0.0/8", "192.0.2.0/24"], 0..=2);
    (ports, said, any::<bool>(), ranges, 0..4_usize).prop_map(
        |(ports, said, is_local, ranges, nodes)| {
            let annotations = said.into_iter().flatten().flatten().copied().collect();
            Service { ports, annotations, is_local, ranges, nodes }
        },
    )
}

/// Something happens to what is there.
fn blow(cloud: &mut Cloud, blow: u8, at: Index) {
    let groups = &mut cloud.own.surroundings.groups;
    if blow == 0 && groups.len() > 1 {
        let peer = Peer::V4("198.51.100.0/24".parse().unwrap());
        let rule = Rule { what: Traffic::port("tcp", 22), peer, description: None };
        let group = &mut groups[1];
        group.ingress = group.ingress.iter().skip(1).cloned().chain([rule]).collect();
    }
    if cloud.own.classic.balancer.is_none() {
        return;
    }
    let balancer = cloud.balancer_mut();
    let it = &mut balancer.it;
    let port = it.listeners.keys().nth(at.index(it.listeners.len().max(1))).copied();
    match (blow, port) {
        (1, _) => cloud.own.classic = super::super::observe::Found::default(),
        (2, Some(port)) => _ = it.listeners.remove(&port),
        (3, Some(port)) => {
            let listener = &mut it.listeners.get_mut(&port).unwrap().listener;
            listener.node_port += 1;
        }
        (4, Some(port)) => it.listeners.get_mut(&port).unwrap().policies.clear(),
        (5, _) => {
            let listener = Listener {
                port: 9,
                protocol: "tcp".into(),
                node_port: 30_009,
                node_protocol: "tcp".into(),
                certificate: None,
            };
            it.listeners.insert(9, Front { listener, policies: BTreeSet::new() });
            it.policies.insert(Policy::Proxy.name());
            it.backends.insert(30_009, [Policy::Proxy.name()].into());
        }
        (6, _) => it.backends.clear(),
        (7, _) => it.groups = vec!["sg-odd".into()],
        (8, _) => it.subnets = ["subnet-p-b".to_owned()].into(),
        (9, _) => it.instances = ["i-odd".to_owned()].into(),
        (10, _) => it.health = None,
        (11, _) => balancer.attributes = Some(Attributes { idle: 1, ..Attributes::default() }),
        (12, _) => balancer.tags.clear(),
        (13, _) => _ = balancer.tags.remove(MANAGED_KEY),
        _ => {}
    }
}

fn blows() -> impl Strategy<Value = Vec<(u8, Index)>> {
    prop::collection::vec((0..14_u8, any::<Index>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// After any history, and wherever it was stopped, the end is the same as if nothing had been
    /// there but what stays as it was made.
    #[test]
    fn it_ends_as_asked_for(
        before in prop::collection::vec((service(), blows(), 0..12_usize), 0..3),
        last in service(),
    ) {
        let mut cloud = Cloud::default();
        for (service, blows, stages) in before {
            cloud.steps(&service.world(), stages);
            for (kind, at) in blows {
                blow(&mut cloud, kind, at);
            }
        }
        cloud.converge(&last.world());
        let plan = cloud.plan(&last.world());
        prop_assert!(plan.is_done(), "{:?}", plan);
        prop_assert_eq!(plan.reports[0].holds, Holds::Something);

        let mut fresh = Cloud::default();
        fresh.converge(&last.world());
        let (have, want) = (&cloud.balancer().it, &fresh.balancer().it);
        let is_stuck = plan.reports[0].notes.iter().any(|note| note.reason == "SubnetsKept");
        if have.internal == want.internal && !is_stuck {
            prop_assert_eq!(&have.subnets, &want.subnets);
        }
        let listeners = |it: &crate::client::elb::LoadBalancer| {
            it.listeners.values().map(|front| front.listener.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(listeners(have), listeners(want));
        prop_assert_eq!(&have.backends, &want.backends);
        prop_assert_eq!(&have.instances, &want.instances);
        prop_assert_eq!(&have.health, &want.health);
        let names = |cloud: &Cloud| {
            let name = |id: &String| {
                let groups = &cloud.own.surroundings.groups;
                groups.iter().find(|it| it.id == *id).map_or(id.clone(), |it| it.name.clone())
            };
            cloud.balancer().it.groups.iter().map(name).collect::<BTreeSet<_>>()
        };
        prop_assert_eq!(names(&cloud), names(&fresh));
        if cloud.balancer().tags.contains_key(MANAGED_KEY) {
            prop_assert_eq!(&cloud.balancer().attributes, &fresh.balancer().attributes);
            let has = |(key, value): (&String, &String)| {
                key == MANAGED_KEY || cloud.balancer().tags.get(key) == Some(value)
            };
            prop_assert!(fresh.balancer().tags.iter().all(has), "{:?}", cloud.balancer().tags);
            let rules = |cloud: &Cloud| {
                let groups = cloud.own.surroundings.groups.iter();
                let rules = groups.map(|it| (it.name.clone(), it.ingress.clone()));
                rules.collect::<std::collections::BTreeMap<_, _>>()
            };
            prop_assert_eq!(rules(&cloud), rules(&fresh));
        }

        cloud.converge(&world(absent("web"), 0));
        prop_assert!(cloud.own.classic.is_empty());
        prop_assert_eq!(cloud.own.surroundings.groups.len(), 1);
    }
}
