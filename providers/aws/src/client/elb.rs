//! Classic Load Balancers: version 2012-06-01 of Elastic Load Balancing.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancing::error::BuildError;
use aws_sdk_elasticloadbalancing::types as sdk;
use ccm_core::cloud::{CloudError, Kind, Read, Write};

use super::groups::gone_is_done;
use super::{Client, read, write};
use crate::actions::{
    ADD_CLASSIC_TAGS, APPLY_SECURITY_GROUPS, ATTACH_SUBNETS, CONFIGURE_HEALTH_CHECK,
    CREATE_CLASSIC, CREATE_CLASSIC_LISTENERS, CREATE_CLASSIC_POLICY, DELETE_CLASSIC,
    DELETE_CLASSIC_LISTENERS, DEREGISTER_INSTANCES, DESCRIBE_CLASSIC, DESCRIBE_CLASSIC_ATTRIBUTES,
    DESCRIBE_CLASSIC_TAGS, DETACH_SUBNETS, MODIFY_CLASSIC_ATTRIBUTES, REGISTER_INSTANCES,
    SET_BACKEND_POLICIES, SET_LISTENER_POLICIES,
};
use crate::marks::Tags;

/// Load balancers on one page, the most that AWS gives.
const PAGE: i32 = 400;

/// How many load balancers' tags may be asked for at once.
pub(crate) const TAGS_AT_ONCE: usize = 20;

/// Seconds for which draining connections are let end, where nobody said.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html>
pub(crate) const DEFAULT_DRAINING: u32 = 300;

/// Minutes between access logs, where nobody said.
/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_AccessLog.html>
pub(crate) const DEFAULT_EMIT_INTERVAL: u32 = 60;

/// Seconds for which a connection may be silent, where nobody said.
const DEFAULT_IDLE: u32 = 60;

/// A Classic Load Balancer, without its tags and attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadBalancer {
    /// Also its ID: there is one of a name in a region.
    pub(crate) name: String,
    /// Empty where it has none yet.
    pub(crate) dns_name: String,
    pub(crate) internal: bool,
    /// By the port that clients connect to.
    pub(crate) listeners: BTreeMap<u16, Front>,
    /// Names of the policies for what is sent to nodes, by the node's port. Ports without one may
    /// be left out.
    pub(crate) backends: BTreeMap<u16, BTreeSet<String>>,
    /// Names of the policies that it has, but those for stickiness.
    pub(crate) policies: BTreeSet<String>,
    /// `subnet-…`.
    pub(crate) subnets: BTreeSet<String>,
    /// `sg-…`, in AWS' order, which the Go program goes by.
    pub(crate) groups: Vec<String>,
    /// `i-…`.
    pub(crate) instances: BTreeSet<String>,
    pub(crate) health: Option<HealthCheck>,
}

/// A listener with what was set on it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    pub(crate) listener: Listener,
    /// Names of its policies.
    pub(crate) policies: BTreeSet<String>,
}

/// Takes connections on one port and hands them to a port of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Listener {
    pub(crate) port: u16,
    /// `http`, `https`, `ssl` or `tcp`.
    pub(crate) protocol: String,
    pub(crate) node_port: u16,
    /// The same words.
    pub(crate) node_protocol: String,
    /// The certificate's ARN.
    pub(crate) certificate: Option<String>,
}

impl Listener {
    /// Whether the two do the same. ARNs differ in nothing but case between APIs.
    pub(crate) fn does_as(&self, other: &Self) -> bool {
        let Self { port, protocol, node_port, node_protocol, certificate } = self;
        let has_certificate = match (certificate, &other.certificate) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        has_certificate
            && (*port, *node_port) == (other.port, other.node_port)
            && (protocol, node_protocol) == (&other.protocol, &other.node_protocol)
    }

    /// Whether clients speak TLS to it.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.protocol.as_str(), "ssl" | "https")
    }
}

/// How nodes are asked whether they are well. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HealthCheck {
    /// `TCP:30080` or `HTTP:30080/healthz`, the protocol in capitals.
    pub(crate) target: String,
    pub(crate) interval: u32,
    pub(crate) timeout: u32,
    /// Good answers in a row.
    pub(crate) healthy: u32,
    /// Bad answers in a row.
    pub(crate) unhealthy: u32,
}

/// The attributes, as they work: what is off has no values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attributes {
    /// `None`: no access logs are written.
    pub(crate) access_log: Option<AccessLog>,
    /// Seconds for which connections to a node that goes are let end. `None`: they are cut.
    pub(crate) draining: Option<u32>,
    /// Seconds for which a connection may be silent.
    pub(crate) idle: u32,
    /// Whether traffic goes to nodes in all zones.
    pub(crate) cross_zone: bool,
}

/// Where access logs go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AccessLog {
    pub(crate) bucket: String,
    /// Empty: none.
    pub(crate) prefix: String,
    /// Minutes.
    pub(crate) interval: u32,
}

/// Those of a load balancer that the API has just made.
impl Default for Attributes {
    fn default() -> Self {
        Self { access_log: None, draining: None, idle: DEFAULT_IDLE, cross_zone: false }
    }
}

/// What a load balancer is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewLoadBalancer<'a> {
    pub(crate) name: &'a str,
    pub(crate) internal: bool,
    pub(crate) listeners: &'a BTreeSet<Listener>,
    pub(crate) subnets: &'a BTreeSet<String>,
    pub(crate) groups: &'a BTreeSet<String>,
    pub(crate) tags: &'a Tags,
}

impl Client {
    /// All Classic Load Balancers of the region, by name.
    pub(crate) async fn classic_load_balancers(
        &self,
        cx: &Read,
    ) -> Result<BTreeMap<String, LoadBalancer>, CloudError> {
        let mut found = BTreeMap::new();
        let mut marker = None;
        loop {
            let request = self.sdk()?.elb.describe_load_balancers();
            let request = request.page_size(PAGE).set_marker(marker);
            let page = read(cx, &DESCRIBE_CLASSIC, request.send()).await?;
            let all = page.load_balancer_descriptions.unwrap_or_default().into_iter();
            found.extend(all.map(load_balancer).map(|it| (it.name.clone(), it)));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    /// The tags of at most [`TAGS_AT_ONCE`] load balancers, by name. [`Kind::NotFound`] where one of
    /// them is not there.
    pub(crate) async fn classic_tags(
        &self,
        cx: &Read,
        names: Vec<String>,
    ) -> Result<BTreeMap<String, Tags>, CloudError> {
        let request = self.sdk()?.elb.describe_tags().set_load_balancer_names(Some(names));
        let answer = read(cx, &DESCRIBE_CLASSIC_TAGS, request.send()).await?;
        let pair = |tag: sdk::Tag| (tag.key, tag.value.unwrap_or_default());
        let of = |one: sdk::TagDescription| {
            let tags = one.tags.unwrap_or_default().into_iter().map(pair).collect();
            (one.load_balancer_name.unwrap_or_default(), tags)
        };
        Ok(answer.tag_descriptions.unwrap_or_default().into_iter().map(of).collect())
    }

    /// The attributes of a load balancer.
    pub(crate) async fn classic_attributes(
        &self,
        cx: &Read,
        name: &str,
    ) -> Result<Attributes, CloudError> {
        let request = self.sdk()?.elb.describe_load_balancer_attributes().load_balancer_name(name);
        let answer = read(cx, &DESCRIBE_CLASSIC_ATTRIBUTES, request.send()).await?;
        Ok(answer.load_balancer_attributes.map(attributes).unwrap_or_default())
    }

    /// Makes a load balancer and gives its DNS name. [`Kind::Conflict`] where there is one of that
    /// name.
    pub(crate) async fn create_classic(
        &self,
        cx: &Write,
        new: NewLoadBalancer<'_>,
    ) -> Result<String, CloudError> {
        let NewLoadBalancer { name, internal, listeners, subnets, groups, tags } = new;
        let request = self.sdk()?.elb.create_load_balancer().load_balancer_name(name);
        let request = request
            .set_listeners(Some(listener_list(listeners)?))
            .set_subnets(list(subnets))
            .set_security_groups(list(groups))
            .set_tags(Some(tag_list(tags.iter())?))
            .set_scheme(internal.then(|| "internal".to_owned()));
        let answer = write(cx, &CREATE_CLASSIC, request.send()).await?;
        Ok(answer.dns_name.unwrap_or_default())
    }

    /// Deletes a load balancer. One that is gone already is success.
    pub(crate) async fn delete_classic(&self, cx: &Write, name: &str) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.delete_load_balancer().load_balancer_name(name);
        gone_is_done(write(cx, &DELETE_CLASSIC, request.send()).await)
    }

    /// Adds tags, or changes them.
    pub(crate) async fn tag_classic(
        &self,
        cx: &Write,
        name: &str,
        tags: &[(String, String)],
    ) -> Result<(), CloudError> {
        let tags = tag_list(tags.iter().map(|(key, value)| (key, value)))?;
        let request = self.sdk()?.elb.add_tags().load_balancer_names(name).set_tags(Some(tags));
        write(cx, &ADD_CLASSIC_TAGS, request.send()).await.map(drop)
    }

    /// Adds subnets. Those that it is in are success.
    pub(crate) async fn attach_subnets(
        &self,
        cx: &Write,
        name: &str,
        subnets: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.attach_load_balancer_to_subnets().load_balancer_name(name);
        let request = request.set_subnets(list(subnets));
        write(cx, &ATTACH_SUBNETS, request.send()).await.map(drop)
    }

    /// Takes subnets away. Those that it is not in are success.
    pub(crate) async fn detach_subnets(
        &self,
        cx: &Write,
        name: &str,
        subnets: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.detach_load_balancer_from_subnets().load_balancer_name(name);
        let request = request.set_subnets(list(subnets));
        write(cx, &DETACH_SUBNETS, request.send()).await.map(drop)
    }

    /// Sets the security groups; others go.
    pub(crate) async fn set_classic_groups(
        &self,
        cx: &Write,
        name: &str,
        groups: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.apply_security_groups_to_load_balancer().load_balancer_name(name);
        let request = request.set_security_groups(list(groups));
        write(cx, &APPLY_SECURITY_GROUPS, request.send()).await.map(drop)
    }

    /// Adds listeners. [`Kind::Conflict`] where there is another on one of the ports.
    pub(crate) async fn create_classic_listeners(
        &self,
        cx: &Write,
        name: &str,
        listeners: &BTreeSet<Listener>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.create_load_balancer_listeners().load_balancer_name(name);
        let request = request.set_listeners(Some(listener_list(listeners)?));
        write(cx, &CREATE_CLASSIC_LISTENERS, request.send()).await.map(drop)
    }

    /// Takes the listeners of these ports away. Those that are gone already are success.
    pub(crate) async fn delete_classic_listeners(
        &self,
        cx: &Write,
        name: &str,
        ports: &BTreeSet<u16>,
    ) -> Result<(), CloudError> {
        let request = self.sdk()?.elb.delete_load_balancer_listeners().load_balancer_name(name);
        let ports = ports.iter().map(|port| i32::from(*port)).collect();
        let request = request.set_load_balancer_ports(Some(ports));
        write(cx, &DELETE_CLASSIC_LISTENERS, request.send()).await.map(drop)
    }

    /// Makes a policy, which works nowhere before it is set. [`Kind::Conflict`] where there is one of
    /// that name with other attributes.
    pub(crate) async fn create_classic_policy(
        &self,
        cx: &Write,
        load_balancer: &str,
        name: &str,
        kind: &str,
        (key, value): (&str, &str),
    ) -> Result<(), CloudError> {
        let attribute =
            sdk::PolicyAttribute::builder().attribute_name(key).attribute_value(value).build();
        let request =
            self.sdk()?.elb.create_load_balancer_policy().load_balancer_name(load_balancer);
        let request = request.policy_name(name).policy_type_name(kind).policy_attributes(attribute);
        write(cx, &CREATE_CLASSIC_POLICY, request.send()).await.map(drop)
    }

    /// Sets the policies for what is sent to this port of the nodes; others go.
    pub(crate) async fn set_backend_policies(
        &self,
        cx: &Write,
        name: &str,
        port: u16,
        policies: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.set_load_balancer_policies_for_backend_server().load_balancer_name(name);
        let request = request.instance_port(port.into()).set_policy_names(list(policies));
        write(cx, &SET_BACKEND_POLICIES, request.send()).await.map(drop)
    }

    /// Sets the policies of a listener; others go.
    pub(crate) async fn set_listener_policies(
        &self,
        cx: &Write,
        name: &str,
        port: u16,
        policies: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.set_load_balancer_policies_of_listener().load_balancer_name(name);
        let request = request.load_balancer_port(port.into()).set_policy_names(list(policies));
        write(cx, &SET_LISTENER_POLICIES, request.send()).await.map(drop)
    }

    /// Sets how nodes are asked whether they are well.
    pub(crate) async fn configure_health_check(
        &self,
        cx: &Write,
        name: &str,
        check: &HealthCheck,
    ) -> Result<(), CloudError> {
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let HealthCheck { target, interval, timeout, healthy, unhealthy } = check;
        let check = sdk::HealthCheck::builder()
            .target(target)
            .interval(number(*interval))
            .timeout(number(*timeout))
            .healthy_threshold(number(*healthy))
            .unhealthy_threshold(number(*unhealthy));
        let request = self.sdk()?.elb.configure_health_check().load_balancer_name(name);
        let request = request.health_check(check.build().map_err(incomplete)?);
        write(cx, &CONFIGURE_HEALTH_CHECK, request.send()).await.map(drop)
    }

    /// Sets the attributes.
    pub(crate) async fn modify_classic_attributes(
        &self,
        cx: &Write,
        name: &str,
        attributes: &Attributes,
    ) -> Result<(), CloudError> {
        let attributes = attributes_request(attributes)?;
        let request = self.sdk()?.elb.modify_load_balancer_attributes();
        let request = request.load_balancer_name(name).load_balancer_attributes(attributes);
        write(cx, &MODIFY_CLASSIC_ATTRIBUTES, request.send()).await.map(drop)
    }

    /// Adds instances. Those that are there are success.
    pub(crate) async fn register_instances(
        &self,
        cx: &Write,
        name: &str,
        instances: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.register_instances_with_load_balancer().load_balancer_name(name);
        let request = request.set_instances(Some(instance_list(instances)));
        write(cx, &REGISTER_INSTANCES, request.send()).await.map(drop)
    }

    /// Takes instances away. Those that are not there are success.
    pub(crate) async fn deregister_instances(
        &self,
        cx: &Write,
        name: &str,
        instances: &BTreeSet<String>,
    ) -> Result<(), CloudError> {
        let elb = &self.sdk()?.elb;
        let request = elb.deregister_instances_from_load_balancer().load_balancer_name(name);
        let request = request.set_instances(Some(instance_list(instances)));
        write(cx, &DEREGISTER_INSTANCES, request.send()).await.map(drop)
    }
}

/// The SDK checks that what must be there is there.
fn incomplete(err: BuildError) -> CloudError {
    CloudError::new(Kind::Internal, "a request lacks something that it must have").with_source(err)
}

#[expect(clippy::unnecessary_wraps, reason = "what the SDK's setters take")]
fn list(texts: &BTreeSet<String>) -> Option<Vec<String>> {
    Some(texts.iter().cloned().collect())
}

fn instance_list(ids: &BTreeSet<String>) -> Vec<sdk::Instance> {
    ids.iter().map(|id| sdk::Instance::builder().instance_id(id).build()).collect()
}

fn tag_list<'a>(
    tags: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<Vec<sdk::Tag>, CloudError> {
    tags.map(|(key, value)| sdk::Tag::builder().key(key).value(value).build().map_err(incomplete))
        .collect()
}

fn listener_list(listeners: &BTreeSet<Listener>) -> Result<Vec<sdk::Listener>, CloudError> {
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

fn attributes_request(attributes: &Attributes) -> Result<sdk::LoadBalancerAttributes, CloudError> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let Attributes { access_log, draining, idle, cross_zone } = attributes;
    let log = sdk::AccessLog::builder().enabled(access_log.is_some());
    let log = match access_log {
        Some(AccessLog { bucket, prefix, interval }) => {
            log.s3_bucket_name(bucket).s3_bucket_prefix(prefix).emit_interval(number(*interval))
        }
        None => log,
    };
    let draining = sdk::ConnectionDraining::builder()
        .enabled(draining.is_some())
        .set_timeout(draining.map(number));
    let settings = sdk::ConnectionSettings::builder().idle_timeout(number(*idle));
    let cross_zone = sdk::CrossZoneLoadBalancing::builder().enabled(*cross_zone);
    let attributes = sdk::LoadBalancerAttributes::builder()
        .access_log(log.build())
        .connection_draining(draining.build())
        .connection_settings(settings.build().map_err(incomplete)?)
        .cross_zone_load_balancing(cross_zone.build());
    Ok(attributes.build())
}

fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok()
}

fn number(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn load_balancer(found: sdk::LoadBalancerDescription) -> LoadBalancer {
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

fn attributes(found: sdk::LoadBalancerAttributes) -> Attributes {
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
    use rstest::rstest;

    use super::*;

    fn listener() -> Listener {
        Listener {
            port: 443,
            protocol: "ssl".into(),
            node_port: 30_443,
            node_protocol: "tcp".into(),
            certificate: Some("arn:aws:acm:eu-west-1:1:certificate/AB".into()),
        }
    }

    #[rstest]
    #[case(listener(), true)]
    #[case(Listener { certificate: Some("ARN:aws:acm:eu-west-1:1:certificate/ab".into()), ..listener() }, true)]
    #[case(Listener { certificate: None, ..listener() }, false)]
    #[case(Listener { node_port: 1, ..listener() }, false)]
    #[case(Listener { protocol: "https".into(), ..listener() }, false)]
    #[case(Listener { node_protocol: "ssl".into(), ..listener() }, false)]
    fn listeners_that_do_the_same(#[case] other: Listener, #[case] want: bool) {
        assert_eq!(listener().does_as(&other), want);
    }

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
