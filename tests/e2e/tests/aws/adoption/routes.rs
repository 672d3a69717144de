//! Routes.

use ccm_e2e::{Account, Aws, Setup, World, in_the_cloud, run, wait_until};
use serde_json::json;

use super::{LONG, quiet};

/// The routes to nodes.
async fn routes(world: &World<Aws>) -> Vec<String> {
    let mut lines = world.cloud.lines().await;
    lines.retain(|line| line.starts_with("route table"));
    lines
}

#[test]
fn a_table() {
    run(async {
        let world = World::aws(&[]).await;
        let instances = world.go_nodes_with_ranges(&["10.244.0.0/24", "10.244.1.0/24"]).await;
        for (instance, range) in instances.iter().zip(["10.244.0.0/24", "10.244.1.0/24"]) {
            let check = json!({"InstanceId": instance.id, "SourceDestCheck": {"Value": false}});
            world.cloud.boto("ec2", "modify_instance_attribute", check).await;
            let route = json!({
                "RouteTableId": world.cloud.network.public_table,
                "DestinationCidrBlock": range,
                "InstanceId": instance.id,
            });
            world.cloud.boto("ec2", "create_route", route).await;
        }
        let setup = Setup::new().routes("10.244.0.0/16");
        let (_, plan) = world.plan(&setup.clone().account(Account::Reading)).await;
        assert_eq!(in_the_cloud(&plan), [""; 0], "{plan:#}");
        let (mark, laid) = (world.cloud.mark().await.unwrap(), world.cloud.lines().await);
        let _ccm = world.ccm(&setup);
        for instance in &instances {
            world.reachable(&instance.private_dns).await;
        }
        quiet(&world).await;
        assert_eq!(world.cloud.changed(mark).await, [""; 0]);
        assert_eq!(world.cloud.lines().await, laid);

        let more = world.go_nodes_with_ranges(&["10.244.2.0/24"]).await;
        world.reachable(&more[0].private_dns).await;
        assert_eq!(routes(&world).await.len(), 3);
        for node in instances.iter().chain(&more) {
            world.remove(&node.private_dns).await;
        }
        wait_until("the end of all routes", LONG, async || {
            let routes = routes(&world).await;
            if routes.is_empty() { Ok(()) } else { Err(routes) }
        })
        .await;
    });
}
