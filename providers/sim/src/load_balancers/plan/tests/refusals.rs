//! What cannot be had, and which nodes take traffic.

use std::sync::Arc;

use ccm_core::cloud::{
    CloudError, Evidence, ExternalTrafficPolicy, IpFamily, Kind, LoadBalancerSpec, Observation,
    Protocol, RunState, SourceRange, Verdict, Zone,
};
use rstest::rstest;
use simcloud::api::{HealthCheck, HealthProtocol, InstanceId};

use super::super::super::members::{Members, Roll};
use super::super::super::wish::Wish;
use super::model::{Cloud, annotated, instance, member, members, port, spec};
use super::{marks, plan, present, world};

fn web() -> LoadBalancerSpec {
    spec("web", &[80])
}

fn sctp() -> LoadBalancerSpec {
    let mut spec = web();
    spec.ports[0].protocol = Protocol::Sctp;
    spec
}

fn no_node_port() -> LoadBalancerSpec {
    let mut spec = web();
    spec.ports[0].node_port = None;
    spec
}

fn requests(address: &str) -> LoadBalancerSpec {
    let mut spec = web();
    spec.requested_address = Some(address.to_owned());
    spec
}

fn source(text: &str) -> LoadBalancerSpec {
    let mut spec = web();
    spec.source_ranges = vec![SourceRange {
        field: "spec.loadBalancerSourceRanges".to_owned(),
        text: text.to_owned(),
        network: text.parse().ok(),
    }];
    spec
}

#[rstest]
#[case::sctp(sctp(), "spec.ports[0].protocol SCTP: this cloud forwards TCP and UDP")]
#[case::no_node_port(
    no_node_port(),
    "spec.ports[0] (80) has no nodePort: this cloud reaches pods through node ports, so \
     spec.allocateLoadBalancerNodePorts must be true"
)]
#[case::not_an_address(
    requests("nonsense"),
    "spec.loadBalancerIP \"nonsense\": must be an IP address"
)]
#[case::another_family(
    requests("2001:db8::1"),
    "spec.loadBalancerIP 2001:db8::1: the Service has no ipv6 in spec.ipFamilies; request \
     addresses of its families"
)]
#[case::two_of_a_family(
    annotated(web(), &[("addresses", "192.0.2.1,192.0.2.2")]),
    "sim.ccm.rs/addresses 192.0.2.2: 192.0.2.1 is requested too; one ipv4 address is accepted"
)]
#[case::not_a_range(
    source("10.0.0.1"),
    "spec.loadBalancerSourceRanges \"10.0.0.1\": must be a range like 192.0.2.0/24"
)]
#[case::our_own_tag(
    annotated(web(), &[("extra-tags", "owner=me")]),
    "annotation sim.ccm.rs/extra-tags: the tag \"owner\" is the controller's own; choose another"
)]
fn what_cannot_be_had_is_named_and_what_is_there_stays(
    #[case] bad: LoadBalancerSpec,
    #[case] want: &str,
) {
    let mut cloud = Cloud::default();
    cloud.converge(&world(present(web()), 1));
    let plan = plan(&world(present(bad), 1), &cloud.own);
    assert!(plan.is_done());
    let Verdict::Refused(err) = &plan.reports[0].verdict else { panic!("{plan:?}") };
    assert_eq!((err.kind(), err.message()), (Kind::InvalidConfiguration, want));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut bad = sctp();
    bad.ports.push(port(81, 0));
    let err = Wish::read(&bad, &marks()).unwrap_err();
    assert_eq!(err.message().split("; ").count(), 2);
}

#[test]
fn ranges_are_taken_without_host_bits_and_once() {
    let mut spec = source("10.1.2.3/8");
    spec.source_ranges.extend(source("10.0.0.0/8").source_ranges);
    let spec = annotated(spec, &[("additional-source-ranges", "192.0.2.7/24")]);
    let wish = Wish::read(&spec, &marks()).unwrap();
    let sources: Vec<_> = wish.sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["10.0.0.0/8", "192.0.2.0/24"]);
    let mut dual = annotated(web(), &[("additional-source-ranges", "10.0.0.0/8")]);
    dual.families = vec![IpFamily::V4, IpFamily::V6];
    assert_eq!(Wish::read(&dual, &marks()).unwrap().rules().count(), 2, "all of both families");
}

fn local() -> LoadBalancerSpec {
    let mut spec = web();
    spec.external_traffic_policy = ExternalTrafficPolicy::Local;
    spec.health_check_node_port = 32_000.try_into().ok();
    spec
}

#[rstest]
#[case::kube_proxy(web(), HealthProtocol::Http, 10_256, Some("/healthz"))]
#[case::local(local(), HealthProtocol::Http, 32_000, Some("/healthz"))]
#[case::a_port_of_its_own(
    annotated(local(), &[("health-check-port", "9"), ("health-check-path", "/up")]),
    HealthProtocol::Http, 9, Some("/up")
)]
#[case::the_node_port(
    annotated(web(), &[("health-check-protocol", "tcp")]), HealthProtocol::Tcp, 30_080, None
)]
fn health_checks(
    #[case] spec: LoadBalancerSpec,
    #[case] protocol: HealthProtocol,
    #[case] port: u16,
    #[case] path: Option<&str>,
) {
    let wish = Wish::read(&spec, &marks()).unwrap();
    let (port, path) = (port.try_into().unwrap(), path.map(str::to_owned));
    assert_eq!(wish.ports[0].health_check, HealthCheck { protocol, port, path });
}

fn ids(numbers: &[usize]) -> Vec<InstanceId> {
    numbers.iter().map(|number| InstanceId::from(format!("i-{number:016}"))).collect()
}

#[test]
fn only_a_positive_answer_removes_a_target() {
    let unknown = || Observation::Unknown(CloudError::new(Kind::Unavailable, "down"));
    let mut stopped = instance(5);
    stopped.state = RunState::Stopped;
    let nodes = [
        member(0, Observation::Present(instance(0))),
        member(1, unknown()),
        member(2, unknown()),
        member(3, Observation::Gone(Evidence::Absent)),
        member(4, Observation::Present(instance(4))),
        member(5, Observation::Present(stopped)),
    ];
    let members = Members::of(&nodes, None);
    // 1 and 3 are targets, 6 is of a node that is gone.
    let (add, remove) = members.difference(&ids(&[0, 1, 3, 5, 6]));
    assert_eq!((add, remove), (ids(&[4]), ids(&[3, 6])));
    let (add, remove) = members.difference(&[]);
    assert_eq!((add, remove), (ids(&[0, 4, 5]), ids(&[])), "2 is not added either");
}

#[test]
fn a_node_without_a_provider_id_goes_by_its_instance() {
    let mut new = members(1);
    new[0].node.provider_id = None;
    assert_eq!(Members::of(&new, None).difference(&[]).0, ids(&[0]));
    new[0].instance = Arc::new(Observation::Unknown(CloudError::new(Kind::Unavailable, "down")));
    assert_eq!(Members::of(&new, None).difference(&[]).0, ids(&[]));
    new[0].node.provider_id = "aws:///eu-west-1a/i-1".try_into().ok();
    assert_eq!(Members::of(&new, None).difference(&[]).0, ids(&[]), "foreign nodes are skipped");
}

#[test]
fn zones_choose_nodes() {
    let mut there = instance(1);
    there.zone = Some(Zone::from("sim-1b"));
    let nodes =
        [member(0, Observation::Present(instance(0))), member(1, Observation::Present(there))];
    let zones = ["sim-1b".to_owned()];
    assert_eq!(Members::of(&nodes, Some(&zones)).difference(&[]).0, ids(&[1]));
    let none = annotated(web(), &[("target-zones", "")]);
    assert!(Wish::read(&none, &marks()).unwrap().zones.is_none(), "an empty list asks for nothing");
}

#[test]
fn nodes_are_sorted_out_once_for_all_services() {
    let (roll, nodes): (_, Arc<[_]>) = (Roll::default(), members(2).into());
    let first = roll.of(&nodes, None);
    assert!(Arc::ptr_eq(&first, &roll.of(&nodes, None)));
    let zones = ["z-1".to_owned()];
    assert!(!Arc::ptr_eq(&first, &roll.of(&nodes, Some(&zones))));
    assert!(Arc::ptr_eq(&first, &roll.of(&nodes, None)));
    assert_eq!(roll.of(&members(3).into(), None).difference(&[]).0.len(), 3);
}
