//! Controllers move here from a kube-controller-manager: two leases, one leader of both.

use std::time::Duration;

use ccm_core::cloud::Needs;
use ccm_core::cluster::rights::{self, Wanted};
use ccm_e2e::{
    LEASE, NAMESPACE, Options, SHORT_LEASE, SOON, Setup, Signal, World, run, wait_until,
};
use ccm_envtest::{Grant, ServiceAccountAccess};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::Instant;

const MIGRATION: &str = "cloud-provider-extraction-migration";

/// Somebody with the rights to both leases.
async fn account(world: &World, name: &str) -> ServiceAccountAccess {
    let wanted = Wanted {
        migration: Some(MIGRATION.to_owned()),
        ..Wanted::everything(Needs::default(), LEASE)
    };
    let in_namespace = rights::in_namespace(&wanted);
    let grants = [
        Grant::ClusterRules(rights::in_cluster(&wanted)),
        Grant::RoleRules { namespace: NAMESPACE.to_owned(), rules: in_namespace },
    ];
    world.account_with(name, &grants).await
}

fn setup() -> Setup {
    Setup::new().flag("--enable-leader-migration")
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.admin(), NAMESPACE)
}

/// The old program, as far as it is seen.
async fn old_program(world: &World) {
    let held: Lease = serde_json::from_value(json!({
        "metadata": { "name": MIGRATION },
        "spec": { "holderIdentity": "kube-controller-manager", "leaseDurationSeconds": 3600 },
    }))
    .unwrap();
    leases(world).create(&PostParams::default(), &held).await.unwrap();
}

async fn change(world: &World, patch: Value) {
    leases(world).patch(MIGRATION, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

async fn holder(world: &World) -> String {
    let lease = leases(world).get_opt(MIGRATION).await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

/// Waits until somebody new holds the lease of the migration.
async fn holder_other_than(world: &World, other: &str, bound: Duration) -> String {
    wait_until("a new holder of the migration's lease", bound, async || {
        let holder = holder(world).await;
        if holder.is_empty() || holder == other { Err(holder) } else { Ok(holder) }
    })
    .await
}

async fn forget(world: &World) {
    leases(world).delete(MIGRATION, &DeleteParams::default()).await.unwrap();
}

/// Waits until it is said of the lease.
async fn told(world: &World, lease: &str, what: &str) {
    wait_until(&format!("\"{what}\" about {lease}"), SOON, async || {
        let events = world.events_about("Lease", lease).await;
        if events.iter().any(|event| event.1.ends_with(what)) { Ok(()) } else { Err(events) }
    })
    .await;
}

#[test]
fn nothing_runs_before_the_lease_of_a_migration_is_held() {
    run(async {
        let world = World::start().await;
        let account = account(&world, "migrating").await;
        old_program(&world).await;

        let mut ccm = world.ccm_as(&account, &setup().serving());
        let ours = world.holder_other_than("", SOON).await;
        world.join("n1").await;
        let leads = |lease: &str| format!("leader_election_master_status{{name=\"{lease}\"}}");
        told(&world, LEASE, "became leader").await;
        ccm.metric_is(&leads(LEASE), 1.0).await;
        ccm.metric_is(&leads(MIGRATION), 0.0).await;
        let log = ccm.log();
        assert!(log.contains("waiting for the lease of the migration"), "{log}");
        let node = world.node("n1").await;
        assert!(!node.is_initialized(), "the old program may still run: {node:?}");
        let events = world.events_about("Lease", MIGRATION).await;
        assert!(events.is_empty(), "{events:?}");

        change(&world, json!({ "spec": { "holderIdentity": "" } })).await;
        world.initialized("n1").await;
        assert_eq!(holder(&world).await, ours, "one process holds both, by one name");
        ccm.metric_is(&leads(MIGRATION), 1.0).await;
        told(&world, MIGRATION, "became leader").await;

        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());
        assert_eq!(holder(&world).await, "", "given back");
        told(&world, LEASE, "stopped leading").await;
        told(&world, MIGRATION, "stopped leading").await;
        forget(&world).await;
    });
}

#[test]
fn who_loses_the_lease_of_the_migration_ends() {
    run(async {
        let world = World::start().await;
        let account = account(&world, "losing").await;
        let mut ccm = world.ccm_as(&account, &setup().short_lease());
        let ours = holder_other_than(&world, "", SOON).await;
        world.barrier("n1").await;
        change(&world, json!({ "spec": { "holderIdentity": "kube-controller-manager" } })).await;
        let status = ccm.end(SOON).await;
        assert_eq!(status.code(), Some(1), "{status}");
        let log = ccm.log();
        assert!(log.contains("kube-controller-manager holds the lease"), "{log}");
        told(&world, LEASE, "stopped leading").await;
        assert_eq!(world.holder().await, "", "given back: {ours} may not lead without the other");
        forget(&world).await;
    });
}

#[test]
fn a_killed_leader_of_both_leases_is_replaced_when_they_have_run_out() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        let (one, other) = (account(&world, "killed").await, account(&world, "next").await);
        let setup = setup().short_lease();
        let first = world.ccm_as(&one, &setup);
        let leader = holder_other_than(&world, "", SOON).await;
        let mut second = world.ccm_as(&other, &setup);
        wait_until("the standby's look at both leases", SOON, async || {
            let lines = world.traffic_by(&[other.user()]).await.lines();
            let looks = lines.iter().filter(|line| *line == "get leases 200").count();
            if looks >= 2 { Ok(()) } else { Err(lines) }
        })
        .await;
        first.signal(Signal::KILL);
        let begun = Instant::now();
        let next = holder_other_than(&world, &leader, SOON).await;
        let took = begun.elapsed();
        println!("kill -9 to a new leader of both: {took:.1?}, with leases of {SHORT_LEASE:?}");
        assert!(took < SHORT_LEASE + Duration::from_secs(2), "{took:?}");
        assert_eq!(world.holder().await, next);
        world.barrier("n1").await;
        second.signal(Signal::TERM);
        assert!(second.end(SOON).await.success());
        forget(&world).await;
    });
}
