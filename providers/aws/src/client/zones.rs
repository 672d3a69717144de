//! Availability zones. They hardly ever change, and are kept for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use ccm_core::cloud::{CloudError, Read};

use super::kept::Kept;
use super::{Client, read};
use crate::actions::DESCRIBE_AVAILABILITY_ZONES;

/// The zones of the region by name.
pub(crate) type Zones = BTreeMap<String, ZoneInfo>;

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneInfo {
    /// `euw1-az1`: the same zone in all accounts.
    pub(crate) id: Option<String>,
    /// `availability-zone`; `local-zone`, `wavelength-zone` and others are no place for a load
    /// balancer of ours.
    pub(crate) kind: String,
}

impl Client {
    /// The zones, or those that were seen, if that is fresh enough.
    pub(crate) async fn zones(
        &self,
        cx: &Read,
        kept: &Kept<Zones>,
    ) -> Result<Arc<Zones>, CloudError> {
        let ask = async || {
            let request = self.sdk()?.ec2.describe_availability_zones();
            let answer = read(cx, &DESCRIBE_AVAILABILITY_ZONES, request.send()).await?;
            let zone = |zone: aws_sdk_ec2::types::AvailabilityZone| {
                let kind = zone.zone_type.unwrap_or_else(|| "availability-zone".to_owned());
                Some((zone.zone_name?, ZoneInfo { id: zone.zone_id, kind }))
            };
            Ok(answer.availability_zones.unwrap_or_default().into_iter().filter_map(zone).collect())
        };
        kept.get(cx, || ask()).await
    }
}
