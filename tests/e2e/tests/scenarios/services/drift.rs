//! What somebody else changes in the cloud is found, repaired and told; what is nobody's is let be.

use std::time::Duration;

use ccm_core::cluster::keys;
use ccm_e2e::{Setup, Wanted, World, run, wait_until};
use simcloud::api::{
    Address, CLUSTER_TAG, ChangeRule, CreateAddress, CreateTargetGroup, Firewall, IpFamily,
    ListPieces, Listener, OWNER_TAG, Operation, Protocol, TargetGroup, UpdateTargetGroup,
};

/// The shortest interval that is accepted.
const INTERVAL: Duration = Duration::from_secs(10);

/// A tenth more, and a pass.
const REPAIRS: Duration = Duration::from_secs(31);

fn setup() -> Setup {
    Setup::new().flag(format!("--load-balancer-drift-interval={}s", INTERVAL.as_secs()))
}

async fn pieces<P: simcloud::api::Piece>(world: &World, uid: &str) -> Vec<P> {
    let owner = [(OWNER_TAG.to_owned(), uid.to_owned())].into();
    world.cloud.all_pieces(ListPieces::tagged(owner)).await.unwrap()
}

/// Waits until so many Services were looked at, from now on.
async fn looked_at(world: &World, count: usize) {
    let before = world.cloud.calls_of(Operation::ListAddresses).await.len();
    wait_until("another look at everybody", REPAIRS, async || {
        let now = world.cloud.calls_of(Operation::ListAddresses).await.len();
        if now >= before + count { Ok(()) } else { Err(now) }
    })
    .await;
}

#[test]
fn what_was_changed_behind_our_back_is_repaired_and_told_and_the_rest_costs_no_change() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let _ccm = world.ccm(&setup());
        world.initialized("n1").await;
        let names = ["listener", "group", "rule", "changed", "alone"];
        let mut uids = Vec::new();
        for (name, port) in names.into_iter().zip(80..) {
            uids.push(world.served(&Wanted::named(name).ports(&[port])).await.uid);
        }
        let before = world.cloud.lines().await;
        let mutations = world.cloud.mutations().await;
        looked_at(&world, names.len()).await;
        assert_eq!(world.cloud.mutations().await, mutations, "nothing differs");

        let listener = pieces::<Listener>(&world, &uids[0]).await.remove(0);
        world.cloud.remove_by_hand(&listener.id).await.unwrap();
        let group = pieces::<TargetGroup>(&world, &uids[1]).await.remove(0);
        world.cloud.remove_by_hand(&group.id).await.unwrap();
        let walls: Vec<Firewall> = world.cloud.all_pieces(ListPieces::default()).await.unwrap();
        let rules = world.cloud.all_rules(&walls[0].id).await.unwrap();
        let rule = rules.iter().find(|rule| rule.spec.owner == uids[2]).unwrap();
        let change = ChangeRule { port: Some(81.try_into().unwrap()), ..ChangeRule::default() };
        world.cloud.change_rule_by_hand(&rule.id, &change).await.unwrap();
        let group = pieces::<TargetGroup>(&world, &uids[3]).await.remove(0);
        let mut health_check = group.health_check.clone();
        health_check.path = Some("/elsewhere".to_owned());
        let update = UpdateTargetGroup { health_check: Some(health_check), tags: None };
        world.cloud.update_piece::<TargetGroup>(&group.id, &update).await.unwrap();
        assert_ne!(world.cloud.lines().await, before);

        wait_until("as it was", REPAIRS, async || {
            let lines = world.cloud.lines().await;
            let differs = |one: &[String], other: &[String]| -> Vec<String> {
                one.iter().filter(|line| !other.contains(line)).cloned().collect()
            };
            let (missing, surplus) = (differs(&before, &lines), differs(&lines, &before));
            if lines == before { Ok(()) } else { Err((missing, surplus)) }
        })
        .await;
        for name in ["listener", "group", "rule", "changed"] {
            let message = world.service_event(name, "LoadBalancerDrifted").await;
            println!("{name}: {message}");
        }
        // Everybody is looked at once more, and nothing is done.
        let repaired = world.cloud.mutations().await - mutations;
        // a listener; a group with its target and listener; two for the rule; a check
        assert_eq!(repaired, 1 + 3 + 2 + 1);
        looked_at(&world, names.len()).await;
        assert_eq!(world.cloud.mutations().await - mutations, repaired);
        let told = world.service_reasons("alone").await;
        assert_eq!(told, ["EnsuredLoadBalancer", "EnsuringLoadBalancer"]);
        for name in ["listener", "group", "rule", "changed"] {
            let told = world.service_reasons(name).await;
            let drifted = told.iter().filter(|it| *it == "LoadBalancerDrifted").count();
            assert_eq!(drifted, 1, "{name}: {told:?}");
        }
        for name in names {
            assert!(world.service(name).await.is_ready());
        }
    });
}

#[test]
fn what_nobody_here_owns_is_reported_and_let_be() {
    run(async {
        let world = World::start().await;
        let owner = |uid: &str| {
            [(CLUSTER_TAG.to_owned(), "e2e".to_owned()), (OWNER_TAG.to_owned(), uid.to_owned())]
        };
        let tags = owner("0000-of-another-cluster-of-this-name").into();
        let address =
            CreateAddress { tags, ..CreateAddress::named("default/lost", IpFamily::Ipv4) };
        let address: Address = world.cloud.create_piece(&address).await.unwrap();
        let port = 30_080.try_into().unwrap();
        let group = CreateTargetGroup {
            tags: owner("0000-of-another-cluster-of-this-name").into(),
            ..CreateTargetGroup::named("default/web", Protocol::Tcp, port)
        };
        let group: TargetGroup = world.cloud.create_piece(&group).await.unwrap();
        let orphans = world.cloud.lines().await;
        assert_eq!(orphans.len(), 2);

        let mut ccm = world.ccm(&setup().serving());
        // The same name as theirs, and a finalizer that is not ours to take for a leave.
        world.served(&Wanted::named("web").ports(&[80])).await;
        world.serve(&Wanted::named("lost").finalizer(keys::FINALIZER)).await;
        world.ready("lost").await;
        for name in ["lost", "web"] {
            world.remove_service(name).await;
        }
        wait_until("a report", REPAIRS, async || {
            let log = ccm.log();
            if log.contains("left alone") && log.contains(address.id.as_str()) {
                Ok(())
            } else {
                Err("none")
            }
        })
        .await;
        assert!(ccm.log().contains(group.id.as_str()));
        assert_eq!(world.cloud.lines().await, orphans);
        ccm.expect_running();
    });
}
