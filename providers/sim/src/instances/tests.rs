use std::time::SystemTime;

use ccm_core::cloud::{NodeName, ProviderId, Uid};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// A record as the cloud writes it, with some fields replaced.
fn record(id: &str, name: &str, change: Value) -> Value {
    let mut record = json!({
        "id": id, "name": name, "instance_type": "sim.small", "region": "sim-1", "zone": "sim-1a",
        "state": "running", "system_uuid": "99999999-2222-4333-8444-555555555555",
        "created_at": "2026-01-01T00:00:00.000Z",
    });
    let (Value::Object(fields), Value::Object(change)) = (&mut record, change) else {
        panic!("both are objects");
    };
    fields.extend(change);
    record
}

fn node(name: &str, provider_id: Option<&str>) -> NodeIdentity {
    NodeIdentity {
        name: NodeName::from(name),
        uid: Uid::from("u-1"),
        created: SystemTime::UNIX_EPOCH,
        provider_id: provider_id.map(|id| ProviderId::try_from(id).unwrap()),
        system_uuid: Some(UUID.into()),
        addresses: vec![],
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: false,
    }
}

/// What the answer says of the instances `i-1` and of those that are named `a`.
fn look(records: Vec<Value>) -> (String, String) {
    let keys = [Key::Id("i-1".into()), Key::Name("a".to_owned())];
    let wanted = keys.iter().collect();
    let answer = Answer::new(records.into_iter().map(Record::read).collect(), &wanted);
    (say(answer.by_id(&"i-1".into())), say(answer.by_name("a", &node("a", None))))
}

fn say(observation: Observation) -> String {
    match observation {
        Observation::Present(it) => format!("{:?} {}", it.state, it.incarnation),
        Observation::Gone(evidence) => format!("{evidence:?}"),
        Observation::Unknown(err) => format!("{}: {err}", err.kind().reason()),
    }
}

#[rstest]
#[case::pending("pending", "Starting i-1/1")]
#[case::running("running", "Running i-1/1")]
#[case::stopping("stopping", "Stopping i-1/1")]
#[case::stopped("stopped", "Stopped i-1/1")]
#[case::terminating("terminating", "Stopping i-1/1")]
#[case::terminated("terminated", "Terminated")]
#[case::of_the_future("hibernated", "InternalError: the cloud's record of i-1 makes no sense")]
fn states(#[case] state: &str, #[case] want: &str) {
    let (by_id, by_name) = look(vec![record("i-1", "a", json!({ "state": state }))]);
    assert_eq!((by_id.as_str(), by_name.as_str()), (want, want));
}

#[rstest]
#[case::from_before_there_were_replacements(json!({}), "Running i-1/1")]
#[case::the_first(json!({"incarnation": 1}), "Running i-1/1")]
#[case::replaced(json!({"incarnation": 2, "state": "pending"}), "Starting i-1/2")]
#[case::no_number(
    json!({"incarnation": "2"}),
    "InternalError: the cloud's record of i-1 makes no sense",
)]
fn machines(#[case] change: Value, #[case] want: &str) {
    let (by_id, by_name) = look(vec![record("i-1", "a", change)]);
    assert_eq!((by_id.as_str(), by_name.as_str()), (want, want));
}

#[rstest]
#[case::none(vec![], "Absent")]
#[case::one(vec![("i-2", "a", json!({}))], "Running i-2/1")]
#[case::a_live_one_goes_before_a_terminated_one(
    vec![("i-2", "a", json!({"state": "terminated"})), ("i-3", "a", json!({}))],
    "Running i-3/1",
)]
#[case::a_stopped_one_lives_too(
    vec![("i-2", "a", json!({"state": "stopped"})), ("i-3", "a", json!({"state": "terminated"}))],
    "Stopped i-2/1",
)]
#[case::all_are_terminated(
    vec![
        ("i-2", "a", json!({"state": "terminated"})),
        ("i-3", "a", json!({"state": "terminated", "system_uuid": UUID})),
    ],
    "Terminated",
)]
#[case::its_replacement_goes_before_one_that_goes(
    vec![("i-2", "a", json!({"state": "terminating"})), ("i-3", "a", json!({"state": "pending"}))],
    "Starting i-3/1",
)]
#[case::the_firmware_tells_them_apart(
    vec![("i-2", "a", json!({})), ("i-3", "a", json!({"system_uuid": UUID}))],
    "Running i-3/1",
)]
#[case::the_firmware_goes_before_the_state(
    vec![
        ("i-2", "a", json!({"state": "terminating", "system_uuid": UUID})),
        ("i-3", "a", json!({})),
    ],
    "Stopping i-2/1",
)]
#[case::two_that_live(
    vec![("i-2", "a", json!({})), ("i-3", "a", json!({"state": "stopped"}))],
    "InvalidConfiguration: instances i-2 and i-3 are both named \"a\": rename or terminate one",
)]
#[case::an_odd_one_may_be_it(
    vec![("i-2", "a", json!({})), ("i-3", "a", json!({"zone": 5}))],
    "InternalError: the cloud's record of i-3 makes no sense",
)]
fn names(#[case] records: Vec<(&str, &str, Value)>, #[case] want: &str) {
    let records = records.into_iter().map(|(id, name, change)| record(id, name, change));
    assert_eq!(look(records.collect()).1, want);
}

#[rstest]
#[case::complete(vec![record("i-2", "a", json!({}))], "Absent")]
#[case::another_name_and_the_same_id(vec![record("i-1", "b", json!({}))], "Running i-1/1")]
#[case::twice(
    vec![record("i-1", "a", json!({})), record("i-1", "b", json!({}))],
    "InternalError: the cloud has two records of i-1",
)]
#[case::more_than_was_asked_for(
    vec![record("i-7", "z", json!({}))],
    "InternalError: the cloud answered with i-7, which nobody asked for",
)]
#[case::more_than_was_asked_for_beside_it(
    vec![record("i-7", "z", json!({})), record("i-1", "b", json!({}))],
    "Running i-1/1",
)]
#[case::one_that_may_be_anybodys(
    vec![json!({"id": 1})],
    "InternalError: the cloud answered with an unknown instance, which nobody asked for",
)]
#[case::no_record_at_all(
    vec![json!(null)],
    "InternalError: the cloud answered with an unknown instance, which nobody asked for",
)]
#[case::an_address_that_is_none(
    vec![record("i-1", "b", json!({"nics": [{"private_ipv4s": ["10.0.0.256"]}]}))],
    "InternalError: the cloud's record of i-1 makes no sense",
)]
#[case::an_address_that_nobody_reaches(
    vec![record("i-1", "b", json!({"nics": [{"private_ipv4s": ["0.0.0.0"]}]}))],
    "InternalError: the cloud says that i-1 has the address 0.0.0.0",
)]
#[case::two_ranges_of_one_family(
    vec![record("i-1", "b", json!({"pod_cidrs": ["10.0.0.0/24", "10.0.1.0/24"]}))],
    "InternalError: the cloud gives i-1 more than one pod range of one family",
)]
fn ids(#[case] records: Vec<Value>, #[case] want: &str) {
    assert_eq!(look(records).0, want);
}

#[rstest]
#[case::without_a_provider_id(None, "Name(\"a\")")]
#[case::with_one(Some("sim://i-1"), "Id(InstanceId(\"i-1\"))")]
#[case::with_an_odd_one(Some("sim://a/b"), "provider ID \"sim://a/b\" is not sim://<instance ID>")]
fn keys(#[case] provider_id: Option<&str>, #[case] want: &str) {
    let key = Key::of(&node("a", provider_id));
    assert_eq!(key.map_or_else(|err| err.to_string(), |key| format!("{key:?}")), want);
}

fn read(change: Value) -> Instance {
    let record = Record::read(record("i-1", "a", change));
    match observation(&record) {
        Observation::Present(instance) => instance,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_in_full() {
    let instance = read(json!({
        "labels": {"node.sim.ccm.rs/rack": "r-12"},
        "pod_cidrs": ["10.1.0.0/24", "fd01::/64"],
    }));
    assert_eq!(instance.provider_id.as_str(), "sim://i-1");
    assert_eq!(instance.incarnation.as_str(), "i-1/1");
    assert_eq!(instance.instance_type.unwrap().as_str(), "sim.small");
    assert_eq!(instance.zone.unwrap().as_str(), "sim-1a");
    assert_eq!(instance.region.unwrap().as_str(), "sim-1");
    assert_eq!(format!("{:?}", instance.labels), r#"{"node.sim.ccm.rs/rack": "r-12"}"#);
    let ranges = ["10.1.0.0/24", "fd01::/64"].map(|range| range.parse().unwrap());
    assert_eq!(instance.pod_cidrs, PodCidrs::Ranges(ranges.into()));
}

#[rstest]
#[case::none(json!([]), "[Hostname=a]")]
#[case::one_family(json!([{"private_ipv4s": ["10.0.0.1"]}]), "[InternalIP=10.0.0.1, Hostname=a]")]
#[case::dual_stack(
    json!([{"private_ipv6s": ["fd00:0::1"], "private_ipv4s": ["10.0.0.1"]}]),
    "[InternalIP=10.0.0.1, InternalIP=fd00::1, Hostname=a]",
)]
#[case::the_primary_interface_goes_first(
    json!([{"private_ipv6s": ["fd00::1"]}, {"private_ipv4s": ["10.0.0.2", "10.0.0.1"]}]),
    "[InternalIP=fd00::1, InternalIP=10.0.0.2, InternalIP=10.0.0.1, Hostname=a]",
)]
#[case::everything(
    json!([
        {
            "private_ipv4s": ["10.0.0.1"], "public_ipv4": "192.0.2.1",
            "private_dns_name": "a.internal", "public_dns_name": "a.example",
        },
        {
            "private_ipv4s": ["10.0.0.2"], "public_ipv6": "2001:db8::1",
            "private_dns_name": "a2.internal",
        },
    ]),
    "[InternalIP=10.0.0.1, InternalIP=10.0.0.2, ExternalIP=192.0.2.1, ExternalIP=2001:db8::1, \
     InternalDNS=a.internal, InternalDNS=a2.internal, ExternalDNS=a.example, Hostname=a]",
)]
fn addresses_in_order(#[case] nics: Value, #[case] want: &str) {
    assert_eq!(format!("{:?}", read(json!({ "nics": nics })).addresses), want);
}

#[test]
fn what_cannot_be_a_label_is_left_out() {
    let long = "a".repeat(64);
    let instance = read(json!({
        "instance_type": "two words", "zone": "", "region": "-sim",
        "labels": {
            "a": "", "b/c": "D_e.f-1", "d": "no blank", "e": long, "": "x", "/f": "x",
            "B/c": "x", "b..c/d": "x", "b/c/d": "x", "-g": "x", "b/": "x",
        },
    }));
    assert_eq!((instance.instance_type, instance.zone, instance.region), (None, None, None));
    assert_eq!(format!("{:?}", instance.labels), r#"{"a": "", "b/c": "D_e.f-1"}"#);
}
