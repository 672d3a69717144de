//! Why this process may write: the leases that it holds.

use tracing::{info, warn};

use super::flags::LeaderElection;
use super::serve::{Checks, Scope};
use crate::cloud::BoxError;
use crate::cluster::client::ClusterConfig;
use crate::cluster::events::{EventType, Recorder};
use crate::cluster::gate::{Gate, GateKeeper};
use crate::cluster::lease::{self, Election, Elector, Lost, Timing};
use crate::report::Chain;
use crate::telemetry::ProcessMetrics;

/// Why this process may write.
pub(super) enum Leadership {
    /// It holds the lease, and in a migration that of the program which the controllers come from.
    Elected {
        /// The lease. Its gate is the one that mutations pass.
        main: Box<Elector>,
        /// That of the migration, which is competed for once the other is held.
        migration: Option<Box<Elector>>,
    },
    /// `--leader-elect=false`: its operator says that there is no other.
    Alone,
}

impl Leadership {
    /// A candidate, and the gate that is open while it leads.
    pub(super) fn stand(
        cluster: &ClusterConfig,
        election: Option<&LeaderElection>,
        second: Option<String>,
    ) -> Result<(Self, Gate), BoxError> {
        let Some(election) = election else { return Ok((Self::Alone, Gate::always_open())) };
        let keeper = GateKeeper::new();
        let gate = keeper.gate();
        let main = Box::new(elector(cluster, election, &election.name, keeper)?);
        let migration = match second {
            // Both leases have the same times, and whatever keeps one from being renewed keeps the
            // other: one gate is enough.
            Some(name) => Some(Box::new(elector(cluster, election, &name, GateKeeper::new())?)),
            None => None,
        };
        Ok((Self::Elected { main, migration }, gate))
    }

    fn electors(&self) -> impl Iterator<Item = &Elector> {
        let (main, migration) = match self {
            Self::Elected { main, migration } => (Some(&**main), migration.as_deref()),
            Self::Alone => (None, None),
        };
        main.into_iter().chain(migration)
    }

    pub(super) fn add_checks(&self, checks: &Checks) {
        for (elector, name) in self.electors().zip(["leaderElection", "leaderMigration"]) {
            let health = elector.health();
            let check = move || health.check().map_err(|stale| stale.to_string());
            checks.add(name, Scope::Live, check);
        }
    }

    /// Returns once every lease is held. An error: the first was lost before the second was had.
    pub(super) async fn acquire(&mut self) -> Result<(), Lost> {
        let Self::Elected { main, migration } = self else { return Ok(()) };
        main.acquire().await;
        let Some(migration) = migration else { return Ok(()) };
        info!(lease = migration.involved().name, "waiting for the lease of the migration");
        tokio::select! {
            biased;
            lost = main.hold() => Err(lost),
            () = migration.acquire() => Ok(()),
        }
    }

    /// Renews every lease until one is lost.
    pub(super) async fn hold(&mut self) -> Lost {
        match self {
            Self::Elected { main, migration: None } => main.hold().await,
            Self::Elected { main, migration: Some(migration) } => tokio::select! {
                lost = main.hold() => lost,
                lost = migration.hold() => lost,
            },
            Self::Alone => std::future::pending().await,
        }
    }

    pub(super) fn count(&self, metrics: &ProcessMetrics, leads: bool) {
        for elector in self.electors() {
            metrics.leads(&elector.involved().name, leads);
        }
    }

    /// Tells everybody whether we lead.
    pub(super) fn announce(&self, recorder: &Recorder, metrics: &ProcessMetrics, leads: bool) {
        self.count(metrics, leads);
        let what = if leads { "became leader" } else { "stopped leading" };
        for elector in self.electors() {
            let (about, identity) = (elector.involved(), elector.identity());
            let note = format!("{identity} {what}");
            recorder.event(&about, EventType::Normal, "LeaderElection", note);
        }
    }

    /// Lets the next replica lead at once.
    pub(super) async fn release(&mut self) {
        let Self::Elected { main, migration } = self else { return };
        // In the order in which they are competed for, the other way round.
        for elector in migration.iter_mut().chain([main]) {
            if let Err(err) = elector.release().await {
                warn!(error = %Chain(&err), "lease not released");
            }
        }
    }
}

fn elector(
    cluster: &ClusterConfig,
    election: &LeaderElection,
    name: &str,
    keeper: GateKeeper,
) -> Result<Elector, BoxError> {
    let timing =
        Timing::new(election.lease_duration, election.renew_deadline, election.retry_period)?;
    let client = cluster.lease_client(timing.request_timeout())?;
    let election = Election {
        namespace: election.namespace.clone(),
        name: name.to_owned(),
        identity: lease::identity(),
        timing,
    };
    Ok(Elector::new(client, election, keeper))
}
