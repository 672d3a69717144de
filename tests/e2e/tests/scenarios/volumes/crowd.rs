//! Many volumes are few questions and one write each.

use std::time::Duration;

use ccm_e2e::{SeenVolume, Setup, WantedVolume, World, run, wait_until};
use kube::api::ListParams;
use tokio::time::Instant;

const MANY: usize = 200;

async fn all_placed(world: &World) {
    wait_until("all volumes say where they are", Duration::from_mins(1), async || {
        let volumes = world.volumes().list(&ListParams::default()).await.unwrap();
        let placed = volumes.iter().filter(|it| SeenVolume::from(*it).is_placed()).count();
        if placed == volumes.items.len() { Ok(()) } else { Err(placed) }
    })
    .await;
}

#[test]
fn volumes_that_were_there_before_are_two_questions_and_those_that_come_are_few() {
    run(async {
        let world = World::start().await;
        world.cloud.without_limits().await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(world.cloud.volume_in(&["sim-1a"]).await);
        }
        // The cloud is asked about each volume, however many objects name it.
        let wanted =
            |from: &str, n: usize| WantedVolume::csi(&format!("{from}-{n}"), &ids[n % ids.len()]);
        world.make_volumes((0..MANY).map(|n| wanted("old", n))).await;
        let _ccm = world.ccm(&Setup::new());
        let begun = Instant::now();
        all_placed(&world).await;
        let looks = world.cloud.looks_at_volumes().await;
        println!("{MANY} at the start: {looks} questions, done after {:.1?}", begun.elapsed());
        assert_eq!(looks, 2);

        let begun = Instant::now();
        world.make_volumes((0..MANY).map(|n| wanted("new", n))).await;
        all_placed(&world).await;
        let more = world.cloud.looks_at_volumes().await - looks;
        println!("{MANY} that come: {more} questions, done after {:.1?}", begun.elapsed());
        // As few as are made at a time come together, or fewer where we are slow.
        assert!(more <= MANY / 2, "{more}");
        let writes = world.traffic().await.volume_writes();
        assert_eq!((writes.len(), writes.answered(200).len()), (2 * MANY, 2 * MANY));
    });
}

#[test]
fn a_cluster_in_which_all_is_said_is_not_asked_about() {
    run(async {
        let world = World::start().await;
        let ccm = world.ccm(&Setup::new());
        for n in 0..3 {
            world.volume_barrier(&format!("p{n}")).await;
        }
        drop(ccm);
        let (looks, writes) =
            (world.cloud.looks_at_volumes().await, world.traffic().await.volume_writes().len());
        let _ccm = world.ccm(&Setup::new());
        world.volume_barrier("barrier").await;
        assert_eq!(world.cloud.looks_at_volumes().await, looks + 1);
        assert_eq!(world.traffic().await.volume_writes().len(), writes + 1);
    });
}
