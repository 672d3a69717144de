//! The world and the machines in it.

use ccm_awscloud::Launch;
use serde_json::json;

use crate::console;

#[tokio::test]
async fn a_world_has_what_kops_makes() {
    let console = console("kops").await;
    let world = console.world("kops").await.unwrap();
    let args = json!({ "Filters": [
        { "Name": "vpc-id", "Values": [world.vpc] },
        { "Name": "tag:kubernetes.io/role/elb", "Values": ["1"] },
    ] });
    let public = console.aws("ec2", "describe_subnets", args).await.unwrap();
    assert_eq!(public["Subnets"].as_array().unwrap().len(), 2);
    let args =
        json!({ "Filters": [{ "Name": "tag-key", "Values": ["kubernetes.io/cluster/kops"] }] });
    let tables = console.aws("ec2", "describe_route_tables", args).await.unwrap();
    let tables = tables["RouteTables"].as_array().unwrap();
    assert_eq!(tables.len(), 1);
    assert_eq!(tables[0]["RouteTableId"], world.public_table.as_str());
}

#[tokio::test]
async fn a_world_may_have_two_tables_of_the_cluster() {
    let console = console("tables").await;
    let world = console.world_of_two_tables("tables").await.unwrap();
    let args = json!({ "Filters": [{ "Name": "tag:KubernetesCluster", "Values": ["tables"] }] });
    let tables = console.aws("ec2", "describe_route_tables", args).await.unwrap();
    let tables = tables["RouteTables"].as_array().unwrap();
    let mut found: Vec<_> = tables.iter().filter_map(|t| t["RouteTableId"].as_str()).collect();
    found.sort_unstable();
    let mut want = [world.public_table.as_str(), world.private_table.as_str()];
    want.sort_unstable();
    assert_eq!(found, want);
}

#[tokio::test]
async fn machines_stand_in_both_zones_and_can_be_stopped_and_ended() {
    let console = console("machines").await;
    let world = console.world("machines").await.unwrap();
    let machines = console.launch(&world, &Launch::of(3)).await.unwrap();
    let names: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3"]);
    assert_eq!(machines[0].zone, "us-east-1a");
    assert_eq!(machines[1].zone, "us-east-1b");
    assert_eq!(machines[0].private_dns, "ip-10-0-32-4.ec2.internal");
    assert_eq!(machines[0].provider_id(), format!("aws:///us-east-1a/{}", machines[0].id));

    console.stop(&[&machines[1].id]).await.unwrap();
    console.terminate(&[&machines[2].id]).await.unwrap();
    let lines = console.snapshot("machines").await.unwrap();
    let states: Vec<_> = lines.iter().filter(|line| line.starts_with("instance ")).collect();
    assert_eq!(
        states,
        [
            "instance node-1: running, source/dest check on",
            "instance node-2: stopped, source/dest check on",
            "instance node-3: terminated",
        ]
    );
    console.start_again(&[&machines[1].id]).await.unwrap();
    let lines = console.snapshot("machines").await.unwrap();
    assert!(lines.contains(&"instance node-2: running, source/dest check on".to_owned()));
}
