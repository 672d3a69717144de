//! The kit against load balancers that break their promises, one each: somebody has to notice.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod toy;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_conformance::{
    Cluster, Fault, Harness, LoadBalancerHarness, Mistake, Outcome, Report, Unsupported, Variant,
    WriteFault, load_balancers, of_instances, of_load_balancers, run,
};
use ccm_core::cloud::{Annotations, CloudProvider, NodeIdentity, NodeName, ObjectId, Uid};

use self::toy::{ANNOTATIONS, Broken, Cloud, PATIENCE, Provider, State};

struct Memory(Arc<Cloud>);

impl Memory {
    fn new(broken: Broken) -> Self {
        let (mutations, fault) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Cloud { broken, state: Mutex::new(State::default()), mutations, fault }))
    }
}

fn name_of(cluster: Cluster) -> &'static str {
    match cluster {
        Cluster::Ours => "ours",
        Cluster::Another => "another",
    }
}

#[async_trait]
impl Harness for Memory {
    fn cloud(&self) -> Arc<dyn CloudProvider> {
        Arc::new(Provider(Arc::clone(&self.0), "ours"))
    }

    async fn launch(&self) -> NodeIdentity {
        let mut state = self.0.state();
        let name = format!("node-{:03}", state.machines.len());
        state.machines.insert(name.clone(), true);
        NodeIdentity {
            name: NodeName::from(name.as_str()),
            uid: Uid::from(name.as_str()),
            created: SystemTime::now(),
            provider_id: None,
            system_uuid: None,
            addresses: vec![],
            labels: [].into(),
            annotations: [].into(),
            is_initialized: false,
        }
    }

    async fn stop(&self, _: &NodeIdentity) {}

    async fn start(&self, _: &NodeIdentity) {}

    async fn terminate(&self, node: &NodeIdentity) {
        self.0.state().machines.insert(node.name.to_string(), false);
    }

    async fn forget(&self, node: &NodeIdentity) {
        self.terminate(node).await;
    }

    async fn replace(&self, node: &NodeIdentity) -> NodeIdentity {
        node.clone()
    }

    async fn inject(&self, _: Fault) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    async fn heal(&self) {
        *self.0.fault.lock().unwrap() = None;
    }
}

#[async_trait]
impl LoadBalancerHarness for Memory {
    fn process(&self, cluster: Cluster) -> Result<Arc<dyn CloudProvider>, Unsupported> {
        Ok(Arc::new(Provider(Arc::clone(&self.0), name_of(cluster))))
    }

    fn annotations(&self) -> Annotations {
        ANNOTATIONS
    }

    async fn snapshot(&self, cluster: Cluster) -> Vec<String> {
        let state = self.0.state();
        let ours = |key: &toy::Key| key.0 == name_of(cluster);
        let addresses = state.addresses.iter().filter(|(key, _)| ours(key));
        let balancers = state.balancers.iter().filter(|(key, _)| ours(key));
        let rules = state.rules.iter().filter(|(key, _)| ours(key));
        let mut lines: Vec<_> = addresses
            .map(|(key, made)| format!("address {key:?} {}", made.len()))
            .chain(balancers.map(|it| format!("balancer {it:?}")))
            .chain(rules.map(|it| format!("rule {it:?}")))
            .collect();
        lines.sort();
        lines
    }

    async fn mutations(&self) -> u64 {
        *self.0.mutations.lock().unwrap()
    }

    async fn targets(&self, service: &ObjectId) -> Vec<BTreeSet<NodeName>> {
        let state = self.0.state();
        let of = |name: &String| NodeName::from(name.as_str());
        let balancers = state.balancers.iter().filter(|(key, _)| key.1 == service.uid.as_str());
        balancers.map(|(_, balancer)| balancer.targets.iter().map(of).collect()).collect()
    }

    fn variants(&self) -> Vec<Variant> {
        let idle = |it: &mut ccm_conformance::Service| {
            it.annotations.insert("toy/idle".to_owned(), "7".to_owned());
        };
        vec![Variant::new("another idle time", idle).showing("idle: 7")]
    }

    fn mistakes(&self) -> Vec<Mistake> {
        vec![
            Mistake::new("no number", "toy/idle", |it| {
                it.annotations.insert("toy/idle".to_owned(), "x".to_owned());
            }),
            Mistake::new("an address", "spec.loadBalancerIP", |it| {
                it.requested_address = Some("192.0.2.9".to_owned());
            }),
        ]
    }

    fn meddlings(&self) -> Vec<&'static str> {
        vec!["the load balancer is deleted", "a rule is closed", "targets are removed"]
    }

    async fn meddle(&self, service: &ObjectId, how: &str) -> bool {
        let mut state = self.0.state();
        let key = ("ours".to_owned(), service.uid.as_str().to_owned());
        match how {
            "the load balancer is deleted" => state.balancers.remove(&key).is_some(),
            "a rule is closed" => {
                let rule = state.rules.iter().find(|rule| rule.0 == key).cloned();
                rule.is_some_and(|rule| state.rules.remove(&rule))
            }
            "targets are removed" => state
                .balancers
                .get_mut(&key)
                .is_some_and(|balancer| !std::mem::take(&mut balancer.targets).is_empty()),
            other => panic!("{other} is not one of the meddlings"),
        }
    }

    async fn inject_on_writes(&self, fault: WriteFault, pass: usize) -> Result<(), Unsupported> {
        *self.0.fault.lock().unwrap() = Some((fault, pass));
        Ok(())
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

mod a_good_provider {
    use super::*;

    ccm_conformance::conformance!(load_balancers, Memory::new(Broken::nothing));
}

#[test]
fn the_report_says_what_became_of_each_behaviour() {
    let names = [
        "a_new_service_gets_an_address",
        "a_deleted_service_leaves_nothing",
        "a_hanging_call_ends_at_the_deadline",
    ];
    let mut behaviours = of_load_balancers();
    behaviours.extend(of_instances());
    behaviours.retain(|it| names.contains(&it.name));
    let report = Report::of(behaviours, async || Memory::new(Broken::leaks_the_address));
    let says: Vec<_> = report.behaviours.iter().map(|line| (line.name, &line.outcome)).collect();
    assert_eq!(says[0], (names[0], &Outcome::Passed));
    assert!(matches!(says[1], (name, Outcome::Failed(_)) if name == names[1]), "{says:?}");
    assert_eq!(says[2], (names[2], &Outcome::NotOffered("to let calls hang".to_owned())));
    let text = report.to_string();
    assert!(
        text.contains("passed       load_balancers: a new service gets an address\n"),
        "{text}"
    );
    assert!(text.ends_with("1 passed, 1 failed, 1 not offered\n"), "{text}");
    let json = report.json();
    assert!(json.contains("\"outcome\": \"not_offered\""), "{json}");
    assert!(!report.is_kept());
}

macro_rules! noticed {
    ($($broken:ident: $($behaviour:ident $says:literal),+;)+) => {
        $(
            mod $broken {
                use super::*;

                $(
                    #[test]
                    #[should_panic(expected = $says)]
                    fn $behaviour() {
                        let harness = async { Memory::new(Broken::$broken) };
                        run(harness, load_balancers::$behaviour);
                    }
                )+
            }
        )+
    };
}

noticed! {
    asks_by_changing:
        nothing_is_sent_when_nothing_differs "requests that took effect behind the engine";
    plans_what_is_there:
        a_new_service_gets_an_address "does not converge";
    remembers_what_it_made:
        a_restart_sends_nothing "sent by a process that finds all as it should be";
    finds_by_annotation:
        a_restart_sends_nothing "sent where nothing was written back";
    has_no_address_to_show:
        a_new_service_gets_an_address "it is done, and has no address";
    leaks_the_address:
        a_deleted_service_leaves_nothing "deleted: the cloud has what it should not have";
    deletes_what_is_not_there:
        deleting_what_was_never_made_sends_nothing "a fresh look finds more to do: conformance/web: Delete";
    counts_only_the_first_page:
        a_deleted_service_leaves_nothing "not in the inventory";
    sends_two_in_one:
        a_change_is_one_request_at_most "requests took effect for";
    goes_by_the_order:
        plans_are_the_same_each_time "another plan from Services in another order";
    draws_lots:
        plans_are_the_same_each_time "another plan from the same";
    forgets_the_idle_time:
        every_change_arrives "another idle time: \"idle: 7\" is not to be seen";
    never_takes_back:
        a_change_that_is_taken_back_leaves_no_trace "another idle time, taken back";
    makes_all_anew:
        a_change_disrupts_only_what_it_must "one more port: stops traffic";
    complains_vaguely:
        a_mistake_is_refused_and_named "does not name \"spec.loadBalancerIP\"";
    sends_before_it_judges:
        a_mistake_is_refused_and_named "sent though it cannot be had";
    tears_down_what_is_wrong:
        a_mistake_costs_a_service_nothing "an address: the cloud";
    fails_for_all:
        a_mistake_is_nobody_elses "spec.loadBalancerIP is no good";
    waits_for_nodes:
        a_service_without_nodes_is_made "not settled";
    drops_the_unknown:
        an_unknown_machine_stays_a_target "targets that are missing";
    keeps_the_gone:
        a_machine_that_is_gone_is_no_target "too many: [\"node-000\"]";
    sends_all_at_once:
        many_nodes_are_targets "too many targets";
    closes_everybodys_rules:
        services_share_and_part "a fresh look finds more to do: firewall";
    takes_kept_for_absent:
        what_is_kept_loses_nothing "others came and went";
    sweeps:
        pieces_of_unknown_services_are_reported_and_left "a Service that nobody knows";
    knows_no_clusters:
        another_clusters_pieces_are_left_alone "the other cluster has nothing";
    goes_by_the_name:
        a_service_of_the_same_name_is_another "of the former of this name";
    hides_denial:
        a_denied_change_says_so_and_heals "another kind of failure";
    hides_quotas:
        an_exhausted_quota_says_so_and_heals "another kind of failure";
    hides_outages:
        an_outage_says_so_and_heals "another kind of failure";
    does_not_say_how_long:
        throttled_changes_say_how_long_to_wait "another kind of failure";
    calls_behind_the_framework:
        a_hanging_change_ends_and_heals "is in no trouble";
    does_not_look_closely:
        what_somebody_else_changed_is_put_right "targets are removed: the cloud";
    makes_two_of_it:
        a_lost_answer_does_no_harm "the answer to change 1 lost: the cloud has";
    sees_no_halves:
        a_half_made_service_is_taken_down "deleted after a crash at change 1";
    loses_what_it_began:
        a_crash_while_making_leaves_no_trace "crashed at change 1 (After): the cloud has",
        a_process_that_dies_at_every_change_gets_there "one change in each life";
}
