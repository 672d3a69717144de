//! The process's HTTPS endpoints: health, metrics, and pages for those who look after it.
//!
//! Every replica serves, leader or not. Health is for everybody; for all else the API server says
//! who asks and whether he may. When it cannot be asked, nobody may.

mod access;
mod authentication;
mod authorization;
mod cache;
mod certificate;
mod connections;
mod endpoints;
mod files;
mod health;
mod listen;
mod review;
mod slots;
mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use kube::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::authentication::{Identity, LookupError};
pub use self::certificate::CertificateError;
pub use self::endpoints::{Endpoints, Exposition};
pub use self::health::{Checks, Scope};
pub use self::review::{NoAnswer, REVIEW_TIMEOUT, Reviewer, Verdict};

pub(super) use self::review::ApiServer;

use self::access::Door;
use self::authentication::Authenticator;
use self::authorization::Authorizer;
use self::connections::Connections;
use self::slots::{Most, Slots};
use self::tls::Manner;
use super::flags::Serving;
use crate::telemetry::AccessMetrics;

/// Whom to ask who a client is and what he may do.
#[derive(Clone)]
pub struct Access {
    /// Who knows tokens and rights.
    pub reviewer: Arc<dyn Reviewer>,
    /// A client that reads the cluster's settings of authentication; without it there are none.
    pub settings: Option<Client>,
    /// What is counted of it.
    pub metrics: AccessMetrics,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// The endpoints, to be served.
#[derive(Debug)]
pub struct Server {
    serving: Serving,
    endpoints: Endpoints,
    access: Access,
    bound: Option<oneshot::Sender<SocketAddr>>,
}

/// The endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is not to be had, for another reason than being in use.
    #[error("cannot listen on {address} (--bind-address, --secure-port)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
    /// There is no certificate to serve with.
    #[error("cannot serve HTTPS on {address}")]
    Certificate {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: CertificateError,
    },
    /// TLS cannot be spoken as it was said.
    #[error("cannot speak TLS on {address} as the --tls flags have it")]
    Tls {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: rustls::Error,
    },
    /// It is not known whose client certificates count.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// How many files this process may have open from now on: as many as it may allow itself, as Go does.
fn most_files() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, ..limits };
    let limits = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limits };
    limits.current.unwrap_or(u64::MAX)
}

impl Server {
    /// Endpoints where and as `serving` says; port 0 stands for any free one.
    pub fn new(serving: Serving, endpoints: Endpoints, access: Access) -> Self {
        Self { serving, endpoints, access, bound: None }
    }

    /// Tells `bound` the address once it is served.
    #[must_use]
    pub fn announce(mut self, bound: oneshot::Sender<SocketAddr>) -> Self {
        self.bound = Some(bound);
        self
    }

    /// Serves until `close`. From `stop` on `/readyz` fails; give the same token twice to end with
    /// everything else.
    ///
    /// An address in use is tried again, for as long as it takes: endpoints are no reason to stop
    /// work.
    pub async fn run(
        self,
        stop: CancellationToken,
        close: CancellationToken,
    ) -> Result<(), ServeError> {
        let Self { serving, endpoints, access, bound } = self;
        let address = serving.address;
        for warning in &serving.warnings {
            warn!("{warning}");
        }
        let believed =
            authentication::Keeper::open(&serving.authentication, access.settings.clone()).await?;
        let source = certificate::Source::open(&serving.certificate, &serving.named, address.ip())
            .await
            .map_err(|source| ServeError::Certificate { address, source })?;
        let manner = Manner { tls: serving.tls, http2: serving.http2_streams.is_some() };
        let metrics = access.metrics;
        let tls = tls::Keeper::new(manner, source, believed.trust(), metrics.clone())
            .map_err(|source| ServeError::Tls { address, source })?;
        let door = Door {
            authenticator: Authenticator::new(
                believed.trust(),
                Arc::clone(&access.reviewer),
                serving.authentication.token_ttl,
            ),
            authorizer: Authorizer::new(serving.authorization, access.reviewer),
            metrics: metrics.clone(),
        };

        let router = endpoints.router().layer(from_fn_with_state(Arc::new(door), access::admit));
        let (tls_now, checks) = (tls.current(), endpoints.checks);
        let served = async move {
            let Some(listener) = listen::listen(address, serving.shares_port, &stop).await? else {
                return Ok(());
            };
            let address =
                listener.local_addr().map_err(|source| ServeError::Bind { address, source })?;
            checks.add("shutdown", Scope::Ready, move || {
                if stop.is_cancelled() {
                    return Err("process is shutting down".to_owned());
                }
                Ok(())
            });
            info!(%address, "serving");
            if let Some(bound) = bound {
                // Whoever asked may have lost interest.
                let _ = bound.send(address);
            }
            let connections = Connections {
                tls: tls_now,
                router,
                http2_streams: serving.http2_streams.unwrap_or_default(),
                slots: Slots::new(Most::of(most_files())),
                metrics,
            };
            connections.serve(listener, close).await;
            Ok(())
        };
        // What is believed is followed also while the port is taken: a refusal ends the process.
        tokio::select! {
            served = served => served,
            Err(err) = believed.run() => Err(err.into()),
            // Follows as long as somebody is believed or not: longer than the rest.
            () = tls.run() => Ok(()),
        }
    }
}
