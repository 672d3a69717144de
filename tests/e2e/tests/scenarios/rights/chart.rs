//! Whoever comes from the Go program has a role already: that of its published chart is enough for nodes
//! and Services, and what it lacks for volumes is said once.
//!
//! <https://github.com/kubernetes/cloud-provider-aws/blob/master/charts/aws-cloud-controller-manager/values.yaml>

use ccm_e2e::{NAMESPACE, SOON, Setup, Signal, Wanted, World, run};
use ccm_envtest::Grant;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use super::{dies, is_served_from, volume_is_refused};
use crate::lifecycle::{live, names};

/// The chart's `clusterRoleRules`: group, resources, verbs.
fn rules() -> Vec<PolicyRule> {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| -> Value {
        json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
    };
    let rules = json!([
        rule("", &["events"], &["create", "patch", "update"]),
        rule("", &["nodes"], &["*"]),
        rule("", &["nodes/status"], &["patch"]),
        rule("", &["services"], &["list", "patch", "update", "watch"]),
        rule("", &["services/status"], &["list", "patch", "update", "watch"]),
        rule("", &["serviceaccounts"], &["create"]),
        rule("", &["persistentvolumes"], &["get", "list", "update", "watch"]),
        rule("", &["endpoints"], &["create", "get", "list", "watch", "update"]),
        rule("coordination.k8s.io", &["leases"], &["create", "get", "list", "watch", "update"]),
        rule("", &["serviceaccounts/token"], &["create"]),
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        rule("authorization.k8s.io", &["subjectaccessreviews"], &["create"]),
    ]);
    serde_json::from_value(rules).unwrap()
}

#[test]
fn under_the_role_of_the_go_chart_nodes_and_services_are_seen_to() {
    run(async {
        let mut world = World::start().await;
        let grants = [
            Grant::ClusterRules(rules()),
            Grant::RoleNamed {
                namespace: NAMESPACE.to_owned(),
                name: "extension-apiserver-authentication-reader".to_owned(),
            },
        ];
        let who = world.account_with("proof-chart", &grants).await;
        let setup = Setup::new().quick().serving().flag("--allocate-node-cidrs");
        let setup = setup.routes("10.244.0.0/16");
        let mut ccm = world.ccm_as(&who, &setup);
        live(&world, &names(3)).await;
        for name in names(3) {
            world.reachable(&name).await;
        }
        world.cloud.stop("n1").await;
        world.set_ready("n1", false).await;
        let is_tainted =
            |seen: &ccm_e2e::Seen| seen.has_taint("node.cloudprovider.kubernetes.io/shutdown");
        world.node_until("n1", "tainted", SOON, is_tainted).await;
        dies(&world, "n2").await;

        let made = world.served(&Wanted::named("web")).await;
        world.change_ports("web", &[80, 443]).await;
        world.ready("web").await;
        let reasons = world.service_reasons("web").await;
        assert!(reasons.contains(&"EnsuredLoadBalancer".to_owned()), "{reasons:?}");
        world.remove_service("web").await;
        assert_eq!(world.cloud.lines_of(&made.uid).await, [""; 0]);
        is_served_from(&world, "db", "n0").await;

        // Whose certificates count, whose tokens, and what they may.
        assert_eq!(ccm.ask("/metrics").await.status, 200);
        let stranger = ccm.stranger();
        assert_eq!(stranger.get("/metrics").await.unwrap().status, 403);
        let account = world.control_plane().service_account("default", "proof-chart", &[]).await;
        let asker = stranger.as_whom(account.unwrap().credentials());
        assert_eq!(asker.get("/metrics").await.unwrap().status, 403);

        for name in ["p1", "p2"] {
            volume_is_refused(&world, name).await;
        }
        ccm.signal(Signal::TERM);
        assert!(ccm.end(SOON).await.success());
        let denied = world.traffic_by(&[who.user()]).await.answered(403);
        let mut lines = denied.lines();
        lines.dedup();
        assert_eq!(lines, ["patch persistentvolumes 403"], "nothing else is lacking:\n{denied}");
        let said = ccm.warnings("cannot patch resource");
        assert_eq!(said.len(), 1, "{said:#?}");
    });
}
