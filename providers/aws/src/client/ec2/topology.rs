//! `DescribeInstanceTopology`: where in the network an instance is.

use std::collections::BTreeMap;

use ccm_core::cloud::{CloudError, Read};

use super::{next, some};
use crate::actions::DESCRIBE_INSTANCE_TOPOLOGY;
use crate::client::{Client, read};

/// Instances in one question:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTopology.html>.
pub(crate) const MOST_INSTANCES: usize = 100;

impl Client {
    /// The network nodes above these instances, the outermost first. An instance of a type without
    /// such an answer is left out.
    pub(crate) async fn topology(
        &self,
        cx: &Read,
        ids: &[String],
    ) -> Result<BTreeMap<String, Vec<String>>, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        let (mut all, mut page) = (BTreeMap::new(), None);
        loop {
            // A page size is refused beside IDs.
            let ask = ec2
                .describe_instance_topology()
                .set_instance_ids(Some(ids.to_vec()))
                .set_next_token(page);
            let answer = read(cx, &DESCRIBE_INSTANCE_TOPOLOGY, ask.send()).await?;
            let known = answer.instances().iter();
            let known =
                known.filter_map(|it| Some((some(it.instance_id())?, it.network_nodes().to_vec())));
            all.extend(known);
            page = next(answer.next_token());
            if page.is_none() {
                return Ok(all);
            }
        }
    }
}
