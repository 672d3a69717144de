//! Rules are taken away one by one: who needs them says so once, and the others go on.

use ccm_e2e::{Ccm, NAMESPACE, SOON, Setup, Wanted, World, least, run, wait_until};
use ccm_envtest::kubelet::Kubelet;
use ccm_envtest::{Grant, ServiceAccountAccess};

use super::{dies, is_served_from, volume_is_refused};

/// An account that has all rights but this one.
async fn without(world: &World, name: &str, verb: &str, resource: &str) -> ServiceAccountAccess {
    let [in_cluster, in_namespace] = least();
    let Grant::ClusterRules(mut rules) = in_cluster else { unreachable!("rules of the cluster") };
    let before: usize = rules.iter().map(|rule| rule.verbs.len()).sum();
    for rule in &mut rules {
        if rule.resources.iter().flatten().any(|one| one == resource) {
            rule.verbs.retain(|one| one != verb);
        }
    }
    rules.retain(|rule| !rule.verbs.is_empty());
    let after: usize = rules.iter().map(|rule| rule.verbs.len()).sum();
    assert_eq!(before - after, 1, "{verb} {resource} was granted once");
    world.account_with(name, &[Grant::ClusterRules(rules), in_namespace]).await
}

/// Waits until so many tries were refused, then judges what the log says of that: a warning of each of
/// these controllers.
async fn is_said_once(
    world: &World,
    ccm: &mut Ccm,
    who: &ServiceAccountAccess,
    right: &str,
    tries: usize,
    controllers: &[&str],
) {
    wait_until(&format!("{tries} refusals"), SOON * 2, async || {
        let refused = world.traffic_by(&[who.user()]).await.answered(403);
        if refused.len() >= tries { Ok(()) } else { Err(refused.lines()) }
    })
    .await;
    ccm.expect_running();
    let said = ccm.warnings(right);
    assert_eq!(said.len(), controllers.len(), "{said:#?}");
    for controller in controllers {
        let place = format!("ccm_core::controllers::{controller}:");
        assert_eq!(said.iter().filter(|line| line.contains(&place)).count(), 1, "{said:#?}");
    }
    let refused = world.traffic_by(&[who.user()]).await.answered(403);
    println!("{right}: {} refusals, said {} times", refused.len(), said.len());
    // With growing pauses.
    assert!(refused.len() < 60, "{refused}");
}

#[test]
fn without_the_right_to_write_on_services_nothing_is_made_for_them_and_nodes_go_on() {
    run(async {
        let world = World::start().await;
        let who = without(&world, "proof-no-services", "patch", "services/status").await;
        let mut ccm = world.ccm_as(&who, &Setup::new().quick());
        for name in ["a", "b", "c"] {
            world.serve(&Wanted::named(name)).await;
        }
        for name in ["a", "b", "c"] {
            let said = world.service_event(name, "ServiceNotUpdated").await;
            assert!(said.contains(r#"cannot patch resource "services/status""#), "{said}");
            let seen = world.service(name).await;
            assert!(seen.is_untouched(), "{seen:?}");
        }
        world.barrier("n1").await;
        world.barrier("n2").await;
        dies(&world, "n1").await;
        world.volume_barrier("p").await;
        // Who is not held by a finalizer has nothing in the cloud that could be left behind.
        assert_eq!(world.cloud.mutations().await, 0);
        is_said_once(&world, &mut ccm, &who, "services/status", 9, &["service"]).await;
    });
}

#[test]
fn without_the_right_to_write_on_volumes_nodes_and_services_go_on() {
    run(async {
        let world = World::start().await;
        let who = without(&world, "proof-no-volumes", "patch", "persistentvolumes").await;
        let mut ccm = world.ccm_as(&who, &Setup::new());
        for name in ["p1", "p2", "p3"] {
            volume_is_refused(&world, name).await;
        }
        world.barrier("n1").await;
        is_served_from(&world, "web", "n1").await;
        is_said_once(&world, &mut ccm, &who, "persistentvolumes", 9, &["volume"]).await;
    });
}

#[test]
fn without_the_right_to_delete_nodes_all_else_goes_on() {
    run(async {
        let world = World::start().await;
        let who = without(&world, "proof-no-deletion", "delete", "nodes").await;
        let mut ccm = world.ccm_as(&who, &Setup::new().quick());
        for name in ["n1", "n2", "n3"] {
            world.barrier(name).await;
        }
        for name in ["n1", "n2"] {
            world.cloud.terminate(name).await;
            world.silence(name).await;
        }
        for name in ["n1", "n2"] {
            let said = world.events_with(name, "DeletingNodeFailed").await;
            let said = said.iter().find(|event| event.0 == "DeletingNodeFailed").unwrap();
            assert!(said.1.contains(r#"cannot delete resource "nodes""#), "{said:?}");
        }
        is_served_from(&world, "web", "n3").await;
        world.volume_barrier("p").await;
        world.barrier("n4").await;
        is_said_once(&world, &mut ccm, &who, "cannot delete", 5, &["node_lifecycle"]).await;
    });
}

/// Addresses and conditions cannot be written; what needs neither is done.
#[test]
fn without_the_right_to_write_the_status_of_nodes_services_and_volumes_go_on() {
    run(async {
        let world = World::start().await;
        let who = without(&world, "proof-no-status", "patch", "nodes/status").await;
        let setup = Setup::new().quick().routes("10.244.0.0/16");
        let mut ccm = world.ccm_as(&who, &setup);
        for number in 1..=3 {
            world.join_numbered(number).await;
        }
        for name in ["n1", "n2", "n3"] {
            let said = world.events_with(name, "NodeNotUpdated").await;
            let said = said.iter().find(|event| event.0 == "NodeNotUpdated").unwrap();
            assert!(said.1.contains(r#"cannot patch resource "nodes/status""#), "{said:?}");
            assert!(!world.node(name).await.is_initialized());
        }
        // One that needs its route said, and no more.
        let machine = world.cloud.instance_named("n4").await;
        let id = format!("sim://{}", machine.id);
        let ready = Kubelet::new("n4").provider_id(id).pod_cidrs(&["10.244.4.0/24"]).initialized();
        world.register(ready).await;
        wait_until("its route", SOON, async || {
            let routes = world.cloud.all_routes().await.len();
            if routes > 0 { Ok(()) } else { Err(routes) }
        })
        .await;
        world.volume_barrier("p").await;
        world.served(&Wanted::named("web")).await;
        world.remove_service("web").await;
        wait_until("both controllers' words", SOON, async || {
            let said = ccm.warnings("nodes/status").len();
            if said == 2 { Ok(()) } else { Err(said) }
        })
        .await;
        let of = ["node", "route"];
        is_said_once(&world, &mut ccm, &who, "nodes/status", 12, &of).await;
    });
}

/// What tells of all else is lacking itself.
#[test]
fn without_the_right_to_write_events_only_they_are_missing() {
    run(async {
        let world = World::start().await;
        let who = without(&world, "proof-no-events", "create", "events").await;
        let mut ccm = world.ccm_as(&who, &Setup::new());
        world.barrier("n1").await;
        is_served_from(&world, "web", "n1").await;
        world.volume_barrier("p").await;
        is_served_from(&world, "db", "n1").await;
        ccm.expect_running();
        let said = ccm.warnings("events");
        assert_eq!(said.len(), 1, "{said:#?}");
        let told = world.service_events("web").await;
        assert!(told.is_empty(), "{told:?} in spite of {NAMESPACE}'s account");
    });
}
