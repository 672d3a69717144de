//! Services and nodes for tests of plans.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::SystemTime;

use ccm_core::cloud::{
    CloudError, Detail, ExternalTrafficPolicy, Identity, Incarnation, Instance, Kind,
    LoadBalancerSpec, Member, NodeIdentity, NodeName, ObjectId, Observation, PodCidrs, Protocol,
    ProviderId, RunState, ServicePort, SourceRange, Uid, Want,
};

use super::annotations::{PREFIX, ServiceAnnotations};
use crate::ground::{Cluster, Home};
use crate::instances::InstanceDetail;

pub(crate) fn cluster() -> Cluster {
    Cluster { id: "blue".to_owned(), legacy: false }
}

pub(crate) fn home() -> Home {
    Home {
        region: "eu-west-1".to_owned(),
        vpc: "vpc-1".to_owned(),
        subnet: None,
        own: None,
        cluster: cluster(),
    }
}

pub(crate) fn id(name: &str) -> ObjectId {
    ObjectId { namespace: "shop".into(), name: name.into(), uid: Uid::from(format!("uid-{name}")) }
}

fn identity(name: &str, annotations: BTreeMap<String, String>) -> Identity {
    Identity { id: id(name), annotations, finalizers: BTreeSet::new(), ingress: Vec::new() }
}

/// Annotations by what is behind the prefix.
fn said(annotations: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(key, value): &(&str, &str)| (format!("{PREFIX}{key}"), (*value).to_owned());
    annotations.iter().map(pair).collect()
}

/// A Service with these TCP ports, each with a node port 30000 above it, and annotations by what is
/// behind the prefix.
pub(crate) fn spec(name: &str, ports: &[u16], annotations: &[(&str, &str)]) -> LoadBalancerSpec {
    let annotations = said(annotations);
    let read = (ServiceAnnotations::BY_KIND.read)(&annotations).unwrap();
    let mut spec = LoadBalancerSpec::new(identity(name, annotations));
    spec.annotations = read.value;
    spec.ports = ports.iter().map(|it| port(*it, 30_000 + *it)).collect();
    spec
}

pub(crate) fn port(port: u16, node_port: u16) -> ServicePort {
    ServicePort {
        name: format!("port-{port}"),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(port).unwrap(),
        node_port: NonZeroU16::new(node_port),
        app_protocol: None,
    }
}

/// Lets only these ranges connect.
pub(crate) fn from(mut spec: LoadBalancerSpec, ranges: &[&str]) -> LoadBalancerSpec {
    let range = |text: &&str| SourceRange {
        field: "spec.loadBalancerSourceRanges".to_owned(),
        text: (*text).to_owned(),
        network: text.parse().ok(),
    };
    spec.source_ranges = ranges.iter().map(range).collect();
    spec
}

/// Lets only nodes with an endpoint take traffic.
pub(crate) fn local(mut spec: LoadBalancerSpec) -> LoadBalancerSpec {
    spec.external_traffic_policy = ExternalTrafficPolicy::Local;
    spec.health_check_node_port = NonZeroU16::new(32_000);
    spec
}

pub(crate) fn present(spec: LoadBalancerSpec) -> Want<LoadBalancerSpec> {
    Want::Present(Arc::new(spec))
}

pub(crate) fn absent(name: &str) -> Want<LoadBalancerSpec> {
    absent_with(name, &[])
}

/// With the annotations that it had at last.
pub(crate) fn absent_with(name: &str, annotations: &[(&str, &str)]) -> Want<LoadBalancerSpec> {
    Want::Absent(Arc::new(identity(name, said(annotations))))
}

pub(crate) fn keep(name: &str) -> Want<LoadBalancerSpec> {
    keep_with(name, &[])
}

/// With the annotations that it has, readable or not.
pub(crate) fn keep_with(name: &str, annotations: &[(&str, &str)]) -> Want<LoadBalancerSpec> {
    Want::Keep(Arc::new(identity(name, said(annotations))))
}

/// The ID of an instance.
pub(crate) fn instance_id(number: usize) -> String {
    format!("i-{number:017x}")
}

/// A node with a running instance in these security groups.
pub(crate) fn member(number: usize, groups: &[&str]) -> Member {
    let detail = InstanceDetail {
        id: instance_id(number),
        security_groups: groups.iter().map(|id| (*id).to_owned()).collect(),
        has_cluster_tag: true,
        ..InstanceDetail::default()
    };
    let instance = Instance {
        provider_id: provider_id(number),
        incarnation: Incarnation::from(instance_id(number)),
        state: RunState::Running,
        instance_type: None,
        zone: None,
        region: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::new(detail),
    };
    observed(number, Observation::Present(instance))
}

/// A node of whose instance nothing is known.
pub(crate) fn doubtful(number: usize) -> Member {
    let err = CloudError::new(Kind::Unavailable, "no answer");
    observed(number, Observation::Unknown(err))
}

fn observed(number: usize, instance: Observation) -> Member {
    let node = NodeIdentity {
        name: NodeName::from(format!("node-{number}")),
        uid: Uid::from(format!("node-uid-{number}")),
        created: SystemTime::UNIX_EPOCH,
        provider_id: Some(provider_id(number)),
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    Member { node, instance: Arc::new(instance) }
}

fn provider_id(number: usize) -> ProviderId {
    ProviderId::try_from(format!("aws:///eu-west-1a/{}", instance_id(number))).unwrap()
}
