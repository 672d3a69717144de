//! `plan` says which volumes would say where they are, and changes none.

use ccm_core::cluster::keys;
use ccm_e2e::{Account, Setup, WantedVolume, World, run};
use serde_json::{Value, json};

fn of<'a>(plan: &'a Value, name: &str) -> Option<&'a Value> {
    plan["cluster"].as_array().unwrap().iter().find(|it| it["name"] == name)
}

#[test]
fn a_plan_says_what_is_then_done_and_does_nothing() {
    run(async {
        let world = World::start().await;
        let id = world.cloud.volume_in(&["sim-1b", "sim-1a"]).await;
        let gone = world.cloud.volume_in(&["sim-1a"]).await;
        world.cloud.delete_volume(&gone).await;
        world
            .make_volumes([
                WantedVolume::csi("bare", &id),
                WantedVolume::csi("odd", &id).label(keys::ZONE, "elsewhere"),
                WantedVolume::csi("made", &id).provisioned(),
                WantedVolume::csi("gone", &gone),
            ])
            .await;
        let reader = Setup::new().account(Account::Reading);
        let (code, plan) = world.plan(&reader).await;
        assert_eq!(code, 2, "{plan:#}");
        let add = |text: &str| json!({"action": "create", "text": text});
        assert_eq!(
            of(&plan, "PersistentVolume bare").unwrap()["changes"],
            json!([
                add("label topology.kubernetes.io/region: sim-1"),
                add("label topology.kubernetes.io/zone: sim-1a__sim-1b"),
                add("node affinity: topology.kubernetes.io/zone in sim-1a, sim-1b"),
                add("node affinity: topology.kubernetes.io/region in sim-1"),
            ])
        );
        assert_eq!(
            of(&plan, "PersistentVolume odd").unwrap()["changes"],
            json!([add("label topology.kubernetes.io/region: sim-1")])
        );
        for name in ["made", "gone"] {
            assert!(of(&plan, &format!("PersistentVolume {name}")).is_none(), "{plan:#}");
        }
        assert_eq!(world.traffic_of(Account::Reading).await.mutations().lines(), [""; 0]);
        assert!(world.volume("bare").await.is_untouched());

        let (_, plan) = world.plan(&reader.flag("--overwrite-volume-labels")).await;
        let odd = &of(&plan, "PersistentVolume odd").unwrap()["changes"];
        let change = "label topology.kubernetes.io/zone: sim-1a__sim-1b";
        assert_eq!(odd[1], json!({"action": "update", "text": change}), "{plan:#}");

        // What it said is what is done, and then there is nothing to be said.
        let ccm = world.ccm(&Setup::new());
        world.placed("bare").await;
        world.volume_events_with("odd", "TopologyMismatch").await;
        drop(ccm);
        let (code, plan) = world.plan(&Setup::new().account(Account::Reading)).await;
        assert_eq!(code, 0, "{plan:#}");
    });
}
