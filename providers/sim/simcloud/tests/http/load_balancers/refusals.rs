//! Requests that make no sense, and those that come at the wrong time.

use rstest::rstest;
use simcloud::api::{
    AddRule, ChangeTargets, ErrorBody, ErrorCode, InstanceId, ReplaceRules, UpdateFirewall, path,
};

use super::super::support::{cloud, fleet, refused};
use super::{new_firewall, new_group, new_listener, new_rule, tags, web};

#[rstest]
#[case::no_name(path::ADDRESSES, r#"{"name": "", "family": "ipv4"}"#, "name:")]
#[case::no_family(path::ADDRESSES, r#"{"name": "a"}"#, "`family`")]
#[case::another_family(
    path::ADDRESSES,
    r#"{"name": "a", "family": "ipv6", "address": "192.0.2.1"}"#,
    "address: 192.0.2.1 is not ipv6"
)]
#[case::anothers_address(
    path::ADDRESSES,
    r#"{"name": "a", "family": "ipv4", "address": "10.0.0.1"}"#,
    "address: 10.0.0.1 is in no range that the cloud has"
)]
#[case::an_odd_tag(
    path::ADDRESSES,
    r#"{"name": "a", "family": "ipv4", "tags": {"a=b": "c"}}"#,
    "tags:"
)]
#[case::an_empty_token(
    path::ADDRESSES,
    r#"{"name": "a", "family": "ipv4", "client_token": ""}"#,
    "client_token:"
)]
#[case::an_odd_protocol(
    path::TARGET_GROUPS,
    r#"{"name": "a", "protocol": "sctp", "node_port": 1,
        "health_check": {"protocol": "tcp", "port": 1}}"#,
    "protocol"
)]
#[case::port_zero(
    path::TARGET_GROUPS,
    r#"{"name": "a", "protocol": "tcp", "node_port": 0,
        "health_check": {"protocol": "tcp", "port": 1}}"#,
    "node_port"
)]
#[case::a_path_for_tcp(
    path::TARGET_GROUPS,
    r#"{"name": "a", "protocol": "tcp", "node_port": 1,
        "health_check": {"protocol": "tcp", "port": 1, "path": "/"}}"#,
    "health_check.path: must be absent where the protocol is tcp"
)]
#[case::no_path_for_http(
    path::TARGET_GROUPS,
    r#"{"name": "a", "protocol": "tcp", "node_port": 1,
        "health_check": {"protocol": "http", "port": 1}}"#,
    "health_check.path: must begin with a slash where the protocol is http or https"
)]
#[case::a_typo(path::LOAD_BALANCERS, r#"{"name": "a", "interal": true}"#, "interal")]
#[case::proxy_protocol_for_udp(
    path::LISTENERS,
    r#"{"name": "a", "load_balancer": "x", "protocol": "udp", "port": 1, "target_group": "x",
        "settings": {"proxy_protocol": true}}"#,
    "settings.proxy_protocol: is for tcp only, and the listener is for udp"
)]
#[case::no_time(
    path::LISTENERS,
    r#"{"name": "a", "load_balancer": "x", "protocol": "tcp", "port": 1, "target_group": "x",
        "settings": {"idle_timeout_s": 0}}"#,
    "settings.idle_timeout_s: must be from 1 to 4000, not 0"
)]
#[case::a_long_affinity(
    path::LISTENERS,
    r#"{"name": "a", "load_balancer": "x", "protocol": "tcp", "port": 1, "target_group": "x",
        "settings": {"client_affinity_s": 86401}}"#,
    "settings.client_affinity_s: must be from 1 to 86400, not 86401"
)]
#[case::nobodys_firewall(
    path::FIREWALLS,
    r#"{"name": "a"}"#,
    "tags: must have \"cluster\", which says whose firewall it is"
)]
#[tokio::test]
async fn pieces_that_make_no_sense_are_refused_by_field(
    #[case] path: &str,
    #[case] body: &'static str,
    #[case] want: &str,
) {
    let cloud = cloud().await;
    let response = cloud.post(path).body(body).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let ErrorBody { error } = response.json().await.unwrap();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains(want), "{}", error.message);
    assert!(cloud.console.snapshot(&[].into()).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_fixed_is_not_changed() {
    let cloud = fleet(1).await;
    let web = web(&cloud.console).await;
    for (path, body) in [
        (path::LOAD_BALANCERS, r#"{"internal": true}"#),
        (path::TARGET_GROUPS, r#"{"node_port": 1}"#),
        (path::LISTENERS, r#"{"port": 1}"#),
        (path::ADDRESSES, r#"{"address": "192.0.2.1"}"#),
        (path::FIREWALLS, r#"{"name": "other"}"#),
    ] {
        let id = match path {
            path::LOAD_BALANCERS => web.balancer.id.as_str(),
            path::TARGET_GROUPS => web.group.id.as_str(),
            path::LISTENERS => web.listener.id.as_str(),
            path::ADDRESSES => web.address.id.as_str(),
            _ => web.firewall.id.as_str(),
        };
        let url = cloud.url(&format!("{path}/{id}"));
        let request = super::super::support::http().patch(url).bearer_auth("cloud-token");
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        let ErrorBody { error } = response.json().await.unwrap();
        assert!(error.message.contains("unknown field"), "{}", error.message);
    }
}

#[tokio::test]
async fn references_must_lead_somewhere() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    let conflict = |(status, code, error): (u16, ErrorCode, simcloud::api::ErrorDetail)| {
        assert_eq!((status, code), (409, ErrorCode::Conflict));
        error.message
    };
    let nowhere = new_listener(&"lb-0000000000000009".into(), &web.group.id);
    assert_eq!(
        conflict(refused(console.create_piece(&nowhere).await)),
        "load_balancer: there is no load balancer lb-0000000000000009"
    );
    let nowhere = new_listener(&web.balancer.id, &"nonsense".into());
    assert_eq!(
        conflict(refused(console.create_piece(&nowhere).await)),
        "target_group: there is no target group nonsense"
    );
    let taken = new_listener(&web.balancer.id, &web.group.id);
    assert_eq!(
        conflict(refused(console.create_piece(&taken).await)),
        "port: listener lsn-0000000000000001 has tcp port 80"
    );
    let mut second = new_firewall();
    second.name = "other".into();
    assert_eq!(
        conflict(refused(console.create_piece(&second).await)),
        "tags: firewall fw-0000000000000001 is that of cluster \"a\""
    );

    let mut udp = new_group();
    udp.protocol = simcloud::api::Protocol::Udp;
    let udp = console.create_piece(&udp).await.unwrap();
    let mut wanted = new_listener(&web.balancer.id, &udp.id);
    wanted.port = super::port(81);
    let (status, _, error) = refused(console.create_piece(&wanted).await);
    assert_eq!(status, 400);
    assert_eq!(
        error.message,
        "target_group: tg-0000000000000002 is for udp, and the listener for tcp"
    );
}

#[tokio::test]
async fn a_firewall_keeps_its_cluster() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let made = console.create_piece(&new_firewall()).await.unwrap();
    let mut other = new_firewall();
    other.tags.insert("cluster".into(), "b".into());
    console.create_piece(&other).await.unwrap();
    let change = async |tags| {
        let update = UpdateFirewall { tags: Some(tags) };
        refused(console.update_piece::<simcloud::api::Firewall>(&made.id, &update).await)
    };
    assert_eq!(change([].into()).await.0, 400);
    assert_eq!(change(other.tags).await.0, 409);
    let update = UpdateFirewall { tags: Some(tags("u-1")) };
    console.update_piece::<simcloud::api::Firewall>(&made.id, &update).await.unwrap();
}

#[tokio::test]
async fn changes_of_targets_that_make_no_sense_are_refused_by_field() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let group = console.create_piece(&new_group()).await.unwrap();
    let id = |number: usize| InstanceId::new(format!("i-{number:016x}"));
    let refusal = async |add: Vec<InstanceId>, remove: Vec<InstanceId>| {
        let change = ChangeTargets { add, remove };
        let (status, code, error) = refused(console.change_targets(&group.id, &change).await);
        (status, code, error.message)
    };
    assert_eq!(
        refusal(vec![id(1)], vec![id(2), id(1)]).await,
        (400, ErrorCode::InvalidArgument, "remove[1]: is to be added as well".into())
    );
    assert_eq!(
        refusal(vec![id(1), id(9)], vec![]).await,
        (
            409,
            ErrorCode::Conflict,
            "add[1]: instance i-0000000000000009 is gone, or never was".into()
        )
    );
    assert_eq!(
        refusal(vec![id(1)], (2..=101).map(id).collect()).await,
        (400, ErrorCode::BatchTooLarge, "101 in one call; at most 100 are allowed".into())
    );
    assert_eq!(console.all_targets(&group.id).await.unwrap(), []);
    let nowhere = ChangeTargets::default();
    assert_eq!(refused(console.change_targets(&"nonsense".into(), &nowhere).await).0, 404);
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused_by_field() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let firewall = console.create_piece(&new_firewall()).await.unwrap();
    let add = async |spec| {
        let wanted = AddRule { spec, client_token: None };
        let (status, _, error) = refused(console.add_rule(&firewall.id, &wanted).await);
        (status, error.message)
    };
    let mut odd = new_rule("u-1");
    odd.source = "10.0.0.1/8".parse().unwrap();
    let want = "spec.source: 10.0.0.1/8 has host bits; 10.0.0.0/8 has not";
    assert_eq!(add(odd).await, (400, want.into()));
    let mut odd = new_rule("u-1");
    odd.node_ports.clear();
    assert_eq!(add(odd).await, (400, "spec.node_ports: must have at least one".into()));
    let (status, message) = add(new_rule("")).await;
    assert!(status == 400 && message.starts_with("spec.owner:"), "{message}");

    let etag = firewall.etag;
    let twice =
        ReplaceRules { etag, rules: vec![new_rule("u-1"), new_rule("u-2"), new_rule("u-1")] };
    let (status, _, error) = refused(console.replace_rules(&firewall.id, &twice).await);
    assert_eq!((status, &*error.message), (400, "rules[2]: says the same as rules[0]"));
    assert_eq!(console.all_rules(&firewall.id).await.unwrap(), []);
}

#[tokio::test]
async fn unknown_pieces_and_empty_ids_are_not_found_or_refused() {
    let cloud = cloud().await;
    for path in [
        "/v1/addresses/x",
        "/v1/target-groups/x",
        "/v1/target-groups/x/targets",
        "/v1/load-balancers/i-0000000000000001",
        "/v1/listeners/x",
        "/v1/firewalls/x",
        "/v1/firewalls/x/rules",
    ] {
        let response = cloud.get(path).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        let ErrorBody { error } = response.json().await.unwrap();
        assert_eq!(error.code, ErrorCode::NotFound, "{path}");
    }
    let response = cloud.get("/v1/firewalls//rules").send().await.unwrap();
    assert_eq!(response.status(), 400);
}
