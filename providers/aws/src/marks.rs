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
        self.foreign_mark(tags).is_some()
    }

    /// The tag by which it is another cluster's alone, for people.
    pub(crate) fn foreign_mark(&self, tags: &Tags) -> Option<String> {
        if self.has(tags) {
            return None;
        }
        let legacy = tags.get(LEGACY_KEY).map(|id| format!("{LEGACY_KEY}={id}"));
        legacy.or_else(|| tags.keys().find(|key| key.starts_with(CLUSTER_PREFIX)).cloned())
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nobodys(&[("Name", "web")], None)]
    #[case::ours(&[("kubernetes.io/cluster/blue", "owned")], None)]
    #[case::ours_of_old(&[(LEGACY_KEY, "blue")], None)]
    #[case::shared(&[("kubernetes.io/cluster/blue", "shared"), ("kubernetes.io/cluster/red", "owned")], None)]
    #[case::anothers(&[("kubernetes.io/cluster/red", "shared")], Some("kubernetes.io/cluster/red"))]
    #[case::anothers_of_old(&[(LEGACY_KEY, "red")], Some("KubernetesCluster=red"))]
    fn another_cluster_is_known_by_its_mark(
        #[case] tags: &[(&str, &str)],
        #[case] want: Option<&str>,
    ) {
        let blue = Cluster { id: "blue".to_owned(), legacy: false };
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let tags: Tags = tags.iter().map(pair).collect();
        assert_eq!(blue.foreign_mark(&tags).as_deref(), want);
        assert_eq!(blue.is_anothers(&tags), want.is_some());
    }
}
