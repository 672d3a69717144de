//! What holds wherever it starts.

use ccm_core::cloud::{
    ExternalTrafficPolicy, Holds, LoadBalancerSpec, Protocol as Transport, Verdict, Want,
};
use proptest::prelude::*;
use proptest::sample::Index;

use super::model::{Cloud, absent, balancer_arn, group, port, present, provider, spec, world};
use super::report;
use crate::client::elbv2::{Protocol, Target};
use crate::marks::MANAGED_KEY;

const CONFIGS: [&str; 3] = [
    "",
    "NLBSecurityGroupMode = Managed",
    "NLBSecurityGroupMode = Managed\nClusterServiceLoadBalancerHealthProbeMode = Shared",
];

/// One value of each annotation, or none.
const SAID: [(&str, &[&str]); 11] = [
    ("ssl-cert", &["arn:one", "arn:two"]),
    ("ssl-ports", &["80", "81,82"]),
    ("ssl-negotiation-policy", &["strict"]),
    ("backend-protocol", &["ssl"]),
    ("healthcheck-protocol", &["http", "tcp"]),
    ("healthcheck-interval", &["5", "40"]),
    ("healthcheck-timeout", &["3", "5"]),
    ("healthcheck-unhealthy-threshold", &["5"]),
    ("cross-zone-load-balancing-enabled", &["true"]),
    ("target-group-attributes", &["proxy_protocol_v2.enabled=true"]),
    ("additional-resource-tags", &["team=a", "team=b,cost=1"]),
];

fn any_spec() -> impl Strategy<Value = LoadBalancerSpec> {
    let ports = prop::collection::btree_map(80_u16..84, 30_080_u16..30_083, 1..4);
    let said = prop::collection::vec(prop::option::weighted(0.4, any::<Index>()), SAID.len());
    let groups = prop::option::of(Just("sg-1"));
    (ports, said, groups, any::<bool>(), any::<bool>()).prop_map(
        |(ports, said, groups, is_udp, is_local)| {
            let mut pairs: Vec<(&str, &str)> = Vec::new();
            for ((key, values), at) in SAID.iter().zip(said) {
                pairs.extend(at.map(|at| (*key, values[at.index(values.len())])));
            }
            pairs.extend(groups.map(|groups| ("security-groups", groups)));
            let mut spec = spec(&[], &pairs);
            spec.ports = ports.into_iter().map(|(at, to)| port(at, to)).collect();
            if is_udp {
                spec.ports.iter_mut().for_each(|it| it.protocol = Transport::Udp);
            }
            if is_local {
                spec.external_traffic_policy = ExternalTrafficPolicy::Local;
                spec.health_check_node_port = 32_000_u16.try_into().ok();
            }
            spec
        },
    )
}

/// Something happens to the pieces.
fn blow(cloud: &mut Cloud, blow: u8, at: Index) {
    let group_name = (!cloud.groups.is_empty())
        .then(|| cloud.groups.keys().nth(at.index(cloud.groups.len())).unwrap().clone());
    match (blow, group_name) {
        (0, _) if !cloud.listeners.is_empty() => {
            let port = *cloud.listeners.keys().nth(at.index(cloud.listeners.len())).unwrap();
            cloud.lose_listener(port);
        }
        (1, _) if !cloud.balancers.is_empty() => cloud.lose_balancer(),
        (2, Some(name)) => {
            let arn = cloud.groups[&name].arn.clone();
            let heard = cloud.listeners.values().filter(|it| it.target_groups.contains(&arn));
            let heard: Vec<_> = heard.map(|it| it.port).collect();
            for port in heard {
                cloud.lose_listener(port);
            }
            cloud.lose_group(&name);
        }
        (3, Some(name)) => {
            let health = &mut cloud.groups.get_mut(&name).unwrap().health;
            (health.interval, health.timeout, health.healthy) = (60, 20, 7);
        }
        (4, Some(name)) => {
            let arn = cloud.groups[&name].arn.clone();
            let stray = Target { id: "i-stray".into(), port: 1 };
            cloud.targets.entry(arn).or_default().insert(stray);
        }
        (5, Some(name)) => {
            // A leftover of before.
            let mut left = group(&format!("k8s-shop-web-{}", at.index(100)), Protocol::Tcp, 30_080);
            left.health = cloud.groups[&name].health.clone();
            cloud.tags.insert(left.arn.clone(), cloud.tags[&cloud.groups[&name].arn].clone());
            cloud.attributes.insert(left.arn.clone(), super::model::new_group_attributes());
            cloud.groups.insert(left.name.clone(), left);
        }
        (6, Some(name)) if cloud.listeners.len() > 1 => {
            let arn = cloud.groups[&name].arn.clone();
            let is_udp = cloud.groups[&name].protocol == Protocol::Udp;
            let port = *cloud.listeners.keys().nth(at.index(cloud.listeners.len())).unwrap();
            let listener = cloud.listeners.get_mut(&port).unwrap();
            if (listener.settings.protocol == Protocol::Udp) == is_udp {
                listener.target_groups = vec![arn];
            }
        }
        (7, _) => cloud.security.iter_mut().for_each(|it| it.ingress.clear()),
        (8, _) => {
            // As if the Go program had made it.
            cloud.tags.entry(balancer_arn()).and_modify(|it| _ = it.remove(MANAGED_KEY));
        }
        (9, _) => {
            cloud.attributes.entry(balancer_arn()).and_modify(|it| {
                it.insert("load_balancing.cross_zone.enabled".into(), "true".into());
            });
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Doing what the plan says leaves nothing to do, from wherever it starts.
    #[test]
    fn a_plan_converges(
        config in prop::sample::select(&CONFIGS[..]),
        before in any_spec(),
        after in any_spec(),
        nodes in (0_usize..130, 0_usize..130),
        halfway in 0_usize..14,
        blows in prop::collection::vec((0_u8..10, any::<Index>()), 0..6),
    ) {
        let at = provider(config);
        let mut cloud = Cloud::default();
        cloud.changes(&at, &world(present(before), nodes.0), halfway);
        for (number, index) in blows {
            blow(&mut cloud, number, index);
        }
        let wish = world(present(after), nodes.1);
        cloud.converge(&at, &wish);
        let last = cloud.plan(&at, &wish);
        prop_assert!(last.is_done());
        prop_assert_eq!(&report(&last).verdict, &Verdict::Done);
        let Want::Present(spec) = &wish.wants[0] else { unreachable!() };
        let ports: Vec<_> = spec.ports.iter().map(|it| it.port.get()).collect();
        prop_assert_eq!(cloud.listeners.keys().copied().collect::<Vec<_>>(), ports);
        let is_managed = cloud.tags[&balancer_arn()].contains_key(MANAGED_KEY);
        if is_managed {
            let heard = |arn: &String| {
                cloud.listeners.values().any(|it| it.target_groups.contains(arn))
            };
            prop_assert!(cloud.groups.values().all(|it| heard(&it.arn)), "{:#?}", cloud);
        }
        cloud.converge(&at, &world(absent(), 0));
        prop_assert_eq!(&cloud, &Cloud::default());
        let down = cloud.plan(&at, &world(absent(), 0));
        prop_assert_eq!(report(&down).holds, Holds::Nothing);
    }
}

proptest! {
    // Each of them is run once for each of its changes.
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Stopped after any change, and begun again, it ends in the same state.
    #[test]
    fn a_stop_costs_nothing(
        config in prop::sample::select(&CONFIGS[..]),
        before in any_spec(),
        after in any_spec(),
    ) {
        let at = provider(config);
        let (before, after) = (world(present(before), 3), world(present(after), 4));
        let mut start = Cloud::default();
        start.converge(&at, &before);
        let mut end = start.clone();
        end.converge(&at, &after);
        for cut in 0..100 {
            let mut cloud = start.clone();
            if cloud.changes(&at, &after, cut) < cut {
                break;
            }
            cloud.converge(&at, &after);
            prop_assert_eq!(&cloud, &end, "cut {}", cut);
            cloud.changes(&at, &world(absent(), 0), cut);
            cloud.converge(&at, &world(absent(), 0));
            prop_assert_eq!(&cloud, &Cloud::default());
        }
    }
}
