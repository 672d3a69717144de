//! What all rooms of the provider stand on: the API, the settings, and what was found at the start.

use std::sync::OnceLock;

use ccm_core::cloud::{CloudError, ClusterName, Kind};
use ipnet::IpNet;

use crate::client::Client;
use crate::config::Config;

/// What all rooms stand on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) client: Client,
    pub(crate) config: Config,
    /// `--cluster-name`. Part of some names; not what marks this cluster's resources.
    pub(crate) cluster_name: ClusterName,
    /// `--cluster-cidr`.
    pub(crate) cluster_cidrs: Vec<IpNet>,
    /// What the framework calls itself in `User-Agent`.
    pub(crate) user_agent: String,
    pub(crate) home: OnceLock<Home>,
}

/// Where the cluster is, as [`connect`](ccm_core::cloud::CloudProvider::connect) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// `eu-west-1`.
    pub(crate) region: String,
    /// `vpc-…`.
    pub(crate) vpc: String,
    /// The subnet of the machine that this process runs on, or the one that is configured: the last
    /// resort where a load balancer finds no other.
    pub(crate) subnet: Option<String>,
    /// The private DNS name and the ID of the machine that this process runs on, where it runs on
    /// one.
    pub(crate) own: Option<OwnInstance>,
    pub(crate) cluster: Cluster,
}

/// The machine that this process runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnInstance {
    pub(crate) id: String,
    pub(crate) private_dns_name: String,
}

/// What marks this cluster's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The end of the tag key `kubernetes.io/cluster/<id>`.
    pub(crate) id: String,
    /// Whether everything that is made bears `KubernetesCluster=<id>` too.
    pub(crate) legacy: bool,
}

impl Ground {
    /// Where the cluster is.
    pub(crate) fn home(&self) -> Result<&Home, CloudError> {
        self.home
            .get()
            .ok_or_else(|| CloudError::new(Kind::Unavailable, "AWS is not connected yet"))
    }
}
