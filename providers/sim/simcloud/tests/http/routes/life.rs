//! What becomes of routes.

use simcloud::api::{
    ChangeRoute, CreateRoute, DescribeRoutes, ListPieces, MAIN_TABLE, Operation, PieceKind,
    PieceState, Route, SettingsPatch, UpdateRoute,
};

use super::super::support::{Scratch, config, fleet, nodes, refused, start};
use super::{id, instance, names, new_route, retarget, tags};

#[tokio::test]
async fn a_route_is_made_changed_and_deleted() {
    let cloud = fleet(2).await;
    let console = &cloud.console;

    let made: Route = console.create_piece(&new_route(1)).await.unwrap();

    assert_eq!((made.id.clone(), &*made.name, &*made.table), (id(), "u-1-ipv4", MAIN_TABLE));
    assert_eq!((made.state, made.blackhole), (PieceState::Active, false));
    assert_eq!((&made.target, &made.tags), (&instance(1), &tags("u-1")));
    assert_eq!(console.piece::<Route>(&id()).await.unwrap(), made);

    let moved = console.update_piece::<Route>(&id(), &retarget(2)).await.unwrap();
    assert_eq!(moved.target, instance(2));
    assert_ne!(moved.etag, made.etag);
    let update = UpdateRoute { tags: Some(tags("u-2")), ..UpdateRoute::default() };
    let tagged = console.update_piece::<Route>(&id(), &update).await.unwrap();
    assert_eq!(tagged.tags, tags("u-2"));
    assert_ne!(tagged.etag, moved.etag);
    let same = console.update_piece::<Route>(&id(), &update).await.unwrap();
    assert_eq!(same, tagged, "it was so already");
    assert_eq!(console.calls().await.unwrap().mutations_of(Operation::UpdateRoute), 2);

    console.delete_piece::<Route>(&id()).await.unwrap();
    assert_eq!(refused(console.piece::<Route>(&id()).await).0, 404);
    let again = console.create_piece(&new_route(1)).await.unwrap();
    assert_ne!(again.id, id(), "IDs are never given again");
}

#[tokio::test]
async fn lists_are_narrowed_and_paged() {
    let cloud = fleet(4).await;
    let console = &cloud.console;
    for number in 1..=3 {
        console.create_piece(&new_route(number)).await.unwrap();
    }
    let aside = CreateRoute { table: Some("aside".into()), ..new_route(1) };
    console.create_piece(&aside).await.unwrap();
    let limit = SettingsPatch { page_limit: Some(2), ..SettingsPatch::default() };
    console.change_settings(&limit).await.unwrap();
    let found = async |ask: ListPieces| {
        let all: Vec<Route> = console.all_pieces(ask).await.unwrap();
        all.iter().map(|one| format!("{}@{}", one.name, one.table)).collect::<Vec<_>>().join(" ")
    };

    let all = "u-1-ipv4@main u-2-ipv4@main u-3-ipv4@main u-1-ipv4@aside";
    assert_eq!(found(ListPieces::default()).await, all);
    let table = Some("main".to_owned());
    let main = ListPieces { table: table.clone(), ..ListPieces::default() };
    assert_eq!(found(main).await, "u-1-ipv4@main u-2-ipv4@main u-3-ipv4@main");
    let destination = Some("10.1.1.0/24".parse().unwrap());
    let there = ListPieces { destination, ..ListPieces::default() };
    assert_eq!(found(there.clone()).await, "u-1-ipv4@main u-1-ipv4@aside");
    assert_eq!(found(ListPieces { table, ..there }).await, "u-1-ipv4@main");
    assert_eq!(found(ListPieces::named("u-2-ipv4")).await, "u-2-ipv4@main");
    assert_eq!(found(ListPieces::tagged(tags("u-3"))).await, "u-3-ipv4@main");
}

#[tokio::test]
async fn a_describe_finds_by_owner_and_by_destination_each_once() {
    let cloud = fleet(4).await;
    let console = &cloud.console;
    for number in 1..=3 {
        console.create_piece(&new_route(number)).await.unwrap();
    }
    let aside = CreateRoute { table: Some("aside".into()), ..new_route(4) };
    console.create_piece(&aside).await.unwrap();
    console.clear_calls().await.unwrap();

    let ask = DescribeRoutes {
        table: Some("main".into()),
        owners: vec!["u-3".into(), "u-4".into(), "nobody".into()],
        destinations: vec![
            "10.1.3.0/24".parse().unwrap(),
            "10.1.2.0/24".parse().unwrap(),
            "10.9.0.0/16".parse().unwrap(),
        ],
    };
    let found = console.describe_routes(&ask).await.unwrap();
    assert_eq!(names(&found), ["u-2-ipv4", "u-3-ipv4"]);
    let anywhere = DescribeRoutes { table: None, ..ask };
    let found = console.describe_routes(&anywhere).await.unwrap();
    assert_eq!(names(&found), ["u-2-ipv4", "u-3-ipv4", "u-4-ipv4"]);
    let nothing = console.describe_routes(&DescribeRoutes::default()).await.unwrap();
    assert_eq!(nothing, []);
    let calls = console.calls().await.unwrap();
    assert_eq!((calls.of(Operation::DescribeRoutes), calls.mutations()), (3, 0));
}

#[tokio::test]
async fn a_batch_is_one_change() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    let with_token =
        |number| CreateRoute { client_token: Some(format!("t-{number}")), ..new_route(number) };
    console.clear_calls().await.unwrap();

    let batch: Vec<_> = [3, 1, 2].map(with_token).into();
    let made = console.create_routes(batch.clone()).await.unwrap();
    assert_eq!(names(&made), ["u-3-ipv4", "u-1-ipv4", "u-2-ipv4"], "in the order asked");
    assert_eq!(console.create_routes(batch).await.unwrap(), made, "a repetition");

    let calls = console.calls().await.unwrap();
    assert_eq!((calls.of(Operation::CreateRoutes), calls.mutations()), (2, 1));
    assert_eq!(calls.counts[0].instances, 6, "targets count as instances");
}

#[tokio::test]
async fn an_instance_that_ends_leaves_a_blackhole() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let made: Route = console.create_piece(&new_route(1)).await.unwrap();

    console.stop_instance(&instance(1)).await.unwrap();
    assert_eq!(console.piece::<Route>(&id()).await.unwrap(), made, "it may start again");
    console.terminate_instance(&instance(1)).await.unwrap();

    let lost = Route { blackhole: true, ..made };
    assert_eq!(console.piece::<Route>(&id()).await.unwrap(), lost);
    let ask = DescribeRoutes { owners: vec!["u-1".into()], ..DescribeRoutes::default() };
    assert_eq!(console.describe_routes(&ask).await.unwrap(), std::slice::from_ref(&lost));
    let all: Vec<Route> = console.all_pieces(ListPieces::default()).await.unwrap();
    assert_eq!(all, [lost]);
    assert_eq!(
        console.snapshot(&tags("u-1")).await.unwrap().pieces,
        [r#"route "u-1-ipv4" main 10.1.1.0/24 to "node-0" blackhole cluster=a owner=u-1"#]
    );

    let mended = console.update_piece::<Route>(&id(), &retarget(2)).await.unwrap();
    assert!(!mended.blackhole);
    assert_eq!(
        console.snapshot(&[].into()).await.unwrap().pieces,
        [r#"route "u-1-ipv4" main 10.1.1.0/24 to "node-1" cluster=a owner=u-1"#]
    );
}

#[tokio::test]
async fn a_blackhole_outlives_the_record_of_its_instance() {
    let mut config = config();
    config.settings.terminated_retention_ms = 0;
    let cloud = start(config).await;
    let console = &cloud.console;
    console.create_instances(nodes(1)).await.unwrap();
    console.create_piece(&new_route(1)).await.unwrap();
    console.terminate_instance(&instance(1)).await.unwrap();
    assert_eq!(refused(console.instance(&instance(1)).await).0, 404);
    assert!(console.piece::<Route>(&id()).await.unwrap().blackhole);
}

#[tokio::test]
async fn the_operator_moves_and_removes_routes_behind_the_callers_back() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let made: Route = console.create_piece(&new_route(1)).await.unwrap();
    console.clear_calls().await.unwrap();

    let elsewhere = ChangeRoute { target: instance(2) };
    let moved = console.change_route_by_hand(&id(), &elsewhere).await.unwrap();
    assert_eq!(moved.target, instance(2));
    assert_ne!(moved.etag, made.etag);
    let nowhere = ChangeRoute { target: instance(99) };
    assert!(console.change_route_by_hand(&id(), &nowhere).await.unwrap().blackhole);
    let odd = ChangeRoute { target: "node-1".into() };
    let (status, _, error) = refused(console.change_route_by_hand(&id(), &odd).await);
    assert_eq!((status, &*error.message), (400, "target: node-1 is no ID of an instance"));
    console.remove_by_hand(id()).await.unwrap();

    assert_eq!(refused(console.piece::<Route>(&id()).await).0, 404);
    assert_eq!(console.calls().await.unwrap().mutations(), 0);
}

#[tokio::test]
async fn a_route_comes_and_goes_slowly() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let slow = Some([(PieceKind::Route, 60_000)].into());
    let delays = SettingsPatch {
        creation_delay_ms: slow.clone(),
        deletion_delay_ms: slow,
        ..SettingsPatch::default()
    };
    console.change_settings(&delays).await.unwrap();

    let made: Route = console.create_piece(&new_route(1)).await.unwrap();
    assert_eq!(made.state, PieceState::Provisioning);
    let going = console.delete_piece::<Route>(&id()).await.unwrap();
    assert_eq!(going.state, PieceState::Deleting);
    let (status, _, error) = refused(console.create_piece(&new_route(1)).await);
    assert_eq!(status, 409, "it has the destination until it is gone: {error:?}");
}

#[tokio::test]
async fn routes_survive_a_restart() {
    let scratch = Scratch::new("routes");
    let mut config = config();
    config.state_file = Some(scratch.file("state.json"));
    let cloud = start(config.clone()).await;
    cloud.console.create_instances(nodes(1)).await.unwrap();
    let made: Route = cloud.console.create_piece(&new_route(1)).await.unwrap();
    cloud.running.stop().await.unwrap();

    let cloud = start(config).await;
    assert_eq!(cloud.console.piece::<Route>(&made.id).await.unwrap(), made);
}
