//! Network Load Balancers against a fake AWS, over HTTP.

mod service;

use ccm_awscloud::{Fault, FaultKind};
use ccm_core::cloud::{Holds, Ingress, IngressAddress, ObjectId, Protocol, Uid, Verdict, Want};
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
}

/// Set, changed and taken away: the writes of each, and none afterwards.
#[rstest]
#[case::health_protocol(
    &[("healthcheck-protocol", "http"), ("healthcheck-path", "/up")],
    &[("healthcheck-protocol", "https"), ("healthcheck-path", "/up"), ("healthcheck-port", "8443")],
    ["ModifyTargetGroup", "ModifyTargetGroup", "ModifyTargetGroup"]
)]
#[case::health_numbers(
    &[("healthcheck-interval", "5"), ("healthcheck-timeout", "4")],
    &[("healthcheck-interval", "60"), ("healthcheck-timeout", "20"), ("healthcheck-unhealthy-threshold", "5")],
    ["ModifyTargetGroup", "ModifyTargetGroup", "ModifyTargetGroup"]
)]
#[case::thresholds(
    &[("healthcheck-healthy-threshold", "5")],
    &[("healthcheck-healthy-threshold", "5"), ("healthcheck-unhealthy-threshold", "7")],
    ["ModifyTargetGroup", "ModifyTargetGroup", "ModifyTargetGroup"]
)]
#[case::cross_zone(
    &[("cross-zone-load-balancing-enabled", "true")],
    &[("cross-zone-load-balancing-enabled", "false")],
    ["ModifyLoadBalancerAttributes", "ModifyLoadBalancerAttributes", ""]
)]
#[case::logs(
    &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs")],
    &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs"), ("access-log-s3-bucket-prefix", "web")],
    ["ModifyLoadBalancerAttributes", "ModifyLoadBalancerAttributes", "ModifyLoadBalancerAttributes"]
)]
#[case::group_attributes(
    &[("target-group-attributes", "proxy_protocol_v2.enabled=true")],
    &[("target-group-attributes", "proxy_protocol_v2.enabled=true,preserve_client_ip.enabled=false")],
    ["ModifyTargetGroupAttributes", "ModifyTargetGroupAttributes", ""]
)]
#[case::tags(
    &[("additional-resource-tags", "team=a")],
    &[("additional-resource-tags", "team=b")],
    ["AddTags", "AddTags", ""]
)]
#[tokio::test]
async fn an_annotation(
    #[case] set: &[(&str, &str)],
    #[case] changed: &[(&str, &str)],
    #[case] want: [&str; 3],
) {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 1).await;
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    stage.take_calls().await;
    for (pairs, want) in [set, changed, &[]].into_iter().zip(want) {
        let wants = [stage.present(&[80], pairs)];
        stage.passes.settle(&wants, &nodes).await;
        let (_, writes) = stage.take_calls().await;
        // What the nodes let through may follow the health checks.
        let own: Vec<_> = writes.into_iter().filter(|it| !it.contains("SecurityGroup")).collect();
        assert_eq!(own.join(","), want, "{pairs:?}");
        stage.passes.settle(&wants, &nodes).await;
        assert!(stage.take_calls().await.1.is_empty());
    }
    assert_eq!(stage.passes.take_failures(), [""; 0]);
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
        assert!(stage.take_calls().await.1.is_empty());
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
    let left = stage.snapshot().await;
    assert!(!left.iter().any(|line| line.contains("k8s-")), "{left:#?}");
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
    assert!(stage.take_calls().await.1.is_empty());
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
    assert!(stage.take_calls().await.1.is_empty());
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
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(
        writes[..3],
        ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "CreateLoadBalancer"]
    );
    let group = stage.place.node_group.clone();
    stage.passes.settle(&[stage.present(&[80], &[("security-groups", &group)])], &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert!(writes.iter().any(|it| it == "SetSecurityGroups"), "{writes:?}");
    assert!(writes.iter().any(|it| it == "DeleteSecurityGroup"), "{writes:?}");
    stage.passes.settle(&[stage.present(&[80], &[])], &nodes).await;
    stage.passes.settle(&[stage.absent()], &nodes).await;
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    let left = stage.snapshot().await;
    assert!(!left.iter().any(|line| line.contains("k8s-")), "{left:#?}");
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
    for _ in 0..3 {
        stage.passes.round(&absent, &nodes).await;
    }
    let ends = stage.passes.round(&absent, &nodes).await;
    let said = format!("{ends:?}");
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
        let stage = Stage::start("NLBSecurityGroupMode = Managed").await;
        let nodes = stage.launch(1, 2).await;
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
        let left = stage.snapshot().await;
        assert!(
            !left.iter().any(|line| line.contains("k8s-") || line.contains(&stage.name())),
            "cut {cut}: {left:#?}"
        );
        let hit = stage.console.calls_since(0, &stage.caller).await.unwrap();
        stage.console.heal_one(number).await.unwrap();
        if hit.iter().all(|call| call.fault.is_none()) {
            assert!(cut > 20, "it was cut often enough: {cut}");
            return;
        }
    }
    panic!("more changes than were cut");
}
