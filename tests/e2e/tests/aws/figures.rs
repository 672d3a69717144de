//! What is asked of AWS: the calls behind the figures in the book.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ccm_awscloud::Call;
use ccm_e2e::{Aws, LONG, Setup, Wanted, World, run, wait_until};

/// Nodes of the figures.
const NODES: u32 = 1_000;

/// Instances that one call asks for.
const BATCH: u32 = 100;

/// Between two refreshes, in seconds.
const REFRESH: u32 = 15;

/// How late a refresh may be on a machine that is busy, in milliseconds.
const LATE: u64 = 10_000;

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
        world.all_initialized(LONG).await;
        drop(ccm);
        let calls = world.cloud.calls(begun).await;
        println!("{NODES} nodes at the start: {:?}", actions(&calls));
        assert!(calls.len() <= 30, "{:?}", actions(&calls));
        assert_eq!(count(&calls, |call| call.mutates), 0);

        // An hour has twelve refreshes at the default of five minutes; here are three in a row, with
        // as much between them as one may take.
        let begun = world.cloud.mark().await.unwrap();
        let _ccm = world.ccm(&Setup::new().refresh(REFRESH));
        let bursts = wait_until("three refreshes", LONG, async || {
            let bursts = bursts(&world.cloud.calls(begun).await);
            // The last one may not be over.
            if bursts.len() > 3 { Ok(bursts) } else { Err(bursts) }
        })
        .await;
        println!("DescribeInstances of refreshes each {REFRESH} s: {bursts:?}");
        let batches = usize::try_from(NODES.div_ceil(BATCH)).unwrap();
        for burst in &bursts[..3] {
            assert!(burst.calls <= batches, "more than {batches} for one look: {bursts:?}");
        }
        let within = bursts[3].begun - bursts[0].begun;
        assert!(within + LATE >= 3 * u64::from(REFRESH) * 1_000, "too often: {bursts:?}");
        let an_hour = 12 * bursts[..3].iter().map(|burst| burst.calls).max().unwrap();
        println!("{an_hour} DescribeInstances an hour at five minutes");
        assert!(an_hour <= 300);
    });
}

/// Looks at each instance once: one refresh.
#[derive(Clone)]
struct Burst {
    /// In milliseconds.
    begun: u64,
    calls: usize,
    instances: BTreeSet<String>,
}

impl fmt::Debug for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun, calls, instances } = self;
        write!(f, "{calls} calls for {} instances at {begun}", instances.len())
    }
}

fn bursts(calls: &[Call]) -> Vec<Burst> {
    let mut bursts: Vec<Burst> = Vec::new();
    for call in calls.iter().filter(|call| call.action == "DescribeInstances") {
        let instances = call.params.values().filter(|value| value.starts_with("i-")).cloned();
        let mut instances: BTreeSet<_> = instances.collect();
        match bursts.last_mut() {
            Some(burst) if burst.instances.is_disjoint(&instances) => {
                burst.instances.append(&mut instances);
                burst.calls += 1;
            }
            _ => bursts.push(Burst { begun: call.at, calls: 1, instances }),
        }
    }
    bursts
}

/// The calls of a sync that finds all as it should be.
async fn sync(world: &World<Aws>, name: &str, ports: &[u16], path: &str) -> Vec<Call> {
    let begun = world.cloud.mark().await.unwrap();
    // Of no effect on a load balancer whose health check is TCP; and yet another wish.
    world.annotate(name, &[("healthcheck-path", Some(path))]).await;
    wait_until("the sync", LONG, async || {
        let calls = world.cloud.calls(begun).await;
        let looks = count(&calls, |call| call.action == "DescribeTargetHealth");
        if looks >= ports.len() { Ok(()) } else { Err(actions(&calls)) }
    })
    .await;
    world.cloud.quiet().await;
    world.cloud.calls(begun).await
}

#[test]
fn a_steady_sync_of_a_network_load_balancer() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(3).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(LONG).await;
        for ports in [&[80][..], &[80, 81, 82]] {
            let name = format!("web-{}", ports.len());
            let wanted = Wanted::named(&name).nlb().ports(ports);
            let attributes = "preserve_client_ip.enabled=true";
            world.served(&wanted.asks("target-group-attributes", attributes)).await;
            world.cloud.quiet().await;

            // What was seen just after it was made is not kept.
            sync(&world, &name, ports, "/a").await;
            let calls = sync(&world, &name, ports, "/b").await;
            println!("a steady sync with {} ports: {:?}", ports.len(), actions(&calls));
            assert_eq!(count(&calls, |call| call.mutates), 0, "{:?}", actions(&calls));
            assert_eq!(count(&calls, |call| call.service == "ec2"), 0, "{:?}", actions(&calls));
            let most = 6 + 2 * ports.len();
            assert!(calls.len() <= most, "more than {most}: {:?}", actions(&calls));
        }
    });
}

#[test]
fn a_node_joins_beside_fifty_services() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(3).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(LONG).await;
        let names: Vec<_> = (0..50).map(|number| format!("web-{number}")).collect();
        let wanted: Vec<_> = names.iter().map(|name| Wanted::named(name).nlb()).collect();
        world.serve_all(&wanted).await;
        world.all_ready(LONG).await;
        world.cloud.quiet().await;

        let begun = world.cloud.mark().await.unwrap();
        let node = world.join_instance().await;
        world.set_ready(&node.private_dns, true).await;
        wait_until("the node to be a target", LONG, async || {
            let calls = world.cloud.calls(begun).await;
            let registered = count(&calls, |call| call.action == "RegisterTargets");
            if registered >= names.len() { Ok(()) } else { Err(actions(&calls)) }
        })
        .await;
        world.cloud.quiet().await;
        let calls = world.cloud.calls(begun).await;
        println!("a node joins beside {} Services: {:?}", names.len(), actions(&calls));
        assert_eq!(count(&calls, |call| call.mutates), names.len(), "{:?}", actions(&calls));
        let registered = calls.iter().filter(|call| call.action == "RegisterTargets");
        let groups: BTreeSet<_> =
            registered.filter_map(|call| call.params.get("TargetGroupArn")).collect();
        assert_eq!(groups.len(), names.len(), "one for each group");
        let is_in = world.cloud.lines_with(&format!(": target {}:", node.name)).await;
        assert_eq!(is_in.len(), names.len(), "{is_in:#?}");
    });
}
