//! Start and end, the log of calls, settings.

use std::time::{Duration, Instant};

use ccm_awscloud::{AwsCloud, Settings};
use serde_json::json;

use crate::console;

#[tokio::test]
async fn it_starts_and_ends_and_leaves_nothing() {
    let cloud = AwsCloud::start().await.unwrap();
    cloud.aws("ec2", "describe_vpcs", json!({})).await.unwrap();
    let (url, console) = (cloud.url().to_owned(), cloud.console().clone());
    drop(cloud);
    assert!(console.mark().await.is_err(), "{url} still answers");
}

/// They come from one process that has loaded moto, and share nothing of what happens later.
#[tokio::test]
async fn each_has_a_state_and_numbers_of_its_own() {
    let (one, other) = tokio::join!(AwsCloud::start(), AwsCloud::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    let world = one.world("one").await.unwrap();
    assert!(other.snapshot("one").await.unwrap().is_empty());
    let before = other.snapshot("other").await.unwrap();
    assert_ne!(other.world("other").await.unwrap().vpc, world.vpc);
    drop(one);
    assert_ne!(other.snapshot("other").await.unwrap(), before, "it outlives the other one");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let err = AwsCloud::start_without(&["no-such-gap"]).await.unwrap_err().to_string();
    assert!(err.contains("no corrections ['no-such-gap']"), "{err}");
}

#[tokio::test]
async fn calls_are_told_apart_by_caller_and_counted() {
    let console = console("counts").await;
    let mark = console.mark().await.unwrap();
    for method in ["describe_vpcs", "describe_vpcs", "describe_subnets"] {
        console.aws("ec2", method, json!({})).await.unwrap();
    }
    console.aws("ec2", "create_key_pair", json!({ "KeyName": "counted" })).await.unwrap();
    let counts = console.counts(mark, "counts").await.unwrap();
    let want = [("CreateKeyPair", 1), ("DescribeSubnets", 1), ("DescribeVpcs", 2)];
    assert_eq!(counts, want.map(|(action, count)| (action.to_owned(), count)).into());
    let writes = console.mutations_by(mark, "counts").await.unwrap();
    let [write] = writes.as_slice() else { panic!("{writes:?}") };
    assert!(write.took_effect);
    assert_eq!(write.params["KeyName"], "counted");
    assert_eq!(write.status, Some(200));
    assert!(console.calls_since(mark, "nobody").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_reset_forgets_everything() {
    let cloud = AwsCloud::start().await.unwrap();
    cloud.world("forgotten").await.unwrap();
    cloud.set(&Settings { lingering_s: Some(5.0), ..Settings::default() }).await.unwrap();
    cloud.reset().await.unwrap();
    assert!(cloud.snapshot("forgotten").await.unwrap().is_empty());
    let vpcs = cloud.aws("ec2", "describe_vpcs", json!({})).await.unwrap();
    assert_eq!(vpcs["Vpcs"].as_array().unwrap().len(), 1, "AWS gives a default one");
}

#[tokio::test]
async fn an_action_can_be_slow() {
    let cloud = AwsCloud::start().await.unwrap();
    let latency_ms = Some([("DescribeVpcs".to_owned(), 400)].into());
    cloud.set(&Settings { latency_ms, ..Settings::default() }).await.unwrap();
    let since = Instant::now();
    cloud.aws("ec2", "describe_vpcs", json!({})).await.unwrap();
    assert!(since.elapsed() >= Duration::from_millis(400));
}
