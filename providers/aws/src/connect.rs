//! Finding out where the cluster is: region, VPC, cluster ID.

use aws_credential_types::provider::SharedCredentialsProvider;
use ccm_core::cloud::{CloudError, Kind, Read};
use tracing::{info, warn};

use crate::client::Sdk;
use crate::client::ec2::instances::Machine;
use crate::client::imds::Imds;
use crate::config::Config;
use crate::ground::{Cluster, Ground, Home, OwnInstance};
use crate::marks::{CLUSTER_PREFIX, LEGACY_KEY, Tags};

/// What keeps a machine's metadata from it.
const HOP_LIMIT: &str = "in a pod of its own network the instance's hop limit must be 2 or more";
/// What to do where the region cannot be had from the machine.
const GIVE_REGION: &str = "give Region or Zone in [Global] of --cloud-config";
/// What to do where the machine cannot be had.
const GIVE_PLACE: &str = "where this process runs outside of the cluster's VPC, give VPC, \
                          KubernetesClusterID and one of SubnetID and RoleARN in [Global] of \
                          --cloud-config";

/// Fills [`Ground::client`] and [`Ground::home`]. May be repeated.
pub(crate) async fn connect(ground: &Ground, cx: &Read) -> Result<(), CloudError> {
    connect_as(ground, cx, None).await
}

/// As [`connect`], with credentials other than those that the SDK finds.
async fn connect_as(
    ground: &Ground,
    cx: &Read,
    base: Option<SharedCredentialsProvider>,
) -> Result<(), CloudError> {
    if ground.home.get().is_some() {
        return Ok(());
    }
    let config = &ground.config;
    let imds = Imds::new(config)?;
    let region = match &config.region {
        Some(region) => region.clone(),
        None => imds
            .region(cx)
            .await
            .map_err(|err| advise(err, "the region is not known", GIVE_REGION))?,
    };
    if ground.client.sdk().is_err() {
        for (unused, why) in config.overrides.unused(&region, config.role.is_some()) {
            let (line, name) = (unused.line, &unused.name);
            warn!("--cloud-config, line {line}: the endpoint for {name:?} is not used: {why}");
        }
        let sdk = Box::pin(Sdk::new(config, &region, &ground.user_agent, &imds, base)).await?;
        ground.client.connect(sdk);
    }
    let own = if config.is_elsewhere() {
        None
    } else {
        let id = imds.instance_id(cx).await;
        let id = id.map_err(|err| advise(err, "the own instance is not known", GIVE_PLACE))?;
        Some(own(ground, cx, &region, &id).await?)
    };
    let home = home(config, region, own)?;
    info!(
        region = home.region,
        vpc = home.vpc,
        cluster = home.cluster.id,
        legacy_tag = home.cluster.legacy,
        instance = home.own.as_ref().map(|own| &own.id),
        "the cluster's place in AWS is known"
    );
    // Another call may have been quicker: it found the same.
    let _ = ground.home.set(home);
    Ok(())
}

/// The machine with this ID.
async fn own(ground: &Ground, cx: &Read, region: &str, id: &str) -> Result<Machine, CloudError> {
    let found = ground.client.instances_by_id(cx, &[id.to_owned()]).await;
    let own = found.and_then(|found| {
        let own = found.into_iter().find(|machine| machine.id == id);
        let message = format!("DescribeInstances knows no instance {id}");
        own.ok_or_else(|| CloudError::new(Kind::NotFound, message))
    });
    match own {
        Ok(own) => Ok(own),
        // It runs, so it is looked for in the wrong place.
        Err(err) if err.kind() == Kind::NotFound => {
            let what = format!(
                "the instance {id} that this process runs on is not in region {region} of the \
                 account whose credentials are used"
            );
            let message = format!("{what}: {GIVE_PLACE}");
            Err(CloudError::new(Kind::InvalidConfiguration, message).with_source(err))
        }
        Err(err) => Err(err),
    }
}

/// Says what the failure means, and what to do if it stays.
fn advise(err: CloudError, what: &str, advice: &str) -> CloudError {
    let (kind, advice) = match err.kind() {
        // The service is there, and has nothing to say: only an operator can help.
        Kind::NotFound => (Kind::InvalidConfiguration, advice.to_owned()),
        Kind::Unavailable => (Kind::Unavailable, format!("{HOP_LIMIT}; or {advice}")),
        kind => (kind, advice.to_owned()),
    };
    CloudError::new(kind, format!("{what}: {err}; {advice}")).with_source(err)
}

/// Puts together where the cluster is. `own` is missing where the process runs elsewhere.
fn home(config: &Config, region: String, own: Option<Machine>) -> Result<Home, CloudError> {
    let (vpc, subnet) = match &own {
        Some(own) => (own.vpc.clone(), own.subnet.clone()),
        None => (config.vpc.clone(), config.subnet.clone()),
    };
    let Some(vpc) = vpc else {
        let message = "the instance that this process runs on is in no VPC";
        return Err(CloudError::new(Kind::InvalidConfiguration, message));
    };
    let cluster = match (&config.cluster, &own) {
        (Some(cluster), _) => cluster.clone(),
        (None, Some(own)) => cluster(own)?,
        // It runs elsewhere only where the cluster is configured.
        (None, None) => return Err(no_cluster("no machine is asked")),
    };
    let own = own.map(|own| {
        let private_dns_name = own.private_dns_name.unwrap_or_default();
        OwnInstance { id: own.id, private_dns_name }
    });
    Ok(Home { region, vpc, subnet, own, cluster })
}

/// The cluster's ID by the tags of one of its machines.
fn cluster(own: &Machine) -> Result<Cluster, CloudError> {
    let id = &own.id;
    let wrong = |what: String| {
        let message = format!(
            "the cluster's ID is not known: {what}; leave one, or give KubernetesClusterID in \
             [Global] of --cloud-config"
        );
        CloudError::new(Kind::InvalidConfiguration, message)
    };
    let ids = ids(&own.tags);
    let legacy = own.tags.get(LEGACY_KEY).filter(|id| !id.is_empty());
    match (&ids[..], legacy) {
        ([], None) => {
            Err(no_cluster(&format!("the instance {id} has no tag {CLUSTER_PREFIX}<id>")))
        }
        ([], Some(legacy)) => Ok(Cluster { id: legacy.clone(), legacy: true }),
        ([one], None) => Ok(Cluster { id: (*one).to_owned(), legacy: false }),
        ([one], Some(legacy)) if one == legacy => Ok(Cluster { id: legacy.clone(), legacy: true }),
        ([one], Some(legacy)) => Err(wrong(format!(
            "the instance {id} has the tags {CLUSTER_PREFIX}{one} and {LEGACY_KEY}={legacy}"
        ))),
        (several, _) => {
            let keys: Vec<_> = several.iter().map(|id| format!("{CLUSTER_PREFIX}{id}")).collect();
            Err(wrong(format!("the instance {id} has the tags {}", keys.join(", "))))
        }
    }
}

/// The IDs in tags of the newer kind.
fn ids(tags: &Tags) -> Vec<&str> {
    let ids = tags.keys().filter_map(|key| key.strip_prefix(CLUSTER_PREFIX));
    ids.filter(|id| !id.is_empty()).collect()
}

fn no_cluster(why: &str) -> CloudError {
    let message = format!(
        "the cluster's ID is not known: {why}; tag the instance, or give KubernetesClusterID in \
         [Global] of --cloud-config"
    );
    CloudError::new(Kind::InvalidConfiguration, message)
}

#[cfg(test)]
mod tests;
