//! From the SDK's types and to them.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancing::error::BuildError;
use aws_sdk_elasticloadbalancing::types as sdk;
use ccm_core::cloud::{CloudError, Kind};

use super::{
    AccessLog, Attributes, DEFAULT_DRAINING, DEFAULT_EMIT_INTERVAL, DEFAULT_IDLE, Front,
    HealthCheck, Listener, LoadBalancer,
};

/// The SDK checks that what must be there is there.
pub(super) fn incomplete(err: BuildError) -> CloudError {
    CloudError::new(Kind::Internal, "a request lacks something that it must have").with_source(err)
}

pub(super) fn instance_list(ids: &BTreeSet<String>) -> Vec<sdk::Instance> {
    ids.iter().map(|id| sdk::Instance::builder().instance_id(id).build()).collect()
}

pub(super) fn tag_list<'a>(
    tags: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<sdk::Tag>, CloudError> {
    tags.map(|(key, value)| sdk::Tag::builder().key(key).value(value).build().map_err(incomplete))
        .collect()
}

pub(super) fn listener_list(
    listeners: &BTreeSet<Listener>,
) -> Result<Vec<sdk::Listener>, CloudError> {
    let listener = |listener: &Listener| {
        let Listener { port, protocol, node_port, node_protocol, certificate } = listener;
        let builder = sdk::Listener::builder()
            .load_balancer_port((*port).into())
            .protocol(protocol)
            .instance_port((*node_port).into())
            .instance_protocol(node_protocol)
            .set_ssl_certificate_id(certificate.clone());
        builder.build().map_err(incomplete)
    };
    listeners.iter().map(listener).collect()
}

pub(super) fn health_check_request(check: &HealthCheck) -> Result<sdk::HealthCheck, CloudError> {
    let HealthCheck { target, interval, timeout, healthy, unhealthy } = check;
    let request = sdk::HealthCheck::builder()
        .target(target)
        .interval(sent(*interval))
        .timeout(sent(*timeout))
        .healthy_threshold(sent(*healthy))
        .unhealthy_threshold(sent(*unhealthy));
    request.build().map_err(incomplete)
}

pub(super) fn attributes_request(
    attributes: &Attributes,
) -> Result<sdk::LoadBalancerAttributes, CloudError> {
    let Attributes { access_log, draining, idle, cross_zone } = attributes;
    let log = sdk::AccessLog::builder().enabled(access_log.is_some());
    let log = match access_log {
        Some(AccessLog { bucket, prefix, interval }) => {
            log.s3_bucket_name(bucket).s3_bucket_prefix(prefix).emit_interval(sent(*interval))
        }
        None => log,
    };
    let draining = sdk::ConnectionDraining::builder()
        .enabled(draining.is_some())
        .set_timeout(draining.map(sent));
    let settings = sdk::ConnectionSettings::builder().idle_timeout(sent(*idle));
    let cross_zone = sdk::CrossZoneLoadBalancing::builder().enabled(*cross_zone);
    let attributes = sdk::LoadBalancerAttributes::builder()
        .access_log(log.build())
        .connection_draining(draining.build())
        .connection_settings(settings.build().map_err(incomplete)?)
        .cross_zone_load_balancing(cross_zone.build());
    Ok(attributes.build())
}

/// A number as the SDK takes it.
fn sent(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok()
}

fn number(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

pub(super) fn load_balancer(found: sdk::LoadBalancerDescription) -> LoadBalancer {
    let fronts = found.listener_descriptions.unwrap_or_default().into_iter().filter_map(front);
    let backend = |one: sdk::BackendServerDescription| {
        let policies = one.policy_names.unwrap_or_default().into_iter().collect();
        Some((port(one.instance_port?)?, policies))
    };
    let backends = found.backend_server_descriptions.unwrap_or_default();
    let policies = found.policies.and_then(|policies| policies.other_policies);
    let instances = found.instances.unwrap_or_default();
    let set = |texts: Option<Vec<String>>| texts.unwrap_or_default().into_iter().collect();
    LoadBalancer {
        name: found.load_balancer_name.unwrap_or_default(),
        dns_name: found.dns_name.unwrap_or_default(),
        internal: found.scheme.as_deref() == Some("internal"),
        listeners: fronts.map(|front| (front.listener.port, front)).collect(),
        backends: backends.into_iter().filter_map(backend).collect(),
        policies: set(policies),
        subnets: set(found.subnets),
        groups: found.security_groups.unwrap_or_default(),
        instances: instances.into_iter().filter_map(|it| it.instance_id).collect(),
        health: found.health_check.map(health_check),
    }
}

fn front(found: sdk::ListenerDescription) -> Option<Front> {
    let listener = found.listener?;
    let protocol = listener.protocol.to_ascii_lowercase();
    let listener = Listener {
        port: port(listener.load_balancer_port)?,
        node_port: port(listener.instance_port)?,
        node_protocol: listener
            .instance_protocol
            .map_or_else(|| protocol.clone(), |text| text.to_ascii_lowercase()),
        protocol,
        certificate: listener.ssl_certificate_id.filter(|arn| !arn.is_empty()),
    };
    Some(Front { listener, policies: found.policy_names.unwrap_or_default().into_iter().collect() })
}

fn health_check(found: sdk::HealthCheck) -> HealthCheck {
    let target = match found.target.split_once(':') {
        Some((protocol, rest)) => format!("{}:{rest}", protocol.to_ascii_uppercase()),
        None => found.target,
    };
    HealthCheck {
        target,
        interval: number(found.interval),
        timeout: number(found.timeout),
        healthy: number(found.healthy_threshold),
        unhealthy: number(found.unhealthy_threshold),
    }
}

pub(super) fn attributes(found: sdk::LoadBalancerAttributes) -> Attributes {
    let log = |log: sdk::AccessLog| {
        log.enabled.then(|| AccessLog {
            bucket: log.s3_bucket_name.unwrap_or_default(),
            prefix: log.s3_bucket_prefix.unwrap_or_default(),
            interval: log.emit_interval.map_or(DEFAULT_EMIT_INTERVAL, number),
        })
    };
    let draining = |draining: sdk::ConnectionDraining| {
        draining.enabled.then(|| draining.timeout.map_or(DEFAULT_DRAINING, number))
    };
    Attributes {
        access_log: found.access_log.and_then(log),
        draining: found.connection_draining.and_then(draining),
        idle: found.connection_settings.map_or(DEFAULT_IDLE, |it| number(it.idle_timeout)),
        cross_zone: found.cross_zone_load_balancing.is_some_and(|it| it.enabled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_whatever_its_spelling() {
        let listener = sdk::Listener::builder()
            .protocol("HTTP")
            .load_balancer_port(80)
            .instance_port(30_080)
            .ssl_certificate_id("")
            .build()
            .unwrap();
        let check = sdk::HealthCheck::builder()
            .target("http:30080/healthz")
            .interval(10)
            .timeout(5)
            .unhealthy_threshold(6)
            .healthy_threshold(2)
            .build()
            .unwrap();
        let found = load_balancer(
            sdk::LoadBalancerDescription::builder()
                .load_balancer_name("a1")
                .scheme("internet-facing")
                .listener_descriptions(
                    sdk::ListenerDescription::builder().listener(listener).build(),
                )
                .health_check(check)
                .build(),
        );
        assert!(!found.internal);
        let Listener { protocol, node_protocol, certificate, .. } = &found.listeners[&80].listener;
        let read = (protocol.as_str(), node_protocol.as_str(), certificate.as_ref());
        assert_eq!(read, ("http", "http", None));
        assert_eq!(found.health.unwrap().target, "HTTP:30080/healthz");
    }

    #[test]
    fn attributes_are_what_they_do() {
        let off = sdk::ConnectionDraining::builder().enabled(false).timeout(300).build();
        let found = sdk::LoadBalancerAttributes::builder().connection_draining(off).build();
        assert_eq!(attributes(found), Attributes::default());
        let on = sdk::ConnectionDraining::builder().enabled(true).build();
        let log = sdk::AccessLog::builder().enabled(true).s3_bucket_name("logs").build();
        let found = sdk::LoadBalancerAttributes::builder();
        let found = attributes(found.connection_draining(on).access_log(log).build());
        assert_eq!(found.draining, Some(300));
        assert_eq!(found.access_log.unwrap().interval, 60);
    }

    #[test]
    fn attributes_that_are_sent_are_those_that_are_read() {
        let all = Attributes {
            access_log: Some(AccessLog {
                bucket: "logs".into(),
                prefix: "web".into(),
                interval: 5,
            }),
            draining: Some(30),
            idle: 120,
            cross_zone: true,
        };
        for sent in [all, Attributes::default()] {
            assert_eq!(attributes(attributes_request(&sent).unwrap()), sent);
        }
    }
}
