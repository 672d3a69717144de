//! Names that are cut, and those that have the cluster's in them.

use ccm_e2e::{Go, Setup, World, run};
use serde_json::json;

use super::{Case, Takeover};

/// Target groups and security groups have the first letters of namespace and name in theirs, and the flag
/// `--cluster-name` in the hash behind them.
#[test]
fn of_another_namespace_and_cluster() {
    run(async {
        let mut world = World::aws(&["NLBSecurityGroupMode = Managed"]).await;
        world.use_namespace("team-9-payments-live").await;
        world.go_nodes(2, &[]).await;
        let cluster = "live.eu.example.com";
        let go =
            Go { manages_groups: true, cluster_name: Some(cluster.to_owned()), ..Go::default() };
        let setup = Setup::new().flag(format!("--cluster-name={cluster}"));
        let cases = [
            Case::named("web-frontend-of-the-shop", &[]),
            Case::network("web-frontend-of-the-till", &[]).ports(&[80, 443]),
            // What is left of both names is the same.
            Case::network("a-1", &[]).spec("externalTrafficPolicy", json!("Local")),
            Case::network("a1", &[]).spec("loadBalancerSourceRanges", json!(["10.0.0.0/8"])),
        ];
        let takeover = Takeover::of(&world, &go).await.setup(setup);
        let spoil = async || {
            for name in ["target group k8s-team9pay-webfront-", "security group k8s-team9pay-a1-"] {
                assert!(!world.cloud.lines_with(name).await.is_empty(), "{name}");
            }
        };
        takeover.run_spoilt(&cases, spoil).await;
    });
}
