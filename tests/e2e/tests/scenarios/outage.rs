//! The API server goes and comes.

use ccm_e2e::{SOON, Setup, Signal, World, run, wait_until};
use kube::api::DeleteParams;
use tokio::time::Instant;

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
