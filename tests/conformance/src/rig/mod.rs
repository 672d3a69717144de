//! A process on a vendor's cloud, as tests handle it: what is wanted, what became of it, restarts,
//! and crashes at any change.

mod impatient;
mod life;
mod routes;
mod standing;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ccm_core::cloud::{
    Annotations, Ask, Batching, CloudError, CloudProvider, Converger, Holds, IngressPoint,
    LoadBalancerSpec, Member, NodeIdentity, ObjectId, Observation, Owned, REQUEST_LIMIT, Want,
};
use ccm_core::converge::{Aim, Progress, Rehearsed};
use tokio::time::{Instant, timeout};

use self::life::{Life, rehearse};
pub use self::routes::{RouteRig, RoutedNode};
use self::standing::{hindrance, left_of};
pub use self::watch::Cut;
use crate::ask::{leave, with_id};
use crate::balancing::{Cluster, LoadBalancerHarness};
use crate::harness::Unsupported;
use crate::outcome::not_offered;
use crate::service::Service;

/// How often it is looked whether all is settled, where nobody says that something is new.
const TICK: Duration = Duration::from_millis(20);

/// A process of a provider on a harness's cloud, with the framework's engine and no Kubernetes.
///
/// What the engine reports is written back to the Services as the framework's controller would,
/// once all is settled: so a crash loses what was not written yet.
#[derive(Debug)]
pub struct Rig<'a, H> {
    harness: &'a H,
    cluster: Cluster,
    life: Life<LoadBalancerSpec>,
    wanted: BTreeMap<ObjectId, Wanted>,
    members: Arc<[Member]>,
    /// Changes that were asked about already.
    heard: usize,
}

/// A Service, what is wanted for it, and what the framework has written on it.
#[derive(Debug)]
struct Wanted {
    aim: Aim,
    service: Service,
    /// Annotations, of those that are written back.
    written: BTreeMap<String, String>,
}

impl Wanted {
    /// The Service as it stands in the cluster.
    fn service(&self) -> Service {
        let mut service = self.service.clone();
        service.annotations.extend(self.written.clone());
        service
    }

    fn want(&self, annotations: &Annotations) -> Want<LoadBalancerSpec> {
        let service = self.service();
        match self.aim {
            Aim::Present => match service.read(annotations) {
                Ok(spec) => Want::Present(Arc::new(spec)),
                Err(problem) => panic!("{} cannot be read: {problem}", service.id),
            },
            Aim::Absent => Want::Absent(Arc::new(service.identity())),
            Aim::Keep => Want::Keep(Arc::new(service.identity())),
        }
    }

    /// Takes what the controller would write.
    fn write(&mut self, progress: &Progress) {
        if let Some(points) = progress.ingress() {
            self.service.ingress = points.to_vec();
        }
        for (key, value) in progress.annotations() {
            match value {
                Some(value) => drop(self.written.insert(key.to_owned(), value.to_owned())),
                None => drop(self.written.remove(key)),
            }
        }
        for (name, holds) in progress.finalizers() {
            match holds {
                Holds::Something => drop(self.service.finalizers.insert(name.to_owned())),
                Holds::Nothing => drop(self.service.finalizers.remove(name)),
            }
        }
    }
}

impl<'a, H: LoadBalancerHarness> Rig<'a, H> {
    /// The process, freshly started, with nothing wanted.
    pub async fn start(harness: &'a H) -> Self {
        match Self::start_as(harness, Cluster::Ours).await {
            Ok(rig) => rig,
            Err(Unsupported) => panic!("a harness can start its own cluster's process"),
        }
    }

    /// The process of another cluster, where the harness can start one.
    pub async fn start_as(harness: &'a H, cluster: Cluster) -> Result<Self, Unsupported> {
        let life = begin(harness, harness.process(cluster)?).await;
        let (wanted, members) = (BTreeMap::new(), Arc::default());
        Ok(Self { harness, cluster, life, wanted, members, heard: 0 })
    }

    /// The provider of this process.
    pub fn provider(&self) -> &Arc<dyn CloudProvider> {
        &self.life.provider
    }

    /// What it makes load balancers with.
    pub fn converger(&self) -> &Converger<LoadBalancerSpec> {
        &self.life.converger
    }

    /// Wants the Service as it is written. Panics where its annotations cannot be read.
    pub fn present(&mut self, service: &Service) {
        if let Err(problem) = self.try_present(service) {
            panic!("{} cannot be read: {problem}", service.id);
        }
    }

    /// Wants the Service as it is written, or keeps what it has where it cannot be read, and says
    /// why.
    pub fn try_present(&mut self, service: &Service) -> Result<(), String> {
        let problem = service.read(&self.harness.annotations()).err();
        self.want(if problem.is_none() { Aim::Present } else { Aim::Keep }, service);
        problem.map_or(Ok(()), Err)
    }

    /// Wants nothing of the Service to be left.
    pub fn absent(&mut self, service: &Service) {
        self.want(Aim::Absent, service);
    }

    /// Wants what the Service has to stay.
    pub fn keep(&mut self, service: &Service) {
        self.want(Aim::Keep, service);
    }

    /// Wants nothing for it any more, as if nobody had ever heard of it.
    pub fn forget(&mut self, service: &Service) {
        self.wanted.remove(&service.id);
        self.life.engine.forget(&service.id);
    }

    fn want(&mut self, aim: Aim, service: &Service) {
        let (mut service, mut written) = (service.clone(), BTreeMap::new());
        if let Some(known) = self.wanted.remove(&service.id) {
            // What was written back is on the object, whatever its user writes.
            service.finalizers = known.service.finalizers;
            service.ingress = known.service.ingress;
            written = known.written;
        }
        let wanted = Wanted { aim, service, written };
        self.tell(&wanted);
        self.wanted.insert(wanted.service.id.clone(), wanted);
    }

    fn tell(&self, wanted: &Wanted) {
        let want = wanted.want(&self.harness.annotations());
        self.life.engine.want(want, wanted.service.digest());
    }

    /// Everything that is wanted, in the order of the IDs.
    pub fn wants(&self) -> Vec<Want<LoadBalancerSpec>> {
        let annotations = self.harness.annotations();
        self.wanted.values().map(|wanted| wanted.want(&annotations)).collect()
    }

    /// The nodes that may be members.
    pub fn members(&mut self, mut members: Vec<Member>) {
        members.sort_by(|one, other| one.node.name.cmp(&other.node.name));
        self.members = members.into();
        self.life.engine.members(Arc::clone(&self.members));
    }

    /// The nodes that may be members, as they were last given.
    pub fn nodes(&self) -> &Arc<[Member]> {
        &self.members
    }

    /// Launches so many more instances, and lets their nodes be members.
    pub async fn join(&mut self, count: usize) {
        let mut nodes: Vec<_> = self.members.iter().map(|member| member.node.clone()).collect();
        for _ in 0..count {
            nodes.push(self.harness.launch().await);
        }
        self.observe(nodes).await;
    }

    /// Asks about the machines of these nodes, and lets those be members.
    pub async fn observe(&mut self, nodes: Vec<NodeIdentity>) {
        let instances = self.life.provider.instances().expect("the provider has instances");
        let batch = match instances.batching() {
            Batching::UpTo(most) => most.get(),
            Batching::Whole => nodes.len().max(1),
        };
        let mut members = Vec::with_capacity(nodes.len());
        for nodes in nodes.chunks(batch) {
            let cx = leave(Duration::from_mins(1));
            let answers = match instances.describe(&cx, Ask::Look, nodes).await {
                Ok(answers) => answers,
                Err(err) => panic!("nothing is wrong, and yet all is unknown: {err:?}"),
            };
            members.extend(nodes.iter().zip(answers).map(|(node, answer)| {
                let node = match &answer {
                    Observation::Present(instance) => with_id(node, &instance.provider_id),
                    Observation::Gone(_) | Observation::Unknown(_) => node.clone(),
                };
                Member { node, instance: Arc::new(answer) }
            }));
        }
        self.members(members);
    }

    /// All that the engine knows of a Service.
    pub fn progress(&self, service: &Service) -> Option<Progress> {
        self.life.engine.progress(&service.id)
    }

    /// The addresses that a Service was last seen with.
    pub fn ingress(&self, service: &Service) -> &[IngressPoint] {
        self.wanted.get(&service.id).map_or(&[], |wanted| &wanted.service.ingress)
    }

    /// What the cloud has of this process's cluster, a line each.
    pub async fn snapshot(&self) -> Vec<String> {
        self.harness.snapshot(self.cluster).await
    }

    /// What bears our mark, as the provider says it.
    pub async fn inventory(&self) -> Vec<Owned> {
        match self.life.engine.inventory().await {
            Ok(owned) => owned,
            Err(err) => panic!("nothing is wrong, and yet there is no inventory: {err:?}"),
        }
    }

    /// What would be done now by a process that has just started: of each unit whose turn it is.
    pub async fn rehearse(&self) -> Vec<Rehearsed> {
        rehearse(&self.life.converger, self.wants(), Arc::clone(&self.members)).await
    }

    /// Waits until everything is as wanted: done or gone by the engine's word, and with nothing left
    /// to do by a fresh look. Panics where something is refused, or the harness's patience ends.
    pub async fn settled(&mut self) {
        self.settled_but(&[]).await;
    }

    /// As [`settled`](Self::settled), and these may be in trouble: they keep what they have.
    pub async fn settled_but(&mut self, others: &[&Service]) {
        let began = Instant::now();
        loop {
            let pending = match self.pending(others) {
                Some(pending) => pending,
                None => match self.left_to_do(others).await {
                    None => break,
                    Some(left) => left,
                },
            };
            let patience = self.harness.patience();
            if began.elapsed() > patience {
                let left = self.left_to_do(others).await.unwrap_or_default();
                panic!("not settled after {patience:?}: {pending}; {left}");
            }
            self.tick().await;
        }
        self.write_back();
    }

    /// Waits until everything is as wanted by the engine's word alone: what somebody else did behind
    /// its back may be found by the next look only.
    pub async fn said_to_be_done(&self) {
        let began = Instant::now();
        while let Some(pending) = self.pending(&[]) {
            let patience = self.harness.patience();
            assert!(began.elapsed() < patience, "not done after {patience:?}: {pending}");
            self.tick().await;
        }
    }

    async fn tick(&self) {
        self.life.go();
        let _ = timeout(TICK, self.life.desk.news.notified()).await;
    }

    /// What is not as wanted by the engine's word.
    fn pending(&self, others: &[&Service]) -> Option<String> {
        self.wanted.values().find_map(|Wanted { aim, service, .. }| {
            if *aim == Aim::Keep || others.iter().any(|other| other.id == service.id) {
                return None;
            }
            hindrance(&service.id, *aim, self.progress(service).as_ref())
        })
    }

    /// What a fresh look finds to do.
    async fn left_to_do(&self, others: &[&Service]) -> Option<String> {
        let is_other = |id: &ObjectId| others.iter().any(|other| other.id == *id);
        let wants = self.wants().into_iter();
        let wants = wants.map(|want| if is_other(want.id()) { want.kept() } else { want });
        let members = Arc::clone(&self.members);
        let rehearsed = rehearse(&self.life.converger, wants.collect(), members).await;
        left_of(&rehearsed)
    }

    /// Writes on the objects what the controller would write, and forgets those that are gone.
    fn write_back(&mut self) {
        let mut gone = Vec::new();
        for (id, wanted) in &mut self.wanted {
            let Some(progress) = self.life.engine.progress(id) else { continue };
            match wanted.aim {
                Aim::Present => wanted.write(&progress),
                Aim::Absent if progress.is_gone => gone.push(id.clone()),
                Aim::Absent | Aim::Keep => {}
            }
        }
        for id in gone {
            self.wanted.remove(&id);
            self.life.engine.forget(&id);
        }
    }

    /// Waits until the engine says why a Service does not get on.
    pub async fn trouble(&self, service: &Service) -> Arc<CloudError> {
        let began = Instant::now();
        loop {
            let progress = self.progress(service);
            if let Some(trouble) = progress.as_ref().and_then(|it| it.trouble.as_ref()) {
                return Arc::clone(&trouble.error);
            }
            // A request may hang for as long as that before it is one.
            let patience = self.harness.patience() + REQUEST_LIMIT;
            assert!(began.elapsed() < patience, "{} is in no trouble: {progress:?}", service.id);
            self.tick().await;
        }
    }

    /// Lets the engine look at everything once more, and waits until it has.
    pub async fn look_again(&self) {
        self.life.go();
        let began = Instant::now();
        let annotations = self.harness.annotations();
        for wanted in self.wanted.values().filter(|wanted| wanted.aim != Aim::Keep) {
            let service = &wanted.service;
            let units = self.life.converger.units(&wanted.want(&annotations)).len();
            let heard = self.life.desk.heard_of(&service.id);
            self.life.engine.again(&service.id);
            while self.life.desk.heard_of(&service.id) < heard + units {
                let patience = self.harness.patience();
                assert!(began.elapsed() < patience, "{} was not looked at again", service.id);
                self.tick().await;
            }
        }
    }

    /// Ends the process wherever it is, and starts another that knows what is wanted and no more.
    pub async fn restart(&mut self) {
        let provider = match self.harness.process(self.cluster) {
            Ok(provider) => provider,
            Err(Unsupported) => panic!("a harness can start again what it has started"),
        };
        let next = begin(self.harness, provider).await;
        std::mem::replace(&mut self.life, next).end().await;
        self.heard = 0;
        self.life.engine.members(Arc::clone(&self.members));
        for wanted in self.wanted.values() {
            self.tell(wanted);
        }
    }

    /// Cuts the process off at this change, counted from 1 and from now. See
    /// [`until_cut`](Self::until_cut).
    pub fn cut(&self, at: usize, when: Cut) {
        self.life.watch.cut(at, when);
    }

    /// Waits until the process is cut off; false where all is settled before. Then
    /// [`restart`](Self::restart) is the crash.
    pub async fn until_cut(&mut self) -> bool {
        self.until_reached().await
    }

    /// Holds up this change and those behind it before they are sent, counted from 1 and from now,
    /// and waits until the first is about to be; false where all is settled before.
    pub async fn until_held(&mut self, at: usize, act: impl FnOnce(&mut Self)) -> bool {
        self.life.watch.hold(at);
        act(self);
        self.until_reached().await
    }

    async fn until_reached(&mut self) -> bool {
        self.life.go();
        let watch = Arc::clone(&self.life.watch);
        let reached = async {
            // What is left of an earlier time says nothing of this one.
            while !watch.is_reached() {
                watch.reached.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = reached => true,
            () = self.settled() => false,
        }
    }

    /// Lets go what is held up.
    pub fn release(&self) {
        self.life.watch.release();
    }

    /// The lines of the changes since this was last asked, or since the process started.
    pub fn sent(&mut self) -> Vec<String> {
        let lines = self.life.watch.lines(self.heard);
        self.heard = self.life.watch.count();
        lines
    }

    /// Of those that [`sent`](Self::sent) would say, the ones that stop traffic.
    pub fn interruptions(&self) -> Vec<String> {
        self.life.watch.interruptions(self.heard)
    }
}

/// A life of a provider that makes load balancers.
async fn begin(
    harness: &impl LoadBalancerHarness,
    provider: Arc<dyn CloudProvider>,
) -> Life<LoadBalancerSpec> {
    let (facts, lag) = (harness.facts(), harness.lag());
    Life::begin(provider, &facts, lag, <dyn CloudProvider>::load_balancers).await
}

/// The first steps of what was rehearsed, as lines.
pub(crate) fn first_lines(rehearsed: &[Rehearsed]) -> Vec<String> {
    let mut lines = Vec::new();
    for Rehearsed { unit, plan, .. } in rehearsed {
        let plan = match plan {
            Ok(plan) => plan,
            Err(err) => panic!("nothing is wrong, and yet {unit} has no plan: {err:?}"),
        };
        let stage = plan.stages.iter().find(|stage| !stage.is_empty());
        lines.extend(stage.into_iter().flatten().map(|step| step.change.to_string()));
    }
    lines
}

/// What was asked of the harness, or the end of the behaviour.
pub(crate) fn offered<T>(answer: Result<T, Unsupported>, what: &str) -> T {
    match answer {
        Ok(value) => value,
        Err(Unsupported) => not_offered(what),
    }
}
