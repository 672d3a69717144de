//! The operator's hand: drift, and pieces of others.

use rstest::rstest;
use simcloud::api::{
    Address, ChangeRule, ErrorBody, ErrorCode, Firewall, ForcedState, ListPieces, Listener,
    LoadBalancer, PieceState, SetLoadBalancerState, TargetGroup, path,
};

use super::super::support::{TOKEN, fleet, http, refused};
use super::{new_listener, new_rule, web};

#[tokio::test]
async fn pieces_are_removed_with_what_cannot_be_without_them() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    console.clear_calls().await.unwrap();

    console.remove_by_hand(&web.listener.id).await.unwrap();
    assert_eq!(refused(console.piece::<Listener>(&web.listener.id).await).0, 404);
    let wanted = new_listener(&web.balancer.id, &web.group.id);
    let again = console.create_piece(&wanted).await.unwrap();
    console.remove_by_hand(&web.group.id).await.unwrap();
    assert_eq!(refused(console.piece::<Listener>(&again.id).await).0, 404);
    assert_eq!(refused(console.piece::<TargetGroup>(&web.group.id).await).0, 404);

    console.remove_by_hand(&web.address.id).await.unwrap();
    let bare: LoadBalancer = console.piece(&web.balancer.id).await.unwrap();
    assert_eq!(bare, LoadBalancer { addresses: vec![], ..web.balancer });
    console.remove_by_hand(&web.rule.id).await.unwrap();
    let empty: Firewall = console.piece(&web.firewall.id).await.unwrap();
    assert_eq!(empty.rule_count, 0);
    assert_ne!(empty.etag, web.firewall.etag);
    console.remove_by_hand(&web.firewall.id).await.unwrap();
    console.remove_by_hand(&bare.id).await.unwrap();

    assert!(console.snapshot(&[].into()).await.unwrap().is_empty());
    let calls = console.calls().await.unwrap();
    assert_eq!(calls.mutations(), 1, "what the operator does is not counted");
    for id in ["lb-0000000000000001", "r-0000000000000001", "nonsense"] {
        let (status, code, _) = refused(console.remove_by_hand(id).await);
        assert_eq!((status, code), (404, ErrorCode::NotFound), "{id}");
    }
}

#[tokio::test]
async fn a_load_balancer_goes_with_its_listeners_and_frees_its_address() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    console.remove_by_hand(&web.balancer.id).await.unwrap();
    assert_eq!(console.all_pieces::<Listener>(ListPieces::default()).await.unwrap(), []);
    assert_eq!(console.piece::<Address>(&web.address.id).await.unwrap().load_balancer, None);
    console.delete_piece::<Address>(&web.address.id).await.unwrap();
    console.delete_piece::<TargetGroup>(&web.group.id).await.unwrap();
}

#[tokio::test]
async fn a_rule_is_changed_where_it_stands() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    let change = ChangeRule { source: Some("0.0.0.0/0".parse().unwrap()), ..Default::default() };
    let changed = console.change_rule_by_hand(&web.rule.id, &change).await.unwrap();
    assert_eq!(changed.id, web.rule.id);
    let mut spec = new_rule("u-1");
    spec.source = "0.0.0.0/0".parse().unwrap();
    assert_eq!(changed.spec, spec);
    assert_eq!(console.all_rules(&web.firewall.id).await.unwrap(), [changed]);
    assert_ne!(console.piece::<Firewall>(&web.firewall.id).await.unwrap().etag, web.firewall.etag);

    let odd = ChangeRule { node_ports: Some(vec![]), ..ChangeRule::default() };
    let (status, _, error) = refused(console.change_rule_by_hand(&web.rule.id, &odd).await);
    assert_eq!((status, &*error.message), (400, "spec.node_ports: must have at least one"));
    let nobody = "r-0000000000000009".into();
    assert_eq!(refused(console.change_rule_by_hand(&nobody, &odd).await).0, 404);
}

#[tokio::test]
async fn a_load_balancer_breaks_and_works_again() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    let broken =
        SetLoadBalancerState { state: ForcedState::Failed, failure: Some("flooded".into()) };
    let shown = console.set_load_balancer_state(&web.balancer.id, &broken).await.unwrap();
    assert_eq!((shown.state, shown.failure.as_deref()), (PieceState::Failed, Some("flooded")));
    let mended = SetLoadBalancerState { state: ForcedState::Active, failure: None };
    let shown = console.set_load_balancer_state(&web.balancer.id, &mended).await.unwrap();
    assert_eq!(shown, web.balancer);
}

#[rstest]
#[case::a_snapshot("GET", path::SNAPSHOT)]
#[case::a_removal("DELETE", "/control/pieces/x")]
#[case::a_change("PATCH", "/control/rules/x")]
#[case::a_state("PUT", "/control/load-balancers/x/state")]
#[tokio::test]
async fn the_operators_hand_takes_the_control_token(#[case] method: &str, #[case] path: &str) {
    let cloud = fleet(0).await;
    let method = method.parse().unwrap();
    let request = http().request(method, cloud.url(path)).bearer_auth(TOKEN).body("{}");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 403);
    let ErrorBody { error } = response.json().await.unwrap();
    assert_eq!(error.code, ErrorCode::PermissionDenied);
}
