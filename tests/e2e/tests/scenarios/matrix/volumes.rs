//! What happens to volumes during a fault.

use ccm_e2e::{SeenVolume, WantedVolume, World, wait_until};

use super::{Activity, IN_SPITE};

/// Volumes to which nothing happens: ours, and somebody else's.
const STAY: [&str; 2] = ["said", "foreign"];

/// The zone of all of them.
const ZONE: &str = "sim-1a";

/// How the volumes beside the action were before.
pub(super) struct Bystander([SeenVolume; 2]);

/// A volume of which all is said, and one that is none of ours.
pub(super) async fn set_the_stage(world: &World) -> Bystander {
    let [said, foreign] = STAY;
    world.volume_barrier(said).await;
    let theirs = WantedVolume::of_driver(foreign, "csi.example.com", "vol-1");
    world.make_volume(&theirs).await;
    Bystander([world.volume(said).await, world.volume(foreign).await])
}

/// What its owner does.
pub(super) async fn change(world: &World) {
    let id = world.cloud.volume_in(&[ZONE]).await;
    world.make_volume(&WantedVolume::csi(Activity::VolumeLabels.name(), &id)).await;
}

/// Whether an activity is done, or what its volume looks like.
pub(super) async fn done(world: &World, activity: Activity) -> Result<(), String> {
    let volume = world.volumes().get_opt(activity.name()).await.map_err(|err| err.to_string())?;
    let seen = volume.as_ref().map(SeenVolume::from);
    let is_done = seen.as_ref().is_some_and(|seen| seen.is_placed() && seen.place().0 == ZONE);
    if is_done { Ok(()) } else { Err(format!("{seen:?}")) }
}

/// Waits until an event about the volume says why it waits.
pub(super) async fn says(world: &World, name: &str, what: &str, reason: &str) {
    wait_until(what, IN_SPITE, async || {
        let events = world.volume_events(name).await;
        if events.iter().any(|event| event.0 == reason) { Ok(()) } else { Err(events) }
    })
    .await;
}

/// What has come of an activity so far.
pub(super) async fn seen(world: &World, activity: Activity) -> String {
    if done(world, activity).await.is_ok() {
        return "went on".to_owned();
    }
    match &world.volume_events(activity.name()).await[..] {
        [] => "waited".to_owned(),
        [.., (reason, ..)] => format!("waited, said `{reason}`"),
    }
}

impl Bystander {
    /// Fails if anything has been written to them.
    pub(super) async fn settled(&self, world: &World) {
        for (name, before) in STAY.into_iter().zip(&self.0) {
            assert_eq!(world.volume(name).await, *before, "{name}");
            assert!(world.volume_events(name).await.is_empty(), "{name}");
        }
    }
}
