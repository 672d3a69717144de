//! A Service as the kit asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{
    Annotations, ExternalTrafficPolicy, Identity, IngressPoint, IpFamily, LoadBalancerSpec,
    ObjectId, Protocol, ServicePort, SourceRange, Uid,
};

/// A Service of type `LoadBalancer`, as its user writes it: the fields of
/// [`LoadBalancerSpec`](ccm_core::cloud::LoadBalancerSpec), with the annotations as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which one.
    pub id: ObjectId,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.finalizers`.
    pub finalizers: BTreeSet<String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.loadBalancerClass`.
    pub class: Option<String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.ipFamilies`.
    pub families: Vec<IpFamily>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// `spec.healthCheckNodePort`.
    pub health_check_node_port: Option<NonZeroU16>,
    /// `spec.sessionAffinity` with its time-out.
    pub client_ip_affinity: Option<Duration>,
    /// `spec.loadBalancerIP`.
    pub requested_address: Option<String>,
    /// `spec.loadBalancerSourceRanges`, as text.
    pub source_ranges: Vec<String>,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<IngressPoint>,
}

impl Service {
    /// A Service in the namespace `conformance`, with two TCP ports: 80 behind the node port 30080,
    /// and 443 behind 30443.
    pub fn new(name: &str) -> Self {
        Self {
            id: ObjectId {
                namespace: NAMESPACE.into(),
                name: name.into(),
                uid: uid_of(NAMESPACE, name, 0),
            },
            annotations: BTreeMap::new(),
            finalizers: BTreeSet::new(),
            labels: BTreeMap::new(),
            class: None,
            ports: vec![tcp("http", 80, 30080), tcp("https", 443, 30443)],
            families: vec![IpFamily::V4],
            external_traffic_policy: ExternalTrafficPolicy::Cluster,
            health_check_node_port: None,
            client_ip_affinity: None,
            requested_address: None,
            source_ranges: Vec::new(),
            ingress: Vec::new(),
        }
    }

    /// The Service of this name in another namespace, with a UID of its own: for clouds that several
    /// tests share.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.id.namespace = namespace.into();
        self.id.uid = uid_of(namespace, &self.id.name, 0);
        self
    }

    /// Another Service like this one, of this name, behind node ports of its own.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        let mut sibling = self.clone();
        sibling.id.name = name.into();
        sibling.id.uid = uid_of(&self.id.namespace, name, 0);
        for port in &mut sibling.ports {
            let behind = |port: NonZeroU16| port.saturating_add(1000);
            port.node_port = port.node_port.map(behind);
        }
        sibling
    }

    /// The next Service of the same namespace and name: another object.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut successor = self.clone();
        successor.id.uid = uid_of(&self.id.namespace, &self.id.name, 1);
        successor
    }

    /// This Service with an annotation.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// What is known of it in any case.
    pub fn identity(&self) -> Identity {
        Identity {
            id: self.id.clone(),
            annotations: self.annotations.clone(),
            finalizers: self.finalizers.clone(),
            ingress: self.ingress.clone(),
        }
    }

    /// Reads it as the framework does. Otherwise a sentence for each annotation that cannot be read.
    pub fn read(&self, annotations: &Annotations) -> Result<LoadBalancerSpec, String> {
        let declared = self.annotations.iter().filter(|(key, _)| annotations.has(key));
        let declared = declared.map(|(key, value)| (key.clone(), value.clone())).collect();
        let annotated = (annotations.read)(&declared).map_err(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })?;
        let range = |text: &String| SourceRange {
            field: "spec.loadBalancerSourceRanges".to_owned(),
            text: text.clone(),
            network: text.parse().ok(),
        };
        Ok(LoadBalancerSpec {
            class: self.class.clone(),
            ports: self.ports.clone(),
            families: self.families.clone(),
            external_traffic_policy: self.external_traffic_policy,
            health_check_node_port: self.health_check_node_port,
            client_ip_affinity: self.client_ip_affinity,
            requested_address: self.requested_address.clone(),
            source_ranges: self.source_ranges.iter().map(range).collect(),
            annotations: annotated.value,
            labels: self.labels.clone(),
            ..LoadBalancerSpec::new(Arc::new(self.identity()))
        })
    }

    /// Tells one form of it from another; what the framework writes back is no part of it.
    pub(crate) fn digest(&self) -> u64 {
        let plain = Self { finalizers: BTreeSet::new(), ingress: Vec::new(), ..self.clone() };
        let mut hasher = DefaultHasher::new();
        format!("{plain:?}").hash(&mut hasher);
        hasher.finish()
    }
}

/// A TCP port of a Service.
pub fn tcp(name: &str, port: u16, node_port: u16) -> ServicePort {
    ServicePort {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(port).expect("a port is not 0"),
        node_port: NonZeroU16::new(node_port),
        app_protocol: None,
    }
}

/// UIDs are unique in a cluster, and so are the names of the kit's Services.
/// Where Services are that nobody puts elsewhere.
const NAMESPACE: &str = "conformance";

fn uid_of(namespace: &str, name: &str, generation: u16) -> Uid {
    let mut hasher = DefaultHasher::new();
    (namespace, name).hash(&mut hasher);
    let digits = hasher.finish() & 0xffff_ffff_ffff;
    Uid::from(format!("c0f0c0f0-0000-4000-{:04x}-{digits:012x}", 0x8000 | generation))
}

/// A change that a user may make to a Service, and what is to be seen of it.
#[derive(Clone)]
pub struct Variant {
    /// What is done, for people: "another idle time-out".
    pub name: &'static str,
    /// Does it.
    pub change: Arc<dyn Fn(&mut Service) + Send + Sync>,
    /// A text that is in the snapshot afterwards, and was not before. `None`: the snapshot differs.
    pub shows: Option<&'static str>,
    /// Whether traffic stops for it, or clients have to go to another address.
    pub disrupts: bool,
    /// Whether something of it stays in the cloud when it is taken back.
    pub sticks: bool,
}

impl std::fmt::Debug for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Variant {
    /// A change that goes unnoticed by clients and can be taken back.
    pub fn new(name: &'static str, change: impl Fn(&mut Service) + Send + Sync + 'static) -> Self {
        let change = Arc::new(change);
        Self { name, change, shows: None, disrupts: false, sticks: false }
    }

    /// Says what is in the snapshot afterwards.
    #[must_use]
    pub fn showing(mut self, text: &'static str) -> Self {
        self.shows = Some(text);
        self
    }

    /// Says that clients notice.
    #[must_use]
    pub fn disrupting(mut self) -> Self {
        self.disrupts = true;
        self
    }

    /// Says that something of it stays.
    #[must_use]
    pub fn sticking(mut self) -> Self {
        self.sticks = true;
        self
    }

    /// The Service, changed.
    pub fn of(&self, service: &Service) -> Service {
        let mut changed = service.clone();
        (self.change)(&mut changed);
        changed
    }

    /// Changes of ports, which every cloud has to take.
    pub(crate) fn of_ports() -> Vec<Self> {
        vec![
            Self::new("one more port", |it| it.ports.push(tcp("more", 8443, 30844))),
            Self::new("one port less", |it| drop(it.ports.pop())),
            Self::new("another port", |it| it.ports[0].port = NonZeroU16::MAX),
            Self::new("another node port", |it| it.ports[0].node_port = NonZeroU16::new(31999)),
            Self::new("ports in another order", |it| it.ports.reverse()).unseen(),
        ]
    }

    /// A change of which nothing is to be seen.
    #[must_use]
    pub fn unseen(mut self) -> Self {
        self.shows = Some("");
        self
    }
}

/// Something that a user may write and that cannot be had.
#[derive(Clone)]
pub struct Mistake {
    /// What is wrong, for people.
    pub name: &'static str,
    /// Makes it.
    pub change: Arc<dyn Fn(&mut Service) + Send + Sync>,
    /// What the complaint has to name: the field or the key.
    pub names: &'static str,
}

impl std::fmt::Debug for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mistake").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Mistake {
    /// A mistake, and what the complaint about it has to name.
    pub fn new(
        name: &'static str,
        names: &'static str,
        change: impl Fn(&mut Service) + Send + Sync + 'static,
    ) -> Self {
        Self { name, change: Arc::new(change), names }
    }

    /// The Service, with the mistake.
    pub fn of(&self, service: &Service) -> Service {
        let mut changed = service.clone();
        (self.change)(&mut changed);
        changed
    }
}
