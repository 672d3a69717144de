//! The kit's behaviours of load balancers on a cloud whose reads are late: what is there is seen seconds
//! after it was made, and what was deleted is seen for as long.
//!
//! Here the provider's own [`lag`](ccm_core::cloud::Converge::lag) is waited for, by the clock.

use std::time::Duration;

use ccm_awscloud::{Fault as Spec, FaultKind};

use super::{AwsHarness, Balancers};

/// How late reads are. Less than the provider reckons with.
const LATE: Duration = Duration::from_secs(3);

/// What a load balancer is made of. Machines and networks are there long before anybody asks.
const READS: [&str; 5] = [
    "elb:reads",
    "elbv2:reads",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeNetworkInterfaces",
];

impl AwsHarness {
    /// All of these reads are late.
    async fn late(balancers: Balancers) -> Self {
        let mut harness = Self::with(balancers).await;
        let ms = u64::try_from(LATE.as_millis()).unwrap();
        for reads in READS {
            // Not among those that the kit ordered, and heals.
            let fault = Spec::new(reads, FaultKind::Stale { ms }).of(&harness.caller);
            let number = harness.console.add_fault(&fault).await.unwrap();
            harness.late.push(number);
        }
        harness
    }
}

mod classic {
    use super::*;

    ccm_conformance::conformance!(load_balancers, AwsHarness::late(Balancers::Classic).await);
}

mod network {
    use super::*;

    ccm_conformance::conformance!(load_balancers, AwsHarness::late(Balancers::Network).await);
}
