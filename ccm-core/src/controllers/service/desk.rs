//! What is remembered of each Service, and who is told what the engine has to say of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use super::claims::Claims;
use super::decide::{Event, Said};
use crate::cloud::{Identity, ObjectId, Uid, Urgency};
use crate::cluster::events::{EventType, Involved, Recorder};
use crate::cluster::node::Version;
use crate::cluster::service::{Service, ServiceKey};
use crate::cluster::services::{ServiceChange, Services};
use crate::controllers::wanting::repaired;
use crate::converge::{Cause, Ended, Office};
use crate::queue::WorkQueue;
use crate::telemetry::ServiceMetrics;

/// What the watch and the engine feed.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) queue: WorkQueue<ServiceKey>,
    services: Weak<Services>,
    recorder: Recorder,
    metrics: ServiceMetrics,
    pub(super) files: Mutex<HashMap<ServiceKey, File>>,
    claims: Claims,
    /// Services that were seen to be of a class that others serve. A Service that is no load balancer
    /// any more has lost its class, and the finalizer says nothing: others use the same one.
    strangers: Mutex<HashSet<Uid>>,
}

/// What is remembered of a Service.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Who bears the name now, as last seen.
    pub(super) current: Option<Arc<Identity>>,
    /// Who bore the name before, and has not been cleared away yet.
    pub(super) former: Vec<Arc<Identity>>,
    pub(super) said: Said,
    /// The version that our last write made.
    pub(super) written: Option<Version>,
    /// When the condition was last written.
    pub(super) told: Option<Instant>,
    /// Writes refused in a row.
    pub(super) refused: u32,
    /// Under which word it is counted.
    pub(super) counted: Option<&'static str>,
}

impl Desk {
    pub(super) fn new(
        services: &Arc<Services>,
        recorder: Recorder,
        metrics: ServiceMetrics,
        claims: Claims,
    ) -> Self {
        let (queue, services) = (WorkQueue::new(metrics.queue()), Arc::downgrade(services));
        let (files, strangers) = (Mutex::default(), Mutex::default());
        Self { queue, services, recorder, metrics, files, claims, strangers }
    }

    fn strangers(&self) -> MutexGuard<'_, HashSet<Uid>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the Service was seen to be of a class that others serve.
    pub(super) fn is_stranger(&self, service: &Service) -> bool {
        self.strangers().contains(&service.uid)
    }

    pub(super) fn files(&self) -> MutexGuard<'_, HashMap<ServiceKey, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn service(&self, id: &ObjectId) -> Option<Arc<Service>> {
        let service = self.services.upgrade()?.get(&key_of(id))?;
        (service.uid == id.uid).then_some(service)
    }

    pub(super) fn take(&self, change: &ServiceChange) {
        let key = match change {
            ServiceChange::Applied { new, .. } => &new.key,
            ServiceChange::Deleted(old) => &old.key,
        };
        let urgency = match change {
            ServiceChange::Applied { old: None, .. } => Urgency::Initialize,
            ServiceChange::Applied { .. } | ServiceChange::Deleted(_) => Urgency::Refresh,
        };
        match change {
            ServiceChange::Applied { new, .. } if new.wants_load_balancer() => {
                if self.claims.serve(new.class.as_deref()) {
                    self.strangers().remove(&new.uid);
                } else {
                    self.strangers().insert(new.uid.clone());
                }
            }
            ServiceChange::Applied { .. } => {}
            ServiceChange::Deleted(old) => drop(self.strangers().remove(&old.uid)),
        }
        self.queue.add(key.clone(), urgency);
    }

    pub(super) fn say(&self, about: &Involved, event: Event) {
        self.recorder.event(about, event.kind, event.reason, event.message);
    }
}

impl Office for Desk {
    fn news(&self, id: &ObjectId) {
        self.queue.add(key_of(id), Urgency::Refresh);
    }

    fn passed(&self, about: &Ended<'_>) {
        for (ids, note) in about.notes {
            for service in ids.iter().filter_map(|id| self.service(id)) {
                let (kind, message) = (EventType::Warning, note.clone());
                self.say(&service.involved(), Event { kind, reason: "LoadBalancerNote", message });
            }
        }
        if about.failed.is_some() && about.cause == Cause::Nodes {
            self.metrics.hosts_not_updated(about.took);
        }
        if about.changes.is_empty() {
            return;
        }
        // What is done to something shared for a reason of one's own is not each user's matter.
        let is_everybodys = matches!(about.cause, Cause::Nodes | Cause::Drift);
        for id in &about.wanted_by {
            let theirs: Vec<_> = about
                .changes
                .iter()
                .filter(|change| {
                    change.wanted_by.contains(id) || is_everybodys && change.wanted_by.is_empty()
                })
                .map(|change| change.line.as_str())
                .collect();
            let Some(service) = self.service(id).filter(|_| !theirs.is_empty()) else { continue };
            if service.deleting {
                continue;
            }
            // Of one that was not as it should be, nobody else need have changed anything: it may be
            // a mistake of its owner's that has healed.
            if !about.settled.contains(id) {
                continue;
            }
            let (kind, reason, message) = if about.cause == Cause::Nodes {
                self.metrics.hosts_updated(about.took);
                let message = "Updated load balancer with new hosts".to_owned();
                (EventType::Normal, "UpdatedLoadBalancer", message)
            } else {
                self.metrics.drifted();
                (EventType::Warning, "LoadBalancerDrifted", repaired("the load balancer", &theirs))
            };
            self.say(&service.involved(), Event { kind, reason, message });
        }
    }
}

pub(super) fn key_of(id: &ObjectId) -> ServiceKey {
    ServiceKey { namespace: Arc::clone(&id.namespace), name: Arc::clone(&id.name) }
}
