//! The one watch on Nodes.

use super::cache::{Cache, Cached, Change};
use super::keys;
use super::node::{Node, Version, WireNode};
use crate::cloud::{NodeName, Uid};

/// All Nodes, as last seen.
pub type Nodes = Cache<Node>;

/// What happened to a Node.
pub type NodeChange = Change<Node>;

impl Cached for Node {
    type Key = NodeName;
    type Wire = WireNode;

    fn key(&self) -> NodeName {
        self.name.clone()
    }

    fn key_of(wire: &WireNode) -> NodeName {
        wire.name().into()
    }

    fn uid(&self) -> &Uid {
        &self.uid
    }

    fn version(&self) -> &Version {
        &self.version
    }
}

impl Nodes {
    /// An empty cache that keeps these annotations of each Node, besides those that the core reads.
    pub fn new(annotations: &[&'static str]) -> Self {
        let mut annotations = annotations.to_vec();
        annotations.extend([keys::PROVIDED_NODE_IP, keys::ALLOW_DELETION]);
        Self::trimming(move |wire: WireNode| Some(wire.trim(|key| annotations.contains(&key))))
    }
}
