//! Load balancers that are made here.

use ccm_e2e::{ANNOTATION, Aws, SOON, SeenService, Setup, Wanted, World, run};
use serde_json::{Value, json};

/// Lines about the Service's load balancer of this kind.
async fn of_kind(world: &World<Aws>, kind: &str, service: &SeenService) -> Vec<String> {
    let name: String = format!("{kind}a{}", service.uid.replace('-', ""));
    let name = &name[..kind.len() + 32];
    let mut lines = world.cloud.lines().await;
    lines.retain(|line| line.starts_with(name));
    lines
}

/// Before the name of a Classic one.
const CLASSIC: &str = "classic load balancer ";
/// Before the name of a Network one.
const NETWORK: &str = "load balancer ";

async fn set_type(world: &World<Aws>, name: &str, kind: Value) {
    let annotations = json!({format!("{ANNOTATION}type"): kind});
    world.change_service(name, &json!({"metadata": {"annotations": annotations}})).await;
}

/// Waits until the Service's address is another one.
async fn another_address(world: &World<Aws>, name: &str, before: &SeenService) -> SeenService {
    world
        .service_until(name, "another address", SOON * 3, |seen| {
            seen.is_ready() && seen.ingress != before.ingress
        })
        .await
}

#[test]
fn both_kinds_from_their_beginning_to_their_end() {
    run(async {
        let world = World::aws(&[]).await;
        world.join_instances(2).await;
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(SOON).await;
        let before = world.cloud.lines().await;
        let classic = world.served(&Wanted::named("classic")).await;
        let kind = format!("{ANNOTATION}type");
        let network = world.served(&Wanted::named("network").annotation(&kind, "nlb")).await;
        assert!(!of_kind(&world, CLASSIC, &classic).await.is_empty());
        assert!(!of_kind(&world, NETWORK, &network).await.is_empty());

        for name in ["classic", "network"] {
            world.change_ports(name, &[80, 8080]).await;
        }
        for (kind, service) in [(CLASSIC, &classic), (NETWORK, &network)] {
            let name = service.uid.replace('-', "");
            world
                .cloud
                .lines_until("another listener", SOON, |lines| {
                    let is_it = |line: &&String| {
                        line.starts_with(kind)
                            && line.contains(&name[..31])
                            && line.contains("listener 8080 ")
                    };
                    lines.iter().any(|line| is_it(&line))
                })
                .await;
        }

        set_type(&world, "classic", json!("nlb")).await;
        set_type(&world, "network", Value::Null).await;
        another_address(&world, "classic", &classic).await;
        another_address(&world, "network", &network).await;
        for (kind, other, service) in [(CLASSIC, NETWORK, &classic), (NETWORK, CLASSIC, &network)] {
            assert_eq!(of_kind(&world, kind, service).await, [""; 0]);
            assert!(!of_kind(&world, other, service).await.is_empty());
        }

        world.remove_service("classic").await;
        world.remove_service("network").await;
        world.cloud.lines_until("all is as before", SOON, |lines| lines == before).await;
    });
}
