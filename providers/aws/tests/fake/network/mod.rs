//! Network Load Balancers against a fake AWS, over HTTP.

mod service;

use ccm_awscloud::{Fault, FaultKind, Settings};
use ccm_core::cloud::{
    Holds, Ingress, IngressAddress, ObjectId, Protocol, SourceRange, Uid, Verdict, Want,
};
use rstest::rstest;
use serde_json::json;

use crate::stage::{Stage, absent, port};

/// Reads of load balancers of one Service in a round: its own look, and that of the nodes' rules,
/// which all Services share.
fn budget(ports: usize) -> (usize, usize) {
    (6 + ports, 2)
}

fn is_done(stage: &Stage) -> bool {
    stage.with_report(&stage.id(), |it| matches!(it.verdict, Verdict::Done))
}

fn hostname(stage: &Stage) -> Option<String> {
    stage.with_report(&stage.id(), |report| match &report.ingress {
        Ingress::Leave => None,
        Ingress::Set(points) => points.iter().find_map(|point| match &point.address {
            IngressAddress::Hostname(name) => Some(name.clone()),
            IngressAddress::Ip(_) => None,
        }),
    })
}

#[tokio::test]
async fn a_service_is_made_in_few_calls_and_left_alone_after() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 3).await;
    let wants = [stage.present(&[80], &[])];
    stage.take_calls().await;
    stage.passes.settle(&wants, &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(
        writes,
        [
            "CreateLoadBalancer",
            "CreateTargetGroup",
            "RegisterTargets",
            "CreateListener",
            "AuthorizeSecurityGroupIngress"
        ]
    );
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    assert!(is_done(&stage));
    assert!(hostname(&stage).unwrap().starts_with(&stage.name()), "{:?}", hostname(&stage));
    let before = stage.snapshot().await;
    stage.passes.settle(&wants, &nodes).await;
    let (reads, writes) = stage.take_calls().await;
    assert!(writes.is_empty(), "{writes:?}");
    let (own, shared) = budget(1);
    assert!(reads.len() <= own + shared, "{reads:?}");
    assert_eq!(stage.snapshot().await, before);
}

#[tokio::test]
async fn many_ports_and_attributes_stay_within_the_budget() {
    let stage = Stage::start("NLBSecurityGroupMode = Managed").await;
    let nodes = stage.launch(1, 2).await;
    let nothing = stage.snapshot().await;
    let ports: Vec<u16> = (80..86).collect();
    let pairs = [("target-group-attributes", "proxy_protocol_v2.enabled=true")];
    let wants = [stage.present(&ports, &pairs)];
    stage.passes.settle(&wants, &nodes).await;
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    stage.take_calls().await;
    stage.passes.settle(&wants, &nodes).await;
    let (reads, writes) = stage.take_calls().await;
    assert!(writes.is_empty(), "{writes:?}");
    let (own, shared) = budget(ports.len());
    assert!(reads.len() <= own + ports.len() + shared, "{} {reads:?}", reads.len());
    stage.passes.settle(&[stage.absent()], &nodes).await;
    stage.with_report(&stage.id(), |it| assert_eq!(it.holds, Holds::Nothing));
    assert_eq!(stage.snapshot().await, nothing);
}

/// Set, changed and taken away: the write that each takes, all lines that are other ones then than those of
/// a plain load balancer, and that nothing is left to do afterwards.
#[rstest]
#[case::health_protocol(
    &[("healthcheck-protocol", "http"), ("healthcheck-path", "/up")],
    &[("healthcheck-protocol", "https"), ("healthcheck-path", "/up"), ("healthcheck-port", "8443")],
    ["ModifyTargetGroup", "ModifyTargetGroup", "ModifyTargetGroup"],
    &[
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=30, \
      HealthCheckPath=/up, HealthCheckPort=traffic-port, HealthCheckProtocol=HTTP, \
      HealthCheckTimeoutSeconds=6, HealthyThresholdCount=3, Matcher={'HttpCode': \
      '200-399'}, UnhealthyThresholdCount=3",
    ],
    &[
        "in tcp 8443-8443 10.0.0.0/20 (kubernetes.io/rule/nlb/health=aUID)",
        "in tcp 8443-8443 10.0.16.0/20 (kubernetes.io/rule/nlb/health=aUID)",
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=30, \
      HealthCheckPath=/up, HealthCheckPort=8443, HealthCheckProtocol=HTTPS, \
      HealthCheckTimeoutSeconds=10, HealthyThresholdCount=3, Matcher={'HttpCode': \
      '200-399'}, UnhealthyThresholdCount=3",
    ],
    &[]
)]
#[case::health_numbers(
    &[("healthcheck-interval", "5"), ("healthcheck-timeout", "4")],
    &[("healthcheck-interval", "60"), ("healthcheck-timeout", "20"), ("healthcheck-unhealthy-threshold", "5")],
    ["ModifyTargetGroup", "ModifyTargetGroup", "ModifyTargetGroup"],
    &[
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=5, \
      HealthCheckPort=traffic-port, HealthCheckProtocol=TCP, HealthCheckTimeoutSeconds=4, \
      HealthyThresholdCount=3, UnhealthyThresholdCount=3",
    ],
    &[
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=60, \
      HealthCheckPort=traffic-port, HealthCheckProtocol=TCP, HealthCheckTimeoutSeconds=20, \
      HealthyThresholdCount=3, UnhealthyThresholdCount=5",
    ],
    &[
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=30, \
      HealthCheckPort=traffic-port, HealthCheckProtocol=TCP, HealthCheckTimeoutSeconds=20, \
      HealthyThresholdCount=3, UnhealthyThresholdCount=3",
    ]
)]
#[case::thresholds(
    &[("healthcheck-healthy-threshold", "5")],
    &[("healthcheck-healthy-threshold", "5"), ("healthcheck-unhealthy-threshold", "7")],
    ["ModifyTargetGroup", "ModifyTargetGroup", "ModifyTargetGroup"],
    &[
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=30, \
      HealthCheckPort=traffic-port, HealthCheckProtocol=TCP, HealthCheckTimeoutSeconds=10, \
      HealthyThresholdCount=5, UnhealthyThresholdCount=3",
    ],
    &[
        "health check HealthCheckEnabled=True, HealthCheckIntervalSeconds=30, \
      HealthCheckPort=traffic-port, HealthCheckProtocol=TCP, HealthCheckTimeoutSeconds=10, \
      HealthyThresholdCount=5, UnhealthyThresholdCount=7",
    ],
    &[]
)]
#[case::cross_zone(
    &[("cross-zone-load-balancing-enabled", "true")],
    &[("cross-zone-load-balancing-enabled", "false")],
    ["ModifyLoadBalancerAttributes", "ModifyLoadBalancerAttributes", ""],
    &["attribute load_balancing.cross_zone.enabled=true"],
    &[],
    &[]
)]
#[case::logs(
    &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs")],
    &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs"), ("access-log-s3-bucket-prefix", "web")],
    ["ModifyLoadBalancerAttributes", "ModifyLoadBalancerAttributes", "ModifyLoadBalancerAttributes"],
    &["attribute access_logs.s3.bucket=logs", "attribute access_logs.s3.enabled=true"],
    &[
        "attribute access_logs.s3.bucket=logs",
        "attribute access_logs.s3.enabled=true",
        "attribute access_logs.s3.prefix=web",
    ],
    // Where they would go is not taken back, as by the Go program.
    &["attribute access_logs.s3.bucket=logs", "attribute access_logs.s3.prefix=web"]
)]
#[case::group_attributes(
    &[("target-group-attributes", "proxy_protocol_v2.enabled=true")],
    &[("target-group-attributes", "proxy_protocol_v2.enabled=true,preserve_client_ip.enabled=false")],
    ["ModifyTargetGroupAttributes", "ModifyTargetGroupAttributes", ""],
    &["attribute proxy_protocol_v2.enabled=true"],
    &["attribute preserve_client_ip.enabled=false", "attribute proxy_protocol_v2.enabled=true"],
    &["attribute preserve_client_ip.enabled=false", "attribute proxy_protocol_v2.enabled=true"]
)]
#[case::tags(
    &[("additional-resource-tags", "team=a")],
    &[("additional-resource-tags", "team=b")],
    // One for each piece.
    ["AddTags,AddTags,AddTags", "AddTags,AddTags,AddTags", ""],
    &[
        "listener 80 TCP: tags kubernetes.io/cluster/CLUSTER=owned, \
      kubernetes.io/service-name=shop/CLUSTER, team=a",
        "tags ccm.rs/managed-for=UID, kubernetes.io/cluster/CLUSTER=owned, \
      kubernetes.io/service-name=shop/CLUSTER, team=a",
        "tags ccm.rs/managed-for=UID, kubernetes.io/cluster/CLUSTER=owned, kubernetes.io/service-name=shop/CLUSTER, \
      team=a",
    ],
    &[
        "listener 80 TCP: tags kubernetes.io/cluster/CLUSTER=owned, \
      kubernetes.io/service-name=shop/CLUSTER, team=b",
        "tags ccm.rs/managed-for=UID, kubernetes.io/cluster/CLUSTER=owned, \
      kubernetes.io/service-name=shop/CLUSTER, team=b",
        "tags ccm.rs/managed-for=UID, kubernetes.io/cluster/CLUSTER=owned, kubernetes.io/service-name=shop/CLUSTER, \
      team=b",
    ],
    &[
        "listener 80 TCP: tags kubernetes.io/cluster/CLUSTER=owned, \
      kubernetes.io/service-name=shop/CLUSTER, team=b",
        "tags ccm.rs/managed-for=UID, kubernetes.io/cluster/CLUSTER=owned, \
      kubernetes.io/service-name=shop/CLUSTER, team=b",
        "tags ccm.rs/managed-for=UID, kubernetes.io/cluster/CLUSTER=owned, kubernetes.io/service-name=shop/CLUSTER, \
      team=b",
    ]
)]
#[tokio::test]
async fn an_annotation(
    #[case] set: &[(&str, &str)],
    #[case] changed: &[(&str, &str)],
    #[case] writes: [&str; 3],
    #[case] set_shows: &[&str],
    #[case] changed_shows: &[&str],
    #[case] removed_shows: &[&str],
) {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 1).await;
    let nothing = stage.snapshot().await;
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    let plain = stage.snapshot().await;
    stage.take_calls().await;
    let steps = [(set, set_shows), (changed, changed_shows), (&[], removed_shows)];
    for ((pairs, shows), want) in steps.into_iter().zip(writes) {
        let wants = [stage.present(&[80], pairs)];
        stage.passes.settle(&wants, &nodes).await;
        let (_, writes) = stage.take_calls().await;
        // What the nodes let through may follow the health checks.
        let own: Vec<_> = writes.into_iter().filter(|it| !it.contains("SecurityGroup")).collect();
        assert_eq!(own.join(","), want, "{pairs:?}");
        let lines = stage.snapshot().await;
        let differs: Vec<_> = lines.iter().filter(|line| !plain.contains(line)).collect();
        let gone: Vec<_> = plain.iter().filter(|line| !lines.contains(line)).collect();
        let what = |line: &&String| stage.anonymous(line.split_once(": ").unwrap().1);
        assert_eq!(differs.iter().map(what).collect::<Vec<_>>(), shows, "{pairs:?}");
        // They have taken the place of others, but for rules, which there are more of.
        let replaced = shows.iter().filter(|text| !text.starts_with("in ")).count();
        assert_eq!(gone.len(), replaced, "{pairs:?}: {gone:#?}");
        stage.passes.settle(&wants, &nodes).await;
        assert_eq!(stage.take_calls().await.1, [""; 0]);
    }
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    stage.passes.settle(&[stage.absent()], &nodes).await;
    assert_eq!(stage.snapshot().await, nothing);
}

#[tokio::test]
async fn a_port_speaks_tls_and_ceases_to() {
    let stage = Stage::start("NLBSecurityGroupMode = Managed").await;
    let nodes = stage.launch(1, 1).await;
    stage.passes.settle(&[stage.present(&[443], &[])], &nodes).await;
    let (one, two) = (stage.certificate().await, stage.certificate().await);
    stage.take_calls().await;
    let policy = ("ssl-negotiation-policy", "ELBSecurityPolicy-TLS13-1-2-2021-06");
    let forms: [&[(&str, &str)]; 4] =
        [&[("ssl-cert", &one)], &[("ssl-cert", &two), policy], &[("ssl-cert", &two)], &[]];
    let mut writes = Vec::new();
    for pairs in forms {
        let wants = [stage.present(&[443], pairs)];
        stage.passes.settle(&wants, &nodes).await;
        writes.push(stage.take_calls().await.1.join(","));
        stage.passes.settle(&wants, &nodes).await;
        assert_eq!(stage.take_calls().await.1, [""; 0]);
    }
    assert_eq!(writes, ["ModifyListener", "ModifyListener", "", "ModifyListener"]);
    let tls: &[(&str, &str)] = &[("ssl-cert", &one), ("backend-protocol", "ssl")];
    stage.passes.settle(&[stage.present(&[443], tls)], &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(
        writes,
        ["CreateTargetGroup", "RegisterTargets", "ModifyListener", "DeleteTargetGroup"]
    );
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}

#[tokio::test]
async fn ports_and_protocols_are_followed() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 2).await;
    let nothing = stage.snapshot().await;
    stage
        .passes
        .settle(
            &[stage.present(
                &[80, 81],
                &[("target-group-attributes", "proxy_protocol_v2.enabled=true")],
            )],
            &nodes,
        )
        .await;
    let first = hostname(&stage);
    stage.passes.take_sent();
    let mut moved = stage.spec(&[80], &[]);
    moved.ports = vec![port(80, 31_000)];
    stage.passes.settle(&[Want::Present(moved.into())], &nodes).await;
    assert_eq!(hostname(&stage), first);
    let balancer = stage.balancer().await;
    let groups =
        stage.elbv2("describe_target_groups", json!({ "LoadBalancerArn": balancer })).await;
    assert_eq!(groups["TargetGroups"].as_array().unwrap().len(), 1);
    let arn = &groups["TargetGroups"][0]["TargetGroupArn"];
    let attributes =
        stage.elbv2("describe_target_group_attributes", json!({ "TargetGroupArn": arn })).await;
    let attributes = attributes["Attributes"].as_array().unwrap();
    let proxy = attributes.iter().find(|it| it["Key"] == "proxy_protocol_v2.enabled").unwrap();
    assert_eq!(proxy["Value"], "true", "it outlives the group");

    let mut udp = stage.spec(&[80], &[]);
    udp.ports[0].protocol = Protocol::Udp;
    stage.passes.settle(&[Want::Present(udp.into())], &nodes).await;
    let listeners = stage.elbv2("describe_listeners", json!({ "LoadBalancerArn": balancer })).await;
    assert_eq!(listeners["Listeners"][0]["Protocol"], "UDP");
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    stage.passes.settle(&[stage.absent()], &nodes).await;
    assert_eq!(stage.snapshot().await, nothing);
}

#[tokio::test]
async fn nodes_join_and_leave() {
    let stage = Stage::start("").await;
    let mut nodes = stage.launch(1, 2).await;
    let wants = [stage.present(&[80, 443], &[])];
    stage.passes.settle(&wants, &nodes).await;
    stage.take_calls().await;
    nodes.extend(stage.launch(3, 1).await);
    stage.passes.settle(&wants, &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(writes, ["RegisterTargets"; 2], "one for each group");
    nodes.remove(0);
    stage.passes.settle(&wants, &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(writes, ["DeregisterTargets"; 2]);
    // What stops stays a target, and what is gone goes.
    let id = nodes[0].node.uid.as_str().to_owned();
    stage.console.stop(&[&id]).await.unwrap();
    let seen = stage.look(nodes.iter().map(|it| it.node.clone()).collect()).await;
    stage.passes.settle(&wants, &seen).await;
    assert_eq!(stage.take_calls().await.1, [""; 0]);
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}

/// AWS takes none of the targets of a request where it does not take one.
#[rstest]
#[case::with_listeners_one_by_one(&[80])]
#[case::with_listeners_together(&[80, 81, 82, 83, 84, 85])]
#[tokio::test]
async fn an_instance_that_is_not_taken_keeps_nobody_out(#[case] ports: &[u16]) {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 5).await;
    let wants = [stage.present(ports, &[])];
    // It has stopped since it was looked at.
    let id = nodes[2].node.uid.as_str().to_owned();
    stage.console.stop(&[&id]).await.unwrap();
    stage.rounds(&wants, &nodes).await;
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    let balancer = stage.balancer().await;
    let listeners = stage.elbv2("describe_listeners", json!({ "LoadBalancerArn": balancer })).await;
    assert_eq!(listeners["Listeners"].as_array().unwrap().len(), ports.len());
    let groups =
        stage.elbv2("describe_target_groups", json!({ "LoadBalancerArn": balancer })).await;
    for group in groups["TargetGroups"].as_array().unwrap() {
        let args = json!({ "TargetGroupArn": group["TargetGroupArn"] });
        let health = stage.elbv2("describe_target_health", args).await;
        let health = health["TargetHealthDescriptions"].as_array().unwrap();
        assert_eq!(health.len(), 4, "{health:?}");
    }
    stage.with_report(&stage.id(), |report| {
        assert_eq!(report.verdict, Verdict::Done);
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
        assert_eq!(report.notes[0].reason, "TargetRefused");
        assert!(report.notes[0].message.contains(&id), "{:?}", report.notes);
    });
    // It is not tried again for now, and another node is not kept waiting.
    stage.take_calls().await;
    stage.rounds(&wants, &nodes).await;
    assert_eq!(stage.take_calls().await.1, [""; 0]);
    let mut more = nodes.clone();
    more.extend(stage.launch(6, 1).await);
    stage.rounds(&wants, &more).await;
    assert_eq!(stage.take_calls().await.1, vec!["RegisterTargets"; ports.len()]);
}

/// What was seen may be gone when it is used: that is nobody's mistake, and looked at again at
/// once.
#[rstest]
#[case::a_listener_is_made("CreateListener")]
#[case::a_listener_is_changed("ModifyListener")]
#[case::nodes_join("RegisterTargets")]
#[tokio::test]
async fn what_is_gone_meanwhile_is_looked_at_again(#[case] action: &str) {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 1).await;
    let code = "TargetGroupNotFound".to_owned();
    let fault = FaultKind::Error { code, status: None, message: None };
    stage.spoil(Fault::new(action, fault).times(1)).await;
    stage.passes.settle(&[stage.present(&[443], &[])], &nodes).await;
    let certificate = stage.certificate().await;
    stage.passes.settle(&[stage.present(&[443], &[("ssl-cert", &certificate)])], &nodes).await;
    let calls = stage.console.calls_since(0, &stage.caller).await.unwrap();
    let spoilt = calls.iter().filter(|call| call.fault.is_some());
    assert_eq!(spoilt.map(|call| call.action.as_str()).collect::<Vec<_>>(), [action]);
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    assert!(is_done(&stage));
    stage.with_report(&stage.id(), |report| assert!(report.notes.is_empty()));
}

/// Somebody took a Service's finalizer away and made it again. The Go program's target groups do
/// not say of which of the two they are.
#[tokio::test]
async fn who_goes_leaves_what_may_be_of_who_comes() {
    let stage = Stage::start("").await;
    let id = stage.id();
    let short: String = id.name.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    let name = format!("k8s-shop-{short}-0123456789");
    let tag = |key: String, value: &str| json!({ "Key": key, "Value": value });
    let args = json!({
        "Name": name, "Protocol": "TCP", "Port": 30080, "VpcId": stage.place.vpc,
        "TargetType": "instance",
        "Tags": [
            tag(format!("kubernetes.io/cluster/{}", stage.place.cluster), "owned"),
            tag("kubernetes.io/service-name".to_owned(), &id.to_string()),
        ],
    });
    stage.elbv2("create_target_group", args).await;
    let is_there = async || stage.snapshot().await.iter().any(|line| line.contains(&name));
    let first = ObjectId { uid: Uid::from("the-first"), ..id };
    // The second comes no further.
    let number = stage.spoil(Fault::new("CreateLoadBalancer", FaultKind::Denied)).await;
    let wants = [stage.present(&[80], &[]), absent(first.clone())];
    stage.rounds(&wants, &[]).await;
    stage.with_report(&first, |report| assert_eq!(report.holds, Holds::Nothing));
    assert!(is_there().await);
    stage.console.heal_one(number).await.unwrap();
    stage.passes.settle(&wants, &[]).await;
    assert!(!is_there().await, "it is the second's to clear");
}

#[tokio::test]
async fn managed_security_groups_come_and_go() {
    let stage = Stage::start("NLBSecurityGroupMode = Managed").await;
    let nodes = stage.launch(1, 1).await;
    let nothing = stage.snapshot().await;
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    let plain = stage.snapshot().await;
    let (_, writes) = stage.take_calls().await;
    let groups = ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "CreateLoadBalancer"];
    let rest =
        ["CreateTargetGroup", "RegisterTargets", "CreateListener", "AuthorizeSecurityGroupIngress"];
    assert_eq!(writes, [&groups[..], &rest[..]].concat());
    let group = stage.place.node_group.clone();
    stage.passes.settle(&[stage.present(&[80], &[("security-groups", &group)])], &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(writes, ["SetSecurityGroups", "DeleteSecurityGroup"]);
    let own = format!("security groups nodes.{}", stage.place.cluster);
    let lines = stage.snapshot().await;
    assert!(lines.iter().any(|line| line.ends_with(&own)), "{lines:#?}");
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    assert_eq!(stage.snapshot().await, plain);
    stage.passes.settle(&[stage.absent()], &nodes).await;
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    assert_eq!(stage.snapshot().await, nothing);
}

/// A group holds 60 rules, and may be full of others'.
#[tokio::test]
async fn a_group_of_nodes_that_is_full_says_so_and_heals() {
    const ROOM: usize = 60;

    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 2).await;
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    let group = stage.place.node_group.clone();
    let found = stage.aws("ec2", "describe_security_groups", json!({ "GroupIds": [group] })).await;
    let there = found["SecurityGroups"][0]["IpPermissions"].as_array().unwrap().iter();
    let ranges = |it: &serde_json::Value| it["IpRanges"].as_array().map_or(0, Vec::len);
    let pairs = |it: &serde_json::Value| it["UserIdGroupPairs"].as_array().map_or(0, Vec::len);
    let taken: usize = there.map(|it| ranges(it) + pairs(it)).sum();
    let ranges: Vec<_> =
        (taken..ROOM).map(|it| json!({ "CidrIp": format!("192.168.{it}.0/24") })).collect();
    let filler = json!({
        "GroupId": group,
        "IpPermissions": [
            { "IpProtocol": "tcp", "FromPort": 9999, "ToPort": 9999, "IpRanges": ranges },
        ],
    });
    stage.aws("ec2", "authorize_security_group_ingress", filler.clone()).await;
    let full = stage.snapshot().await;

    let wants = [stage.present(&[80, 443], &[])];
    stage.rounds(&wants, &nodes).await;
    let refused = stage.refusals("AuthorizeSecurityGroupIngress").await;
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|it| it == "RulesPerSecurityGroupLimitExceeded"), "{refused:?}");
    // What was let through before still is.
    let now = stage.snapshot().await;
    let rules = |lines: &[String]| {
        let rules = lines.iter().filter(|line| line.contains("nlb/client=")).cloned();
        rules.collect::<Vec<_>>()
    };
    assert_eq!(rules(&now), rules(&full));
    // Nor does it go before others for which there is no room.
    let mut ranged = stage.spec(&[80], &[]);
    ranged.source_ranges = (1..5)
        .map(|it| {
            let text = format!("10.{it}.0.0/16");
            let network = text.parse().ok();
            SourceRange { field: "spec.loadBalancerSourceRanges".to_owned(), text, network }
        })
        .collect();
    stage.rounds(&[Want::Present(ranged.into())], &nodes).await;
    assert!(stage.refusals("AuthorizeSecurityGroupIngress").await.len() > refused.len());
    assert_eq!(rules(&stage.snapshot().await), rules(&full));

    stage.aws("ec2", "revoke_security_group_ingress", filler).await;
    stage.passes.settle(&wants, &nodes).await;
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    assert_eq!(rules(&stage.snapshot().await).len(), 2);
}

#[tokio::test]
async fn a_protected_load_balancer_says_so() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 1).await;
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    let balancer = stage.balancer().await;
    let protect = |value: &str| {
        let attributes = json!([{ "Key": "deletion_protection.enabled", "Value": value }]);
        json!({ "LoadBalancerArn": balancer, "Attributes": attributes })
    };
    stage.elbv2("modify_load_balancer_attributes", protect("true")).await;
    let absent = [stage.absent()];
    let mut said = String::new();
    for _ in 0..20 {
        said = format!("{:?}", stage.passes.round(&absent, &nodes).await);
        if said.contains("is protected from deletion") {
            break;
        }
    }
    assert!(said.contains("is protected from deletion"), "{said}");
    stage.elbv2("modify_load_balancer_attributes", protect("false")).await;
    stage.passes.settle(&absent, &nodes).await;
    stage.with_report(&stage.id(), |it| assert_eq!(it.holds, Holds::Nothing));
}

/// Lost answers at every change, making, changing and taking down: the same end.
#[tokio::test]
async fn a_cut_at_any_change_ends_alike() {
    let mut reference: Option<Vec<String>> = None;
    for cut in 0..40 {
        let stage = Stage::alone("NLBSecurityGroupMode = Managed", &Settings::default()).await;
        let nodes = stage.launch(1, 2).await;
        let nothing = stage.snapshot().await;
        let fault = Fault::new("writes", FaultKind::LoseResponse).after(cut).times(1);
        let number = stage.spoil(fault).await;
        stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
        stage.passes.restart().await;
        let mut changed = stage.spec(&[443, 80], &[("healthcheck-protocol", "http")]);
        changed.ports[1] = port(80, 31_000);
        stage.passes.settle(&[Want::Present(changed.into())], &nodes[1..]).await;
        let cluster = stage.place.cluster.clone();
        let names = stage.name();
        let lines = stage.snapshot().await;
        // Names have the cluster's in them, or a hash of it.
        let plain = |line: &String| {
            let words = line.replace(&names, "LB").replace(&cluster, "CLUSTER");
            let words = words.split("k8s-").enumerate().map(|(place, part)| match place {
                0 => part.to_owned(),
                _ => format!("TG{}", part.split_once(' ').map_or("", |(_, rest)| rest)),
            });
            words.collect::<String>()
        };
        let mut end: Vec<_> = lines.iter().map(plain).collect();
        end.sort();
        if let Some(reference) = &reference {
            assert_eq!(*reference, end, "cut {cut}");
        }
        reference.get_or_insert(end);
        stage.passes.restart().await;
        stage.passes.settle(&[stage.absent()], &nodes).await;
        assert_eq!(stage.snapshot().await, nothing, "cut {cut}");
        let hit = stage.console.calls_since(0, &stage.caller).await.unwrap();
        stage.console.heal_one(number).await.unwrap();
        if hit.iter().all(|call| call.fault.is_none()) {
            // As many as there are changes.
            let writes = hit.iter().filter(|call| call.mutates).count();
            assert_eq!(usize::try_from(cut).unwrap(), writes);
            assert!(writes > 20, "{writes}");
            return;
        }
    }
    panic!("more changes than were cut");
}

/// Interfaces of a load balancer that was deleted go on using its security group. That group goes later,
/// and its target groups at once.
#[tokio::test]
async fn a_security_group_in_use_goes_later() {
    let lingering = |seconds| Settings { lingering_s: Some(seconds), ..Settings::default() };
    let stage = Stage::alone("NLBSecurityGroupMode = Managed", &lingering(3600.0)).await;
    let nodes = stage.launch(1, 2).await;
    let nothing = stage.snapshot().await;
    stage.passes.settle(&[stage.present(&[80, 443], &[])], &nodes).await;
    let wants = [stage.absent()];
    stage
        .rounds_until("that its group alone is left", (&wants, &nodes), async || {
            let lines = stage.snapshot().await;
            lines
                .iter()
                .all(|line| nothing.contains(line) || line.starts_with("security group k8s-"))
        })
        .await;
    stage.passes.round(&wants, &nodes).await;
    let refusals = stage.refusals("DeleteSecurityGroup").await;
    assert!(!refusals.is_empty());
    assert!(refusals.iter().all(|code| code == "DependencyViolation"), "{refusals:?}");
    stage.with_report(&stage.id(), |report| assert_eq!(report.holds, Holds::Something));
    stage.console.set(&lingering(0.0)).await.unwrap();
    stage.passes.settle(&wants, &nodes).await;
    stage.with_report(&stage.id(), |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    assert_eq!(stage.snapshot().await, nothing);
}

/// What is on its way out is out: it is neither taken out once more, nor does it stand in the way of its
/// return.
#[tokio::test]
async fn a_node_comes_back_while_it_is_draining() {
    let settings = Settings { draining_s: Some(3600.0), ..Settings::default() };
    let stage = Stage::alone("", &settings).await;
    let nodes = stage.launch(1, 2).await;
    let wants = [stage.present(&[80], &[])];
    stage.passes.settle(&wants, &nodes).await;
    let full = stage.snapshot().await;
    stage.take_calls().await;
    for (nodes, write) in [(&nodes[..1], "DeregisterTargets"), (&nodes[..], "RegisterTargets")] {
        stage.passes.settle(&wants, nodes).await;
        assert_eq!(stage.take_calls().await.1, [write]);
        stage.passes.settle(&wants, nodes).await;
        assert_eq!(stage.take_calls().await.1, [""; 0]);
    }
    assert_eq!(stage.snapshot().await, full);
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}

/// AWS takes minutes to make one, and says its address at once.
#[tokio::test]
async fn the_address_is_known_while_it_is_being_made() {
    let settings = Settings { provisioning_s: Some(3600.0), ..Settings::default() };
    let stage = Stage::alone("", &settings).await;
    let nodes = stage.launch(1, 1).await;
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    let seen = stage.elbv2("describe_load_balancers", json!({ "Names": [stage.name()] })).await;
    assert_eq!(seen["LoadBalancers"][0]["State"]["Code"], "provisioning");
    assert_eq!(hostname(&stage).as_deref(), seen["LoadBalancers"][0]["DNSName"].as_str());
    assert!(is_done(&stage));
    // Targets and ports are followed meanwhile.
    stage.passes.settle(&[stage.present(&[80, 443], &[])], &nodes).await;
    stage.passes.settle(&[stage.absent()], &nodes).await;
    stage.with_report(&stage.id(), |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}
