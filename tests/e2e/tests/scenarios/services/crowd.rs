//! Many Services at once, which share a firewall: each ends with what it asks for, and nobody with
//! what another one asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ccm_e2e::{SeenService, Setup, Wanted, World, run, wait_until};
use futures::StreamExt;
use serde_json::json;
use tokio::time::Instant;

const SEED: u64 = 0x5eed_0005;

/// Services of the random crowd.
const COUNT: usize = 200;

/// What each of them goes through, in an order of its own.
const STEPS: usize = 3;

/// Services that are at something at the same time.
const AT_ONCE: usize = 32;

/// For everything to be as it should be after the last step.
const SETTLES: Duration = Duration::from_mins(5);

/// The large crowd.
const SERVICES: usize = 500;
const NODES: usize = 1_000;

const PATH: &str = "sim.ccm.rs/health-check-path";

/// xorshift, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What somebody does to a Service.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ports([u16; 2]),
    Ranges(u8),
    /// One that cannot be read from here on: what it has stays.
    Spoil,
    Mend,
    End,
    Again,
}

/// What a Service asks for that can be read, as its owner remembers it.
#[derive(Clone, Debug, Default)]
struct Asked {
    ports: Vec<u16>,
    range: Option<u8>,
}

/// One Service through all of its life. Gives what it asks for at the end, if there is one then.
async fn live(world: &World, name: &str, seed: u64) -> Option<Asked> {
    let mut random = Random(SEED ^ (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let first = 1_000 + u16::try_from(random.below(10_000)).unwrap();
    let mut asked = Asked { ports: vec![first], range: None };
    world.serve(&Wanted::named(name).ports(&asked.ports)).await;
    let (mut lives, mut is_spoilt) = (true, false);
    for _ in 0..STEPS {
        let draw = random.below(10);
        let number = 1_000 + u16::try_from(random.below(10_000)).unwrap();
        let step = match draw {
            _ if !lives => Step::Again,
            _ if is_spoilt => Step::Mend,
            0..=3 => Step::Ports([number, number + 1]),
            4..=5 => Step::Ranges(u8::try_from(draw).unwrap()),
            6 => Step::Spoil,
            _ => Step::End,
        };
        match step {
            Step::Ports(ports) => {
                world.change_ports(name, &ports).await;
                asked.ports = ports.to_vec();
            }
            Step::Ranges(octet) => {
                let ranges = [format!("10.{octet}.0.0/16")];
                let change = json!({"spec": {"loadBalancerSourceRanges": ranges}});
                world.change_service(name, &change).await;
                asked.range = Some(octet);
            }
            Step::Spoil => {
                // What it asked for before is what it is to keep, so that has to be there.
                has_rules(world, name, &asked).await;
                let change = json!({"metadata": {"annotations": {PATH: "no path"}}});
                world.change_service(name, &change).await;
                is_spoilt = true;
            }
            Step::Mend => {
                let change = json!({"metadata": {"annotations": {PATH: null}}});
                world.change_service(name, &change).await;
                is_spoilt = false;
            }
            Step::End => {
                world.end_service(name).await;
                lives = false;
            }
            Step::Again => {
                world.services_free(name).await;
                asked = Asked { ports: vec![number], range: None };
                world.serve(&Wanted::named(name).ports(&asked.ports)).await;
                lives = true;
            }
        }
    }
    lives.then_some(asked)
}

/// The rules that these Services need, from what their owners remember and what the API server chose
/// as node ports.
fn rules(all: &[(Asked, SeenService)]) -> BTreeSet<String> {
    let of_one = |(asked, seen): &(Asked, SeenService)| -> Vec<String> {
        let node_ports: BTreeMap<_, _> = seen.ports.iter().copied().collect();
        let source = asked.range.map(|octet| format!("10.{octet}.0.0/16"));
        let source = source.as_deref().unwrap_or("0.0.0.0/0");
        let rule = |port: &u16| {
            let node_port = node_ports[&i32::from(*port)];
            format!("owner={} {source} tcp/{port} to {node_port}", seen.uid)
        };
        asked.ports.iter().map(rule).collect()
    };
    all.iter().flat_map(of_one).collect()
}

/// Waits until a Service has the rules that it asks for.
async fn has_rules(world: &World, name: &str, asked: &Asked) {
    let seen = world.service(name).await;
    let uid = seen.uid.clone();
    let wanted = rules(&[(asked.clone(), seen)]);
    wait_until(&format!("the rules of {name}"), SETTLES, async || {
        let found = read_rules(&world.cloud.lines_of(&uid).await);
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

async fn rules_in_cloud(world: &World) -> BTreeSet<String> {
    read_rules(&world.cloud.lines().await)
}

fn read_rules(lines: &[String]) -> BTreeSet<String> {
    let rule = |line: &String| {
        let (_, rule) = line.strip_prefix("rule ")?.split_once(" owner=")?;
        Some(format!("owner={rule}"))
    };
    lines.iter().filter_map(rule).collect()
}

#[test]
fn a_crowd_in_random_order_ends_with_just_the_rules_that_the_living_need() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        world.join_all(&["n1".to_owned(), "n2".to_owned()]).await;
        let ccm = world.ccm(&Setup::new().without_election());
        let since = Instant::now();
        let names: Vec<_> = (0..COUNT).map(|n| format!("web-{n}")).collect();
        let ends: Vec<(String, Option<Asked>)> = futures::stream::iter(names.into_iter().zip(0..))
            .map(|(name, seed)| {
                let world = &world;
                async move {
                    let asked = live(world, &name, seed).await;
                    (name, asked)
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let acted = since.elapsed();
        let mut living = Vec::new();
        for (name, asked) in ends {
            if let Some(asked) = asked {
                living.push((asked, world.service(&name).await));
            }
        }
        let wanted = rules(&living);
        wait_until("just the rules that the living need", SETTLES, async || {
            let found = rules_in_cloud(&world).await;
            if found == wanted {
                return Ok(());
            }
            let missing: Vec<_> = wanted.difference(&found).take(3).collect();
            let surplus: Vec<_> = found.difference(&wanted).take(3).collect();
            Err(format!(
                "{} of {}: missing {missing:?}, too much {surplus:?}",
                found.len(),
                wanted.len()
            ))
        })
        .await;
        world
            .services_until("told", SETTLES, |seen| {
                seen.is_ready() || seen.ready() == ("False", "InvalidSpec")
            })
            .await;
        let spoilt = told_invalid(&world).await;
        println!(
            "{COUNT} Services: {} left, {spoilt} of them cannot be read, {} rules; acted for \
             {acted:.1?}, done in {:.1?}",
            living.len(),
            wanted.len(),
            since.elapsed()
        );
        assert!(spoilt > 0, "choose another seed");

        // Nobody who is gone has left anything.
        let uids: BTreeSet<_> = living.iter().map(|(_, seen)| seen.uid.clone()).collect();
        let whose = |line: &String| {
            line.split("owner=").nth(1).map(|it| it.split(' ').next().unwrap().to_owned())
        };
        wait_until("nobody else's pieces", SETTLES, async || {
            let lines = world.cloud.lines().await;
            let others: Vec<_> =
                lines.iter().filter_map(whose).filter(|uid| !uids.contains(uid)).collect();
            if others.is_empty() { Ok(()) } else { Err(others) }
        })
        .await;
        let at_rest = world.cloud.lines().await;

        // And all of it is as it should be: whoever comes next changes nothing.
        drop(ccm);
        let before = world.cloud.mutations().await;
        let _ccm = world.ccm(&Setup::new().without_election());
        let last = world.served(&Wanted::named("last").ports(&[22])).await;
        let mut lines = world.cloud.lines().await;
        lines.retain(|line| !line.contains(&last.uid));
        assert_eq!(lines, at_rest);
        assert_eq!(world.cloud.mutations().await - before, 6, "all for the last one");
    });
}

/// How many Services say that they cannot be read.
async fn told_invalid(world: &World) -> usize {
    let all = world.services().list(&kube::api::ListParams::default()).await.unwrap();
    let seen = all.items.iter().map(SeenService::from);
    seen.filter(|seen| seen.ready().1 == "InvalidSpec").count()
}

#[test]
fn many_services_and_many_nodes_at_once_are_served() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        let nodes: Vec<_> = (0..NODES).map(|n| format!("n{n}")).collect();
        let _ccm = world.ccm(&Setup::new().without_election());
        let wanted: Vec<_> =
            (0..SERVICES).map(|n| Wanted::named(&format!("web-{n}")).ports(&[80])).collect();
        let since = Instant::now();
        let made = futures::join!(world.join_all(&nodes), world.serve_all(&wanted)).1;
        let (made_in, bound) = (since.elapsed(), SETTLES);
        world.all_ready(bound).await;
        let ready = since.elapsed();
        world.all_initialized(bound).await;
        for seen in &made {
            world.cloud.targets_are(&seen.uid, &nodes, bound).await;
        }
        let (updates, mutations) =
            (world.cloud.target_updates().await, world.cloud.mutations().await);
        let writes = world.traffic().await.service_writes().len();
        println!(
            "{SERVICES} Services and {NODES} nodes at once: asked for in {made_in:.1?}, addresses \
             in {ready:.1?}, all targets in {:.1?}; {updates} updates of targets, {mutations} \
             changes, {writes} writes",
            since.elapsed(),
        );
        assert!(writes <= SERVICES * 4, "{writes} writes");
    });
}
