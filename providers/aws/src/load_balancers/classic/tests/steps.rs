//! Which steps are taken, and what is said.

use std::time::Duration;

use ccm_core::cloud::{Holds, Ingress, IngressAddress, Plan, Report, Verdict};
use ipnet::Ipv4Net;
use rstest::rstest;

use super::model::{Cloud, NAME, group, world};
use crate::client::groups::{Peer, Rule, Traffic};
use crate::config::Config;
use crate::load_balancers::change::AwsChange;
use crate::load_balancers::refusals::Refusal;
use crate::load_balancers::samples::{
    absent, absent_with, doubtful, instance_id, keep, present, spec,
};
use crate::marks::MANAGED_KEY;

const CERTIFICATE: (&str, &str) = ("ssl-cert", "arn:1");

pub(super) fn report(plan: &Plan<AwsChange>) -> &Report {
    &plan.reports[0]
}

fn lines(plan: &Plan<AwsChange>) -> Vec<String> {
    plan.stages.iter().flatten().map(|step| step.change.to_string()).collect()
}

/// The lines, without what is in all of them.
fn short(lines: Vec<String>) -> Vec<String> {
    let balancer = format!("Classic Load Balancer {NAME}");
    let group = format!("security group k8s-elb-{NAME}");
    let short = |line: String| line.replace(&balancer, "LB").replace(&group, "its group");
    lines.into_iter().map(short).collect()
}

/// A load balancer that is as these annotations ask for.
fn made(annotations: &[(&str, &str)]) -> Cloud {
    let mut cloud = Cloud::default();
    cloud.converge(&world(present(spec("web", &[80, 443], annotations)), 2));
    cloud
}

#[test]
fn a_dry_run_shows_all_of_it() {
    let annotations = [CERTIFICATE, ("ssl-negotiation-policy", "P"), ("proxy-protocol", "*")];
    let wish = world(present(spec("web", &[443], &annotations)), 5);
    let mut cloud = Cloud::default();
    let plan = cloud.plan(&wish);
    let shown = lines(&plan);
    assert_eq!(
        short(shown.clone()),
        [
            "create its group",
            "allow in its group: icmp fragmentation needed from 0.0.0.0/0, tcp 443 from 0.0.0.0/0",
            "create internet-facing LB: ssl/443 to tcp/30443 in subnet-a, subnet-b with \
             k8s-elb-auidweb",
            "create policy k8s-proxyprotocol-enabled of LB",
            "set policies for node port 30443 of LB: k8s-proxyprotocol-enabled",
            "create policy k8s-SSLNegotiationPolicy-P of LB",
            "set policies of listener 443 of LB: k8s-SSLNegotiationPolicy-P",
            "set health check of LB: TCP:30443 every 10 s within 5 s, 2 good or 6 bad",
            "register with LB: 5 instances (i-00000000000000000 … i-00000000000000004)",
        ]
    );
    assert_eq!(report(&plan).holds, Holds::Nothing);
    assert_eq!(report(&plan).ingress, Ingress::Leave);
    // And that is what is done.
    assert_eq!(cloud.converge(&wish), shown);
    let tags = &cloud.balancer().tags;
    assert_eq!(tags[MANAGED_KEY], report(&plan).id.uid.as_str());
    assert_eq!(tags["kubernetes.io/service-name"], "shop/web");
    assert_eq!(tags["kubernetes.io/cluster/blue"], "owned");
    let plan = cloud.plan(&wish);
    assert_eq!(report(&plan).holds, Holds::Something);
    assert_eq!(report(&plan).verdict, Verdict::Done);
    let Ingress::Set(points) = &report(&plan).ingress else { panic!("{plan:?}") };
    let name = format!("{NAME}-1.eu-west-1.elb.amazonaws.com");
    assert_eq!(points[0].address, IngressAddress::Hostname(name));
}

/// What a change of annotations takes, and what it takes to go back.
#[rstest]
#[case::group(
    &[], &[("security-groups", "sg-x")],
    &["set security groups of LB: sg-x", "delete its group"],
)]
#[case::group_of_its_own(
    &[("security-groups", "sg-x")], &[],
    &[
        "create its group",
        "allow in its group: icmp fragmentation needed from 0.0.0.0/0, tcp 80 from 0.0.0.0/0, \
         tcp 443 from 0.0.0.0/0",
        "set security groups of LB: k8s-elb-auidweb",
    ],
)]
#[case::certificate(
    &[("ssl-ports", "443")], &[("ssl-ports", "443"), CERTIFICATE],
    &[
        "delete listeners of LB: 443, of which some come back",
        "create listeners of LB: ssl/443 to tcp/30443",
    ],
)]
#[case::another_certificate(
    &[CERTIFICATE, ("ssl-ports", "443")], &[("ssl-cert", "arn:2"), ("ssl-ports", "443")],
    &["set certificate of listener 443 of LB: arn:2"],
)]
#[case::another_certificate_with_a_policy(
    &[CERTIFICATE, ("ssl-ports", "443")],
    &[("ssl-cert", "arn:2"), ("ssl-ports", "443"), ("ssl-negotiation-policy", "P")],
    &[
        "set certificate of listener 443 of LB: arn:2",
        "create policy k8s-SSLNegotiationPolicy-P of LB",
        "set policies of listener 443 of LB: k8s-SSLNegotiationPolicy-P",
    ],
)]
#[case::another_certificate_and_what_is_spoken(
    &[CERTIFICATE, ("ssl-ports", "443")],
    &[("ssl-cert", "arn:2"), ("ssl-ports", "443"), ("backend-protocol", "https")],
    &[
        "delete listeners of LB: 443, of which some come back",
        "create listeners of LB: https/443 to https/30443",
        "set health check of LB: SSL:30080 every 10 s within 5 s, 2 good or 6 bad",
    ],
)]
#[case::policy(
    &[CERTIFICATE, ("ssl-ports", "443")],
    &[CERTIFICATE, ("ssl-ports", "443"), ("ssl-negotiation-policy", "P")],
    &[
        "create policy k8s-SSLNegotiationPolicy-P of LB",
        "set policies of listener 443 of LB: k8s-SSLNegotiationPolicy-P",
    ],
)]
#[case::policy_gone(
    &[CERTIFICATE, ("ssl-ports", "443"), ("ssl-negotiation-policy", "P")],
    &[CERTIFICATE, ("ssl-ports", "443")],
    &["set policies of listener 443 of LB: ELBSecurityPolicy-2016-08"],
)]
#[case::policy_without_tls(&[], &[("ssl-negotiation-policy", "P")], &[])]
#[case::proxy_gone(
    &[("proxy-protocol", "*")], &[],
    &["set policies for node port 30080 of LB: none", "set policies for node port 30443 of LB: none"],
)]
#[case::subnets_of_other_zones(
    &[("subnets", "subnet-a")], &[("subnets", "subnet-b")],
    &["attach LB to subnet-b", "detach LB from subnet-a"],
)]
#[case::subnets_of_one_zone(
    &[], &[("subnets", "subnet-a,subnet-b2")],
    &["detach LB from subnet-b", "attach LB to subnet-b2"],
)]
#[case::attributes(
    &[],
    &[
        ("connection-draining-enabled", "true"),
        ("access-log-enabled", "true"),
        ("access-log-s3-bucket-name", "logs"),
    ],
    &[
        "set attributes of LB: idle timeout 60 s, cross-zone off, draining 300 s, access logs in \
         logs/ every 60 min",
    ],
)]
#[case::draining_timeout_gone(
    &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "5")],
    &[("connection-draining-enabled", "true")],
    &[
        "set attributes of LB: idle timeout 60 s, cross-zone off, draining 300 s, access logs off",
    ],
)]
#[case::tags(
    &[("additional-resource-tags", "a=1,b=1")], &[("additional-resource-tags", "a=2,c=")],
    &["tag LB: a=2, c=", "tag its group: a=2, c="],
)]
#[case::health(
    &[], &[("healthcheck-interval", "20")],
    &["set health check of LB: TCP:30080 every 20 s within 5 s, 2 good or 6 bad"],
)]
fn changes(#[case] before: &[(&str, &str)], #[case] after: &[(&str, &str)], #[case] want: &[&str]) {
    let mut cloud = made(before);
    let wish = world(present(spec("web", &[80, 443], after)), 2);
    assert_eq!(short(cloud.converge(&wish)), want);
}

#[test]
fn listeners_that_nobody_asks_for_go_and_their_policies_with_them() {
    let annotations = [("proxy-protocol", "*")];
    let mut cloud = made(&annotations);
    let wish = world(present(spec("web", &[80], &annotations)), 2);
    assert_eq!(
        short(cloud.converge(&wish)),
        [
            "revoke in its group: tcp 443 from 0.0.0.0/0",
            "set policies for node port 30443 of LB: none",
            "delete listeners of LB: 443",
        ]
    );
}

#[test]
fn others_policies_on_a_port_in_use_stay() {
    let mut cloud = made(&[]);
    let it = &mut cloud.balancer_mut().it;
    it.policies.insert("auth".into());
    it.backends.insert(30_080, ["auth".to_owned()].into());
    let wish = |annotations| world(present(spec("web", &[80, 443], annotations)), 2);
    assert_eq!(cloud.converge(&wish(&[])), Vec::<String>::new());
    cloud.converge(&wish(&[("proxy-protocol", "*")]));
    assert_eq!(cloud.balancer().it.backends[&30_080].len(), 2);
    cloud.converge(&wish(&[]));
    assert_eq!(cloud.balancer().it.backends.len(), 1);
}

#[rstest]
#[case("true", false)]
#[case("false", true)]
fn a_scheme_stays_with_its_subnets(#[case] asked: &str, #[case] was_internal: bool) {
    let before = if was_internal { "true" } else { "false" };
    let mut cloud = made(&[("internal", before)]);
    assert_eq!(cloud.balancer().it.internal, was_internal);
    let wish = world(present(spec("web", &[80, 443], &[("internal", asked)])), 2);
    let plan = cloud.plan(&wish);
    assert_eq!(report(&plan).notes[0].reason, "SchemeKept");
    assert_eq!(cloud.converge(&wish), Vec::<String>::new());
    // Also where the Go program has moved it, and where it is not managed.
    cloud.restart();
    cloud.balancer_mut().it.subnets = ["subnet-p-a".to_owned()].into();
    cloud.balancer_mut().tags.remove(MANAGED_KEY);
    assert_eq!(cloud.converge(&wish), Vec::<String>::new());
}

#[test]
fn the_only_subnet_cannot_give_way_to_another_of_its_zone() {
    let mut cloud = made(&[("subnets", "subnet-b")]);
    let wish = world(present(spec("web", &[80, 443], &[("subnets", "subnet-b2")])), 2);
    assert_eq!(cloud.converge(&wish), Vec::<String>::new());
    assert_eq!(report(&cloud.plan(&wish)).notes[0].reason, "SubnetsKept");
}

#[test]
fn what_go_would_leave_waits_for_another_change() {
    let mut cloud = made(&[CERTIFICATE, ("ssl-negotiation-policy", "P")]);
    cloud.restart();
    let tags = &mut cloud.balancer_mut().tags;
    tags.remove(MANAGED_KEY);
    tags.insert("kubernetes.io/service-name".into(), "shop/old".into());
    cloud.own.surroundings.groups.push(group("sg-x", "x"));
    let groups = ("security-groups", "sg-1");
    let own = cloud.own.surroundings.groups.iter().position(|it| it.name.contains("elb")).unwrap();
    // It has the group that is named now, and its own was left behind by the Go program.
    cloud.balancer_mut().it.groups = vec!["sg-1".into()];
    cloud.own.surroundings.groups[own].id = "sg-left".into();
    let web = present(spec("web", &[80, 443], &[CERTIFICATE, groups]));
    let plan = cloud.plan(&world(web.clone(), 2));
    assert!(plan.is_done(), "{plan:?}");
    assert_eq!(report(&plan).verdict, Verdict::Done);
    let note = &report(&plan).notes[0];
    assert_eq!(note.reason, "LeftAsFound");
    for part in ["service-name=shop/web", "ELBSecurityPolicy-2016-08", "delete security group"] {
        assert!(note.message.contains(part), "{part}: {}", note.message);
    }
    assert_eq!(
        short(cloud.converge(&world(web.clone(), 3))),
        ["register with LB: i-00000000000000002"],
        "that a node joins is no change of the Service"
    );
    // Says nothing to a load balancer of this kind.
    let changed =
        spec("web", &[80, 443], &[CERTIFICATE, groups, ("eip-allocations", "eipalloc-1")]);
    assert_eq!(
        short(cloud.converge(&world(present(changed), 3))),
        [
            "tag LB: ccm.rs/managed-for=uid-web",
            "tag LB: kubernetes.io/service-name=shop/web",
            "set policies of listener 80 of LB: ELBSecurityPolicy-2016-08",
            "set policies of listener 443 of LB: ELBSecurityPolicy-2016-08",
            "delete its group",
        ]
    );
}

/// The Go program deletes the listener and makes it again, and has the rights for no more.
#[test]
fn without_the_right_to_another_certificate_the_listener_is_made_again() {
    let tls = [CERTIFICATE, ("ssl-ports", "443")];
    let mut cloud = made(&tls);
    cloud.balancer_mut().keeps_certificates = true;
    let other = spec("web", &[80, 443], &[("ssl-cert", "arn:2"), ("ssl-ports", "443")]);
    assert_eq!(
        short(cloud.converge(&world(present(other), 2))),
        [
            "delete listeners of LB: 443, of which some come back",
            "create listeners of LB: ssl/443 to tcp/30443",
        ]
    );
}

/// Whoever has made it: its rules are the owner's, and it outlives the Service.
#[test]
fn a_group_of_its_own_that_an_annotation_names_is_left() {
    let mut cloud = made(&[]);
    let groups = &cloud.own.surroundings.groups;
    let own = groups.iter().find(|it| it.name.starts_with("k8s-elb-")).unwrap().id.clone();
    let said = [("security-groups", own.as_str())];
    let wish = world(present(spec("web", &[80, 443], &said)), 2);
    assert_eq!(cloud.converge(&wish), Vec::<String>::new());
    let gone = world(absent_with("web", &said), 0);
    assert_eq!(short(cloud.converge(&gone)), ["delete LB"]);
    let plan = cloud.plan(&gone);
    assert!(plan.is_done(), "{plan:?}");
    assert_eq!(report(&plan).holds, Holds::Nothing, "nobody waits for it");
}

#[test]
fn the_clusters_tag_is_added_where_it_is_missing() {
    let mut cloud = made(&[]);
    cloud.balancer_mut().tags.clear();
    let wish = world(present(spec("web", &[80, 443], &[])), 2);
    let lines = short(cloud.converge(&wish));
    assert_eq!(
        lines,
        ["tag LB: kubernetes.io/cluster/blue=owned"],
        "its owner has changed nothing"
    );
    cloud.balancer_mut().tags.insert("kubernetes.io/cluster/blue".into(), "shared".into());
    assert_eq!(cloud.converge(&wish), Vec::<String>::new(), "shared is as good");
}

#[test]
fn what_is_kept_changes_nothing_but_its_nodes() {
    let mut cloud = made(&[]);
    assert!(cloud.plan(&world(keep("web"), 2)).is_done());
    assert_eq!(
        short(lines(&cloud.plan(&world(keep("web"), 3)))),
        ["register with LB: i-00000000000000002"]
    );
    assert_eq!(
        short(lines(&cloud.plan(&world(keep("web"), 1)))),
        ["deregister from LB: i-00000000000000001"]
    );
    // A mistake keeps what is there too.
    let wrong = world(present(spec("web", &[80], &[("healthcheck-protocol", "UDP")])), 3);
    assert_eq!(short(cloud.converge(&wrong)), ["register with LB: i-00000000000000002"]);
    assert!(matches!(report(&cloud.plan(&wrong)).verdict, Verdict::Refused(_)));
}

#[test]
fn nodes_of_which_nothing_is_known_stay() {
    let cloud = made(&[]);
    let mut wish = world(present(spec("web", &[80, 443], &[])), 1);
    wish.nodes = wish.nodes.iter().cloned().chain([doubtful(1), doubtful(2)]).collect();
    assert!(cloud.plan(&wish).is_done());
}

#[test]
fn another_clusters_is_left_alone() {
    for key in ["kubernetes.io/cluster/red", "KubernetesCluster"] {
        let mut cloud = made(&[]);
        let balancer = cloud.balancer_mut();
        balancer.tags = [(key.to_owned(), "red".to_owned())].into();
        balancer.is_anothers =
            crate::load_balancers::samples::cluster().is_anothers(&balancer.tags);
        cloud.own.surroundings.groups.retain(|group| !group.name.starts_with("k8s-elb"));
        let plan = cloud.plan(&world(present(spec("web", &[80], &[])), 5));
        assert!(plan.stages.is_empty(), "{plan:?}");
        let Verdict::Refused(err) = &report(&plan).verdict else { panic!("{plan:?}") };
        assert!(err.message().contains("another cluster's tag"), "{err}");
        assert!(lines(&cloud.plan(&world(keep("web"), 5))).is_empty());
        let plan = cloud.plan(&world(absent("web"), 0));
        assert!(plan.is_done());
        assert_eq!(report(&plan).holds, Holds::Nothing);
        assert_eq!(report(&plan).notes[0].reason, "LoadBalancerLeft");
    }
}

#[test]
fn a_tear_down_leaves_others_groups() {
    let mut cloud = made(&[("extra-security-groups", "sg-x")]);
    assert_eq!(cloud.balancer().it.groups.len(), 2);
    let plan = cloud.plan(&world(absent("web"), 0));
    assert_eq!(short(lines(&plan)), ["delete LB", "delete its group"]);
    assert_eq!(report(&plan).holds, Holds::Something);
    cloud.converge(&world(absent("web"), 0));
    let plan = cloud.plan(&world(absent("web"), 0));
    assert_eq!((report(&plan).holds, &report(&plan).verdict), (Holds::Nothing, &Verdict::Done));

    let mut config = Config::read(None).unwrap();
    config.elb_security_group = Some("sg-all".to_owned());
    let mut cloud = Cloud::with(config);
    cloud.converge(&world(present(spec("web", &[80], &[])), 1));
    assert_eq!(short(cloud.converge(&world(absent("web"), 0))), ["delete LB"]);
}

#[test]
fn a_group_without_its_load_balancer_goes_too() {
    let mut cloud = Cloud::default();
    cloud.steps(&world(present(spec("web", &[80], &[])), 1), 1);
    let plan = cloud.plan(&world(absent("web"), 0));
    assert_eq!(report(&plan).holds, Holds::Something);
    assert_eq!(short(cloud.converge(&world(absent("web"), 0))), ["delete its group"]);
}

#[test]
fn an_instance_that_is_not_taken_is_left_out_and_told() {
    let mut cloud = made(&[]);
    let refusal = Refusal { why: "it is gone".to_owned(), pause: Duration::from_mins(2) };
    cloud.balancer_mut().refused = [(instance_id(2), refusal)].into();
    let wish = world(present(spec("web", &[80, 443], &[])), 4);
    assert_eq!(short(lines(&cloud.plan(&wish))), [format!("register with LB: {}", instance_id(3))]);
    cloud.balancer_mut().it.instances.insert(instance_id(3));
    let plan = cloud.plan(&wish);
    assert_eq!(report(&plan).verdict, Verdict::Done);
    assert_eq!(report(&plan).notes[0].reason, "TargetRefused");
    assert!(report(&plan).notes[0].message.contains("it is gone"), "{:?}", report(&plan).notes);
    assert_eq!(plan.later[0].look_again, Duration::from_mins(2));
    // It is no target of theirs any more.
    assert!(cloud.plan(&world(keep("web"), 2)).later.is_empty());
}

#[test]
fn a_port_without_a_node_port_is_left_out() {
    let mut cloud = made(&[]);
    let rule = |what| Rule { what, peer: Peer::V4(Ipv4Net::default()), description: None };
    let own = cloud.own.surroundings.groups.iter_mut().find(|it| it.name.starts_with("k8s-elb-"));
    own.unwrap().ingress.insert(rule(Traffic::port("tcp", 8080)));
    let mut wish = spec("web", &[80, 443, 8080], &[]);
    wish.ports[2].node_port = None;
    let plan = cloud.plan(&world(present(wish), 2));
    assert!(plan.is_done(), "the Go program lets clients in all the same: {:?}", lines(&plan));
    assert_eq!(report(&plan).verdict, Verdict::Done);
    assert_eq!(report(&plan).notes[0].reason, "PortIgnored");
    assert!(
        report(&plan).notes[0].message.starts_with("no nodePort for port 8080 (spec.ports[2])")
    );
}
