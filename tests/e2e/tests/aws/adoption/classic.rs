//! Classic Load Balancers.

use ccm_e2e::{Go, World, run};
use serde_json::json;

use super::{Case, adopt};

#[test]
fn plain_ones() {
    run(async {
        let world = World::aws(&[]).await;
        let excluded = ("node.kubernetes.io/exclude-from-external-load-balancers", "");
        world.go_nodes(4, &[("pool", "front"), excluded]).await;
        let subnets = world.cloud.network.private_b.clone();
        let cases = [
            Case::named("plain", &[]),
            Case::named("ports", &[]).ports(&[80, 443, 9000]),
            Case::named("local", &[]).spec("externalTrafficPolicy", json!("Local")),
            Case::named("ranges", &[])
                .spec("loadBalancerSourceRanges", json!(["10.0.0.0/8", "192.0.2.0/24"])),
            Case::named("annotated", &[]).annotated("load-balancer-source-ranges", "10.0.0.0/8"),
            Case::named("more-ranges", &[])
                .spec("loadBalancerSourceRanges", json!(["10.0.0.0/8"]))
                .then_spec(
                    "loadBalancerSourceRanges",
                    json!(["10.0.0.0/8", "198.51.100.0/24"]),
                    "198.51.100.0/24",
                ),
            Case::named("no-longer-local", &[])
                .spec("externalTrafficPolicy", json!("Local"))
                .then_spec("externalTrafficPolicy", json!("Cluster"), "Target=TCP:"),
            Case::named("other-type", &[]).then("type", "nlb", "forward to"),
            Case::named("internal", &[("internal", "true")]),
            // Any text but `false`.
            Case::named("internal-range", &[("internal", "0.0.0.0/0")]),
            Case::named("internal-false", &[("internal", "False")]),
            Case::named("no-type", &[("type", "classic")]),
            Case::named("labels", &[("target-node-labels", "pool=front")]),
            Case::named("label", &[("target-node-labels", "pool=")]),
            Case::named("subnet", &[("internal", "true"), ("subnets", &subnets)]),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}

#[test]
fn annotated_ones() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let (certificate, other) =
            (world.cloud.certificate().await, world.cloud.certificate().await);
        let tls = ("ssl-cert", certificate.as_str());
        let (policy, newer) =
            ("ELBSecurityPolicy-TLS-1-1-2017-01", "ELBSecurityPolicy-TLS-1-2-2017-01");
        let cases = [
            Case::named("tls", &[tls]).ports(&[443]).then("ssl-cert", &other, &other),
            Case::named("policy", &[tls, ("ssl-negotiation-policy", policy)]).ports(&[443]).then(
                "ssl-negotiation-policy",
                newer,
                format!("k8s-SSLNegotiationPolicy-{newer}']"),
            ),
            Case::named("https", &[tls, ("backend-protocol", "https"), ("ssl-ports", "p443")])
                .ports(&[80, 443]),
            Case::named("inside", &[tls, ("backend-protocol", "http"), ("ssl-ports", "443")])
                .ports(&[443, 80])
                .then("backend-protocol", "https", "SSL:"),
            Case::named("http", &[("backend-protocol", "http")]),
            Case::named("ssl", &[tls, ("backend-protocol", "ssl")]).ports(&[443]),
            Case::named("tcp", &[tls, ("backend-protocol", "tcp")]).ports(&[443]),
            Case::named("proxy", &[("proxy-protocol", "*")]).ports(&[80, 443]),
            Case::named(
                "logs",
                &[
                    ("access-log-enabled", "true"),
                    ("access-log-emit-interval", "5"),
                    ("access-log-s3-bucket-name", "logs"),
                    ("access-log-s3-bucket-prefix", "web"),
                ],
            )
            .then("access-log-emit-interval", "60", "EmitInterval=60"),
            Case::named(
                "draining",
                &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "90")],
            )
            .then("connection-draining-timeout", "120", "Timeout=120"),
            Case::named("undrained", &[("connection-draining-enabled", "true")]).then(
                "connection-idle-timeout",
                "300",
                "IdleTimeout=300",
            ),
            Case::named("idle", &[("connection-idle-timeout", "120")]).then(
                "connection-idle-timeout",
                "240",
                "IdleTimeout=240",
            ),
            Case::named("zones", &[("cross-zone-load-balancing-enabled", "true")]).then(
                "cross-zone-load-balancing-enabled",
                "false",
                "attribute CrossZoneLoadBalancing Enabled=False",
            ),
            Case::named("tags", &[("additional-resource-tags", "team=web,cost center=12")]).then(
                "additional-resource-tags",
                "team=web,stage=live",
                "stage=live",
            ),
            Case::named(
                "health",
                &[
                    ("healthcheck-protocol", "HTTP"),
                    ("healthcheck-port", "8080"),
                    ("healthcheck-path", "/well"),
                    ("healthcheck-interval", "20"),
                    ("healthcheck-timeout", "4"),
                    ("healthcheck-healthy-threshold", "3"),
                    ("healthcheck-unhealthy-threshold", "4"),
                ],
            )
            .then("healthcheck-path", "/ok", "HTTP:8080/ok"),
            Case::named(
                "health-https",
                &[("healthcheck-protocol", "HTTPS"), ("healthcheck-port", "8443")],
            )
            .then("healthcheck-protocol", "SSL", "SSL:8443"),
            Case::named("traffic", &[("healthcheck-port", "traffic-port")])
                .spec("externalTrafficPolicy", json!("Local")),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}
