//! How the kit rearranges a vendor's cloud where load balancers are concerned.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{Annotations, CloudProvider, Facts, NodeName, ObjectId};

use crate::harness::{Harness, Unsupported};
use crate::service::{Mistake, Service, Variant};

/// A cloud in which load balancers can be made, and looked at from behind the provider's back.
///
/// As with [`Harness`], every method returns when the cloud's reads show what was done.
/// [`Harness::heal`] also ends what [`inject_on_writes`](Self::inject_on_writes) began.
#[async_trait]
pub trait LoadBalancerHarness: Harness {
    /// A fresh process of the provider on the same cloud: as after a restart, nothing remembered.
    /// For [`Cluster::Another`], one of another cluster in the same account.
    fn process(&self, cluster: Cluster) -> Result<Arc<dyn CloudProvider>, Unsupported>;

    /// What it learns of the cluster before it connects.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// The annotations of Services, as the provider's registration has them.
    fn annotations(&self) -> Annotations;

    /// Everything in the cloud that bears the cluster's mark, a sorted line each, in the same words
    /// whenever it is the same: without IDs, times, and addresses that the cloud chose. Nothing
    /// there, no line.
    async fn snapshot(&self, cluster: Cluster) -> Vec<String>;

    /// How many requests have taken effect so far, lost answers included; those that found
    /// everything so already are not counted, nor is what the harness does itself.
    async fn mutations(&self) -> u64;

    /// The nodes that a Service's ports lead to: a set for each group of targets.
    async fn targets(&self, service: &ObjectId) -> Vec<BTreeSet<NodeName>>;

    /// The Service that behaviours begin with.
    fn service(&self) -> Service {
        Service::new("web")
    }

    /// Changes that this cloud offers, besides those of ports: one for each field and annotation.
    fn variants(&self) -> Vec<Variant>;

    /// What cannot be had here, one for each complaint. It has to be seen before anything is sent.
    fn mistakes(&self) -> Vec<Mistake>;

    /// What somebody else may do to the pieces of a Service, in words: "a listener is deleted".
    fn meddlings(&self) -> Vec<&'static str>;

    /// Does it. False where there is nothing of the sort yet.
    async fn meddle(&self, service: &ObjectId, how: &str) -> bool;

    /// Makes calls that change load balancers go wrong until [`heal`](Harness::heal); the first so
    /// many still pass.
    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported>;

    /// How many nodes are more than one request takes as targets.
    fn many_nodes(&self) -> usize {
        250
    }

    /// How long everything may take to be as it should.
    fn patience(&self) -> Duration {
        Duration::from_mins(5)
    }
}

/// Whose pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cluster {
    /// The cluster of [`Harness::cloud`].
    Ours,
    /// Another one in the same account.
    Another,
}

/// What goes wrong with the calls that change load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// The credentials lack the right.
    Denied,
    /// The account's limit on something that a new Service needs is reached; how many calls pass
    /// before does not matter.
    QuotaExceeded,
    /// The cloud refuses calls as too many and asks to wait this long.
    Throttled {
        /// Whole seconds.
        retry_after: Duration,
    },
    /// The cloud answers that it cannot at the moment; nothing is done.
    Unavailable,
    /// The next call takes effect, and its answer is lost; the calls after it are well.
    LostAnswer,
    /// Calls are taken and not answered.
    Hang,
}
