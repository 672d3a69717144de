//! Load balancers that are made here.

use ccm_e2e::{Aws, LONG, SeenService, Setup, Wanted, World, run};

/// Before the name of a Classic one.
const CLASSIC: &str = "classic load balancer ";
/// Before the name of a Network one.
const NETWORK: &str = "load balancer ";

/// Waits until the Service has a load balancer of this kind, with a listener at this port, and none of
/// the other one.
async fn has(world: &World<Aws>, kind: &str, other: &str, service: &SeenService, port: u16) {
    let name = service.balancer();
    let (head, wrong) = (format!("{kind}{name}: "), format!("{other}{name}: "));
    let listener = format!("{head}listener {port} ");
    world
        .cloud
        .lines_until(&listener, LONG, |lines| {
            let begins = |head: &str| lines.iter().any(|line| line.starts_with(head));
            begins(&listener) && !begins(&wrong)
        })
        .await;
}

/// Waits until the Service's address is another one.
async fn another_address(world: &World<Aws>, name: &str, before: &SeenService) {
    let is_so = |seen: &SeenService| seen.is_ready() && seen.ingress != before.ingress;
    world.service_until(name, "another address", LONG, is_so).await;
}

#[test]
fn both_kinds_from_their_beginning_to_their_end() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(2).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(LONG).await;
        let before = world.cloud.lines().await;
        let classic = world.served(&Wanted::named("classic")).await;
        let network = world.served(&Wanted::named("network").nlb()).await;
        has(&world, CLASSIC, NETWORK, &classic, 80).await;
        has(&world, NETWORK, CLASSIC, &network, 80).await;

        for name in ["classic", "network"] {
            world.change_ports(name, &[80, 8080]).await;
        }
        has(&world, CLASSIC, NETWORK, &classic, 8080).await;
        has(&world, NETWORK, CLASSIC, &network, 8080).await;

        world.annotate("classic", &[("type", Some("nlb"))]).await;
        world.annotate("network", &[("type", None)]).await;
        another_address(&world, "classic", &classic).await;
        another_address(&world, "network", &network).await;
        has(&world, NETWORK, CLASSIC, &classic, 8080).await;
        has(&world, CLASSIC, NETWORK, &network, 8080).await;

        world.remove_service("classic").await;
        world.remove_service("network").await;
        world.cloud.lines_until("all is as before", LONG, |lines| lines == before).await;
    });
}
