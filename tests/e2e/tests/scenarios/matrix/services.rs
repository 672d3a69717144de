//! What happens to Services during a fault.

use ccm_e2e::{SOON, SeenService, Wanted, World, wait_until};

use super::{Activity, HEALS};

/// A Service to which nothing happens.
const STAYS: &str = "stays";

/// Pieces of a Service with one port, and its rule.
const PIECES: usize = 5;

/// How the Service beside the action was before.
pub(super) struct Bystander {
    uid: String,
    seen: SeenService,
    lines: Vec<String>,
}

/// Lines without targets: nodes join and go.
async fn lines(world: &World, uid: &str) -> Vec<String> {
    let mut lines = world.cloud.lines_of(uid).await;
    for line in &mut lines {
        if let (Some(from), Some(to)) = (line.find(" targets ["), line.find(']')) {
            line.replace_range(from..=to, "");
        }
    }
    lines
}

/// Services that are served, and one beside them.
pub(super) async fn set_the_stage(world: &World) -> Bystander {
    let names = [STAYS, Activity::ServiceChange.name(), Activity::ServiceDeletion.name()];
    for (name, port) in names.into_iter().zip(80..) {
        world.served(&Wanted::named(name).ports(&[port])).await;
    }
    let seen = world.service(STAYS).await;
    Bystander { uid: seen.uid.clone(), lines: lines(world, &seen.uid).await, seen }
}

/// What their owners do.
pub(super) async fn change(world: &World) {
    world.serve(&Wanted::named(Activity::ServiceCreation.name())).await;
    world.change_ports(Activity::ServiceChange.name(), &[8443]).await;
    world.end_service(Activity::ServiceDeletion.name()).await;
}

/// Whether an activity is done, or what its Service looks like.
pub(super) async fn done(world: &World, activity: Activity) -> Result<(), String> {
    let name = activity.name();
    let service = world.services().get_opt(name).await.map_err(|err| err.to_string())?;
    let seen = service.as_ref().map(SeenService::from);
    let Some(seen) = seen else {
        let all = world.cloud.lines().await;
        let left: Vec<_> =
            all.into_iter().filter(|line| line.contains(&format!("/{name}\""))).collect();
        let is_done = activity == Activity::ServiceDeletion && left.is_empty();
        return if is_done { Ok(()) } else { Err(format!("{left:?}")) };
    };
    let lines = world.cloud.lines_of(&seen.uid).await;
    let port = if activity == Activity::ServiceChange { "tcp/8443 " } else { "tcp/80 " };
    let at_port = lines.iter().filter(|line| line.contains(port)).count();
    // A listener and a rule.
    let is_whole = lines.len() == PIECES && at_port == 2;
    let is_done = activity != Activity::ServiceDeletion && seen.is_ready() && is_whole;
    if is_done { Ok(()) } else { Err(format!("{seen:?} {lines:?}")) }
}

/// What has come of an activity so far.
pub(super) async fn seen(world: &World, activity: Activity) -> String {
    if done(world, activity).await.is_ok() {
        return "went on".to_owned();
    }
    let service = world.services().get_opt(activity.name()).await.unwrap();
    match service.as_ref().map(SeenService::from) {
        Some(waits) if waits.ready.is_some() => format!("waited, said `{}`", waits.ready().1),
        _ => "waited".to_owned(),
    }
}

impl Bystander {
    /// Fails if anything has happened to it, or anything is left of what is not asked for.
    pub(super) async fn settled(&self, world: &World) {
        world.services_until("ready in the end", HEALS, SeenService::is_ready).await;
        let seen = world.service(STAYS).await;
        assert_eq!((&seen.uid, &seen.ingress), (&self.uid, &self.seen.ingress));
        assert_eq!(lines(world, &self.uid).await, self.lines);
        wait_until("what three Services need and no more", SOON, async || {
            let mut all = world.cloud.lines().await;
            all.retain(|line| !line.starts_with("route "));
            if all.len() == 3 * PIECES + 1 { Ok(()) } else { Err(all) }
        })
        .await;
    }
}
