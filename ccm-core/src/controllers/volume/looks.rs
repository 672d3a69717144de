//! Every look at volumes in the cloud.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};

use crate::cloud::{
    Batching, CloudError, Freshness, Observation, Topology, Urgency, VolumeRef, Volumes,
};
use crate::fleet::as_asked;
use crate::governor::Governor;
use crate::report::Chain;

/// How long one question may take, waits for the quota included.
///
/// Enough for a slow answer and a short pause; past it the volumes are told what they wait for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Volumes in one question, where the cloud's only cheap answer is a list of everything: more than
/// there are in any cluster.
const ALL: usize = 100_000;

/// Asks the cloud where volumes are.
#[derive(Debug)]
pub(super) struct Looks {
    cloud: Arc<dyn Volumes>,
    governor: Governor,
    /// Why the last question failed.
    failing: Mutex<Option<&'static str>>,
}

impl Looks {
    pub(super) fn new(cloud: Arc<dyn Volumes>, governor: Governor) -> Self {
        Self { cloud, governor, failing: Mutex::default() }
    }

    /// How many volumes one question may be about.
    pub(super) fn size(&self) -> usize {
        match self.cloud.batching() {
            Batching::UpTo(limit) => limit.get(),
            Batching::Whole => ALL,
        }
    }

    /// What the cloud says about each of these volumes, in their order, whatever happens. No more
    /// than one question may be about.
    pub(super) async fn look(&self, volumes: &[VolumeRef]) -> Vec<Observation<Topology>> {
        let cx = self.governor.read(Urgency::Refresh, Freshness::Live, PATIENCE);
        let answer = self.cloud.topology(&cx, volumes).await;
        let answer = as_asked(answer, volumes.len());
        self.note(answer.as_ref().err());
        answer.unwrap_or_else(|err| {
            volumes.iter().map(|_| Observation::Unknown(err.repeat())).collect()
        })
    }

    /// Says once when questions begin to fail, or fail for another reason, and when they work again.
    fn note(&self, failure: Option<&CloudError>) {
        let reason = failure.map(|err| err.kind().reason());
        let before = {
            let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *failing, reason)
        };
        match failure {
            Some(err) if before != reason => {
                warn!(error = %Chain(err), reason, "volumes cannot be described");
            }
            None if before.is_some() => info!("volumes can be described again"),
            Some(_) | None => {}
        }
    }
}
