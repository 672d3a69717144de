//! The one call about volumes.

use ccm_core::cloud::{CloudError, Kind, Operation, Read};
use serde_json::Value;
use simcloud::api::{self, DescribeVolumes, Items, Volume, VolumeId, path};

use super::{Client, READS, unknown_call, with_body};

const DESCRIBE: Operation = Operation(api::Operation::DescribeVolumes.as_str());

/// One record of an answer. Read one by one, so that an odd one spoils no other.
#[derive(Debug)]
pub(crate) struct VolumeRecord {
    /// The ID, as far as it can be made out.
    pub(crate) id: Option<VolumeId>,
    /// All of it, where it makes sense.
    pub(crate) volume: Result<Volume, CloudError>,
}

impl VolumeRecord {
    fn read(record: Value) -> Self {
        let id = record.get("id").and_then(Value::as_str).map(VolumeId::from);
        let volume = serde_json::from_value(record).map_err(|err| {
            let which = id.as_ref().map_or("a volume", VolumeId::as_str);
            let message = format!("the cloud's record of {which} makes no sense");
            CloudError::new(Kind::Internal, message).with_source(err)
        });
        Self { id, volume }
    }
}

impl Client {
    /// `DescribeVolumes`: the records of these IDs; what the cloud does not know is missing.
    pub(crate) async fn describe_volumes(
        &self,
        cx: &Read,
        ask: &DescribeVolumes,
    ) -> Result<Vec<VolumeRecord>, CloudError> {
        let request = self.http.post(self.endpoint.url(path::DESCRIBE_VOLUMES));
        let send = self.send(DESCRIBE, with_body(request, ask));
        let answer: Items<Value> = cx.call(DESCRIBE, READS, send).await.map_err(unknown_call)?;
        Ok(answer.items.into_iter().map(VolumeRecord::read).collect())
    }
}
