//! Classic Load Balancers on a fake AWS, over HTTP.

use ccm_awscloud::{Fault, FaultKind, Settings};
use ccm_core::cloud::{
    Holds, Ingress, IngressAddress, Member, ObjectId, Report, Uid, Verdict, Want,
};
use rstest::rstest;
use serde_json::json;

use crate::stage::{self, Stage, Wanted};

/// UIDs are of the cluster too: load balancers have names of the region.
fn id(name: &str) -> ObjectId {
    let uid = Uid::from(format!("uid-of-{name}"));
    ObjectId { namespace: "shop".into(), name: name.into(), uid }
}

fn present(name: &str, ports: &[u16], annotations: &[(&str, &str)]) -> Wanted {
    Want::Present(stage::spec(id(name), ports, annotations).into())
}

fn absent(name: &str) -> Wanted {
    stage::absent(id(name))
}

#[tokio::test]
async fn a_service_is_made_in_few_calls_and_left_alone_after() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 3).await;
    stage.take_calls().await;
    let wants = [present("made", &[80], &[])];
    stage.passes.settle(&wants, &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(
        writes,
        [
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "CreateLoadBalancer",
            "ConfigureHealthCheck",
            "RegisterInstancesWithLoadBalancer",
            "AuthorizeSecurityGroupIngress",
        ],
        "{:#?}",
        stage.passes.take_sent()
    );
    stage.with_report(&id("made"), |report| {
        assert_eq!((&report.verdict, report.holds), (&Verdict::Done, Holds::Something));
        assert!(report.notes.is_empty(), "{:?}", report.notes);
        let Ingress::Set(points) = &report.ingress else { panic!("{report:?}") };
        let IngressAddress::Hostname(name) = &points[0].address else { panic!("{points:?}") };
        assert!(name.ends_with(".elb.amazonaws.com"), "{name}");
    });

    stage.passes.restart().await;
    stage.take_calls().await;
    stage.passes.settle(&wants, &nodes).await;
    let (reads, writes) = stage.take_calls().await;
    assert!(writes.is_empty(), "{writes:?}");
    // What one look takes, and two passes look.
    let count = |action: &str| reads.iter().filter(|it| *it == action).count();
    assert_eq!(count("elb:DescribeLoadBalancerAttributes"), 2, "{reads:?}");
    assert_eq!(count("elb:DescribeTags"), 2, "{reads:?}");
    assert_eq!(count("elb:DescribeLoadBalancerPolicies"), 0, "{reads:?}");
}

/// What is different in the end from how it was before an annotation came and went.
#[derive(Clone, Copy, Debug)]
enum Stays {
    /// There is one more line, which ends like this.
    Line(&'static str),
    /// In lines that differ this text has come, in the place of that one.
    Text(&'static str, &'static str),
}

/// Each is set, left alone, and taken away again, after which all is as it was, but for what is said
/// to stay.
#[rstest]
#[case::internal_from_the_start(&[("internal", "true")], &[("internal", "true")], &[])]
#[case::cross_zone(&[], &[("cross-zone-load-balancing-enabled", "true")], &[])]
#[case::idle(&[], &[("connection-idle-timeout", "120")], &[])]
#[case::draining(
    &[],
    &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "30")],
    &[Stays::Text("Enabled=False, Timeout=300", "Enabled=False, Timeout=30")]
)]
#[case::proxy_protocol(
    &[],
    &[("proxy-protocol", "*")],
    &[Stays::Line(": policy k8s-proxyprotocol-enabled ProxyProtocolPolicyType")]
)]
#[case::http(&[], &[("backend-protocol", "http")], &[])]
#[case::health(
    &[],
    &[
        ("healthcheck-protocol", "HTTP"),
        ("healthcheck-port", "8081"),
        ("healthcheck-path", "/ready"),
        ("healthcheck-interval", "20"),
        ("healthcheck-timeout", "3"),
        ("healthcheck-healthy-threshold", "4"),
        ("healthcheck-unhealthy-threshold", "5"),
    ],
    &[]
)]
#[case::tags(
    &[],
    &[("additional-resource-tags", "team=shop,empty=")],
    &[Stays::Text("", "empty=, "), Stays::Text("", ", team=shop")]
)]
#[tokio::test]
async fn annotations_come_and_go(
    #[case] before: &[(&str, &str)],
    #[case] after: &[(&str, &str)],
    #[case] stays: &[Stays],
) {
    let stage = Stage::start("").await;
    let name = format!("set-{}", stage.place.cluster);
    let nodes = stage.launch(1, 2).await;
    come_and_go(&stage, &name, &nodes, (before, after), stays, &[]).await;
}

/// `leaves`: what is left of the Service when it is gone.
async fn come_and_go(
    stage: &Stage,
    name: &str,
    nodes: &[Member],
    (before, after): (&[(&str, &str)], &[(&str, &str)]),
    stays: &[Stays],
    leaves: &[&str],
) {
    let mut nothing = stage.snapshot().await;
    stage.passes.settle(&[present(name, &[80, 443], before)], nodes).await;
    let plain = stage.snapshot().await;
    let is_internal = plain.iter().any(|line| line.ends_with(": internal"));
    assert_eq!(is_internal, before.contains(&("internal", "true")), "{plain:#?}");
    for annotations in [after, before] {
        let wants = [present(name, &[80, 443], annotations)];
        stage.take_calls().await;
        stage.passes.settle(&wants, nodes).await;
        let (_, writes) = stage.take_calls().await;
        if annotations == after {
            assert_eq!(writes.is_empty(), before == after, "{writes:?}");
        }
        stage.passes.restart().await;
        stage.passes.settle(&wants, nodes).await;
        let (_, writes) = stage.take_calls().await;
        assert!(writes.is_empty(), "{writes:?}");
        if annotations == after && before != after {
            assert_ne!(stage.snapshot().await, plain);
        }
    }
    assert_eq!(without(stays, stage.snapshot().await, &plain), plain);
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    stage.passes.settle(&[absent(name)], nodes).await;
    nothing.extend(leaves.iter().map(|line| (*line).to_owned()));
    nothing.sort();
    gone(stage, name, &nothing).await;
}

/// These lines without what stays, each of which has to be there.
fn without(stays: &[Stays], lines: Vec<String>, plain: &[String]) -> Vec<String> {
    let mut used = vec![false; stays.len()];
    let mut rest = Vec::new();
    for mut line in lines {
        let mut is_more = false;
        if !plain.contains(&line) {
            for (stays, used) in stays.iter().zip(&mut used) {
                match stays {
                    Stays::Line(end) if line.ends_with(end) => (is_more, *used) = (true, true),
                    Stays::Text(was, is) if line.contains(is) => {
                        (line, *used) = (line.replacen(is, was, 1), true);
                    }
                    Stays::Line(_) | Stays::Text(..) => {}
                }
            }
        }
        if !is_more {
            rest.push(line);
        }
    }
    assert!(used.iter().all(|it| *it), "{stays:?} {used:?}");
    rest.sort();
    rest
}

/// Nothing of the Service is left beside these lines.
async fn gone(stage: &Stage, name: &str, lines: &[String]) {
    stage.with_report(&id(name), |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.snapshot().await, lines);
}

#[tokio::test]
async fn a_certificate_and_a_policy_come_and_go() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 2).await;
    let made =
        stage.aws("acm", "request_certificate", json!({ "DomainName": "example.com" })).await;
    let arn = made["CertificateArn"].as_str().unwrap();
    let certificate = ("ssl-cert", arn);
    let tls = [certificate, ("ssl-ports", "443")];
    // AWS' own, which it gets with the first port that speaks TLS.
    let default = [Stays::Line(": policy ELBSecurityPolicy-2016-08 SSLNegotiationPolicyType")];
    come_and_go(&stage, "tls", &nodes, (&[], &tls), &default, &[]).await;
    let https = [certificate, ("ssl-ports", "443"), ("backend-protocol", "https")];
    come_and_go(&stage, "https", &nodes, (&[], &https), &default, &[]).await;
    let policy = [
        certificate,
        ("ssl-ports", "443"),
        ("ssl-negotiation-policy", "ELBSecurityPolicy-TLS-1-2-2017-01"),
    ];
    let ours = ": policy k8s-SSLNegotiationPolicy-ELBSecurityPolicy-TLS-1-2-2017-01 \
                SSLNegotiationPolicyType";
    come_and_go(&stage, "policy", &nodes, (&tls, &policy), &[Stays::Line(ours)], &[]).await;
}

/// Its listener serves on, if the right is there that the Go program has not.
#[rstest]
#[case::with_the_right(false, &["SetLoadBalancerListenerSSLCertificate"])]
#[case::without_it(true, &["DeleteLoadBalancerListeners", "CreateLoadBalancerListeners"])]
#[tokio::test]
async fn a_certificate_is_renewed(#[case] is_denied: bool, #[case] want: &[&str]) {
    const ACTION: &str = "SetLoadBalancerListenerSSLCertificate";

    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 2).await;
    let mut arns = Vec::new();
    for domain in ["a.example", "b.example"] {
        let made = stage.aws("acm", "request_certificate", json!({ "DomainName": domain })).await;
        arns.push(made["CertificateArn"].as_str().unwrap().to_owned());
    }
    if is_denied {
        stage.spoil(Fault::new(ACTION, FaultKind::Denied)).await;
    }
    let name = if is_denied { "made-anew" } else { "renewed" };
    let of = |arn: &str| [present(name, &[443], &[("ssl-cert", arn)])];
    stage.passes.settle(&of(&arns[0]), &nodes).await;
    stage.take_calls().await;
    stage.passes.settle(&of(&arns[1]), &nodes).await;
    let mut writes = stage.take_calls().await.1;
    writes.retain(|action| !(is_denied && action == ACTION));
    assert_eq!(writes, want);
    let lines = stage.snapshot().await;
    assert!(lines.iter().any(|line| line.contains(&arns[1])), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains(&arns[0])), "{lines:#?}");
}

#[tokio::test]
async fn access_logs_come_and_go() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 1).await;
    stage.aws("s3", "create_bucket", json!({ "Bucket": "the-logs" })).await;
    let logs = [
        ("access-log-enabled", "true"),
        ("access-log-s3-bucket-name", "the-logs"),
        ("access-log-s3-bucket-prefix", "web"),
        ("access-log-emit-interval", "5"),
    ];
    come_and_go(&stage, "logs", &nodes, (&[], &logs), &[], &[]).await;
}

#[tokio::test]
async fn security_groups_and_subnets_come_and_go() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 2).await;
    let args = json!({
        "GroupName": "mine", "Description": "of a user", "VpcId": stage.place.vpc,
    });
    let made = stage.aws("ec2", "create_security_group", args).await;
    let group = made["GroupId"].as_str().unwrap();
    let extra = [("extra-security-groups", group)];
    come_and_go(&stage, "extra", &nodes, (&[], &extra), &[], &[]).await;
    let subnets = [("subnets", stage.place.public_b.as_str())];
    come_and_go(&stage, "subnets", &nodes, (&[], &subnets), &[], &[]).await;
    // The nodes' rule for a user's group bears no mark: nobody could say whose it was.
    let groups = [("security-groups", group)];
    let rule = format!("security group nodes.{}: in -1 mine", stage.place.cluster);
    let stays = [Stays::Line(": in -1 mine")];
    come_and_go(&stage, "groups", &nodes, (&[], &groups), &stays, &[&rule]).await;
    // The user's own is left.
    let args = json!({ "GroupIds": [group] });
    let left = stage.aws("ec2", "describe_security_groups", args).await;
    assert_eq!(left["SecurityGroups"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn ports_and_nodes_come_and_go() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 3).await;
    let proxy = [("proxy-protocol", "*")];
    stage.passes.settle(&[present("ports", &[80], &proxy)], &nodes[..1]).await;
    let plain = stage.snapshot().await;
    stage.passes.settle(&[present("ports", &[80, 443, 8080], &proxy)], &nodes).await;
    assert_ne!(stage.snapshot().await, plain);
    stage.passes.settle(&[present("ports", &[80], &proxy)], &nodes[..1]).await;
    assert_eq!(stage.snapshot().await, plain);
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}

/// AWS takes none of the instances of a request where it does not know one.
#[tokio::test]
async fn an_instance_that_is_not_taken_keeps_nobody_out() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 5).await;
    let wants = [present("refused", &[80], &[])];
    // It is gone since it was looked at.
    let id = nodes[2].node.uid.as_str().to_owned();
    stage.console.terminate(&[&id]).await.unwrap();
    stage.rounds(&wants, &nodes).await;
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    stage.with_report(&self::id("refused"), |report| {
        assert_eq!(report.verdict, Verdict::Done);
        assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
        assert_eq!(report.notes[0].reason, "TargetRefused");
        assert!(report.notes[0].message.contains(&id), "{:?}", report.notes);
    });
    let args = json!({ "LoadBalancerNames": ["auidofrefused"] });
    let seen = stage.aws("elb", "describe_load_balancers", args).await;
    let instances = &seen["LoadBalancerDescriptions"][0]["Instances"];
    assert_eq!(instances.as_array().unwrap().len(), 4, "{instances}");
    stage.take_calls().await;
    stage.rounds(&wants, &nodes).await;
    assert_eq!(stage.take_calls().await.1, [""; 0]);
}

#[tokio::test]
async fn another_clusters_is_left_alone() {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 1).await;
    let name = "auidofforeign";
    let args = json!({
        "LoadBalancerName": name,
        "Listeners": [{
            "Protocol": "TCP", "LoadBalancerPort": 80, "InstanceProtocol": "TCP",
            "InstancePort": 30080,
        }],
        "Subnets": [stage.place.public_a],
        "Tags": [{ "Key": "kubernetes.io/cluster/red", "Value": "owned" }],
    });
    stage.aws("elb", "create_load_balancer", args).await;
    stage.take_calls().await;
    stage.passes.settle(&[present("foreign", &[80], &[])], &nodes).await;
    stage.with_report(&id("foreign"), |report| {
        let Verdict::Refused(err) = &report.verdict else { panic!("{report:?}") };
        assert!(err.message().contains("another cluster's tag"), "{err}");
    });
    stage.passes.settle(&[absent("foreign")], &nodes).await;
    stage.with_report(&id("foreign"), |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.take_calls().await.1, Vec::<String>::new());
}

/// A life with all kinds of changes.
async fn live(stage: &Stage, name: &str, nodes: &[Member]) -> Vec<Vec<String>> {
    let before = stage.snapshot().await;
    let proxy = ("proxy-protocol", "*");
    let subnets = ("subnets", stage.place.public_b.as_str());
    let idle = ("connection-idle-timeout", "70");
    let tags = ("additional-resource-tags", "team=shop");
    let mut seen = Vec::new();
    for (ports, annotations) in
        [(&[80, 443][..], &[proxy][..]), (&[80, 8080][..], &[subnets, idle, tags][..])]
    {
        stage.passes.settle(&[present(name, ports, annotations)], nodes).await;
        seen.push(stage.snapshot().await);
    }
    stage.passes.settle(&[absent(name)], nodes).await;
    gone(stage, name, &before).await;
    seen
}

#[rstest]
#[case::the_answer_is_lost(FaultKind::LoseResponse)]
#[case::it_never_arrives(FaultKind::Unavailable)]
#[tokio::test]
async fn whatever_write_fails_the_end_is_the_same(#[case] kind: FaultKind) {
    let stage = Stage::alone("", &Settings::default()).await;
    let nodes = stage.launch(1, 2).await;
    let name = stage.place.cluster.clone();
    stage.take_calls().await;
    let want = live(&stage, &name, &nodes).await;
    let (_, writes) = stage.take_calls().await;
    assert!(writes.len() > 15, "{writes:?}");
    for number in 0..u32::try_from(writes.len()).unwrap() {
        stage.spoil(Fault::new("writes", kind.clone()).after(number).times(1)).await;
        let have = live(&stage, &name, &nodes).await;
        assert_eq!(have, want, "{number}");
        let failures = stage.passes.take_failures();
        // A busy machine has time-outs of its own, which are as good as the one that is made here.
        let is_slow =
            |it: &&String| it.contains("did not answer in time") || it.contains("was not sent");
        let spoilt = failures.iter().filter(|it| !is_slow(it)).count();
        assert!(spoilt <= 1, "{failures:?}");
        stage.passes.restart().await;
    }
}

/// Interfaces of a load balancer that was deleted go on using its security group. That group goes later,
/// and nobody else waits for it.
#[tokio::test]
async fn a_security_group_in_use_holds_nobody_up() {
    let lingering = |seconds| Settings { lingering_s: Some(seconds), ..Settings::default() };
    let stage = Stage::alone("", &lingering(3600.0)).await;
    let nodes = stage.launch(1, 2).await;
    let before = stage.snapshot().await;
    stage.passes.settle(&[present("first", &[80], &[])], &nodes).await;
    let wants = [absent("first"), present("second", &[80], &[])];
    stage
        .rounds_until(
            "the second one, while the first one's group is used",
            (&wants, &nodes),
            async || {
                let is_done = |report: &Report| report.verdict == Verdict::Done;
                stage.with_report(&id("second"), is_done)
                    && !stage.refusals("DeleteSecurityGroup").await.is_empty()
            },
        )
        .await;
    let refusals = stage.refusals("DeleteSecurityGroup").await;
    assert!(refusals.iter().all(|code| code == "DependencyViolation"), "{refusals:?}");
    stage.with_report(&id("first"), |report| {
        assert_eq!(report.holds, Holds::Something);
        assert!(matches!(report.verdict, Verdict::Progressing(_)), "{report:?}");
    });
    // It is not asked for again and again in one pass.
    let rounds = refusals.len();
    stage.passes.round(&wants, &nodes).await;
    assert_eq!(stage.refusals("DeleteSecurityGroup").await.len(), rounds + 1);
    stage.console.set(&lingering(0.0)).await.unwrap();
    stage.passes.settle(&wants, &nodes).await;
    stage.with_report(&id("first"), |report| assert_eq!(report.holds, Holds::Nothing));
    assert_eq!(stage.passes.take_failures(), [""; 0]);
    stage.passes.settle(&[absent("second")], &nodes).await;
    gone(&stage, "second", &before).await;
}
