//! What load balancers and routes need of a machine.

use std::collections::BTreeSet;

use crate::client::ec2::instances::{Interface, Machine};
use crate::ground::Cluster;

/// Travels with each [`Instance`](ccm_core::cloud::Instance) as its
/// [`Detail`](ccm_core::cloud::Detail).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InstanceDetail {
    /// `i-…`; of a pod on Fargate the ID of its interface, `eni-…`.
    pub(crate) id: String,
    /// The security groups of the instance, which are those of its primary interface, by their IDs.
    pub(crate) security_groups: BTreeSet<String>,
    /// `subnet-…` of the primary interface.
    pub(crate) subnet: Option<String>,
    /// `vpc-…`.
    pub(crate) vpc: Option<String>,
    /// Whether packets that are not from or to the instance itself are dropped. `None`: not known.
    pub(crate) source_dest_check: Option<bool>,
    /// The network interfaces in the order of their device indices, those without one last.
    pub(crate) interfaces: Vec<Interface>,
    /// It is a pod on Fargate: no target for an instance target group, and no router.
    pub(crate) is_fargate: bool,
    /// Whether it bears the cluster's tag.
    pub(crate) has_cluster_tag: bool,
}

impl InstanceDetail {
    pub(super) fn of(machine: &Machine, cluster: &Cluster) -> Self {
        let mut security_groups = machine.security_groups.clone();
        if security_groups.is_empty() {
            // Some answers have them at the interface alone.
            let primary = machine.primary_interface();
            security_groups.extend(primary.into_iter().flat_map(|it| it.security_groups.clone()));
        }
        Self {
            id: machine.id.clone(),
            security_groups,
            subnet: machine.subnet.clone(),
            vpc: machine.vpc.clone(),
            source_dest_check: machine.source_dest_check,
            interfaces: by_index(machine),
            is_fargate: false,
            has_cluster_tag: cluster.has(&machine.tags),
        }
    }
}

/// An instance's interfaces in the order of their device indices, those without one last.
pub(super) fn by_index(machine: &Machine) -> Vec<Interface> {
    let mut all = machine.interfaces.clone();
    all.sort_by_key(|one| (one.device_index.is_none(), one.device_index, one.id.clone()));
    all
}
