//! The volume controller, and what it is made from.

use std::sync::Arc;

use super::{Controllers, Watched};
use crate::cloud::BoxError;
use crate::cluster::keys::controller;
use crate::cluster::volumes::PersistentVolumes;
use crate::controllers::WriteClient;
use crate::controllers::volume::{Parts, Rules, VolumeController};
use crate::governor::Governor;

impl Controllers<'_> {
    /// The controller, and what it watches. `None` where the provider has no volumes, or they are not
    /// wanted.
    pub(in crate::app) fn labelling(
        &self,
        governor: &Governor,
    ) -> Result<Option<Watched<PersistentVolumes, VolumeController>>, BoxError> {
        let cloud = self.cloud.volumes().filter(|_| self.runs(controller::VOLUME));
        let Some(cloud) = cloud else { return Ok(None) };
        let volumes = Arc::new(PersistentVolumes::of(Arc::clone(&cloud)));
        let client = self.cluster.controller_client(controller::VOLUME, self.gate)?;
        let parts = Parts {
            volumes: Arc::clone(&volumes),
            cloud,
            governor: governor.clone(),
            client: WriteClient::new(client),
            recorder: self.recorder.for_component(controller::VOLUME),
            metrics: self.metrics.volume.clone(),
        };
        let options = &self.options.volume_controller;
        let rules = Rules { provisioned: options.provisioned, overwrite: options.overwrite };
        Ok(Some((volumes, VolumeController::new(parts, rules))))
    }
}
