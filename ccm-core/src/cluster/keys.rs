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

/// Node condition: whether pods on the node cannot be reached. The kube-controller-manager makes a
/// taint of it.
pub const NETWORK_UNAVAILABLE: &str = "NetworkUnavailable";

/// Node condition by which a kubelet says that it works.
pub const READY: &str = "Ready";

/// Finalizer of a Service for which the cloud may hold something. Shared with every other program
/// that makes load balancers.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// Annotation of a Service with the ranges that may connect, where its spec has none.
pub const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Service condition of ours: whether its load balancer is as it should be.
pub const LOAD_BALANCER_READY: &str = "ccm.rs/LoadBalancerReady";

/// Label of a Node that no load balancer is to send traffic to.
pub const EXCLUDE_FROM_LB: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Taint of a Node that the cluster autoscaler is about to delete.
pub const TAINT_TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// Annotation of a `PersistentVolume` that a provisioner made: the provisioner's name.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Controllers by their canonical names, which never change.
pub mod controller {
    /// Initialises nodes and keeps them up to date.
    pub const NODE: &str = "cloud-node-controller";

    /// Taints nodes whose machines are stopped, and deletes those whose machines are gone.
    pub const NODE_LIFECYCLE: &str = "cloud-node-lifecycle-controller";

    /// Gives Services of type `LoadBalancer` what they ask for.
    pub const SERVICE: &str = "service-lb-controller";

    /// Makes the cloud send packets for pods to their nodes.
    pub const ROUTE: &str = "node-route-controller";

    /// Gives nodes the ranges of their pods.
    pub const NODE_IPAM: &str = "node-ipam-controller";

    /// Says on volumes where they are.
    pub const VOLUME: &str = "cloud-volume-controller";
}
