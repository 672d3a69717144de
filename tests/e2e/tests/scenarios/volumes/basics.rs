//! Which volumes say where they are, and in which words.

use ccm_core::cluster::keys;
use ccm_e2e::{SOON, SeenVolume, Setup, WantedVolume, World, run};
use serde_json::json;

#[test]
fn static_volumes_of_the_driver_say_where_they_are() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&Setup::new().serving());
        let one = world.cloud.volume_in(&["sim-1b"]).await;
        let several = world.cloud.volume_in(&["sim-1c", "sim-1a"]).await;
        let none = world.cloud.volume_in(&[]).await;
        world.make_volume(&WantedVolume::csi("one", &one)).await;
        world.make_volume(&WantedVolume::csi("several", &several).label("team", "a")).await;
        world.make_volume(&WantedVolume::csi("none", &none)).await;

        let seen = world.placed("one").await;
        assert_eq!(seen.place(), ("sim-1b", "sim-1"));
        let zone = |zones: &str| format!("{} in {zones}", keys::ZONE);
        let region = format!("{} in sim-1", keys::REGION);
        assert_eq!(seen.affinity, [zone("sim-1b"), region.clone()]);
        assert_eq!(world.volume_events("one").await, []);

        let seen = world.placed("several").await;
        assert_eq!(seen.place(), ("sim-1a__sim-1c", "sim-1"));
        assert_eq!(seen.affinity, [zone("sim-1a, sim-1c"), region.clone()]);
        assert_eq!(seen.label("team"), "a");

        let seen = world.placed("none").await;
        assert_eq!((seen.place(), &seen.affinity), (("", "sim-1"), &vec![region]));

        ccm.metric_is("ccm_volume_writes_total{write=\"both\"}", 3.0).await;
        let runs = "running_managed_controllers{name=\"cloud-volume\",manager=\"cloud-controller-manager\"}";
        ccm.metric_is(runs, 1.0).await;
        assert_eq!(ccm.ask("/healthz/cloud-volume-controller").await.status, 200);
        // One write each, and nothing was read that the watch had not shown.
        let traffic = world.traffic().await;
        assert_eq!(traffic.volume_writes().lines(), ["patch persistentvolumes 200"; 3]);
        assert_eq!(traffic.volume_reads().iter().filter(|it| it.verb == "get").count(), 0);
    });
}

#[test]
fn old_in_tree_volumes_of_the_cloud_do_and_those_of_others_do_not() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        let id = world.cloud.volume_in(&["sim-1b"]).await;
        // Its affinity says something else, and cannot be changed.
        let theirs = WantedVolume::in_tree("bound", &id).affinity("example.com/rack", "r1");
        let trusted = WantedVolume::in_tree("trusted", "vol-of-another-account").provisioned();
        let trusted = trusted.label(keys::ZONE_BETA, "z").label(keys::REGION_BETA, "r");
        let gce = json!({"pdName": id});
        world
            .make_volumes([
                WantedVolume::in_tree("legacy", &id),
                WantedVolume::in_tree("made", &id).provisioned(),
                theirs,
                trusted,
                WantedVolume::from_source("gce", "gcePersistentDisk", gce),
                WantedVolume::of_driver("other", "csi.example.com", &id),
                WantedVolume::in_tree("placeholder", "placeholder-for-provisioning"),
            ])
            .await;
        for name in ["legacy", "made"] {
            assert_eq!(world.placed(name).await.place(), ("sim-1b", "sim-1"));
        }
        let is_labelled = |seen: &SeenVolume| seen.place() == ("sim-1b", "sim-1");
        let seen = world.volume_until("bound", "labelled", SOON, is_labelled).await;
        assert_eq!(seen.affinity, ["example.com/rack in r1"]);
        // Its provisioner's word is taken for it.
        let seen = world.placed("trusted").await;
        assert_eq!((seen.place(), seen.label(keys::ZONE_BETA)), (("z", "r"), "z"));
        assert_eq!(world.volume_events("trusted").await, []);

        world.volume_barrier("barrier").await;
        for name in ["gce", "other", "placeholder"] {
            assert!(world.volume(name).await.is_untouched(), "{name}");
        }
        let writes = world.traffic().await.volume_writes();
        assert_eq!(writes.len(), 5, "{writes}");
    });
}

/// Volumes that a provisioner made, with and without an affinity in its own words.
async fn provisioned(world: &World) {
    let id = world.cloud.volume_in(&["sim-1c"]).await;
    let bound = WantedVolume::csi("bound", &id).provisioned();
    let described = WantedVolume::csi("described", &id).affinity("topology.example.com/zone", "c");
    world
        .make_volumes([
            WantedVolume::csi("free", &id).provisioned(),
            bound.affinity("topology.sim.ccm.rs/zone", "sim-1c"),
            described,
            WantedVolume::of_driver("other", "csi.example.com", &id).provisioned(),
        ])
        .await;
}

#[test]
fn what_a_provisioner_made_is_its_own_business() {
    run(async {
        let world = World::start().await;
        provisioned(&world).await;
        let _ccm = world.ccm(&Setup::new());
        world.volume_barrier("barrier").await;
        for name in ["free", "bound", "described", "other"] {
            assert!(world.volume(name).await.is_untouched(), "{name}");
        }
        // The barrier's.
        assert_eq!(world.cloud.looks_at_volumes().await, 1);
        assert_eq!(world.traffic().await.volume_writes().len(), 1);
    });
}

#[test]
fn unless_a_flag_says_otherwise() {
    run(async {
        let world = World::start().await;
        provisioned(&world).await;
        let _ccm = world.ccm(&Setup::new().flag("--label-provisioned-volumes"));
        assert_eq!(world.placed("free").await.place(), ("sim-1c", "sim-1"));
        let is_labelled = |seen: &SeenVolume| seen.place() == ("sim-1c", "sim-1");
        for name in ["bound", "described"] {
            let seen = world.volume_until(name, "labelled", SOON, is_labelled).await;
            assert_eq!(seen.affinity.len(), 1, "{seen:?}");
        }
        assert!(world.volume("other").await.is_untouched());
    });
}

#[test]
fn a_users_word_stays_and_is_told_once() {
    run(async {
        let world = World::start().await;
        let id = world.cloud.volume_in(&["sim-1a"]).await;
        world.make_volume(&WantedVolume::csi("odd", &id).label(keys::ZONE, "elsewhere")).await;
        let mut ccm = world.ccm(&Setup::new().without_election());
        let events = world.volume_events_with("odd", "TopologyMismatch").await;
        assert!(events[0].1.contains("elsewhere") && events[0].1.contains("sim-1a"), "{events:?}");
        let seen = world.volume("odd").await;
        // What nobody disputes is said; what cannot be taken back is not.
        assert_eq!((seen.place(), seen.affinity.len()), (("elsewhere", "sim-1"), 0));

        // Whatever else happens to it is not told again, and nothing is asked again.
        let looks = world.cloud.looks_at_volumes().await;
        world.change_volume("odd", &json!({"metadata": {"labels": {"team": "a"}}})).await;
        world.change_volume("odd", &json!({"metadata": {"labels": {keys::REGION: null}}})).await;
        let has_region = |seen: &SeenVolume| seen.place().1 == "sim-1";
        world.volume_until("odd", "its region again", SOON, has_region).await;
        let events = world.volume_events("odd").await;
        assert_eq!((events.len(), events[0].2), (1, 1), "{events:?}");
        assert_eq!(world.cloud.looks_at_volumes().await, looks);

        // Its owner gives in.
        world.change_volume("odd", &json!({"metadata": {"labels": {keys::ZONE: null}}})).await;
        let seen = world.placed("odd").await;
        assert_eq!((seen.place(), seen.affinity.len()), (("sim-1a", "sim-1"), 2));
        assert_eq!(world.cloud.looks_at_volumes().await, looks);
        ccm.expect_running();
    });
}

#[test]
fn the_clouds_word_overwrites_where_a_flag_says_so() {
    run(async {
        let world = World::start().await;
        let id = world.cloud.volume_in(&["sim-1a"]).await;
        let odd = WantedVolume::csi("odd", &id).label(keys::ZONE, "elsewhere");
        world.make_volume(&odd.label(keys::ZONE_BETA, "elsewhere")).await;
        let _ccm = world.ccm(&Setup::new().flag("--overwrite-volume-labels"));
        let seen = world.placed("odd").await;
        assert_eq!((seen.place(), seen.label(keys::ZONE_BETA)), (("sim-1a", "sim-1"), "sim-1a"));
        assert_eq!(seen.affinity.len(), 2, "{seen:?}");
        assert_eq!(world.volume_events("odd").await, []);
    });
}
