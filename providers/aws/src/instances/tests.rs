//! Records, as nodes see them.

use ccm_core::cloud::{Instance, IpFamily, Kind, ProviderId, RunState};
use rstest::rstest;

use super::*;
use crate::client::ec2::instances::Interface;
use crate::client::ec2::interfaces::{Attachment, FoundInterface};
use crate::ground::Cluster;
use crate::marks::Tags;

fn cluster() -> Cluster {
    Cluster { id: "blue".to_owned(), legacy: false }
}

fn observation(machine: &Machine, families: &[IpFamily]) -> Observation {
    let common = Common { region: "eu-west-1", families, cluster: &cluster() };
    record::observation(machine, BTreeMap::new(), common)
}

fn present(machine: &Machine, families: &[IpFamily]) -> Instance {
    match observation(machine, families) {
        Observation::Present(instance) => instance,
        other => panic!("{other:?}"),
    }
}

fn say(observation: &Observation) -> String {
    match observation {
        Observation::Present(it) => format!("{:?}", it.state),
        Observation::Gone(evidence) => format!("{evidence:?}"),
        Observation::Unknown(err) => format!("{}: {err}", err.kind().reason()),
    }
}

fn interface(id: &str, device_index: i32, v4: &[&str], v6: &[&str]) -> Interface {
    let texts = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
    Interface {
        id: id.to_owned(),
        device_index: Some(device_index),
        is_in_use: true,
        private_ipv4s: texts(v4),
        ipv6s: texts(v6),
        security_groups: [format!("sg-of-{id}")].into(),
        source_dest_check: Some(true),
    }
}

/// An instance with all that a record can have.
fn machine() -> Machine {
    Machine {
        id: "i-1".to_owned(),
        state: Some(MachineState::Running),
        instance_type: Some("m5.large".to_owned()),
        zone: Some("eu-west-1a".to_owned()),
        vpc: Some("vpc-1".to_owned()),
        subnet: Some("subnet-1".to_owned()),
        private_dns_name: Some("ip-10-0-0-1.internal".to_owned()),
        public_dns_name: Some("ec2.example".to_owned()),
        public_ip: Some("192.0.2.1".to_owned()),
        interfaces: vec![
            interface("eni-2", 1, &["10.0.1.1"], &["fd00::2:1", "fd00::2:2"]),
            interface("eni-1", 0, &["10.0.0.1", "10.0.0.2"], &["fd00::1"]),
        ],
        security_groups: ["sg-1".to_owned()].into(),
        source_dest_check: Some(true),
        tags: Tags::from([("kubernetes.io/cluster/blue".to_owned(), "owned".to_owned())]),
    }
}

#[rstest]
#[case::pending(Some(MachineState::Pending), "Starting")]
#[case::running(Some(MachineState::Running), "Running")]
#[case::stopping(Some(MachineState::Stopping), "Stopping")]
#[case::stopped(Some(MachineState::Stopped), "Stopped")]
#[case::shutting_down(Some(MachineState::ShuttingDown), "Stopping")]
#[case::terminated(Some(MachineState::Terminated), "Terminated")]
#[case::missing(None, "InternalError: AWS does not say in which state i-1 is")]
fn states(#[case] state: Option<MachineState>, #[case] want: &str) {
    let machine = Machine { state, ..machine() };
    assert_eq!(say(&observation(&machine, &[IpFamily::V4])), want);
}

#[test]
fn a_record_in_full() {
    let instance = present(&machine(), &[IpFamily::V4]);
    assert_eq!(instance.provider_id.as_str(), "aws:///eu-west-1a/i-1");
    assert_eq!(instance.incarnation.as_str(), "i-1");
    assert_eq!(instance.instance_type.unwrap().as_str(), "m5.large");
    assert_eq!(instance.zone.unwrap().as_str(), "eu-west-1a");
    assert_eq!(instance.region.unwrap().as_str(), "eu-west-1");
    let detail = instance.detail.get::<InstanceDetail>().unwrap();
    let want = InstanceDetail {
        id: "i-1".to_owned(),
        security_groups: ["sg-1".to_owned()].into(),
        subnet: Some("subnet-1".to_owned()),
        vpc: Some("vpc-1".to_owned()),
        source_dest_check: Some(true),
        interfaces: machine().interfaces.into_iter().rev().collect(),
        is_fargate: false,
        has_cluster_tag: true,
    };
    assert_eq!(*detail, want);
}

#[test]
fn groups_that_only_the_primary_interface_shows_are_the_instances() {
    let machine = Machine { security_groups: [].into(), tags: Tags::new(), ..machine() };
    let instance = present(&machine, &[IpFamily::V4]);
    let detail = instance.detail.get::<InstanceDetail>().unwrap();
    assert_eq!(detail.security_groups, ["sg-of-eni-1".to_owned()].into());
    assert!(!detail.has_cluster_tag);
}

const V4: &str = "InternalIP=10.0.0.1, InternalIP=10.0.0.2, InternalIP=10.0.1.1, \
                  ExternalIP=192.0.2.1, InternalDNS=ip-10-0-0-1.internal, \
                  Hostname=ip-10-0-0-1.internal, ExternalDNS=ec2.example";
const V6: &str = "InternalIP=fd00::1, InternalIP=fd00::2:1";

#[rstest]
#[case::v4(&[IpFamily::V4], V4.to_owned())]
#[case::v6(&[IpFamily::V6], V6.to_owned())]
#[case::both(&[IpFamily::V4, IpFamily::V6], format!("{V4}, {V6}"))]
#[case::both_the_other_way_round(&[IpFamily::V6, IpFamily::V4], format!("{V6}, {V4}"))]
fn addresses(#[case] families: &[IpFamily], #[case] want: String) {
    assert_eq!(format!("{:?}", present(&machine(), families).addresses), format!("[{want}]"));
}

#[test]
fn interfaces_that_are_not_in_use_or_not_attached_count_less_or_not() {
    let mut machine = Machine { private_dns_name: None, public_dns_name: None, ..machine() };
    machine.public_ip = None;
    machine.interfaces = vec![
        Interface { device_index: None, ..interface("eni-3", 0, &["10.0.3.1"], &[]) },
        Interface { is_in_use: false, ..interface("eni-4", 0, &["10.0.4.1"], &[]) },
        interface("eni-1", 7, &["10.0.0.1"], &[]),
    ];
    let got = format!("{:?}", present(&machine, &[IpFamily::V4]).addresses);
    assert_eq!(got, "[InternalIP=10.0.0.1, InternalIP=10.0.3.1]");
}

#[rstest]
#[case::none("10.0.0.256")]
#[case::of_the_other_family("fd00::1")]
fn an_address_that_is_none_makes_no_sense(#[case] ip: &str) {
    let interfaces = vec![interface("eni-1", 0, &[ip], &[])];
    let machine = Machine { interfaces, ..machine() };
    let want = format!("InternalError: AWS says that i-1 has the address {ip:?}, which is none");
    assert_eq!(say(&observation(&machine, &[IpFamily::V4])), want);
}

#[test]
fn an_odd_id_from_the_cloud_becomes_nobodys() {
    let machine = Machine { id: String::new(), ..machine() };
    let want = "InternalError: AWS gave an instance the ID \"\"";
    assert_eq!(say(&observation(&machine, &[IpFamily::V4])), want);
}

#[rstest]
#[case::attached(Attachment::Attached, RunState::Running)]
#[case::it_goes(Attachment::Detaching, RunState::Stopping)]
fn a_pod_on_fargate_is_what_its_interface_is(
    #[case] attachment: Attachment,
    #[case] want: RunState,
) {
    let found = FoundInterface {
        id: "eni-1".to_owned(),
        attachment,
        zone: Some("eu-west-1b".to_owned()),
        vpc: Some("vpc-1".to_owned()),
        subnet: Some("subnet-1".to_owned()),
        private_dns_name: Some("ip-10-0-0-9.internal".to_owned()),
        private_ipv4s: vec!["10.0.0.9".to_owned()],
        ipv6s: vec!["fd00::9".to_owned()],
    };
    let provider_id = ProviderId::try_from("aws:///eu-west-1b/x/fargate-10.0.0.9").unwrap();
    let families = [IpFamily::V4, IpFamily::V6];
    let common = Common { region: "eu-west-1", families: &families, cluster: &cluster() };
    let labels = BTreeMap::from([(ZONE_ID.to_owned(), "euw1-az2".to_owned())]);
    let Observation::Present(instance) = record::fargate(&provider_id, &found, labels, common)
    else {
        panic!("it is there");
    };
    assert_eq!(instance.provider_id, provider_id);
    assert_eq!(instance.state, want);
    assert_eq!(instance.instance_type, None);
    assert_eq!(instance.zone.unwrap().as_str(), "eu-west-1b");
    assert_eq!(instance.labels.len(), 1);
    let name = "InternalDNS=ip-10-0-0-9.internal";
    let want = format!("[InternalIP=10.0.0.9, {name}, InternalIP=fd00::9, {name}]");
    assert_eq!(format!("{:?}", instance.addresses), want);
    assert!(instance.detail.get::<InstanceDetail>().unwrap().is_fargate);
}

/// The name goes with an address of the family.
#[rstest]
#[case::first(&[IpFamily::V6, IpFamily::V4], "[InternalIP=10.0.0.9, InternalDNS=ip-10-0-0-9.internal]")]
#[case::alone(&[IpFamily::V6], "[]")]
fn a_pod_on_fargate_without_an_address_of_a_family(
    #[case] families: &[IpFamily],
    #[case] want: &str,
) {
    let found = FoundInterface {
        id: "eni-1".to_owned(),
        attachment: Attachment::Attached,
        zone: None,
        vpc: None,
        subnet: None,
        private_dns_name: Some("ip-10-0-0-9.internal".to_owned()),
        private_ipv4s: vec!["10.0.0.9".to_owned()],
        ipv6s: Vec::new(),
    };
    let provider_id = ProviderId::try_from("aws:///eu-west-1b/x/fargate-10.0.0.9").unwrap();
    let common = Common { region: "eu-west-1", families, cluster: &cluster() };
    let Observation::Present(instance) =
        record::fargate(&provider_id, &found, BTreeMap::new(), common)
    else {
        panic!("it is there");
    };
    assert_eq!(format!("{:?}", instance.addresses), want);
}

fn node(labels: &[&str], is_initialized: bool) -> NodeIdentity {
    NodeIdentity {
        name: "a".into(),
        uid: "u".into(),
        created: std::time::SystemTime::UNIX_EPOCH,
        provider_id: None,
        system_uuid: None,
        addresses: vec![],
        labels: labels.iter().map(|key| ((*key).to_owned(), "nn".to_owned())).collect(),
        annotations: [].into(),
        is_initialized,
    }
}

fn waits() -> Followed {
    Followed::Waits(CloudError::new(Kind::Unavailable, "no answer"))
}

fn layers() -> Followed {
    Followed::Labels([(LAYER_1.to_owned(), "nn-1".to_owned())].into())
}

#[rstest]
#[case::known(node(&[], false), Some(layers()), Ok(1))]
#[case::known_late(node(&[], true), Some(layers()), Ok(1))]
#[case::it_has_them(node(&[LAYER_1], false), Some(layers()), Ok(0))]
#[case::not_known_yet(node(&[], false), Some(waits()), Err("no answer"))]
#[case::it_takes_pods_already(node(&[], true), Some(waits()), Ok(0))]
#[case::goes_without(node(&[], false), Some(Followed::Without), Ok(0))]
#[case::nobody_asked(node(&[], false), None, Ok(0))]
fn a_place_that_is_not_known_holds_up_only_who_takes_no_pods_yet(
    #[case] node: NodeIdentity,
    #[case] place: Option<Followed>,
    #[case] want: Result<usize, &str>,
) {
    let labels = followed(&node, place.as_ref());
    let labels = labels.map(|labels| labels.len()).map_err(|err| err.message().to_owned());
    assert_eq!(labels, want.map_err(str::to_owned));
}

#[rstest]
#[case::running(MachineState::Running, &[], Some(true))]
#[case::not_yet(MachineState::Pending, &[], Some(false))]
#[case::not_any_more(MachineState::Stopped, &[], None)]
#[case::it_has_them(MachineState::Running, &[LAYER_1], None)]
fn places_are_asked_for_once(
    #[case] state: MachineState,
    #[case] labels: &[&str],
    #[case] is_running: Option<bool>,
) {
    let node = node(labels, false);
    let word = Word::Machine(Arc::new(Machine { state: Some(state), ..machine() }));
    assert_eq!(asked((&node, &word)).map(|it| it.is_running), is_running);
    assert!(asked((&node, &Word::Absent)).is_none());
}
