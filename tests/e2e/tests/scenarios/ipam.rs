//! Nodes get the ranges of their pods: out of the cluster's, or as the cloud says.

use std::collections::BTreeMap;
use std::time::Duration;

use ccm_e2e::{Account, SOON, Seen, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use ipnet::IpNet;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use simcloud::api::{CreateInstance, FaultKind, UpdateInstance};
use tokio::time::sleep;

use crate::lifecycle::names;

const NOT_AVAILABLE: (&str, &str) = ("True", "CIDRNotAvailable");

/// Out of this range of the cluster; nothing is asked of routes.
fn ranges(cluster: &str) -> Setup {
    Setup::new()
        .without_election()
        .flag("--allocate-node-cidrs")
        .flag("--configure-cloud-routes=false")
        .flag(format!("--cluster-cidr={cluster}"))
}

/// As the cloud says.
fn of_the_cloud() -> Setup {
    Setup::new()
        .without_election()
        .flag("--allocate-node-cidrs")
        .flag("--configure-cloud-routes=false")
        .flag("--cidr-allocator-type=CloudAllocator")
}

/// The ranges of all nodes that have any.
async fn given(world: &World) -> Result<BTreeMap<String, Vec<String>>, String> {
    let nodes = world.nodes().list(&ListParams::default()).await.map_err(|err| err.to_string())?;
    let ranges = nodes.items.iter().map(|node| (node.name_any(), Seen::from(node).pod_cidrs));
    Ok(ranges.filter(|(_, ranges)| !ranges.is_empty()).collect())
}

/// Waits until so many nodes have ranges, and gives them all. No two may overlap.
async fn given_to(world: &World, count: usize, bound: Duration) -> BTreeMap<String, Vec<String>> {
    let given = wait_until(&format!("ranges on {count} nodes"), bound, async || {
        let given = given(world).await?;
        if given.len() == count { Ok(given) } else { Err(format!("on {}", given.len())) }
    })
    .await;
    apart(&given);
    given
}

/// Fails where two nodes have addresses in common.
fn apart(given: &BTreeMap<String, Vec<String>>) {
    let mut all: Vec<(IpNet, &String)> = given
        .iter()
        .flat_map(|(name, ranges)| ranges.iter().map(move |range| (range.parse().unwrap(), name)))
        .collect();
    all.sort();
    for pair in all.windows(2) {
        let [(one, first), (other, second)] = pair else { continue };
        assert!(!one.contains(other), "{first} has {one}, {second} has {other}");
    }
}

/// The ranges of this node, once it has some.
async fn of(world: &World, name: &str) -> Vec<String> {
    let has = |node: &Seen| !node.pod_cidrs.is_empty();
    world.node_until(name, "its ranges", SOON, has).await.pod_cidrs
}

/// A node of which no other controller of ours makes its business.
fn plain(name: &str) -> Kubelet {
    Kubelet::new(name).provider_id(format!("cellar://{name}")).initialized()
}

async fn delete(world: &World, name: &str) {
    world.nodes().delete(name, &DeleteParams::default()).await.unwrap();
}

/// The writes of nodes' ranges.
async fn writes_of_ranges(world: &World, name: &str) -> Vec<String> {
    world.traffic().await.node_writes().of_node(name).lines()
}

#[test]
fn two_families_are_given_together_and_services_keep_theirs() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(
            &ranges("10.244.0.0/16,fd00:10::/48")
                .serving()
                .flag("--node-cidr-mask-size-ipv4=25")
                .flag("--service-cluster-ip-range=10.244.0.0/24,fd00:10::/112"),
        );
        // Not ours, as a machine in somebody's cellar: its pods need a range as any.
        world.register(plain("foreign")).await;
        assert_eq!(of(&world, "foreign").await, ["10.244.1.0/25", "fd00:10:0:1::/64"]);
        assert_eq!(writes_of_ranges(&world, "foreign").await, ["patch nodes 200"], "one write");
        world.join("n1").await;
        let node = world.initialized("n1").await;
        assert_eq!(of(&world, "n1").await, ["10.244.1.128/25", "fd00:10:0:2::/64"]);
        assert_eq!(node.network(), ("", ""), "nothing is said where nothing is missing");
        let first = world.nodes().get("n1").await.unwrap().spec.unwrap().pod_cidr;
        assert_eq!(first.as_deref(), Some("10.244.1.128/25"));

        // Four blocks of 512: two of Services and two of nodes.
        let usage = r#"node_ipam_controller_cidrset_usage_cidrs{clusterCIDR="10.244.0.0/16"}"#;
        ccm.metric_is(usage, 4.0 / 512.0).await;
        let room = r#"node_ipam_controller_cirdset_max_cidrs{clusterCIDR="10.244.0.0/16"}"#;
        ccm.metric_is(room, 512.0).await;
        delete(&world, "foreign").await;
        ccm.metric_is(usage, 3.0 / 512.0).await;
        let runs =
            r#"running_managed_controllers{name="nodeipam",manager="cloud-controller-manager"}"#;
        ccm.metric_is(runs, 1.0).await;
    });
}

#[test]
fn two_hundred_nodes_have_each_their_own_and_a_restart_honours_them() {
    run(async {
        let world = World::start().await;
        let setup = ranges("10.244.0.0/16,fd00:10::/32");
        let mut ccm = world.ccm(&setup);
        let names = names(200);
        world.join_all(&names).await;
        let before = given_to(&world, 200, SOON * 2).await;
        world.all_initialized(SOON * 2).await;
        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());

        // Some that somebody else made meanwhile, out of the same ranges.
        world.register(plain("theirs").pod_cidrs(&["10.244.200.0/22"])).await;
        let writes = world.traffic().await.node_writes().len();
        let _ccm = world.ccm(&setup);
        let more: Vec<_> = (0..20).map(|n| format!("more{n}")).collect();
        world.register_all(&more).await;
        let after = given_to(&world, 221, SOON).await;
        for (name, ranges) in &before {
            assert_eq!(after.get(name), Some(ranges), "{name}");
        }
        let traffic = world.traffic().await.node_writes().after(writes);
        for name in names {
            assert!(traffic.of_node(&name).is_empty(), "{name} was written again");
        }
    });
}

#[test]
fn who_gets_none_says_so_and_is_served_when_another_goes() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(
            &ranges("10.244.0.0/23,fd00:10::/48").serving().flag("--node-cidr-mask-size-ipv4=24"),
        );
        for name in ["a", "b"] {
            world.register(plain(name)).await;
            of(&world, name).await;
        }
        let says = |node: &Seen| node.network() == NOT_AVAILABLE;
        for name in ["first", "second"] {
            world.register(plain(name)).await;
            let waits = world.node_until(name, "it waits", SOON, says).await;
            let (_, _, message) = waits.network.unwrap();
            for part in ["IPv4", "10.244.0.0/23", "room for 2", "--node-cidr-mask-size-ipv4"] {
                assert!(message.contains(part), "{part} is not in {message:?}");
            }
            // A second apart, for that is how exactly the age of nodes is known.
            sleep(Duration::from_millis(1_100)).await;
        }
        let waiting = r#"ccm_node_ipam_nodes_waiting{reason="exhausted"}"#;
        ccm.metric_is(waiting, 2.0).await;
        // Of the other family nothing is lost meanwhile.
        let v6 =
            r#"node_ipam_controller_cidrset_cidrs_allocations_total{clusterCIDR="fd00:10::/48"}"#;
        ccm.metric_is(v6, 2.0).await;
        let events = world.events_with("first", "CIDRNotAvailable").await;
        assert_eq!(events.iter().filter(|event| event.0 == "CIDRNotAvailable").count(), 1);
        // Its owner looks at it, and that changes nothing.
        for n in 0..3 {
            world.patch("first", &json!({"metadata": {"labels": {"n": n.to_string()}}})).await;
        }
        assert_eq!(writes_of_ranges(&world, "first").await, ["patch nodes/status 200"]);

        delete(&world, "a").await;
        assert_eq!(of(&world, "first").await, ["10.244.0.0/24", "fd00:10:0:2::/64"]);
        let cleared = |node: &Seen| node.network() == ("False", "CIDRAssigned");
        world.node_until("first", "it is said", SOON, cleared).await;
        ccm.metric_is(waiting, 1.0).await;
        assert!(world.node("second").await.pod_cidrs.is_empty(), "the older one is served first");
        delete(&world, "b").await;
        of(&world, "second").await;
        world.node_until("second", "it is said", SOON, cleared).await;
        ccm.metric_is(waiting, 0.0).await;
        let lines = ["patch nodes/status 200", "patch nodes 200", "patch nodes/status 200"];
        assert_eq!(writes_of_ranges(&world, "first").await, lines);
        assert_eq!(world.events_with("first", "CIDRNotAvailable").await, events, "said once");
    });
}

#[test]
fn a_large_range_of_ipv6_needs_no_memory() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&ranges("fd00::/16").serving());
        let names = names(50);
        world.register_all(&names).await;
        let given = given_to(&world, 50, SOON).await;
        assert!(given.values().flatten().all(|range| range.ends_with("/64")), "{given:?}");
        let room = r#"node_ipam_controller_cirdset_max_cidrs{clusterCIDR="fd00::/16"}"#;
        ccm.metric_is(room, 2_f64.powi(48)).await;
    });
}

#[test]
fn what_is_odd_is_honoured_and_told() {
    run(async {
        let world = World::start().await;
        for (name, range) in [
            ("elsewhere", "192.168.7.0/24"),
            ("small", "10.244.0.64/26"),
            ("large", "10.244.2.0/23"),
            ("same", "10.244.1.0/24"),
        ] {
            world.register(plain(name).pod_cidrs(&[range])).await;
        }
        sleep(Duration::from_millis(1_100)).await;
        world.register(plain("too").pod_cidrs(&["10.244.1.0/24"])).await;
        let mut ccm = world.ccm(&ranges("10.244.0.0/21"));
        world.register_all(&names(4)).await;
        let free = ["10.244.4.0/24", "10.244.5.0/24", "10.244.6.0/24", "10.244.7.0/24"];
        let given = wait_until("four more", SOON, async || {
            let given = given(&world).await?;
            if given.len() == 9 { Ok(given) } else { Err(format!("{given:?}")) }
        })
        .await;
        let mut of_new: Vec<_> =
            given.iter().filter(|(name, _)| name.starts_with('n')).map(|(_, it)| &it[0]).collect();
        of_new.sort();
        assert_eq!(of_new, free);
        let told = world.events_with("too", "PodCIDRConflict").await;
        assert!(told[0].1.contains("held by node same"), "{told:?}");
        world.events_with("elsewhere", "PodCIDROutsideClusterCIDR").await;
        assert!(!world.events("same").await.iter().any(|event| event.0 == "PodCIDRConflict"));

        // What two hold is free when both are gone.
        world.register(plain("last")).await;
        let says = |node: &Seen| node.network() == NOT_AVAILABLE;
        world.node_until("last", "it waits", SOON, says).await;
        delete(&world, "same").await;
        // What came before it was seen by then. Of one age it would be served after the other.
        world.register(plain("z-barrier")).await;
        world.node_until("z-barrier", "it waits", SOON, says).await;
        assert_eq!(world.node("last").await.pod_cidrs, [""; 0]);
        delete(&world, "too").await;
        assert_eq!(of(&world, "last").await, ["10.244.1.0/24"]);
        ccm.expect_running();
    });
}

#[test]
fn killed_at_any_moment_it_gives_no_range_twice() {
    run(async {
        let world = World::start().await;
        let setup = ranges("10.244.0.0/16,fd00:10::/48");
        let mut ccm = world.ccm(&setup);
        let names = names(150);
        let mut random = 0x5eed_000c_u64;
        let kill = async {
            for _ in 0..6 {
                // xorshift
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // From the middle of the start to the middle of the work.
                sleep(Duration::from_millis(900 + random % 900)).await;
                ccm.signal(Signal::KILL);
                ccm.end(SOON).await;
                ccm = world.ccm(&setup);
            }
        };
        let join = async {
            for some in names.chunks(10) {
                world.register_all(some).await;
                sleep(Duration::from_millis(300)).await;
            }
        };
        futures::join!(kill, join);
        let given = given_to(&world, 150, SOON).await;
        assert!(given.values().all(|ranges| ranges.len() == 2), "both or none: {given:?}");
    });
}

#[test]
fn without_the_right_to_write_a_node_keeps_what_was_reserved() {
    run(async {
        let world = World::start().await;
        let ccm = world.ccm(&ranges("10.244.0.0/24").account(Account::Reading));
        world.register(plain("a")).await;
        wait_until("refusals", SOON * 2, async || {
            let refused = world.traffic_of(Account::Reading).await.of_node("a").answered(403);
            if refused.len() >= 3 { Ok(()) } else { Err(refused.len()) }
        })
        .await;
        drop(ccm);
        // A loop would have tried hundreds of times.
        let tries = world.traffic_of(Account::Reading).await.of_node("a").len();
        assert!(tries < 10, "{tries}");
        let _ccm = world.ccm(&ranges("10.244.0.0/24"));
        assert_eq!(of(&world, "a").await, ["10.244.0.0/24"]);
    });
}

#[test]
fn a_gone_api_server_costs_no_range() {
    run(async {
        let mut world = World::start().await;
        let mut ccm = world.ccm(&ranges("10.244.0.0/22").serving());
        for name in ["a", "b"] {
            world.register(plain(name)).await;
            of(&world, name).await;
        }
        world.register(plain("c")).await;
        // As it falls: written, about to be, or not thought of.
        world.control_plane().kill_apiserver().unwrap();
        world.control_plane().start_apiserver().await.unwrap();
        world.register(plain("d")).await;
        let given = given_to(&world, 4, SOON * 2).await;
        assert_eq!(given.len(), 4);
        let usage = r#"node_ipam_controller_cidrset_usage_cidrs{clusterCIDR="10.244.0.0/22"}"#;
        ccm.metric_is(usage, 1.0).await;
        ccm.expect_running();
    });
}

/// A machine to which the cloud gives these ranges, and its node.
async fn join_with(world: &World, name: &str, ranges: &[&str]) {
    let pod_cidrs = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let wanted = CreateInstance { pod_cidrs, ..CreateInstance::named(name) };
    world.cloud.create_instance(&wanted).await.unwrap();
    world.register(Kubelet::new(name)).await;
}

#[test]
fn the_cloud_gives_ranges_and_the_network_is_there() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&of_the_cloud().refresh(2).serving());
        join_with(&world, "a", &["fd01::/64", "10.1.0.0/24"]).await;
        assert_eq!(of(&world, "a").await, ["10.1.0.0/24", "fd01::/64"], "IPv4 first");
        let is_there = |node: &Seen| node.network() == ("False", "RouteCreated");
        let there = world.node_until("a", "its network", SOON, is_there).await;
        assert_eq!(there.network.unwrap().2, "NodeController create implicit route");

        // Nothing is asked about those of others, and nothing done to them.
        world.register(plain("foreign")).await;
        // The cloud has given it none, and then it has.
        join_with(&world, "late", &[]).await;
        let says = |node: &Seen| node.network() == NOT_AVAILABLE;
        let waits = world.node_until("late", "it waits", SOON, says).await;
        assert!(waits.network.unwrap().2.contains("gives no ranges"), "it says why");
        ccm.metric_is(r#"ccm_node_ipam_nodes_waiting{reason="not_given"}"#, 1.0).await;
        let update = UpdateInstance {
            pod_cidrs: Some(vec!["10.1.1.0/24".parse().unwrap()]),
            ..UpdateInstance::default()
        };
        let late = world.cloud.machine("late").await.id;
        world.cloud.update_instance(&late, &update).await.unwrap();
        assert_eq!(of(&world, "late").await, ["10.1.1.0/24"]);
        world.node_until("late", "its network", SOON, is_there).await;

        // The cloud has given a range anew while its old node is still there.
        join_with(&world, "heir", &["10.1.0.0/24"]).await;
        let waits = world.node_until("heir", "it waits", SOON, says).await;
        assert!(waits.network.unwrap().2.contains("node a still has some"), "it says for whom");
        delete(&world, "a").await;
        assert_eq!(of(&world, "heir").await, ["10.1.0.0/24"]);
        let foreign = world.node("foreign").await;
        assert!(foreign.pod_cidrs.is_empty() && foreign.network.is_none(), "{foreign:?}");
    });
}

#[test]
fn the_order_of_the_clusters_ranges_is_that_on_nodes() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&of_the_cloud().flag("--cluster-cidr=fd01::/16,10.0.0.0/8"));
        join_with(&world, "a", &["10.1.0.0/24", "fd01::/64"]).await;
        assert_eq!(of(&world, "a").await, ["fd01::/64", "10.1.0.0/24"]);
    });
}

#[test]
fn many_nodes_share_the_questions_to_the_cloud() {
    run(async {
        let world = World::start().await;
        let names = names(100);
        let wanted = names.iter().enumerate().map(|(n, name)| CreateInstance {
            pod_cidrs: vec![format!("10.1.{n}.0/24").parse().unwrap()],
            ..CreateInstance::named(name)
        });
        world.cloud.create_instances(wanted.collect()).await.unwrap();
        world.register_all(&names).await;
        let _ccm = world.ccm(&of_the_cloud());
        given_to(&world, 100, SOON * 2).await;
        let calls = world.cloud.calls_of_ccm().await.len();
        // One for the initialisation of all; who has waited for its turn to be written for longer
        // than answers are kept asks again, together with others.
        assert!(calls <= 10, "{calls} calls for 100 nodes");
    });
}

#[test]
fn a_cloud_that_fails_is_told_of_and_heals() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&of_the_cloud());
        for (n, (name, fault)) in [
            ("error", FaultKind::ServerError { status: 503 }),
            ("denied", FaultKind::PermissionDenied),
            ("lost", FaultKind::LoseResponse),
        ]
        .into_iter()
        .enumerate()
        {
            let range = format!("10.1.{n}.0/24");
            let wanted = CreateInstance {
                pod_cidrs: vec![range.parse().unwrap()],
                ..CreateInstance::named(name)
            };
            let machine = world.cloud.create_instance(&wanted).await.unwrap();
            world.cloud.break_down_all(fault).await;
            let id = format!("sim://{}", machine.id);
            world.register(Kubelet::new(name).provider_id(id).initialized()).await;
            let says = |node: &Seen| node.network() == NOT_AVAILABLE;
            world.node_until(name, "it waits", SOON * 2, says).await;
            world.cloud.clear_faults().await.unwrap();
            // The pauses have grown.
            let has = |node: &Seen| !node.pod_cidrs.is_empty();
            let healed = world.node_until(name, "its ranges", SOON * 3, has).await;
            assert_eq!(healed.pod_cidrs, [range]);
            let is_there = |node: &Seen| node.network() == ("False", "RouteCreated");
            world.node_until(name, "its network", SOON, is_there).await;
        }
    });
}

#[test]
fn routes_follow_and_take_the_condition_over() {
    run(async {
        let world = World::start().await;
        let setup = Setup::new().without_election().flag("--allocate-node-cidrs");
        let _ccm = world.ccm(&setup.flag("--cluster-cidr=10.244.0.0/23"));
        for name in ["a", "b"] {
            world.join(name).await;
            world.node_until(name, "reachable", SOON, Seen::is_reachable).await;
        }
        world.join("c").await;
        let says = |node: &Seen| node.network() == NOT_AVAILABLE;
        world.node_until("c", "it waits", SOON, says).await;
        delete(&world, "a").await;
        let reachable = world.node_until("c", "reachable", SOON, Seen::is_reachable).await;
        assert_eq!(reachable.pod_cidrs, ["10.244.0.0/24"]);
    });
}

/// No route is made to it, so nobody else would take back what was said.
#[test]
fn a_foreign_node_that_waited_is_not_left_tainted() {
    run(async {
        let world = World::start().await;
        let setup = Setup::new().without_election().flag("--allocate-node-cidrs");
        let _ccm = world.ccm(&setup.routes("10.244.0.0/24"));
        world.join("n1").await;
        world.reachable("n1").await;
        let foreign = Kubelet::new("foreign").provider_id("other://x").initialized();
        world.register(foreign).await;
        let says = |node: &Seen| node.network() == NOT_AVAILABLE;
        world.node_until("foreign", "it waits", SOON, says).await;
        delete(&world, "n1").await;
        of(&world, "foreign").await;
        let cleared = |node: &Seen| node.network() == ("False", "CIDRAssigned");
        world.node_until("foreign", "it is said", SOON, cleared).await;
    });
}

/// As where the kube-controller-manager gives ranges, and the flag was never meant for us.
#[test]
fn where_another_program_gives_ranges_nothing_is_given() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&ranges("10.244.0.0/16").serving());
        ccm.metric_is(
            r#"running_managed_controllers{name="nodeipam",manager="cloud-controller-manager"}"#,
            1.0,
        )
        .await;
        sleep(Duration::from_secs(2)).await;
        let give = async |name: &str, range: &str| {
            world.register(plain(name)).await;
            world.patch(name, &json!({"spec": {"podCIDR": range, "podCIDRs": [range]}})).await;
        };
        give("a", "10.244.9.0/24").await;
        let events = world.events_with("a", "CIDRAssignedByOther").await;
        println!("{events:?}");
        // They are slow for once, and are not overtaken.
        world.register(plain("b")).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.node("b").await.pod_cidrs, [""; 0]);
        let late = json!({"spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}});
        world.patch("b", &late).await;
        give("c", "10.244.1.0/24").await;
        sleep(Duration::from_secs(2)).await;
        assert_eq!(world.events_with("a", "CIDRAssignedByOther").await, events);
        for name in ["a", "b", "c"] {
            assert!(writes_of_ranges(&world, name).await.is_empty(), "{name}");
        }
    });
}

#[test]
fn a_plan_says_who_would_be_given_what() {
    run(async {
        let world = World::start().await;
        world.register(plain("has").pod_cidrs(&["10.244.0.0/24"])).await;
        world.register(plain("gets")).await;
        world.register(plain("waits")).await;
        let setup = ranges("10.244.0.0/23").account(Account::Reading);
        let (_, plan) = world.plan(&setup).await;
        let text = plan["cluster"].to_string();
        assert!(text.contains("spec.podCIDRs: 10.244.1.0/24"), "{text}");
        assert!(text.contains("no IPv4 range is free"), "{text}");
        assert!(!text.contains("Node has"), "{text}");
        assert_eq!(world.traffic_of(Account::Reading).await.mutations().len(), 0);
    });
}
