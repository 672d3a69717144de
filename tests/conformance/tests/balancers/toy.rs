//! A toy cloud with two kinds of units, its provider, and the ways in which that may be broken.
//!
//! A Service has an address and a load balancer of its own; all Services share one firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use ccm_conformance::WriteFault;
use ccm_core::cloud::annotations::Declared;
use ccm_core::cloud::{
    Annotated, AnnotationError, Annotations, Ask, Batching, Belongs, Bucket, Change, CloudError,
    CloudProvider, ClusterId, Converge, Converger, Detail, Effect, Evidence, Holds, Incarnation,
    Ingress, IngressAddress, IngressPoint, Instance, Instances, Kind, Learnt, LoadBalancerSpec,
    Member, NodeIdentity, ObjectId, Observation, Operation, Owned, Plan, PodCidrs, ProviderId,
    Read, Report, RunState, Step, Uid, Unit, UnitName, Verdict, Want, World, Write,
};

/// A promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "they name test modules")]
pub(crate) enum Broken {
    nothing,
    asks_by_changing,
    plans_what_is_there,
    remembers_what_it_made,
    finds_by_annotation,
    has_no_address_to_show,
    leaks_the_address,
    deletes_what_is_not_there,
    counts_only_the_first_page,
    sends_two_in_one,
    goes_by_the_order,
    draws_lots,
    forgets_the_idle_time,
    never_takes_back,
    makes_all_anew,
    complains_vaguely,
    sends_before_it_judges,
    tears_down_what_is_wrong,
    fails_for_all,
    waits_for_nodes,
    drops_the_unknown,
    keeps_the_gone,
    sends_all_at_once,
    closes_everybodys_rules,
    takes_kept_for_absent,
    sweeps,
    knows_no_clusters,
    goes_by_the_name,
    hides_denial,
    hides_quotas,
    hides_outages,
    does_not_say_how_long,
    calls_behind_the_framework,
    makes_two_of_it,
    does_not_look_closely,
    sees_no_halves,
    loses_what_it_began,
}

/// Whose a piece is: the cluster and the owner.
pub(crate) type Key = (String, String);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balancer {
    pub(crate) ports: BTreeSet<(u16, u16)>,
    pub(crate) targets: BTreeSet<String>,
    pub(crate) idle: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Addresses by whose they are; more than one is a mistake.
    pub(crate) addresses: BTreeMap<Key, Vec<u8>>,
    pub(crate) balancers: BTreeMap<Key, Balancer>,
    pub(crate) rules: BTreeSet<(Key, u16)>,
    pub(crate) machines: BTreeMap<String, bool>,
    pub(crate) made: u8,
}

#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) broken: Broken,
    pub(crate) state: Mutex<State>,
    pub(crate) mutations: Mutex<u64>,
    pub(crate) fault: Mutex<Option<(WriteFault, usize)>>,
}

impl Cloud {
    pub(crate) fn is(&self, broken: Broken) -> bool {
        self.broken == broken
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One request that changes something.
    async fn write(&self, change: impl FnOnce(&mut State) -> Result<(), CloudError>) -> Sent {
        let fault = {
            let mut fault = self.fault.lock().unwrap();
            match &mut *fault {
                Some((_, pass)) if *pass > 0 => {
                    *pass -= 1;
                    None
                }
                Some((WriteFault::LostAnswer, _)) => fault.take(),
                fault => *fault,
            }
        };
        let failed = |kind| Err(CloudError::new(kind, "as was ordered"));
        match fault.map(|(fault, _)| fault) {
            Some(WriteFault::Hang) => pending().await,
            Some(WriteFault::Denied) if self.is(Broken::hides_denial) => failed(Kind::Internal),
            Some(WriteFault::Denied) => failed(Kind::PermissionDenied),
            Some(WriteFault::QuotaExceeded) if self.is(Broken::hides_quotas) => {
                failed(Kind::Unavailable)
            }
            Some(WriteFault::QuotaExceeded) => failed(Kind::QuotaExceeded),
            Some(WriteFault::Unavailable) if self.is(Broken::hides_outages) => {
                failed(Kind::NotFound)
            }
            Some(WriteFault::Unavailable) => failed(Kind::Unavailable),
            Some(WriteFault::Throttled { retry_after }) => failed(Kind::RateLimited {
                retry_after: (!self.is(Broken::does_not_say_how_long)).then_some(retry_after),
            }),
            Some(WriteFault::LostAnswer) => {
                self.effect(change)?;
                failed(Kind::Unavailable)
            }
            None => self.effect(change),
        }
    }

    fn effect(&self, change: impl FnOnce(&mut State) -> Result<(), CloudError>) -> Sent {
        let mut state = self.state();
        let before = state.clone();
        change(&mut state)?;
        if *state != before {
            *self.mutations.lock().unwrap() += 1;
        }
        Ok(())
    }
}

type Sent = Result<(), CloudError>;
type Wanted = Want<LoadBalancerSpec>;

/// A process of the provider.
#[derive(Debug)]
pub(crate) struct Toy {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) cluster: &'static str,
    made: Mutex<BTreeSet<Key>>,
}

impl Toy {
    pub(crate) fn new(cloud: &Arc<Cloud>, cluster: &'static str) -> Self {
        Self { cloud: Arc::clone(cloud), cluster, made: Mutex::default() }
    }

    fn is(&self, broken: Broken) -> bool {
        self.cloud.is(broken)
    }

    fn key(&self, id: &ObjectId) -> Key {
        let cluster = if self.is(Broken::knows_no_clusters) { "ours" } else { self.cluster };
        let by_name = self.is(Broken::goes_by_the_name);
        let owner = if by_name { &*id.name } else { id.uid.as_str() };
        (cluster.to_owned(), owner.to_owned())
    }

    fn plan_own(&self, want: &Wanted, nodes: &[Member], seen: &State) -> Plan<ToyChange> {
        let key = self.key(want.id());
        let (address, balancer) = (seen.addresses.get(&key), seen.balancers.get(&key));
        let holds =
            if address.is_some() || balancer.is_some() { Holds::Something } else { Holds::Nothing };
        let mut stages = Vec::new();
        let mut verdict = Verdict::Done;
        match want {
            Want::Keep(_) => return Plan::default(),
            Want::Present(spec) if spec.requested_address.is_some() => {
                let what =
                    if self.is(Broken::complains_vaguely) { "it" } else { "spec.loadBalancerIP" };
                let err = CloudError::new(Kind::InvalidConfiguration, format!("{what} is no good"));
                if self.is(Broken::sends_before_it_judges) && address.is_none() {
                    stages.push(vec![ToyChange::Reserve(key.clone())]);
                }
                if self.is(Broken::tears_down_what_is_wrong) && balancer.is_some() {
                    stages.push(vec![ToyChange::Delete(key.clone())]);
                }
                verdict = Verdict::Refused(err);
            }
            Want::Present(_) if nodes.is_empty() && self.is(Broken::waits_for_nodes) => {
                verdict = Verdict::Progressing("nodes".to_owned());
            }
            Want::Present(spec) => stages = self.build(&key, spec, nodes, seen),
            Want::Absent(_) => {
                if balancer.is_some() || self.is(Broken::deletes_what_is_not_there) {
                    stages.push(vec![ToyChange::Delete(key.clone())]);
                }
                if address.is_some() && !self.is(Broken::leaks_the_address) {
                    stages.push(vec![ToyChange::Free(key.clone())]);
                }
            }
        }
        let is_done = stages.iter().all(Vec::is_empty);
        if !is_done && verdict == Verdict::Done {
            verdict = Verdict::Progressing("it is changed".to_owned());
        }
        let holds = match want {
            Want::Absent(_) if is_done => Holds::Nothing,
            _ => holds,
        };
        let mut report = Report::new(want.id(), holds, verdict);
        if let (Some(address), true) = (address, is_done) {
            let ip = [192, 0, 2, address[0]].into();
            let point = IngressPoint { address: IngressAddress::Ip(ip), mode: None, ports: vec![] };
            report.annotations = [("toy/id".to_owned(), Some(key.1.clone()))].into();
            if !self.is(Broken::has_no_address_to_show) {
                report.ingress = Ingress::Set(vec![point]);
            }
        }
        let stages = stages.into_iter().map(|stage| stage.into_iter().map(Step::new).collect());
        Plan { stages: stages.collect(), later: vec![], reports: vec![report] }
    }

    fn build(
        &self,
        key: &Key,
        spec: &LoadBalancerSpec,
        nodes: &[Member],
        seen: &State,
    ) -> Vec<Vec<ToyChange>> {
        let mut want = Balancer { idle: 60, ..Balancer::default() };
        let number = |port: Option<std::num::NonZeroU16>| port.map_or(0, Into::into);
        want.ports = spec.ports.iter().map(|it| (it.port.into(), number(it.node_port))).collect();
        want.idle = *spec.annotations.get::<u32>().unwrap_or(&60);
        let none = Balancer { idle: 60, ..Balancer::default() };
        let have = seen.balancers.get(key).unwrap_or(&none);
        if self.is(Broken::forgets_the_idle_time)
            || (self.is(Broken::never_takes_back) && want.idle == 60)
        {
            want.idle = have.idle;
        }
        for member in nodes {
            let name = member.node.name.as_str().to_owned();
            let is_target = match &*member.instance {
                Observation::Present(_) => true,
                Observation::Gone(_) => self.is(Broken::keeps_the_gone),
                Observation::Unknown(_) => {
                    have.targets.contains(&name) && !self.is(Broken::drops_the_unknown)
                }
            };
            if is_target {
                want.targets.insert(name);
            }
        }
        let mut stages = Vec::new();
        let is_new = !seen.balancers.contains_key(key);
        if !seen.addresses.contains_key(key) {
            stages.push(vec![ToyChange::Reserve(key.clone())]);
        }
        if is_new {
            stages.push(vec![ToyChange::Create(key.clone())]);
        } else if self.is(Broken::makes_all_anew)
            && !have.ports.is_empty()
            && (&have.ports, have.idle) != (&want.ports, want.idle)
        {
            return vec![vec![ToyChange::Recreate(key.clone(), want.ports, want.idle)]];
        }
        let mut last = Vec::new();
        if have.ports != want.ports {
            last.push(ToyChange::SetPorts(key.clone(), want.ports));
        }
        if have.idle != want.idle || self.is(Broken::plans_what_is_there) {
            last.push(ToyChange::SetIdle(key.clone(), want.idle));
        }
        let missing = want.targets.difference(&have.targets).map(|name| (name.clone(), true));
        let surplus = have.targets.difference(&want.targets).map(|name| (name.clone(), false));
        let targets: Vec<_> = missing.chain(surplus).collect();
        let most = if self.is(Broken::sends_all_at_once) { usize::MAX } else { 100 };
        let batch = |batch: &[(String, bool)]| ToyChange::SetTargets(key.clone(), batch.to_vec());
        last.extend(targets.chunks(most).map(batch));
        stages.push(last);
        stages
    }

    fn plan_firewall(&self, wants: &[Wanted], seen: &State) -> Plan<ToyChange> {
        let mut needed = BTreeSet::new();
        let has = |key: &Key| -> BTreeSet<_> {
            seen.rules.iter().filter(|rule| rule.0 == *key).cloned().collect()
        };
        for want in wants {
            let key = self.key(want.id());
            match want {
                Want::Present(spec) => needed.extend(
                    spec.ports.iter().map(|it| (key.clone(), it.node_port.map_or(0, Into::into))),
                ),
                Want::Keep(_) if self.is(Broken::takes_kept_for_absent) => {}
                Want::Keep(_) => needed.extend(has(&key)),
                Want::Absent(_) => {}
            }
        }
        let users: BTreeSet<_> = wants.iter().map(|want| self.key(want.id())).collect();
        let ours = |rule: &&(Key, u16)| users.contains(&rule.0) || self.is(Broken::sweeps);
        let step = |change: ToyChange| Step::new(change);
        let open = needed.difference(&seen.rules).cloned().map(ToyChange::Open).map(step);
        let close = seen.rules.difference(&needed).filter(ours).cloned();
        let mut close: Vec<_> = close.map(ToyChange::Close).map(step).collect();
        let is_leaving = wants.iter().any(|want| matches!(want, Want::Absent(_)));
        if self.is(Broken::closes_everybodys_rules) && is_leaving {
            close = seen.rules.iter().cloned().map(ToyChange::Close).map(step).collect();
        }
        let report = |want: &Wanted| {
            let key = self.key(want.id());
            let (has, needs): (BTreeSet<_>, BTreeSet<_>) =
                (has(&key), needed.iter().filter(|rule| rule.0 == key).cloned().collect());
            let holds = if has.is_empty() { Holds::Nothing } else { Holds::Something };
            let verdict = if has == needs {
                Verdict::Done
            } else {
                Verdict::Progressing("the firewall is changed".to_owned())
            };
            (!matches!(want, Want::Keep(_))).then(|| Report::new(want.id(), holds, verdict))
        };
        let mut open: Vec<_> = open.collect();
        let is_turned = wants.first().map(Want::id) > wants.last().map(Want::id);
        if self.is(Broken::goes_by_the_order) && is_turned {
            open.reverse();
        }
        let reports = wants.iter().filter_map(report).collect();
        let mut plan = Plan { stages: vec![open, close], later: vec![], reports };
        if self.is(Broken::draws_lots) {
            let drawn = std::time::Instant::now();
            let lot = format!("{drawn:?}");
            plan.stages[0].iter_mut().for_each(|step| {
                step.tolerate =
                    Some(ccm_core::cloud::Tolerate { kind: Kind::NotFound, note: lot.clone() });
            });
        }
        plan
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ToyChange {
    Reserve(Key),
    Create(Key),
    SetPorts(Key, BTreeSet<(u16, u16)>),
    SetIdle(Key, u32),
    SetTargets(Key, Vec<(String, bool)>),
    Recreate(Key, BTreeSet<(u16, u16)>, u32),
    Delete(Key),
    Free(Key),
    Open((Key, u16)),
    Close((Key, u16)),
}

impl fmt::Display for ToyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Change for ToyChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Reserve(_) | Self::Create(_) => Effect::Create,
            Self::SetPorts(..) | Self::SetIdle(..) | Self::SetTargets(..) | Self::Open(_) => {
                Effect::Update
            }
            Self::Recreate(..) => Effect::Interrupt,
            Self::Delete(_) | Self::Free(_) | Self::Close(_) => Effect::Delete,
        }
    }
}

/// What the toy cloud does with a request.
fn carry_out(state: &mut State, change: &ToyChange, has_two: bool) -> Sent {
    let conflict = || CloudError::new(Kind::Conflict, "it is not there any more");
    match change.clone() {
        ToyChange::Reserve(key) => {
            let made = state.made;
            let mine = state.addresses.entry(key).or_default();
            if mine.is_empty() || has_two {
                mine.push(made);
                state.made = made.wrapping_add(1);
            }
        }
        ToyChange::Create(key) if !state.addresses.contains_key(&key) => return Err(conflict()),
        ToyChange::Create(key) => {
            let none = Balancer { idle: 60, ..Balancer::default() };
            state.balancers.entry(key).or_insert(none);
        }
        ToyChange::SetPorts(key, ports) => {
            state.balancers.get_mut(&key).ok_or_else(conflict)?.ports = ports;
        }
        ToyChange::SetIdle(key, idle) => {
            state.balancers.get_mut(&key).ok_or_else(conflict)?.idle = idle;
        }
        ToyChange::Recreate(key, ports, idle) => {
            let balancer = state.balancers.get_mut(&key).ok_or_else(conflict)?;
            (balancer.ports, balancer.idle) = (ports, idle);
        }
        ToyChange::SetTargets(_, targets) if targets.len() > 100 => {
            return Err(CloudError::new(Kind::Internal, "too many targets"));
        }
        ToyChange::SetTargets(key, targets) => {
            let balancer = state.balancers.get_mut(&key).ok_or_else(conflict)?;
            for (name, is_target) in targets {
                if is_target {
                    balancer.targets.insert(name);
                } else {
                    balancer.targets.remove(&name);
                }
            }
        }
        ToyChange::Delete(key) => drop(state.balancers.remove(&key)),
        ToyChange::Free(key) if state.balancers.contains_key(&key) => return Err(conflict()),
        ToyChange::Free(key) => drop(state.addresses.remove(&key)),
        ToyChange::Open(rule) => drop(state.rules.insert(rule)),
        ToyChange::Close(rule) => drop(state.rules.remove(&rule)),
    }
    Ok(())
}

#[async_trait]
impl Converge<LoadBalancerSpec> for Toy {
    type Observed = State;
    type Change = ToyChange;

    fn units(&self, want: &Wanted) -> Vec<Unit> {
        vec![Unit::own(want.id()), Unit::shared("firewall")]
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        world: &World<LoadBalancerSpec>,
    ) -> Result<State, CloudError> {
        let look = async { Ok(self.cloud.state().clone()) };
        let mut seen = cx.call(Operation("Look"), Bucket("reads"), look).await?;
        if self.is(Broken::asks_by_changing) {
            *self.cloud.mutations.lock().unwrap() += 1;
        }
        let is_wrong =
            |want: &Wanted| matches!(want, Want::Present(spec) if spec.requested_address.is_some());
        if self.is(Broken::fails_for_all) && self.cloud.state().addresses.len() < 9 {
            // What one asked for is taken for everybody's.
            let asked = self.made.lock().unwrap().contains(&(String::new(), String::new()));
            if asked || world.wants.iter().any(is_wrong) {
                self.made.lock().unwrap().insert((String::new(), String::new()));
                let words = "spec.loadBalancerIP is no good";
                return Err(CloudError::new(Kind::InvalidConfiguration, words));
            }
        }
        if let UnitName::Own(id) = &unit.name {
            let key = self.key(id);
            let made = self.made.lock().unwrap();
            if self.is(Broken::remembers_what_it_made) && !made.contains(&key) {
                seen.addresses.remove(&key);
                seen.balancers.remove(&key);
            }
            let is_noted = world.wants[0].identity().annotations.contains_key("toy/id");
            if self.is(Broken::finds_by_annotation) && !is_noted && !made.contains(&key) {
                seen.addresses.remove(&key);
                seen.balancers.remove(&key);
            }
            if self.is(Broken::sees_no_halves)
                && !seen.balancers.contains_key(&key)
                && matches!(world.wants[0], Want::Absent(_))
            {
                seen.addresses.remove(&key);
            }
            if self.is(Broken::loses_what_it_began)
                && !seen.balancers.contains_key(&key)
                && !made.contains(&key)
            {
                seen.addresses.remove(&key);
            }
            if self.is(Broken::does_not_look_closely)
                && let (Some(balancer), Want::Present(spec)) =
                    (seen.balancers.get_mut(&key), &world.wants[0])
                && !balancer.ports.is_empty()
                && balancer.targets.is_empty()
                && !spec.ports.is_empty()
            {
                balancer.targets.extend(world.nodes.iter().map(|it| it.node.name.to_string()));
            }
        }
        seen.addresses.retain(|key, _| self.sees(key));
        seen.balancers.retain(|key, _| self.sees(key));
        seen.rules.retain(|(key, _)| self.sees(key));
        Ok(seen)
    }

    fn plan(&self, unit: &Unit, world: &World<LoadBalancerSpec>, seen: &State) -> Plan<ToyChange> {
        match &unit.name {
            UnitName::Own(_) => self.plan_own(&world.wants[0], &world.nodes, seen),
            UnitName::Shared(_) => self.plan_firewall(&world.wants, seen),
        }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &ToyChange,
        _: &State,
    ) -> Result<Learnt<State>, CloudError> {
        if let ToyChange::Reserve(key) | ToyChange::Create(key) = change {
            self.made.lock().unwrap().insert(key.clone());
        }
        let has_two = self.is(Broken::remembers_what_it_made)
            || self.is(Broken::finds_by_annotation)
            || self.is(Broken::loses_what_it_began)
            || self.is(Broken::makes_two_of_it);
        let request = self.cloud.write(|state| carry_out(state, change, has_two));
        let sent = if self.is(Broken::calls_behind_the_framework) {
            request.await
        } else {
            cx.call(Operation("Change"), Bucket("writes"), request).await
        };
        match sent {
            // Sent again at once, as if nothing could have happened.
            Err(err) if err.kind() == Kind::Unavailable && self.is(Broken::makes_two_of_it) => {
                self.cloud.write(|state| carry_out(state, change, true)).await?;
            }
            sent => sent?,
        }
        if let (true, ToyChange::SetIdle(key, _)) = (self.is(Broken::sends_two_in_one), change) {
            let rule = ToyChange::Close((key.clone(), 30443));
            self.cloud.write(|state| carry_out(state, &rule, false)).await?;
        }
        Ok(Learnt::LookAgain)
    }

    async fn inventory(&self, _: &Read) -> Result<Vec<Owned>, CloudError> {
        let state = self.cloud.state();
        let owned = |kind, key: &Key| Owned {
            kind,
            id: key.1.clone(),
            owner: Some(Uid::from(key.1.as_str())),
            object: None,
        };
        let addresses = state.addresses.keys().filter(|key| self.sees(key));
        let balancers = state.balancers.keys().filter(|key| self.sees(key));
        let rules = state.rules.iter().map(|rule| &rule.0).filter(|key| self.sees(key));
        let all = addresses
            .map(|key| owned("address", key))
            .chain(balancers.map(|key| owned("load balancer", key)))
            .chain(rules.map(|key| owned("rule", key)));
        let page = if self.is(Broken::counts_only_the_first_page) { 0 } else { usize::MAX };
        Ok(all.take(page).collect())
    }
}

impl Toy {
    fn sees(&self, key: &Key) -> bool {
        self.is(Broken::knows_no_clusters) || key.0 == self.cluster
    }
}

fn read(annotations: &BTreeMap<String, String>) -> Result<Annotated, Vec<AnnotationError>> {
    let Some(value) = annotations.get("toy/idle") else { return Ok(Annotated::default()) };
    let idle: u32 = value.parse().map_err(|_| {
        let (value, accepted) = (value.clone(), "a number of seconds".to_owned());
        vec![AnnotationError { key: "toy/idle", value, accepted }]
    })?;
    Ok(Annotated { value: Detail::new(idle), notes: vec![] })
}

pub(crate) const ANNOTATIONS: Annotations = Annotations {
    declared: &[Declared {
        key: "toy/idle",
        help: "",
        accepted: "a number of seconds",
        default: "60",
        lenient: false,
        written: false,
    }],
    read,
};

/// The provider, with its load balancers.
#[derive(Debug)]
pub(crate) struct Provider(pub(crate) Arc<Cloud>, pub(crate) &'static str);

impl CloudProvider for Provider {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn cluster_id(&self) -> ClusterId {
        ClusterId::Given(self.1.to_owned())
    }

    fn belongs(&self, _: &NodeIdentity) -> Belongs {
        Belongs::Ours
    }

    fn instances(&self) -> Option<Arc<dyn Instances>> {
        Some(Arc::clone(&self.0) as _)
    }

    fn load_balancers(&self) -> Option<Converger<LoadBalancerSpec>> {
        Some(Converger::new(Toy::new(&self.0, self.1)))
    }
}

#[async_trait]
impl Instances for Cloud {
    fn batching(&self) -> Batching {
        Batching::UpTo(NonZeroUsize::new(100).unwrap())
    }

    async fn describe(
        &self,
        _: &Read,
        _: Ask,
        nodes: &[NodeIdentity],
    ) -> Result<Vec<Observation>, CloudError> {
        let state = self.state();
        let answer = |node: &NodeIdentity| match state.machines.get(node.name.as_str()) {
            Some(true) => Observation::Present(instance(node)),
            Some(false) => Observation::Gone(Evidence::Terminated),
            None => Observation::Gone(Evidence::Absent),
        };
        Ok(nodes.iter().map(answer).collect())
    }
}

fn instance(node: &NodeIdentity) -> Instance {
    let id = format!("toy://{}", node.name);
    Instance {
        provider_id: ProviderId::try_from(id.as_str()).unwrap(),
        incarnation: Incarnation::from(node.name.as_str()),
        state: RunState::Running,
        instance_type: None,
        zone: None,
        region: None,
        addresses: vec![],
        labels: [].into(),
        pod_cidrs: PodCidrs::Unsaid,
        detail: Detail::default(),
    }
}

/// How long the toy's harness waits: nothing takes any time here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
