//! Where volumes are.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;

use async_trait::async_trait;

use super::call::Read;
use super::error::CloudError;
use super::instance::{Batching, Observation};
use super::names::{Region, Uid, Zone};

/// Volumes in one question, where the provider says nothing else.
const HUNDRED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

/// A `PersistentVolume`'s volume, as its owner named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRef {
    /// `metadata.name` of the `PersistentVolume`.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: Uid,
    /// Where the volume is named.
    pub source: VolumeSource,
}

/// The field that names the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// `spec.csi`.
    Csi {
        /// `driver`.
        driver: String,
        /// `volumeHandle`.
        handle: String,
    },
    /// One of the old in-tree sources, e.g. `awsElasticBlockStore`.
    InTree {
        /// The field's name under `spec`: `awsElasticBlockStore`, `gcePersistentDisk`,
        /// `azureDisk`, `cinder` or `vsphereVolume`.
        field: &'static str,
        /// What it names: a volume ID, a disk name, a URI, in each shape in which users ever
        /// wrote it.
        handle: String,
    },
}

/// From where a volume can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Zones, each of which will do. Empty: not bound to zones.
    pub zones: BTreeSet<Zone>,
    /// The region. `None`: not bound to one.
    pub region: Option<Region>,
}

/// Where volumes are.
#[async_trait]
pub trait Volumes: fmt::Debug + Send + Sync + 'static {
    /// Whether this volume is of this cloud: its CSI driver or its in-tree source is the cloud's
    /// own. Whether anything is to be said on it is the framework's question. Pure.
    fn owns(&self, volume: &VolumeRef) -> bool;

    /// How many volumes to ask about at once. The framework collects questions accordingly and
    /// never hands over more. No cloud that we know takes fewer than a hundred IDs.
    fn batching(&self) -> Batching {
        Batching::UpTo(HUNDRED)
    }

    /// Zones and region of each volume; as many answers as questions, in their order. The rules
    /// about absence, errors, repetition and cancellation are those of
    /// [`Instances::describe`](super::Instances::describe).
    ///
    /// A handle that cannot be a volume's is
    /// [`Kind::InvalidConfiguration`](super::Kind::InvalidConfiguration), for that volume alone. An
    /// answer holds for as long as the `PersistentVolume` does: it is not asked for again.
    async fn topology(
        &self,
        cx: &Read,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Observation<Topology>>, CloudError>;
}
