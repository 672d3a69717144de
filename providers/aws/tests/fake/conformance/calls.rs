//! What the quota is spent on.

use std::collections::BTreeMap;

use ccm_conformance::{Harness, RouteRig, leave};
use ccm_core::cloud::{Ask, ProviderId};

use super::{AwsHarness, Duration, instance};

impl AwsHarness {
    /// The calls of this test's processes since a mark, but for those about the network's topology,
    /// which the fake does not know.
    async fn spent(&self, mark: u64) -> BTreeMap<String, u64> {
        let mut counts = self.console.counts(mark, &self.caller).await.unwrap();
        counts.retain(|action, _| !action.ends_with("DescribeInstanceTopology"));
        let name = |action: String| action.rsplit(':').next().unwrap_or_default().to_owned();
        counts.into_iter().map(|(action, count)| (name(action), count)).collect()
    }
}

fn calls<const N: usize>(all: [(&str, u64); N]) -> BTreeMap<String, u64> {
    all.into_iter().map(|(action, count)| (action.to_owned(), count)).collect()
}

/// A look at many is one call for those with a provider ID and one for those without; a confirmation
/// is a direct one. What zones are called is asked for once.
#[tokio::test]
async fn nodes_are_asked_about_together() {
    let harness = AwsHarness::start().await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(harness.launch().await);
    }
    for node in &mut nodes[2..] {
        let id = format!("aws:///us-east-1a/{}", instance(node));
        node.provider_id = Some(ProviderId::try_from(id.as_str()).unwrap());
    }
    let instances = harness.provider.instances().unwrap();
    let ask = async |ask| {
        let mark = harness.console.mark().await.unwrap();
        instances.describe(&leave(Duration::from_secs(30)), ask, &nodes).await.unwrap();
        harness.spent(mark).await
    };
    let first = calls([("DescribeAvailabilityZones", 1), ("DescribeInstances", 2)]);
    assert_eq!(ask(Ask::Look).await, first);
    assert_eq!(ask(Ask::Look).await, calls([("DescribeInstances", 2)]));
    assert_eq!(ask(Ask::Confirm).await, calls([("DescribeInstances", 2)]));
}

/// A look at the tables costs two calls, however many nodes there are, and a new node no more than
/// its two changes beside that.
#[tokio::test]
async fn routes_cost_little() {
    let harness = AwsHarness::start().await;
    let mut rig = RouteRig::start(&harness).await;
    let (old, new) = (rig.node().await, rig.node().await);
    rig.present(&old);
    rig.settled().await;
    let mark = harness.console.mark().await.unwrap();
    rig.look_again().await;
    let idle = calls([("DescribeInstances", 1), ("DescribeRouteTables", 1)]);
    assert_eq!(harness.spent(mark).await, idle);
    let mark = harness.console.mark().await.unwrap();
    rig.present(&new);
    rig.settled().await;
    let spent = harness.spent(mark).await;
    assert_eq!(spent["CreateRoute"] + spent["ModifyInstanceAttribute"], 2, "{spent:?}");
    // One look before, one after, and the one by which the kit sees that nothing is left to do.
    assert!(spent["DescribeRouteTables"] <= 3, "{spent:?}");
}
