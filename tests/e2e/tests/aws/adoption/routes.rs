//! Routes.

use ccm_awscloud::Launch;
use ccm_e2e::{Account, Aws, Setup, World, in_the_cloud, run, wait_until};
use serde_json::json;

use super::LONG;

/// The routes to nodes.
async fn routes(world: &World<Aws>) -> Vec<String> {
    let mut lines = world.cloud.lines().await;
    lines.retain(|line| line.starts_with("route table"));
    lines
}

/// Makes a route, as the Go program does.
async fn lead(world: &World<Aws>, destination: &str, instance: &str) {
    let check = json!({"InstanceId": instance, "SourceDestCheck": {"Value": false}});
    world.cloud.boto("ec2", "modify_instance_attribute", check).await;
    let family =
        if destination.contains(':') { "DestinationIpv6CidrBlock" } else { "DestinationCidrBlock" };
    let route = json!({
        "RouteTableId": world.cloud.network.public_table,
        family: destination,
        "InstanceId": instance,
    });
    world.cloud.boto("ec2", "create_route", route).await;
}

#[test]
fn a_table() {
    run(async {
        let world = World::aws(&[]).await;
        let instances = world.go_nodes_with_ranges(&["10.244.0.0/24", "10.244.1.0/24"]).await;
        for (instance, range) in instances.iter().zip(["10.244.0.0/24", "10.244.1.0/24"]) {
            lead(&world, range, &instance.id).await;
        }
        let setup = Setup::new().routes("10.244.0.0/16");
        let (_, plan) = world.plan(&setup.clone().account(Account::Reading)).await;
        assert_eq!(in_the_cloud(&plan), [""; 0], "{plan:#}");
        let (mark, laid) = (world.cloud.mark().await.unwrap(), world.cloud.lines().await);
        let _ccm = world.ccm(&setup);
        for instance in &instances {
            world.reachable(&instance.private_dns).await;
        }
        world.cloud.quiet().await;
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

/// The table that the configuration names, with another one beside it, somebody's routes to a machine that is
/// no node, and one that leads nowhere, which the Go program would take away as well.
#[test]
fn a_table_with_others_routes() {
    run(async {
        let world = World::aws(&[]).await;
        let network = &world.cloud.network;
        world.configure(&[&format!("RouteTableID = {}", network.public_table)]);
        let marks = json!([{"Key": "kubernetes.io/cluster/e2e", "Value": "owned"}]);
        let args = json!({"Resources": [network.private_table], "Tags": marks});
        world.cloud.boto("ec2", "create_tags", args).await;
        let ranges = ["10.244.0.0/24", "10.244.1.0/24"];
        let instances = world.go_nodes_with_ranges(&ranges).await;
        for (instance, range) in instances.iter().zip(ranges) {
            lead(&world, range, &instance.id).await;
        }
        let launch = Launch { tag: false, prefix: "router".to_owned(), ..Launch::of(1) };
        let router = world.cloud.launch(network, &launch).await.unwrap();
        for destination in ["192.168.0.0/16", "10.244.9.0/24", "fd00:1::/64"] {
            lead(&world, destination, &router[0].id).await;
        }
        let others = routes(&world).await.into_iter().filter(|line| line.contains("to router-1"));
        let others: Vec<_> = others.collect();
        assert_eq!(others.len(), 3, "{others:?}");
        let gone = world.cloud.instances(1).await;
        lead(&world, "10.244.7.0/24", &gone[0].id).await;
        world.cloud.terminate(&[&gone[0].id]).await.unwrap();

        let setup = Setup::new().routes("10.244.0.0/16");
        let (_, plan) = world.plan(&setup.clone().account(Account::Reading)).await;
        let planned = in_the_cloud(&plan);
        assert!(planned.len() == 1 && planned[0].contains("10.244.7.0/24"), "{planned:?}");
        let laid = routes(&world).await;
        let _ccm = world.ccm(&setup);
        for instance in &instances {
            world.reachable(&instance.private_dns).await;
        }
        wait_until("the end of the route to nowhere", LONG, async || {
            let done = world.cloud.changed(0).await;
            if done.is_empty() { Err(()) } else { Ok(()) }
        })
        .await;
        world.cloud.quiet().await;
        assert_eq!(world.cloud.changed(0).await, ["DeleteRoute "]);
        assert_eq!(routes(&world).await, laid);

        let more = world.go_nodes_with_ranges(&["10.244.2.0/24"]).await;
        world.reachable(&more[0].private_dns).await;
        assert_eq!(routes(&world).await.len(), laid.len() + 1);
        for node in instances.iter().chain(&more) {
            world.remove(&node.private_dns).await;
        }
        wait_until("that others' routes alone are there", LONG, async || {
            let left = routes(&world).await;
            if left == others { Ok(()) } else { Err(left) }
        })
        .await;
    });
}
