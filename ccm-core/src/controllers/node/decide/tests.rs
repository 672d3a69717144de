use std::collections::BTreeMap;
use std::time::SystemTime;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::cloud::{AddressKind, CloudError, Detail, Evidence, Kind, PodCidrs, RunState};
use crate::cluster::node::{Condition, Taint, Version};
use crate::cluster::pairs::Pairs;
use crate::controllers::known::{INSTANCE_FOUND, INSTANCE_NOT_FOUND};

pub(crate) fn instance() -> Instance {
    Instance {
        provider_id: ProviderId::try_from("test://i-1").unwrap(),
        incarnation: "i-1".into(),
        state: RunState::Running,
        instance_type: Some("small".into()),
        zone: Some("r1-a".into()),
        region: Some("r1".into()),
        addresses: vec![
            NodeAddress::new(AddressKind::InternalIp, "10.0.0.1"),
            NodeAddress::new(AddressKind::Hostname, "n1"),
        ],
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    }
}

fn taint(key: &str) -> Taint {
    Taint { key: key.into(), effect: "NoSchedule".into() }
}

/// As a kubelet makes it.
pub(crate) fn new_node() -> Node {
    Node {
        name: "n1".into(),
        uid: "u1".into(),
        version: Version::new("1"),
        created: SystemTime::UNIX_EPOCH,
        deleting: false,
        labels: [("kubernetes.io/hostname", "n1")].into_iter().collect(),
        annotations: Pairs::default(),
        provider_id: None,
        taints: [taint("other"), taint(keys::TAINT_UNINITIALIZED)].into(),
        addresses: [NodeAddress::new(AddressKind::Hostname, "n1")].into(),
        odd_addresses: false,
        system_uuid: None,
        ready: Some(ConditionStatus::True),
        instance_known: None,
        pod_cidrs: [].into(),
        network_unavailable: None,
        unreachable_because: "".into(),
    }
}

fn decided(node: &Node, observation: &Observation) -> Decision {
    let belongs = if node.provider_id.is_some() { Belongs::Ours } else { Belongs::Unsaid };
    let knowledge = Knowledge {
        belongs: &belongs,
        observation,
        own_label_prefixes: &["test.example"],
        replaced: false,
        announced: false,
        routed: false,
    };
    decide(node, knowledge)
}

fn changes(node: &Node, observation: &Observation) -> Changes {
    match decided(node, observation) {
        Decision::Write(changes) => changes,
        other => panic!("{other:?}"),
    }
}

/// The node as it is after the writes.
fn after(mut node: Node, changes: &Changes) -> Node {
    if let Some(addresses) = &changes.status.addresses {
        node.addresses = addresses.clone().into();
        node.odd_addresses = false;
    }
    if let Some(known) = &changes.status.known {
        node.instance_known = Some(Condition { status: known.status, reason: known.reason.into() });
    }
    let mut labels: BTreeMap<_, _> =
        node.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    labels.extend(changes.main.labels.clone());
    node.labels = Pairs::keeping(&labels, |_| true);
    node.provider_id = node.provider_id.or_else(|| changes.main.provider_id.clone());
    let mut taints = node.taints.into_vec();
    for place in changes.main.remove_taints.iter().rev() {
        taints.remove(*place);
    }
    node.taints = taints.into();
    node
}

#[test]
fn a_new_node_gets_everything_and_loses_only_our_taint() {
    let changes = changes(&new_node(), &Observation::Present(instance()));
    assert_eq!(changes.status.addresses, Some(instance().addresses));
    assert_eq!(changes.status.known, None);
    assert_eq!(changes.main.provider_id, Some(instance().provider_id));
    assert_eq!(changes.main.remove_taints, [1]);
    assert_eq!(changes.main.labels.len(), 6);
    assert!(changes.notes.is_empty());
}

#[test]
fn a_status_that_is_right_is_not_sent() {
    let node = Node { addresses: instance().addresses.into(), ..new_node() };
    assert!(changes(&node, &Observation::Present(instance())).status.is_empty());
}

#[test]
fn an_address_type_that_we_cannot_read_is_replaced() {
    let addresses = instance().addresses.into();
    let node = Node { addresses, odd_addresses: true, ..new_node() };
    let changes = changes(&node, &Observation::Present(instance()));
    assert_eq!(changes.status.addresses, Some(instance().addresses));
}

#[test]
fn the_order_of_addresses_counts() {
    let mut swapped = instance().addresses;
    swapped.reverse();
    let node = Node { addresses: swapped.into(), ..new_node() };
    let changes = changes(&node, &Observation::Present(instance()));
    assert_eq!(changes.status.addresses, Some(instance().addresses));
}

#[test]
fn a_provider_id_that_is_there_stays() {
    let node = Node { provider_id: ProviderId::try_from("test://old/i-1").ok(), ..new_node() };
    assert_eq!(changes(&node, &Observation::Present(instance())).main.provider_id, None);
}

#[rstest]
#[case::absent(Observation::Gone(Evidence::Absent), INSTANCE_NOT_FOUND, ConditionStatus::False)]
#[case::terminated(
    Observation::Gone(Evidence::Terminated),
    INSTANCE_NOT_FOUND,
    ConditionStatus::False
)]
#[case::denied(
    Observation::Unknown(CloudError::new(Kind::PermissionDenied, "token revoked")),
    "PermissionDenied",
    ConditionStatus::Unknown
)]
#[case::throttled(
    Observation::Unknown(CloudError::new(Kind::RateLimited { retry_after: None }, "slow down")),
    "RateLimited",
    ConditionStatus::Unknown
)]
fn a_new_node_waits(
    #[case] observation: Observation,
    #[case] reason: &str,
    #[case] known: ConditionStatus,
) {
    let Decision::Wait(wait) = decided(&new_node(), &observation) else { panic!("does not wait") };
    assert_eq!((wait.known.reason, wait.known.status), (reason, known));

    // An initialised node is none of this controller's business then.
    let initialised = Node { taints: Box::default(), ..new_node() };
    assert!(matches!(decided(&initialised, &observation), Decision::Leave));
}

#[test]
fn the_end_of_the_process_is_no_news() {
    let stopped = Observation::Unknown(CloudError::new(Kind::Stopped, "the process stops"));
    assert!(matches!(decided(&new_node(), &stopped), Decision::Leave));
}

#[test]
fn a_wish_that_cannot_be_obeyed_keeps_the_taint_and_says_so() {
    let annotations: Pairs = [(keys::PROVIDED_NODE_IP, "10.9.9.9")].into_iter().collect();
    let node = Node { annotations: annotations.clone(), ..new_node() };
    let Decision::Wait(wait) = decided(&node, &Observation::Present(instance())) else { panic!() };
    assert_eq!((wait.known.reason, wait.retry), (INVALID_PROVIDED_IP, Retry::OnChange));
    assert!(wait.known.message.contains("10.9.9.9") && wait.known.message.contains("10.0.0.1"));

    let known = changes(&new_node(), &Observation::Present(instance()));
    let node = Node { annotations, ..after(new_node(), &known) };
    let changes = changes(&node, &Observation::Present(instance()));
    assert!(changes.status.is_empty() && changes.main.is_empty());
    assert_eq!(changes.notes[0].reason, INVALID_PROVIDED_IP);
}

#[test]
fn the_write_that_ends_a_wait_says_so() {
    let waiting = Condition { status: ConditionStatus::False, reason: "x".into() };
    let node = Node { instance_known: Some(waiting), ..new_node() };
    let known = changes(&node, &Observation::Present(instance())).status.known.unwrap();
    assert_eq!((known.status, known.reason), (ConditionStatus::True, INSTANCE_FOUND));

    // Also where the cache does not show our own word yet.
    let observation = Observation::Present(instance());
    let knowledge = Knowledge {
        replaced: false,
        belongs: &Belongs::Unsaid,
        observation: &observation,
        own_label_prefixes: &[],
        announced: true,
        routed: false,
    };
    let Decision::Write(changes) = decide(&new_node(), knowledge) else { panic!() };
    assert!(changes.status.known.is_some());
}

#[test]
fn pods_do_not_come_before_their_routes() {
    let unreachable = |node: &Node, routed| {
        let observation = Observation::Present(instance());
        let belongs = Belongs::Unsaid;
        let knowledge = Knowledge {
            replaced: false,
            belongs: &belongs,
            observation: &observation,
            own_label_prefixes: &[],
            announced: false,
            routed,
        };
        let Decision::Write(changes) = decide(node, knowledge) else { panic!() };
        changes.status.unreachable
    };
    let node = Node { pod_cidrs: ["10.0.0.0/24".into()].into(), ..new_node() };
    assert!(unreachable(&node, true));
    assert!(!unreachable(&node, false), "nobody would take it back");
    assert!(!unreachable(&new_node(), true), "it may never have ranges");
    let said = Condition { status: ConditionStatus::False, reason: "RouteCreated".into() };
    let said = Node { network_unavailable: Some(said), ..node };
    assert!(!unreachable(&said, true), "who makes routes knows better");
}

#[test]
fn a_foreign_node_is_left_alone() {
    let observation = Observation::Present(instance());
    let knowledge = Knowledge {
        replaced: false,
        belongs: &Belongs::Foreign("another cloud's".into()),
        observation: &observation,
        own_label_prefixes: &[],
        announced: false,
        routed: false,
    };
    assert!(matches!(decide(&new_node(), knowledge), Decision::Leave));
}

#[test]
fn a_node_that_joined_without_the_taint_gets_only_addresses() {
    let node = Node { taints: Box::default(), ..new_node() };
    let changes = changes(&node, &Observation::Present(instance()));
    assert!(changes.status.addresses.is_some() && changes.main.is_empty());
}

fn any_instance() -> impl Strategy<Value = Instance> {
    let kind = prop_oneof![
        Just(AddressKind::Hostname),
        Just(AddressKind::InternalIp),
        Just(AddressKind::ExternalIp),
    ];
    let address = (kind, "10\\.0\\.0\\.[1-3]|fd00::[1-3]|n[12]")
        .prop_map(|(kind, text)| NodeAddress::new(kind, text));
    let labels =
        proptest::collection::btree_map("(test\\.example/|k8s\\.io/)?[ab]", "[xy ]{0,2}", 0..4);
    let name = proptest::option::of("[a-c]{1,2}| bad");
    (proptest::collection::vec(address, 0..5), labels, name.clone(), name).prop_map(
        |(addresses, labels, zone, kind)| Instance {
            addresses,
            labels,
            zone: zone.map(Into::into),
            instance_type: kind.map(Into::into),
            ..instance()
        },
    )
}

fn any_node() -> impl Strategy<Value = Node> {
    let keys = vec!["other", keys::TAINT_UNINITIALIZED, keys::TAINT_SHUTDOWN];
    let taints = proptest::collection::vec(proptest::sample::select(keys), 0..4);
    let label = prop_oneof![
        Just(keys::ZONE.to_owned()),
        Just(keys::ZONE_BETA.to_owned()),
        Just("test.example/a".to_owned()),
        Just("a".to_owned()),
    ];
    let labels = proptest::collection::btree_map(label, "[a-c]{1,2}", 0..4);
    let wish = proptest::option::of("10\\.0\\.0\\.[1-3](,fd00::[1-3])?|nonsense");
    let id = proptest::option::of(Just("test://i-1"));
    (taints, labels, wish, id, any::<bool>()).prop_map(|(taints, labels, wish, id, said)| Node {
        taints: taints.into_iter().map(taint).collect(),
        labels: Pairs::keeping(&labels, |_| true),
        annotations: wish.iter().map(|wish| (keys::PROVIDED_NODE_IP, wish.as_str())).collect(),
        provider_id: id.map(|id| ProviderId::try_from(id).unwrap()),
        instance_known: said
            .then(|| Condition { status: ConditionStatus::Unknown, reason: "x".into() }),
        ..new_node()
    })
}

proptest! {
    /// A decision made after it was acted on writes nothing, and no foreign taint was touched.
    #[test]
    fn a_decision_that_was_acted_on_leaves_nothing_to_write(node in any_node(), instance in any_instance()) {
        let observation = Observation::Present(instance);
        if let Decision::Write(first) = decided(&node, &observation) {
            let done = after(node.clone(), &first);
            let others = |node: &Node| -> Vec<_> {
                let other = |taint: &&Taint| &*taint.key != keys::TAINT_UNINITIALIZED;
                node.taints.iter().filter(other).cloned().collect()
            };
            prop_assert_eq!(others(&done), others(&node));
            match decided(&done, &observation) {
                Decision::Leave => {}
                Decision::Write(second) => {
                    prop_assert!(second.status.is_empty() && second.main.is_empty(), "{:?}", second);
                }
                Decision::Wait(wait) => prop_assert!(false, "{:?}", wait),
            }
        }
    }
}
