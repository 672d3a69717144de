//! The simulated cloud's volumes, from behind the provider's back.

use async_trait::async_trait;
use ccm_conformance::{Unsupported, VolumeHarness};
use ccm_core::cloud::{Region, Topology, Uid, VolumeRef, VolumeSource, Zone};
use simcloud::api::{CreateVolume, Volume, VolumeId};

use super::SimHarness;

fn volume(handle: &str) -> VolumeRef {
    let (driver, handle) = ("csi.sim.ccm.rs".to_owned(), handle.to_owned());
    let (name, uid) = (format!("pv-of-{handle}"), Uid::from(handle.as_str()));
    VolumeRef { name, uid, source: VolumeSource::Csi { driver, handle } }
}

#[async_trait]
impl VolumeHarness for SimHarness {
    async fn make(&self, zones: usize) -> Result<(VolumeRef, Topology), Unsupported> {
        let zones: Vec<_> = (0..zones).map(|number| format!("sim-7-{number}")).collect();
        let wanted = CreateVolume {
            region: Some("sim-7".to_owned()),
            ..CreateVolume::named("data", zones.clone())
        };
        let made = self.console.create_piece(&wanted).await.unwrap();
        let zones = zones.into_iter().map(Zone::from).collect();
        let topology = Topology { zones, region: Some(Region::from("sim-7")) };
        Ok((volume(made.id.as_str()), topology))
    }

    async fn delete(&self, volume: &VolumeRef) {
        let VolumeSource::Csi { handle, .. } = &volume.source else { panic!("{volume:?}") };
        self.console.delete_piece::<Volume>(&VolumeId::from(handle.as_str())).await.unwrap();
    }

    fn unknown(&self, number: usize) -> VolumeRef {
        volume(&format!("vol-{:016x}", 0xffff_0000 + number))
    }

    fn malformed(&self) -> Result<VolumeRef, Unsupported> {
        Ok(volume("../../tokens"))
    }
}
