//! What a node's pod ranges ask for.

use std::sync::Arc;

use ipnet::IpNet;

use super::converge::{Identity, Spec};
use super::instance::NodeIdentity;

/// The routes of one node: packets for these ranges go to it.
///
/// One want for each node, not for each range: a node of two families has one identity, one unit
/// and one report, and is reachable when both its routes are there.
#[derive(Debug)]
pub struct RouteSpec {
    /// The node as the object that asks.
    pub identity: Arc<Identity>,
    /// The node, with its addresses.
    pub node: NodeIdentity,
    /// `spec.podCIDRs`, in their order; at most one of each family.
    pub destinations: Vec<IpNet>,
}

impl Spec for RouteSpec {
    fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }
}
