//! The watch on Services and the writes to them against a real API server, with the rights that our
//! manifests grant.

#![allow(clippy::unwrap_used, reason = "a test's helpers")]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ccm_core::cloud::{
    Annotations, IngressAddress, IngressPoint, IpMode, Labels, Needs, Uid, annotations::Declared,
};
use ccm_core::cluster::client::ClusterConfig;
use ccm_core::cluster::gate::Gate;
use ccm_core::cluster::keys;
use ccm_core::cluster::node::{ConditionStatus, Version};
use ccm_core::cluster::rights::{self, Wanted};
use ccm_core::cluster::service::{Service, ServiceKey};
use ccm_core::cluster::services::{ServiceChange, Services};
use ccm_core::controllers::service::act::{self, ConditionEntry, Patch};
use ccm_envtest::{ControlPlane, Grant};
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(30);

const ANNOTATIONS: Annotations = Annotations {
    declared: &[Declared {
        key: "sim/id",
        help: "",
        accepted: "",
        default: "",
        lenient: false,
        written: false,
    }],
    ..Annotations::NONE
};

/// One control plane for all tests of this file, which ends with the process, and a kubeconfig with
/// our rights. It lives in a runtime of its own, since each test's ends with the test.
async fn control_plane() -> &'static (ControlPlane, PathBuf) {
    static PLANE: OnceCell<(ControlPlane, PathBuf)> = OnceCell::const_new();
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let start = Box::pin(async {
        let plane = ControlPlane::start().await.unwrap();
        let grants =
            [Grant::ClusterRules(rights::in_cluster(&Wanted::everything(Needs::default(), "ccm")))];
        let account = plane.service_account("kube-system", "ccm", &grants).await.unwrap();
        (plane, account.kubeconfig().to_owned())
    });
    PLANE.get_or_init(|| async { RUNTIME.spawn(start).await.unwrap() }).await
}

/// One Service, its owner, and our side: the watch and the writes.
struct Scene {
    name: &'static str,
    owner: Api<api::Service>,
    services: Arc<Services>,
    changes: mpsc::UnboundedReceiver<ServiceChange>,
    client: kube::Client,
    stop: CancellationToken,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Scene {
    async fn new(name: &'static str) -> Self {
        let (plane, kubeconfig) = control_plane().await;
        let admin = plane.client(plane.admin_credentials()).await.unwrap();
        let config = ClusterConfig::load(Some(kubeconfig), None, "test").unwrap();
        let services = Arc::new(Services::new(&ANNOTATIONS, Labels::default()));
        let (sender, changes) = mpsc::unbounded_channel();
        services.on_change(move |change| {
            let (ServiceChange::Applied { new: service, .. } | ServiceChange::Deleted(service)) =
                change;
            if &*service.key.name == name {
                let _ = sender.send(change.clone());
            }
        });
        let stop = CancellationToken::new();
        let watch = (Arc::clone(&services), config.client("watch").unwrap(), stop.clone());
        tokio::spawn(async move { watch.0.run(watch.1, watch.2).await });
        timeout(LONG, services.listed()).await.unwrap();
        Self {
            name,
            owner: Api::namespaced(admin, "default"),
            services,
            changes,
            client: config.mutating_client("services", &Gate::always_open()).unwrap(),
            stop,
        }
    }

    /// What the watch tells next.
    async fn told(&mut self) -> ServiceChange {
        timeout(LONG, self.changes.recv()).await.expect("nothing was told").unwrap()
    }

    async fn create(&mut self, kind: &str, finalizers: &[&str]) -> Arc<Service> {
        let service = serde_json::from_value(json!({
            "metadata": {"name": self.name, "finalizers": finalizers,
                "annotations": {"sim/id": "lb-0", "other": "x"}},
            "spec": {"type": kind, "ports": [{"port": 80}]},
        }));
        self.owner.create(&PostParams::default(), &service.unwrap()).await.unwrap();
        self.applied().await
    }

    async fn applied(&mut self) -> Arc<Service> {
        match self.told().await {
            ServiceChange::Applied { new, .. } => new,
            ServiceChange::Deleted(old) => panic!("{} is gone", old.key),
        }
    }

    async fn write(&self, service: &Service, patch: &Patch) -> kube::Result<Version> {
        act::write(&self.client, service, patch, Timestamp::now()).await
    }

    /// Writes, and gives the Service as the watch then tells it.
    async fn written(&mut self, service: &Service, patch: &Patch) -> Arc<Service> {
        let version = self.write(service, patch).await.unwrap();
        let told = self.applied().await;
        assert_eq!(told.version, version, "the answer gives the new version");
        told
    }

    /// The object as the API server has it.
    async fn stored(&self) -> Value {
        serde_json::to_value(self.owner.get(self.name).await.unwrap()).unwrap()
    }
}

fn ready(status: ConditionStatus, transition: bool) -> ConditionEntry {
    ConditionEntry {
        kind: keys::LOAD_BALANCER_READY.to_owned(),
        status,
        reason: "Tested".to_owned(),
        message: "as it is".to_owned(),
        transition,
    }
}

fn claim() -> Patch {
    Patch {
        add_finalizers: vec![keys::FINALIZER.to_owned()],
        conditions: vec![ready(ConditionStatus::False, true)],
        ..Patch::default()
    }
}

#[tokio::test]
async fn one_patch_changes_finalizers_annotations_addresses_and_conditions() {
    let mut scene = Scene::new("all").await;
    let service = scene.create("LoadBalancer", &["example.com/other"]).await;
    assert_eq!(service.annotations.get("sim/id"), Some("lb-0"));

    let service = scene.written(&service, &claim()).await;
    assert!(service.has_finalizer(keys::FINALIZER) && service.has_finalizer("example.com/other"));
    let since = service.ready().unwrap().since;
    assert!(since.is_some());

    let ip = IngressAddress::Ip("192.0.2.1".parse().unwrap());
    let name = IngressAddress::Hostname("lb.example.com".to_owned());
    let ingress = vec![
        IngressPoint { address: ip, mode: None, ports: vec![] },
        IngressPoint { address: name, mode: Some(IpMode::Proxy), ports: vec![] },
    ];
    let other =
        ConditionEntry { kind: "sim/Other".to_owned(), ..ready(ConditionStatus::True, true) };
    let patch = Patch {
        annotations: [("sim/id".to_owned(), Some("lb-1".to_owned()))].into(),
        ingress: Some(ingress.clone()),
        // Not a transition: the time stays.
        conditions: vec![ready(ConditionStatus::False, false), other],
        ..Patch::default()
    };
    let service = scene.written(&service, &patch).await;
    assert!(service.shows(&ingress) && service.ingress[0].mode == Some(IpMode::Vip));
    assert_eq!(service.ready().unwrap().since, since);
    assert_eq!(service.annotations.get("sim/id"), Some("lb-1"));

    let patch = Patch {
        annotations: [("sim/id".to_owned(), None)].into(),
        ingress: Some(ingress[1..].to_vec()),
        remove_conditions: vec!["sim/Other".to_owned()],
        ..Patch::default()
    };
    let service = scene.written(&service, &patch).await;
    assert!(service.shows(&ingress[1..]), "the list is replaced as a whole");
    assert_eq!(service.conditions.len(), 1);
    assert_eq!(service.annotations.get("sim/id"), None);
    let stored = scene.stored().await;
    assert_eq!(stored["metadata"]["annotations"], json!({"other": "x"}));

    let service =
        scene.written(&service, &Patch { ingress: Some(vec![]), ..Patch::default() }).await;
    assert!(service.ingress.is_empty());
    let version = scene.write(&service, &claim_again()).await.unwrap();
    assert_eq!(version, service.version, "what is there already is no change");
}

/// What [`claim`] wrote, once more.
fn claim_again() -> Patch {
    Patch { conditions: vec![ready(ConditionStatus::False, false)], ..claim() }
}

#[tokio::test]
async fn what_is_not_there_can_be_taken_away_and_finalizers_can_be_exchanged() {
    let mut scene = Scene::new("exchanged").await;
    let service = scene.create("LoadBalancer", &[]).await;
    let finalizers = |add: &[&str], remove: &[&str]| Patch {
        add_finalizers: add.iter().map(ToString::to_string).collect(),
        remove_finalizers: remove.iter().map(ToString::to_string).collect(),
        remove_conditions: vec![keys::LOAD_BALANCER_READY.to_owned()],
        annotations: [("sim/none".to_owned(), None)].into(),
        ..Patch::default()
    };
    let version = scene.write(&service, &finalizers(&[], &["sim/a"])).await.unwrap();
    assert_eq!(version, service.version, "nothing is changed");
    let service = scene.written(&service, &finalizers(&["sim/a", "sim/b"], &[])).await;
    assert_eq!(*service.finalizers, ["sim/a".into(), "sim/b".into()]);
    let service = scene.written(&service, &finalizers(&["sim/c"], &["sim/a", "sim/x"])).await;
    let finalizers: Vec<_> = service.identity().finalizers.into_iter().collect();
    assert_eq!(finalizers, ["sim/b", "sim/c"]);
}

#[tokio::test]
async fn a_service_that_is_deleted_goes_with_its_last_finalizer() {
    let mut scene = Scene::new("going").await;
    let service = scene.create("LoadBalancer", &[]).await;
    let service = scene.written(&service, &claim()).await;
    scene.owner.delete("going", &DeleteParams::default()).await.unwrap();
    let deleting = scene.applied().await;
    assert!(deleting.deleting && deleting.uid == service.uid);

    let release = Patch {
        remove_finalizers: vec![keys::FINALIZER.to_owned()],
        remove_conditions: vec![keys::LOAD_BALANCER_READY.to_owned()],
        ..Patch::default()
    };
    scene.write(&deleting, &release).await.unwrap();
    assert!(matches!(scene.told().await, ServiceChange::Deleted(_)));
    assert!(scene.owner.get_opt("going").await.unwrap().is_none());
    assert!(scene.services.get(&ServiceKey::new("default", "going")).is_none());
    let Err(kube::Error::Api(status)) = scene.write(&deleting, &release).await else {
        panic!("written to a Service that is gone");
    };
    assert_eq!(status.code, 404);
}

#[tokio::test]
async fn a_service_that_wants_no_load_balancer_any_more_is_forgotten_with_its_marks() {
    let mut scene = Scene::new("changed").await;
    let service = scene.create("LoadBalancer", &[]).await;
    scene.written(&service, &claim()).await;
    let change = json!({"spec": {"type": "ClusterIP"}});
    let patch = kube::api::Patch::Merge(change);
    scene.owner.patch("changed", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let service = scene.applied().await;
    assert!(!service.wants_load_balancer());

    let release = Patch {
        remove_finalizers: vec![keys::FINALIZER.to_owned()],
        remove_conditions: vec![keys::LOAD_BALANCER_READY.to_owned()],
        // The API server lets nobody write addresses of such a Service; none are not refused.
        ingress: Some(vec![]),
        ..Patch::default()
    };
    scene.write(&service, &release).await.unwrap();
    assert!(matches!(scene.told().await, ServiceChange::Deleted(_)), "of no interest any more");
    let stored = scene.stored().await;
    assert_eq!(stored["metadata"].get("finalizers"), None);
    assert_eq!(stored["status"].get("conditions"), None);
}

#[tokio::test]
async fn a_service_that_was_made_anew_is_not_written_to() {
    let mut scene = Scene::new("anew").await;
    let service = scene.create("LoadBalancer", &[]).await;
    let earlier = Service { uid: Uid::from("another"), ..Service::clone(&service) };
    for patch in [claim(), Patch { ingress: Some(vec![]), ..Patch::default() }] {
        let err = scene.write(&earlier, &patch).await.unwrap_err();
        assert!(act::is_made_anew(&err), "{err:?}");
    }
    let nowhere = IngressAddress::Hostname("not a name".to_owned());
    let nowhere = IngressPoint { address: nowhere, mode: None, ports: vec![] };
    let invalid = Patch { ingress: Some(vec![nowhere]), ..Patch::default() };
    let err = scene.write(&service, &invalid).await.unwrap_err();
    assert!(!act::is_made_anew(&err), "{err:?}");
    assert_eq!(scene.stored().await["metadata"].get("finalizers"), None);
}
