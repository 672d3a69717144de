//! What users and accounts get wrong: told once, in words that help, and mended when it is.

use std::time::Duration;

use ccm_e2e::{SOON, SeenService, Setup, Wanted, World, run, wait_until};
use serde_json::{Value, json};
use simcloud::api::{
    FaultExtent, FaultKind, Operation, OperationClass, OperationFilter, Quota, SettingsPatch,
};

/// The first pause after a failure is 5 s, the second 10 s.
const HEALS: Duration = Duration::from_mins(1);

const PATH: &str = "sim.ccm.rs/health-check-path";
const RANGES: &str = "sim.ccm.rs/additional-source-ranges";

fn annotate(key: &str, value: Option<&str>) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

/// A world with a served Service, and what it has.
async fn with_web(setup: &Setup) -> (World, ccm_e2e::Ccm, SeenService, Vec<String>) {
    let world = World::start().await;
    world.join("n1").await;
    let ccm = world.ccm(setup);
    world.initialized("n1").await;
    let seen = world.served(&Wanted::named("web")).await;
    let lines = world.cloud.lines().await;
    (world, ccm, seen, lines)
}

#[test]
fn a_wrong_annotation_is_told_once_and_what_there_is_stays_until_it_is_mended() {
    run(async {
        let (world, _ccm, before, lines) = with_web(&Setup::new()).await;
        let mutations = world.cloud.mutations().await;
        world.change_service("web", &annotate(PATH, Some("no path"))).await;
        let says = world.service_says("web", "InvalidSpec").await;
        for word in [PATH, "no path", "a path that begins with /"] {
            assert!(says.message().contains(word), "{says:?}");
        }
        assert_eq!(says.ingress, before.ingress);
        let event = world.service_event("web", "SyncLoadBalancerFailed").await;
        assert!(event.contains(PATH) && event.contains("no path"), "{event}");

        // What others do is no reason to say it again.
        world.served(&Wanted::named("later").ports(&[22])).await;
        world.barrier("n2").await;
        let failed = |reasons: Vec<String>| {
            reasons.into_iter().filter(|it| it == "SyncLoadBalancerFailed").count()
        };
        assert_eq!(failed(world.service_reasons("web").await), 1);
        assert_eq!(world.service("web").await, says);
        let later = world.service("later").await.uid;
        world.cloud.targets_are(&later, &["n1".to_owned(), "n2".to_owned()], SOON).await;
        // It goes on as it was last understood: nodes come and go.
        world.cloud.targets_are(&before.uid, &["n1".to_owned(), "n2".to_owned()], SOON).await;
        let mut now = world.cloud.lines().await;
        now.retain(|line| !line.contains(&later));
        let lines: Vec<_> =
            lines.iter().map(|line| line.replace("targets [n1]", "targets [n1, n2]")).collect();
        assert_eq!(now, lines);
        // address, load balancer, group, its targets twice, listener, rule; and once the node here
        assert_eq!(world.cloud.mutations().await - mutations, 8);

        world.change_service("web", &annotate(PATH, Some("/well"))).await;
        let healed = world.ready("web").await;
        assert_eq!(healed.ingress, before.ingress);
        let lines = world.cloud.lines_of(&before.uid).await;
        assert!(lines.iter().any(|line| line.contains("/well targets [n1, n2]")), "{lines:#?}");
    });
}

#[test]
fn a_source_range_that_cannot_be_read_opens_and_closes_nothing() {
    run(async {
        let (world, _ccm, before, lines) = with_web(&Setup::new()).await;
        let mutations = world.cloud.mutations().await;
        world.change_service("web", &annotate(RANGES, Some("10.0.0.0/8, 10.0.0.1"))).await;
        let says = world.service_says("web", "InvalidSpec").await;
        assert!(says.message().contains(RANGES), "{says:?}");
        assert!(says.message().contains("10.0.0.1\""), "{says:?}");
        world.service_event("web", "SyncLoadBalancerFailed").await;
        assert_eq!(world.cloud.lines().await, lines);
        assert_eq!(world.cloud.mutations().await, mutations);

        let change = json!({
            "metadata": {"annotations": {RANGES: "10.0.0.0/8"}},
            "spec": {"loadBalancerSourceRanges": ["192.0.2.0/24"]},
        });
        world.change_service("web", &change).await;
        wait_until("rules for just these ranges", SOON, async || {
            let lines = world.cloud.lines_of(&before.uid).await;
            let rules: Vec<_> = lines.iter().filter(|line| line.starts_with("rule ")).collect();
            match &rules[..] {
                [one, other] if one.contains("10.0.0.0/8") && other.contains("192.0.2.0/24") => {
                    Ok(())
                }
                _ => Err(lines),
            }
        })
        .await;
        world.ready("web").await;
        let reasons = world.service_reasons("web").await;
        let failed = reasons.iter().filter(|it| *it == "SyncLoadBalancerFailed").count();
        assert_eq!(failed, 1, "{reasons:?}");
    });
}

#[test]
fn what_the_cloud_does_not_have_is_told_with_its_field_and_sends_nothing() {
    run(async {
        let (world, _ccm, before, lines) = with_web(&Setup::new()).await;
        let mutations = world.cloud.mutations().await;
        let ports = json!([{"name": "a", "port": 80, "protocol": "SCTP"}]);
        let tags = json!({"sim.ccm.rs/extra-tags": "cluster=mine"});
        let change = json!({"metadata": {"annotations": tags}, "spec": {"ports": ports}});
        world.change_service("web", &change).await;
        let says = world.service_says("web", "InvalidSpec").await;
        for word in ["spec.ports[0].protocol SCTP", "TCP and UDP", "sim.ccm.rs/extra-tags"] {
            assert!(says.message().contains(word), "all that is wrong at once: {says:?}");
        }
        world.served(&Wanted::named("later").ports(&[22])).await;
        let later = world.service("later").await.uid;
        let mut now = world.cloud.lines().await;
        now.retain(|line| !line.contains(&later));
        assert_eq!(now, lines);
        assert_eq!(world.cloud.mutations().await - mutations, 6, "all of the other one");
        let reasons = world.service_reasons("web").await;
        let failed = reasons.iter().filter(|it| *it == "SyncLoadBalancerFailed").count();
        assert_eq!(failed, 1, "{reasons:?}");

        let change = json!({
            "metadata": {"annotations": {"sim.ccm.rs/extra-tags": null}},
            "spec": {"ports": ccm_e2e::ports(&[80])},
        });
        world.change_service("web", &change).await;
        assert_eq!(world.ready("web").await.ingress, before.ingress);
    });
}

#[test]
fn one_that_never_could_be_read_is_told_and_gets_nothing_until_it_can() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        world.serve(&Wanted::named("web").annotation(PATH, "")).await;
        let says = world.service_says("web", "InvalidSpec").await;
        assert!(says.message().contains(PATH), "{says:?}");
        world.served(&Wanted::named("other")).await;
        let lines = world.cloud.lines_of(&says.uid).await;
        assert!(lines.is_empty(), "{lines:#?}");
        world.change_service("web", &annotate(PATH, None)).await;
        world.ready("web").await;
        // And one that never can is let go without a wait.
        world.serve(&Wanted::named("bad").annotation(PATH, "x")).await;
        world.service_says("bad", "InvalidSpec").await;
        world.remove_service("bad").await;
    });
}

#[test]
fn a_lenient_key_leaves_a_note_and_hinders_nothing() {
    const KEY: &str = "sim.ccm.rs/idle-timeout-seconds";
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        let seen = world.served(&Wanted::named("web").annotation(KEY, "soon")).await;
        let lines = world.cloud.lines_of(&seen.uid).await;
        assert!(lines.iter().any(|line| line.contains("idle_timeout=60s")), "{lines:#?}");
        let events = wait_until("a note", SOON, async || {
            let events = world.service_events("web").await;
            let note = events.iter().find(|event| event.1.contains(KEY)).cloned();
            note.ok_or(events)
        })
        .await;
        assert!(events.1.contains("soon"), "{events:?}");
        assert_eq!(events.2, 1);
    });
}

#[test]
fn an_exhausted_quota_is_told_and_heals_when_there_is_room() {
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        world.served(&Wanted::named("first")).await;
        let quota = async |addresses: u64| {
            let quotas = Some([(Quota::Addresses, addresses)].into());
            let patch = SettingsPatch { quotas, ..SettingsPatch::default() };
            world.cloud.change_settings(&patch).await.unwrap();
        };
        quota(1).await;
        world.serve(&Wanted::named("web").ports(&[22])).await;
        let says = world.service_says("web", "QuotaExceeded").await;
        assert!(says.message().contains("quota"), "{says:?}");
        assert!(world.service("first").await.is_ready(), "of no concern to others");
        quota(2).await;
        world.service_until("web", "ready", HEALS, SeenService::is_ready).await;
        // The same is not said again and again.
        let reasons = world.service_reasons("web").await;
        let failed = reasons.iter().filter(|it| *it == "SyncLoadBalancerFailed").count();
        assert!(failed == 1, "{reasons:?}");
    });
}

#[test]
fn credentials_without_a_right_are_told_and_heal_when_they_get_it() {
    run(async {
        let (world, _ccm, before, _) = with_web(&Setup::new()).await;
        let creations = OperationFilter::One(Operation::CreateListener);
        let always = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
        world.cloud.strike(creations, FaultKind::PermissionDenied, always, None).await;
        world.serve(&Wanted::named("new").ports(&[22])).await;
        world.change_ports("web", &[80, 443]).await;
        for name in ["new", "web"] {
            let says = world.service_says(name, "PermissionDenied").await;
            assert!(says.message().contains("CreateListener"), "{says:?}");
        }
        assert_eq!(world.service("web").await.ingress, before.ingress, "still served");
        world.cloud.clear_faults().await.unwrap();
        world.services_until("ready", HEALS, SeenService::is_ready).await;
    });
}

#[test]
fn a_storm_of_429_is_told_and_passes() {
    run(async {
        let (world, _ccm, before, _) = with_web(&Setup::new()).await;
        let always = FaultExtent { share: Some(1.0), ..FaultExtent::default() };
        let storm = FaultKind::Throttle { retry_after_ms: Some(2_000) };
        for class in [OperationClass::Read, OperationClass::Write] {
            world.cloud.strike(OperationFilter::Class(class), storm, always, None).await;
        }
        let calls = world.cloud.calls_of_ccm().await.len();
        for n in 0..20 {
            world.serve(&Wanted::named(&format!("new-{n}")).ports(&[1000 + n])).await;
        }
        world.service_says("new-7", "Throttled").await;
        world
            .services_until("told", SOON, |seen| {
                seen.is_ready() || seen.ready() == ("False", "Throttled")
            })
            .await;
        assert_eq!(world.service("web").await, before, "one that is ready loses nothing");
        let tried = world.cloud.calls_of_ccm().await.len() - calls;
        assert!(tried < 40, "{tried} calls in spite of the pauses");
        world.cloud.clear_faults().await.unwrap();
        world.all_ready(HEALS).await;
    });
}

#[test]
fn an_address_that_is_taken_is_told_and_can_be_changed() {
    const KEY: &str = "sim.ccm.rs/addresses";
    run(async {
        let world = World::start().await;
        let _ccm = world.ccm(&Setup::new());
        let wanted = |name: &str| Wanted::named(name).annotation(KEY, "203.0.113.77");
        let first = world.served(&wanted("first")).await;
        assert_eq!(first.ingress, ["203.0.113.77 VIP"]);
        world.serve(&wanted("second")).await;
        let says = world.service_says("second", "InvalidSpec").await;
        assert!(says.message().contains("203.0.113.77 is taken"), "{says:?}");
        assert!(world.service("first").await.is_ready());
        world.change_service("second", &annotate(KEY, Some("203.0.113.78"))).await;
        let second = world.ready("second").await;
        assert_eq!(second.ingress, ["203.0.113.78 VIP"]);
        let served = json!({"spec": {"loadBalancerIP": "203.0.113.79"}, "metadata": {"annotations": {KEY: null}}});
        world.change_service("second", &served).await;
        world
            .service_until("second", "the other address", SOON, |seen| {
                seen.ingress == ["203.0.113.79 VIP"] && seen.is_ready()
            })
            .await;
    });
}
