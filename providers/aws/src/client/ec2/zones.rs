//! `DescribeAvailabilityZones`.

use std::collections::BTreeMap;

use ccm_core::cloud::{CloudError, Read};

use super::some;
use crate::actions::DESCRIBE_AVAILABILITY_ZONES;
use crate::client::{Client, read};

/// Zones by their names.
pub(crate) type Zones = BTreeMap<String, ZoneInfo>;

/// What tells zones apart beside their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneInfo {
    /// `use1-az1`: the same place in every account, where names are not.
    pub(crate) id: Option<String>,
    /// `availability-zone`, `local-zone` or `wavelength-zone`.
    pub(crate) kind: Option<String>,
}

impl Client {
    /// The region's zones by their names. Local and wavelength zones are among them where the
    /// account has opted in.
    pub(crate) async fn zones(&self, cx: &Read) -> Result<Zones, CloudError> {
        let ask = self.sdk()?.ec2.describe_availability_zones();
        let answer = read(cx, &DESCRIBE_AVAILABILITY_ZONES, ask.send()).await?;
        let zones = answer.availability_zones().iter().filter_map(|zone| {
            let info = ZoneInfo { id: some(zone.zone_id()), kind: some(zone.zone_type()) };
            Some((some(zone.zone_name())?, info))
        });
        Ok(zones.collect())
    }
}
