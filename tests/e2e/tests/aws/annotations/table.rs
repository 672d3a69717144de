//! Every annotation, what it is set to, and what comes of it; of both kinds what both have.

mod classic;
mod network;

pub(super) use self::classic::classic;
pub(super) use self::network::{managed, network};

use ccm_core::cluster::keys::SOURCE_RANGES;
use ccm_e2e::{Aws, World};

use super::row::Row;

/// What rows name by ID.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) certificates: [String; 2],
    /// Security groups, `one` and `two`.
    pub(super) groups: [String; 2],
    /// Elastic IPs.
    pub(super) allocations: [String; 2],
    /// Subnets, in the order of their zones.
    pub(super) public: [String; 2],
}

impl Pieces {
    pub(super) async fn of(world: &World<Aws>) -> Self {
        let cloud = &world.cloud;
        Self {
            certificates: [cloud.certificate().await, cloud.certificate().await],
            groups: [
                cloud.security_group("one", false).await,
                cloud.security_group("two", false).await,
            ],
            allocations: [cloud.elastic_ip().await, cloud.elastic_ip().await],
            public: [cloud.network.public_a.clone(), cloud.network.public_b.clone()],
        }
    }
}

/// Where access logs go to.
const LOGS: (&str, &str) = ("access-log-s3-bucket-name", "logs");

/// Tags that are not asked for any more stay.
fn tags() -> Row {
    Row::of("additional-resource-tags")
        .then("team=red", &["team=red"])
        .then("team=blue", &["team=blue"])
        // Of what bears the Service's name, which ends like this, and of security groups.
        .stays("-additional-resource-tags", "-additional-resource-tags, team=blue")
        .stays(
            ": tags kubernetes.io/cluster/e2e=owned",
            ": tags kubernetes.io/cluster/e2e=owned, team=blue",
        )
}

/// Who may connect, which rules of two groups say.
fn ranges<'a>(more: &[&'a str]) -> Row {
    let with = |shows: &[&'a str]| [shows, more].concat();
    Row::of(SOURCE_RANGES)
        .then("10.0.0.0/8", &with(&["10.0.0.0/8"]))
        .then("10.0.0.0/9,192.0.2.0/24", &with(&["10.0.0.0/9", "192.0.2.0/24"]))
}

/// An annotation that is `true` or `false`, which may be written otherwise.
fn row_of_two(about: &'static str, on: &str, shows: &[&str]) -> Row {
    Row::of(about).then("true", shows).then("false", &[]).then(on, shows)
}
