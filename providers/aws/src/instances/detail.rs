//! What load balancers and routes need to know of a machine.

use std::collections::BTreeSet;

/// What this provider puts beside an instance for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InstanceDetail {
    /// `i-…`, or the ID of a node on Fargate.
    pub(crate) id: String,
    /// `subnet-…`.
    pub(crate) subnet: Option<String>,
    /// `vpc-…`.
    pub(crate) vpc: Option<String>,
    /// `sg-…`, of the instance's first interface.
    pub(crate) security_groups: BTreeSet<String>,
    /// Whether it drops packets that are for others. `None`: not known.
    pub(crate) source_dest_check: Option<bool>,
    /// Not an instance that could be a target.
    pub(crate) is_fargate: bool,
    /// Whether it bears the cluster's tag.
    pub(crate) has_cluster_tag: bool,
}
