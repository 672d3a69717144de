//! Every kind of fault, as its victims meet it.

use std::time::{Duration, Instant};

use rstest::rstest;
use simcloud::api::{
    CreateInstance, DescribeInstances, ErrorBody, ErrorCode, FaultExtent, FaultKind, FaultSpec,
    InstanceId, ListInstances, Operation, OperationFilter, Outcome, RunState, path,
};
use simcloud::console::ConsoleError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{
    CONTROL_TOKEN, Fixture, PATIENCE, TOKEN, cloud, config, eventually, fleet, http, names,
    refused, start,
};

const ANY: OperationFilter = OperationFilter::Any;
const CREATE: OperationFilter = OperationFilter::One(Operation::CreateInstance);
const GET: OperationFilter = OperationFilter::One(Operation::GetInstance);
const LIST: OperationFilter = OperationFilter::One(Operation::ListInstances);
const DESCRIBE: OperationFilter = OperationFilter::One(Operation::DescribeInstances);

async fn in_flight(cloud: &Fixture) -> u64 {
    let calls = cloud.console.calls().await.unwrap();
    calls.counts.iter().map(|count| count.in_flight).sum()
}

async fn outcomes(cloud: &Fixture, outcome: Outcome) -> u64 {
    cloud.console.calls().await.unwrap().ended(outcome)
}

#[rstest]
#[case::denied(FaultKind::Unauthenticated, 401, ErrorCode::Unauthenticated)]
#[case::forbidden(FaultKind::PermissionDenied, 403, ErrorCode::PermissionDenied)]
#[case::throttled(FaultKind::Throttle { retry_after_ms: None }, 429, ErrorCode::Throttled)]
#[case::broken(FaultKind::ServerError { status: 500 }, 500, ErrorCode::Internal)]
#[case::bad_gateway(FaultKind::ServerError { status: 502 }, 502, ErrorCode::Internal)]
#[case::unavailable(FaultKind::ServerError { status: 503 }, 503, ErrorCode::Unavailable)]
#[case::timed_out(FaultKind::ServerError { status: 504 }, 504, ErrorCode::Unavailable)]
#[tokio::test]
async fn a_refused_call_does_nothing(
    #[case] kind: FaultKind,
    #[case] want_status: u16,
    #[case] want_code: ErrorCode,
) {
    let cloud = cloud().await;
    let console = &cloud.console;
    let fault = console.add_fault(&FaultSpec::next_calls(CREATE, kind, 1)).await.unwrap();

    let (status, code, error) = refused(console.create_instance(&CreateInstance::named("a")).await);

    assert_eq!((status, code), (want_status, want_code));
    assert_eq!(error.retry_after_ms, None);
    let fault = console.fault(&fault.id).await.unwrap();
    assert_eq!((fault.uses, fault.spent), (1, true));
    let log = console.call_log(0).await.unwrap();
    let struck_by = log.entries[0].fault.as_ref().unwrap();
    assert_eq!((&struck_by.id, &*struck_by.kind), (&fault.id, kind.as_str()));
    let calls = console.calls().await.unwrap();
    assert_eq!(calls.counts[0].faults[kind.as_str()], 1);
    console.create_instance(&CreateInstance::named("b")).await.unwrap();
    assert_eq!(names(&cloud.truth().await), ["b"]);
}

#[tokio::test]
async fn a_throttled_call_is_told_when_to_come_back() {
    let cloud = cloud().await;
    let kind = FaultKind::Throttle { retry_after_ms: Some(1_500) };
    cloud.console.add_fault(&FaultSpec::next_calls(ANY, kind, 1)).await.unwrap();

    let response = cloud.get(path::INSTANCES).send().await.unwrap();

    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    let ErrorBody { error } = response.json().await.unwrap();
    assert_eq!(error.retry_after_ms, Some(1_500));
}

#[rstest]
#[case::lost_after_the_work(FaultKind::LoseResponse, &["a"])]
#[case::reset_before_the_work(FaultKind::Reset, &[])]
#[case::hung_until_the_end(FaultKind::Hang { max_ms: Some(20) }, &[])]
#[tokio::test]
async fn a_cut_call_has_no_answer(#[case] kind: FaultKind, #[case] made: &[&str]) {
    let cloud = cloud().await;
    let console = &cloud.console;
    // A connection that has been good before is cut like a new one.
    console.list_instances(&ListInstances::default()).await.unwrap();
    console.add_fault(&FaultSpec::always(CREATE, kind)).await.unwrap();

    let lost = console.create_instance(&CreateInstance::named("a")).await.unwrap_err();

    assert!(matches!(lost, ConsoleError::Transport(_)), "{lost:?}");
    assert_eq!(outcomes(&cloud, Outcome::Cut).await, 1, "and nobody tries again unasked");
    assert_eq!(names(&cloud.truth().await), made);
}

#[rstest]
#[case(FaultKind::LoseResponse)]
#[case(FaultKind::Reset)]
#[tokio::test]
async fn not_a_byte_of_a_cut_answer_leaves(#[case] kind: FaultKind) {
    let cloud = cloud().await;
    cloud.console.add_fault(&FaultSpec::always(ANY, kind)).await.unwrap();
    let mut stream = TcpStream::connect(cloud.running.address).await.unwrap();
    let request = format!(
        "GET /v1/instances HTTP/1.1\r\nHost: cloud\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();

    let mut heard = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap();

    assert_eq!(heard, b"");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_hanging_call_goes_on_when_the_fault_is_removed() {
    let cloud = fleet(2).await;
    let hang = FaultSpec::next_calls(LIST, FaultKind::Hang { max_ms: None }, 1);
    let fault = cloud.console.add_fault(&hang).await.unwrap();
    let other = FaultSpec::always(DESCRIBE, FaultKind::Reset);
    let other = cloud.console.add_fault(&other).await.unwrap();
    let request = cloud.get(path::INSTANCES).send();
    let call = tokio::spawn(request);
    eventually("the call hangs", async || in_flight(&cloud).await == 1).await;

    cloud.console.remove_fault(&other.id).await.unwrap();
    // The one that is used up does not hold a second call.
    cloud.console.list_instances(&ListInstances::default()).await.unwrap();
    assert_eq!(in_flight(&cloud).await, 1);

    cloud.console.remove_fault(&fault.id).await.unwrap();
    let response = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(in_flight(&cloud).await, 0);
}

/// Asks for an instance, and goes away once the call is there.
async fn begin_and_give_up(cloud: &Fixture) {
    let request = cloud.post(path::INSTANCES).body(r#"{"name": "a"}"#).send();
    let call = tokio::spawn(request);
    eventually("the call is there", async || in_flight(cloud).await == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_caller_that_gives_up_is_noticed() {
    let cloud = cloud().await;
    let hang = FaultSpec::always(CREATE, FaultKind::Hang { max_ms: None });
    cloud.console.add_fault(&hang).await.unwrap();
    begin_and_give_up(&cloud).await;

    let noticed = async || outcomes(&cloud, Outcome::Abandoned).await == 1;
    eventually("the call is abandoned", noticed).await;
    assert_eq!(in_flight(&cloud).await, 0);
    assert_eq!(cloud.truth().await, []);
}

#[tokio::test]
async fn a_slow_call_is_done_later() {
    let cloud = fleet(1).await;
    let slow = FaultSpec::next_calls(LIST, FaultKind::Slow { delay_ms: 80, stale: false }, 1);
    cloud.console.add_fault(&slow).await.unwrap();
    let start = Instant::now();
    let page = cloud.console.list_instances(&ListInstances::default()).await.unwrap();
    assert_eq!(page.instances.len(), 1);
    assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_write_is_done_though_its_caller_has_gone() {
    let cloud = cloud().await;
    let slow = FaultSpec::always(CREATE, FaultKind::Slow { delay_ms: 1_000, stale: false });
    cloud.console.add_fault(&slow).await.unwrap();
    begin_and_give_up(&cloud).await;

    let noticed = async || outcomes(&cloud, Outcome::Abandoned).await == 1;
    eventually("the call is abandoned", noticed).await;
    eventually("the instance is there", async || cloud.truth().await.len() == 1).await;
}

/// How long the first of two answers takes: the second must come first on a slow machine, too.
const LATE_MS: u64 = 1_000;

#[rstest]
#[case::as_it_is_by_then(false, RunState::Stopped)]
#[case::as_it_was_on_arrival(true, RunState::Running)]
#[tokio::test]
async fn a_slow_read_answers(#[case] stale: bool, #[case] want: RunState) {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let id = InstanceId::from("i-0000000000000001");
    let slow = FaultKind::Slow { delay_ms: LATE_MS, stale };
    console.add_fault(&FaultSpec::next_calls(GET, slow, 1)).await.unwrap();
    let (start, late) = (Instant::now(), console.clone());
    let first = tokio::spawn({
        let id = id.clone();
        async move { late.instance(&id).await.unwrap().state }
    });
    eventually("the first call is there", async || in_flight(&cloud).await == 1).await;

    console.stop_instance(&id).await.unwrap();
    let second = console.instance(&id).await.unwrap().state;
    assert!(!first.is_finished(), "the answers come in the wrong order");

    assert_eq!((first.await.unwrap(), second), (want, RunState::Stopped));
    assert!(start.elapsed() >= Duration::from_millis(LATE_MS), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stale_write_is_done_at_once_and_answered_later() {
    let cloud = cloud().await;
    let slow = FaultKind::Slow { delay_ms: LATE_MS, stale: true };
    cloud.console.add_fault(&FaultSpec::always(CREATE, slow)).await.unwrap();
    let request = cloud.post(path::INSTANCES).body(r#"{"name": "a"}"#).send();
    let call = tokio::spawn(request);
    eventually("the call is there", async || in_flight(&cloud).await == 1).await;

    assert_eq!(names(&cloud.truth().await), ["a"]);
    assert!(!call.is_finished());
    let response = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), 201);
}

#[tokio::test]
async fn a_stale_refusal_is_late_as_well() {
    let cloud = cloud().await;
    let slow = FaultKind::Slow { delay_ms: 80, stale: true };
    cloud.console.add_fault(&FaultSpec::always(GET, slow)).await.unwrap();
    let start = Instant::now();
    assert_eq!(refused(cloud.console.instance(&"nonsense".into()).await).0, 404);
    assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_direct_question_is_told_that_there_is_nothing() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let mut spec = FaultSpec::always(ANY, FaultKind::NotFound);
    spec.instance = Some("node-0".into());
    let fault = console.add_fault(&spec).await.unwrap();
    let ask = |id: &str| DescribeInstances { ids: vec![id.into()], ..DescribeInstances::default() };

    let lie = refused(console.instance(&"i-0000000000000001".into()).await);
    let truth = refused(console.instance(&"i-0000000000000009".into()).await);

    assert_eq!((lie.0, lie.1), (404, ErrorCode::NotFound));
    assert_eq!((truth.0, truth.1), (404, ErrorCode::NotFound));
    let message = |id| format!("no instance {id}");
    assert_eq!(lie.2.message, message("i-0000000000000001"));
    assert_eq!(truth.2.message, message("i-0000000000000009"), "they look the same");
    console.instance(&"i-0000000000000002".into()).await.unwrap();
    let found = console.describe_instances(&ask("i-0000000000000001")).await.unwrap();
    assert_eq!(names(&found), ["node-0"]);
    assert_eq!(console.all_instances([].into()).await.unwrap().len(), 2);
    console.stop_instance(&"i-0000000000000001".into()).await.unwrap();

    assert_eq!(console.fault(&fault.id).await.unwrap().uses, 1);
    let log = console.call_log(0).await.unwrap();
    let struck = log.entries.iter().find(|one| one.fault.is_some()).unwrap();
    assert_eq!((struck.operation, struck.status), (Operation::GetInstance, Some(404)));
    assert_eq!(struck.fault.as_ref().unwrap().kind, "not_found");
    console.clear_faults().await.unwrap();
    console.instance(&"i-0000000000000001".into()).await.unwrap();
}

#[rstest]
#[case::some_missing(FaultKind::CutPage { missing_share: 0.25 }, None, 75, true)]
#[case::one_missing(FaultKind::CutPage { missing_share: 1.0 }, Some("node-7"), 99, true)]
#[case::all_missing(FaultKind::EmptyPage, None, 0, false)]
#[case::looks_like_the_last(FaultKind::DropPageToken, None, 100, false)]
#[tokio::test]
async fn a_page_is_cut_and_looks_whole(
    #[case] kind: FaultKind,
    #[case] instance: Option<&str>,
    #[case] want: usize,
    #[case] more: bool,
) {
    let cloud = fleet(150).await;
    let mut spec = FaultSpec::always(ANY, kind);
    spec.instance = instance.map(str::to_owned);
    cloud.console.add_fault(&spec).await.unwrap();

    let page = cloud.console.list_instances(&ListInstances::default()).await.unwrap();

    assert_eq!((page.instances.len(), page.next_page_token.is_some()), (want, more));
    assert!(!page.instances.iter().any(|one| Some(&*one.name) == instance));
    assert_eq!(outcomes(&cloud, Outcome::Ok).await, 2, "as if nothing were wrong");
}

#[tokio::test]
async fn a_describe_is_cut_as_well() {
    let cloud = fleet(10).await;
    let ask = DescribeInstances {
        names: (0..10).map(|number| format!("node-{number}")).collect(),
        ids: vec![],
    };
    for (kind, want) in [
        (FaultKind::CutPage { missing_share: 0.5 }, 5),
        (FaultKind::EmptyPage, 0),
        (FaultKind::DropPageToken, 10),
    ] {
        cloud.console.clear_faults().await.unwrap();
        cloud.console.add_fault(&FaultSpec::always(ANY, kind)).await.unwrap();
        let found = cloud.console.describe_instances(&ask).await.unwrap();
        assert_eq!(found.len(), want, "{kind:?}");
    }
}

#[tokio::test]
async fn a_fault_strikes_only_its_caller() {
    let cloud = cloud().await;
    let mut spec = FaultSpec::always(ANY, FaultKind::PermissionDenied);
    spec.caller = Some("ccm".into());
    cloud.console.add_fault(&spec).await.unwrap();
    cloud.console.list_instances(&ListInstances::default()).await.unwrap();
    assert_eq!(cloud.get(path::INSTANCES).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_fault_strikes_only_its_instance() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let mut spec = FaultSpec::always(ANY, FaultKind::PermissionDenied);
    spec.instance = Some("node-1".into());
    console.add_fault(&spec).await.unwrap();

    console.instance(&"i-0000000000000001".into()).await.unwrap();
    assert_eq!(refused(console.instance(&"i-0000000000000002".into()).await).0, 403);
    let ask =
        |name: &str| DescribeInstances { names: vec![name.into()], ..DescribeInstances::default() };
    console.describe_instances(&ask("node-0")).await.unwrap();
    assert_eq!(refused(console.describe_instances(&ask("node-1")).await).0, 403);
}

#[tokio::test]
async fn a_period_ends() {
    let cloud = cloud().await;
    let mut spec = FaultSpec::always(ANY, FaultKind::Reset);
    spec.extent = FaultExtent { period_ms: Some(60), ..FaultExtent::default() };
    cloud.console.add_fault(&spec).await.unwrap();
    let works = async || cloud.console.list_instances(&ListInstances::default()).await.is_ok();
    eventually("the outage ends", works).await;
    assert!(cloud.console.faults().await.unwrap()[0].spent);
}

#[tokio::test]
async fn a_share_strikes_the_same_calls_with_the_same_seed() {
    let draw = async |seed| {
        let mut config = config();
        config.seed = seed;
        let cloud = start(config).await;
        let mut spec = FaultSpec::always(LIST, FaultKind::ServerError { status: 500 });
        spec.extent.share = Some(0.5);
        cloud.console.add_fault(&spec).await.unwrap();
        let mut drawn = Vec::new();
        for _ in 0..40 {
            drawn.push(cloud.console.list_instances(&ListInstances::default()).await.is_ok());
        }
        drawn
    };
    let first = draw(1).await;
    assert_eq!(first, draw(1).await);
    assert_ne!(first, draw(2).await);
    assert!(first.contains(&true) && first.contains(&false));
}

#[rstest]
#[case::an_unknown_operation(
    r#"{"operation": "ListServers", "kind": "reset", "for": {"calls": 1}}"#,
    "operation"
)]
#[case::an_unknown_kind(r#"{"operation": "*", "kind": "explode", "for": {"calls": 1}}"#, "kind")]
#[case::no_kind(r#"{"operation": "*", "for": {"calls": 1}}"#, "`kind`")]
#[case::no_extent(r#"{"operation": "*", "kind": "reset"}"#, "`for`")]
#[case::an_empty_extent(r#"{"operation": "*", "kind": "reset", "for": {}}"#, "for:")]
#[case::text_for_a_number(
    r#"{"operation": "*", "kind": "reset", "for": {"calls": "three"}}"#,
    "for.calls"
)]
#[case::a_share_over_one(
    r#"{"operation": "*", "kind": "reset", "for": {"share": 1.5}}"#,
    "for.share"
)]
#[case::an_odd_status(
    r#"{"operation": "*", "kind": {"server_error": {"status": 418}}, "for": {"calls": 1}}"#,
    "kind.server_error.status"
)]
#[case::a_typo_in_the_kind(
    r#"{"operation": "*", "kind": {"slow": {"delay": 5}}, "for": {"calls": 1}}"#,
    "`delay`"
)]
#[case::a_typo(
    r#"{"operation": "*", "kind": "reset", "for": {"calls": 1}, "callers": "x"}"#,
    "`callers`"
)]
#[case::text_for_a_flag(
    r#"{"operation": "*", "kind": {"slow": {"delay_ms": 5, "stale": "yes"}}, "for": {"calls": 1}}"#,
    "stale"
)]
#[case::a_list_that_is_not_found(
    r#"{"operation": "ListInstances", "kind": "not_found", "for": {"calls": 1}}"#,
    "operation: not_found cannot strike ListInstances"
)]
#[case::a_page_of_a_write(
    r#"{"operation": "write", "kind": "empty_page", "for": {"calls": 1}}"#,
    "operation"
)]
#[tokio::test]
async fn bad_scripts_are_refused_by_field(#[case] script: &'static str, #[case] field: &str) {
    let cloud = cloud().await;
    let request = http().post(cloud.url(path::FAULTS)).bearer_auth(CONTROL_TOKEN).body(script);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 400);
    let ErrorBody { error } = response.json().await.unwrap();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains(field), "{}", error.message);
    assert_eq!(cloud.console.faults().await.unwrap(), []);
}

#[tokio::test]
async fn faults_are_listed_and_removed() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let spec = FaultSpec::always(LIST, FaultKind::Slow { delay_ms: 7, stale: false });
    let first = console.add_fault(&spec).await.unwrap();
    let second = console.add_fault(&FaultSpec::next_calls(ANY, FaultKind::Reset, 9)).await.unwrap();
    assert_eq!(console.faults().await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(first.spec, spec);

    console.remove_fault(&first.id).await.unwrap();
    assert_eq!(console.faults().await.unwrap(), [second]);
    assert_eq!(refused(console.remove_fault(&first.id).await).0, 404);
    console.clear_faults().await.unwrap();
    assert_eq!(console.faults().await.unwrap(), []);
}
