//! Nodes and Services with the oddest content that a real API server lets through: they neither end the
//! program nor keep others waiting, and nobody works on them without end.

use std::collections::BTreeSet;
use std::time::Duration;

use ccm_core::cluster::keys;
use ccm_e2e::{Ccm, LONG, SOON, SeenService, Setup, Wanted, World, ports, run, wait_until};
use ccm_envtest::kubelet::{Kubelet, PROVIDED_NODE_IP, set_ready};
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

/// Backwards, beyond the first plane, combined, without a glyph, and control characters.
const ODD: &str = "\u{202e}\u{1f4a5}a\u{0301}\u{200b}\u{feff}\u{7}\u{1b}[31m\r\n\t\"\\'{}%s\u{0}";

/// Times that the API server takes: the last day of years with four digits, the first, and one that it
/// gives out as one of the year 10000.
const TIMES: [&str; 3] =
    ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"];

/// How long is looked whether they are left in peace.
const LOOK: Duration = Duration::from_secs(8);

/// Makes an object as it stands. False where the API server does not have it.
async fn make(world: &World, path: &str, object: &Value) -> bool {
    let body = serde_json::to_vec(object).unwrap();
    let request = Request::new(path).create(&PostParams::default(), body).unwrap();
    let begun = Instant::now();
    let answer = timeout(SOON, world.admin().request::<Value>(request)).await;
    let answer =
        answer.unwrap_or_else(|_| panic!("{} is not answered", object["metadata"]["name"]));
    if begun.elapsed() > Duration::from_secs(1) {
        println!("{}: {:.1?} to make", object["metadata"]["name"], begun.elapsed());
    }
    match answer {
        Ok(_) => true,
        Err(kube::Error::Api(status)) => {
            let name = &object["metadata"]["name"];
            let said: String = status.message.chars().take(200).collect();
            println!("not accepted: {name}: {} {said}", status.code);
            false
        }
        Err(err) => panic!("{err}"),
    }
}

/// Makes them, and gives the names of those that the API server does not have.
async fn make_all(world: &World, path: &str, objects: &[Value]) -> BTreeSet<String> {
    let mut refused = BTreeSet::new();
    for object in objects {
        if !make(world, path, object).await {
            refused.insert(object["metadata"]["name"].as_str().unwrap().to_owned());
        }
    }
    refused
}

/// Text that is so many bytes long at least.
fn long(text: &str, bytes: usize) -> String {
    text.repeat(bytes.div_ceil(text.len()))
}

/// Beside all that, a plain node and a plain Service are served as if there were nothing else.
async fn plain_ones_are_served(world: &World, ccm: &mut Ccm, name: &str) {
    let begun = Instant::now();
    world.barrier(name).await;
    let node = begun.elapsed();
    world.serve(&Wanted::named(name)).await;
    let seen = world.service_until(name, "ready", SOON, SeenService::is_ready).await;
    wait_until("the plain node among the targets", SOON, async || {
        let targets = world.cloud.targets_of(&seen.uid).await;
        if targets.contains(name) { Ok(()) } else { Err(targets.len()) }
    })
    .await;
    ccm.expect_running();
    println!("{name}: node after {node:.1?}, Service after {:.1?}", begun.elapsed());
}

/// From now on nothing is done about them, or hardly anything.
async fn they_are_left_in_peace(world: &World, ccm: &mut Ccm, kinds: &[&str], most: usize) {
    // What the last node has brought about is done.
    let mut before = u64::MAX;
    wait_until("the cloud at rest", LONG, async || {
        sleep(Duration::from_secs(5)).await;
        let now = world.cloud.mutations().await;
        let is_same = std::mem::replace(&mut before, now) == now;
        if is_same { Ok(()) } else { Err(now) }
    })
    .await;
    let is_theirs = |event: &ccm_envtest::audit::Event| kinds.contains(&&*event.resource);
    let writes = world.traffic().await.mutations().keep(is_theirs).len();
    let (mutations, warnings) = (world.cloud.mutations().await, ccm.warnings("").len());
    let calls = world.cloud.calls_of_ccm().await.len();
    sleep(LOOK).await;
    let writes = world.traffic().await.mutations().keep(is_theirs).after(writes);
    let mutations = world.cloud.mutations().await - mutations;
    let calls = world.cloud.calls_of_ccm().await.len() - calls;
    let said = ccm.warnings("").split_off(warnings);
    println!(
        "in {LOOK:?}: {} writes, {mutations} changes in the cloud, {calls} calls, {} warnings",
        writes.len(),
        said.len()
    );
    assert!(writes.len() <= most && said.len() <= most, "{writes}\n{said:#?}");
    assert_eq!(mutations, 0);
    assert!(calls <= 10 * most + 10, "{calls}");
    ccm.expect_running();
    let log = ccm.log();
    assert!(!log.contains("panicked"), "{log}");
    // What they hold is not repeated over and over.
    let longest = log.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 256 * 1024, "a line of {longest} bytes");
}

fn node(name: &str) -> Value {
    let mut node = serde_json::to_value(Kubelet::new("hostile").node()).unwrap();
    node["metadata"]["name"] = name.into();
    node["status"]["addresses"] = json!([{"type": "Hostname", "address": name}]);
    node
}

fn list<T>(node: &mut Value, part: &str, field: &str, more: impl IntoIterator<Item = T>)
where
    Value: From<T>,
{
    let list = node[part][field].as_array_mut().unwrap();
    list.extend(more.into_iter().map(Value::from));
}

/// The nodes, and whether each can be initialised.
fn nodes() -> Vec<(Value, bool)> {
    let mut all = Vec::new();

    let mut it = node("n-taints");
    let taints =
        (0..2_000).map(|n| json!({"key": format!("example.com/t{n}"), "effect": "NoSchedule"}));
    list(&mut it, "spec", "taints", taints);
    all.push((it, true));

    let mut it = node("n-conditions");
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": ODD, "message": long(ODD, 4_000)});
    let ours = [keys::INSTANCE_KNOWN, keys::NETWORK_UNAVAILABLE, keys::READY];
    let twice = ours.iter().flat_map(|kind| [condition(kind, "False"), condition(kind, ODD)]);
    list(&mut it, "status", "conditions", twice);
    list(&mut it, "status", "conditions", (0..100).map(|n| condition(&format!("{ODD}{n}"), ODD)));
    all.push((it, true));

    let mut it = node("n-addresses");
    let kinds = ["", "InternalIP", "internalip", "Hostname", ODD];
    let texts = ["", "10.0.0.1", "999.0.0.1", "::ffff:1.2.3.4%eth0", ODD];
    let addresses = (0..2_000).map(|n| json!({"type": kinds[n % 5], "address": texts[n / 5 % 5]}));
    list(&mut it, "status", "addresses", addresses);
    all.push((it, true));

    let mut it = node("n-annotations");
    it["metadata"]["annotations"]["example.com/big"] = long(ODD, 200_000).into();
    it["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"] = "-99999999999999999999".into();
    all.push((it, true));

    let mut it = node("n-provided-ip");
    it["metadata"]["annotations"][PROVIDED_NODE_IP] = long(&format!(",{ODD}"), 100_000).into();
    all.push((it, false));

    let mut it = node("n-labels");
    let label = "l".repeat(63);
    for number in 0..1_000 {
        let key = format!("{}/{label}", long("abc.", 240) + &format!("d{number}"));
        it["metadata"]["labels"][key] = label.clone().into();
    }
    all.push((it, true));

    let mut it = node("n-zones");
    it["metadata"]["labels"][keys::ZONE] = "A_.z".into();
    it["metadata"]["labels"][keys::REGION] = "".into();
    all.push((it, true));

    let mut it = node("n-numbers");
    it["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] = i32::MIN.into();
    it["status"]["images"] =
        json!([{"names": [ODD], "sizeBytes": i64::MIN}, {"names": null, "sizeBytes": i64::MAX}]);
    it["status"]["nodeInfo"]["systemUUID"] = long(ODD, 1_000).into();
    it["status"]["capacity"]["cpu"] = "9E".into();
    it["status"]["phase"] = ODD.into();
    all.push((it, true));

    let mut it = node("n-ranges");
    it["spec"]["podCIDR"] = "0.0.0.0/0".into();
    it["spec"]["podCIDRs"] = json!(["0.0.0.0/0", "::/0"]);
    all.push((it, true));

    for (name, id) in
        [("n-id-text", ODD.to_owned()), ("n-id-long", format!("sim:///{}", long("x", 100_000)))]
    {
        let mut it = node(name);
        it["spec"]["providerID"] = id.into();
        all.push((it, false));
    }

    let name = [["n"; 63].concat(), ["o"; 63].concat(), ["p"; 63].concat(), ["q"; 61].concat()];
    all.push((node(&name.join(".")), true));
    all
}

#[test]
fn odd_nodes_stop_nobody() {
    run(async {
        let world = World::start().await;
        let (all, can): (Vec<_>, Vec<_>) = nodes().into_iter().unzip();
        let name = |node: &Value| node["metadata"]["name"].as_str().unwrap().to_owned();
        world.cloud.instances_named(all.iter().map(name)).await;
        // Some are there when it starts, and some come later.
        let (first, second) = all.split_at(all.len() / 2);
        let mut refused = make_all(&world, "/api/v1/nodes", first).await;
        let setup =
            Setup::new().quick().flag("--configure-cloud-routes=true").routes("10.244.0.0/16");
        let mut ccm = world.ccm(&setup);
        plain_ones_are_served(&world, &mut ccm, "plain-1").await;
        refused.extend(make_all(&world, "/api/v1/nodes", second).await);
        plain_ones_are_served(&world, &mut ccm, "plain-2").await;
        assert_eq!(refused, BTreeSet::new(), "the API server has become stricter");

        for (node, _) in all.iter().zip(&can).filter(|(_, can)| **can) {
            world.initialized(&name(node)).await;
        }
        // They come and go as others do.
        for node in &all {
            set_ready(&world.admin(), &name(node), false).await.unwrap();
        }
        world.cloud.terminate("n-taints").await;
        world.gone("n-taints", LONG).await;
        plain_ones_are_served(&world, &mut ccm, "plain-3").await;
        they_are_left_in_peace(&world, &mut ccm, &["nodes", "events"], 12).await;
    });
}

/// A Service of that name with this spec and these annotations.
fn service(name: &str, spec: &Value, annotations: &Value) -> Value {
    let mut all = json!({"type": "LoadBalancer", "selector": {"app": name}, "ports": ports(&[80])});
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    let metadata = json!({"name": name, "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": all})
}

/// The Services that are accepted, each with the reason of its condition once all is settled; none where
/// they are nobody's business.
fn services() -> Vec<(Value, &'static str)> {
    let none = json!({});
    let plain = |name, annotations: Value| service(name, &json!({}), &annotations);
    let many = |count: u16| (1..=count).collect::<Vec<_>>();
    let range = |n: usize| format!("10.{}.{}.0/24", n / 256, n % 256);
    let ranges = (0..600).chain(0..600).map(range).collect::<Vec<_>>();
    let name = ["s"; 63].concat();
    let mut held = plain("s-finalizers", none.clone());
    held["metadata"]["finalizers"] =
        (0..500).map(|n| Value::from(format!("example.com/f{n}"))).collect();
    vec![
        // Without node ports their number has no bound but the object's size.
        (
            service(
                "s-ports-without",
                &json!({"allocateLoadBalancerNodePorts": false, "ports": ports(&many(1_000))}),
                &none,
            ),
            "InvalidSpec",
        ),
        (service("s-ports", &json!({"ports": ports(&many(100))}), &none), "Ready"),
        (service("s-ranges", &json!({"loadBalancerSourceRanges": ranges}), &none), "Ready"),
        (
            service(
                "s-one-range",
                &json!({"loadBalancerSourceRanges": vec!["0.0.0.0/0"; 5_000]}),
                &none,
            ),
            "Ready",
        ),
        (
            plain(
                "s-numbers",
                json!({
                    "sim.ccm.rs/idle-timeout-seconds": "-1",
                    "sim.ccm.rs/health-check-port": "99999999999999999999",
                    "sim.ccm.rs/proxy-protocol": long("1", 10_000),
                }),
            ),
            "InvalidSpec",
        ),
        (
            plain(
                "s-text",
                json!({
                    "sim.ccm.rs/health-check-path": format!("/{ODD}"),
                    "sim.ccm.rs/addresses": long(ODD, 50_000),
                    "sim.ccm.rs/target-zones": long(ODD, 50_000),
                    "sim.ccm.rs/load-balancer-id": ODD,
                }),
            ),
            "InvalidSpec",
        ),
        (
            plain("s-tags", json!({"sim.ccm.rs/extra-tags": long(&format!("{ODD}=,"), 200_000)})),
            "InvalidSpec",
        ),
        (plain("s-big", json!({"example.com/big": long(ODD, 200_000)})), "Ready"),
        (service("s-address", &json!({"loadBalancerIP": long(ODD, 10_000)}), &none), "InvalidSpec"),
        (
            service(
                "s-external",
                &json!({"externalIPs": (0..1_000).map(|n| format!("192.0.{}.{}", n / 256, n % 256)).collect::<Vec<_>>()}),
                &none,
            ),
            "Ready",
        ),
        (
            service(
                "s-affinity",
                &json!({
                    "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86_400}},
                    "ports": [{"port": 65_535, "appProtocol": format!("{}/x", long("abc.", 240) + "d")}],
                }),
                &none,
            ),
            "Ready",
        ),
        (
            service(
                "s-class",
                &json!({"loadBalancerClass": format!("{}/x", long("abc.", 240) + "d")}),
                &none,
            ),
            "",
        ),
        (service(&name, &json!({}), &none), "Ready"),
        (held, "Ready"),
        (plain("s-status", none.clone()), "Ready"),
    ]
}

/// What the API server itself does not have, so that nobody has to bear it.
fn impossible() -> Vec<Value> {
    let none = json!({});
    let port = |port: Value| service("impossible", &json!({"ports": [port]}), &none);
    vec![
        port(json!({"port": -1})),
        port(json!({"port": 0})),
        port(json!({"port": 65_536})),
        port(json!({"port": 80, "nodePort": -30_000})),
        port(json!({"port": 80, "protocol": "ICMP"})),
        port(json!({"port": 80, "appProtocol": ODD})),
        service(
            "impossible",
            &json!({"healthCheckNodePort": -1, "externalTrafficPolicy": "Local"}),
            &none,
        ),
        service("impossible", &json!({"loadBalancerSourceRanges": ["10.0.0.0/99"]}), &none),
        service("impossible", &json!({"sessionAffinity": ODD}), &none),
        service(
            "impossible",
            &json!({"sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": -1}}}),
            &none,
        ),
        // Thousands of these keep the API server itself busy for a minute.
        service("impossible", &json!({}), &json!({keys::SOURCE_RANGES: "a,b,c"})),
        service("impossible", &json!({}), &json!({"example.com/big": long("x", 262_145)})),
    ]
}

/// Others may write on the status too.
async fn spoil_status(world: &World, name: &str, times: &[&str], seed: usize) {
    let others = times.iter().enumerate().map(|(place, time)| {
        json!({"type": format!("example.com/T{place}"), "status": "True", "reason": "R",
            "message": "m".repeat(32_768), "lastTransitionTime": time,
            "observedGeneration": i64::MAX - 1})
    });
    let ours = json!({"type": keys::LOAD_BALANCER_READY, "status": "Unknown", "reason": "Odd",
        "message": ODD, "lastTransitionTime": times[seed % times.len()]});
    let conditions: Vec<_> = others.chain([ours]).collect();
    let ingress: Vec<_> = (0..200)
        .map(|n| {
            json!({"ip": "2001:db8::1", "hostname": format!("h{n}-{seed}.example.com"),
                "ipMode": "Proxy",
                "ports": [{"port": 80, "protocol": "TCP", "error": "example.com/Odd"}]})
        })
        .collect();
    let status =
        json!({"status": {"conditions": conditions, "loadBalancer": {"ingress": ingress}}});
    let path = format!("/api/v1/namespaces/{}/services", world.namespace());
    let request = Request::new(path)
        .patch_subresource("status", name, &PatchParams::default(), &Patch::Merge(&status))
        .unwrap();
    world.admin().request::<Value>(request).await.unwrap();
}

/// An object as it is, times and all, which our own client's types may not be able to read.
async fn raw(world: &World, path: &str, name: &str) -> Value {
    let request = Request::new(path).get(name, &GetParams::default()).unwrap();
    world.admin().request::<Value>(request).await.unwrap()
}

/// One object with a time that a client cannot read would blind it to all of its kind.
#[test]
fn odd_times_stop_nobody() {
    run(async {
        let mut world = World::start().await;
        let services = format!("/api/v1/namespaces/{}/services", world.namespace());
        let nodes = "/api/v1/nodes";
        // Of the last the API server itself cannot read what it gives out, so nobody can write on it.
        for (name, times) in [("well", &TIMES[..2]), ("stuck", &TIMES[..])] {
            world.cloud.instance_named(name).await;
            let mut it = node(name);
            for (place, time) in times.iter().enumerate() {
                it["status"]["conditions"][place]["lastHeartbeatTime"] = (*time).into();
                it["status"]["conditions"][place]["lastTransitionTime"] = (*time).into();
            }
            assert!(make(&world, nodes, &it).await);
            assert!(make(&world, &services, &service(name, &json!({}), &json!({}))).await);
            spoil_status(&world, name, times, 0).await;
        }
        assert!(raw(&world, &services, "stuck").await.to_string().contains("10000-01-01T"));
        // It finds them there, and then sees them change.
        let mut ccm = world.ccm(&Setup::new());
        world.barrier("plain-1").await;
        for seed in 1..=3 {
            spoil_status(&world, "well", &TIMES[..2], seed).await;
            spoil_status(&world, "stuck", &TIMES, seed).await;
            wait_until("its status mended", SOON, async || {
                let status = raw(&world, &services, "well").await["status"].to_string();
                let is_so = status.contains("as the Service asks") && !status.contains("h0-");
                if is_so { Ok(()) } else { Err(status.len()) }
            })
            .await;
        }
        wait_until("its node initialized", SOON, async || {
            let taints = raw(&world, nodes, "well").await["spec"]["taints"].to_string();
            if taints.contains("uninitialized") { Err(taints) } else { Ok(()) }
        })
        .await;
        plain_ones_are_served(&world, &mut ccm, "plain-2").await;
        assert_eq!(ccm.warnings("cannot be watched"), [""; 0]);
        they_are_left_in_peace(&world, &mut ccm, &["nodes", "services"], 12).await;
        // Other tests look at what there is with types that cannot read it.
        world.keep_from_others();
    });
}

#[test]
fn odd_services_stop_nobody() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        let path = format!("/api/v1/namespaces/{}/services", world.namespace());
        for object in impossible() {
            assert!(!make(&world, &path, &object).await, "{}", object["spec"]);
        }
        let times = ["1970-01-01T00:00:00Z", "9998-01-01T00:00:00Z"];
        let (all, reasons): (Vec<_>, Vec<_>) = services().into_iter().unzip();
        let name = |service: &Value| service["metadata"]["name"].as_str().unwrap().to_owned();
        let (first, second) = all.split_at(all.len() / 2);
        let mut refused = make_all(&world, &path, first).await;
        let mut ccm = world.ccm(&Setup::new().quick());
        plain_ones_are_served(&world, &mut ccm, "plain-1").await;
        refused.extend(make_all(&world, &path, second).await);
        spoil_status(&world, "s-status", &times, 0).await;
        plain_ones_are_served(&world, &mut ccm, "plain-2").await;
        assert_eq!(refused, BTreeSet::new(), "the API server has become stricter");

        let begun = Instant::now();
        let is_wanted = |seen: &(String, String, &str)| seen.1 == seen.2;
        wait_until("all settled", SOON * 3, async || {
            let mut seen = Vec::new();
            for (service, reason) in all.iter().zip(&reasons) {
                let said = world.service(&name(service)).await.ready().1.to_owned();
                seen.push((name(service), said, *reason));
            }
            seen.retain(|seen| !is_wanted(seen));
            if seen.is_empty() { Ok(()) } else { Err(seen) }
        })
        .await;
        println!("all settled after {:.1?}", begun.elapsed());
        for seed in 1..=2 {
            spoil_status(&world, "s-status", &times, seed).await;
            world.service_until("s-status", "mended", SOON, SeenService::is_ready).await;
        }
        plain_ones_are_served(&world, &mut ccm, "plain-3").await;
        for (service, reason) in all.iter().zip(&reasons) {
            let events = world.service_events(&name(service)).await;
            let failed = events.iter().filter(|event| event.0 == "SyncLoadBalancerFailed");
            let times: i32 = failed.map(|event| event.2).sum();
            let want = i32::from(*reason == "InvalidSpec");
            assert_eq!(times, want, "told once, or not at all: {} {events:?}", name(service));
        }
        they_are_left_in_peace(&world, &mut ccm, &["services", "events"], 0).await;
        // They go as others do.
        for name in ["s-ports", "s-ranges", "s-text", "s-ports-without"] {
            world.remove_service(name).await;
        }
    });
}
