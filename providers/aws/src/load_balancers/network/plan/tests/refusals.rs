//! What cannot be had, and what is said of it.

use ccm_core::cloud::{
    ExternalTrafficPolicy, Holds, Kind, LoadBalancerSpec, Protocol as Transport,
};
use rstest::rstest;

use super::model::{Cloud, NAME, balancer_arn, group, group_arn, present, provider, spec, world};
use super::{lines, refusal, report, steps};
use crate::client::elbv2::{Protocol, State};
use crate::marks::Tags;

fn refused(spec: LoadBalancerSpec) -> (Kind, String) {
    let plan = Cloud::default().plan(&provider(""), &world(present(spec), 2));
    assert!(plan.is_done(), "{:?}", lines(&plan));
    let err = refusal(&plan);
    (err.kind(), err.message().to_owned())
}

#[rstest]
#[case(&[("extra-security-groups", "sg-1,,sg-2")], "extra-security-groups=\"sg-1,sg-2\": a Network")]
#[case(&[("healthcheck-protocol", "SSL")], "healthcheck-protocol=\"SSL\": must be TCP, HTTP or HTTPS")]
#[case(&[("healthcheck-protocol", "http"), ("healthcheck-path", "up")], "must begin with /")]
#[case(&[("access-log-enabled", "true")], "access-log-s3-bucket-name must name the bucket")]
#[case(
    &[("eip-allocations", "eipalloc-1,")],
    "eip-allocations=\"eipalloc-1\" has 1 addresses, and the load balancer 2 subnets"
)]
#[case(&[("private-ipv4-addresses", "10.0.0.9")], "private-ipv4-addresses=\"10.0.0.9\" has 1 addresses")]
#[case(
    &[("private-ipv4-addresses", "10.0.0.9,10.0.0.8")],
    "private-ipv4-addresses=\"10.0.0.9,10.0.0.8\": none is of subnet subnet-b (10.0.1.0/24)"
)]
#[case(&[("private-ipv4-addresses", "10.0.0.9,here")], "private-ipv4-addresses: \"here\" must be an IPv4")]
#[case(
    &[("private-ipv4-addresses", "10.0.0.9,10.0.1.9"), ("eip-allocations", "eipalloc-1,eipalloc-2")],
    "eip-allocations=\"eipalloc-1,eipalloc-2\" and service.beta.kubernetes.io/aws-load-balancer-private"
)]
#[case(&[("subnets", "subnet-z")], "there is no subnet \"subnet-z\"")]
#[case(&[("subnets", "subnet-a,subnet-b,subnet-a")], "subnet subnet-a is named twice")]
fn by_annotation(#[case] pairs: &[(&str, &str)], #[case] why: &str) {
    let (kind, message) = refused(spec(&[80], pairs));
    assert_eq!(kind, Kind::InvalidConfiguration);
    assert!(message.contains(why), "{message}");
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let pairs = [("healthcheck-protocol", "SSL"), ("access-log-enabled", "true")];
    let (_, message) = refused(spec(&[80], &pairs));
    assert_eq!(message.matches("annotation service.beta").count(), 2, "{message}");
}

#[test]
fn by_other_fields() {
    let mut local = spec(&[80], &[]);
    local.external_traffic_policy = ExternalTrafficPolicy::Local;
    assert!(refused(local).1.contains("spec.healthCheckNodePort is not set"));

    let mut udp = spec(&[53], &[("target-group-attributes", "preserve_client_ip.enabled=false")]);
    udp.ports[0].protocol = Transport::Udp;
    assert!(refused(udp).1.contains("UDP"));

    let mut mixed = spec(&[53, 54], &[]);
    mixed.ports[0].protocol = Transport::Udp;
    mixed.ports[0].node_port = None;
    assert!(refused(mixed).1.contains("ports of one protocol"));

    let mut bare = spec(&[80, 81], &[]);
    bare.ports.iter_mut().for_each(|port| port.node_port = None);
    let (_, message) = refused(bare);
    assert!(
        message.contains("no nodePort for port 80 (spec.ports[0]), 81 (spec.ports[1]): "),
        "{message}"
    );
}

#[test]
fn what_is_refused_keeps_its_targets_right() {
    let at = provider("");
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80], &[])), 2));
    let wrong = spec(&[81], &[("healthcheck-protocol", "SSL")]);
    let plan = cloud.plan(&at, &world(present(wrong), 3));
    assert_eq!(lines(&plan).concat().len(), 1);
    assert!(lines(&plan)[0][0].starts_with("register in target group "));
    assert_eq!(report(&plan).holds, Holds::Something);
}

#[rstest]
#[case::of_another_kind("application", Tags::new(), "application load balancer arn:balancer/")]
#[case::of_another_cluster(
    "network",
    Tags::from([("kubernetes.io/cluster/other".into(), "owned".into())]),
    "another cluster's tag kubernetes.io/cluster/other"
)]
#[case::of_another_cluster_of_old(
    "network",
    Tags::from([("KubernetesCluster".into(), "other".into())]),
    "another cluster's tag KubernetesCluster=other"
)]
fn a_load_balancer_of_somebody_else(#[case] kind: &str, #[case] tags: Tags, #[case] why: &str) {
    let at = provider("");
    let mut cloud = Cloud::default();
    let web = world(present(spec(&[80], &[])), 2);
    cloud.converge(&at, &web);
    cloud.balancers[0].kind = kind.to_owned();
    cloud.tags.insert(balancer_arn(), tags);
    let plan = cloud.plan(&at, &web);
    assert!(refusal(&plan).message().contains(why), "{}", refusal(&plan));
    assert!(plan.stages.is_empty());
    // Its groups are the Service's by their tags, and used; nothing else is touched.
    let down = steps(&cloud, &at, &world(super::model::absent(), 0));
    assert!(down.iter().all(|line| !line.contains(NAME)), "{down:?}");
}

#[test]
fn one_that_failed_says_why() {
    let at = provider("");
    let mut cloud = Cloud::default();
    let web = world(present(spec(&[80], &[])), 2);
    cloud.converge(&at, &web);
    cloud.balancers[0].state = State::Failed("no free addresses".into());
    let plan = cloud.plan(&at, &web);
    assert!(refusal(&plan).message().contains("says AWS: no free addresses"));
    assert_eq!(report(&plan).ingress, ccm_core::cloud::Ingress::Leave);
}

#[test]
fn a_group_of_somebody_else_is_in_the_way() {
    let at = provider("");
    let mut cloud = Cloud::default();
    let web = world(present(spec(&[80], &[])), 2);
    cloud.converge(&at, &web);
    let name = cloud.groups.keys().next().unwrap().clone();
    let mut cloud = Cloud::default();
    cloud.groups.insert(name.clone(), group(&name, Protocol::Tcp, 30_080));
    let plan = cloud.plan(&at, &web);
    assert_eq!(refusal(&plan).kind(), Kind::InvalidConfiguration);
    assert!(refusal(&plan).message().contains(&format!("target group {}", group_arn(&name))));
    // Another load balancer has it, that of an earlier Service of this name: one of another name
    // serves.
    let mut other = Cloud::default();
    other.converge(&at, &web);
    let mut other = other.balancers.remove(0);
    other.name = "another".into();
    other.arn = "arn:another".into();
    cloud.groups.get_mut(&name).unwrap().load_balancers.insert(other.arn.clone());
    cloud.balancers.push(other);
    let lines = lines(&cloud.plan(&at, &web)).concat();
    let makes: Vec<_> = lines.iter().filter(|line| line.contains("create target group")).collect();
    assert!(makes.len() == 1 && !makes[0].contains(&name), "{lines:#?}");
}
