//! Network Load Balancers.

use serde_json::{Value, json};

use super::asked::Gate;
use super::{Site, names, rule, text};
use crate::world::CLUSTER;

/// The flag `--cluster-name`, where nothing is said.
const CLUSTER_NAME: &str = "kubernetes";

/// How nodes are asked whether they are well.
struct Health {
    protocol: String,
    port: String,
    path: Option<String>,
    interval: i64,
    healthy: i64,
    unhealthy: i64,
}

impl Site<'_> {
    /// Makes one, and gives its address.
    pub(super) async fn network(&self) -> String {
        let (asked, subnets) = (self.asked, self.subnets());
        let health = self.network_health();
        let (groups, own_group) = self.network_groups().await;
        let mut args = json!({
            "Name": asked.balancer,
            "Type": "network",
            "SubnetMappings": self.mappings(&subnets),
            "Tags": self.tags(),
        });
        if asked.is_internal() {
            args["Scheme"] = "internal".into();
        }
        if !groups.is_empty() {
            args["SecurityGroups"] = json!(groups);
        }
        let made = self.boto("elbv2", "create_load_balancer", args).await;
        let made = &made["LoadBalancers"][0];
        let mut target_groups = Vec::new();
        for port in &asked.ports {
            let group = self.target_group(port, &health).await;
            self.network_listener(port, &text(&made["LoadBalancerArn"]), &group).await;
            target_groups.push(group);
        }
        self.balancer_attributes(&made["LoadBalancerArn"]).await;
        let attributes = asked.pairs("target-group-attributes");
        if !attributes.is_empty() {
            let pair = |(key, value)| json!({"Key": key, "Value": value});
            let attributes: Value = attributes.iter().map(pair).collect();
            for group in &target_groups {
                let args = json!({"TargetGroupArn": group, "Attributes": attributes});
                self.boto("elbv2", "modify_target_group_attributes", args).await;
            }
        }
        if let Some(group) = own_group {
            // It asks for a rule of protocol `tls`, which is refused, and gives up.
            if asked.ports.iter().any(|port| port.is_tls) {
                return text(&made["DNSName"]);
            }
            self.allow(&group, &self.own_rules()).await;
        }
        if !self.go.leaves_nodes {
            self.node_rules(&health, &subnets).await;
        }
        text(&made["DNSName"])
    }

    /// Those that are attached, and the one that was made for it.
    async fn network_groups(&self) -> (Vec<String>, Option<String>) {
        if !self.go.manages_groups {
            return (Vec::new(), None);
        }
        let named = self.asked.list("security-groups");
        if !named.is_empty() {
            return (named, None);
        }
        let cluster_name = self.go.cluster_name.as_deref().unwrap_or(CLUSTER_NAME);
        let name = names::network_group(cluster_name, self.asked);
        let description = "Security group for a Network Load Balancer of Kubernetes";
        let made = self.security_group(&name, description, &[]).await;
        (vec![made.clone()], Some(made))
    }

    fn own_rules(&self) -> Vec<Value> {
        let mut rules = Vec::new();
        for range in &self.asked.ranges {
            for port in &self.asked.ports {
                let (protocol, port) = (port.protocol.to_lowercase(), i64::from(port.port));
                rules.push(rule(&protocol, port, port, range, ""));
            }
            rules.push(rule("icmp", 3, 4, range, ""));
        }
        rules
    }

    fn mappings(&self, subnets: &[String]) -> Value {
        let allocations = self.asked.list("eip-allocations");
        let addresses = self.asked.list("private-ipv4-addresses");
        let mapping = |(index, subnet): (usize, &String)| {
            let mut mapping = json!({"SubnetId": subnet});
            if let Some(allocation) = allocations.get(index) {
                mapping["AllocationId"] = allocation.as_str().into();
            }
            if let Some(address) = addresses.get(index) {
                mapping["PrivateIPv4Address"] = address.as_str().into();
            }
            mapping
        };
        subnets.iter().enumerate().map(mapping).collect()
    }

    fn network_health(&self) -> Health {
        let asked = self.asked;
        let number = |key, default| asked.number(key).unwrap_or(default);
        let is_local = asked.local.is_some();
        let (interval, threshold) = if is_local { (10, 2) } else { (30, 3) };
        let mut health = Health {
            protocol: if is_local { "HTTP" } else { "TCP" }.to_owned(),
            port: asked.local.map_or_else(|| "traffic-port".to_owned(), |port| port.to_string()),
            path: None,
            interval: number("healthcheck-interval", interval),
            healthy: number("healthcheck-healthy-threshold", threshold),
            unhealthy: number("healthcheck-unhealthy-threshold", threshold),
        };
        if let Some(protocol) = asked.said("healthcheck-protocol") {
            health.protocol = protocol.to_uppercase();
        }
        if health.protocol != "TCP" {
            let default = if is_local { "/healthz" } else { "/" };
            health.path = Some(asked.said("healthcheck-path").unwrap_or(default).to_owned());
        }
        if let Some(port) = asked.said("healthcheck-port") {
            port.clone_into(&mut health.port);
        }
        if self.go.shares_probe && !is_local {
            "HTTP".clone_into(&mut health.protocol);
            "10256".clone_into(&mut health.port);
            health.path = Some("/healthz".to_owned());
        }
        health
    }

    /// Makes one with all its targets, and gives its ARN.
    async fn target_group(&self, port: &Gate, health: &Health) -> String {
        let speaks_tls = port.is_tls && self.asked.said("backend-protocol") == Some("ssl");
        let protocol = if speaks_tls { "TLS" } else { port.protocol.as_str() };
        let traits = format!(
            "{}{}{protocol}instance{}{}",
            port.port, port.node_port, health.protocol, health.interval
        );
        let mut args = json!({
            "Name": names::target_group(CLUSTER, self.asked, &traits),
            "VpcId": self.aws.network.vpc,
            "Port": port.node_port,
            "Protocol": protocol,
            "TargetType": "instance",
            "HealthCheckIntervalSeconds": health.interval,
            "HealthCheckPort": health.port,
            "HealthCheckProtocol": health.protocol,
            "HealthyThresholdCount": health.healthy,
            "UnhealthyThresholdCount": health.unhealthy,
            "Tags": self.tags(),
        });
        if let Some(path) = &health.path {
            args["HealthCheckPath"] = path.as_str().into();
        }
        let made = self.boto("elbv2", "create_target_group", args).await;
        let arn = text(&made["TargetGroups"][0]["TargetGroupArn"]);
        if !self.targets.is_empty() {
            let target = |id: &String| json!({"Id": id, "Port": port.node_port});
            let targets: Value = self.targets.iter().map(target).collect();
            let args = json!({"TargetGroupArn": arn, "Targets": targets});
            self.boto("elbv2", "register_targets", args).await;
        }
        arn
    }

    async fn network_listener(&self, port: &Gate, balancer: &str, group: &str) {
        let mut args = json!({
            "LoadBalancerArn": balancer,
            "Port": port.port,
            "Protocol": if port.is_tls { "TLS" } else { port.protocol.as_str() },
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": group}],
            "Tags": self.tags(),
        });
        if port.is_tls {
            args["Certificates"] = json!([{"CertificateArn": self.asked.said("ssl-cert")}]);
            if let Some(policy) = self.asked.said("ssl-negotiation-policy") {
                args["SslPolicy"] = policy.into();
            }
        }
        self.boto("elbv2", "create_listener", args).await;
    }

    async fn balancer_attributes(&self, balancer: &Value) {
        let asked = self.asked;
        let pair = |key: &str, value: &str| json!({"Key": key, "Value": value});
        let mut attributes = Vec::new();
        if asked.flag("cross-zone-load-balancing-enabled") {
            attributes.push(pair("load_balancing.cross_zone.enabled", "true"));
        }
        if asked.flag("access-log-enabled") {
            attributes.push(pair("access_logs.s3.enabled", "true"));
            let bucket = asked.said("access-log-s3-bucket-name").unwrap_or_default();
            attributes.push(pair("access_logs.s3.bucket", bucket));
            if let Some(prefix) = asked.said("access-log-s3-bucket-prefix") {
                attributes.push(pair("access_logs.s3.prefix", prefix));
            }
        }
        if !attributes.is_empty() {
            let args = json!({"LoadBalancerArn": balancer, "Attributes": attributes});
            self.boto("elbv2", "modify_load_balancer_attributes", args).await;
        }
    }

    async fn node_rules(&self, health: &Health, subnets: &[String]) {
        let (asked, group) = (self.asked, &self.aws.network.node_group);
        let node_ports: Vec<_> = asked.ports.iter().map(|it| i64::from(it.node_port)).collect();
        let health_ports: Vec<i64> = match health.port.parse() {
            Ok(port) => vec![port],
            Err(_) => node_ports.clone(),
        };
        let protocol = asked.ports[0].protocol.to_lowercase();
        let is_open = asked.ranges == ["0.0.0.0/0"];
        if !(is_open && protocol == "tcp" && node_ports == health_ports) {
            let seen = json!({"SubnetIds": subnets});
            let seen = self.boto("ec2", "describe_subnets", seen).await;
            let blocks =
                seen["Subnets"].as_array().unwrap().iter().map(|it| text(&it["CidrBlock"]));
            let description = format!("kubernetes.io/rule/nlb/health={}", asked.balancer);
            let mut rules = Vec::new();
            for block in blocks {
                let ports = health_ports.iter();
                rules.extend(ports.map(|port| rule("tcp", *port, *port, &block, &description)));
            }
            self.allow(group, &rules).await;
        }
        let description = format!("kubernetes.io/rule/nlb/client={}", asked.balancer);
        let (mut clients, mut sizes) = (Vec::new(), Vec::new());
        for range in &asked.ranges {
            let ports = node_ports.iter();
            clients.extend(ports.map(|port| rule(&protocol, *port, *port, range, &description)));
            sizes.push(rule("icmp", 3, 4, range, "kubernetes.io/rule/nlb/mtu"));
        }
        self.allow(group, &clients).await;
        self.allow(group, &sizes).await;
    }
}
