//! What a plan for one Service is made beside: the place, the settings, and the network.

use std::collections::BTreeMap;
use std::sync::Arc;

use ccm_core::cloud::{ClusterName, ObjectId};

use crate::client::ec2::zones::Zones;
use crate::client::groups::SecurityGroup;
use crate::client::network::Network;
use crate::config::Config;
use crate::ground::Home;

/// Where a load balancer is made.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    pub(crate) id: &'a ObjectId,
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) cluster_name: &'a ClusterName,
    pub(crate) surroundings: &'a Surroundings,
    /// As the Service has them, or had them at last.
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

/// What was seen of the network around a load balancer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) network: Arc<Network>,
    pub(crate) zones: Arc<Zones>,
    /// The cluster's security groups, and those that bear a name that this Service's would have.
    pub(crate) groups: Vec<SecurityGroup>,
}
