//! Classic Load Balancers.

use serde_json::{Value, json};

use super::asked::Gate;
use super::{Site, rule, text};

impl Site<'_> {
    /// Makes one, and gives its address.
    pub(super) async fn classic(&self) -> String {
        let name = &self.asked.balancer;
        let groups = self.classic_groups().await;
        let listeners: Vec<_> = self.asked.ports.iter().map(|it| self.listener(it)).collect();
        let mut args = json!({
            "LoadBalancerName": name,
            "Listeners": listeners,
            "Subnets": self.subnets(),
            "SecurityGroups": groups,
            "Tags": self.tags(),
        });
        if self.asked.is_internal() {
            args["Scheme"] = "internal".into();
        }
        let made = self.boto("elb", "create_load_balancer", args).await;
        if self.asked.said("proxy-protocol").is_some() {
            self.proxy_protocol().await;
        }
        let attributes = self.classic_attributes();
        let args = json!({"LoadBalancerName": name, "LoadBalancerAttributes": attributes});
        self.boto("elb", "modify_load_balancer_attributes", args).await;
        if let Some(policy) = self.asked.said("ssl-negotiation-policy") {
            self.tls_policy(policy).await;
        }
        let args = json!({"LoadBalancerName": name, "HealthCheck": self.classic_health()});
        self.boto("elb", "configure_health_check", args).await;
        if !self.go.leaves_nodes {
            let source = self.source(&groups).await;
            let rule = json!({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": source}]});
            self.allow(&self.aws.network.node_group, &[rule]).await;
        }
        if !self.targets.is_empty() {
            let targets: Value = self.targets.iter().map(|it| json!({"InstanceId": it})).collect();
            let args = json!({"LoadBalancerName": name, "Instances": targets});
            self.boto("elb", "register_instances_with_load_balancer", args).await;
        }
        text(&made["DNSName"])
    }

    async fn classic_groups(&self) -> Vec<String> {
        let mut groups = self.asked.list("security-groups");
        if groups.is_empty() {
            groups.extend(self.go.elb_group.clone());
        }
        if groups.is_empty() {
            let (asked, mut rules) = (self.asked, Vec::new());
            for range in &asked.ranges {
                let port = |port: &Gate| i64::from(port.port);
                let ports = asked.ports.iter().map(port);
                rules.extend(ports.map(|port| rule("tcp", port, port, range, "")));
                rules.push(rule("icmp", 3, 4, range, ""));
            }
            let name = &asked.balancer;
            let description = format!("Security group for Kubernetes ELB {name} ({})", asked.id());
            let made = self.security_group(&format!("k8s-elb-{name}"), &description, &rules).await;
            groups.push(made);
        }
        groups.append(&mut self.asked.list("extra-security-groups"));
        groups
    }

    /// The group that nodes let through: those of the annotation, then its own, then the extra ones, but
    /// first those that bear the cluster's tag.
    async fn source(&self, groups: &[String]) -> String {
        let args = json!({"GroupIds": groups});
        let seen = self.boto("ec2", "describe_security_groups", args).await;
        let is_marked = |id: &&String| {
            let found = seen["SecurityGroups"].as_array().unwrap().iter();
            let mut found = found.filter(|it| it["GroupId"] == id.as_str());
            let tags = found.next().and_then(|it| it["Tags"].as_array().cloned());
            let mut keys = tags.into_iter().flatten().map(|tag| text(&tag["Key"]));
            keys.any(|key| key.starts_with("kubernetes.io/cluster/") || key == "KubernetesCluster")
        };
        groups.iter().find(is_marked).unwrap_or(&groups[0]).clone()
    }

    fn listener(&self, port: &Gate) -> Value {
        let backend = self.asked.said("backend-protocol").unwrap_or_default();
        let (protocol, behind) = match (port.is_tls, backend) {
            (false, "http") => ("http", "http"),
            (false, _) => ("tcp", "tcp"),
            (true, "https") => ("https", "https"),
            (true, "http") => ("https", "http"),
            (true, "ssl") => ("ssl", "ssl"),
            (true, _) => ("ssl", "tcp"),
        };
        let mut listener = json!({
            "LoadBalancerPort": port.port,
            "Protocol": protocol,
            "InstancePort": port.node_port,
            "InstanceProtocol": behind,
        });
        if port.is_tls {
            listener["SSLCertificateId"] = self.asked.said("ssl-cert").into();
        }
        listener
    }

    async fn proxy_protocol(&self) {
        let (name, policy) = (&self.asked.balancer, "k8s-proxyprotocol-enabled");
        let args = json!({
            "LoadBalancerName": name,
            "PolicyName": policy,
            "PolicyTypeName": "ProxyProtocolPolicyType",
            "PolicyAttributes": [{"AttributeName": "ProxyProtocol", "AttributeValue": "true"}],
        });
        self.boto("elb", "create_load_balancer_policy", args).await;
        for port in &self.asked.ports {
            let args = json!({
                "LoadBalancerName": name, "InstancePort": port.node_port, "PolicyNames": [policy],
            });
            self.boto("elb", "set_load_balancer_policies_for_backend_server", args).await;
        }
    }

    async fn tls_policy(&self, said: &str) {
        let (name, policy) = (&self.asked.balancer, format!("k8s-SSLNegotiationPolicy-{said}"));
        let reference = "Reference-Security-Policy";
        let args = json!({
            "LoadBalancerName": name,
            "PolicyName": policy,
            "PolicyTypeName": "SSLNegotiationPolicyType",
            "PolicyAttributes": [{"AttributeName": reference, "AttributeValue": said}],
        });
        self.boto("elb", "create_load_balancer_policy", args).await;
        for port in self.asked.ports.iter().filter(|port| port.is_tls) {
            let args = json!({
                "LoadBalancerName": name, "LoadBalancerPort": port.port, "PolicyNames": [policy],
            });
            self.boto("elb", "set_load_balancer_policies_of_listener", args).await;
        }
    }

    fn classic_attributes(&self) -> Value {
        let asked = self.asked;
        let mut log = json!({"Enabled": asked.flag("access-log-enabled")});
        let texts = [
            ("access-log-s3-bucket-name", "S3BucketName"),
            ("access-log-s3-bucket-prefix", "S3BucketPrefix"),
        ];
        for (annotation, key) in texts {
            if let Some(said) = asked.said(annotation) {
                log[key] = said.into();
            }
        }
        if let Some(minutes) = asked.number("access-log-emit-interval") {
            log["EmitInterval"] = minutes.into();
        }
        let mut draining = json!({"Enabled": asked.flag("connection-draining-enabled")});
        if let Some(seconds) = asked.number("connection-draining-timeout") {
            draining["Timeout"] = seconds.into();
        }
        json!({
            "AccessLog": log,
            "ConnectionDraining": draining,
            "ConnectionSettings": {"IdleTimeout": asked.number("connection-idle-timeout").unwrap_or(60)},
            "CrossZoneLoadBalancing": {"Enabled": asked.flag("cross-zone-load-balancing-enabled")},
        })
    }

    fn classic_health(&self) -> Value {
        let asked = self.asked;
        let first = asked.ports[0].node_port;
        let is_tls = matches!(asked.said("backend-protocol"), Some("https" | "ssl"));
        let said_port = asked.said("healthcheck-port");
        let (protocol, port, path) = match asked.local {
            Some(_) if said_port == Some("traffic-port") => ("HTTP", first, "/healthz"),
            Some(port) => ("HTTP", port, "/healthz"),
            None if self.go.shares_probe => ("HTTP", 10256, "/healthz"),
            None if is_tls => ("SSL", first, ""),
            None => ("TCP", first, ""),
        };
        let protocol = asked.said("healthcheck-protocol").unwrap_or(protocol);
        let port = said_port.and_then(|port| port.parse().ok()).unwrap_or(port);
        let path = match protocol {
            "HTTP" | "HTTPS" if path.is_empty() => asked.said("healthcheck-path").unwrap_or("/"),
            "HTTP" | "HTTPS" => asked.said("healthcheck-path").unwrap_or(path),
            _ => "",
        };
        json!({
            "Target": format!("{protocol}:{port}{path}"),
            "Interval": asked.number("healthcheck-interval").unwrap_or(10),
            "Timeout": asked.number("healthcheck-timeout").unwrap_or(5),
            "HealthyThreshold": asked.number("healthcheck-healthy-threshold").unwrap_or(2),
            "UnhealthyThreshold": asked.number("healthcheck-unhealthy-threshold").unwrap_or(6),
        })
    }
}
