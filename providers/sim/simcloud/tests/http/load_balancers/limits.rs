//! Quotas and pages.

use simcloud::api::{
    AddRule, Address, ChangeTargets, ErrorCode, ErrorDetail, ListPieces, LoadBalancer, Quota,
    ReplaceRules, SettingsPatch,
};

use super::super::support::{cloud, fleet, refused};
use super::{
    new_address, new_balancer, new_firewall, new_group, new_listener, new_rule, port, tags, web,
};

fn is_over((status, code, error): (u16, ErrorCode, ErrorDetail), quota: Quota) {
    assert_eq!((status, code), (403, ErrorCode::QuotaExceeded));
    assert_eq!(error.message, format!("the quota {} is used up: 1", quota.as_str()));
}

#[tokio::test]
async fn there_is_only_so_much_of_each() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let one = [
        Quota::Addresses,
        Quota::TargetGroups,
        Quota::LoadBalancers,
        Quota::Listeners,
        Quota::Firewalls,
        Quota::TargetsOfGroup,
        Quota::RulesOfFirewall,
    ];
    let quotas = one.map(|quota| (quota, 1)).into();
    let patch = SettingsPatch { quotas: Some(quotas), ..SettingsPatch::default() };
    console.change_settings(&patch).await.unwrap();
    let web = web(console).await;
    console.clear_calls().await.unwrap();

    is_over(refused(console.create_piece(&new_address()).await), Quota::Addresses);
    is_over(refused(console.create_piece(&new_group()).await), Quota::TargetGroups);
    let mut other = new_balancer();
    other.name = "other".into();
    is_over(refused(console.create_piece(&other).await), Quota::LoadBalancers);
    let mut other = new_listener(&web.balancer.id, &web.group.id);
    other.port = port(81);
    is_over(refused(console.create_piece(&other).await), Quota::Listeners);
    let mut other = new_firewall();
    other.tags.insert("cluster".into(), "b".into());
    is_over(refused(console.create_piece(&other).await), Quota::Firewalls);
    let add = ChangeTargets { add: vec!["i-0000000000000002".into()], remove: vec![] };
    is_over(refused(console.change_targets(&web.group.id, &add).await), Quota::TargetsOfGroup);
    let wanted = AddRule { spec: new_rule("u-2"), client_token: None };
    is_over(refused(console.add_rule(&web.firewall.id, &wanted).await), Quota::RulesOfFirewall);
    let rules = vec![new_rule("u-1"), new_rule("u-2")];
    let wanted = ReplaceRules { etag: web.firewall.etag, rules };
    let refusal = refused(console.replace_rules(&web.firewall.id, &wanted).await);
    is_over(refusal, Quota::RulesOfFirewall);
    assert_eq!(console.calls().await.unwrap().mutations(), 0);

    let swap = ChangeTargets {
        add: vec!["i-0000000000000002".into()],
        remove: vec!["i-0000000000000001".into()],
    };
    console.change_targets(&web.group.id, &swap).await.unwrap();
    let none = SettingsPatch { quotas: Some([].into()), ..SettingsPatch::default() };
    console.change_settings(&none).await.unwrap();
    console.create_piece(&new_address()).await.unwrap();
}

#[tokio::test]
async fn pages_of_pieces_follow_each_other() {
    let cloud = cloud().await;
    let console = &cloud.console;
    for number in 0..7 {
        let mut wanted = new_address();
        wanted.name = format!("web-{}", number % 2);
        wanted.tags = tags(if number < 5 { "u-1" } else { "u-2" });
        console.create_piece(&wanted).await.unwrap();
    }
    let limit = SettingsPatch { page_limit: Some(2), ..SettingsPatch::default() };
    console.change_settings(&limit).await.unwrap();
    let page = console.list_pieces::<Address>(&ListPieces::default()).await.unwrap();
    assert_eq!((page.items.len(), page.next_page_token.is_some()), (2, true));
    let ids = async |ask| {
        let all: Vec<Address> = console.all_pieces(ask).await.unwrap();
        let ids: Vec<_> = all.iter().map(|one| one.id.as_str()[20..].to_owned()).collect();
        ids.join(" ")
    };
    assert_eq!(ids(ListPieces::default()).await, "1 2 3 4 5 6 7");
    assert_eq!(ids(ListPieces::tagged(tags("u-1"))).await, "1 2 3 4 5");
    assert_eq!(ids(ListPieces::named("web-1")).await, "2 4 6");
    let both = ListPieces { tags: tags("u-2"), ..ListPieces::named("web-1") };
    assert_eq!(ids(both).await, "6");
    let last = ListPieces { page_size: Some(1), ..ListPieces::named("web-0") };
    assert_eq!(ids(last).await, "1 3 5 7");

    let odd = ListPieces { page_size: Some(0), ..ListPieces::default() };
    let (status, _, error) = refused(console.list_pieces::<LoadBalancer>(&odd).await);
    assert_eq!((status, &*error.message), (400, "page_size: must be at least 1"));
}
