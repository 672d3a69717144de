//! The chapter about a volume.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use simcloud::api::CreateVolume;

use super::super::stage::Stage;
use super::{SOON, Teller};
use crate::Error;

/// The driver of the simulated cloud's volumes.
const DRIVER: &str = "csi.sim.ccm.rs";

/// Tells the chapter about a volume.
pub(super) async fn tell(stage: &mut Stage, teller: Teller) -> Result<(), Error> {
    let text = "\
        A disk that was made by hand is in two zones. Its PersistentVolume says nothing of that, so a pod that \
        uses it might be sent to where it cannot be. It gets labels, and the node affinity that it lacks.";
    teller.chapter("17. A volume says where it is", text).await;
    let disk = CreateVolume::named("data", ["sim-1a", "sim-1c"]);
    let disk = stage.console.create_piece(&disk).await?;
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": "data"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": DRIVER, "volumeHandle": disk.id},
        },
    }))?;
    let volumes: Api<PersistentVolume> = Api::all(stage.control_plane.admin_client());
    volumes.create(&PostParams::default(), &volume).await?;
    let is_told = async || -> Result<bool, Error> {
        let volume = volumes.get("data").await?;
        let zone = volume.labels().get("topology.kubernetes.io/zone").map(String::as_str);
        let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
        Ok(zone == Some("sim-1a__sim-1c") && affinity.is_some())
    };
    stage.expect_so("the PersistentVolume says where it is", SOON, is_told).await?;
    teller.out.ok("data is in sim-1a and sim-1c, by its labels and its node affinity");
    Ok(())
}
