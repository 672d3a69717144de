//! Instances: their life, and how they are found.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use rstest::rstest;
use simcloud::api::{
    CreateInstance, DescribeInstances, ErrorBody, ErrorCode, FaultKind, FaultSpec, Instance,
    ListInstances, Nic, Operation, OperationClass, OperationFilter, Outcome, RateLimit, RunState,
    SettingsPatch, UpdateInstance, path,
};

use super::support::{cloud, eventually, fleet, names, nodes, refused};

#[tokio::test]
async fn an_instance_lives_and_dies() {
    let cloud = cloud().await;
    let console = &cloud.console;
    let wanted = CreateInstance {
        zone: Some("sim-1c".into()),
        nics: Some(vec![
            Nic {
                private_ipv4s: vec![Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2)],
                public_ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
                private_dns_name: Some("node-1.internal".into()),
                ..Nic::default()
            },
            Nic { private_ipv6s: vec!["fd00::1".parse().unwrap()], ..Nic::default() },
        ]),
        labels: BTreeMap::from([("example.com/rack".into(), "r7".into())]),
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        ..CreateInstance::named("node-1")
    };

    let made = console.create_instance(&wanted).await.unwrap();
    assert_eq!((made.state, &*made.zone), (RunState::Running, "sim-1c"));
    assert_eq!(Some(&made.nics), wanted.nics.as_ref());
    assert_eq!((&made.labels, &made.pod_cidrs), (&wanted.labels, &wanted.pod_cidrs));
    assert_eq!(console.instance(&made.id).await.unwrap(), made);

    assert_eq!(console.stop_instance(&made.id).await.unwrap().state, RunState::Stopped);
    assert_eq!(console.start_instance(&made.id).await.unwrap().state, RunState::Running);
    let update = UpdateInstance { instance_type: Some("sim.big".into()), ..Default::default() };
    let changed = console.update_instance(&made.id, &update).await.unwrap();
    assert_eq!(changed, Instance { instance_type: "sim.big".into(), ..made.clone() });

    assert_eq!(console.terminate_instance(&made.id).await.unwrap().state, RunState::Terminated);
    assert_eq!(console.instance(&made.id).await.unwrap().state, RunState::Terminated);
    let (status, code, _) = refused(console.start_instance(&made.id).await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));

    let again = console.create_instance(&wanted).await.unwrap();
    assert_ne!(again.id, made.id);
}

#[tokio::test]
async fn a_replaced_machine_stays_behind_its_id_and_name() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let slow = SettingsPatch { transition_delay_ms: Some(50), ..SettingsPatch::default() };
    console.change_settings(&slow).await.unwrap();
    let old = console.instance(&"i-0000000000000001".into()).await.unwrap();
    assert_eq!((old.state, old.incarnation), (RunState::Running, 1));

    let new = console.replace_instance(&old.id).await.unwrap();

    assert_eq!((new.state, new.incarnation), (RunState::Pending, 2));
    assert_ne!(new.system_uuid, old.system_uuid);
    assert!(new.created_at >= old.created_at, "{} {}", new.created_at, old.created_at);
    let kept = Instance {
        incarnation: old.incarnation,
        state: old.state,
        system_uuid: old.system_uuid.clone(),
        created_at: old.created_at,
        ..new.clone()
    };
    assert_eq!(kept, old);
    let running = Instance { state: RunState::Running, ..new };
    let is_up = async || console.instance(&old.id).await.unwrap() == running;
    eventually("the new machine runs", is_up).await;
    assert_eq!(names(&cloud.truth().await), ["node-0", "node-1"]);
}

#[tokio::test]
async fn what_is_gone_is_not_replaced() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let (status, code, _) = refused(console.replace_instance(&"nonsense".into()).await);
    assert_eq!((status, code), (404, ErrorCode::NotFound));
    let id = "i-0000000000000001".into();
    console.terminate_instance(&id).await.unwrap();
    let (status, code, error) = refused(console.replace_instance(&id).await);
    assert_eq!((status, code), (409, ErrorCode::Conflict));
    assert_eq!(error.message, "instance i-0000000000000001 is terminated and cannot be replaced");
}

#[tokio::test]
async fn a_replacement_is_limited_struck_and_logged_like_any_write() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let id = "i-0000000000000001".into();
    console.clear_calls().await.unwrap();
    let mut spec = FaultSpec::next_calls(
        OperationFilter::One(Operation::ReplaceInstance),
        FaultKind::PermissionDenied,
        1,
    );
    spec.instance = Some("node-0".into());
    console.add_fault(&spec).await.unwrap();
    let one = RateLimit { per_second: 0.001, burst: 2 };
    let limited = SettingsPatch { write_rate: Some(one), ..SettingsPatch::default() };
    console.change_settings(&limited).await.unwrap();

    assert_eq!(refused(console.replace_instance(&id).await).0, 403);
    assert_eq!(console.replace_instance(&id).await.unwrap().incarnation, 2);
    assert_eq!(refused(console.replace_instance(&id).await).0, 429);

    let calls = console.calls().await.unwrap();
    assert_eq!(calls.of(Operation::ReplaceInstance), 3);
    assert_eq!(calls.of_class(OperationClass::Write), 3);
    assert_eq!(calls.counts[0].instances, 3);
    let log = console.call_log(0).await.unwrap();
    let ends: Vec<_> = log.entries.iter().map(|one| one.outcome).collect();
    assert_eq!(ends, [Outcome::ClientError, Outcome::Ok, Outcome::Throttled]);
    assert_eq!(cloud.truth().await[0].incarnation, 2);
}

#[tokio::test]
async fn describe_leaves_out_what_it_does_not_know() {
    let cloud = fleet(3).await;
    let ask = DescribeInstances {
        ids: vec!["i-0000000000000002".into(), "i-0000000000000099".into(), "nonsense".into()],
        names: vec!["node-2".into(), "nobody".into()],
    };
    let found = cloud.console.describe_instances(&ask).await.unwrap();
    assert_eq!(names(&found), ["node-1", "node-2"]);

    let (status, code, _) = refused(cloud.console.instance(&"nonsense".into()).await);
    assert_eq!((status, code), (404, ErrorCode::NotFound));
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let cloud = fleet(0).await;
    let ask = |many| DescribeInstances {
        ids: vec!["i-0000000000000001".into()],
        names: (1..many).map(|number| format!("node-{number}")).collect(),
    };
    assert_eq!(cloud.console.describe_instances(&ask(100)).await.unwrap(), []);
    let (status, code, _) = refused(cloud.console.describe_instances(&ask(101)).await);
    assert_eq!((status, code), (400, ErrorCode::BatchTooLarge));
}

#[tokio::test]
async fn a_large_fleet_is_made_and_listed_quickly() {
    let start = Instant::now();
    let cloud = fleet(5_000).await;
    let mut ask = ListInstances::default();
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let page = cloud.console.list_instances(&ask).await.unwrap();
        assert!(page.instances.len() <= 100);
        seen.extend(page.instances);
        pages += 1;
        match page.next_page_token {
            Some(next) => ask.page_token = Some(next),
            None => break,
        }
    }
    let wanted: Vec<_> = nodes(5_000).into_iter().map(|one| one.name).collect();
    assert_eq!((names(&seen), pages), (wanted.iter().map(|name| &**name).collect(), 50));
    // A bound for a slow machine and a debug build: an accident shows as minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_list_is_filtered_by_tags() {
    let cloud = cloud().await;
    let tagged = |name: &str, tags: &[(&str, &str)]| CreateInstance {
        tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..CreateInstance::named(name)
    };
    let wanted = vec![
        tagged("a", &[("cluster/demo", "owned"), ("pool", "x & y=z")]),
        tagged("b", &[("cluster/demo", "owned")]),
        tagged("c", &[("cluster/demo", "shared")]),
    ];
    cloud.console.create_instances(wanted).await.unwrap();

    let found = async |tags: &[(&str, &str)]| {
        let tags = tagged("", tags).tags;
        let all = cloud.console.all_instances(tags).await.unwrap();
        names(&all).join(" ")
    };
    assert_eq!(found(&[]).await, "a b c");
    assert_eq!(found(&[("cluster/demo", "owned")]).await, "a b");
    assert_eq!(found(&[("cluster/demo", "owned"), ("pool", "x & y=z")]).await, "a");
    assert_eq!(found(&[("pool", "x")]).await, "");
}

#[rstest]
#[case::a_typo("/v1/instances", r#"{"nam": "a"}"#, "nam")]
#[case::no_name("/v1/instances", r#"{"zone": "z"}"#, "name")]
#[case::an_odd_address(
    "/v1/instances",
    r#"{"name": "a", "nics": [{"private_ipv4s": ["10.0.0.256"]}]}"#,
    "nics[0].private_ipv4s[0]"
)]
#[case::an_odd_range(
    "/v1/instances",
    r#"{"name": "a", "pod_cidrs": ["10.0.0.0/33"]}"#,
    "pod_cidrs[0]"
)]
#[case::no_json("/v1/instances", "name: a", "JSON")]
#[case::an_odd_one_of_many(
    "/v1/instances:batchCreate",
    r#"{"instances": [{"name": "a"}, {"name": ""}]}"#,
    "instances[1].name"
)]
#[case::an_odd_question("/v1/instances:describe", r#"{"ids": "i-1"}"#, "ids")]
#[tokio::test]
async fn requests_that_make_no_sense_are_refused(
    #[case] path: &str,
    #[case] body: &'static str,
    #[case] field: &str,
) {
    let cloud = cloud().await;
    let response = cloud.post(path).body(body).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let ErrorBody { error } = response.json().await.unwrap();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains(field), "{}", error.message);
    assert_eq!(cloud.truth().await, []);
}

#[tokio::test]
async fn wrong_paths_and_methods_are_said_in_json() {
    let cloud = cloud().await;
    for path in ["/v1/servers", "/v1/instances/", "/v1/instances/a/b"] {
        let nowhere = cloud.get(path).send().await.unwrap();
        assert_eq!(nowhere.status(), 404, "{path}");
        let body = nowhere.json::<ErrorBody>().await.unwrap();
        assert_eq!(body.error.code, ErrorCode::InvalidArgument, "not as if an instance were gone");
    }
    let nobody = cloud.post("/v1/instances//stop").send().await.unwrap();
    assert_eq!(nobody.status(), 400);
    let odd = cloud.get(path::DESCRIBE_INSTANCES).send().await.unwrap();
    // `instances:describe` is no instance, so only the method is wrong.
    assert_eq!(odd.status(), 405);
    let body = odd.json::<ErrorBody>().await.unwrap();
    assert_eq!(body.error.code, ErrorCode::MethodNotAllowed);
    let health = reqwest_get_without_token(&cloud.url(path::HEALTH)).await;
    assert_eq!(health, 200);
}

async fn reqwest_get_without_token(url: &str) -> u16 {
    super::support::http().get(url).send().await.unwrap().status().as_u16()
}
