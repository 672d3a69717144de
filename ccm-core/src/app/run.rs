//! The life of the process, from the first look at the lease to its release.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tracing::{info, warn};

use super::flags::{LeaderElection, Options};
use super::serve::{Checks, Scope, Server};
use super::tasks::{GRACE, Tasks, on_signal};
use super::wiring::{Controllers, Metrics};
use super::{NAME, VERSION, user_agent};
use crate::cloud::{BoxError, CloudProvider, Registration};
use crate::cluster::client::ClusterConfig;
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::gate::{Gate, GateKeeper};
use crate::cluster::lease::{self, Election, Elector, Lost, Timing};
use crate::report::Chain;
use crate::telemetry::ProcessMetrics;

/// How long the last events may take on the way out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until a signal, a lost lease or a task that fails.
pub async fn run(
    options: Options,
    registration: &Registration,
    cloud: Arc<dyn CloudProvider>,
) -> Result<(), BoxError> {
    info!(version = VERSION, provider = cloud.name(), "starting");
    let mut tasks = Tasks::default();
    let stop = tasks.stop();
    tokio::spawn(on_signal(stop.clone())?);

    let cluster = ClusterConfig::load(
        options.cluster.kubeconfig.as_deref(),
        options.cluster.master.as_deref(),
        &user_agent(),
    )?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, registration, &*cloud);
    let checks = Checks::default();
    let (mut leadership, gate) = match &options.leader_election {
        Some(election) => {
            let keeper = GateKeeper::new();
            let gate = keeper.gate();
            (Leadership::Elected(Box::new(elector(&cluster, election, keeper)?)), gate)
        }
        None => (Leadership::Alone, Gate::always_open()),
    };
    leadership.add_check(&checks);
    if let Some(serving) = &options.serving {
        let server = Server::new(serving.address, checks.clone(), Arc::new(registry));
        tasks.spawn_last("serve", server.run(tasks.stop(), tasks.close()));
    }

    metrics.nothing_runs();
    leadership.count(&metrics.process, false);
    let early = tokio::select! {
        biased;
        () = stop.cancelled() => Some(Ok(())),
        ended = tasks.first_end() => Some(Err(ended.into())),
        () = leadership.acquire() => None,
    };
    if let Some(outcome) = early {
        // A claim may just have been on its way.
        leadership.release().await;
        stop.cancel();
        return outcome.and(tasks.join(GRACE).await.map_err(Into::into));
    }
    let recorder =
        Recorder::new(cluster.mutating_client("event-broadcaster", &gate)?, NAME, &lease::host());
    leadership.announce(&recorder, &metrics.process, true);

    let controllers = Controllers {
        cluster: &cluster,
        gate: &gate,
        recorder: &recorder,
        metrics: &metrics,
        options: &options,
        registration,
        cloud,
    };
    let outcome = match controllers.start(&mut tasks, &checks) {
        Ok(()) => tokio::select! {
            // Keeps renewing while the tasks finish, and ends at once when the lease is lost:
            // somebody else may be leading by then.
            lost = leadership.hold() => Err(lost.into()),
            ended = tasks.join(GRACE) => ended.map_err(Into::into),
        },
        Err(err) => Err(err),
    };
    leadership.announce(&recorder, &metrics.process, false);
    recorder.flush(LAST_WORDS).await;
    leadership.release().await;
    if outcome.is_ok() {
        info!("stopped");
    }
    outcome
}

fn elector(
    cluster: &ClusterConfig,
    election: &LeaderElection,
    keeper: GateKeeper,
) -> Result<Elector, BoxError> {
    let timing =
        Timing::new(election.lease_duration, election.renew_deadline, election.retry_period)?;
    let client = cluster.lease_client(timing.request_timeout())?;
    let election = Election {
        namespace: election.namespace.clone(),
        name: election.name.clone(),
        identity: lease::identity(),
        timing,
    };
    Ok(Elector::new(client, election, keeper))
}

/// Why this process may write.
enum Leadership {
    /// It holds the lease.
    Elected(Box<Elector>),
    /// `--leader-elect=false`: its operator says that there is no other.
    Alone,
}

impl Leadership {
    fn add_check(&self, checks: &Checks) {
        if let Self::Elected(elector) = self {
            let health = elector.health();
            let check = move || health.check().map_err(|stale| stale.to_string());
            checks.add("leaderElection", Scope::Live, check);
        }
    }

    async fn acquire(&mut self) {
        if let Self::Elected(elector) = self {
            elector.acquire().await;
        }
    }

    async fn hold(&mut self) -> Lost {
        match self {
            Self::Elected(elector) => elector.hold().await,
            Self::Alone => std::future::pending().await,
        }
    }

    fn count(&self, metrics: &ProcessMetrics, leads: bool) {
        if let Self::Elected(elector) = self {
            metrics.leads(&elector.involved().name, leads);
        }
    }

    /// Tells everybody whether we lead.
    fn announce(&self, recorder: &Recorder, metrics: &ProcessMetrics, leads: bool) {
        let Self::Elected(elector) = self else { return };
        self.count(metrics, leads);
        let (about, identity) = (elector.involved(), elector.identity());
        let what = if leads { "became leader" } else { "stopped leading" };
        recorder.event(&about, EventType::Normal, "LeaderElection", format!("{identity} {what}"));
    }

    /// Lets the next replica lead at once.
    async fn release(&mut self) {
        if let Self::Elected(elector) = self
            && let Err(err) = elector.release().await
        {
            warn!(error = %Chain(&err), "lease not released");
        }
    }
}
