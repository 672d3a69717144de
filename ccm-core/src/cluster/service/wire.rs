//! A Service as it comes over the wire.
//!
//! Nothing that the API accepts, now or in a later version, may keep a Service from being read: one
//! that cannot be parsed breaks the watch for all. So every value is taken as it comes, and judged
//! when it is trimmed.

use std::fmt::Display;
use std::num::NonZeroU16;
use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;

use super::{Condition, Service, ServiceKey, ServiceType};
use crate::cloud::{
    ExternalTrafficPolicy, IngressAddress, IngressPoint, IngressPort, IpFamily, IpMode, Protocol,
    ServicePort,
};
use crate::cluster::meta::{core_resource, metadata};
use crate::cluster::node::{ConditionStatus, Version};
use crate::cluster::pairs::Pairs;

/// `spec.sessionAffinityConfig.clientIP.timeoutSeconds`, where it is not set.
const AFFINITY_TIMEOUT: i64 = 10_800;

/// A Service as it comes over the wire: read field by field, so that selectors, managed fields and
/// whatever else is on it is skipped while parsing. Lives only until it is cached.
#[derive(Clone, Debug, Deserialize)]
pub struct WireService {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WireSpec,
    #[serde(default)]
    status: WireStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    #[serde(rename = "type")]
    kind: String,
    load_balancer_class: Option<Box<str>>,
    ports: Vec<WirePort>,
    ip_families: Vec<String>,
    external_traffic_policy: String,
    health_check_node_port: i64,
    session_affinity: String,
    session_affinity_config: Option<WireAffinityConfig>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Box<str>,
    load_balancer_source_ranges: Vec<Box<str>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    name: String,
    protocol: String,
    port: i64,
    node_port: i64,
    app_protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireAffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: Option<WireClientIp>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireClientIp {
    timeout_seconds: Option<i64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    load_balancer: WireLoadBalancer,
    conditions: Vec<WireCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireLoadBalancer {
    ingress: Vec<WireIngress>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireIngress {
    ip: String,
    hostname: String,
    ip_mode: Option<String>,
    ports: Vec<WireIngressPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WireIngressPort {
    port: i64,
    protocol: String,
    error: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireCondition {
    #[serde(rename = "type")]
    kind: Box<str>,
    status: Box<str>,
    reason: Box<str>,
    message: Box<str>,
    /// Whoever may write conditions may write a time that only Go can read, of the year 10000 or the
    /// last day of 9999.
    last_transition_time: Option<Box<str>>,
}

core_resource!(WireService, NamespaceResourceScope, "Service", "services");

impl WireService {
    /// By what it is found.
    pub(in crate::cluster) fn key(&self) -> ServiceKey {
        let text = |field: &Option<String>| field.as_deref().unwrap_or_default().into();
        ServiceKey { namespace: text(&self.metadata.namespace), name: text(&self.metadata.name) }
    }

    /// What is kept of it. The two functions say which annotations and labels somebody reads.
    pub fn trim(
        self,
        keep_annotation: impl Fn(&str) -> bool,
        keep_label: impl Fn(&str) -> bool,
    ) -> Service {
        let key = self.key();
        let Self { metadata, spec, status } = self;
        let created =
            metadata.creation_timestamp.map_or(SystemTime::UNIX_EPOCH, |time| time.0.into());
        let mut judge = Judge(None);
        let ports = spec.ports.into_iter().enumerate();
        let ports = ports.filter_map(|(place, port)| judge.service_port(place, port)).collect();
        let families = spec.ip_families.iter().filter_map(|text| judge.family(text)).collect();
        let points: Vec<_> = status.load_balancer.ingress.iter().map(point).collect();
        Service {
            key,
            uid: metadata.uid.unwrap_or_default().into(),
            version: Version::new(&metadata.resource_version.unwrap_or_default()),
            created,
            deleting: metadata.deletion_timestamp.is_some(),
            annotations: Pairs::keeping(&metadata.annotations.unwrap_or_default(), keep_annotation),
            labels: Pairs::keeping(&metadata.labels.unwrap_or_default(), keep_label),
            finalizers: metadata.finalizers.into_iter().flatten().map(String::into).collect(),
            kind: match spec.kind.as_str() {
                "LoadBalancer" => ServiceType::LoadBalancer,
                _ => ServiceType::Other,
            },
            class: spec.load_balancer_class,
            ports,
            families,
            external_traffic_policy: judge.traffic_policy(&spec.external_traffic_policy),
            health_check_node_port: judge
                .optional_port("spec.healthCheckNodePort", spec.health_check_node_port),
            client_ip_affinity: judge
                .affinity(&spec.session_affinity, spec.session_affinity_config),
            requested_address: Some(spec.load_balancer_ip).filter(|text| !text.is_empty()),
            source_ranges: spec.load_balancer_source_ranges.into(),
            odd_ingress: points.iter().any(|(_, is_all)| !is_all),
            ingress: points.into_iter().filter_map(|(point, _)| point).collect(),
            conditions: status.conditions.into_iter().map(WireCondition::trim).collect(),
            problem: judge.0.map(String::into),
        }
    }
}

impl WireCondition {
    fn trim(self) -> Condition {
        Condition {
            kind: self.kind,
            status: ConditionStatus::parse(&self.status),
            reason: self.reason,
            message: self.message,
            since: self.last_transition_time.and_then(|time| since(&time)),
        }
    }
}

/// `None` for a time that cannot be one.
fn since(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

/// Reads the spec and keeps the first thing that makes no sense.
struct Judge(Option<String>);

impl Judge {
    fn complain(&mut self, field: impl Display, value: impl Display, accepted: &str) {
        self.0.get_or_insert_with(|| format!("{field} is {value}: must be {accepted}"));
    }

    fn service_port(&mut self, place: usize, wire: WirePort) -> Option<ServicePort> {
        let port = port(wire.port);
        if port.is_none() {
            self.complain(format_args!("spec.ports[{place}].port"), wire.port, PORT);
        }
        let protocol = protocol(&wire.protocol);
        if protocol.is_none() {
            let field = format_args!("spec.ports[{place}].protocol");
            self.complain(field, format_args!("{:?}", wire.protocol), "TCP, UDP or SCTP");
        }
        let field = format_args!("spec.ports[{place}].nodePort");
        let node_port = self.optional_port(field, wire.node_port);
        Some(ServicePort {
            name: wire.name,
            protocol: protocol?,
            port: port?,
            node_port,
            app_protocol: wire.app_protocol,
        })
    }

    /// A port that may be missing, which the API says with 0.
    fn optional_port(&mut self, field: impl Display, number: i64) -> Option<NonZeroU16> {
        let port = port(number);
        if port.is_none() && number != 0 {
            self.complain(field, number, PORT);
        }
        port
    }

    fn family(&mut self, text: &str) -> Option<IpFamily> {
        match text {
            "IPv4" => Some(IpFamily::V4),
            "IPv6" => Some(IpFamily::V6),
            _ => {
                self.complain("spec.ipFamilies", format_args!("{text:?}"), "IPv4 or IPv6");
                None
            }
        }
    }

    fn traffic_policy(&mut self, text: &str) -> ExternalTrafficPolicy {
        match text {
            "Local" => ExternalTrafficPolicy::Local,
            "Cluster" | "" => ExternalTrafficPolicy::Cluster,
            _ => {
                let value = format_args!("{text:?}");
                self.complain("spec.externalTrafficPolicy", value, "Cluster or Local");
                ExternalTrafficPolicy::Cluster
            }
        }
    }

    fn affinity(&mut self, text: &str, config: Option<WireAffinityConfig>) -> Option<Duration> {
        match text {
            "ClientIP" => {
                let timeout = config.and_then(|config| config.client_ip?.timeout_seconds);
                let timeout = timeout.unwrap_or(AFFINITY_TIMEOUT);
                let seconds = u64::try_from(timeout).ok().filter(|seconds| *seconds > 0);
                if seconds.is_none() {
                    let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
                    self.complain(field, timeout, "a number of seconds, 1 or more");
                }
                seconds.map(Duration::from_secs)
            }
            "None" | "" => None,
            _ => {
                let value = format_args!("{text:?}");
                self.complain("spec.sessionAffinity", value, "ClientIP or None");
                None
            }
        }
    }
}

const PORT: &str = "a port from 1 to 65535";

fn port(number: i64) -> Option<NonZeroU16> {
    u16::try_from(number).ok().and_then(NonZeroU16::new)
}

/// The API's default is TCP.
fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "TCP" | "" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// As much of an entry as an [`IngressPoint`] can say, and whether that is all of it.
fn point(wire: &WireIngress) -> (Option<IngressPoint>, bool) {
    let address = match (wire.ip.as_str(), wire.hostname.as_str()) {
        ("", "") => None,
        ("", name) => Some(IngressAddress::Hostname(name.to_owned())),
        (ip, _) => ip.parse().ok().map(IngressAddress::Ip),
    };
    let mode = match wire.ip_mode.as_deref() {
        Some("VIP") => Some(IpMode::Vip),
        Some("Proxy") => Some(IpMode::Proxy),
        _ => None,
    };
    let ports = wire.ports.iter().filter_map(|wire| {
        Some(IngressPort {
            port: port(wire.port)?,
            protocol: protocol(&wire.protocol)?,
            error: wire.error.clone(),
        })
    });
    let ports: Vec<_> = ports.collect();
    let is_all = address.is_some()
        && (wire.ip.is_empty() || wire.hostname.is_empty())
        && mode.is_some() == wire.ip_mode.is_some()
        && ports.len() == wire.ports.len();
    (address.map(|address| IngressPoint { address, mode, ports }), is_all)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::keys;

    fn trimmed(spec: &Value, status: &Value) -> Service {
        let json = json!({
            "kind": "Service", "apiVersion": "v1",
            "metadata": {
                "namespace": "shop", "name": "web", "uid": "u1", "resourceVersion": "12",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "labels": {"tier": "front", "drop": "me"},
                "annotations": {"keep": "me", "drop": "me"},
                "finalizers": [keys::FINALIZER, "example.com/other"],
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": spec, "status": status,
        });
        let wire: WireService = serde_json::from_value(json).unwrap();
        assert!(wire.metadata.managed_fields.is_none());
        wire.trim(|key| key == "keep", |key| key == "tier")
    }

    fn number(port: u16) -> NonZeroU16 {
        NonZeroU16::new(port).unwrap()
    }

    #[test]
    fn everything_that_somebody_reads_is_kept() {
        let spec = json!({
            "type": "LoadBalancer", "loadBalancerClass": "ccm.rs/sim", "clusterIP": "10.0.0.1",
            "selector": {"app": "web"},
            "ports": [
                {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web", "nodePort": 30080,
                    "appProtocol": "http"},
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 53},
            ],
            "ipFamilies": ["IPv6", "IPv4"], "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 31000, "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            "loadBalancerIP": "192.0.2.1", "loadBalancerSourceRanges": ["10.0.0.0/8"],
        });
        let status = json!({
            "loadBalancer": {"ingress": [
                {"ip": "192.0.2.1", "ipMode": "Proxy",
                    "ports": [{"port": 80, "protocol": "TCP", "error": "NoQuota"}]},
                {"hostname": "lb.example.com"},
            ]},
            "conditions": [
                {"type": "ccm.rs/LoadBalancerReady", "status": "False", "reason": "Waiting",
                    "message": "for an address", "lastTransitionTime": "2026-01-02T03:04:05Z"},
                {"type": "Other", "status": "True", "lastTransitionTime": null},
            ],
        });
        let service = trimmed(&spec, &status);
        assert_eq!(service.key.to_string(), "shop/web");
        assert_eq!(service.annotations, [("keep", "me")].into_iter().collect());
        assert_eq!(service.labels, [("tier", "front")].into_iter().collect());
        assert!(service.has_finalizer(keys::FINALIZER) && !service.has_finalizer("x"));
        assert!(service.wants_load_balancer() && !service.deleting);
        assert_eq!(service.class.as_deref(), Some("ccm.rs/sim"));
        let http = ServicePort {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            port: number(80),
            node_port: Some(number(30080)),
            app_protocol: Some("http".to_owned()),
        };
        let dns = ServicePort {
            name: "dns".to_owned(),
            protocol: Protocol::Udp,
            port: number(53),
            node_port: None,
            app_protocol: None,
        };
        assert_eq!(*service.ports, [http, dns]);
        assert_eq!(*service.families, [IpFamily::V6, IpFamily::V4]);
        assert_eq!(service.external_traffic_policy, ExternalTrafficPolicy::Local);
        assert_eq!(service.health_check_node_port, Some(number(31000)));
        assert_eq!(service.client_ip_affinity, Some(Duration::from_mins(1)));
        assert_eq!(service.requested_address.as_deref(), Some("192.0.2.1"));
        assert_eq!(*service.source_ranges, ["10.0.0.0/8".into()]);
        let broken = IngressPort {
            port: number(80),
            protocol: Protocol::Tcp,
            error: Some("NoQuota".to_owned()),
        };
        let ip = IngressAddress::Ip("192.0.2.1".parse().unwrap());
        let name = IngressAddress::Hostname("lb.example.com".to_owned());
        assert_eq!(
            *service.ingress,
            [
                IngressPoint { address: ip, mode: Some(IpMode::Proxy), ports: vec![broken] },
                IngressPoint { address: name, mode: None, ports: vec![] },
            ]
        );
        assert!(!service.odd_ingress);
        let ready = service.ready().unwrap();
        assert_eq!((ready.status, &*ready.reason), (ConditionStatus::False, "Waiting"));
        assert_eq!(ready.since, Some(service.created));
        assert_eq!(service.condition("Other").unwrap().since, None);
        assert_eq!(service.problem, None);

        let identity = service.identity();
        assert_eq!(identity.id.to_string(), "shop/web");
        assert_eq!(identity.annotations, [("keep".to_owned(), "me".to_owned())].into());
        assert_eq!(identity.finalizers.len(), 2);
        assert_eq!(*identity.ingress, *service.ingress);
        assert_eq!(service.involved().namespace, "shop");
    }

    #[test]
    fn what_is_not_said_is_what_the_api_means_by_it() {
        let service =
            trimmed(&json!({"sessionAffinity": "ClientIP"}), &json!({"loadBalancer": {}}));
        assert!(!service.wants_load_balancer());
        assert_eq!(service.client_ip_affinity, Some(Duration::from_hours(3)));
        assert_eq!((service.class, service.requested_address), (None, None));
        assert_eq!(service.problem, None);
    }

    #[rstest]
    #[case(json!({"ports": [{"port": 0}]}), "spec.ports[0].port is 0: must be a port from 1 to 65535")]
    #[case(json!({"ports": [{"port": 1}, {"port": 70_000}]}),
        "spec.ports[1].port is 70000: must be a port from 1 to 65535")]
    #[case(json!({"ports": [{"port": 1, "nodePort": -1}]}),
        "spec.ports[0].nodePort is -1: must be a port from 1 to 65535")]
    #[case(json!({"ports": [{"port": 1, "protocol": "QUIC"}]}),
        r#"spec.ports[0].protocol is "QUIC": must be TCP, UDP or SCTP"#)]
    #[case(json!({"ipFamilies": ["IPv9"]}), r#"spec.ipFamilies is "IPv9": must be IPv4 or IPv6"#)]
    #[case(json!({"externalTrafficPolicy": "Zone"}),
        r#"spec.externalTrafficPolicy is "Zone": must be Cluster or Local"#)]
    #[case(json!({"sessionAffinity": "Cookie"}),
        r#"spec.sessionAffinity is "Cookie": must be ClientIP or None"#)]
    #[case(json!({"healthCheckNodePort": 65_536}),
        "spec.healthCheckNodePort is 65536: must be a port from 1 to 65535")]
    #[case(
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds is 0: must be a number of seconds, 1 or more"
    )]
    fn what_makes_no_sense_is_named(#[case] spec: Value, #[case] problem: &str) {
        assert_eq!(trimmed(&spec, &json!({})).problem.as_deref(), Some(problem));
    }

    #[rstest]
    #[case(json!({}), None)]
    #[case(json!({"ip": "here"}), None)]
    #[case(json!({"ip": "192.0.2.1", "hostname": "lb.example.com"}), Some("192.0.2.1"))]
    #[case(json!({"ip": "192.0.2.1", "ipMode": "Anycast"}), Some("192.0.2.1"))]
    #[case(json!({"ip": "192.0.2.1", "ports": [{"port": 0}]}), Some("192.0.2.1"))]
    fn an_address_that_we_cannot_say_is_odd(#[case] point: Value, #[case] ip: Option<&str>) {
        let service = trimmed(&json!({}), &json!({"loadBalancer": {"ingress": [point]}}));
        assert!(service.odd_ingress);
        let kept = service.ingress.first().map(|point| point.address.clone());
        assert_eq!(kept, ip.map(|ip| IngressAddress::Ip(ip.parse().unwrap())));
        assert_eq!(service.problem, None);
        assert!(!service.shows(&service.ingress));
    }

    #[test]
    fn no_mode_is_the_apis_default() {
        let points = json!([{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "lb.example.com"}]);
        let service = trimmed(&json!({}), &json!({"loadBalancer": {"ingress": points}}));
        let mut want = service.ingress.to_vec();
        assert!(service.shows(&want));
        want[0].mode = None;
        want[1].mode = Some(IpMode::Proxy);
        assert!(service.shows(&want));
        want[0].mode = Some(IpMode::Proxy);
        assert!(!service.shows(&want) && !service.shows(&want[1..]));
    }

    #[test]
    fn a_time_that_only_go_can_read_is_none_and_breaks_nothing() {
        let times = ["9999-12-31T23:59:59Z", "10000-01-01T23:58:59Z", "2026-01-02T03:04:05Z"];
        let condition = |time| json!({"type": time, "status": "True", "lastTransitionTime": time});
        let conditions: Vec<_> = times.iter().map(condition).collect();
        let service = trimmed(&json!({}), &json!({"conditions": conditions}));
        let since = times.map(|time| service.condition(time).unwrap().since.is_some());
        assert_eq!(since, [false, false, true]);
    }
}
