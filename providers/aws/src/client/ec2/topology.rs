//! `DescribeInstanceTopology`: where in the network an instance is.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::describe_instance_topology::DescribeInstanceTopologyError;
use ccm_core::cloud::{CloudError, Read};

use super::some;
use crate::actions::DESCRIBE_INSTANCE_TOPOLOGY;
use crate::client::pages::pages;
use crate::client::{Client, read};
use crate::error::code;

/// Instances in one question:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTopology.html>.
pub(crate) const MOST_INSTANCES: usize = 100;

/// What there is to know of instances' places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// The network nodes above each, the outermost first. An instance of a type without such an
    /// answer is left out.
    Known(BTreeMap<String, Vec<String>>),
    /// The region does not offer it.
    NotOffered,
    /// The credentials lack this very right.
    NotAllowed,
}

impl Client {
    /// Where these instances are in the network.
    pub(crate) async fn topology(&self, cx: &Read, ids: &[String]) -> Result<Places, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        let known = pages(|page| async {
            // A page size is refused beside IDs.
            let ask = ec2
                .describe_instance_topology()
                .set_instance_ids(Some(ids.to_vec()))
                .set_next_token(page);
            let answer = read(cx, &DESCRIBE_INSTANCE_TOPOLOGY, ask.send()).await?;
            let known = answer.instances().iter();
            let known =
                known.filter_map(|it| Some((some(it.instance_id())?, it.network_nodes().to_vec())));
            Ok((known.collect(), answer.next_token))
        });
        match known.await {
            Ok(known) => Ok(Places::Known(known.into_iter().collect())),
            // By their codes: credentials that have expired are denied too, and say nothing.
            Err(err) => match code::<DescribeInstanceTopologyError>(&err) {
                Some("UnsupportedOperation") => Ok(Places::NotOffered),
                Some("UnauthorizedOperation") => Ok(Places::NotAllowed),
                _ => Err(err),
            },
        }
    }
}
