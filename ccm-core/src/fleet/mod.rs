//! The fleet: one coalesced, cached view of all instances. It owns every look at them.
//!
//! Controllers ask about nodes; questions that arrive within a few milliseconds share one
//! `describe`, and answers are kept with their age. So a look at the whole fleet is `nodes / batch`
//! calls, however many controllers look.

pub(crate) mod kept;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::kept::{Kept, believed};
use crate::cloud::{
    Ask, Batching, CloudError, Freshness, Incarnation, Instance, Instances, Kind, NodeIdentity,
    NodeName, Observation, Read, RunState, Urgency,
};
use crate::governor::Governor;
use crate::report::{Chain, propagate};

/// How long a question waits for others to share its call.
///
/// Short against any cloud's answer, long against the moments between the events of nodes that
/// join together.
const GATHERING: Duration = Duration::from_millis(5);

/// Calls under way at once that are about fewer nodes than they could be.
///
/// While nodes join one by one, those that come during a call share the next one. Two, so that one
/// call that hangs does not hold everybody up.
const PARTIAL_CALLS: usize = 2;

/// How long one `describe` may take, waits for the quota included.
///
/// Enough for a slow answer and a short pause; past it the nodes are told what they wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the direct question about a replaced machine may take.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// An observation with its age, and with what was known before.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// What the cloud said.
    pub observation: Arc<Observation>,
    /// When it was asked. Answers may come in another order than the questions.
    pub asked: Instant,
    /// When the answer came.
    pub at: Instant,
    /// In which state the machine was when it was last seen before, by whomever and not long ago.
    pub before: Option<RunState>,
    /// The machine that stood behind the node before this one, where it was replaced while we ran,
    /// until somebody says that the node was [`renewed`](Fleet::renewed).
    pub replaces: Option<Incarnation>,
}

impl Sighting {
    fn instance(&self) -> Option<&Instance> {
        match &*self.observation {
            Observation::Present(instance) => Some(instance),
            Observation::Gone(_) | Observation::Unknown(_) => None,
        }
    }
}

/// One coalesced, cached view of all instances.
pub struct Fleet {
    instances: Arc<dyn Instances>,
    governor: Governor,
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Default)]
struct State {
    kept: Kept,
    questions: Vec<Question>,
    /// By the names of the nodes that they are about: what is asked twice is asked once.
    places: HashMap<NodeName, usize>,
    under_way: HashMap<NodeName, UnderWay>,
    /// Why the last call failed.
    failing: Option<&'static str>,
}

struct Question {
    node: NodeIdentity,
    urgency: Urgency,
    answers: Vec<oneshot::Sender<Sighting>>,
    /// It is on its way, and others may join it. Not so where an earlier one about the same node is
    /// not answered yet: that is the one to join.
    leads: bool,
}

/// A question that has been sent, and who has joined it since.
struct UnderWay {
    node: NodeIdentity,
    asked: Instant,
    answers: Vec<oneshot::Sender<Sighting>>,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("instances", &self.instances).finish_non_exhaustive()
    }
}

impl Fleet {
    /// The view of these instances. Nothing is answered before [`run`](Self::run) runs.
    pub fn new(instances: Arc<dyn Instances>, governor: Governor) -> Self {
        Self { instances, governor, state: Mutex::default(), asked: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many nodes one call is about.
    pub fn batching(&self) -> Batching {
        self.instances.batching()
    }

    /// What the cloud says about these nodes, in their order. A kept answer that is not older than
    /// `max_age` will do, if the node was present in it.
    pub async fn look(
        &self,
        nodes: Vec<NodeIdentity>,
        max_age: Duration,
        urgency: Urgency,
    ) -> Vec<Sighting> {
        let now = Instant::now();
        let answers: Vec<_> = {
            let mut state = self.state();
            let ask = |node: NodeIdentity| {
                if let Some(sighting) = state.kept.recall(&node, now, max_age) {
                    return Answer::Kept(sighting);
                }
                let (answer, receiver) = oneshot::channel();
                state.ask(node, urgency, answer, now, max_age);
                Answer::Coming(receiver)
            };
            nodes.into_iter().map(ask).collect()
        };
        if answers.iter().any(|answer| matches!(answer, Answer::Coming(_))) {
            self.asked.notify_one();
        }
        join_all(answers.into_iter().map(Answer::get)).await
    }

    /// Says once when calls begin to fail, or fail for another reason, and when they work again.
    fn note(&self, failure: Option<&CloudError>) {
        let reason = failure.map(|err| err.kind().reason());
        let before = std::mem::replace(&mut self.state().failing, reason);
        match failure {
            Some(err) if before != reason => {
                warn!(error = %Chain(err), reason, "instances cannot be described");
            }
            None if before.is_some() => info!("instances can be described again"),
            Some(_) | None => {}
        }
    }

    /// The node was made the new machine's; see [`Sighting::replaces`].
    pub fn renewed(&self, node: &NodeName) {
        self.state().kept.renewed(node);
    }

    /// Forgets a node that is gone, so that memory follows the cluster.
    pub fn forget(&self, node: &NodeName) {
        self.state().kept.forget(node);
    }

    /// Answers questions until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut calls = JoinSet::new();
        let partial = Arc::new(Semaphore::new(PARTIAL_CALLS));
        loop {
            let (batch, place) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = calls.join_next() => {
                    propagate(ended);
                    continue;
                }
                next = self.next_batch(&partial) => next,
            };
            let (fleet, stop) = (Arc::clone(&self), stop.clone());
            calls.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = fleet.answer(batch) => {}
                }
                drop(place);
            });
        }
        while let Some(ended) = calls.join_next().await {
            propagate(ended);
        }
    }

    /// Waits for questions for one call. As many as fit into one go at once; fewer wait a moment for
    /// others, and for an earlier call of few to be answered.
    async fn next_batch(
        &self,
        partial: &Arc<Semaphore>,
    ) -> (Vec<Question>, Option<OwnedSemaphorePermit>) {
        let limit = self.limit();
        let mut place = None;
        loop {
            let waiting = self.state().questions.len();
            if waiting >= limit {
                return (self.state().most_urgent(limit), None);
            }
            if waiting > 0 && place.is_some() {
                sleep(GATHERING).await;
                return (self.state().most_urgent(limit), place);
            }
            tokio::select! {
                () = self.asked.notified() => {}
                free = Arc::clone(partial).acquire_owned(), if waiting > 0 => place = free.ok(),
            }
        }
    }

    /// Asks the cloud about one group.
    async fn answer(&self, batch: Vec<Question>) {
        let Some(urgency) = batch.iter().map(|question| question.urgency).min() else { return };
        let leads: Vec<_> = batch.iter().map(|question| question.leads).collect();
        let (nodes, askers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|question| (question.node, question.answers)).unzip();
        let sightings = self.see(urgency, Ask::Look, &nodes).await;
        let mut state = self.state();
        for (index, (sighting, mut askers)) in sightings.into_iter().zip(askers).enumerate() {
            if leads[index] {
                let late = state.under_way.remove(&nodes[index].name);
                askers.extend(late.into_iter().flat_map(|it| it.answers));
            }
            for asker in askers {
                // Whoever asked may have gone away.
                let _ = asker.send(sighting.clone());
            }
        }
    }

    /// What a direct answer of the cloud says about each of these nodes, in their order.
    pub async fn confirm(&self, nodes: &[NodeIdentity]) -> Vec<Sighting> {
        let mut sightings = Vec::with_capacity(nodes.len());
        for some in nodes.chunks(self.limit()) {
            sightings.extend(self.see(Urgency::Refresh, Ask::Confirm, some).await);
        }
        sightings
    }

    /// Asks about as many as fit into one call, and keeps what was seen.
    async fn see(&self, urgency: Urgency, ask: Ask, nodes: &[NodeIdentity]) -> Vec<Sighting> {
        let asked = Instant::now();
        let cx = self.governor.read(urgency, Freshness::Live, PATIENCE);
        let mut observations = self.describe(&cx, ask, nodes).await;
        if ask == Ask::Look {
            self.doubt_replacements(urgency, nodes, &mut observations).await;
        }
        let at = Instant::now();
        let mut state = self.state();
        let each = nodes.iter().zip(observations);
        each.map(|(node, observation)| state.kept.keep(node, observation, asked, at)).collect()
    }

    /// One observation for each node, whatever happens.
    async fn describe(&self, cx: &Read, ask: Ask, nodes: &[NodeIdentity]) -> Vec<Observation> {
        let observations = self.instances.describe(cx, ask, nodes).await;
        let observations = as_asked(observations, nodes.len());
        self.note(observations.as_ref().err());
        observations.unwrap_or_else(|err| {
            nodes.iter().map(|_| Observation::Unknown(err.repeat())).collect()
        })
    }

    /// Another machine than before behind the same node is believed only when a direct answer says
    /// so too: a list that mixes records up, or one from before, must not rename a live node.
    async fn doubt_replacements(
        &self,
        urgency: Urgency,
        nodes: &[NodeIdentity],
        observations: &mut [Observation],
    ) {
        let replaced = self.state().kept.others(nodes, observations);
        if replaced.is_empty() {
            return;
        }
        let doubted: Vec<_> = replaced.iter().map(|index| nodes[*index].clone()).collect();
        // All other answers of the call wait for this one.
        let cx = self.governor.read(urgency, Freshness::Live, SHORT_PATIENCE);
        let confirmed = self.describe(&cx, Ask::Confirm, &doubted).await;
        for (index, confirmed) in replaced.into_iter().zip(confirmed) {
            observations[index] = believed(&observations[index], confirmed);
        }
    }

    fn limit(&self) -> usize {
        match self.batching() {
            Batching::UpTo(limit) => limit.get(),
            Batching::Whole => usize::MAX,
        }
    }
}

impl State {
    /// Takes a question. One about the same node that waits already, or that was sent not longer ago
    /// than an answer may be old, serves both.
    fn ask(
        &mut self,
        node: NodeIdentity,
        urgency: Urgency,
        answer: oneshot::Sender<Sighting>,
        now: Instant,
        max_age: Duration,
    ) {
        if let Some(place) = self.places.get(&node.name) {
            let waiting = &mut self.questions[*place];
            if waiting.node == node {
                waiting.urgency = waiting.urgency.min(urgency);
                waiting.answers.push(answer);
                return;
            }
        } else if let Some(sent) = self.under_way.get_mut(&node.name)
            && sent.node == node
            && now.duration_since(sent.asked) < max_age
        {
            sent.answers.push(answer);
            return;
        }
        self.places.insert(node.name.clone(), self.questions.len());
        self.questions.push(Question { node, urgency, answers: vec![answer], leads: false });
    }

    /// Takes up to `limit` questions, the urgent ones first, else in their order.
    fn most_urgent(&mut self, limit: usize) -> Vec<Question> {
        self.questions.sort_by_key(|question| question.urgency);
        let rest = self.questions.split_off(limit.min(self.questions.len()));
        let mut batch = std::mem::replace(&mut self.questions, rest);
        // In the same moment, so that nobody asks in between and finds neither.
        let asked = Instant::now();
        for question in &mut batch {
            if let Entry::Vacant(entry) = self.under_way.entry(question.node.name.clone()) {
                let node = question.node.clone();
                entry.insert(UnderWay { node, asked, answers: Vec::new() });
                question.leads = true;
            }
        }
        let places = self.questions.iter().enumerate();
        self.places = places.map(|(place, it)| (it.node.name.clone(), place)).collect();
        batch
    }
}

/// An answer that is there or comes.
enum Answer {
    Kept(Sighting),
    Coming(oneshot::Receiver<Sighting>),
}

impl Answer {
    async fn get(self) -> Sighting {
        match self {
            Self::Kept(sighting) => sighting,
            Self::Coming(receiver) => receiver.await.unwrap_or_else(|_| {
                let err = CloudError::new(Kind::Stopped, "the process stops");
                let now = Instant::now();
                Sighting {
                    observation: Arc::new(Observation::Unknown(err)),
                    asked: now,
                    at: now,
                    before: None,
                    replaces: None,
                }
            }),
        }
    }
}

/// One observation for each question, or an error.
pub(crate) fn as_asked<T>(
    answer: Result<Vec<Observation<T>>, CloudError>,
    questions: usize,
) -> Result<Vec<Observation<T>>, CloudError> {
    let observations = answer?;
    if observations.len() == questions {
        return Ok(observations);
    }
    let message = format!("{} answers to {questions} questions", observations.len());
    Err(CloudError::new(Kind::Internal, message))
}

#[cfg(test)]
mod tests;
