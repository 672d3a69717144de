//! Network Load Balancers.

use super::{LOGS, Pieces, ranges, row_of_two, tags};
use crate::annotations::row::Row;

/// The reason of the event that says that AWS cannot change it.
const NEEDS_NEW: &str = "NeedsNewLoadBalancer";

/// Ends of rules that let the load balancer's own subnets ask whether nodes are well, where clients are
/// not everybody.
const HEALTH_RULES: [&str; 2] = [
    "10.0.0.0/20 (kubernetes.io/rule/nlb/health=LB)",
    "10.0.16.0/20 (kubernetes.io/rule/nlb/health=LB)",
];

/// All annotations of a Network Load Balancer whose security groups nobody manages.
pub(in super::super) fn network(pieces: &Pieces) -> Vec<Row> {
    let mut rows = places(pieces);
    rows.extend(listeners(pieces));
    rows.extend(attributes());
    rows.extend(health());
    rows
}

/// Those that mean something else, or something at all, with `NLBSecurityGroupMode = Managed`.
pub(in super::super) fn managed(pieces: &Pieces) -> Vec<Row> {
    let [one, two] = &pieces.groups;
    vec![
        Row::of("security-groups")
            .then(one, &["security groups one", "-k8s-default-"])
            .then(two, &["security groups two", "-k8s-default-"]),
        ranges(&HEALTH_RULES),
        tags(),
    ]
}

fn places(pieces: &Pieces) -> Vec<Row> {
    let [public_a, public_b] = &pieces.public;
    let [one, two] = &pieces.allocations;
    let unknown = "eipalloc-0123456789abcdef0,eipalloc-0123456789abcdef1";
    vec![
        Row::of("internal")
            .made(
                "true",
                &["LB: network, internal", "subnet private-a.e2e", "subnet private-b.e2e"],
            )
            .in_vain("false", NEEDS_NEW),
        Row::of("subnets").made(public_b, &["subnet public-b.e2e"]).in_vain(public_a, NEEDS_NEW),
        Row::of("subnets")
            .made("public-b.e2e", &["subnet public-b.e2e"])
            .in_vain("public-a.e2e", NEEDS_NEW),
        Row::of("eip-allocations")
            .made(
                &format!("{one},{two}"),
                &[
                    &format!("subnet public-a.e2e, AllocationId={one}"),
                    &format!("subnet public-b.e2e, AllocationId={two}"),
                ],
            )
            .in_vain(unknown, NEEDS_NEW),
        Row::of("private-ipv4-addresses")
            .beside("internal", "true")
            .made(
                "10.0.32.200,10.0.48.200",
                &[
                    "subnet private-a.e2e, PrivateIPv4Address=10.0.32.200",
                    "subnet private-b.e2e, PrivateIPv4Address=10.0.48.200",
                ],
            )
            .in_vain("10.0.32.201,10.0.48.201", NEEDS_NEW),
        Row::of("target-node-labels")
            .then("pool=front", &["-target node-2"])
            .then("pool=back", &["-target node-1"]),
        tags(),
        ranges(&HEALTH_RULES),
    ]
}

fn listeners(pieces: &Pieces) -> Vec<Row> {
    let [one, two] = &pieces.certificates;
    let policies = ["ELBSecurityPolicy-TLS-1-2-2017-01", "ELBSecurityPolicy-TLS13-1-2-2021-06"];
    vec![
        Row::of("ssl-cert")
            .then(one, &["listener 80 TLS", &format!("certificates ['{one}']")])
            .then(two, &["listener 80 TLS", &format!("certificates ['{two}']")]),
        Row::of("ssl-ports")
            .ports(&[80, 443])
            .beside("ssl-cert", one)
            .then("443", &["listener 80 TCP", "-listener 80 TLS: policy"])
            .then("p80", &["listener 443 TCP", "-listener 443 TLS: policy"]),
        Row::of("ssl-negotiation-policy")
            .beside("ssl-cert", one)
            .then(policies[0], &[&format!("policy {},", policies[0])])
            .then(policies[1], &[&format!("policy {},", policies[1])])
            // Nothing is sent where nothing is said: AWS keeps what it has.
            .stays(
                format!("ELBSecurityPolicy-2016-08, certificates ['{one}']"),
                format!("{}, certificates ['{one}']", policies[1]),
            ),
        Row::of("backend-protocol")
            .beside("ssl-cert", one)
            .then("ssl", &["TLS NODE-PORT-0 instance", "k8s-default-"])
            .then("tcp", &[]),
    ]
}

fn attributes() -> Vec<Row> {
    vec![
        row_of_two(
            "cross-zone-load-balancing-enabled",
            "1",
            &["attribute load_balancing.cross_zone.enabled=true"],
        ),
        Row::of("access-log-enabled")
            .beside(LOGS.0, LOGS.1)
            .then("true", &["access_logs.s3.enabled=true", "access_logs.s3.bucket=logs"])
            .then("false", &["access_logs.s3.bucket=logs"])
            .then("T", &["access_logs.s3.enabled=true", "access_logs.s3.bucket=logs"])
            .stays("access_logs.s3.bucket=", "access_logs.s3.bucket=logs"),
        Row::of(LOGS.0)
            .with("access-log-enabled", "true")
            .then("logs", &["access_logs.s3.enabled=true", "access_logs.s3.bucket=logs"])
            .then("more-logs", &["access_logs.s3.enabled=true", "access_logs.s3.bucket=more-logs"])
            .stays("access_logs.s3.bucket=", "access_logs.s3.bucket=more-logs"),
        Row::of("access-log-s3-bucket-prefix")
            .beside("access-log-enabled", "true")
            .beside(LOGS.0, LOGS.1)
            .then("web", &["access_logs.s3.prefix=web"])
            .then("shop", &["access_logs.s3.prefix=shop"]),
        Row::of("target-group-attributes")
            .then("proxy_protocol_v2.enabled=true", &["attribute proxy_protocol_v2.enabled=true"])
            .then(
                "preserve_client_ip.enabled=false",
                &[
                    "attribute proxy_protocol_v2.enabled=true",
                    "attribute preserve_client_ip.enabled=false",
                ],
            )
            .stays("proxy_protocol_v2.enabled=false", "proxy_protocol_v2.enabled=true")
            .stays("preserve_client_ip.enabled=true", "preserve_client_ip.enabled=false"),
    ]
}

fn health() -> Vec<Row> {
    vec![
        Row::of("healthcheck-protocol")
            .then("http", &["HealthCheckProtocol=HTTP,"])
            .then("HTTPS", &["HealthCheckProtocol=HTTPS,"]),
        Row::of("healthcheck-port")
            .then("8081", &["HealthCheckPort=8081,", "8081-8081"])
            .then("traffic-port", &[])
            .then("8082", &["HealthCheckPort=8082,", "8082-8082"]),
        Row::of("healthcheck-path")
            .beside("healthcheck-protocol", "HTTP")
            .then("/a", &["HealthCheckPath=/a,"])
            .then("/b", &["HealthCheckPath=/b,"]),
        Row::of("healthcheck-interval")
            .then("20", &["HealthCheckIntervalSeconds=20,"])
            .then("40", &["HealthCheckIntervalSeconds=40,"]),
        Row::of("healthcheck-timeout")
            .then("7", &["HealthCheckTimeoutSeconds=7,"])
            .then("8", &["HealthCheckTimeoutSeconds=8,"])
            .stays(
                "=10, HealthyThresholdCount=3, UnhealthyThresholdCount=3",
                "=8, HealthyThresholdCount=3, UnhealthyThresholdCount=3",
            ),
        Row::of("healthcheck-healthy-threshold")
            .then("4", &[" HealthyThresholdCount=4,"])
            .then("5", &[" HealthyThresholdCount=5,"]),
        Row::of("healthcheck-unhealthy-threshold")
            .then("4", &["UnhealthyThresholdCount=4"])
            .then("5", &["UnhealthyThresholdCount=5"]),
    ]
}
