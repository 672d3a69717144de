//! What the annotations of a Service may say. The keys, values and defaults are the Go program's.
//!
//! What depends on the kind of load balancer is judged when a wish is read; here is what each value
//! may be by itself.

mod values;

pub(crate) use self::values::{
    DrainingSeconds, EmitInterval, HealthCheckPort, HealthInterval, HealthTimeout, IdleSeconds,
    Kind, Names, Only, PRESERVE_CLIENT_IP, PROXY_PROTOCOL, Pairs, Ports, PrivateAddresses,
    TargetGroupAttributes, Threshold, UnhealthyThreshold,
};

use std::collections::BTreeMap;

use ccm_core::cloud::annotations::{Annotated, AnnotationError, AnnotationValue, Annotations};

ccm_core::annotations! {
    /// What the annotations of a Service say.
    #[derive(Clone, Debug)]
    pub(crate) struct ServiceAnnotations {
        /// Which kind of load balancer: `nlb` is a Network Load Balancer, and any other text a
        /// Classic one. `external` and `nlb-ip` leave the Service to another controller.
        "service.beta.kubernetes.io/aws-load-balancer-type" => pub(crate) kind: Kind = "",
        /// Whether the load balancer is reached from inside only: any text but `false`.
        /// AWS fixes it when a load balancer is made: what is there keeps its scheme, with its
        /// subnets, and an event says so.
        "service.beta.kubernetes.io/aws-load-balancer-internal" => pub(crate) internal: String,
        /// The load balancer's subnets, by ID or by the tag `Name`, instead of those that are found
        /// by themselves. A Network Load Balancer keeps those that it was made with.
        "service.beta.kubernetes.io/aws-load-balancer-subnets" => pub(crate) subnets: Names,
        /// Labels that a node must have to take traffic; without a value the key is enough.
        "service.beta.kubernetes.io/aws-load-balancer-target-node-labels" =>
            pub(crate) target_node_labels: Pairs,
        /// Tags for what is made, beside those by which it is found again. Added and kept as they
        /// are here; one that is not named any more stays.
        "service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags" =>
            pub(crate) additional_tags: Pairs,
        /// Security groups, by ID, instead of one that is made for the load balancer. Their rules
        /// are left alone. For a Network Load Balancer only where `NLBSecurityGroupMode` is
        /// `Managed`.
        "service.beta.kubernetes.io/aws-load-balancer-security-groups" =>
            pub(crate) security_groups: Names,
        /// Security groups, by ID, beside the others. Classic Load Balancers only.
        "service.beta.kubernetes.io/aws-load-balancer-extra-security-groups" =>
            pub(crate) extra_security_groups: Names,
        /// The ARN of the certificate for the ports of `ssl-ports`.
        "service.beta.kubernetes.io/aws-load-balancer-ssl-cert" => pub(crate) certificate: String,
        /// Ports that speak TLS, by number or name, where there is a certificate.
        "service.beta.kubernetes.io/aws-load-balancer-ssl-ports" => pub(crate) tls_ports: Ports = "*",
        /// The security policy of ports that speak TLS. AWS' own default where there is none.
        "service.beta.kubernetes.io/aws-load-balancer-ssl-negotiation-policy" =>
            pub(crate) tls_policy: String,
        /// What nodes are spoken to: `http`, `https`, `ssl` or `tcp` by a Classic Load Balancer, `ssl`
        /// by a Network Load Balancer.
        "service.beta.kubernetes.io/aws-load-balancer-backend-protocol" =>
            pub(crate) backend_protocol: String,
        /// Whether traffic goes to nodes in all zones, whatever zone it came in.
        "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled" =>
            pub(crate) cross_zone: bool = "false",
        /// Whether access logs are written.
        "service.beta.kubernetes.io/aws-load-balancer-access-log-enabled" =>
            pub(crate) access_log: bool = "false",
        /// The bucket of access logs.
        "service.beta.kubernetes.io/aws-load-balancer-access-log-s3-bucket-name" =>
            pub(crate) access_log_bucket: String,
        /// What the names of access logs begin with.
        "service.beta.kubernetes.io/aws-load-balancer-access-log-s3-bucket-prefix" =>
            pub(crate) access_log_prefix: String,
        /// Minutes between access logs. Classic Load Balancers only.
        "service.beta.kubernetes.io/aws-load-balancer-access-log-emit-interval" =>
            pub(crate) access_log_interval: EmitInterval,
        /// Whether connections to a node that goes are let end. Classic Load Balancers only.
        "service.beta.kubernetes.io/aws-load-balancer-connection-draining-enabled" =>
            pub(crate) draining: bool = "false",
        /// For how long they are let. Classic Load Balancers only.
        "service.beta.kubernetes.io/aws-load-balancer-connection-draining-timeout" =>
            pub(crate) draining_timeout: DrainingSeconds,
        /// For how long a connection may be silent. Classic Load Balancers only.
        "service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout" =>
            pub(crate) idle_timeout: IdleSeconds = "60",
        /// Whether nodes are told the client by the PROXY protocol, on all ports. Classic Load
        /// Balancers only; for others see `target-group-attributes`.
        "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol" => pub(crate) proxy_protocol: Only,
        /// How nodes are asked whether they are well: `TCP`, `HTTP`, `HTTPS`, and `SSL` by a Classic
        /// Load Balancer.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol" =>
            pub(crate) health_protocol: String,
        /// Where they are asked. Of no effect for a Network Load Balancer where kube-proxy is asked for all
        /// Services.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-port" =>
            pub(crate) health_port: HealthCheckPort,
        /// What they are asked for by `HTTP` and `HTTPS`.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-path" => pub(crate) health_path: String,
        /// Seconds between two questions. Without it 10 for a Classic Load Balancer, 30 for a Network
        /// Load Balancer, or 10 where `externalTrafficPolicy` is `Local`.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval" =>
            pub(crate) health_interval: HealthInterval,
        /// Seconds that an answer may take: for a Classic Load Balancer fewer than between two
        /// questions, for a Network Load Balancer not more. What AWS does not accept for a Network
        /// Load Balancer is ignored, with an event. Without it 5 for a Classic Load Balancer, and
        /// AWS' own default for a Network Load Balancer.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-timeout" =>
            pub(crate) health_timeout: HealthTimeout,
        /// Good answers until a node is taken to be well. Without it 2 for a Classic Load Balancer, 3 for a
        /// Network Load Balancer, or 2 where `externalTrafficPolicy` is `Local`.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-healthy-threshold" =>
            pub(crate) healthy_threshold: Threshold,
        /// Bad answers until it is not. What AWS does not accept is ignored for a Network Load Balancer, with
        /// an event. Without it 6 for a Classic Load Balancer, 3 for a Network Load Balancer, or 2 where
        /// `externalTrafficPolicy` is `Local`.
        "service.beta.kubernetes.io/aws-load-balancer-healthcheck-unhealthy-threshold" =>
            pub(crate) unhealthy_threshold: UnhealthyThreshold,
        /// Attributes of target groups. Network Load Balancers only. One that is not named any more keeps
        /// its last value.
        "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes" =>
            pub(crate) target_group_attributes: TargetGroupAttributes,
        /// Allocation IDs of Elastic IPs, one for each subnet. Network Load Balancers only, and only when
        /// one is made.
        "service.beta.kubernetes.io/aws-load-balancer-eip-allocations" =>
            pub(crate) allocations: Names,
        /// Private addresses, one for each subnet. Network Load Balancers only, and only when one is made.
        "service.beta.kubernetes.io/aws-load-balancer-private-ipv4-addresses" =>
            pub(crate) private_addresses: PrivateAddresses,
    }
}

/// Before the rest of each key.
pub(crate) const PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";

/// What means something to Classic Load Balancers alone, behind the prefix.
pub(crate) const CLASSIC_ALONE: [&str; 5] = [
    "access-log-emit-interval",
    "connection-draining-enabled",
    "connection-draining-timeout",
    "connection-idle-timeout",
    "proxy-protocol",
];

/// What says nothing where it is empty: the Go program reads it as not set. Others are wrong then.
const NOTHING_IF_EMPTY: [&str; 7] = [
    "access-log-emit-interval",
    "access-log-enabled",
    "connection-draining-enabled",
    "connection-draining-timeout",
    "connection-idle-timeout",
    "cross-zone-load-balancing-enabled",
    "proxy-protocol",
];

/// What means something to Network Load Balancers alone.
pub(crate) const NETWORK_ALONE: [&str; 3] =
    ["eip-allocations", "private-ipv4-addresses", "target-group-attributes"];

impl ServiceAnnotations {
    /// All keys, and how they are read: the type first. What says nothing to that kind of load
    /// balancer is not looked into, and nothing is where another controller serves the Service.
    pub(crate) const BY_KIND: Annotations = Annotations { read: read_by_kind, ..Self::ANNOTATIONS };

    /// Whether the load balancer is to be reached from inside only.
    pub(crate) fn is_internal(&self) -> bool {
        self.internal.as_deref().is_some_and(|text| !text.is_empty() && text != "false")
    }

    /// Whether a security group is named, of an object whose other annotations may not be readable. Then it
    /// is the owner's, whoever has made it.
    pub(crate) fn name_group(annotations: &BTreeMap<String, String>, id: &str) -> bool {
        let said = ["security-groups", "extra-security-groups"]
            .iter()
            .filter_map(|key| annotations.get(&format!("{PREFIX}{key}")));
        said.flat_map(|text| text.split(',')).any(|named| named.trim() == id)
    }

    /// What is wrong with where nodes are asked whether they are well, where that has an effect.
    pub(crate) fn wrong_health_port(
        &self,
        annotations: &BTreeMap<String, String>,
    ) -> Option<String> {
        let is_wrong = self.health_port == Some(HealthCheckPort::Nonsense);
        let key = format!("{PREFIX}healthcheck-port");
        let text = annotations.get(&key).filter(|_| is_wrong)?;
        Some(format!("annotation {key}={text:?}: must be {}", HealthCheckPort::ACCEPTED))
    }

    /// The labels of nodes that take traffic, of an object whose other annotations may not be
    /// readable. Empty: all nodes.
    pub(crate) fn node_labels(annotations: &BTreeMap<String, String>) -> Pairs {
        let text = annotations.get(&format!("{PREFIX}target-node-labels"));
        text.and_then(|text| Pairs::read(text)).unwrap_or_default()
    }
}

fn read_by_kind(annotations: &BTreeMap<String, String>) -> Result<Annotated, Vec<AnnotationError>> {
    let kind = annotations.get(&format!("{PREFIX}type"));
    let kind = kind.and_then(|text| Kind::read(text)).unwrap_or(Kind::Classic);
    let counts = |key: &str, value: &str| {
        let key = key.strip_prefix(PREFIX).unwrap_or(key);
        if value.is_empty() && NOTHING_IF_EMPTY.contains(&key) {
            return false;
        }
        match kind {
            Kind::Classic | Kind::Unheard => !NETWORK_ALONE.contains(&key),
            Kind::Network => !CLASSIC_ALONE.contains(&key),
            Kind::Elsewhere => key == "type",
        }
    };
    let counting = annotations.iter().filter(|(key, value)| counts(key, value));
    let counting = counting.map(|(key, value)| (key.clone(), value.clone())).collect();
    (ServiceAnnotations::ANNOTATIONS.read)(&counting)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_defaults_can_be_read() {
        let said = ServiceAnnotations::default();
        assert_eq!((said.kind, said.is_internal()), (Kind::Classic, false));
        assert!(ServiceAnnotations::ANNOTATIONS.has(&format!("{PREFIX}target-node-labels")));
        assert_eq!(ServiceAnnotations::ANNOTATIONS.declared.len(), 30);
    }

    /// What is wrong with these, one word a key.
    fn wrong(pairs: &[(&str, &str)]) -> Vec<&'static str> {
        let pair = |(key, value): &(&str, &str)| (format!("{PREFIX}{key}"), (*value).to_owned());
        match (ServiceAnnotations::BY_KIND.read)(&pairs.iter().map(pair).collect()) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|it| it.key.trim_start_matches(PREFIX)).collect(),
        }
    }

    const NONSENSE: [(&str, &str); 8] = [
        ("access-log-emit-interval", "often"),
        ("connection-draining-enabled", "maybe"),
        ("connection-draining-timeout", "0"),
        ("connection-idle-timeout", "7200"),
        ("proxy-protocol", "true"),
        ("healthcheck-port", "http"),
        ("healthcheck-interval", "4"),
        ("target-group-attributes", "deregistration_delay.timeout_seconds=30"),
    ];

    #[rstest]
    #[case::not_ours("external", &[])]
    #[case::nor_that("nlb-ip", &[])]
    #[case::network("nlb", &["healthcheck-interval", "target-group-attributes"])]
    #[case::classic("", &[
        "access-log-emit-interval", "connection-draining-enabled", "connection-draining-timeout",
        "connection-idle-timeout", "proxy-protocol", "healthcheck-interval",
    ])]
    #[case::classic_too("NLB", &[
        "access-log-emit-interval", "connection-draining-enabled", "connection-draining-timeout",
        "connection-idle-timeout", "proxy-protocol", "healthcheck-interval",
    ])]
    fn what_says_nothing_to_a_kind_cannot_be_wrong(#[case] kind: &str, #[case] want: &[&str]) {
        let said: Vec<_> = NONSENSE.into_iter().chain([("type", kind)]).collect();
        assert_eq!(wrong(&said), want);
    }

    #[rstest]
    #[case::network("nlb")]
    #[case::classic("")]
    fn what_is_empty_says_nothing(#[case] kind: &str) {
        let said = NOTHING_IF_EMPTY.iter().map(|key| (*key, "")).chain([("type", kind)]);
        assert_eq!(wrong(&said.collect::<Vec<_>>()), [""; 0]);
    }

    #[test]
    fn an_empty_number_is_wrong() {
        assert_eq!(wrong(&[("healthcheck-interval", "")]), ["healthcheck-interval"]);
    }

    #[test]
    fn keys_of_one_kind_are_declared() {
        let declared = |key: &&str| ServiceAnnotations::BY_KIND.has(&format!("{PREFIX}{key}"));
        assert!(CLASSIC_ALONE.iter().chain(&NETWORK_ALONE).all(declared));
        assert!(NOTHING_IF_EMPTY.iter().all(declared));
    }

    #[rstest]
    #[case("", false)]
    #[case("false", false)]
    #[case("False", true)]
    #[case("true", true)]
    #[case("0.0.0.0/0", true)]
    fn internal_is_all_but_false(#[case] text: &str, #[case] want: bool) {
        let said = ServiceAnnotations { internal: Some(text.to_owned()), ..Default::default() };
        assert_eq!(said.is_internal(), want);
    }
}
