//! What the Go program leaves behind is taken over without a change.

use std::collections::BTreeSet;

use ccm_core::cloud::{
    Detail, ExternalTrafficPolicy, LoadBalancerSpec, Protocol as Transport, Verdict,
};
use rstest::rstest;

use super::super::super::super::annotations::ServiceAnnotations;
use super::super::super::super::names::{self, TargetGroupTraits};
use super::model::{
    Cloud, MANAGED, NAME, UID, balancer_arn, group, id, instance, listener_arn,
    new_balancer_attributes, new_group_attributes, present, provider, spec, world,
};
use super::{lines, notes, report, steps};
use crate::client::elbv2::{
    HealthCheck, Listener, ListenerSettings, LoadBalancer, Protocol, State, Target,
};
use crate::client::groups::{Peer, Rule, SecurityGroup, Traffic};
use crate::marks::{MANAGED_KEY, Tags};

const NODES: usize = 3;

fn tags() -> Tags {
    let pairs =
        [("kubernetes.io/cluster/demo", "owned"), ("kubernetes.io/service-name", "shop/web")];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What the Go program makes for TCP ports, each with a node port 30000 above it.
fn left(ports: &[u16]) -> Cloud {
    let mut cloud = Cloud::default();
    cloud.balancers.push(LoadBalancer {
        arn: balancer_arn(),
        name: NAME.into(),
        kind: "network".into(),
        state: State::Usable,
        dns_name: Some("web.elb.eu-west-1.amazonaws.com".into()),
        is_internal: false,
        security_groups: BTreeSet::new(),
        subnets: ["subnet-a", "subnet-b"].map(|it| (it.into(), BTreeSet::new())).into(),
    });
    cloud.tags.insert(balancer_arn(), tags());
    cloud.attributes.insert(balancer_arn(), new_balancer_attributes());
    for port in ports {
        let node_port = 30_000 + port;
        let traits = TargetGroupTraits {
            cluster: "demo",
            port: *port,
            node_port,
            protocol: "TCP",
            health_protocol: "TCP",
            health_interval: 30,
        };
        let group = group(&names::target_group(&id(), &traits), Protocol::Tcp, node_port);
        let target = |number| Target { id: instance(number), port: node_port };
        cloud.targets.insert(group.arn.clone(), (0..NODES).map(target).collect());
        cloud.tags.insert(group.arn.clone(), tags());
        cloud.attributes.insert(group.arn.clone(), new_group_attributes());
        let settings =
            ListenerSettings { protocol: Protocol::Tcp, certificate: None, policy: None };
        let target_groups = vec![group.arn.clone()];
        let arn = listener_arn(*port);
        cloud.listeners.insert(*port, Listener { arn, port: *port, settings, target_groups });
        cloud.tags.insert(listener_arn(*port), tags());
        cloud.groups.insert(group.name.clone(), group);
    }
    cloud
}

/// Changes what every group asks nodes.
fn asks(cloud: &mut Cloud, protocol: &Protocol, port: &str, path: &str, numbers: [u32; 4]) {
    let [interval, timeout, healthy, unhealthy] = numbers;
    for group in cloud.groups.values_mut() {
        group.health = HealthCheck {
            protocol: protocol.clone(),
            port: port.into(),
            path: Some(path.to_owned()).filter(|path| !path.is_empty()),
            interval,
            timeout,
            healthy,
            unhealthy,
        };
    }
}

/// Makes all listeners speak TLS.
fn speaks_tls(cloud: &mut Cloud, backend: &Protocol) {
    for listener in cloud.listeners.values_mut() {
        listener.settings = ListenerSettings {
            protocol: Protocol::Tls,
            certificate: Some("arn:cert".into()),
            policy: Some("ELBSecurityPolicy-2016-08".into()),
        };
    }
    cloud.groups.values_mut().for_each(|group| group.protocol = backend.clone());
}

/// Gives the first group a name that was made of something else.
fn other_name(cloud: &mut Cloud) {
    let (_, before) = cloud.groups.pop_first().unwrap();
    let now = group("k8s-shop-web-0123456789", before.protocol, before.port);
    for tags in [&mut cloud.tags, &mut cloud.attributes] {
        let moved = tags.remove(&before.arn).unwrap();
        tags.insert(now.arn.clone(), moved);
    }
    let targets = cloud.targets.remove(&before.arn).unwrap();
    cloud.targets.insert(now.arn.clone(), targets);
    for arn in cloud.listeners.values_mut().flat_map(|it| &mut it.target_groups) {
        if *arn == before.arn {
            arn.clone_from(&now.arn);
        }
    }
    cloud.groups.insert(now.name.clone(), now);
}

fn set(cloud: &mut Cloud, pairs: &[(&str, &str)]) {
    let have = cloud.attributes.get_mut(&balancer_arn()).unwrap();
    have.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
}

fn set_groups(cloud: &mut Cloud, key: &str, value: &str) {
    for group in cloud.groups.values() {
        let have = cloud.attributes.get_mut(&group.arn).unwrap();
        have.insert(key.to_owned(), value.to_owned());
    }
}

fn local(pairs: &[(&str, &str)]) -> LoadBalancerSpec {
    let mut spec = spec(&[80], pairs);
    spec.external_traffic_policy = ExternalTrafficPolicy::Local;
    spec.health_check_node_port = 32_000_u16.try_into().ok();
    spec
}

fn udp() -> LoadBalancerSpec {
    let mut spec = spec(&[80], &[]);
    spec.ports[0].protocol = Transport::Udp;
    spec
}

const SHARED: &str = "ClusterServiceLoadBalancerHealthProbeMode = Shared";
const OWN_GROUP: &str = "k8s-shop-web-d2e0b4e1c4";

fn own_group() -> SecurityGroup {
    let name = names::network_group(&"kubernetes".into(), &id());
    let rule = |what| {
        let peer = Peer::V4("0.0.0.0/0".parse().unwrap());
        Rule { what, peer, description: None }
    };
    let ingress = [rule(Traffic::port("tcp", 80)), rule(Traffic::path_mtu())].into();
    let tags = [("kubernetes.io/cluster/demo".to_owned(), "owned".to_owned())].into();
    SecurityGroup { id: OWN_GROUP.into(), name, tags, ingress }
}

type Mutate = fn(&mut Cloud);

#[rstest]
#[case::as_it_comes("", spec(&[80, 443], &[]), |_: &mut Cloud| ())]
#[case::local("", local(&[]), |it: &mut Cloud| asks(it, &Protocol::Http, "32000", "/healthz", [10, 6, 2, 2]))]
#[case::local_with_its_own_numbers(
    "",
    local(&[("healthcheck-interval", "20"), ("healthcheck-healthy-threshold", "4")]),
    |it: &mut Cloud| asks(it, &Protocol::Http, "32000", "/healthz", [20, 6, 4, 2])
)]
#[case::local_asked_by_tcp(
    "", local(&[("healthcheck-protocol", "tcp")]), |it: &mut Cloud| asks(it, &Protocol::Tcp, "32000", "", [10, 10, 2, 2])
)]
#[case::asked_by_http(
    "", spec(&[80], &[("healthcheck-protocol", "HTTP")]),
    |it: &mut Cloud| asks(it, &Protocol::Http, "traffic-port", "/", [30, 6, 3, 3])
)]
#[case::asked_by_https_somewhere(
    "",
    spec(&[80], &[
        ("healthcheck-protocol", "https"), ("healthcheck-path", "/up"), ("healthcheck-port", "8443"),
    ]),
    |it: &mut Cloud| asks(it, &Protocol::Https, "8443", "/up", [30, 10, 3, 3])
)]
#[case::a_shared_probe(
    SHARED, spec(&[80], &[]), |it: &mut Cloud| asks(it, &Protocol::Http, "10256", "/healthz", [30, 6, 3, 3])
)]
#[case::a_shared_probe_goes_before_annotations(
    SHARED,
    spec(&[80], &[("healthcheck-protocol", "TCP"), ("healthcheck-port", "1"), ("healthcheck-interval", "10")]),
    |it: &mut Cloud| asks(it, &Protocol::Http, "10256", "/healthz", [10, 6, 3, 3])
)]
#[case::a_shared_probe_is_not_for_local(
    SHARED, local(&[]), |it: &mut Cloud| asks(it, &Protocol::Http, "32000", "/healthz", [10, 6, 2, 2])
)]
#[case::other_names("", spec(&[80], &[]), other_name)]
#[case::tls_without_a_policy(
    "", spec(&[80], &[("ssl-cert", "arn:cert")]), |it: &mut Cloud| speaks_tls(it, &Protocol::Tcp)
)]
#[case::tls_with_a_policy(
    "",
    spec(&[80], &[
        ("ssl-cert", "arn:cert"), ("ssl-negotiation-policy", "ELBSecurityPolicy-2016-08"), ("ssl-ports", "port-80"),
    ]),
    |it: &mut Cloud| speaks_tls(it, &Protocol::Tcp)
)]
#[case::tls_to_nodes(
    "", spec(&[80], &[("ssl-cert", "arn:cert"), ("backend-protocol", "ssl")]),
    |it: &mut Cloud| speaks_tls(it, &Protocol::Tls)
)]
#[case::a_certificate_for_another_port(
    "", spec(&[80], &[("ssl-cert", "arn:cert"), ("ssl-ports", "443")]), |_: &mut Cloud| ()
)]
#[case::udp("", udp(), |it: &mut Cloud| {
    it.listeners.values_mut().for_each(|it| it.settings.protocol = Protocol::Udp);
    it.groups.values_mut().for_each(|it| it.protocol = Protocol::Udp);
})]
#[case::shared_out_among_two("", spec(&[80], &[]), |it: &mut Cloud| {
    let other = group("canary", Protocol::Tcp, 30_999);
    it.listeners.get_mut(&80).unwrap().target_groups.push(other.arn.clone());
    it.groups.insert("canary".into(), other);
})]
#[case::cross_zone(
    "", spec(&[80], &[("cross-zone-load-balancing-enabled", "true")]),
    |it: &mut Cloud| set(it, &[("load_balancing.cross_zone.enabled", "true")])
)]
#[case::logs(
    "",
    spec(&[80], &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs"), ("access-log-s3-bucket-prefix", "web")]),
    |it: &mut Cloud| set(it, &[("access_logs.s3.enabled", "true"), ("access_logs.s3.bucket", "logs"), ("access_logs.s3.prefix", "web")])
)]
#[case::logs_that_were_ended(
    "", spec(&[80], &[("access-log-s3-bucket-name", "other")]),
    |it: &mut Cloud| set(it, &[("access_logs.s3.bucket", "logs"), ("access_logs.s3.prefix", "web")])
)]
#[case::attributes_that_are_not_listed("", spec(&[80], &[]), |it: &mut Cloud| it.attributes.clear())]
#[case::group_attributes(
    "",
    spec(&[80], &[("target-group-attributes", "preserve_client_ip.enabled=false,proxy_protocol_v2.enabled=true")]),
    |it: &mut Cloud| {
        set_groups(it, "preserve_client_ip.enabled", "false");
        set_groups(it, "proxy_protocol_v2.enabled", "true");
    }
)]
#[case::group_attributes_that_are_named_no_more(
    "", spec(&[80], &[]), |it: &mut Cloud| set_groups(it, "proxy_protocol_v2.enabled", "true")
)]
#[case::internal("", spec(&[80], &[("internal", "0.0.0.0/0")]), |it: &mut Cloud| it.balancers[0].is_internal = true)]
#[case::its_own_security_group(MANAGED, spec(&[80], &[]), |it: &mut Cloud| {
    it.security.push(own_group());
    it.balancers[0].security_groups.insert(OWN_GROUP.into());
})]
#[case::named_security_groups(MANAGED, spec(&[80], &[("security-groups", "sg-1,sg-2")]), |it: &mut Cloud| {
    it.balancers[0].security_groups = ["sg-1".to_owned(), "sg-2".to_owned()].into();
})]
#[case::made_before_groups_were_managed(MANAGED, spec(&[80], &[]), |_: &mut Cloud| ())]
#[case::security_groups_that_are_not_managed_any_more("", spec(&[80], &[]), |it: &mut Cloud| {
    it.security.push(own_group());
    it.balancers[0].security_groups.insert(OWN_GROUP.into());
})]
fn nothing_is_changed(
    #[case] config: &str,
    #[case] spec: LoadBalancerSpec,
    #[case] mutate: Mutate,
) {
    let ports: Vec<_> = spec.ports.iter().map(|it| it.port.get()).collect();
    let mut cloud = left(&ports);
    mutate(&mut cloud);
    let plan = cloud.plan(&provider(config), &world(present(spec), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!(report(&plan).verdict, Verdict::Done);
    assert_eq!(notes(&plan), [""; 0], "{:?}", report(&plan).notes);
    assert_ne!(report(&plan).ingress, ccm_core::cloud::Ingress::Leave);
}

/// The Go program leaves these differences. They are put right together with the first change.
#[rstest]
#[case::timeout(
    "", spec(&[80], &[("healthcheck-timeout", "5")]), |_: &mut Cloud| (),
    &["set health check of target group k8s-shop-web-", "timeout 5"]
)]
#[case::unhealthy_threshold(
    "", spec(&[80], &[("healthcheck-unhealthy-threshold", "5")]), |_: &mut Cloud| (),
    &["set health check of target group k8s-shop-web-", "unhealthy threshold 5"]
)]
#[case::tags(
    "", spec(&[80], &[("additional-resource-tags", "team=shop")]), |_: &mut Cloud| (),
    &[
        "tag Network Load Balancer a0a1b2c3d11112222333344445555666: team=shop", "tag target group k8s-",
        "tag listener 80 of a0a1b2c3d11112222333344445555666: team=shop",
    ]
)]
#[case::a_group_of_old_without_tags("", spec(&[80], &[]), |it: &mut Cloud| {
    let arn = it.groups.values().next().unwrap().arn.clone();
    it.tags.remove(&arn);
}, &["tag target group k8s-shop-web-", "kubernetes.io/service-name=shop/web"])]
#[case::leftovers("", spec(&[80], &[]), |it: &mut Cloud| {
    let left = group("k8s-shop-web-0000000000", Protocol::Tcp, 30_999);
    it.tags.insert(left.arn.clone(), tags());
    it.groups.insert(left.name.clone(), left);
}, &["delete target group k8s-shop-web-0000000000"])]
#[case::its_own_security_group_off_it(MANAGED, spec(&[80], &[("security-groups", "sg-1")]), |it: &mut Cloud| {
    it.security.push(own_group());
    it.balancers[0].security_groups.insert("sg-1".into());
}, &["delete security group k8s-shop-web-"])]
fn left_as_it_is_for_now(
    #[case] config: &str,
    #[case] spec: LoadBalancerSpec,
    #[case] mutate: Mutate,
    #[case] words: &[&str],
) {
    let at = provider(config);
    let mut cloud = left(&[80]);
    mutate(&mut cloud);
    let want = present(spec);
    let plan = cloud.plan(&at, &world(want.clone(), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!(report(&plan).verdict, Verdict::Done);
    assert_eq!(notes(&plan), ["LeftAsFound"]);
    let joined = world(want, NODES + 1);
    cloud.converge(&at, &joined);
    assert_eq!(notes(&cloud.plan(&at, &joined)), ["LeftAsFound"], "a node is no change of it");
    // A process that has seen the Service ask for something else.
    let at = provider(config);
    at.first_seen.change_of(&present(super::model::spec(&[9999], &[])));
    let steps = steps(&cloud, &at, &joined);
    let mark = "ccm.rs/managed-for=0a1b2c3d-1111-2222-3333-444455556666";
    assert_eq!(steps[0], format!("tag Network Load Balancer {NAME}: {mark}"), "it goes first");
    for word in words {
        assert!(steps[1..].iter().any(|step| step.contains(word)), "{steps:#?}");
    }
    cloud.converge(&at, &joined);
    let group = &cloud.listeners[&80].target_groups[0];
    assert_eq!(cloud.tags[group][MANAGED_KEY], UID, "its groups follow");
}

#[rstest]
#[case(&[("internal", "true")], "internal (it is internet-facing)")]
#[case(&[("subnets", "subnet-a")], "subnets (it is in subnet-a, subnet-b)")]
#[case(&[("eip-allocations", "eipalloc-1,eipalloc-2")], "eip-allocations")]
#[case(&[("private-ipv4-addresses", "10.0.0.9,10.0.1.9")], "private-ipv4-addresses")]
fn what_is_fixed_is_noted(#[case] pairs: &[(&str, &str)], #[case] word: &str) {
    let plan = left(&[80]).plan(&provider(""), &world(present(spec(&[80], pairs)), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!(notes(&plan), ["NeedsNewLoadBalancer"]);
    assert!(report(&plan).notes[0].message.contains(word), "{:?}", report(&plan).notes);
}

#[test]
fn what_has_no_effect_is_noted_once() {
    let pairs =
        [("proxy-protocol", "*"), ("connection-idle-timeout", "60"), ("security-groups", "sg-1")];
    let plan = left(&[80]).plan(&provider(""), &world(present(spec(&[80], &pairs)), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!(notes(&plan), ["AnnotationIgnored"; 2]);
    assert!(report(&plan).notes[0].message.contains("proxy-protocol"));
    let plan =
        left(&[80]).plan(&provider(MANAGED), &world(present(spec(&[80], &pairs[2..])), NODES));
    assert_eq!(notes(&plan), ["NeedsNewLoadBalancer"]);
}

/// What the Go program reads and never sends.
#[rstest]
#[case::longer_than_the_interval(spec(&[80], &[("healthcheck-timeout", "31")]), "\"31\": must be from 2 to 30")]
#[case::of_local(local(&[("healthcheck-timeout", "15")]), "\"15\": must be from 2 to 10")]
#[case::too_long(
    spec(&[80], &[("healthcheck-timeout", "150"), ("healthcheck-interval", "300")]),
    "\"150\": must be from 2 to 120"
)]
#[case::too_short(spec(&[80], &[("healthcheck-timeout", "1")]), "\"1\": must be")]
#[case::no_time_at_all(spec(&[80], &[("healthcheck-timeout", "-5")]), "\"-5\": must be")]
fn a_timeout_that_aws_refuses_is_ignored(#[case] spec: LoadBalancerSpec, #[case] words: &str) {
    let at = provider("");
    let mut cloud = Cloud::default();
    let mut plain = spec.annotations.get::<ServiceAnnotations>().unwrap().clone();
    plain.health_timeout = None;
    let mut without = super::model::spec(&[80], &[]);
    without.annotations = Detail::new(plain);
    without.external_traffic_policy = spec.external_traffic_policy;
    without.health_check_node_port = spec.health_check_node_port;
    cloud.converge(&at, &world(present(without), NODES));
    let plan = cloud.plan(&at, &world(present(spec), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!((notes(&plan), &report(&plan).verdict), (vec!["AnnotationIgnored"], &Verdict::Done));
    let message = &report(&plan).notes[0].message;
    assert!(message.contains(words) && message.ends_with("it is ignored"), "{message}");
}

/// The Go program serves these, whatever they are meant to say.
#[rstest]
#[case::of_another_kind(
    spec(&[80], &[("proxy-protocol", "true"), ("connection-idle-timeout", "7200")]), "AnnotationIgnored"
)]
#[case::addresses_of_before(spec(&[80], &[("private-ipv4-addresses", "here")]), "NeedsNewLoadBalancer")]
#[case::a_port_that_nodes_lack({
    let mut spec = spec(&[80, 443], &[]);
    spec.ports[1].node_port = None;
    spec
}, "PortIgnored")]
fn what_means_nothing_is_noted(#[case] spec: LoadBalancerSpec, #[case] reason: &str) {
    let plan = left(&[80]).plan(&provider(""), &world(present(spec), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!((notes(&plan), &report(&plan).verdict), (vec![reason], &Verdict::Done));
}

/// The Go program fails to change what a listener speaks, at each sync, and it serves on.
#[rstest]
#[case::the_certificate_was_taken_away(
    spec(&[80], &[]), |it: &mut Cloud| speaks_tls(it, &Protocol::Tcp), "port 80 serves TLS, and TCP"
)]
#[case::with_tls_to_nodes(
    spec(&[80], &[]),
    |it: &mut Cloud| {
        speaks_tls(it, &Protocol::Tls);
        other_name(it);
    },
    "port 80 serves TLS, and TCP"
)]
#[case::the_port_is_named_no_more(
    spec(&[80], &[("ssl-cert", "arn:cert"), ("ssl-ports", "443")]),
    |it: &mut Cloud| speaks_tls(it, &Protocol::Tcp),
    "port 80 serves TLS, and TCP"
)]
fn what_listeners_speak_is_left(
    #[case] spec: LoadBalancerSpec,
    #[case] mutate: Mutate,
    #[case] words: &str,
) {
    let at = provider("");
    let mut cloud = left(&[80]);
    mutate(&mut cloud);
    let (want, before) = (present(spec), cloud.listeners.clone());
    let plan = cloud.plan(&at, &world(want.clone(), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!((notes(&plan), &report(&plan).verdict), (vec!["LeftAsFound"], &Verdict::Done));
    assert!(report(&plan).notes[0].message.contains(words), "{:?}", report(&plan).notes);
    cloud.converge(&at, &world(want.clone(), NODES + 1));
    assert_eq!(cloud.listeners, before, "a node is no change of it");
    assert_eq!(cloud.targets[&before[&80].target_groups[0]].len(), NODES + 1);
    // Its owner's next change is.
    let at = provider("");
    at.first_seen.change_of(&present(super::model::spec(&[9999], &[])));
    cloud.converge(&at, &world(want, NODES + 1));
    assert_eq!(cloud.listeners[&80].settings.protocol, Protocol::Tcp);
}

/// The Go program makes no group for a port whose listener it cannot change.
#[test]
fn a_node_port_that_changed_while_the_protocol_could_not() {
    let at = provider("");
    let mut cloud = left(&[80]);
    speaks_tls(&mut cloud, &Protocol::Tls);
    other_name(&mut cloud);
    let mut wish = spec(&[80], &[]);
    wish.ports[0].node_port = 30_999.try_into().ok();
    let want = present(wish);
    let plan = cloud.plan(&at, &world(want.clone(), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    let at = provider("");
    at.first_seen.change_of(&present(spec(&[9999], &[])));
    cloud.converge(&at, &world(want, NODES));
    assert_eq!(cloud.listeners[&80].settings.protocol, Protocol::Tcp);
    let groups: Vec<_> = cloud.groups.values().map(|it| (&it.protocol, it.port)).collect();
    assert_eq!(groups, [(&Protocol::Tcp, 30_999)]);
}

/// By another transport other rules let clients through.
#[test]
fn a_port_that_came_by_another_transport_is_refused_until_it_is_changed() {
    let at = provider("");
    let mut cloud = left(&[80]);
    let before = cloud.listeners.clone();
    let plan = cloud.plan(&at, &world(present(udp()), NODES));
    let err = super::refusal(&plan);
    assert!(err.message().contains("port 80 serves TCP, and UDP is asked for"), "{err}");
    cloud.converge(&at, &world(present(udp()), NODES + 1));
    assert_eq!(cloud.listeners, before);
    assert_eq!(cloud.targets[&before[&80].target_groups[0]].len(), NODES + 1, "it follows nodes");
    let at = provider("");
    at.first_seen.change_of(&present(super::model::spec(&[80], &[])));
    cloud.converge(&at, &world(present(udp()), NODES + 1));
    assert_eq!(cloud.listeners[&80].settings.protocol, Protocol::Udp);
}

#[test]
fn what_comes_by_udp_never_speaks_tls() {
    let mut spec = spec(&[80], &[("ssl-cert", "arn:cert")]);
    spec.ports[0].protocol = Transport::Udp;
    let mut cloud = left(&[80]);
    cloud.listeners.values_mut().for_each(|it| it.settings.protocol = Protocol::Udp);
    cloud.groups.values_mut().for_each(|it| it.protocol = Protocol::Udp);
    let plan = cloud.plan(&provider(""), &world(present(spec), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!((notes(&plan), &report(&plan).verdict), (vec![], &Verdict::Done));
}

/// By itself the Go program never sends it to a target group that is there.
#[rstest]
#[case("1")]
#[case("20")]
#[case("-3")]
fn an_unhealthy_threshold_that_aws_refuses_is_ignored(#[case] threshold: &str) {
    let spec = spec(&[80], &[("healthcheck-unhealthy-threshold", threshold)]);
    let plan = left(&[80]).plan(&provider(""), &world(present(spec), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!((notes(&plan), &report(&plan).verdict), (vec!["AnnotationIgnored"], &Verdict::Done));
    let message = &report(&plan).notes[0].message;
    let words = format!("{threshold:?}: must be a whole number from 2 to 10; it is ignored");
    assert!(message.ends_with(&words), "{message}");
}

/// Its owner has pinned it: it stays when the Service goes, and holds nobody.
#[test]
fn its_own_security_group_that_an_annotation_names_is_the_owners() {
    let at = provider(MANAGED);
    let mut cloud = left(&[80]);
    cloud.security.push(own_group());
    cloud.balancers[0].security_groups.insert(OWN_GROUP.into());
    let said = &[("security-groups", OWN_GROUP)];
    let plan = cloud.plan(&at, &world(present(spec(&[80], said)), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    cloud.converge(&at, &world(super::model::absent_with(said), 0));
    assert_eq!(cloud.security, [own_group()]);
    let plan = cloud.plan(&at, &world(super::model::absent_with(said), 0));
    assert_eq!(report(&plan).holds, ccm_core::cloud::Holds::Nothing);
}

/// A port that is not asked at, because the probe that all share is.
#[rstest]
#[case("http")]
#[case("")]
fn a_port_that_has_no_effect_is_not_judged(#[case] port: &str) {
    let pairs = [("healthcheck-port", port)];
    let mut cloud = left(&[80]);
    asks(&mut cloud, &Protocol::Http, "10256", "/healthz", [30, 6, 3, 3]);
    let wish = || world(present(spec(&[80], &pairs)), NODES);
    let plan = cloud.plan(&provider(SHARED), &wish());
    assert!(plan.is_done() && report(&plan).verdict == Verdict::Done, "{:?}", report(&plan));
    let err = cloud.plan(&provider(""), &wish());
    let words = format!("healthcheck-port={port:?}: must be traffic-port, or a port");
    assert!(super::refusal(&err).message().contains(&words), "{:?}", super::refusal(&err));
}

/// What is known by nothing but its load balancer is found again by a process that comes after.
#[test]
fn groups_without_tags_are_marked_before_they_are_off_the_load_balancer() {
    let mut cloud = left(&[80, 443]);
    for group in cloud.groups.values() {
        cloud.tags.remove(&group.arn);
    }
    let at = provider("");
    let plan = cloud.plan(&at, &world(present(spec(&[80], &[])), NODES));
    let steps = lines(&plan).concat();
    let at_of = |words: &str| steps.iter().position(|step| step.contains(words));
    let (tagged, deleted) =
        (at_of("kubernetes.io/service-name=shop/web"), at_of("delete listener"));
    assert!(tagged.is_some() && tagged < deleted, "{steps:#?}");
}

/// A path that is not asked for by the probe that all share.
#[test]
fn a_path_that_has_no_effect_is_not_judged() {
    let pairs = [("healthcheck-protocol", "HTTP"), ("healthcheck-path", "up")];
    let mut cloud = left(&[80]);
    asks(&mut cloud, &Protocol::Http, "10256", "/healthz", [30, 6, 3, 3]);
    let plan = cloud.plan(&provider(SHARED), &world(present(spec(&[80], &pairs)), NODES));
    assert!(plan.is_done() && report(&plan).verdict == Verdict::Done, "{:?}", report(&plan));
}

#[test]
fn groups_without_tags_are_taken_down_too() {
    let at = provider("");
    let mut cloud = left(&[80, 443]);
    for group in cloud.groups.values() {
        cloud.tags.remove(&group.arn);
    }
    cloud.converge(&at, &world(super::model::absent(), 0));
    assert_eq!(cloud, Cloud::default());
}

/// The owner's next change may be about nothing but what the Go program would leave.
#[rstest]
#[case::tags(("additional-resource-tags", "team=web"), &["team=web"])]
#[case::timeout(("healthcheck-timeout", "7"), &["timeout 7"])]
fn changed_after_the_takeover(#[case] annotation: (&str, &str), #[case] words: &[&str]) {
    let at = provider("");
    let cloud = left(&[80]);
    let plan = cloud.plan(&at, &world(present(spec(&[80], &[])), NODES));
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    let changed = world(present(spec(&[80], &[annotation])), NODES);
    let first = lines(&cloud.plan(&at, &changed)).concat();
    assert!(first[0].contains("ccm.rs/managed-for"), "{first:#?}");
    for word in words {
        assert!(first.iter().any(|line| line.contains(*word)), "{word}: {first:#?}");
    }
    // Another program does not know that this is a change.
    let plan = cloud.plan(&provider(""), &changed);
    assert!(plan.is_done(), "{:#?}", lines(&plan));
    assert_eq!(notes(&plan), ["LeftAsFound"]);
}

/// AWS tags one piece a request: the load balancer first, which says that the others are to follow.
#[test]
fn every_group_is_marked_in_the_end() {
    let at = provider("");
    at.first_seen.change_of(&present(spec(&[9999], &[])));
    let ports: Vec<u16> = (80..105).collect();
    let mut cloud = left(&ports);
    let joined = world(present(spec(&ports, &[])), NODES + 1);
    let first = steps(&cloud, &at, &joined);
    assert_eq!(first[0], format!("tag Network Load Balancer {NAME}: {MANAGED_KEY}={UID}"));
    cloud.converge(&at, &joined);
    let is_marked = |arn: &String| cloud.tags[arn].get(MANAGED_KEY).is_some_and(|uid| uid == UID);
    assert!(cloud.groups.values().all(|group| is_marked(&group.arn)));
    assert!(is_marked(&balancer_arn()));
}

/// Somebody lets a listener forward to a group of another cluster.
#[rstest]
#[case::tagged("kubernetes.io/cluster/other", "owned")]
#[case::tagged_of_old("KubernetesCluster", "other")]
fn another_clusters_group_is_left_with_its_targets(#[case] key: &str, #[case] value: &str) {
    let at = provider("");
    let mut cloud = left(&[80, 443]);
    let arn = cloud.listeners[&80].target_groups[0].clone();
    cloud.tags.insert(arn.clone(), [(key.to_owned(), value.to_owned())].into());
    let theirs = Target { id: "i-theirs".into(), port: 30_080 };
    cloud.targets.insert(arn.clone(), [theirs].into());
    let want = present(spec(&[80, 443], &[("healthcheck-interval", "20")]));
    let joined = world(want, NODES + 1);
    let plan = cloud.plan(&at, &joined);
    assert_eq!(notes(&plan), ["TargetGroupLeft"]);
    let name = arn.rsplit('/').next().unwrap();
    assert!(report(&plan).notes[0].message.contains(name), "{:?}", report(&plan).notes);
    let steps = lines(&plan).concat();
    assert!(steps.iter().all(|line| !line.contains(name)), "{steps:#?}");
    assert!(steps.iter().any(|line| line.contains("register in target group")), "{steps:#?}");
    cloud.converge(&at, &joined);
    cloud.converge(&at, &world(super::model::absent(), 0));
    assert_eq!(cloud.groups.keys().collect::<Vec<_>>(), [name]);
}
