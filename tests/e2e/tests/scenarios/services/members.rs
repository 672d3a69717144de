//! Nodes become targets and cease to be.

use std::time::Duration;

use ccm_e2e::{Options, SOON, Setup, Wanted, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use kube::api::DeleteParams;
use serde_json::json;
use simcloud::api::{FaultKind, Operation, OperationFilter};
use tokio::time::Instant;

use crate::lifecycle::names;

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const GOING: &str = "ToBeDeletedByClusterAutoscaler";

/// From a lone new node to a target.
const COMES: Duration = Duration::from_secs(2);
/// From a deleted node to no target.
const GOES: Duration = Duration::from_secs(1);

/// Targets that one call of this cloud changes.
const BATCH: u64 = 100;

#[test]
fn a_lone_new_node_is_a_target_within_two_seconds_and_a_deleted_one_leaves_within_one() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        let _ccm = world.ccm(&Setup::new());
        world.barrier("n0").await;
        let web = world.served(&Wanted::named("web")).await.uid;
        world.cloud.instance_named("n1").await;
        // A machine that is busy with something else may need another try.
        let mut shown = Vec::new();
        while shown.len() < 3 {
            let since = Instant::now();
            world.register(Kubelet::new("n1")).await;
            world.cloud.targets_are(&web, &names(2), SOON).await;
            let came = since.elapsed();
            let since = Instant::now();
            world.nodes().delete("n1", &DeleteParams::default()).await.unwrap();
            world.cloud.targets_are(&web, &names(1), SOON).await;
            let went = since.elapsed();
            println!("a node comes in {came:.2?} and goes in {went:.2?}");
            shown.push((came, went));
            if came < COMES && went < GOES {
                break;
            }
        }
        let (came, went) = shown.last().unwrap();
        assert!(*came < COMES && *went < GOES, "{shown:?}");
        world.service_event("web", "UpdatedLoadBalancer").await;
    });
}

#[test]
fn an_excluded_node_and_one_that_is_about_to_go_take_no_traffic() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        for name in names(4) {
            world.barrier(&name).await;
        }
        let web = world.served(&Wanted::named("web")).await.uid;
        let are = async |numbers: &[usize]| {
            let names: Vec<_> = numbers.iter().map(|n| format!("n{n}")).collect();
            world.cloud.targets_are(&web, &names, SOON).await;
        };
        are(&[0, 1, 2, 3]).await;
        world.patch("n1", &json!({"metadata": {"labels": {EXCLUDED: ""}}})).await;
        are(&[0, 2, 3]).await;
        let taint = json!([{"key": GOING, "effect": "NoSchedule"}]);
        world.patch("n2", &json!({"spec": {"taints": taint}})).await;
        are(&[0, 3]).await;
        world.patch("n1", &json!({"metadata": {"labels": {EXCLUDED: "false"}}})).await;
        world.patch("n2", &json!({"spec": {"taints": null}})).await;
        are(&[0, 1, 2, 3]).await;

        // None at all is worth a word, and no reason to go.
        for name in names(4) {
            world.patch(&name, &json!({"metadata": {"labels": {EXCLUDED: "true"}}})).await;
        }
        are(&[]).await;
        world.service_event("web", "UnAvailableLoadBalancer").await;
        assert!(world.service("web").await.is_ready());
    });
}

#[test]
fn a_node_that_is_not_ready_stays_a_target_and_costs_nothing() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        for name in names(3) {
            world.barrier(&name).await;
        }
        let web = world.served(&Wanted::named("web")).await.uid;
        world.cloud.targets_are(&web, &names(3), SOON).await;
        let (mutations, calls) =
            (world.cloud.mutations().await, world.cloud.balancer_calls().await);
        for _ in 0..5 {
            world.set_ready("n1", false).await;
            world.set_ready("n1", true).await;
        }
        world.set_ready("n1", false).await;
        world.silence("n2").await;
        // Whoever comes after it is a target after it would have been none.
        world.barrier("n3").await;
        world.cloud.targets_are(&web, &names(4), SOON).await;
        assert_eq!(world.cloud.mutations().await - mutations, 1, "the new one");
        let calls = world.cloud.balancer_calls().await - calls;
        assert!(calls <= 20, "one look at the Service and one at the firewall, not {calls} calls");
    });
}

#[test]
fn many_nodes_that_join_cost_three_updates_of_each_service_at_most() {
    const NODES: usize = 150;
    const SERVICES: u64 = 10;
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        let _ccm = world.ccm(&Setup::new());
        world.barrier("first").await;
        let mut uids = Vec::new();
        for n in 0..SERVICES {
            uids.push(world.served(&Wanted::named(&format!("web-{n}"))).await.uid);
        }
        let before = world.cloud.target_updates().await;
        let joining = names(NODES);
        world.join_all(&joining).await;
        let mut all = joining;
        all.push("first".to_owned());
        for uid in &uids {
            world.cloud.targets_are(uid, &all, SOON * 2).await;
        }
        let updates = world.cloud.target_updates().await - before;
        println!("{NODES} nodes join {SERVICES} Services: {updates} updates of targets");
        let batches = (NODES as u64).div_ceil(BATCH);
        assert!(updates <= 3 * batches * SERVICES, "{updates}");
    });
}

#[test]
fn a_list_that_lacks_machines_takes_no_target_out() {
    run(async {
        let world = World::start().await;
        world.join_all(&names(6)).await;
        let setup = Setup::new().without_election().refresh(1);
        let ccm = world.ccm(&setup);
        world.all_initialized(SOON).await;
        let web = world.served(&Wanted::named("web")).await.uid;
        world.cloud.targets_are(&web, &names(6), SOON).await;
        let before = world.cloud.mutations().await;
        for kind in [FaultKind::EmptyPage, FaultKind::CutPage { missing_share: 0.5 }] {
            let mut spec = simcloud::api::FaultSpec::always(
                OperationFilter::One(Operation::DescribeInstances),
                kind,
            );
            spec.caller = Some("cloud-controller-manager".to_owned());
            world.cloud.add_fault(&spec).await.unwrap();
            let looks = world.cloud.calls_of(Operation::DescribeInstances).await.len();
            wait_until("looks that lack machines", SOON, async || {
                let now = world.cloud.calls_of(Operation::DescribeInstances).await.len();
                if now >= looks + 2 { Ok(()) } else { Err(now) }
            })
            .await;
            world.patch("n5", &json!({"metadata": {"labels": {EXCLUDED: "false"}}})).await;
            let name = format!("later-{}", kind.as_str().replace('_', "-"));
            world.serve(&Wanted::named(&name).ports(&[22])).await;
            world.ready(&name).await;
            world.cloud.targets_are(&web, &names(6), SOON).await;
            world.cloud.clear_faults().await.unwrap();
        }
        // And one that has not seen any of them before.
        drop(ccm);
        world.cloud.break_down(FaultKind::EmptyPage).await;
        let _ccm = world.ccm(&setup);
        let later = world.served(&Wanted::named("last").ports(&[23])).await;
        assert!(world.cloud.targets_of(&later.uid).await.is_empty(), "nobody is known");
        assert_eq!(world.cloud.targets_of(&web).await, names(6).into_iter().collect());
        assert!(world.cloud.mutations().await > before);
    });
}
