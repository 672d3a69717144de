//! Network Load Balancers.

use ccm_e2e::{Aws, Go, World, run};
use serde_json::json;

use super::{Case, adopt};

#[test]
fn plain_ones() {
    run(async {
        let world = World::aws(&[]).await;
        let excluded = ("node.kubernetes.io/exclude-from-external-load-balancers", "");
        world.go_nodes(4, &[("pool", "front"), excluded]).await;
        let udp = json!([{"name": "dns", "port": 53, "protocol": "UDP"}]);
        let subnets = world.cloud.network.private_b.clone();
        let cases = [
            Case::network("plain", &[]),
            Case::network("ports", &[]).ports(&[80, 443, 9000]),
            Case::network("local", &[]).spec("externalTrafficPolicy", json!("Local")),
            Case::network("ranges", &[])
                .spec("loadBalancerSourceRanges", json!(["10.0.0.0/8", "192.0.2.0/24"])),
            Case::network("udp", &[]).spec("ports", udp),
            Case::network("annotated", &[]).annotated("load-balancer-source-ranges", "10.0.0.0/8"),
            Case::network("more-ranges", &[])
                .spec("loadBalancerSourceRanges", json!(["10.0.0.0/8"]))
                .then_spec(
                    "loadBalancerSourceRanges",
                    json!(["10.0.0.0/8", "198.51.100.0/24"]),
                    "198.51.100.0/24",
                ),
            Case::network("no-longer-local", &[])
                .spec("externalTrafficPolicy", json!("Local"))
                .then_spec("externalTrafficPolicy", json!("Cluster"), "HealthCheckProtocol=TCP"),
            Case::network("other-type", &[]).then("type", "clb", "attribute ConnectionSettings"),
            Case::network("internal", &[("internal", "true")]),
            Case::network("internal-range", &[("internal", "0.0.0.0/0")]),
            Case::network("labels", &[("target-node-labels", "pool=front")]),
            Case::network("label", &[("target-node-labels", "pool=")]),
            Case::network("subnet", &[("internal", "true"), ("subnets", &subnets)]),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}

/// IDs of new fixed addresses, one behind the other.
async fn addresses(world: &World<Aws>, count: usize) -> String {
    let mut made = Vec::new();
    for _ in 0..count {
        let address = world.cloud.boto("ec2", "allocate_address", json!({"Domain": "vpc"})).await;
        made.push(address["AllocationId"].as_str().unwrap().to_owned());
    }
    made.join(",")
}

#[test]
fn annotated_ones() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let (certificate, other) =
            (world.cloud.certificate().await, world.cloud.certificate().await);
        let addresses = addresses(&world, 2).await;
        let tls = ("ssl-cert", certificate.as_str());
        let (policy, newer) =
            ("ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS-1-2-2017-01");
        let cases =
            [
                Case::network("tls", &[tls]).ports(&[443]).then("ssl-cert", &other, &other),
                Case::network("policy", &[tls, ("ssl-negotiation-policy", policy)])
                    .ports(&[443])
                    .then("ssl-negotiation-policy", newer, format!("policy {newer}")),
                Case::network("ssl", &[tls, ("backend-protocol", "ssl"), ("ssl-ports", "443")])
                    .ports(&[80, 443]),
                Case::network(
                    "health",
                    &[
                        ("healthcheck-protocol", "http"),
                        ("healthcheck-port", "8080"),
                        ("healthcheck-path", "/well"),
                        ("healthcheck-interval", "20"),
                        ("healthcheck-healthy-threshold", "4"),
                        ("healthcheck-unhealthy-threshold", "5"),
                    ],
                )
                .then("healthcheck-path", "/ok", "HealthCheckPath=/ok"),
                Case::network("unhealthy", &[("healthcheck-unhealthy-threshold", "4")]).then(
                    "healthcheck-unhealthy-threshold",
                    "5",
                    "UnhealthyThresholdCount=5",
                ),
                Case::network(
                    "health-https",
                    &[("healthcheck-protocol", "HTTPS"), ("healthcheck-port", "8443")],
                )
                .then("healthcheck-protocol", "HTTP", "HealthCheckProtocol=HTTP,"),
                Case::network("traffic", &[("healthcheck-port", "traffic-port")])
                    .spec("externalTrafficPolicy", json!("Local")),
                Case::network(
                    "local",
                    &[("healthcheck-path", "/well"), ("healthcheck-interval", "15")],
                )
                .spec("externalTrafficPolicy", json!("Local")),
                Case::network(
                    "attributes",
                    &[(
                        "target-group-attributes",
                        "preserve_client_ip.enabled=false,proxy_protocol_v2.enabled=true",
                    )],
                )
                .then(
                    "target-group-attributes",
                    "preserve_client_ip.enabled=true",
                    "attribute preserve_client_ip.enabled=true",
                ),
                Case::network("fixed", &[("eip-allocations", &addresses)]),
                Case::network(
                    "private",
                    &[("internal", "true"), ("private-ipv4-addresses", "10.0.32.200,10.0.48.200")],
                ),
                Case::network("tags", &[("additional-resource-tags", "team=web")]).then(
                    "additional-resource-tags",
                    "team=web,stage=live",
                    "stage=live",
                ),
                Case::network(
                    "logs",
                    &[
                        ("cross-zone-load-balancing-enabled", "true"),
                        ("access-log-enabled", "true"),
                        ("access-log-s3-bucket-name", "logs"),
                        ("access-log-s3-bucket-prefix", "web"),
                    ],
                )
                .then(
                    "access-log-enabled",
                    "false",
                    "attribute access_logs.s3.enabled=false",
                ),
            ];
        adopt(&world, &Go::default(), &cases).await;
    });
}

/// All Services are asked about at the same port, so the rule for it is in the first one's name.
#[test]
fn a_shared_probe() {
    run(async {
        let world = World::aws(&["ClusterServiceLoadBalancerHealthProbeMode = Shared"]).await;
        world.go_nodes(2, &[]).await;
        let cases = [
            Case::network("one", &[]),
            Case::network("two", &[]),
            Case::network("local", &[]).spec("externalTrafficPolicy", json!("Local")),
            Case::named("classic", &[]),
        ];
        adopt(&world, &Go { shares_probe: true, ..Go::default() }, &cases).await;
    });
}
