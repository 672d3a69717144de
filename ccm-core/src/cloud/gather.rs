//! One call for many who ask at about the same time.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::call::Read;
use super::error::{CloudError, Kind};

/// How long a question waits for others to share its call.
///
/// Short against any cloud's answer, long against the moments between passes that begin together.
const GATHERING: Duration = Duration::from_millis(5);

/// Lets questions that come within a few milliseconds share one call, for clouds that answer many
/// at once: a provider keeps one, and asks it where it would call.
///
/// `K` is what is asked about, `V` what one call says of all that was asked. Nothing is kept: an
/// answer goes to those only whose question came before the call was made.
///
/// The first who asks waits 5 ms and calls for all who have asked by then, under its own leave to
/// call, so that its urgency and its deadline hold. Where it is dropped, or its time is up, another
/// takes over, and nobody hangs.
pub struct Gather<K, V> {
    /// Keys in one call.
    limit: NonZeroUsize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    /// The number of the last question.
    newest: u64,
    /// Who makes the next call. There is somebody whenever anybody waits.
    leader: Option<u64>,
    /// In the order of their coming.
    waiting: VecDeque<Asker<K, V>>,
}

/// A question that is in no call yet, or in one that is not answered.
struct Asker<K, V> {
    number: u64,
    keys: Vec<K>,
    /// Taken from the one who was told to lead.
    word: Option<oneshot::Sender<Word<V>>>,
}

/// What an asker is told.
enum Word<V> {
    /// To make the next call.
    Lead,
    Answer(Result<Arc<V>, CloudError>),
}

impl<K, V> fmt::Debug for Gather<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<K, V> Gather<K, V> {
    /// With at most so many keys in a call. One question with more of them is asked alone.
    pub fn new(limit: NonZeroUsize) -> Self {
        let state = State { newest: 0, leader: None, waiting: VecDeque::new() };
        Self { limit, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone, V> Gather<K, V> {
    /// What the cloud says of these keys, and maybe of others.
    ///
    /// `call` asks about all keys that it is given, each once and sorted, in one request through
    /// `cx`. Where it fails, everybody who shares the call gets the failure. May be dropped at any
    /// await.
    pub async fn ask<F>(
        &self,
        cx: &Read,
        keys: Vec<K>,
        call: impl FnOnce(Vec<K>) -> F,
    ) -> Result<Arc<V>, CloudError>
    where
        F: Future<Output = Result<V, CloudError>> + Send,
    {
        let asked = Instant::now();
        // In this order, so that what is told is dropped before the place: whoever finds the word
        // open can rely on it that the place is still to be left.
        let (place, mut told) = self.enter(keys);
        if !place.leads() {
            match timeout_at(cx.deadline(), &mut told).await {
                Ok(Ok(Word::Answer(answer))) => return answer,
                Ok(Ok(Word::Lead)) => {}
                // Nobody lets go of a question without a word.
                Ok(Err(_)) => return Err(CloudError::new(Kind::Internal, "a question was lost")),
                Err(_) => {
                    let message = "the cloud did not answer in time what was asked together";
                    return Err(CloudError::new(Kind::Unavailable, message));
                }
            }
        }
        sleep_until(asked + GATHERING).await;
        let (keys, others) = self.state().take(place.number, self.limit.get());
        let mut batch = Batch { gather: self, others };
        let answer = call(keys.into_iter().collect()).await.map(Arc::new);
        if answer.is_err() && Instant::now() >= cx.deadline() {
            // Our time was up, and not theirs: they go back and ask again.
            return answer;
        }
        for asker in batch.others.drain(..) {
            let answer = answer.as_ref().map(Arc::clone).map_err(CloudError::repeat);
            // Whoever asked may have gone away.
            let _ = asker.word.map(|word| word.send(Word::Answer(answer)));
        }
        answer
    }

    /// Joins those who wait, and leads them where nobody does.
    fn enter(&self, keys: Vec<K>) -> (Place<'_, K, V>, oneshot::Receiver<Word<V>>) {
        let (word, told) = oneshot::channel();
        let mut state = self.state();
        state.newest += 1;
        let number = state.newest;
        state.waiting.push_back(Asker { number, keys, word: Some(word) });
        state.leader.get_or_insert(number);
        (Place { gather: self, number }, told)
    }
}

impl<K: Ord + Clone, V> State<K, V> {
    /// Takes the leader's question and as many others as fit into one call, in the order of their
    /// coming. The next ones gather under another leader.
    fn take(&mut self, leader: u64, limit: usize) -> (BTreeSet<K>, VecDeque<Asker<K, V>>) {
        let (mut keys, mut others) = (BTreeSet::new(), VecDeque::new());
        if let Some(at) = self.waiting.iter().position(|asker| asker.number == leader) {
            keys.extend(self.waiting.remove(at).into_iter().flat_map(|asker| asker.keys));
        }
        while let Some(next) = self.waiting.front() {
            let more: BTreeSet<_> = next.keys.iter().filter(|key| !keys.contains(*key)).collect();
            if keys.len() + more.len() > limit {
                break;
            }
            keys.extend(next.keys.iter().cloned());
            others.extend(self.waiting.pop_front());
        }
        self.appoint();
        (keys, others)
    }
}

impl<K, V> State<K, V> {
    /// Lets the first who waits make the next call.
    fn appoint(&mut self) {
        self.leader = self.waiting.front().map(|next| next.number);
        let word = self.waiting.front_mut().and_then(|next| next.word.take());
        // Whoever goes away in this moment hands it on when it leaves its place.
        let _ = word.map(|word| word.send(Word::Lead));
    }
}

/// Somebody's place among those who wait. Leaving it hands the lead on.
struct Place<'a, K, V> {
    gather: &'a Gather<K, V>,
    number: u64,
}

impl<K, V> Place<'_, K, V> {
    fn leads(&self) -> bool {
        self.gather.state().leader == Some(self.number)
    }
}

impl<K, V> Drop for Place<'_, K, V> {
    fn drop(&mut self) {
        let mut state = self.gather.state();
        state.waiting.retain(|asker| asker.number != self.number);
        if state.leader == Some(self.number) {
            state.appoint();
        }
    }
}

/// Those whose question is under way. Where no answer comes, they go back to where they were.
struct Batch<'a, K, V> {
    gather: &'a Gather<K, V>,
    others: VecDeque<Asker<K, V>>,
}

impl<K, V> Drop for Batch<'_, K, V> {
    fn drop(&mut self) {
        let is_there =
            |asker: &Asker<K, V>| asker.word.as_ref().is_some_and(|word| !word.is_closed());
        let mut state = self.gather.state();
        while let Some(asker) = self.others.pop_back() {
            if is_there(&asker) {
                state.waiting.push_front(asker);
            }
        }
        if state.leader.is_none() {
            state.appoint();
        }
    }
}

#[cfg(test)]
mod tests;
