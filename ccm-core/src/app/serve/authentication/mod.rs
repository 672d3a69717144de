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

/// Tokens whose owners are remembered, and tokens that are nobody's, each. A guess: there are a few
/// scrapers.
const TOKENS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Finds out who asks.
pub(super) struct Authenticator {
    trust: watch::Receiver<Trust>,
    reviewer: Arc<dyn Reviewer>,
    ttl: Duration,
    /// By the token's digest: what need not be in memory is not.
    owners: Cache<[u8; 32], Identity>,
    /// Apart from the others, so that nobody can make those be forgotten by made-up tokens.
    nobodys: Cache<[u8; 32], ()>,
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
        Self { trust, reviewer, ttl, owners: Cache::new(TOKENS), nobodys: Cache::new(TOKENS) }
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
        let refused = || Unknown::Refused("the API server does not know this token".to_owned());
        if let Some(owner) = self.owners.get(&key) {
            return Ok(owner);
        }
        if self.nobodys.get(&key).is_some() {
            return Err(refused());
        }
        let Some(owner) = self.reviewer.token(token).await.map_err(Unknown::NoAnswer)? else {
            self.nobodys.put(key, (), self.ttl);
            return Err(refused());
        };
        let owner = owner.authenticated();
        self.owners.put(key, owner.clone(), self.ttl);
        Ok(owner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use axum::http::HeaderValue;
    use axum::http::header::AUTHORIZATION;
    use tokio::time::advance;

    use super::*;
    use crate::app::serve::review::Verdict;

    const TTL: Duration = Duration::from_secs(10);

    /// Knows `known`, unless it is away; and counts.
    #[derive(Default)]
    struct Judge {
        is_away: Mutex<bool>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Reviewer for Judge {
        async fn token(&self, token: &str) -> Result<Option<Identity>, NoAnswer> {
            self.asked.lock().unwrap().push(token.to_owned());
            if *self.is_away.lock().unwrap() {
                return Err(NoAnswer("it is away".to_owned()));
            }
            let jane = Identity { user: "jane".to_owned(), ..Identity::default() };
            Ok((token == "known").then_some(jane))
        }

        async fn access(&self, _: &Identity, _: &str, _: &str) -> Result<Verdict, NoAnswer> {
            Err(NoAnswer("it is not asked".to_owned()))
        }
    }

    struct Scene {
        judge: Arc<Judge>,
        authenticator: Authenticator,
    }

    impl Scene {
        fn new() -> Self {
            let judge = Arc::new(Judge::default());
            let trust = watch::channel(Trust::default()).1;
            let authenticator = Authenticator::new(trust, Arc::<Judge>::clone(&judge), TTL);
            Self { judge, authenticator }
        }

        /// Who shows this token, and how often the API server has been asked by then.
        async fn who(&self, token: &str) -> (Result<String, Unknown>, usize) {
            let mut headers = HeaderMap::new();
            let token = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
            headers.insert(AUTHORIZATION, token);
            let who = self.authenticator.who(&[], &headers).await.map(|who| {
                assert!(who.groups.iter().any(|group| group == identity::AUTHENTICATED));
                who.user
            });
            (who, self.judge.asked.lock().unwrap().len())
        }
    }

    fn is_jane(who: &Result<String, Unknown>) -> bool {
        who.as_ref().is_ok_and(|who| who == "jane")
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_good_for_their_time() {
        let scene = Scene::new();
        let ((jane, 1), (again, 1)) = (scene.who("known").await, scene.who("known").await) else {
            panic!("asked more often than needed")
        };
        assert!(is_jane(&jane) && is_jane(&again));
        let ((nobody, 2), (again, 2)) = (scene.who("made-up").await, scene.who("made-up").await)
        else {
            panic!("asked more often than needed")
        };
        assert!(matches!(nobody, Err(Unknown::Refused(_))) && nobody == again);
        advance(TTL).await;
        assert_eq!(scene.who("known").await.1, 3);
        assert_eq!(scene.who("made-up").await.1, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_not_remembered() {
        let scene = Scene::new();
        *scene.judge.is_away.lock().unwrap() = true;
        assert!(matches!(scene.who("known").await.0, Err(Unknown::NoAnswer(_))));
        *scene.judge.is_away.lock().unwrap() = false;
        assert!(is_jane(&scene.who("known").await.0));
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_tokens_make_nobody_be_forgotten() {
        let scene = Scene::new();
        scene.who("known").await.0.unwrap();
        for number in 0..TOKENS.get() * 2 {
            scene.who(&format!("made-up-{number}")).await.0.unwrap_err();
        }
        let asked = scene.judge.asked.lock().unwrap().len();
        assert_eq!(scene.who("known").await.1, asked);
    }
}
