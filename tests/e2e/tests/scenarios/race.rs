//! Other writers at the same time: what happens between our two writes of a node.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ccm_e2e::{Ccm, SOON, Seen, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::{Kubelet, UNINITIALIZED_TAINT};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use simcloud::api::{DescribeInstances, Instance, RunState};
use tokio::time::{sleep, timeout};

/// Another writer's taint.
const THEIRS: &str = "example.com/theirs";

/// Nodes that join at once, so that the API server is busy and the writes of a node are apart.
const CROWD: usize = 150;

/// In-flight writes are answered within this time of one another.
const QUIET: Duration = Duration::from_millis(300);

/// Whether the node has its addresses and still the taint.
fn is_between_the_writes(node: &Node) -> bool {
    let seen = Seen::from(node);
    seen.addresses.iter().any(|text| text.starts_with("InternalIP")) && !seen.is_initialized()
}

/// Lets many nodes join and freezes the program as soon as it has done half of its work on one.
/// Gives the nodes whose second write was not sent.
async fn frozen_between_the_writes(world: &World) -> (Ccm, Vec<String>) {
    let names: Vec<_> = (0..CROWD).map(|n| format!("n{n}")).collect();
    world.cloud.instances_named(names.clone()).await;
    world.register_all(&names).await;
    let nodes = world.nodes();
    let version = nodes.list_metadata(&ListParams::default()).await.unwrap().metadata;
    let version = version.resource_version.unwrap();
    let events = nodes.watch(&WatchParams::default(), &version).await.unwrap();
    let between = events.try_filter_map(async |event| match event {
        WatchEvent::Modified(node) => Ok(is_between_the_writes(&node).then_some(())),
        _ => Ok(None),
    });
    let mut between = std::pin::pin!(between);

    // Without an election, so that no lease runs out meanwhile.
    let setup = Setup::new().flag("--concurrent-node-syncs=64").without_election();
    let ccm = world.ccm(&setup);
    let caught = loop {
        timeout(SOON, between.next()).await.unwrap().unwrap().unwrap();
        ccm.signal(Signal::STOP);
        let caught = between_the_writes(world).await;
        if !caught.is_empty() {
            break caught;
        }
        // All that were under way had sent both writes: on to the next.
        ccm.signal(Signal::CONT);
    };
    println!("{} of {CROWD} nodes were caught between the two writes", caught.len());
    (ccm, caught)
}

/// The nodes between the two writes of a program that is frozen.
async fn between_the_writes(world: &World) -> Vec<String> {
    // What was sent before is still carried out.
    let mut writes = world.traffic().await.len();
    wait_until("the end of writes under way", SOON, async || {
        sleep(QUIET).await;
        let before = std::mem::replace(&mut writes, world.traffic().await.len());
        if writes == before { Ok(()) } else { Err(writes) }
    })
    .await;
    let all = world.nodes().list(&ListParams::default()).await.unwrap();
    all.iter().filter(|node| is_between_the_writes(node)).map(ResourceExt::name_any).collect()
}

/// Puts a taint in front of the others, of which ours is the first. Gives whether it was: a write that
/// was on its way may have been faster.
async fn push_in(nodes: &Api<Node>, name: &str) -> bool {
    let patch: Value = json!([
        {"op": "test", "path": "/spec/taints/0/key", "value": UNINITIALIZED_TAINT},
        {"op": "add", "path": "/spec/taints/0", "value": {"key": THEIRS, "effect": "NoSchedule"}},
    ]);
    let patch = Patch::<()>::Json(serde_json::from_value(patch).unwrap());
    match nodes.patch(name, &PatchParams::default(), &patch).await {
        Ok(node) => assert_eq!(Seen::from(&node).taints, [THEIRS, UNINITIALIZED_TAINT]),
        Err(kube::Error::Api(status)) if status.code == 422 => return false,
        Err(err) => panic!("{err}"),
    }
    true
}

#[test]
fn a_taint_that_another_adds_between_our_writes_survives() {
    run(async {
        let world = World::start().await;
        let (ccm, caught) = frozen_between_the_writes(&world).await;
        let mut pushed_in = Vec::new();
        for name in &caught {
            if push_in(&world.nodes(), name).await {
                pushed_in.push(name);
            }
        }
        ccm.signal(Signal::CONT);
        world.all_initialized(SOON).await;
        for name in pushed_in {
            assert_eq!(world.node(name).await.taints, [THEIRS], "{name}");
        }
        let refused = world.traffic().await.node_writes().answered(422);
        assert!(!refused.is_empty(), "no write met the other's taint");
        println!("{} writes were refused", refused.len());
    });
}

#[test]
fn a_taint_that_was_put_in_front_while_nobody_ran_survives() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        assert!(push_in(&world.nodes(), "n1").await);
        let _ccm = world.ccm(&Setup::new());
        assert_eq!(world.initialized("n1").await.taints, [THEIRS]);
    });
}

#[test]
fn a_node_made_anew_between_our_writes_gets_nothing_of_the_old_one() {
    run(async {
        let world = World::start().await;
        let (ccm, caught) = frozen_between_the_writes(&world).await;
        for name in &caught {
            again(&world, name).await;
        }
        ccm.signal(Signal::CONT);
        world.all_initialized(SOON).await;
        are_themselves(&world).await;
        let refused = world.traffic().await.node_writes().answered(422);
        assert!(!refused.is_empty(), "no write met the other node");
        println!("{} writes were refused", refused.len());
    });
}

#[test]
fn a_node_made_anew_while_the_cloud_is_asked_about_it_gets_nothing_of_the_old_one() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        world.barrier("n0").await;
        world.cloud.slow_down(Duration::from_secs(1)).await;
        world.join("n1").await;
        wait_until("the question about n1", SOON, async || {
            let calls = world.cloud.calls_in_flight().await;
            if calls > 0 { Ok(()) } else { Err(calls) }
        })
        .await;
        again(&world, "n1").await;
        world.initialized("n1").await;
        are_themselves(&world).await;
    });
}

/// Puts another machine and another node in their place, under the same name.
async fn again(world: &World, name: &str) {
    let ask = DescribeInstances { names: vec![name.to_owned()], ..DescribeInstances::default() };
    for machine in world.cloud.describe_instances(&ask).await.unwrap() {
        world.cloud.terminate_instance(&machine.id).await.unwrap();
    }
    world.cloud.instance_named(name).await;
    world.nodes().delete(name, &DeleteParams::default()).await.unwrap();
    world.register(Kubelet::new(name)).await;
}

/// The machines that live, by name.
async fn machines(world: &World) -> HashMap<String, Instance> {
    let all = world.cloud.all_instances(BTreeMap::new()).await.unwrap();
    let live = all.into_iter().filter(|machine| machine.state == RunState::Running);
    live.map(|machine| (machine.name.clone(), machine)).collect()
}

/// Fails unless each node shows its own machine.
async fn are_themselves(world: &World) {
    let machines = machines(world).await;
    for node in &world.nodes().list(&ListParams::default()).await.unwrap() {
        let machine = &machines[&node.name_any()];
        let address = format!("InternalIP {}", machine.nics[0].private_ipv4s[0]);
        let seen = Seen::from(node);
        assert_eq!(seen.provider_id, Some(format!("sim://{}", machine.id)), "{seen:?}");
        assert_eq!(seen.addresses, [address, format!("Hostname {}", machine.name)], "{seen:?}");
        assert_eq!(seen.label("topology.kubernetes.io/zone"), "sim-1a", "{seen:?}");
    }
}
