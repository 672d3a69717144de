//! Leader election by a Lease, readable by and safe beside upstream's binary.
//!
//! The rules are client-go's, made strict: every write carries the version it was decided on, no clock
//! but our own is trusted, and a renewal counts from when it was *sent*. What a newcomer gets wrong:
//! leadership ends when the gate closes, not when somebody notices.

mod health;
mod identity;
mod record;
mod timing;

use std::convert::Infallible;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};

pub use self::health::{Health, Stale};
pub use self::identity::{host, identity};
use self::record::{Move, Seen, claimed, decide, released};
pub use self::timing::{Timing, TimingError};
use super::client::Reason;
use super::events::Involved;
use super::gate::GateKeeper;

/// How long polling has to do after a watch was refused: rights may be granted later.
const WATCH_AGAIN: Duration = Duration::from_mins(5);

/// How long a candidate goes on though the API server does not know who it is. A guess: token files are
/// read again each minute, and an API server that has just started does not know everybody at once.
const UNKNOWN_PATIENCE: Duration = Duration::from_mins(2);

/// Conflicts that are looked into in one go; a guess, for more than one in a row is odd.
const TRIES: u8 = 3;

/// What is contended for, and by whom.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease's namespace, by default `kube-system`.
    pub namespace: String,
    /// The Lease's name, by default `cloud-controller-manager`.
    pub name: String,
    /// Who we are, see [`identity()`]. No two processes, nor two lives of one, share it.
    pub identity: String,
    /// How long the lease lasts and how often it is renewed.
    pub timing: Timing,
}

/// Takes part in one election.
///
/// [`acquire`](Self::acquire), then [`hold`](Self::hold) for as long as there is work, then
/// [`release`](Self::release). Each may be dropped at any await.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    election: Election,
    keeper: GateKeeper,
    health: Health,
    seen: Option<Seen>,
    /// A claim of ours stands, or may have arrived without our knowing.
    claimed: bool,
    /// `seen` comes from a watch that is still open, so that it need not be read again.
    fresh: bool,
    watch_again: Instant,
    /// Since when the API server has not known who we are.
    unknown_since: Option<Instant>,
}

/// Leadership is over, and another may lead already: the process ends without grace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another holds the lease.
    #[error("leader election lost: {by} holds the lease")]
    Taken {
        /// The other's identity.
        by: String,
    },
    /// The lease could not be renewed in time.
    #[error("leader election lost: the lease was not renewed within {}", humantime::format_duration(*.within))]
    NotRenewed {
        /// The renew deadline.
        within: Duration,
    },
}

/// The API server has not known a candidate for so long that it has to start over: some credentials,
/// such as a client certificate, are read at the start alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the API server has refused the credentials for {}, which takes a restart where they are read at the \
     start alone, as a client certificate is: {why}",
    humantime::format_duration(UNKNOWN_PATIENCE)
)]
pub struct Unknown {
    /// What the API server says.
    pub why: String,
}

/// The lease could not be given back, so the next leader waits until it has run out.
#[derive(Debug, thiserror::Error)]
#[error("the leader election lease was not released: {0}")]
pub struct ReleaseError(String);

/// A request about the lease did not do what it should.
#[derive(Debug)]
enum Failure {
    Api(kube::Error),
    Unanswered,
    Taken { by: String },
}

/// Why there is nothing more to be seen by watching.
enum Watched {
    /// There may be something to take.
    Free,
    /// The watch is over.
    Ended,
    /// We may not watch.
    Refused,
}

impl Elector {
    /// A candidate. `client` is [`lease_client`](super::client::ClusterConfig::lease_client)'s, since
    /// the lease is written while the gate is closed.
    pub fn new(client: Client, election: Election, keeper: GateKeeper) -> Self {
        Self {
            api: Api::namespaced(client, &election.namespace),
            health: Health::new(election.timing.lease_duration(), Counter::default()),
            election,
            keeper,
            seen: None,
            claimed: false,
            fresh: false,
            watch_again: Instant::now(),
            unknown_since: None,
        }
    }

    /// Counts in `counter` how often a renewal had to read the lease first
    /// (`leader_election_slowpath_total`).
    #[must_use]
    pub fn counting_slow_paths(mut self, counter: Counter) -> Self {
        self.health = Health::new(self.election.timing.lease_duration(), counter);
        self
    }

    /// What others may know about this election.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Who we are.
    pub fn identity(&self) -> &str {
        &self.election.identity
    }

    /// The Lease, to say in an event that we lead; with its UID once it has been seen.
    pub fn involved(&self) -> Involved {
        let uid = self.seen.as_ref().and_then(|seen| seen.lease.metadata.uid.clone());
        Involved {
            api_version: "coordination.k8s.io/v1".to_owned(),
            kind: "Lease".to_owned(),
            namespace: self.election.namespace.clone(),
            name: self.election.name.clone(),
            uid: uid.unwrap_or_default(),
        }
    }

    /// Returns once we lead; the gate is open then. An error: we never shall as who we are.
    ///
    /// The first attempt is immediate. A lease that is free is held after two round trips, one that is
    /// released before our eyes after one.
    pub async fn acquire(&mut self) -> Result<(), Unknown> {
        loop {
            let outcome = self.attempt().await;
            self.known(outcome.as_ref().err())?;
            match outcome {
                Ok(true) => {
                    info!(lease = self.election.name, identity = self.election.identity, "leading");
                    return Ok(());
                }
                Ok(false) => {}
                Err(err) => warn!(lease = self.election.name, error = %err, "lease not acquired"),
            }
            self.wait().await;
        }
    }

    /// Follows the lease and never claims it, for one that shall be acquired behind another: what its
    /// holder does meanwhile counts then, so that a dead one is not waited for once more.
    pub async fn observe(&mut self) -> Infallible {
        loop {
            if let Err(err) = self.read().await {
                debug!(lease = self.election.name, error = %err, "lease not read");
            }
            self.wait().await;
        }
    }

    /// Renews until leadership is lost, then returns; the gate is closed then.
    pub async fn hold(&mut self) -> Lost {
        let lost = self.renew_until_lost().await;
        self.keeper.close();
        self.health.set(None);
        // Not ours to give back: it may have been taken, and our last mutations may be under way.
        self.claimed = false;
        lost
    }

    /// Closes the gate, then gives the lease back if it is ours, so that another leads at once.
    ///
    /// To be called when nothing more is under way, also by a candidate that stops: its claim may just
    /// have been on its way. Takes no longer than one request may.
    pub async fn release(&mut self) -> Result<(), ReleaseError> {
        self.keeper.close();
        self.health.set(None);
        if !std::mem::take(&mut self.claimed) {
            return Ok(());
        }
        match timeout(self.election.timing.request_timeout(), self.give_back()).await {
            Ok(Ok(())) => {
                info!(lease = self.election.name, "lease released");
                Ok(())
            }
            Ok(Err(err)) => Err(ReleaseError(err.to_string())),
            Err(_) => Err(ReleaseError(Failure::Unanswered.to_string())),
        }
    }

    /// Whether there is hope that the API server knows us again, after a failure or without one.
    fn known(&mut self, failure: Option<&Failure>) -> Result<(), Unknown> {
        match failure {
            None => self.unknown_since = None,
            Some(failure) if failure.is_unknown() => {
                let since = *self.unknown_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= UNKNOWN_PATIENCE {
                    return Err(Unknown { why: failure.to_string() });
                }
            }
            // It says nothing of who we are.
            Some(_) => {}
        }
        Ok(())
    }

    /// One look at the lease and, where it can be had, one taking of it. Says whether we lead.
    async fn attempt(&mut self) -> Result<bool, Failure> {
        // What a watch shows need not be read: a write that was decided on old news conflicts.
        if !std::mem::take(&mut self.fresh) {
            self.read().await?;
        }
        let mut tries = 0;
        loop {
            match self.decide() {
                Move::Wait(_) => return Ok(false),
                Move::Create | Move::Renew | Move::TakeOver => match self.claim().await {
                    Ok(()) => return Ok(true),
                    Err(err) if err.is_conflict() && tries < TRIES => self.read().await?,
                    Err(err) => return Err(err),
                },
            }
            tries += 1;
        }
    }

    /// Waits until another attempt is worthwhile: as a rule by watching, else as long as client-go.
    async fn wait(&mut self) {
        let begun = Instant::now();
        let pause = self.election.timing.poll_pause(identity::fraction());
        let poll = begun + pause;
        if let Move::Wait(_) = self.decide()
            && Instant::now() >= self.watch_again
        {
            match self.watch().await {
                Watched::Free => return,
                Watched::Ended => {}
                Watched::Refused => {
                    info!(
                        lease = self.election.name,
                        "may not watch the lease, polling it instead"
                    );
                    self.watch_again = Instant::now() + WATCH_AGAIN;
                }
            }
            // Seen by a watch that has ended: the next attempt reads.
            self.fresh = false;
        }
        match self.decide() {
            Move::Wait(expires) => sleep_until(poll.min(expires)).await,
            // It may be ours and could not be had: the API server is away, and nobody leads.
            Move::Create | Move::Renew | Move::TakeOver => sleep_until(begun + pause / 2).await,
        }
    }

    /// Follows the lease until it may be ours, as far as the watch carries.
    async fn watch(&mut self) -> Watched {
        // With the name alone in the selector, a role that names the lease allows it.
        let params =
            WatchParams::default().fields(&format!("metadata.name={}", self.election.name));
        let version = self.version().unwrap_or_default();
        let events = match self.bounded(self.api.watch(&params, &version)).await {
            Ok(events) => events,
            Err(Failure::Api(kube::Error::Api(status))) if status.is_forbidden() => {
                return Watched::Refused;
            }
            Err(err) => {
                debug!(lease = self.election.name, error = %err, "lease not watched");
                return Watched::Ended;
            }
        };
        let mut events = pin!(events);
        loop {
            let Move::Wait(expires) = self.decide() else { return Watched::Free };
            let event = tokio::select! {
                // A sign of life that has come in counts, however late we look at it.
                biased;
                event = events.next() => event,
                () = sleep_until(expires) => return Watched::Free,
            };
            match event {
                Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => self.see(lease),
                Some(Ok(WatchEvent::Deleted(_))) => self.seen = None,
                Some(Ok(WatchEvent::Bookmark(_))) => continue,
                Some(Ok(WatchEvent::Error(status))) => {
                    debug!(lease = self.election.name, error = status.message, "watch ended");
                    return Watched::Ended;
                }
                Some(Err(err)) => {
                    debug!(lease = self.election.name, error = %Reason(&err), "watch ended");
                    return Watched::Ended;
                }
                None => return Watched::Ended,
            }
            self.fresh = true;
        }
    }

    async fn renew_until_lost(&mut self) -> Lost {
        let timing = self.election.timing;
        let not_renewed = Lost::NotRenewed { within: timing.renew_deadline() };
        let mut tried = None;
        loop {
            let Some(renewed) = self.health.last_renewed() else { return not_renewed };
            let deadline = renewed + timing.renew_deadline();
            let next = tried.unwrap_or(renewed) + timing.retry_period();
            sleep_until(next.min(deadline)).await;
            if Instant::now() >= deadline {
                return not_renewed;
            }
            tried = Some(Instant::now());
            match timeout_at(deadline, self.renew()).await {
                Ok(Ok(())) => {}
                Ok(Err(Failure::Taken { by })) => return Lost::Taken { by },
                Ok(Err(err)) => {
                    warn!(lease = self.election.name, error = %err, "lease not renewed");
                }
                Err(_) => return not_renewed,
            }
        }
    }

    /// Renews the lease as we last wrote it; where it is not that any more, reads and decides.
    async fn renew(&mut self) -> Result<(), Failure> {
        match self.claim().await {
            Err(err) if err.is_conflict() => self.health.count_slow_path(),
            done => return done,
        }
        self.read().await?;
        match self.decide() {
            // Deleted or cleared by somebody's hand: nobody has led since, or the write conflicts.
            Move::Create | Move::Renew | Move::TakeOver => self.claim().await,
            Move::Wait(_) => Err(Failure::Taken { by: self.holder().to_owned() }),
        }
    }

    async fn give_back(&mut self) -> Result<(), Failure> {
        // What was sent last may have arrived although nobody waited for the answer.
        if self.holder() != self.election.identity {
            self.read().await?;
        }
        let mut tries = 0;
        loop {
            let Some(seen) = &self.seen else { return Ok(()) };
            if seen.holder() != self.election.identity {
                return Ok(());
            }
            match self.write(released(&seen.lease, Timestamp::now())).await {
                Err(err) if err.is_conflict() && tries < TRIES => self.read().await?,
                done => return done,
            }
            tries += 1;
        }
    }

    /// Writes our claim and, once it stands, opens the gate.
    async fn claim(&mut self) -> Result<(), Failure> {
        let old = self.seen.as_ref().map(|seen| &seen.lease);
        let lease = claimed(&self.election, old, Timestamp::now());
        let sent = Instant::now();
        self.claimed = true;
        self.write(lease).await?;
        // From when it was sent: others count from when it arrived, which is later.
        let deadline = sent + self.election.timing.renew_deadline();
        if Instant::now() >= deadline {
            return Err(Failure::Unanswered);
        }
        self.keeper.open_until(deadline);
        self.health.set(Some(sent));
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the lease is read whole and written by version")]
    async fn write(&mut self, lease: Lease) -> Result<(), Failure> {
        let params = PostParams::default();
        let stored = if lease.metadata.resource_version.is_some() {
            self.bounded(self.api.replace(&self.election.name, &params, &lease)).await?
        } else {
            self.bounded(self.api.create(&params, &lease)).await?
        };
        self.see(stored);
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.bounded(self.api.get_opt(&self.election.name)).await? {
            Some(lease) => self.see(lease),
            None => self.seen = None,
        }
        Ok(())
    }

    fn see(&mut self, lease: Lease) {
        self.seen = Some(Seen::at(Instant::now(), lease, self.seen.as_ref()));
    }

    fn decide(&self) -> Move {
        let Election { identity, timing, .. } = &self.election;
        decide(identity, self.seen.as_ref(), *timing, Instant::now())
    }

    fn holder(&self) -> &str {
        self.seen.as_ref().map(Seen::holder).unwrap_or_default()
    }

    fn version(&self) -> Option<String> {
        self.seen.as_ref()?.lease.metadata.resource_version.clone()
    }

    async fn bounded<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        timeout(self.election.timing.request_timeout(), request)
            .await
            .map_err(|_| Failure::Unanswered)?
            .map_err(Failure::Api)
    }
}

impl Failure {
    /// The API server does not know who asks.
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == StatusCode::UNAUTHORIZED)
    }

    /// The lease is not what the write was decided on.
    fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Api(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found()
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(err) => Reason(err).fmt(f),
            Self::Unanswered => f.write_str("no answer from the API server in time"),
            Self::Taken { by } => write!(f, "{by} holds the lease"),
        }
    }
}

#[cfg(test)]
mod tests;
