//! The cloud as clouds are: slow, limited, late to show a change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use simcloud::api::{
    CreateInstance, ErrorBody, ErrorCode, Latency, ListInstances, Operation, Outcome, RateLimit,
    RunState, SettingsPatch, path,
};

use super::support::{cloud, eventually, fleet, refused};

fn patch() -> SettingsPatch {
    SettingsPatch::default()
}

#[tokio::test]
async fn too_many_calls_are_told_to_wait() {
    let cloud = cloud().await;
    let slow = RateLimit { per_second: 0.4, burst: 2 };
    let limited = SettingsPatch { read_rate: Some(slow), ..patch() };
    cloud.console.change_settings(&limited).await.unwrap();

    for _ in 0..2 {
        assert_eq!(cloud.get(path::INSTANCES).send().await.unwrap().status(), 200);
    }
    let throttled = cloud.get(path::INSTANCES).send().await.unwrap();

    assert_eq!(throttled.status(), 429);
    assert_eq!(throttled.headers()["retry-after"], "3");
    let ErrorBody { error } = throttled.json().await.unwrap();
    assert_eq!(error.code, ErrorCode::Throttled);
    let wait = error.retry_after_ms.unwrap();
    assert!((2_000..=2_500).contains(&wait), "{wait}");
    // Writes have a limit of their own.
    cloud.console.create_instance(&CreateInstance::named("a")).await.unwrap();
    let calls = cloud.console.calls().await.unwrap();
    assert_eq!(calls.ended(Outcome::Throttled), 1);
}

#[tokio::test]
async fn changes_show_later() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let delay = |millis| SettingsPatch { consistency_delay_ms: Some(millis), ..patch() };
    console.change_settings(&delay(600_000)).await.unwrap();

    let made = console.create_instance(&CreateInstance::named("late")).await.unwrap();
    assert_eq!(refused(console.instance(&made.id).await).0, 404);
    assert_eq!(console.all_instances(BTreeMap::new()).await.unwrap(), []);

    console.change_settings(&delay(100)).await.unwrap();
    let sees = async |state| {
        let seen = console.instance(&made.id).await;
        seen.is_ok_and(|one| one.state == state)
    };
    eventually("the new instance shows", || sees(RunState::Running)).await;
    let start = Instant::now();
    console.terminate_instance(&made.id).await.unwrap();
    eventually("its end shows", || sees(RunState::Terminated)).await;
    assert!(start.elapsed() >= Duration::from_millis(99), "{:?}", start.elapsed());
}

#[tokio::test]
async fn transitions_take_time_and_terminated_instances_vanish() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let slow = SettingsPatch {
        transition_delay_ms: Some(50),
        terminated_retention_ms: Some(50),
        ..patch()
    };
    console.change_settings(&slow).await.unwrap();

    let made = console.create_instance(&CreateInstance::named("a")).await.unwrap();
    assert_eq!(made.state, RunState::Pending);
    eventually("it runs", async || {
        console.instance(&made.id).await.unwrap().state == RunState::Running
    })
    .await;
    let ending = console.terminate_instance(&made.id).await.unwrap();
    assert_eq!(ending.state, RunState::Terminating);
    eventually("it vanishes", async || console.instance(&made.id).await.is_err()).await;
    assert_eq!(refused(console.instance(&made.id).await).0, 404);
}

#[tokio::test]
async fn without_retention_a_terminated_instance_vanishes_at_once() {
    let cloud = fleet(1).await;
    let patch = SettingsPatch { terminated_retention_ms: Some(0), ..patch() };
    cloud.console.change_settings(&patch).await.unwrap();
    cloud.console.terminate_instance(&"i-0000000000000001".into()).await.unwrap();
    assert_eq!(cloud.truth().await, []);
}

#[tokio::test]
async fn calls_take_the_time_that_is_set() {
    let cloud = fleet(1).await;
    let latency = Latency { fixed_ms: 60, jitter_ms: 10 };
    let patch = SettingsPatch {
        operation_latency: Some(BTreeMap::from([(Operation::ListInstances, latency)])),
        ..patch()
    };
    cloud.console.change_settings(&patch).await.unwrap();
    let start = Instant::now();
    cloud.console.list_instances(&ListInstances::default()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(60), "{:?}", start.elapsed());
    let log = cloud.console.call_log(0).await.unwrap();
    let took = log.entries.last().unwrap().duration_ms;
    assert!(took >= 59, "{took}");
}

#[tokio::test]
async fn limits_can_be_changed() {
    let cloud = fleet(5).await;
    let patch = SettingsPatch { page_limit: Some(2), batch_limit: Some(1), ..patch() };
    let settings = cloud.console.change_settings(&patch).await.unwrap();
    assert_eq!((settings.page_limit, settings.batch_limit), (2, 1));
    assert_eq!(cloud.console.settings().await.unwrap(), settings);

    let wide = ListInstances { page_size: Some(1_000), ..ListInstances::default() };
    assert_eq!(cloud.console.list_instances(&wide).await.unwrap().instances.len(), 2);
    let senseless = SettingsPatch { page_limit: Some(0), ..SettingsPatch::default() };
    let (status, _, error) = refused(cloud.console.change_settings(&senseless).await);
    assert_eq!(status, 400);
    assert!(error.message.starts_with("page_limit:"), "{}", error.message);
}
