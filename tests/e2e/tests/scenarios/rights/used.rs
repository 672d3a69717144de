//! What is granted is used, and nothing else is: judged by the API server's own log.

use std::collections::BTreeSet;

use ccm_core::cloud::Needs;
use ccm_core::cluster::rights::{self, Wanted as WantedRights};
use ccm_e2e::{
    Ccm, LEASE, LONG, NAMESPACE, SOON, Setup, Signal, Traffic, Wanted, WantedVolume, World, least,
    run, wait_until,
};
use ccm_envtest::{Grant, ServiceAccountAccess};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::dies;
use crate::lifecycle::{live, names};

const SHUTDOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// Ranges of pods for four nodes.
const RANGES: &str = "10.244.0.0/22";

/// Single rights: `<namespace> <verb> <group>/<resource> <name>`, with what a rule leaves open left out.
pub(super) type Rights = BTreeSet<String>;

fn right(namespace: &str, verb: &str, group: &str, resource: &str, name: &str) -> String {
    let slash = if group.is_empty() { "" } else { "/" };
    let words = [namespace, verb, &format!("{group}{slash}{resource}"), name];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What the rules grant, one by one.
pub(super) fn granted(namespace: &str, rules: &[PolicyRule]) -> Rights {
    let mut rights = Rights::new();
    for rule in rules {
        let names = rule.resource_names.clone().unwrap_or_else(|| vec![String::new()]);
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for verb in &rule.verbs {
                    let one = |name: &String| right(namespace, verb, group, resource, name);
                    rights.extend(names.iter().map(one));
                }
            }
        }
    }
    assert!(!rights.iter().any(|right| right.contains('*')), "{rights:?}");
    rights
}

/// What was used, in the words of what is granted where it is that, and in full where it is not.
fn used(traffic: &Traffic, granted: &Rights) -> Rights {
    let of_resources = traffic.iter().filter(|event| !event.resource.is_empty());
    let rights = of_resources.map(|event| {
        let slash = if event.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", event.resource, event.subresource);
        let in_words = |namespace: &str, name: &str| {
            right(namespace, &event.verb, &event.group, &resource, name)
        };
        let (namespace, name) = (&*event.namespace, &*event.name);
        let forms = [(namespace, name), (namespace, ""), ("", name), ("", "")];
        let forms = forms.map(|(namespace, name)| in_words(namespace, name));
        let found = forms.iter().find(|form| granted.contains(*form));
        found.unwrap_or(&forms[0]).clone()
    });
    rights.collect()
}

/// Waits until the log shows that all that is granted to them was used. Watches are in it when they
/// have ended. What it shows beside that, and what was denied, is a failure.
pub(super) async fn just_this_was_used(world: &World, users: &[&str], granted: &Rights) {
    let what = format!("{users:?} have used what they may");
    let traffic = wait_until(&what, SOON, async || {
        let traffic = world.traffic_by(users).await;
        let used = used(&traffic, granted);
        let unused: Vec<_> = granted.difference(&used).cloned().collect();
        if unused.is_empty() { Ok(traffic) } else { Err(format!("unused: {unused:?}")) }
    })
    .await;
    assert_eq!(used(&traffic, granted), *granted, "{users:?}");
    let denied = traffic.answered(403);
    assert!(denied.is_empty(), "{users:?}:\n{denied}");
    // Paths that everybody may ask for.
    let mut paths: Vec<_> =
        traffic.iter().filter(|event| event.resource.is_empty()).map(|event| &event.uri).collect();
    paths.dedup();
    println!("{users:?}: {} rights used, beside {paths:?}", granted.len());
}

fn setup() -> Setup {
    Setup::new().quick().serving().flag("--allocate-node-cidrs").routes(RANGES)
}

/// Who sees to the ranges of pods, and to the ways to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pods {
    /// The program, with four ranges.
    Ours,
    /// Somebody else.
    Others,
}

/// Lets two replicas, one after the other, do whatever they can.
pub(super) async fn everything(
    world: &mut World,
    accounts: [&ServiceAccountAccess; 2],
    setup: &Setup,
    pods: Pods,
) {
    let mut first = world.ccm_as(accounts[0], setup);
    let leader = world.holder_other_than("", SOON).await;
    live(world, &names(4)).await;
    if pods == Pods::Ours {
        for name in names(4) {
            world.reachable(&name).await;
        }
        // One more than there are ranges.
        world.join("late").await;
        let is_told = |seen: &ccm_e2e::Seen| seen.network() == ("True", "CIDRNotAvailable");
        world.node_until("late", "CIDRNotAvailable", SOON, is_told).await;
    }

    let mut second = world.ccm_as(accounts[1], setup);
    assert_eq!(second.ask("/readyz").await.status, 200);
    let users: Vec<&str> = vec![accounts[1].user()];
    wait_until("the standby's look at the lease", SOON, async || {
        let lines = world.traffic_by(&users).await.lines();
        if lines.contains(&"get leases 200".to_owned()) { Ok(()) } else { Err(lines) }
    })
    .await;
    end(&mut first).await;
    world.holder_other_than(&leader, SOON).await;

    world.cloud.stop("n2").await;
    world.set_ready("n2", false).await;
    world.node_until("n2", "tainted", SOON, |seen| seen.has_taint(SHUTDOWN)).await;
    dies(world, "n3").await;
    if pods == Pods::Ours {
        // What it had is free.
        world.node_until("late", "ranges", LONG, |seen| !seen.pod_cidrs.is_empty()).await;
    }

    world.served(&Wanted::named("web")).await;
    // The same mistake twice is one event with a count.
    let path =
        |path: Value| json!({"metadata": {"annotations": {"sim.ccm.rs/health-check-path": path}}});
    for _ in 0..2 {
        world.change_service("web", &path("no path".into())).await;
        world.service_says("web", "InvalidSpec").await;
        world.change_service("web", &path(Value::Null)).await;
        world.ready("web").await;
    }
    world.remove_service("web").await;
    let id = world.cloud.volume_in(&["sim-1a"]).await;
    world.make_volume(&WantedVolume::csi("p", &id)).await;
    world.placed("p").await;
    scrape(world, &second).await;
    end(&mut second).await;
}

/// As Prometheus does, with a token.
async fn scrape(world: &mut World, ccm: &Ccm) {
    let rule = PolicyRule {
        non_resource_urls: Some(vec!["/metrics".to_owned()]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    };
    let grants = [Grant::ClusterRules(vec![rule])];
    let scraper = world.control_plane().service_account("default", "proof-scraper", &grants).await;
    let asker = ccm.stranger().as_whom(scraper.unwrap().credentials());
    assert_eq!(asker.get("/metrics").await.unwrap().status, 200);
}

async fn end(ccm: &mut Ccm) {
    ccm.signal(Signal::TERM);
    let status = ccm.end(SOON).await;
    assert!(status.success(), "{status}");
}

#[test]
fn all_that_is_granted_is_used_and_nothing_else() {
    run(async {
        let mut world = World::start().await;
        let first = world.account_with("proof-everything-1", &least()).await;
        let second = world.account_with("proof-everything-2", &least()).await;
        everything(&mut world, [&first, &second], &setup(), Pods::Ours).await;
        let wanted = WantedRights::everything(Needs::default(), LEASE);
        let mut all = granted("", &rights::in_cluster(&wanted));
        all.extend(granted(NAMESPACE, &rights::in_namespace(&wanted)));
        just_this_was_used(&world, &[first.user(), second.user()], &all).await;
    });
}

/// `--use-service-account-credentials`.
#[test]
fn of_accounts_each_uses_what_is_granted_to_it_and_the_own_one_writes_nothing() {
    run(async {
        let mut world = World::start().await;
        let wanted = WantedRights {
            own_accounts: true,
            ..WantedRights::everything(Needs::default(), LEASE)
        };
        let (in_cluster, in_namespace) =
            (rights::in_cluster(&wanted), rights::in_namespace(&wanted));
        let of_accounts = rights::of_accounts(&wanted);
        assert_eq!(of_accounts.len(), 5, "{of_accounts:?}");
        for (name, rules) in &of_accounts {
            world.account_with(name, &[Grant::ClusterRules(rules.clone())]).await;
            // It is made where it is missing; what it may does not depend on that.
            let accounts = Api::<ServiceAccount>::namespaced(world.admin(), NAMESPACE);
            accounts.delete(name, &DeleteParams::default()).await.unwrap();
        }
        let grants = [
            Grant::ClusterRules(in_cluster.clone()),
            Grant::RoleRules { namespace: NAMESPACE.to_owned(), rules: in_namespace.clone() },
        ];
        let first = world.account_with("proof-accounts-1", &grants).await;
        let second = world.account_with("proof-accounts-2", &grants).await;
        let setup = setup().flag("--use-service-account-credentials");
        everything(&mut world, [&first, &second], &setup, Pods::Ours).await;

        let mut own = granted("", &in_cluster);
        let reads = ["list", "watch"];
        for right in &own {
            let of_objects = ["nodes", "services", "persistentvolumes"];
            let is_of_objects = of_objects.iter().any(|kind| right.contains(kind));
            assert!(!is_of_objects || reads.iter().any(|verb| right.starts_with(verb)), "{right}");
        }
        own.extend(granted(NAMESPACE, &in_namespace));
        just_this_was_used(&world, &[first.user(), second.user()], &own).await;
        for (name, rules) in &of_accounts {
            let user = format!("system:serviceaccount:{NAMESPACE}:{name}");
            just_this_was_used(&world, &[&user], &granted("", rules)).await;
        }
    });
}
