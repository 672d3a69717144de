//! The volume controller, and what it is made from.

use std::sync::Arc;

use super::Controllers;
use crate::cloud::{BoxError, Volumes};
use crate::cluster::keys::controller;
use crate::cluster::volumes::PersistentVolumes;
use crate::controllers::WriteClient;
use crate::controllers::volume::{Parts, Rules, VolumeController};
use crate::governor::Governor;

impl Controllers<'_> {
    /// The controller, and what it watches.
    pub(in crate::app) fn labelling(
        &self,
        cloud: Arc<dyn Volumes>,
        governor: &Governor,
    ) -> Result<(Arc<PersistentVolumes>, Arc<VolumeController>), BoxError> {
        let volumes = Arc::new(PersistentVolumes::of(Arc::clone(&cloud)));
        let client = self.cluster.mutating_client("volume-controller", self.gate)?;
        let parts = Parts {
            volumes: Arc::clone(&volumes),
            cloud,
            governor: governor.clone(),
            client: WriteClient(client),
            recorder: self.recorder.for_component(controller::VOLUME),
            metrics: self.metrics.volume.clone(),
        };
        let options = &self.options.volume_controller;
        let rules = Rules { provisioned: options.provisioned, overwrite: options.overwrite };
        Ok((volumes, VolumeController::new(parts, rules)))
    }
}
