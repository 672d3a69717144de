use std::net::IpAddr;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::cloud::{
    Annotations, CloudError, Ingress, IngressAddress, IngressPoint, Kind, ObjectId, Report, Verdict,
};
use crate::cluster::service::WireService;
use crate::controllers::service::spec;
use crate::converge::{Cause, Trouble};

const DIGEST: u64 = 7;

fn service(changes: &Value) -> Service {
    let mut json = json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "u1", "resourceVersion": "1"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30080}]},
    });
    json_patch::merge(&mut json, changes);
    let wire: WireService = serde_json::from_value(json).unwrap();
    wire.trim(|key| key.starts_with("sim/"), |_| false)
}

fn held() -> Value {
    json!({"metadata": {"finalizers": [keys::FINALIZER]}})
}

/// With the finalizer and these things more.
fn held_and(more: &Value) -> Service {
    let mut json = held();
    json_patch::merge(&mut json, more);
    service(&json)
}

fn condition(status: &str, reason: &str) -> Value {
    json!({"status": {"conditions": [{
        "type": keys::LOAD_BALANCER_READY, "status": status, "reason": reason, "message": "m",
    }]}})
}

fn ready(address: &str) -> Value {
    let message = format!("the load balancer is as the Service asks, at {address}");
    json!({"status": {
        "loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]},
        "conditions": [{
            "type": keys::LOAD_BALANCER_READY, "status": "True", "reason": "Ready", "message": message,
        }],
    }})
}

fn id() -> ObjectId {
    ObjectId { namespace: "shop".into(), name: "web".into(), uid: "u1".into() }
}

fn at(address: &str) -> Vec<IngressPoint> {
    let ip: IpAddr = address.parse().unwrap();
    vec![IngressPoint { address: IngressAddress::Ip(ip), mode: None, ports: Vec::new() }]
}

fn report(holds: Holds, verdict: Verdict) -> Report {
    Report::new(&id(), holds, verdict)
}

fn progress(aim: Aim, report: Report) -> Progress {
    Progress {
        aim,
        digest: if aim == Aim::Present { DIGEST } else { 0 },
        is_done: report.verdict == Verdict::Done && aim == Aim::Present,
        is_gone: report.holds == Holds::Nothing && aim == Aim::Absent,
        is_under_way: false,
        is_unsure: false,
        trouble: None,
        reports: vec![Arc::new(report)],
    }
}

fn done(address: &str) -> Progress {
    let report =
        Report { ingress: Ingress::Set(at(address)), ..report(Holds::Something, Verdict::Done) };
    progress(Aim::Present, report)
}

fn troubled(kind: Kind, failures: u32, was_done: bool) -> Progress {
    let error = Arc::new(CloudError::new(kind, "no luck"));
    let trouble = Trouble { error, failures, cause: Cause::Changed, was_done };
    let report = report(Holds::Something, Verdict::Progressing("an address".to_owned()));
    Progress { trouble: Some(trouble), ..progress(Aim::Present, report) }
}

fn claims() -> Claims {
    Claims { classes: ["ours.example/lb".to_owned()].into(), classless: true }
}

fn decided_with(service: &Service, known: Option<&Progress>, said: &Said) -> Decision {
    let case = Case {
        service,
        digest: DIGEST,
        claims: &claims(),
        is_stranger: false,
        known,
        said,
        members: 3,
        may_repeat: false,
    };
    decide(&case, spec::read(service, &Annotations::NONE))
}

fn decided(service: &Service, known: Option<&Progress>) -> Decision {
    decided_with(service, known, &Said::default())
}

fn reasons(decision: &Decision) -> Vec<&'static str> {
    decision.events.iter().map(|event| event.reason).collect()
}

fn aim(hand: &Hand) -> &'static str {
    match hand {
        Hand::Nothing => "nothing",
        Hand::Want(Want::Present(_), DIGEST) => "present",
        Hand::Want(Want::Absent(_), _) => "absent",
        Hand::Want(Want::Keep(_), _) => "keep",
        Hand::Want(Want::Present(_), _) => "another",
        Hand::Forget => "forget",
    }
}

fn told(decision: &Decision) -> Option<(&str, &str)> {
    let entry = decision.patch.conditions.first()?;
    Some((entry.status.as_str(), &entry.reason))
}

#[test]
fn a_new_service_is_held_before_anything_is_made() {
    let decision = decided(&service(&json!({})), None);
    assert_eq!((aim(&decision.now), aim(&decision.then)), ("keep", "present"));
    assert_eq!(decision.patch.add_finalizers, [keys::FINALIZER]);
    assert_eq!(told(&decision), Some(("False", "Provisioning")));
    assert_eq!(reasons(&decision), ["EnsuringLoadBalancer"]);
}

#[test]
fn one_that_is_found_with_its_finalizer_is_wanted_and_nothing_is_written_before_more_is_known() {
    let decision = decided(&held_and(&json!({})), None);
    assert_eq!((aim(&decision.now), aim(&decision.then)), ("present", "nothing"));
    assert!(decision.patch.is_empty() && decision.events.is_empty());
}

#[test]
fn address_and_condition_are_one_write() {
    let service = held_and(&condition("False", "Provisioning"));
    let decision = decided(&service, Some(&done("192.0.2.1")));
    assert_eq!(decision.patch.ingress.as_deref(), Some(&at("192.0.2.1")[..]));
    assert_eq!(told(&decision), Some(("True", "Ready")));
    assert_eq!(reasons(&decision), ["EnsuredLoadBalancer"]);
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let decision = decided(&held_and(&ready("192.0.2.1")), Some(&done("192.0.2.1")));
    assert!(decision.patch.is_empty() && decision.events.is_empty(), "{decision:?}");
}

#[test]
fn an_adopted_service_gets_its_condition_without_an_event() {
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let decision = decided(&held_and(&status), Some(&done("192.0.2.1")));
    assert_eq!(decision.patch.ingress, None);
    assert_eq!(told(&decision), Some(("True", "Ready")));
    assert!(decision.events.is_empty());
}

#[test]
fn a_first_address_waits_until_all_is_done_and_a_changed_one_does_not() {
    let half = || Progress { is_done: false, is_under_way: true, ..done("192.0.2.2") };
    let decision = decided(&held_and(&condition("False", "Provisioning")), Some(&half()));
    assert!(decision.patch.is_empty(), "{decision:?}");
    let decision = decided(&held_and(&ready("192.0.2.1")), Some(&half()));
    assert_eq!(decision.patch.ingress.as_deref(), Some(&at("192.0.2.2")[..]));
}

#[test]
fn a_change_is_not_ready_any_more() {
    let before = Progress { digest: 1, ..done("192.0.2.1") };
    let decision = decided(&held_and(&ready("192.0.2.1")), Some(&before));
    assert_eq!(aim(&decision.now), "present");
    assert_eq!(told(&decision), Some(("False", "Provisioning")));
    assert_eq!(reasons(&decision), ["EnsuringLoadBalancer"]);
}

#[test]
fn what_cannot_be_read_keeps_what_it_has_and_is_told_once() {
    let broken = json!({"spec": {"ports": [{"port": 0, "nodePort": 30080}]}});
    let service = held_and(&broken);
    // The last form that could be read is kept up.
    let before = Progress { digest: 1, ..done("192.0.2.1") };
    assert_eq!(aim(&decided(&service, Some(&before)).now), "nothing");
    let decision = decided(&service, None);
    assert_eq!(aim(&decision.now), "keep");
    assert_eq!(told(&decision), Some(("False", "InvalidSpec")));
    assert_eq!(reasons(&decision), ["SyncLoadBalancerFailed"]);
    let entry = &decision.patch.conditions[0];
    let mut told = held();
    json_patch::merge(&mut told, &broken);
    json_patch::merge(
        &mut told,
        &json!({"status": {"conditions": [{
            "type": entry.kind, "status": "False", "reason": entry.reason, "message": entry.message,
        }]}}),
    );
    let again = decided(&self::service(&told), None);
    assert!(again.patch.is_empty() && again.events.is_empty());

    // Without a finalizer nothing of it can be there, and it needs none.
    let decision = decided(&self::service(&broken), None);
    assert!(decision.patch.add_finalizers.is_empty());
}

#[rstest]
#[case::users(Kind::InvalidConfiguration, "InvalidSpec")]
#[case::operators(Kind::PermissionDenied, "PermissionDenied")]
#[case::accounts(Kind::QuotaExceeded, "QuotaExceeded")]
#[case::rate(Kind::RateLimited { retry_after: None }, "Throttled")]
#[case::away(Kind::Unavailable, "CloudUnavailable")]
#[case::never(Kind::Unsupported, "Unsupported")]
#[case::ours(Kind::Internal, "InternalError")]
fn why_it_does_not_get_on_is_told(#[case] kind: Kind, #[case] reason: &str) {
    let service = held_and(&condition("False", "Provisioning"));
    let decision = decided(&service, Some(&troubled(kind, 1, false)));
    assert_eq!(told(&decision), Some(("False", reason)));
    assert!(decision.patch.conditions[0].message.starts_with("no luck; "));
    assert_eq!(reasons(&decision), ["SyncLoadBalancerFailed"]);
    assert!(tell::REASONS.contains(&reason));
}

#[test]
fn a_bad_moment_is_not_told_of_what_works_until_it_lasts() {
    let service = held_and(&ready("192.0.2.1"));
    let moment = troubled(Kind::Unavailable, 1, true);
    assert!(decided(&service, Some(&moment)).patch.is_empty());
    let lasting = troubled(Kind::Unavailable, 3, true);
    assert_eq!(told(&decided(&service, Some(&lasting))), Some(("False", "CloudUnavailable")));
    let denied = troubled(Kind::PermissionDenied, 1, true);
    assert_eq!(told(&decided(&service, Some(&denied))), Some(("False", "PermissionDenied")));
}

#[test]
fn new_words_for_what_passes_are_not_worth_a_write_each() {
    let service = held_and(&condition("False", "Throttled"));
    let throttled = troubled(Kind::RateLimited { retry_after: None }, 2, false);
    assert!(decided(&service, Some(&throttled)).patch.is_empty());
    let refused = held_and(&condition("False", "InvalidSpec"));
    let other = troubled(Kind::InvalidConfiguration, 2, false);
    assert_eq!(told(&decided(&refused, Some(&other))), Some(("False", "InvalidSpec")));
}

#[test]
fn a_deleted_service_is_taken_down_and_let_go_when_nothing_is_left() {
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}});
    let mut json = ready("192.0.2.1");
    json_patch::merge(&mut json, &deleting);
    let service = held_and(&json);
    let decision = decided(&service, None);
    assert_eq!((aim(&decision.now), aim(&decision.then)), ("absent", "nothing"));
    assert_eq!(reasons(&decision), ["DeletingLoadBalancer"]);
    assert!(decision.patch.is_empty());

    let left = report(Holds::Something, Verdict::Progressing("the firewall".to_owned()));
    let decision = decided_with(&service, Some(&progress(Aim::Absent, left)), &decision.said);
    assert_eq!(told(&decision), Some(("False", "Deleting")));
    assert!(decision.patch.remove_finalizers.is_empty() && decision.events.is_empty());

    let gone = progress(Aim::Absent, report(Holds::Nothing, Verdict::Done));
    let decision = decided_with(&service, Some(&gone), &decision.said);
    assert_eq!(decision.patch.remove_finalizers, [keys::FINALIZER]);
    assert_eq!(decision.patch.remove_conditions, [keys::LOAD_BALANCER_READY]);
    assert_eq!(decision.patch.ingress.as_deref(), Some(&[][..]));
    assert_eq!(aim(&decision.then), "forget");
    assert_eq!(reasons(&decision), ["DeletedLoadBalancer"]);
}

#[test]
fn what_was_said_of_the_former_want_does_not_let_go() {
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}});
    let present = Progress { is_gone: true, ..done("192.0.2.1") };
    let decision = decided(&held_and(&deleting), Some(&present));
    assert!(decision.patch.remove_finalizers.is_empty());
    assert_eq!(aim(&decision.now), "absent");
}

#[rstest]
#[case::other_class(json!({"spec": {"loadBalancerClass": "theirs.example/lb"}}))]
#[case::other_class_going(json!({
    "metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"},
    "spec": {"loadBalancerClass": "theirs.example/lb"},
}))]
fn other_classes_are_never_touched_not_even_with_our_finalizer(#[case] json: Value) {
    let decision = decided(&held_and(&json), None);
    assert!(decision.patch.is_empty() && decision.events.is_empty());
    assert_eq!((aim(&decision.now), aim(&decision.then)), ("nothing", "nothing"));
}

#[test]
fn what_others_served_stays_theirs_when_it_changes_its_type() {
    let mut json = condition("True", "Ready");
    json_patch::merge(&mut json, &json!({"spec": {"type": "ClusterIP"}}));
    let service = held_and(&json);
    let case = Case {
        service: &service,
        digest: DIGEST,
        claims: &claims(),
        is_stranger: true,
        known: None,
        said: &Said::default(),
        members: 3,
        may_repeat: false,
    };
    let decision = decide(&case, spec::read(&service, &Annotations::NONE));
    assert!(decision.patch.is_empty() && decision.events.is_empty());
    assert_eq!(aim(&decision.now), "nothing");
}

#[test]
fn a_class_of_ours_is_served() {
    let json = json!({"spec": {"loadBalancerClass": "ours.example/lb"}});
    assert_eq!(decided(&service(&json), None).patch.add_finalizers, [keys::FINALIZER]);
}

#[test]
fn another_type_is_taken_down_and_loses_the_condition() {
    let other = json!({"spec": {"type": "ClusterIP"}});
    let mut json = condition("True", "Ready");
    json_patch::merge(&mut json, &other);
    let service = held_and(&json);
    assert_eq!(aim(&decided(&service, None).now), "absent");
    let gone = progress(Aim::Absent, report(Holds::Nothing, Verdict::Done));
    let decision = decided(&service, Some(&gone));
    assert_eq!(decision.patch.remove_finalizers, [keys::FINALIZER]);
    assert_eq!(decision.patch.remove_conditions, [keys::LOAD_BALANCER_READY]);
    // The API server has cleared them.
    assert_eq!(decision.patch.ingress, None);

    // Where somebody has taken the finalizer away, the condition does not stay behind.
    let decision = decided(&self::service(&json), None);
    assert_eq!(decision.patch.remove_conditions, [keys::LOAD_BALANCER_READY]);
}

#[test]
fn a_service_that_another_program_serves_bears_nothing_of_ours() {
    let elsewhere = report(Holds::Nothing, Verdict::Elsewhere("the other one".to_owned()));
    let progress = progress(Aim::Present, elsewhere);
    let decision = decided(&held_and(&condition("True", "Ready")), Some(&progress));
    assert_eq!(decision.patch.remove_finalizers, [keys::FINALIZER]);
    assert_eq!(decision.patch.remove_conditions, [keys::LOAD_BALANCER_READY]);
    // And does not get it back while nothing changes.
    let decision = decided(&service(&json!({})), Some(&progress));
    assert!(decision.patch.is_empty() && decision.events.is_empty());
}

#[test]
fn what_is_left_of_a_service_that_another_program_serves_is_told() {
    let mut left = report(Holds::Something, Verdict::Elsewhere("the other one".to_owned()));
    left.notes.push(Note { reason: "LeftAsFound", message: "it stays".to_owned() });
    let progress = progress(Aim::Present, left);
    let service = held_and(&json!({}));
    let first = decided(&service, Some(&progress));
    assert_eq!(reasons(&first), ["LeftAsFound"]);
    assert_eq!(first.patch.remove_finalizers, [""; 0]);
    assert!(decided_with(&service, Some(&progress), &first.said).events.is_empty());
}

#[test]
fn notes_are_told_once_and_again_when_they_come_back() {
    let service = held_and(&ready("192.0.2.1"));
    let noting = || {
        let mut report = Report {
            ingress: Ingress::Set(at("192.0.2.1")),
            ..report(Holds::Something, Verdict::Done)
        };
        report.notes.push(Note { reason: "OddValue", message: "odd".to_owned() });
        progress(Aim::Present, report)
    };
    let first = decided(&service, Some(&noting()));
    assert_eq!(reasons(&first), ["OddValue"]);
    let second = decided_with(&service, Some(&noting()), &first.said);
    assert!(second.events.is_empty());
    let without = decided_with(&service, Some(&done("192.0.2.1")), &second.said);
    assert_eq!(reasons(&decided_with(&service, Some(&noting()), &without.said)), ["OddValue"]);
}

#[test]
fn a_finalizer_of_the_provider_is_written_at_once_and_its_annotations_when_work_rests() {
    let mut report = report(Holds::Something, Verdict::Progressing("an address".to_owned()));
    report.annotations.insert("sim/id".to_owned(), Some("lb-1".to_owned()));
    report.finalizers.insert("sim/held".to_owned(), Holds::Something);
    let at_work = Progress { is_under_way: true, ..progress(Aim::Present, report) };
    let service = held_and(&condition("False", "Provisioning"));
    let decision = decided(&service, Some(&at_work));
    assert_eq!(decision.patch.annotations, [].into());
    assert_eq!(decision.patch.add_finalizers, ["sim/held"]);
    let decision = decided(&service, Some(&Progress { is_under_way: false, ..at_work }));
    assert_eq!(decision.patch.annotations, [("sim/id".to_owned(), Some("lb-1".to_owned()))].into());
    assert_eq!(decision.patch.add_finalizers, ["sim/held"]);
}

#[test]
fn no_nodes_are_told_once() {
    let service = held_and(&ready("192.0.2.1"));
    let known = done("192.0.2.1");
    let decide = |said: &Said| {
        let case = Case {
            service: &service,
            digest: DIGEST,
            claims: &claims(),
            is_stranger: false,
            known: Some(&known),
            said,
            members: 0,
            may_repeat: false,
        };
        super::decide(&case, spec::read(&service, &Annotations::NONE))
    };
    let first = decide(&Said::default());
    assert_eq!(reasons(&first), ["UnAvailableLoadBalancer"]);
    assert!(decide(&first.said).events.is_empty());
}
