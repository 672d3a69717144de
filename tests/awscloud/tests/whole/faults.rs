//! One test a kind of fault.

use std::time::{Duration, Instant};

use ccm_awscloud::{Call, Console, Fault, FaultKind, Refusal};
use rstest::rstest;
use serde_json::{Value, json};

use crate::console;

async fn zones(console: &Console) -> Result<Value, Refusal> {
    console.try_aws("ec2", "describe_availability_zones", json!({})).await.unwrap()
}

async fn key_pair(console: &Console, name: &str) -> Result<Value, Refusal> {
    console.try_aws("ec2", "create_key_pair", json!({ "KeyName": name })).await.unwrap()
}

async fn has_key_pair(console: &Console, name: &str) -> bool {
    let args = json!({ "Filters": [{ "Name": "key-name", "Values": [name] }] });
    let found = console.aws("ec2", "describe_key_pairs", args).await.unwrap();
    !found["KeyPairs"].as_array().unwrap().is_empty()
}

async fn last(console: &Console, caller: &str) -> Call {
    console.calls_since(0, caller).await.unwrap().pop().unwrap()
}

#[rstest]
#[case::throttled_ec2("ec2", FaultKind::Throttle { retry_after: None }, "RequestLimitExceeded", 503)]
#[case::throttled_elb("elb", FaultKind::Throttle { retry_after: Some(3) }, "Throttling", 400)]
#[case::throttled_elbv2("elbv2", FaultKind::Throttle { retry_after: None }, "Throttling", 400)]
#[case::denied_ec2("ec2", FaultKind::Denied, "UnauthorizedOperation", 403)]
#[case::denied_elbv2("elbv2", FaultKind::Denied, "AccessDenied", 403)]
#[case::unavailable_ec2("ec2", FaultKind::Unavailable, "Unavailable", 503)]
#[case::unavailable_elb("elb", FaultKind::Unavailable, "ServiceUnavailable", 503)]
#[case::own("elbv2", FaultKind::Error { code: "TooManyLoadBalancers".into(), status: None, message: None }, "TooManyLoadBalancers", 400)]
#[tokio::test]
async fn an_error_is_one_that_clients_can_read(
    #[case] service: &str,
    #[case] kind: FaultKind,
    #[case] code: &str,
    #[case] status: u16,
) {
    let caller = format!("errors-{service}-{code}");
    let console = console(&caller).await;
    let number = console.add_fault(&Fault::new("reads", kind).of(&caller)).await.unwrap();
    let method = if service == "ec2" { "describe_instances" } else { "describe_load_balancers" };
    let refusal = console.try_aws(service, method, json!({})).await.unwrap().unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.status), (code, status));
    let call = last(&console, &caller).await;
    assert_eq!((call.code.as_str(), call.took_effect), (code, false));
    console.heal_one(number).await.unwrap();
    console.aws(service, method, json!({})).await.unwrap();
}

#[tokio::test]
async fn it_hits_whom_and_when_it_was_told() {
    let console = console("told").await;
    let fault = Fault::new("ec2:DescribeAvailabilityZones", FaultKind::Denied).of("told");
    console.add_fault(&fault.after(1).times(2)).await.unwrap();
    assert!(zones(&console.as_caller("somebody else")).await.is_ok());
    let mut hit = Vec::new();
    for _ in 0..4 {
        hit.push(zones(&console).await.is_err());
    }
    assert_eq!(hit, [false, true, true, false]);
}

#[tokio::test]
async fn it_can_be_about_a_parameter() {
    let console = console("parameter").await;
    let fault = Fault::new("writes", FaultKind::Denied).of("parameter").with("KeyName", "bad");
    console.add_fault(&fault).await.unwrap();
    assert!(key_pair(&console, "good-1").await.is_ok());
    assert!(key_pair(&console, "bad-1").await.is_err());
}

#[tokio::test]
async fn a_lost_response_has_taken_effect() {
    let console = console("loses").await;
    let fault = Fault::new("CreateKeyPair", FaultKind::LoseResponse).of("loses").times(1);
    console.add_fault(&fault).await.unwrap();
    let refusal = key_pair(&console, "lost").await.unwrap_err();
    assert_eq!(refusal.status, 0, "{refusal}");
    let call = last(&console, "loses").await;
    assert_eq!((call.status, call.took_effect), (Some(0), true));
    assert!(has_key_pair(&console, "lost").await);
}

#[tokio::test]
async fn what_hangs_does_nothing_and_ends_when_healed() {
    let console = console("hangs").await;
    let fault = Fault::new("CreateKeyPair", FaultKind::Hang { seconds: None }).of("hangs");
    let number = console.add_fault(&fault).await.unwrap();
    let other = console.clone();
    let hung = tokio::spawn(async move { key_pair(&other, "hung").await });
    let deadline = Instant::now() + Duration::from_secs(20);
    while console.calls_since(0, "hangs").await.unwrap().is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(last(&console, "hangs").await.status, None);
    console.heal_one(number).await.unwrap();
    assert_eq!(hung.await.unwrap().unwrap_err().status, 0);
    assert!(!has_key_pair(&console, "hung").await);
}

#[tokio::test]
async fn latency_is_waited_and_then_it_is_done() {
    let console = console("late").await;
    let fault = Fault::new("*", FaultKind::Latency { ms: 300 }).of("late").times(1);
    console.add_fault(&fault).await.unwrap();
    zones(&console).await.unwrap();
    assert!(last(&console, "late").await.ms.unwrap() >= 300);
}

#[rstest]
#[case::empty(FaultKind::Empty { element: None }, 0)]
#[case::short(FaultKind::Short { drop: 1, element: None }, -1)]
#[tokio::test]
async fn a_list_lacks_what_is_there(#[case] kind: FaultKind, #[case] want: i64) {
    let caller = format!("lacks{want}");
    let console = console(&caller).await;
    let before = zones(&console).await.unwrap()["AvailabilityZones"].as_array().unwrap().len();
    console.add_fault(&Fault::new("reads", kind).of(&caller)).await.unwrap();
    let after = zones(&console).await.unwrap()["AvailabilityZones"].as_array().unwrap().len();
    let want = if want < 0 { before - 1 } else { 0 };
    assert_eq!(after, want);
}

#[tokio::test]
async fn an_inner_list_can_be_cut_by_its_name() {
    let console = console("inner").await;
    let world = console.world("inner").await.unwrap();
    let kind = FaultKind::Short { drop: 1, element: Some("routeSet".to_owned()) };
    console.add_fault(&Fault::new("DescribeRouteTables", kind).of("inner")).await.unwrap();
    let args = json!({ "RouteTableIds": [world.public_table] });
    let found = console.aws("ec2", "describe_route_tables", args).await.unwrap();
    assert_eq!(found["RouteTables"][0]["Routes"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_stale_read_is_of_what_was_before_a_write() {
    let console = console("stale").await;
    key_pair(&console, "stale-1").await.unwrap();
    let stale = |ms| Fault::new("ec2:reads", FaultKind::Stale { ms }).of("stale");
    let number = console.add_fault(&stale(30_000)).await.unwrap();
    assert!(has_key_pair(&console, "stale-1").await, "from before the fault nothing is kept");
    let begun = Instant::now();
    key_pair(&console, "stale-2").await.unwrap();
    key_pair(&console.as_caller("somebody else"), "stale-3").await.unwrap();
    let seen = [
        has_key_pair(&console, "stale-1").await,
        has_key_pair(&console, "stale-2").await,
        has_key_pair(&console, "stale-3").await,
    ];
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "too slow to be of use: {:?}",
        begun.elapsed()
    );
    assert_eq!(seen, [true, false, false]);
    // Others see what is there, and writes are refused by it.
    assert!(has_key_pair(&console.as_caller("somebody else"), "stale-2").await);
    let refusal = key_pair(&console, "stale-2").await.unwrap_err();
    assert_eq!(refusal.code, "InvalidKeyPair.Duplicate");
    console.heal_one(number).await.unwrap();
    assert!(has_key_pair(&console, "stale-2").await && has_key_pair(&console, "stale-3").await);
}

#[tokio::test]
async fn what_was_written_is_seen_later() {
    let console = console("delays").await;
    let fault = Fault::new("ec2:reads", FaultKind::Stale { ms: 1000 }).of("delays");
    console.add_fault(&fault).await.unwrap();
    let begun = Instant::now();
    key_pair(&console, "delayed").await.unwrap();
    let mut looks = 0;
    while !has_key_pair(&console, "delayed").await {
        looks += 1;
        assert!(begun.elapsed() < Duration::from_secs(30), "{looks} looks");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "{looks} looks");
}
