//! The SDK's types as ours. What is missing in an answer has the default that AWS documents.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types;

use super::{
    Address, HealthCheck, Listener, ListenerSettings, LoadBalancer, Protocol, State, Target,
    TargetGroup,
};
use crate::marks::Tags;

pub(super) fn load_balancer(it: types::LoadBalancer) -> LoadBalancer {
    let reason = |state: Option<types::LoadBalancerState>| match state {
        Some(state) if state.code == Some(types::LoadBalancerStateEnum::Failed) => {
            State::Failed(state.reason.unwrap_or_else(|| "no reason given".to_owned()))
        }
        Some(_) | None => State::Usable,
    };
    let subnets = it.availability_zones.unwrap_or_default().into_iter().filter_map(|zone| {
        let addresses = zone.load_balancer_addresses.unwrap_or_default();
        Some((zone.subnet_id?, addresses.into_iter().filter_map(address).collect()))
    });
    LoadBalancer {
        arn: it.load_balancer_arn.unwrap_or_default(),
        name: it.load_balancer_name.unwrap_or_default(),
        kind: it.r#type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        state: reason(it.state),
        dns_name: it.dns_name.filter(|name| !name.is_empty()),
        is_internal: it.scheme == Some(types::LoadBalancerSchemeEnum::Internal),
        security_groups: it.security_groups.unwrap_or_default().into_iter().collect(),
        subnets: subnets.collect(),
    }
}

fn address(it: types::LoadBalancerAddress) -> Option<Address> {
    let private = || Some(Address::Private(it.private_ipv4_address?.parse().ok()?));
    it.allocation_id.map(Address::Allocation).or_else(private)
}

pub(super) fn target_group(it: types::TargetGroup) -> TargetGroup {
    let protocol = protocol(it.protocol.as_ref());
    let health_protocol = it.health_check_protocol.as_ref().map_or(Protocol::Tcp, |it| {
        let text: &str = it.as_str();
        text.into()
    });
    TargetGroup {
        arn: it.target_group_arn.unwrap_or_default(),
        name: it.target_group_name.unwrap_or_default(),
        protocol,
        port: port(it.port),
        target_type: it.target_type.map_or_else(|| "instance".to_owned(), |it| it.to_string()),
        vpc: it.vpc_id.unwrap_or_default(),
        load_balancers: it.load_balancer_arns.unwrap_or_default().into_iter().collect(),
        health: HealthCheck {
            protocol: health_protocol,
            port: it.health_check_port.unwrap_or_else(|| "traffic-port".to_owned()),
            path: it.health_check_path,
            interval: number(it.health_check_interval_seconds),
            timeout: number(it.health_check_timeout_seconds),
            healthy: number(it.healthy_threshold_count),
            unhealthy: number(it.unhealthy_threshold_count),
        },
    }
}

pub(super) fn listener(it: types::Listener) -> Listener {
    let protocol = protocol(it.protocol.as_ref());
    let is_tls = protocol == Protocol::Tls;
    let certificates = it.certificates.unwrap_or_default();
    let certificate = certificates.into_iter().find_map(|it| it.certificate_arn);
    let mut target_groups = Vec::new();
    for action in it.default_actions.unwrap_or_default() {
        let weighted = action.forward_config.and_then(|it| it.target_groups).unwrap_or_default();
        let weighted = weighted.into_iter().filter_map(|it| it.target_group_arn);
        for arn in action.target_group_arn.into_iter().chain(weighted) {
            if !target_groups.contains(&arn) {
                target_groups.push(arn);
            }
        }
    }
    Listener {
        arn: it.listener_arn.unwrap_or_default(),
        port: port(it.port),
        settings: ListenerSettings {
            protocol,
            certificate: certificate.filter(|_| is_tls),
            // Some answers have one for listeners that do not speak TLS.
            policy: it.ssl_policy.filter(|_| is_tls),
        },
        target_groups,
    }
}

/// A target that is not on its way out.
pub(super) fn target(it: types::TargetHealthDescription) -> Option<Target> {
    let reason = it.target_health.and_then(|health| health.reason);
    if reason == Some(types::TargetHealthReasonEnum::DeregistrationInProgress) {
        return None;
    }
    let target = it.target?;
    Some(Target { id: target.id?, port: port(target.port) })
}

pub(super) fn tags(it: Option<Vec<types::Tag>>) -> Tags {
    let pair = |tag: types::Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    it.unwrap_or_default().into_iter().filter_map(pair).collect()
}

pub(super) fn tag_list(tags: &Tags) -> Vec<types::Tag> {
    let tag =
        |(key, value): (&String, &String)| types::Tag::builder().key(key).value(value).build();
    tags.iter().map(tag).collect()
}

pub(super) fn protocol_enum(protocol: &Protocol) -> types::ProtocolEnum {
    protocol.as_str().into()
}

pub(super) fn targets(targets: &BTreeSet<Target>) -> Vec<types::TargetDescription> {
    let target =
        |it: &Target| types::TargetDescription::builder().id(&it.id).port(it.port.into()).build();
    targets.iter().map(target).collect()
}

pub(super) fn attributes<T>(
    all: Option<Vec<T>>,
    pair: impl Fn(T) -> (Option<String>, Option<String>),
) -> BTreeMap<String, String> {
    let pair = |it| {
        let (key, value) = pair(it);
        Some((key?, value.unwrap_or_default()))
    };
    all.unwrap_or_default().into_iter().filter_map(pair).collect()
}

fn protocol(it: Option<&types::ProtocolEnum>) -> Protocol {
    it.map_or("", types::ProtocolEnum::as_str).into()
}

/// Zero is no port, and equals none that is asked for.
fn port(it: Option<i32>) -> u16 {
    it.and_then(|it| it.try_into().ok()).unwrap_or_default()
}

fn number(it: Option<i32>) -> u32 {
    it.and_then(|it| it.try_into().ok()).unwrap_or_default()
}
