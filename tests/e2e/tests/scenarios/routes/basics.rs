//! Nodes get their routes before their first pods, and keep them.

use std::time::Duration;

use ccm_e2e::{Account, Pods, SOON, Seen, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use serde_json::json;
use simcloud::api::Operation;

use super::setup;

#[test]
fn a_node_has_its_routes_and_says_so() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup());
        for number in 1..=3 {
            world.join_numbered(number).await;
        }
        for number in 1..=3_u16 {
            let name = format!("n{number}");
            let seen = world.reachable(&name).await;
            assert!(seen.is_initialized(), "{seen:?}");
            assert_eq!(seen.network.as_ref().unwrap().2, "RouteController created a route");
            let routes = world.cloud.routes_of(&seen.uid).await;
            let destinations: Vec<_> = routes.iter().map(|it| it.destination.to_string()).collect();
            assert_eq!(destinations, Pods::of(number));
            let machine = world.cloud.machine(&name).await;
            assert!(routes.iter().all(|route| route.target == machine.id && !route.blackhole));
            let names: Vec<_> = routes.iter().map(|route| route.name.clone()).collect();
            assert_eq!(names, [format!("{}-ipv4", seen.uid), format!("{}-ipv6", seen.uid)]);
        }
        assert_eq!(world.cloud.mutations().await, 6, "one for each route");
        for number in 1..=3_u16 {
            let events = world.events(&format!("n{number}")).await;
            assert!(events.iter().all(|(reason, ..)| !reason.contains("Route")), "{events:?}");
        }
    });
}

/// From its first version on, whoever may send pods there can see that they could not be reached.
#[test]
fn no_pod_comes_before_the_routes() {
    run(async {
        let world = World::start().await;
        world.cloud.slow_down_calls(Operation::CreateRoute, Duration::from_secs(2)).await;
        let _ccm = world.ccm(&setup());
        world.barrier("before").await;
        let config = Config::default().fields("metadata.name=n1");
        let versions = watcher(world.nodes(), config).default_backoff().applied_objects();
        pin_mut!(versions);
        world.join_numbered(1).await;
        let mut seen = Vec::new();
        loop {
            let version: Node = versions.next().await.unwrap().unwrap();
            let version = Seen::from(&version);
            let may_be_used = version.is_initialized() && version.network().0 != "True";
            let is_over = version.is_reachable();
            seen.push(version);
            if is_over {
                break;
            }
            assert!(!may_be_used, "{seen:#?}");
        }
        let waited = seen.iter().filter(|it| it.is_initialized() && !it.is_reachable()).count();
        assert!(waited > 0, "it was seen to wait: {seen:#?}");
        assert_eq!(world.cloud.routes_of(&seen[0].uid).await.len(), 2);
    });
}

#[test]
fn a_node_that_goes_takes_its_routes_along() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup().quick());
        for number in 1..=2 {
            world.join_numbered(number).await;
        }
        world.reachable("n1").await;
        let stays = world.reachable("n2").await;
        world.remove("n1").await;
        let lines = |routes: usize| async move { routes };
        wait_until("the end of its routes", SOON, async || {
            let left = world.cloud.all_routes().await.len();
            if left == lines(2).await { Ok(()) } else { Err(left) }
        })
        .await;
        assert_eq!(world.cloud.routes_of(&stays.uid).await.len(), 2);

        // A machine that ends leaves blackholes until its node is deleted.
        world.cloud.terminate("n2").await;
        let is_blackhole = world.cloud.routes_of(&stays.uid).await.iter().all(|it| it.blackhole);
        assert!(is_blackhole);
        world.set_ready("n2", false).await;
        world.gone("n2", SOON).await;
        world.routes_are(&[], SOON).await;
    });
}

#[test]
fn a_node_made_anew_under_its_name_keeps_its_routes_up() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup());
        world.join_numbered(1).await;
        let before = world.reachable("n1").await;
        world.remove("n1").await;
        let [v4, v6] = Pods::of(1);
        world.register(Kubelet::new("n1").pod_cidrs(&[&v4, &v6])).await;
        let after = world.reachable("n1").await;
        assert_ne!(before.uid, after.uid);
        wait_until("its routes alone", SOON, async || {
            let (old, new) =
                (world.cloud.routes_of(&before.uid).await, world.cloud.routes_of(&after.uid).await);
            if old.is_empty() && new.len() == 2 { Ok(()) } else { Err((old, new)) }
        })
        .await;
    });
}

#[test]
fn where_nothing_differs_nothing_is_done() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&setup());
        world.join_all_numbered(0..20).await;
        for number in 0..20 {
            world.reachable(&format!("n{number}")).await;
        }
        let (mutations, lines) = (world.cloud.mutations().await, world.cloud.route_lines().await);
        assert_eq!(mutations, 40);
        ccm.signal(Signal::TERM);
        ccm.end(SOON).await;
        let writes = world.traffic().await.node_writes().len();
        let looks = world.cloud.calls_of(Operation::DescribeRoutes).await.len();

        let _ccm = world.ccm(&setup());
        wait_until("all were looked at twice", Duration::from_secs(40), async || {
            let now = world.cloud.calls_of(Operation::DescribeRoutes).await.len();
            if now >= looks + 4 { Ok(()) } else { Err(now - looks) }
        })
        .await;
        world.barrier("late").await;
        assert_eq!(world.cloud.mutations().await, mutations);
        assert_eq!(world.cloud.route_lines().await, lines);
        let ours = world.traffic().await.node_writes().after(writes);
        assert!(ours.iter().all(|event| event.name == "late"), "{ours}");
    });
}

#[test]
fn two_hundred_nodes_share_few_looks() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        world.join_all_numbered(0..200).await;
        let mut ccm = world.ccm(&setup().flag("--route-drift-interval=1h").serving());
        for number in 0..200 {
            world.reachable(&format!("n{number}")).await;
        }
        assert_eq!(world.cloud.mutations().await, 400);
        let looks = world.cloud.calls_of(Operation::DescribeRoutes).await.len();
        println!("200 nodes of two families: 400 routes, {looks} looks");
        // Two each, before and after; shared.
        assert!(looks <= 200, "{looks}");
        ccm.metric_is("ccm_route_nodes{state=\"Reachable\"}", 200.0).await;
        // One patch of the node's status for its addresses, one of the rest, one for the routes.
        let writes = world.traffic().await.node_writes().len();
        assert!(writes <= 600, "{writes}");
    });
}

#[test]
fn a_plan_says_which_routes_would_be_made_and_makes_none() {
    run(async {
        let world = World::start().await;
        let reader = Setup::new().routes(Pods::CLUSTER).account(Account::Reading);
        let instance = world.cloud.instance_named("n1").await;
        let [v4, v6] = Pods::of(1);
        let kubelet = Kubelet::new("n1").pod_cidrs(&[&v4, &v6]).initialized();
        world.register(kubelet.provider_id(format!("sim://{}", instance.id))).await;
        let (code, plan) = world.plan(&reader).await;
        assert_eq!(code, 2, "{plan:#}");
        let groups = plan["cloud"].as_array().unwrap();
        assert_eq!(groups.len(), 1, "{plan:#}");
        assert_eq!(groups[0]["name"], "routes of node n1");
        let changes = groups[0]["changes"].as_array().unwrap();
        for (change, range) in changes.iter().zip([&v4, &v6]) {
            assert_eq!(change["action"], "create");
            assert!(change["text"].as_str().unwrap().contains(range), "{plan:#}");
        }
        assert_eq!(changes.len(), 2);
        assert_eq!(world.cloud.all_routes().await, []);

        let mut ccm = world.ccm(&setup());
        world.reachable("n1").await;
        ccm.signal(Signal::TERM);
        ccm.end(SOON).await;
        let (code, plan) = world.plan(&reader).await;
        assert_eq!((code, &plan["changes"]), (0, &json!(false)), "{plan:#}");
        // Nobody looks, and a node goes.
        world.remove("n1").await;
        let (code, plan) = world.plan(&reader).await;
        assert_eq!(
            (code, &plan["cloud"][0]["changes"][0]["action"]),
            (2, &json!("delete")),
            "{plan:#}"
        );
    });
}
