//! Every fault on every operation about load balancers.

use rstest::rstest;
use simcloud::api::{
    AddRule, Address, ChangeTargets, ErrorCode, FaultExtent, FaultKind, FaultSpec, Firewall,
    ListPieces, ListRules, ListTargets, Listener, LoadBalancer, Operation, OperationClass,
    OperationFilter, Outcome, PieceState, ReplaceRules, TargetGroup, UpdateAddress, UpdateFirewall,
    UpdateListener, UpdateLoadBalancer, UpdateTargetGroup,
};
use simcloud::console::{Console, ConsoleError};

use super::super::support::{fleet, refused};
use super::{
    Web, new_address, new_balancer, new_firewall, new_group, new_listener, new_rule, port, tags,
    web,
};

type Called = Result<(), ConsoleError>;

/// Calls the operation in a way that would succeed, and that changes something if it is a write.
async fn call(console: &Console, web: &Web, operation: Operation) -> Called {
    let blue = Some(tags("blue"));
    let all = ListPieces::default;
    match operation {
        Operation::ListAddresses => console.list_pieces::<Address>(&all()).await.map(drop),
        Operation::GetAddress => console.piece::<Address>(&web.address.id).await.map(drop),
        Operation::CreateAddress => console.create_piece(&new_address()).await.map(drop),
        Operation::UpdateAddress => {
            let update = UpdateAddress { tags: blue };
            console.update_piece::<Address>(&web.address.id, &update).await.map(drop)
        }
        Operation::DeleteAddress => {
            console.delete_piece::<Address>(&web.address.id).await.map(drop)
        }
        Operation::ListTargetGroups => console.list_pieces::<TargetGroup>(&all()).await.map(drop),
        Operation::GetTargetGroup => console.piece::<TargetGroup>(&web.group.id).await.map(drop),
        Operation::CreateTargetGroup => console.create_piece(&new_group()).await.map(drop),
        Operation::UpdateTargetGroup => {
            let update = UpdateTargetGroup { tags: blue, ..UpdateTargetGroup::default() };
            console.update_piece::<TargetGroup>(&web.group.id, &update).await.map(drop)
        }
        Operation::DeleteTargetGroup => {
            console.delete_piece::<TargetGroup>(&web.group.id).await.map(drop)
        }
        Operation::ListTargets => {
            console.list_targets(&web.group.id, &ListTargets::default()).await.map(drop)
        }
        Operation::ChangeTargets => {
            let change = ChangeTargets { add: vec!["i-0000000000000002".into()], remove: vec![] };
            console.change_targets(&web.group.id, &change).await.map(drop)
        }
        Operation::ListLoadBalancers => console.list_pieces::<LoadBalancer>(&all()).await.map(drop),
        Operation::GetLoadBalancer => {
            console.piece::<LoadBalancer>(&web.balancer.id).await.map(drop)
        }
        Operation::CreateLoadBalancer => {
            let mut wanted = new_balancer();
            wanted.name = "other".into();
            console.create_piece(&wanted).await.map(drop)
        }
        Operation::UpdateLoadBalancer => {
            let update = UpdateLoadBalancer { tags: blue, ..UpdateLoadBalancer::default() };
            console.update_piece::<LoadBalancer>(&web.balancer.id, &update).await.map(drop)
        }
        Operation::DeleteLoadBalancer => {
            console.delete_piece::<LoadBalancer>(&web.balancer.id).await.map(drop)
        }
        Operation::ListListeners => console.list_pieces::<Listener>(&all()).await.map(drop),
        Operation::GetListener => console.piece::<Listener>(&web.listener.id).await.map(drop),
        Operation::CreateListener => {
            let mut wanted = new_listener(&web.balancer.id, &web.group.id);
            wanted.port = port(81);
            console.create_piece(&wanted).await.map(drop)
        }
        Operation::UpdateListener => {
            let update = UpdateListener { tags: blue, ..UpdateListener::default() };
            console.update_piece::<Listener>(&web.listener.id, &update).await.map(drop)
        }
        Operation::DeleteListener => {
            console.delete_piece::<Listener>(&web.listener.id).await.map(drop)
        }
        Operation::ListFirewalls => console.list_pieces::<Firewall>(&all()).await.map(drop),
        Operation::GetFirewall => console.piece::<Firewall>(&web.firewall.id).await.map(drop),
        Operation::CreateFirewall => {
            let mut wanted = new_firewall();
            wanted.tags.insert("cluster".into(), "b".into());
            console.create_piece(&wanted).await.map(drop)
        }
        Operation::UpdateFirewall => {
            let update = UpdateFirewall { tags: blue };
            console.update_piece::<Firewall>(&web.firewall.id, &update).await.map(drop)
        }
        Operation::DeleteFirewall => {
            console.delete_piece::<Firewall>(&web.firewall.id).await.map(drop)
        }
        Operation::ListRules => {
            console.list_rules(&web.firewall.id, &ListRules::default()).await.map(drop)
        }
        Operation::AddRule => {
            let wanted = AddRule { spec: new_rule("u-2"), client_token: None };
            console.add_rule(&web.firewall.id, &wanted).await.map(drop)
        }
        Operation::RemoveRule => {
            console.remove_rule(&web.firewall.id, &web.rule.id).await.map(drop)
        }
        Operation::ReplaceRules => {
            let wanted = ReplaceRules { etag: web.firewall.etag.clone(), rules: vec![] };
            console.replace_rules(&web.firewall.id, &wanted).await.map(drop)
        }
        other => unreachable!("{other} is about something else"),
    }
}

/// Every operation about load balancers.
fn operations() -> impl Iterator<Item = Operation> {
    let others = ["Instance", "Route", "Volume"];
    Operation::ALL
        .into_iter()
        .filter(move |one| !others.iter().any(|word| one.as_str().contains(word)))
}

/// Makes way for the deletion of what is used.
async fn prepare(console: &Console, web: &Web, operation: Operation) {
    let before: &[Operation] = match operation {
        Operation::DeleteTargetGroup | Operation::DeleteLoadBalancer => {
            &[Operation::DeleteListener]
        }
        Operation::DeleteAddress => &[Operation::DeleteListener, Operation::DeleteLoadBalancer],
        Operation::DeleteFirewall => &[Operation::RemoveRule],
        _ => &[],
    };
    for one in before {
        call(console, web, *one).await.unwrap();
    }
}

/// Removes everything, faults included.
async fn clear(console: &Console) {
    console.clear_faults().await.unwrap();
    for one in console.all_pieces::<LoadBalancer>(ListPieces::default()).await.unwrap() {
        console.remove_by_hand(&one.id).await.unwrap();
    }
    for one in console.all_pieces::<TargetGroup>(ListPieces::default()).await.unwrap() {
        console.remove_by_hand(&one.id).await.unwrap();
    }
    for one in console.all_pieces::<Address>(ListPieces::default()).await.unwrap() {
        console.remove_by_hand(&one.id).await.unwrap();
    }
    for one in console.all_pieces::<Firewall>(ListPieces::default()).await.unwrap() {
        console.remove_by_hand(&one.id).await.unwrap();
    }
    assert!(console.snapshot(&[].into()).await.unwrap().is_empty());
}

#[rstest]
#[case::throttled(FaultKind::Throttle { retry_after_ms: Some(1_000) }, Some(429), false)]
#[case::failed_before_the_work(FaultKind::ServerError { status: 503 }, Some(503), false)]
#[case::forbidden(FaultKind::PermissionDenied, Some(403), false)]
#[case::unknown(FaultKind::Unauthenticated, Some(401), false)]
#[case::hung(FaultKind::Hang { max_ms: Some(1) }, None, false)]
#[case::reset(FaultKind::Reset, None, false)]
#[case::lost_after_the_work(FaultKind::LoseResponse, None, true)]
#[tokio::test]
async fn every_operation_is_struck(
    #[case] kind: FaultKind,
    #[case] status: Option<u16>,
    #[case] is_done: bool,
) {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    for operation in operations() {
        let web = web(console).await;
        prepare(console, &web, operation).await;
        let before = console.snapshot(&[].into()).await.unwrap();
        console.clear_calls().await.unwrap();
        let spec = FaultSpec::next_calls(OperationFilter::One(operation), kind, 1);
        let fault = console.add_fault(&spec).await.unwrap();

        let struck = call(console, &web, operation).await.unwrap_err();

        match (struck, status) {
            (ConsoleError::Refused { status, .. }, Some(want)) => assert_eq!(status, want),
            (ConsoleError::Transport(_), None) => {}
            odd => panic!("{operation}: {odd:?}"),
        }
        assert_eq!(console.fault(&fault.id).await.unwrap().uses, 1, "{operation}");
        let is_change = is_done && operation.class() == OperationClass::Write;
        let after = console.snapshot(&[].into()).await.unwrap();
        assert_eq!(after != before, is_change, "{operation}");
        let calls = console.calls().await.unwrap();
        assert_eq!(calls.mutations_of(operation), u64::from(is_change), "{operation}");
        assert_eq!(calls.mutations(), u64::from(is_change), "{operation}");
        let log = console.call_log(0).await.unwrap();
        let [entry] = &log.entries[..] else { panic!("{operation}: {:?}", log.entries) };
        assert_eq!((entry.operation, entry.changed), (operation, is_change));

        if !is_change {
            call(console, &web, operation).await.unwrap();
            let is_write = operation.class() == OperationClass::Write;
            let calls = console.calls().await.unwrap();
            assert_eq!(calls.mutations_of(operation), u64::from(is_write), "{operation}");
        }
        clear(console).await;
    }
}

#[tokio::test]
async fn a_fault_strikes_the_kth_write() {
    for k in 0..4 {
        let cloud = fleet(1).await;
        let console = &cloud.console;
        let write = OperationFilter::Class(OperationClass::Write);
        let mut spec = FaultSpec::next_calls(write, FaultKind::LoseResponse, 1);
        spec.extent = FaultExtent { skip: Some(k), ..spec.extent };
        console.add_fault(&spec).await.unwrap();
        let mut done = 0;
        for number in 0..9 {
            let mut wanted = new_address();
            wanted.name = format!("web-{number}");
            if console.create_piece(&wanted).await.is_err() {
                break;
            }
            done += 1;
        }
        assert_eq!(done, k);
        let there = console.all_pieces::<Address>(ListPieces::default()).await.unwrap();
        assert_eq!(there.len() as u64, k + 1, "the last one is there all the same");
    }
}

#[tokio::test]
async fn a_fault_strikes_only_what_it_names() {
    let cloud = fleet(2).await;
    let console = &cloud.console;
    let web = web(console).await;
    let mut foreign = new_address();
    foreign.name = "other".into();
    foreign.tags = tags("u-2");
    let foreign = console.create_piece(&foreign).await.unwrap();
    for name in ["web", "u-1", "addr-0000000000000001"] {
        console.clear_faults().await.unwrap();
        let mut spec = FaultSpec::always(OperationFilter::Any, FaultKind::PermissionDenied);
        spec.resource = Some(name.into());
        console.add_fault(&spec).await.unwrap();
        let (status, code, _) = refused(console.piece::<Address>(&web.address.id).await);
        assert_eq!((status, code), (403, ErrorCode::PermissionDenied), "{name}");
        console.piece::<Address>(&foreign.id).await.unwrap();
        let list = async |ask| console.list_pieces::<Address>(&ask).await;
        assert!(list(ListPieces::default()).await.is_err(), "a list is about everything");
        list(ListPieces::named("other")).await.unwrap();
        list(ListPieces::tagged(tags("u-2"))).await.unwrap();
        console.list_instances(&simcloud::api::ListInstances::default()).await.unwrap();
    }

    console.clear_faults().await.unwrap();
    let mut spec = FaultSpec::always(OperationFilter::Any, FaultKind::PermissionDenied);
    spec.resource = Some("u-1".into());
    console.add_fault(&spec).await.unwrap();
    let add = async |owner: &str, at: u16| {
        let mut spec = new_rule(owner);
        spec.port = port(at);
        let wanted = AddRule { spec, client_token: None };
        console.add_rule(&web.firewall.id, &wanted).await
    };
    let others = add("u-2", 80).await.unwrap();
    assert_eq!(refused(add("u-1", 81).await).0, 403);
    console.remove_rule(&web.firewall.id, &others.id).await.unwrap();
    assert_eq!(refused(console.remove_rule(&web.firewall.id, &web.rule.id).await).0, 403);

    console.clear_faults().await.unwrap();
    let mut spec = FaultSpec::always(OperationFilter::Any, FaultKind::PermissionDenied);
    spec.instance = Some("node-1".into());
    console.add_fault(&spec).await.unwrap();
    assert_eq!(refused(call(console, &web, Operation::ChangeTargets).await).0, 403);
    let remove = ChangeTargets { add: vec![], remove: vec!["i-0000000000000001".into()] };
    console.change_targets(&web.group.id, &remove).await.unwrap();
    call(console, &web, Operation::ListAddresses).await.unwrap();
}

#[tokio::test]
async fn pages_of_pieces_are_cut_and_look_whole() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    for name in ["a", "b", "c", "d"] {
        let mut wanted = new_address();
        wanted.name = name.into();
        console.create_piece(&wanted).await.unwrap();
    }
    let names = async |kind, resource: Option<&str>| {
        console.clear_faults().await.unwrap();
        let mut spec = FaultSpec::always(OperationFilter::One(Operation::ListAddresses), kind);
        spec.resource = resource.map(str::to_owned);
        console.add_fault(&spec).await.unwrap();
        let ask = ListPieces { page_size: Some(3), ..ListPieces::default() };
        let page = console.list_pieces::<Address>(&ask).await.unwrap();
        let names: Vec<_> = page.items.into_iter().map(|one| one.name).collect();
        (names.join(" "), page.next_page_token.is_some())
    };
    assert_eq!(
        names(FaultKind::CutPage { missing_share: 1.0 }, Some("b")).await,
        ("a c".into(), true)
    );
    assert_eq!(names(FaultKind::CutPage { missing_share: 1.0 }, None).await, (String::new(), true));
    assert_eq!(names(FaultKind::EmptyPage, None).await, (String::new(), false));
    assert_eq!(names(FaultKind::DropPageToken, None).await, ("a b c".into(), false));
}

#[tokio::test]
async fn a_direct_question_is_told_that_there_is_none() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let web = web(console).await;
    let fault = FaultSpec::always(OperationFilter::Any, FaultKind::NotFound);
    console.add_fault(&fault).await.unwrap();
    let (status, code, error) = refused(console.piece::<LoadBalancer>(&web.balancer.id).await);
    assert_eq!((status, code), (404, ErrorCode::NotFound));
    assert_eq!(error.message, "no load balancer lb-0000000000000001");
    assert_eq!(console.all_pieces::<LoadBalancer>(ListPieces::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_load_balancer_fails_while_it_is_made() {
    let cloud = fleet(1).await;
    let console = &cloud.console;
    let fault = FaultSpec::next_calls(OperationFilter::Any, FaultKind::FailProvisioning, 1);
    console.add_fault(&fault).await.unwrap();
    console.create_piece(&new_group()).await.unwrap();
    let made = console.create_piece(&new_balancer()).await.unwrap();
    assert_eq!(made.state, PieceState::Failed);
    assert_eq!(made.failure.as_deref(), Some("it could not be provisioned"));
    let update = UpdateLoadBalancer { tags: Some(tags("u-2")), ..Default::default() };
    assert_eq!(refused(console.update_piece::<LoadBalancer>(&made.id, &update).await).0, 409);
    console.delete_piece::<LoadBalancer>(&made.id).await.unwrap();
    let again = console.create_piece(&new_balancer()).await.unwrap();
    assert_eq!(again.state, PieceState::Active);
    assert_eq!(console.calls().await.unwrap().ended(Outcome::ClientError), 1);
}
