//! What a Service of type `LoadBalancer` asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::converge::{Identity, Spec};
use super::instance::Detail;
use super::names::NodeName;

/// A Service, read: the fields are taken over as the API has them, and judged by the provider.
#[derive(Debug)]
pub struct LoadBalancerSpec {
    /// Which Service.
    pub identity: Arc<Identity>,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// `spec.ports`, in their order.
    pub ports: Vec<ServicePort>,
    /// `spec.ipFamilies`, in their order.
    pub families: Vec<IpFamily>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// `spec.healthCheckNodePort`, where the policy is `Local`.
    pub health_check_node_port: Option<NonZeroU16>,
    /// `spec.sessionAffinity`: `ClientIP` with its time-out, or none.
    pub client_ip_affinity: Option<Duration>,
    /// `spec.loadBalancerIP`, as written.
    pub requested_address: Option<String>,
    /// Who may connect. Empty: nothing was said.
    pub source_ranges: Vec<SourceRange>,
    /// The annotations, as the provider's own type.
    pub annotations: Detail,
    /// The labels that the provider declared it reads, and no others.
    pub labels: BTreeMap<String, String>,
    /// Labels of its namespace. `None` unless the provider declared that it needs namespaces.
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// How many ready endpoints each node has; a node without one is not in it. `None` unless the
    /// provider declared that it needs endpoints. An input of its own: a unit whose
    /// [`Inputs`](super::Inputs) leave it out does not wake for it.
    pub endpoints: Option<BTreeMap<NodeName, NonZeroUsize>>,
}

impl LoadBalancerSpec {
    /// A Service without ports that asks for nothing in particular: what reading one starts from.
    pub fn new(identity: impl Into<Arc<Identity>>) -> Self {
        Self {
            identity: identity.into(),
            class: None,
            ports: Vec::new(),
            families: vec![IpFamily::V4],
            external_traffic_policy: ExternalTrafficPolicy::Cluster,
            health_check_node_port: None,
            client_ip_affinity: None,
            requested_address: None,
            source_ranges: Vec::new(),
            annotations: Detail::default(),
            labels: BTreeMap::new(),
            namespace_labels: None,
            endpoints: None,
        }
    }
}

impl Spec for LoadBalancerSpec {
    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn is_awaited(&self) -> bool {
        self.identity.ingress.is_empty()
    }
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// `name`; empty where there is one port.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`: where the load balancer listens.
    pub port: NonZeroU16,
    /// `nodePort`. `None` where the Service has none.
    pub node_port: Option<NonZeroU16>,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExternalTrafficPolicy {
    /// Every node takes traffic.
    Cluster,
    /// Only nodes with an endpoint do; the client's address is kept.
    Local,
}

/// One range that may connect, with the field that it was read from, so that a complaint about it
/// can name the field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceRange {
    /// `spec.loadBalancerSourceRanges` or the annotation's key.
    pub field: String,
    /// As it was written, without blanks around it.
    pub text: String,
    /// As a network, where it is one. Host bits are kept: clouds differ about them.
    pub network: Option<IpNet>,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IngressPoint {
    /// `ip` or `hostname`.
    pub address: IngressAddress,
    /// `ipMode`; `None` where the address is a name or nothing is to be said.
    pub mode: Option<IpMode>,
    /// `ports`; empty where nothing is to be said.
    pub ports: Vec<IngressPort>,
}

/// Where clients go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IngressAddress {
    /// `ip`.
    Ip(IpAddr),
    /// `hostname`.
    Hostname(String),
}

/// `ipMode`: whether packets arrive at the node with the load balancer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpMode {
    /// They do; nodes may short-cut traffic to the address.
    Vip,
    /// They do not; traffic to the address must leave the node.
    Proxy,
}

/// State of one port of an ingress point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IngressPort {
    /// `port`.
    pub port: NonZeroU16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `error`, one word, where the port does not work.
    pub error: Option<String>,
}
