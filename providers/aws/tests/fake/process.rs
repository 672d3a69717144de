//! Processes of the provider.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ccm_awscloud::{Instance, World as Place};
use ccm_conformance::leave;
use ccm_core::cloud::{
    CloudProvider, ClusterName, ConfigFile, Facts, NodeAddress, NodeIdentity, NodeName, Setup, Uid,
};
use ccm_provider_aws::registration;
use ipnet::IpNet;

/// Where the fake's worlds are.
pub(crate) const REGION: &str = "us-east-1";

/// Before what annotations are called.
pub(crate) const PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";

/// How long a question may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a process of this cluster is built from: one that runs elsewhere, with its credentials from
/// the fake's instance metadata, and this in `[Global]`. The caller is a part of its user agent.
pub(crate) fn setup(url: &str, place: &Place, cluster: &str, caller: &str, extra: &str) -> Setup {
    let Place { vpc, public_a, .. } = place;
    let mut text = format!(
        "[Global]\nRegion = {REGION}\nVPC = {vpc}\nSubnetID = {public_a}\nKubernetesClusterID = {cluster}\n{extra}\n"
    );
    let services = ["EC2", "Elastic Load Balancing", "Elastic Load Balancing v2", "ec2imds"];
    for (number, service) in services.into_iter().enumerate() {
        write!(
            text,
            "[ServiceOverride \"{number}\"]\nService = {service}\nRegion = {REGION}\nURL = {url}\n\
             SigningRegion = {REGION}\n"
        )
        .unwrap();
    }
    Setup {
        config: Some(ConfigFile { path: "/etc/aws.conf".into(), bytes: text.into() }),
        cluster_name: ClusterName::from("kubernetes"),
        user_agent: format!("{caller}/1"),
        cluster_cidrs: Vec::new(),
    }
}

/// A process that is not connected yet. The ranges are the cluster's.
pub(crate) fn built(setup: &Setup, ranges: &[IpNet]) -> Arc<dyn CloudProvider> {
    let setup = Setup { cluster_cidrs: ranges.to_vec(), ..setup.clone() };
    (registration().build)(&setup).unwrap()
}

/// A process that is connected.
pub(crate) async fn connected(setup: &Setup) -> Arc<dyn CloudProvider> {
    let provider = built(setup, &[]);
    provider.connect(&leave(PATIENCE), &Facts::default()).await.unwrap();
    provider
}

/// The node that joins from an instance, before anybody has seen it. Its UID is the instance's ID.
pub(crate) fn node(made: &Instance) -> NodeIdentity {
    NodeIdentity {
        name: NodeName::from(made.private_dns.as_str()),
        uid: Uid::from(made.id.as_str()),
        created: SystemTime::now(),
        provider_id: None,
        system_uuid: None,
        addresses: vec![NodeAddress::internal(made.private_ip.parse().unwrap())],
        labels: [].into(),
        annotations: [].into(),
        is_initialized: false,
    }
}
