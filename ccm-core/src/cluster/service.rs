//! A Service as we keep it: only what the service controller reads.

mod wire;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::wire::WireService;
use super::events::Involved;
use super::keys;
use super::node::{ConditionStatus, Version};
use super::pairs::Pairs;
use crate::cloud::{
    ExternalTrafficPolicy, Identity, IngressAddress, IngressPoint, IpFamily, IpMode, ObjectId,
    ServicePort, Uid,
};

/// By what a Service is found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// The Service of this name in this namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A cached Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// `metadata.namespace` and `metadata.name`.
    pub key: ServiceKey,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.resourceVersion`.
    pub version: Version,
    /// `metadata.creationTimestamp`.
    pub created: SystemTime,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The annotations that the core or the provider reads.
    pub annotations: Pairs,
    /// The labels that the provider reads.
    pub labels: Pairs,
    /// `metadata.finalizers`.
    pub finalizers: Box<[Box<str>]>,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.loadBalancerClass`.
    pub class: Option<Box<str>>,
    /// `spec.ports`, in their order.
    pub ports: Box<[ServicePort]>,
    /// `spec.ipFamilies`, in their order.
    pub families: Box<[IpFamily]>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// `spec.healthCheckNodePort`, where it has one.
    pub health_check_node_port: Option<NonZeroU16>,
    /// `spec.sessionAffinity`: `ClientIP` with its time-out, or none.
    pub client_ip_affinity: Option<Duration>,
    /// `spec.loadBalancerIP`, as written.
    pub requested_address: Option<Box<str>>,
    /// `spec.loadBalancerSourceRanges`, as written.
    pub source_ranges: Box<[Box<str>]>,
    /// `status.loadBalancer.ingress`, in its order, as far as it can be read.
    pub ingress: Box<[IngressPoint]>,
    /// Whether `status.loadBalancer.ingress` holds something that `ingress` does not show.
    pub odd_ingress: bool,
    /// `status.conditions`.
    pub conditions: Box<[Condition]>,
    /// What of the spec makes no sense to us, naming the field and its value. It is not in the
    /// fields above, so nothing may be made from them.
    pub problem: Option<Box<str>>,
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// `LoadBalancer`.
    LoadBalancer,
    /// Any other: it wants no load balancer.
    Other,
}

/// One of `status.conditions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type`.
    pub kind: Box<str>,
    /// `status`.
    pub status: ConditionStatus,
    /// `reason`.
    pub reason: Box<str>,
    /// `message`.
    pub message: Box<str>,
    /// `lastTransitionTime`.
    pub since: Option<SystemTime>,
}

impl Service {
    /// Whether it is of the type that has a load balancer. Whether it is being deleted, and who
    /// serves its class, is another question.
    pub fn wants_load_balancer(&self) -> bool {
        self.kind == ServiceType::LoadBalancer
    }

    /// Whether it has this finalizer.
    pub fn has_finalizer(&self, key: &str) -> bool {
        self.finalizers.iter().any(|finalizer| &**finalizer == key)
    }

    /// Its condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| &*condition.kind == kind)
    }

    /// Our own condition.
    pub fn ready(&self) -> Option<&Condition> {
        self.condition(keys::LOAD_BALANCER_READY)
    }

    /// Whether the service controller has anything to do with it: it wants a load balancer, or
    /// bears a mark of one that it had.
    pub fn is_of_interest(&self) -> bool {
        self.wants_load_balancer() || self.has_finalizer(keys::FINALIZER) || self.ready().is_some()
    }

    /// Whether its status shows just these addresses. The API server takes an IP address without a
    /// mode for one with `VIP`, and so do we: otherwise it would be written again and again.
    pub fn shows(&self, ingress: &[IngressPoint]) -> bool {
        let mode = |point: &IngressPoint| match point.address {
            IngressAddress::Ip(_) => Some(point.mode.unwrap_or(IpMode::Vip)),
            // Not written beside a name.
            IngressAddress::Hostname(_) => None,
        };
        let is_same = |(one, other): (&IngressPoint, &IngressPoint)| {
            one.address == other.address && one.ports == other.ports && mode(one) == mode(other)
        };
        !self.odd_ingress
            && self.ingress.len() == ingress.len()
            && self.ingress.iter().zip(ingress).all(is_same)
    }

    /// Which object it is.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            namespace: Arc::clone(&self.key.namespace),
            name: Arc::clone(&self.key.name),
            uid: self.uid.clone(),
        }
    }

    /// What a provider is told about it in any case.
    pub fn identity(&self) -> Identity {
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Identity {
            id: self.id(),
            annotations: self.annotations.iter().map(owned).collect(),
            finalizers: self.finalizers.iter().map(ToString::to_string).collect(),
            ingress: self.ingress.to_vec(),
        }
    }

    /// For an event about it.
    pub fn involved(&self) -> Involved {
        Involved {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: self.key.namespace.to_string(),
            name: self.key.name.to_string(),
            uid: self.uid.to_string(),
        }
    }
}
