//! What the Go program leaves is taken over without a change.

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{Holds, Kind, Plan, Verdict};
use rstest::rstest;

use super::super::observe::{Balancer, Found};
use super::model::{Cloud, NAME, group, world};
use super::steps::report;
use crate::client::elb::{AccessLog, Attributes, Front, HealthCheck, Listener, LoadBalancer};
use crate::client::groups::{Peer, Rule, Traffic};
use crate::load_balancers::change::AwsChange;
use crate::load_balancers::refusals::Refused;
use crate::load_balancers::samples::{from, local, present, spec};
use crate::marks::MANAGED_KEY;

const POLICY: &str = "k8s-SSLNegotiationPolicy-P";
const PROXY: &str = "k8s-proxyprotocol-enabled";

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn rules(ranges: &[&str], ports: &[u16]) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for range in ranges {
        let peer = Peer::V4(range.parse().unwrap());
        let rule = |what| Rule { what, peer: peer.clone(), description: None };
        rules.extend(ports.iter().map(|port| rule(Traffic::port("tcp", *port))));
        rules.insert(rule(Traffic { protocol: "icmp".into(), ports: Some((3, 4)) }));
    }
    rules
}

fn front(text: &str) -> (u16, Front) {
    let words: Vec<_> = text.split([' ', '/']).collect();
    let [protocol, port, node_protocol, node_port] = words[..] else { panic!("{text}") };
    let is_tls = matches!(protocol, "ssl" | "https");
    let listener = Listener {
        port: port.parse().unwrap(),
        protocol: protocol.into(),
        node_port: node_port.parse().unwrap(),
        node_protocol: node_protocol.into(),
        certificate: is_tls.then(|| "arn:1".into()),
    };
    let policies = if is_tls { set(&["ELBSecurityPolicy-2016-08"]) } else { BTreeSet::new() };
    (listener.port, Front { listener, policies })
}

/// A Service with port 80 and two nodes, made without annotations.
fn left() -> Cloud {
    let mut cloud = Cloud::default();
    let mut own = group("sg-own", &format!("k8s-elb-{NAME}"));
    own.ingress = rules(&["0.0.0.0/0"], &[80]);
    cloud.own.surroundings.groups.push(own);
    let health = HealthCheck {
        target: "TCP:30080".into(),
        interval: 10,
        timeout: 5,
        healthy: 2,
        unhealthy: 6,
    };
    let it = LoadBalancer {
        name: NAME.into(),
        dns_name: "a.elb.amazonaws.com".into(),
        internal: false,
        listeners: [front("tcp/80 tcp/30080")].into(),
        backends: BTreeMap::new(),
        policies: BTreeSet::new(),
        subnets: set(&["subnet-a", "subnet-b"]),
        groups: vec!["sg-own".into()],
        instances: set(&["i-00000000000000000", "i-00000000000000001"]),
        health: Some(health),
    };
    let pairs =
        [("kubernetes.io/service-name", "shop/web"), ("kubernetes.io/cluster/blue", "owned")];
    let tags = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let attributes = Some(Attributes::default());
    let refused = Refused::new();
    let left = Balancer { it, tags, attributes, refused, ..Balancer::default() };
    cloud.own.classic = Found { balancer: Some(Box::new(left)) };
    cloud
}

fn listen(it: &mut Balancer, lines: &[&str]) {
    it.it.listeners = lines.iter().map(|line| front(line)).collect();
    if it.it.listeners.values().any(|front| front.listener.is_tls()) {
        it.it.policies.insert("ELBSecurityPolicy-2016-08".into());
    }
}

fn attributes(it: &mut Balancer) -> &mut Attributes {
    it.attributes.as_mut().unwrap()
}

fn health(it: &mut Balancer) -> &mut HealthCheck {
    it.it.health.as_mut().unwrap()
}

const CERTIFICATE: (&str, &str) = ("ssl-cert", "arn:1");

#[rstest]
#[case::plain(&[], |_: &mut Balancer| {})]
#[case::internal(&[("internal", "true")], |it: &mut Balancer| {
    it.it.internal = true;
    it.it.subnets = set(&["subnet-a", "subnet-b"]);
})]
#[case::made_public_and_annotated_later(&[("internal", "true")], |it: &mut Balancer| {
    it.it.subnets = set(&["subnet-p-a", "subnet-p-b"]);
})]
#[case::subnets(&[("subnets", "subnet-b2")], |it: &mut Balancer| it.it.subnets = set(&["subnet-b2"]))]
#[case::http(&[("backend-protocol", "http")], |it: &mut Balancer| listen(it, &["http/80 http/30080"]))]
#[case::tls(&[CERTIFICATE], |it: &mut Balancer| listen(it, &["ssl/80 tcp/30080"]))]
#[case::https(&[CERTIFICATE, ("backend-protocol", "https")], |it: &mut Balancer| {
    listen(it, &["https/80 https/30080"]);
    health(it).target = "SSL:30080".into();
})]
#[case::certificate_in_capitals(&[CERTIFICATE], |it: &mut Balancer| {
    listen(it, &["ssl/80 tcp/30080"]);
    it.it.listeners.get_mut(&80).unwrap().listener.certificate = Some("ARN:1".into());
})]
#[case::no_port_of_tls(&[CERTIFICATE, ("ssl-ports", "443")], |_: &mut Balancer| {})]
#[case::tls_policy(&[CERTIFICATE, ("ssl-negotiation-policy", "P")], |it: &mut Balancer| {
    listen(it, &["ssl/80 tcp/30080"]);
    it.it.policies.insert(POLICY.into());
    it.it.listeners.get_mut(&80).unwrap().policies = set(&[POLICY]);
})]
#[case::tls_policy_without_tls(&[("ssl-negotiation-policy", "P")], |it: &mut Balancer| {
    it.it.policies.insert(POLICY.into());
})]
#[case::proxy_protocol(&[("proxy-protocol", "*")], |it: &mut Balancer| {
    it.it.policies.insert(PROXY.into());
    it.it.backends.insert(30_080, set(&[PROXY]));
})]
#[case::proxy_protocol_gone(&[], |it: &mut Balancer| {
    it.it.policies.insert(PROXY.into());
    it.it.backends.insert(30_080, BTreeSet::new());
    it.it.backends.insert(30_443, BTreeSet::new());
})]
#[case::groups(&[("security-groups", "sg-1,sg-2")], |it: &mut Balancer| {
    it.it.groups = vec!["sg-2".into(), "sg-1".into()];
})]
#[case::extra_groups(&[("extra-security-groups", "sg-1")], |it: &mut Balancer| {
    it.it.groups.insert(0, "sg-1".into());
})]
#[case::tags(&[("additional-resource-tags", "a=1,b=")], |it: &mut Balancer| {
    it.tags.insert("a".into(), "1".into());
    it.tags.insert("b".into(), String::new());
})]
#[case::tags_gone(&[], |it: &mut Balancer| _ = it.tags.insert("a".into(), "1".into()))]
#[case::cross_zone(&[("cross-zone-load-balancing-enabled", "true")], |it: &mut Balancer| {
    attributes(it).cross_zone = true;
})]
#[case::idle(&[("connection-idle-timeout", "120")], |it: &mut Balancer| attributes(it).idle = 120)]
#[case::draining(&[("connection-draining-enabled", "true")], |it: &mut Balancer| {
    attributes(it).draining = Some(300);
})]
#[case::draining_timeout(
    &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "7")],
    |it: &mut Balancer| attributes(it).draining = Some(7)
)]
#[case::logs(
    &[
        ("access-log-enabled", "true"),
        ("access-log-s3-bucket-name", "logs"),
        ("access-log-s3-bucket-prefix", "web"),
        ("access-log-emit-interval", "5"),
    ],
    |it: &mut Balancer| {
        let (bucket, prefix) = ("logs".into(), "web".into());
        attributes(it).access_log = Some(AccessLog { bucket, prefix, interval: 5 });
    }
)]
#[case::health(
    &[
        ("healthcheck-protocol", "http"),
        ("healthcheck-port", "81"),
        ("healthcheck-interval", "20"),
        ("healthcheck-timeout", "6"),
        ("healthcheck-healthy-threshold", "3"),
        ("healthcheck-unhealthy-threshold", "4"),
    ],
    |it: &mut Balancer| {
        let target = "HTTP:81/".into();
        let check =
            HealthCheck { target, interval: 20, timeout: 6, healthy: 3, unhealthy: 4 };
        it.it.health = Some(check);
    }
)]
#[case::legacy_tag(&[], |it: &mut Balancer| {
    it.tags.remove("kubernetes.io/cluster/blue");
    it.tags.insert("KubernetesCluster".into(), "blue".into());
})]
fn nothing_is_changed(#[case] annotations: &[(&str, &str)], #[case] made: fn(&mut Balancer)) {
    let mut cloud = left();
    made(cloud.balancer_mut());
    if annotations.iter().any(|(key, _)| *key == "security-groups") {
        cloud.own.surroundings.groups.retain(|group| group.id != "sg-own");
    }
    let plan = cloud.plan(&world(present(spec("web", &[80], annotations)), 2));
    assert!(plan.stages.is_empty(), "{:?}", plan.stages);
    assert!(plan.later.is_empty(), "{:?}", plan.later);
    assert_eq!(plan.reports[0].verdict, Verdict::Done);
}

#[test]
fn nothing_is_changed_where_the_clients_address_is_kept() {
    let mut cloud = left();
    health(cloud.balancer_mut()).target = "HTTP:32000/healthz".into();
    let plan = cloud.plan(&world(present(local(spec("web", &[80], &[]))), 2));
    assert!(plan.is_done(), "{plan:?}");
}

#[test]
fn nothing_is_changed_where_ranges_are_named() {
    let mut cloud = left();
    let ranges = ["10.0.0.0/8", "192.0.2.0/24"];
    let own = cloud.own.surroundings.groups.iter_mut().find(|it| it.id == "sg-own").unwrap();
    own.ingress = rules(&ranges, &[80]);
    let wish = from(spec("web", &[80], &[]), &ranges);
    assert!(cloud.plan(&world(present(wish), 2)).is_done());
}

/// The Go program refuses to change the kind of a load balancer, and does nothing for a Service whose
/// annotation names another controller: what it made serves on, and so it does here.
#[rstest]
#[case::another_kind("nlb")]
#[case::another_controller("external")]
#[case::another_controller_by_its_old_name("nlb-ip")]
fn what_serves_serves_on(#[case] kind: &str) {
    let cloud = left();
    let asks = |kind: &str| present(spec("web", &[80], &[("type", kind)]));
    let plan = cloud.plan(&world(asks(kind), 2));
    assert!(plan.is_done(), "{plan:?}");
    match &report(&plan).verdict {
        Verdict::Refused(err) => {
            assert_eq!((kind, err.kind()), ("nlb", Kind::InvalidConfiguration));
            assert!(err.message().contains("a Classic Load Balancer serves"), "{err}");
        }
        Verdict::Elsewhere(_) => assert_eq!(report(&plan).notes[0].reason, "LeftAsFound"),
        other => panic!("{other:?}"),
    }
    assert_eq!(report(&plan).holds, Holds::Something);
    let lines = |plan: &Plan<AwsChange>| -> Vec<Vec<String>> {
        let lines =
            plan.stages.iter().map(|it| it.iter().map(|it| it.change.to_string()).collect());
        lines.collect()
    };
    // Nodes come and go all the same.
    let joined = lines(&cloud.plan(&world(asks(kind), 3)));
    assert_eq!(
        joined,
        [[format!("register with Classic Load Balancer {NAME}: i-00000000000000002")]]
    );

    // Where it is put back and changed once more, that is done: first it is marked, so that a
    // process that dies meanwhile is no takeover.
    let mut cloud = left();
    assert!(cloud.plan(&world(asks("classic"), 2)).is_done());
    let plan = lines(&cloud.plan(&world(asks(kind), 2)));
    assert!(plan[0][0].contains("ccm.rs/managed-for=uid-web"), "{plan:?}");
    assert!(plan[1][0].starts_with("delete Classic Load Balancer"), "{plan:?}");
    cloud.balancer_mut().tags.insert(MANAGED_KEY.into(), "uid-web".into());
    cloud.restart();
    let again = lines(&cloud.plan(&world(asks(kind), 2)));
    assert_eq!(again, plan[1..]);
}
