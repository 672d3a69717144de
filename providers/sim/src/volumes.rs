//! Where volumes are.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use ccm_core::cloud::{
    CloudError, Evidence, Kind, Observation, Read, Region, Topology, VolumeRef, VolumeSource,
    Volumes, Zone,
};
use futures::future::join_all;
use simcloud::api::{DescribeVolumes, VolumeId};

use crate::client::{Client, VolumeRecord};

/// The CSI driver whose volumes are this cloud's. Its handles are the cloud's IDs.
const DRIVER: &str = "csi.sim.ccm.rs";

/// Volumes of the simulated cloud. Nothing is kept between two questions.
#[derive(Debug)]
pub(crate) struct SimVolumes {
    client: Arc<Client>,
    /// Volumes in one call.
    batch_limit: NonZeroUsize,
    /// The in-tree source that is taken for this cloud's too.
    legacy_field: Option<String>,
}

impl SimVolumes {
    pub(crate) fn new(
        client: Arc<Client>,
        batch_limit: NonZeroUsize,
        legacy_field: Option<String>,
    ) -> Self {
        Self { client, batch_limit, legacy_field }
    }

    /// The cloud's ID of a volume.
    fn id_of(&self, volume: &VolumeRef) -> Result<VolumeId, CloudError> {
        let handle = match &volume.source {
            VolumeSource::Csi { handle, .. } | VolumeSource::InTree { handle, .. } => handle,
        };
        if !self.owns(volume) {
            let message = format!("volume {} is not this cloud's", volume.name);
            return Err(CloudError::new(Kind::Internal, message));
        }
        if !is_volume_id(handle) {
            let message =
                format!("volume {} is named {handle:?}, which is no volume ID", volume.name);
            return Err(CloudError::new(Kind::InvalidConfiguration, message));
        }
        Ok(VolumeId::from(handle.as_str()))
    }

    /// One call about all of them.
    async fn look(&self, cx: &Read, ids: &[VolumeId]) -> Result<Vec<VolumeRecord>, CloudError> {
        self.client.describe_volumes(cx, &DescribeVolumes { ids: ids.to_vec() }).await
    }
}

#[async_trait]
impl Volumes for SimVolumes {
    fn owns(&self, volume: &VolumeRef) -> bool {
        match &volume.source {
            VolumeSource::Csi { driver, .. } => driver == DRIVER,
            VolumeSource::InTree { field, .. } => self.legacy_field.as_deref() == Some(field),
        }
    }

    async fn topology(
        &self,
        cx: &Read,
        volumes: &[VolumeRef],
    ) -> Result<Vec<Observation<Topology>>, CloudError> {
        let keys: Vec<_> = volumes.iter().map(|volume| self.id_of(volume)).collect();
        let mut ids: Vec<_> = keys.iter().flatten().cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        let looks = ids.chunks(self.batch_limit.get()).map(|ids| self.look(cx, ids));
        // In the order of the IDs.
        let answers: Vec<_> = join_all(looks).await.into_iter().map(Answer::new).collect();
        let observe = |key: Result<VolumeId, CloudError>| match key {
            Ok(id) => {
                let place = ids.binary_search(&id).unwrap_or_default();
                answers[place / self.batch_limit].of(&id, &ids)
            }
            Err(err) => Observation::Unknown(err),
        };
        Ok(keys.into_iter().map(observe).collect())
    }
}

/// What the cloud said about several volumes at once.
#[derive(Debug)]
struct Answer(Result<Vec<VolumeRecord>, CloudError>);

impl Answer {
    fn new(records: Result<Vec<VolumeRecord>, CloudError>) -> Self {
        Self(records)
    }

    fn of(&self, id: &VolumeId, asked: &[VolumeId]) -> Observation<Topology> {
        let records = match &self.0 {
            Ok(records) => records,
            Err(err) => return Observation::Unknown(err.repeat()),
        };
        if let Some(record) = records.iter().find(|record| record.id.as_ref() == Some(id)) {
            return match &record.volume {
                Ok(volume) => Observation::Present(Topology {
                    zones: volume.zones.iter().map(|zone| Zone::from(zone.as_str())).collect(),
                    region: Some(Region::from(volume.region.as_str())),
                }),
                Err(err) => Observation::Unknown(err.repeat()),
            };
        }
        // Either the question was not understood, or an unreadable record stands where this one
        // should.
        let is_asked = |record: &&VolumeRecord| {
            record.id.as_ref().is_some_and(|id| asked.binary_search(id).is_ok())
        };
        match records.iter().find(|record| !is_asked(record)) {
            None => Observation::Gone(Evidence::Absent),
            Some(odd) => {
                let which = odd.id.as_ref().map_or("an unknown volume", VolumeId::as_str);
                let message = format!("the cloud answered with {which}, which nobody asked for");
                Observation::Unknown(CloudError::new(Kind::Internal, message))
            }
        }
    }
}

/// Whether the text can be the cloud's ID of a volume.
fn is_volume_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests;
