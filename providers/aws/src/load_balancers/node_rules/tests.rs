//! Plans of rules, on groups that are values.

mod references;

use std::collections::{BTreeMap, BTreeSet};

use ccm_core::cloud::{Holds, LoadBalancerSpec, Plan, Report, Verdict, Want, World};
use proptest::prelude::*;
use rstest::rstest;

use super::super::change::AwsChange;
use super::super::members::Roll;
use super::super::names::{classic_group, load_balancer};
use super::super::samples::{
    absent, cluster, doubtful, from, id, keep, keep_with, local, member, present, spec,
};
use super::claim::Place;
use super::{RuleChange, Seen, Verb, plan};
use crate::client::groups::{Peer, Rule, SecurityGroup, Traffic};
use crate::client::kept::LAG;
use crate::config::{Config, HealthProbe};

const NLB: (&str, &str) = ("type", "nlb");

/// A VPC in which everything happens at once.
struct Cloud {
    config: Config,
    seen: Seen,
}

fn name(service: &str) -> String {
    load_balancer(&id(service).uid)
}

fn group(id: &str, name: &str, is_marked: bool) -> SecurityGroup {
    let tags = if is_marked { cluster().tags() } else { BTreeMap::new() };
    SecurityGroup { id: id.to_owned(), name: name.to_owned(), tags, ingress: BTreeSet::new() }
}

impl Cloud {
    /// With the nodes' group `sg-nodes`.
    fn new() -> Self {
        let seen = Seen { groups: vec![group("sg-nodes", "nodes", true)], ..Seen::default() };
        Self { config: Config::read(None).unwrap(), seen }
    }

    fn with_network(mut self, service: &str) -> Self {
        let subnets = ["10.0.1.0/24", "10.0.2.0/24"].map(|text| text.parse().unwrap());
        self.seen.networks.insert(name(service), subnets.into());
        self
    }

    /// A Classic Load Balancer with a group of its own, whose ID is `sg-<service>`.
    fn with_classic(mut self, service: &str) -> Self {
        let own = format!("sg-{service}");
        self.seen.groups.push(group(&own, &classic_group(&name(service)), true));
        self.seen.classics.insert(name(service), vec![own]);
        self
    }

    fn managed(mut self, service: &str) -> Self {
        self.seen.managed.insert(name(service));
        self
    }

    fn plan(&self, world: &World<LoadBalancerSpec>) -> Plan<AwsChange> {
        let (cluster, roll) = (cluster(), Roll::default());
        let place =
            Place { cluster: &cluster, config: &self.config, roll: &roll, nodes: &world.nodes };
        plan(&place, world, &self.seen)
    }

    /// Carries out stage after stage, and gives all lines.
    fn converge(&mut self, world: &World<LoadBalancerSpec>) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..5 {
            let plan = self.plan(world);
            let Some(stage) = plan.stages.into_iter().next() else { return lines };
            for step in stage {
                lines.push(step.change.to_string());
                let AwsChange::Rules(change) = step.change else { panic!("{:?}", step.change) };
                self.apply(change);
            }
        }
        panic!("does not converge: {lines:#?}");
    }

    fn apply(&mut self, change: RuleChange) {
        let RuleChange { group, verb, rules, .. } = change;
        let group = self.seen.groups.iter_mut().find(|it| it.id == group).unwrap();
        for rule in rules {
            let is_there = group.ingress.iter().any(|it| it.bare() == rule.bare());
            assert_eq!(is_there, verb == Verb::Revoke, "{rule}");
            group.ingress.retain(|it| it.bare() != rule.bare());
            if verb == Verb::Authorize {
                group.ingress.insert(rule);
            }
        }
        assert!(group.ingress.len() <= 60);
    }

    /// The rules of a group, with their descriptions.
    fn rules(&self, group: &str) -> Vec<String> {
        let group = self.seen.groups.iter().find(|it| it.id == group).unwrap();
        let line = |rule: &Rule| match rule.description.as_deref() {
            None => rule.to_string(),
            Some(text) => {
                format!("{rule} ({})", text.rsplit('/').next().unwrap_or_default())
            }
        };
        group.ingress.iter().map(line).collect()
    }

    fn shared_probe(mut self) -> Self {
        let port = 10_256.try_into().unwrap();
        self.config.health_probe = HealthProbe::Shared { port, path: "/healthz".to_owned() };
        self
    }
}

fn world(wants: Vec<Want<LoadBalancerSpec>>) -> World<LoadBalancerSpec> {
    let nodes = [member(1, &["sg-nodes"]), member(2, &["sg-nodes"])];
    World { wants, nodes: nodes.into_iter().collect() }
}

fn report(plan: &Plan<AwsChange>) -> &Report {
    &plan.reports[0]
}

#[test]
fn a_network_load_balancer_for_everybody_needs_no_rules_for_health_checks() {
    let mut cloud = Cloud::new().with_network("web");
    let wish = world(vec![present(spec("web", &[80, 443], &[NLB]))]);
    assert_eq!(cloud.converge(&wish).len(), 1, "one call");
    assert_eq!(
        cloud.rules("sg-nodes"),
        [
            "icmp fragmentation needed from 0.0.0.0/0 (mtu)".to_owned(),
            format!("tcp 30080 from 0.0.0.0/0 (client={})", name("web")),
            format!("tcp 30443 from 0.0.0.0/0 (client={})", name("web")),
        ]
    );
    assert_eq!(report(&cloud.plan(&wish)).verdict, Verdict::Done);
}

#[test]
fn health_checks_come_from_the_subnets() {
    let mut cloud = Cloud::new().with_network("web");
    let wish = spec("web", &[80], &[NLB]);
    cloud.converge(&world(vec![present(from(wish, &["192.0.2.0/24", "2001:db8::/32"]))]));
    let mut rules = cloud.rules("sg-nodes");
    rules.sort();
    assert_eq!(
        rules,
        [
            "icmp fragmentation needed from 192.0.2.0/24 (mtu)".to_owned(),
            format!("tcp 30080 from 10.0.1.0/24 (health={})", name("web")),
            format!("tcp 30080 from 10.0.2.0/24 (health={})", name("web")),
            format!("tcp 30080 from 192.0.2.0/24 (client={})", name("web")),
        ]
    );
}

/// Its own unit has just made it: a look that does not show it is one from before.
#[rstest]
#[case::network(&[NLB])]
#[case::classic(&[])]
fn a_load_balancer_that_is_not_seen_is_waited_for(#[case] said: &[(&str, &str)]) {
    let cloud = Cloud::new();
    let wish = world(vec![present(spec("web", &[80], said))]);
    let plan = cloud.plan(&wish);
    assert!(plan.stages.is_empty());
    let waits = "its load balancer to be seen".to_owned();
    assert_eq!(report(&plan).verdict, Verdict::Progressing(waits));
    let [later] = &plan.later[..] else { panic!("{:?}", plan.later) };
    assert_eq!(later.look_again, LAG);
    let kept = cloud.plan(&world(vec![keep("web")]));
    assert!(kept.later.is_empty(), "it may have none");
    assert_eq!(report(&kept).verdict, Verdict::Done);
}

/// Clients of both ranges get through in between, unless the group has no room for the rules of both.
#[rstest]
#[case::room(0, ["allow", "revoke"])]
#[case::no_room(57, ["revoke", "allow"])]
fn what_comes_comes_first_if_there_is_room(#[case] others: u8, #[case] order: [&str; 2]) {
    let mut cloud = Cloud::new().with_network("web").managed("web");
    let of = |range| world(vec![present(from(spec("web", &[80], &[NLB]), &[range]))]);
    cloud.converge(&of("10.0.0.0/8"));
    let had = cloud.rules("sg-nodes").len();
    let other = |number: u8| Rule {
        what: Traffic::port("tcp", 22),
        peer: Peer::V4(format!("192.168.{number}.0/24").parse().unwrap()),
        description: None,
    };
    let room = others.saturating_sub(u8::try_from(had).unwrap() - 2);
    cloud.seen.groups[0].ingress.extend((0..room).map(other));
    let lines = cloud.converge(&of("172.16.0.0/12"));
    let verbs: Vec<_> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(verbs, order, "{lines:#?}");
}

/// A prefix list counts as many rules as it may have entries.
#[test]
fn beside_a_prefix_list_nobody_knows_how_much_room_there_is() {
    let mut cloud = Cloud::new().with_network("web").managed("web");
    let of = |range| world(vec![present(from(spec("web", &[80], &[NLB]), &[range]))]);
    cloud.converge(&of("10.0.0.0/8"));
    cloud.seen.groups[0].ingress.insert(Rule {
        what: Traffic::port("tcp", 443),
        peer: Peer::PrefixList("pl-1".to_owned()),
        description: None,
    });
    let lines = cloud.converge(&of("172.16.0.0/12"));
    assert!(lines[0].starts_with("revoke"), "{lines:#?}");
}

/// A failure to let one in must not keep what is gone.
#[test]
fn what_goes_with_its_service_waits_for_nobody() {
    let mut cloud = Cloud::new().with_network("one").with_network("two");
    cloud.converge(&world(vec![present(spec("one", &[80], &[NLB]))]));
    let lines = cloud.converge(&world(vec![absent("one"), present(spec("two", &[81], &[NLB]))]));
    assert!(lines[0].starts_with("revoke"), "{lines:#?}");
}

#[test]
fn stale_rules_for_health_checks_wait_for_another_change_where_another_program_left_them() {
    let mut cloud = Cloud::new().with_network("web");
    cloud.converge(&world(vec![present(local(spec("web", &[80], &[NLB])))]));
    let wide = world(vec![present(spec("web", &[80], &[NLB]))]);
    assert!(cloud.plan(&wide).is_done(), "{:?}", cloud.plan(&wide));
    let mut ours = Cloud { seen: cloud.seen.clone(), ..Cloud::new() }.managed("web");
    assert_eq!(ours.converge(&wide).len(), 1, "what is ours is put right");

    let more = world(vec![present(spec("web", &[80, 81], &[NLB]))]);
    cloud.converge(&more);
    assert!(!cloud.rules("sg-nodes").iter().any(|rule| rule.contains("health=")));
}

#[test]
fn one_rule_lets_the_health_checks_of_several_through() {
    let mut cloud = Cloud::new().with_network("one").with_network("two").shared_probe();
    let one = || present(spec("one", &[80], &[NLB]));
    let two = || present(spec("two", &[81], &[NLB]));
    cloud.converge(&world(vec![one(), two()]));
    let health = |cloud: &Cloud| -> Vec<String> {
        let rules = cloud.rules("sg-nodes").into_iter();
        rules.filter(|rule| rule.contains("10256 from 10.0.1.0/24")).collect()
    };
    assert_eq!(health(&cloud), [format!("tcp 10256 from 10.0.1.0/24 (health={})", name("one"))]);
    // A mistake in the other Service does not cost it its health checks either.
    for second in [two(), keep("two")] {
        let mut cloud = Cloud { seen: cloud.seen.clone(), ..Cloud::new() }.shared_probe();
        cloud.converge(&world(vec![absent("one"), second]));
        assert_eq!(
            health(&cloud),
            [format!("tcp 10256 from 10.0.1.0/24 (health={})", name("two"))]
        );
        let gone = cloud.plan(&world(vec![absent("one"), two()]));
        assert_eq!(report(&gone).holds, Holds::Nothing);
    }
}

/// Rules that were made for ranges of IPv6, which have no effect.
#[test]
fn rules_for_ipv6_go_with_the_rule_for_path_mtu() {
    let mut cloud = Cloud::new().with_network("web").managed("web");
    let rule = |what, description: &str| Rule {
        what,
        peer: Peer::V6("2001:db8::/32".parse().unwrap()),
        description: Some(description.to_owned()),
    };
    let client = format!("kubernetes.io/rule/nlb/client={}", name("web"));
    let old = [
        rule(Traffic::port("tcp", 30_080), &client),
        rule(Traffic::path_mtu(), "kubernetes.io/rule/nlb/mtu"),
    ];
    cloud.seen.groups[0].ingress.extend(old);
    let ranges = ["192.0.2.0/24", "2001:db8::/32"];
    let alone = from(spec("web", &[80], &[NLB]), &ranges[1..]);
    assert!(cloud.plan(&world(vec![present(alone)])).is_done(), "refused: it keeps what it has");
    cloud.converge(&world(vec![present(from(spec("web", &[80], &[NLB]), &ranges))]));
    assert!(!cloud.rules("sg-nodes").iter().any(|rule| rule.contains("2001")));
    assert_eq!(cloud.rules("sg-nodes").len(), 4);
}

/// The Go program makes it only together with others, so one that it left may lack it.
#[rstest]
#[case::as_it_was_found(false)]
#[case::ours(true)]
fn the_rule_that_all_share_comes_back(#[case] is_managed: bool) {
    let mut cloud = Cloud::new().with_network("web");
    let wish = world(vec![present(from(spec("web", &[80], &[NLB]), &["10.0.0.0/8"]))]);
    cloud.converge(&wish);
    cloud.seen.groups[0].ingress.retain(|rule| rule.what != Traffic::path_mtu());
    if is_managed {
        cloud = cloud.managed("web");
    }
    assert_eq!(cloud.plan(&wish).is_done(), !is_managed);
    // With another change it comes in any case.
    let more = world(vec![present(from(spec("web", &[80, 81], &[NLB]), &["10.0.0.0/8"]))]);
    cloud.converge(&more);
    assert!(cloud.rules("sg-nodes").iter().any(|rule| rule.ends_with("(mtu)")));
}

/// So it is where Services name one port for their health checks.
#[test]
fn a_port_that_several_name_stays_open_for_the_health_checks_of_who_is_kept() {
    const ONE_PORT: &[(&str, &str)] = &[NLB, ("healthcheck-port", "10256")];
    let mut cloud = Cloud::new().with_network("one").with_network("two");
    let of = |service, port| present(spec(service, &[port], ONE_PORT));
    cloud.converge(&world(vec![of("one", 80), of("two", 81)]));
    cloud.converge(&world(vec![absent("one"), keep_with("two", ONE_PORT)]));
    let rules = cloud.rules("sg-nodes");
    for subnet in ["10.0.1.0/24", "10.0.2.0/24"] {
        let rule = format!("tcp 10256 from {subnet} (health={})", name("two"));
        assert!(rules.contains(&rule), "{rules:?}");
    }
}

#[test]
fn what_all_share_goes_with_the_last() {
    let mut cloud = Cloud::new().with_network("one").with_network("two");
    let two = || present(from(spec("two", &[81], &[NLB]), &["10.0.0.0/8"]));
    cloud.converge(&world(vec![present(spec("one", &[80], &[NLB])), two()]));
    cloud.converge(&world(vec![absent("one"), two()]));
    let rules = cloud.rules("sg-nodes");
    assert!(rules.contains(&"icmp fragmentation needed from 10.0.0.0/8 (mtu)".to_owned()));
    assert!(!rules.contains(&"icmp fragmentation needed from 0.0.0.0/0 (mtu)".to_owned()));
    cloud.converge(&world(vec![absent("one"), absent("two")]));
    assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
}

#[test]
fn what_cannot_be_read_keeps_what_it_has() {
    let mut cloud = Cloud::new().with_network("web").with_classic("old");
    let wish = || vec![present(spec("web", &[80], &[NLB])), present(spec("old", &[80], &[]))];
    cloud.converge(&world(wish()));
    let before = cloud.rules("sg-nodes");
    assert!(cloud.plan(&world(vec![keep("web"), keep("old")])).is_done());
    assert_eq!(cloud.rules("sg-nodes"), before);
}

#[test]
fn groups_of_nodes_in_doubt_stay_open() {
    let mut cloud = Cloud::new().with_network("web");
    cloud.seen.groups.push(group("sg-more", "more", true));
    let wish = || vec![present(spec("web", &[80], &[NLB]))];
    let both = [member(1, &["sg-nodes"]), member(2, &["sg-more"])];
    cloud.converge(&World { wants: wish(), nodes: both.into_iter().collect() });
    let doubt = [member(1, &["sg-nodes"]), doubtful(2)];
    let doubt = World { wants: wish(), nodes: doubt.into_iter().collect() };
    assert!(cloud.plan(&doubt).is_done());
    let one = World { wants: wish(), nodes: [member(1, &["sg-nodes"])].into_iter().collect() };
    cloud.converge(&one);
    assert_eq!(cloud.rules("sg-more"), Vec::<String>::new());
    assert_eq!(cloud.rules("sg-nodes").len(), 2);
}

#[test]
fn of_several_groups_one_serves() {
    let mut cloud = Cloud::new().with_network("web");
    cloud.seen.groups.push(group("sg-also", "also", true));
    cloud.seen.groups.push(group("sg-0", "unmarked", false));
    let nodes = [member(1, &["sg-0", "sg-also", "sg-nodes"])];
    let wish = vec![present(spec("web", &[80], &[NLB]))];
    cloud.converge(&World { wants: wish, nodes: nodes.into_iter().collect() });
    let full: Vec<_> = ["sg-0", "sg-also", "sg-nodes"].map(|id| cloud.rules(id).len()).into();
    assert_eq!(full, [0, 2, 0]);
}

#[test]
fn rules_of_nobody_here_are_let_be() {
    let mut cloud = Cloud::new().with_network("web");
    let strange = Rule {
        what: Traffic::port("tcp", 22),
        peer: Peer::V4("192.0.2.0/24".parse().unwrap()),
        description: None,
    };
    let gone = Rule {
        what: Traffic::port("tcp", 30_001),
        peer: Peer::V4("192.0.2.0/24".parse().unwrap()),
        description: Some("kubernetes.io/rule/nlb/client=agone".to_owned()),
    };
    let there = Rule {
        what: Traffic::port("tcp", 30_080),
        peer: Peer::V4("0.0.0.0/0".parse().unwrap()),
        description: Some("by hand".to_owned()),
    };
    cloud.seen.groups[0].ingress.extend([strange, gone, there]);
    let wish = || present(spec("web", &[80], &[NLB]));
    assert!(cloud.plan(&world(vec![wish()])).is_done(), "somebody has made the rule already");
    cloud.converge(&world(vec![present(spec("web", &[80, 81], &[NLB]))]));
    cloud.converge(&world(vec![absent("web")]));
    assert_eq!(cloud.rules("sg-nodes").len(), 3);
}

#[test]
fn what_is_told_to_keep_off_keeps_off() {
    let mut cloud = Cloud::new().with_network("web");
    cloud.config.keeps_off_node_groups = true;
    let wish = world(vec![present(spec("web", &[80], &[NLB]))]);
    assert!(cloud.plan(&wish).is_done());
    assert_eq!(report(&cloud.plan(&wish)).holds, Holds::Nothing);
}

fn any_want(service: &'static str) -> impl Strategy<Value = Want<LoadBalancerSpec>> {
    let ports = proptest::sample::subsequence(vec![80_u16, 81, 82], 1..=3);
    let ranges = proptest::sample::subsequence(vec!["0.0.0.0/0", "10.0.0.0/8", "fd00::/8"], 0..=3);
    (ports, ranges, any::<bool>(), any::<bool>(), 0..6_u8).prop_map(
        move |(ports, ranges, is_network, is_local, stance)| {
            let annotations: &[_] = if is_network { &[NLB] } else { &[] };
            // Node ports are one Service's alone.
            let offset = if service == "one" { 0 } else { 100 };
            let ports: Vec<_> = ports.iter().map(|port| port + offset).collect();
            let spec = from(spec(service, &ports, annotations), &ranges);
            match stance {
                0 => absent(service),
                1 => keep(service),
                _ if is_local => present(local(spec)),
                _ => present(spec),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever was there before, the plan comes to an end, and all of it can be taken away again.
    #[test]
    fn every_history_ends(
        history in proptest::collection::vec((any_want("one"), any_want("two")), 1..5),
        is_shared in any::<bool>(),
        is_managed in any::<bool>(),
    ) {
        let mut cloud = Cloud::new();
        for service in ["one", "two"] {
            cloud = cloud.with_network(service).with_classic(service);
            if is_managed {
                cloud = cloud.managed(service);
            }
        }
        if is_shared {
            cloud = cloud.shared_probe();
        }
        for (one, two) in history {
            let world = world(vec![one, two]);
            cloud.converge(&world);
            prop_assert!(cloud.plan(&world).is_done());
        }
        let gone = world(vec![absent("one"), absent("two")]);
        cloud.converge(&gone);
        prop_assert_eq!(cloud.rules("sg-nodes"), Vec::<String>::new());
        prop_assert!(cloud.plan(&gone).reports.iter().all(|it| it.holds == Holds::Nothing));
    }
}
