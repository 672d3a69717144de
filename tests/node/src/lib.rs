//! A cluster with one real node: containerd, a kubelet with `--cloud-provider=external`, kube-scheduler and
//! kube-controller-manager over the control plane of `ccm-envtest`, beside a simulated cloud that has the node's machine.
//!
//! The node is namespaces of this machine: process IDs, mounts and a network of its own, which a cable of two ends joins to
//! the machine's. Nobody but this machine reaches it, nothing of it is seen on the machine's ports, and what it mounts,
//! configures or starts is gone when its first process is. Control plane and cloud listen on loopback alone; the node has
//! them at the same addresses of its own loopback, and the API server at the kubernetes Service's address too.
//!
//! Root is needed, and a few packages: [`needs::missing`] says which are not there.
//!
//! What a newcomer gets wrong: there is no kube-proxy and no DNS, and no way out of the node, so images have to be
//! imported.

mod ccm;
mod cloud;
mod cluster;
mod files;
pub mod image;
mod link;
pub mod needs;
mod node;
mod relay;

pub use ccm::{Ccm, DAEMON_SET};
pub use cluster::{Cluster, NODE, Setup};
pub use files::PAUSE;
pub use node::Node;

/// Whatever went wrong, told to a person.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
