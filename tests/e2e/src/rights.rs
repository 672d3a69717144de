//! The rights that the program runs with: those that it says it needs, and no more.

use ccm_core::cloud::Needs;
use ccm_core::cluster::rights;
use ccm_envtest::Grant;

/// Where the program runs.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The lease of the election.
pub(crate) const LEASE: &str = "cloud-controller-manager";

/// All rights.
pub(crate) fn least() -> [Grant; 2] {
    [
        Grant::ClusterRules(rights::in_cluster(&Needs::default())),
        Grant::RoleRules { namespace: NAMESPACE.to_owned(), rules: rights::for_lease(LEASE) },
    ]
}
