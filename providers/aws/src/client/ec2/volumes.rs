//! `DescribeVolumes`.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    self as sdk,
    VolumeState::{Deleted, Deleting},
};
use ccm_core::cloud::{CloudError, Read};

use super::{Condition, filters, some};
use crate::actions::DESCRIBE_VOLUMES;
use crate::client::pages::pages;
use crate::client::{Client, read};

/// Volumes in a page. More is refused.
const PAGE: i32 = 500;

/// A volume, as far as it matters to where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The availability zone's name.
    pub(crate) zone: Option<String>,
    /// It is deleted, or about to be.
    pub(crate) is_deleted: bool,
}

impl Client {
    /// The volumes that fit, by their IDs. Those that do not exist are no error.
    pub(crate) async fn find_volumes(
        &self,
        cx: &Read,
        conditions: &[Condition<'_>],
    ) -> Result<BTreeMap<String, Volume>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        let volume = |record: &sdk::Volume| {
            let is_deleted = matches!(record.state(), Some(Deleting | Deleted));
            let id = record.volume_id().unwrap_or_default().to_owned();
            (id, Volume { zone: some(record.availability_zone()), is_deleted })
        };
        let found = pages(|page| async {
            let ask = ec2
                .describe_volumes()
                .set_filters(Some(filters(conditions)))
                .max_results(PAGE)
                .set_next_token(page);
            let answer = read(cx, &DESCRIBE_VOLUMES, ask.send()).await?;
            Ok((answer.volumes().iter().map(volume).collect(), answer.next_token))
        });
        Ok(found.await?.into_iter().collect())
    }
}
