//! What becomes of a node that is to get its pod ranges during a fault, out of the cluster's ranges and
//! from the cloud.

use std::panic::AssertUnwindSafe;

use ccm_e2e::{SOON, Seen, Setup, Signal, World, run};
use ccm_envtest::kubelet::Kubelet;
use futures::{FutureExt, StreamExt, stream};
use simcloud::api::{CreateInstance, FaultKind};
use tokio::time::{Instant, sleep_until};

use super::{
    Chance, During, FAULTS, Fault, GoesOn, HEALS, IN_SPITE, STANDS, Says, Script, TOGETHER, Waits,
    kill_often, slow_etcd,
};

/// Where ranges come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Cluster,
    Cloud,
}

/// A node that has its ranges, and one that gets them while the fault stands.
const HAS: &str = "has";
const GETS: &str = "gets";

const ZONE: &str = "topology.kubernetes.io/zone";
const NOT_AVAILABLE: &str = "CIDRNotAvailable";

/// What is expected.
pub(super) fn expected(source: Source, script: Script) -> During {
    match (script, source) {
        (Script::RestartApiServer | Script::KillProcess, _)
        // Half of the machines are missing: this one or the other.
        | (Script::Answers(FaultKind::CutPage { .. }), Source::Cloud) => Chance,
        (Script::SlowEtcd | Script::SomeAnswers(_), _) | (_, Source::Cluster) => GoesOn,
        (Script::Revoke | Script::Answers(_), Source::Cloud) => Says(NOT_AVAILABLE),
    }
}

#[test]
fn in_every_fault_pod_ranges_come_or_it_is_said_why_not() {
    run(async {
        let wanted = std::env::var("CCM_FAULTS").unwrap_or_default();
        let faults = FAULTS.iter().filter(|fault| fault.name.contains(&wanted));
        let rows = faults.flat_map(|fault| [(fault, Source::Cluster), (fault, Source::Cloud)]);
        let failed: Vec<_> = stream::iter(rows)
            .map(async |(fault, source)| {
                let end = AssertUnwindSafe(row(fault, source)).catch_unwind().await;
                end.err().map(|_| (fault.name, source))
            })
            .buffer_unordered(TOGETHER)
            .filter_map(async |failed| failed)
            .collect()
            .await;
        assert!(failed.is_empty(), "failed: {failed:?}");
    });
}

fn setup(source: Source) -> Setup {
    let setup = Setup::new().refresh(2).without_election().flag("--allocate-node-cidrs");
    let setup = setup.flag("--configure-cloud-routes=false");
    match source {
        Source::Cluster => setup.flag("--cluster-cidr=10.244.0.0/16,fd00:10::/48"),
        Source::Cloud => setup.flag("--cidr-allocator-type=CloudAllocator"),
    }
}

/// A node that no other controller has anything to do for. `number`: of the range that the cloud gives.
async fn join(world: &World, name: &str, number: u8) {
    let wanted = CreateInstance {
        pod_cidrs: vec![format!("10.1.{number}.0/24").parse().unwrap()],
        ..CreateInstance::named(name)
    };
    let machine = world.cloud.create_instance(&wanted).await.unwrap();
    let id = format!("sim://{}", machine.id);
    world.register(Kubelet::new(name).provider_id(id).initialized()).await;
}

/// Whether the node has its ranges, and says of its network what is to be said then.
fn is_done(source: Source, node: &Seen) -> bool {
    let (status, reason) = node.network();
    match source {
        Source::Cluster => node.pod_cidrs.len() == 2 && status != "True",
        Source::Cloud => node.pod_cidrs.len() == 1 && (status, reason) == ("False", "RouteCreated"),
    }
}

async fn row(fault: &Fault, source: Source) {
    let mut world = World::start().await;
    let setup = setup(source);
    let mut ccm = world.ccm(&setup);
    join(&world, HAS, 0).await;
    let what = format!("{} {source:?}", fault.name);
    // The labels are the last that the node controller writes.
    let is_settled = |node: &Seen| is_done(source, node) && !node.label(ZONE).is_empty();
    let before = world.node_until(HAS, &what, SOON, is_settled).await.pod_cidrs;
    let writes = world.traffic().await.node_writes().of_node(HAS).len();

    let begun = Instant::now();
    match fault.script {
        Script::Revoke => world.cloud.revoke_token("default").await.map(drop).unwrap(),
        Script::Answers(kind) => world.cloud.break_down_all(kind).await,
        Script::SomeAnswers(kind) => world.cloud.break_down_some(kind, 0.5).await,
        Script::RestartApiServer | Script::SlowEtcd | Script::KillProcess => {}
    }
    match fault.script {
        Script::Revoke | Script::Answers(_) | Script::SomeAnswers(_) => {
            join(&world, GETS, 1).await;
            watch(&world, fault, source, begun).await;
            world.cloud.clear_faults().await.unwrap();
            world.cloud.restore_token("default").await.unwrap();
        }
        Script::RestartApiServer => {
            // As it falls: written, about to be, or not thought of.
            join(&world, GETS, 1).await;
            world.control_plane().kill_apiserver().unwrap();
            world.control_plane().start_apiserver().await.unwrap();
        }
        Script::SlowEtcd => {
            tokio::select! {
                () = async {
                    join(&world, GETS, 1).await;
                    watch(&world, fault, source, begun).await;
                } => {}
                never = slow_etcd(&world) => match never {},
            }
            world.signal_etcd(Signal::CONT);
        }
        Script::KillProcess => {
            let kills = kill_often(&world, &setup, &mut ccm);
            futures::join!(join(&world, GETS, 1), kills);
        }
    }
    let gets = world.node_until(GETS, &what, HEALS, |node| is_done(source, node)).await.pod_cidrs;
    assert!(!gets.iter().any(|range| before.contains(range)), "{what}: {gets:?} twice");
    assert_eq!(world.node(HAS).await.pod_cidrs, before, "{what}");
    let after = world.traffic().await.node_writes().of_node(HAS);
    assert_eq!(after.len(), writes, "{what}: {after}");
    ccm.expect_running();
}

/// Lets the fault stand, and fails if what comes of it is not as expected.
async fn watch(world: &World, fault: &Fault, source: Source, begun: Instant) {
    let what = format!("{} {source:?}", fault.name);
    match expected(source, fault.script) {
        GoesOn => {
            world.node_until(GETS, &what, IN_SPITE, |node| is_done(source, node)).await;
        }
        Says(reason) => {
            let says = |node: &Seen| node.network() == ("True", reason);
            world.node_until(GETS, &what, IN_SPITE, says).await;
            sleep_until(begun + STANDS).await;
            let node = world.node(GETS).await;
            assert!(node.pod_cidrs.is_empty() && says(&node), "{what}: {node:?}");
        }
        Waits | Chance => sleep_until(begun + STANDS).await,
    }
}
