//! The kit against providers that break their promises, one each: somebody has to notice.

#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ccm_conformance::{Fault, Harness, Unsupported, instances, run};
use ccm_core::cloud::{
    Ask, Batching, Belongs, Bucket, CloudError, CloudProvider, ClusterId, Detail, Evidence,
    Incarnation, Instance, Instances, Kind, NodeAddress, NodeIdentity, NodeName, Observation,
    Operation, PodCidrs, ProviderId, Read, RunState, Uid,
};
use futures::future::join_all;
use tokio::time::sleep;

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "they name test modules")]
enum Broken {
    nothing,
    leaves_out_what_is_unknown,
    answers_each_once,
    answers_in_its_own_order,
    calls_for_nothing,
    takes_less_than_it_says,
    changes_its_mind,
    never_recovers_from_a_drop,
    says_starting_for_ever,
    says_less_by_id,
    leaves_a_stopped_one_out,
    calls_a_stopped_one_running,
    gives_a_started_one_a_new_id,
    keeps_terminated_ones,
    never_says_absent,
    goes_by_the_name,
    ignores_the_name,
    goes_by_the_name_for_incarnations,
    lets_one_spoil_all,
    deletes_for_a_typo,
    takes_denial_for_absence,
    does_not_say_how_long,
    takes_throttling_for_an_outage,
    calls_behind_the_framework,
    confirms_from_the_list,
    writes_labels_that_are_none,
    writes_addresses_that_are_none,
    writes_provider_ids_of_another,
    owns_everything,
    owns_nothing,
    owns_what_begins_alike,
}

#[derive(Clone, Debug)]
struct Machine {
    id: String,
    name: String,
    /// `None` is terminated.
    state: Option<RunState>,
}

#[derive(Debug)]
struct Cloud {
    broken: Broken,
    machines: Mutex<Vec<Machine>>,
    fault: Mutex<Option<Fault>>,
    made: AtomicUsize,
    asked: AtomicUsize,
    is_busy: AtomicBool,
}

impl Cloud {
    fn is(&self, broken: Broken) -> bool {
        self.broken == broken
    }

    /// One call: all machines, or what went wrong.
    async fn list(&self, cx: &Read, one_by_one: bool) -> Result<Vec<Machine>, CloudError> {
        let fault = *self.fault.lock().unwrap();
        let call = async {
            sleep(Duration::from_millis(1)).await;
            let failed = |kind| Err(CloudError::new(kind, "as was ordered"));
            match fault {
                Some(Fault::Denied) => failed(Kind::PermissionDenied),
                Some(Fault::Throttled { .. })
                    if self.is(Broken::takes_throttling_for_an_outage) =>
                {
                    failed(Kind::Unavailable)
                }
                Some(Fault::Throttled { retry_after }) => failed(Kind::RateLimited {
                    retry_after: (!self.is(Broken::does_not_say_how_long)).then_some(retry_after),
                }),
                Some(Fault::Hang) => pending().await,
                Some(Fault::EmptyAnswer) if !one_by_one => Ok(Vec::new()),
                Some(Fault::EmptyAnswer) | None => Ok(self.machines.lock().unwrap().clone()),
            }
        };
        let answer = if self.is(Broken::never_recovers_from_a_drop) {
            if self.is_busy.swap(true, Ordering::Relaxed) {
                return Err(CloudError::new(Kind::Internal, "a question is under way"));
            }
            let answer = cx.call(Operation("List"), Bucket("all"), call).await;
            self.is_busy.store(false, Ordering::Relaxed);
            answer
        } else if self.is(Broken::calls_behind_the_framework) {
            call.await
        } else {
            cx.call(Operation("List"), Bucket("all"), call).await
        };
        match answer {
            Err(_) if self.is(Broken::takes_denial_for_absence) => Ok(Vec::new()),
            answer => answer,
        }
    }

    fn find(&self, machines: &[Machine], node: &NodeIdentity) -> Observation {
        let by_name = node.provider_id.is_none() || self.is(Broken::goes_by_the_name);
        let found = match &node.provider_id {
            Some(id) if !by_name => {
                let id = id.as_str().strip_prefix("mem://").unwrap_or_default();
                if id.is_empty() {
                    if self.is(Broken::deletes_for_a_typo) {
                        return Observation::Gone(Evidence::Absent);
                    }
                    let err = CloudError::new(Kind::InvalidConfiguration, "a typo");
                    return Observation::Unknown(err);
                }
                machines.iter().find(|it| it.id == id)
            }
            Some(_) | None => machines.iter().rfind(|it| it.name == node.name.as_str()),
        };
        let found = if self.is(Broken::ignores_the_name) && found.is_none() {
            machines.first()
        } else {
            found
        };
        match found {
            None if self.is(Broken::never_says_absent) => {
                Observation::Unknown(CloudError::new(Kind::NotFound, "no such machine"))
            }
            None => Observation::Gone(Evidence::Absent),
            Some(machine) => match machine.state {
                None if self.is(Broken::keeps_terminated_ones) => {
                    Observation::Present(self.show(machine, RunState::Stopped))
                }
                None => Observation::Gone(Evidence::Terminated),
                Some(RunState::Stopped) if self.is(Broken::leaves_a_stopped_one_out) => {
                    Observation::Gone(Evidence::Absent)
                }
                Some(RunState::Stopped) if self.is(Broken::calls_a_stopped_one_running) => {
                    Observation::Present(self.show(machine, RunState::Running))
                }
                Some(_) if self.is(Broken::says_starting_for_ever) => {
                    Observation::Present(self.show(machine, RunState::Starting))
                }
                Some(state) if self.is(Broken::says_less_by_id) && node.provider_id.is_some() => {
                    let instance = self.show(machine, state);
                    Observation::Present(Instance { zone: None, ..instance })
                }
                Some(state) => Observation::Present(self.show(machine, state)),
            },
        }
    }

    fn show(&self, machine: &Machine, state: RunState) -> Instance {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut addresses = vec![
            NodeAddress::internal([10, 0, 0, 1].into()),
            NodeAddress::internal([10, 0, 0, 2].into()),
        ];
        if self.is(Broken::changes_its_mind) && asked.is_multiple_of(2) {
            addresses.reverse();
        }
        if self.is(Broken::writes_addresses_that_are_none) {
            addresses.push(NodeAddress::external([0, 0, 0, 0].into()));
        }
        let scheme = if self.is(Broken::writes_provider_ids_of_another) { "aws" } else { "mem" };
        let incarnation = if self.is(Broken::goes_by_the_name_for_incarnations) {
            &machine.name
        } else {
            &machine.id
        };
        let zone = if self.is(Broken::writes_labels_that_are_none) { "Zone A" } else { "zone-a" };
        Instance {
            provider_id: ProviderId::try_from(format!("{scheme}://{}", machine.id).as_str())
                .unwrap(),
            incarnation: Incarnation::from(incarnation.as_str()),
            state,
            instance_type: None,
            zone: Some(zone.into()),
            region: None,
            addresses,
            labels: [].into(),
            pod_cidrs: PodCidrs::Unsaid,
            detail: Detail::default(),
        }
    }
}

#[derive(Debug)]
struct Provider(Arc<Cloud>);

impl CloudProvider for Provider {
    fn name(&self) -> &'static str {
        "mem"
    }

    fn cluster_id(&self) -> ClusterId {
        ClusterId::Missing
    }

    fn belongs(&self, node: &NodeIdentity) -> Belongs {
        let foreign = Belongs::Foreign("it is not of this cloud".to_owned());
        match &node.provider_id {
            _ if self.0.is(Broken::owns_nothing) => foreign,
            _ if self.0.is(Broken::owns_everything) => Belongs::Ours,
            None => Belongs::Unsaid,
            Some(id)
                if self.0.is(Broken::owns_what_begins_alike) && id.as_str().starts_with("mem") =>
            {
                Belongs::Ours
            }
            Some(id) if id.scheme() == Some("mem") => Belongs::Ours,
            Some(_) => foreign,
        }
    }

    fn instances(&self) -> Option<Arc<dyn Instances>> {
        Some(Arc::clone(&self.0) as _)
    }
}

#[async_trait]
impl Instances for Cloud {
    fn batching(&self) -> Batching {
        Batching::UpTo(NonZeroUsize::new(20).unwrap())
    }

    async fn describe(
        &self,
        cx: &Read,
        ask: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        if nodes.is_empty() && !self.is(Broken::calls_for_nothing) {
            return Ok(Vec::new());
        }
        if nodes.len() >= 20 && self.is(Broken::takes_less_than_it_says) {
            return Err(CloudError::new(Kind::Internal, "too many"));
        }
        let mut answers = match ask {
            Ask::Confirm if !self.is(Broken::confirms_from_the_list) => {
                let confirm = |node| async move {
                    match self.list(cx, true).await {
                        Ok(machines) => self.find(&machines, node),
                        Err(err) => Observation::Unknown(err),
                    }
                };
                join_all(nodes.iter().map(confirm)).await
            }
            Ask::Look | Ask::Confirm => {
                let machines = self.list(cx, false).await?;
                nodes.iter().map(|node| self.find(&machines, node)).collect()
            }
        };
        match self.broken {
            Broken::leaves_out_what_is_unknown => {
                answers.retain(|answer| matches!(answer, Observation::Present(_)));
            }
            Broken::answers_in_its_own_order => answers.reverse(),
            Broken::answers_each_once => {
                let mut names = Vec::new();
                let keep = nodes.iter().map(|node| {
                    let is_new = !names.contains(&&node.name);
                    names.push(&node.name);
                    is_new
                });
                let keep: Vec<_> = keep.collect();
                let mut keep = keep.into_iter();
                answers.retain(|_| keep.next().unwrap());
            }
            Broken::lets_one_spoil_all => {
                let is_unknown = |answer: &Observation| matches!(answer, Observation::Unknown(_));
                if answers.iter().any(is_unknown) {
                    return Err(CloudError::new(Kind::InvalidConfiguration, "a typo"));
                }
            }
            _ => {}
        }
        Ok(answers)
    }
}

struct Memory(Arc<Cloud>);

impl Memory {
    fn new(broken: Broken) -> Self {
        Self(Arc::new(Cloud {
            broken,
            machines: Mutex::default(),
            fault: Mutex::default(),
            made: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            is_busy: AtomicBool::new(false),
        }))
    }

    fn make(&self, name: &str) -> NodeIdentity {
        let id = format!("i-{}", self.0.made.fetch_add(1, Ordering::Relaxed));
        let state = Some(RunState::Running);
        let machine = Machine { id: id.clone(), name: name.to_owned(), state };
        self.0.machines.lock().unwrap().push(machine);
        NodeIdentity {
            name: NodeName::from(name),
            uid: Uid::from(id),
            created: SystemTime::now(),
            provider_id: None,
            system_uuid: None,
            addresses: vec![],
            labels: [].into(),
            annotations: [].into(),
            is_initialized: false,
        }
    }

    fn change(&self, node: &NodeIdentity, change: impl FnOnce(&mut Machine)) {
        let mut machines = self.0.machines.lock().unwrap();
        change(machines.iter_mut().find(|it| it.id == node.uid.as_str()).unwrap());
    }
}

#[async_trait]
impl Harness for Memory {
    fn cloud(&self) -> Arc<dyn CloudProvider> {
        Arc::new(Provider(Arc::clone(&self.0)))
    }

    async fn launch(&self) -> NodeIdentity {
        self.make(&format!("node-{}", self.0.made.load(Ordering::Relaxed)))
    }

    async fn stop(&self, node: &NodeIdentity) {
        self.change(node, |it| it.state = Some(RunState::Stopped));
    }

    async fn start(&self, node: &NodeIdentity) {
        let is_new = self.0.is(Broken::gives_a_started_one_a_new_id);
        self.change(node, |it| {
            it.state = Some(RunState::Running);
            if is_new {
                it.id.push_str("-again");
            }
        });
    }

    async fn terminate(&self, node: &NodeIdentity) {
        self.change(node, |it| it.state = None);
    }

    async fn forget(&self, node: &NodeIdentity) {
        self.0.machines.lock().unwrap().retain(|it| it.id != node.uid.as_str());
    }

    async fn replace(&self, node: &NodeIdentity) -> NodeIdentity {
        self.terminate(node).await;
        self.make(node.name.as_str())
    }

    async fn inject(&self, fault: Fault) -> Result<(), Unsupported> {
        *self.0.fault.lock().unwrap() = Some(fault);
        Ok(())
    }

    async fn heal(&self) {
        *self.0.fault.lock().unwrap() = None;
    }
}

mod a_good_provider {
    use super::*;

    ccm_conformance::conformance!(instances, Memory::new(Broken::nothing));
}

mod a_provider_with_a_known_fault {
    use super::*;

    ccm_conformance::conformance!(
        instances,
        Memory::new(Broken::confirms_from_the_list),
        except { an_empty_answer_confirms_nothing: "the cloud has nothing but a list" }
    );
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
                        run(async { Memory::new(Broken::$broken) }, instances::$behaviour);
                    }
                )+
            }
        )+
    };
}

noticed! {
    leaves_out_what_is_unknown:
        answers_come_in_the_order_of_the_questions "as many answers as questions, not";
    answers_each_once:
        answers_come_in_the_order_of_the_questions "as many answers as questions, not";
    answers_in_its_own_order:
        answers_come_in_the_order_of_the_questions "answer 0 (Look): not in the order";
    calls_for_nothing:
        no_question_makes_no_call "Look of nothing makes a call";
    takes_less_than_it_says:
        a_full_batch_is_answered "nothing is wrong, and yet all is unknown";
    changes_its_mind:
        asking_twice_gives_the_same "another answer about the same instance";
    never_recovers_from_a_drop:
        a_question_that_is_dropped_does_no_harm "a question is under way";
    says_starting_for_ever:
        a_running_instance_is_present "Look: the state of one that runs";
    says_less_by_id:
        asking_by_provider_id_finds_the_same_instance "another answer about the same instance";
    leaves_a_stopped_one_out:
        a_stopped_instance_is_present "(Look) should be present, not Gone(Absent)";
    calls_a_stopped_one_running:
        a_stopped_instance_is_present "Look: the state of one that is stopped";
    gives_a_started_one_a_new_id:
        a_started_instance_runs_again "(Look) should be present, not Gone(Absent)";
    keeps_terminated_ones:
        a_terminated_instance_is_gone "(Look) should be gone, not Present";
    never_says_absent:
        an_unknown_name_is_absent "(Look) should be gone, not Unknown",
        a_forgotten_instance_is_absent "(Look) should be gone, not Unknown";
    goes_by_the_name:
        a_provider_id_outweighs_the_name "Look: another machine, by its incarnation";
    ignores_the_name:
        an_unknown_name_is_absent "(Look) should be gone, not Present";
    goes_by_the_name_for_incarnations:
        a_replaced_instance_is_another "Look: the incarnation of another";
    lets_one_spoil_all:
        a_malformed_provider_id_is_unknown_alone "Look of mem:// and of a good node: Err";
    deletes_for_a_typo:
        a_malformed_provider_id_is_unknown_alone "and of a good node: Ok([Gone(Absent)";
    takes_denial_for_absence:
        denied_credentials_are_no_absence "nothing can be known, and yet this is said";
    does_not_say_how_long:
        throttling_is_said_with_the_wait "RateLimited with the wait, not RateLimited";
    takes_throttling_for_an_outage:
        throttling_is_said_with_the_wait "RateLimited with the wait, not Unavailable";
    calls_behind_the_framework:
        a_hanging_call_ends_at_the_deadline "Look went on after its deadline";
    confirms_from_the_list:
        an_empty_answer_confirms_nothing "both are there when asked about one by one";
    writes_labels_that_are_none:
        a_running_instance_fits_into_a_node "zone \"Zone A\" is no label value";
    writes_addresses_that_are_none:
        a_running_instance_fits_into_a_node "ExternalIP=0.0.0.0 cannot be reached";
    writes_provider_ids_of_another:
        provider_ids_that_are_handed_out_are_ours "has the provider's name as its scheme";
    owns_everything:
        provider_ids_that_are_handed_out_are_ours "without a provider ID",
        foreign_provider_ids_are_foreign "another-cloud:///zone-a/i-1 is Ours";
    owns_nothing:
        provider_ids_that_are_handed_out_are_ours "without a provider ID";
    owns_what_begins_alike:
        foreign_provider_ids_are_foreign "mem-but-longer://i-1 is Ours";
}
