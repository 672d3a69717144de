//! Why this process may write: the leases that it holds.

use std::time::Duration;

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

/// How long the last events may take on the way out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why this process may write.
pub(super) enum Leadership {
    /// It holds the lease, and in a migration that of the program which the controllers come from.
    Elected {
        /// The lease.
        main: Box<Candidate>,
        /// That of the migration, which is competed for once the other is held.
        migration: Option<Box<Candidate>>,
    },
    /// `--leader-elect=false`: its operator says that there is no other.
    Alone,
}

/// What is open while this process leads.
pub(super) struct Gates {
    /// While every lease is held: what mutations pass.
    pub(super) all: Gate,
    /// While the first is: events pass it, which say who leads and harm nobody.
    pub(super) first: Gate,
}

/// Who is told which leases we hold.
pub(super) struct Herald<'a> {
    pub(super) recorder: &'a Recorder,
    pub(super) metrics: &'a ProcessMetrics,
}

/// For one lease.
pub(super) struct Candidate {
    elector: Elector,
    /// Whether it has been said that we hold it.
    leads: bool,
}

impl Leadership {
    /// A candidate, and the gates that are open while it leads.
    pub(super) fn stand(
        cluster: &ClusterConfig,
        election: Option<&LeaderElection>,
        second: Option<String>,
        metrics: &ProcessMetrics,
    ) -> Result<(Self, Gates), BoxError> {
        let Some(election) = election else {
            let open = Gate::always_open();
            return Ok((Self::Alone, Gates { all: open.clone(), first: open }));
        };
        // One for both leases: who holds what is told by it.
        let identity = lease::identity();
        let keeper = GateKeeper::new();
        let first = keeper.gate();
        let main = candidate(cluster, election, &election.name, &identity, keeper, metrics)?;
        let Some(name) = second else {
            let gates = Gates { all: first.clone(), first };
            return Ok((Self::Elected { main, migration: None }, gates));
        };
        let keeper = GateKeeper::new();
        let all = first.clone().and(keeper.gate());
        let migration = Some(candidate(cluster, election, &name, &identity, keeper, metrics)?);
        Ok((Self::Elected { main, migration }, Gates { all, first }))
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let (main, migration) = match self {
            Self::Elected { main, migration } => (Some(&**main), migration.as_deref()),
            Self::Alone => (None, None),
        };
        main.into_iter().chain(migration)
    }

    pub(super) fn add_checks(&self, checks: &Checks) {
        for (candidate, name) in self.candidates().zip(["leaderElection", "leaderMigration"]) {
            let health = candidate.elector.health();
            let check = move || health.check().map_err(|stale| stale.to_string());
            checks.add(name, Scope::Live, check);
        }
    }

    /// Counts that no lease is held yet.
    pub(super) fn nobody_leads(&self, metrics: &ProcessMetrics) {
        for candidate in self.candidates() {
            metrics.leads(&candidate.elector.involved().name, false);
        }
    }

    /// Returns once every lease is held. An error: the first was lost before the second was had, or
    /// none can be had any more.
    pub(super) async fn acquire(&mut self, herald: &Herald<'_>) -> Result<(), BoxError> {
        let Self::Elected { main, migration } = self else { return Ok(()) };
        let Some(migration) = migration else {
            main.elector.acquire().await?;
            main.tell(herald, true);
            return Ok(());
        };
        tokio::select! {
            biased;
            acquired = main.elector.acquire() => acquired?,
            // Who leaves one of them behind when he dies leaves both: they run out together.
            never = migration.elector.observe() => match never {},
        }
        main.tell(herald, true);
        let lease = migration.elector.involved().name;
        info!(lease, "waiting for the lease of the migration");
        tokio::select! {
            biased;
            lost = main.elector.hold() => return Err(lost.into()),
            acquired = migration.elector.acquire() => acquired?,
        }
        migration.tell(herald, true);
        Ok(())
    }

    /// Renews every lease until one is lost. Mutations are held back from then on.
    pub(super) async fn hold(&mut self) -> Lost {
        match self {
            Self::Elected { main, migration: None } => main.elector.hold().await,
            Self::Elected { main, migration: Some(migration) } => tokio::select! {
                lost = main.elector.hold() => lost,
                lost = migration.elector.hold() => lost,
            },
            Self::Alone => std::future::pending().await,
        }
    }

    /// Tells everybody that we lead no more, and lets the next replica lead at once.
    pub(super) async fn resign(&mut self, herald: &Herald<'_>) {
        let Self::Elected { main, migration } = self else {
            herald.recorder.flush(LAST_WORDS).await;
            return;
        };
        for candidate in migration.iter_mut().chain([&mut *main]) {
            candidate.tell(herald, false);
        }
        herald.recorder.flush(LAST_WORDS).await;
        // In the order in which they are competed for, the other way round.
        for candidate in migration.iter_mut().chain([main]) {
            if let Err(err) = candidate.elector.release().await {
                warn!(error = %Chain(&err), "lease not released");
            }
        }
    }
}

impl Candidate {
    /// Says whether we hold the lease, where that has changed.
    fn tell(&mut self, herald: &Herald<'_>, leads: bool) {
        if self.leads == leads {
            return;
        }
        self.leads = leads;
        let about = self.elector.involved();
        herald.metrics.leads(&about.name, leads);
        let what = if leads { "became leader" } else { "stopped leading" };
        let note = format!("{} {what}", self.elector.identity());
        herald.recorder.event(&about, EventType::Normal, "LeaderElection", note);
    }
}

fn candidate(
    cluster: &ClusterConfig,
    election: &LeaderElection,
    name: &str,
    identity: &str,
    keeper: GateKeeper,
    metrics: &ProcessMetrics,
) -> Result<Box<Candidate>, BoxError> {
    let timing =
        Timing::new(election.lease_duration, election.renew_deadline, election.retry_period)?;
    let client = cluster.lease_client(timing.request_timeout())?;
    let election = Election {
        namespace: election.namespace.clone(),
        name: name.to_owned(),
        identity: identity.to_owned(),
        timing,
    };
    let elector =
        Elector::new(client, election, keeper).counting_slow_paths(metrics.slow_paths(name));
    Ok(Box::new(Candidate { elector, leads: false }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use axum::Json;
    use axum::body::Bytes;
    use http::{Method, StatusCode, Uri};
    use prometheus_client::registry::Registry;
    use serde_json::{Value, json};
    use tokio::time::timeout;

    use super::*;

    /// Leases by their names, as an API server keeps them.
    #[derive(Clone, Default)]
    struct Leases(Arc<Mutex<BTreeMap<String, Value>>>);

    impl Leases {
        /// Serves them. Gives the address.
        async fn serve(&self) -> String {
            let leases = self.clone();
            let answer = async move |method: Method, uri: Uri, body: Bytes| {
                let (status, body) = leases.answer(&method, &uri, &body);
                (status, Json(body))
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let router = axum::Router::new().fallback(answer);
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        }

        fn answer(&self, method: &Method, uri: &Uri, body: &[u8]) -> (StatusCode, Value) {
            let refused = |code: StatusCode, reason: &str| {
                let code_number = code.as_u16();
                let status = json!({"status": "Failure", "reason": reason, "message": reason, "code": code_number});
                (code, status)
            };
            let Some((_, rest)) = uri.path().split_once("/leases") else {
                return (StatusCode::CREATED, serde_json::from_slice(body).unwrap_or_default());
            };
            let mut leases = self.0.lock().unwrap();
            let stored = leases.get(rest.trim_start_matches('/')).cloned();
            if *method == Method::GET {
                return match stored {
                    _ if uri.query().is_some_and(|query| query.contains("watch=")) => {
                        refused(StatusCode::FORBIDDEN, "Forbidden")
                    }
                    Some(lease) => (StatusCode::OK, lease),
                    None => refused(StatusCode::NOT_FOUND, "NotFound"),
                };
            }
            let mut lease: Value = serde_json::from_slice(body).unwrap();
            let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
            if stored.as_ref().is_some_and(|stored| version(stored) != version(&lease)) {
                return refused(StatusCode::CONFLICT, "Conflict");
            }
            let next =
                stored.map_or(1, |old| version(&old).as_str().unwrap().parse::<u32>().unwrap() + 1);
            lease["metadata"]["resourceVersion"] = next.to_string().into();
            let name = lease["metadata"]["name"].as_str().unwrap().to_owned();
            leases.insert(name, lease.clone());
            (StatusCode::OK, lease)
        }

        fn holder(&self, lease: &str) -> String {
            let lease = self.0.lock().unwrap().get(lease).cloned().unwrap_or_default();
            lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
        }

        fn take(&self, lease: &str) {
            let mut leases = self.0.lock().unwrap();
            let lease = leases.get_mut(lease).unwrap();
            lease["spec"]["holderIdentity"] = "kube-controller-manager".into();
            lease["metadata"]["resourceVersion"] = "100".into();
        }
    }

    #[tokio::test]
    async fn of_two_leases_the_loss_of_either_stops_all_mutations_at_once() {
        for lost in ["ccm", "migration"] {
            let leases = Leases::default();
            let master = leases.serve().await;
            let cluster = ClusterConfig::load(None, Some(&master), "test").unwrap();
            let election = LeaderElection {
                name: "ccm".to_owned(),
                namespace: "kube-system".to_owned(),
                lease_duration: Duration::from_secs(30),
                renew_deadline: Duration::from_secs(20),
                retry_period: Duration::from_millis(200),
                migration: None,
            };
            let second = Some("migration".to_owned());
            let metrics = ProcessMetrics::register(&mut Registry::default());
            let (mut leadership, gates) =
                Leadership::stand(&cluster, Some(&election), second, &metrics).unwrap();
            let client = cluster.mutating_client("events", &gates.first).unwrap();
            let recorder = Recorder::new(client, "test", "here");
            let herald = Herald { recorder: &recorder, metrics: &metrics };
            let bound = Duration::from_secs(20);
            timeout(bound, leadership.acquire(&herald)).await.unwrap().unwrap();
            assert_eq!(leases.holder("ccm"), leases.holder("migration"), "one name for both");
            assert!(gates.all.is_open() && gates.first.is_open());

            leases.take(lost);
            let end = timeout(bound, leadership.hold()).await.unwrap();
            assert!(matches!(end, Lost::Taken { .. }), "{end}");
            assert!(!gates.all.is_open(), "before anything is said of it");
            assert_eq!(gates.first.is_open(), lost == "migration");
            leadership.resign(&herald).await;
            assert!(!gates.first.is_open());
            assert_eq!(leases.holder(lost), "kube-controller-manager", "another's");
        }
    }
}
