//! Targets: adding, removing, and their pages.

use simcloud::api::{
    ChangeTargets, ErrorCode, FaultKind, FaultSpec, InstanceId, ListTargets, Operation,
    OperationFilter, SettingsPatch, Target, TargetGroupId, TargetState,
};

use super::super::support::{Fixture, eventually, fleet, refused};
use super::new_group;

fn id(number: usize) -> InstanceId {
    InstanceId::new(format!("i-{number:016x}"))
}

/// A group with so many targets, which come in batches.
async fn group_of(many: usize) -> (Fixture, TargetGroupId) {
    let cloud = fleet(many).await;
    let group = cloud.console.create_piece(&new_group()).await.unwrap().id;
    for batch in (1..=many).collect::<Vec<_>>().chunks(100) {
        let add = batch.iter().copied().map(id).collect();
        let change = ChangeTargets { add, remove: vec![] };
        cloud.console.change_targets(&group, &change).await.unwrap();
    }
    (cloud, group)
}

#[tokio::test]
async fn targets_are_changed_in_one_call() {
    let (cloud, group) = group_of(3).await;
    let console = &cloud.console;
    let change = ChangeTargets { add: vec![], remove: vec![id(1), id(3)] };
    let changed = console.change_targets(&group, &change).await.unwrap();
    assert_eq!(changed.target_count, 1);
    let change = ChangeTargets { add: vec![id(3)], remove: vec![id(2)] };
    console.change_targets(&group, &change).await.unwrap();
    let left = Target { instance: id(3), state: TargetState::Registered };
    assert_eq!(console.all_targets(&group).await.unwrap(), [left]);
}

#[tokio::test]
async fn registration_takes_the_time_that_is_set() {
    let (cloud, group) = group_of(1).await;
    let console = &cloud.console;
    let slow = SettingsPatch { target_delay_ms: Some(60), ..SettingsPatch::default() };
    console.change_settings(&slow).await.unwrap();
    let states = async || {
        let targets = console.all_targets(&group).await.unwrap();
        targets.iter().map(|one| one.state).collect::<Vec<_>>()
    };
    let remove = ChangeTargets { add: vec![], remove: vec![id(1)] };
    console.change_targets(&group, &remove).await.unwrap();
    assert_eq!(states().await, [TargetState::Draining]);
    let add = ChangeTargets { add: vec![id(1)], remove: vec![] };
    console.change_targets(&group, &add).await.unwrap();
    assert_eq!(states().await, [TargetState::Registering]);
    eventually("it is registered", async || states().await == [TargetState::Registered]).await;
}

#[tokio::test]
async fn pages_of_targets_follow_each_other() {
    let (cloud, group) = group_of(250).await;
    let console = &cloud.console;
    let patch = SettingsPatch { member_page_limit: Some(100), ..SettingsPatch::default() };
    console.change_settings(&patch).await.unwrap();
    let wide = ListTargets { page_size: Some(5_000), ..ListTargets::default() };
    let page = console.list_targets(&group, &wide).await.unwrap();
    assert_eq!((page.items.len(), page.next_page_token.is_some()), (100, true));
    let all = console.all_targets(&group).await.unwrap();
    let ids: Vec<_> = all.into_iter().map(|one| one.instance).collect();
    assert_eq!(ids, (1..=250).map(id).collect::<Vec<_>>());
    let odd = ListTargets { page_token: Some("x".into()), page_size: None };
    let (status, code, error) = refused(console.list_targets(&group, &odd).await);
    assert_eq!((status, code), (400, ErrorCode::InvalidArgument));
    assert_eq!(error.message, "page_token: is not one that the list has given");
}

#[tokio::test]
async fn pages_of_targets_are_cut_and_look_whole() {
    let (cloud, group) = group_of(10).await;
    let console = &cloud.console;
    let list = OperationFilter::One(Operation::ListTargets);
    let count = async |kind, instance: Option<&str>| {
        console.clear_faults().await.unwrap();
        let mut spec = FaultSpec::always(list, kind);
        spec.instance = instance.map(str::to_owned);
        console.add_fault(&spec).await.unwrap();
        let ask = ListTargets { page_size: Some(8), ..ListTargets::default() };
        let page = console.list_targets(&group, &ask).await.unwrap();
        (page.items.len(), page.next_page_token.is_some())
    };
    assert_eq!(count(FaultKind::CutPage { missing_share: 0.5 }, None).await, (4, true));
    assert_eq!(count(FaultKind::CutPage { missing_share: 1.0 }, Some("node-3")).await, (7, true));
    assert_eq!(count(FaultKind::EmptyPage, None).await, (0, false));
    assert_eq!(count(FaultKind::DropPageToken, None).await, (8, false));
}
