//! Instances become nodes.

use std::time::Duration;

use ccm_e2e::{Setup, World, run};

#[test]
fn two_hundred_instances_become_nodes() {
    run(async {
        let world = World::aws(&[]).await;
        let instances = world.join_instances(200).await;
        let mark = world.cloud.mark().await.unwrap();
        let _ccm = world.ccm(&Setup::new());
        world.all_initialized(Duration::from_mins(1)).await;
        for instance in &instances {
            let node = world.node(&instance.private_dns).await;
            assert_eq!(node.provider_id, Some(instance.provider_id()));
        }
        let asked = world.cloud.asked(mark).await;
        let describes = asked.get("DescribeInstances").copied().unwrap_or_default();
        assert!(describes <= 8, "{asked:?}");
        assert_eq!(world.cloud.changed(mark).await, [""; 0]);
    });
}
