//! Who asks.
//!
//! The words of the client are weighed in [`claim`], with what [`trust`] holds at the time; whose a
//! token is knows the API server.

mod claim;
mod identity;
mod lookup;
mod trust;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

pub use self::identity::Identity;
pub use self::lookup::LookupError;

pub(super) use self::lookup::Keeper;
pub(super) use self::trust::Trust;

use self::claim::{Claim, claim};
use super::cache::Cache;
use super::review::{NoAnswer, Reviewer};

/// Tokens whose owners are remembered. A guess: there are a few scrapers.
const TOKENS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Finds out who asks.
pub(super) struct Authenticator {
    trust: watch::Receiver<Trust>,
    reviewer: Arc<dyn Reviewer>,
    ttl: Duration,
    /// By the token's digest: what need not be in memory is not.
    tokens: Cache<[u8; 32], Option<Identity>>,
}

/// Why it is not known who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The client's credentials are bad.
    Refused(String),
    /// Nobody could be asked.
    NoAnswer(NoAnswer),
}

impl Authenticator {
    /// `ttl` is how long an answer about a token is good for.
    pub(super) fn new(
        trust: watch::Receiver<Trust>,
        reviewer: Arc<dyn Reviewer>,
        ttl: Duration,
    ) -> Self {
        Self { trust, reviewer, ttl, tokens: Cache::new(TOKENS) }
    }

    pub(super) async fn who(
        &self,
        shown: &[CertificateDer<'static>],
        headers: &HeaderMap,
    ) -> Result<Identity, Unknown> {
        let claim = claim(&self.trust.borrow(), shown, headers, UnixTime::now());
        match claim {
            Claim::Proved(identity) => Ok(identity),
            Claim::Nothing => Ok(Identity::anonymous()),
            Claim::Refused(why) => Err(Unknown::Refused(why)),
            Claim::Token(token) => self.owner(&token).await,
        }
    }

    async fn owner(&self, token: &str) -> Result<Identity, Unknown> {
        let key: [u8; 32] = Sha256::digest(token).into();
        let owner = if let Some(owner) = self.tokens.get(&key) {
            owner
        } else {
            let owner = self.reviewer.token(token).await.map_err(Unknown::NoAnswer)?;
            self.tokens.put(key, owner.clone(), self.ttl);
            owner
        };
        owner
            .map(Identity::authenticated)
            .ok_or_else(|| Unknown::Refused("the API server does not know this token".to_owned()))
    }
}
