//! Events against a real API server, with the rights that our manifests grant.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use ccm_core::cluster::client::ClusterConfig;
use ccm_core::cluster::events::{Dropped, EventType, Involved, Recorder};
use ccm_core::cluster::gate::{Gate, GateKeeper};
use ccm_envtest::{ControlPlane, Grant};
use k8s_openapi::api::core::v1::{Event, Node};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};

const LONG: Duration = Duration::from_secs(30);

/// One control plane for all tests of this file, which ends with the process, and a kubeconfig of
/// somebody who may write events and nothing else. It lives in a runtime of its own, since each
/// test's ends with the test.
async fn control_plane() -> &'static (ControlPlane, PathBuf) {
    static PLANE: OnceCell<(ControlPlane, PathBuf)> = OnceCell::const_new();
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let start = Box::pin(async {
        let plane = ControlPlane::start().await.unwrap();
        let rule = PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["events".to_owned()]),
            verbs: ["create", "patch", "update"].map(str::to_owned).to_vec(),
            ..PolicyRule::default()
        };
        let grants = [Grant::ClusterRules(vec![rule])];
        let account = plane.service_account("kube-system", "ccm", &grants).await.unwrap();
        (plane, account.kubeconfig().to_owned())
    });
    PLANE.get_or_init(|| async { RUNTIME.spawn(start).await.unwrap() }).await
}

async fn recorder(gate: &Gate) -> Recorder {
    let (_, kubeconfig) = control_plane().await;
    let config = ClusterConfig::load(Some(kubeconfig), None, "test").unwrap();
    let client = config.mutating_client("events", gate).unwrap();
    Recorder::new(client, "cloud-node-controller", "host-1")
}

/// The cluster's owner, in this test's runtime.
async fn events(namespace: &str) -> Api<Event> {
    let (plane, _) = control_plane().await;
    Api::namespaced(plane.client(plane.admin_credentials()).await.unwrap(), namespace)
}

/// What is told about an object, by when it was first told.
async fn told(about: &Involved, namespace: &str) -> Vec<Event> {
    let which = format!("involvedObject.name={},involvedObject.uid={}", about.name, about.uid);
    let params = ListParams::default().fields(&which);
    let mut told = events(namespace).await.list(&params).await.unwrap().items;
    told.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    told
}

fn node(name: &str) -> Involved {
    let (name, uid) = (Some(name.to_owned()), Some(format!("uid-of-{name}")));
    let metadata = ObjectMeta { name, uid, ..ObjectMeta::default() };
    Involved::of(&Node { metadata, ..Node::default() })
}

#[tokio::test]
async fn a_nodes_event_is_told_where_kubectl_looks_for_it() {
    let recorder = recorder(&Gate::always_open()).await;
    let about = node("told.example.org");
    recorder.event(&about, EventType::Warning, "DeletingNode", "it is gone");
    recorder.flush(LONG).await;

    let [event] = told(&about, "default").await.try_into().unwrap();
    let name = event.metadata.name.as_deref().unwrap();
    let (object, time) = name.rsplit_once('.').unwrap();
    assert_eq!(object, "told.example.org");
    assert!(u64::from_str_radix(time, 16).unwrap() > 1 << 60, "nanoseconds: {name}");
    let involved = serde_json::to_value(&event.involved_object).unwrap();
    assert_eq!(
        involved,
        serde_json::json!({
            "apiVersion": "v1", "kind": "Node", "name": about.name, "uid": about.uid,
        })
    );
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.reason.as_deref(), Some("DeletingNode"));
    assert_eq!(event.message.as_deref(), Some("it is gone"));
    assert_eq!(event.count, Some(1));
    let source = event.source.unwrap();
    assert_eq!(source.component.as_deref(), Some("cloud-node-controller"));
    assert_eq!(source.host.as_deref(), Some("host-1"));
    assert_eq!(recorder.dropped(), Dropped::default());
}

#[tokio::test]
async fn what_belongs_to_a_namespace_is_told_there() {
    let recorder = recorder(&Gate::always_open()).await.for_component("service-lb-controller");
    let about = Involved {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        namespace: "kube-public".to_owned(),
        name: "web".to_owned(),
        uid: "uid-of-web".to_owned(),
    };
    recorder.event(&about, EventType::Normal, "EnsuredLoadBalancer", "Ensured load balancer");
    recorder.flush(LONG).await;
    let [event] = told(&about, "kube-public").await.try_into().unwrap();
    assert_eq!(event.involved_object.namespace.as_deref(), Some("kube-public"));
    assert_eq!(event.source.unwrap().component.as_deref(), Some("service-lb-controller"));
}

#[tokio::test]
async fn identical_events_are_counted_and_told_anew_once_they_are_gone() {
    let recorder = recorder(&Gate::always_open()).await;
    let about = node("merged");
    for _ in 0..3 {
        recorder.event(&about, EventType::Normal, "Synced", "again");
    }
    recorder.flush(LONG).await;
    let [event] = told(&about, "default").await.try_into().unwrap();
    assert_eq!(event.count, Some(3));

    // As after its hour.
    let name = event.metadata.name.unwrap();
    events("default").await.delete(&name, &DeleteParams::default()).await.unwrap();
    recorder.event(&about, EventType::Normal, "Synced", "again");
    recorder.flush(LONG).await;
    let [event] = told(&about, "default").await.try_into().unwrap();
    assert_eq!(event.count, Some(4));
    assert_eq!(recorder.dropped(), Dropped::default());
}

#[tokio::test]
async fn similar_events_are_combined_and_too_many_held_back() {
    let recorder = recorder(&Gate::always_open()).await;
    let about = node("combined");
    for number in 0..30 {
        recorder.event(&about, EventType::Normal, "Synced", format!("attempt {number}"));
    }
    recorder.flush(LONG).await;
    let told = told(&about, "default").await;
    assert_eq!(told.len(), 10);
    let last = told.last().unwrap();
    // Nine alone; of the others 16 are within the 25 for one object.
    assert_eq!(last.message.as_deref(), Some("(combined from similar events): attempt 24"));
    assert_eq!(last.count, Some(16));
    assert_eq!(recorder.dropped(), Dropped { limited: 5, ..Dropped::default() });
}

#[tokio::test]
async fn nothing_is_written_through_a_closed_gate_and_nobody_waits() {
    let keeper = GateKeeper::new();
    let recorder = recorder(&keeper.gate()).await;
    let about = node("gated");
    recorder.event(&about, EventType::Normal, "Synced", "never told");
    timeout(LONG, recorder.flush(LONG)).await.unwrap();
    assert!(told(&about, "default").await.is_empty());
    assert_eq!(recorder.dropped(), Dropped { failed: 1, ..Dropped::default() });
}

/// Five thousand nodes at once: no storm of writes, no growing queue, nobody waits.
#[tokio::test]
async fn a_flood_is_paced_and_cut_off() {
    let recorder = recorder(&Gate::always_open()).await;
    let start = Instant::now();
    for number in 0..5000 {
        recorder.event(
            &node(&format!("flood-{number}")),
            EventType::Normal,
            "Synced",
            "all at once",
        );
    }
    // Waiting for them to be written would take four minutes.
    assert!(start.elapsed() < Duration::from_secs(10), "recording waits: {:?}", start.elapsed());
    assert_eq!(recorder.dropped(), Dropped { queue: 4000, ..Dropped::default() });

    // 50 at once, then 20 a second.
    recorder.flush(Duration::from_secs(2)).await;
    let params = ListParams::default().fields("reason=Synced");
    loop {
        let all = events("default").await.list(&params).await.unwrap().items;
        let written = all.iter().filter(|event| {
            event.metadata.name.as_ref().is_some_and(|name| name.starts_with("flood-"))
        });
        let (written, waited) = (u32::try_from(written.count()).unwrap(), start.elapsed());
        let most = 50.0 + 20.0 * waited.as_secs_f64() + 1.0;
        println!("{written} events within {waited:.1?}");
        assert!(f64::from(written) <= most, "{written} within {waited:?}");
        if written >= 50 {
            return;
        }
        // Each is written by itself, and the API server may be busy.
        assert!(waited < Duration::from_secs(30), "{written} within {waited:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
