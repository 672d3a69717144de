//! Load balancers against a real simulated cloud, over HTTP.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod engine;

use ccm_core::cloud::{Holds, Ingress, IngressAddress, IpFamily, IpMode, Kind, Verdict};
use ccm_core::converge::pass::End;
use simcloud::api::{
    CreateAddress, CreateListener, CreateLoadBalancer, CreateTargetGroup, FaultKind, FirewallId,
    ForcedState, ListPieces, LoadBalancer, Operation, OperationClass, OperationFilter, PieceKind,
    Quota, RuleSpec, SetLoadBalancerState, SettingsPatch, TargetGroup,
};

use engine::{Stage, Wanted, absent, annotated, gone, id, keep, port, present, spec};

const WRITES: OperationFilter = OperationFilter::Class(OperationClass::Write);

fn is_done(stage: &Stage, name: &str) -> bool {
    stage.with_report(&id(name), |it| matches!(it.verdict, Verdict::Done))
        && stage.with_firewall_report(&id(name), |it| matches!(it.verdict, Verdict::Done))
}

fn addresses(stage: &Stage, name: &str) -> Vec<(String, Option<IpMode>)> {
    stage.with_report(&id(name), |report| match &report.ingress {
        Ingress::Leave => Vec::new(),
        Ingress::Set(points) => points
            .iter()
            .map(|point| match &point.address {
                IngressAddress::Ip(ip) => (ip.to_string(), point.mode),
                IngressAddress::Hostname(name) => (name.clone(), point.mode),
            })
            .collect(),
    })
}

#[tokio::test]
async fn a_service_is_made_in_few_calls_and_left_alone_after() {
    let stage = Stage::start().await;
    let nodes = stage.launch(3).await;
    stage.take_calls().await;
    let wants = [present(spec("web", &[80]))];
    stage.passes.settle(&wants, &nodes).await;
    let (reads, writes) = stage.take_calls().await;
    assert_eq!(
        writes,
        [
            "CreateAddress",
            "CreateLoadBalancer",
            "CreateTargetGroup",
            "ChangeTargets",
            "CreateListener",
            "CreateFirewall",
            "AddRule"
        ]
    );
    // What the test's last round looks at is in it: it is the steady look.
    let made = 4 + 2;
    let steady = 3 + 1 + 1 + 2;
    assert_eq!(reads.len(), made + steady, "{reads:?}");
    assert!(is_done(&stage, "web"));
    assert_eq!(addresses(&stage, "web"), [("203.0.113.1".to_owned(), Some(IpMode::Vip))]);
    let sent = stage.passes.take_sent();
    assert_eq!(
        sent,
        [
            "create ipv4 address of default/web",
            "create external load balancer auidofweb of default/web with ipv4 address",
            "create target group tcp/30080 of default/web with health check http :10256/healthz",
            "change targets of target group tcp/30080 of default/web: add 3 (i-0000000000000001 \
             … i-0000000000000003)",
            "create listener tcp/80 of default/web -> target group tcp/30080 (idle timeout 60 s)",
            "create firewall of the cluster",
            "open tcp/80 -> node port 30080 of default/web for 0.0.0.0/0",
        ]
    );
    stage.passes.settle(&wants, &nodes).await;
    let (reads, writes) = stage.take_calls().await;
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(reads.len(), steady, "{reads:?}");
}

#[tokio::test]
async fn a_service_is_taken_down_to_the_last_piece() {
    let stage = Stage::start().await;
    let nodes = stage.launch(2).await;
    stage.passes.settle(&[present(spec("web", &[80, 443]))], &nodes).await;
    stage.take_calls().await;
    stage.passes.take_sent();
    stage.passes.settle(&[absent("web")], &nodes).await;
    assert!(stage.snapshot().await.is_empty());
    assert!(stage.passes.inventory().await.is_empty());
    stage.with_report(&id("web"), |it| assert_eq!(it.holds, Holds::Nothing));
    stage.with_firewall_report(&id("web"), |it| assert_eq!(it.holds, Holds::Nothing));
    let sent = stage.passes.take_sent();
    let verbs: Vec<_> = sent.iter().map(|line| line.split(" (").next().unwrap()).collect();
    assert_eq!(
        verbs,
        [
            "close tcp/80 -> node port 30080 of default/web for 0.0.0.0/0",
            "close tcp/443 -> node port 30443 of default/web for 0.0.0.0/0",
            "delete firewall fw-0000000000000001 of the cluster",
            "delete listener tcp/80",
            "delete listener tcp/443",
            "delete load balancer auidofweb",
            "delete target group tcp/30080",
            "delete target group tcp/30443",
            "delete address 203.0.113.1",
        ]
    );
}

#[tokio::test]
async fn what_takes_time_is_waited_for() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    let slow = PieceKind::ALL.into_iter().map(|kind| (kind, 60)).collect();
    let patch = SettingsPatch {
        creation_delay_ms: Some(slow),
        deletion_delay_ms: Some(PieceKind::ALL.into_iter().map(|kind| (kind, 60)).collect()),
        target_delay_ms: Some(60),
        ..SettingsPatch::default()
    };
    stage.console.change_settings(&patch).await.unwrap();
    let web = [present(spec("web", &[80]))];
    stage.passes.settle(&web, &nodes).await;
    assert!(is_done(&stage, "web"));
    let inside = annotated(spec("web", &[80]), &[("internal", "true")]);
    stage.passes.settle(&[present(inside)], &nodes).await;
    assert!(is_done(&stage, "web"));
    stage.passes.settle(&[absent("web")], &nodes).await;
    assert!(stage.snapshot().await.is_empty());
    stage.passes.settle(&web, &nodes).await;
    assert!(is_done(&stage, "web"), "and made again under the same names");
    // The Service comes back while the one of before still goes.
    stage.passes.round(&[absent("web")], &nodes).await;
    stage.passes.round(&[absent("web")], &nodes).await;
    stage.passes.settle(&web, &nodes).await;
    assert!(is_done(&stage, "web"));
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}

#[tokio::test]
async fn a_lost_answer_before_late_reads_makes_no_second_piece() {
    for cut in 0..7 {
        let stage = Stage::start().await;
        let nodes = stage.launch(2).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let late = SettingsPatch { consistency_delay_ms: Some(60), ..SettingsPatch::default() };
        stage.console.change_settings(&late).await.unwrap();
        stage.console.clear_calls().await.unwrap();
        stage.fault(WRITES, FaultKind::LoseResponse, cut).await;
        let wants = [present(spec("web", &[80]))];
        stage.passes.settle(&wants, &nodes).await;
        tokio::time::sleep(std::time::Duration::from_millis(80)).await;
        stage.passes.settle(&wants, &nodes).await;
        assert_eq!(stage.snapshot().await.len(), 6, "{:#?}", stage.snapshot().await);
        let calls = stage.console.calls().await.unwrap();
        assert_eq!(
            calls.mutations_by(engine::CALLER),
            7,
            "cut {cut}: {:#?}",
            stage.passes.take_sent()
        );
    }
}

#[tokio::test]
async fn late_reads_make_no_second_piece() {
    let stage = Stage::start().await;
    let nodes = stage.launch(2).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let late = SettingsPatch { consistency_delay_ms: Some(200), ..SettingsPatch::default() };
    stage.console.change_settings(&late).await.unwrap();
    let wants = [present(spec("web", &[80]))];
    stage.passes.settle(&wants, &nodes).await;
    assert_eq!(stage.snapshot().await.len(), 6, "{:#?}", stage.snapshot().await);
    stage.passes.settle(&[absent("web")], &nodes).await;
    assert!(stage.snapshot().await.is_empty());
}

/// Lost answers and refusals at every change, making, changing and taking down: the same end.
#[tokio::test]
async fn a_cut_at_any_change_ends_alike() {
    for kind in [FaultKind::LoseResponse, FaultKind::Reset] {
        let mut reference = None;
        for cut in 0..40 {
            let stage = Stage::start().await;
            let nodes = stage.launch(3).await;
            stage.fault(WRITES, kind, cut).await;
            stage.passes.settle(&[present(spec("web", &[80]))], &nodes).await;
            stage.passes.restart().await;
            let changed = annotated(spec("web", &[443, 80]), &[("internal", "true")]);
            stage.passes.settle(&[present(changed)], &nodes[1..]).await;
            let end = stage.snapshot().await;
            assert_eq!(reference.get_or_insert_with(|| end.clone()), &end, "{kind:?} {cut}");
            stage.passes.restart().await;
            stage.passes.settle(&[absent("web")], &nodes).await;
            assert!(stage.snapshot().await.is_empty(), "{kind:?} {cut}");
            let faults = stage.console.faults().await.unwrap();
            if faults.iter().all(|fault| fault.uses == 0) {
                assert!(cut > 20, "it was cut often enough");
                break;
            }
        }
    }
}

#[tokio::test]
async fn changes_of_the_spec_are_followed() {
    let stage = Stage::start().await;
    let nodes = stage.launch(2).await;
    stage.passes.settle(&[present(spec("web", &[80, 81]))], &nodes).await;
    let first = addresses(&stage, "web");
    stage.passes.take_sent();

    let mut moved = spec("web", &[80]);
    moved.ports = vec![port(80, 31_000)];
    moved.client_ip_affinity = Some(std::time::Duration::from_hours(3));
    stage.passes.settle(&[present(moved)], &nodes).await;
    let sent = stage.passes.take_sent();
    let verbs: Vec<_> = sent.iter().map(|line| line.split(" of ").next().unwrap()).collect();
    assert_eq!(
        verbs,
        [
            "create target group tcp/31000",
            "change targets",
            "set listener tcp/80",
            "delete listener tcp/81 (lsn-0000000000000002)",
            "delete target group tcp/30080 (tg-0000000000000001)",
            "delete target group tcp/30081 (tg-0000000000000002)",
            "open tcp/80 -> node port 31000",
            "close tcp/80 -> node port 30080",
            "close tcp/81 -> node port 30081",
        ]
    );
    assert_eq!(addresses(&stage, "web"), first, "the address stays");

    let mut dual = spec("web", &[80]);
    dual.families = vec![IpFamily::V6, IpFamily::V4];
    let dual = annotated(dual, &[("proxy-protocol", "true"), ("internal", "true")]);
    stage.passes.settle(&[present(dual)], &nodes).await;
    let now = addresses(&stage, "web");
    assert_eq!(now.len(), 2);
    assert_eq!((now[0].1, now[1].0.as_str()), (Some(IpMode::Proxy), first[0].0.as_str()));
    assert_eq!(stage.snapshot().await.iter().filter(|line| line.contains("0.0.0.0/0")).count(), 1);
}

#[tokio::test]
async fn targets_follow_the_nodes_in_batches() {
    let stage = Stage::start().await;
    let nodes = stage.launch(250).await;
    let wants = [present(spec("web", &[80]))];
    stage.passes.settle(&wants, &nodes).await;
    let (_, writes) = stage.take_calls().await;
    let changes = |writes: &[String]| writes.iter().filter(|it| *it == "ChangeTargets").count();
    assert_eq!(changes(&writes), 3);
    let group = &stage.console.all_pieces::<TargetGroup>(ListPieces::default()).await.unwrap()[0];
    assert_eq!(group.target_count, 250);

    let mut fewer = nodes[120..].to_vec();
    fewer[0] = gone(&fewer[0]);
    stage.passes.settle(&wants, &fewer).await;
    let (_, writes) = stage.take_calls().await;
    assert_eq!(changes(&writes), 2);
    let targets = stage.console.all_targets(&group.id).await.unwrap();
    assert_eq!(targets.len(), 129);
}

#[tokio::test]
async fn an_instance_that_is_gone_unheard_of_keeps_nobody_waiting() {
    let stage = Stage::start().await;
    let nodes = stage.launch(3).await;
    stage.console.terminate_instance(&"i-0000000000000002".into()).await.unwrap();
    let wants = [present(spec("web", &[80]))];
    let ends = stage.passes.round(&wants, &nodes).await;
    assert!(ends.iter().all(|passed| matches!(passed.end, End::Done)), "{ends:?}");
    assert_eq!(ends[0].notes.len(), 1);
    assert!(is_done(&stage, "web"));
    let groups = stage.console.all_pieces::<TargetGroup>(ListPieces::default()).await.unwrap();
    assert_eq!(groups[0].target_count, 2);
}

#[tokio::test]
async fn services_share_the_firewall_and_strangers_are_let_be() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    let both = [present(spec("a", &[80])), present(spec("b", &[81, 82]))];
    stage.passes.settle(&both, &nodes).await;
    let firewall: FirewallId = "fw-0000000000000001".into();
    let stranger = RuleSpec {
        owner: "somebody".to_owned(),
        source: "10.0.0.0/8".parse().unwrap(),
        protocol: simcloud::api::Protocol::Tcp,
        port: 1.try_into().unwrap(),
        node_ports: vec![1.try_into().unwrap()],
    };
    let stranger = simcloud::api::AddRule { spec: stranger, client_token: None };
    stage.console.add_rule(&firewall, &stranger).await.unwrap();
    let owners = |owned: Vec<ccm_core::cloud::Owned>| -> Vec<String> {
        let rules = owned.into_iter().filter(|it| it.kind == "rule");
        rules.filter_map(|it| it.owner).map(|owner| owner.to_string()).collect()
    };
    assert_eq!(
        owners(stage.passes.inventory().await),
        ["uid-of-a", "uid-of-b", "uid-of-b", "somebody"]
    );
    stage.passes.settle(&[absent("a"), keep("b")], &nodes).await;
    assert_eq!(owners(stage.passes.inventory().await), ["uid-of-b", "uid-of-b", "somebody"]);
    stage.passes.settle(&[absent("b")], &nodes).await;
    assert_eq!(owners(stage.passes.inventory().await), ["somebody"], "so the firewall stays");
    stage.with_firewall_report(&id("b"), |it| assert_eq!(it.holds, Holds::Nothing));
    assert_eq!(stage.passes.inventory().await.len(), 2);
}

#[tokio::test]
async fn a_quota_that_one_exceeds_costs_no_other() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    let quotas = Some([(Quota::RulesOfFirewall, 2)].into());
    let patch = SettingsPatch { quotas, ..SettingsPatch::default() };
    stage.console.change_settings(&patch).await.unwrap();
    let both = [present(spec("a", &[80])), present(spec("b", &[81, 82, 83]))];
    for _ in 0..3 {
        stage.passes.round(&both, &nodes).await;
    }
    assert!(is_done(&stage, "a"));
    assert!(!is_done(&stage, "b"));
    let ends = stage.passes.round(&both, &nodes).await;
    let refused = ends.iter().flat_map(|passed| &passed.refused);
    let refused: Vec<_> = refused.map(|(id, err)| (id.to_string(), err.kind())).collect();
    assert_eq!(refused, [("default/b".to_owned(), Kind::QuotaExceeded)]);
}

#[tokio::test]
async fn a_taken_address_is_told_and_costs_nothing_that_is_there() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    stage.passes.settle(&[present(spec("a", &[80]))], &nodes).await;
    let taken = addresses(&stage, "a")[0].0.clone();
    for (address, why) in [(taken.as_str(), "is taken"), ("8.8.8.8", "range")] {
        let mut greedy = spec("b", &[81]);
        greedy.requested_address = Some(address.to_owned());
        let ends = stage.passes.round(&[present(greedy)], &nodes).await;
        let (_, err) = &ends[0].refused[0];
        assert_eq!(err.kind(), Kind::InvalidConfiguration);
        assert!(err.message().contains(why) && err.message().contains(address), "{err}");
    }
    let mut modest = spec("b", &[81]);
    modest.requested_address = Some("198.51.100.9".to_owned());
    stage.passes.settle(&[present(modest)], &nodes).await;
    assert_eq!(addresses(&stage, "b")[0].0, "198.51.100.9");
}

#[tokio::test]
async fn a_failed_load_balancer_is_made_anew() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    let wants = [present(spec("web", &[80]))];
    stage.passes.settle(&wants, &nodes).await;
    let first = addresses(&stage, "web");
    let failed =
        SetLoadBalancerState { state: ForcedState::Failed, failure: Some("it burnt".to_owned()) };
    let balancer: simcloud::api::LoadBalancerId = "lb-0000000000000001".into();
    stage.console.set_load_balancer_state(&balancer, &failed).await.unwrap();
    stage.passes.take_sent();
    stage.passes.settle(&wants, &nodes).await;
    assert!(is_done(&stage, "web"));
    assert_eq!(addresses(&stage, "web"), first);
    let sent = stage.passes.take_sent();
    assert!(sent[0].ends_with("to make it anew") && sent.len() == 4, "{sent:#?}");
}

#[tokio::test]
async fn what_the_operators_hand_takes_away_comes_back() {
    let stage = Stage::start().await;
    let nodes = stage.launch(2).await;
    let wants = [present(spec("web", &[80]))];
    stage.passes.settle(&wants, &nodes).await;
    let before = stage.snapshot().await;
    for owned in stage.passes.inventory().await {
        stage.console.remove_by_hand(&owned.id).await.ok();
        stage.passes.settle(&wants, &nodes).await;
        assert_eq!(stage.snapshot().await, before, "{owned:?}");
    }
}

#[tokio::test]
async fn what_a_program_before_us_left_is_adopted() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    let console = &stage.console;
    let v4 = simcloud::api::IpFamily::Ipv4;
    let address = console.create_piece(&CreateAddress::named("old", v4)).await.unwrap();
    let tcp = simcloud::api::Protocol::Tcp;
    let group = CreateTargetGroup::named("old", tcp, 30_080.try_into().unwrap());
    let group = console.create_piece(&group).await.unwrap();
    let mut balancer = CreateLoadBalancer::named("auidofweb");
    balancer.addresses = vec![address.id.clone()];
    let balancer = console.create_piece(&balancer).await.unwrap();
    let listener = CreateListener {
        name: "old".to_owned(),
        load_balancer: balancer.id.clone(),
        protocol: tcp,
        port: 80.try_into().unwrap(),
        target_group: group.id.clone(),
        settings: simcloud::api::ListenerSettings::default(),
        tags: [].into(),
        client_token: None,
    };
    console.create_piece(&listener).await.unwrap();
    let wants = [present(spec("web", &[80]))];
    stage.passes.settle(&wants, &nodes).await;
    assert!(is_done(&stage, "web"));
    assert_eq!(addresses(&stage, "web")[0].0, address.address.to_string());
    let sent = stage.passes.take_sent();
    assert!(sent.iter().all(|line| !line.starts_with("delete")), "{sent:#?}");
    assert_eq!(sent.iter().filter(|line| line.starts_with("create")).count(), 1, "{sent:#?}");
    stage.passes.settle(&[absent("web")], &nodes).await;
    assert!(stage.snapshot().await.is_empty());
}

#[tokio::test]
async fn a_list_that_lies_about_emptiness_leaks_nothing() {
    for operation in [
        Operation::ListAddresses,
        Operation::ListTargetGroups,
        Operation::ListLoadBalancers,
        Operation::ListListeners,
        Operation::ListFirewalls,
        Operation::ListRules,
    ] {
        let stage = Stage::start().await;
        let nodes = stage.launch(1).await;
        let wants: [Wanted; 1] = [present(spec("web", &[80]))];
        stage.passes.settle(&wants, &nodes).await;
        let before = stage.snapshot().await;
        stage.fault(OperationFilter::One(operation), FaultKind::EmptyPage, 0).await;
        stage.passes.settle(&wants, &nodes).await;
        assert_eq!(stage.snapshot().await, before, "{operation}");
        stage.passes.restart().await;
        stage.fault(OperationFilter::One(operation), FaultKind::EmptyPage, 0).await;
        stage.passes.settle(&[absent("web")], &nodes).await;
        assert!(stage.snapshot().await.is_empty(), "{operation}");
    }
}

#[tokio::test]
async fn another_clusters_load_balancer_of_the_same_name_is_not_touched() {
    let stage = Stage::start().await;
    let nodes = stage.launch(1).await;
    let mut other = CreateLoadBalancer::named("auidofweb");
    other.tags = [("cluster".to_owned(), "red".to_owned())].into();
    stage.console.create_piece(&other).await.unwrap();
    stage.passes.round(&[present(spec("web", &[80]))], &nodes).await;
    stage.with_report(&id("web"), |report| match &report.verdict {
        Verdict::Refused(err) => assert_eq!(err.kind(), Kind::InvalidConfiguration),
        other => panic!("{other:?}"),
    });
    stage.passes.settle(&[absent("web")], &nodes).await;
    let left = stage.console.all_pieces::<LoadBalancer>(ListPieces::default()).await.unwrap();
    assert_eq!(left.len(), 1);
}
