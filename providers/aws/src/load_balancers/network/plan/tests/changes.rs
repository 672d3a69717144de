//! What it takes to get somewhere, step by step.

use std::time::Duration;

use ccm_core::cloud::{Effect, Holds, Ingress, Protocol as Transport, Verdict};
use rstest::rstest;

use super::super::super::super::refusals::Refusal;
use super::model::{
    Cloud, MANAGED, NAME, absent, group_arn, instance, keep, port, present, provider, provider_of,
    spec, world,
};
use super::{lines, notes, report, steps};
use crate::client::elbv2::Target;

/// Lines without the ends of names, which are hashes.
fn plain(steps: Vec<String>) -> Vec<String> {
    let mut plain = Vec::new();
    for line in steps {
        let words = line.split(' ').map(|word| match word.strip_prefix("k8s-shop-web-") {
            Some(hash) => format!("TG{}", &hash[hash.len().min(10)..]),
            None => word.replace(NAME, "LB"),
        });
        plain.push(words.collect::<Vec<_>>().join(" "));
    }
    plain
}

#[test]
fn a_dry_run_shows_all_of_it() {
    let plan = Cloud::default().plan(&provider(""), &world(present(spec(&[80], &[])), 3));
    assert_eq!(
        plain(lines(&plan).concat()),
        [
            "create internet-facing Network Load Balancer LB in subnet-a, subnet-b",
            "create target group TG for TCP 30080 (protocol TCP, port traffic-port, interval 30, healthy \
             threshold 3, unhealthy threshold 3)",
            "register in target group TG: 3 instances (i-00000000000000000 … i-00000000000000002)",
            "create listener 80 of LB for TCP to target group TG",
        ]
    );
    assert!(plan.stages.iter().all(|stage| stage.len() == 1), "so that no look is needed between");
    assert_eq!(report(&plan).holds, Holds::Nothing);
    assert_eq!(report(&plan).ingress, Ingress::Leave);
}

#[test]
fn many_ports_are_made_together() {
    let ports: Vec<u16> = (80..90).collect();
    let plan = Cloud::default().plan(&provider(""), &world(present(spec(&ports, &[])), 150));
    let sizes: Vec<_> = plan.stages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 10, 20, 10]);
}

#[test]
fn a_managed_group_is_made_first_and_opened_for_tls_by_tcp() {
    let mut web = spec(&[443], &[("ssl-cert", "arn:cert")]);
    for text in ["192.0.2.0/24", "2001:db8::/32"] {
        web.source_ranges.push(ccm_core::cloud::SourceRange {
            field: "spec.loadBalancerSourceRanges".into(),
            text: text.into(),
            network: text.parse().ok(),
        });
    }
    let at = provider(MANAGED);
    let plan = Cloud::default().plan(&at, &world(present(web), 1));
    assert_eq!(notes(&plan), ["SourceRangeIgnored"]);
    assert_eq!(
        plain(lines(&plan).concat())[..3],
        [
            "create security group TG",
            "allow in security group TG: icmp fragmentation needed from 192.0.2.0/24, tcp 443 from \
             192.0.2.0/24",
            "create internet-facing Network Load Balancer LB in subnet-a, subnet-b with security group TG",
        ]
    );
}

#[rstest]
#[case::nothing(&[], &[], &[])]
#[case::another_check(
    &[], &[("healthcheck-protocol", "http"), ("healthcheck-interval", "5"), ("healthcheck-unhealthy-threshold", "4")],
    &["set health check of target group TG: protocol HTTP, path /, interval 5, timeout 5, unhealthy threshold 4"]
)]
#[case::back_to_tcp(
    &[("healthcheck-protocol", "http")], &[],
    &["set health check of target group TG: protocol TCP"]
)]
#[case::another_timeout(
    &[("healthcheck-timeout", "7")], &[("healthcheck-timeout", "8")],
    &["set health check of target group TG: timeout 8"]
)]
#[case::a_timeout_no_more(&[("healthcheck-timeout", "7")], &[], &[])]
#[case::a_certificate(
    &[], &[("ssl-cert", "arn:cert")],
    &["set listener 80 of LB: TLS (certificate arn:cert) to target group TG"]
)]
#[case::no_certificate_any_more(
    &[("ssl-cert", "arn:cert"), ("ssl-negotiation-policy", "strict")], &[],
    &["set listener 80 of LB: TCP to target group TG"]
)]
#[case::another_policy(
    &[("ssl-cert", "arn:cert")], &[("ssl-cert", "arn:cert"), ("ssl-negotiation-policy", "strict")],
    &["set listener 80 of LB: TLS (certificate arn:cert, policy strict) to target group TG"]
)]
#[case::a_policy_no_more(
    &[("ssl-cert", "arn:cert"), ("ssl-negotiation-policy", "strict")], &[("ssl-cert", "arn:cert")], &[]
)]
#[case::tls_to_nodes_replaces_the_group(
    &[("ssl-cert", "arn:cert")], &[("ssl-cert", "arn:cert"), ("backend-protocol", "ssl")],
    &[
        "create target group TG for TLS 30080 (protocol TCP, port traffic-port, interval 30, healthy threshold 3, unhealthy threshold 3)",
        "register in target group TG: 2 instances (i-00000000000000000 … i-00000000000000001)",
        "set listener 80 of LB: TLS (certificate arn:cert) to target group TG",
        "delete target group TG",
    ]
)]
#[case::cross_zone(
    &[], &[("cross-zone-load-balancing-enabled", "true")],
    &["set attributes of LB: load_balancing.cross_zone.enabled=true"]
)]
#[case::cross_zone_no_more(
    &[("cross-zone-load-balancing-enabled", "true")], &[],
    &["set attributes of LB: load_balancing.cross_zone.enabled=false"]
)]
#[case::logs(
    &[], &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs")],
    &["set attributes of LB: access_logs.s3.bucket=logs, access_logs.s3.enabled=true"]
)]
#[case::logs_no_more(
    &[("access-log-enabled", "true"), ("access-log-s3-bucket-name", "logs")], &[],
    &["set attributes of LB: access_logs.s3.enabled=false"]
)]
#[case::group_attributes(
    &[], &[("target-group-attributes", "proxy_protocol_v2.enabled=true,preserve_client_ip.enabled=true")],
    &["set attributes of target group TG: proxy_protocol_v2.enabled=true"]
)]
#[case::group_attributes_no_more(&[("target-group-attributes", "proxy_protocol_v2.enabled=true")], &[], &[])]
#[case::tags(
    &[("additional-resource-tags", "a=1,b=2")], &[("additional-resource-tags", "b=3,c=4")],
    &["tag Network Load Balancer LB: b=3, c=4", "tag target group TG: b=3, c=4", "tag listener 80 of LB: b=3, c=4"]
)]
#[case::the_fixed_tags_go_before_those_of_the_annotation(
    &[], &[("additional-resource-tags", "kubernetes.io/service-name=other/name")], &[]
)]
fn an_annotation_changes(
    #[case] before: &[(&str, &str)],
    #[case] after: &[(&str, &str)],
    #[case] want: &[&str],
) {
    let at = provider("");
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80], before)), 2));
    let after = world(present(spec(&[80], after)), 2);
    assert_eq!(plain(steps(&cloud, &at, &after)), want);
    cloud.converge(&at, &after);
    assert!(cloud.plan(&at, &after).is_done());
}

#[test]
fn another_node_port_takes_the_attributes_along() {
    let at = provider("");
    let mut cloud = Cloud::default();
    let named = [("target-group-attributes", "proxy_protocol_v2.enabled=true")];
    cloud.converge(&at, &world(present(spec(&[80], &named)), 1));
    // Another one was set by hand, and the annotation is there no more.
    let first = cloud.groups.keys().next().unwrap().clone();
    let attributes = cloud.attributes.get_mut(&group_arn(&first)).unwrap();
    attributes.insert("deregistration_delay.timeout_seconds".into(), "20".into());
    let mut moved = spec(&[80], &[]);
    moved.ports = vec![port(80, 31_000)];
    let moved = world(present(moved), 1);
    assert_eq!(
        plain(steps(&cloud, &at, &moved)),
        [
            "create target group TG for TCP 31000 (protocol TCP, port traffic-port, interval 30, healthy \
             threshold 3, unhealthy threshold 3)",
            "register in target group TG: i-00000000000000000",
            "set attributes of target group TG: deregistration_delay.timeout_seconds=20, \
             proxy_protocol_v2.enabled=true",
            "set listener 80 of LB: TCP to target group TG",
            "delete target group TG",
        ]
    );
    cloud.converge(&at, &moved);
    let (name, _) = cloud.groups.first_key_value().unwrap();
    assert_eq!(cloud.attributes[&group_arn(name)]["proxy_protocol_v2.enabled"], "true");
}

#[test]
fn ports_come_and_go() {
    let at = provider("");
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80, 81], &[])), 1));
    let after = world(present(spec(&[81, 82], &[])), 1);
    let steps = plain(steps(&cloud, &at, &after));
    let verbs: Vec<_> = steps.iter().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        verbs,
        [
            "create target group TG for TCP 30082",
            "register in target group TG: i-00000000000000000",
            "create listener 82 of LB for TCP to target group TG",
            "delete listener 80 of LB",
            "delete target group TG",
        ]
    );
    let plan = cloud.plan(&at, &after);
    let deletes = plan
        .stages
        .iter()
        .flatten()
        .filter(|it| ccm_core::cloud::Change::effect(&it.change) == Effect::Delete);
    assert_eq!(deletes.count(), 2);
    cloud.converge(&at, &after);
}

#[test]
fn tcp_becomes_udp_in_place() {
    let at = provider("");
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[53], &[])), 1));
    let mut udp = spec(&[53], &[]);
    udp.ports[0].protocol = Transport::Udp;
    let udp = world(present(udp), 1);
    let steps = plain(steps(&cloud, &at, &udp));
    assert!(
        steps.contains(&"set listener 53 of LB: UDP to target group TG".to_owned()),
        "{steps:?}"
    );
    cloud.converge(&at, &udp);
    assert_eq!(cloud.groups.len(), 1);
}

#[test]
fn ports_may_share_a_node_port() {
    let at = provider("");
    let mut web = spec(&[], &[]);
    web.ports = vec![port(80, 30_080), port(81, 30_080)];
    let web = world(present(web), 2);
    let mut cloud = Cloud::default();
    cloud.converge(&at, &web);
    assert_eq!(cloud.groups.len(), 2);
    // The Go program finds groups by node port, so both may end at one.
    let first = cloud.listeners[&80].target_groups.clone();
    cloud.listeners.get_mut(&81).unwrap().target_groups = first;
    let steps = steps(&cloud, &at, &web);
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].starts_with("delete target group"));
    cloud.converge(&at, &web);
    cloud.converge(&at, &world(absent(), 0));
    assert_eq!(cloud, Cloud::default());
}

#[test]
fn nodes_come_and_go_in_portions() {
    let at = provider("");
    let mut cloud = Cloud::default();
    let web = present(spec(&[80], &[]));
    cloud.converge(&at, &world(web.clone(), 250));
    let fewer = cloud.plan(&at, &world(web.clone(), 10));
    let sizes: Vec<_> = fewer.stages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1], "240 in three");
    let joined = cloud.plan(&at, &world(web, 251));
    assert_eq!(lines(&joined).concat().len(), 1);
    assert!(matches!(report(&joined).verdict, Verdict::Progressing(_)));
    let kept = steps(&cloud, &at, &world(keep(), 251));
    assert_eq!(kept, lines(&joined).concat());
}

#[test]
fn an_instance_that_is_not_taken_is_left_out_and_told() {
    let at = provider("");
    let mut cloud = Cloud::default();
    let web = present(spec(&[80, 443], &[]));
    cloud.converge(&at, &world(web.clone(), 2));
    let refusal = Refusal { why: "it is gone".to_owned(), pause: Duration::from_mins(2) };
    cloud.refused = [(instance(2), refusal)].into();
    let more = world(web, 4);
    let line = "register in target group TG: i-00000000000000003";
    assert_eq!(plain(steps(&cloud, &at, &more)), [line; 2]);
    for (arn, targets) in &mut cloud.targets {
        let port = cloud.groups.values().find(|it| it.arn == *arn).unwrap().port;
        targets.insert(Target { id: instance(3), port });
    }
    for want in [more, world(keep(), 4)] {
        let plan = cloud.plan(&at, &want);
        assert_eq!(report(&plan).verdict, Verdict::Done);
        let notes = &report(&plan).notes;
        assert_eq!((notes.len(), notes[0].reason), (1, "TargetRefused"));
        assert!(notes[0].message.contains("1 of 4 instances"), "{notes:?}");
        assert!(notes[0].message.contains("it is gone"), "{notes:?}");
        assert_eq!(plan.later[0].look_again, Duration::from_mins(2));
    }
}

#[test]
fn targets_at_another_port_go() {
    let at = provider("");
    let mut cloud = Cloud::default();
    let web = world(present(spec(&[80], &[])), 1);
    cloud.converge(&at, &web);
    let odd = Target { id: instance(0), port: 1 };
    cloud.targets.values_mut().for_each(|it| _ = it.insert(odd.clone()));
    let steps = plain(steps(&cloud, &at, &web));
    assert_eq!(steps, ["deregister from target group TG: i-00000000000000000"]);
}

#[test]
fn security_groups_follow_where_there_are_some() {
    let at = provider(MANAGED);
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80], &[])), 1));
    let named = world(present(spec(&[80], &[("security-groups", "sg-1")])), 1);
    let made = plain(steps(&cloud, &at, &named));
    assert_eq!(made, ["set security groups of LB: sg-1", "delete security group TG"]);
    cloud.changes(&at, &named, 2);
    let back = world(present(spec(&[80], &[])), 1);
    cloud.converge(&at, &back);
    cloud.converge(&at, &world(absent(), 0));
    assert_eq!(cloud, Cloud::default());
}

/// The name of the security group that is made for it depends on `--cluster-name`.
#[rstest]
#[case::ours(true)]
#[case::of_the_go_program(false)]
fn its_security_group_goes_whatever_the_cluster_was_called(#[case] is_ours: bool) {
    let mut made = Cloud::default();
    made.converge(&provider(MANAGED), &world(present(spec(&[80], &[])), 1));
    if !is_ours {
        made.security[0].tags.retain(|key, _| key.starts_with("kubernetes.io/cluster/"));
    }
    let before = made.security[0].name.clone();
    let at = provider_of("prod", MANAGED);
    let (up, down) = (world(present(spec(&[80], &[])), 1), world(absent(), 0));
    let steps = plain(steps(&made, &at, &up));
    let tagged = usize::from(!is_ours);
    assert_eq!(steps.len(), 4 + tagged, "{steps:#?}");
    assert_eq!(
        steps[2 + tagged..],
        ["set security groups of LB: security group TG", "delete security group TG"]
    );
    assert_eq!(report(&made.plan(&at, &down)).holds, Holds::Something);
    // Wherever it stops, nothing is left once the Service is gone.
    for most in 0..=steps.len() {
        let mut cloud = made.clone();
        cloud.changes(&at, &up, most);
        cloud.converge(&at, &down);
        assert_eq!(cloud, Cloud::default(), "after {most}");
    }
    for most in 0..5 {
        let mut cloud = made.clone();
        cloud.changes(&at, &down, most);
        let rest = report(&cloud.plan(&at, &down)).holds;
        assert_eq!(rest == Holds::Nothing, cloud == Cloud::default(), "after {most}");
        cloud.converge(&at, &down);
        assert_eq!(cloud, Cloud::default(), "after {most}");
    }
    // One that the annotation names is somebody's.
    let named = format!("sg-of-{before}");
    if !is_ours {
        let named = present(spec(&[80], &[("security-groups", &named)]));
        assert!(made.plan(&at, &world(named, 1)).is_done());
    }
}

#[test]
fn addresses_are_given_out() {
    let at = provider("");
    let fixed =
        |pairs| plain(steps(&Cloud::default(), &at, &world(present(spec(&[80], pairs)), 0)));
    assert_eq!(
        fixed(&[("eip-allocations", "eipalloc-2,eipalloc-1")])[0],
        "create internet-facing Network Load Balancer LB in subnet-a at eipalloc-2, subnet-b at eipalloc-1"
    );
    assert_eq!(
        fixed(&[("private-ipv4-addresses", "10.0.1.9,10.0.0.9"), ("internal", "true")])[0],
        "create internal Network Load Balancer LB in subnet-a at 10.0.0.9, subnet-b at 10.0.1.9"
    );
}

#[test]
fn it_is_taken_down_in_order() {
    let at = provider(MANAGED);
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80], &[])), 1));
    let plan = cloud.plan(&at, &world(absent(), 0));
    assert_eq!(
        plain(lines(&plan).concat()),
        ["delete Network Load Balancer LB", "delete target group TG", "delete security group TG"]
    );
    assert_eq!(report(&plan).holds, Holds::Something);
    // The load balancer is gone already, and what is left is found by its tags.
    cloud.lose_balancer();
    let plan = cloud.plan(&at, &world(absent(), 0));
    assert_eq!(
        plain(lines(&plan).concat()),
        ["delete target group TG", "delete security group TG"]
    );
}

#[test]
fn another_type_takes_it_away() {
    let at = provider("");
    let mut cloud = Cloud::default();
    cloud.converge(&at, &world(present(spec(&[80], &[])), 1));
    let classic = world(present(spec(&[80], &[("type", "")])), 1);
    let steps = plain(steps(&cloud, &at, &classic));
    assert_eq!(steps[..2], ["delete Network Load Balancer LB", "delete target group TG"]);
    assert!(steps[2..].iter().any(|step| step.contains("Classic Load Balancer")), "{steps:?}");
}
