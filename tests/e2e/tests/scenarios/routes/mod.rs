//! Routes to the pods of nodes.

mod basics;
mod crashes;
mod strangers;
mod troubles;

use ccm_e2e::{Pods, Setup};

/// With routes, and a look at all of them every ten seconds.
fn setup() -> Setup {
    Setup::new().routes(Pods::CLUSTER).flag("--route-drift-interval=10s")
}
