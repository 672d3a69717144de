//! How a Classic Load Balancer asks nodes whether they are well. Pure.

use ccm_core::cloud::ExternalTrafficPolicy;

use crate::client::elb::HealthCheck;
use crate::config::{Config, HealthProbe};
use crate::load_balancers::annotations::{HealthCheckPort, PREFIX};
use crate::load_balancers::wish::Wish;

/// Where kube-proxy answers for a Service that keeps the client's address.
const LOCAL_PATH: &str = "/healthz";

/// Where a node is asked, if annotations say nothing else.
struct Question<'a> {
    protocol: &'a str,
    port: u16,
    path: &'a str,
}

/// Reads what is asked for. Bounds are those of AWS:
/// <https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_HealthCheck.html>
pub(crate) fn read(config: &Config, wish: &Wish<'_>, wrong: &mut Vec<String>) -> HealthCheck {
    let said = &wish.said;
    let interval = said.health_interval.map_or(10, |it| it.0);
    let asked = said.health_timeout.map_or(5, |it| it.0);
    let timeout = u32::try_from(asked).unwrap_or_default();
    if !(2..=60).contains(&timeout) {
        wrong.push(format!(
            "annotation {PREFIX}healthcheck-timeout=\"{asked}\": must be a whole number from 2 to 60 \
             for a Classic Load Balancer"
        ));
    }
    if timeout >= interval {
        wrong.push(format!(
            "annotation {PREFIX}healthcheck-timeout ({timeout}) must be less than \
             {PREFIX}healthcheck-interval ({interval}); without them they are 5 and 10"
        ));
    }
    let unhealthy = match said.unhealthy_threshold {
        None => 6,
        Some(said) => said.accepted().unwrap_or_else(|why| {
            wrong.push(why);
            0
        }),
    };
    wrong.extend(said.wrong_health_port(&wish.spec.identity.annotations));
    HealthCheck {
        target: target(config, wish, wrong),
        interval,
        timeout,
        healthy: said.healthy_threshold.map_or(2, |it| it.0),
        unhealthy,
    }
}

/// `PROTOCOL:port[path]`.
///
/// | | protocol | port | path |
/// |---|---|---|---|
/// | `Local` | HTTP | `healthCheckNodePort`; the first node port by `traffic-port` | `/healthz` |
/// | `Cluster` | TCP, or SSL where `backend-protocol` is `https` or `ssl` in any case | the first node port | none |
/// | `Cluster`, probe mode `Shared` | HTTP | of the configuration | of the configuration |
///
/// Then the annotations for each, whatever the case.
fn target(config: &Config, wish: &Wish<'_>, wrong: &mut Vec<String>) -> String {
    let said = &wish.said;
    let asked = default_question(config, wish);
    let mut protocol = asked.protocol.to_owned();
    if let Some(text) = &said.health_protocol {
        protocol = text.to_ascii_uppercase();
        if !matches!(protocol.as_str(), "TCP" | "SSL" | "HTTP" | "HTTPS") {
            wrong.push(format!(
                "annotation {PREFIX}healthcheck-protocol={text:?}: must be TCP, SSL, HTTP or HTTPS"
            ));
        }
    }
    let port = match said.health_port {
        Some(HealthCheckPort::Number(port)) => port,
        Some(HealthCheckPort::Traffic | HealthCheckPort::Nonsense) | None => asked.port,
    };
    if !matches!(protocol.as_str(), "HTTP" | "HTTPS") {
        return format!("{protocol}:{port}");
    }
    let path = said.health_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(asked.path);
    let path = if path.is_empty() { "/" } else { path };
    let target = format!("{protocol}:{port}{path}");
    if !path.starts_with('/') || target.len() > 1024 {
        wrong.push(format!(
            "annotation {PREFIX}healthcheck-path={path:?}: must begin with / and, with protocol and \
             port, have at most 1024 characters"
        ));
    }
    target
}

fn default_question<'a>(config: &'a Config, wish: &Wish<'_>) -> Question<'a> {
    let said = &wish.said;
    let first = wish.ports.first().map_or(0, |port| port.node_port);
    let local = match wish.spec.external_traffic_policy {
        ExternalTrafficPolicy::Local => wish.spec.health_check_node_port,
        ExternalTrafficPolicy::Cluster => None,
    };
    if let Some(port) = local {
        let is_traffic = said.health_port == Some(HealthCheckPort::Traffic);
        let port = if is_traffic { first } else { port.get() };
        return Question { protocol: "HTTP", port, path: LOCAL_PATH };
    }
    match &config.health_probe {
        HealthProbe::Shared { port, path } => Question { protocol: "HTTP", port: port.get(), path },
        HealthProbe::ServiceNodePort => {
            let spoken = said.backend_protocol.as_deref().map(str::to_ascii_lowercase);
            let is_tls = matches!(spoken.as_deref(), Some("https" | "ssl"));
            let protocol = if is_tls { "SSL" } else { "TCP" };
            Question { protocol, port: first, path: "" }
        }
    }
}
