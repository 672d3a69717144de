//! What happens to routes during a fault.

use ccm_e2e::{Pods, SOON, Seen, World, wait_until};
use ccm_envtest::kubelet::Kubelet;
use serde_json::json;

use super::{Activity, READY};

/// The number of the range that a node gets while the fault stands, and of one that has its route.
const GIVEN: u16 = 7;
const TAKEN: u16 = 8;

/// The IPv4 range alone: one route a node.
fn range(number: u16) -> String {
    let [v4, _] = Pods::of(number);
    v4
}

/// Which nodes have pod ranges from the start.
pub(super) fn with_ranges(name: &str, kubelet: Kubelet) -> Kubelet {
    let number = READY.iter().zip(0..).find(|(ready, _)| **ready == name).map(|(_, at)| at);
    let number = number.or((name == Activity::RouteDeletion.name()).then_some(TAKEN));
    match number {
        Some(number) => kubelet.pod_cidrs(&[&range(number)]),
        None => kubelet,
    }
}

/// Nodes that can be reached.
pub(super) async fn set_the_stage(world: &World) {
    for name in READY.into_iter().chain([Activity::RouteDeletion.name()]) {
        world.reachable(name).await;
    }
}

/// What others do.
pub(super) async fn change(world: &World) {
    let given = range(GIVEN);
    let patch = json!({"spec": {"podCIDR": given, "podCIDRs": [given]}});
    world.patch(Activity::RouteCreation.name(), &patch).await;
    world.remove(Activity::RouteDeletion.name()).await;
}

/// Whether there is a route to this range.
async fn has_route(world: &World, number: u16) -> bool {
    let range = range(number);
    world.cloud.all_routes().await.iter().any(|route| route.destination.to_string() == range)
}

/// Whether an activity is done, or what its node looks like.
pub(super) async fn done(world: &World, activity: Activity) -> Result<(), String> {
    let node = world.nodes().get_opt(activity.name()).await.map_err(|err| err.to_string())?;
    let seen = node.as_ref().map(Seen::from);
    let is_done = match activity {
        Activity::RouteCreation => {
            seen.as_ref().is_some_and(Seen::is_reachable) && has_route(world, GIVEN).await
        }
        _ => seen.is_none() && !has_route(world, TAKEN).await,
    };
    if is_done { Ok(()) } else { Err(format!("{seen:?}")) }
}

/// What has come of an activity so far.
pub(super) async fn seen(world: &World, activity: Activity) -> String {
    if done(world, activity).await.is_ok() {
        return "went on".to_owned();
    }
    let node = world.nodes().get_opt(activity.name()).await.unwrap();
    match node.as_ref().map(Seen::from) {
        Some(waits) if waits.network().0 == "True" => {
            format!("waited, said `{}`", waits.network().1)
        }
        _ => "waited".to_owned(),
    }
}

/// Fails if anything has happened to the routes of others, or is left of those that go.
pub(super) async fn settled(world: &World, before: &[String]) {
    let (gone, come) = (range(TAKEN), range(GIVEN));
    let mut wanted: Vec<_> = before.iter().filter(|line| !line.contains(&gone)).cloned().collect();
    wait_until("the routes of those that stay, and one more", SOON, async || {
        let mut found = world.cloud.route_lines().await;
        let new = found.iter().position(|line| line.contains(&come)).map(|at| found.remove(at));
        wanted.sort_unstable();
        if new.is_some() && found == wanted { Ok(()) } else { Err((new, found)) }
    })
    .await;
}
