//! What a Service asks for, and what is refused.

use std::collections::BTreeSet;

use ccm_core::cloud::{CloudError, LoadBalancerSpec, Protocol};
use rstest::rstest;

use super::super::wish::{ClassicWish, GroupRef};
use super::model::{Cloud, NAME};
use crate::client::elb::{AccessLog, Attributes, HealthCheck};
use crate::config::{Config, HealthProbe};
use crate::load_balancers::samples::{cluster, from, home, local, port, spec};
use crate::load_balancers::site::Site;
use crate::load_balancers::wish::Wish;

/// Reads a wish beside the model's network.
fn read_with(config: &Config, spec: &LoadBalancerSpec) -> Result<ClassicWish, CloudError> {
    let cloud = Cloud::default();
    let wish = Wish::read(spec, &cluster()).unwrap();
    let (home, cluster_name) = (home(), "blue".into());
    let site = Site {
        id: wish.id,
        home: &home,
        config,
        cluster_name: &cluster_name,
        surroundings: &cloud.own.surroundings,
        annotations: &spec.identity.annotations,
    };
    ClassicWish::read(&site, &wish, None)
}

fn read(spec: &LoadBalancerSpec) -> Result<ClassicWish, CloudError> {
    read_with(&Config::read(None).unwrap(), spec)
}

const CERTIFICATE: (&str, &str) = ("ssl-cert", "arn:1");
const BACKEND: &str = "backend-protocol";

#[rstest]
#[case(&[], "tcp/80 to tcp/30080, tcp/443 to tcp/30443")]
#[case(&[(BACKEND, "http")], "http/80 to http/30080, http/443 to http/30443")]
#[case(&[(BACKEND, "https")], "tcp/80 to tcp/30080, tcp/443 to tcp/30443")]
#[case(&[(BACKEND, "HTTP")], "tcp/80 to tcp/30080, tcp/443 to tcp/30443")]
#[case(&[CERTIFICATE], "ssl/80 to tcp/30080, ssl/443 to tcp/30443")]
#[case(&[CERTIFICATE, ("ssl-ports", "*")], "ssl/80 to tcp/30080, ssl/443 to tcp/30443")]
#[case(&[CERTIFICATE, ("ssl-ports", "443")], "tcp/80 to tcp/30080, ssl/443 to tcp/30443")]
#[case(&[CERTIFICATE, ("ssl-ports", "80, 443")], "ssl/80 to tcp/30080, ssl/443 to tcp/30443")]
#[case(&[CERTIFICATE, ("ssl-ports", "port-80")], "ssl/80 to tcp/30080, tcp/443 to tcp/30443")]
#[case(
    &[CERTIFICATE, ("ssl-ports", "443"), (BACKEND, "http")],
    "http/80 to http/30080, https/443 to http/30443"
)]
#[case(
    &[CERTIFICATE, ("ssl-ports", "443"), (BACKEND, "https")],
    "tcp/80 to tcp/30080, https/443 to https/30443"
)]
#[case(
    &[CERTIFICATE, ("ssl-ports", "443"), (BACKEND, "ssl")],
    "tcp/80 to tcp/30080, ssl/443 to ssl/30443"
)]
#[case(
    &[CERTIFICATE, ("ssl-ports", "443"), (BACKEND, "tcp")],
    "tcp/80 to tcp/30080, ssl/443 to tcp/30443"
)]
fn listeners(#[case] annotations: &[(&str, &str)], #[case] want: &str) {
    let wish = read(&spec("web", &[80, 443], annotations)).unwrap();
    let line = |it: &crate::client::elb::Listener| {
        assert_eq!(it.certificate.as_deref(), it.is_tls().then_some("arn:1"));
        format!("{}/{} to {}/{}", it.protocol, it.port, it.node_protocol, it.node_port)
    };
    let lines: Vec<_> = wish.listeners.values().map(line).collect();
    assert_eq!(lines.join(", "), want);
}

const PROTOCOL: &str = "healthcheck-protocol";
const PORT: &str = "healthcheck-port";
const PATH: &str = "healthcheck-path";

#[rstest]
#[case::plain(false, &[], "TCP:30080")]
#[case::tls_on_nodes(false, &[(BACKEND, "https")], "SSL:30080")]
#[case::tls_on_nodes(false, &[(BACKEND, "ssl")], "SSL:30080")]
#[case::http_on_nodes(false, &[(BACKEND, "http")], "TCP:30080")]
#[case::path_without_http(false, &[(PATH, "/a")], "TCP:30080")]
#[case::http(false, &[(PROTOCOL, "http")], "HTTP:30080/")]
#[case::all(false, &[(PROTOCOL, "HTTPS"), (PORT, "81"), (PATH, "/a")], "HTTPS:81/a")]
#[case::traffic_port(false, &[(PORT, "traffic-port")], "TCP:30080")]
#[case::local(true, &[], "HTTP:32000/healthz")]
#[case::local_traffic_port(true, &[(PORT, "traffic-port")], "HTTP:30080/healthz")]
#[case::local_port(true, &[(PORT, "81")], "HTTP:81/healthz")]
#[case::local_tcp(true, &[(PROTOCOL, "TCP")], "TCP:32000")]
#[case::local_path(true, &[(PATH, "/ready")], "HTTP:32000/ready")]
fn health_targets(
    #[case] is_local: bool,
    #[case] annotations: &[(&str, &str)],
    #[case] want: &str,
) {
    let spec = spec("web", &[80, 443], annotations);
    let spec = if is_local { local(spec) } else { spec };
    assert_eq!(read(&spec).unwrap().health.target, want);
}

#[rstest]
#[case(false, &[], "HTTP:10256/ready")]
#[case(false, &[(PORT, "traffic-port")], "HTTP:10256/ready")]
#[case(false, &[(PORT, "81")], "HTTP:81/ready")]
#[case(false, &[(PROTOCOL, "TCP")], "TCP:10256")]
#[case(true, &[], "HTTP:32000/healthz")]
fn health_targets_by_the_shared_probe(
    #[case] is_local: bool,
    #[case] annotations: &[(&str, &str)],
    #[case] want: &str,
) {
    let mut config = Config::read(None).unwrap();
    let port = 10_256.try_into().unwrap();
    config.health_probe = HealthProbe::Shared { port, path: "/ready".to_owned() };
    let spec = spec("web", &[80], annotations);
    let spec = if is_local { local(spec) } else { spec };
    assert_eq!(read_with(&config, &spec).unwrap().health.target, want);
}

#[test]
fn health_checks_have_the_go_programs_defaults() {
    let health = read(&spec("web", &[80], &[])).unwrap().health;
    let want = HealthCheck {
        target: "TCP:30080".into(),
        interval: 10,
        timeout: 5,
        healthy: 2,
        unhealthy: 6,
    };
    assert_eq!(health, want);
    let annotations = [
        ("healthcheck-interval", "300"),
        ("healthcheck-timeout", "60"),
        ("healthcheck-healthy-threshold", "10"),
        ("healthcheck-unhealthy-threshold", "2"),
    ];
    let HealthCheck { interval, timeout, healthy, unhealthy, .. } =
        read(&spec("web", &[80], &annotations)).unwrap().health;
    assert_eq!((interval, timeout, healthy, unhealthy), (300, 60, 10, 2));
}

fn id(id: &str) -> GroupRef {
    GroupRef::Id(id.to_owned())
}

fn own() -> GroupRef {
    GroupRef::Own(format!("k8s-elb-{NAME}"))
}

const GROUPS: &str = "security-groups";
const EXTRA: &str = "extra-security-groups";

#[rstest]
#[case(None, &[], vec![own()])]
#[case(None, &[(GROUPS, "")], vec![own()])]
#[case(None, &[(GROUPS, "sg-1, sg-2,")], vec![id("sg-1"), id("sg-2")])]
#[case(None, &[(EXTRA, "sg-3")], vec![own(), id("sg-3")])]
#[case(None, &[(GROUPS, "sg-1"), (EXTRA, "sg-3")], vec![id("sg-1"), id("sg-3")])]
#[case(Some("sg-all"), &[], vec![id("sg-all")])]
#[case(Some("sg-all"), &[(EXTRA, "sg-3")], vec![id("sg-all"), id("sg-3")])]
#[case(Some("sg-all"), &[(GROUPS, "sg-1")], vec![id("sg-1")])]
fn security_groups(
    #[case] shared: Option<&str>,
    #[case] annotations: &[(&str, &str)],
    #[case] want: Vec<GroupRef>,
) {
    let mut config = Config::read(None).unwrap();
    config.elb_security_group = shared.map(str::to_owned);
    let wish = read_with(&config, &spec("web", &[80], annotations)).unwrap();
    assert_eq!(wish.groups, want.iter().cloned().collect::<BTreeSet<_>>());
    assert_eq!(wish.own_group.is_some(), want.contains(&own()));
}

#[test]
fn the_own_group_lets_in_each_range_at_each_port() {
    let spec = from(spec("web", &[80, 443], &[]), &["10.1.2.3/8", "192.0.2.0/24", "fd00::/8"]);
    let wish = read(&spec).unwrap();
    let group = wish.own_group.unwrap();
    let mut lines: Vec<_> = group.rules.iter().map(ToString::to_string).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "icmp fragmentation needed from 10.0.0.0/8",
            "icmp fragmentation needed from 192.0.2.0/24",
            "tcp 443 from 10.0.0.0/8",
            "tcp 443 from 192.0.2.0/24",
            "tcp 80 from 10.0.0.0/8",
            "tcp 80 from 192.0.2.0/24",
        ]
    );
    assert_eq!(group.description, "Classic Load Balancer auidweb of Service shop/web");
    assert_eq!(wish.notes.len(), 1, "{:?}", wish.notes);
    assert_eq!(wish.notes[0].reason, "SourceRangeIgnored");
}

#[rstest]
#[case(&[], Attributes::default())]
#[case(
    &[("cross-zone-load-balancing-enabled", "true"), ("connection-idle-timeout", "4000")],
    Attributes { idle: 4000, cross_zone: true, ..Attributes::default() }
)]
#[case(
    &[("connection-draining-enabled", "true")],
    Attributes { draining: Some(300), ..Attributes::default() }
)]
#[case(
    &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "1")],
    Attributes { draining: Some(1), ..Attributes::default() }
)]
#[case(&[("connection-draining-timeout", "1")], Attributes::default())]
#[case(
    &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs")],
    Attributes { access_log: Some(log("", 60)), ..Attributes::default() }
)]
#[case(
    &[
        ("access-log-enabled", "true"),
        ("access-log-s3-bucket-name", "logs"),
        ("access-log-s3-bucket-prefix", "web"),
        ("access-log-emit-interval", "5"),
    ],
    Attributes { access_log: Some(log("web", 5)), ..Attributes::default() }
)]
#[case(&[("access-log-emit-interval", "7")], Attributes::default())]
fn attributes(#[case] annotations: &[(&str, &str)], #[case] want: Attributes) {
    assert_eq!(read(&spec("web", &[80], annotations)).unwrap().attributes.all, want);
}

fn log(prefix: &str, interval: u32) -> AccessLog {
    AccessLog { bucket: "logs".into(), prefix: prefix.into(), interval }
}

#[rstest]
#[case(
    &[("target-group-attributes", "a=b")],
    &["target-group-attributes=\"a=b\": a Classic Load Balancer has no target groups"]
)]
#[case(&[CERTIFICATE, (BACKEND, "grpc")], &["backend-protocol=\"grpc\"", "http, https, ssl or tcp"])]
#[case(&[("ssl-negotiation-policy", "")], &["ssl-negotiation-policy=\"\"", "must be the name"])]
#[case(&[(PROTOCOL, "UDP")], &["healthcheck-protocol=\"UDP\"", "TCP, SSL, HTTP or HTTPS"])]
#[case(&[(PROTOCOL, "HTTP"), (PATH, "a")], &["healthcheck-path=\"a\"", "must begin with /"])]
#[case(&[("healthcheck-interval", "5")], &["healthcheck-timeout (5) must be less than", "(5)"])]
#[case(&[("healthcheck-timeout", "1")], &["healthcheck-timeout=\"1\"", "2 to 60"])]
#[case(&[("healthcheck-timeout", "-3")], &["healthcheck-timeout=\"-3\"", "2 to 60"])]
#[case(&[("healthcheck-timeout", "61")], &["healthcheck-timeout=\"61\"", "2 to 60"])]
#[case(&[("healthcheck-timeout", "10")], &["healthcheck-timeout (10) must be less than", "(10)"])]
#[case(&[("access-log-enabled", "true")], &["access-log-s3-bucket-name must name the bucket"])]
#[case(
    &[
        ("access-log-enabled", "true"),
        ("access-log-s3-bucket-name", "logs"),
        ("access-log-emit-interval", "7"),
    ],
    &["access-log-emit-interval=\"7\": must be 5 or 60"]
)]
#[case(&[("subnets", "subnet-9")], &["subnets: there is no subnet \"subnet-9\""])]
#[case(&[("subnets", "subnet-b,subnet-b2")], &["subnet-b and subnet-b2 are both in b"])]
#[case::all_at_once(
    &[("healthcheck-timeout", "61"), ("access-log-enabled", "true"), ("subnets", "subnet-9")],
    &["healthcheck-timeout", "bucket", "subnet-9"]
)]
fn refusals(#[case] annotations: &[(&str, &str)], #[case] parts: &[&str]) {
    let err = read(&spec("web", &[80], annotations)).unwrap_err();
    assert_eq!(err.kind(), ccm_core::cloud::Kind::InvalidConfiguration);
    for part in parts {
        assert!(err.message().contains(part), "{part:?} in {err}");
    }
}

#[test]
fn udp_takes_another_kind() {
    let mut spec = spec("web", &[], &[]);
    spec.ports = vec![port(53, 30_053)];
    spec.ports[0].protocol = Protocol::Udp;
    let err = read(&spec).unwrap_err();
    assert!(err.message().contains("aws-load-balancer-type to nlb"), "{err}");
}

#[test]
fn ranges_of_ipv6_alone_let_nobody_in() {
    let mut six = from(spec("web", &[80], &[]), &["fd00::/8", "fe80::/10"]);
    let err = read(&six).unwrap_err();
    assert!(err.message().contains("name a range of IPv4"), "{err}");
    six.source_ranges.iter_mut().for_each(|it| it.field = "the annotation".to_owned());
    let err = read(&six).unwrap_err();
    assert!(err.message().starts_with("the annotation fd00::/8, fe80::/10: "), "{err}");
    // Where groups are named, ranges say nothing.
    assert!(read(&from(spec("web", &[80], &[(GROUPS, "sg-1")]), &["fd00::/8"])).is_ok());
}

#[rstest]
#[case(&[("eip-allocations", "eipalloc-1")], "eip-allocations=\"eipalloc-1\"")]
#[case(&[("private-ipv4-addresses", "here")], "private-ipv4-addresses=\"here\"")]
#[case(&[(BACKEND, "grpc")], "backend-protocol=\"grpc\"")]
fn what_is_ignored_is_said(#[case] annotations: &[(&str, &str)], #[case] part: &str) {
    let notes = read(&spec("web", &[80], annotations)).unwrap().notes;
    assert_eq!(notes.len(), 1);
    assert_eq!(notes[0].reason, "AnnotationIgnored");
    assert!(notes[0].message.contains(part), "{}", notes[0].message);
}
