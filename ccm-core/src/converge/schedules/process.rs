//! The process: the engine, and the controller that wants things for Services. Everything in it is
//! lost in a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::laws::{done_is_true, nothing_leaks};
use super::mutants::Mutant;
use super::pieces::Form;
use super::provider::Provider;
use super::state::{Machine, Service, Sim, State};
use crate::cloud::{
    AnyChange, CloudError, Converger, Detail, Evidence, Incarnation, IngressAddress, IngressPoint,
    Instance, Kind, LoadBalancerSpec, Member, NodeIdentity, NodeName, ObjectId, Observation,
    PodCidrs, ProviderId, RunState, Uid, Want,
};
use crate::cluster::gate::Gate;
use crate::converge::wants::{identity, spec};
use crate::converge::{Cause, Ended, Engine, Office, Progress, Settings, Watcher};
use crate::governor::Governor;
use crate::telemetry::{CloudMetrics, ConvergeMetrics};

/// Something that the controller hears.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Heard {
    /// Of the Service of this name.
    Service(String),
    Nodes,
}

type Inbox = mpsc::UnboundedReceiver<Heard>;

/// One life of the process.
pub(super) struct Process {
    engine: Arc<Engine<LoadBalancerSpec>>,
    tells: mpsc::UnboundedSender<Heard>,
    engine_runs: JoinHandle<()>,
    controls: JoinHandle<()>,
    /// Rings when the process dies of itself.
    pub(super) dies: Arc<Notify>,
}

/// Tells the controller what the engine says.
struct Desk {
    sim: Sim,
    tells: mpsc::UnboundedSender<Heard>,
}

impl Office for Desk {
    fn news(&self, id: &ObjectId) {
        let _ = self.tells.send(Heard::Service(id.name.to_string()));
    }

    fn passed(&self, about: &Ended<'_>) {
        let mut state = self.sim.lock();
        state.figures.count(match about.cause {
            Cause::Drift => "changed in a drift check",
            Cause::Waited => "changed after a wait",
            Cause::Retry => "changed in a retry",
            Cause::Nodes => "changed for nodes",
            Cause::Changed => "changed for a change",
            Cause::New => "changed for what is new",
        });
    }
}

/// Lets the process die before a change, or right after its effect.
struct Fate {
    sim: Sim,
    dies: Arc<Notify>,
}

impl Fate {
    async fn may_die(&self, what: &'static str) {
        let is_over = {
            let mut state = self.sim.lock();
            let crashes = state.setup.crashes;
            let is_over = !state.is_calm() && state.rng.chance(crashes);
            if is_over {
                state.figures.count(what);
                state.say(|| what.to_owned());
            }
            is_over
        };
        if is_over {
            self.dies.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Watcher for Fate {
    async fn before(&self, _: &AnyChange) {
        self.may_die("crash before a change").await;
    }

    async fn after(&self, _: &AnyChange) {
        self.may_die("crash after a change").await;
    }
}

impl Process {
    /// Begins with what the cluster holds.
    pub(super) fn begin(sim: &Sim) -> Self {
        let setup = sim.lock().setup.clone();
        let (tells, inbox) = mpsc::unbounded_channel();
        let dies = Arc::new(Notify::new());
        let desk = Desk { sim: sim.clone(), tells: tells.clone() };
        let settings = Settings { workers: setup.workers, timing: setup.timing() };
        let engine = Engine::new(
            Converger::new(Provider { sim: sim.clone(), setup }),
            Governor::new(Gate::always_open(), CloudMetrics::unread()),
            settings,
            Arc::new(desk),
            ConvergeMetrics::unread(),
        );
        let fate = Fate { sim: sim.clone(), dies: Arc::clone(&dies) };
        let engine = Arc::new(engine.watched_by(Arc::new(fate)));
        let controller = Controller { sim: sim.clone(), engine: Arc::clone(&engine) };
        // Everything is in before the first unit is looked at.
        controller.nodes();
        let mut again = BTreeSet::new();
        let names: Vec<_> = sim.lock().services.keys().cloned().collect();
        for name in names {
            let is_forgotten = {
                let state = sim.lock();
                state.setup.is(Mutant::DeletedForgotten) && state.services[&name].is_deleting
            };
            if !is_forgotten && !controller.service(&name) {
                again.insert(Heard::Service(name));
            }
        }
        let stop = CancellationToken::new();
        let engine_runs = tokio::spawn(Arc::clone(&engine).run(stop));
        let controls = tokio::spawn(controller.run(inbox, again));
        Self { engine, tells, engine_runs, controls, dies }
    }

    /// Something has changed in the cluster.
    pub(super) fn tell(&self, heard: Heard) {
        let _ = self.tells.send(heard);
    }

    /// Dies. What is on the wire then arrives or does not.
    pub(super) async fn end(self) {
        self.engine_runs.abort();
        self.controls.abort();
        let _ = self.engine_runs.await;
        let _ = self.controls.await;
        // The passes are dropped by then.
        sleep(Duration::from_millis(1)).await;
    }

    pub(super) fn progress(&self) -> BTreeMap<Uid, Progress> {
        let ids = self.engine.ids();
        let known = ids.iter().filter_map(|id| Some((id.uid.clone(), self.engine.progress(id)?)));
        known.collect()
    }
}

/// The controller of Services, as small as its promises allow.
struct Controller {
    sim: Sim,
    engine: Arc<Engine<LoadBalancerSpec>>,
}

impl Controller {
    async fn run(self, mut inbox: Inbox, mut again: BTreeSet<Heard>) {
        loop {
            let mut heard = if again.is_empty() {
                BTreeSet::from_iter(inbox.recv().await)
            } else {
                let more = timeout(Duration::from_secs(1), inbox.recv()).await;
                let mut heard = std::mem::take(&mut again);
                heard.extend(more.ok().flatten());
                heard
            };
            let lag = {
                let mut state = self.sim.lock();
                state.rng.pick(&[0, 3, 150])
            };
            sleep(Duration::from_millis(lag)).await;
            while let Ok(more) = inbox.try_recv() {
                heard.insert(more);
            }
            for what in heard {
                let is_well = match &what {
                    Heard::Service(name) => self.service(name),
                    Heard::Nodes => {
                        self.nodes();
                        true
                    }
                };
                if !is_well {
                    again.insert(what);
                }
            }
        }
    }

    fn nodes(&self) {
        let members: Vec<_> = {
            let state = self.sim.lock();
            state.nodes.iter().map(|(name, machine)| member(name, *machine)).collect()
        };
        self.engine.members(members.into());
    }

    /// Brings one Service on. False where a write failed.
    fn service(&self, name: &str) -> bool {
        let mut state = self.sim.lock();
        let Some(service) = state.services.get(name).cloned() else { return true };
        let id = ObjectId { namespace: "shop".into(), name: name.into(), uid: service.uid.clone() };
        let mut form = service.form();
        if form == Form::Keep && state.setup.is(Mutant::UnreadableIsAbsent) {
            form = Form::Absent;
        }
        match form {
            Form::Present(_) => {
                let is_late = state.setup.is(Mutant::FinalizerLate);
                if is_late && !service.has_finalizer {
                    self.want(&mut state, &id, &service, &form);
                    if state.rng.chance(50) {
                        return false;
                    }
                }
                if !service.has_finalizer && !write(&mut state, name, |it| it.has_finalizer = true)
                {
                    return false;
                }
                self.want(&mut state, &id, &service, &form);
                if self.engine.progress(&id).is_some_and(|it| it.is_done) {
                    let verdict = done_is_true(&state, &id.uid, &service.ports);
                    state.judge(verdict);
                }
                let has_address =
                    self.engine.progress(&id).is_some_and(|it| it.ingress().is_some());
                service.has_address
                    || !has_address
                    || write(&mut state, name, |it| it.has_address = true)
            }
            Form::Keep => {
                if service.has_finalizer {
                    self.want(&mut state, &id, &service, &form);
                }
                true
            }
            Form::Absent if service.has_finalizer => {
                self.want(&mut state, &id, &service, &form);
                let progress = self.engine.progress(&id).expect("it is wanted");
                let is_gone = if state.setup.is(Mutant::GoneTooEarly) {
                    let nothing = crate::cloud::Holds::Nothing;
                    progress.reports.iter().any(|report| report.holds == nothing)
                } else {
                    progress.is_gone
                };
                !is_gone || self.let_go(&mut state, name, &id)
            }
            Form::Absent => {
                self.engine.forget(&id);
                if service.is_deleting {
                    state.services.remove(name);
                }
                true
            }
        }
    }

    fn want(&self, state: &mut State, id: &ObjectId, service: &Service, form: &Form) {
        // What a controller without a mistake would hand over.
        let (now, right) = (state.now(), service.form());
        let handed = state.handed.entry(id.uid.clone()).or_default();
        if handed.last().is_none_or(|(_, last)| *last != right) {
            handed.push((now, right));
            state.say(|| format!("{} ({}) is wanted: {form:?}", id.name, id.uid));
        }
        let mut who = identity(id.clone());
        if service.has_address {
            let address = IngressAddress::Hostname(format!("{}.example", id.uid));
            who.ingress = vec![IngressPoint { address, mode: None, ports: Vec::new() }];
        }
        let who = Arc::new(who);
        let want = match form {
            Form::Present(ports) => {
                let ports: Vec<_> = ports.iter().copied().collect();
                let spec = LoadBalancerSpec { identity: who, ..spec(id.clone(), &ports) };
                Want::Present(Arc::new(spec))
            }
            Form::Absent => Want::Absent(who),
            Form::Keep => Want::Keep(who),
        };
        let mut hasher = DefaultHasher::new();
        service.ports.hash(&mut hasher);
        self.engine.want(want, hasher.finish());
    }

    fn let_go(&self, state: &mut State, name: &str, id: &ObjectId) -> bool {
        if !write(state, name, |it| it.has_finalizer = false) {
            return false;
        }
        state.say(|| format!("{name} ({}) is let go", id.uid));
        let verdict = nothing_leaks(state, &id.uid);
        state.judge(verdict);
        state.figures.count("let go");
        self.engine.forget(id);
        if state.services[name].is_deleting {
            state.services.remove(name);
        }
        true
    }
}

/// Writes to the API server, which may not be there.
fn write(state: &mut State, name: &str, to: impl FnOnce(&mut Service)) -> bool {
    let faults = state.setup.faults;
    if !state.is_calm() && state.rng.chance(faults) {
        state.figures.count("write to the API failed");
        return false;
    }
    to(state.services.get_mut(name).expect("it was there"));
    true
}

fn member(name: &NodeName, machine: Machine) -> Member {
    let node = NodeIdentity {
        name: name.clone(),
        uid: name.as_str().into(),
        created: SystemTime::UNIX_EPOCH,
        provider_id: None,
        system_uuid: None,
        addresses: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        is_initialized: true,
    };
    let instance = match machine {
        Machine::Runs => Observation::Present(Instance {
            provider_id: ProviderId::try_from(format!("toy://{name}")).expect("not empty"),
            incarnation: Incarnation::from(name.as_str()),
            state: RunState::Running,
            instance_type: None,
            zone: None,
            region: None,
            addresses: Vec::new(),
            labels: BTreeMap::new(),
            pod_cidrs: PodCidrs::Unsaid,
            detail: Detail::default(),
        }),
        Machine::Unknown => Observation::Unknown(CloudError::new(Kind::Unavailable, "no answer")),
        Machine::Gone => Observation::Gone(Evidence::Absent),
    };
    Member { node, instance: Arc::new(instance) }
}
