//! The service controller: gives Services of type `LoadBalancer` what they ask for.
//!
//! What is to be made in the cloud is the provider's plan and the engine's work; here Services are
//! read, wants are handed over, and what becomes of them is written on the Services. Each Service is
//! seen to by one task at a time.

pub mod act;
pub mod claims;
mod counted;
pub mod decide;
mod desk;
pub mod members;
mod orphans;
pub mod rehearse;
mod roster;
pub mod spec;
pub mod tell;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::act::Patch;
use self::claims::Claims;
use self::counted::{what, word};
use self::decide::{Case, Decision, Event, Hand, decide};
use self::desk::{Desk, File};
use self::roster::{News, Roster};
use super::progress::Progress as Health;
use super::wanting::{pause_after, see_to_each};
use super::write::{WriteClient, code, refusal};
use crate::cloud::{
    Annotations, CloudProvider, Converger, Identity, LoadBalancerSpec, Needs, ObjectId, Urgency,
    Want,
};
use crate::cluster::client::{Reason, is_closed};
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::keys;
use crate::cluster::nodes::Nodes;
use crate::cluster::service::{Service, ServiceKey};
use crate::cluster::services::Services;
use crate::converge::{self, Aim, Engine, Office, Timing};
use crate::fleet::Fleet;
use crate::governor::Governor;
use crate::telemetry::{ConvergeMetrics, ServiceMetrics};

/// How long it takes until new words for a failure that passes by itself are worth a write.
const REPEAT: Duration = Duration::from_mins(1);

/// What the controller is told by flags and by the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--concurrent-service-syncs`: units of load balancers worked on at once, and writes to the API
    /// server under way at once.
    pub workers: NonZeroU16,
    /// Whose Services are ours.
    pub claims: Claims,
    /// `--load-balancer-drift-interval`.
    pub drift: Duration,
    /// What the provider reads of a Node.
    pub needs: Needs,
    /// The annotations that the provider reads.
    pub annotations: Annotations,
}

/// Everything that the controller works with.
#[derive(Debug)]
pub struct Parts {
    /// All Services of interest.
    pub services: Arc<Services>,
    /// All Nodes.
    pub nodes: Arc<Nodes>,
    /// The machines behind them.
    pub fleet: Arc<Fleet>,
    /// Says which nodes are ours.
    pub cloud: Arc<dyn CloudProvider>,
    /// What makes load balancers.
    pub balancers: Converger<LoadBalancerSpec>,
    /// Every request to the cloud passes it.
    pub governor: Governor,
    /// For writes; passes the mutation gate.
    pub client: WriteClient,
    /// For events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: ServiceMetrics,
    /// What the engine counts.
    pub converge: ConvergeMetrics,
}

/// The controller.
#[derive(Debug)]
pub struct ServiceController {
    settings: Settings,
    services: Arc<Services>,
    nodes: Arc<Nodes>,
    client: WriteClient,
    metrics: ServiceMetrics,
    engine: Arc<Engine<LoadBalancerSpec>>,
    roster: Roster,
    desk: Arc<Desk>,
    writers: Semaphore,
    health: Health,
}

impl ServiceController {
    /// The controller, fed by the watches from now on.
    pub fn new(parts: Parts, settings: Settings) -> Arc<Self> {
        let Parts {
            services,
            nodes,
            fleet,
            cloud,
            balancers,
            governor,
            client,
            recorder,
            metrics,
            converge,
        } = parts;
        let desk =
            Arc::new(Desk::new(&services, recorder, metrics.clone(), settings.claims.clone()));
        let feed = Arc::clone(&desk);
        services.on_change(move |change| feed.take(change));
        let timing = Timing { drift: settings.drift, ..Timing::default() };
        let engine = Engine::new(
            balancers,
            governor,
            converge::Settings { workers: settings.workers, timing },
            Arc::clone(&desk) as Arc<dyn Office>,
            converge,
        );
        let roster = Roster::new(Arc::clone(&nodes), fleet, cloud, settings.needs.clone());
        let writers = Semaphore::new(settings.workers.get().into());
        Arc::new(Self {
            settings,
            services,
            nodes,
            client,
            metrics,
            engine: Arc::new(engine),
            roster,
            desk,
            writers,
            health: Health::default(),
        })
    }

    /// What has the load balancers made; for whoever wants to know what would be done.
    pub fn engine(&self) -> &Arc<Engine<LoadBalancerSpec>> {
        &self.engine
    }

    /// Whether it gets on, for the health check of its name.
    pub fn check(&self) -> Result<(), String> {
        self.health.check()
    }

    /// Works until stopped; then finishes the writes that are under way.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.prepare() => {}
        }
        let engine = Arc::clone(&self.engine).run(stop.clone());
        let nodes = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.follow_nodes() => {}
            }
        };
        let orphans = async {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.report_orphans() => {}
            }
        };
        futures::join!(engine, nodes, orphans, Arc::clone(&self).see_to_all(&stop));
    }

    /// Everything that a plan is made from is there before the first one is made: an empty cache is
    /// not an empty cluster, and who is not known yet must not lose what it shares with others.
    pub async fn prepare(&self) {
        self.services.listed().await;
        self.nodes.listed().await;
        self.engine.members(self.roster.look().await);
        let mut abandoned = 0;
        for service in self.services.all() {
            let decision = self.decide(&service, &File::default());
            if matches!(decision.now, Hand::Nothing) {
                let is_held = service.has_finalizer(keys::FINALIZER) && service.ready().is_some();
                abandoned += usize::from(is_held);
                continue;
            }
            self.hand(&service.id(), decision.now);
            // It may go before it is seen to.
            let current = Some(Arc::new(service.identity()));
            self.desk.files().entry(service.key.clone()).or_default().current = current;
        }
        if abandoned > 0 {
            // Another process of ours may serve them, so they are not ours to touch.
            warn!(
                count = abandoned,
                "Services bear our condition and finalizer and are of classes that are not served \
                 here: unless another process serves them, their deletion will wait; see \
                 --load-balancer-class and --serve-classless-services"
            );
        }
    }

    async fn follow_nodes(&self) {
        loop {
            match self.roster.next().await {
                News::Changed { members, waited } => {
                    debug!(members = members.len(), "members changed");
                    self.metrics.nodes_passed(waited);
                    self.engine.members(members);
                }
                News::Renewed { members } => self.engine.renew_members(members),
            }
        }
    }

    async fn see_to_all(self: Arc<Self>, stop: &CancellationToken) {
        see_to_each(&self.desk.queue, &self.health, stop, |key| {
            let (this, stop) = (Arc::clone(&self), stop.clone());
            async move {
                this.see_to(&key, &stop).await;
                this.desk.queue.done(&key);
            }
        })
        .await;
    }

    /// Sees to the Service of this name, and to those that bore it before.
    async fn see_to(&self, key: &ServiceKey, stop: &CancellationToken) {
        // Nobody else works on this key.
        let mut file = self.desk.files().remove(key).unwrap_or_default();
        let service = self.services.get(key);
        let uid = service.as_ref().map(|service| &service.uid);
        if let Some(current) = file.current.take_if(|current| Some(&current.id.uid) != uid) {
            self.count(&mut file, None);
            let former = std::mem::take(&mut file.former);
            file = File { former, ..File::default() };
            if self.engine.progress(&current.id).is_some() {
                file.former.push(current);
            }
        }
        file.former.retain(|former| !self.clear(former));
        if let Some(service) = service {
            self.sync(&service, &mut file, stop).await;
        }
        if file.current.is_some() || !file.former.is_empty() {
            self.desk.files().insert(key.clone(), file);
        }
    }

    /// Takes down what is left of an object that is gone. True when nothing is.
    fn clear(&self, former: &Arc<Identity>) -> bool {
        let progress = self.engine.progress(&former.id);
        // What is said of one that was to be there says nothing: something may be on its way.
        if progress.is_some_and(|progress| progress.aim == Aim::Absent && progress.is_gone) {
            info!(service = %former.id, uid = %former.id.uid, "nothing is left of a Service that is gone");
            self.engine.forget(&former.id);
            return true;
        }
        self.engine.want(Want::Absent(Arc::clone(former)), 0);
        false
    }

    fn decide(&self, service: &Service, file: &File) -> Decision {
        let known = self.engine.progress(&service.id());
        let case = Case {
            service,
            digest: spec::digest(service, &self.settings.annotations),
            claims: &self.settings.claims,
            is_stranger: self.desk.is_stranger(service),
            known: known.as_ref(),
            said: &file.said,
            members: self.engine.member_count(),
            may_repeat: file.told.is_none_or(|told| told.elapsed() >= REPEAT),
        };
        decide(&case, spec::read(service, &self.settings.annotations))
    }

    fn hand(&self, id: &ObjectId, hand: Hand) {
        match hand {
            Hand::Nothing => {}
            Hand::Want(want, digest) => self.engine.want(want, digest),
            Hand::Forget => self.engine.forget(id),
        }
    }

    /// Brings one Service to where it should be by what is known.
    async fn sync(&self, service: &Service, file: &mut File, stop: &CancellationToken) {
        if file.written.as_ref().is_some_and(|written| service.version.is_older_than(written)) {
            // Our own write comes back first.
            return;
        }
        let id = service.id();
        let Decision { now, patch, then, events, said } = self.decide(service, file);
        if !matches!(now, Hand::Nothing) || file.current.is_some() {
            file.current = Some(Arc::new(service.identity()));
        }
        self.hand(&id, now);
        if !patch.is_empty() {
            let turn = tokio::select! {
                biased;
                // What is under way is finished; nothing is begun.
                () = stop.cancelled() => None,
                turn = self.writers.acquire() => turn.ok(),
            };
            if turn.is_none() {
                return;
            }
            let goes_on = match self.write(service, file, &patch).await {
                Written::Yes => true,
                // Without a finalizer nothing may be made for it: who comes after us would not
                // know of it. The next look tells what became of it.
                Written::Gone => matches!(then, Hand::Forget),
                Written::No => false,
            };
            if !goes_on {
                return;
            }
        }
        self.count(file, word(service, &patch));
        for event in events {
            self.desk.say(&service.involved(), event);
        }
        file.said = said;
        let is_over = matches!(then, Hand::Forget);
        self.hand(&id, then);
        if is_over {
            // What our last write made is remembered until the watch has shown it.
            self.count(file, None);
        }
    }

    /// Writes on the Service.
    async fn write(&self, service: &Service, file: &mut File, patch: &Patch) -> Written {
        match act::write(&self.client.0, service, patch, Timestamp::now()).await {
            Ok(version) => {
                debug!(service = %service.key, ?patch, "service written");
                file.written = Some(version);
                file.refused = 0;
                if !patch.conditions.is_empty() {
                    file.told = Some(Instant::now());
                }
                self.metrics.write(what(patch));
                if service.ingress.is_empty()
                    && patch.ingress.as_ref().is_some_and(|it| !it.is_empty())
                {
                    let age = SystemTime::now().duration_since(service.created);
                    self.metrics.addressed(age.unwrap_or_default());
                    info!(service = %service.key, "service has its address");
                }
                Written::Yes
            }
            Err(err) if code(&err) == 404 || act::is_made_anew(&err) => {
                debug!(service = %service.key, "service is gone");
                Written::Gone
            }
            Err(err) => {
                if is_closed(&err) {
                    return Written::No;
                }
                let code = code(&err);
                self.metrics.refused(refusal(code));
                file.refused = file.refused.saturating_add(1);
                let pause = pause_after(file.refused);
                let name = &service.key;
                if self.client.is_known_lack(&err) {
                    debug!(service = %name, error = %Reason(&err), ?pause, "service not written");
                } else {
                    warn!(service = %name, error = %Reason(&err), ?pause, "service not written");
                }
                if matches!(code, 403 | 422) && file.refused == 3 {
                    let message = format!("the API server refuses the write: {}", Reason(&err));
                    let (kind, reason) = (EventType::Warning, "ServiceNotUpdated");
                    self.desk.say(&service.involved(), Event { kind, reason, message });
                }
                self.desk.queue.add_after(service.key.clone(), Urgency::Refresh, pause);
                Written::No
            }
        }
    }

    /// Counts it under another word.
    fn count(&self, file: &mut File, state: Option<&'static str>) {
        if file.counted == state {
            return;
        }
        if let Some(before) = std::mem::replace(&mut file.counted, state) {
            self.metrics.balancers(before, -1);
        }
        if let Some(state) = state {
            self.metrics.balancers(state, 1);
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    /// The Service is gone, or another one has its name: and with it the finalizer, which is what
    /// was to be when it was taken off.
    Gone,
    No,
}
