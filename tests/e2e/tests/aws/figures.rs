//! What is asked of AWS: the calls behind the figures in the book.

use std::collections::BTreeMap;
use std::time::Duration;

use ccm_awscloud::Call;
use ccm_e2e::{ANNOTATION, Setup, Wanted, World, run, wait_until};
use serde_json::json;

/// Nodes of the figures.
const NODES: u32 = 1_000;

fn nlb(name: &str) -> Wanted {
    Wanted::named(name).annotation(&format!("{ANNOTATION}type"), "nlb")
}

fn count(calls: &[Call], is_meant: impl Fn(&Call) -> bool) -> usize {
    calls.iter().filter(|call| is_meant(call)).count()
}

/// How many calls of each action, for people.
fn actions(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(format!("{}:{}", call.service, call.action)).or_default() += 1;
    }
    counts
}

#[test]
fn a_thousand_nodes() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(NODES).await;
        let begun = world.cloud.mark().await.unwrap();
        let ccm = world.ccm(&Setup::new());
        world.all_initialized(Duration::from_mins(2)).await;
        drop(ccm);
        let calls = world.cloud.calls(begun).await;
        println!("{NODES} nodes at the start: {:?}", actions(&calls));
        assert!(calls.len() <= 30, "{:?}", actions(&calls));
        assert_eq!(count(&calls, |call| call.mutates), 0);

        // An hour has twelve refreshes at the default of five minutes; here are three in a row.
        let begun = world.cloud.mark().await.unwrap();
        let _ccm = world.ccm(&Setup::new().refresh(10));
        let describes = |calls: &[Call]| count(calls, |it| it.action == "DescribeInstances");
        let batches = usize::try_from(NODES).unwrap().div_ceil(100);
        let wanted = 3 * batches;
        let calls = wait_until("three refreshes", Duration::from_mins(2), async || {
            let calls = world.cloud.calls(begun).await;
            if describes(&calls) >= wanted { Ok(calls) } else { Err(describes(&calls)) }
        })
        .await;
        let took = calls.last().unwrap().at - calls.first().unwrap().at;
        println!("{} DescribeInstances in {took} ms of refreshes each 10 s", describes(&calls));
        // At the start one, then one each ten seconds.
        let most = (took / 10_000 + 2) * u64::try_from(batches).unwrap();
        assert!(u64::try_from(describes(&calls)).unwrap() <= most, "{:?}", actions(&calls));
        let an_hour = 12 * batches;
        println!("{an_hour} DescribeInstances an hour at five minutes");
        assert!(an_hour <= 300);
    });
}

#[test]
fn a_steady_sync_of_a_network_load_balancer() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(3).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(Duration::from_secs(30)).await;
        let attributes = format!("{ANNOTATION}target-group-attributes");
        let ports = [80, 81, 82];
        let wanted =
            nlb("web").ports(&ports).annotation(&attributes, "preserve_client_ip.enabled=true");
        world.served(&wanted).await;
        quiet(&world).await;

        let begun = world.cloud.mark().await.unwrap();
        // Of no effect on a load balancer whose health check is TCP; and yet another wish.
        let path = format!("{ANNOTATION}healthcheck-path");
        world.change_service("web", &json!({"metadata": {"annotations": {path: "/a"}}})).await;
        let calls = wait_until("the sync", Duration::from_secs(20), async || {
            let calls = world.cloud.calls(begun).await;
            let looks = count(&calls, |call| call.action == "DescribeTargetHealth");
            if looks >= ports.len() { Ok(()) } else { Err(actions(&calls)) }
        });
        calls.await;
        quiet(&world).await;
        let calls = world.cloud.calls(begun).await;
        println!("a steady sync with {} ports: {:?}", ports.len(), actions(&calls));
        assert_eq!(count(&calls, |call| call.mutates), 0, "{:?}", actions(&calls));
        assert_eq!(count(&calls, |call| call.service == "ec2"), 0, "{:?}", actions(&calls));
        let most = 6 + 2 * ports.len();
        assert!(calls.len() <= most, "more than {most}: {:?}", actions(&calls));
    });
}

#[test]
fn a_node_joins_beside_fifty_services() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(3).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(Duration::from_secs(30)).await;
        let names: Vec<_> = (0..50).map(|number| format!("web-{number}")).collect();
        let wanted: Vec<_> = names.iter().map(|name| nlb(name)).collect();
        world.serve_all(&wanted).await;
        world.all_ready(Duration::from_mins(3)).await;
        quiet(&world).await;

        let begun = world.cloud.mark().await.unwrap();
        let node = world.join_instance().await;
        world.set_ready(&node.private_dns, true).await;
        wait_until("the node to be a target", Duration::from_mins(1), async || {
            let calls = world.cloud.calls(begun).await;
            let registered = count(&calls, |call| call.action == "RegisterTargets");
            if registered >= names.len() { Ok(()) } else { Err(actions(&calls)) }
        })
        .await;
        quiet(&world).await;
        let calls = world.cloud.calls(begun).await;
        println!("a node joins beside {} Services: {:?}", names.len(), actions(&calls));
        assert_eq!(count(&calls, |call| call.mutates), names.len(), "{:?}", actions(&calls));
    });
}

/// Waits until nothing has been asked for a while.
async fn quiet(world: &World<ccm_e2e::Aws>) {
    wait_until("nothing to be asked any more", Duration::from_mins(1), async || {
        let before = world.cloud.mark().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let calls = world.cloud.calls(before).await;
        if calls.is_empty() { Ok(()) } else { Err(actions(&calls)) }
    })
    .await;
}
