//! Labels, taints, annotations and conditions that several programs share, in one place.
//!
//! Upstream defines them in <https://github.com/kubernetes/api/blob/master/core/v1/well_known_labels.go>,
//! <https://github.com/kubernetes/cloud-provider/blob/master/api/well_known_taints.go> and
//! <https://github.com/kubernetes/cloud-provider/blob/master/api/well_known_annotations.go>.

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "cloud-controller-manager";

/// Taint that a kubelet with `--cloud-provider=external` puts on its new Node.
pub const TAINT_UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// Taint of a Node whose machine is stopped.
pub const TAINT_SHUTDOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// Annotation with the addresses that the kubelet was told to use.
pub const PROVIDED_NODE_IP: &str = "alpha.kubernetes.io/provided-node-ip";

/// Annotation of ours by which a node's owner releases its deletion: the Node's UID.
pub const ALLOW_DELETION: &str = "ccm.rs/allow-deletion";

/// Label with the zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// Label with the region.
pub const REGION: &str = "topology.kubernetes.io/region";

/// Label with the instance type.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";

/// Old label with the zone, written for whoever still selects by it.
pub const ZONE_BETA: &str = "failure-domain.beta.kubernetes.io/zone";

/// Old label with the region.
pub const REGION_BETA: &str = "failure-domain.beta.kubernetes.io/region";

/// Old label with the instance type.
pub const INSTANCE_TYPE_BETA: &str = "beta.kubernetes.io/instance-type";

/// Node condition of ours: whether the cloud knows the machine.
pub const INSTANCE_KNOWN: &str = "InstanceKnown";

/// Node condition by which a kubelet says that it works.
pub const READY: &str = "Ready";

/// Controllers by their canonical names, which never change.
pub mod controller {
    /// Initialises nodes and keeps them up to date.
    pub const NODE: &str = "cloud-node-controller";

    /// Taints nodes whose machines are stopped, and deletes those whose machines are gone.
    pub const NODE_LIFECYCLE: &str = "cloud-node-lifecycle-controller";
}
