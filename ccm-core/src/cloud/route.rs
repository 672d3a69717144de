//! What a node's pod ranges ask for.

use std::sync::Arc;

use ipnet::IpNet;

use super::converge::{Identity, Spec};
use super::instance::NodeIdentity;

/// The routes of one node: packets for these ranges go to it.
///
/// One want for each node, not for each range: a node of two families has one identity, one unit
/// and one report, and is reachable when both its routes are there.
///
/// The unit is the node's own where the cloud takes routes one by one; where it has them in a table
/// that is written as a whole, or takes many at once, it is a shared one. There a route is deleted
/// when it is ours, inside the cluster's ranges
/// ([`Setup::cluster_cidrs`](super::Setup::cluster_cidrs)), and of no want that is there. Routes of
/// nodes that went while nobody looked are found by
/// [`inventory`](super::Converge::inventory), which gives no routes outside those ranges: for
/// each owner that is no Node the framework wants [`Absent`](super::Want::Absent), under the
/// owner's UID.
#[derive(Debug)]
pub struct RouteSpec {
    /// The node as the object that asks.
    pub identity: Arc<Identity>,
    /// The node, with its addresses. It has a provider ID, and is not a foreign one.
    pub node: NodeIdentity,
    /// Of `spec.podCIDRs` those that are inside the cluster's ranges and of no older node, without
    /// host bits and in their order; at most one of each family. Empty: none of the node's ranges
    /// can be had.
    pub destinations: Vec<IpNet>,
    /// Whether the node says that pods on it can be reached already.
    pub is_reachable: bool,
}

impl Spec for RouteSpec {
    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn is_awaited(&self) -> bool {
        !self.is_reachable
    }
}
