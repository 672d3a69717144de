//! The whole controller in virtual time, between a cloud and an API server that are made by hand.

mod schedules;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep_until;
use tower::Service;

use super::*;
use crate::cloud::{
    Bucket, CloudError, Evidence, Kind, Operation, Read, Region, VolumeRef, VolumeSource, Zone,
};
use crate::cluster::gate::Gate;
use crate::cluster::keys;
use crate::cluster::volume::WireVolume;
use crate::telemetry::CloudMetrics;

/// Names the zone of a volume in its handle, as `z1-vol`; `gone…` is not there, unless it is restored.
/// Answers after 50 ms.
#[derive(Debug, Default)]
struct Cloud {
    /// How many volumes each call was about.
    calls: Mutex<Vec<usize>>,
    fails: Mutex<Option<Kind>>,
    restored: AtomicBool,
    /// A mistake: answers come in another order than the questions.
    confuses: AtomicBool,
}

fn handle(volume: &VolumeRef) -> &str {
    match &volume.source {
        VolumeSource::Csi { handle, .. } | VolumeSource::InTree { handle, .. } => handle,
    }
}

fn place(handle: &str) -> Topology {
    let zone = handle.split('-').next().unwrap_or_default();
    Topology { zones: BTreeSet::from([Zone::from(zone)]), region: Some(Region::from("r")) }
}

impl Cloud {
    fn seen(&self, volume: &VolumeRef) -> Observation<Topology> {
        let handle = handle(volume);
        if handle.starts_with("gone") && !self.restored.load(Relaxed) {
            return Observation::Gone(Evidence::Absent);
        }
        Observation::Present(place(handle))
    }
}

#[async_trait]
impl Volumes for Cloud {
    fn owns(&self, volume: &VolumeRef) -> bool {
        matches!(&volume.source, VolumeSource::Csi { driver, .. } if driver == "ours")
    }

    async fn topology(
        &self,
        cx: &Read,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Observation<Topology>>, CloudError> {
        self.calls.lock().unwrap().push(volumes.len());
        let fails = *self.fails.lock().unwrap();
        cx.call(Operation("Describe"), Bucket("reads"), async {
            sleep(Duration::from_millis(50)).await;
            fails.map_or(Ok(()), |kind| Err(CloudError::new(kind, "no")))
        })
        .await?;
        let mut answers: Vec<_> = volumes.iter().map(|volume| self.seen(volume)).collect();
        if self.confuses.load(Relaxed) {
            answers.reverse();
        }
        Ok(answers)
    }
}

/// An API server that knows merges of `PersistentVolume`s and takes events.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    volumes: BTreeMap<String, Value>,
    cache: Option<Arc<PersistentVolumes>>,
    version: u64,
    patches: usize,
    /// Answers to writes before one is carried out, the last first.
    refusals: Vec<u16>,
    events: Vec<(String, String)>,
    /// How late the watch is, and what it has not told yet.
    lag: Duration,
    late: Option<UnboundedSender<(Instant, Event<WireVolume>)>>,
    /// A mistake: writes are carried out whatever version they were decided on.
    ignores_versions: bool,
    /// What was written where it must not have been.
    broken: Option<String>,
}

impl Objects {
    /// Stores the object anew and lets the watch show it.
    fn put(&mut self, name: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.volumes.insert(name.to_owned(), object.clone());
        self.tell(Event::Apply(serde_json::from_value(object.clone()).unwrap()));
        object
    }

    fn delete(&mut self, name: &str) {
        if let Some(object) = self.volumes.remove(name) {
            self.tell(Event::Delete(serde_json::from_value(object).unwrap()));
        }
    }

    /// Lets the watch tell, late where it is.
    fn tell(&self, event: Event<WireVolume>) {
        match (&self.cache, &self.late) {
            (Some(_), Some(late)) => late.send((Instant::now() + self.lag, event)).unwrap(),
            (Some(cache), None) => cache.take(event, &mut HashSet::default()),
            (None, _) => {}
        }
    }

    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if !path.contains("persistentvolumes") {
            let about = body["involvedObject"]["name"].as_str().unwrap_or_default().to_owned();
            self.events.push((about, body["reason"].as_str().unwrap_or_default().to_owned()));
            return (201, body.clone());
        }
        let Some(object) = self.volumes.get(&name).cloned() else { return refusal_of(404) };
        if let Some(code) = self.refusals.pop() {
            return refusal_of(code);
        }
        let tested = &body["metadata"];
        let metadata = &object["metadata"];
        let is_same = |key| tested[key] == metadata[key];
        let holds = is_same("resourceVersion") && is_same("uid");
        if !holds && !self.ignores_versions {
            return refusal_of(409);
        }
        self.judge(&name, &object, body);
        self.patches += 1;
        let mut merged = object.clone();
        json_patch::merge(&mut merged, body);
        (200, self.put(&name, merged))
    }
}

impl Objects {
    /// Nothing that stands there is overwritten, and nothing is written that is others' business.
    fn judge(&mut self, name: &str, object: &Value, patch: &Value) {
        let labels = patch["metadata"]["labels"].as_object().into_iter().flatten();
        let overwritten = labels
            .map(|(key, _)| key)
            .find(|key| !object["metadata"]["labels"][key.as_str()].is_null());
        let has_affinity = !object["spec"]["nodeAffinity"].is_null();
        let is_made = !object["metadata"]["annotations"][keys::PROVISIONED_BY].is_null();
        if let Some(key) = overwritten {
            self.broken = Some(format!("{name}: label {key} is overwritten"));
        } else if has_affinity || is_made {
            self.broken = Some(format!("{name} is its driver's and is written to"));
        }
    }
}

fn refusal_of(code: u16) -> (u16, Value) {
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "no"}))
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (code, answer) = this.objects().answer(&path, &body);
            let body = Body::from(answer.to_string().into_bytes());
            Ok(Response::builder().status(code).body(body).unwrap())
        }
        .boxed()
    }
}

impl Server {
    fn objects(&self) -> std::sync::MutexGuard<'_, Objects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a static CSI volume.
    fn make(&self, name: &str, handle: &str) {
        let source = json!({"driver": "ours", "volumeHandle": handle});
        let object = json!({"metadata": {"name": name, "uid": name}, "spec": {"csi": source}});
        self.objects().put(name, object);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut objects = self.objects();
        let mut object = objects.volumes[name].clone();
        change(&mut object);
        objects.put(name, object);
    }

    fn zone(&self, name: &str) -> Option<String> {
        let objects = self.objects();
        objects.volumes[name]["metadata"]["labels"][keys::ZONE].as_str().map(str::to_owned)
    }

    fn events(&self) -> Vec<(String, String)> {
        self.objects().events.clone()
    }
}

struct World {
    server: Server,
    cloud: Arc<Cloud>,
    stop: CancellationToken,
}

impl World {
    /// Volumes that are there before us, then a controller.
    fn with(volumes: &[(&str, &str)]) -> Self {
        let (server, cloud) = (Server::default(), Arc::new(Cloud::default()));
        for (name, handle) in volumes {
            server.make(name, handle);
        }
        let stop = begin(&server, &cloud);
        Self { server, cloud, stop }
    }

    /// The process ends, and another one begins.
    fn restart(&mut self) {
        self.stop.cancel();
        self.stop = begin(&self.server, &self.cloud);
    }
    fn calls(&self) -> Vec<usize> {
        self.cloud.calls.lock().unwrap().clone()
    }

    fn fail(&self, kind: Option<Kind>) {
        *self.cloud.fails.lock().unwrap() = kind;
    }
}

/// A process begins: the first list, then the watch.
fn begin(server: &Server, cloud: &Arc<Cloud>) -> CancellationToken {
    let client = Client::new(server.clone(), "default");
    let cache = Arc::new(PersistentVolumes::of(Arc::clone(cloud) as _));
    let parts = Parts {
        volumes: Arc::clone(&cache),
        cloud: Arc::clone(cloud) as _,
        governor: Governor::new(Gate::always_open(), CloudMetrics::unread()),
        client: WriteClient::new(client.clone()),
        recorder: Recorder::new(client, "test", "host"),
        metrics: VolumeMetrics::unread(),
    };
    let controller = VolumeController::new(parts, Rules::default());
    let mut seen = HashSet::default();
    cache.take(Event::Init, &mut seen);
    for object in server.objects().volumes.values() {
        let wire = serde_json::from_value(object.clone()).unwrap();
        cache.take(Event::InitApply(wire), &mut seen);
    }
    cache.take(Event::InitDone, &mut seen);
    let mut objects = server.objects();
    objects.cache = Some(Arc::clone(&cache));
    objects.late = (!objects.lag.is_zero()).then(|| {
        let (late, mut events) = unbounded_channel();
        tokio::spawn(async move {
            while let Some((due, event)) = events.recv().await {
                sleep_until(due).await;
                cache.take(event, &mut HashSet::default());
            }
        });
        late
    });
    drop(objects);
    let stop = CancellationToken::new();
    tokio::spawn(controller.run(stop.clone()));
    stop
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const SOON: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn volumes_that_come_together_are_few_calls_and_one_write_each() {
    let names: Vec<_> = (0..250).map(|n| format!("p{n}")).collect();
    let volumes: Vec<_> = names.iter().map(|name| (name.as_str(), "z1-vol")).collect();
    let world = World::with(&volumes);
    sleep(SOON).await;
    assert_eq!(world.calls(), [100, 100, 50]);
    assert!(names.iter().all(|name| world.server.zone(name).as_deref() == Some("z1")));

    // One by one, each a millisecond after the other.
    for n in 0..200 {
        world.server.make(&format!("q{n}"), "z2-vol");
        sleep(Duration::from_millis(1)).await;
    }
    sleep(SOON).await;
    assert_eq!(world.server.zone("q199").as_deref(), Some("z2"));
    let calls = &world.calls()[3..];
    assert_eq!(calls.iter().sum::<usize>(), 200);
    assert!(calls.len() < 15, "{calls:?}");
    assert_eq!(world.server.objects().patches, 450);
    assert_eq!(world.server.events(), []);
}

#[tokio::test(start_paused = true)]
async fn volumes_that_come_within_a_moment_share_the_first_call_too() {
    let world = World::with(&[]);
    for n in 0..4 {
        world.server.make(&format!("p{n}"), "z1-vol");
        sleep(Duration::from_millis(1)).await;
    }
    sleep(SOON).await;
    assert_eq!(world.calls(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_volume_is_told_once_and_not_asked_for_in_a_loop() {
    let world = World::with(&[("p", "gone"), ("q", "z1-vol")]);
    sleep(Duration::from_mins(50)).await;
    let told = [("p".to_owned(), "VolumeNotFound".to_owned())];
    assert_eq!(world.server.events(), told);
    assert_eq!(world.calls(), [2, 1]);
    sleep(Duration::from_hours(3)).await;
    assert_eq!(world.calls(), [2, 1, 1, 1, 1]);
    assert_eq!(world.server.events(), told);

    // Somebody writes to the object each second for a minute: no more than a look in ten seconds.
    for n in 0..60 {
        world.server.change("p", |it| it["metadata"]["annotations"]["n"] = n.to_string().into());
        sleep(SOON).await;
    }
    assert!((6..=8).contains(&(world.calls().len() - 5)), "{:?}", world.calls());
    assert_eq!(world.server.objects().patches, 1);
}

#[tokio::test(start_paused = true)]
async fn doubt_is_told_after_a_while_tried_again_and_heals() {
    let names: Vec<_> = (0..90).map(|n| format!("p{n}")).collect();
    let volumes: Vec<_> = names.iter().map(|name| (name.as_str(), "z1-vol")).collect();
    let world = World::with(&volumes);
    world.fail(Some(Kind::PermissionDenied));
    sleep(Duration::from_secs(9)).await;
    assert_eq!(world.server.events(), []);
    sleep(Duration::from_secs(30)).await;
    let events = world.server.events();
    assert!(events.iter().all(|event| event.1 == "PermissionDenied"), "{events:?}");
    assert_eq!(events.len(), 90);
    // All in one call: after 1, 2, 4, 8, 16 seconds.
    assert_eq!(world.calls(), [90; 6]);
    world.fail(None);
    sleep(Duration::from_secs(40)).await;
    assert!(names.iter().all(|name| world.server.zone(name).as_deref() == Some("z1")));
    assert_eq!(world.server.events().len(), 90);
}

#[tokio::test(start_paused = true)]
async fn an_answer_serves_for_as_long_as_the_volume_needs_it() {
    let world = World::with(&[]);
    let labels = json!({keys::ZONE: "mine"});
    let spec = json!({"csi": {"driver": "ours", "volumeHandle": "z1-vol"}});
    let metadata = json!({"name": "p", "uid": "p", "labels": labels});
    world.server.objects().put("p", json!({"metadata": metadata, "spec": spec}));
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.server.zone("p").as_deref(), Some("mine"));
    assert_eq!(world.server.events(), [("p".to_owned(), "TopologyMismatch".to_owned())]);

    // The word that was disputed is taken back.
    world.server.change("p", |it| it["metadata"]["labels"] = json!({}));
    sleep(SOON).await;
    assert_eq!(world.server.zone("p").as_deref(), Some("z1"));
    assert_eq!((world.calls(), world.server.objects().patches), (vec![1], 2));
}

#[tokio::test(start_paused = true)]
async fn what_becomes_others_business_while_the_cloud_is_asked_is_left_alone() {
    let world = World::with(&[]);
    world.server.make("p", "z1-vol");
    sleep(Duration::from_millis(20)).await;
    let terms = json!([{"matchExpressions": []}]);
    world.server.change("p", |it| {
        it["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": terms}});
    });
    sleep(SOON).await;
    assert_eq!((world.calls(), world.server.objects().patches), (vec![1], 0));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_is_decided_again_and_told_where_that_does_not_help() {
    let world = World::with(&[("p", "z1-vol")]);
    world.server.objects().refusals = vec![409, 503];
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.server.zone("p").as_deref(), Some("z1"));
    assert_eq!((world.calls(), world.server.events()), (vec![1], vec![]));

    world.server.objects().refusals = vec![403; 5];
    world.server.make("q", "z1-vol");
    sleep(Duration::from_mins(2)).await;
    assert_eq!(world.server.zone("q").as_deref(), Some("z1"));
    assert_eq!(world.server.events(), [("q".to_owned(), "VolumeNotUpdated".to_owned())]);
    assert_eq!(world.calls(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn volumes_of_others_are_not_even_kept() {
    let world = World::with(&[]);
    let source = json!({"driver": "theirs", "volumeHandle": "z1-vol"});
    let object = json!({"metadata": {"name": "p", "uid": "p"}, "spec": {"csi": source}});
    world.server.objects().put("p", object);
    sleep(SOON).await;
    assert!(world.server.objects().cache.as_ref().unwrap().is_empty());
    assert!(world.calls().is_empty());
}
