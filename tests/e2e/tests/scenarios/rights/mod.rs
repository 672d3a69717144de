//! Rights: what is granted is what is used; what is lacking is said once; what others grant suffices.

mod chart;
mod lacking;
mod manifest;
mod used;

use ccm_e2e::{SOON, World, wait_until};

/// Waits until the volume was refused, with the word of that.
async fn volume_is_refused(world: &World, name: &str) {
    let id = world.cloud.volume_in(&["sim-1a"]).await;
    world.make_volume(&ccm_e2e::WantedVolume::csi(name, &id)).await;
    let events = world.volume_events_with(name, "VolumeNotUpdated").await;
    let refused = events.iter().find(|event| event.0 == "VolumeNotUpdated").unwrap();
    assert!(refused.1.contains(r#"cannot patch resource "persistentvolumes""#), "{refused:?}");
    assert_eq!(refused.2, 1, "told once");
    assert!(world.volume(name).await.is_untouched());
}

/// Lets a node's machine be terminated, and waits until the node is gone.
async fn dies(world: &World, name: &str) {
    world.cloud.terminate(name).await;
    world.silence(name).await;
    world.gone(name, SOON * 3).await;
}

/// Waits until a Service that is made now has its load balancer with this node, then takes it away.
async fn is_served_from(world: &World, name: &str, node: &str) {
    let seen = world.served(&ccm_e2e::Wanted::named(name)).await;
    wait_until(&format!("{node} among the targets"), SOON, async || {
        let targets = world.cloud.targets_of(&seen.uid).await;
        if targets.contains(node) { Ok(()) } else { Err(targets) }
    })
    .await;
    world.remove_service(name).await;
}
