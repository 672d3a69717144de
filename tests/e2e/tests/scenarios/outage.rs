//! The API server goes and comes.

use std::time::Duration;

use ccm_e2e::{Asker, Options, SOON, Setup, Signal, World, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use kube::api::DeleteParams;
use tokio::time::{Instant, sleep_until};

use crate::lease::replicas;

/// An API server takes 5 s to come back, on a busy machine a few times that: the lease must outlive
/// it.
fn patient() -> Setup {
    Setup::new()
        .flag("--leader-elect-lease-duration=120s")
        .flag("--leader-elect-renew-deadline=100s")
}

#[test]
fn after_an_outage_of_the_api_server_it_goes_on() {
    run(async {
        let mut world = World::start().await;
        let mut ccm = world.ccm(&patient());
        world.barrier("n1").await;
        world.cloud.instance_named("n2").await;
        world.control_plane().stop_apiserver().await.unwrap();
        ccm.expect_running();
        world.control_plane().start_apiserver().await.unwrap();

        let begun = Instant::now();
        world.barrier("n3").await;
        println!("first node after the API server's return: {:.1?}", begun.elapsed());
        ccm.expect_running();
    });
}

/// When something answers on this port, whatever it says.
async fn first_answer(port: u16) -> Instant {
    let asker = Asker::new(port);
    wait_until("the API server's first word", SOON * 3, async || asker.get("/version").await).await;
    Instant::now()
}

#[test]
fn after_a_minute_without_an_api_server_a_leader_works_within_five_seconds() {
    /// The defaults.
    const RENEW_DEADLINE: Duration = Duration::from_secs(10);
    const RETRY: Duration = Duration::from_secs(2);
    const OUTAGE: Duration = Duration::from_mins(1);
    const BACK_AT_WORK: Duration = Duration::from_secs(5);

    run(async {
        let mut world = World::start_with(Options { alone: true, ..Options::default() }).await;
        // The standby has seen the lease: who has not, waits for as long as it lasts once more.
        let (mut first, mut second, leader) = replicas(&world, &Setup::new()).await;
        world.barrier("n1").await;

        world.control_plane().kill_apiserver().unwrap();
        let gone = Instant::now();
        let status = first.end(RENEW_DEADLINE + RETRY + Duration::from_secs(1)).await;
        println!("API server gone to the leader's end: {:.1?}", gone.elapsed());
        assert_eq!(status.code(), Some(1), "{status}");
        assert!(first.log().contains("leader election lost"), "{}", first.log());
        // As a kubelet would.
        let mut again = world.ccm(&Setup::new());
        world.cloud.instance_named("n2").await;
        sleep_until(gone + OUTAGE).await;
        again.expect_running();
        second.expect_running();

        let port = world.control_plane().server_url().rsplit(':').next().unwrap().parse().unwrap();
        let (first_word, ()) = futures::join!(first_answer(port), async {
            world.control_plane().start_apiserver().await.unwrap();
        });
        // From when it is ready; it answers some requests before.
        let back = Instant::now();
        println!("API server's first word to its being ready: {:.1?}", back - first_word);
        world.register(Kubelet::new("n2")).await;
        world.holder_other_than(&leader, SOON).await;
        let led = back.elapsed();
        world.initialized("n2").await;
        let worked = back.elapsed();
        println!(
            "API server back to a leader: {led:.1?}, to a new node's end of waiting: {worked:.1?}"
        );
        assert!(worked < BACK_AT_WORK, "{worked:?}\n{}\n{}", second.log(), again.log());
        again.expect_running();
        second.expect_running();
    });
}

#[test]
fn a_node_that_was_deleted_while_nobody_watched_is_forgotten() {
    run(async {
        let mut world = World::start().await;
        let ccm = world.ccm(&Setup::new().refresh(1).without_election());
        for name in ["n1", "n2", "n3"] {
            world.barrier(name).await;
        }
        // Its watch ends while it sleeps, and the new API server knows nothing of what was before.
        ccm.signal(Signal::STOP);
        world.control_plane().stop_apiserver().await.unwrap();
        world.control_plane().start_apiserver().await.unwrap();
        world.nodes().delete("n2", &DeleteParams::default()).await.unwrap();
        ccm.signal(Signal::CONT);

        let asked = wait_until("a look at two nodes", SOON * 2, async || {
            let calls = world.cloud.calls_of_ccm().await;
            let asked = calls.last().map_or(0, |call| call.instances);
            if asked == 2 { Ok(asked) } else { Err(asked) }
        })
        .await;
        assert_eq!(asked, 2);
        world.barrier("n4").await;
    });
}
