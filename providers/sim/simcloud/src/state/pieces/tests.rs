//! The pieces of load balancers, told the time.

use std::num::NonZeroU16;

use super::*;
use crate::api::{
    AddRule, AddressId, ChangeTargets, CreateAddress, CreateFirewall, CreateInstance,
    CreateListener, CreateLoadBalancer, CreateRoute, CreateRoutes, CreateTargetGroup, CreateVolume,
    FirewallId, IpFamily, Listener, ListenerSettings, LoadBalancerId, PieceState, Protocol,
    RuleSpec, TargetGroupId, TargetState, UpdateLoadBalancer, UpdateRoute,
};
use crate::state::{Cloud, Fleet};

const START: Timestamp = Timestamp::from_millis(1_000_000);

fn at(millis: u64, settings: &Settings) -> Cx<'_> {
    Cx::new(START.after(millis), settings, false)
}

fn delays(millis: u64) -> BTreeMap<PieceKind, u64> {
    PieceKind::ALL.map(|kind| (kind, millis)).into()
}

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn address(pieces: &mut Pieces, cx: &Cx<'_>) -> AddressId {
    let wanted = CreateAddress::named("web", IpFamily::Ipv4);
    pieces.create_address(cx, wanted).unwrap().piece.id
}

fn group(pieces: &mut Pieces, cx: &Cx<'_>) -> TargetGroupId {
    let wanted = CreateTargetGroup::named("web", Protocol::Tcp, port(30_080));
    pieces.create_target_group(cx, wanted).unwrap().piece.id
}

fn balancer(pieces: &mut Pieces, cx: &Cx<'_>, addresses: Vec<AddressId>) -> LoadBalancerId {
    let wanted = CreateLoadBalancer { addresses, ..CreateLoadBalancer::named("web") };
    pieces.create_load_balancer(cx, wanted).unwrap().piece.id
}

fn listener(
    pieces: &mut Pieces,
    cx: &Cx<'_>,
    load_balancer: &LoadBalancerId,
    target_group: &TargetGroupId,
) -> Listener {
    let wanted = CreateListener {
        name: "web".into(),
        load_balancer: load_balancer.clone(),
        protocol: Protocol::Tcp,
        port: port(80),
        target_group: target_group.clone(),
        settings: ListenerSettings::default(),
        tags: BTreeMap::new(),
        client_token: None,
    };
    pieces.create_listener(cx, wanted).unwrap().piece
}

fn firewall(pieces: &mut Pieces, cx: &Cx<'_>) -> FirewallId {
    pieces.create_firewall(cx, CreateFirewall::named("nodes", "a")).unwrap().piece.id
}

fn rule(owner: &str) -> RuleSpec {
    RuleSpec {
        owner: owner.into(),
        source: "192.0.2.0/24".parse().unwrap(),
        protocol: Protocol::Tcp,
        port: port(80),
        node_ports: vec![port(30_080)],
    }
}

/// A fleet of two, and their IDs.
fn fleet(cx: &Cx<'_>) -> (Fleet, Vec<crate::api::InstanceId>) {
    let mut fleet = Fleet::new(0);
    let wanted = ["a", "b"].map(CreateInstance::named).to_vec();
    let made = fleet.create(cx.moment, wanted).unwrap();
    (fleet, made.iter().map(|one| one.id.clone()).collect())
}

fn message<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    match result.unwrap_err() {
        Refusal::Conflict(why) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_load_balancer_uses_its_address_until_it_is_gone() {
    let settings = Settings {
        creation_delay_ms: delays(100),
        deletion_delay_ms: delays(100),
        ..Settings::default()
    };
    let mut pieces = Pieces::default();
    let address = address(&mut pieces, &at(0, &settings));
    let id = balancer(&mut pieces, &at(0, &settings), vec![address.clone()]);
    let state = |pieces: &Pieces, millis| {
        pieces.load_balancer(&at(millis, &settings), id.as_str()).map(|one| one.state).ok()
    };
    assert_eq!(state(&pieces, 99), Some(PieceState::Provisioning));
    assert_eq!(state(&pieces, 100), Some(PieceState::Active));

    let ending = pieces.delete_load_balancer(&at(200, &settings), id.as_str()).unwrap();
    assert_eq!(ending.state, PieceState::Deleting);
    pieces.delete_load_balancer(&at(250, &settings), id.as_str()).unwrap();
    assert_eq!(state(&pieces, 299), Some(PieceState::Deleting), "a repetition does not begin anew");
    assert_eq!(
        message(pieces.delete_address(&at(299, &settings), address.as_str())),
        "address addr-0000000000000001 is used by load balancer lb-0000000000000001"
    );
    let again = CreateLoadBalancer::named("web");
    assert_eq!(
        message(pieces.create_load_balancer(&at(299, &settings), again.clone())),
        "name: load balancer lb-0000000000000001 has the name \"web\""
    );
    let update = UpdateLoadBalancer::default();
    let refused = pieces.update_load_balancer(&at(299, &settings), id.as_str(), update);
    assert_eq!(
        message(refused),
        "load balancer lb-0000000000000001 is deleting and cannot be changed"
    );

    assert_eq!(state(&pieces, 300), None);
    let free = pieces.address(&at(300, &settings), address.as_str()).unwrap();
    assert_eq!(free.load_balancer, None);
    pieces.delete_address(&at(300, &settings), address.as_str()).unwrap();
    pieces.create_load_balancer(&at(300, &settings), again).unwrap();
}

#[test]
fn an_update_frees_and_takes_addresses() {
    let settings = Settings::default();
    let cx = at(0, &settings);
    let mut pieces = Pieces::default();
    let [first, second] = [(); 2].map(|()| address(&mut pieces, &cx));
    let id = balancer(&mut pieces, &cx, vec![first.clone()]);
    let changes = pieces.changes();
    let set = |pieces: &mut Pieces, addresses: &[&AddressId]| {
        let addresses = addresses.iter().map(|one| (*one).clone()).collect();
        let update = UpdateLoadBalancer { addresses: Some(addresses), tags: None };
        pieces.update_load_balancer(&cx, id.as_str(), update)
    };

    set(&mut pieces, &[&first]).unwrap();
    assert_eq!(pieces.changes(), changes, "it had that one");
    let twice = set(&mut pieces, &[&first, &second]).unwrap_err();
    assert_eq!(
        twice.to_string(),
        "addresses[1]: is the second of the family ipv4; at most one is allowed"
    );
    set(&mut pieces, &[&second]).unwrap();
    assert_eq!(pieces.changes(), changes + 1);
    let user =
        |pieces: &Pieces, id: &AddressId| pieces.address(&cx, id.as_str()).unwrap().load_balancer;
    assert_eq!((user(&pieces, &first), user(&pieces, &second)), (None, Some(id.clone())));

    let wanted = CreateLoadBalancer {
        addresses: vec![second.clone()],
        ..CreateLoadBalancer::named("other")
    };
    assert_eq!(
        message(pieces.create_load_balancer(&cx, wanted)),
        "addresses[0]: address addr-0000000000000002 is used by load balancer lb-0000000000000001"
    );
}

#[test]
fn a_listener_on_its_way_out_holds_what_it_refers_to() {
    let settings = Settings { deletion_delay_ms: delays(100), ..Settings::default() };
    let mut pieces = Pieces::default();
    let group = group(&mut pieces, &at(0, &settings));
    let balancer = balancer(&mut pieces, &at(0, &settings), vec![]);
    let made = listener(&mut pieces, &at(0, &settings), &balancer, &group);

    pieces.delete_listener(&at(0, &settings), made.id.as_str()).unwrap();

    let soon = at(99, &settings);
    assert_eq!(
        message(pieces.delete_target_group(&soon, group.as_str())),
        "target group tg-0000000000000001 is used by listener lsn-0000000000000001"
    );
    assert_eq!(
        message(pieces.delete_load_balancer(&soon, balancer.as_str())),
        "load balancer lb-0000000000000001 has listener lsn-0000000000000001"
    );
    let later = at(100, &settings);
    pieces.delete_target_group(&later, group.as_str()).unwrap();
    pieces.delete_load_balancer(&later, balancer.as_str()).unwrap();
}

#[test]
fn targets_come_and_go_slowly() {
    let settings = Settings { target_delay_ms: 100, ..Settings::default() };
    let mut pieces = Pieces::default();
    let (fleet, ids) = fleet(&at(0, &settings));
    let group = group(&mut pieces, &at(0, &settings));
    let states = |pieces: &Pieces, millis| -> Vec<_> {
        let ask = MemberAsk { after: 0, size: 10 };
        let page = pieces.list_targets(&at(millis, &settings), group.as_str(), &ask).unwrap();
        page.items.into_iter().map(|one| one.state).collect()
    };
    let change = |pieces: &mut Pieces, millis, add: &[_], remove: &[_]| {
        let change = ChangeTargets { add: add.to_vec(), remove: remove.to_vec() };
        pieces.change_targets(&at(millis, &settings), &fleet, group.as_str(), &change).unwrap()
    };

    change(&mut pieces, 0, &ids[..1], &[]);
    change(&mut pieces, 50, &ids, &[]);
    assert_eq!(states(&pieces, 99), [TargetState::Registering; 2]);
    assert_eq!(states(&pieces, 100), [TargetState::Registered, TargetState::Registering]);

    change(&mut pieces, 200, &[], &ids);
    assert_eq!(states(&pieces, 299), [TargetState::Draining; 2]);
    change(&mut pieces, 299, &ids[1..], &[]);
    assert_eq!(states(&pieces, 300), [TargetState::Registering]);
    assert_eq!(states(&pieces, 399), [TargetState::Registered]);
    assert_eq!(pieces.target_group(&at(399, &settings), group.as_str()).unwrap().target_count, 1);

    let changes = pieces.changes();
    change(&mut pieces, 400, &ids[1..], &ids[..1]);
    assert_eq!(pieces.changes(), changes, "it was so already");
}

#[test]
fn a_terminated_instance_stays_a_target_and_is_none_anew() {
    let settings = Settings::default();
    let cx = at(0, &settings);
    let mut pieces = Pieces::default();
    let (mut fleet, ids) = fleet(&cx);
    let group = group(&mut pieces, &cx);
    let add = ChangeTargets { add: vec![ids[0].clone()], remove: vec![] };
    pieces.change_targets(&cx, &fleet, group.as_str(), &add).unwrap();
    for id in &ids {
        fleet.terminate(cx.moment, id).unwrap();
    }

    assert_eq!(pieces.target_group(&cx, group.as_str()).unwrap().target_count, 1);
    let anew = ChangeTargets { add: vec![ids[1].clone()], remove: vec![ids[0].clone()] };
    assert_eq!(
        message(pieces.change_targets(&cx, &fleet, group.as_str(), &anew)),
        "add[0]: instance i-0000000000000002 is gone, or never was"
    );
    assert_eq!(pieces.target_group(&cx, group.as_str()).unwrap().target_count, 1, "all or none");
    let remove = ChangeTargets { add: vec![], remove: ids };
    let left = pieces.change_targets(&cx, &fleet, group.as_str(), &remove).unwrap();
    assert_eq!(left.target_count, 0);
}

#[test]
fn readers_see_changes_later_and_writers_at_once() {
    let settings = Settings { consistency_delay_ms: 50, ..Settings::default() };
    let mut pieces = Pieces::default();
    let (fleet, ids) = fleet(&at(0, &settings));
    let group = group(&mut pieces, &at(0, &settings));
    let firewall = firewall(&mut pieces, &at(0, &settings));
    pieces.target_group(&at(49, &settings), group.as_str()).unwrap_err();

    let add = ChangeTargets { add: ids, remove: vec![] };
    let made = pieces.change_targets(&at(100, &settings), &fleet, group.as_str(), &add).unwrap();
    assert_eq!(made.target_count, 2);
    let seen = |millis| {
        let ask = MemberAsk { after: 0, size: 10 };
        let page = pieces.list_targets(&at(millis, &settings), group.as_str(), &ask).unwrap();
        page.items.len()
    };
    assert_eq!((seen(149), seen(150)), (0, 2));

    let wanted = AddRule { spec: rule("x"), client_token: None };
    pieces.add_rule(&at(200, &settings), firewall.as_str(), wanted).unwrap();
    let etag = |millis| pieces.firewall(&at(millis, &settings), firewall.as_str()).unwrap().etag;
    assert_ne!(etag(249), etag(250));

    pieces.delete_target_group(&at(300, &settings), group.as_str()).unwrap();
    pieces.target_group(&at(349, &settings), group.as_str()).unwrap();
    pieces.target_group(&at(350, &settings), group.as_str()).unwrap_err();
    pieces.sweep(at(350, &settings).moment);
    assert_eq!(pieces.len(PieceKind::TargetGroup), 0);
}

#[test]
fn a_token_makes_a_repetition_harmless_while_the_piece_is_there() {
    let settings = Settings::default();
    let cx = at(0, &settings);
    let mut pieces = Pieces::default();
    let wanted = CreateAddress {
        client_token: Some("t-1".into()),
        ..CreateAddress::named("web", IpFamily::Ipv4)
    };
    let first = pieces.create_address(&cx, wanted.clone()).unwrap();
    let second = pieces.create_address(&cx, wanted.clone()).unwrap();
    assert_eq!((first.is_new, second.is_new), (true, false));
    assert_eq!(first.piece, second.piece);
    assert_eq!(pieces.changes(), 1);
    let other = CreateAddress { name: "other".into(), ..wanted.clone() };
    assert_eq!(
        message(pieces.create_address(&cx, other)),
        "client_token: it came with another request before"
    );

    pieces.delete_address(&cx, first.piece.id.as_str()).unwrap();
    let third = pieces.create_address(&cx, wanted).unwrap();
    assert!(third.is_new);
    assert_ne!(third.piece.address, first.piece.address, "not the same again soon");
}

#[test]
fn a_route_is_a_blackhole_once_readers_see_its_instance_end() {
    let settings = Settings { consistency_delay_ms: 50, ..Settings::default() };
    let mut pieces = Pieces::default();
    let (mut fleet, ids) = fleet(&at(0, &settings));
    let wanted = CreateRoute::named("a", "10.1.0.0/24".parse().unwrap(), ids[0].clone());
    let made = pieces.create_route(&at(0, &settings), &fleet, wanted).unwrap().piece;
    let seen = |pieces: &Pieces, fleet: &Fleet, millis| {
        let route = pieces.route(&at(millis, &settings), fleet, made.id.as_str());
        route.map(|one| (one.blackhole, one.etag)).ok()
    };
    assert_eq!(seen(&pieces, &fleet, 49), None);
    assert_eq!(seen(&pieces, &fleet, 50), Some((false, made.etag.clone())));

    fleet.terminate(at(100, &settings).moment, &ids[0]).unwrap();

    assert_eq!(seen(&pieces, &fleet, 149), Some((false, made.etag.clone())));
    assert_eq!(seen(&pieces, &fleet, 150), Some((true, made.etag.clone())), "the same form");
    let update = UpdateRoute { target: Some(ids[1].clone()), ..UpdateRoute::default() };
    let id = made.id.as_str();
    let moved = pieces.update_route(&at(200, &settings), &fleet, id, update).unwrap();
    assert!(!moved.blackhole && moved.etag != made.etag);
    assert_eq!(seen(&pieces, &fleet, 249), Some((true, made.etag.clone())));
    assert_eq!(seen(&pieces, &fleet, 250), Some((false, moved.etag)));
}

#[test]
fn a_batch_that_is_refused_leaves_nothing() {
    let settings = Settings::default();
    let cx = at(0, &settings);
    let mut pieces = Pieces::default();
    let (fleet, ids) = fleet(&cx);
    let route = |range: &str| CreateRoute::named("a", range.parse().unwrap(), ids[0].clone());
    let routes = vec![route("10.1.0.0/24"), route("10.2.0.0/24"), route("10.1.0.0/24")];
    let why = message(pieces.create_routes(&cx, &fleet, CreateRoutes { routes }));
    assert!(why.starts_with("routes[2].destination: "), "{why}");
    assert_eq!((pieces.len(PieceKind::Route), pieces.changes()), (0, 0));
    let routes = vec![route("10.1.0.0/24"), route("10.2.0.0/24")];
    pieces.create_routes(&cx, &fleet, CreateRoutes { routes }).unwrap();
    assert_eq!(pieces.len(PieceKind::Route), 2);
}

#[test]
fn restored_pieces_are_the_same() {
    let settings = Settings {
        creation_delay_ms: delays(50),
        deletion_delay_ms: delays(100),
        target_delay_ms: 100,
        consistency_delay_ms: 10,
        ..Settings::default()
    };
    let cx = at(0, &settings);
    let mut cloud = Cloud::new(0);
    let made = cloud.fleet.create(cx.moment, vec![CreateInstance::named("a")]).unwrap();
    let pieces = &mut cloud.pieces;
    let address = address(pieces, &cx);
    let group = group(pieces, &cx);
    let balancer = balancer(pieces, &cx, vec![address]);
    let listener = listener(pieces, &cx, &balancer, &group);
    let firewall = firewall(pieces, &cx);
    let wanted = AddRule { spec: rule("x"), client_token: Some("t-1".into()) };
    pieces.add_rule(&cx, firewall.as_str(), wanted.clone()).unwrap();
    let add = ChangeTargets { add: vec![made[0].id.clone()], remove: vec![] };
    pieces.change_targets(&cx, &cloud.fleet, group.as_str(), &add).unwrap();
    pieces.delete_listener(&at(200, &settings), listener.id.as_str()).unwrap();
    let route = CreateRoute::named("a", "10.1.0.0/24".parse().unwrap(), made[0].id.clone());
    pieces.create_route(&cx, &cloud.fleet, route).unwrap();
    pieces.create_volume(&cx, CreateVolume::named("data", ["sim-1a"])).unwrap();

    let text = serde_json::to_string(&cloud.snapshot()).unwrap();
    let mut restored = Cloud::restore(0, serde_json::from_str(&text).unwrap()).unwrap();

    for millis in [0, 60, 200, 299, 300, 400] {
        let cx = at(millis, &settings);
        let lines = |cloud: &Cloud| cloud.pieces.lines(&cx, &cloud.fleet, &BTreeMap::new());
        assert_eq!(lines(&restored), lines(&cloud), "{millis}");
        let seen = |cloud: &Cloud| cloud.pieces.listener(&cx, listener.id.as_str()).ok();
        assert_eq!(seen(&restored), seen(&cloud), "{millis}");
    }
    let again = restored.pieces.add_rule(&at(400, &settings), firewall.as_str(), wanted).unwrap();
    assert!(!again.is_new, "tokens are kept");
    restored.pieces.sweep(at(400, &settings).moment);
    assert_eq!(restored.pieces.len(PieceKind::Listener), 0, "and so are ends to come");
}

#[test]
fn a_snapshot_says_the_same_of_the_same_end() {
    let settings = Settings::default();
    let cx = at(0, &settings);
    let tags = |owner: &str| {
        BTreeMap::from([("cluster".to_owned(), "a".to_owned()), ("owner".into(), owner.into())])
    };
    let build = |detours: usize| {
        let mut cloud = Cloud::new(0);
        let made = cloud.fleet.create(cx.moment, vec![CreateInstance::named("n")]).unwrap();
        let pieces = &mut cloud.pieces;
        for _ in 0..detours {
            let lost = address(pieces, &cx);
            pieces.delete_address(&cx, lost.as_str()).unwrap();
        }
        let wanted =
            CreateAddress { tags: tags("u-1"), ..CreateAddress::named("web", IpFamily::Ipv4) };
        let address = pieces.create_address(&cx, wanted).unwrap().piece.id;
        let group = group(pieces, &cx);
        let add = ChangeTargets { add: vec![made[0].id.clone()], remove: vec![] };
        pieces.change_targets(&cx, &cloud.fleet, group.as_str(), &add).unwrap();
        let balancer = balancer(pieces, &cx, vec![address]);
        listener(pieces, &cx, &balancer, &group);
        let firewall = firewall(pieces, &cx);
        for owner in ["u-1", "u-2"] {
            let wanted = AddRule { spec: rule(owner), client_token: None };
            pieces.add_rule(&cx, firewall.as_str(), wanted).unwrap();
        }
        cloud
    };
    let lines = |cloud: &Cloud, tags: &BTreeMap<_, _>| cloud.pieces.lines(&cx, &cloud.fleet, tags);
    let (straight, roundabout) = (build(0), build(3));
    let all = lines(&straight, &BTreeMap::new());
    assert_eq!(lines(&roundabout, &BTreeMap::new()), all);
    assert_eq!(
        all.pieces,
        [
            "address \"web\" ipv4 of \"web\" cluster=a owner=u-1",
            "firewall \"nodes\" cluster=a",
            "listener \"web\" tcp/80 of \"web\" to \"web\" proxy_protocol=false idle_timeout=60s \
             affinity=none",
            "load_balancer \"web\" external addresses [\"web\"]",
            "rule of \"nodes\" owner=u-1 192.0.2.0/24 tcp/80 to 30080",
            "rule of \"nodes\" owner=u-2 192.0.2.0/24 tcp/80 to 30080",
            "target_group \"web\" tcp/30080 health tcp:30080 targets [n]",
        ]
    );
    let owned = lines(&straight, &tags("u-1"));
    assert_eq!(owned.pieces, [all.pieces[0].clone(), all.pieces[4].clone()]);
    assert_eq!(owned.of(PieceKind::Address).count(), 1);
}

#[test]
fn what_fails_can_only_be_deleted() {
    let settings = Settings { creation_delay_ms: delays(100), ..Settings::default() };
    let mut pieces = Pieces::default();
    let group = group(&mut pieces, &at(0, &settings));
    let failing = Cx { fails: true, ..at(0, &settings) };
    let id = balancer(&mut pieces, &failing, vec![]);
    let shown = |pieces: &Pieces, millis| {
        let one = pieces.load_balancer(&at(millis, &settings), id.as_str()).unwrap();
        (one.state, one.failure)
    };
    assert_eq!(shown(&pieces, 99), (PieceState::Provisioning, None));
    let why = Some("it could not be provisioned".to_owned());
    assert_eq!(shown(&pieces, 100), (PieceState::Failed, why));
    let wanted = CreateListener {
        name: "web".into(),
        load_balancer: id.clone(),
        protocol: Protocol::Tcp,
        port: port(80),
        target_group: group,
        settings: ListenerSettings::default(),
        tags: BTreeMap::new(),
        client_token: None,
    };
    assert_eq!(
        message(pieces.create_listener(&at(100, &settings), wanted)),
        "load_balancer: load balancer lb-0000000000000001 is failed"
    );
    pieces.delete_load_balancer(&at(100, &settings), id.as_str()).unwrap();
}
