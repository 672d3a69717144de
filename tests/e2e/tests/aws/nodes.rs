//! Instances become nodes, and are replaced.

use std::collections::BTreeSet;

use ccm_awscloud::{Instance, Settings};
use ccm_e2e::{Aws, LONG, Setup, Wanted, World, run, wait_until};

#[test]
fn two_hundred_instances_become_nodes() {
    run(async {
        let world = World::aws(&[]).await;
        let instances = world.join_instances(200).await;
        let mark = world.cloud.mark().await.unwrap();
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(LONG).await;
        for instance in &instances {
            let node = world.node(&instance.private_dns).await;
            assert_eq!(node.provider_id, Some(instance.provider_id()));
        }
        let asked = world.cloud.asked(mark).await;
        let describes = asked.get("DescribeInstances").copied().unwrap_or_default();
        // Two are needed for so many. Twice that where the list of nodes comes in pieces.
        assert!(describes <= 4, "{asked:?}");
        assert_eq!(world.cloud.changed(mark).await, [""; 0]);
    });
}

/// Waits until the load balancers of both kinds have just these machines.
async fn targets_are(world: &World<Aws>, instances: &[&Instance]) {
    let want: BTreeSet<_> = instances.iter().map(|it| it.name.clone()).collect();
    let are = |lines: &[String], word: &str| {
        let have: BTreeSet<_> = lines
            .iter()
            .filter_map(|line| line.split_once(word)?.1.split(':').next())
            .map(str::to_owned)
            .collect();
        have == want
    };
    let what = format!("targets {want:?}");
    let is_so = |lines: &[String]| {
        let classic: Vec<_> =
            lines.iter().filter(|line| line.starts_with("classic")).cloned().collect();
        are(&classic, ": instance ") && are(lines, ": target ")
    };
    world.cloud.lines_until(&what, LONG, is_so).await;
}

#[test]
fn nodes_are_replaced_beside_load_balancers() {
    run(async {
        let world = World::aws(&[]).await;
        let nodes = world.join_instances(5).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(LONG).await;
        world.served(&Wanted::named("classic")).await;
        world.served(&Wanted::named("network").nlb().ports(&[80, 443])).await;
        targets_are(&world, &nodes.iter().collect::<Vec<_>>()).await;
        world.cloud.quiet().await;

        let begun = world.cloud.mark().await.unwrap();
        let (gone, stay) = nodes.split_at(2);
        world.cloud.terminate(&[&gone[0].id, &gone[1].id]).await.unwrap();
        world.silence_all(&gone.iter().map(|it| it.private_dns.clone()).collect::<Vec<_>>()).await;
        // They are minutes old, and two records say that they were terminated.
        for node in gone {
            world.gone(&node.private_dns, LONG).await;
        }
        // They may have the names of those that are gone: addresses are given out again.
        let new = world.join_instances(2).await;
        world.all_initialized(LONG).await;
        targets_are(&world, &stay.iter().chain(&new).collect::<Vec<_>>()).await;
        world.cloud.quiet().await;

        let calls = world.cloud.calls(begun).await;
        let named = |action: &str| {
            let calls = calls.iter().filter(|call| call.action == action);
            let values = calls.flat_map(|call| call.params.values());
            let ids = values.filter(|value| value.starts_with("i-")).cloned();
            ids.collect::<BTreeSet<_>>()
        };
        let ids = |nodes: &[Instance]| nodes.iter().map(|it| it.id.clone()).collect();
        for action in ["RegisterTargets", "RegisterInstancesWithLoadBalancer"] {
            assert_eq!(named(action), ids(&new), "{action}");
        }
        // Nobody who lives is ever without traffic, not for a moment.
        let gone: BTreeSet<_> = ids(gone);
        for action in ["DeregisterTargets", "DeregisterInstancesFromLoadBalancer"] {
            let named = named(action);
            assert!(named.is_subset(&gone), "{action}: {named:?}, and gone are {gone:?}");
        }
        let changes = calls.iter().filter(|call| call.mutates).map(|call| call.action.as_str());
        let changes: BTreeSet<_> = changes.collect();
        let of_targets = |action: &&&str| action.contains("egister");
        assert_eq!(changes.iter().filter(of_targets).count(), changes.len(), "{changes:?}");
    });
}

async fn uid(world: &World<Aws>, instance: &Instance) -> Option<String> {
    world.nodes().get(&instance.private_dns).await.unwrap().metadata.uid
}

/// A kubelet may join before AWS tells anybody about its instance.
#[test]
fn a_node_whose_machine_is_not_known_yet_waits_for_it() {
    run(async {
        let world = World::aws(&[]).await;
        let _ccm = world.ccm(&Setup::new());
        let unknown = |seconds| Settings { unknown_s: Some(seconds), ..Settings::default() };
        world.cloud.set(&unknown(3600.0)).await.unwrap();
        let mark = world.cloud.mark().await.unwrap();
        let joined = world.join_instances(3).await;
        let mut uids = Vec::new();
        for instance in &joined {
            uids.push(uid(&world, instance).await);
        }
        wait_until("several questions", LONG, async || {
            let asked = world.cloud.asked(mark).await;
            if asked.get("DescribeInstances") > Some(&3) { Ok(()) } else { Err(asked) }
        })
        .await;
        world.cloud.set(&unknown(0.0)).await.unwrap();
        world.all_initialized(LONG).await;
        for (instance, before) in joined.iter().zip(uids) {
            let node = world.node(&instance.private_dns).await;
            assert_eq!(node.provider_id, Some(instance.provider_id()));
            assert_eq!(uid(&world, instance).await, before, "it was never deleted");
        }
        // It is asked again, and not all the time.
        let asked = world.cloud.asked(mark).await;
        let describes = asked.get("DescribeInstances").copied().unwrap_or_default();
        assert!((2..=30).contains(&describes), "{asked:?}");
    });
}
