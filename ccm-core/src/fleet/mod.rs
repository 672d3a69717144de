//! The fleet: one coalesced, cached view of all instances. It owns every look at them.
//!
//! Controllers ask about nodes; questions that arrive within a few milliseconds share one
//! `describe`, and answers are kept with their age. So a look at the whole fleet is `nodes / batch`
//! calls, however many controllers look.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::cloud::{
    Ask, Batching, CloudError, Freshness, Instances, Kind, NodeIdentity, NodeName, Observation,
    Uid, Urgency,
};
use crate::governor::Governor;
use crate::report::Chain;

/// How long a question waits for others to share its call.
///
/// Short against any cloud's answer, long against the moments between the events of nodes that
/// join together.
const GATHERING: Duration = Duration::from_millis(5);

/// How long one `describe` may take, waits for the quota included.
///
/// Enough for a slow answer and a short pause; past it the nodes are told what they wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// An observation with its age.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// What the cloud said.
    pub observation: Arc<Observation>,
    /// When the answer came.
    pub at: Instant,
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
    /// Kept for each node that was present: doubt and absence are asked about again.
    kept: HashMap<NodeName, (Uid, Sighting)>,
    questions: Vec<Question>,
}

struct Question {
    node: NodeIdentity,
    urgency: Urgency,
    answer: oneshot::Sender<Sighting>,
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

    /// How many nodes one call is about at most.
    pub fn batch(&self) -> NonZeroUsize {
        match self.instances.batching() {
            Batching::UpTo(limit) => limit,
            Batching::Whole => NonZeroUsize::MAX,
        }
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
                if let Some(sighting) = state.recall(&node, now, max_age) {
                    return Answer::Kept(sighting);
                }
                let (answer, receiver) = oneshot::channel();
                state.questions.push(Question { node, urgency, answer });
                Answer::Coming(receiver)
            };
            nodes.into_iter().map(ask).collect()
        };
        if answers.iter().any(|answer| matches!(answer, Answer::Coming(_))) {
            self.asked.notify_one();
        }
        join_all(answers.into_iter().map(Answer::get)).await
    }

    /// Forgets a node that is gone, so that memory follows the cluster.
    pub fn forget(&self, node: &NodeName) {
        self.state().kept.remove(node);
    }

    /// Answers questions until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let calls = TaskTracker::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.asked.notified() => {}
            }
            if self.state().questions.len() < self.batch().get() {
                sleep(GATHERING).await;
            }
            for batch in self.batches() {
                let fleet = Arc::clone(&self);
                let stop = stop.clone();
                calls.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = fleet.answer(batch) => {}
                    }
                });
            }
        }
        calls.close();
        calls.wait().await;
    }

    /// All open questions in groups for one call each, the urgent ones first.
    fn batches(&self) -> Vec<Vec<Question>> {
        let mut questions = std::mem::take(&mut self.state().questions);
        questions.sort_by_key(|question| question.urgency);
        let limit = self.batch().get();
        let mut batches = Vec::with_capacity(questions.len().div_ceil(limit));
        let mut questions = questions.into_iter().peekable();
        while questions.peek().is_some() {
            batches.push(questions.by_ref().take(limit).collect());
        }
        batches
    }

    /// Asks the cloud about one group.
    async fn answer(&self, batch: Vec<Question>) {
        let Some(urgency) = batch.iter().map(|question| question.urgency).min() else { return };
        let (nodes, askers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|question| (question.node, question.answer)).unzip();
        let cx = self.governor.read(urgency, Freshness::Live, PATIENCE);
        let observations = self.instances.describe(&cx, Ask::Look, &nodes).await;
        let observations = as_asked(observations, nodes.len());
        let at = Instant::now();
        for ((node, asker), observation) in nodes.into_iter().zip(askers).zip(observations) {
            let sighting = Sighting { observation: Arc::new(observation), at };
            if matches!(*sighting.observation, Observation::Present(_)) {
                self.state().kept.insert(node.name, (node.uid, sighting.clone()));
            }
            // Whoever asked may have gone away.
            let _ = asker.send(sighting);
        }
    }
}

impl State {
    fn recall(&self, node: &NodeIdentity, now: Instant, max_age: Duration) -> Option<Sighting> {
        let (uid, sighting) = self.kept.get(&node.name)?;
        let fresh = now.saturating_duration_since(sighting.at) < max_age;
        (fresh && *uid == node.uid).then(|| sighting.clone())
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
                Sighting { observation: Arc::new(Observation::Unknown(err)), at: Instant::now() }
            }),
        }
    }
}

/// One observation for each question, whatever the provider answered.
fn as_asked(answer: Result<Vec<Observation>, CloudError>, questions: usize) -> Vec<Observation> {
    let err = match answer {
        Ok(observations) if observations.len() == questions => return observations,
        Ok(observations) => {
            let message = format!("{} answers to {questions} questions", observations.len());
            CloudError::new(Kind::Internal, message)
        }
        Err(err) => err,
    };
    // Said once here for the log; each node says it for itself to its owner.
    debug!(error = %Chain(&err), nodes = questions, "instances cannot be described");
    (0..questions).map(|_| Observation::Unknown(err.repeat())).collect()
}

#[cfg(test)]
mod tests;
