//! A toy cloud: each Service has a load balancer of its own, and all of them share one firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::cloud::{
    Bucket, Change, CloudError, Converge, Effect, Holds, Kind, Later, Learnt, LoadBalancerSpec,
    Lock, Operation, Owned, Plan, Read, Report, Step, Uid, Unit, UnitName, Verdict, Want, World,
    Write,
};
use crate::converge::wants::{Wanted, ports};

/// Who has which ports open, or listens on them.
type Ports = BTreeSet<u16>;

/// The cloud and its provider. Clones are the same cloud, which outlives a crash of the engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Toy(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// What is there.
    pub(super) cloud: Cloud,
    /// How it behaves.
    pub(super) mood: Mood,
    /// What was sent, whether it took effect or not.
    pub(super) sent: Vec<String>,
    /// How often each unit was looked at.
    pub(super) looks: BTreeMap<String, usize>,
    /// Looks and changes that are under way in each unit.
    busy: BTreeMap<String, usize>,
    /// The most that ever were in one unit, and in all.
    pub(super) most: (usize, usize),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cloud {
    /// Load balancers by owner, with whether they are up.
    pub(super) balancers: BTreeMap<Uid, (bool, Ports)>,
    /// Rules of the firewall.
    pub(super) rules: BTreeSet<(Uid, u16)>,
}

/// How the cloud behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Mood {
    /// How long each request takes.
    pub(super) latency: Duration,
    /// Units whose looks are never answered.
    pub(super) hangs: BTreeSet<String>,
    /// How looks fail.
    pub(super) looks_fail: Option<Kind>,
    /// How the rule for a port is refused.
    pub(super) refuses: BTreeMap<u16, Kind>,
    /// Says that it has opened a port, and has not.
    pub(super) is_stubborn: bool,
    /// Load balancers do not come up by themselves.
    pub(super) is_slow: bool,
    /// The firewall is behind a lock.
    pub(super) locks: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ToyChange {
    Create(Uid),
    SetPorts(Uid, Ports),
    Delete(Uid),
    Open(Uid, u16),
    Close(Uid, u16),
}

impl fmt::Display for ToyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(of) => write!(f, "create {of}"),
            Self::SetPorts(of, ports) => write!(f, "set ports of {of} to {ports:?}"),
            Self::Delete(of) => write!(f, "delete {of}"),
            Self::Open(of, port) => write!(f, "open {port} for {of}"),
            Self::Close(of, port) => write!(f, "close {port} for {of}"),
        }
    }
}

impl Change for ToyChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Create(_) => Effect::Create,
            Self::SetPorts(..) | Self::Open(..) => Effect::Update,
            Self::Delete(_) | Self::Close(..) => Effect::Delete,
        }
    }
}

/// Counts who is busy in a unit, also where it is cut off.
struct Busy<'a>(&'a Toy, String);

impl<'a> Busy<'a> {
    fn new(toy: &'a Toy, unit: &str) -> Self {
        let mut state = toy.state();
        *state.busy.entry(unit.to_owned()).or_default() += 1;
        let (here, all) = (state.busy[unit], state.busy.values().sum::<usize>());
        state.most = (state.most.0.max(here), state.most.1.max(all));
        Self(toy, unit.to_owned())
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Some(busy) = self.0.state().busy.get_mut(&self.1) {
            *busy -= 1;
        }
    }
}

impl Toy {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panicked")
    }

    pub(super) fn with(mood: Mood) -> Self {
        Self(Arc::new(Mutex::new(State { mood, ..State::default() })))
    }

    pub(super) fn cloud(&self) -> Cloud {
        self.state().cloud.clone()
    }

    /// The rules, as `owner:port`.
    pub(super) fn rules(&self) -> Vec<String> {
        self.state().cloud.rules.iter().map(|(of, port)| format!("{of}:{port}")).collect()
    }

    /// Takes what was sent since somebody last asked.
    pub(super) fn sent(&self) -> Vec<String> {
        std::mem::take(&mut self.state().sent)
    }

    pub(super) fn looks(&self, unit: &str) -> usize {
        self.state().looks.get(unit).copied().unwrap_or_default()
    }
}

fn stage(changes: impl IntoIterator<Item = ToyChange>) -> Vec<Step<ToyChange>> {
    changes.into_iter().map(Step::new).collect()
}

fn plan_balancer(want: &Wanted, cloud: &Cloud) -> Plan<ToyChange> {
    let of = want.id().uid.clone();
    let on_the_way = |what: &str| Verdict::Progressing(what.to_owned());
    let mut plan = Plan::default();
    let (holds, verdict) = match (want, cloud.balancers.get(&of)) {
        (Want::Keep(_), _) => return plan,
        (Want::Absent(_), None) => (Holds::Nothing, Verdict::Done),
        (Want::Absent(_), Some(_)) => {
            plan.stages = vec![stage([ToyChange::Delete(of)])];
            (Holds::Something, on_the_way("it is taken down"))
        }
        (Want::Present(_), None) => {
            let set = ToyChange::SetPorts(of.clone(), ports(want));
            plan.stages = vec![stage([ToyChange::Create(of)]), stage([set])];
            (Holds::Nothing, on_the_way("it is made"))
        }
        (Want::Present(_), Some((_, have))) if *have != ports(want) => {
            plan.stages = vec![stage([ToyChange::SetPorts(of, ports(want))])];
            (Holds::Something, on_the_way("its ports are set"))
        }
        (Want::Present(_), Some((false, _))) => {
            let (waits_for, look_again) = (format!("{of} to come up"), Duration::from_secs(1));
            plan.later = vec![Later { waits_for, look_again }];
            (Holds::Something, on_the_way("it comes up"))
        }
        (Want::Present(_), Some((true, _))) => (Holds::Something, Verdict::Done),
    };
    plan.reports = vec![Report::new(want.id(), holds, verdict)];
    plan
}

fn plan_firewall(wants: &[Wanted], cloud: &Cloud) -> Plan<ToyChange> {
    let (mut open, mut close, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    for want in wants.iter().filter(|want| !matches!(want, Want::Keep(_))) {
        let (of, needs) = (&want.id().uid, ports(want));
        let theirs = cloud.rules.iter().filter(|(owner, _)| owner == of);
        let has: Ports = theirs.map(|(_, port)| *port).collect();
        let opens = needs.difference(&has).map(|port| ToyChange::Open(of.clone(), *port));
        open.extend(opens.map(|change| Step::new(change).wanted_by(want.id())));
        let closes = has.difference(&needs).map(|port| ToyChange::Close(of.clone(), *port));
        close.extend(closes.map(|change| Step::new(change).wanted_by(want.id())));
        let holds = if has.is_empty() { Holds::Nothing } else { Holds::Something };
        let verdict = if needs.is_subset(&has) {
            Verdict::Done
        } else {
            Verdict::Progressing("the firewall is changed".to_owned())
        };
        reports.push(Report::new(want.id(), holds, verdict));
    }
    Plan { stages: vec![open, close], later: Vec::new(), reports }
}

#[async_trait]
impl Converge<LoadBalancerSpec> for Toy {
    type Observed = Cloud;
    type Change = ToyChange;

    fn units(&self, want: &Wanted) -> Vec<Unit> {
        let lock = self.state().mood.locks.then(|| Lock {
            lease: "kube-system/firewall".into(),
            holder: "ccm".into(),
            duration: Duration::from_secs(15),
            previous_holder: None,
        });
        let settle = Duration::from_millis(100);
        vec![Unit::own(want.id()), Unit { settle, lock, ..Unit::shared("firewall") }]
    }

    async fn observe(
        &self,
        cx: &Read,
        unit: &Unit,
        _: &World<LoadBalancerSpec>,
    ) -> Result<Cloud, CloudError> {
        let name = unit.name.to_string();
        let look = async {
            let _busy = Busy::new(self, &name);
            let mood = {
                let mut state = self.state();
                *state.looks.entry(name.clone()).or_default() += 1;
                state.mood.clone()
            };
            if mood.hangs.contains(&name) {
                std::future::pending::<()>().await;
            }
            sleep(mood.latency).await;
            match mood.looks_fail {
                Some(kind) => Err(CloudError::new(kind, "no look")),
                None => Ok(self.cloud()),
            }
        };
        cx.call(Operation("Look"), Bucket("reads"), look).await
    }

    fn plan(&self, unit: &Unit, world: &World<LoadBalancerSpec>, cloud: &Cloud) -> Plan<ToyChange> {
        match &unit.name {
            UnitName::Own(_) => plan_balancer(&world.wants[0], cloud),
            UnitName::Shared(_) => plan_firewall(&world.wants, cloud),
        }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &ToyChange,
        _: &Cloud,
    ) -> Result<Learnt<Cloud>, CloudError> {
        let send = async {
            let latency = self.state().mood.latency;
            sleep(latency).await;
            let mut state = self.state();
            state.sent.push(change.to_string());
            let (is_up, is_stubborn) = (!state.mood.is_slow, state.mood.is_stubborn);
            if let ToyChange::Open(_, port) = change
                && let Some(kind) = state.mood.refuses.get(port)
            {
                return Err(CloudError::new(*kind, format!("not {port}")));
            }
            let cloud = &mut state.cloud;
            match change.clone() {
                ToyChange::Create(of) => {
                    cloud.balancers.entry(of).or_default();
                }
                ToyChange::SetPorts(of, to) => {
                    cloud.balancers.insert(of, (is_up, to));
                }
                ToyChange::Delete(of) => drop(cloud.balancers.remove(&of)),
                ToyChange::Open(..) if is_stubborn => {}
                ToyChange::Open(of, port) => drop(cloud.rules.insert((of, port))),
                ToyChange::Close(of, port) => drop(cloud.rules.remove(&(of, port))),
            }
            Ok(Learnt::Now(cloud.clone()))
        };
        cx.call(Operation("Change"), Bucket("writes"), send).await
    }

    async fn inventory(&self, _: &Read) -> Result<Vec<Owned>, CloudError> {
        let owned = |(of, _): (&Uid, _)| Owned {
            kind: "load balancer",
            id: format!("lb-{of}"),
            owner: Some(of.clone()),
            object: None,
        };
        Ok(self.cloud().balancers.iter().map(owned).collect())
    }
}
