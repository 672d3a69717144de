use std::time::SystemTime;

use ccm_core::cloud::{NodeAddress, NodeName, Uid};
use rstest::rstest;

use super::*;
use crate::client::ec2::instances::Interface;
use crate::ground::Cluster;
use crate::marks::{LEGACY_KEY, Tags};

fn home() -> Home {
    Home {
        region: "eu-west-1".to_owned(),
        vpc: "vpc-1".to_owned(),
        subnet: None,
        own: Some(OwnInstance { id: "i-self".to_owned(), private_dns_name: "self".to_owned() }),
        cluster: Cluster { id: "blue".to_owned(), legacy: false },
    }
}

fn node(name: &str, provider_id: Option<&str>, addresses: &[&str]) -> NodeIdentity {
    let addresses = addresses.iter().map(|ip| NodeAddress::internal(ip.parse().unwrap()));
    NodeIdentity {
        name: NodeName::from(name),
        uid: Uid::from("u-1"),
        created: SystemTime::UNIX_EPOCH,
        provider_id: provider_id.map(|id| ProviderId::try_from(id).unwrap()),
        system_uuid: None,
        addresses: addresses.collect(),
        labels: [].into(),
        annotations: [].into(),
        is_initialized: false,
    }
}

#[rstest]
#[case::by_provider_id("a", Some("aws:///z/i-1"), "Id(\"i-1\")")]
#[case::not_by_its_name_then("i-2", Some("aws:///z/i-1"), "Id(\"i-1\")")]
#[case::by_the_id_in_its_name("i-2.ec2.internal", None, "Id(\"i-2\")")]
#[case::oneself("self", None, "Id(\"i-self\")")]
#[case::by_name("ip-10-0-0-1.ec2.internal", None, "Name(\"ip-10-0-0-1.ec2.internal\")")]
#[case::fargate(
    "a",
    Some("aws:///z/x/fargate-10.0.0.1"),
    "Fargate(\"aws:///z/x/fargate-10.0.0.1\", 10.0.0.1)"
)]
#[case::odd(
    "i-2",
    Some("aws:///z/x"),
    "InvalidConfiguration: provider ID \"aws:///z/x\" names no machine: it should be \
     aws:///<zone>/i-…, or end in fargate-<private IPv4 address>"
)]
fn keys(#[case] name: &str, #[case] provider_id: Option<&str>, #[case] want: &str) {
    let said = match Key::of(&node(name, provider_id, &[]), home().own.as_ref()) {
        Ok(key) => format!("{key:?}"),
        Err(err) => format!("{}: {err}", err.kind().reason()),
    };
    assert_eq!(said, want);
}

/// An instance in words: its ID, and then `vpc=`, `name=`, `ip=`, `tag=` and `state=`.
fn machine(text: &str) -> Machine {
    let mut words = text.split(' ');
    let id = words.next().unwrap().to_owned();
    let mut machine = Machine {
        id,
        state: Some(MachineState::Running),
        vpc: Some("vpc-1".to_owned()),
        ..Machine::default()
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let value = value.to_owned();
        match key {
            "vpc" => machine.vpc = Some(value),
            "name" => machine.private_dns_name = Some(value),
            "ip" => machine
                .interfaces
                .push(Interface { private_ipv4s: vec![value], ..Interface::default() }),
            "tag" if value == "legacy" => {
                machine.tags = Tags::from([(LEGACY_KEY.to_owned(), "blue".to_owned())]);
            }
            "tag" => {
                let key = format!("kubernetes.io/cluster/{value}");
                machine.tags = Tags::from([(key, "shared".to_owned())]);
            }
            "state" if value == "shutting-down" => machine.state = Some(MachineState::ShuttingDown),
            _ => panic!("{word}"),
        }
    }
    machine
}

fn machines(texts: &[&str]) -> Vec<Arc<Machine>> {
    texts.iter().map(|text| Arc::new(machine(text))).collect()
}

fn say(word: &Word) -> String {
    match word {
        Word::Machine(machine) => machine.id.clone(),
        Word::Fargate(_, found) => found.id.clone(),
        Word::Absent => "absent".to_owned(),
        Word::Unknown(err) => format!("{}: {err}", err.kind().reason()),
    }
}

#[rstest]
#[case::none(&["i-2 name=b tag=blue"], "looks on")]
#[case::one(&["i-1 name=a tag=blue"], "i-1")]
#[case::by_the_legacy_tag(&["i-1 name=a tag=legacy"], "i-1")]
#[case::of_another_network_with_the_tag(&["i-1 name=a tag=blue vpc=vpc-2"], "i-1")]
#[case::another_clusters_elsewhere(&["i-1 name=a tag=red vpc=vpc-2"], "looks on")]
#[case::another_clusters_beside_ours(&["i-1 name=a tag=red", "i-2 name=a tag=blue"], "i-2")]
#[case::without_the_tag(
    &["i-1 name=a"],
    "InvalidConfiguration: instance i-1 has the private DNS name a, but not the tag \
     kubernetes.io/cluster/blue: if it is this cluster's, tag it",
)]
#[case::two(
    &["i-2 name=a tag=blue", "i-1 name=a tag=blue"],
    "InvalidConfiguration: instances i-1 and i-2 both have the private DNS name a: terminate one, \
     or start the kubelet with --provider-id",
)]
#[case::its_successor(&["i-1 name=a tag=blue state=shutting-down", "i-2 name=a tag=blue"], "i-2")]
#[case::on_its_way_out(&["i-1 name=a tag=blue state=shutting-down"], "i-1")]
fn names(#[case] there: &[&str], #[case] want: &str) {
    let word = of_name(&machines(there), "a", &home());
    assert_eq!(word.map_or_else(|| "looks on".to_owned(), |word| say(&word)), want);
}

#[rstest]
#[case::none(&[], "absent")]
#[case::one(&["i-1 ip=10.0.0.1 tag=blue", "i-2 ip=10.0.0.3 tag=blue"], "i-1")]
#[case::by_its_second_address(&["i-1 ip=10.0.0.2 tag=blue"], "i-1")]
#[case::both_are_one_machines(&["i-1 ip=10.0.0.1 ip=10.0.0.2 tag=blue"], "i-1")]
#[case::in_another_network(&["i-1 ip=10.0.0.1 tag=blue vpc=vpc-2"], "absent")]
#[case::without_the_tag(
    &["i-1 ip=10.0.0.1 tag=red"],
    "InvalidConfiguration: instance i-1 has the private address 10.0.0.1 or 10.0.0.2, but not the \
     tag kubernetes.io/cluster/blue: if it is this cluster's, tag it",
)]
#[case::two(
    &["i-1 ip=10.0.0.1 tag=blue", "i-2 ip=10.0.0.2 tag=blue"],
    "InvalidConfiguration: instances i-1 and i-2 both have the private address 10.0.0.1 or \
     10.0.0.2: terminate one, or start the kubelet with --provider-id",
)]
fn addresses(#[case] there: &[&str], #[case] want: &str) {
    let node = node("a", None, &["10.0.0.1", "10.0.0.2", "fd00::1"]);
    assert_eq!(say(&of_addresses(&machines(there), &node, &home())), want);
}

#[test]
fn a_node_that_reports_no_address_is_not_found_by_any() {
    let there = machines(&["i-1 tag=blue"]);
    assert_eq!(say(&of_addresses(&there, &node("a", None, &[]), &home())), "absent");
}

type Said = Result<Vec<Machine>, CloudError>;

fn sorted(ids: &[&str], answer: Said, left_out: impl Fn(&str) -> Word) -> Vec<String> {
    let ids = ids.iter().map(|&id| id.to_owned()).collect();
    sort((ids, answer), left_out).iter().map(|(id, word)| format!("{id}: {}", say(word))).collect()
}

fn failed(kind: Kind) -> Said {
    Err(CloudError::new(kind, "no"))
}

#[test]
fn a_list_that_lacks_one_says_that_it_is_not_there() {
    let answer = Ok(vec![machine("i-1")]);
    let said = sorted(&["i-1", "i-2"], answer, |_| Word::Absent);
    assert_eq!(said, ["i-1: i-1", "i-2: absent"]);
}

#[test]
fn a_direct_answer_that_lacks_one_does_not() {
    let said = sorted(&["i-1"], Ok(vec![]), omitted);
    let want = "i-1: InternalError: asked for i-1 by its ID, AWS answered without it";
    assert_eq!(said, [want]);
}

#[test]
fn an_answer_to_something_else_says_nothing_of_what_it_lacks() {
    let answer = Ok(vec![machine("i-1"), machine("i-7")]);
    let said = sorted(&["i-1", "i-2"], answer, |_| Word::Absent);
    let odd = "i-2: InternalError: AWS answered with \"i-7\", which nobody asked for";
    assert_eq!(said, ["i-1: i-1", odd]);
}

#[test]
fn not_found_is_said_of_one_alone() {
    let said = sorted(&["i-1"], failed(Kind::NotFound), omitted);
    assert_eq!(said, ["i-1: absent"]);
    let said = sorted(&["i-1", "i-2"], failed(Kind::NotFound), omitted);
    assert_eq!(said, ["i-1: InternalError: no", "i-2: InternalError: no"]);
}

#[test]
fn other_failures_say_nothing() {
    let said = sorted(&["i-1"], failed(Kind::PermissionDenied), omitted);
    assert_eq!(said, ["i-1: PermissionDenied: no"]);
}
