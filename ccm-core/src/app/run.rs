//! The life of the process, from the first look at the lease to its release.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::flags::{Options, Serving};
use super::leadership::{Herald, Leadership};
use super::logging::Verbosity;
use super::reload::{Built, Reload};
use super::serve::{Access, ApiServer, Checks, Endpoints, REVIEW_TIMEOUT, Server};
use super::tasks::{GRACE, Tasks, on_signal};
use super::wiring::{Controllers, Metrics};
use super::{NAME, VERSION, user_agent};
use crate::cloud::{BoxError, CloudProvider, Registration};
use crate::cluster::client::ClusterConfig;
use crate::cluster::events::Recorder;
use crate::cluster::gate::Gate;
use crate::cluster::lease;
use crate::telemetry::{AccessMetrics, ApiMetrics};

/// Runs until a signal, a lost lease or a task that fails. `second` is the lease of a migration, which
/// is held too.
pub(super) async fn run(
    options: Options,
    registration: &Registration,
    built: Built,
    second: Option<String>,
    verbosity: Verbosity,
) -> Result<(), BoxError> {
    info!(version = VERSION, provider = built.cloud.name(), "starting");
    let mut tasks = Tasks::default();
    let stop = tasks.stop();
    tasks.spawn_unending("signals", on_signal(stop.clone())?);

    let cluster = ClusterConfig::load(
        options.cluster.kubeconfig.as_deref(),
        options.cluster.master.as_deref(),
        &user_agent(),
    )?
    .with(options.cluster.manners());
    let mut registry = Registry::default();
    let cluster = cluster.counted(ApiMetrics::register(&mut registry));
    let metrics = Metrics::register(&mut registry, registration, &*built.cloud);
    let reload = Reload::new(registration, &options, &built, metrics.process.clone());
    let access = AccessMetrics::register(&mut registry);
    let checks = Checks::default();
    let (mut leadership, gates) =
        Leadership::stand(&cluster, options.leader_election.as_ref(), second, &metrics.process)?;
    leadership.add_checks(&checks);
    if let Some(serving) = &options.serving {
        let endpoints = Endpoints {
            given: options.given.clone(),
            verbosity: serving.profiling.then_some(verbosity),
            ..Endpoints::new(checks.clone(), Arc::new(registry))
        };
        let server = Server::new(serving.clone(), endpoints, access_by(&cluster, serving, access)?);
        tasks.spawn_last("serve", server.run(tasks.stop(), tasks.close()));
    }

    metrics.at_start();
    leadership.nobody_leads(&metrics.process);
    let recorder = Recorder::new(
        cluster.mutating_client("event-broadcaster", &gates.first)?,
        NAME,
        &lease::host(),
    );
    let herald = Herald { recorder: &recorder, metrics: &metrics.process };
    let early: Option<Result<(), BoxError>> = tokio::select! {
        biased;
        () = stop.cancelled() => Some(Ok(())),
        ended = tasks.first_end() => Some(Err(ended.into())),
        acquired = leadership.acquire(&herald) => acquired.err().map(Err),
    };
    if let Some(outcome) = early {
        // A claim may just have been on its way.
        leadership.resign(&herald).await;
        stop.cancel();
        return outcome.and(tasks.join(GRACE).await.map_err(Into::into));
    }

    let lead = Lead {
        cluster: &cluster,
        gate: &gates.all,
        recorder: &recorder,
        metrics: &metrics,
        options: &options,
        registration,
        checks: &checks,
        stop: &stop,
    };
    let work = async {
        let mut leading = pin!(lead.run(built.cloud, reload));
        let ended = tokio::select! {
            biased;
            outcome = &mut leading => return outcome,
            ended = tasks.first_end() => ended,
        };
        stop.cancel();
        // Said by whoever ended first.
        let _ = leading.await;
        Err(ended.into())
    };
    let ended = tokio::select! {
        // Keeps renewing while the tasks finish, and ends at once when the lease is lost: somebody
        // else may be leading by then.
        lost = leadership.hold() => Err(lost),
        outcome = work => Ok(outcome),
    };
    stop.cancel();
    leadership.resign(&herald).await;
    let outcome = ended?.and(tasks.join(GRACE).await.map_err(Into::into));
    if outcome.is_ok() {
        info!("stopped");
    }
    outcome
}

/// What the controllers are made from, again and again.
struct Lead<'a> {
    cluster: &'a ClusterConfig,
    gate: &'a Gate,
    recorder: &'a Recorder,
    metrics: &'a Metrics,
    options: &'a Options,
    registration: &'a Registration,
    checks: &'a Checks,
    stop: &'a CancellationToken,
}

impl Lead<'_> {
    /// Runs the controllers until the process stops or one of their tasks ends; with another
    /// provider from the time when its configuration has changed.
    async fn run(
        &self,
        mut cloud: Arc<dyn CloudProvider>,
        mut reload: Reload<'_>,
    ) -> Result<(), BoxError> {
        // While somebody else led.
        cloud = reload.look_again().unwrap_or(cloud);
        loop {
            let mut tasks = Tasks::within(self.stop);
            let end = tasks.stop();
            self.controllers(&cloud).start(&mut tasks, self.checks)?;
            let mut joined = pin!(tasks.join(GRACE));
            cloud = tokio::select! {
                biased;
                ended = &mut joined => return ended.map_err(Into::into),
                cloud = reload.next() => cloud,
            };
            end.cancel();
            joined.await?;
            if self.stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    fn controllers(&self, cloud: &Arc<dyn CloudProvider>) -> Controllers<'_> {
        Controllers {
            cluster: self.cluster,
            gate: self.gate,
            recorder: self.recorder,
            metrics: self.metrics,
            options: self.options,
            registration: self.registration,
            cloud: Arc::clone(cloud),
        }
    }
}

/// Who is asked about the clients of the endpoints.
fn access_by(
    cluster: &ClusterConfig,
    serving: &Serving,
    metrics: AccessMetrics,
) -> Result<Access, BoxError> {
    let of = |flag, kubeconfig: Option<&Path>| match kubeconfig {
        Some(path) => ClusterConfig::load_for(flag, path, &user_agent())
            .map(|config| config.counted(cluster.metrics())),
        None => Ok(cluster.clone()),
    };
    let authentication =
        of("--authentication-kubeconfig", serving.authentication.kubeconfig.as_deref())?;
    let authorization =
        of("--authorization-kubeconfig", serving.authorization.kubeconfig.as_deref())?;
    let reviewer = ApiServer::new(
        authentication.asking_client("authentication", REVIEW_TIMEOUT)?,
        authorization.asking_client("authorization", REVIEW_TIMEOUT)?,
    );
    let settings = Some(authentication.client("authentication")?);
    Ok(Access { reviewer: Arc::new(reviewer), settings, metrics })
}
