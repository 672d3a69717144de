//! What was asked for after a load balancer was made, and which the Go program reads and does not apply. It
//! waits for the next change of the Service, and an event says so.

use ccm_e2e::{Go, World, run};
use serde_json::{Value, json};

use super::{Case, adopt};

const LOGS: [(&str, &str); 3] = [
    ("access-log-enabled", "true"),
    ("access-log-emit-interval", "5"),
    ("access-log-s3-bucket-name", "logs"),
];

#[test]
fn of_network_load_balancers() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let own = world.cloud.security_group("own", false).await;
        let proxy = ("target-group-attributes", "proxy_protocol_v2.enabled=true");
        let cases = [
            Case::network("unhealthy", &[("healthcheck-unhealthy-threshold", "3")])
                .later("healthcheck-unhealthy-threshold", json!("4"))
                .left("4")
                .ends("UnhealthyThresholdCount=4"),
            // What is left is about the next change itself, too.
            Case::network("unhealthy-again", &[])
                .later("healthcheck-unhealthy-threshold", json!("4"))
                .left("4")
                .then("healthcheck-unhealthy-threshold", "5", "UnhealthyThresholdCount=5"),
            Case::network("timeout", &[])
                .later("healthcheck-timeout", json!("7"))
                .left("7")
                .ends("HealthCheckTimeoutSeconds=7"),
            Case::network("more-tags", &[("additional-resource-tags", "team=web")])
                .later("additional-resource-tags", json!("team=web,stage=live"))
                .left("stage=live")
                .ends("stage=live"),
            Case::network("other-tags", &[("additional-resource-tags", "team=web")])
                .later("additional-resource-tags", json!("team=shop"))
                .left("team=shop")
                .ends("team=shop"),
            // Nothing is taken away, and so nothing is left.
            Case::network("fewer-tags", &[("additional-resource-tags", "team=web,stage=live")])
                .later("additional-resource-tags", json!("team=web"))
                .then("cross-zone-load-balancing-enabled", "true", "cross_zone.enabled=true")
                .ends("stage=live"),
            Case::network("attributes", &[proxy])
                .later("target-group-attributes", Value::Null)
                .then("cross-zone-load-balancing-enabled", "true", "cross_zone.enabled=true")
                .ends("attribute proxy_protocol_v2.enabled=true"),
            // Fixed when it was made.
            Case::network("scheme", &[]).later("internal", json!("true")).ends("internet-facing"),
            Case::network("subnets", &[])
                .later("subnets", json!(world.cloud.network.public_b))
                .ends("subnet public-a"),
            // Not for this kind, unless groups are managed.
            Case::network("groups", &[]).later("security-groups", json!(own)),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}

#[test]
fn of_classic_load_balancers() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let cases = [
            Case::named("fewer-tags", &[("additional-resource-tags", "team=web,stage=live")])
                .later("additional-resource-tags", json!("team=web"))
                .ends("stage=live"),
            Case::named(
                "drained",
                &[("connection-draining-enabled", "true"), ("connection-draining-timeout", "90")],
            )
            .later("connection-draining-timeout", Value::Null)
            .left("300")
            .ends("ConnectionDraining Enabled=True, Timeout=300"),
            Case::named("logs", &LOGS)
                .later("access-log-emit-interval", Value::Null)
                .left("60")
                .ends("EmitInterval=60"),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}
