//! What is asked for twice.

use simcloud::api::{
    AddRule, ChangeTargets, CreateAddress, CreateFirewall, CreateListener, CreateLoadBalancer,
    CreateTargetGroup, ErrorCode, NewPiece, Operation, Piece, UpdateLoadBalancer, path,
};

use super::super::support::{Fixture, fleet, refused};
use super::{
    new_address, new_balancer, new_firewall, new_group, new_listener, new_rule, tags, web,
};

/// Makes the same twice; says whether the cloud took the second for a repetition.
async fn twice<N: NewPiece>(cloud: &Fixture, wanted: &N) -> bool {
    let mut ids = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let request = cloud.post(path::pieces(N::Piece::KIND)).json(wanted);
        let response = request.send().await.unwrap();
        statuses.push(response.status().as_u16());
        ids.push(response.json::<N::Piece>().await.unwrap().id().to_string());
    }
    match (ids[0] == ids[1], &statuses[..]) {
        (true, [201, 200]) => true,
        (false, [201, 201]) => false,
        odd => panic!("{odd:?}"),
    }
}

fn token() -> String {
    "t-1".to_owned()
}

#[tokio::test]
async fn a_token_makes_a_repetition_harmless() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    assert!(twice(&cloud, &CreateAddress { client_token: Some(token()), ..new_address() }).await);
    assert!(twice(&cloud, &CreateTargetGroup { client_token: Some(token()), ..new_group() }).await);
    assert!(
        twice(&cloud, &CreateLoadBalancer { client_token: Some(token()), ..new_balancer() }).await
    );
    assert!(twice(&cloud, &CreateFirewall { client_token: Some(token()), ..new_firewall() }).await);
    let (balancer, group) = ("lb-0000000000000001".into(), "tg-0000000000000001".into());
    let listener = new_listener(&balancer, &group);
    assert!(twice(&cloud, &CreateListener { client_token: Some(token()), ..listener }).await);
    let wanted = AddRule { spec: new_rule("u-1"), client_token: Some(token()) };
    let rule = console.add_rule(&"fw-0000000000000001".into(), &wanted).await.unwrap();
    let again = console.add_rule(&"fw-0000000000000001".into(), &wanted).await.unwrap();
    assert_eq!(again, rule);

    let calls = console.calls().await.unwrap();
    assert_eq!(calls.mutations_by("ccm"), 5, "one of each");
    assert_eq!(calls.mutations_of(Operation::AddRule), 1);
    let other = AddRule { spec: new_rule("u-2"), client_token: Some(token()) };
    let (status, code, error) =
        refused(console.add_rule(&"fw-0000000000000001".into(), &other).await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));
    assert_eq!(error.message, "client_token: it came with another request before");
}

#[tokio::test]
async fn without_a_token_a_repetition_makes_a_second() {
    let cloud = fleet(1).await;
    assert!(!twice(&cloud, &new_address()).await);
    assert!(!twice(&cloud, &new_group()).await);
}

#[tokio::test]
async fn what_is_so_already_is_no_change() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    console.clear_calls().await.unwrap();

    let same = UpdateLoadBalancer {
        addresses: Some(web.balancer.addresses.clone()),
        tags: Some(tags("u-1")),
    };
    console.update_piece::<simcloud::api::LoadBalancer>(&web.balancer.id, &same).await.unwrap();
    let change = ChangeTargets {
        add: vec!["i-0000000000000001".into()],
        remove: vec!["i-0000000000000002".into(), "nonsense".into()],
    };
    console.change_targets(&web.group.id, &change).await.unwrap();
    let rules =
        simcloud::api::ReplaceRules { etag: web.firewall.etag.clone(), rules: vec![web.rule.spec] };
    let firewall = console.replace_rules(&web.firewall.id, &rules).await.unwrap();
    assert_eq!(firewall, web.firewall);

    let calls = console.calls().await.unwrap();
    assert_eq!((calls.total, calls.mutations()), (3, 0));
    assert_eq!(calls.counts[0].instances, 3, "targets count as instances");
    let log = console.call_log(0).await.unwrap();
    assert!(log.entries.iter().all(|entry| !entry.changed));
    let resources: Vec<_> =
        log.entries.iter().filter_map(|entry| entry.resource.as_deref()).collect();
    let ids = [web.balancer.id.as_str(), web.group.id.as_str(), web.firewall.id.as_str()];
    assert_eq!(resources, ids);
}
