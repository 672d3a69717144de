//! What [`Instances`](ccm_core::cloud::Instances) promises, and with it the parts of
//! [`CloudProvider`](ccm_core::cloud::CloudProvider) that are about nodes.
//!
//! Where a behaviour asks both ways, [`Ask::Look`] and [`Ask::Confirm`], the promise holds for both.

use std::net::IpAddr;
use std::time::Duration;

use ccm_core::cloud::{
    AddressKind, Ask, Batching, Belongs, Evidence, Instance, Kind, NodeIdentity, NodeName,
    Observation, PodCidrs, ProviderId, RunState,
};
use futures::FutureExt;
use ipnet::IpNet;
use tokio::time::{Instant, timeout};

use crate::ask::{
    ask, ask_within, capability, failures, gone, joined, look, one, present, stranger, with_id,
};
use crate::harness::{Fault, Harness};
use crate::outcome::not_offered;

const BOTH: [Ask; 2] = [Ask::Look, Ask::Confirm];

/// Answers have no names on them: the framework puts them to nodes by their place. One that slips
/// by a place gives a node another's addresses, or another's death.
pub async fn answers_come_in_the_order_of_the_questions(harness: &impl Harness) {
    let ((a, of_a), (b, of_b)) = (joined(harness).await, joined(harness).await);
    let nameless = |node: &NodeIdentity| NodeIdentity { provider_id: None, ..node.clone() };
    let questions = [
        stranger(&a, 1),
        b.clone(),
        nameless(&a),
        a.clone(),
        stranger(&a, 2),
        nameless(&b),
        a.clone(),
        stranger(&a, 1),
        b.clone(),
    ];
    let want = [
        None,
        Some(&of_b),
        Some(&of_a),
        Some(&of_a),
        None,
        Some(&of_b),
        Some(&of_a),
        None,
        Some(&of_b),
    ];
    for how in BOTH {
        let answers = match ask(harness, how, &questions).await {
            Ok(answers) => answers,
            Err(err) => panic!("nothing is wrong, and yet all is unknown: {err:?}"),
        };
        for (place, (answer, want)) in answers.iter().zip(want).enumerate() {
            let got = match answer {
                Observation::Present(instance) => Some(&instance.incarnation),
                Observation::Gone(_) => None,
                Observation::Unknown(err) => panic!("answer {place} ({how:?}): {err:?}"),
            };
            let want = want.map(|instance| &instance.incarnation);
            assert_eq!(got, want, "answer {place} ({how:?}): not in the order of the questions");
        }
    }
}

/// A controller without nodes to ask about costs no quota. Asked while the credentials are
/// refused, so that a call would fail.
pub async fn no_question_makes_no_call(harness: &impl Harness) {
    harness.inject(Fault::Denied).await.expect("every harness can refuse the credentials");
    for how in BOTH {
        match ask(harness, how, &[]).await {
            Ok(answers) => assert!(answers.is_empty(), "{answers:?}"),
            Err(err) => panic!("{how:?} of nothing makes a call: {err:?}"),
        }
    }
    harness.heal().await;
}

/// The framework fills batches to the limit that the provider names, so the cloud has to take that
/// many. Where it has no limit, a few hundred are asked about.
pub async fn a_full_batch_is_answered(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    let many = match capability(harness).batching() {
        Batching::UpTo(many) => many.get(),
        Batching::Whole => 300,
    };
    let strangers = (1..many).map(|number| stranger(&node, number));
    let questions: Vec<_> = strangers.chain([node.clone()]).collect();
    let answers = look(harness, &questions).await;
    let Some((Observation::Present(last), others)) = answers.split_last() else {
        panic!("the last of {many} should be present, not {:?}", answers.last());
    };
    assert_same_machine(Ask::Look, last, &instance);
    for answer in others {
        assert!(matches!(answer, Observation::Gone(Evidence::Absent)), "{answer:?}");
    }
}

/// Questions change nothing, and an answer that changes by itself would be written to the node
/// again and again: order of addresses included.
pub async fn asking_twice_gives_the_same(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    for how in BOTH {
        for _ in 0..3 {
            assert_same(how, &present(harness, how, &node).await, &instance);
        }
    }
}

/// Any question may be dropped at any await: the process ends, or the asker's time is up.
pub async fn a_question_that_is_dropped_does_no_harm(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    for millis in [0, 1, 2, 5, 10] {
        for how in BOTH {
            let question = ask(harness, how, std::slice::from_ref(&node));
            timeout(Duration::from_millis(millis), question).await.ok();
        }
    }
    ask(harness, Ask::Look, std::slice::from_ref(&node)).now_or_never();
    assert_same(Ask::Look, &present(harness, Ask::Look, &node).await, &instance);
}

/// A node is initialised by what is said here: first by its name alone, since it has no provider
/// ID before.
pub async fn a_running_instance_is_present(harness: &impl Harness) {
    let node = harness.launch().await;
    assert_eq!(node.provider_id, None, "a node that joins has no provider ID yet");
    for how in BOTH {
        let instance = present(harness, how, &node).await;
        assert_eq!(instance.state, RunState::Running, "{how:?}: the state of one that runs");
        assert!(!instance.incarnation.as_str().is_empty(), "{how:?}: an empty incarnation");
    }
}

/// A label that the API server refuses, an address that is none, or a second range of one family
/// would keep the node from ever being initialised.
pub async fn a_running_instance_fits_into_a_node(harness: &impl Harness) {
    let (_, instance) = joined(harness).await;
    let Instance { instance_type, zone, region, addresses, labels, pod_cidrs, .. } = &instance;
    let values = [
        instance_type.as_ref().map(|it| ("instance type", it.as_str())),
        zone.as_ref().map(|it| ("zone", it.as_str())),
        region.as_ref().map(|it| ("region", it.as_str())),
    ];
    for (what, value) in values.into_iter().flatten() {
        assert!(!value.is_empty() && is_label_value(value), "{what} {value:?} is no label value");
    }
    for (key, value) in labels {
        assert!(is_label_key(key), "{key:?} is no label key");
        assert!(is_label_value(value), "{value:?} of {key} is no label value");
    }
    for entry in addresses {
        assert!(!entry.address.is_empty(), "{addresses:?}");
        match entry.kind {
            AddressKind::InternalIp | AddressKind::ExternalIp => {
                assert!(entry.ip().is_some_and(is_usable), "{entry:?} cannot be reached");
            }
            AddressKind::Hostname | AddressKind::InternalDns | AddressKind::ExternalDns => {}
        }
    }
    match pod_cidrs {
        PodCidrs::Ranges(ranges) => {
            let v4 = ranges.iter().filter(|range| matches!(range, IpNet::V4(_))).count();
            assert!(v4 <= 1 && ranges.len() - v4 <= 1, "two ranges of one family: {ranges:?}");
            let are_canonical = ranges.iter().all(|range| *range == range.trunc());
            assert!(are_canonical, "a range with host bits: {ranges:?}");
        }
        PodCidrs::Unsaid | PodCidrs::MaskSizes { .. } => {}
    }
}

/// A node's range is written once and stays: a second answer must not be another.
pub async fn pod_ranges_are_the_same_each_way(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    if instance.pod_cidrs == PodCidrs::Unsaid {
        not_offered("to give pod ranges to instances");
    }
    for how in BOTH {
        let got = present(harness, how, &node).await.pod_cidrs;
        assert_eq!(got, instance.pod_cidrs, "{how:?}: other pod ranges");
    }
}

/// The first look goes by name, all later ones by the provider ID that it gave: both have to end at
/// one machine.
pub async fn asking_by_provider_id_finds_the_same_instance(harness: &impl Harness) {
    let (node, by_name) = joined(harness).await;
    for how in BOTH {
        assert_same(how, &present(harness, how, &node).await, &by_name);
    }
}

/// Names change and come back; a provider ID stays for the life of the node. So it is the only
/// thing to go by: a machine of the right name and another ID is not this node's machine.
pub async fn a_provider_id_outweighs_the_name(harness: &impl Harness) {
    let ((a, of_a), (b, _)) = (joined(harness).await, joined(harness).await);
    let named = |name: &NodeName| NodeIdentity { name: name.clone(), ..a.clone() };
    for how in BOTH {
        for disguised in [named(&b.name), named(&"no-such-instance-0".into())] {
            let found = present(harness, how, &disguised).await;
            assert_same_machine(how, &found, &of_a);
        }
    }
}

/// One node with a typo in its provider ID must not keep the others of its batch in the dark, and
/// must not be deleted for it.
pub async fn a_malformed_provider_id_is_unknown_alone(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    let malformed = format!("{}://", harness.cloud().name());
    let malformed = ProviderId::try_from(malformed.as_str()).expect("it is not empty");
    let questions = [with_id(&stranger(&node, 1), &malformed), node];
    for how in BOTH {
        match ask(harness, how, &questions).await.as_deref() {
            Ok([Observation::Unknown(_), Observation::Present(other)]) => {
                assert_same_machine(how, other, &instance);
            }
            other => panic!("{how:?} of {malformed} and of a good node: {other:?}"),
        }
    }
}

/// "The cloud has no such machine" and "the cloud cannot say" are shown differently to the person
/// who waits for the node.
pub async fn an_unknown_name_is_absent(harness: &impl Harness) {
    let unknown = stranger(&harness.launch().await, 1);
    for how in BOTH {
        assert_eq!(
            gone(harness, how, &unknown).await,
            Evidence::Absent,
            "{how:?}: there is no record"
        );
    }
}

/// A stopped machine keeps its node, with a taint: it may come back.
pub async fn a_stopped_instance_is_present(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    harness.stop(&node).await;
    for how in BOTH {
        let stopped = present(harness, how, &node).await;
        assert_eq!(stopped.state, RunState::Stopped, "{how:?}: the state of one that is stopped");
        assert_same_machine(how, &stopped, &instance);
    }
}

/// The same machine after a stop is the same machine: it keeps its provider ID and its incarnation.
pub async fn a_started_instance_runs_again(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    harness.stop(&node).await;
    harness.start(&node).await;
    for how in BOTH {
        let started = present(harness, how, &node).await;
        assert_eq!(started.state, RunState::Running, "{how:?}: the state of one that runs");
        assert_same_machine(how, &started, &instance);
        assert_eq!(started.provider_id, instance.provider_id, "{how:?}: its provider ID");
    }
}

/// The node of a deleted machine has to go, or its pods are never replaced. Others stay.
pub async fn a_terminated_instance_is_gone(harness: &impl Harness) {
    let ((node, _), (other, _)) = (joined(harness).await, joined(harness).await);
    harness.terminate(&node).await;
    for how in BOTH {
        gone(harness, how, &node).await;
        present(harness, how, &other).await;
    }
}

/// So has the node of a machine of which the cloud keeps no record. Others stay.
pub async fn a_forgotten_instance_is_absent(harness: &impl Harness) {
    let ((node, _), (other, _)) = (joined(harness).await, joined(harness).await);
    harness.forget(&node).await;
    for how in BOTH {
        assert_eq!(
            gone(harness, how, &node).await,
            Evidence::Absent,
            "{how:?}: there is no record"
        );
        present(harness, how, &other).await;
    }
}

/// A new machine under an old name is another machine. The node that joins from it gets it, by its
/// name; the old node's provider ID leads to nothing, or, in clouds where it is made of the name,
/// to a machine of another incarnation.
pub async fn a_replaced_instance_is_another(harness: &impl Harness) {
    let (node, old) = joined(harness).await;
    let newcomer = harness.replace(&node).await;
    assert_eq!(newcomer.name, node.name, "the harness replaces under the same name");
    for how in BOTH {
        let new = present(harness, how, &newcomer).await;
        assert_ne!(new.incarnation, old.incarnation, "{how:?}: the incarnation of another");
        match one(harness, how, &node).await {
            Observation::Gone(_) => {}
            Observation::Present(found) => assert_same_machine(how, &found, &new),
            Observation::Unknown(err) => panic!("{how:?} of the old node: {err:?}"),
        }
    }
}

/// Revoked credentials that read as "no such machine" have deleted whole clusters.
pub async fn denied_credentials_are_no_absence(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    let questions = [node.clone(), stranger(&node, 1)];
    harness.inject(Fault::Denied).await.expect("every harness can refuse the credentials");
    for how in BOTH {
        for kind in failures(ask(harness, how, &questions).await) {
            assert_eq!(kind, Kind::PermissionDenied, "{how:?} with refused credentials");
        }
    }
    harness.heal().await;
    assert_same(Ask::Look, &present(harness, Ask::Look, &node).await, &instance);
}

/// The framework slows down for all controllers when it hears of it, for as long as the cloud asks.
pub async fn throttling_is_said_with_the_wait(harness: &impl Harness) {
    let (node, _) = joined(harness).await;
    let wait = Duration::from_secs(7);
    let Ok(()) = harness.inject(Fault::Throttled { retry_after: wait }).await else {
        not_offered("to refuse calls as too many");
    };
    for how in BOTH {
        for kind in failures(ask(harness, how, std::slice::from_ref(&node)).await) {
            // Some clouds say until when, and time goes by.
            let Kind::RateLimited { retry_after: Some(said) } = kind else {
                panic!("{how:?}: should be RateLimited with the wait, not {kind:?}");
            };
            assert!(said.abs_diff(wait) <= Duration::from_secs(1), "{how:?}: to wait {said:?}");
        }
    }
    harness.heal().await;
}

/// A cloud that does not answer must not hold a worker. The deadline is the framework's and holds
/// for every request that goes through it; what does not, shows here.
pub async fn a_hanging_call_ends_at_the_deadline(harness: &impl Harness) {
    let (node, instance) = joined(harness).await;
    let Ok(()) = harness.inject(Fault::Hang).await else { not_offered("to let calls hang") };
    let patience = Duration::from_millis(300);
    for how in BOTH {
        let asked = Instant::now();
        let question = ask_within(harness, patience, how, std::slice::from_ref(&node));
        let Ok(answer) = timeout(patience + Duration::from_secs(30), question).await else {
            panic!("{how:?} went on after its deadline");
        };
        assert!(asked.elapsed() >= patience, "{how:?} did not hang: {answer:?}");
        for kind in failures(answer) {
            assert_eq!(kind, Kind::Unavailable, "{how:?} without an answer");
        }
    }
    harness.heal().await;
    assert_same(Ask::Look, &present(harness, Ask::Look, &node).await, &instance);
}

/// A list that comes back empty on a bad day looks like the end of the cluster. A look may take its
/// word for it, as a suspicion; a confirmation asks about just this machine.
pub async fn an_empty_answer_confirms_nothing(harness: &impl Harness) {
    let ((a, of_a), (b, of_b)) = (joined(harness).await, joined(harness).await);
    let Ok(()) = harness.inject(Fault::EmptyAnswer).await else {
        not_offered("to empty the answers about several instances");
    };
    let nodes = [a, b];
    match ask(harness, Ask::Look, &nodes).await {
        Err(_) => {}
        Ok(answers) => {
            let is_certain =
                |it: &Observation| matches!(it, Observation::Gone(Evidence::Terminated));
            assert!(!answers.iter().any(is_certain), "nothing is terminated: {answers:?}");
        }
    }
    match ask(harness, Ask::Confirm, &nodes).await.as_deref() {
        Ok([Observation::Present(a), Observation::Present(b)]) => {
            assert_same(Ask::Confirm, a, &of_a);
            assert_same(Ask::Confirm, b, &of_b);
        }
        other => panic!("both are there when asked about one by one, and yet: {other:?}"),
    }
    harness.heal().await;
}

/// Whose nodes are these? Those that this provider initialised are its own, for ever; one without
/// a provider ID may be.
pub async fn provider_ids_that_are_handed_out_are_ours(harness: &impl Harness) {
    let node = harness.launch().await;
    let cloud = harness.cloud();
    assert_eq!(cloud.belongs(&node), Belongs::Unsaid, "without a provider ID");
    let instance = present(harness, Ask::Look, &node).await;
    let id = &instance.provider_id;
    assert_eq!(id.scheme(), Some(cloud.name()), "{id} has the provider's name as its scheme");
    assert_eq!(cloud.belongs(&with_id(&node, id)), Belongs::Ours, "{id}");
}

/// Nodes of other clouds and hybrid nodes are left alone: a provider that takes them for its own
/// finds no machine and has them deleted.
pub async fn foreign_provider_ids_are_foreign(harness: &impl Harness) {
    let node = harness.launch().await;
    let cloud = harness.cloud();
    let scheme = cloud.name();
    let foreign = [
        "another-cloud:///zone-a/i-1".to_owned(),
        "another-cloud".to_owned(),
        format!("{scheme}-but-longer://i-1"),
        format!("another-{scheme}://i-1"),
        format!("another-cloud://{scheme}://i-1"),
    ];
    for id in foreign {
        let id = ProviderId::try_from(id.as_str()).expect("it is not empty");
        match cloud.belongs(&with_id(&node, &id)) {
            Belongs::Foreign(why) => assert!(!why.is_empty(), "{id}: the reason is shown to users"),
            other => panic!("{id} is {other:?}"),
        }
    }
}

#[track_caller]
fn assert_same(how: Ask, got: &Instance, want: &Instance) {
    // All fields but the provider's private detail, which may differ.
    let (got, want) = (format!("{got:?}"), format!("{want:?}"));
    assert_eq!(got, want, "{how:?}: another answer about the same instance");
}

#[track_caller]
fn assert_same_machine(how: Ask, got: &Instance, want: &Instance) {
    let (got, want) = (&got.incarnation, &want.incarnation);
    assert_eq!(got, want, "{how:?}: another machine, by its incarnation");
}

fn is_usable(ip: IpAddr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
fn is_label_value(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    let ends_plain = text.starts_with(is_plain) && text.ends_with(is_plain);
    let is_allowed = |c: char| is_plain(c) || "-_.".contains(c);
    text.is_empty() || (text.len() <= 63 && ends_plain && text.chars().all(is_allowed))
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let is_prefix = prefix.len() <= 253 && prefix.chars().all(is_allowed);
    !name.is_empty() && is_label_value(name) && is_prefix && !key.starts_with('/')
}
