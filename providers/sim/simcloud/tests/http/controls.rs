//! Tokens and the call log.

use rstest::rstest;
use simcloud::api::{
    DescribeInstances, ErrorBody, ErrorCode, ListInstances, Operation, OperationClass, Outcome,
    path,
};

use super::support::{CONTROL_TOKEN, OTHER_TOKEN, TOKEN, cloud, fleet, http, refused};

#[rstest]
#[case::no_token_at_the_cloud(path::INSTANCES, None, 401)]
#[case::a_wrong_token_at_the_cloud(path::INSTANCES, Some("wrong"), 401)]
#[case::the_control_token_at_the_cloud(path::INSTANCES, Some(CONTROL_TOKEN), 401)]
#[case::the_token_at_the_cloud(path::INSTANCES, Some(TOKEN), 200)]
#[case::another_token_at_the_cloud(path::INSTANCES, Some(OTHER_TOKEN), 200)]
#[case::no_token_at_the_controls(path::FAULTS, None, 401)]
#[case::a_wrong_token_at_the_controls(path::FAULTS, Some("wrong"), 401)]
#[case::the_clouds_token_at_the_controls(path::FAULTS, Some(TOKEN), 403)]
#[case::the_control_token_at_the_controls(path::FAULTS, Some(CONTROL_TOKEN), 200)]
#[tokio::test]
async fn tokens_open_what_they_are_for(
    #[case] path: &str,
    #[case] token: Option<&str>,
    #[case] want: u16,
) {
    let cloud = cloud().await;
    let mut request = http().get(cloud.url(path));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), want);
    match want {
        401 => {
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let ErrorBody { error } = response.json().await.unwrap();
            assert_eq!(error.code, ErrorCode::Unauthenticated);
        }
        403 => {
            let ErrorBody { error } = response.json().await.unwrap();
            assert_eq!(error.code, ErrorCode::PermissionDenied);
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_until_it_is_restored() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let other = console.with_token(OTHER_TOKEN);
    let list = ListInstances::default();

    assert!(console.revoke_token("default").await.unwrap().revoked);
    let (status, code, _) = refused(console.list_instances(&list).await);
    assert_eq!((status, code), (401, ErrorCode::Unauthenticated));
    other.list_instances(&list).await.unwrap();
    let revoked: Vec<_> = console.tokens().await.unwrap();
    assert_eq!(revoked.iter().map(|one| one.revoked).collect::<Vec<_>>(), [true, false]);

    assert!(!console.restore_token("default").await.unwrap().revoked);
    console.list_instances(&list).await.unwrap();
    assert_eq!(refused(console.revoke_token("nobody").await).0, 404);
}

#[tokio::test]
async fn a_token_can_be_added() {
    let cloud = cloud().await;
    cloud.console.add_token("late", "late-token").await.unwrap();
    let late = cloud.console.with_token("late-token");
    late.list_instances(&ListInstances::default()).await.unwrap();

    let (status, code, _) = refused(cloud.console.add_token("late", "x").await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));
    let (status, _, error) = refused(cloud.console.add_token("a/b", "x").await);
    assert_eq!(status, 400);
    assert!(error.message.starts_with("name:"), "{}", error.message);
    let shown = cloud.console.tokens().await.unwrap();
    assert!(!format!("{shown:?}").contains("late-token"));
}

#[tokio::test]
async fn calls_are_counted_and_logged() {
    let cloud = fleet(3).await;
    let console = &cloud.console;
    console.clear_calls().await.unwrap();
    let ask = DescribeInstances {
        names: vec!["node-0".into(), "node-1".into(), "nobody".into()],
        ids: vec![],
    };
    for _ in 0..3 {
        console.describe_instances(&ask).await.unwrap();
    }
    cloud.get(path::INSTANCES).send().await.unwrap();
    http().get(cloud.url(path::INSTANCES)).bearer_auth("wrong").send().await.unwrap();

    let calls = console.calls().await.unwrap();
    assert_eq!((calls.total, calls.by("console"), calls.by("ccm")), (5, 3, 2));
    assert_eq!(calls.of(Operation::DescribeInstances), 3);
    assert_eq!(calls.of_class(OperationClass::Write), 0);
    assert_eq!((calls.ended(Outcome::Ok), calls.ended(Outcome::ClientError)), (4, 1));
    assert_eq!(calls.counts[0].instances, 9);

    let log = console.call_log(0).await.unwrap();
    let last = log.entries.last().unwrap();
    assert_eq!((last.operation, last.status), (Operation::ListInstances, Some(401)));
    assert_eq!((&*last.caller, log.entries.len()), ("ccm", 5));
    assert_eq!(console.call_log(log.next).await.unwrap().entries, []);
    console.list_instances(&ListInstances::default()).await.unwrap();
    assert_eq!(console.call_log(log.next).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn a_caller_without_a_name_is_named_by_its_token() {
    let cloud = cloud().await;
    // Makes sure that the process has a TLS provider, which the plain client wants.
    drop(http());
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    plain.get(cloud.url(path::INSTANCES)).bearer_auth(OTHER_TOKEN).send().await.unwrap();
    let calls = cloud.console.calls().await.unwrap();
    assert_eq!(calls.counts[0].caller, "other");
}
