//! The chapters about pod ranges and the routes to them.

use std::time::{Duration, Instant};

use simcloud::api::{Instance, ListPieces, OWNER_TAG, Route};
use simcloud::console::{Console, ConsoleError};

use super::super::picture::Picture;
use super::super::stage::{Stage, is_initialized};
use super::{SOON, Teller, machine};
use crate::Error;
use crate::out::took;

/// Routes are looked at every ten seconds in the demo.
const LOOKED_AT: Duration = Duration::from_secs(30);

/// Tells the chapters about pod ranges and routes.
pub(super) async fn tell(
    stage: &mut Stage,
    teller: Teller,
    machines: &mut Vec<Instance>,
) -> Result<(), Error> {
    machines.push(routed(stage, teller).await?);
    let last = machines.last().ok_or("there is no machine")?.clone();
    by_hand(stage, teller, &last).await
}

/// The routes of a node, in the order of their destinations.
async fn routes(stage: &Stage, node: &str) -> Result<Vec<Route>, Error> {
    let uid = stage.uid(node).await?;
    let mut routes = of(&stage.console, &uid).await?;
    routes.sort_by_key(|route| route.destination);
    Ok(routes)
}

async fn of(console: &Console, uid: &str) -> Result<Vec<Route>, ConsoleError> {
    console.all_pieces(ListPieces::tagged([(OWNER_TAG.to_owned(), uid.to_owned())].into())).await
}

async fn routed(stage: &mut Stage, teller: Teller) -> Result<Instance, Error> {
    let text = "\
        Every node has been given ranges for its pods, one of each family, and the cloud sends packets \
        for them to its machine. A new node says NetworkUnavailable in the same write that brings its \
        addresses, so that no pod comes before the routes.";
    teller.chapter("15. A node gets pod ranges, and the routes to them", text).await;
    let machine = stage.console.create_instance(&machine(7)).await?;
    let since = Instant::now();
    stage.boot(&machine).await?;
    let done = |picture: &Picture| {
        let all = picture.nodes.values();
        is_initialized(picture, &machine)
            && all.clone().all(|node| node.is_reachable() && node.pod_cidrs.len() == 2)
    };
    stage.expect("all nodes have their ranges and can be reached", SOON, done).await?;
    let took = took(since.elapsed());
    let mut ranges: Vec<_> =
        stage.picture().nodes.values().flat_map(|node| node.pod_cidrs.clone()).collect();
    let count = ranges.len();
    ranges.sort_unstable();
    ranges.dedup();
    if ranges.len() != count {
        return Err("two nodes have one range".into());
    }
    let routes = routes(stage, &machine.name).await?;
    let leads = |route: &&Route| route.target == machine.id && !route.blackhole;
    if routes.iter().filter(leads).count() != 2 {
        return Err(format!("the cloud has {routes:?}").into());
    }
    let of: Vec<_> = routes.iter().map(|route| route.destination.to_string()).collect();
    let name = &machine.name;
    teller.out.ok(format_args!(
        "pods in {} are reached at {name}, {took} after it joined",
        of.join(" and ")
    ));
    Ok(machine)
}

async fn by_hand(stage: &mut Stage, teller: Teller, machine: &Instance) -> Result<(), Error> {
    let text = "\
        One of its two routes is deleted in the cloud. Every route is looked at now and then (here every ten \
        seconds, by default once an hour): what differs is put right, and an event on the Node says what.";
    teller.chapter("16. Somebody deletes a route by hand", text).await;
    let mut routes = routes(stage, &machine.name).await?;
    let lost = routes.pop().ok_or("there is no route")?;
    stage.console.remove_by_hand(&lost.id).await?;
    let since = Instant::now();
    let uid = stage.uid(&machine.name).await?;
    let there = async |console: &Console| Ok(of(console, &uid).await?.len() == 2);
    stage.expect_in_cloud("both routes are there again", LOOKED_AT, there).await?;
    let took = took(since.elapsed());
    let said = |picture: &Picture| {
        let about = ("Node".to_owned(), machine.name.clone());
        picture.events.iter().any(|said| said.about == about && said.reason == "RouteDrifted")
    };
    stage.expect("an event on the Node says so", SOON, said).await?;
    teller.out.ok(format_args!("the route to {} is there again, after {took}", lost.destination));
    Ok(())
}
