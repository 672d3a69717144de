//! The contract: what a vendor implements, and nothing else.
//!
//! No Kubernetes client and no I/O of ours is in here; the types could cross a process boundary.
//! A vendor's crate exports one [`Registration`]. What it builds is a [`CloudProvider`], whose
//! accessors hand out what the cloud can do: [`Instances`], load balancers and routes (each a
//! [`Converge`]), [`Volumes`].
//!
//! Three rules run through all of it. Absence is a value and doubt is an error, so that nothing
//! dies of a bad afternoon at the cloud. Questions come in batches. Changes are data that the
//! framework carries out, so that every provider has a dry run, survives a crash between any two
//! calls, and needs no thought about leases.

pub mod annotations;
mod call;
mod converge;
mod erased;
mod error;
mod gather;
mod install;
mod instance;
mod load_balancer;
mod names;
mod provider;
mod route;
mod volume;

pub use annotations::{Annotated, AnnotationError, Annotations};
pub use call::{
    Admitted, Bucket, Conduct, Freshness, Operation, REQUEST_LIMIT, Read, Request, Urgency, Write,
};
pub use converge::{
    Change, Converge, Effect, Holds, Identity, Ingress, Inputs, Later, Learnt, Lock, Member, Note,
    ObjectId, Owned, Plan, Report, ReportedCondition, Spec, Step, Tolerate, Unit, UnitName,
    Verdict, Want, World,
};
pub use erased::{AnyChange, AnyObserved, Converger};
pub use error::{BoxError, CloudError, Kind, Retry};
pub use gather::Gather;
pub use install::{CONFIG_FOLDER, Install, SECRET_FOLDER, Sample};
pub use instance::{
    AddressKind, Ask, Batching, Belongs, Detail, Evidence, Instance, Instances, NodeAddress,
    NodeIdentity, Observation, PodCidrs, RunState,
};
pub use load_balancer::{
    ExternalTrafficPolicy, IngressAddress, IngressPoint, IngressPort, IpFamily, IpMode,
    LoadBalancerSpec, Protocol, ServicePort, SourceRange,
};
pub use names::{
    ClusterName, EmptyProviderId, Incarnation, InstanceType, NodeName, ProviderId, Region, Uid,
    Zone,
};
pub use provider::{
    CloudProvider, ClusterId, ConfigError, ConfigFile, Facts, Labels, Needs, Policy, Registration,
    Registry, RegistryError, Setup,
};
pub use route::RouteSpec;
pub use volume::{Topology, VolumeRef, VolumeSource, Volumes};
