//! The tags by which a resource is known to be this cluster's.

use std::collections::BTreeMap;

use crate::ground::Cluster;

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// Before the cluster's ID in the key.
pub(crate) const CLUSTER_PREFIX: &str = "kubernetes.io/cluster/";
/// The older key, whose value is the cluster's ID.
pub(crate) const LEGACY_KEY: &str = "KubernetesCluster";
/// `<namespace>/<name>` of the Service, on load balancers, listeners and target groups.
pub(crate) const SERVICE_KEY: &str = "kubernetes.io/service-name";
/// The Service's UID, on a load balancer that this program has made, or changed since it took it
/// over: there all is put right. What another program left, and would leave again, is otherwise
/// left alone until the Service changes. On its target groups too: two Services of one name, one
/// after the other, are told apart by it.
pub(crate) const MANAGED_KEY: &str = "ccm.rs/managed-for";

impl Cluster {
    /// `kubernetes.io/cluster/<id>`.
    pub(crate) fn key(&self) -> String {
        format!("{CLUSTER_PREFIX}{}", self.id)
    }

    /// Whether a resource with these tags is of this cluster: its own, or shared with it.
    pub(crate) fn has(&self, tags: &Tags) -> bool {
        tags.contains_key(&self.key()) || tags.get(LEGACY_KEY).is_some_and(|id| *id == self.id)
    }

    /// Whether it is this cluster's alone. A legacy tag always says so.
    pub(crate) fn owns(&self, tags: &Tags) -> bool {
        tags.get(&self.key()).is_some_and(|value| value == "owned")
            || tags.get(LEGACY_KEY).is_some_and(|id| *id == self.id)
    }

    /// Whether it is marked as another cluster's alone.
    pub(crate) fn is_anothers(&self, tags: &Tags) -> bool {
        !self.has(tags) && (is_any_clusters(tags) || tags.contains_key(LEGACY_KEY))
    }

    /// What everything that is made bears.
    pub(crate) fn tags(&self) -> Tags {
        let mut tags = Tags::from([(self.key(), "owned".to_owned())]);
        if self.legacy {
            tags.insert(LEGACY_KEY.to_owned(), self.id.clone());
        }
        tags
    }
}

/// Whether a resource is marked as some cluster's.
pub(crate) fn is_any_clusters(tags: &Tags) -> bool {
    tags.keys().any(|key| key.starts_with(CLUSTER_PREFIX))
}
