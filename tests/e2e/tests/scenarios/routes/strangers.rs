//! What is not ours is never touched, and is in the way of one node at most.

use std::time::Duration;

use ccm_e2e::{Pods, SOON, Signal, World, run, wait_until};
use simcloud::api::{CLUSTER_TAG, ChangeRoute, CreateRoute, InstanceId, OWNER_TAG, Route};
use tokio::time::sleep;

use super::setup;

/// A tenth more than the drift interval, and some passes.
const REPAIRS: Duration = Duration::from_secs(31);

async fn route(
    world: &World,
    name: &str,
    destination: &str,
    target: &InstanceId,
    tags: &[(&str, &str)],
) -> Route {
    let route = CreateRoute::named(name, destination.parse().unwrap(), target.clone());
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    world.cloud.create_piece(&CreateRoute { tags, ..route }).await.unwrap()
}

#[test]
fn routes_of_others_stay_whatever_they_lead_to() {
    run(async {
        let world = World::start().await;
        let router = world.cloud.instance_named("router").await.id;
        // Ours by mark and outside the cluster's ranges; wider than those; another cluster's, inside
        // and outside; of nobody.
        let ours = [(CLUSTER_TAG, "e2e"), (OWNER_TAG, "somebody")];
        let theirs = [(CLUSTER_TAG, "other"), (OWNER_TAG, "somebody")];
        let mut strangers = vec![
            route(&world, "outside", "192.168.7.0/24", &router, &ours).await,
            route(&world, "wider", "10.0.0.0/8", &router, &ours).await,
            route(&world, "theirs", "10.244.200.0/24", &router, &theirs).await,
            route(&world, "theirs-outside", "192.168.8.0/24", &router, &theirs).await,
            route(&world, "bare", "10.244.201.0/24", &router, &[]).await,
            route(&world, "default", "0.0.0.0/0", &router, &[]).await,
        ];
        // One of theirs that leads nowhere.
        let dead = world.cloud.instance_named("dead").await.id;
        strangers.push(route(&world, "blackhole", "10.244.202.0/24", &dead, &theirs).await);
        world.cloud.terminate("dead").await;
        // One of ours inside, of a node that is gone: it goes.
        let stray = route(&world, "stray", "10.244.203.0/24", &router, &ours).await;
        let _ccm = world.ccm(&setup());
        world.join_numbered(1).await;
        let seen = world.reachable("n1").await;
        wait_until("the end of the stray", REPAIRS, async || {
            let left = world.cloud.all_routes().await;
            if left.iter().all(|it| it.id != stray.id) { Ok(()) } else { Err("it is there") }
        })
        .await;
        world.remove("n1").await;
        wait_until("the end of its routes", SOON, async || {
            let left = world.cloud.routes_of(&seen.uid).await.len();
            if left == 0 { Ok(()) } else { Err(left) }
        })
        .await;
        sleep(Duration::from_secs(12)).await;
        let left = world.cloud.all_routes().await;
        for mut stranger in strangers {
            stranger.blackhole = left.iter().any(|it| it.id == stranger.id && it.blackhole);
            assert!(left.contains(&stranger), "{stranger:?} is missing or changed: {left:#?}");
        }
        assert_eq!(left.len(), 7);
    });
}

#[test]
fn a_foreign_route_is_in_the_way_of_one_node_which_says_so_and_heals() {
    run(async {
        let world = World::start().await;
        let router = world.cloud.instance_named("router").await.id;
        let foreign = route(&world, "by-hand", "10.244.2.0/24", &router, &[]).await;
        let mut ccm = world.ccm(&setup().serving());
        for number in 1..=3 {
            world.join_numbered(number).await;
        }
        world.reachable("n1").await;
        world.reachable("n3").await;
        let seen = world.unreachable("n2", foreign.id.as_str()).await;
        assert!(seen.unreachable().contains("10.244.2.0/24"), "{seen:?}");
        let events = world.events_with("n2", "FailedToCreateRoute").await;
        println!("{}; {events:?}", seen.unreachable());
        // What of it can be had is there.
        let had = world.cloud.routes_of(&seen.uid).await;
        assert_eq!(had.len(), 1, "{had:?}");
        ccm.metric_is("ccm_route_nodes{state=\"Reachable\"}", 2.0).await;
        assert!(world.cloud.all_routes().await.contains(&foreign));

        world.cloud.remove_by_hand(&foreign.id).await.unwrap();
        world.node_until("n2", "healed", REPAIRS, ccm_e2e::Seen::is_reachable).await;
        assert_eq!(world.cloud.routes_of(&seen.uid).await.len(), 2);
        ccm.metric_is("ccm_route_nodes{state=\"Reachable\"}", 3.0).await;
    });
}

#[test]
fn what_somebody_else_changes_is_repaired_and_told() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&setup());
        for number in 1..=3 {
            world.join_numbered(number).await;
        }
        let mut uids = Vec::new();
        for name in ["n1", "n2", "n3"] {
            uids.push(world.reachable(name).await.uid);
        }
        let before = world.cloud.route_lines().await;
        let first = world.cloud.routes_of(&uids[0]).await.remove(0);
        world.cloud.remove_by_hand(&first.id).await.unwrap();
        let second = world.cloud.routes_of(&uids[1]).await.remove(0);
        let elsewhere = world.cloud.instance_named("elsewhere").await.id;
        let change = ChangeRoute { target: elsewhere };
        world.cloud.change_route_by_hand(&second.id, &change).await.unwrap();
        assert_ne!(world.cloud.route_lines().await, before);
        world.routes_are(&before, REPAIRS).await;
        for name in ["n1", "n2"] {
            world.events_with(name, "RouteDrifted").await;
            assert!(world.node(name).await.is_reachable());
        }
        let events = world.events("n3").await;
        assert!(events.iter().all(|(reason, ..)| !reason.contains("Route")), "{events:?}");
    });
}

#[test]
fn routes_of_nodes_that_went_while_nobody_looked_are_taken_away() {
    run(async {
        let world = World::start().await;
        let mut ccm = world.ccm(&setup());
        for number in 1..=3 {
            world.join_numbered(number).await;
        }
        for name in ["n1", "n2", "n3"] {
            world.reachable(name).await;
        }
        ccm.signal(Signal::KILL);
        ccm.end(SOON).await;
        let stays = world.node("n3").await;
        for name in ["n1", "n2"] {
            world.remove(name).await;
        }
        world.cloud.terminate("n2").await;
        // Its range is given to another one in between.
        let [v4, v6] = Pods::of(1);
        world.join_with("n4", &[&v4, &v6]).await;
        let _ccm = world.ccm(&setup().without_election());
        let heir = world.reachable("n4").await;
        wait_until("the end of the strays", REPAIRS, async || {
            let owners: std::collections::BTreeSet<_> = world
                .cloud
                .all_routes()
                .await
                .into_iter()
                .map(|route| route.tags[OWNER_TAG].clone())
                .collect();
            let wanted = [stays.uid.clone(), heir.uid.clone()].into();
            if owners == wanted { Ok(()) } else { Err(owners) }
        })
        .await;
        assert_eq!(world.cloud.all_routes().await.len(), 4);
        assert!(world.node("n3").await.is_reachable());
    });
}
