//! A toy cloud and a toy engine: the contract carries shared things, crashes, dry runs and gates.
//!
//! Each Service has a load balancer of its own; all of them share one firewall. The engine is as
//! small as the promises allow: no governor, no lock, no isolation of mistakes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;

type Wanted = Want<LoadBalancerSpec>;
type Ports = BTreeSet<u16>;

/// What is in the cloud. Load balancers by name, with whether they are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    balancers: BTreeMap<String, (bool, Ports)>,
    firewall: Ports,
}

/// The cloud and its provider. Clones are the same cloud, which outlives a crash of the engine.
#[derive(Clone, Debug, Default)]
struct Toy {
    state: Arc<Mutex<State>>,
    /// Says that a port is open when it is not.
    stubborn: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ToyChange {
    Create(String),
    SetPorts(String, Ports),
    Delete(String),
    Open(u16),
    Close(u16),
}

impl fmt::Display for ToyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(name) => write!(f, "create {name}"),
            Self::SetPorts(name, ports) => write!(f, "set ports of {name} to {ports:?}"),
            Self::Delete(name) => write!(f, "delete {name}"),
            Self::Open(port) => write!(f, "open {port}"),
            Self::Close(port) => write!(f, "close {port}"),
        }
    }
}

impl Change for ToyChange {
    fn effect(&self) -> Effect {
        match self {
            Self::Create(_) => Effect::Create,
            Self::SetPorts(..) | Self::Open(_) => Effect::Update,
            Self::Delete(_) | Self::Close(_) => Effect::Delete,
        }
    }
}

fn name(want: &Wanted) -> String {
    format!("lb-{}", want.id().uid)
}

fn ports(spec: &LoadBalancerSpec) -> Ports {
    spec.ports.iter().map(|port| port.port.get()).collect()
}

fn stage(changes: impl IntoIterator<Item = ToyChange>) -> Vec<Step<ToyChange>> {
    changes.into_iter().map(Step::new).collect()
}

impl Toy {
    fn plan_balancer(want: &Wanted, state: &State) -> Plan<ToyChange> {
        let name = name(want);
        let mut plan = Plan::default();
        let (holds, verdict) = match (want, state.balancers.get(&name)) {
            (Want::Keep(_), _) => return plan,
            (Want::Absent(_), None) => (Holds::Nothing, Verdict::Done),
            (Want::Absent(_), Some(_)) => {
                plan.stages = vec![stage([ToyChange::Delete(name)])];
                (Holds::Something, Verdict::Progressing("it is taken down".to_owned()))
            }
            (Want::Present(spec), None) => {
                let ports = ToyChange::SetPorts(name.clone(), ports(spec));
                plan.stages = vec![stage([ToyChange::Create(name)]), stage([ports])];
                (Holds::Nothing, Verdict::Progressing("it is made".to_owned()))
            }
            (Want::Present(_), Some((false, _))) => {
                let waits_for = format!("{name} to come up");
                plan.later = vec![Later { waits_for, look_again: Duration::from_secs(1) }];
                (Holds::Something, Verdict::Progressing("it comes up".to_owned()))
            }
            (Want::Present(spec), Some((true, have))) if *have != ports(spec) => {
                plan.stages = vec![stage([ToyChange::SetPorts(name, ports(spec))])];
                (Holds::Something, Verdict::Progressing("its ports are set".to_owned()))
            }
            (Want::Present(_), Some((true, _))) => (Holds::Something, Verdict::Done),
        };
        plan.reports = vec![Report::new(want.id(), holds, verdict)];
        plan
    }

    fn plan_firewall(wants: &[Wanted], state: &State) -> Plan<ToyChange> {
        let has = |want: &Wanted| {
            state.balancers.get(&name(want)).map_or(Ports::new(), |it| it.1.clone())
        };
        let needs = |want: &Wanted| match want {
            Want::Present(spec) => ports(spec),
            Want::Keep(_) => has(want),
            Want::Absent(_) => Ports::new(),
        };
        let needed: Ports = wants.iter().flat_map(needs).collect();
        let report = |want: &Wanted| {
            let surplus = has(want).difference(&needed).any(|port| state.firewall.contains(port));
            let done = match want {
                Want::Keep(_) => return None,
                Want::Present(_) => needs(want).is_subset(&state.firewall),
                Want::Absent(_) => !surplus,
            };
            let wait = Verdict::Progressing("the firewall is changed".to_owned());
            let absent = matches!(want, Want::Absent(_));
            let holds = if absent && done { Holds::Nothing } else { Holds::Something };
            Some(Report::new(want.id(), holds, if done { Verdict::Done } else { wait }))
        };
        let open = needed.difference(&state.firewall).copied().map(ToyChange::Open);
        let close = state.firewall.difference(&needed).copied().map(ToyChange::Close);
        let reports = wants.iter().filter_map(report).collect();
        Plan { stages: vec![stage(open), stage(close)], later: Vec::new(), reports }
    }
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
        _: &Unit,
        _: &World<LoadBalancerSpec>,
    ) -> Result<State, CloudError> {
        let look = async { Ok(self.state.lock().unwrap().clone()) };
        cx.call(Operation("Look"), Bucket("reads"), look).await
    }

    fn plan(&self, unit: &Unit, world: &World<LoadBalancerSpec>, state: &State) -> Plan<ToyChange> {
        match &unit.name {
            UnitName::Own(_) => Self::plan_balancer(&world.wants[0], state),
            UnitName::Shared(_) => Self::plan_firewall(&world.wants, state),
        }
    }

    async fn apply(
        &self,
        cx: &Write,
        change: &ToyChange,
        _: &State,
    ) -> Result<Learnt<State>, CloudError> {
        let send = async {
            let mut state = self.state.lock().unwrap();
            match change.clone() {
                ToyChange::Create(name) => drop(state.balancers.entry(name).or_default()),
                ToyChange::SetPorts(name, to) => drop(state.balancers.insert(name, (true, to))),
                ToyChange::Delete(name) => drop(state.balancers.remove(&name)),
                ToyChange::Open(port) => drop(self.stubborn || state.firewall.insert(port)),
                ToyChange::Close(port) => drop(state.firewall.remove(&port)),
            }
            Ok(Learnt::Now(state.clone()))
        };
        cx.call(Operation("Change"), Bucket("writes"), send).await
    }

    async fn inventory(&self, _: &Read) -> Result<Vec<Owned>, CloudError> {
        Ok(Vec::new())
    }
}

/// Lets everything pass, or nothing that changes anything.
#[derive(Debug)]
struct Gate {
    open: bool,
}

struct Passed;

impl Admitted for Passed {
    fn overdue(&mut self) {}

    fn done(self: Box<Self>, _: Result<(), &CloudError>) {}
}

#[async_trait]
impl Conduct for Gate {
    async fn admit(&self, request: &Request) -> Result<Box<dyn Admitted>, CloudError> {
        if request.mutates && !self.open {
            return Err(CloudError::new(Kind::Stopped, "the lease is lost"));
        }
        Ok(Box::new(Passed))
    }
}

/// Leave to change things, with the gate open or closed.
fn leave(open: bool) -> Write {
    let deadline = Instant::now() + Duration::from_mins(1);
    Write::new(Read::new(Arc::new(Gate { open }), Urgency::Refresh, Freshness::Live, deadline))
}

/// How the engine is cut off: at which change, and whether that one still takes effect.
#[derive(Clone, Copy)]
struct Crash {
    at: usize,
    after_effect: bool,
}

#[derive(Debug)]
enum Stop {
    Crashed,
    DoesNotConverge(String),
    Cloud(CloudError),
}

/// One life of the process.
struct Engine {
    toy: Toy,
    converger: Converger<LoadBalancerSpec>,
    cx: Write,
    dry_run: bool,
    crash: Option<Crash>,
    /// The `Display` lines of what was sent, or would be.
    lines: Vec<String>,
    /// For whom which unit is finished, by the last report.
    finished: HashSet<(UnitName, ObjectId)>,
}

impl Engine {
    fn new(toy: &Toy) -> Self {
        let (toy, converger) = (toy.clone(), Converger::new(toy.clone()));
        let (cx, lines, finished) = (leave(true), Vec::new(), HashSet::new());
        Self { toy, converger, cx, dry_run: false, crash: None, lines, finished }
    }

    /// What the want is to this unit: itself when it is its turn, `Keep` before. In a dry run it is
    /// always its turn, or nothing behind the first unit would be shown.
    fn turn(&self, want: &Wanted, unit: &Unit) -> Wanted {
        let units = self.converger.units(want);
        let here = units.iter().position(|other| other.name == unit.name).unwrap();
        let first = match want {
            Want::Present(_) => &units[..here],
            Want::Absent(_) => &units[here + 1..],
            Want::Keep(_) => &[],
        };
        let done = |unit: &Unit| self.finished.contains(&(unit.name.clone(), want.id().clone()));
        if self.dry_run || first.iter().all(done) { want.clone() } else { want.kept() }
    }

    /// Goes over all units until nothing is sent or waited for any more.
    async fn run(&mut self, wants: &[Wanted]) -> Result<(), Stop> {
        let mut units =
            wants.iter().flat_map(|want| self.converger.units(want)).collect::<Vec<_>>();
        units.sort_by(|a, b| a.name.cmp(&b.name));
        units.dedup();
        loop {
            let before = (self.lines.len(), self.finished.len());
            let mut waiting = false;
            for unit in &units {
                let uses = |want: &&Wanted| self.converger.units(want).contains(unit);
                let wants = wants.iter().filter(uses).map(|want| self.turn(want, unit)).collect();
                waiting |= self.pass(unit, &World { wants, nodes: Arc::default() }).await?;
            }
            if self.dry_run || (!waiting && before == (self.lines.len(), self.finished.len())) {
                return Ok(());
            }
            // Time goes by: what is to come up has come up.
            self.toy.state.lock().unwrap().balancers.values_mut().for_each(|it| it.0 = true);
        }
    }

    /// Observe, plan, first stage, look again. Says whether something is waited for.
    async fn pass(&mut self, unit: &Unit, world: &World<LoadBalancerSpec>) -> Result<bool, Stop> {
        let mut planned: HashSet<AnyChange> = HashSet::new();
        let mut known = None;
        loop {
            let observed = match known.take() {
                Some(observed) => observed,
                None => self.converger.observe(&self.cx, unit, world).await.map_err(Stop::Cloud)?,
            };
            let plan = self.converger.plan(unit, world, &observed);
            for report in &plan.reports {
                let want = world.wants.iter().find(|want| *want.id() == report.id).unwrap();
                let finished = match want {
                    Want::Present(_) => matches!(report.verdict, Verdict::Done),
                    Want::Absent(_) => report.holds == Holds::Nothing,
                    Want::Keep(_) => continue,
                };
                let key = (unit.name.clone(), report.id.clone());
                self.finished.remove(&key);
                self.finished.extend(finished.then_some(key));
            }
            if self.dry_run {
                self.lines.extend(plan.stages.iter().flatten().map(|it| it.change.to_string()));
                return Ok(false);
            }
            let Some(stage) = plan.stages.into_iter().find(|stage| !stage.is_empty()) else {
                return Ok(!plan.later.is_empty());
            };
            let alone = stage.len() == 1;
            for Step { change, .. } in stage {
                if !planned.insert(change.clone()) {
                    return Err(Stop::DoesNotConverge(change.to_string()));
                }
                self.lines.push(change.to_string());
                let crash = self.crash.filter(|crash| crash.at == self.lines.len());
                if crash.is_some_and(|crash| !crash.after_effect) {
                    return Err(Stop::Crashed);
                }
                let answer = self.converger.apply(&self.cx, &change, &observed).await;
                if crash.is_some() {
                    return Err(Stop::Crashed);
                }
                match answer.map_err(Stop::Cloud)? {
                    Learnt::Now(now) if alone => known = Some(now),
                    Learnt::Now(_) | Learnt::LookAgain => {}
                }
            }
        }
    }
}

fn identity(uid: &str) -> Identity {
    let id = ObjectId { namespace: "shop".into(), name: uid.into(), uid: uid.into() };
    let (annotations, finalizers) = (BTreeMap::new(), BTreeSet::new());
    Identity { id, annotations, finalizers, ingress: Vec::new() }
}

fn present(uid: &str, ports: &[u16]) -> Wanted {
    let port = |&port| ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port: NonZeroU16::new(port).unwrap(),
        node_port: None,
        app_protocol: None,
    };
    let ports = ports.iter().map(port).collect();
    Want::Present(Arc::new(LoadBalancerSpec { ports, ..LoadBalancerSpec::new(identity(uid)) }))
}

fn absent(uid: &str) -> Wanted {
    Want::Absent(Arc::new(identity(uid)))
}

/// A cloud with the Services `a` (80, 443) and `b` (443), and what was sent to get there.
async fn two_services() -> (Toy, Vec<String>) {
    let toy = Toy::default();
    let mut engine = Engine::new(&toy);
    engine.run(&[present("a", &[80, 443]), present("b", &[443])]).await.unwrap();
    (toy, engine.lines)
}

fn firewall(toy: &Toy) -> Vec<u16> {
    toy.state.lock().unwrap().firewall.iter().copied().collect()
}

#[tokio::test]
async fn what_is_there_is_left_alone() {
    let (toy, lines) = two_services().await;
    let (a, b) = ("set ports of lb-a to {80, 443}", "set ports of lb-b to {443}");
    assert_eq!(lines, ["create lb-a", "create lb-b", a, b, "open 80", "open 443"]);
    let mut engine = Engine::new(&toy);
    engine.run(&[present("b", &[443]), present("a", &[80, 443])]).await.unwrap();
    assert!(engine.lines.is_empty());
}

#[tokio::test]
async fn a_shared_port_stays_open_for_the_other() {
    let (toy, _) = two_services().await;
    let mut engine = Engine::new(&toy);
    engine.run(&[absent("a"), present("b", &[443])]).await.unwrap();
    assert_eq!(engine.lines, ["close 80", "delete lb-a"]);
    engine.run(&[absent("a"), absent("b")]).await.unwrap();
    assert_eq!(*toy.state.lock().unwrap(), State::default());
}

#[tokio::test]
async fn an_unreadable_service_is_still_a_user() {
    let (toy, _) = two_services().await;
    let unreadable = Want::Keep(Arc::new(identity("a")));
    Engine::new(&toy).run(&[unreadable, absent("b")]).await.unwrap();
    assert_eq!(firewall(&toy), [80, 443]);
}

#[tokio::test]
async fn a_crash_anywhere_ends_in_the_same_state() {
    let story = [
        vec![present("a", &[80, 443]), present("b", &[443])],
        vec![absent("a"), present("b", &[443, 8080])],
        vec![absent("a"), absent("b")],
    ];
    let calm = Toy::default();
    let mut expected = Vec::new();
    for wants in &story {
        Engine::new(&calm).run(wants).await.unwrap();
        expected.push(calm.state.lock().unwrap().clone());
    }
    assert_eq!(expected[2], State::default());
    for after_effect in [false, true] {
        for at in 1..=7 {
            let toy = Toy::default();
            for (wants, expected) in story.iter().zip(&expected) {
                let mut first = Engine::new(&toy);
                first.crash = Some(Crash { at, after_effect });
                let cut = first.run(wants).await;
                assert_eq!(cut.is_err(), first.lines.len() >= at, "{cut:?}");
                Engine::new(&toy).run(wants).await.unwrap();
                assert_eq!(*toy.state.lock().unwrap(), *expected, "{at}, {after_effect}");
            }
        }
    }
}

#[tokio::test]
async fn a_dry_run_lists_and_changes_nothing() {
    let toy = Toy::default();
    let mut engine = Engine::new(&toy);
    engine.dry_run = true;
    engine.run(&[present("a", &[80])]).await.unwrap();
    assert_eq!(engine.lines, ["create lb-a", "set ports of lb-a to {80}", "open 80"]);
    assert_eq!(*toy.state.lock().unwrap(), State::default());
}

#[tokio::test]
async fn a_closed_gate_changes_nothing() {
    let toy = Toy::default();
    let mut engine = Engine::new(&toy);
    engine.cx = leave(false);
    let stopped = engine.run(&[present("a", &[80])]).await;
    assert!(matches!(stopped, Err(Stop::Cloud(err)) if err.kind() == Kind::Stopped));
    assert_eq!(*toy.state.lock().unwrap(), State::default());
}

#[tokio::test]
async fn a_plan_that_never_converges_is_caught() {
    let toy = Toy { stubborn: true, ..Toy::default() };
    let caught = Engine::new(&toy).run(&[present("a", &[80])]).await;
    assert!(matches!(caught, Err(Stop::DoesNotConverge(line)) if line == "open 80"));
}
