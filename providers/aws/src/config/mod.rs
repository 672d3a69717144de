//! What `--cloud-config` says: the INI file of the AWS cloud-controller-manager.

use std::num::NonZeroU16;

use ccm_core::cloud::{ConfigError, ConfigFile, IpFamily};

/// The file, read and checked. No file: all defaults.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `Region`, or that of `Zone`, which goes before it. `None`: asked from the instance metadata.
    pub(crate) region: Option<String>,
    /// `VPC`.
    pub(crate) vpc: Option<String>,
    /// `SubnetID`.
    pub(crate) subnet: Option<String>,
    /// `RouteTableID`. Empty: those that bear the cluster's tag.
    pub(crate) route_tables: Vec<String>,
    /// `KubernetesClusterID`, or `KubernetesClusterTag`. `None`: found on the own instance.
    pub(crate) cluster: Option<crate::ground::Cluster>,
    /// `DisableSecurityGroupIngress`.
    pub(crate) keeps_off_node_groups: bool,
    /// `ElbSecurityGroup`.
    pub(crate) elb_security_group: Option<String>,
    /// `NodeIPFamilies`, at least one.
    pub(crate) node_families: Vec<IpFamily>,
    /// `ClusterServiceLoadBalancerHealthProbeMode`, with its port and path.
    pub(crate) health_probe: HealthProbe,
    /// `SupportedTopologyInstanceTypePattern`.
    pub(crate) needs_topology: regex::Regex,
    /// `NLBSecurityGroupMode=Managed`.
    pub(crate) manages_nlb_groups: bool,
}

/// What asks a node whether it can take traffic that any node may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthProbe {
    /// `ServiceNodePort`: the Service's own port.
    ServiceNodePort,
    /// `Shared`: kube-proxy answers for all Services.
    Shared {
        /// Where.
        port: NonZeroU16,
        /// At which path.
        path: String,
    },
}

impl Config {
    /// Reads and checks the file.
    pub(crate) fn read(_file: Option<&ConfigFile>) -> Result<Self, ConfigError> {
        Err(ConfigError::new("the configuration cannot be read yet"))
    }
}
