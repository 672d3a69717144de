//! Instances that AWS does not take as targets: they do not run, are gone, or are of a type that
//! cannot be one. One of them must not keep the others out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ccm_core::cloud::{CloudError, Later};
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::draft::Draft;
use crate::client::Taken;

/// How long the first pause is before one is tried again, and the longest: each is twice the one
/// before.
///
/// Guesses: an instance that has just begun to run is soon taken, a node that goes is soon known
/// to, and what is of the wrong type will always be.
const FIRST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_mins(30);

/// How many are named in a note: it becomes an event, which holds 1024 characters.
const MOST_NAMED: usize = 3;

/// An instance that AWS did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What AWS said.
    pub(crate) why: String,
    /// How long it is not tried again.
    pub(crate) pause: Duration,
}

/// Refusals by instance.
pub(crate) type Refused = BTreeMap<String, Refusal>;

/// What AWS did not take, by target group or load balancer. In memory: another process tries again.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<String, BTreeMap<String, Entry>>>);

#[derive(Debug)]
struct Entry {
    why: String,
    since: Instant,
    pause: Duration,
}

impl Refusals {
    /// Notes what became of instances that were to be targets there, and gives what is refused
    /// there now.
    pub(crate) fn note<'a>(
        &self,
        there: &str,
        tried: impl Iterator<Item = &'a String>,
        mut refused: BTreeMap<&'a String, String>,
    ) -> Refused {
        let since = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(there.to_owned()).or_default();
        for id in tried {
            let before = known.remove(id);
            let Some(why) = refused.remove(id) else { continue };
            let pause = before.map_or(FIRST, |before| (before.pause * 2).min(LONGEST));
            known.insert(id.clone(), Entry { why, since, pause });
        }
        // Instances that nobody tries again are forgotten.
        known.retain(|_, entry| entry.since.elapsed() < 2 * LONGEST);
        let now = open(known);
        all.retain(|_, known| !known.is_empty());
        now
    }

    /// What is not tried there for now.
    pub(crate) fn there(&self, there: &str) -> Refused {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(there).map(open).unwrap_or_default()
    }
}

fn open(known: &BTreeMap<String, Entry>) -> Refused {
    let one = |(id, entry): (&String, &Entry)| {
        let pause = entry.pause.checked_sub(entry.since.elapsed()).filter(|it| !it.is_zero())?;
        Some((id.clone(), Refusal { why: entry.why.clone(), pause }))
    };
    known.iter().filter_map(one).collect()
}

/// Registers all of them. AWS takes none where it does not take one, so they are halved until those
/// are found. Gives them, with what AWS says.
///
/// Several requests may take effect. What is registered twice is registered once, so one that is
/// cut off here goes on where it was.
pub(crate) async fn sift<'a, T: Clone + Ord>(
    all: &BTreeSet<T>,
    register: impl Fn(BTreeSet<T>) -> BoxFuture<'a, Result<Taken, CloudError>>,
) -> Result<BTreeMap<T, String>, CloudError> {
    let mut refused = BTreeMap::new();
    let mut open = vec![all.clone()];
    while let Some(mut some) = open.pop() {
        let Taken::NotAll(why) = register(some.clone()).await? else { continue };
        match some.iter().nth(some.len() / 2).cloned() {
            Some(middle) if some.len() > 1 => {
                let other = some.split_off(&middle);
                open.extend([other, some]);
            }
            Some(one) => _ = refused.insert(one, why),
            None => {}
        }
    }
    Ok(refused)
}

/// Says which of the wanted are no targets, and when that is tried again.
pub(crate) fn tell<'a>(
    wanted: &BTreeSet<String>,
    refused: impl Iterator<Item = &'a Refused>,
    draft: &mut Draft,
) {
    let all: BTreeMap<_, _> = refused.flatten().filter(|(id, _)| wanted.contains(*id)).collect();
    let Some(again) = all.values().map(|refusal| refusal.pause).min() else { return };
    let named = all.iter().take(MOST_NAMED).map(|(id, refusal)| format!("{id}: {}", refusal.why));
    let mut named: Vec<_> = named.collect();
    if all.len() > MOST_NAMED {
        named.push(format!("and {} more", all.len() - MOST_NAMED));
    }
    let message = format!(
        "AWS does not take {} of {} instances as targets, which is tried again by itself; the others take \
         the traffic. {}",
        all.len(),
        wanted.len(),
        named.join("; ")
    );
    draft.note("TargetRefused", message);
    let waits_for = "AWS to take all instances as targets".to_owned();
    draft.later.push(Later { waits_for, look_again: again });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ccm_core::cloud::Kind;
    use futures::FutureExt;
    use rstest::rstest;

    use super::*;

    /// What is refused of so many, and how many requests that takes.
    async fn sifted(many: u32, bad: &[u32]) -> (Vec<u32>, BTreeSet<u32>, usize) {
        let (requests, taken) = (Mutex::new(0), Mutex::new(BTreeSet::new()));
        let register = |some: BTreeSet<u32>| {
            *requests.lock().unwrap() += 1;
            let answer = if bad.iter().any(|it| some.contains(it)) {
                Taken::NotAll("no".to_owned())
            } else {
                taken.lock().unwrap().extend(some);
                Taken::All
            };
            async move { Ok(answer) }.boxed()
        };
        let refused = sift(&(0..many).collect(), register).await.unwrap();
        assert!(refused.values().all(|why| why == "no"));
        let refused = refused.into_keys().collect();
        (refused, taken.into_inner().unwrap(), requests.into_inner().unwrap())
    }

    #[rstest]
    #[case::none(100, &[], 1)]
    #[case::one(100, &[0], 15)]
    #[case::another(100, &[99], 15)]
    #[case::two(100, &[3, 77], 30)]
    #[case::the_only_one(1, &[0], 1)]
    #[case::all(4, &[0, 1, 2, 3], 7)]
    #[tokio::test]
    async fn one_that_is_not_taken_keeps_nobody_out(
        #[case] many: u32,
        #[case] bad: &[u32],
        #[case] most: usize,
    ) {
        let (refused, taken, requests) = sifted(many, bad).await;
        assert_eq!(refused, bad);
        assert_eq!(taken, (0..many).filter(|it| !bad.contains(it)).collect());
        assert!(requests <= most, "{requests}");
    }

    #[tokio::test]
    async fn another_failure_ends_it() {
        let register = |_| {
            let err = CloudError::new(Kind::Unavailable, "no answer");
            async move { Err(err) }.boxed()
        };
        let err = sift(&BTreeSet::from([1, 2]), register).await.unwrap_err();
        assert_eq!(err.kind(), Kind::Unavailable);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_again_after_longer_and_longer_pauses() {
        let (all, id) = (Refusals::default(), "i-1".to_owned());
        let refuse = || {
            let refused = BTreeMap::from([(&id, "it does not run".to_owned())]);
            all.note("group", [&id].into_iter(), refused)[&id].pause
        };
        assert!(all.there("group").is_empty());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let pause = refuse();
            pauses.push(pause.as_secs() / 60);
            assert_eq!(all.there("group")[&id].why, "it does not run");
            assert!(all.there("another").is_empty());
            tokio::time::advance(pause).await;
            assert!(all.there("group").is_empty(), "its time has come");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert!(all.note("group", [&id].into_iter(), BTreeMap::new()).is_empty());
        assert_eq!(refuse(), FIRST, "it was taken meanwhile");
        tokio::time::advance(2 * LONGEST).await;
        all.note("another", [&id].into_iter(), BTreeMap::new());
        all.note("group", std::iter::empty(), BTreeMap::new());
        assert!(all.0.lock().unwrap().is_empty());
    }

    #[test]
    fn only_what_is_wanted_is_told() {
        let refusal = |seconds| {
            let (why, pause) = ("it does not run".to_owned(), Duration::from_secs(seconds));
            Refusal { why, pause }
        };
        let refused = |ids: &[(&str, u64)]| -> Refused {
            ids.iter().map(|(id, seconds)| ((*id).to_owned(), refusal(*seconds))).collect()
        };
        let told = |wanted: &[&str], refused: &[Refused]| {
            let mut draft = Draft::default();
            let wanted = wanted.iter().map(|id| (*id).to_owned()).collect();
            tell(&wanted, refused.iter(), &mut draft);
            draft
        };
        assert!(told(&["i-1"], &[refused(&[]), refused(&[("i-2", 5)])]).notes.is_empty());
        let one =
            told(&["i-1", "i-3"], &[refused(&[("i-1", 9)]), refused(&[("i-1", 7), ("i-2", 5)])]);
        assert_eq!(one.later[0].look_again, Duration::from_secs(7));
        assert!(one.notes[0].message.contains("does not take 1 of 2 instances"));
        assert!(one.notes[0].message.ends_with("i-1: it does not run"));
        let many = ["i-1", "i-2", "i-3", "i-4"];
        let refused = refused(&many.map(|id| (id, 5)));
        let message = told(&many, &[refused]).notes[0].message.clone();
        assert!(message.ends_with("; and 1 more"), "{message}");
    }
}
