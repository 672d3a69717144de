//! `PersistentVolume`s: how a test makes them, and how it looks at them.

use std::collections::BTreeMap;
use std::time::Duration;

use ccm_core::cluster::keys;
use futures::StreamExt;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use simcloud::api::{CreateVolume, Operation, Volume};

use crate::cloud::Cloud;
use crate::wait::{SOON, wait_until};
use crate::world::World;

/// The CSI driver of the simulated cloud.
pub const DRIVER: &str = "csi.sim.ccm.rs";

/// The in-tree source that the program under test is told is the cloud's.
pub(crate) const LEGACY_FIELD: &str = "cinder";

/// Volumes made or deleted at once.
const AT_ONCE: usize = 16;

/// A `PersistentVolume` to be made.
#[derive(Clone, Debug)]
pub struct WantedVolume(Value);

impl WantedVolume {
    /// One of the cloud's own driver, as somebody who has no provisioner writes it.
    pub fn csi(name: &str, handle: &str) -> Self {
        Self::of_driver(name, DRIVER, handle)
    }

    /// One of this CSI driver.
    pub fn of_driver(name: &str, driver: &str, handle: &str) -> Self {
        Self::from_source(name, "csi", json!({"driver": driver, "volumeHandle": handle}))
    }

    /// One with the old in-tree source that is the cloud's.
    pub fn in_tree(name: &str, handle: &str) -> Self {
        Self::from_source(name, LEGACY_FIELD, json!({"volumeID": handle}))
    }

    /// One with this field of the spec.
    pub fn from_source(name: &str, field: &str, source: Value) -> Self {
        let mut spec = json!({
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
        });
        spec[field] = source;
        let metadata = json!({"name": name});
        Self(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec,
        }))
    }

    /// With this label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    /// As a provisioner writes it.
    #[must_use]
    pub fn provisioned(mut self) -> Self {
        self.0["metadata"]["annotations"][keys::PROVISIONED_BY] = DRIVER.into();
        self
    }

    /// With an affinity of its driver's own.
    #[must_use]
    pub fn affinity(mut self, key: &str, zone: &str) -> Self {
        let needs = json!({"key": key, "operator": "In", "values": [zone]});
        let terms = json!([{"matchExpressions": [needs]}]);
        self.0["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": terms}});
        self
    }

    fn volume(&self) -> PersistentVolume {
        serde_json::from_value(self.0.clone()).unwrap()
    }
}

/// What a test wants to know of a `PersistentVolume`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenVolume {
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// `<key> in a, b` for each requirement, in order; terms are not told apart.
    pub affinity: Vec<String>,
    /// `metadata.resourceVersion`.
    pub version: String,
}

impl From<&PersistentVolume> for SeenVolume {
    fn from(volume: &PersistentVolume) -> Self {
        let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.clone());
        let terms = affinity.and_then(|it| it.required).map(|it| it.node_selector_terms);
        let needs = terms.into_iter().flatten().filter_map(|term| term.match_expressions);
        let needs = needs
            .flatten()
            .map(|need| format!("{} in {}", need.key, need.values.unwrap_or_default().join(", ")));
        Self {
            labels: volume.labels().clone(),
            affinity: needs.collect(),
            version: volume.resource_version().unwrap_or_default(),
        }
    }
}

impl SeenVolume {
    /// The label's value; empty where it is not set.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// The labels with zone and region, under their present keys.
    pub fn place(&self) -> (&str, &str) {
        (self.label(keys::ZONE), self.label(keys::REGION))
    }

    /// Whether it says where it is.
    pub fn is_placed(&self) -> bool {
        !self.label(keys::REGION).is_empty() && !self.affinity.is_empty()
    }

    /// Whether nothing on it is ours.
    pub fn is_untouched(&self) -> bool {
        self.place() == ("", "") && !self.affinity.iter().any(|it| it.starts_with(keys::ZONE))
    }
}

impl Cloud {
    /// Makes a volume that is reached from these zones, and gives its ID.
    pub async fn volume_in(&self, zones: &[&str]) -> String {
        let wanted = CreateVolume::named("data", zones.iter().copied());
        let made: Volume = self.create_piece(&wanted).await.unwrap();
        made.id.to_string()
    }

    /// Deletes the volume with this ID.
    pub async fn delete_volume(&self, id: &str) {
        self.delete_piece::<Volume>(&id.into()).await.unwrap();
    }

    /// How many questions about volumes the program under test has asked.
    pub async fn looks_at_volumes(&self) -> usize {
        self.calls_of(Operation::DescribeVolumes).await.len()
    }
}

impl World {
    /// Makes a volume and waits until it says where it is: what came before it was seen by then.
    pub async fn volume_barrier(&self, name: &str) {
        let id = self.cloud.volume_in(&["sim-1a"]).await;
        self.make_volume(&WantedVolume::csi(name, &id)).await;
        self.placed(name).await;
    }
}

impl<C> World<C> {
    /// All `PersistentVolume`s.
    pub fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.admin())
    }

    /// Makes the volume.
    pub async fn make_volume(&self, wanted: &WantedVolume) -> SeenVolume {
        let made = self.volumes().create(&PostParams::default(), &wanted.volume()).await.unwrap();
        SeenVolume::from(&made)
    }

    /// Makes many.
    pub async fn make_volumes(&self, wanted: impl IntoIterator<Item = WantedVolume>) {
        let make =
            futures::stream::iter(wanted).map(|it| async move { self.make_volume(&it).await });
        make.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    }

    /// The volume as it is.
    pub async fn volume(&self, name: &str) -> SeenVolume {
        SeenVolume::from(&self.volumes().get(name).await.unwrap())
    }

    /// Waits until the volume is as wanted.
    pub async fn volume_until(
        &self,
        name: &str,
        what: &str,
        bound: Duration,
        is_so: impl Fn(&SeenVolume) -> bool,
    ) -> SeenVolume {
        wait_until(&format!("volume {name}: {what}"), bound, async || {
            let volume = self.volumes().get(name).await.map_err(|err| err.to_string())?;
            let seen = SeenVolume::from(&volume);
            if is_so(&seen) { Ok(seen) } else { Err(format!("{seen:?}")) }
        })
        .await
    }

    /// Waits until the volume says where it is.
    pub async fn placed(&self, name: &str) -> SeenVolume {
        self.volume_until(name, "says where it is", SOON, SeenVolume::is_placed).await
    }

    /// Changes the volume, as its owner would.
    pub async fn change_volume(&self, name: &str, patch: &Value) {
        let patch = Patch::Merge(patch);
        self.volumes().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Events about the volume: reason, message, count.
    pub async fn volume_events(&self, name: &str) -> Vec<(String, String, i32)> {
        self.events_about("PersistentVolume", name).await
    }

    /// Waits for an event about the volume, then gives all.
    pub async fn volume_events_with(&self, name: &str, reason: &str) -> Vec<(String, String, i32)> {
        wait_until(&format!("event {reason} about {name}"), SOON, async || {
            let events = self.volume_events(name).await;
            if events.iter().any(|event| event.0 == reason) { Ok(events) } else { Err(events) }
        })
        .await
    }
}

/// Takes all away. What protects them from that is of a controller that does not run here.
pub(crate) async fn clear(client: Client) {
    let volumes = Api::<PersistentVolume>::all(client);
    let all = volumes.list(&ListParams::default()).await.unwrap();
    let clear = futures::stream::iter(all.items).map(|volume| {
        let (volumes, name) = (volumes.clone(), volume.name_any());
        async move {
            if !volume.finalizers().is_empty() {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                volumes.patch(&name, &PatchParams::default(), &patch).await.unwrap();
            }
            match volumes.delete(&name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                ended => drop(ended.unwrap()),
            }
        }
    });
    clear.buffer_unordered(AT_ONCE).collect::<()>().await;
}
