//! Machines that stop, end, vanish or only seem to: what becomes of their nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use ccm_e2e::{Account, Ccm, SOON, Seen, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::{Kubelet, UNREACHABLE_TAINT};
use futures::future::join_all;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;
use simcloud::api::{FaultKind, FaultSpec, Nic, Operation, OperationFilter, UpdateInstance};
use tokio::time::{Instant, sleep};

/// The taint of a node whose machine is stopped.
const SHUTDOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// Another writer's taint.
const THEIRS: &str = "example.com/theirs";

/// The annotation that releases one deletion.
const ALLOW_DELETION: &str = "ccm.rs/allow-deletion";

const HELD: (&str, &str) = ("False", "DeletionHeld");
const FOUND: (&str, &str) = ("True", "InstanceFound");

/// From the first answer that says "gone" to the direct question.
const CONFIRM_AFTER: Duration = Duration::from_secs(5);

/// From a node that is not ready to its end, if its machine is gone.
const PROMISED: Duration = Duration::from_mins(1);

/// A direct answer that takes its time, in which nodes change.
const LATE: Duration = Duration::from_secs(6);

/// Longer than a suspicion takes to be confirmed: what does not happen in this time is not about to.
const LONG_ENOUGH: Duration = Duration::from_secs(10);

/// The names `n0` to `n<count - 1>`.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}")).collect()
}

/// Machines that run, whose nodes are initialised.
pub(crate) async fn live(world: &World, names: &[String]) {
    world.join_all(names).await;
    world.all_initialized(SOON).await;
}

/// Machines that are gone from one moment to the next, without a trace, and nodes that are silent.
async fn vanish(world: &World, names: &[String]) {
    world.cloud.keep_no_records().await;
    join_all(names.iter().map(|name| world.cloud.terminate(name))).await;
    world.silence_all(names).await;
}

/// Waits until so many nodes are left, and gives them.
async fn left(world: &World, count: usize, bound: Duration) -> BTreeMap<String, String> {
    wait_until(&format!("{count} nodes left"), bound, async || {
        let left = world.uids().await;
        if left.len() == count { Ok(left) } else { Err(left.len()) }
    })
    .await
}

/// Waits until all these nodes say this.
async fn all_say(world: &World, names: impl IntoIterator<Item = &String>, known: (&str, &str)) {
    for name in names {
        let what = format!("{known:?}");
        world.node_until(name, &what, SOON * 3, |node| node.known() == known).await;
    }
}

/// The events of one reason about a node: messages and counts.
async fn events_of(world: &World, name: &str, reason: &str) -> Vec<(String, i32)> {
    let events = world.events(name).await.into_iter();
    events.filter(|event| event.0 == reason).map(|(_, message, count)| (message, count)).collect()
}

/// Waits until so many calls of this operation are under way.
async fn under_way(world: &World, operation: Operation, wanted: usize) {
    wait_until(&format!("{wanted} of {operation} under way"), SOON, async || {
        let calls = world.cloud.calls().await.unwrap();
        let ours = calls.counts.iter().filter(|count| count.operation == operation);
        let in_flight: u64 = ours.map(|count| count.in_flight).sum();
        if in_flight >= wanted as u64 { Ok(()) } else { Err(in_flight) }
    })
    .await;
}

#[test]
fn a_stopped_machine_taints_its_node_and_a_ready_node_loses_only_our_taint() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new().quick());
        world.barrier("n1").await;
        // The second has our key, and is somebody else's all the same.
        let others = json!([
            {"key": THEIRS, "effect": "NoSchedule"},
            {"key": SHUTDOWN, "effect": "NoExecute"},
        ]);
        world.patch("n1", &json!({"spec": {"taints": others}})).await;
        let before = world.traffic().await.node_writes().len();
        world.cloud.stop("n1").await;
        world.silence("n1").await;

        let theirs = [(THEIRS, "NoSchedule"), (SHUTDOWN, "NoExecute")];
        let unreachable = (UNREACHABLE_TAINT, "NoSchedule");
        let ours = (SHUTDOWN, "NoSchedule");
        taints_until(&world, "n1", &[theirs[0], theirs[1], unreachable, ours]).await;
        let looks = world.cloud.calls_of_ccm().await.len();
        wait_until("three more looks", SOON, async || {
            let now = world.cloud.calls_of_ccm().await.len();
            if now >= looks + 3 { Ok(()) } else { Err(now - looks) }
        })
        .await;
        let writes = world.traffic().await.node_writes().after(before);
        // One that met another's was refused, and sent again.
        assert_eq!(writes.answered(200).lines(), ["patch nodes 200"], "once");

        // The cloud is not needed for the way back, and not asked: the next look after two failures
        // is ten seconds away.
        world.cloud.break_down(FaultKind::ServerError { status: 503 }).await;
        let calls = wait_until("two failed looks", SOON, async || {
            let faults = world.cloud.faults().await.unwrap();
            if faults[0].uses >= 2 { Ok(world.cloud.calls_of_ccm().await) } else { Err(()) }
        })
        .await;
        world.set_ready("n1", true).await;
        taints_until(&world, "n1", &theirs).await;
        // Unless the machine stood still until then.
        let more = world.cloud.calls_of_ccm().await.len() - calls.len();
        let last = calls.last().unwrap().received_at.as_millis();
        let took = simcloud::api::Timestamp::now().as_millis() - last;
        assert!(more == 0 || took > 9_000, "{more} questions within {took} ms");
        let writes = world.traffic().await.node_writes().after(before);
        assert_eq!(writes.answered(200).lines(), ["patch nodes 200"; 2]);
        assert_eq!(world.node("n1").await.known(), ("", ""), "and there was nothing to say");
    });
}

/// Waits until the node has these taints, in this order.
async fn taints_until(world: &World, name: &str, wanted: &[(&str, &str)]) {
    wait_until(&format!("the taints {wanted:?}"), SOON, async || {
        let node = world.nodes().get(name).await.map_err(|err| err.to_string())?;
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let found: Vec<_> = taints.iter().map(|taint| (&*taint.key, &*taint.effect)).collect();
        if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[test]
fn a_terminated_machine_takes_its_node_with_it_unless_the_node_is_ready() {
    run(async {
        let world = World::start().await;
        // With the usual pace.
        let mut ccm = world.ccm(&Setup::new().flag("--node-deletion-min-age=0s").serving());
        live(&world, &names(3)).await;
        world.cloud.terminate("n0").await;
        world.cloud.terminate("n1").await;
        world.cloud.clear_calls().await.unwrap();
        let uid = world.node("n0").await.uid;
        world.silence("n0").await;
        let version = world.nodes().get_metadata("n0").await.unwrap().resource_version();
        let since = Instant::now();
        world.gone("n0", PROMISED).await;
        println!("not ready to gone, machine terminated: {:.1?}", since.elapsed());

        let events = world.events_with("n0", "DeletingNode").await;
        let [(_, message, 1)] = &events[..] else { panic!("{events:?}") };
        assert!(message.contains("terminated"), "{message}");
        let deletions = world.traffic().await.node_deletions();
        assert_eq!(deletions.lines(), ["delete nodes 200"]);
        let sent = &deletions.iter().next().unwrap().sent["preconditions"];
        assert_eq!(*sent, json!({"uid": uid, "resourceVersion": version}));
        let permitted = "ccm_node_deletions_total{evidence=\"terminated\",permit=\"announced\"}";
        ccm.metric_is(permitted, 1.0).await;

        let looks = world.cloud.calls_of(Operation::DescribeInstances).await;
        let direct = world.cloud.calls_of(Operation::GetInstance).await;
        let [direct] = &direct[..] else { panic!("one direct question: {direct:?}") };
        assert!(looks.len() <= 3, "{looks:?}");
        let between = direct.received_at.as_millis() - looks[0].received_at.as_millis();
        println!("from the first answer to the direct question: {between} ms");
        assert!(u128::from(between) + 5 >= CONFIRM_AFTER.as_millis(), "{between} ms");
        assert_eq!(
            left(&world, 2, SOON).await.len(),
            2,
            "n1 is ready: no matter what the cloud says"
        );
    });
}

#[test]
fn of_machines_that_vanish_unannounced_only_one_node_is_deleted_and_the_others_say_so() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().quick().serving());
        live(&world, &names(5)).await;
        vanish(&world, &names(5)).await;
        let left_over = left(&world, 4, PROMISED).await;
        all_say(&world, left_over.keys(), HELD).await;
        ccm.metric_is("ccm_node_deletions_held", 4.0).await;
        ccm.metric_is("ccm_node_deletions_total{evidence=\"absent\",permit=\"budget\"}", 1.0).await;
        // What is measured is that nothing happens.
        sleep(LONG_ENOUGH).await;
        assert_eq!(world.uids().await, left_over);
        for (name, uid) in &left_over {
            let message = world.node(name).await.known.unwrap().2;
            let cure = format!("kubectl annotate node {name} {ALLOW_DELETION}={uid}");
            assert!(message.contains(&cure), "{message}");
            world.events_with(name, HELD.1).await;
            assert_eq!(events_of(&world, name, HELD.1).await, [(message, 1)]);
        }
        let told = world.traffic().await.status_writes().len();
        assert_eq!(told, 5 + 4, "addresses when they joined, then one condition each");

        let (name, uid) = left_over.first_key_value().unwrap();
        let annotate = async |value: &str| {
            let annotations = json!({"metadata": {"annotations": {ALLOW_DELETION: value}}});
            world.patch(name, &annotations).await;
        };
        annotate("yes").await;
        world.events_with(name, "InvalidAllowDeletion").await;
        let invalid = events_of(&world, name, "InvalidAllowDeletion").await;
        let [(message, 1)] = &invalid[..] else { panic!("{invalid:?}") };
        for part in [ALLOW_DELETION, "yes", uid] {
            assert!(message.contains(part), "{part} in {message}");
        }
        annotate(uid).await;
        world.gone(name, SOON).await;
        ccm.metric_is("ccm_node_deletions_held", 3.0).await;
        ccm.metric_is("ccm_node_deletions_total{evidence=\"absent\",permit=\"released\"}", 1.0)
            .await;
        assert_eq!(world.uids().await.len(), 3);
    });
}

#[test]
fn held_deletions_go_on_by_themselves_as_the_budget_refills() {
    run(async {
        let world = World::start().await;
        // Three in fifteen seconds: one in five.
        let _ccm = world.ccm(&Setup::new().quick().flag("--node-deletion-budget-window=15s"));
        live(&world, &names(7)).await;
        vanish(&world, &names(7)).await;
        left(&world, 0, PROMISED * 2).await;

        let deletions = world.traffic().await.node_deletions();
        assert_eq!(deletions.lines(), ["delete nodes 200"; 7]);
        let times: Vec<_> = deletions.iter().map(|deletion| deletion.received).collect();
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[0].duration_until(pair[1])).collect();
        println!("between two deletions: {gaps:?}");
        // A full budget at first, at most; then one by one.
        for some in times.windows(4) {
            let took = some[0].duration_until(some[3]);
            assert!(took >= SignedDuration::from_millis(4_500), "{gaps:?}");
        }
    });
}

#[test]
fn a_process_that_begins_anew_says_nothing_again_of_nodes_that_are_still_held() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().quick().without_election());
        live(&world, &names(5)).await;
        vanish(&world, &names(5)).await;
        let held = left(&world, 4, PROMISED).await;
        all_say(&world, held.keys(), HELD).await;
        for name in held.keys() {
            world.events_with(name, HELD.1).await;
        }
        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());
        let writes = world.traffic().await.node_writes().len();

        let mut ccm = world.ccm(&Setup::new().quick().without_election().serving());
        let held = left(&world, 3, PROMISED).await;
        ccm.metric_is("ccm_node_deletions_held", 3.0).await;
        sleep(LONG_ENOUGH).await;
        let writes = world.traffic().await.node_writes().after(writes);
        assert_eq!(writes.lines(), ["delete nodes 200"], "the one token of a new process");
        for name in held.keys() {
            let events = events_of(&world, name, HELD.1).await;
            assert!(matches!(&events[..], [(_, 1)]), "{events:?}");
        }
        assert_eq!(world.uids().await, held);
    });
}

/// More nodes than the budget would let go, of which each is deleted.
async fn all_go(world: &World, nodes: &[String], ccm: &mut Ccm, why: &str) {
    let since = Instant::now();
    world.silence_all(nodes).await;
    left(world, 0, PROMISED).await;
    println!("{} nodes, {why}: gone after {:.1?}", nodes.len(), since.elapsed());
    let counted = format!("ccm_node_deletions_total{{{why},permit=\"announced\"}}");
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    ccm.metric_is(&counted, nodes.len() as f64).await;
    for name in nodes {
        assert_eq!(events_of(world, name, HELD.1).await, [], "{name}");
    }
}

#[test]
fn machines_that_were_terminated_on_record_are_not_counted() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().quick().serving());
        let nodes = names(8);
        live(&world, &nodes).await;
        join_all(nodes.iter().map(|name| world.cloud.terminate(name))).await;
        all_go(&world, &nodes, &mut ccm, "evidence=\"terminated\"").await;
    });
}

#[test]
fn machines_that_were_seen_on_their_way_down_are_not_counted() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().quick().serving());
        let nodes = names(8);
        live(&world, &nodes).await;
        world.cloud.keep_no_records().await;
        let patch = simcloud::api::SettingsPatch {
            transition_delay_ms: Some(10_000),
            ..Default::default()
        };
        world.cloud.change_settings(&patch).await.unwrap();
        join_all(nodes.iter().map(|name| world.cloud.terminate(name))).await;
        all_go(&world, &nodes, &mut ccm, "evidence=\"absent\"").await;
    });
}

#[test]
fn nodes_that_an_autoscaler_removes_are_not_counted() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().quick().serving());
        let nodes = names(8);
        live(&world, &nodes).await;
        for (n, name) in nodes.iter().enumerate() {
            let key = ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted"][n % 2];
            let taint = json!([{"key": key, "effect": "NoSchedule"}]);
            world.patch(name, &json!({"spec": {"taints": taint}})).await;
        }
        world.cloud.keep_no_records().await;
        join_all(nodes.iter().map(|name| world.cloud.terminate(name))).await;
        all_go(&world, &nodes, &mut ccm, "evidence=\"absent\"").await;
    });
}

#[test]
fn a_node_that_is_too_young_is_kept_and_told_why() {
    /// Longer than it takes to be told.
    const OLD_ENOUGH: Duration = Duration::from_mins(1);

    run(async {
        let world = World::start().await;
        let setup = Setup::new().quick().flag("--node-deletion-min-age=60s");
        let _ccm = world.ccm(&setup);
        let born = Instant::now();
        live(&world, &names(1)).await;
        world.cloud.terminate("n0").await;
        let since = Instant::now();
        world.silence("n0").await;
        let known = ("False", "InstanceNotFound");
        let told = world.node_until("n0", "told", OLD_ENOUGH, |node| node.known() == known).await;
        println!("told after {:.1?}", since.elapsed());
        assert!(since.elapsed() >= Duration::from_secs(29), "a short wait is no news");
        let message = told.known.unwrap().2;
        assert!(message.contains("1m old"), "{message}");
        world.events_with("n0", "InstanceNotFound").await;

        world.gone("n0", OLD_ENOUGH).await;
        println!("deleted at the age of {:.1?}", born.elapsed());
        // The API server keeps whole seconds of the time at which it was made.
        assert!(born.elapsed() + Duration::from_secs(1) >= OLD_ENOUGH, "{:?}", born.elapsed());
        assert_eq!(events_of(&world, "n0", "InstanceNotFound").await.len(), 1);
    });
}

#[test]
fn nodes_of_other_clouds_are_never_touched_and_never_asked_about() {
    run(async {
        let world = World::start().await;
        let foreign = Kubelet::new("foreign").provider_id("aws:///eu-west-1a/i-0abc").initialized();
        world.register(foreign.ready(false)).await;
        // Initialised by somebody else, who gave it no provider ID.
        world.register(Kubelet::new("unsaid").initialized().ready(false)).await;
        let about_foreign = FaultSpec {
            instance: Some("foreign".to_owned()),
            ..FaultSpec::always(OperationFilter::Any, FaultKind::ServerError { status: 500 })
        };
        let about_foreign = world.cloud.add_fault(&about_foreign).await.unwrap().id;
        let uids = world.uids().await;
        let _ccm = world.ccm(&Setup::new().quick());
        world.barrier("ours").await;
        let asked = world.cloud.calls_of_ccm().await.len();
        sleep(LONG_ENOUGH).await;

        for (name, uid) in &uids {
            assert_eq!(world.node(name).await.uid, *uid);
            let traffic = world.traffic().await.of_node(name);
            assert!(traffic.is_empty(), "{name}: {traffic}");
            assert_eq!(world.events(name).await, []);
        }
        let calls = world.cloud.calls_of_ccm().await;
        assert_eq!(calls.len(), asked, "nobody is watched over: {calls:?}");
        assert!(calls.iter().all(|call| call.operation == Operation::DescribeInstances));
        assert_eq!(world.cloud.fault(&about_foreign).await.unwrap().uses, 0);
    });
}

#[test]
fn half_the_fleet_behind_an_empty_page_stays_and_says_why() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().quick().serving());
        live(&world, &names(8)).await;
        let uids = world.uids().await;
        let silent = &names(4);
        world.cloud.break_down(FaultKind::EmptyPage).await;
        world.silence_all(silent).await;
        let since = Instant::now();
        all_say(&world, silent, ("Unknown", "ContradictoryAnswers")).await;
        let held = join_all(silent.iter().map(|name| events_of(&world, name, HELD.1))).await;
        let held = held.iter().filter(|events| !events.is_empty()).count();
        println!("all told after {:.1?}; {held} were held before", since.elapsed());
        for name in silent {
            let message = world.node(name).await.known.unwrap().2;
            assert!(message.contains("the Node stays"), "{message}");
        }

        world.cloud.clear_faults().await.unwrap();
        all_say(&world, silent, FOUND).await;
        ccm.metric_is("ccm_node_deletions_held", 0.0).await;
        assert_eq!(world.uids().await, uids);
        let deletions = world.traffic().await.node_deletions();
        assert!(deletions.is_empty(), "{deletions}");
    });
}

#[test]
fn an_api_that_lies_to_every_question_costs_no_more_than_the_budget() {
    /// One token each 200 s, with these few nodes.
    const REFILL: Duration = Duration::from_secs(200);
    const NODES: usize = 20;
    const STARTS: usize = 4;

    run(async {
        let world = World::start().await;
        let setup = Setup::new().quick().without_election().serving();
        let began = Instant::now();
        let mut ccm = world.ccm(&setup);
        live(&world, &names(NODES)).await;
        world.cloud.break_down_all(FaultKind::EmptyPage).await;
        world.cloud.break_down_all(FaultKind::NotFound).await;
        world.silence_all(&names(NODES)).await;
        for start in 1..=STARTS {
            if start > 1 {
                ccm.signal(Signal::KILL);
                ccm.end(SOON).await;
                ccm = world.ccm(&setup);
            }
            left(&world, NODES - start, PROMISED).await;
            wait_until("all others are held", SOON, async || {
                let held = ccm.metric("ccm_node_deletions_held").await;
                if held.is_some_and(|held| held > 0.0) { Ok(()) } else { Err(held) }
            })
            .await;
        }
        sleep(LONG_ENOUGH).await;
        let refilled = usize::try_from(began.elapsed().as_secs() / REFILL.as_secs()).unwrap();
        let deleted = NODES - world.uids().await.len();
        println!("{deleted} of {NODES} nodes deleted in {STARTS} lives of the process");
        assert!(deleted <= STARTS + refilled, "{deleted} deleted");

        world.cloud.clear_faults().await.unwrap();
        let rest = world.uids().await;
        all_say(&world, rest.keys(), FOUND).await;
        assert_eq!(world.uids().await, rest);
    });
}

#[test]
fn a_machine_replaced_under_its_name_renews_its_node_and_deletes_nothing() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new().quick().refresh(2));
        live(&world, &names(2)).await;
        let uids = world.uids().await;
        let machine = world.cloud.machine("n0").await;
        // A new machine boots, and its kubelet takes its time.
        world.silence("n0").await;
        world.cloud.replace_instance(&machine.id).await.unwrap();
        let nic = Nic { private_ipv4s: vec!["10.9.9.9".parse().unwrap()], ..Nic::default() };
        let update = UpdateInstance {
            instance_type: Some("sim.huge".to_owned()),
            nics: Some(vec![nic]),
            ..UpdateInstance::default()
        };
        world.cloud.update_instance(&machine.id, &update).await.unwrap();

        world
            .node_until("n0", "as its new machine", SOON, |node| {
                node.addresses == ["InternalIP 10.9.9.9", "Hostname n0"]
                    && node.label("node.kubernetes.io/instance-type") == "sim.huge"
            })
            .await;
        world.events_with("n0", "InstanceReplaced").await;
        sleep(LONG_ENOUGH).await;
        world.set_ready("n0", true).await;
        let replaced = events_of(&world, "n0", "InstanceReplaced").await;
        assert!(matches!(&replaced[..], [(_, 1)]), "{replaced:?}");
        assert_eq!(world.uids().await, uids);
        assert!(!world.node("n0").await.has_taint(SHUTDOWN));
        assert_eq!(world.traffic().await.node_deletions().lines(), [""; 0]);
    });
}

/// Nodes whose deletion waits for nothing but the answer to a direct question, which takes its time.
pub(crate) async fn nearly_deleted(world: &World, names: &[String], time: Duration) {
    join_all(names.iter().map(|name| world.cloud.terminate(name))).await;
    world.cloud.slow_down_calls(Operation::GetInstance, time).await;
    world.silence_all(names).await;
    // Each has its own beat.
    under_way(world, Operation::GetInstance, names.len()).await;
}

/// Waits until the direct questions are answered, all of them.
async fn answered(world: &World, count: usize) {
    wait_until("the direct answers", SOON, async || {
        let answers = world.cloud.calls_of(Operation::GetInstance).await.len();
        if answers >= count { Ok(()) } else { Err(answers) }
    })
    .await;
}

#[test]
fn a_node_that_changes_while_its_deletion_is_decided_is_not_deleted() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new().quick());
        live(&world, &names(2)).await;
        nearly_deleted(&world, &names(2), LATE).await;
        world.set_ready("n0", true).await;
        world.cloud.instance_named("n1").await;
        world.nodes().delete("n1", &DeleteParams::default()).await.unwrap();
        world.register(Kubelet::new("n1")).await;
        let uids = world.uids().await;

        answered(&world, 2).await;
        world.initialized("n1").await;
        world.barrier("later").await;
        sleep(CONFIRM_AFTER).await;
        let deletions = world.traffic().await.node_deletions();
        assert!(deletions.is_empty(), "{deletions}");
        for (name, uid) in uids {
            assert_eq!(world.node(&name).await.uid, uid);
        }
    });
}

#[test]
fn a_deletion_that_is_decided_on_old_news_is_refused_by_the_api_server() {
    run(async {
        let world = World::start().await;
        let proxy = world.proxy().await;
        let ccm = world.ccm_behind(&proxy, &Setup::new().quick().without_election());
        // Many at once, so that there are connections to spare.
        live(&world, &names(10)).await;
        let dying = names(2);
        nearly_deleted(&world, &dying, LATE).await;
        // What changes from here on, it does not hear of, but what it says is heard.
        proxy.hold_answers();
        world.set_ready("n0", true).await;
        world.cloud.instance_named("n1").await;
        world.nodes().delete("n1", &DeleteParams::default()).await.unwrap();
        world.register(Kubelet::new("n1")).await;
        let uids = world.uids().await;

        let deletions = wait_until("two deletions", SOON, async || {
            let deletions = world.traffic().await.node_deletions();
            if deletions.len() == 2 { Ok(deletions) } else { Err(deletions.lines()) }
        })
        .await;
        assert_eq!(deletions.lines(), ["delete nodes 409"; 2], "{}", ccm.log());
        proxy.let_go();
        world.initialized("n1").await;
        sleep(CONFIRM_AFTER).await;
        assert_eq!(world.traffic().await.node_deletions().len(), 2, "and not tried again");
        assert_eq!(world.uids().await, uids);
    });
}

#[test]
fn many_held_nodes_are_told_at_ten_a_second() {
    /// Of which one is deleted.
    const MANY: usize = 61;

    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new().quick().flag("--node-deletion-budget-percent=0"));
        let nodes = names(MANY);
        live(&world, &nodes).await;
        vanish(&world, &nodes).await;
        let held = left(&world, MANY - 1, PROMISED).await;
        all_say(&world, held.keys(), HELD).await;

        let told: Vec<Timestamp> = {
            let told = world.traffic().await.status_writes();
            told.after(MANY).iter().map(|event| event.received).collect()
        };
        assert_eq!(told.len(), MANY - 1, "each once");
        let took = told[0].duration_until(told[MANY - 2]).as_secs_f64();
        println!("{} nodes told in {took:.1} s", told.len());
        // Ten a second are 5.9 s; writes may catch up with one that was slow.
        assert!(took >= 5.5, "{took} s");
    });
}

#[test]
fn without_the_right_to_delete_it_is_said_and_tried_with_growing_pauses() {
    run(async {
        let world = World::start().await;
        let setup = Setup::new().quick().account(Account::Undeleting);
        let _ccm = world.ccm(&setup);
        live(&world, &names(3)).await;
        let dead = names(2);
        join_all(dead.iter().map(|name| world.cloud.terminate(name))).await;
        world.silence_all(&dead).await;
        for name in &dead {
            let events = world.events_with(name, "DeletingNodeFailed").await;
            let failed = events.iter().find(|event| event.0 == "DeletingNodeFailed").unwrap();
            assert!(failed.1.contains("forbidden"), "{failed:?}");
        }
        let since = Instant::now();
        sleep(Duration::from_secs(20)).await;
        let traffic = world.traffic_of(Account::Undeleting).await;
        for name in &dead {
            let tries = traffic.of_node(name).node_deletions();
            let times: Vec<_> = tries.iter().map(|one| one.received).collect();
            let pauses: Vec<_> =
                times.windows(2).map(|two| two[0].duration_until(two[1])).collect();
            println!("{name}: pauses between {} tries {pauses:?}", times.len());
            assert_eq!(tries.len(), tries.answered(403).len());
            // After 1, 2, 4, 8, 16 s, or later.
            assert!((3..=6).contains(&times.len()), "{tries}");
            let mut least = std::iter::successors(Some(0.9), |last| Some(last * 2.0));
            assert!(
                pauses.iter().all(|it| it.as_secs_f64() >= least.next().unwrap()),
                "{pauses:?}"
            );
        }
        let events = traffic.mutations().lines();
        let events = events.iter().filter(|line| line.contains("events")).count();
        println!("{events} writes of events in {:.0?}", since.elapsed());
        assert!(events <= 30, "{events}");
        assert_eq!(world.uids().await.len(), 3);
        let known: Vec<Seen> = join_all(dead.iter().map(|name| world.node(name))).await;
        assert!(known.iter().all(|node| !node.has_taint(SHUTDOWN)));
    });
}
