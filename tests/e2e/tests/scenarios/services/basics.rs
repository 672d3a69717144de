//! A Service gets its address, follows its owner, and leaves nothing behind.

use ccm_core::cluster::keys;
use ccm_e2e::{SOON, SeenService, Setup, Wanted, World, run, wait_until};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::networking::v1::IPAddress;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

/// Writes of the program that a Service may cost until it has its address, events among them.
const MOST_WRITES: usize = 4;

const THEIRS: &str = "example.com/theirs";

#[test]
fn a_service_gets_its_address_in_few_writes_and_says_so_once() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new());
        world.initialized("n1").await;

        world.serve(&Wanted::named("web").ports(&[80, 443])).await;
        let seen = world.ready("web").await;
        assert_eq!(seen.ingress.len(), 1, "{seen:?}");
        assert!(seen.ingress[0].ends_with(" VIP"), "{seen:?}");
        let address = seen.ingress[0].split(' ').next().unwrap();
        assert!(seen.message().contains(address), "{seen:?}");

        world.service_event("web", "EnsuredLoadBalancer").await;
        let writes = world.traffic().await.of_service("web");
        // And one event; the other says that it has its address.
        assert!(writes.len() < MOST_WRITES, "{writes}");
        assert_eq!(
            world.service_reasons("web").await,
            ["EnsuredLoadBalancer", "EnsuringLoadBalancer"]
        );

        let lines = seen.anonymous(&world.cloud.lines().await);
        let count = |kind: &str| lines.iter().filter(|line| line.starts_with(kind)).count();
        let kinds =
            ["address ", "load_balancer ", "target_group ", "listener ", "firewall ", "rule "];
        assert_eq!(kinds.map(count), [1, 1, 2, 2, 1, 2], "{lines:#?}");
        assert_eq!(world.cloud.targets_of(&seen.uid).await, ["n1".to_owned()].into());

        world.served(&Wanted::named("later")).await;
        assert_eq!(world.service("web").await, seen, "nothing more is written on it");
    });
}

#[test]
fn a_changed_port_arrives_and_what_does_not_matter_costs_no_call() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new());
        world.initialized("n1").await;
        let before = world.served(&Wanted::named("web")).await;

        world.change_ports("web", &[80, 8443]).await;
        wait_until("a rule for the new port", SOON, async || {
            let lines = world.cloud.lines_of(&before.uid).await;
            let has = |what: &str| lines.iter().any(|line| line.contains(what));
            if has("tcp/8443 of") && has("tcp/8443 to") { Ok(()) } else { Err(lines) }
        })
        .await;
        let changed = world.ready("web").await;
        assert_eq!(changed.ingress, before.ingress, "the address stays");
        world.change_ports("web", &[8443]).await;
        wait_until("no port 80", SOON, async || {
            let lines = world.cloud.lines_of(&before.uid).await;
            if lines.iter().any(|line| line.contains("tcp/80 ")) { Err(lines) } else { Ok(()) }
        })
        .await;
        world.ready("web").await;

        let uid = &before.uid;
        world.barrier("n2").await;
        world.cloud.targets_are(uid, &["n1".to_owned(), "n2".to_owned()], SOON).await;
        let updates = world.cloud.target_updates().await;
        assert_eq!(updates, 3, "one for each of two groups, and one for the node");
    });
}

#[test]
fn an_unrelated_change_asks_nothing_of_the_cloud() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        let seen = world.served(&Wanted::named("web")).await;
        let (calls, writes) =
            (world.cloud.balancer_calls().await, world.traffic().await.service_writes().len());
        for n in 0..20 {
            let labels = json!({"team": n.to_string()});
            let metadata = json!({"labels": labels, "annotations": labels});
            let spec = json!({"selector": {"app": n.to_string()}});
            world.change_service("web", &json!({"metadata": metadata, "spec": spec})).await;
        }
        // Comes after them, and asks nothing of the cloud either.
        let bad = Wanted::named("bad").annotation("sim.ccm.rs/internal", "perhaps");
        world.serve(&bad).await;
        world.service_says("bad", "InvalidSpec").await;
        assert_eq!(world.cloud.balancer_calls().await, calls);
        let more = world.traffic().await.service_writes().after(writes);
        assert!(more.of_service("web").is_empty(), "{more}");
        assert_eq!(world.service("web").await, seen);
    });
}

#[test]
fn a_service_that_is_no_load_balancer_any_more_keeps_nothing() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new());
        world.initialized("n1").await;
        let before = world.cloud.lines().await;
        assert!(before.is_empty(), "{before:#?}");
        world.served(&Wanted::named("web").finalizer(THEIRS)).await;
        world.change_service("web", &json!({"spec": {"type": "ClusterIP"}})).await;
        let seen =
            world.service_until("web", "nothing of ours", SOON, SeenService::is_untouched).await;
        assert_eq!(seen.finalizers, [THEIRS], "others' stay");
        assert_eq!(world.cloud.lines().await, before);
        let service = world.services().get("web").await.unwrap();
        let annotations = service.metadata.annotations.unwrap_or_default();
        assert!(annotations.keys().all(|key| !key.starts_with("sim.ccm.rs")), "{annotations:?}");

        world.change_service("web", &json!({"spec": {"type": "LoadBalancer"}})).await;
        world.ready("web").await;
    });
}

#[test]
fn a_deleted_service_leaves_nothing_and_its_name_can_be_used_at_once() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new());
        world.initialized("n1").await;
        world.served(&Wanted::named("other").ports(&[22])).await;
        let before = world.cloud.lines().await;

        let first = world.served(&Wanted::named("web").ports(&[80, 443])).await;
        world.remove_service("web").await;
        assert_eq!(world.cloud.lines().await, before);
        world.service_event("web", "DeletedLoadBalancer").await;

        for _ in 0..3 {
            let next = world.served(&Wanted::named("web").ports(&[80, 443])).await;
            assert_ne!(next.uid, first.uid);
            world.remove_service("web").await;
        }
        assert_eq!(world.cloud.lines().await, before);
    });
}

#[test]
fn a_service_that_is_deleted_while_it_is_made_leaves_nothing() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&Setup::new());
        world.initialized("n1").await;
        for round in 0..10 {
            world.serve(&Wanted::named("web")).await;
            let uid = world.service("web").await.uid;
            let what = "so many pieces";
            wait_until(what, SOON, async || {
                let lines = world.cloud.lines_of(&uid).await;
                if lines.len() >= round / 2 { Ok(()) } else { Err(lines) }
            })
            .await;
            world.end_service("web").await;
            world.service_gone("web", &uid, SOON).await;
            let left = world.cloud.lines().await;
            assert!(left.is_empty(), "{round}: {left:#?}");
        }
    });
}

#[test]
fn a_service_of_another_class_is_never_touched_whatever_it_bears() {
    run(async {
        let world = World::start().await;
        let class = |class: &str| json!(class);
        let theirs =
            |name: &str| Wanted::named(name).spec("loadBalancerClass", class("example.com/theirs"));
        world.serve(&theirs("before")).await;
        world.serve(&theirs("before-held").finalizer(keys::FINALIZER)).await;
        let mut ccm = world.ccm(&Setup::new().flag("--load-balancer-class=example.com/ours,inner"));
        world.serve(&theirs("after")).await;
        world.serve(&theirs("after-held").finalizer(keys::FINALIZER)).await;
        for (name, named) in [("ours", "example.com/ours"), ("inner", "inner")] {
            world.served(&Wanted::named(name).spec("loadBalancerClass", class(named))).await;
        }
        world.served(&Wanted::named("classless")).await;
        world.end_service("before-held").await;
        world.end_service("after-held").await;
        world.served(&Wanted::named("later")).await;
        for name in ["before", "after", "before-held", "after-held"] {
            let seen = world.service(name).await;
            let has_finalizer = name.ends_with("held");
            assert_eq!(seen.is_held(), has_finalizer, "{name}: {seen:?}");
            assert_eq!((seen.ready, seen.ingress), (None, vec![]), "{name}");
            assert_eq!(world.service_events(name).await, [], "{name}");
        }
        let of_theirs = world.traffic().await.service_writes();
        let of_theirs: Vec<_> = of_theirs
            .iter()
            .filter(|event| event.name.starts_with("before") || event.name.starts_with("after"))
            .collect();
        assert!(of_theirs.is_empty(), "{of_theirs:?}");
        ccm.expect_running();
    });
}

#[test]
fn services_without_a_class_can_be_left_to_others() {
    run(async {
        let world = World::start().await;
        let setup = Setup::new()
            .flag("--serve-classless-services=false")
            .flag("--load-balancer-class=example.com/ours");
        let _ccm = world.ccm(&setup);
        world.serve(&Wanted::named("classless")).await;
        world.serve(&Wanted::named("held").finalizer(keys::FINALIZER)).await;
        let ours = Wanted::named("ours").spec("loadBalancerClass", json!("example.com/ours"));
        world.served(&ours).await;
        assert!(world.service("classless").await.is_untouched());
        let held = world.service("held").await;
        assert!(held.is_held() && held.ready.is_none(), "{held:?}");
    });
}

#[test]
fn what_was_there_before_is_served_and_what_was_served_costs_no_change_at_a_restart() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        for name in ["one", "two", "ends"] {
            world.serve(&Wanted::named(name)).await;
        }
        let ccm = world.ccm(&Setup::new().without_election());
        world.all_ready(SOON).await;
        drop(ccm);
        let ends = world.service("ends").await.uid;
        world.end_service("ends").await;
        let before = [world.service("one").await, world.service("two").await];
        let (mutations, writes) =
            (world.cloud.mutations().await, world.traffic().await.service_writes().len());

        let _ccm = world.ccm(&Setup::new().without_election());
        world.service_gone("ends", &ends, SOON).await;
        // One after the other at the firewall: by now those that were as they should be were looked
        // at, and left. Of the third went a rule, a listener, a load balancer, a group, an address.
        assert_eq!(world.cloud.mutations().await - mutations, 5);
        world.served(&Wanted::named("three")).await;
        let lines = world.traffic().await.service_writes().after(writes);
        let on_theirs = lines.iter().filter(|event| ["one", "two"].contains(&&*event.name)).count();
        assert_eq!(on_theirs, 0, "{lines}");
        assert_eq!([world.service("one").await, world.service("two").await], before);
    });
}

#[test]
fn nothing_is_made_for_a_service_that_went_before_it_was_held() {
    run(async {
        let world = World::start().await;
        let proxy = world.proxy().await;
        let mut ccm = world.ccm_behind(&proxy, &Setup::new().without_election());
        world.served(&Wanted::named("before")).await;
        let mutations = world.cloud.mutations().await;
        proxy.hold_questions();
        let uid = world.serve(&Wanted::named("web")).await.uid;
        wait_until(
            "a write on its way",
            SOON,
            async || {
                if proxy.held() > 0 { Ok(()) } else { Err("none") }
            },
        )
        .await;
        world.end_service("web").await;
        world.service_gone("web", &uid, SOON).await;
        proxy.let_go();
        world.served(&Wanted::named("later").ports(&[22])).await;
        let pieces = world.cloud.lines().await.len();
        assert_eq!(pieces, 11, "of two Services, and a firewall");
        // address, load balancer, group, listener, rule
        assert_eq!(world.cloud.mutations().await - mutations, 5);
        ccm.expect_running();
    });
}

/// Or tests that count what is said of a Service would fail whenever the API server is busy.
#[test]
fn what_the_api_server_says_of_its_own_addresses_is_not_taken_for_ours() {
    run(async {
        let world = World::start().await;
        world.serve(&Wanted::named("web")).await;
        let web = world.services().get("web").await.unwrap();
        let address = web.spec.unwrap().cluster_ip.unwrap();
        let addresses = Api::<IPAddress>::all(world.admin());
        addresses.delete(&address, &DeleteParams::default()).await.unwrap();
        let about = ListParams::default().fields("involvedObject.name=web");
        let all = Api::<Event>::namespaced(world.admin(), world.namespace());
        let mut looks = 0;
        wait_until("an event of the API server", SOON, async || {
            // It looks when a Service changes.
            looks += 1;
            let look = json!({"metadata": {"labels": {"look": looks.to_string()}}});
            world.change_service("web", &look).await;
            let events = all.list(&about).await.unwrap().items;
            let reasons: Vec<_> = events.into_iter().filter_map(|event| event.reason).collect();
            let said = reasons.iter().any(|reason| reason == "ClusterIPNotAllocated");
            if said { Ok(()) } else { Err(reasons) }
        })
        .await;
        assert_eq!(world.service_events("web").await, []);
    });
}
