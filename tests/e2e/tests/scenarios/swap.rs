//! Ours in the place of the Go library, and back, with nodes, Services and routes: nothing changes in the
//! cloud, nor what users see.
//!
//! The Go library is `tests/peer`. It knows no signals: its Lease runs out before the next one leads.

use std::collections::BTreeMap;

use ccm_e2e::{
    Account, Ccm, Pods, Process, SOON, Seen, SeenService, Setup, Signal, Wanted, World,
    in_the_cloud, run, wait_until,
};
use ccm_envtest::kubelet::Kubelet;
use ccm_envtest::peer;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use simcloud::api::{CreateInstance, Nic, Operation};
use tokio::time::{Duration, Instant, sleep};

/// Without a call of a new leader for so long, it has looked at everything.
const SILENCE: Duration = Duration::from_secs(2);

/// Who is at work.
enum Leader {
    Ours(Ccm),
    Go(Process),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Go,
}

impl Side {
    fn caller(self) -> &'static str {
        match self {
            Self::Ours => "cloud-controller-manager",
            Self::Go => peer::CALLER,
        }
    }

    async fn start(self, world: &World, setup: &Setup) -> Leader {
        match self {
            Self::Ours => Leader::Ours(world.ccm(setup)),
            Self::Go => Leader::Go(world.peer(setup).await),
        }
    }
}

impl Leader {
    fn process(&mut self) -> &mut Process {
        match self {
            Self::Ours(ccm) => ccm,
            Self::Go(process) => process,
        }
    }

    /// Ends it in the way in which a cluster does.
    async fn stop(mut self) {
        let process = self.process();
        process.signal(Signal::TERM);
        process.end(SOON).await;
    }
}

/// All that is to stay as it is.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    cloud: Vec<String>,
    services: BTreeMap<String, SeenService>,
    nodes: BTreeMap<String, Seen>,
}

impl Picture {
    async fn of(world: &World) -> Self {
        let (services, nodes, all) = (world.services(), world.nodes(), ListParams::default());
        let services = services.list(&all).await.unwrap().items.into_iter();
        let nodes = nodes.list(&all).await.unwrap().items.into_iter();
        // These conditions are ours alone.
        let service = |service: Service| {
            let seen = SeenService::from(&service);
            (service.name_any(), SeenService { ready: None, ..seen })
        };
        // Of this one both say alike whether pods are reached, each in its own words.
        let node = |node: Node| {
            let seen = Seen::from(&node);
            let reached = seen.network().0.to_owned();
            let network = Some((reached, String::new(), String::new()));
            (node.name_any(), Seen { known: None, network, ..seen })
        };
        Self {
            cloud: world.cloud.lines().await,
            services: services.map(service).collect(),
            nodes: nodes.map(node).collect(),
        }
    }
}

/// Services of every kind that both make.
fn kinds() -> Vec<Wanted> {
    let both = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]);
    let sticky = json!({"clientIP": {"timeoutSeconds": 600}});
    vec![
        Wanted::named("web").ports(&[80, 443]),
        Wanted::named("local").spec("externalTrafficPolicy", "Local".into()),
        Wanted::named("dns").spec("ports", both),
        Wanted::named("narrow")
            .spec("loadBalancerSourceRanges", json!(["192.0.2.0/24", "198.51.100.7/32"]))
            .annotation("sim.ccm.rs/additional-source-ranges", "203.0.113.0/24"),
        Wanted::named("sticky")
            .spec("sessionAffinity", "ClientIP".into())
            .spec("sessionAffinityConfig", sticky),
        Wanted::named("inside")
            .annotation("sim.ccm.rs/internal", "true")
            .annotation("sim.ccm.rs/idle-timeout-seconds", "300")
            .annotation("sim.ccm.rs/extra-tags", "team=shop, tier=front"),
        Wanted::named("proxied")
            .annotation("sim.ccm.rs/proxy-protocol", "true")
            .annotation("sim.ccm.rs/health-check-protocol", "tcp"),
        Wanted::named("checked")
            .annotation("sim.ccm.rs/health-check-protocol", "https")
            .annotation("sim.ccm.rs/health-check-port", "8443")
            .annotation("sim.ccm.rs/health-check-path", "/alive"),
        Wanted::named("asked").annotation("sim.ccm.rs/addresses", "203.0.113.200"),
        Wanted::named("zonal").annotation("sim.ccm.rs/target-zones", "sim-1b"),
    ]
}

/// A machine with much to tell, and its node.
async fn join_machine(world: &World, name: &str, number: u16) {
    let nic = Nic {
        private_ipv4s: vec!["10.1.0.5".parse().unwrap(), "10.1.0.6".parse().unwrap()],
        private_ipv6s: vec!["fd00::5".parse().unwrap()],
        public_ipv4: Some("198.51.100.5".parse().unwrap()),
        private_dns_name: Some(format!("{name}.internal")),
        ..Nic::default()
    };
    let labels = [("node.sim.ccm.rs/rack", "r1"), ("example.com/owner", "shop")];
    let wanted = CreateInstance {
        zone: Some("sim-1b".to_owned()),
        nics: Some(vec![nic]),
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..CreateInstance::named(name)
    };
    world.cloud.create_instance(&wanted).await.unwrap();
    let [v4, v6] = Pods::of(number);
    world.register(Kubelet::new(name).pod_cidrs(&[&v4, &v6])).await;
}

/// Waits until the new leader has looked at everything. Whatever it reads again and again from then
/// on is no part of that.
async fn has_looked(world: &World, side: Side, leader: &mut Leader, services: u64) {
    let mut last = (0, Instant::now());
    wait_until(&format!("a look of {side:?} at everything"), SOON * 3, async || {
        leader.process().expect_running();
        let calls = world.cloud.calls().await.unwrap();
        let by = |operation| {
            let counts = calls.counts.iter().filter(|count| count.caller == side.caller());
            counts
                .filter(|count| count.operation == operation)
                .map(|count| count.calls)
                .sum::<u64>()
        };
        let now = calls.by(side.caller()) - by(Operation::ListRoutes);
        if now != last.0 {
            last = (now, Instant::now());
        }
        let looks = by(Operation::ListLoadBalancers);
        if looks >= services && last.1.elapsed() >= SILENCE { Ok(()) } else { Err((now, looks)) }
    })
    .await;
}

/// What our plan would change in the cloud.
async fn planned(world: &World, setup: &Setup) -> Vec<String> {
    let (_, plan) = world.plan(&setup.clone().account(Account::Reading)).await;
    let failures = plan["failures"].as_array().map_or(0, Vec::len);
    assert_eq!(failures, 0, "{plan:#}");
    in_the_cloud(&plan)
}

/// Whoever leads really works: a Service comes and goes and leaves nothing, and a node comes.
async fn works(world: &World, round: usize) {
    let before = rests(world).await.cloud;
    let name = format!("passing-{round}");
    world.serve(&Wanted::named(&name).ports(&[8080])).await;
    let has_address = |seen: &SeenService| seen.is_held() && !seen.ingress.is_empty();
    let seen = world.service_until(&name, "an address", SOON, has_address).await;
    assert!(!world.cloud.lines_of(&seen.uid).await.is_empty());
    world.remove_service(&name).await;
    assert_eq!(world.cloud.lines().await, before, "it leaves nothing");

    let name = format!("later-{round}");
    world.join(&name).await;
    let node = world.initialized(&name).await;
    assert!(node.provider_id.is_some(), "{node:?}");
    let web = world.service("web").await.uid;
    let all: Vec<_> = Picture::of(world).await.nodes.into_keys().collect();
    world.cloud.targets_are(&web, &all, SOON).await;
}

/// Waits until nothing changes any more.
async fn rests(world: &World) -> Picture {
    let mut last = Picture::of(world).await;
    let mut since = Instant::now();
    let deadline = since + SOON * 3;
    while since.elapsed() < SILENCE {
        assert!(Instant::now() < deadline, "it does not come to rest: {last:#?}");
        sleep(Duration::from_millis(250)).await;
        let now = Picture::of(world).await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

#[test]
fn ours_and_the_go_library_take_over_from_one_another_and_nothing_changes() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        let setup = Setup::new()
            .short_lease()
            .flag("--route-reconciliation-period=1s")
            .routes(Pods::CLUSTER)
            .flag("--concurrent-service-syncs=4");
        let wanted = kinds();
        world.join_numbered(1).await;
        join_machine(&world, "n2", 2).await;
        world.serve_all(&wanted).await;

        let mut leader = Side::Go.start(&world, &setup).await;
        world.all_initialized(SOON * 2).await;
        let is_served = |seen: &SeenService| seen.is_held() && !seen.ingress.is_empty();
        world.services_until("addresses", SOON * 2, is_served).await;
        for name in ["n1", "n2"] {
            world.reachable(name).await;
        }
        works(&world, 0).await;

        for (round, side) in [(1, Side::Ours), (2, Side::Go)] {
            let before = rests(&world).await;
            leader.stop().await;
            assert_eq!(planned(&world, &setup).await, Vec::<String>::new(), "round {round}");
            world.cloud.clear_calls().await.unwrap();

            leader = side.start(&world, &setup).await;
            has_looked(&world, side, &mut leader, wanted.len() as u64).await;
            let calls = world.cloud.calls().await.unwrap();
            assert_eq!(calls.mutations(), 0, "round {round}, {side:?}: {calls:#?}");
            assert_eq!(Picture::of(&world).await, before, "round {round}, {side:?}");
            works(&world, round).await;
        }

        // What the last one leaves when all Services go is nothing.
        for wanted in ["web", "local", "dns", "narrow", "sticky"] {
            world.remove_service(wanted).await;
        }
        leader.stop().await;
        let leader = Side::Ours.start(&world, &setup).await;
        for wanted in ["inside", "proxied", "checked", "asked", "zonal"] {
            world.remove_service(wanted).await;
        }
        // The nodes are there still.
        let mut left = world.cloud.lines().await;
        left.retain(|line| !line.starts_with("route "));
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(world.cloud.route_lines().await.len(), 4);
        leader.stop().await;
    });
}

/// The names, destinations and machines of all routes, sorted.
type Routes = Vec<(String, String, String)>;

/// Waits until there are just these routes.
async fn routes_are(world: &World, wanted: &Routes) {
    wait_until("routes", SOON * 2, async || {
        let mut found = Routes::new();
        for route in world.cloud.all_routes().await {
            let machine = world.cloud.instance(&route.target).await.unwrap();
            found.push((route.name, route.destination.to_string(), machine.name));
        }
        found.sort();
        if found == *wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

#[test]
fn routes_are_taken_over_too() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        let setup = Setup::new()
            .short_lease()
            .flag("--route-reconciliation-period=1s")
            .routes(Pods::CLUSTER);
        let mut wanted = Routes::new();
        let mut leader: Option<Leader> = None;
        for (round, side) in (0..).zip([Side::Go, Side::Ours, Side::Go]) {
            let before = rests(&world).await;
            if let Some(leader) = leader.take() {
                leader.stop().await;
                assert_eq!(planned(&world, &setup).await, Vec::<String>::new(), "round {round}");
            }
            world.cloud.clear_calls().await.unwrap();
            let running = leader.insert(side.start(&world, &setup).await);
            wait_until("a look at routes", SOON * 3, async || {
                running.process().expect_running();
                let calls = world.cloud.calls().await.unwrap();
                let looks = calls.of(Operation::ListRoutes) + calls.of(Operation::DescribeRoutes);
                if looks > 0 { Ok(()) } else { Err(calls) }
            })
            .await;
            // Several periods.
            sleep(SILENCE + SILENCE).await;
            let calls = world.cloud.calls().await.unwrap();
            assert_eq!(calls.mutations(), 0, "round {round}, {side:?}: {calls:#?}");
            assert_eq!(Picture::of(&world).await, before, "round {round}, {side:?}");

            // It works: a node gets its route, and one that goes takes its own along.
            for (name, number) in [("stays", 10 * round + 1), ("goes", 10 * round + 2)] {
                let name = format!("{name}-{round}");
                let [v4, v6] = Pods::of(number);
                world.join_with(&name, &[&v4, &v6]).await;
                let uid = world.node(&name).await.uid;
                wanted.push((format!("{uid}-ipv4"), v4, name.clone()));
                wanted.push((format!("{uid}-ipv6"), v6, name));
                wanted.sort();
                routes_are(&world, &wanted).await;
            }
            let going = format!("goes-{round}");
            world.cloud.terminate(&going).await;
            world.remove(&going).await;
            wanted.retain(|(_, _, machine)| *machine != going);
            routes_are(&world, &wanted).await;
        }
        assert_eq!(wanted.len(), 6, "two families of each node that has stayed");
        if let Some(leader) = leader {
            leader.stop().await;
        }
    });
}
