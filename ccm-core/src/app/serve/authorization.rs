//! What somebody may do.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::authentication::Identity;
use super::cache::Cache;
use super::review::{NoAnswer, Reviewer, Verdict};
use crate::app::flags::serving::{Authorization, Open};

/// Whoever is in it may do everything: the API server would say so too.
const MASTERS: &str = "system:masters";

/// Verdicts that are remembered, of each sort. A guess: there are a few scrapers and a few paths.
const VERDICTS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Longer questions are not remembered, so that nobody can fill the memory. As upstream.
/// <https://github.com/kubernetes/apiserver/blob/master/plugin/pkg/authorizer/webhook/webhook.go>
const LONGEST: usize = 10_000;

/// The same for those that were denied: anybody can ask them.
const LONGEST_DENIED: usize = 1_000;

/// Finds out what somebody may do.
pub(super) struct Authorizer {
    rules: Authorization,
    reviewer: Arc<dyn Reviewer>,
    allowed: Cache<Question, Verdict>,
    /// Apart from the others, so that nobody can make those be forgotten by asking for what he may not.
    denied: Cache<Question, Verdict>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    who: Identity,
    verb: String,
    path: String,
}

impl Question {
    fn bytes(&self) -> usize {
        let Identity { user, uid, groups, extra } = &self.who;
        let lists = extra.iter().flat_map(|(key, values)| std::iter::once(key).chain(values));
        let texts = [user, uid, &self.verb, &self.path].into_iter();
        texts.chain(groups).chain(lists).map(String::len).sum()
    }
}

impl Authorizer {
    pub(super) fn new(rules: Authorization, reviewer: Arc<dyn Reviewer>) -> Self {
        Self { rules, reviewer, allowed: Cache::new(VERDICTS), denied: Cache::new(VERDICTS) }
    }

    /// Whether everybody may ask for the path.
    pub(super) fn is_open(&self, path: &str) -> bool {
        is_open(&self.rules.open, path)
    }

    /// `verb` is the method in lower case.
    pub(super) async fn may(
        &self,
        who: &Identity,
        verb: &str,
        path: &str,
    ) -> Result<Verdict, NoAnswer> {
        if who.groups.iter().any(|group| group == MASTERS) {
            return Ok(Verdict { allowed: true, reason: String::new() });
        }
        let question = Question { who: who.clone(), verb: verb.to_owned(), path: path.to_owned() };
        if let Some(known) = self.allowed.get(&question).or_else(|| self.denied.get(&question)) {
            return Ok(known);
        }
        let verdict = self.reviewer.access(who, verb, path).await?;
        let (cache, ttl, longest) = if verdict.allowed {
            (&self.allowed, self.rules.allowed_ttl, LONGEST)
        } else {
            (&self.denied, self.rules.denied_ttl, LONGEST_DENIED)
        };
        if question.bytes() <= longest {
            cache.put(question, verdict.clone(), ttl);
        }
        Ok(verdict)
    }
}

fn is_open(rules: &[Open], path: &str) -> bool {
    rules.iter().any(|rule| rule.covers(path))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use rstest::rstest;
    use tokio::time::advance;

    use super::*;

    #[rstest]
    #[case("/healthz", true)]
    #[case("/healthz/", false)]
    #[case("/healthz/leaderElection", false)]
    #[case("/open/", true)]
    #[case("/open/a/b", true)]
    #[case("/open", false)]
    #[case("//healthz", false)]
    #[case("/HEALTHZ", false)]
    #[case("/metrics", false)]
    fn open_paths_are_those_and_no_others(#[case] path: &str, #[case] want: bool) {
        let rules = [Open::Path("/healthz".to_owned()), Open::Prefix("/open/".to_owned())];
        assert_eq!(is_open(&rules, path), want);
    }

    /// Answers as told, and counts.
    #[derive(Default)]
    struct Judge {
        answer: Mutex<Option<bool>>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Reviewer for Judge {
        async fn token(&self, _: &str) -> Result<Option<Identity>, NoAnswer> {
            Ok(None)
        }

        async fn access(
            &self,
            who: &Identity,
            verb: &str,
            path: &str,
        ) -> Result<Verdict, NoAnswer> {
            self.asked.lock().unwrap().push(format!("{} {verb} {path}", who.user));
            let allowed = *self.answer.lock().unwrap();
            let allowed = allowed.ok_or_else(|| NoAnswer("it is away".to_owned()))?;
            Ok(Verdict { allowed, reason: String::new() })
        }
    }

    fn authorizer(judge: &Arc<Judge>) -> Authorizer {
        let rules = Authorization {
            kubeconfig: None,
            allowed_ttl: Duration::from_secs(10),
            denied_ttl: Duration::from_secs(5),
            open: Vec::new(),
        };
        Authorizer::new(rules, Arc::<Judge>::clone(judge))
    }

    fn jane() -> Identity {
        Identity { user: "jane".to_owned(), ..Identity::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn verdicts_are_good_for_their_time() {
        let judge = Arc::new(Judge::default());
        let authorizer = authorizer(&judge);
        let ask = async |path| authorizer.may(&jane(), "get", path).await.map(|it| it.allowed);

        *judge.answer.lock().unwrap() = Some(false);
        assert_eq!(ask("/metrics").await, Ok(false));
        *judge.answer.lock().unwrap() = Some(true);
        advance(Duration::from_millis(4_999)).await;
        assert_eq!(ask("/metrics").await, Ok(false));
        advance(Duration::from_millis(1)).await;
        assert_eq!(ask("/metrics").await, Ok(true));
        *judge.answer.lock().unwrap() = Some(false);
        advance(Duration::from_millis(9_999)).await;
        assert_eq!(ask("/metrics").await, Ok(true));
        assert_eq!(ask("/configz").await, Ok(false));
        advance(Duration::from_millis(1)).await;
        assert_eq!(ask("/metrics").await, Ok(false));
        let asked = judge.asked.lock().unwrap().clone();
        let metrics = "jane get /metrics";
        assert_eq!(asked, [metrics, metrics, "jane get /configz", metrics]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_is_no_verdict_and_not_remembered() {
        let judge = Arc::new(Judge::default());
        let authorizer = authorizer(&judge);
        authorizer.may(&jane(), "get", "/metrics").await.unwrap_err();
        *judge.answer.lock().unwrap() = Some(true);
        assert!(authorizer.may(&jane(), "get", "/metrics").await.unwrap().allowed);
    }

    #[tokio::test]
    async fn masters_may_without_asking() {
        let judge = Arc::new(Judge::default());
        let who = Identity { groups: vec![MASTERS.to_owned()], ..jane() };
        assert!(authorizer(&judge).may(&who, "put", "/debug/flags/v").await.unwrap().allowed);
        assert!(judge.asked.lock().unwrap().is_empty());
    }

    #[rstest]
    #[case(true, LONGEST, 2)]
    #[case(true, LONGEST_DENIED, 1)]
    #[case(false, LONGEST_DENIED, 2)]
    #[case(false, LONGEST_DENIED / 2, 1)]
    #[tokio::test]
    async fn long_questions_are_asked_again(
        #[case] allowed: bool,
        #[case] length: usize,
        #[case] want: usize,
    ) {
        let judge = Arc::new(Judge { answer: Mutex::new(Some(allowed)), ..Judge::default() });
        let authorizer = authorizer(&judge);
        let path = format!("/{}", "x".repeat(length));
        for _ in 0..2 {
            authorizer.may(&jane(), "get", &path).await.unwrap();
        }
        assert_eq!(judge.asked.lock().unwrap().len(), want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_is_for_one_alone() {
        let judge = Arc::new(Judge { answer: Mutex::new(Some(true)), ..Judge::default() });
        let authorizer = authorizer(&judge);
        let text = str::to_owned;
        let others = [
            Identity { uid: text("u"), ..jane() },
            Identity { groups: vec![text("g")], ..jane() },
            Identity { extra: [(text("e"), vec![text("v")])].into(), ..jane() },
            Identity { user: text("john"), ..jane() },
        ];
        for (asked, who) in std::iter::once(jane()).chain(others).enumerate() {
            authorizer.may(&who, "get", "/metrics").await.unwrap();
            assert_eq!(judge.asked.lock().unwrap().len(), asked + 1, "{who:?}");
        }
        authorizer.may(&jane(), "get", "/metrics").await.unwrap();
        assert_eq!(judge.asked.lock().unwrap().len(), 5);
        // Many who may not do not count against those who may.
        *judge.answer.lock().unwrap() = Some(false);
        for number in 0..VERDICTS.get() * 2 {
            let path = format!("/{number}");
            authorizer.may(&Identity::anonymous(), "get", &path).await.unwrap();
        }
        let asked = judge.asked.lock().unwrap().len();
        assert!(authorizer.may(&jane(), "get", "/metrics").await.unwrap().allowed);
        assert_eq!(judge.asked.lock().unwrap().len(), asked);
    }
}
