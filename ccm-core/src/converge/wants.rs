//! Wants as tests write them. An object's name is its UID.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::cloud::{Identity, LoadBalancerSpec, ObjectId, Protocol, ServicePort, Want};

pub(super) type Wanted = Want<LoadBalancerSpec>;

pub(super) fn id(uid: &str) -> ObjectId {
    ObjectId { namespace: "shop".into(), name: uid.into(), uid: uid.into() }
}

pub(super) fn identity(id: ObjectId) -> Identity {
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Identity { id, annotations, finalizers, ingress: Vec::new() }
}

pub(super) fn spec(id: ObjectId, ports: &[u16]) -> LoadBalancerSpec {
    let port = |port: &u16| ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(*port).expect("a port"),
        node_port: None,
        app_protocol: None,
    };
    let ports = ports.iter().map(port).collect();
    LoadBalancerSpec { ports, ..LoadBalancerSpec::new(identity(id)) }
}

pub(super) fn present(uid: &str, ports: &[u16]) -> Wanted {
    Want::Present(Arc::new(spec(id(uid), ports)))
}

pub(super) fn absent(uid: &str) -> Wanted {
    Want::Absent(Arc::new(identity(id(uid))))
}

pub(super) fn keep(uid: &str) -> Wanted {
    Want::Keep(Arc::new(identity(id(uid))))
}

/// The ports of what is to be there.
pub(super) fn ports(want: &Wanted) -> BTreeSet<u16> {
    match want {
        Want::Present(spec) => spec.ports.iter().map(|port| port.port.get()).collect(),
        Want::Absent(_) | Want::Keep(_) => BTreeSet::new(),
    }
}
