//! Classic Load Balancers.

use super::{LOGS, Pieces, ranges, row_of_two, tags};
use crate::annotations::row::Row;

/// All annotations of a Classic Load Balancer.
pub(in super::super) fn classic(pieces: &Pieces) -> Vec<Row> {
    let mut rows = places(pieces);
    rows.extend(listeners(pieces));
    rows.extend(attributes());
    rows.extend(health());
    rows
}

fn places(pieces: &Pieces) -> Vec<Row> {
    let [public_a, public_b] = &pieces.public;
    let [one, two] = &pieces.groups;
    vec![
        Row::of("internal")
            .made("true", &["LB: internal", "subnets private-a.e2e, private-b.e2e"])
            .in_vain("false", "SchemeKept"),
        Row::of("subnets")
            .then(public_b, &["subnets public-b.e2e"])
            .then(public_a, &["subnets public-a.e2e"]),
        Row::of("subnets")
            .then("public-b.e2e", &["subnets public-b.e2e"])
            .then("public-a.e2e", &["subnets public-a.e2e"]),
        Row::of("target-node-labels")
            .then("pool=front", &["-instance node-2"])
            .then("pool=back", &["-instance node-1"]),
        tags(),
        Row::of("security-groups")
            .then(one, &["security groups one", "-k8s-elb-LB"])
            .then(two, &["security groups two", "-k8s-elb-LB"]),
        Row::of("extra-security-groups")
            .then(one, &["security groups k8s-elb-LB, one"])
            .then(two, &["security groups k8s-elb-LB, two"]),
        ranges(&[]),
    ]
}

/// AWS' own policy of listeners that speak TLS.
const OWN_POLICY: &str = "ELBSecurityPolicy-2016-08";

/// The line about a listener that speaks TLS, up to its policies.
fn front(certificate: &str) -> String {
    format!("listener 80 SSL to NODE-PORT-0 TCP, certificate {certificate}")
}

/// The line about a policy that stays though nothing has it any more.
fn defined(policy: &str) -> String {
    format!("classic load balancer LB: policy {policy} SSLNegotiationPolicyType")
}

fn listeners(pieces: &Pieces) -> Vec<Row> {
    let [one, two] = &pieces.certificates;
    let policies = ["ELBSecurityPolicy-TLS-1-1-2017-01", "ELBSecurityPolicy-TLS-1-2-2017-01"];
    let chosen = policies.map(|policy| format!("k8s-SSLNegotiationPolicy-{policy}"));
    vec![
        Row::of("ssl-cert")
            .then(one, &[&front(one), OWN_POLICY])
            .then(two, &[&front(two), OWN_POLICY])
            // The load balancer has it with its first listener that speaks TLS, and keeps it.
            .stays("", defined(OWN_POLICY)),
        Row::of("ssl-ports")
            .ports(&[80, 443])
            .beside("ssl-cert", one)
            .then("443", &["listener 80 TCP"])
            .then("p80", &["listener 443 TCP"]),
        Row::of("ssl-negotiation-policy")
            .beside("ssl-cert", one)
            .then(policies[0], &[&chosen[0]])
            .then(policies[1], &[&chosen[1], &chosen[0]])
            // AWS' own comes back to the listener, and these stay though nothing has them.
            .stays("", defined(&chosen[0]))
            .stays("", defined(&chosen[1])),
        Row::of("backend-protocol")
            .then("http", &["listener 80 HTTP to NODE-PORT-0 HTTP"])
            .then("ssl", &["Target=SSL:NODE-PORT-0"]),
        Row::of("backend-protocol")
            .beside("ssl-cert", one)
            .then("http", &["listener 80 HTTPS to NODE-PORT-0 HTTP"])
            .then("https", &["listener 80 HTTPS to NODE-PORT-0 HTTPS", "Target=SSL:NODE-PORT-0"]),
        Row::of("proxy-protocol")
            .ports(&[80, 443])
            .then(
                "*",
                &[
                    "backend NODE-PORT-0 policies ['k8s-proxyprotocol-enabled']",
                    "backend NODE-PORT-1 policies ['k8s-proxyprotocol-enabled']",
                    "LB: policy k8s-proxyprotocol-enabled ProxyProtocolPolicyType",
                ],
            )
            .stays(
                "",
                "classic load balancer LB: policy k8s-proxyprotocol-enabled ProxyProtocolPolicyType",
            ),
    ]
}

fn attributes() -> Vec<Row> {
    vec![
        row_of_two(
            "cross-zone-load-balancing-enabled",
            "1",
            &["attribute CrossZoneLoadBalancing Enabled=True"],
        ),
        row_of_two("access-log-enabled", "T", &["S3BucketName=logs"]).beside(LOGS.0, LOGS.1),
        Row::of(LOGS.0)
            .with("access-log-enabled", "true")
            .then("logs", &["S3BucketName=logs"])
            .then("more-logs", &["S3BucketName=more-logs"]),
        Row::of("access-log-s3-bucket-prefix")
            .beside("access-log-enabled", "true")
            .beside(LOGS.0, LOGS.1)
            .then("web", &["S3BucketPrefix=web"])
            .then("shop", &["S3BucketPrefix=shop"]),
        Row::of("access-log-emit-interval")
            .beside("access-log-enabled", "true")
            .beside(LOGS.0, LOGS.1)
            .then("5", &["EmitInterval=5,"])
            .then("60", &[]),
        row_of_two("connection-draining-enabled", "TRUE", &["ConnectionDraining Enabled=True"]),
        Row::of("connection-draining-timeout")
            .beside("connection-draining-enabled", "true")
            .then("90", &["ConnectionDraining Enabled=True, Timeout=90"])
            .then("120", &["ConnectionDraining Enabled=True, Timeout=120"]),
        Row::of("connection-idle-timeout")
            .then("120", &["attribute ConnectionSettings IdleTimeout=120"])
            .then("240", &["attribute ConnectionSettings IdleTimeout=240"]),
    ]
}

fn health() -> Vec<Row> {
    vec![
        Row::of("healthcheck-protocol")
            .then("HTTP", &["Target=HTTP:NODE-PORT-0/,"])
            .then("ssl", &["Target=SSL:NODE-PORT-0,"]),
        Row::of("healthcheck-port")
            .then("8081", &["Target=TCP:8081,"])
            .then("traffic-port", &[])
            .then("8082", &["Target=TCP:8082,"]),
        Row::of("healthcheck-path")
            .beside("healthcheck-protocol", "HTTP")
            .then("/a", &["Target=HTTP:NODE-PORT-0/a,"])
            .then("/b", &["Target=HTTP:NODE-PORT-0/b,"]),
        Row::of("healthcheck-interval").then("20", &["Interval=20,"]).then("30", &["Interval=30,"]),
        Row::of("healthcheck-timeout").then("3", &["Timeout=3,"]).then("4", &["Timeout=4,"]),
        Row::of("healthcheck-healthy-threshold")
            .then("3", &["check HealthyThreshold=3,"])
            .then("4", &["check HealthyThreshold=4,"]),
        Row::of("healthcheck-unhealthy-threshold")
            .then("3", &["UnhealthyThreshold=3"])
            .then("4", &["UnhealthyThreshold=4"]),
    ]
}
