//! What a snapshot tells, and that it tells no more.

use ccm_awscloud::{Console, Launch};
use serde_json::{Value, json};

use crate::console;

fn tags(cluster: &str) -> Value {
    json!([{ "Key": format!("kubernetes.io/cluster/{cluster}"), "Value": "owned" }])
}

/// A load balancer of each kind with all that belongs to it, and a route.
async fn furnish(console: &Console, cluster: &str) {
    let world = console.world(cluster).await.unwrap();
    let machines = console.launch(&world, &Launch::of(2)).await.unwrap();
    let args = json!({
        "GroupName": format!("lb.{cluster}"), "Description": "lb", "VpcId": world.vpc,
        "TagSpecifications": [{ "ResourceType": "security-group", "Tags": tags(cluster) }],
    });
    let made = console.aws("ec2", "create_security_group", args).await.unwrap();
    let group = made["GroupId"].as_str().unwrap();
    let args = json!({ "GroupId": world.node_group, "IpPermissions": [
        { "IpProtocol": "-1", "UserIdGroupPairs": [{ "GroupId": group, "Description": "ours" }] },
        { "IpProtocol": "tcp", "FromPort": 80, "ToPort": 81, "IpRanges": [{ "CidrIp": "10.1.0.0/16" }] },
    ] });
    console.aws("ec2", "authorize_security_group_ingress", args).await.unwrap();

    let args = json!({
        "Name": format!("n-{cluster}"), "Type": "network", "Tags": tags(cluster),
        "SubnetMappings": [{ "SubnetId": world.public_b }, { "SubnetId": world.public_a }],
    });
    let made = console.aws("elbv2", "create_load_balancer", args).await.unwrap();
    let balancer = &made["LoadBalancers"][0]["LoadBalancerArn"];
    let args = json!({
        "Name": format!("t-{cluster}"), "Protocol": "TCP", "Port": 30080, "VpcId": world.vpc,
        "HealthCheckProtocol": "HTTP", "Tags": tags(cluster),
    });
    let made = console.aws("elbv2", "create_target_group", args).await.unwrap();
    let target_group = &made["TargetGroups"][0]["TargetGroupArn"];
    let args = json!({ "TargetGroupArn": target_group, "Targets": [
        { "Id": machines[1].id, "Port": 30080 }, { "Id": machines[0].id, "Port": 30080 },
    ] });
    console.aws("elbv2", "register_targets", args).await.unwrap();
    let args = json!({
        "LoadBalancerArn": balancer, "Port": 80, "Protocol": "TCP", "Tags": tags(cluster),
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": target_group }],
    });
    console.aws("elbv2", "create_listener", args).await.unwrap();

    let name = format!("c-{cluster}");
    let args = json!({
        "LoadBalancerName": name, "Subnets": [world.public_a], "SecurityGroups": [group],
        "Listeners": [{ "Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 30081 }],
        "Tags": tags(cluster),
    });
    console.aws("elb", "create_load_balancer", args).await.unwrap();
    let args = json!({
        "LoadBalancerName": name, "Instances": [{ "InstanceId": machines[0].id }],
    });
    console.aws("elb", "register_instances_with_load_balancer", args).await.unwrap();
    let args = json!({
        "LoadBalancerName": name, "PolicyName": "proxy",
        "PolicyTypeName": "ProxyProtocolPolicyType",
        "PolicyAttributes": [{ "AttributeName": "ProxyProtocol", "AttributeValue": "true" }],
    });
    console.aws("elb", "create_load_balancer_policy", args).await.unwrap();
    let args = json!({
        "LoadBalancerName": name, "InstancePort": 30081, "PolicyNames": ["proxy"],
    });
    console.aws("elb", "set_load_balancer_policies_for_backend_server", args).await.unwrap();

    let args = json!({
        "RouteTableId": world.public_table, "DestinationCidrBlock": "100.96.1.0/24",
        "InstanceId": machines[0].id,
    });
    console.aws("ec2", "create_route", args).await.unwrap();
}

#[tokio::test]
async fn it_tells_everything_of_the_cluster_by_names() {
    let console = console("snapshots").await;
    furnish(&console, "it").await;
    let lines = console.snapshot("it").await.unwrap();
    for want in [
        "security group nodes.it: in -1 lb.it (ours)",
        "security group nodes.it: in tcp 80-81 10.1.0.0/16",
        "security group lb.it: tags kubernetes.io/cluster/it=owned",
        "load balancer n-it: network, internet-facing, ipv4",
        "load balancer n-it: subnet public-a.it",
        "load balancer n-it: listener 80 TCP forward to t-it",
        "load balancer n-it: listener 80 TCP: tags kubernetes.io/cluster/it=owned",
        "load balancer n-it: attribute load_balancing.cross_zone.enabled=false",
        "target group t-it: of n-it",
        "target group t-it: target node-1:30080",
        "target group t-it: target node-2:30080",
        "target group t-it: attribute preserve_client_ip.enabled=true",
        "classic load balancer c-it: backend 30081 policies ['proxy']",
        "classic load balancer c-it: instance node-1",
        "classic load balancer c-it: security groups lb.it",
        "classic load balancer c-it: attribute ConnectionDraining Enabled=False, Timeout=300",
        "route table public.it: 100.96.1.0/24 to node-1, active",
    ] {
        assert!(lines.iter().any(|line| line == want), "no {want:?} in {lines:#?}");
    }
    let ids = ["sg-", "i-0", "arn:", "subnet-", "eni-", "vpc-", "rtb-"];
    let telling = lines.iter().find(|line| ids.iter().any(|id| line.contains(id)));
    assert_eq!(telling, None);
}

#[tokio::test]
async fn equal_clouds_have_equal_ones_and_only_their_own() {
    let console = console("twins").await;
    let mut texts = Vec::new();
    for cluster in ["twin-a", "twin-b"] {
        furnish(&console, cluster).await;
        texts.push(console.snapshot(cluster).await.unwrap().join("\n"));
    }
    assert!(!texts[1].contains("twin-a"));
    assert_eq!(texts[0].replace("twin-a", "it"), texts[1].replace("twin-b", "it"));
}
