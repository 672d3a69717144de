//! How pieces are made, found, changed and deleted.

use std::collections::BTreeMap;

use simcloud::api::{
    Address, ErrorCode, Firewall, HealthCheck, HealthProtocol, IpFamily, ListPieces, Listener,
    ListenerSettings, LoadBalancer, LoadBalancerId, NewPiece, Piece, PieceKind, PieceState,
    SettingsPatch, TargetGroup, UpdateAddress, UpdateFirewall, UpdateListener, UpdateLoadBalancer,
    UpdateTargetGroup, path,
};
use simcloud::console::Console;

use super::super::support::{Fixture, Scratch, cloud, config, eventually, fleet, refused, start};
use super::{new_address, new_balancer, new_firewall, new_group, new_listener, tags, web};

/// Makes one, finds it in every way, changes its tags, and deletes it.
async fn live<N>(cloud: &Fixture, wanted: &N, update: <N::Piece as Piece>::Update) -> N::Piece
where
    N: NewPiece,
    N::Piece: PartialEq + Clone,
{
    let console = &cloud.console;
    let kind = N::Piece::KIND;
    let response = cloud.post(path::pieces(kind)).json(wanted).send().await.unwrap();
    assert_eq!(response.status(), 201, "{kind}");
    let made: N::Piece = response.json().await.unwrap();
    assert_eq!(made.state(), PieceState::Active);
    assert_eq!(console.piece::<N::Piece>(made.id()).await.unwrap(), made);
    let find = async |ask: ListPieces| console.all_pieces::<N::Piece>(ask).await.unwrap();
    let one = [made.clone()];
    assert_eq!(find(ListPieces::default()).await, one);
    assert_eq!(find(ListPieces::named(made.name())).await, one);
    assert_eq!(find(ListPieces::tagged(made.tags().clone())).await, one);
    assert_eq!(find(ListPieces::named("nobody")).await, []);
    let other = BTreeMap::from([("cluster".to_owned(), "b".to_owned())]);
    assert_eq!(find(ListPieces::tagged(other)).await, []);

    let changed: N::Piece = console.update_piece(made.id(), &update).await.unwrap();
    assert_eq!(changed.tags()["colour"], "blue", "{kind}");
    assert_eq!(console.piece::<N::Piece>(made.id()).await.unwrap(), changed);
    made
}

async fn die<P: Piece>(console: &Console, id: &P::Id) {
    let ending: P = console.delete_piece(id).await.unwrap();
    assert_eq!(ending.state(), PieceState::Deleting);
    let (status, code, error) = refused(console.piece::<P>(id).await);
    assert_eq!((status, code), (404, ErrorCode::NotFound));
    assert_eq!(error.message, format!("no {} {id}", P::KIND.words()));
    assert_eq!(refused(console.delete_piece::<P>(id).await).0, 404);
    assert!(console.all_pieces::<P>(ListPieces::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn every_kind_lives_and_dies() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let mut tags = tags("u-1");
    tags.insert("colour".into(), "blue".into());
    let tags = Some(tags);

    let update = UpdateAddress { tags: tags.clone() };
    let address = live(&cloud, &new_address(), update).await;
    let update = UpdateTargetGroup { tags: tags.clone(), ..Default::default() };
    let group = live(&cloud, &new_group(), update).await;
    let update = UpdateLoadBalancer { tags: tags.clone(), ..Default::default() };
    let balancer = live(&cloud, &new_balancer(), update).await;
    let update = UpdateListener { tags: tags.clone(), ..Default::default() };
    let listener = live(&cloud, &new_listener(&balancer.id, &group.id), update).await;
    let firewall = live(&cloud, &new_firewall(), UpdateFirewall { tags }).await;

    die::<Listener>(console, &listener.id).await;
    die::<LoadBalancer>(console, &balancer.id).await;
    die::<TargetGroup>(console, &group.id).await;
    die::<Address>(console, &address.id).await;
    die::<Firewall>(console, &firewall.id).await;
    assert!(console.snapshot(&BTreeMap::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn addresses_are_given_from_ranges_for_documentation() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let v4 = console.create_piece(&new_address()).await.unwrap();
    assert_eq!((v4.address.to_string().as_str(), v4.requested), ("203.0.113.1", false));
    let mut wanted = new_address();
    wanted.family = IpFamily::Ipv6;
    let v6 = console.create_piece(&wanted).await.unwrap();
    assert_eq!(v6.address.to_string(), "2001:db8::1");

    wanted.family = IpFamily::Ipv4;
    wanted.address = Some("192.0.2.7".parse().unwrap());
    let asked = console.create_piece(&wanted).await.unwrap();
    assert_eq!((Some(asked.address), asked.requested), (wanted.address, true));
    let (status, code, error) = refused(console.create_piece(&wanted).await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));
    assert_eq!(error.message, "address: 192.0.2.7 is taken");
}

#[tokio::test]
async fn what_is_used_is_not_deleted() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    assert_eq!(web.address.load_balancer.as_ref(), Some(&web.balancer.id));
    let before = console.snapshot(&BTreeMap::new()).await.unwrap();

    let conflict = |(status, code, error): (u16, ErrorCode, simcloud::api::ErrorDetail)| {
        assert_eq!((status, code), (409, ErrorCode::Conflict));
        error.message
    };
    assert_eq!(
        conflict(refused(console.delete_piece::<Address>(&web.address.id).await)),
        "address addr-0000000000000001 is used by load balancer lb-0000000000000001"
    );
    assert_eq!(
        conflict(refused(console.delete_piece::<TargetGroup>(&web.group.id).await)),
        "target group tg-0000000000000001 is used by listener lsn-0000000000000001"
    );
    assert_eq!(
        conflict(refused(console.delete_piece::<LoadBalancer>(&web.balancer.id).await)),
        "load balancer lb-0000000000000001 has listener lsn-0000000000000001"
    );
    assert_eq!(
        conflict(refused(console.delete_piece::<Firewall>(&web.firewall.id).await)),
        "firewall fw-0000000000000001 has rules: 1"
    );
    assert_eq!(console.snapshot(&BTreeMap::new()).await.unwrap(), before);
}

#[tokio::test]
async fn listeners_are_pointed_elsewhere_and_found_by_load_balancer() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    let mut wanted = new_group();
    wanted.node_port = super::port(30_081);
    let other = console.create_piece(&wanted).await.unwrap();

    let settings =
        ListenerSettings { proxy_protocol: true, idle_timeout_s: 5, client_affinity_s: Some(9) };
    let update = UpdateListener {
        target_group: Some(other.id.clone()),
        settings: Some(settings.clone()),
        tags: None,
    };
    let changed: Listener = console.update_piece(&web.listener.id, &update).await.unwrap();
    assert_eq!(changed, Listener { target_group: other.id, settings, ..web.listener.clone() });
    console.delete_piece::<TargetGroup>(&web.group.id).await.unwrap();

    let of = async |id: &LoadBalancerId| {
        let found: Vec<Listener> = console.all_pieces(ListPieces::of(id.clone())).await.unwrap();
        found.len()
    };
    assert_eq!((of(&web.balancer.id).await, of(&"lb-0000000000000009".into()).await), (1, 0));
    let (status, _, error) =
        refused(console.list_pieces::<Address>(&ListPieces::of(web.balancer.id)).await);
    assert_eq!(status, 400);
    assert_eq!(
        error.message,
        "load_balancer: is unknown; there are page_token, page_size, name and tag"
    );
}

#[tokio::test]
async fn a_health_check_is_replaced_as_a_whole() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let made = console.create_piece(&new_group()).await.unwrap();
    let health_check = HealthCheck {
        protocol: HealthProtocol::Http,
        port: super::port(32_000),
        path: Some("/healthz".into()),
    };
    let update =
        UpdateTargetGroup { health_check: Some(health_check.clone()), ..Default::default() };
    let changed: TargetGroup = console.update_piece(&made.id, &update).await.unwrap();
    assert_eq!(changed, TargetGroup { health_check, ..made });
}

#[tokio::test]
async fn creation_and_deletion_take_the_time_that_is_set() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let slow = SettingsPatch {
        creation_delay_ms: Some([(PieceKind::LoadBalancer, 60)].into()),
        deletion_delay_ms: Some([(PieceKind::LoadBalancer, 60)].into()),
        ..SettingsPatch::default()
    };
    console.change_settings(&slow).await.unwrap();

    let made = console.create_piece(&new_balancer()).await.unwrap();
    assert_eq!(made.state, PieceState::Provisioning);
    let group = console.create_piece(&new_group()).await.unwrap();
    assert_eq!(group.state, PieceState::Active, "others take no time");
    eventually("it is active", async || {
        console.piece::<LoadBalancer>(&made.id).await.unwrap().state == PieceState::Active
    })
    .await;
    let ending: LoadBalancer = console.delete_piece(&made.id).await.unwrap();
    assert_eq!(ending.state, PieceState::Deleting);
    eventually("it is gone", async || console.piece::<LoadBalancer>(&made.id).await.is_err()).await;
}

#[tokio::test]
async fn changes_show_later() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let late = SettingsPatch { consistency_delay_ms: Some(600_000), ..SettingsPatch::default() };
    console.change_settings(&late).await.unwrap();

    let made = console.create_piece(&new_balancer()).await.unwrap();

    assert_eq!(refused(console.piece::<LoadBalancer>(&made.id).await).0, 404);
    let named: Vec<LoadBalancer> = console.all_pieces(ListPieces::named("web")).await.unwrap();
    assert_eq!(named, []);
    assert_eq!(refused(console.create_piece(&new_balancer()).await).0, 409, "writers see it");
    assert_eq!(console.snapshot(&BTreeMap::new()).await.unwrap().pieces.len(), 1);
    let now = SettingsPatch { consistency_delay_ms: Some(0), ..SettingsPatch::default() };
    console.change_settings(&now).await.unwrap();
    assert_eq!(console.piece::<LoadBalancer>(&made.id).await.unwrap(), made);
}

#[tokio::test]
async fn load_balancers_survive_a_restart() {
    let scratch = Scratch::new("load-balancers");
    let mut config = config();
    config.state_file = Some(scratch.file("state.json"));
    let cloud = start(config.clone()).await;
    cloud.console.create_instances(super::super::support::nodes(1)).await.unwrap();
    let web = web(&cloud.console).await;
    let before = cloud.console.snapshot(&BTreeMap::new()).await.unwrap();
    assert_eq!(before.pieces.len(), 6);
    cloud.running.stop().await.unwrap();

    let cloud = start(config).await;
    let console = &cloud.console;
    assert_eq!(console.snapshot(&BTreeMap::new()).await.unwrap(), before);
    assert_eq!(console.piece::<Address>(&web.address.id).await.unwrap(), web.address);
    assert_eq!(console.piece::<Listener>(&web.listener.id).await.unwrap(), web.listener);
    assert_eq!(console.all_rules(&web.firewall.id).await.unwrap(), [web.rule]);
    let next = console.create_piece(&new_address()).await.unwrap();
    assert_eq!(
        (next.id.as_str(), &*next.address.to_string()),
        ("addr-0000000000000002", "203.0.113.2")
    );
}
