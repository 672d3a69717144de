//! The audit log counts what a program under test asked for, exactly.

use ccm_envtest::{
    ControlPlane, Grant, Options,
    audit::{Counts, Stage},
    kubelet::Kubelet,
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{core::v1::Node, rbac::v1::PolicyRule};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchParams},
};
use serde_json::json;

fn nodes_rule(verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["nodes".to_owned(), "nodes/status".to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn requests_are_counted_by_user_and_kind_and_answer() {
    let options = Options { audit: true, ..Options::default() };
    let control_plane = ControlPlane::start_with(options).await.unwrap();
    let admin = control_plane.admin_client();
    Kubelet::new("a").register(&admin).await.unwrap();
    let rules = vec![nodes_rule(&["get", "list", "watch", "patch", "delete"])];
    let grants = [Grant::ClusterRules(rules)];
    let account = control_plane.service_account("kube-system", "ccm", &grants).await.unwrap();
    let stranger = control_plane.service_account("default", "stranger", &grants).await.unwrap();

    // Nothing so far: granting and registering are ours, not the account's.
    assert_eq!(control_plane.audit_events().await.unwrap(), []);

    let nodes: Api<Node> = Api::all(control_plane.client(account.credentials()).await.unwrap());
    for _ in 0..3 {
        nodes.list(&ListParams::default()).await.unwrap();
    }
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}}));
    nodes.patch_status("a", &PatchParams::default(), &patch).await.unwrap();
    nodes.get("b").await.unwrap_err();
    let preconditions = Preconditions { uid: Some("u".to_owned()), ..Default::default() };
    let delete = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
    nodes.delete("a", &delete).await.unwrap_err();
    nodes.create(&PostParams::default(), &Kubelet::new("b").node()).await.unwrap_err();
    let strange: Api<Node> = Api::all(control_plane.client(stranger.credentials()).await.unwrap());
    strange.list(&ListParams::default()).await.unwrap();

    let events = control_plane.audit_events().await.unwrap();
    let user = account.user();
    assert_eq!(
        Counts::of(&events, |_| true).to_string(),
        format!(
            "1 create nodes 403 {user}\n1 delete nodes 409 {user}\n1 get nodes 404 {user}\n3 list nodes 200 {user}\n1 patch nodes/status 200 {user}\n"
        )
    );
    assert_eq!(Counts::of(&events, |event| event.verb == "list").total(), 3);
    let sent: Vec<_> = events.iter().filter(|event| !event.sent.is_null()).collect();
    let [delete] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (&*delete.verb, delete.sent["preconditions"]["uid"].as_str()),
        ("delete", Some("u"))
    );

    // A watch is counted when it ends; that it began can be seen before.
    let mut watch = nodes.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    watch.try_next().await.unwrap().expect("the node that is there");
    let watches = |events: &[ccm_envtest::audit::Event], stage| {
        events.iter().filter(|event| event.verb == "watch" && event.stage == stage).count()
    };
    let events = control_plane.audit_events().await.unwrap();
    assert_eq!(watches(&events, Stage::ResponseStarted), 1);
    assert_eq!(watches(&events, Stage::ResponseComplete), 0);
    assert_eq!(Counts::of(&events, |event| event.verb == "watch").total(), 0);
    control_plane.stop().await.unwrap();
}

#[tokio::test]
async fn events_are_only_there_when_asked_for() {
    let control_plane = ControlPlane::start().await.unwrap();
    let err = control_plane.audit_events().await.unwrap_err();
    assert!(err.to_string().contains("not asked for"), "{err}");
    assert!(!control_plane.audit_log().exists());
    control_plane.stop().await.unwrap();
}
