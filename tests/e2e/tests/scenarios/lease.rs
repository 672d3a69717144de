//! Two replicas: who leads, for how long, and who never writes.

use std::time::Duration;

use ccm_e2e::{Account, Ccm, Options, SHORT_LEASE, SOON, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use kube::api::DeleteParams;
use simcloud::api::{FaultKind, Operation};
use tokio::time::{Instant, sleep};

use crate::lifecycle::{live, names, nearly_deleted};

/// A leader and a standby that watches.
pub(crate) async fn replicas(world: &World, setup: &Setup) -> (Ccm, Ccm, String) {
    let first = world.ccm(&setup.clone());
    let leader = world.holder_other_than("", SOON).await;
    let mut second = world.ccm(&setup.clone().account(Account::Second).serving());
    assert_eq!(second.ask("/readyz").await.status, 200, "a standby is ready");
    assert!(!second.leads().await);
    // It has looked at the lease, and watches: completed is only the read before it.
    wait_until("the standby's look at the lease", SOON, async || {
        let lines = world.traffic_of(Account::Second).await.lines();
        if lines.contains(&"get leases 200".to_owned()) { Ok(()) } else { Err(lines) }
    })
    .await;
    (first, second, leader)
}

#[test]
fn a_lease_given_back_is_taken_within_a_second() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        let (mut first, mut second, leader) = replicas(&world, &Setup::new()).await;
        world.barrier("n1").await;

        first.signal(Signal::TERM);
        let begun = Instant::now();
        let next = world.holder_other_than(&leader, SOON).await;
        let took = begun.elapsed();
        println!("SIGTERM to a new leader: {took:.0?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(first.end(SOON).await.success());
        assert!(second.leads().await);

        world.barrier("n2").await;
        let mutations = world.traffic_of(Account::Second).await;
        assert_eq!(mutations.of_node("n2").len(), 2, "the new leader works");
        second.signal(Signal::TERM);
        assert!(second.end(SOON).await.success());
        assert_eq!(world.holder().await, "", "given back by the last one: not {next}");
    });
}

#[test]
fn a_killed_leader_is_replaced_when_its_lease_has_run_out() {
    run(async {
        let world = World::start_with(Options { alone: true, ..Options::default() }).await;
        let (first, _second, leader) = replicas(&world, &Setup::new().short_lease()).await;
        first.signal(Signal::KILL);
        let begun = Instant::now();
        world.holder_other_than(&leader, SOON).await;
        let took = begun.elapsed();
        println!("kill -9 to a new leader: {took:.1?}, with a lease of {SHORT_LEASE:?}");
        assert!(took < SHORT_LEASE + Duration::from_secs(2), "{took:?}");
        world.barrier("n1").await;
        assert_eq!(world.traffic_of(Account::Second).await.of_node("n1").len(), 2);
    });
}

#[test]
fn a_leader_that_was_frozen_past_its_lease_writes_nothing_and_exits() {
    run(async {
        let world = World::start().await;
        let (mut first, mut second, leader) = replicas(&world, &Setup::new().short_lease()).await;
        world.barrier("n0").await;

        // It has asked about these nodes, and finds the answers when it wakes.
        world.cloud.slow_down(Duration::from_secs(1)).await;
        let names: Vec<_> = (1..=20).map(|n| format!("n{n}")).collect();
        world.cloud.instances_named(names.clone()).await;
        let asked = world.cloud.calls_of_ccm().await.len();
        world.register_all(&names).await;
        wait_until("the first's question", SOON, async || {
            let in_flight = world.cloud.calls_in_flight().await;
            if in_flight > 0 { Ok(()) } else { Err(in_flight) }
        })
        .await;
        first.signal(Signal::STOP);
        wait_until("the cloud's answer", SOON, async || {
            let now = world.cloud.calls_of_ccm().await.len();
            if now > asked { Ok(()) } else { Err(now) }
        })
        .await;
        // The other one shall leave these nodes as they are.
        world.cloud.break_down(FaultKind::ServerError { status: 503 }).await;
        world.holder_other_than(&leader, SOON).await;
        assert!(second.leads().await);
        // What was on its way when it was stopped has arrived by now.
        let before = world.traffic().await.mutations();

        first.signal(Signal::CONT);
        let status = first.end(SOON).await;
        assert_eq!(status.code(), Some(1), "{status}");
        let log = first.log();
        assert!(log.contains("leader election lost"), "{log}");
        let after = world.traffic().await.mutations().after(before.len());
        assert!(after.is_empty(), "it wrote after its time:\n{after}");
        assert!(!world.node("n1").await.is_initialized(), "there was work left to be tempted by");

        world.cloud.clear_faults().await.unwrap();
        world.all_initialized(SOON).await;
    });
}

#[test]
fn a_leader_that_was_frozen_past_its_lease_deletes_nothing_that_it_had_decided_to() {
    run(async {
        let world = World::start().await;
        let proxy = world.proxy().await;
        let setup = Setup::new().quick().short_lease();
        let mut first = world.ccm_behind(&proxy, &setup);
        let leader = world.holder_other_than("", SOON).await;
        let _second = world.ccm(&setup.account(Account::Second));
        live(&world, &names(4)).await;
        nearly_deleted(&world, &names(2), Duration::from_secs(4)).await;

        // When it wakes it finds the cloud's last word, and has not heard that the nodes are back.
        first.signal(Signal::STOP);
        proxy.hold_answers();
        for name in names(2) {
            world.set_ready(&name, true).await;
        }
        let uids = world.uids().await;
        wait_until("the cloud's answers", SOON, async || {
            let answers = world.cloud.calls_of(Operation::GetInstance).await.len();
            if answers == 2 { Ok(()) } else { Err(answers) }
        })
        .await;
        world.holder_other_than(&leader, SOON).await;
        let before = world.traffic().await.mutations().len();
        first.signal(Signal::CONT);
        let status = first.end(SOON).await;
        assert_eq!(status.code(), Some(1), "{status}");
        let after = world.traffic().await.mutations().after(before);
        assert!(after.is_empty(), "it wrote after its time:\n{after}");
        world.barrier("later").await;
        for (name, uid) in uids {
            assert_eq!(world.node(&name).await.uid, uid);
        }
    });
}

#[test]
fn a_deletion_that_was_on_the_wire_when_its_leader_died_harms_nobody() {
    run(async {
        let world = World::start().await;
        let proxy = world.proxy().await;
        let setup = Setup::new().quick();
        let mut first = world.ccm_behind(&proxy, &setup);
        let leader = world.holder_other_than("", SOON).await;
        let _second = world.ccm(&setup.account(Account::Second));
        // Many at once, so that there are connections to spare.
        live(&world, &names(10)).await;
        let dying = names(2);
        nearly_deleted(&world, &dying, Duration::from_secs(4)).await;
        proxy.hold_questions();
        wait_until("both deletions begun", SOON, async || {
            let log = first.log();
            let begun = log.lines().filter(|line| line.contains("deleting the Node")).count();
            if begun == 2 { Ok(()) } else { Err(begun) }
        })
        .await;
        // From the log to the wire.
        sleep(Duration::from_secs(1)).await;
        first.signal(Signal::KILL);
        first.end(SOON).await;

        // One is back, and one is another.
        world.set_ready("n0", true).await;
        world.cloud.instance_named("n1").await;
        world.nodes().delete("n1", &DeleteParams::default()).await.unwrap();
        world.register(Kubelet::new("n1")).await;
        world.holder_other_than(&leader, SOON * 2).await;
        world.initialized("n1").await;
        let uids = world.uids().await;
        assert!(world.traffic().await.node_deletions().is_empty(), "held until now");
        proxy.let_go();
        let deletions = wait_until("the late deletions", SOON, async || {
            let deletions = world.traffic().await.node_deletions();
            if deletions.len() == 2 { Ok(deletions) } else { Err(deletions.lines()) }
        })
        .await;
        assert_eq!(deletions.lines(), ["delete nodes 409"; 2]);
        assert_eq!(world.uids().await, uids);
    });
}

#[test]
fn without_an_election_there_is_no_lease() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().without_election());
        world.cloud.instance_named("n1").await;
        world.register(Kubelet::new("n1")).await;
        world.initialized("n1").await;
        assert_eq!(world.holder().await, "");
        let lines = world.traffic().await.lines();
        assert!(!lines.iter().any(|line| line.contains("leases")), "{lines:?}");
        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());
    });
}
