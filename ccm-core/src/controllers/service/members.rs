//! Which nodes load balancers send traffic to. Pure.
//!
//! As upstream's stable node set (KEP-3458): whether a node is ready does not matter, because health
//! checks of the load balancers decide about traffic, and a node that flaps must not cause changes.
//! <https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/3458-remove-transient-node-predicates-from-service-controller>

use crate::cloud::Needs;
use crate::cluster::keys;
use crate::cluster::node::Node;

/// Whether load balancers send traffic to the node.
pub fn is_member(node: &Node) -> bool {
    !node.deleting
        && !is_excluded(node)
        && node.taint_places(keys::TAINT_TO_BE_DELETED).next().is_none()
}

/// The label excludes unless it says false in one of Go's spellings: what cannot be read excludes,
/// the empty value above all, which is how the label is usually written.
fn is_excluded(node: &Node) -> bool {
    let label = node.labels.get(keys::EXCLUDE_FROM_LB);
    label.is_some_and(|value| !matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False"))
}

/// Whether a change of a node can change a load balancer: whether it is a member, or what a provider
/// is told about a member. Heartbeats and conditions cannot. `None`: the node is new.
pub fn is_relevant(old: Option<&Node>, new: &Node, needs: &Needs) -> bool {
    match (old.is_some_and(is_member), is_member(new)) {
        (false, false) => false,
        (true, true) => old.is_none_or(|old| !old.is_told_as(new, needs)),
        (true, false) | (false, true) => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::cloud::Labels;
    use crate::cluster::node::WireNode;

    const NEEDS: Needs = Needs {
        node_labels: Labels::These(&["zone"]),
        node_annotations: &["rack"],
        own_label_prefixes: &[],
        service_labels: Labels::These(&[]),
        namespaces: false,
        endpoints: false,
        config_maps: &[],
        kube_system_uid: false,
    };

    fn node(changes: &Value) -> Node {
        let mut json = json!({
            "metadata": {"name": "n1", "uid": "u1", "resourceVersion": "1",
                "labels": {"zone": "a", "team": "x"}, "annotations": {"rack": "1", "x": "y"}},
            "spec": {"providerID": "sim://i-1", "taints": []},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"systemUUID": "uu"}},
        });
        json_patch::merge(&mut json, changes);
        let wire: WireNode = serde_json::from_value(json).unwrap();
        wire.trim(|_| true)
    }

    fn label(value: &str) -> Value {
        json!({"metadata": {"labels": {keys::EXCLUDE_FROM_LB: value}}})
    }

    fn taint(key: &str) -> Value {
        json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}})
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case::deleting(json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}), false)]
    #[case::empty(label(""), false)]
    #[case::odd(label("no"), false)]
    #[case::mixed_case(label("fALSE"), false)]
    #[case::yes(label("true"), false)]
    #[case::one(label("1"), false)]
    #[case::no(label("false"), true)]
    #[case::no(label("False"), true)]
    #[case::no(label("FALSE"), true)]
    #[case::no(label("f"), true)]
    #[case::no(label("F"), true)]
    #[case::no(label("0"), true)]
    #[case::going(taint("ToBeDeletedByClusterAutoscaler"), false)]
    #[case::maybe_going(taint("DeletionCandidateOfClusterAutoscaler"), true)]
    #[case::new(taint(keys::TAINT_UNINITIALIZED), true)]
    #[case::stopped(taint(keys::TAINT_SHUTDOWN), true)]
    #[case::not_ready(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), true)]
    #[case::cordoned(json!({"spec": {"unschedulable": true}}), true)]
    #[case::without_id(json!({"spec": {"providerID": null}}), true)]
    fn readiness_does_not_matter_and_the_label_does(#[case] change: Value, #[case] want: bool) {
        assert_eq!(is_member(&node(&change)), want, "{change}");
    }

    #[rstest]
    #[case::heartbeat(json!({"metadata": {"resourceVersion": "2"}}), false)]
    #[case::not_ready(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), false)]
    #[case::not_initialised(taint(keys::TAINT_UNINITIALIZED), true)]
    #[case::other_taint(taint("example.com/gpu"), false)]
    #[case::unread_label(json!({"metadata": {"labels": {"team": "y"}}}), false)]
    #[case::unread_annotation(json!({"metadata": {"annotations": {"x": "z"}}}), false)]
    #[case::uid(json!({"metadata": {"uid": "u2"}}), true)]
    #[case::provider_id(json!({"spec": {"providerID": "sim://i-2"}}), true)]
    #[case::address(json!({"status": {"addresses": []}}), true)]
    #[case::uuid(json!({"status": {"nodeInfo": {"systemUUID": "u3"}}}), true)]
    #[case::label(json!({"metadata": {"labels": {"zone": "b"}}}), true)]
    #[case::annotation(json!({"metadata": {"annotations": {"rack": null}}}), true)]
    #[case::excluded(label(""), true)]
    #[case::going(taint("ToBeDeletedByClusterAutoscaler"), true)]
    #[case::deleting(json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}}), true)]
    fn what_changes_a_member_is_relevant(#[case] change: Value, #[case] want: bool) {
        let (old, new) = (node(&json!({})), node(&change));
        assert_eq!(is_relevant(Some(&old), &new, &NEEDS), want, "{change}");
        assert_eq!(is_relevant(Some(&new), &old, &NEEDS), want, "back from {change}");
    }

    #[test]
    fn a_node_that_is_no_member_is_not_relevant() {
        let excluded = node(&label(""));
        let mut changed = label("");
        changed["spec"] = json!({"providerID": "sim://i-2"});
        assert!(!is_relevant(None, &excluded, &NEEDS));
        assert!(!is_relevant(Some(&excluded), &node(&changed), &NEEDS));
        assert!(is_relevant(None, &node(&json!({})), &NEEDS));
    }

    #[test]
    fn a_provider_that_reads_all_labels_hears_of_all() {
        let needs = Needs { node_labels: Labels::All, ..NEEDS };
        let new = node(&json!({"metadata": {"labels": {"team": "y"}}}));
        assert!(is_relevant(Some(&node(&json!({}))), &new, &needs));
    }
}
