//! Initialized nodes follow the cloud, and what is right costs nothing.

use ccm_e2e::{LONG, SOON, Seen, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use serde_json::json;
use simcloud::api::{CallEntry, CreateInstance, Nic, UpdateInstance};

const ZONE: &str = "topology.kubernetes.io/zone";
const ZONE_BETA: &str = "failure-domain.beta.kubernetes.io/zone";
const TYPE: &str = "node.kubernetes.io/instance-type";
const TYPE_BETA: &str = "beta.kubernetes.io/instance-type";

/// The names `n0` to `n<count - 1>`.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}")).collect()
}

/// Waits until the program has looked at everything so many times from now on.
async fn more_looks(world: &World, looks: usize) {
    let before = world.cloud.calls_of_ccm().await.len();
    wait_until("more looks at the cloud", SOON, async || {
        let now = world.cloud.calls_of_ccm().await.len();
        if now >= before + looks { Ok(()) } else { Err(now - before) }
    })
    .await;
}

#[test]
fn both_families_keep_the_clouds_order_and_a_second_look_writes_nothing() {
    run(async {
        let world = World::start().await;
        let nic = Nic {
            private_ipv4s: vec!["10.0.0.5".parse().unwrap(), "10.0.0.4".parse().unwrap()],
            private_ipv6s: vec!["fd00::5".parse().unwrap()],
            ..Nic::default()
        };
        let wanted =
            CreateInstance { nics: Some(vec![nic.clone()]), ..CreateInstance::named("n1") };
        let instance = world.cloud.create_instance(&wanted).await.unwrap();
        let _ccm = world.ccm(&Setup::new().refresh(1));
        world.register(Kubelet::new("n1")).await;
        let node = world.initialized("n1").await;
        let (four, three, six) =
            ("InternalIP 10.0.0.5", "InternalIP 10.0.0.4", "InternalIP fd00::5");
        assert_eq!(node.addresses, [four, three, six, "Hostname n1"]);
        more_looks(&world, 3).await;
        assert_eq!(world.traffic().await.of_node("n1").len(), 2, "no write after the first two");

        let swapped =
            Nic { private_ipv4s: nic.private_ipv4s.iter().rev().copied().collect(), ..nic };
        let update = UpdateInstance { nics: Some(vec![swapped]), ..UpdateInstance::default() };
        world.cloud.update_instance(&instance.id, &update).await.unwrap();
        world
            .node_until("n1", "the other order", SOON, |node| {
                node.addresses == [three, four, six, "Hostname n1"]
            })
            .await;
        more_looks(&world, 2).await;
        assert_eq!(world.traffic().await.of_node("n1").lines()[2..], ["patch nodes/status 200"]);
    });
}

#[test]
fn a_machine_of_another_size_or_address_is_followed() {
    run(async {
        let world = World::start().await;
        let instance = world.cloud.instance_named("n1").await;
        let _ccm = world.ccm(&Setup::new().refresh(1));
        world.register(Kubelet::new("n1")).await;
        world.initialized("n1").await;
        let nic = Nic { private_ipv4s: vec!["10.7.7.7".parse().unwrap()], ..Nic::default() };
        let update = UpdateInstance {
            instance_type: Some("sim.huge".to_owned()),
            nics: Some(vec![nic]),
            ..UpdateInstance::default()
        };
        world.cloud.update_instance(&instance.id, &update).await.unwrap();
        world
            .node_until("n1", "as the machine is now", SOON, |node| {
                node.label(TYPE) == "sim.huge"
                    && node.label(TYPE_BETA) == "sim.huge"
                    && node.addresses == ["InternalIP 10.7.7.7", "Hostname n1"]
            })
            .await;
        more_looks(&world, 2).await;
        let lines = world.traffic().await.of_node("n1").lines();
        assert_eq!(lines[2..], ["patch nodes/status 200", "patch nodes 200"]);
    });
}

#[test]
fn the_present_label_is_the_truth_for_the_old_one() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new().refresh(2));
        world.initialized("n1").await;
        let set = async |labels| world.patch("n1", &json!({"metadata": {"labels": labels}})).await;
        let until = async |what, expected: &[(&str, &str)]| {
            let is_so = |key: &str, value: &str, node: &Seen| node.label(key) == value;
            let all = |node: &Seen| expected.iter().all(|(k, v)| is_so(k, v, node));
            world.node_until("n1", what, SOON, all).await;
        };

        set(json!({ZONE_BETA: "elsewhere"})).await;
        until("the old label restored", &[(ZONE, "sim-1a"), (ZONE_BETA, "sim-1a")]).await;
        set(json!({ZONE: null})).await;
        until("the present label back", &[(ZONE, "sim-1a"), (ZONE_BETA, "sim-1a")]).await;
        set(json!({TYPE: "sim.tiny"})).await;
        until("the cloud's type", &[(TYPE, "sim.small"), (TYPE_BETA, "sim.small")]).await;

        // Pods and volumes were placed by the zone: it stays as its owner wants it.
        set(json!({ZONE: "elsewhere"})).await;
        until("the owner's zone", &[(ZONE, "elsewhere"), (ZONE_BETA, "elsewhere")]).await;
        let events = world.events_with("n1", "TopologyMismatch").await;
        more_looks(&world, 3).await;
        assert_eq!(world.events("n1").await, events, "said once");
        let [(_, message, 1)] = &events[..] else { panic!("{events:?}") };
        assert!(message.contains("elsewhere") && message.contains("sim-1a"), "{message}");
    });
}

/// Calls in groups that began within a second of one another.
fn bursts(calls: &[CallEntry]) -> Vec<Vec<&CallEntry>> {
    let mut bursts: Vec<Vec<&CallEntry>> = Vec::new();
    for call in calls {
        let began = call.received_at.as_millis();
        match bursts.last_mut() {
            Some(burst) if began < burst[0].received_at.as_millis() + 1_000 => burst.push(call),
            _ => bursts.push(vec![call]),
        }
    }
    bursts
}

#[test]
fn a_look_at_250_nodes_is_three_calls_and_a_restart_writes_nothing() {
    run(async {
        let world = World::start().await;
        let names = names(250);
        world.cloud.instances_named(names.clone()).await;
        world.register_all(&names).await;
        let refresh = Setup::new().refresh(3).without_election();
        let mut ccm = world.ccm(&refresh);
        world.all_initialized(SOON * 2).await;

        // As many intervals as it takes for three whole ones in a row. Some are cut in two: the first,
        // the last, and those during which the machine stood still.
        world.cloud.clear_calls().await.unwrap();
        let sizes =
            wait_until("three looks at everything, one after the other", LONG, async || {
                let calls = world.cloud.calls_of_ccm().await;
                let sizes: Vec<_> = bursts(&calls)
                    .iter()
                    .map(|burst| {
                        (burst.len(), burst.iter().map(|call| call.instances).sum::<u64>())
                    })
                    .collect();
                let are_whole = sizes.windows(3).any(|three| *three == [(3, 250); 3]);
                if are_whole { Ok(sizes) } else { Err(sizes) }
            })
            .await;
        println!("calls and instances in each interval: {sizes:?}");
        assert!(sizes.iter().all(|(calls, _)| *calls <= 3), "{sizes:?}");
        let traffic = world.traffic().await;
        let writes = traffic.node_writes().len();
        println!("{writes} writes for 250 nodes, {} reads", traffic.node_reads().len());
        assert_eq!((writes, traffic.node_reads().len()), (500, 0));

        // A new process with all in order.
        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());
        world.cloud.clear_calls().await.unwrap();
        let _ccm = world.ccm(&Setup::new().without_election());
        world.cloud.instance_named("last").await;
        wait_until("the new process's look", SOON, async || {
            let asked: u64 = world.cloud.calls_of_ccm().await.iter().map(|c| c.instances).sum();
            if asked >= 250 { Ok(()) } else { Err(asked) }
        })
        .await;
        world.register(Kubelet::new("last")).await;
        world.initialized("last").await;
        let calls = world.cloud.calls_of_ccm().await;
        let asked: Vec<_> = calls.iter().map(|call| call.instances).collect();
        println!("calls after the restart, and for one node more: {asked:?}");
        assert_eq!(asked.len(), 3 + 1);
        let lines = world.traffic().await.node_writes().after(writes).lines();
        assert_eq!(lines, ["patch nodes/status 200", "patch nodes 200"], "of the last node alone");
    });
}
