//! Security groups of load balancers.

use std::collections::BTreeSet;

use ccm_e2e::{Aws, Go, Wanted, World, run};
use serde_json::json;

use super::{Case, LONG, Takeover, adopt, changes};

const MANAGED: &str = "NLBSecurityGroupMode = Managed";

#[test]
fn managed() {
    run(async {
        let world = World::aws(&[MANAGED]).await;
        world.go_nodes(2, &[]).await;
        let (own, shared) = (
            world.cloud.security_group("own", false).await,
            world.cloud.security_group("shared", false).await,
        );
        world.configure(&[MANAGED, &format!("ElbSecurityGroup = {shared}")]);
        let go = Go { manages_groups: true, elb_group: Some(shared), ..Go::default() };
        let cases = [
            Case::network("managed", &[]).ports(&[80, 443]),
            Case::network("ranges", &[("additional-resource-tags", "team=web")])
                .spec("loadBalancerSourceRanges", json!(["10.0.0.0/8"])),
            Case::network("named", &[("security-groups", &own)]),
            Case::named("shared", &[]),
        ];
        // Whoever shares the operator's group needs the nodes' rule for it.
        let takeover = Takeover::of(&world, &go).await;
        takeover.leaves("security group nodes.e2e: in -1 shared").run(&cases).await;
    });
}

/// AWS gives none to a Network Load Balancer that was made without.
#[test]
fn managed_since_it_was_made() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let own = world.cloud.security_group("own", false).await;
        let cases = [
            Case::network("bare", &[]).ends("security groups "),
            Case::network("named", &[("security-groups", &own)]).ends("security groups "),
        ];
        let takeover = Takeover::of(&world, &Go::default()).await;
        takeover.run_spoilt(&cases, async || world.configure(&[MANAGED])).await;
    });
}

/// Those that it has stay, and go with it.
#[test]
fn managed_no_more() {
    run(async {
        let world = World::aws(&[MANAGED]).await;
        world.go_nodes(2, &[]).await;
        let own = world.cloud.security_group("own", false).await;
        let change = ("cross-zone-load-balancing-enabled", "true", "cross_zone.enabled=true");
        // Nobody opens its group for another port.
        let cases = [
            Case::network("managed", &[])
                .then(change.0, change.1, change.2)
                .ends("security groups k8s-default-managed-"),
            Case::network("named", &[("security-groups", &own)]).ends("security groups own"),
        ];
        let go = Go { manages_groups: true, ..Go::default() };
        let takeover = Takeover::of(&world, &go).await;
        takeover.run_spoilt(&cases, async || world.configure(&[])).await;
    });
}

/// AWS refuses the rule that the Go program asks for, which gives up then: what is missing is made, and
/// nothing else is touched.
#[test]
fn managed_for_tls() {
    run(async {
        let world = World::aws(&[MANAGED]).await;
        world.go_nodes(2, &[]).await;
        let certificate = world.cloud.certificate().await;
        let cases = [Case::network("tls", &[("ssl-cert", &certificate)]).ports(&[443])];
        let go = Go { manages_groups: true, ..Go::default() };
        let takeover = Takeover::of(&world, &go).await;
        let service = world.go_fails(&go, &cases[0].wanted).await;
        let before = world.cloud.lines().await;
        let _ccm = world.ccm(&takeover.setup);
        world.all_ready(LONG).await;
        world.cloud.quiet().await;
        let done = world.cloud.changed(0).await;
        let allow = "AuthorizeSecurityGroupIngress ";
        assert_eq!(done, [allow, allow], "{:#?}", changes(&world, 0).await);
        let lines = world.cloud.lines().await;
        let is_there = |line: &String| lines.contains(line) || line.contains(": tags ");
        assert!(before.iter().all(is_there), "{before:#?} {lines:#?}");
        let own = world.cloud.lines_with("k8s-default-tls-").await;
        assert!(own.iter().any(|line| line.contains(": in tcp 443-443 0.0.0.0/0")), "{own:#?}");
        let client = format!("nlb/client={}", service.balancer());
        assert_eq!(world.cloud.lines_with(&client).await.len(), 1);
        takeover.changed(&cases).await;
        takeover.comes_back(&cases).await;
    });
}

/// AWS has refused to make the load balancer, whose group is there: it is used, not made again. That of a
/// Service that does not exist any more is left: nothing says whose it was.
#[test]
fn of_a_classic_load_balancer_that_was_never_made() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let before = Takeover::of(&world, &Go::default()).await;
        for name in ["lost", "refused"] {
            let service = world.go_fails(&Go::default(), &Wanted::named(name)).await;
            let args = json!({"LoadBalancerName": service.balancer()});
            world.cloud.boto("elb", "delete_load_balancer", args).await;
            // The nodes are opened last.
            let id = of_service(&world, &service.balancer()).await;
            let rule = json!({"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": id}]});
            let node_group = &world.cloud.network.node_group;
            let args = json!({"GroupId": node_group, "IpPermissions": [rule]});
            world.cloud.boto("ec2", "revoke_security_group_ingress", args).await;
            if name == "lost" {
                world.go_loses(name).await;
            }
        }
        let _ccm = world.ccm(&before.setup);
        world.all_ready(LONG).await;
        world.cloud.quiet().await;
        let done = world.cloud.changed(0).await;
        assert!(!done.iter().any(|call| call.starts_with("CreateSecurityGroup")), "{done:?}");
        assert!(!done.iter().any(|call| call.starts_with("Delete")), "{done:?}");
        let cases = [Case::named("refused", &[])];
        before.changed(&cases).await;
        world.remove_service("refused").await;
        world.cloud.quiet().await;
        let left = world.cloud.lines_with("security group k8s-elb-").await;
        assert!(!left.is_empty(), "the lost one's is nobody's to delete");
        let names: BTreeSet<_> = left.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(names.len(), 1, "{left:?}");
    });
}

/// The ID of the group that was made for this load balancer.
async fn of_service(world: &World<Aws>, balancer: &str) -> String {
    let name = format!("k8s-elb-{balancer}");
    let args = json!({"Filters": [{"Name": "group-name", "Values": [name]}]});
    let seen = world.cloud.boto("ec2", "describe_security_groups", args).await;
    seen["SecurityGroups"][0]["GroupId"].as_str().unwrap().to_owned()
}

/// Those of the operator come and go as the annotation says.
#[test]
fn of_the_operator() {
    run(async {
        let world = World::aws(&[]).await;
        world.go_nodes(2, &[]).await;
        let (extra, own) = (
            world.cloud.security_group("extra", true).await,
            world.cloud.security_group("own", false).await,
        );
        let cases = [
            Case::named("extra", &[("extra-security-groups", &extra)]),
            // That the groups change is in the table of annotations: the nodes' rule for one of before is
            // nobody's, and stays.
            Case::named("groups", &[("security-groups", &own)]),
            Case::named(
                "groups-both",
                &[("security-groups", &own), ("extra-security-groups", &extra)],
            ),
        ];
        adopt(&world, &Go::default(), &cases).await;
    });
}
