//! The fake's load balancers, from behind the provider's back.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ccm_awscloud::{Fault as Spec, FaultKind};
use ccm_conformance::{
    Cluster, LoadBalancerHarness, Mistake, RouteHarness, Service, Unsupported, Variant, WriteFault,
};
use ccm_core::cloud::{
    Annotations, CloudProvider, ExternalTrafficPolicy, NodeName, ObjectId, Protocol,
};
use ccm_provider_aws::registration;
use serde_json::{Value, json};

use super::{AwsHarness, Balancers};
use crate::process::{PREFIX, built};

fn annotation(name: &'static str, key: &'static str, value: &'static str) -> Variant {
    Variant::new(name, move |it| {
        it.annotations.insert(format!("{PREFIX}{key}"), value.to_owned());
    })
}

fn annotated(name: &'static str, key: &'static str, value: &'static str) -> Mistake {
    Mistake::new(name, key, move |it| {
        it.annotations.insert(format!("{PREFIX}{key}"), value.to_owned());
    })
}

/// The load balancer's name.
fn name_of(service: &ObjectId) -> String {
    let uid = service.uid.as_str().replace('-', "");
    format!("a{uid}").chars().take(32).collect()
}

impl AwsHarness {
    async fn call(&self, service: &str, method: &str, args: Value) -> Option<Value> {
        match self.console.try_aws(service, method, args).await.unwrap() {
            Ok(answer) => Some(answer),
            Err(refusal) => {
                assert!(refusal.code.contains("NotFound"), "{service} {method}: {refusal}");
                None
            }
        }
    }

    async fn network_arn(&self, service: &ObjectId) -> Option<String> {
        let args = json!({ "Names": [name_of(service)] });
        let found = self.call("elbv2", "describe_load_balancers", args).await?;
        found["LoadBalancers"][0]["LoadBalancerArn"].as_str().map(str::to_owned)
    }

    async fn classic(&self, service: &ObjectId) -> Option<Value> {
        let args = json!({ "LoadBalancerNames": [name_of(service)] });
        let found = self.call("elb", "describe_load_balancers", args).await?;
        Some(found["LoadBalancerDescriptions"][0].clone())
    }

    async fn listeners(&self, arn: &str) -> Vec<Value> {
        let args = json!({ "LoadBalancerArn": arn });
        let found = self.call("elbv2", "describe_listeners", args).await;
        found.and_then(|it| it["Listeners"].as_array().cloned()).unwrap_or_default()
    }

    async fn groups(&self, arn: &str) -> Vec<String> {
        let args = json!({ "LoadBalancerArn": arn });
        let found = self.call("elbv2", "describe_target_groups", args).await;
        let groups = found.and_then(|it| it["TargetGroups"].as_array().cloned());
        let arn = |group: &Value| group["TargetGroupArn"].as_str().unwrap().to_owned();
        groups.unwrap_or_default().iter().map(arn).collect()
    }

    async fn registered(&self, group: &str) -> Vec<Value> {
        let args = json!({ "TargetGroupArn": group });
        let found = self.call("elbv2", "describe_target_health", args).await;
        let all = found.and_then(|it| it["TargetHealthDescriptions"].as_array().cloned());
        let stays = |it: &Value| it["TargetHealth"]["State"] != "draining";
        let all = all.unwrap_or_default();
        all.iter().filter(|it| stays(it)).map(|it| it["Target"].clone()).collect()
    }

    fn nodes_of<'a>(&self, ids: impl Iterator<Item = &'a str>) -> BTreeSet<NodeName> {
        let names = self.names.lock().unwrap();
        ids.map(|id| names[id].clone()).collect()
    }

    /// The permissions of the nodes' security group that are a load balancer's.
    async fn rules(&self) -> Vec<Value> {
        let args = json!({ "GroupIds": [self.world.node_group] });
        let found = self.call("ec2", "describe_security_groups", args).await.unwrap();
        found["SecurityGroups"][0]["IpPermissions"].as_array().unwrap().clone()
    }

    async fn revoke(&self, permission: &Value) {
        let args =
            json!({ "GroupId": self.world.node_group, "IpPermissions": [plain(permission)] });
        self.call("ec2", "revoke_security_group_ingress", args).await;
    }

    /// Names of the load balancers of the other cluster: their rules are in the same groups.
    async fn names_of_other(&self, cluster: Cluster) -> BTreeSet<String> {
        if !self.has_two.load(Ordering::Relaxed) {
            return BTreeSet::new();
        }
        let other = match cluster {
            Cluster::Ours => Cluster::Another,
            Cluster::Another => Cluster::Ours,
        };
        let lines = self.console.snapshot(&self.cluster_name(other)).await.unwrap();
        let name = |line: &String| {
            let rest = line.strip_prefix("classic ").unwrap_or(line);
            let rest = rest.strip_prefix("load balancer ")?;
            Some(rest.split(':').next()?.to_owned())
        };
        lines.iter().filter_map(name).collect()
    }

    fn cluster_name(&self, cluster: Cluster) -> String {
        match cluster {
            Cluster::Ours => self.world.cluster.clone(),
            Cluster::Another => self.second_name(),
        }
    }
}

/// A permission as it can be sent: without what only answers have.
fn plain(permission: &Value) -> Value {
    let mut permission = permission.clone();
    if let Some(fields) = permission.as_object_mut() {
        fields.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
        for pair in
            fields.get_mut("UserIdGroupPairs").and_then(Value::as_array_mut).into_iter().flatten()
        {
            *pair = json!({ "GroupId": pair["GroupId"] });
        }
    }
    permission
}

/// Whether a line of a snapshot is about load balancers.
fn is_about_them(line: &str) -> bool {
    let begins = |prefix: &str| line.starts_with(prefix);
    begins("classic load balancer ")
        || begins("load balancer ")
        || begins("target group ")
        || begins("security group k8s-")
        || (begins("security group nodes.") && line.contains(": in "))
}

#[async_trait]
impl LoadBalancerHarness for AwsHarness {
    fn process(&self, cluster: Cluster) -> Result<Arc<dyn CloudProvider>, Unsupported> {
        let name = self.cluster_name(cluster);
        if cluster == Cluster::Another {
            self.has_two.store(true, Ordering::Relaxed);
        }
        Ok(built(&self.setup(&name), &[]))
    }

    fn annotations(&self) -> Annotations {
        registration().service_annotations
    }

    async fn snapshot(&self, cluster: Cluster) -> Vec<String> {
        let lines = self.console.snapshot(&self.cluster_name(Cluster::Ours)).await.unwrap();
        let is_rule = |line: &&String| line.starts_with("security group nodes.");
        let rules: Vec<_> = lines.iter().filter(is_rule).cloned().collect();
        let own = match cluster {
            Cluster::Ours => lines,
            Cluster::Another => self.console.snapshot(&self.cluster_name(cluster)).await.unwrap(),
        };
        let others = self.names_of_other(cluster).await;
        let is_others = |line: &String| others.iter().any(|name| line.contains(name.as_str()));
        // The one rule that both share says nothing of whom it is for.
        let has_others = rules.iter().any(is_others);
        let is_shared = |line: &String| has_others && line.contains("nlb/mtu");
        let mut lines: Vec<_> = own
            .into_iter()
            .filter(|line| !line.starts_with("security group nodes."))
            .chain(rules)
            .filter(|line| is_about_them(line) && !is_others(line) && !is_shared(line))
            .collect();
        // A group is known by what it serves: its name is made from what it was once asked for.
        let named = |line: &String| {
            let (name, what) = line.strip_prefix("target group ")?.split_once(": ")?;
            let is_head = ["TCP ", "UDP ", "TLS "].iter().any(|it| what.starts_with(it));
            let words: Vec<_> = what.split(' ').take(2).collect();
            is_head.then(|| (name.to_owned(), words.join(" ")))
        };
        let groups: Vec<_> = lines.iter().filter_map(named).collect();
        for line in &mut lines {
            for (name, what) in &groups {
                *line = line.replace(name, what);
            }
        }
        lines.sort();
        lines
    }

    async fn mutations(&self) -> u64 {
        RouteHarness::mutations(self).await
    }

    async fn targets(&self, service: &ObjectId) -> Vec<BTreeSet<NodeName>> {
        let mut all = Vec::new();
        if let Some(classic) = self.classic(service).await {
            let instances = classic["Instances"].as_array().cloned().unwrap_or_default();
            all.push(self.nodes_of(instances.iter().filter_map(|it| it["InstanceId"].as_str())));
        }
        if let Some(arn) = self.network_arn(service).await {
            for group in self.groups(&arn).await {
                let targets = self.registered(&group).await;
                all.push(self.nodes_of(targets.iter().filter_map(|it| it["Id"].as_str())));
            }
        }
        all
    }

    fn service(&self) -> Service {
        // One fake serves all tests, and names are made from UIDs.
        let service = Service::new("web").in_namespace(&self.world.cluster);
        match self.balancers {
            // Without it the first port is asked, and so the ports' order counts.
            Balancers::Classic => service.with(&format!("{PREFIX}healthcheck-port"), "30080"),
            Balancers::Network => service.with(&format!("{PREFIX}type"), "nlb"),
        }
    }

    fn variants(&self) -> Vec<Variant> {
        let mut variants = vec![
            annotation("traffic to all zones", "cross-zone-load-balancing-enabled", "true"),
            annotation("another path of the health check", "healthcheck-protocol", "HTTP")
                .showing("HTTP"),
            annotation("another port of the health check", "healthcheck-port", "9000")
                .showing("9000"),
            annotation("another interval of the health check", "healthcheck-interval", "20"),
            annotation("another threshold", "healthcheck-healthy-threshold", "7"),
            annotation("another threshold of illness", "healthcheck-unhealthy-threshold", "8"),
            annotation("targets with a label that no node has", "target-node-labels", "rack=x"),
            annotation("more tags", "additional-resource-tags", "team=red")
                .showing("team=red")
                .sticking(),
            Variant::new("who may connect", |it| it.source_ranges = vec!["10.9.0.0/16".to_owned()])
                .showing("10.9.0.0/16"),
            Variant::new("local traffic only", |it| {
                it.external_traffic_policy = ExternalTrafficPolicy::Local;
                it.health_check_node_port = NonZeroU16::new(32000);
                it.annotations.remove(&format!("{PREFIX}healthcheck-port"));
            })
            .showing("32000"),
        ];
        match self.balancers {
            Balancers::Classic => variants.extend([
                annotation("another idle time-out", "connection-idle-timeout", "120")
                    .showing("IdleTimeout=120"),
                annotation("draining", "connection-draining-enabled", "true"),
                annotation("the PROXY protocol", "proxy-protocol", "*")
                    .showing("k8s-proxyprotocol-enabled")
                    // The policy stays with the load balancer.
                    .sticking(),
                annotation("HTTP", "backend-protocol", "http").showing("HTTP").disrupting(),
                annotation("another type", "type", "nlb").showing("network").disrupting(),
            ]),
            Balancers::Network => variants.extend([
                annotation("another time-out", "healthcheck-timeout", "7").sticking(),
                annotation(
                    "the PROXY protocol",
                    "target-group-attributes",
                    "proxy_protocol_v2.enabled=true",
                )
                .showing("proxy_protocol_v2.enabled=true")
                .sticking(),
                Variant::new("another protocol", |it| {
                    for port in &mut it.ports {
                        port.protocol = Protocol::Udp;
                    }
                })
                .showing("UDP"),
                Variant::new("another type", |it| {
                    it.annotations.remove(&format!("{PREFIX}type"));
                })
                .showing("classic load balancer")
                .disrupting(),
            ]),
        }
        variants
    }

    fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = vec![
            Mistake::new("an address", "spec.loadBalancerIP", |it| {
                it.requested_address = Some("192.0.2.1".to_owned());
            }),
            Mistake::new("no range", "spec.loadBalancerSourceRanges", |it| {
                it.source_ranges = vec!["10.0.0.0/99".to_owned()];
            }),
            Mistake::new("SCTP", "spec.ports[1].protocol", |it| {
                it.ports[1].protocol = Protocol::Sctp;
            }),
            Mistake::new("no node ports", "nodePort", |it| {
                it.ports.iter_mut().for_each(|port| port.node_port = None);
            }),
            Mistake::new("clients that stay", "sessionAffinity", |it| {
                it.client_ip_affinity = Some(Duration::from_hours(1));
            }),
            Mistake::new("two protocols", "spec.ports", |it| {
                it.ports[1].protocol = Protocol::Udp;
            }),
            annotated("neither yes nor no", "cross-zone-load-balancing-enabled", "maybe"),
            annotated("no port", "healthcheck-port", "well"),
            annotated("no such health check", "healthcheck-protocol", "GRPC"),
        ];
        if self.balancers == Balancers::Classic {
            // The other kind keeps the subnets that it was made with, whatever is asked for later.
            mistakes.push(annotated("no subnet", "subnets", "subnet-nowhere"));
        }
        mistakes.push(match self.balancers {
            Balancers::Classic => annotated("no such PROXY protocol", "proxy-protocol", "v2"),
            Balancers::Network => {
                annotated("no such attribute", "target-group-attributes", "colour=red")
            }
        });
        mistakes
    }

    fn meddlings(&self) -> Vec<&'static str> {
        vec![
            "the load balancer is deleted",
            "a listener is deleted",
            "a target is removed",
            "a rule is removed",
            "all rules are removed",
        ]
    }

    async fn meddle(&self, service: &ObjectId, how: &str) -> bool {
        let name = name_of(service);
        let classic = self.classic(service).await;
        let network = self.network_arn(service).await;
        match (how, classic, network) {
            ("the load balancer is deleted", Some(_), _) => {
                self.call("elb", "delete_load_balancer", json!({ "LoadBalancerName": name })).await;
                true
            }
            ("the load balancer is deleted", None, Some(arn)) => {
                self.call("elbv2", "delete_load_balancer", json!({ "LoadBalancerArn": arn })).await;
                true
            }
            ("a listener is deleted", Some(classic), _) => {
                let listeners = classic["ListenerDescriptions"].as_array().unwrap();
                let Some(first) = listeners.first() else { return false };
                let port = first["Listener"]["LoadBalancerPort"].clone();
                let args = json!({ "LoadBalancerName": name, "LoadBalancerPorts": [port] });
                self.call("elb", "delete_load_balancer_listeners", args).await;
                true
            }
            ("a listener is deleted", None, Some(arn)) => {
                let listeners = self.listeners(&arn).await;
                let Some(first) = listeners.first() else { return false };
                let args = json!({ "ListenerArn": first["ListenerArn"] });
                self.call("elbv2", "delete_listener", args).await;
                true
            }
            ("a target is removed", Some(classic), _) => {
                let Some(first) = classic["Instances"].as_array().unwrap().first().cloned() else {
                    return false;
                };
                let args = json!({ "LoadBalancerName": name, "Instances": [first] });
                self.call("elb", "deregister_instances_from_load_balancer", args).await;
                true
            }
            ("a target is removed", None, Some(arn)) => {
                let Some(group) = self.groups(&arn).await.into_iter().next() else { return false };
                let Some(first) = self.registered(&group).await.into_iter().next() else {
                    return false;
                };
                let args = json!({ "TargetGroupArn": group, "Targets": [first] });
                self.call("elbv2", "deregister_targets", args).await;
                true
            }
            ("a rule is removed" | "all rules are removed", _, _) => {
                let all = self.rules().await;
                let most = if how == "a rule is removed" { 1 } else { all.len() };
                for rule in all.iter().take(most) {
                    self.revoke(rule).await;
                }
                !all.is_empty()
            }
            (_, None, None) => false,
            (other, ..) => panic!("{other} is not one of the meddlings"),
        }
    }

    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported> {
        if fault != WriteFault::QuotaExceeded {
            return RouteHarness::inject_on_writes(self, fault, pass).await;
        }
        let kind = FaultKind::Error {
            code: "TooManyLoadBalancers".to_owned(),
            status: None,
            message: Some("The maximum number of load balancers has been reached.".to_owned()),
        };
        self.fault(Spec::new("CreateLoadBalancer", kind)).await;
        Ok(())
    }

    fn many_nodes(&self) -> usize {
        120
    }

    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }
}
