//! Volumes.

use rstest::rstest;
use simcloud::api::{
    CreateVolume, DescribeVolumes, ErrorBody, ErrorCode, ListPieces, PieceState, Quota,
    SettingsPatch, UpdateVolume, Volume, VolumeId, path,
};

use super::support::{Scratch, TOKEN, cloud, config, http, refused, start};

fn id(number: u64) -> VolumeId {
    VolumeId::new(format!("vol-{number:016x}"))
}

fn new_volume() -> CreateVolume {
    let tags = [("cluster".into(), "a".into())].into();
    CreateVolume { size_gb: 20, tags, ..CreateVolume::named("data", ["sim-1a", "sim-1b"]) }
}

#[tokio::test]
async fn a_volume_is_made_tagged_and_deleted() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let made: Volume = console.create_piece(&new_volume()).await.unwrap();
    assert_eq!((made.id.clone(), &*made.name, made.size_gb), (id(1), "data", 20));
    assert_eq!((&*made.region, made.state), ("sim-1", PieceState::Active));
    assert_eq!(made.zones, ["sim-1a", "sim-1b"]);
    assert_eq!(console.piece::<Volume>(&id(1)).await.unwrap(), made);
    assert_eq!(
        console.snapshot(&[].into()).await.unwrap().pieces,
        [r#"volume "data" 20GB in sim-1 [sim-1a, sim-1b] cluster=a"#]
    );

    let update = UpdateVolume { tags: Some([("pool".into(), "blue".into())].into()) };
    let tagged = console.update_piece::<Volume>(&id(1), &update).await.unwrap();
    assert_eq!(tagged.tags.len(), 1);
    let blue = ListPieces::tagged([("pool".into(), "blue".into())].into());
    assert_eq!(console.all_pieces::<Volume>(blue).await.unwrap(), [tagged]);
    console.delete_piece::<Volume>(&id(1)).await.unwrap();
    assert_eq!(refused(console.piece::<Volume>(&id(1)).await).0, 404);
    assert_eq!(console.calls().await.unwrap().mutations(), 3);
}

#[tokio::test]
async fn a_volume_may_be_bound_to_no_zone() {
    let cloud = cloud().await;
    let anywhere: [&str; 0] = [];
    let wanted =
        CreateVolume { region: Some("sim-2".into()), ..CreateVolume::named("data", anywhere) };
    let made: Volume = cloud.console.create_piece(&wanted).await.unwrap();
    assert_eq!((made.zones, &*made.region), (vec![], "sim-2"));
}

#[tokio::test]
async fn a_describe_keeps_the_order_and_leaves_out_what_is_unknown() {
    let cloud = cloud().await;
    let console = &cloud.console;
    for _ in 0..3 {
        console.create_piece(&new_volume()).await.unwrap();
    }
    let ids = vec![id(3), "nonsense".into(), id(1), id(9), "i-0000000000000001".into(), id(3)];
    let found = console.describe_volumes(&DescribeVolumes { ids }).await.unwrap();
    assert_eq!(found.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), [id(3), id(1)]);

    let ids = (0..101).map(id).collect();
    let many = console.describe_volumes(&DescribeVolumes { ids }).await;
    assert_eq!(refused(many).1, ErrorCode::BatchTooLarge);
}

#[rstest]
#[case::no_size(CreateVolume { size_gb: 0, ..new_volume() }, "size_gb: must be at least 1")]
#[case::an_empty_zone(
    CreateVolume { zones: vec![String::new()], ..new_volume() },
    "zones: must be 1 to 253 visible ASCII characters, not \"\"",
)]
#[case::no_region(
    CreateVolume { region: Some(String::new()), ..new_volume() },
    "region: must be 1 to 253 visible ASCII characters, not \"\"",
)]
#[tokio::test]
async fn odd_volumes_are_refused(#[case] wanted: CreateVolume, #[case] message: &str) {
    let cloud = cloud().await;
    let (status, code, error) = refused(cloud.console.create_piece(&wanted).await);
    assert_eq!((status, code, &*error.message), (400, ErrorCode::InvalidArgument, message));
}

#[tokio::test]
async fn what_is_fixed_stays() {
    let cloud = cloud().await;
    cloud.console.create_piece(&new_volume()).await.unwrap();
    let url = cloud.url(&format!("{}/{}", path::VOLUMES, id(1)));
    let request = http().patch(url).bearer_auth(TOKEN).body(r#"{"zones": ["sim-1c"]}"#);
    let ErrorBody { error } = request.send().await.unwrap().json().await.unwrap();
    assert!(error.message.contains("unknown field"), "{}", error.message);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let cloud = cloud().await;
    let quotas = Some([(Quota::Volumes, 1)].into());
    let patch = SettingsPatch { quotas, ..SettingsPatch::default() };
    cloud.console.change_settings(&patch).await.unwrap();
    let wanted = CreateVolume { client_token: Some("t-1".into()), ..new_volume() };
    let made: Volume = cloud.console.create_piece(&wanted).await.unwrap();
    assert_eq!(cloud.console.create_piece(&wanted).await.unwrap(), made, "a repetition");
    let (_, code, _) = refused(cloud.console.create_piece(&new_volume()).await);
    assert_eq!(code, ErrorCode::QuotaExceeded);
    cloud.console.remove_by_hand(&made.id).await.unwrap();
    cloud.console.create_piece(&new_volume()).await.unwrap();
}

#[tokio::test]
async fn volumes_survive_a_restart() {
    let scratch = Scratch::new("volumes");
    let mut config = config();
    config.state_file = Some(scratch.file("state.json"));
    let cloud = start(config.clone()).await;
    let made: Volume = cloud.console.create_piece(&new_volume()).await.unwrap();
    cloud.running.stop().await.unwrap();
    let cloud = start(config).await;
    assert_eq!(cloud.console.piece::<Volume>(&made.id).await.unwrap(), made);
}
