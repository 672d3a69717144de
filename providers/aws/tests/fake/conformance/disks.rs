//! The fake's volumes, from behind the provider's back.

use async_trait::async_trait;
use ccm_conformance::{Unsupported, VolumeHarness};
use ccm_core::cloud::{Region, Topology, Uid, VolumeRef, VolumeSource, Zone};
use serde_json::json;

use super::AwsHarness;
use crate::process::REGION;

fn volume(handle: &str) -> VolumeRef {
    let (driver, handle) = ("ebs.csi.aws.com".to_owned(), handle.to_owned());
    let (name, uid) = (format!("pv-of-{handle}"), Uid::from(handle.as_str()));
    VolumeRef { name, uid, source: VolumeSource::Csi { driver, handle } }
}

#[async_trait]
impl VolumeHarness for AwsHarness {
    /// Each is in one zone.
    async fn make(&self, zones: usize) -> Result<(VolumeRef, Topology), Unsupported> {
        if zones != 1 {
            return Err(Unsupported);
        }
        let zone = format!("{REGION}b");
        let made = self.aws("create_volume", json!({ "AvailabilityZone": zone, "Size": 1 })).await;
        let zones = [Zone::from(zone)].into();
        let topology = Topology { zones, region: Some(Region::from(REGION)) };
        Ok((volume(made["VolumeId"].as_str().unwrap()), topology))
    }

    async fn delete(&self, volume: &VolumeRef) {
        let VolumeSource::Csi { handle, .. } = &volume.source else { panic!("{volume:?}") };
        self.aws("delete_volume", json!({ "VolumeId": handle })).await;
    }

    fn unknown(&self, number: usize) -> VolumeRef {
        volume(&format!("vol-{:017x}", 0xffff_0000 + number))
    }

    fn malformed(&self) -> Result<VolumeRef, Unsupported> {
        Ok(volume("../../tokens"))
    }
}
