//! The fault matrix: each fault while a node joins, a machine changes, one stops and one ends, and a
//! Service is made, changed and deleted, routes come and go, and a volume is made, with live nodes and a
//! Service beside them. What is expected stands in one table; what was seen becomes a page of the book.
//!
//! `CCM_BLESS=1` writes the page, `CCM_FAULTS=hang` runs only rows with that in their name.

mod ranges;
mod routes;
mod services;
mod volumes;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use ccm_e2e::{Ccm, Pods, SOON, Seen, SeenService, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use futures::future::join_all;
use futures::{FutureExt, StreamExt, stream};
use simcloud::api::{FaultKind, Nic, UpdateInstance};
use tokio::time::{Instant, sleep, sleep_until};

const SHUTDOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";
const THEIRS: &str = "example.com/theirs";
const TYPE: &str = "node.kubernetes.io/instance-type";

/// A fault stands at least this long: twice the time from a suspicion to the direct question, and
/// longer than a node waits before it is told why.
const STANDS: Duration = Duration::from_secs(12);

/// What goes on in spite of a fault is done in this time; so is said what is to be said. Until then
/// the fault stands.
const IN_SPITE: Duration = Duration::from_secs(90);

/// After a fault has ended all is well in this time.
const HEALS: Duration = Duration::from_mins(1);

/// Rows at once.
const TOGETHER: usize = 2;

/// What a node says without its routes; the message says why.
const NO_ROUTE: &str = "NoRouteCreated";

/// For the moments at which a process is killed.
const SEED: u64 = 0x5eed_0004;

/// Where the page is, from this package.
const PAGE: &str = "../../docs/src/reference/fault-matrix.md";

/// What happens during a fault, each to a node or a Service of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Initialisation,
    Refresh,
    Shutdown,
    Deletion,
    ServiceCreation,
    ServiceChange,
    ServiceDeletion,
    RouteCreation,
    RouteDeletion,
    VolumeLabels,
}

/// How many activities there are.
const ACTIVITIES: usize = 10;

/// What an activity is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Node,
    Service,
    Route,
    Volume,
}

impl Activity {
    const ALL: [Self; ACTIVITIES] = [
        Self::Initialisation,
        Self::Refresh,
        Self::Shutdown,
        Self::Deletion,
        Self::ServiceCreation,
        Self::ServiceChange,
        Self::ServiceDeletion,
        Self::RouteCreation,
        Self::RouteDeletion,
        Self::VolumeLabels,
    ];

    /// The name of its node, Service or volume.
    const fn name(self) -> &'static str {
        match self {
            Self::Initialisation => "joins",
            Self::Refresh => "changes",
            Self::Shutdown => "stops",
            Self::Deletion => "ends",
            Self::ServiceCreation => "made",
            Self::ServiceChange => "altered",
            Self::ServiceDeletion => "unmade",
            Self::RouteCreation => "routed",
            Self::RouteDeletion => "unrouted",
            Self::VolumeLabels => "labelled",
        }
    }

    /// What it is about.
    const fn of(self) -> Of {
        match self {
            Self::Initialisation | Self::Refresh | Self::Shutdown | Self::Deletion => Of::Node,
            Self::ServiceCreation | Self::ServiceChange | Self::ServiceDeletion => Of::Service,
            Self::RouteCreation | Self::RouteDeletion => Of::Route,
            Self::VolumeLabels => Of::Volume,
        }
    }

    /// Whether it is done, of a node: what that looks like then, or that there is none.
    fn is_done(self, node: Option<&Seen>) -> bool {
        let Some(node) = node else { return self == Self::Deletion };
        match self {
            Self::Initialisation => node.is_initialized(),
            Self::Refresh => {
                node.label(TYPE) == "sim.huge" && node.addresses[0] == "InternalIP 10.7.7.7"
            }
            Self::Shutdown => node.has_taint(SHUTDOWN),
            Self::Deletion => false,
            Self::ServiceCreation
            | Self::ServiceChange
            | Self::ServiceDeletion
            | Self::RouteCreation
            | Self::RouteDeletion
            | Self::VolumeLabels => unreachable!("it is about something else"),
        }
    }
}

/// What is expected of an activity while the fault stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum During {
    /// It is done.
    GoesOn,
    /// It is not, and nothing is said yet: a node that is initialised loses nothing by waiting, and
    /// is told after half a minute.
    Waits,
    /// It is not, and the node or the Service says why.
    Says(&'static str),
    /// It may be done or not, as the moments fall.
    Chance,
}

use During::{Chance, GoesOn, Says, Waits};

/// How a fault is made.
#[derive(Clone, Copy, Debug)]
enum Script {
    /// The token of the program opens nothing.
    Revoke,
    /// All answers of the cloud to which this can happen, questions about many and about one.
    Answers(FaultKind),
    /// Every second one.
    SomeAnswers(FaultKind),
    /// Killed when the cloud has changed, and again as soon as the cluster has.
    RestartApiServer,
    /// Stopped and let go, again and again.
    SlowEtcd,
    /// Killed and started, again and again.
    KillProcess,
}

/// A row of the matrix.
#[derive(Debug)]
struct Fault {
    name: &'static str,
    /// How it is made, in words.
    how: &'static str,
    script: Script,
    /// In the order of [`Activity::ALL`].
    expected: [During; ACTIVITIES],
}

const FAULTS: [Fault; 11] = [
    Fault {
        name: "credentials revoked",
        how: "every call is answered 401",
        script: Script::Revoke,
        expected: [
            Says("PermissionDenied"),
            Waits,
            Waits,
            Waits,
            Says("PermissionDenied"),
            Says("PermissionDenied"),
            Says("PermissionDenied"),
            Says(NO_ROUTE),
            Waits,
            Says("PermissionDenied"),
        ],
    },
    Fault {
        name: "empty page",
        how: "every list of machines is answered with none at all, as if that were all; direct questions \
              are answered",
        script: Script::Answers(FaultKind::EmptyPage),
        // What the list lacks is asked about directly, one by one: stopped, and terminated.
        expected: [
            Says("InstanceNotFound"),
            Waits,
            GoesOn,
            GoesOn,
            GoesOn,
            GoesOn,
            GoesOn,
            GoesOn,
            GoesOn,
            GoesOn,
        ],
    },
    Fault {
        name: "cut page",
        how: "every list of machines lacks half of them, as if that were all; direct questions are \
              answered",
        script: Script::Answers(FaultKind::CutPage { missing_share: 0.5 }),
        expected: [Chance, GoesOn, GoesOn, GoesOn, GoesOn, GoesOn, GoesOn, GoesOn, GoesOn, GoesOn],
    },
    Fault {
        name: "429 storm",
        how: "every call is answered 429, `Retry-After: 1`",
        script: Script::Answers(FaultKind::Throttle { retry_after_ms: Some(1_000) }),
        // What the cloud lets through belongs to those who have no address yet.
        expected: [
            Says("RateLimited"),
            Waits,
            Waits,
            Waits,
            Says("Throttled"),
            Waits,
            Waits,
            Says(NO_ROUTE),
            Waits,
            Says("RateLimited"),
        ],
    },
    Fault {
        name: "5xx",
        how: "every call is answered 503",
        script: Script::Answers(FaultKind::ServerError { status: 503 }),
        expected: [
            Says("CloudUnavailable"),
            Waits,
            Waits,
            Waits,
            Says("CloudUnavailable"),
            Says("CloudUnavailable"),
            Says("CloudUnavailable"),
            Says(NO_ROUTE),
            Waits,
            Says("CloudUnavailable"),
        ],
    },
    Fault {
        name: "hang",
        how: "no call is answered",
        script: Script::Answers(FaultKind::Hang { max_ms: None }),
        expected: [
            Says("CloudUnavailable"),
            Waits,
            Waits,
            Waits,
            Says("CloudUnavailable"),
            Says("CloudUnavailable"),
            Says("CloudUnavailable"),
            Says(NO_ROUTE),
            Waits,
            Says("CloudUnavailable"),
        ],
    },
    Fault {
        name: "lost response",
        how: "every call is carried out, then its connection is closed",
        script: Script::Answers(FaultKind::LoseResponse),
        expected: [
            Says("CloudUnavailable"),
            Waits,
            Waits,
            Waits,
            Says("CloudUnavailable"),
            Says("CloudUnavailable"),
            Says("CloudUnavailable"),
            Says(NO_ROUTE),
            Waits,
            Says("CloudUnavailable"),
        ],
    },
    Fault {
        name: "wrong order of answers",
        how: "every second answer is 3 s old when it comes, so that newer ones overtake it",
        script: Script::SomeAnswers(FaultKind::Slow { delay_ms: 3_000, stale: true }),
        expected: [GoesOn; ACTIVITIES],
    },
    Fault {
        name: "API server restart",
        how: "killed when the cloud has changed, started; killed again at once when the nodes have \
              changed, started",
        script: Script::RestartApiServer,
        expected: [Chance; ACTIVITIES],
    },
    Fault {
        name: "etcd slow",
        how: "etcd stands still for 600 ms of every 900 ms",
        script: Script::SlowEtcd,
        expected: [GoesOn; ACTIVITIES],
    },
    Fault {
        name: "kill -9 at any moment",
        how: "the process is killed seven times, 0.2 to 2.5 s apart, and started at once",
        script: Script::KillProcess,
        expected: [Chance; ACTIVITIES],
    },
];

#[test]
fn every_fault_heals_by_itself_and_costs_no_live_node() {
    run(async {
        let wanted = std::env::var("CCM_FAULTS").unwrap_or_default();
        let rows = FAULTS.iter().enumerate().filter(|(_, fault)| fault.name.contains(&wanted));
        let since = Instant::now();
        let ends: BTreeMap<_, _> = stream::iter(rows)
            // All rows are run, whichever fails.
            .map(async |(index, fault)| (index, AssertUnwindSafe(row(fault)).catch_unwind().await))
            .buffer_unordered(TOGETHER)
            .collect()
            .await;
        println!("{} rows in {:.0?}", ends.len(), since.elapsed());
        let failed: Vec<_> = ends
            .iter()
            .filter(|(_, end)| end.is_err())
            .map(|(index, _)| FAULTS[*index].name)
            .collect();
        assert!(failed.is_empty(), "failed: {failed:?}");
        if wanted.is_empty() {
            let rows: Vec<_> = ends.into_values().map(Result::unwrap).collect();
            keep(&page(&rows));
        }
    });
}

/// What was seen of one fault, as far as it is the same each time.
struct Row {
    fault: &'static Fault,
    /// In the order of [`Activity::ALL`].
    cells: [String; ACTIVITIES],
    /// Of those that were there when it began and whose machines live.
    live_nodes_deleted: usize,
}

/// How the nodes beside the action were before.
struct Bystanders {
    services: services::Bystander,
    routes: Vec<String>,
    volumes: volumes::Bystander,
    uids: BTreeMap<String, String>,
    taints: BTreeMap<String, Vec<String>>,
    /// Writes so far.
    writes: usize,
}

const READY: [&str; 3] = ["ready-0", "ready-1", "ready-2"];
const SILENT: [&str; 3] = ["silent-0", "silent-1", "silent-2"];

async fn row(fault: &'static Fault) -> Row {
    let mut world = World::start().await;
    // Whether a leader is there is the matter of other tests.
    let setup = Setup::new().quick().refresh(2).without_election();
    // Everybody's routes are looked at while a fault stands, too.
    let setup = setup.routes(Pods::CLUSTER).flag("--route-drift-interval=10s");
    let mut ccm = world.ccm(&setup);
    let bystanders = set_the_stage(&world).await;

    let begun = Instant::now();
    match fault.script {
        Script::Revoke => world.cloud.revoke_token("default").await.map(drop).unwrap(),
        Script::Answers(kind) => world.cloud.break_down_all(kind).await,
        Script::SomeAnswers(kind) => world.cloud.break_down_some(kind, 0.5).await,
        Script::RestartApiServer | Script::SlowEtcd | Script::KillProcess => {}
    }
    let cells = match fault.script {
        Script::Revoke | Script::Answers(_) | Script::SomeAnswers(_) => {
            let cells = act(&world, fault, begun).await;
            world.cloud.clear_faults().await.unwrap();
            world.cloud.restore_token("default").await.unwrap();
            cells
        }
        Script::RestartApiServer => {
            world.control_plane().kill_apiserver().unwrap();
            change_cloud(&world).await;
            world.control_plane().start_apiserver().await.unwrap();
            change_cluster(&world).await;
            world.control_plane().kill_apiserver().unwrap();
            world.control_plane().start_apiserver().await.unwrap();
            watch(&world, fault, begun).await
        }
        Script::SlowEtcd => {
            let cells = tokio::select! {
                cells = act(&world, fault, begun) => cells,
                never = slow_etcd(&world) => match never {},
            };
            world.signal_etcd(Signal::CONT);
            cells
        }
        Script::KillProcess => {
            let kills = kill_often(&world, &setup, &mut ccm);
            futures::join!(act(&world, fault, begun), kills).0
        }
    };
    let stood = begun.elapsed();
    let healed = heal(&world).await;
    let live_nodes_deleted = settle(&world, &bystanders).await;
    ccm.expect_running();
    println!("{}: stood for {stood:.0?}; from its end to {healed}", fault.name);
    Row { fault, cells, live_nodes_deleted }
}

/// Lets happen what is to happen while the fault stands, and sees what comes of it.
async fn act(world: &World, fault: &Fault, begun: Instant) -> [String; ACTIVITIES] {
    change_cloud(world).await;
    change_cluster(world).await;
    watch(world, fault, begun).await
}

/// Live nodes, of which some are ready, and the nodes to which something is going to happen.
async fn set_the_stage(world: &World) -> Bystanders {
    let with = [Activity::RouteCreation.name(), Activity::RouteDeletion.name()];
    let names = ["changes", "stops", "ends"].into_iter().chain(with).chain(READY).chain(SILENT);
    world.cloud.instances_named(names.clone().map(str::to_owned)).await;
    for name in names {
        let kubelet = Kubelet::new(name).taint(THEIRS, None);
        world.register(routes::with_ranges(name, kubelet)).await;
    }
    world.all_initialized(SOON).await;
    routes::set_the_stage(world).await;
    let volumes = volumes::set_the_stage(world).await;
    for name in SILENT {
        world.silence(name).await;
    }
    let mut taints = BTreeMap::new();
    for name in READY.into_iter().chain(SILENT) {
        taints.insert(name.to_owned(), world.node(name).await.taints);
    }
    let mut uids = world.uids().await;
    uids.remove(Activity::Deletion.name());
    uids.remove(Activity::RouteDeletion.name());
    let services = services::set_the_stage(world).await;
    let lines = world.cloud.route_lines().await;
    let writes = writes_to_ready(world).await;
    Bystanders { services, routes: lines, volumes, uids, taints, writes }
}

/// Writes to nodes that are ready and live.
async fn writes_to_ready(world: &World) -> usize {
    let traffic = world.traffic().await.node_writes();
    READY.iter().map(|name| traffic.of_node(name).len()).sum()
}

/// What happens to machines.
async fn change_cloud(world: &World) {
    world.cloud.instance_named("joins").await;
    let nic = Nic { private_ipv4s: vec!["10.7.7.7".parse().unwrap()], ..Nic::default() };
    let update = UpdateInstance {
        instance_type: Some("sim.huge".to_owned()),
        nics: Some(vec![nic]),
        ..UpdateInstance::default()
    };
    let changes = world.cloud.machine("changes").await.id;
    world.cloud.update_instance(&changes, &update).await.unwrap();
    world.cloud.stop("stops").await;
    world.cloud.terminate("ends").await;
}

/// What their kubelets and a kube-controller-manager make of it.
async fn change_cluster(world: &World) {
    services::change(world).await;
    routes::change(world).await;
    volumes::change(world).await;
    world.register(Kubelet::new("joins")).await;
    for name in ["stops", "ends"] {
        world.silence(name).await;
    }
}

async fn slow_etcd(world: &World) -> Infallible {
    loop {
        world.signal_etcd(Signal::STOP);
        sleep(Duration::from_millis(600)).await;
        world.signal_etcd(Signal::CONT);
        sleep(Duration::from_millis(300)).await;
    }
}

async fn kill_often(world: &World, setup: &Setup, ccm: &mut Ccm) {
    let mut random = SEED;
    for _ in 0..7 {
        // xorshift
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        sleep(Duration::from_millis(200 + random % 2_300)).await;
        ccm.expect_running();
        ccm.signal(Signal::KILL);
        ccm.end(SOON).await;
        *ccm = world.ccm(setup);
    }
}

/// Whether an activity is done, or what its node looks like.
async fn done(world: &World, activity: Activity) -> Result<(), String> {
    match activity.of() {
        Of::Service => return services::done(world, activity).await,
        Of::Route => return routes::done(world, activity).await,
        Of::Volume => return volumes::done(world, activity).await,
        Of::Node => {}
    }
    let node = world.nodes().get_opt(activity.name()).await.map_err(|err| err.to_string())?;
    let seen = node.as_ref().map(Seen::from);
    if activity.is_done(seen.as_ref()) { Ok(()) } else { Err(format!("{seen:?}")) }
}

/// Lets the fault stand for its time, sees what comes of it, and fails if that is not as expected.
async fn watch(world: &World, fault: &Fault, begun: Instant) -> [String; ACTIVITIES] {
    for (activity, during) in Activity::ALL.into_iter().zip(fault.expected) {
        let what = format!("{}: {activity:?} {during:?}", fault.name);
        match during {
            GoesOn => wait_until(&what, IN_SPITE, async || done(world, activity).await).await,
            Says(reason) => says(world, activity, &what, reason).await,
            Waits | Chance => {}
        }
    }
    sleep_until(begun + STANDS).await;
    let mut cells = [const { String::new() }; ACTIVITIES];
    for ((cell, activity), during) in cells.iter_mut().zip(Activity::ALL).zip(fault.expected) {
        *cell = match during {
            Chance => expected(during),
            // Whether it says more than that work has begun depends on whose turn it is.
            Waits if activity.of() == Of::Service && done(world, activity).await.is_err() => {
                expected(during)
            }
            Waits | GoesOn | Says(_) => seen(world, activity).await,
        };
        assert_eq!(*cell, expected(during), "{}: {activity:?}", fault.name);
    }
    cells
}

/// Waits until the object of an activity says why nothing comes of it.
async fn says(world: &World, activity: Activity, what: &str, reason: &str) {
    let name = activity.name();
    match activity.of() {
        Of::Service => {
            let says = |service: &SeenService| service.ready().1 == reason;
            world.service_until(name, what, IN_SPITE, says).await;
        }
        Of::Node => {
            let says = |node: &Seen| node.known().1 == reason;
            world.node_until(name, what, IN_SPITE, says).await;
        }
        Of::Route => {
            let says = |node: &Seen| node.network() == ("True", reason);
            world.node_until(name, what, IN_SPITE, says).await;
        }
        Of::Volume => volumes::says(world, name, what, reason).await,
    }
}

/// What has come of an activity so far.
async fn seen(world: &World, activity: Activity) -> String {
    match activity.of() {
        Of::Service => return services::seen(world, activity).await,
        Of::Route => return routes::seen(world, activity).await,
        Of::Volume => return volumes::seen(world, activity).await,
        Of::Node => {}
    }
    let node = world.nodes().get_opt(activity.name()).await.unwrap();
    let seen = node.as_ref().map(Seen::from);
    match &seen {
        done if activity.is_done(done.as_ref()) => "went on".to_owned(),
        Some(waits) if !waits.known().1.is_empty() => format!("waited, said `{}`", waits.known().1),
        _ => "waited".to_owned(),
    }
}

fn expected(during: During) -> String {
    match during {
        GoesOn => "went on".to_owned(),
        Waits => "waited".to_owned(),
        Says(reason) => format!("waited, said `{reason}`"),
        Chance => "by chance".to_owned(),
    }
}

/// Waits until all is done, and says when it was.
async fn heal(world: &World) -> String {
    let since = Instant::now();
    let healed = Activity::ALL.map(async |activity| {
        let what = format!("{activity:?} in the end");
        wait_until(&what, HEALS, async || done(world, activity).await).await;
        format!("{activity:?} {:.1?}", since.elapsed())
    });
    join_all(healed).await.join(", ")
}

/// Waits until nothing stands on live nodes that was said of them during the fault, and fails if
/// anything else has happened to them. Gives how many there are no more.
async fn settle(world: &World, before: &Bystanders) -> usize {
    for name in READY.into_iter().chain(SILENT).chain(["joins", "changes", "stops"]) {
        let is_well = |node: &Seen| ["", "InstanceFound"].contains(&node.known().1);
        world.node_until(name, "nothing is said any more", HEALS, is_well).await;
    }
    for (name, taints) in &before.taints {
        assert_eq!(world.node(name).await.taints, *taints, "{name}");
    }
    let stopped = world.node("stops").await.taints;
    assert_eq!(stopped.iter().filter(|key| *key == SHUTDOWN).count(), 1, "{stopped:?}");
    assert!(stopped.contains(&THEIRS.to_owned()), "{stopped:?}");
    assert_eq!(writes_to_ready(world).await, before.writes, "writes to live nodes");
    let deletions = world.traffic().await.node_deletions();
    let of_the_dead = deletions.of_node(Activity::Deletion.name()).len();
    assert_eq!(deletions.len(), of_the_dead, "{deletions}");

    before.services.settled(world).await;
    routes::settled(world, &before.routes).await;
    before.volumes.settled(world).await;
    let uids = world.uids().await;
    let deleted = before.uids.iter().filter(|(name, uid)| uids.get(*name) != Some(*uid));
    let deleted: Vec<_> = deleted.collect();
    assert!(deleted.is_empty(), "live nodes were deleted: {deleted:?}");
    deleted.len()
}

/// The page of the book.
fn page(rows: &[Row]) -> String {
    let mut page = String::from(
        "\
# Fault matrix

<!-- Generated by `CCM_BLESS=1 cargo test -p ccm-e2e --test scenarios matrix`. -->

What was seen when the binary ran against a real control plane and a simulated cloud that fails, one
fault after the other. During each fault a node joins (initialisation), a machine gets another type
and address (refresh), one is stopped and one is terminated, and the nodes of both stop being ready
(shutdown, deletion). A Service is made, another gets a port in place of its own, and a third is deleted.
A node gets its pod range, and another one that has a route is deleted. A PersistentVolume is made by hand. Beside
them are six nodes whose machines run: three that are ready and have routes, and three that are not; a Service
whose load balancer is as it should be; and two volumes, one that says where it is, and one of another driver.

Each fault stands for at least 12 seconds, and until what goes on in spite of it is done. *Went on*: it
was done while the fault stood. *Waited*: it was not, and the reason is what the condition
`InstanceKnown` of the node said, `ccm.rs/LoadBalancerReady` of the Service, `NetworkUnavailable` of a node
without its route, or an event about the volume. *By chance*: the fault strikes or misses it, both are right. *Healed*: it was done within a minute after the end of the fault, by
itself. In no row was a ready live node written to, or a taint of anybody else changed; in none did the
load balancer of a Service that stays lose anything, or a node that stays its route, and nothing was left of those
that were deleted; and nothing was written to the volumes beside.

| Fault | Node: initialisation | Node: refresh | Node: shutdown | Node: deletion | Service: creation | Service: change | Service: deletion | Route: creation | Route: deletion | Volume: labels | Live nodes deleted |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
",
    );
    for Row { fault, cells, live_nodes_deleted } in rows {
        let cells = cells.iter().map(|cell| match &**cell {
            "went on" => cell.clone(),
            // Else it would be no row.
            waited => format!("{waited}; healed"),
        });
        let cells: Vec<_> = cells.collect();
        writeln!(page, "| {} | {} | {live_nodes_deleted} |", fault.name, cells.join(" | "))
            .unwrap();
    }
    page.push_str(
        "
What becomes of a node that is to get its [pod ranges](../explanation/pod-ranges.md) during a fault, of which the
condition `NetworkUnavailable` says why it has none; the ranges of a node that has some stay as they are. No
range was given twice.

| Fault | Out of the cluster's ranges | From the cloud |
| --- | --- | --- |
",
    );
    for Row { fault, .. } in rows {
        let cell = |source| match expected(ranges::expected(source, fault.script)) {
            went_on if went_on == "went on" => went_on,
            waited => format!("{waited}; healed"),
        };
        let cells = [ranges::Source::Cluster, ranges::Source::Cloud].map(cell);
        writeln!(page, "| {} | {} |", fault.name, cells.join(" | ")).unwrap();
    }
    page.push_str("\nHow each fault is made:\n\n");
    for Row { fault, .. } in rows {
        writeln!(page, "- **{}**: {}", fault.name, fault.how).unwrap();
    }
    page
}

/// Writes the page, or fails if it is another one.
fn keep(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, kept, "{} is not what was seen; CCM_BLESS=1 writes it anew", path.display());
}
