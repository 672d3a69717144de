//! How the kit rearranges a vendor's cloud.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ccm_core::cloud::{CloudProvider, NodeIdentity};

/// A cloud that can be rearranged behind the provider's back.
///
/// Every method returns when the cloud's reads show what was done. A method that cannot do its
/// work panics.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The provider under test. Always the same one.
    fn cloud(&self) -> Arc<dyn CloudProvider>;

    /// Starts an instance and describes the node that would join from it: running, under a name
    /// that was never used before, without a provider ID.
    async fn launch(&self) -> NodeIdentity;

    /// Stops the node's instance without deleting it.
    async fn stop(&self, node: &NodeIdentity);

    /// Starts it again.
    async fn start(&self, node: &NodeIdentity);

    /// Deletes the node's instance for good, the way users do. Where the cloud keeps a record of
    /// deleted instances, it keeps one of this.
    async fn terminate(&self, node: &NodeIdentity);

    /// Makes the node's instance vanish without a record. The same as
    /// [`terminate`](Self::terminate) where the cloud keeps none.
    async fn forget(&self, node: &NodeIdentity);

    /// Deletes the node's instance, starts another under the same name, and describes the node
    /// that would join from it.
    async fn replace(&self, node: &NodeIdentity) -> NodeIdentity;

    /// Makes calls to the cloud go wrong until [`heal`](Self::heal).
    async fn inject(&self, fault: Fault) -> Result<(), Unsupported>;

    /// Ends what [`inject`](Self::inject) began.
    async fn heal(&self);

    /// How far this cloud's looks lag behind changes. `None`: as far as the provider reckons with
    /// ([`Converge::lag`](ccm_core::cloud::Converge::lag)). A fake that shows everything at once says
    /// so here, and is not waited for.
    fn lag(&self) -> Option<Duration> {
        None
    }

    /// Removes what is left. Called once, after the behaviour, whether it was kept or not.
    async fn tidy_up(&self) {}
}

/// What goes wrong with the calls that read instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The credentials are refused: revoked, expired, or without the right. Every harness can do
    /// this.
    Denied,
    /// The cloud refuses every call as one too many and asks to wait this long, where it can say
    /// so.
    Throttled {
        /// Whole seconds.
        retry_after: Duration,
    },
    /// Calls are taken and never answered.
    Hang,
    /// Answers about several instances at once come back empty and look complete, though nothing
    /// is gone. Answers about one instance by its ID are right.
    EmptyAnswer,
}

/// A harness cannot make this go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;
