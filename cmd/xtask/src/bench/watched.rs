//! What the API server shows of a measured program's work, as soon as it does.

use std::collections::HashSet;
use std::pin::{Pin, pin};

use ccm_envtest::kubelet::UNINITIALIZED_TAINT;
use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, watch_object, watcher};
use kube::{Api, Client};
use tokio::time::Instant;

use crate::Error;

/// The lease of the election.
pub(super) const LEASE: &str = "cloud-controller-manager";

/// Its namespace.
pub(super) const NAMESPACE: &str = "kube-system";

const ZONE: &str = "topology.kubernetes.io/zone";

/// Sees nodes as they are initialised: the patch that takes the taint away sets the zone label, so
/// a watch on that label costs the API server little.
pub(super) struct Initialised(Client);

impl Initialised {
    pub(super) async fn watch(client: Client) -> Result<Self, Error> {
        let config = kube::api::ListParams::default().labels(ZONE);
        let there = Api::<Node>::all(client.clone()).list_metadata(&config).await?;
        if !there.items.is_empty() {
            return Err("there are initialised nodes before the start".into());
        }
        Ok(Self(client))
    }

    /// Seconds until the first and the last.
    pub(super) async fn wait(self, count: usize, start: Instant) -> Result<(f64, f64), Error> {
        let config = watcher::Config::default().labels(ZONE);
        let mut events = pin!(watcher(Api::<PartialObjectMeta<Node>>::all(self.0), config));
        let mut seen = HashSet::new();
        let mut first = None;
        while seen.len() < count {
            let event = events.next().await.ok_or("the watch ended")??;
            if let watcher::Event::Apply(node) | watcher::Event::InitApply(node) = event {
                first.get_or_insert_with(|| start.elapsed());
                seen.insert(node.metadata.name.unwrap_or_default());
            }
        }
        let first = first.unwrap_or_default();
        Ok((first.as_secs_f64(), start.elapsed().as_secs_f64()))
    }
}

/// Waits until this node is there and initialised.
pub(super) async fn initialised(client: Client, name: &str) -> Result<(), Error> {
    let mut states = pin!(watch_object(Api::<Node>::all(client), name));
    loop {
        let node = match states.next().await.ok_or("the watch ended")? {
            Ok(node) => node,
            Err(watcher::Error::WatchError(_)) => continue,
            Err(err) => return Err(err.into()),
        };
        let Some(node) = node else { continue };
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        if !taints.iter().any(|taint| taint.key == UNINITIALIZED_TAINT) {
            return Ok(());
        }
    }
}

type Leases = Pin<Box<dyn Stream<Item = watcher::Result<Option<Lease>>> + Send>>;

/// Sees who holds the lease.
pub(super) struct Holder {
    leases: Leases,
    /// Empty for nobody.
    now: String,
}

impl Holder {
    /// Returns when the lease has been read, if there is one; the rest is watched.
    pub(super) async fn watch(client: Client) -> Result<Self, Error> {
        let leases = Api::<Lease>::namespaced(client, NAMESPACE);
        let mut holder = Self { leases: Box::pin(watch_object(leases, LEASE)), now: String::new() };
        holder.next().await?;
        Ok(holder)
    }

    /// Who holds it; empty for nobody.
    pub(super) fn now(&self) -> &str {
        &self.now
    }

    /// Waits until somebody holds it who did not when this was called.
    pub(super) async fn changes(mut self) -> Result<String, Error> {
        let old = self.now.clone();
        while self.now.is_empty() || self.now == old {
            self.next().await?;
        }
        Ok(self.now)
    }

    async fn next(&mut self) -> Result<(), Error> {
        loop {
            let lease = match self.leases.next().await.ok_or("the watch ended")? {
                Ok(lease) => lease,
                Err(watcher::Error::WatchError(_)) => continue,
                Err(err) => return Err(err.into()),
            };
            let holder = lease.and_then(|lease| lease.spec?.holder_identity);
            self.now = holder.unwrap_or_default();
            return Ok(());
        }
    }
}
