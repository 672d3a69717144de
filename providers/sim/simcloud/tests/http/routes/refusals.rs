//! What the cloud refuses of routes.

use rstest::rstest;
use simcloud::api::{
    CreateRoute, DescribeRoutes, ErrorBody, ErrorCode, Etag, ListPieces, Quota, Route,
    SettingsPatch, UpdateRoute, path,
};

use super::super::support::{TOKEN, fleet, http, refused};
use super::{id, instance, new_route, retarget, tags};

#[rstest]
#[case::host_bits(
    CreateRoute { destination: "10.1.2.9/24".parse().unwrap(), ..new_route(2) },
    ErrorCode::InvalidArgument,
    "destination: 10.1.2.9/24 has host bits; 10.1.2.0/24 has not",
)]
#[case::a_destination_that_is_taken(
    CreateRoute { name: "other".into(), target: instance(2), ..new_route(1) },
    ErrorCode::Conflict,
    "destination: route rt-0000000000000001 has 10.1.1.0/24 in table main",
)]
#[case::a_terminated_target(
    CreateRoute { target: instance(3), ..new_route(2) },
    ErrorCode::Conflict,
    "target: instance i-0000000000000003 is gone, or never was",
)]
#[case::an_unknown_target(
    CreateRoute { target: "node-1".into(), ..new_route(2) },
    ErrorCode::Conflict,
    "target: instance node-1 is gone, or never was",
)]
#[case::no_table(
    CreateRoute { table: Some(String::new()), ..new_route(2) },
    ErrorCode::InvalidArgument,
    "table: must be 1 to 253 visible ASCII characters, not \"\"",
)]
#[tokio::test]
async fn creations(#[case] wanted: CreateRoute, #[case] code: ErrorCode, #[case] message: &str) {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    console.terminate_instance(&instance(3)).await.unwrap();
    console.create_piece(&new_route(1)).await.unwrap();
    console.clear_calls().await.unwrap();

    let (_, refused_with, error) = refused(console.create_piece(&wanted).await);
    assert_eq!((refused_with, &*error.message), (code, message));
    let first = CreateRoute { destination: "10.2.0.0/24".parse().unwrap(), ..new_route(2) };
    let whole = console.create_routes(vec![first, wanted]).await;
    let (_, refused_with, error) = refused(whole);
    assert_eq!((refused_with, error.message), (code, format!("routes[1].{message}")));
    let all = console.all_pieces::<Route>(ListPieces::default()).await.unwrap();
    assert_eq!(all.len(), 1, "all or none");
    assert_eq!(console.calls().await.unwrap().mutations(), 0);
}

#[tokio::test]
async fn a_batch_may_not_contradict_itself() {
    let cloud = fleet(2).await;
    let other = CreateRoute { name: "other".into(), ..new_route(1) };
    let batch = cloud.console.create_routes(vec![new_route(1), other]).await;
    let (status, _, error) = refused(batch);
    assert_eq!(status, 409);
    let want = "routes[1].destination: route rt-0000000000000001 has 10.1.1.0/24 in table main";
    assert_eq!(error.message, want);
}

#[tokio::test]
async fn another_table_is_another_place() {
    let cloud = fleet(1).await;
    cloud.console.create_piece(&new_route(1)).await.unwrap();
    let aside = CreateRoute { table: Some("aside".into()), ..new_route(1) };
    cloud.console.create_piece(&aside).await.unwrap();
}

#[tokio::test]
async fn a_route_that_has_changed_is_left_to_those_who_know() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    let made: Route = console.create_piece(&new_route(1)).await.unwrap();
    let taken_over =
        UpdateRoute { tags: Some(tags("u-2")), etag: Some(made.etag.clone()), ..retarget(2) };
    let moved = console.update_piece::<Route>(&id(), &taken_over).await.unwrap();
    console.clear_calls().await.unwrap();

    let want = format!("etag: route {} has {}, not {}", id(), moved.etag, made.etag);
    let late = UpdateRoute { etag: Some(made.etag.clone()), ..retarget(3) };
    let (status, code, error) = refused(console.update_piece::<Route>(&id(), &late).await);
    assert_eq!((status, code, error.message), (409, ErrorCode::Conflict, want.clone()));
    let (status, code, error) = refused(console.delete_route(&id(), &made.etag).await);
    assert_eq!((status, code, error.message), (409, ErrorCode::Conflict, want));

    assert_eq!(console.piece::<Route>(&id()).await.unwrap(), moved);
    assert_eq!(console.calls().await.unwrap().mutations(), 0);
    console.delete_route(&id(), &moved.etag).await.unwrap();
    assert_eq!(refused(console.delete_route(&id(), &moved.etag).await).0, 404);
}

#[tokio::test]
async fn one_of_two_who_know_the_same_form_is_told() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    let made: Route = console.create_piece(&new_route(1)).await.unwrap();
    let [one, other] =
        [2, 3].map(|number| UpdateRoute { etag: Some(made.etag.clone()), ..retarget(number) });
    let id = id();
    let (one, other) = tokio::join!(
        console.update_piece::<Route>(&id, &one),
        console.update_piece::<Route>(&id, &other),
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let loser = if one.is_ok() { other } else { one };
    assert_eq!(refused(loser).0, 409);
}

#[tokio::test]
async fn a_target_that_is_gone_is_no_new_one() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    console.create_piece(&new_route(1)).await.unwrap();
    console.terminate_instance(&instance(2)).await.unwrap();
    let (status, _, error) = refused(console.update_piece::<Route>(&id(), &retarget(2)).await);
    assert_eq!(status, 409);
    assert_eq!(error.message, "target: instance i-0000000000000002 is gone, or never was");
}

#[tokio::test]
async fn there_are_only_so_many_of_a_table() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    let quotas = Some([(Quota::RoutesOfTable, 2)].into());
    let patch = SettingsPatch { quotas, ..SettingsPatch::default() };
    console.change_settings(&patch).await.unwrap();
    console.create_piece(&new_route(1)).await.unwrap();

    let (status, code, error) =
        refused(console.create_routes(vec![new_route(2), new_route(3)]).await);
    assert_eq!((status, code), (403, ErrorCode::QuotaExceeded));
    assert_eq!(error.message, "the quota routes_of_table is used up: 2");
    console.create_piece(&new_route(2)).await.unwrap();
    let aside = CreateRoute { table: Some("aside".into()), ..new_route(3) };
    console.create_piece(&aside).await.unwrap();
}

#[tokio::test]
async fn batches_have_an_end() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let owners = (0..100).map(|number| number.to_string()).collect();
    let destinations = vec!["10.1.1.0/24".parse().unwrap()];
    let ask = DescribeRoutes { table: None, owners, destinations };
    assert_eq!(refused(console.describe_routes(&ask).await).1, ErrorCode::BatchTooLarge);
    let odd = DescribeRoutes {
        destinations: vec!["10.1.1.1/24".parse().unwrap()],
        ..DescribeRoutes::default()
    };
    let (_, code, error) = refused(console.describe_routes(&odd).await);
    assert_eq!(code, ErrorCode::InvalidArgument);
    assert_eq!(error.message, "destinations[0]: 10.1.1.1/24 has host bits; 10.1.1.0/24 has not");
    let many = (0..=100).map(new_route).collect();
    assert_eq!(refused(console.create_routes(many).await).1, ErrorCode::BatchTooLarge);
}

#[rstest]
#[case::another_table("PATCH", r#"{"table": "aside"}"#)]
#[case::another_destination("PATCH", r#"{"destination": "10.1.2.0/24"}"#)]
#[case::another_name("PATCH", r#"{"name": "other"}"#)]
#[tokio::test]
async fn what_is_fixed_stays(#[case] method: &str, #[case] body: &'static str) {
    let cloud = fleet(1).await;
    cloud.console.create_piece(&new_route(1)).await.unwrap();
    let url = cloud.url(&format!("{}/{}", path::ROUTES, id()));
    let request = http().request(method.parse().unwrap(), url).bearer_auth(TOKEN).body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 400);
    let ErrorBody { error } = response.json().await.unwrap();
    assert!(error.message.contains("unknown field"), "{}", error.message);
}

#[tokio::test]
async fn the_operators_hand_takes_the_control_token() {
    let cloud = fleet(0).await;
    let url = cloud.url(&path::forced_route("x"));
    let response = http().patch(url).bearer_auth(TOKEN).body("{}").send().await.unwrap();
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn an_odd_etag_fits_nothing() {
    let cloud = fleet(1).await;
    cloud.console.create_piece(&new_route(1)).await.unwrap();
    let odd = Etag::new("");
    assert_eq!(refused(cloud.console.delete_route(&id(), &odd).await).0, 409);
}
