//! The hand of the Go program: lays out by boto3 what it makes for a Service, as the reference has it.
//!
//! It makes what a first sync that went well makes, and what the service controller writes on the
//! Service. What a second sync or a failed one leaves beside that, a test adds itself.

mod asked;
mod classic;
mod names;
mod network;

use std::collections::BTreeMap;

use ccm_awscloud::Instance;
use ccm_envtest::kubelet::{Kubelet, register_many};
use k8s_openapi::api::core::v1::{Node, NodeAddress, Service};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use self::asked::Asked;
use super::Aws;
use crate::services::{SeenService, Wanted};
use crate::world::{CLUSTER, World};

/// With this label a node takes no traffic of load balancers.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What its service controller holds a Service by.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// The keys of its configuration that decide what it makes.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Go {
    /// `ElbSecurityGroup`.
    pub elb_group: Option<String>,
    /// `NLBSecurityGroupMode = Managed`.
    pub manages_groups: bool,
    /// `ClusterServiceLoadBalancerHealthProbeMode = Shared`.
    pub shares_probe: bool,
    /// `KubernetesClusterTag`, or the legacy tag on its own instance.
    pub is_legacy: bool,
    /// `DisableSecurityGroupIngress`.
    pub leaves_nodes: bool,
    /// The flag `--cluster-name`.
    pub cluster_name: Option<String>,
}

/// One Service's part of the cloud, and the cloud.
struct Site<'a> {
    go: &'a Go,
    aws: &'a Aws,
    asked: &'a Asked,
    /// The IDs of the instances that take traffic.
    targets: Vec<String>,
}

impl World<Aws> {
    /// Launches instances and registers their nodes, which are initialised as the Go program does it:
    /// the first with the first of these labels, and so on.
    pub async fn go_nodes(&self, count: u32, labels: &[(&str, &str)]) -> Vec<Instance> {
        let (instances, zones) = (self.cloud.instances(count).await, self.zone_ids().await);
        let kubelets = instances.iter().enumerate().map(|(index, it)| match labels.get(index) {
            Some((key, value)) => go_kubelet(it, &zones).label(*key, *value),
            None => go_kubelet(it, &zones),
        });
        register_many(&self.admin(), kubelets, 16).await.unwrap();
        instances
    }

    /// The same, with one for each of these ranges of pods.
    pub async fn go_nodes_with_ranges(&self, ranges: &[&str]) -> Vec<Instance> {
        let instances = self.cloud.instances(u32::try_from(ranges.len()).unwrap()).await;
        let (pairs, zones) = (instances.iter().zip(ranges), self.zone_ids().await);
        let kubelets = pairs.map(|(it, range)| go_kubelet(it, &zones).pod_cidrs(&[range]));
        register_many(&self.admin(), kubelets, 16).await.unwrap();
        instances
    }

    /// Registers the node of a pod on Fargate, whose interface is this instance's.
    pub async fn go_node_on_fargate(&self, interface: &Instance) -> String {
        let Instance { zone, private_ip, private_dns, .. } = interface;
        let name = format!("fargate-{private_dns}");
        let region = zone.trim_end_matches(char::is_lowercase);
        let kubelet = Kubelet::new(name.as_str())
            .provider_id(format!("aws:///{zone}/1abc-2def/fargate-{private_ip}"))
            .initialized()
            .addresses(vec![address("InternalIP", private_ip), address("InternalDNS", private_dns)])
            .label("eks.amazonaws.com/compute-type", "fargate");
        let zones = self.zone_ids().await;
        place(kubelet, zone, region, &zones).register(&self.admin()).await.unwrap();
        name
    }

    /// The IDs of the zones, by name.
    async fn zone_ids(&self) -> BTreeMap<String, String> {
        let seen = self.cloud.boto("ec2", "describe_availability_zones", json!({})).await;
        let zones = seen["AvailabilityZones"].as_array().unwrap().iter();
        zones.map(|zone| (text(&zone["ZoneName"]), text(&zone["ZoneId"]))).collect()
    }

    /// Makes a Service and all that the Go program makes for it.
    pub async fn go_served(&self, go: &Go, wanted: &Wanted) -> SeenService {
        self.serve(&wanted.clone().finalizer(FINALIZER)).await;
        self.go_addresses(go, wanted.name()).await
    }

    /// Makes all that the Go program makes for this Service as it is, and says so on it.
    pub async fn go_addresses(&self, go: &Go, name: &str) -> SeenService {
        let hostname = self.go_lays_out(go, name).await;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": hostname}]}}});
        let (services, params) = (self.services(), PatchParams::default());
        let seen = services.patch_status(name, &params, &Patch::Merge(status)).await;
        SeenService::from(&seen.unwrap())
    }

    /// Makes all that the Go program makes for this Service before it fails, and says nothing on it.
    pub async fn go_fails(&self, go: &Go, wanted: &Wanted) -> SeenService {
        let made = self.serve(&wanted.clone().finalizer(FINALIZER)).await;
        self.go_lays_out(go, wanted.name()).await;
        made
    }

    async fn go_lays_out(&self, go: &Go, name: &str) -> String {
        let asked = Asked::from(&self.services().get(name).await.unwrap());
        let nodes = Api::<Node>::all(self.admin()).list(&ListParams::default()).await.unwrap();
        let labels = asked.pairs("target-node-labels");
        let takes_traffic = |node: &&Node| {
            !node.labels().contains_key(EXCLUDED)
                && labels.iter().all(|(key, value)| {
                    node.labels().get(key).is_some_and(|has| value.is_empty() || has == value)
                })
        };
        let targets = nodes.items.iter().filter(takes_traffic).filter_map(|node| {
            let id = node.spec.as_ref()?.provider_id.as_ref()?;
            // Pods on Fargate are no targets.
            let id = id.rsplit('/').next()?;
            id.starts_with("i-").then(|| id.to_owned())
        });
        let site = Site { go, aws: &self.cloud, asked: &asked, targets: targets.collect() };
        if asked.is_network() { site.network().await } else { site.classic().await }
    }

    /// The Service is gone without that anything in the cloud went with it.
    pub async fn go_loses(&self, name: &str) {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let lost: Service =
            self.services().patch(name, &PatchParams::default(), &patch).await.unwrap();
        self.end_service(&lost.name_any()).await;
        self.services_free(name).await;
    }
}

/// A node as the Go program leaves it.
fn go_kubelet(instance: &Instance, zones: &BTreeMap<String, String>) -> Kubelet {
    let region = instance.zone.trim_end_matches(char::is_lowercase);
    let kubelet = Kubelet::new(instance.private_dns.as_str())
        .provider_id(instance.provider_id())
        .initialized()
        .addresses(vec![
            address("InternalIP", &instance.private_ip),
            address("InternalDNS", &instance.private_dns),
            address("Hostname", &instance.private_dns),
        ])
        .label("node.kubernetes.io/instance-type", instance.instance_type.as_str())
        .label("beta.kubernetes.io/instance-type", instance.instance_type.as_str());
    place(kubelet, &instance.zone, region, zones)
}

/// With the labels that say where it is.
fn place(kubelet: Kubelet, zone: &str, region: &str, zones: &BTreeMap<String, String>) -> Kubelet {
    kubelet
        .label("topology.kubernetes.io/zone", zone)
        .label("failure-domain.beta.kubernetes.io/zone", zone)
        .label("topology.kubernetes.io/region", region)
        .label("failure-domain.beta.kubernetes.io/region", region)
        .label("topology.k8s.aws/zone-id", zones[zone].as_str())
}

fn address(type_: &str, address: &str) -> NodeAddress {
    NodeAddress { type_: type_.to_owned(), address: address.to_owned() }
}

impl Site<'_> {
    async fn boto(&self, service: &str, method: &str, args: Value) -> Value {
        self.aws.boto(service, method, args).await
    }

    /// Those of security groups.
    fn group_tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.asked.pairs("additional-resource-tags");
        tags.insert(format!("kubernetes.io/cluster/{CLUSTER}"), "owned".to_owned());
        if self.go.is_legacy {
            tags.insert("KubernetesCluster".to_owned(), CLUSTER.to_owned());
        }
        tags
    }

    /// Those of all else.
    fn tags(&self) -> Value {
        let mut tags = self.group_tags();
        tags.insert("kubernetes.io/service-name".to_owned(), self.asked.id());
        boto_tags(&tags)
    }

    /// Makes a security group with these rules.
    async fn security_group(&self, name: &str, description: &str, rules: &[Value]) -> String {
        let made = self
            .boto(
                "ec2",
                "create_security_group",
                json!({
                    "GroupName": name,
                    "Description": description,
                    "VpcId": self.aws.network.vpc,
                    "TagSpecifications": [
                        {"ResourceType": "security-group", "Tags": boto_tags(&self.group_tags())},
                    ],
                }),
            )
            .await;
        let id = text(&made["GroupId"]);
        self.allow(&id, rules).await;
        id
    }

    /// Adds rules that are not there yet, whatever their descriptions.
    async fn allow(&self, group: &str, rules: &[Value]) {
        let group_id = json!({"GroupIds": [group]});
        let seen = self.boto("ec2", "describe_security_groups", group_id).await;
        let have = &seen["SecurityGroups"][0]["IpPermissions"];
        let missing: Vec<_> = rules.iter().filter(|rule| !has(have, rule)).collect();
        if !missing.is_empty() {
            let args = json!({"GroupId": group, "IpPermissions": missing});
            self.boto("ec2", "authorize_security_group_ingress", args).await;
        }
    }

    /// By annotation, or one of each zone.
    fn subnets(&self) -> Vec<String> {
        let network = &self.aws.network;
        let named = self.asked.list("subnets");
        if !named.is_empty() {
            named
        } else if self.asked.is_internal() {
            vec![network.private_a.clone(), network.private_b.clone()]
        } else {
            vec![network.public_a.clone(), network.public_b.clone()]
        }
    }
}

/// A rule for one port, or for ICMP type and code.
fn rule(protocol: &str, from: i64, to: i64, range: &str, description: &str) -> Value {
    let mut range = json!({"CidrIp": range});
    if !description.is_empty() {
        range["Description"] = description.into();
    }
    json!({"IpProtocol": protocol, "FromPort": from, "ToPort": to, "IpRanges": [range]})
}

/// Whether this rule, which has one peer, is among these.
fn has(rules: &Value, rule: &Value) -> bool {
    let keys = ["IpProtocol", "FromPort", "ToPort"];
    let peer = |it: &Value| match it["IpRanges"].get(0) {
        Some(range) => range["CidrIp"].clone(),
        None => it["UserIdGroupPairs"][0]["GroupId"].clone(),
    };
    let is_it = |other: &Value| {
        let ranges = other["IpRanges"].as_array().into_iter().flatten();
        let pairs = other["UserIdGroupPairs"].as_array().into_iter().flatten();
        let mut peers = ranges.map(|it| &it["CidrIp"]).chain(pairs.map(|it| &it["GroupId"]));
        keys.iter().all(|key| other[key] == rule[key]) && peers.any(|it| *it == peer(rule))
    };
    rules.as_array().into_iter().flatten().any(is_it)
}

fn boto_tags(tags: &BTreeMap<String, String>) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
