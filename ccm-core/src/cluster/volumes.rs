//! The one watch on `PersistentVolume`s.

use std::sync::Arc;

use super::cache::{Cache, Cached, Change};
use super::node::Version;
use super::volume::{PersistentVolume, WireVolume};
use crate::cloud::{Uid, Volumes};

/// The `PersistentVolume`s of a cloud, as last seen.
pub type PersistentVolumes = Cache<PersistentVolume>;

/// What happened to a `PersistentVolume`.
pub type VolumeChange = Change<PersistentVolume>;

impl Cached for PersistentVolume {
    type Key = Arc<str>;
    type Wire = WireVolume;

    fn key(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn key_of(wire: &WireVolume) -> Arc<str> {
        wire.name().into()
    }

    fn uid(&self) -> &Uid {
        &self.uid
    }

    fn version(&self) -> &Version {
        &self.version
    }
}

impl PersistentVolumes {
    /// An empty cache that keeps what is of this cloud. Others' volumes cost nothing.
    pub fn of(cloud: Arc<dyn Volumes>) -> Self {
        Self::trimming(move |wire: WireVolume| {
            wire.trim().filter(|volume| cloud.owns(&volume.identity()))
        })
    }
}
