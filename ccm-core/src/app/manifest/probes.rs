//! How the kubelet asks whether the program is well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use crate::app::flags::Serving;

/// Port and probes of the container, by their keys.
pub(super) fn served(serving: &Serving) -> Vec<(&'static str, Value)> {
    let port = serving.address.port();
    let mut keys =
        vec![("ports", json!([{ "name": "https", "containerPort": port, "hostPort": port }]))];
    // Not at the pod's address: it has none before its node is initialised.
    let host = match serving.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // A kubelet that is refused would kill a program that is well.
    let asks = |path: &str| serving.authorization.open.iter().any(|open| open.covers(path));
    let probe = |path: &str| json!({ "scheme": "HTTPS", "host": host, "port": port, "path": path });
    if asks("/livez") {
        keys.push((
            "livenessProbe",
            json!({
                "httpGet": probe("/livez"),
                "initialDelaySeconds": 15,
                "periodSeconds": 10,
                "timeoutSeconds": 15,
                "failureThreshold": 3,
            }),
        ));
    }
    if asks("/readyz") {
        keys.push((
            "readinessProbe",
            json!({ "httpGet": probe("/readyz"), "periodSeconds": 5, "timeoutSeconds": 5 }),
        ));
    }
    keys
}
