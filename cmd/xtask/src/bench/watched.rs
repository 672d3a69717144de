//! What the API server shows of a measured program's work, as soon as it does.

use std::collections::HashSet;
use std::pin::{Pin, pin};

use ccm_envtest::kubelet::UNINITIALIZED_TAINT;
use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{LoadBalancerStatus, Node, Service};
use kube::core::{NotUsed, Object, PartialObjectMeta};
use kube::discovery::ApiResource;
use kube::runtime::watcher::{self, watch_object, watcher};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::Error;

/// The lease of the election.
pub(super) const LEASE: &str = "cloud-controller-manager";

/// Its namespace.
pub(super) const NAMESPACE: &str = "kube-system";

const ZONE: &str = "topology.kubernetes.io/zone";

/// Sees nodes as they are initialised: the patch that takes the taint away sets the zone label, so
/// a watch on that label costs the API server little.
pub(super) struct Initialised {
    client: Client,
    /// Those that are initialised already.
    before: usize,
}

impl Initialised {
    /// Where none is initialised yet.
    pub(super) async fn watch(client: Client) -> Result<Self, Error> {
        let watched = Self::beyond(client).await?;
        if watched.before > 0 {
            return Err("there are initialised nodes before the start".into());
        }
        Ok(watched)
    }

    /// Where some may be initialised already, who do not count.
    pub(super) async fn beyond(client: Client) -> Result<Self, Error> {
        let config = kube::api::ListParams::default().labels(ZONE);
        let there = Api::<Node>::all(client.clone()).list_metadata(&config).await?;
        Ok(Self { client, before: there.items.len() })
    }

    /// Seconds until the first and the last of so many.
    pub(super) async fn wait(self, count: usize, start: Instant) -> Result<(f64, f64), Error> {
        let config = watcher::Config::default().labels(ZONE);
        let mut events = pin!(watcher(Api::<PartialObjectMeta<Node>>::all(self.client), config));
        let mut seen = HashSet::new();
        let mut first = None;
        while seen.len() < self.before + count {
            let event = events.next().await.ok_or("the watch ended")??;
            if let watcher::Event::Apply(node) | watcher::Event::InitApply(node) = event {
                seen.insert(node.metadata.name.unwrap_or_default());
                if seen.len() > self.before {
                    first.get_or_insert_with(|| start.elapsed());
                }
            }
        }
        let first = first.unwrap_or_default();
        Ok((first.as_secs_f64(), start.elapsed().as_secs_f64()))
    }
}

/// A Service of which nothing is read but its addresses.
type Addressed = Object<NotUsed, Addresses>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Addresses {
    load_balancer: LoadBalancerStatus,
}

/// Seconds until the first and the last of so many Services has an address.
pub(super) async fn addressed(
    client: Client,
    count: usize,
    start: Instant,
) -> Result<(f64, f64), Error> {
    let kind = ApiResource::erase::<Service>(&());
    let services = Api::<Addressed>::all_with(client, &kind);
    let mut events = pin!(watcher(services, watcher::Config::default()));
    let mut seen = HashSet::new();
    let mut first = None;
    while seen.len() < count {
        let event = events.next().await.ok_or("the watch ended")??;
        if let watcher::Event::Apply(service) | watcher::Event::InitApply(service) = event
            && service.status.is_some_and(|status| status.load_balancer.ingress.is_some())
        {
            first.get_or_insert_with(|| start.elapsed());
            seen.insert(service.metadata.name.unwrap_or_default());
        }
    }
    Ok((first.unwrap_or_default().as_secs_f64(), start.elapsed().as_secs_f64()))
}

/// A Node of which nothing is read but what is said of its network.
type Connected = Object<NotUsed, Conditions>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Conditions {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Tells of each node, once, that pods on it can be reached.
pub(super) struct Reachable {
    events: Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<Connected>>> + Send>>,
    seen: HashSet<String>,
}

impl Reachable {
    pub(super) fn watch(client: Client) -> Self {
        let kind = ApiResource::erase::<Node>(&());
        let nodes = Api::<Connected>::all_with(client, &kind);
        let events = Box::pin(watcher(nodes, watcher::Config::default()));
        Self { events, seen: HashSet::new() }
    }

    /// Waits until so many nodes were reachable at some time.
    pub(super) async fn wait(&mut self, count: usize) -> Result<(), Error> {
        while self.seen.len() < count {
            let event = self.events.next().await.ok_or("the watch ended")?;
            // It begins anew by itself.
            let Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) = event else {
                continue;
            };
            let conditions = node.status.unwrap_or_default().conditions;
            if conditions.iter().any(|it| it.kind == "NetworkUnavailable" && it.status == "False") {
                self.seen.insert(node.metadata.name.unwrap_or_default());
            }
        }
        Ok(())
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
