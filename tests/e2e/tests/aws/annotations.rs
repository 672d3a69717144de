//! Each annotation is set, changed and taken away, and boto3 sees what comes of it.

mod drive;
mod row;
mod table;

use std::collections::BTreeSet;

use ccm_e2e::{World, annotation_key, run};

use self::drive::drive;
use self::row::Row;
use self::table::{Pieces, classic, managed, network};

/// Annotations that no row is about, and why.
const NOT_HERE: [(Kind, &str, &str); 10] = [
    (Kind::Both, "type", "it makes another load balancer: services.rs"),
    (Kind::Classic, "target-group-attributes", "refused: there are none"),
    (Kind::Classic, "eip-allocations", "of no effect, which an event says"),
    (Kind::Classic, "private-ipv4-addresses", "of no effect, which an event says"),
    (Kind::Network, "extra-security-groups", "refused: there are none"),
    (Kind::Network, "access-log-emit-interval", "of no effect, which an event says"),
    (Kind::Network, "connection-draining-enabled", "of no effect, which an event says"),
    (Kind::Network, "connection-draining-timeout", "of no effect, which an event says"),
    (Kind::Network, "connection-idle-timeout", "of no effect, which an event says"),
    (Kind::Network, "proxy-protocol", "of no effect, which an event says"),
];

/// Of which kind of load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Both,
    Classic,
    Network,
}

#[test]
fn classic_load_balancers() {
    run(async {
        let world = World::aws(&[]).await;
        let pieces = Pieces::of(&world).await;
        // The rule for a user's group bears no mark: nobody could say whose it was.
        let leaves = ["one", "two"].map(|group| format!("security group nodes.e2e: in -1 {group}"));
        drive(&world, false, &classic(&pieces), &leaves).await;
    });
}

#[test]
fn network_load_balancers() {
    run(async {
        let world = World::aws(&[]).await;
        let pieces = Pieces::of(&world).await;
        drive(&world, true, &network(&pieces), &[]).await;
    });
}

#[test]
fn network_load_balancers_with_managed_groups() {
    run(async {
        let world = World::aws(&["NLBSecurityGroupMode = Managed"]).await;
        let pieces = Pieces::of(&world).await;
        drive(&world, true, &managed(&pieces), &[]).await;
    });
}

#[test]
fn every_annotation_that_is_declared_has_its_rows() {
    let pieces = Pieces::default();
    let rows = |rows: Vec<Row>| rows.into_iter().map(|row| annotation_key(row.about)).collect();
    let classic: BTreeSet<_> = rows(classic(&pieces));
    let mut both: BTreeSet<_> = rows(network(&pieces));
    both.extend(rows(managed(&pieces)));
    for (kind, have) in [(Kind::Classic, classic), (Kind::Network, both)] {
        let excused = NOT_HERE.iter().filter(|it| it.0 == kind || it.0 == Kind::Both);
        let excused: BTreeSet<_> = excused.map(|it| annotation_key(it.1)).collect();
        let declared = ccm_provider_aws::registration().service_annotations.declared;
        for key in declared.iter().map(|it| it.key.to_owned()) {
            assert_ne!(have.contains(&key), excused.contains(&key), "{kind:?}: {key}");
        }
    }
}
