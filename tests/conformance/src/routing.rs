//! How the kit rearranges the routes of a vendor's cloud.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{CloudProvider, Facts, NodeIdentity, NodeName, Uid};
use ipnet::IpNet;

use crate::balancing::{Cluster, WriteFault};
use crate::harness::{Harness, Unsupported};

/// A cloud whose routes can be rearranged behind the provider's back.
///
/// Every method returns when the cloud's reads show what was done.
#[async_trait]
pub trait RouteHarness: Harness {
    /// A process of the provider that has just started, on the cloud of this harness: it remembers
    /// nothing. The ranges are the cluster's, as `--cluster-cidr` has them.
    fn process(
        &self,
        cluster: Cluster,
        ranges: &[IpNet],
    ) -> Result<Arc<dyn CloudProvider>, Unsupported>;

    /// What it learns of the cluster before it connects.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Whether routes of both families can be had.
    fn has_two_families(&self) -> bool {
        true
    }

    /// Every route in the cloud that bears the cluster's mark, a sorted line each, in the same words
    /// whenever it is the same: without IDs, times, and names on which nothing depends, but with where
    /// it leads. No route, no line.
    async fn snapshot(&self, cluster: Cluster) -> Vec<String>;

    /// Every route in the table that the provider uses, whoever made it.
    async fn paths(&self) -> Vec<Path>;

    /// How many requests have taken effect so far, lost answers included; those that found
    /// everything so already are not counted, nor is what the harness does itself.
    async fn mutations(&self) -> u64;

    /// Puts a route into the table, as somebody else.
    async fn put(&self, route: &Placed<'_>) -> Result<(), Unsupported>;

    /// Removes the route with this destination, as somebody else.
    async fn remove(&self, destination: IpNet);

    /// Lets the route with this destination lead to another node, as somebody else.
    async fn mislead(&self, destination: IpNet, to: &NodeIdentity) -> Result<(), Unsupported>;

    /// Makes calls that change routes go wrong until [`heal`](Harness::heal); the first so many
    /// still pass.
    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported>;

    /// Denies every change of the route with this destination until [`heal`](Harness::heal), and of
    /// all that come in one request with it.
    async fn inject_on_route(&self, destination: IpNet) -> Result<(), Unsupported>;

    /// Makes calls that look at routes go wrong until [`heal`](Harness::heal).
    async fn inject_on_reads(&self, fault: ReadFault) -> Result<(), Unsupported>;

    /// How many nodes are more than one request is about.
    fn many_nodes(&self) -> usize {
        120
    }

    /// How long everything may take to be as it should.
    fn patience(&self) -> Duration {
        Duration::from_mins(5)
    }
}

/// A route as the cloud has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// Where packets are to go.
    pub destination: IpNet,
    /// The node to whose machine they go. `None` where that is gone, or of no node.
    pub node: Option<NodeName>,
}

/// A route that somebody else makes.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// Where packets are to go.
    pub destination: IpNet,
    /// The node to whose machine they go.
    pub node: &'a NodeIdentity,
    /// What it bears.
    pub mark: RouteMark,
}

/// Whose mark a route bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMark {
    /// Our cluster's, and that of the Node with this UID: what an earlier process left, or another
    /// program that this one replaces.
    Ours(Uid),
    /// Another cluster's.
    Another,
    /// None at all.
    Nobody,
}

/// What goes wrong with the calls that look at routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// The credentials lack the right.
    Denied,
    /// The next answer about several routes lacks some or all of them and looks complete; those after
    /// it are whole.
    Short,
}
