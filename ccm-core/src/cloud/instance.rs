//! The machines behind nodes: what is asked about them and what can be answered.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use ipnet::IpNet;

use super::call::Read;
use super::error::CloudError;
use super::names::{Incarnation, InstanceType, NodeName, ProviderId, Region, Uid, Zone};

/// Everything by which a cloud may recognise the machine of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// `metadata.name`.
    pub name: NodeName,
    /// `metadata.uid`.
    pub uid: Uid,
    /// `metadata.creationTimestamp`.
    pub created: SystemTime,
    /// `spec.providerID`. Where it is set it is the only thing to look up by.
    pub provider_id: Option<ProviderId>,
    /// `status.nodeInfo.systemUUID`, as the machine's firmware says it.
    pub system_uuid: Option<Arc<str>>,
    /// `status.addresses`, in their order.
    pub addresses: Vec<NodeAddress>,
    /// The labels that the provider declared it reads, and no others.
    pub labels: BTreeMap<String, String>,
    /// The annotations that the provider declared it reads, and no others.
    pub annotations: BTreeMap<String, String>,
    /// Whether the taint `node.cloudprovider.kubernetes.io/uninitialized` is gone: what a node needs
    /// before its first pod holds up no other.
    pub is_initialized: bool,
}

/// How sure the answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The cheapest answer will do, a list for example. `Gone` from it is a suspicion.
    Look,
    /// A direct answer about just these machines, not from any kept list. `Gone` from it, after
    /// an earlier `Gone`, is what a deletion rests on.
    Confirm,
}

/// What the cloud said about one thing. Only a positive answer is `Present` or `Gone`.
#[derive(Debug)]
pub enum Observation<T = Instance> {
    /// It is there.
    Present(T),
    /// It is not there, on the cloud's own word.
    Gone(Evidence),
    /// We do not know: the call failed or was denied, the list was cut short, the record is odd.
    Unknown(CloudError),
}

/// What `Gone` rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The cloud still has a record, and it says that the machine was deleted.
    Terminated,
    /// The cloud was asked, answered in full, and has no record.
    Absent,
}

/// A machine that exists.
#[derive(Clone, Debug)]
pub struct Instance {
    /// What `spec.providerID` becomes, where the Node has none.
    pub provider_id: ProviderId,
    /// Tells this machine from a later one of the same name.
    pub incarnation: Incarnation,
    /// Whether it runs.
    pub state: RunState,
    /// For `node.kubernetes.io/instance-type`. `None` leaves the labels alone.
    pub instance_type: Option<InstanceType>,
    /// For `topology.kubernetes.io/zone`. `None` leaves the labels alone.
    pub zone: Option<Zone>,
    /// For `topology.kubernetes.io/region`. `None` leaves the labels alone.
    pub region: Option<Region>,
    /// In the order in which they are to stand in `status.addresses`. Empty leaves the node's
    /// addresses alone. Repetitions are dropped by the framework.
    pub addresses: Vec<NodeAddress>,
    /// Further labels. Keys under `kubernetes.io` and `k8s.io` are dropped by the framework.
    pub labels: BTreeMap<String, String>,
    /// Pod ranges, where the cloud gives them.
    pub pod_cidrs: PodCidrs,
    /// What the provider's own load balancer and route plans need of the machine.
    pub detail: Detail,
}

/// Whether a machine runs. Everything that is not stopped and will run by itself counts as running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// On its way up.
    Starting,
    /// Up, or nothing else is known.
    Running,
    /// On its way down, to be stopped or to be deleted.
    Stopping,
    /// Stopped, hibernated or deallocated: it exists and will not run by itself.
    Stopped,
}

/// One entry of `status.addresses`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAddress {
    /// `type`.
    pub kind: AddressKind,
    /// `address`, in the text that the cloud uses.
    pub address: Arc<str>,
}

/// `type` of an entry of `status.addresses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// The machine's own name. May be a literal address.
    Hostname,
    /// Reachable inside the cluster.
    InternalIp,
    /// Reachable from outside.
    ExternalIp,
    /// A name that resolves inside.
    InternalDns,
    /// A name that resolves outside.
    ExternalDns,
}

impl AddressKind {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "Hostname",
            Self::InternalIp => "InternalIP",
            Self::ExternalIp => "ExternalIP",
            Self::InternalDns => "InternalDNS",
            Self::ExternalDns => "ExternalDNS",
        }
    }

    /// Reads the API's spelling. `None` for a type of the future.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Hostname, Self::InternalIp, Self::ExternalIp, Self::InternalDns, Self::ExternalDns]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

impl NodeAddress {
    /// An entry with this type and text.
    pub fn new(kind: AddressKind, address: impl Into<Arc<str>>) -> Self {
        Self { kind, address: address.into() }
    }

    /// An `InternalIP` entry.
    pub fn internal(ip: IpAddr) -> Self {
        Self::new(AddressKind::InternalIp, ip.to_string())
    }

    /// An `ExternalIP` entry.
    pub fn external(ip: IpAddr) -> Self {
        Self::new(AddressKind::ExternalIp, ip.to_string())
    }

    /// The address as a number, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

impl fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind.as_str(), self.address)
    }
}

/// Pod ranges that the cloud gives to a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodCidrs {
    /// The cloud has no say in it.
    #[default]
    Unsaid,
    /// These ranges, at most one of each family.
    Ranges(Vec<IpNet>),
    /// Ranges of these sizes, to be taken from the cluster's.
    MaskSizes {
        /// Prefix length of the IPv4 range.
        v4: Option<u8>,
        /// Prefix length of the IPv6 range.
        v6: Option<u8>,
    },
}

/// Something that the provider put into an answer for itself; the core only carries it.
#[derive(Clone, Default)]
pub struct Detail(Option<Arc<dyn Any + Send + Sync>>);

impl Detail {
    /// Wraps the provider's own value.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if there is one of this type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_deref()?.downcast_ref()
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Detail(…)" } else { "Detail(none)" })
    }
}

/// Whether a Node is this provider's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// Its provider ID is one of ours.
    Ours,
    /// It is somebody else's, and left alone. Says why.
    Foreign(String),
    /// It has no provider ID yet, so it may be ours.
    Unsaid,
}

/// How many nodes one question should be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// At most this many: the batch limit of the cloud's cheapest call.
    UpTo(NonZeroUsize),
    /// All at once: the cloud's only cheap answer is a list of everything.
    Whole,
}

/// The machines behind nodes.
#[async_trait]
pub trait Instances: fmt::Debug + Send + Sync + 'static {
    /// How many nodes to ask about at once. The framework collects questions accordingly and
    /// never hands over more, whatever it asks.
    fn batching(&self) -> Batching;

    /// What has become of the machines of these nodes.
    ///
    /// *Order*: as many answers as questions, in the order of the questions.
    ///
    /// *Look-up*: by provider ID where the node has one, and then by nothing else; otherwise by
    /// name or whatever else [`NodeIdentity`] offers. A machine that does not match the provider
    /// ID is not this node's machine, whatever its name.
    ///
    /// *Absence*: [`Observation::Gone`] is said only when the cloud answered in full and said so.
    /// A list of everything that is empty or cut short, a denied or failed call is
    /// [`Observation::Unknown`]; an answer to a question by IDs that leaves some out may be `Gone`
    /// with [`Ask::Look`], where it is no more than a suspicion. With
    /// [`Ask::Confirm`] the answer comes from a call about just these machines, never from a kept
    /// list: the same list read twice is not two proofs. A stopped machine is present.
    ///
    /// *Errors*: one record that makes no sense, or one ID that the cloud finds malformed, is
    /// `Unknown` for that node alone. An outer error means that every answer is unknown.
    /// [`Kind::NotFound`](super::Kind::NotFound) is never one, inside of `Unknown` neither.
    ///
    /// *Repetition and cancellation*: changes nothing, may be repeated, may be dropped at any
    /// await.
    async fn describe(
        &self,
        cx: &Read,
        ask: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError>;
}
