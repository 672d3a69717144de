//! Rules that many owners share.

use std::collections::BTreeMap;

use simcloud::api::{
    AddRule, ErrorCode, Firewall, FirewallId, ListRules, ReplaceRules, RuleSpec, SettingsPatch,
};
use simcloud::console::Console;

use super::super::support::{cloud, refused};
use super::{new_firewall, new_rule, port};

async fn add(console: &Console, firewall: &FirewallId, spec: RuleSpec) -> simcloud::api::Rule {
    console.add_rule(firewall, &AddRule { spec, client_token: None }).await.unwrap()
}

#[tokio::test]
async fn rules_are_added_and_removed_one_by_one() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let made = console.create_piece(&new_firewall()).await.unwrap();
    let mut spec = new_rule("u-1");
    spec.node_ports = vec![port(30_081), port(30_080), port(30_081)];
    let first = add(console, &made.id, spec).await;
    assert_eq!(first.spec.node_ports, [port(30_080), port(30_081)]);
    let second = add(console, &made.id, new_rule("u-2")).await;

    let wanted = AddRule { spec: new_rule("u-2"), client_token: None };
    let (status, code, error) = refused(console.add_rule(&made.id, &wanted).await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));
    assert_eq!(error.message, "spec: rule r-0000000000000002 says the same");
    let of = |owner: &str| ListRules { owner: Some(owner.into()), ..ListRules::default() };
    let page = console.list_rules(&made.id, &of("u-2")).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&second));

    assert_eq!(console.remove_rule(&made.id, &first.id).await.unwrap(), first);
    let (status, code, _) = refused(console.remove_rule(&made.id, &first.id).await);
    assert_eq!((status, code), (404, ErrorCode::NotFound));
    assert_eq!(console.all_rules(&made.id).await.unwrap(), [second]);
    let left: Firewall = console.piece(&made.id).await.unwrap();
    assert_eq!(left.rule_count, 1);
    assert_ne!(left.etag, made.etag);
}

#[tokio::test]
async fn all_rules_are_replaced_only_when_they_are_known() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let made = console.create_piece(&new_firewall()).await.unwrap();
    let first = add(console, &made.id, new_rule("u-1")).await;
    let page = console.list_rules(&made.id, &ListRules::default()).await.unwrap();
    let second = add(console, &made.id, new_rule("u-2")).await;

    let wanted = ReplaceRules {
        etag: page.etag,
        rules: page.items.into_iter().map(|one| one.spec).collect(),
    };
    let (status, code, error) = refused(console.replace_rules(&made.id, &wanted).await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));
    assert_eq!(error.message, "etag: firewall fw-0000000000000001 has v3, not v2");
    assert_eq!(console.all_rules(&made.id).await.unwrap(), [first.clone(), second]);

    let etag = console.piece::<Firewall>(&made.id).await.unwrap().etag;
    let rules = vec![new_rule("u-3"), new_rule("u-1")];
    let changed = console.replace_rules(&made.id, &ReplaceRules { etag, rules }).await.unwrap();
    assert_eq!((changed.rule_count, changed.etag.as_str()), (2, "v4"));
    let left = console.all_rules(&made.id).await.unwrap();
    assert_eq!(left[0], first, "it keeps its ID");
    assert_eq!((left[1].id.as_str(), &left[1].spec), ("r-0000000000000003", &new_rule("u-3")));
}

#[tokio::test]
async fn pages_of_rules_say_of_which_form_they_are() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let patch = SettingsPatch { member_page_limit: Some(2), ..SettingsPatch::default() };
    console.change_settings(&patch).await.unwrap();
    let made = console.create_piece(&new_firewall()).await.unwrap();
    for number in 0..5 {
        add(console, &made.id, new_rule(&format!("u-{number}"))).await;
    }
    let first = console.list_rules(&made.id, &ListRules::default()).await.unwrap();
    assert_eq!((first.items.len(), first.etag.as_str()), (2, "v6"));
    add(console, &made.id, new_rule("u-5")).await;
    let ask = ListRules { page_token: first.next_page_token, ..ListRules::default() };
    let second = console.list_rules(&made.id, &ask).await.unwrap();
    assert_ne!(second.etag, first.etag);
    assert_eq!(console.all_rules(&made.id).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_snapshot_tells_rules_apart_by_owner() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let made = console.create_piece(&new_firewall()).await.unwrap();
    add(console, &made.id, new_rule("u-1")).await;
    add(console, &made.id, new_rule("u-2")).await;
    let tags = BTreeMap::from([("owner".to_owned(), "u-2".to_owned())]);
    let owned = console.snapshot(&tags).await.unwrap();
    assert_eq!(owned.pieces, ["rule of \"nodes\" owner=u-2 198.51.100.0/24 tcp/80 to 30080"]);
}
