//! Who leads, as everybody in the cluster can see it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::AbortHandle;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "cloud-controller-manager";

/// A change of hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) since: Instant,
    /// Empty: the lease was given back.
    pub(crate) name: String,
}

/// All changes of hands from now on.
#[derive(Debug)]
pub(crate) struct Watch {
    holders: Arc<Mutex<Vec<Holder>>>,
    task: AbortHandle,
}

impl Watch {
    pub(crate) fn begin(client: Client) -> Self {
        let holders = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&holders);
        let task = tokio::spawn(async move {
            let leases = Api::<Lease>::namespaced(client, NAMESPACE);
            let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
            let mut changes = watcher(leases, config).default_backoff().applied_objects().boxed();
            while let Some(change) = changes.next().await {
                let Ok(lease) = change else { continue };
                let name = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
                note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), name);
            }
        });
        Self { holders, task: task.abort_handle() }
    }

    /// So far.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who leads; nobody is empty.
    pub(crate) fn holder(&self) -> String {
        self.holders().pop().map(|holder| holder.name).unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(holders: &mut Vec<Holder>, name: String) {
    if holders.last().is_none_or(|last| last.name != name) {
        holders.push(Holder { since: Instant::now(), name });
    }
}

/// How long nobody led before this one did, if the lease was given back before.
pub(crate) fn vacancy(holders: &[Holder], next: &str) -> Option<Duration> {
    let at = holders.iter().position(|holder| holder.name == next)?;
    let before = holders.get(at.checked_sub(1)?)?;
    before.name.is_empty().then(|| holders[at].since - before.since)
}
