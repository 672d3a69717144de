//! Every fault on every operation about routes and volumes.

use rstest::rstest;
use simcloud::api::{
    CreateVolume, DescribeRoutes, DescribeVolumes, FaultKind, FaultSpec, ListPieces, Operation,
    OperationClass, OperationFilter, OperationShape, Outcome, PieceState, Route, SettingsPatch,
    UpdateVolume, Volume, VolumeId,
};
use simcloud::console::{Console, ConsoleError};

use super::super::support::{fleet, refused};
use super::{id, names, new_route, retarget, tags};

type Called = Result<(), ConsoleError>;

fn volume() -> VolumeId {
    "vol-0000000000000001".into()
}

fn owned(owner: &str) -> DescribeRoutes {
    DescribeRoutes { owners: vec![owner.into()], ..DescribeRoutes::default() }
}

/// Calls the operation in a way that would succeed, and that changes something if it is a write.
async fn call(console: &Console, operation: Operation) -> Called {
    let all = ListPieces::default;
    match operation {
        Operation::ListRoutes => console.list_pieces::<Route>(&all()).await.map(drop),
        Operation::GetRoute => console.piece::<Route>(&id()).await.map(drop),
        Operation::CreateRoute => console.create_piece(&new_route(2)).await.map(drop),
        Operation::UpdateRoute => {
            console.update_piece::<Route>(&id(), &retarget(2)).await.map(drop)
        }
        Operation::DeleteRoute => console.delete_piece::<Route>(&id()).await.map(drop),
        Operation::DescribeRoutes => console.describe_routes(&owned("u-1")).await.map(drop),
        Operation::CreateRoutes => {
            console.create_routes(vec![new_route(2), new_route(3)]).await.map(drop)
        }
        Operation::ListVolumes => console.list_pieces::<Volume>(&all()).await.map(drop),
        Operation::GetVolume => console.piece::<Volume>(&volume()).await.map(drop),
        Operation::CreateVolume => {
            console.create_piece(&CreateVolume::named("other", ["sim-1a"])).await.map(drop)
        }
        Operation::UpdateVolume => {
            let update = UpdateVolume { tags: Some(tags("blue")) };
            console.update_piece::<Volume>(&volume(), &update).await.map(drop)
        }
        Operation::DeleteVolume => console.delete_piece::<Volume>(&volume()).await.map(drop),
        Operation::DescribeVolumes => {
            let ask = DescribeVolumes { ids: vec![volume()] };
            console.describe_volumes(&ask).await.map(drop)
        }
        other => unreachable!("{other} is about something else"),
    }
}

fn operations() -> impl Iterator<Item = Operation> {
    let is_ours = |one: &Operation| {
        let name = one.as_str();
        name.contains("Route") || name.contains("Volume")
    };
    Operation::ALL.into_iter().filter(is_ours)
}

#[rstest]
#[case::denied(FaultKind::PermissionDenied, Outcome::ClientError, false)]
#[case::revoked(FaultKind::Unauthenticated, Outcome::ClientError, false)]
#[case::throttled(FaultKind::Throttle { retry_after_ms: Some(1) }, Outcome::Throttled, false)]
#[case::down(FaultKind::ServerError { status: 503 }, Outcome::ServerError, false)]
#[case::reset(FaultKind::Reset, Outcome::Cut, false)]
#[case::lost(FaultKind::LoseResponse, Outcome::Cut, true)]
#[tokio::test]
async fn faults(#[case] kind: FaultKind, #[case] outcome: Outcome, #[case] is_done: bool) {
    assert_eq!(operations().count(), 13);
    for operation in operations() {
        let cloud = fleet(3).await;
        let console = &cloud.console;
        console.create_piece(&new_route(1)).await.unwrap();
        console.create_piece(&CreateVolume::named("data", ["sim-1a"])).await.unwrap();
        console.clear_calls().await.unwrap();
        let fault = FaultSpec::next_calls(OperationFilter::One(operation), kind, 1);
        console.add_fault(&fault).await.unwrap();

        call(console, operation).await.unwrap_err();

        let calls = console.calls().await.unwrap();
        assert_eq!((calls.of(operation), calls.ended(outcome)), (1, 1), "{operation}");
        let is_write = operation.class() == OperationClass::Write;
        assert_eq!(calls.mutations(), u64::from(is_write && is_done), "{operation}");
    }
}

#[tokio::test]
async fn pages_are_cut_short() {
    for operation in operations() {
        let cloud = fleet(3).await;
        let console = &cloud.console;
        console.create_piece(&new_route(1)).await.unwrap();
        let whole = FaultKind::CutPage { missing_share: 1.0 };
        let spec = FaultSpec::always(OperationFilter::One(operation), whole);
        let fault = console.add_fault(&spec);
        match operation.shape() {
            OperationShape::Page | OperationShape::Many => drop(fault.await.unwrap()),
            OperationShape::One | OperationShape::Change => {
                assert_eq!(refused(fault.await).0, 400, "{operation}");
                continue;
            }
        }
        if operation == Operation::DescribeRoutes {
            assert_eq!(console.describe_routes(&owned("u-1")).await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn a_list_loses_its_end() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    console.create_routes(vec![new_route(1), new_route(2), new_route(3)]).await.unwrap();
    let limit = SettingsPatch { page_limit: Some(2), ..SettingsPatch::default() };
    console.change_settings(&limit).await.unwrap();
    let lists = OperationFilter::One(Operation::ListRoutes);
    let fault = FaultSpec::next_calls(lists, FaultKind::DropPageToken, 1);
    console.add_fault(&fault).await.unwrap();
    let all: Vec<Route> = console.all_pieces(ListPieces::default()).await.unwrap();
    assert_eq!(names(&all), ["u-1-ipv4", "u-2-ipv4"]);
}

#[rstest]
#[case::the_owner("u-1")]
#[case::the_name("u-1-ipv4")]
#[case::the_destination("10.1.1.0/24")]
#[case::the_id("rt-0000000000000001")]
#[tokio::test]
async fn one_route_is_struck_and_the_others_are_not(#[case] word: &str) {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    console.create_routes(vec![new_route(1), new_route(2)]).await.unwrap();
    let mut fault = FaultSpec::always(OperationFilter::Any, FaultKind::PermissionDenied);
    fault.resource = Some(word.to_owned());
    console.add_fault(&fault).await.unwrap();

    assert_eq!(refused(console.describe_routes(&owned("u-1")).await).0, 403);
    assert_eq!(refused(console.delete_piece::<Route>(&id()).await).0, 403);
    let other = "rt-0000000000000002".into();
    console.describe_routes(&owned("u-2")).await.unwrap();
    console.update_piece::<Route>(&other, &retarget(3)).await.unwrap();
    if word != "rt-0000000000000001" {
        let again = console.create_routes(vec![new_route(3), new_route(1)]).await;
        assert_eq!(refused(again).0, 403);
    }
    console.create_piece(&new_route(3)).await.unwrap();
    let all =
        ListPieces { destination: Some("10.1.2.0/24".parse().unwrap()), ..Default::default() };
    console.list_pieces::<Route>(&all).await.unwrap();
    assert_eq!(refused(console.list_pieces::<Route>(&ListPieces::default()).await).0, 403);
}

#[tokio::test]
async fn a_describe_lacks_just_the_one_that_is_named() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    console.create_routes(vec![new_route(1), new_route(2)]).await.unwrap();
    let describes = OperationFilter::One(Operation::DescribeRoutes);
    let mut fault = FaultSpec::always(describes, FaultKind::CutPage { missing_share: 1.0 });
    fault.resource = Some("u-1".into());
    console.add_fault(&fault).await.unwrap();
    let owners = vec!["u-1".into(), "u-2".into()];
    let ask = DescribeRoutes { owners, ..DescribeRoutes::default() };
    assert_eq!(names(&console.describe_routes(&ask).await.unwrap()), ["u-2-ipv4"]);
}

#[tokio::test]
async fn calls_about_an_instance_are_those_that_aim_at_it() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    console.create_piece(&new_route(1)).await.unwrap();
    let mut fault = FaultSpec::always(OperationFilter::Any, FaultKind::PermissionDenied);
    fault.instance = Some("node-1".into());
    console.add_fault(&fault).await.unwrap();
    assert_eq!(refused(console.create_piece(&new_route(2)).await).0, 403);
    let both = console.create_routes(vec![new_route(2), new_route(3)]).await;
    assert_eq!(refused(both).0, 403);
    assert_eq!(refused(console.update_piece::<Route>(&id(), &retarget(2)).await).0, 403);
    console.update_piece::<Route>(&id(), &retarget(3)).await.unwrap();
}

#[tokio::test]
async fn a_route_fails_and_can_only_be_deleted() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    let creations = OperationFilter::Class(OperationClass::Write);
    let fault = FaultSpec::next_calls(creations, FaultKind::FailProvisioning, 2);
    console.add_fault(&fault).await.unwrap();
    console.create_piece(&new_route(1)).await.unwrap();
    let made = console.create_routes(vec![new_route(2)]).await.unwrap();
    for id in [id(), made[0].id.clone()] {
        let failed: Route = console.piece(&id).await.unwrap();
        assert_eq!(failed.state, PieceState::Failed);
        assert_eq!(failed.failure.as_deref(), Some("it could not be provisioned"));
        assert_eq!(refused(console.update_piece::<Route>(&id, &retarget(3)).await).0, 409);
        console.delete_route(&id, &failed.etag).await.unwrap();
    }
}
