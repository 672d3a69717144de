//! The kit's behaviours on a cloud whose reads are late: what is there is seen seconds after it was made, and
//! what was deleted is seen for as long.
//!
//! Here the provider's own [`lag`](ccm_core::cloud::Converge::lag) is waited for, by the clock.

use std::time::Duration;

use ccm_awscloud::{Fault as Spec, FaultKind};

use super::{AwsHarness, Balancers};

/// How late reads are. Less than the provider reckons with.
const LATE: Duration = Duration::from_secs(3);

/// What load balancers and routes are made of. Machines and networks are there long before anybody asks.
const READS: [&str; 6] = [
    "elb:reads",
    "elbv2:reads",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSecurityGroupRules",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
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

/// Makes tests of these behaviours. They wait for minutes: the others, but for those that want to see at
/// once what somebody else has done, are tried by hand, with `conformance!` in this macro's place.
macro_rules! behaviours {
    ($capability:ident, $balancers:ident: $($behaviour:ident)+) => {
        $(
            #[test]
            fn $behaviour() {
                let harness = async { AwsHarness::late(Balancers::$balancers).await };
                ccm_conformance::run(harness, ccm_conformance::$capability::$behaviour);
            }
        )+
    };
}

/// The same of load balancers of one kind.
macro_rules! balancers {
    ($balancers:ident) => {
        behaviours! {
            load_balancers, $balancers:
            a_new_service_gets_an_address
            a_deleted_service_leaves_nothing
            a_service_can_be_made_again
            a_service_of_the_same_name_is_another
            a_change_can_be_taken_back_on_its_way
            targets_follow_the_nodes
            services_share_and_part
            a_denied_change_says_so_and_heals
            a_lost_answer_does_no_harm
            a_process_that_dies_at_every_change_gets_there
        }
    };
}

mod classic {
    use super::*;

    balancers!(Classic);
}

mod network {
    use super::*;

    balancers!(Network);
}

mod routes {
    use super::*;

    behaviours! {
        routes, Classic:
        a_new_node_is_routed
        a_node_that_goes_leaves_nothing
        a_node_can_come_back
        a_node_can_come_back_while_its_route_goes
        another_range_is_followed
        a_range_passes_to_another_node
        a_lost_answer_does_no_harm
        a_crash_while_making_leaves_no_trace
        a_crash_while_taking_away_leaves_no_trace
    }
}
